"""A flood of everything at once: `python -m tests.hostile.flood --seconds 600`.

From many addresses come connections that say nothing, handshakes that are not finished, garbage, users who send
messages, lists, broadcasts and files as fast as they can, and mail for users who are away, up to its limits. Meanwhile
two honest users talk. Afterwards every program must have about as much memory, as many threads and as many descriptors
as it had before.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import socp
from crypto.encoding import encode_base64url
from crypto.signing import message_reference
from socp import ProtocolError
from tests.fuzz.live import Field, Talk, drain
from tests.hostile import measure
from tests.hostile.arena import attacker_address
from tests.peer import Peer
from tests.vectors import key

_MEMORY_MOST = 64 * measure.MIB
_SETTLED = 90.0  # seconds in which what is left of the flood must be gone
_PATIENCE = 180.0  # for an honest message: the flood takes all the processor's time that it gets
_WARM = 3.0  # seconds of the flood before it is measured what programs have
_REFUSED = 0.05  # seconds before whoever was refused comes again
_AT_ONCE = 100  # frames of a user between two looks at what has come
_IDLE = 12  # connections of one address that say nothing
_SHOWN = 2_000  # characters of what a program has printed
_KIB = "A" * 1_368  # what a sealed text of one block looks like to a server


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        done: how often each kind of flooder has done what it does.
        told: how many messages of honest users were shown, once each.
        wrong: what should not have happened, for people.
    """

    done: Counter[str] = field(default_factory=Counter)
    before: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    after: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    told: int = 0
    wrong: list[str] = field(default_factory=list)


class Flood:
    """All those who flood.

    Args:
        arena: the programs.
        outcome: is added to.
    """

    def __init__(self, arena: Field, outcome: Outcome) -> None:
        self._field = arena
        self._outcome = outcome
        self._stopped = threading.Event()
        self._lock = threading.Lock()  # guards the outcome
        self._threads: list[threading.Thread] = []
        self._flooders = 0

    def start(self) -> None:
        """Begin."""
        for kind, act in (
            ("idle", self._idle),
            ("hello", self._hello),
            ("hello", self._hello),
            ("garbage", self._garbage),
            ("garbage", self._garbage),
        ):
            self._begin(kind, act)
        users: tuple[tuple[str, str, Callable[[Peer], None]], ...] = (
            ("messages", "mallory", lambda peer: self._tell(peer, "grace")),
            ("messages", "grace", lambda peer: self._tell(peer, "mallory")),
            ("mail", "frank", lambda peer: self._tell(peer, "dave")),
            ("lists", "erin", self._list),
            ("broadcasts", "carol", self._broadcast),
            ("files", "bob", self._file),
        )
        for kind, name, act_as in users:
            self._begin(kind, self._user(name, act_as))

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _begin(self, kind: str, act: Callable[[str, int], int]) -> None:
        self._flooders += 1
        source = attacker_address(1 + self._flooders)
        names = f"{kind} from {source}"
        thread = threading.Thread(target=self._repeat, args=(kind, act, source), name=names, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _repeat(self, kind: str, act: Callable[[str, int], int], source: str) -> None:
        rng = random.Random(source)
        while not self._stopped.is_set():
            done = 0
            with contextlib.suppress(OSError, AssertionError, ProtocolError):
                done = act(source, self._field.ports[rng.choice(("server", "server2"))])
            with self._lock:
                self._outcome.done[kind] += done
            if not done:
                self._stopped.wait(_REFUSED)

    # --- strangers ----------------------------------------------------------------------------------------------

    @staticmethod
    def _connect(source: str, port: int) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), timeout=10.0, source_address=(source, 0))

    def _idle(self, source: str, port: int) -> int:
        with contextlib.ExitStack() as stack:
            for _ in range(_IDLE):
                stack.enter_context(self._connect(source, port)).send(b"\0")
            self._stopped.wait(1.0)
        return _IDLE

    def _hello(self, source: str, port: int) -> int:
        with Peer(port, "heidi", source=source) as peer:
            peer.hello()
            peer.expect(socp.AUTH_CHALLENGE)
        return 1

    def _garbage(self, source: str, port: int) -> int:
        with self._connect(source, port) as connection:
            connection.sendall((16_000).to_bytes(4, "big") + random.randbytes(16_000))
            connection.recv(1000)
        return 1

    # --- users --------------------------------------------------------------------------------------------------

    def _user(self, name: str, act: Callable[[Peer], None]) -> Callable[[str, int], int]:
        """Return what attaches as a user and acts as one, for some thousand frames."""

        def run(source: str, port: int) -> int:
            done = 0
            with Peer(port, name, source=source) as peer:
                peer.attach_user()
                while done < 50 * _AT_ONCE and not self._stopped.is_set():
                    for _ in range(_AT_ONCE):
                        act(peer)
                    done += _AT_ONCE
                    if not self._hear(peer):
                        break
            return done

        return run

    @staticmethod
    def _hear(peer: Peer) -> bool:
        """Confirm what has come of messages, as long as there is any; False when the other side has closed."""
        with contextlib.suppress(AssertionError):  # nothing more comes
            while peer.read(0.02) is not None:
                if len(peer.unconfirmed) >= _AT_ONCE:
                    break
        for delivered in peer.unconfirmed:
            payload = {"msg_ref": message_reference(delivered.payload["content_sig"]), "status": "delivered"}
            peer.send(socp.ACK, {**payload, "content_sig": "x"}, to=delivered.payload["sender"])
        peer.unconfirmed.clear()
        return drain(peer)

    @staticmethod
    def _tell(peer: Peer, to: str) -> None:
        # No server can tell whether a message is sealed, and whether its signature is right.
        signature = encode_base64url(random.randbytes(512))
        payload = {"ciphertext": _KIB, "sender_pub": peer.pair.public.text, "content_sig": signature}
        peer.send(socp.MSG_DIRECT, payload, to=key(to).id)

    @staticmethod
    def _list(peer: Peer) -> None:
        peer.send(socp.USER_LIST_REQUEST, {"after": "", "limit": 1000})

    @staticmethod
    def _broadcast(peer: Peer) -> None:
        ts = socp.now_ms()
        peer.send(socp.MSG_PUBLIC_CHANNEL, peer.broadcast("flood", ts), to=socp.PUBLIC, ts=ts)

    @staticmethod
    def _file(peer: Peer) -> None:
        payload = {"file_id": "00000000-0000-4000-8000-000000000000", "index": 0, "ciphertext": "A" * 43_692}
        peer.send(socp.FILE_CHUNK, payload, to=key("mallory").id)


def sizes(arena: Field) -> dict[str, tuple[int, int, int]]:
    """Return the memory, the threads and the descriptors of each program."""
    counts = arena.counts()
    return {name: (measure.resident(program.process.pid), *counts[name]) for name, program in arena.programs().items()}


def run(seconds: float) -> Outcome:
    """Flood running programs for so long, and see what is left of that."""
    outcome = Outcome()
    arena = Field()
    try:
        talk = Talk(arena, None, _PATIENCE)
        talk.start()
        with Peer(arena.ports["server"], "dave") as dave:  # for whom there will be mail
            dave.attach_user()
            dave.leave()
        _flood(arena, outcome, _WARM)
        arena.settle()
        arena.measure_anew()
        outcome.before = sizes(arena)
        _flood(arena, outcome, seconds)
        outcome.wrong += arena.settle(_SETTLED)
        outcome.after = sizes(arena)
        talk.stop()
        outcome.told = talk.finish()
        outcome.wrong += [talk.failure] if talk.failure else []
        if outcome.told != talk.sent:
            outcome.wrong.append(f"{outcome.told} of {talk.sent} honest messages were shown exactly once")
    except AssertionError as error:
        outcome.wrong.append(f"{str(error)[:_SHOWN]} … {str(error)[-_SHOWN:]}")
    finally:
        outcome.wrong += arena.end()
    for name, (memory, _, _) in outcome.after.items():
        if (grown := memory - outcome.before[name][0]) > _MEMORY_MOST:
            outcome.wrong.append(f"{name} has {grown / measure.MIB:.0f} MiB more than before")
    return outcome


def _flood(arena: Field, outcome: Outcome, seconds: float) -> None:
    flood = Flood(arena, outcome)
    flood.start()
    threading.Event().wait(seconds)
    flood.stop()


def main() -> int:
    """Run, and return 0 if all was as before."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.flood", description=__doc__, allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (default: %(default)s)")
    arguments = parser.parse_args()
    began = time.monotonic()
    outcome = run(arguments.seconds)
    for kind, count in sorted(outcome.done.items()):
        print(f"{kind:<12} {count:>12,}")
    print(
        f"{'program':<12} {'MiB before':>10} {'after':>6} {'threads':>8} {'after':>6} {'descriptors':>12} {'after':>6}"
    )
    for name, (memory, threads, descriptors) in outcome.before.items():
        grown, threads_after, descriptors_after = outcome.after.get(name, (0, 0, 0))
        print(
            f"{name:<12} {memory / measure.MIB:>10.1f} {grown / measure.MIB:>6.1f} {threads:>8} {threads_after:>6} "
            f"{descriptors:>12} {descriptors_after:>6}"
        )
    print(f"honest messages: {outcome.told:,}, each shown once and confirmed")
    for line in outcome.wrong:
        print(f"WRONG: {line}")
    print(f"flooded for {arguments.seconds:g} s of {time.monotonic() - began:.0f} s")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
