"""Threads that end: each is named, registered before it starts, and joined; and one thread that keeps time."""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable

log = logging.getLogger("socp.threads")

# Address space, not memory: a thread touches some 16 kB of it. Ten thousand fit beside each other.
STACK_BYTES = 512 * 1024


class Deadline:
    """The end of a wait that several steps share, on the monotonic clock."""

    __slots__ = ("_end",)

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left, never less than 0."""
        return max(0.0, self._end - time.monotonic())


class Threads:
    """The threads of one program."""

    def __init__(self) -> None:
        # Guards the three below. Not held over a start, which waits for the new thread: where memory has run out, some
        # versions of Python wait for ever, and no other thread could begin or end any more.
        self._changed = threading.Condition()
        self._running: set[threading.Thread] = set()
        self._starting = 0
        self._closed = False

    def start(self, name: str, target: Callable[[], None]) -> bool:
        """Run `target` in a thread of its own.

        Returns:
            False when no thread could be had: the program is ending, or the system has no more.
        """
        thread = threading.Thread(target=self._run, args=(target,), name=name, daemon=True)
        with self._changed:
            if self._closed:
                return False
            self._running.add(thread)
            self._starting += 1
        started = False
        try:
            thread.start()
            started = True
        except RuntimeError:  # out of threads, or Python 3.12 and newer while the interpreter shuts down
            log.debug("no thread could be had for %s", name)
        finally:
            with self._changed:
                self._starting -= 1
                if not started:
                    self._running.discard(thread)
                self._changed.notify_all()
        return started

    def _run(self, target: Callable[[], None]) -> None:
        try:
            target()
        except Exception:
            # A bug of ours. Everything must be caught here, so that it is said in one line of the log, and the
            # thread's link, if it had one, has been closed by its own clean-up on the way.
            log.critical("thread %s died", threading.current_thread().name, exc_info=True)
        finally:
            with self._changed:
                self._running.discard(threading.current_thread())

    def join(self, deadline: Deadline) -> list[str]:
        """Refuse new threads, wait for the running ones, and return the names of those that did not end."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._starting, deadline.left())
            running = self._running - {threading.current_thread()}
        for thread in running:
            if thread.is_alive():  # one that could not even be started in that time cannot be waited for
                thread.join(deadline.left())
        return sorted(thread.name for thread in running if thread.is_alive())


class Alarm:
    """A call that is due at some time, and can be taken back until then."""

    __slots__ = ("callback", "cancelled", "due")

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """Take the call back; harmless when it has been made."""
        self.cancelled = True
        self.callback = _nothing  # what it would have called need not be kept until it is due


def _nothing() -> None:
    """Do nothing."""


class Alarms:
    """One thread that makes calls when they are due. A call must be short and must never block."""

    def __init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)
        self._changed = threading.Condition()  # guards _heap and _stopped
        self._heap: list[tuple[float, int, Alarm]] = []  # a few of each link, and of ended ones until they are due
        self._order = itertools.count()
        self._stopped = False

    def start(self) -> None:
        """Begin to make the calls."""
        self._thread.start()

    def after(self, seconds: float, callback: Callable[[], None]) -> Alarm:
        """Have `callback` called in so many seconds."""
        alarm = Alarm(time.monotonic() + seconds, callback)
        with self._changed:
            heapq.heappush(self._heap, (alarm.due, next(self._order), alarm))
            if self._heap[0][2] is alarm:
                self._changed.notify()
        return alarm

    def after_about(self, seconds: float, callback: Callable[[], None], *, slack: float) -> Alarm:
        """Have `callback` called in so many seconds, or up to `slack` seconds later.

        So calls that come in thousands are made many in one go: to wake the thread for one costs thirty times as much.
        """
        now = time.monotonic()
        return self.after(math.ceil((now + seconds) / slack) * slack - now, callback)

    def _run(self) -> None:
        while (alarm := self._next()) is not None:
            if alarm.cancelled:
                continue
            try:
                alarm.callback()
            except Exception:
                # A bug in one call must not end the timers of every link.
                log.critical("an alarm failed", exc_info=True)

    def _next(self) -> Alarm | None:
        with self._changed:
            while not self._stopped:
                if not self._heap:
                    self._changed.wait()
                    continue
                wait = self._heap[0][0] - time.monotonic()
                if wait <= 0:
                    return heapq.heappop(self._heap)[2]
                self._changed.wait(wait)
            return None

    def stop(self) -> None:
        """End the thread; calls that are not due yet are never made."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
