"""Work of many threads that few threads do: RSA leaves some 40 kB behind in each thread that has ever done any.

OpenSSL and the allocator keep these until a thread ends, and a link's reader lives as long as its link. So readers have
the RSA of their handshakes done here. They wait for it, as they would have to wait for a core.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from threads import Threads
from workers import CORES

Result = TypeVar("Result")
_Job = tuple[Callable[[], Any], "Future[Any]"]


class Aside:
    """Threads, one a core, that do one thing after the other in the order in which they are asked.

    Args:
        threads: where they are registered.
    """

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._lock = threading.Lock()  # guards _running: while that is not 0, what is put in is taken out
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._running = 0

    def start(self) -> None:
        """Start the threads."""
        for number in range(CORES):
            if self._threads.start(f"aside-{number + 1}", self._work):
                with self._lock:
                    self._running += 1

    def do(self, work: Callable[[], Result]) -> Result:
        """Have work done, and return or raise what comes of it; before `start` and after `stop` it is done here.

        Args:
            work: must not wait for anybody, nor have other work done here.
        """
        done: Future[Result] = Future()
        with self._lock:
            aside = self._running > 0
            if aside:
                self._jobs.put((work, done))
        if not aside:
            return work()
        try:
            return done.result()
        finally:
            del done  # which has what was raised, which has this frame

    def stop(self) -> None:
        """Let the threads end once they have done what waits; harmless when repeated."""
        with self._lock:
            for _ in range(self._running):
                self._jobs.put(None)
            self._running = 0

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            _do(*job)
            del job  # a large one is not kept while the next is waited for


def _do(work: Callable[[], Any], done: Future[Any]) -> None:
    try:
        done.set_result(work())
    except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again where it is waited for
        done.set_exception(error)
    finally:
        del done  # as above
