"""A wait that can be ended from outside."""

from __future__ import annotations

import os
import signal
import socket
import threading
import unittest

from waking import Waker

PATIENCE = 20.0


class WakerTest(unittest.TestCase):
    """What ends a wait."""

    def setUp(self) -> None:
        """Make a waker."""
        self.waker = Waker()
        self.addCleanup(self.waker.close)

    def test_woken(self) -> None:
        """It ends when it is woken, before it begins or while it lasts, and once for all wakings before it."""
        for _ in range(10_000):  # more than a socket holds
            self.waker.wake()
        self.assertFalse(self.waker.wait(PATIENCE))
        self.assertFalse(self.waker.wait(0.01))  # the time is over
        thread = threading.Thread(target=self.waker.wake)
        thread.start()
        self.assertFalse(self.waker.wait(PATIENCE))
        thread.join()

    def test_other(self) -> None:
        """It ends, too, when another socket can be read from, or has ended, and tells that."""
        one, other = socket.socketpair()
        with one, other:
            self.assertFalse(self.waker.wait(0.01, one))
            other.send(b"x")
            self.waker.wake()
            self.assertTrue(self.waker.wait(PATIENCE, one))
            one.recv(1)
            other.close()
            self.assertTrue(self.waker.wait(PATIENCE, one))

    def test_signal(self) -> None:
        """A signal ends it, also one that came in the moment before."""
        before = signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.set_wakeup_fd(self.waker.fileno(), warn_on_full_buffer=False)
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            self.assertFalse(self.waker.wait(PATIENCE))
        finally:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGUSR1, before)

    def test_closed(self) -> None:
        """To wake what is closed is harmless."""
        self.waker.close()
        self.waker.wake()
