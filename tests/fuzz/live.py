"""Fuzzing of running programs: attackers in every state of a connection, while honest users talk to each other.

There are an introducer, two servers, two honest users (one at each server), and a third whom the attackers write to.
"""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import socp
from socp import ProtocolError
from tests.e2e.harness import Network, Program
from tests.fuzz.grammar import SERVER, STRANGER, USER, Grammar, Role
from tests.fuzz.inputs import Input, Inputs, passes_framing
from tests.hostile import measure
from tests.hostile.arena import attacker_address
from tests.peer import Peer
from tests.vectors import key

# The honest are alice and heidi, whose keys no attacker has; stranger is the third.
_OTHERS = ("alice", "heidi", "stranger")
_USERS = ("mallory", "grace", "frank", "erin")
_SERVERS = ("server3", "server4")
_PER_LINK = 40  # frames
_REFRESHED = 120.0  # seconds: after that, signed times become too old for gossip
_SETTLED = 60.0  # seconds in which links that have ended must be gone
_PATIENCE = 60.0
_AT_A_TIME = 20.0  # honest messages a second, at most
_LINE_MOST = 5_000  # characters of a line of a log


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        frames: sent, by kind.
        states: in which they were sent.
        wrong: what should not have happened, for people.
    """

    frames: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    whole: int = 0
    connections: int = 0
    honest: int = 0
    delivered: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Field:
    """The running programs.

    Args:
        arguments: more of the servers'.
        tls: whether attackers speak TLS, where the servers do.
    """

    def __init__(self, *arguments: str, tls: bool = False) -> None:
        self.tls = tls
        self.network = Network()
        over = ("--tls",) if tls else ()
        free = (*over, "--no-penalties")
        self.introducer, self.introducer_port = self.network.introducer("introducer", *free)
        given = ("--log-level", "INFO", *free, *arguments)
        self.servers: dict[str, tuple[Program, int]] = {
            name: self.network.server(name, self.introducer_port, *given) for name in ("server", "server2")
        }
        self.ports = {name: port for name, (_, port) in self.servers.items()}
        self.alice = self.network.client("alice", self.ports["server"], *over)
        self.heidi = self.network.client("heidi", self.ports["server2"], *over)
        self.third = self.network.client("stranger", self.ports["server"], *over)
        self.network.wait_listed(self.alice, set(_OTHERS))
        self._before = self.counts()

    def programs(self) -> dict[str, Program]:
        """Return the programs that must stay as they are."""
        return {"introducer": self.introducer, **{name: program for name, (program, _) in self.servers.items()}}

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return how many threads and descriptors each program has."""
        return {
            name: (measure.threads(program.process.pid), measure.descriptors(program.process.pid))
            for name, program in self.programs().items()
        }

    def measure_anew(self) -> None:
        """Take what programs have now for what they should have at the end."""
        self._before = self.counts()

    def settle(self, seconds: float = _SETTLED) -> list[str]:
        """Wait until threads and descriptors are as they were, and return what is not."""
        end = time.monotonic() + seconds
        while (off := self._off()) and time.monotonic() < end:
            threading.Event().wait(0.2)  # there is nothing else that could tell
        return off

    def _off(self) -> list[str]:
        now = self.counts()
        return [
            f"{name} has {count} {what}, and had {self._before[name][place]} before"
            for name in now
            for place, what in enumerate(("threads", "descriptors"))
            if (count := now[name][place]) > self._before[name][place] + 2
        ]

    def end(self) -> list[str]:
        """End all programs, and return what is wrong with how they have run."""
        wrong = [
            f"{program.name} has ended by itself: {program.process.returncode}"
            for program in self.network.programs
            if program.process.poll() is not None
        ]
        try:
            self.network.end()
        except AssertionError as error:
            wrong.append(str(error)[-20_000:])
        for program in self.network.programs:
            wrong += [
                f"{program.name} has printed an unclean line: {line[:200]!r}"
                for line in (*program.errors, *program.lines)
                if len(line) > _LINE_MOST or not line.replace("\t", " ").isprintable()
            ][:3]
        return wrong


class Talk:
    """Messages from alice to heidi, each confirmed before the next is sent.

    Args:
        field: where.
        count: how many; until `stop` if None.
        patience: seconds for each.
    """

    def __init__(self, field: Field, count: int | None, patience: float = _PATIENCE) -> None:
        self._field = field
        self._patience = patience
        self._count = count
        self._stopped = threading.Event()
        self.sent = 0
        self.delivered = 0
        self.failure = ""
        self._thread = threading.Thread(target=self._run, name="talk", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Send one more, and no more than that."""
        self._stopped.set()

    def finish(self) -> int:
        """Wait until all have been sent, and return how many heidi was shown exactly once."""
        self._thread.join()
        shown = Counter(
            line.rpartition("] ")[2]
            for line in self._field.heidi.lines
            if "DM from alice" in line and "] honest " in line
        )
        self.delivered = sum(shown[f"honest {number}"] == 1 for number in range(self.sent))
        return self.delivered

    def _run(self) -> None:
        alice, heidi = self._field.alice, self._field.heidi
        try:
            last = False
            while not last and self.sent != self._count:
                last = self._stopped.wait(1 / _AT_A_TIME)
                number, typed = self.sent, alice.mark()
                self.sent += 1
                alice.type(f"/tell {key('heidi').id} honest {number}")
                alice.expect(r"\[DM to heidi .*\] delivered", after=typed, seconds=self._patience)
            heidi.expect(rf"honest {self.sent - 1}$", seconds=self._patience)
        except (AssertionError, OSError) as error:
            self.failure = f"the honest users' conversation broke off at message {self.sent}: {str(error)[:2_000]}"


class Attacker:
    """Connects again and again, and sends mutated frames in some state of a connection.

    Args:
        field: where.
        number: which one: its address, its keys and its inputs.
        seed: of its inputs.
        budget: how many frames all attackers have left.
        outcome: is added to.
    """

    def __init__(self, field: Field, number: int, seed: int, budget: Budget, outcome: Outcome) -> None:
        self._field = field
        self._number = number
        self._budget = budget
        self._outcome = outcome
        self._rng = random.Random(f"{seed} attacker {number}")
        user = _USERS[number % len(_USERS)]
        server = _SERVERS[number] if number < len(_SERVERS) else ""
        self._roles = {
            role.name: replace(role, server=server or _SERVERS[0], user=user, others=_OTHERS)
            for role in (USER, SERVER, STRANGER)
        }
        ports = dict.fromkeys((*_SERVERS, "server", "server2"), 1)
        self._inputs = Inputs(seed * 1000 + number, tuple(self._roles.values()), socp.now_ms)
        self._inputs.grammar = Grammar(self._rng, socp.now_ms, ports, real=True)
        self._signed = time.monotonic()
        states: list[Callable[[Peer, str], None]] = [self._say_nothing, self._say_hello, self._prove_wrongly]
        states += [self._go_on_unheard, self._be_user, self._be_user, self._be_user]
        if server:
            states += [self._be_server, self._be_server, self._be_server]
        self._states = states
        self.thread = threading.Thread(target=self._run, name=f"attacker {number}", daemon=True)

    def _run(self) -> None:
        while self._budget.left():
            if time.monotonic() - self._signed > _REFRESHED:
                self._inputs.refresh()
                self._signed = time.monotonic()
            state = self._rng.choice(self._states)
            place = self._rng.choice(("server", "server2"))
            with contextlib.suppress(OSError, AssertionError, ProtocolError):
                # Refused, or closed in the middle: this is what most of it is for.
                self._connect(state, place)

    def _connect(self, state: Callable[[Peer, str], None], place: str) -> None:
        server = state == self._be_server
        name = self._roles["server" if server else "user"]
        join = server and self._rng.random() < 0.3
        port = self._field.introducer_port if join else self._field.ports[place]
        source = attacker_address(2 + self._number)
        with Peer(port, name.server if server else name.user, source=source, tls=self._field.tls) as peer:
            self._budget.note_connection(self._outcome)
            if join:
                peer.join()
                self._send(peer, "server", "introducer", "joined")
            else:
                state(peer, place)

    # --- states -------------------------------------------------------------------------------------------------

    def _say_nothing(self, peer: Peer, place: str) -> None:
        self._send(peer, "stranger", place, "nothing said")

    def _say_hello(self, peer: Peer, place: str) -> None:
        peer.hello(caps=["presence"])
        self._send(peer, "stranger", place, "hello sent")

    def _prove_wrongly(self, peer: Peer, place: str) -> None:
        peer.hello(caps=["presence"])
        peer.expect(socp.AUTH_CHALLENGE)
        self._send(peer, "stranger", place, "challenged")

    def _go_on_unheard(self, peer: Peer, place: str) -> None:
        peer.hello(caps=["presence"])
        peer.respond()
        self._send(peer, "user", place, "answered")

    def _be_user(self, peer: Peer, place: str) -> None:
        peer.attach_user(caps=["presence"], meta={"display_name": "an attacker"})
        self._send(peer, "user", place, "attached")

    def _be_server(self, peer: Peer, place: str) -> None:
        peer.link_server(self._roles["server"].server)
        self._send(peer, "server", place, "linked")

    # --- sending ------------------------------------------------------------------------------------------------

    def _send(self, peer: Peer, role_name: str, here: str, state: str) -> None:
        """Send frames until the other side closes; one that must end the link comes last."""
        role: Role = replace(self._roles[role_name], here=here)
        for _ in range(_PER_LINK):
            made = self._inputs.next(role)
            if not self._budget.take(self._outcome, made, state):
                return
            for chunk in made.chunks:
                peer.send_bytes(chunk)
            if not drain(peer) or not passes_framing(made.data):
                break
        drain(peer)


def drain(peer: Peer) -> bool:
    """Read what has come; False when the other side has closed."""
    connection: socket.socket = peer._socket
    connection.setblocking(False)
    try:
        while data := connection.recv(65_536):
            del data
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    finally:
        connection.settimeout(_PATIENCE)
    return False


class Budget:
    """How many frames may still be sent, and until when.

    Args:
        frames: how many; any number if None.
        seconds: how long.
    """

    def __init__(self, frames: int | None, seconds: float) -> None:
        self._lock = threading.Lock()  # guards _frames, and the outcome
        self._frames = frames
        self._end = time.monotonic() + seconds

    def left(self) -> bool:
        """Tell whether there are any."""
        return (self._frames is None or self._frames > 0) and time.monotonic() < self._end

    def take(self, outcome: Outcome, made: Input, state: str) -> bool:
        """Note that one is sent; False when there are no more."""
        whole = passes_framing(made.data)
        with self._lock:
            if not self.left():
                return False
            if self._frames is not None:
                self._frames -= 1
            outcome.sent += 1
            outcome.whole += whole
            outcome.frames.update(made.kinds)
            outcome.states[state] += 1
        return True

    def note_connection(self, outcome: Outcome) -> None:
        """Note a connection."""
        with self._lock:
            outcome.connections += 1


def run(
    seed: int, *, seconds: float, frames: int | None = None, honest: int = 20, attackers: int = 4, tls: bool = False
) -> Outcome:
    """Attack running programs.

    Args:
        seed: decides what is sent; in which order it arrives is for the machine to decide.
        seconds: how long at most.
        frames: how many mutated frames, if they go out in that time.
        honest: how many messages honest users send meanwhile.
        attackers: how many connect at a time.
        tls: whether servers and attackers speak TLS.
    """
    outcome = Outcome()
    began = time.monotonic()
    field = Field(tls=tls)
    try:
        talk = Talk(field, honest)
        talk.start()
        budget = Budget(frames, seconds)
        crowd = [Attacker(field, number, seed, budget, outcome) for number in range(attackers)]
        for attacker in crowd:
            attacker.thread.start()
        for attacker in crowd:
            attacker.thread.join()
        outcome.delivered = talk.finish()
        outcome.honest = talk.sent
        outcome.wrong += [talk.failure] if talk.failure else []
        outcome.wrong += field.settle()
    finally:
        outcome.wrong += field.end()
    outcome.seconds = time.monotonic() - began
    if outcome.delivered != honest:
        outcome.wrong.append(f"{outcome.delivered} of {honest} honest messages were shown exactly once")
    return outcome
