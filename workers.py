"""Work that is done on all cores, while its results are wanted in order: RSA lets go of the interpreter.

Whoever needs a result waits for the worker that is at it, or does the work itself if none has begun. So nothing depends
on it that workers run, and the order of the results is that in which they are asked for. How much waits is bounded by
whoever gives it.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from threads import Threads

Result = TypeVar("Result")
# Those that this process may use: of 64, a container may have been given two.
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Task(Generic[Result]):
    """Work to be done once, by whoever comes first.

    Args:
        work: does it; what it raises comes out of `result`.
    """

    __slots__ = ("_claim", "_done", "_results", "_work")

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work: Callable[[], Result] | None = work
        self._claim = threading.Lock()  # taken by whoever does the work, for good
        self._done = threading.Event()
        self._results: list[Result] = []  # the one, unless the work has failed

    def run(self) -> None:
        """Do the work, unless that was done, is being done or is not wanted any more."""
        if not self._claim.acquire(blocking=False):
            return
        try:
            assert self._work is not None
            self._results.append(self._work())
            self._work = None  # what it was made of need not be kept until it is asked for
        finally:
            self._done.set()

    def drop(self) -> None:
        """Have nobody begin it any more; it must not be asked for its result."""
        if self._claim.acquire(blocking=False):
            self._work = None
            self._done.set()

    @property
    def done(self) -> bool:
        """Whether it need not be waited for any more."""
        return self._done.is_set()

    def result(self) -> Result:
        """Return what has come of it, waiting for whoever is at it, or doing it here."""
        self.run()
        self._done.wait()
        if not self._results:
            assert self._work is not None
            self._results.append(self._work())  # it has failed elsewhere, and fails here
        return self._results[0]


class Workers:
    """Threads that do tasks in the order in which they are given: one a core, started when they are needed.

    Args:
        threads: where they are registered.
        idle: seconds after which one ends that has nothing to do.
        spared: cores that are left to those who give.
        most: tasks that may wait; what is more is done by whoever needs it.
    """

    def __init__(self, threads: Threads, idle: float, *, spared: int = 0, most: int | None = None) -> None:
        self._threads = threads
        self._idle = idle
        self._spared = spared
        self._most = most
        self._changed = threading.Condition()  # guards all below
        self._waiting: deque[Callable[[], None]] = deque()
        self._running = 0
        self._free = 0  # of those that run, how many wait for something to do
        self._stopped = False

    def give(self, work: Callable[[], None]) -> None:
        """Have work done, a task's `run`, once there is a core for it; where there is one, by whoever needs it."""
        with self._changed:
            if self._stopped or CORES == 1 or (self._most is not None and len(self._waiting) >= self._most):
                return
            self._waiting.append(work)
            starts = self._free < len(self._waiting) and self._running < CORES - self._spared
            self._running += starts
            self._changed.notify()
        if starts and not self._threads.start("worker", self._work):
            with self._changed:
                self._running -= 1
                self._leave_if_none_runs()

    def stop(self) -> None:
        """Let the threads end once they have done what waits; what is given from now on they leave alone."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            while (work := self._next()) is not None:
                work()
                del work  # a large one is not kept while the next is waited for
        finally:
            with self._changed:
                self._running -= 1
                self._leave_if_none_runs()  # what was given since this one saw nothing to do

    def _leave_if_none_runs(self) -> None:
        """Leave what waits to whoever needs it: it would fill the room for what comes. `_changed` is held."""
        if not self._running:
            self._waiting.clear()

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            self._free += 1
            self._changed.wait_for(lambda: self._waiting or self._stopped, self._idle)
            self._free -= 1
            return self._waiting.popleft() if self._waiting else None
