"""One connection that carries frames: its reader, its bounded outgoing queue, and the deadlines that end it.

A link has one reader, the thread that iterates over `frames()` and closes the link when that ends. Anybody may
send. A send never blocks: while nothing waits, the frame goes straight to the connection as far as that takes it;
what is left waits in a bounded queue for the link's writer, a thread that is started when it is first needed and
sends all that waits in one call. Where the sender gathers (gathering.py), frames wait in the queue until it has done
so, and go out in one call. Frames leave in the order in which they were sent here.

    OPEN ── finish ──▶ CLOSING ── everything sent, peer gone, or `linger` over ──▶ CLOSED
      └──────────────────────────── abort ────────────────────────────────────────▶┘
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

import gathering
from budget import Budget
from framing import BodyLimit, FrameBuffer
from settings import Settings
from socp import TIMEOUT, LinkError
from threads import Alarm, Alarms, Threads
from transport import READ_BYTES, Transport

log = logging.getLogger("socp.link")

# What the writer hands to the connection in one call: large enough that calls do not matter, small enough that
# joining it costs no memory worth speaking of.
_BATCH_BYTES = 1024 * 1024
# What goes out in one call without the writer: a multiple of what one read holds.
_FLUSH_BYTES = 256 * 1024
# What is read in one go before the handshake is done: all that strangers make us keep must be little.
_STRANGER_READ = 4096
# … and after it while less comes at a time, which is more than a heartbeat and less than any other frame: a reader that
# waits keeps what it reads into, and most links are idle.
_IDLE_READ = 1024


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


class Link:
    """A connection to one peer.

    Args:
        transport: the bytes under it.
        limit: how long a body the peer may send.
        settings: timers and limits.
        alarms: keeps this link's deadlines.
        threads: where its writer is registered.
        name: for the names of its threads and the log.
        budget: of what waits here and at other links; None for a link that has no others.
    """

    def __init__(
        self,
        transport: Transport,
        limit: BodyLimit,
        *,
        settings: Settings,
        alarms: Alarms,
        threads: Threads,
        name: str,
        budget: Budget | None = None,
    ) -> None:
        self.transport = transport
        self.name = name
        self.source = ""  # what limits count the peer's address by, where the peer has connected
        self._settings = settings
        self._alarms = alarms
        self._threads = threads
        self._queue_most = settings.limits.queue
        self._budget = budget if budget is not None else Budget(settings.limits.queues)

        # Of the reader alone. `_failure` is set by an alarm before it wakes the reader.
        self._buffer = FrameBuffer(limit)
        self._failure: LinkError | None = None
        self._frame_began: float | None = None
        self._heard = time.monotonic()
        self._read_most = _STRANGER_READ  # bytes in one go
        self._alarm_of_handshake: Alarm | None = None
        self._alarm_of_frame: Alarm | None = None
        self._alarm_of_silence: Alarm | None = None
        self._sign_of_life: threading.Event | None = None  # there once anybody has asked for one

        self._lock = threading.RLock()  # guards all below; never held over a call that can block
        self._out = threading.Condition(self._lock)
        self._state = State.OPEN
        self._waiting: deque[bytes | memoryview] = deque()
        self._waiting_bytes = 0
        self._batch_bytes = 0  # that the writer is sending
        self._held = False  # section 5: nothing overtakes the ACK of the handshake
        self._writer_started = False
        self._writer_busy = False
        self._full_since: float | None = None
        self._full_watched = False  # an alarm is set that looks at that

    # --- reading ------------------------------------------------------------------------------------------------

    @property
    def secure(self) -> bool:
        """Whether it is over TLS."""
        return self.transport.secure

    @property
    def where(self) -> str:
        """Where its peer is and how it is reached, for the log."""
        return f"{self.transport.peer}, {'TLS' if self.secure else 'plain'}"

    def expect_handshake(self, seconds: float) -> None:
        """Fail with TIMEOUT unless `handshake_done` is called within so many seconds."""
        self._alarm_of_handshake = self._alarms.after(
            seconds, lambda: self._fail(LinkError(TIMEOUT, "the handshake took too long"))
        )

    def handshake_done(self, limit: BodyLimit) -> None:
        """Apply the limits of an established link from the next frame on."""
        if self._alarm_of_handshake is not None:
            self._alarm_of_handshake.cancel()
        self._buffer.limit = limit
        self._read_most = _IDLE_READ
        self._heard = time.monotonic()
        self._alarm_of_silence = self._alarms.after(self._settings.timers.silence, self._check_silence)

    def begin(self) -> None:
        """Do what comes before the first frame, which is the handshake of TLS.

        Raises:
            OSError: it failed.
            LinkError: TIMEOUT.
        """
        try:
            self.transport.begin()
        except OSError:
            if self._failure is not None:
                raise self._failure from None
            raise

    def frames(self, before_wait: Callable[[], None] = lambda: None) -> Iterator[bytes]:
        """Yield each whole frame, until the peer closes or this link is closed.

        Args:
            before_wait: called when there is none at hand.

        Raises:
            LinkError: the errors of section 2: BAD_FRAME, TOO_LARGE, TIMEOUT.
        """
        while (frame := self._next_frame(before_wait)) is not None:
            yield frame
            del frame  # a large one is not kept while the next is waited for

    def _next_frame(self, before_wait: Callable[[], None]) -> bytes | None:
        while not self.closing:
            frame = self._buffer.next_frame()
            if frame is not None:
                self._frame_began = None
                self._heard = time.monotonic()
                if self._sign_of_life is not None and not self._sign_of_life.is_set():
                    self._sign_of_life.set()
                return frame
            if self._buffer.begun and self._frame_began is None:
                self._watch_frame()
            before_wait()
            try:
                data = self.transport.receive(self._read_most)
            except OSError as error:
                log.debug("%s: %s", self.name, error)
                data = b""
            if self._failure is not None:
                raise self._failure
            if not data:
                return None
            self._buffer.feed(data)
            if self._read_most != _STRANGER_READ:
                self._read_most = _IDLE_READ if len(data) < _IDLE_READ else READ_BYTES
        return None  # what comes behind our farewell is not ours to act on any more

    def _watch_frame(self) -> None:
        self._frame_began = time.monotonic()
        # One alarm at a time: at full speed, frames are cut thousands of times a second.
        if self._alarm_of_frame is None:
            self._alarm_of_frame = self._alarms.after(self._settings.timers.frame, self._check_frame)

    def _check_frame(self) -> None:
        began = self._frame_began
        if began is None or self.closing:
            self._alarm_of_frame = None
            return
        left = began + self._settings.timers.frame - time.monotonic()
        if left > 0:
            self._alarm_of_frame = self._alarms.after(left, self._check_frame)
        else:
            self._fail(LinkError(TIMEOUT, "a frame took too long to arrive"))

    def _check_silence(self) -> None:
        if self.closing:
            return
        left = self._heard + self._settings.timers.silence - time.monotonic()
        if left > 0:
            self._alarm_of_silence = self._alarms.after(left, self._check_silence)
        else:
            self._fail(LinkError(TIMEOUT, "nothing was heard for too long"))

    def _fail(self, failure: LinkError) -> None:
        """Have the reader raise `failure`, as soon as it reads on."""
        if not self.closing:
            self._failure = failure
            self.transport.stop_reading()

    def alive_within(self, seconds: float, *, asked_by: bytes) -> bool:
        """Send a probe, and tell whether any frame comes from the peer within so many seconds (section 5.1)."""
        with self._lock:
            if self._sign_of_life is None:
                self._sign_of_life = threading.Event()
        self._sign_of_life.clear()
        self.send(asked_by)
        gathering.flush_own()
        # A link that has ended in between tells nobody any more.
        return not self.closing and self._sign_of_life.wait(seconds) and not self.closing

    # --- sending ------------------------------------------------------------------------------------------------

    @property
    def closing(self) -> bool:
        """Whether this link has been finished or aborted."""
        return self._state is not State.OPEN

    def send(self, frame: bytes) -> Sent:
        """Send a frame, now or when its turn comes; never blocks."""
        gathered_by = gathering.current()
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
            self._out.notify_all()  # whoever waits until less waits here
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
        while taken:
            first = self._waiting.popleft()
            if len(first) > taken:
                self._waiting.appendleft(memoryview(first)[taken:])
                return
            taken -= len(first)

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
            self._waiting.appendleft(first)
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
            idle = self._out.wait_for(
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
            self._out.wait_for(below, seconds)

    def _wake_writer(self) -> None:
        """Have the writer send what waits. `_lock` is held."""
        if self._writer_started:
            self._out.notify_all()
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
                self._out.notify_all()

    def _next_batch(self) -> bytes | memoryview | None:
        with self._lock:
            self._writer_busy = False
            self._batch_bytes = 0
            self._count(0)
            self._out.notify_all()
            self._out.wait_for(lambda: self._state is not State.OPEN or bool(self._waiting and not self._held))
            if self._state is State.CLOSED:
                return None
            if not self._waiting:
                self._say_last()
                return None
            batch, size = [], 0
            # A part of the queue alone: taking all of it would make a full one look as if it had been emptied.
            most = min(_BATCH_BYTES, self._queue_most // 8)
            while self._waiting and size < most:
                batch.append(self._waiting.popleft())
                size += len(batch[-1])
            self._batch_bytes = size
            self._count(-size)
            self._writer_busy = True
            self._full_since = None  # there is room again: a peer that is slow is not one that takes nothing
            return batch[0] if len(batch) == 1 else b"".join(batch)

    # --- closing ------------------------------------------------------------------------------------------------

    def finish(self, last: bytes = b"") -> None:
        """Send what waits and then `last`, and close; within `linger`, and without waiting here.

        The peer's direction stays open for so long: closing it with bytes unread would make the system throw away
        what the peer has not read yet, the reason for the closing included.
        """
        with self._lock:
            if self._state is not State.OPEN:
                return
            self._held = False
            self._flush()  # else it would take a writer to send what was gathered here
            if self.closing or (last and self._send(last) is Sent.CLOSED):
                return
            self._state = State.CLOSING
            self._end_waiting()
            if self._waiting or self._writer_busy:
                self._wake_writer()
            else:
                self._say_last()
        self._alarms.after(self._settings.timers.linger, self.abort)

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

    def _end_waiting(self) -> None:
        """Have nobody wait for a sign of life any more."""
        if self._sign_of_life is not None:
            self._sign_of_life.set()

    def _close(self) -> None:
        """Close at once. `_lock` is held."""
        if self._state is State.CLOSED:
            return
        self._state = State.CLOSED
        self._end_waiting()
        self._waiting.clear()
        self._waiting_bytes = self._batch_bytes = 0
        self._budget.note(self, 0)
        self.transport.shut()
        self._out.notify_all()

    def end(self) -> None:
        """Let a finished link linger until its peer has closed too, then give it back. For its reader alone."""
        try:
            while self._state is State.CLOSING and self._failure is None and self.transport.receive():
                pass
        except OSError as error:
            log.debug("%s: %s", self.name, error)
        with self._lock:
            if self._state is State.CLOSING:
                # The peer has said all it will; what waits for it still goes out, while the alarm lets it.
                self._out.wait_for(lambda: self._state is State.CLOSED or not (self._waiting or self._writer_busy))
            self._close()
            # Closed under a writer, its descriptor could be another connection's before the writer noticed.
            self._out.wait_for(lambda: not self._writer_busy)
        self.transport.close()
        # Alarms keep what they call until they are due: a link, and what has come of a frame, must not last as long.
        self._buffer = FrameBuffer(self._buffer.limit)
        for alarm in (self._alarm_of_handshake, self._alarm_of_frame, self._alarm_of_silence):
            if alarm is not None:
                alarm.cancel()
