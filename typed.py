"""Lines that were typed, on their way from the thread that reads keys to the main thread, whose waits others can end.

Every signal ends a wait too: one that arrives in the moment before the wait begins would else not be noticed before it
ends. Those that only tell of the terminal do not.
"""

from __future__ import annotations

import contextlib
import math
import select
import signal
import socket
import threading
from collections import deque

_LINES_MOST = 256  # that were typed and not yet taken
_WAKE, _LINE = b"\0", b"\xff"  # in the socket where signals leave their numbers
_HARMLESS = bytes([signal.SIGWINCH, signal.SIGCONT]) + _LINE


class TypedLines:
    """A bounded queue of lines for the main thread, which makes and closes it.

    Attributes:
        begun: see Screen; the main thread's.
    """

    def __init__(self) -> None:
        self._woken, self._wake = wake_sockets()
        self._wakeup_before = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        self.begun = math.inf
        self._is_woken = False
        self._changed = threading.Condition()  # guards the three below
        self._lines: deque[tuple[str, float]] = deque()
        self._has_ended = False
        self._is_closing = False

    def put(self, line: str, begun: float = math.inf) -> None:
        """Add a line that was begun at some time, waiting while the main thread has too many to do."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._lines) < _LINES_MOST or self._is_closing)
            self._lines.append((line, begun))
        self._tell(_LINE)

    def end(self) -> None:
        """Have no more lines come; harmless when repeated."""
        with self._changed:
            self._has_ended = True
        self._tell(_LINE)

    @property
    def has_ended(self) -> bool:
        """Whether no more lines come."""
        with self._changed:
            return self._has_ended

    def next(self) -> str | None:
        """Return the next line; None at the end.

        Raises:
            InterruptedError: `wake` was called.
        """
        while not self._is_woken:
            with self._changed:
                if self._lines:
                    self._changed.notify_all()
                    line, self.begun = self._lines.popleft()
                    return line
                if self._has_ended:
                    return None
            self._wait()
        raise InterruptedError

    def wait_woken(self) -> None:
        """Wait for `wake` alone."""
        while not self._is_woken:
            self._wait()

    def wake(self) -> None:
        """End the wait of `next` or `wait_woken`, now or when it is next called."""
        self._is_woken = True
        self._tell(_WAKE)

    def let_go(self) -> None:
        """End the wait of `put`, now and for good."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()

    def close(self) -> None:
        """Give back what waking took."""
        signal.set_wakeup_fd(self._wakeup_before)
        self._woken.close()
        self._wake.close()

    def _wait(self) -> None:
        select.select([self._woken], [], [])
        if self._woken.recv(4096).translate(None, _HARMLESS):
            self._is_woken = True

    def _tell(self, what: bytes) -> None:
        with contextlib.suppress(OSError):  # it is full of wakings already, or closed
            self._wake.send(what)


def wake_sockets() -> tuple[socket.socket, socket.socket]:
    """Return two ends: whoever writes into the second never waits."""
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    return reading, writing
