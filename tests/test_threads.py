"""Threads that end, and the one that keeps time."""

from __future__ import annotations

import threading
import time
import unittest
from unittest import mock

from threads import Alarms, Deadline, Threads

PATIENCE = 10.0


class DeadlineTest(unittest.TestCase):
    """A wait that several steps share."""

    def test_left(self) -> None:
        """What is left becomes less, and never less than nothing."""
        deadline = Deadline(100)
        first = deadline.left()
        self.assertLessEqual(deadline.left(), first)
        self.assertGreater(first, 90)
        self.assertEqual(Deadline(-1).left(), 0)


class ThreadsTest(unittest.TestCase):
    """The threads of a program."""

    def test_joined(self) -> None:
        """Joining waits for all that run, and tells which did not end."""
        threads, go, stay = Threads(), threading.Event(), threading.Event()
        self.addCleanup(stay.set)
        self.assertTrue(threads.start("goes", lambda: self.assertTrue(go.wait(PATIENCE))))
        self.assertTrue(threads.start("stays", lambda: self.assertTrue(stay.wait(PATIENCE))))
        go.set()
        self.assertEqual(threads.join(Deadline(0.2)), ["stays"])
        stay.set()
        self.assertEqual(threads.join(Deadline(PATIENCE)), [])

    def test_none_after_the_end(self) -> None:
        """No thread starts after joining."""
        threads = Threads()
        threads.join(Deadline(1))
        self.assertFalse(threads.start("late", self.fail))

    def test_no_more_threads(self) -> None:
        """When the system has no more threads, that is told, and the next attempt may succeed."""
        threads, ran = Threads(), threading.Event()
        with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")):
            self.assertFalse(threads.start("none", ran.set))
        self.assertTrue(threads.start("one", ran.set))
        self.assertTrue(ran.wait(PATIENCE))
        self.assertEqual(threads.join(Deadline(PATIENCE)), [])

    def test_start_that_hangs(self) -> None:
        """While the system is slow to start one thread, others begin and end; joining waits for it, too."""
        threads, starting, go, ran = Threads(), threading.Event(), threading.Event(), threading.Event()
        start = threading.Thread.start

        def slowly(thread: threading.Thread) -> None:
            if thread.name == "slow":
                starting.set()
                self.assertTrue(go.wait(PATIENCE))
            start(thread)

        with mock.patch.object(threading.Thread, "start", slowly):
            starter = threading.Thread(target=threads.start, args=("slow", ran.set), daemon=True)
            starter.start()
            self.assertTrue(starting.wait(PATIENCE))
            done = threading.Event()
            self.assertTrue(threads.start("other", done.set))
            self.assertTrue(done.wait(PATIENCE))
            self.assertEqual(threads.join(Deadline(0.1)), [])
            self.assertFalse(ran.is_set())
            joined = threading.Thread(target=threads.join, args=(Deadline(PATIENCE),), daemon=True)
            joined.start()
            go.set()
            joined.join(PATIENCE)
            self.assertTrue(ran.is_set())

    def test_a_bug_is_said(self) -> None:
        """A thread that dies of a bug is named in the log, and still joined."""
        threads = Threads()
        with self.assertLogs("socp.threads", "CRITICAL") as logs:
            threads.start("doomed", mock.Mock(side_effect=ValueError))
            self.assertEqual(threads.join(Deadline(PATIENCE)), [])
        self.assertIn("thread doomed died", logs.output[0])

    def test_joining_oneself(self) -> None:
        """A thread that joins the others does not wait for itself."""
        threads, joined = Threads(), threading.Event()

        def end() -> None:
            self.assertEqual(threads.join(Deadline(PATIENCE)), [])
            joined.set()

        threads.start("ending", end)
        self.assertTrue(joined.wait(PATIENCE))


class AlarmsTest(unittest.TestCase):
    """Calls that are due at some time."""

    def setUp(self) -> None:
        """Start the thread."""
        self.alarms = Alarms()
        self.alarms.start()
        self.addCleanup(self.alarms.stop)

    def test_order(self) -> None:
        """Calls are made in the order in which they are due, not in that in which they were asked for."""
        made: list[int] = []
        done = threading.Event()
        for number, seconds in ((3, 0.06), (1, 0.0), (2, 0.03)):
            self.alarms.after(seconds, lambda number=number: made.append(number))  # type: ignore[misc]
        self.alarms.after(0.09, done.set)
        self.assertTrue(done.wait(PATIENCE))
        self.assertEqual(made, [1, 2, 3])

    def test_not_early(self) -> None:
        """A call is not made before it is due."""
        began, done = time.monotonic(), threading.Event()
        self.alarms.after(0.05, done.set)
        self.assertTrue(done.wait(PATIENCE))
        self.assertGreaterEqual(time.monotonic() - began, 0.05)

    def test_about(self) -> None:
        """Calls that may be made a little later are made together: no two wake the thread, and none is early."""
        began = time.monotonic()
        dues = {self.alarms.after_about(60.0 + 0.1 * number, self.fail, slack=5.0).due for number in range(1, 50)}
        self.assertLessEqual(len({round(due, 1) for due in dues}), 3)
        self.assertGreaterEqual(min(dues), began + 60.0)
        self.assertLessEqual(max(dues), time.monotonic() + 60.0 + 5.0 + 5.0)

    def test_cancelled(self) -> None:
        """A call that was taken back is not made."""
        done = threading.Event()
        alarm = self.alarms.after(0.01, self.fail)
        alarm.cancel()
        self.assertNotEqual(alarm.callback, self.fail)  # and what it would have called is let go
        self.alarms.after(0.02, done.set)
        self.assertTrue(done.wait(PATIENCE))

    def test_a_bug_is_said(self) -> None:
        """A call that fails is logged, and the next is made."""
        done = threading.Event()
        with self.assertLogs("socp.threads", "CRITICAL"):
            self.alarms.after(0.0, mock.Mock(side_effect=ValueError))
            self.alarms.after(0.01, done.set)
            self.assertTrue(done.wait(PATIENCE))

    def test_stopped(self) -> None:
        """After the end nothing is called, and stopping again is harmless."""
        called = threading.Event()
        self.alarms.after(0.05, called.set)
        self.alarms.stop()
        self.alarms.stop()
        self.assertFalse(called.wait(0.1))
