"""One thread that does a client's jobs one after the other: opening messages, and telling its owner of events."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from errors import ChatError
from threads import Threads

log = logging.getLogger("socp.teller")

_BYTES_MOST = 16 * 1024 * 1024
# While an answer is waited for: it stands behind no more than a server's queue holds, and a flood must not fill ours.
_BYTES_ASKING = 2 * _BYTES_MOST

Job = Callable[[], None]


class Teller:
    """Does jobs in the order in which they were given.

    A job may ask the server a question, whose answer is read by the thread that gives jobs. So whoever gives a job is
    held up while too many wait, and let through while a question does: the answer may stand behind it.

    Args:
        most: how many jobs may wait; ten times as many while a question does.
        asking: tells whether the answer to a question is waited for.
    """

    def __init__(self, threads: Threads, most: int, asking: Callable[[], bool]) -> None:
        self._most = most
        self._asking = asking
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()  # guards the three below
        self._jobs: deque[tuple[Job, int]] = deque()
        self._bytes = 0
        self._stopped = False
        threads.start("teller", self._run)

    def is_this_thread(self) -> bool:
        """Tell whether it is the teller's own thread that calls."""
        return threading.current_thread() is self._thread

    def give(self, job: Job, size: int = 0) -> None:
        """Have a job done, waiting while too many are; one that comes after `stop` is thrown away.

        Args:
            job: what to do.
            size: bytes that are kept until it is done.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._has_room())
            if not self._stopped:
                self._jobs.append((job, size))
                self._bytes += size
                self._changed.notify_all()

    def add(self, job: Job) -> None:
        """Have a job done however many wait, for those who must not wait themselves."""
        with self._changed:
            if not self._stopped:
                self._jobs.append((job, 0))
                self._changed.notify_all()

    def _has_room(self) -> bool:
        """Tell whether one more job may wait. `_changed` is held, and `asking` waits for nothing."""
        if len(self._jobs) < self._most and self._bytes < _BYTES_MOST:
            return True
        return self._asking() and len(self._jobs) < 10 * self._most and self._bytes < _BYTES_ASKING

    def let_through(self) -> None:
        """Look again whether a question waits."""
        with self._changed:
            self._changed.notify_all()

    def wait_idle(self, seconds: float) -> bool:
        """Wait until all jobs given so far have been done; False when that took longer."""
        done = threading.Event()
        with self._changed:
            if self._stopped:
                return False
            self._jobs.append((done.set, 0))
            self._changed.notify_all()
        return done.wait(seconds)

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
            if not self._jobs:
                return None
            job, size = self._jobs.popleft()
            self._bytes -= size
            self._changed.notify_all()
            return job
