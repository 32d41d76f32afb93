"""Work of many threads that few threads do."""

from __future__ import annotations

import threading
import unittest

from aside import Aside
from socp import INVALID_SIG, ProtocolError
from threads import Deadline, Threads
from workers import CORES

PATIENCE = 10.0


class AsideTest(unittest.TestCase):
    """A few threads, and what they are asked to do."""

    def setUp(self) -> None:
        """Start the threads."""
        self.threads = Threads()
        self.aside = Aside(self.threads)
        self.aside.start()
        self.addCleanup(self._end)

    def _end(self) -> None:
        self.aside.stop()
        self.assertEqual(self.threads.join(Deadline(PATIENCE)), [])

    def test_elsewhere(self) -> None:
        """Work is done in another thread, one of as many as there are cores, and its result comes back."""
        names = {self.aside.do(lambda: threading.current_thread().name) for _ in range(3 * CORES)}
        self.assertLessEqual(names, {f"aside-{number + 1}" for number in range(CORES)})

    def test_what_is_raised(self) -> None:
        """What work raises comes out where it was asked for, and the thread goes on."""

        def fails() -> None:
            raise ProtocolError(INVALID_SIG, "not proved")

        for _ in range(2 * CORES):
            with self.assertRaisesRegex(ProtocolError, "not proved"):
                self.aside.do(fails)
        self.assertEqual(self.aside.do(lambda: 1), 1)

    def test_at_its_end(self) -> None:
        """What waits when the threads are told to end is still done; what comes later is done where it is asked for."""
        begun, go_on, results = threading.Barrier(CORES + 1), threading.Event(), list[int]()

        def holds_up() -> int:
            begun.wait(PATIENCE)
            go_on.wait(PATIENCE)
            return 1

        askers = [
            threading.Thread(target=lambda work=work: results.append(self.aside.do(work)))
            for work in [holds_up] * CORES + [lambda: 2]
        ]
        for asker in askers[:-1]:
            asker.start()
        begun.wait(PATIENCE)
        askers[-1].start()
        while self.aside._jobs.empty():
            askers[-1].join(0.001)
        self.aside.stop()
        self.assertEqual(self.aside.do(threading.current_thread), threading.current_thread())
        go_on.set()
        for asker in askers:
            asker.join(PATIENCE)
        self.assertEqual(sorted(results), [1] * CORES + [2])

    def test_not_started(self) -> None:
        """Where no thread runs, work is done where it is asked for."""
        self.assertEqual(Aside(Threads()).do(threading.current_thread), threading.current_thread())


if __name__ == "__main__":
    unittest.main()
