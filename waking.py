"""A wait that other threads and signals can end: which no wait of Python's own for a lock or a socket is."""

from __future__ import annotations

import contextlib
import selectors
import socket


class Waker:
    """Ends a wait for sockets from outside; one thread alone may wait.

    With signal.set_wakeup_fd and `fileno`, every signal ends it too: one that arrives in the moment before the wait
    begins would else not be noticed before it ends.
    """

    def __init__(self) -> None:
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor that a byte written to ends the wait."""
        return self._wake.fileno()

    def wake(self) -> None:
        """End the wait, now or when it next begins; harmless after `close`."""
        with contextlib.suppress(OSError):  # it is full of wakings already, or closed
            self._wake.send(b"\0")

    def wait(self, seconds: float | None, other: socket.socket | None = None) -> bool:
        """Wait until it is woken, or another socket can be read from or has ended; tell whether that socket has."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            if other is not None:
                selector.register(other, selectors.EVENT_READ)
            ready = [key.fileobj for key, _ in selector.select(seconds)]
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                while self._woken.recv(4096):
                    pass
        return other is not None and other in ready

    def close(self) -> None:
        """Give back what it took; harmless when repeated."""
        self._woken.close()
        self._wake.close()

    def __enter__(self) -> Waker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
