"""A process that makes load: users who send frames that were made beforehand, and users who answer with theirs.

It does as little as can be for a frame, so that the cores are left to what is measured: it moves bytes, and counts
frames by words that stand in each of them once. What came, and in which order, is checked when the clock has stopped.

It reads a `Plan` as one line of JSON, attaches its users and prints "ready". Each further character begins a round;
what is printed then is when the round began and ended, on the clock of this machine, as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import socket
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.frames import split
from benchmarks.keys import pair, prepare
from benchmarks.machine import PATIENCE, BenchmarkError, Process
from benchmarks.users import attach, heartbeat, online_count, raise_descriptor_limit
from crypto.signing import message_reference
from framing import FROM_SERVER, FrameBuffer, decode_frame

SENDS, TAKES, HEARS, IDLES = "sends", "takes", "hears", "idles"

_READ_BYTES = 256 * 1024
_BATCH_FRAMES = 32  # that go out in one call at most
_STUCK = 60.0  # seconds without a byte, after which a round has failed
_LAST = 5.0  # seconds for the rest of the last frame
_HEARTBEAT = 15.0
_ATTACHING_AT_ONCE = 8  # a server lets 16 of one address be about to
_RELAY_PAUSE = 0.3  # within which the relay reads who is there: it does not say so


@dataclass(frozen=True)
class Line:
    """One user.

    Attributes:
        role: SENDS messages and awaits receipts; TAKES messages and answers with receipts; HEARS broadcasts; IDLES.
        key: the number of its key.
        port: of its server.
        frames: the file of what it sends.
    """

    role: str
    key: int
    port: int
    frames: str = ""


@dataclass(frozen=True)
class Plan:
    """What a process is to do.

    Attributes:
        lines: its users.
        count: frames that each of those who send sends in a round; what is in their files is sent in turn.
        marker: what stands once in each frame that is taken or heard.
        receipt: what stands once in each frame that those who send wait for; empty where they wait for none, and for
            those who hear instead.
        tls: whether links are TLS.
        relay: whether the other side is the relay, which knows of no handshake.
        window: frames that one user may have under way.
        known: how many users must be known to be online before all is ready.
    """

    lines: Sequence[Line]
    count: int
    marker: str
    receipt: str = '"status":"delivered"'
    tls: bool = False
    relay: bool = False
    window: int = 256
    known: int = 0


@dataclass
class User:
    """A user and its connection, which does not block."""

    line: Line
    link: socket.socket
    marker: bytes
    keeps: bool
    frames: list[bytes] = field(default_factory=list)
    round: list[bytes] = field(default_factory=list)  # what it sends in this round
    sent: int = 0  # of those
    seen: int = 0  # markers in this round
    rest: memoryview = field(default_factory=lambda: memoryview(b""))  # that the socket has not taken
    tail: bytes = b""  # what may be the beginning of a marker
    came: list[bytes] = field(default_factory=list)
    buffer: FrameBuffer = field(default_factory=lambda: FrameBuffer(FROM_SERVER))

    def receive(self) -> None:
        """Take what has come, and count."""
        try:
            while data := self.link.recv(_READ_BYTES):
                self._count(data)
                if not isinstance(self.link, ssl.SSLSocket):
                    return
            raise BenchmarkError(f"the link of user {self.line.key} was closed; last came {self.came[-1:]!r}")
        except (BlockingIOError, ssl.SSLWantReadError):
            return

    def _count(self, data: bytes) -> None:
        if self.keeps:
            self.came.append(data)
        self.seen += (self.tail + data).count(self.marker)
        self.tail = data[1 - len(self.marker) :]

    def send(self, most: int) -> bool:
        """Send frames of the round up to number `most`, as far as the socket takes them; False when it is full."""
        while True:
            if not self.rest:
                end = min(most, self.sent + _BATCH_FRAMES)
                if end <= self.sent:
                    return True
                self.rest = memoryview(b"".join(self.round[self.sent : end]))
                self.sent = end
            try:
                self.rest = self.rest[self.link.send(self.rest) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                return False

    def begin(self, number: int, count: int) -> None:
        """Begin a round."""
        if self.frames:
            first = number * count % len(self.frames)
            self.round = self.frames[first : first + count]
        self.sent = self.seen = 0
        self.came.clear()

    def check(self) -> None:
        """Compare what came with what should have come, in its order.

        Raises:
            BenchmarkError: it is something else.
        """
        if not self.keeps:
            return
        came: list[str] = []
        while len(came) < len(self.round):
            self.buffer.feed(b"".join(self.came))
            self.came.clear()
            while (frame := self.buffer.next_frame()) is not None:
                if self.marker in frame:
                    came.append(_reference(frame))
            # Of the last frame, only the beginning may have come: that is where the marker stands.
            if not self.buffer.begun or not select.select([self.link], [], [], _LAST)[0]:
                break
            self.receive()
        if came != [_reference(frame) for frame in self.round]:
            raise BenchmarkError(f"user {self.line.key} did not get what it was sent, in that order")


def _reference(frame: bytes) -> str:
    """Return what a message, or the receipt for it, calls the message by."""
    payload = decode_frame(frame)["payload"]
    return payload.get("msg_ref") or message_reference(payload["content_sig"])


class Load:
    """All users of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._heartbeat_at = time.monotonic() + _HEARTBEAT
        self._selector = selectors.DefaultSelector()
        self._users: list[User] = []
        self._rounds = 0
        prepare(max(line.key for line in plan.lines) + 1)
        with ThreadPoolExecutor(_ATTACHING_AT_ONCE) as pool:
            for user in pool.map(self._attach, plan.lines):
                self._users.append(user)
                self._beat()
        if plan.relay:
            time.sleep(_RELAY_PAUSE)
        self._wait_known()
        for user in self._users:
            user.link.setblocking(False)
            self._selector.register(user.link, selectors.EVENT_READ, user)
        self._senders = [user for user in self._users if user.line.role == SENDS]
        self._takers = [user for user in self._users if user.line.role == TAKES]
        self._hearers = [user for user in self._users if user.line.role == HEARS]

    def _attach(self, line: Line) -> User:
        plan = self._plan
        marker = plan.receipt if line.role == SENDS else plan.marker
        keeps = line.role == TAKES or (line.role == SENDS and bool(plan.receipt))
        link = attach(line.port, pair(line.key), tls=plan.tls, relay=plan.relay)
        user = User(line, link, marker.encode() or b"\0", keeps)
        if line.frames:
            user.frames = list(split(Path(line.frames).read_bytes()))
        return user

    def _wait_known(self) -> None:
        if self._plan.known:
            for user in {user.line.port: user for user in self._users}.values():
                end = time.monotonic() + _STUCK
                while online_count(user.link, pair(user.line.key).id) < self._plan.known:
                    if time.monotonic() > end:
                        raise BenchmarkError(f"the users are not known to the server at port {user.line.port}")
                    time.sleep(0.1)  # there is nothing that could be waited for

    def _beat(self) -> None:
        """Let the servers hear of all users now and then."""
        now = time.monotonic()
        if now >= self._heartbeat_at and not self._plan.relay:
            self._heartbeat_at = now + _HEARTBEAT
            for user in self._users:
                if not user.rest:
                    user.rest = memoryview(heartbeat(pair(user.line.key).id))
                    user.send(0)

    def wait_for_word(self) -> bool:
        """Wait for a character of standard input, and let all users live meanwhile; False at its end."""
        with contextlib.ExitStack() as stack:
            self._selector.register(sys.stdin, selectors.EVENT_READ)
            stack.callback(self._selector.unregister, sys.stdin)
            while True:
                for key, _ in self._selector.select(max(0.0, self._heartbeat_at - time.monotonic())):
                    if key.data is None:
                        return bool(os.read(0, 1))
                    key.data.receive()
                self._beat()

    def run(self) -> dict[str, float]:
        """Run one round, and return when it began and ended."""
        count = self._plan.count
        for user in self._users:
            user.begin(self._rounds, count)
        self._rounds += 1
        began = time.monotonic()
        while not self._step(count):
            ready = self._selector.select(_STUCK)
            if not ready:
                raise BenchmarkError(self._report())
            for key, _ in ready:
                key.data.receive()
        ended = time.monotonic()
        self._heartbeat_at = ended
        for user in self._users:
            user.check()
        return {"began": began, "ended": ended}

    def _step(self, count: int) -> bool:
        """Send what may be sent; True when the round is over."""
        heard = min((user.seen for user in self._hearers), default=count)
        for user in self._senders:
            self._send(user, min(count, (user.seen if user.keeps else heard) + self._plan.window))
        for user in self._takers:
            self._send(user, user.seen)
        return (
            heard >= count
            and all(user.sent == count and not user.rest for user in (*self._senders, *self._takers))
            and all(user.seen == count for user in self._senders if user.keeps)
        )

    def _send(self, user: User, most: int) -> None:
        blocked = not user.send(most)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if blocked else 0)
        if self._selector.get_key(user.link).events != events:
            self._selector.modify(user.link, events, user)

    def _report(self) -> str:
        lines = [f"nothing has come for {_STUCK} s"]
        for user in (*self._senders, *self._takers, *self._hearers):
            lines.append(f"{user.line}: sent {user.sent}, seen {user.seen}, last came {user.came[-1:]!r:.400}")
        return "\n".join(lines[:20])


def main() -> None:
    """Do what the plan says."""
    plan = json.loads(_read_line())
    raise_descriptor_limit()
    load = Load(Plan(**{**plan, "lines": [Line(**line) for line in plan["lines"]]}))
    print("ready", flush=True)
    while load.wait_for_word():
        print(json.dumps(load.run()), flush=True)


def _read_line() -> bytes:
    """Read a line of standard input, and nothing behind it."""
    line = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return bytes(line)


@dataclass(frozen=True)
class Round:
    """When a round began and ended, in seconds on the clock of this machine."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


class LoadProcess:
    """A load, seen from the process that measures."""

    def __init__(self, name: str, plan: Plan) -> None:
        self._process = Process(name, "-m", "benchmarks.load")
        self._process.say(json.dumps(asdict(plan)) + "\n")

    def wait_ready(self, seconds: float = PATIENCE) -> None:
        """Wait until all its users are attached."""
        self._process.expect("ready", seconds)

    def begin(self) -> None:
        """Begin a round."""
        self._process.say("r")

    def end_of_round(self) -> Round:
        """Wait until a round has ended."""
        return Round(**json.loads(self._process.expect('"began"')))

    def end(self) -> None:
        """End it."""
        self._process.end()


@contextlib.contextmanager
def running_loads(*plans: Plan) -> Iterator[list[LoadProcess]]:
    """Run loads, each started when the users of those before it are attached."""
    with contextlib.ExitStack() as stack:
        loads = []
        for number, plan in enumerate(plans):
            load = LoadProcess(f"load {number}", plan)
            stack.callback(load.end)
            load.wait_ready()
            loads.append(load)
        yield loads


def run_round(loads: Sequence[LoadProcess]) -> Round:
    """Run one round of all loads, and return when its first began and its last ended."""
    for load in loads:
        load.begin()
    rounds = [load.end_of_round() for load in loads]
    return Round(max(each.began for each in rounds), max(each.ended for each in rounds))


if __name__ == "__main__":
    main()
