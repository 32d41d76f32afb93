"""The thread that does a client's jobs."""

from __future__ import annotations

import threading
import unittest
from unittest import mock

from errors import ChatError
from teller import Teller
from threads import Deadline, Threads

PATIENCE = 10.0


class TellerTest(unittest.TestCase):
    """Jobs in their order, however many there are."""

    def setUp(self) -> None:
        """Make a teller whose queue holds two jobs."""
        self.threads = Threads()
        self.asking = False
        self.teller = Teller(self.threads, 2, lambda: self.asking)
        self.addCleanup(lambda: self.threads.join(Deadline(PATIENCE)))
        self.addCleanup(self.teller.stop)

    def test_order(self) -> None:
        """Jobs are done in the order they were given in, by one thread, and an idle teller is told from a busy one."""
        done: list[int] = []
        for number in range(20):
            self.teller.give(lambda number=number: done.append(number))  # type: ignore[misc]
        self.assertTrue(self.teller.wait_idle(PATIENCE))
        self.assertEqual(done, list(range(20)))
        self.assertFalse(self.teller.is_this_thread())

    def test_failures(self) -> None:
        """A job that fails does not keep the next from being done; a bug is said."""
        done = threading.Event()

        def fail() -> None:
            raise ChatError("as it happens")

        self.teller.give(fail)
        with self.assertLogs("socp.teller", "CRITICAL"):
            self.teller.give(mock.Mock(side_effect=ValueError))
            self.teller.give(done.set)
            self.assertTrue(done.wait(PATIENCE))

    def test_full(self) -> None:
        """Whoever gives a job is held up while too many wait, and let through when a question does."""
        begun, go, given = threading.Event(), threading.Event(), threading.Event()

        def hold() -> None:
            begun.set()
            self.assertTrue(go.wait(PATIENCE))

        self.teller.give(hold)
        self.assertTrue(begun.wait(PATIENCE))
        for _ in range(2):
            self.teller.give(lambda: None)

        def give() -> None:
            self.teller.give(lambda: None)
            given.set()

        thread = threading.Thread(target=give)
        thread.start()
        self.assertFalse(given.wait(0.05))
        self.asking = True
        self.teller.let_through()
        self.assertTrue(given.wait(PATIENCE))
        thread.join()
        go.set()
        self.assertTrue(self.teller.wait_idle(PATIENCE))

    def test_stopped(self) -> None:
        """A teller that is stopped does what waits, and takes nothing more."""
        done: list[str] = []
        self.teller.give(lambda: done.append("before"))
        self.teller.stop()
        self.teller.give(lambda: done.append("after"))
        self.assertEqual(self.threads.join(Deadline(PATIENCE)), [])
        self.assertEqual(done, ["before"])
