"""What stands under the programs' own modules when they are fuzzed in process: no socket, no thread, no clock.

What would run in a thread, when an alarm goes off or when the disk is written to waits until the fuzzer gives it its
turn, all in the fuzzer's one thread. So whatever happens is decided by the inputs, and can be traced.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

import socp
from crypto.encoding import EncodingError, decode_base64url, encode_base64url
from crypto.keys import PublicKey
from crypto.signing import KeySigner
from database import Database, DatabaseError, Done, Write
from handshake import Acceptor, _tls_mark
from link import Link
from outflow import Sent
from socp import Envelope
from tests.fuzz.grammar import NONCE, NOW, stand_in
from threads import Alarm, Alarms, Deadline, Threads
from transport import READ_BYTES

# What goes on for as long as a program does, and is not begun by any frame.
_LASTING = ("notices", "heartbeat", "accept", "mail check", "join ", "dial ", "teller", "outbox", "connection")
_TURNS_MOST = 1_000
# What every acceptor in TLS draws in process.
TLS_NONCE = encode_base64url(bytes(24) + _tls_mark(bytes(24)))


class Blocked(BaseException):
    """Raised in the middle of a handler that does not come back."""


class Turns(Threads):
    """Threads that wait for their turn.

    Attributes:
        dry: whether there are none to be had.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dry = False
        self._turns: deque[tuple[str, Callable[[], None]]] = deque()

    def start(self, name: str, target: Callable[[], None]) -> bool:
        """Note what is to run."""
        if self.dry:
            return False
        if not name.startswith(_LASTING):
            self._turns.append((name, target))
        return True

    def turn(self) -> None:
        """Run all that waits, and what that gives rise to."""
        for _ in range(_TURNS_MOST):
            if not self._turns:
                return
            _, target = self._turns.popleft()
            target()
        raise Blocked(f"threads are started without end: {self._turns[0][0]}")


class Bells(Alarms):
    """Alarms that go off when they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self._bells: list[Alarm] = []

    def start(self) -> None:
        """Keep no time."""

    def after(self, seconds: float, callback: Callable[[], None]) -> Alarm:
        """Note what is to be called."""
        alarm = Alarm(seconds, callback)
        self._bells.append(alarm)
        return alarm

    def ring(self) -> None:
        """Have all go off that were set before."""
        bells, self._bells = self._bells, []
        for alarm in bells:
            if not alarm.cancelled:
                alarm.callback()

    def stop(self) -> None:
        """Forget all."""
        self._bells.clear()


class _Written(threading.Event):
    """A write that whoever waits for it has carried out."""

    def __init__(self, turn: Callable[[], None]) -> None:
        super().__init__()
        self._turn = turn

    def wait(self, timeout: float | None = None) -> bool:
        """Write what waits."""
        self._turn()
        if not self.is_set():
            raise Blocked("a write that was waited for has not ended")
        return True


class Disk(Database):
    """A database whose writes wait for their turn.

    Attributes:
        full: whether nothing can be written to it.
    """

    full = False

    def start(self) -> None:
        """Open it."""
        self._turns: deque[tuple[Write, Done]] = deque()
        self._mine = self._open()
        self._mine.execute("PRAGMA synchronous = OFF")

    def write(self, write: Write, done: Done) -> None:
        """Note what is to be written."""
        self._turns.append((write, done))

    def write_soon(self, statement: str, *values: object) -> threading.Event:
        """Note what is to be written."""
        written = _Written(self.turn)
        self.write(lambda connection: connection.execute(statement, values), lambda _: written.set())
        return written

    def commit(self, write: Write) -> None:
        """Write what waits, and this.

        Raises:
            DatabaseError: the disk is full.
        """
        self.turn()
        if self.full:
            raise DatabaseError("full")
        self._execute(write)

    def turn(self) -> None:
        """Write all that waits, and what that gives rise to."""
        for _ in range(_TURNS_MOST):
            if not self._turns:
                return
            write, done = self._turns.popleft()
            if self.full:
                done(DatabaseError("full"))
            else:
                self._execute(write)
                done(None)
        raise Blocked("writes give rise to writes without end")

    def _execute(self, write: Write) -> None:
        self._mine.execute("BEGIN")
        write(self._mine)
        self._mine.execute("COMMIT")

    def close(self, deadline: Deadline) -> None:
        """Close it."""
        self._mine.close()


class Pipe:
    """A transport whose one end is the fuzzer: it says what it was fed, and then that there is no more."""

    channel_key: PublicKey | None = None

    def __init__(self, *, secure: bool = False, fault: OSError | None = None) -> None:
        self.secure = secure
        self._fault = fault
        self.peer = "127.0.0.2:1"
        self._fed: deque[bytes] = deque()

    def begin(self) -> None:
        """Do nothing before the first frame.

        Raises:
            OSError: its fault, if it has one.
        """
        if self._fault is not None:
            raise self._fault

    def feed(self, *chunks: bytes) -> None:
        """Have it say more."""
        self._fed += chunks

    def receive(self, most: int = READ_BYTES) -> bytes:
        """Return the next bytes."""
        if not self._fed:
            return b""
        data = self._fed.popleft()
        if len(data) > most:
            self._fed.appendleft(data[most:])
        return data[:most]

    def peek(self) -> bytes:
        """Return the first of them."""
        return self._fed[0][:1] if self._fed else b""

    def send_now(self, data: bytes | memoryview) -> int:
        """Take everything."""
        return len(data)

    def send(self, data: bytes | memoryview) -> None:
        """Take everything."""

    def stop_reading(self) -> None:
        """Say nothing more."""
        self._fed.clear()

    finish = shut = close = stop_reading


class StageLink(Link):
    """A link that never waits.

    Attributes:
        taking: what becomes of what is sent to it.
        alive: whether its peer answers when it is asked for a sign of life.
        drains: whether it has room again when that is waited for.
        heard: told each frame that is sent.
    """

    taking = Sent.YES
    alive = False
    drains = True
    heard: Callable[[bytes], None] | None = None

    def send(self, frame: bytes) -> Sent:
        """Take a frame, or not."""
        if self.closing:
            return Sent.CLOSED
        if self.taking is Sent.YES and self.heard is not None:
            self.heard(frame)
        return self.taking

    def hold(self) -> None:
        """Wait for nothing."""

    def release(self, first: bytes) -> None:
        """Take a frame."""
        self.send(first)

    def wait_until_drained(self, seconds: float) -> bool:
        """Have room again, or not."""
        if not self.drains:
            return False
        self.taking = Sent.YES if self.taking is Sent.FULL else self.taking
        return not self.closing

    def alive_within(self, seconds: float, *, asked_by: bytes) -> bool:
        """Answer, or not."""
        return self.alive


def read(frame: bytes) -> Envelope:
    """Return what a program has sent."""
    from framing import decode_frame  # noqa: PLC0415

    return socp.read_envelope(decode_frame(frame), frame)


class _Criticals(logging.Handler):
    """Notes what programs say of bugs of theirs that they have caught."""

    def __init__(self) -> None:
        super().__init__(logging.CRITICAL)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note it, with its traceback."""
        self.said.append(self.format(record))


class BugNoticed(Exception):
    """Raised when a program has caught an exception that is a bug of its own; says which."""


@contextlib.contextmanager
def no_bugs() -> Iterator[None]:
    """Fail when a program says at its end, or before, that it has caught a bug of its own.

    Raises:
        BugNoticed: it has.
    """
    handler = _Criticals()
    root = logging.getLogger("socp")
    level, propagates = root.level, root.propagate
    root.addHandler(handler)
    root.setLevel(logging.CRITICAL)
    root.propagate = False
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        root.propagate = propagates
    if handler.said:
        raise BugNoticed(handler.said[0])


def _verify(key: PublicKey, value: Mapping[str, object], signature: str) -> bool:
    try:
        return decode_base64url(signature) == decode_base64url(stand_in(key, value))
    except EncodingError:
        return False


def _sign(signer: KeySigner, value: Mapping[str, object]) -> str:
    return stand_in(signer.public, value)


@contextlib.contextmanager
def stage() -> Iterator[None]:
    """Have the programs' modules use all that stands here, at one time that does not pass.

    What they sign is not signed by RSA, which is neither ours nor fast; running programs get real signatures.
    """
    replaced: dict[str, Any] = {
        "socp.now_ms": lambda: NOW,
        "handshake.new_nonce": lambda: NONCE,
        "handshake.new_tls_nonce": lambda: TLS_NONCE,
        "host.Acceptor": lambda *given, **named: Acceptor(*given, **{**named, "now": lambda: NOW}),
        "host.accept_transport": lambda plain, *_, **__: plain,
        "host.Link": StageLink,
        "host.Threads": Turns,
        "host.Alarms": Bells,
        "connection.Link": StageLink,
        "chat.Threads": Turns,
        "chat.Alarms": Bells,
        "chat.Database": Disk,
        "crypto.signing.KeySigner.sign": _sign,
        "crypto.signing.verify": _verify,
        "origin.verify": _verify,
        "membership.verify": _verify,
    }
    with contextlib.ExitStack() as stack:
        for name, value in replaced.items():
            stack.enter_context(mock.patch(name, value))
        yield
