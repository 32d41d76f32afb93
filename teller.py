"""One thread that does a client's jobs one after the other: opening messages, and telling its owner of events."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from errors import ChatError
from threads import Deadline, Threads

log = logging.getLogger("socp.teller")

Job = Callable[[], None]


class Teller:
    """Does jobs in the order in which they were given.

    A job may ask the server a question, whose answer is read by the thread that gives jobs. So whoever gives a job is
    held up while too many wait, and let through while a question does: the answer may stand behind it.

    Args:
        most: how many jobs may wait.
        asking: tells whether the answer to a question is waited for.
    """

    def __init__(self, threads: Threads, most: int, asking: Callable[[], bool]) -> None:
        self._most = most
        self._asking = asking
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()  # guards the two below
        self._jobs: deque[Job] = deque()
        self._stopped = False
        threads.start("teller", self._run)

    def is_this_thread(self) -> bool:
        """Tell whether it is the teller's own thread that calls."""
        return threading.current_thread() is self._thread

    def give(self, job: Job) -> None:
        """Have a job done, waiting while too many are; one that comes after `stop` is thrown away."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._jobs) < self._most or self._stopped or self._asking())
            if not self._stopped:
                self._jobs.append(job)
                self._changed.notify_all()

    def let_through(self) -> None:
        """Look again whether a question waits."""
        with self._changed:
            self._changed.notify_all()

    def wait_idle(self, seconds: float) -> bool:
        """Wait until all jobs given so far have been done; False when that took longer."""
        done = threading.Event()
        deadline = Deadline(seconds)
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._jobs) < self._most or self._stopped, seconds):
                return False
            self._jobs.append(done.set)
            self._changed.notify_all()
        return done.wait(deadline.left())

    def stop(self) -> None:
        """End the thread once it has done what waits."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _run(self) -> None:
        self._thread = threading.current_thread()
        while (job := self._next()) is not None:
            try:
                job()
            except ChatError as error:
                log.info("%s", error)
            except Exception:
                # A bug of ours, or of whoever handles events; the events behind it are still told.
                log.critical("an event was not handled", exc_info=True)

    def _next(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._stopped)
            job = self._jobs.popleft() if self._jobs else None
            self._changed.notify_all()
            return job
