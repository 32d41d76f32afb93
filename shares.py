"""What others send to a client, in queues of their own until it is their turn: who floods holds up nobody else.

Frames of users are handled one after the other (teller.py), and most of them cost a signature. So only a few of one
sender stand in that line at a time, and the others wait here.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable

from settings import Limits
from teller import Job, Teller
from threads import Deadline

log = logging.getLogger("socp.shares")

_BYTES_MOST = 16 * 1024 * 1024
_BYTES_ASKING = 2 * _BYTES_MOST  # as in teller.py


class Shares:
    """Hands jobs to a teller, in the order in which they were given for each sender.

    Args:
        teller: does them.
        limits: how many of one sender it is given at a time, how many may wait, and how many offers of files.
        asking: as of Teller: while the answer to a question is waited for, more may wait.
    """

    def __init__(self, teller: Teller, limits: Limits, asking: Callable[[], bool]) -> None:
        self._teller = teller
        self._limits = limits
        self._asking = asking
        self._changed = threading.Condition()  # guards all below
        self._standing: Counter[str] = Counter()  # how many of each sender the teller has
        self._waiting: dict[str, deque[tuple[Job, int]]] = {}
        self._count = 0  # of what waits, …
        self._bytes = 0  # … and its size
        self._stopped = False

    def give(self, sender: str, job: Job, size: int, *, offer: bool = False) -> None:
        """Have a job done when it is its sender's turn, waiting while far too many are; see Teller.give.

        Args:
            sender: the user's id.
            job: what to do.
            size: bytes that are kept until it is done.
            offer: whether it is an offer of a file: of many from one sender the last are thrown away, which nobody who
                keeps to the limits of section 10 sends.
        """
        with self._changed:
            if offer and len(self._waiting.get(sender, ())) >= self._limits.offers_of_one:
                log.debug("an offer of a file was thrown away: its sender makes too many")
                return
            self._changed.wait_for(lambda: self._stopped or self._is_next(sender) or self._has_room())
            if self._stopped:
                return
            if not self._is_next(sender):
                self._waiting.setdefault(sender, deque()).append((job, size))
                self._count += 1
                self._bytes += size
                return
            self._standing[sender] += 1
        self._teller.give(lambda: self._do(sender, job), size)

    def _is_next(self, sender: str) -> bool:
        """Tell whether the next job of a sender may go to the teller at once. `_changed` is held."""
        return sender not in self._waiting and self._standing[sender] < self._limits.inbox_of_one

    def _has_room(self) -> bool:
        """Tell whether one more job may wait. `_changed` is held, and `asking` waits for nothing."""
        if self._count < self._limits.inbox and self._bytes < _BYTES_MOST:
            return True
        return self._asking() and self._count < 10 * self._limits.inbox and self._bytes < _BYTES_ASKING

    def let_through(self) -> None:
        """Look again whether a question waits."""
        with self._changed:
            self._changed.notify_all()

    def wait_idle(self, seconds: float) -> bool:
        """Wait until all jobs given so far have been done; False when that took longer."""
        deadline = Deadline(seconds)
        last: list[threading.Event] = []
        with self._changed:
            for queue in self._waiting.values():
                done = threading.Event()
                queue.append((done.set, 0))
                last.append(done)
            self._count += len(last)
        return all(done.wait(deadline.left()) for done in last) and self._teller.wait_idle(deadline.left())

    def stop(self) -> None:
        """Let everybody go on who waits; what is given from now on is thrown away, what was given goes to the teller.

        To be called before the teller is stopped, which then does it.
        """
        with self._changed:
            self._stopped = True
            jobs = [job for queue in self._waiting.values() for job, _ in queue]
            self._waiting.clear()
            self._count = self._bytes = 0
            for job in jobs:
                self._teller.add(job)  # never waits
            self._changed.notify_all()

    def _do(self, sender: str, job: Job) -> None:
        try:
            job()
        finally:
            self._go_on(sender)

    def _go_on(self, sender: str) -> None:
        """Have the sender's next job done after what the teller has, in its thread; or note that there is none."""
        with self._changed:
            queue = self._waiting.get(sender)
            if queue is None:
                self._standing[sender] -= 1
                if not self._standing[sender]:
                    del self._standing[sender]
                return
            job, size = queue.popleft()
            if not queue:
                del self._waiting[sender]
            self._count -= 1
            self._bytes -= size
            self._teller.add(
                lambda: self._do(sender, job)
            )  # with the lock, or `stop` could have the next one overtake it
            self._changed.notify_all()
