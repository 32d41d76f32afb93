"""What goes out over one connection: a bounded queue, the thread that empties it, and the ways past both.

Anybody may send. A send never blocks: while nothing waits, the frame goes straight to the connection as far as that
takes it; what is left waits in a bounded queue for the link's writer, a thread that is started when it is first needed
and sends all that waits in one call. Where the sender gathers (gathering.py), frames wait in the queue until it has
done so, and go out in one call. Frames leave in the order in which they were sent here.

    OPEN ── finish ──▶ CLOSING ── everything sent, peer gone, or `linger` over ──▶ CLOSED
      └──────────────────────────── abort ────────────────────────────────────────▶┘
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections.abc import Callable, Sequence

import gathering
from budget import Budget
from settings import Settings
from threads import Alarms, Threads
from transport import Transport

log = logging.getLogger("socp.outflow")

# What the writer hands to the connection in one call: large enough that calls do not matter, small enough that
# joining it costs no memory worth speaking of.
_BATCH_BYTES = 1024 * 1024
# What goes out in one call without the writer: a multiple of what one read holds.
_FLUSH_BYTES = 256 * 1024


class Sent(enum.Enum):
    """What became of a frame that was to be sent."""

    YES = enum.auto()  # it is on its way, or waits for its turn
    FULL = enum.auto()  # the queue is full: the sender's policy for this type of frame decides
    CLOSED = enum.auto()  # the link takes nothing any more


class State(enum.Enum):
    """Where a link is in its life; see the module's picture."""

    OPEN = enum.auto()
    CLOSING = enum.auto()
    CLOSED = enum.auto()


class Outflow:
    """The half of a link that sends (link.py has the other), and that knows whether the link still takes anything.

    Args:
        transport: the bytes under it.
        settings: timers and limits.
        alarms: has it closed when its peer takes nothing.
        threads: where its writer is registered.
        name: for the names of its threads and the log.
        budget: of what waits here and at other links; None for a link that has no others.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        settings: Settings,
        alarms: Alarms,
        threads: Threads,
        name: str,
        budget: Budget | None = None,
    ) -> None:
        self.transport = transport
        self.name = name
        self._settings = settings
        self._alarms = alarms
        self._threads = threads
        self._queue_most = settings.limits.queue
        self._budget = budget if budget is not None else Budget(settings.limits.queues)

        self._lock = threading.RLock()  # guards all below; never held over a call that can block
        self._out: threading.Condition | None = None  # there once anybody has had to wait
        self._state = State.OPEN
        self._waiting: list[bytes | memoryview] = []  # taken from in batches; an empty deque has room for 64
        self._waiting_bytes = 0
        self._batch_bytes = 0  # that the writer is sending
        self._held = False  # section 5: nothing overtakes the ACK of the handshake
        self._writer_started = False
        self._writer_busy = False
        self._full_since: float | None = None
        self._full_watched = False  # an alarm is set that looks at that

    @property
    def closing(self) -> bool:
        """Whether this link has been finished or aborted."""
        return self._state is not State.OPEN

    def send(self, frame: bytes) -> Sent:
        """Send a frame, now or when its turn comes; never blocks."""
        gathered_by = gathering.current()
        if gathered_by is not None:
            gathered_by.make_way(self)
        with self._lock:
            if self._state is not State.OPEN:
                return Sent.CLOSED
            if gathered_by is not None and self._waiting_bytes + len(frame) <= self._queue_most:
                self._waiting.append(frame)
                self._waiting_bytes += len(frame)
                gathered_by.add(self)
                return Sent.YES
            self._flush()
            sent = self._send(frame)
            waits = bool(self._waiting)
        if waits:
            self._budget.keep()  # which may close a link: this one, or another
        return sent

    def send_joined(self, joined: bytes, frames: Sequence[bytes]) -> None:
        """Send frames behind what was gathered here; those that there is no room for are dropped. Never blocks.

        Args:
            joined: all of them as one, which many links can have in common.
            frames: each.
        """
        with self._lock:
            if self._state is not State.OPEN:
                return
            self._flush()
            if self._waiting_bytes + len(joined) <= self._queue_most:
                self._send(joined)
            else:
                for frame in frames:
                    self._send(frame)
            waits = bool(self._waiting)
        if waits:
            self._budget.keep()

    def flush(self) -> None:
        """Send what was gathered here, as far as the connection takes it; the writer sends the rest. Never blocks."""
        with self._lock:
            self._flush()
            waits = bool(self._waiting)
        if waits:
            self._budget.keep()

    def _flush(self) -> None:
        """See `flush`. `_lock` is held."""
        if not self._waiting or self._state is State.CLOSED:
            return
        if not (self._writer_busy or self._held):
            try:
                self._send_waiting()
            except OSError as error:
                log.debug("%s: %s", self.name, error)
                self._close()
                return
            if not self._waiting:
                self._full_since = None
            self._notify()  # whoever waits until less waits here
        self._count(0)
        if self._waiting and not self._held:
            self._wake_writer()

    def _send_waiting(self) -> None:
        """Give the connection what waits, as far as it takes it. `_lock` is held, and the writer is idle.

        Raises:
            OSError: the connection is gone.
        """
        batch, size = [], 0
        for frame in self._waiting:
            batch.append(frame)
            size += len(frame)
            if size >= _FLUSH_BYTES:
                break  # the writer does the rest
        taken = self.transport.send_now(batch[0] if len(batch) == 1 else b"".join(batch))
        self._waiting_bytes -= taken
        count = 0
        while taken and len(self._waiting[count]) <= taken:
            taken -= len(self._waiting[count])
            count += 1
        if taken:
            self._waiting[count] = memoryview(self._waiting[count])[taken:]
        del self._waiting[:count]

    def hold(self) -> None:
        """Let what is sent wait, until `release`."""
        with self._lock:
            self._held = True

    def release(self, first: bytes) -> None:
        """Send `first`, and then all that has waited since `hold`."""
        with self._lock:
            self._held = False
            if self._state is not State.OPEN:
                return
            if not self._waiting:
                self._send(first)  # as is usual: no need of a writer
                return
            self._waiting.insert(0, first)
            self._waiting_bytes += len(first)
            self._flush()

    def _send(self, frame: bytes) -> Sent:
        rest: bytes | memoryview = frame
        if not (self._waiting or self._writer_busy or self._held):
            try:
                taken = self.transport.send_now(frame)
            except OSError as error:
                log.debug("%s: %s", self.name, error)
                self._close()
                return Sent.CLOSED
            if taken == len(frame):
                return Sent.YES
            rest = memoryview(frame)[taken:]
        elif self._waiting_bytes + len(frame) > self._queue_most:
            self._note_full()
            return Sent.FULL
        self._waiting.append(rest)
        self._count(len(rest))
        if not self._held:
            self._wake_writer()
        return Sent.YES

    def _count(self, size: int) -> None:
        """Note that so many bytes more wait. `_lock` is held."""
        self._waiting_bytes += size
        self._budget.note(self, self._waiting_bytes + self._batch_bytes)

    def _note_full(self) -> None:
        if self._full_since is None:
            self._full_since = time.monotonic()
        # One alarm at a time: a peer that reads a little now and then has its queue fill again with each batch.
        if not self._full_watched:
            self._full_watched = True
            self._alarms.after(self._settings.timers.full, self._check_full)

    def _check_full(self) -> None:
        with self._lock:
            if self._full_since is None or self._state is State.CLOSED:
                self._full_watched = False
                return
            left = self._full_since + self._settings.timers.full - time.monotonic()
        if left > 0:
            self._alarms.after(left, self._check_full)
        else:
            log.warning("%s: closed, since it took nothing for too long", self.name)
            self.abort()

    def wait_until_drained(self, seconds: float) -> bool:
        """Wait until nothing waits to be sent; False when that took longer, or the link was closed."""
        gathering.flush_own()
        with self._lock:
            idle = self._wait_for(
                lambda: self._state is not State.OPEN or not (self._waiting or self._writer_busy), seconds
            )
            return idle and self._state is State.OPEN

    def wait_below(self, size: int, seconds: float) -> None:
        """Wait until fewer bytes than `size` wait to be sent, but no longer than so many seconds."""

        def below() -> bool:
            return self._state is not State.OPEN or self._waiting_bytes + self._batch_bytes < size

        with self._lock:
            if below():
                return  # and what this thread gathers may become more
        gathering.flush_own()
        with self._lock:
            self._wait_for(below, seconds)

    def _wait_for(self, what: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait until something is so, and return whether it is. `_lock` is held, but while this waits."""
        if what():
            return True
        if self._out is None:
            self._out = threading.Condition(self._lock)
        return self._out.wait_for(what, seconds)

    def _notify(self) -> None:
        """Have all who wait look again. `_lock` is held."""
        if self._out is not None:
            self._out.notify_all()

    def _wake_writer(self) -> None:
        """Have the writer send what waits. `_lock` is held."""
        if self._writer_started:
            self._notify()
            return
        self._writer_started = self._threads.start(f"{self.name} writer", self._write)
        if not self._writer_started:
            log.warning("%s: closed, for want of a thread to write to it", self.name)
            self._close()

    def _write(self) -> None:
        try:
            while batch := self._next_batch():
                self.transport.send(batch)
        except OSError as error:
            log.debug("%s: %s", self.name, error)
            self.abort()
        finally:
            with self._lock:
                self._writer_busy = False
                self._notify()

    def _next_batch(self) -> bytes | memoryview | None:
        with self._lock:
            self._writer_busy = False
            self._batch_bytes = 0
            self._count(0)
            self._notify()
            self._wait_for(lambda: self._state is not State.OPEN or bool(self._waiting and not self._held))
            if self._state is State.CLOSED:
                return None
            if not self._waiting:
                self._say_last()
                return None
            batch: list[bytes | memoryview] = []
            size = 0
            # A part of the queue alone: taking all of it would make a full one look as if it had been emptied.
            most = min(_BATCH_BYTES, self._queue_most // 8)
            while len(batch) < len(self._waiting) and size < most:
                batch.append(self._waiting[len(batch)])
                size += len(batch[-1])
            del self._waiting[: len(batch)]
            self._batch_bytes = size
            self._count(-size)
            self._writer_busy = True
            self._full_since = None  # there is room again: a peer that is slow is not one that takes nothing
            return batch[0] if len(batch) == 1 else b"".join(batch)

    def abort(self) -> None:
        """Close at once, whatever waits. Harmless when repeated."""
        with self._lock:
            self._close()

    def _say_last(self) -> None:
        """Close our direction. `_lock` is held."""
        try:
            self.transport.finish()
        except OSError as error:
            log.debug("%s: %s", self.name, error)
            self._close()

    def _close(self) -> None:
        """Close at once. `_lock` is held."""
        if self._state is State.CLOSED:
            return
        self._state = State.CLOSED
        self._waiting.clear()
        self._waiting_bytes = self._batch_bytes = 0
        self._budget.note(self, 0)
        self.transport.shut()
        self._notify()
