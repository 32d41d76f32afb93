"""Work on all cores."""

from __future__ import annotations

import threading
import unittest
from collections.abc import Callable
from unittest import mock

from tests.wire import PATIENCE
from threads import Deadline, Threads
from workers import Task, Workers


class TaskTest(unittest.TestCase):
    """A piece of work."""

    def test_result(self) -> None:
        """It is done once, by whoever comes first, and its result can be had as often as it is wanted."""
        did: list[int] = []

        def work() -> int:
            did.append(1)
            return 7

        task = Task(work)
        self.assertEqual(task.result(), 7)
        task.run()
        task.drop()
        self.assertEqual((task.result(), did), (7, [1]))

    def test_none(self) -> None:
        """That nothing has come of it is a result too."""
        self.assertIsNone(Task(lambda: None).result())

    def test_waits(self) -> None:
        """Whoever needs the result waits for the thread that is at it."""
        begun, released = threading.Event(), threading.Event()
        did: list[str] = []

        def work() -> str:
            did.append(threading.current_thread().name)
            begun.set()
            released.wait(PATIENCE)
            return "done"

        task = Task(work)
        thread = threading.Thread(target=task.run, name="at it")
        thread.start()
        self.assertTrue(begun.wait(PATIENCE))
        threading.Timer(0.01, released.set).start()
        self.assertEqual((task.result(), did), ("done", ["at it"]))
        thread.join()

    def test_dropped(self) -> None:
        """What is not wanted any more is not begun."""
        work = mock.Mock()
        task = Task(work)
        task.drop()
        task.run()
        work.assert_not_called()

    def test_failure(self) -> None:
        """What goes wrong in a worker comes out where the result is asked for, and holds up nobody."""
        task = Task(mock.Mock(side_effect=OSError("no")))
        self.assertRaises(OSError, task.run)
        self.assertRaises(OSError, task.result)


class WorkersTest(unittest.TestCase):
    """The threads."""

    def setUp(self) -> None:
        """Have two cores."""
        patch = mock.patch("workers.CORES", 2)
        patch.start()
        self.addCleanup(patch.stop)
        self.threads = Threads()
        self.workers = Workers(self.threads, PATIENCE)
        self.addCleanup(lambda: self.assertEqual(self.threads.join(Deadline(PATIENCE)), []))
        self.addCleanup(self.workers.stop)

    def test_side_by_side(self) -> None:
        """Two tasks are done at a time, and those that are given then wait; what they give is in order all the same."""
        both = threading.Barrier(2)
        running = [Task(lambda: both.wait(PATIENCE) >= 0) for _ in range(2)]
        others = [Task(lambda number=number: number) for number in range(20)]  # type: ignore[misc]
        for task in [*running, *others]:
            self.workers.give(task.run)
        self.assertEqual([task.result() for task in running], [True, True])
        self.assertEqual([task.result() for task in others], list(range(20)))
        names = [thread.name for thread in threading.enumerate() if thread.name == "worker"]
        self.assertLessEqual(len(names), 2)

    def test_no_thread(self) -> None:
        """Where no thread is to be had, after the end and on one core, whoever needs a result does the work."""
        here = threading.current_thread()
        with mock.patch.object(self.threads, "start", return_value=False):
            task = Task(threading.current_thread)
            self.workers.give(task.run)
            self.assertIs(task.result(), here)
            self.assertFalse(self.workers._waiting)  # else all of a file would come to be kept there
        with mock.patch("workers.CORES", 1):
            task = Task(threading.current_thread)
            self.workers.give(task.run)
            self.assertIs(task.result(), here)
        self.workers.stop()
        task = Task(threading.current_thread)
        self.workers.give(task.run)
        self.assertIs(task.result(), here)

    def test_most(self) -> None:
        """Where only so many may wait, whoever needs the result of one more does the work."""
        workers = Workers(self.threads, PATIENCE, spared=1, most=2)
        self.addCleanup(workers.stop)
        begun, end = threading.Event(), threading.Event()

        def work() -> bool:
            begun.set()
            return end.wait(PATIENCE)

        workers.give(Task(work).run)
        self.assertTrue(begun.wait(PATIENCE))  # the one core that is not left to others has something to do
        tasks = [Task(threading.current_thread) for _ in range(3)]
        for task in tasks:
            workers.give(task.run)
        end.set()
        workers.stop()
        self.assertEqual(self.threads.join(Deadline(PATIENCE)), [])
        self.assertEqual([task.done for task in tasks], [True, True, False])
        self.assertIs(tasks[2].result(), threading.current_thread())
        self.assertNotIn(threading.current_thread(), [task.result() for task in tasks[:2]])

    def test_idle(self) -> None:
        """A worker without work ends, and another one takes its place when there is some."""
        workers = Workers(self.threads, 0.0)
        for _ in range(2):
            done = threading.Event()
            workers.give(done.set)
            self.assertTrue(done.wait(PATIENCE))

    def test_given_to_one_that_ends(self) -> None:
        """What is given in the moment in which the last worker ends for want of work does not keep others from it."""
        workers = Workers(self.threads, 0.0, spared=1, most=2)
        self.addCleanup(workers.stop)
        find_next = workers._next

        def find_next_late() -> Callable[[], None] | None:
            work = find_next()
            if work is None:
                for _ in range(2):
                    workers.give(mock.Mock())
            return work

        ended: list[threading.Thread] = []
        begun = threading.Event()

        def work() -> None:
            ended.append(threading.current_thread())
            begun.set()

        with mock.patch.object(workers, "_next", find_next_late):
            workers.give(work)
            self.assertTrue(begun.wait(PATIENCE))
            ended[0].join(PATIENCE)
        done = threading.Event()
        workers.give(done.set)
        self.assertTrue(done.wait(PATIENCE))
