"""Lines on their way to the main thread."""

from __future__ import annotations

import os
import signal
import threading
import unittest

from typed import TypedLines

PATIENCE = 10.0


class TypedLinesTest(unittest.TestCase):
    """One queue."""

    def setUp(self) -> None:
        """Make it."""
        self.lines = TypedLines()
        self.addCleanup(self.lines.close)

    def test_order(self) -> None:
        """Lines come in their order, and the end behind them."""
        for line in ("one", "", "two\nrows"):
            self.lines.put(line)
        self.lines.put("four", 4.0)
        self.lines.end()
        self.assertTrue(self.lines.has_ended)
        self.assertEqual([self.lines.next() for _ in range(3)], ["one", "", "two\nrows"])
        self.assertEqual((self.lines.next(), self.lines.begun), ("four", 4.0))
        self.assertEqual([self.lines.next() for _ in range(2)], [None, None])

    def test_woken(self) -> None:
        """A wait is ended from another thread, and so is every later one, as often as it may be."""
        threading.Timer(0.02, self.lines.wake).start()
        self.lines.wait_woken()
        for _ in range(100_000):
            self.lines.wake()
        self.lines.put("too late")
        self.assertRaises(InterruptedError, self.lines.next)

    def test_signals(self) -> None:
        """A signal ends a wait, also one that arrives just before it; one that tells of the terminal does not."""
        for number in (signal.SIGUSR1, signal.SIGWINCH, signal.SIGCONT):
            before = signal.signal(number, lambda *_: None)
            self.addCleanup(signal.signal, number, before)
        for number in (signal.SIGWINCH, signal.SIGCONT):
            os.kill(os.getpid(), number)
        self.lines.put("one")
        self.assertEqual(self.lines.next(), "one")
        os.kill(os.getpid(), signal.SIGUSR1)
        self.lines.wait_woken()

    def test_bounded(self) -> None:
        """Whoever adds too many waits until some are taken, or until nobody will take any more."""
        thread = threading.Thread(target=self.put_many)
        thread.start()
        self.assertEqual([self.lines.next() for _ in range(1_000)], [str(number) for number in range(1_000)])
        self.assertTrue(thread.is_alive())
        self.lines.let_go()
        thread.join(PATIENCE)
        self.assertFalse(thread.is_alive())

    def put_many(self) -> None:
        """Add more lines than anybody takes."""
        for number in range(2_000):
            self.lines.put(str(number))

    def test_wakeup_given_back(self) -> None:
        """Signals wake afterwards whom they woke before."""
        inner = TypedLines()
        inner.close()
        os.kill(os.getpid(), signal.SIGCONT)  # has no handler, and wakes nobody
        before = signal.signal(signal.SIGUSR1, lambda *_: None)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)
        os.kill(os.getpid(), signal.SIGUSR1)
        self.lines.wait_woken()
