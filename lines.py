"""Standard input, line by line, with waits that another thread or a signal can end."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys

# Bytes of a line that a terminal hands on, while it is the terminal that edits lines; what is beyond is gone.
TERMINAL_LINE = 1023 if sys.platform == "darwin" else 4095


class LineCut(Exception):
    """Raised for a line that the terminal has cut short: it holds only so much of one that is typed or pasted."""


class Lines:
    """Standard input, line by line, whatever it is: a terminal, a pipe or a file.

    The wait for a line can be woken from another thread, which no read of Python's own can, and by every signal: one
    that arrives in the moment before the wait begins would else not be noticed before it ends.
    """

    def __init__(self) -> None:
        self.is_terminal = sys.stdin is not None and sys.stdin.isatty()
        self._descriptor = sys.stdin.fileno() if sys.stdin is not None else -1
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        self._rest = b""
        self._ended = self._descriptor < 0

    def wake(self) -> None:
        """End the wait of `next` or `wait_woken`, now or when it is next called."""
        with contextlib.suppress(BlockingIOError):  # it is full of wakings already
            self._wake.send(b"\0")

    def close(self) -> None:
        """Give back what waking took; `wake` must not be called any more."""
        signal.set_wakeup_fd(-1)
        self._woken.close()
        self._wake.close()

    def next(self) -> str | None:
        """Return the next line without its end; None at the end of input.

        Raises:
            InterruptedError: `wake` was called.
            LineCut: there was more than a terminal can hold.
        """
        while b"\n" not in self._rest and not self._ended:
            self._wait()
            try:
                data = os.read(self._descriptor, 65_536)
            except OSError:
                data = b""  # the other end of a terminal is gone
            self._ended = not data
            self._rest += data
        line, newline, self._rest = self._rest.partition(b"\n")
        if not line and not newline:
            return None
        if self.is_terminal and len(line) >= TERMINAL_LINE:
            raise LineCut
        return line.decode("utf-8", errors="surrogateescape").removesuffix("\r")

    def wait_woken(self) -> None:
        """Wait for `wake` alone."""
        with selectors.SelectSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            selector.select()

    def _wait(self) -> None:
        # select alone works with terminals, pipes and files on every system.
        with selectors.SelectSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            selector.register(self._descriptor, selectors.EVENT_READ)
            ready = [key.fileobj for key, _ in selector.select()]
        if self._woken in ready:
            raise InterruptedError
