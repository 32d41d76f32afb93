"""One connection that carries frames: who its peer is, its reader, its ends, and the deadlines that bring them about.

A link has one reader, the thread that iterates over `frames()` and closes the link when that ends. What it sends is in
outflow.py.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

import gathering
from budget import Budget
from framing import BodyLimit, FrameBuffer
from outflow import Outflow, Sent, State
from settings import Settings
from socp import TIMEOUT, LinkError
from threads import Alarm, Alarms, Threads
from transport import READ_BYTES, Transport

log = logging.getLogger("socp.link")

# What is read in one go before the handshake is done: all that strangers make us keep must be little.
_STRANGER_READ = 4096
# … and after it while less comes at a time, which is more than a user's heartbeat and less than most else: a reader
# that waits keeps what it reads into, and most links are idle.
_IDLE_READ = 256
# Of the time after which a silent link is dead: so much later may it be found to be.
_SILENCE_SLACK = 0.02


class Link(Outflow):
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
        super().__init__(transport, settings=settings, alarms=alarms, threads=threads, name=name, budget=budget)
        self.source = ""  # what limits count the peer's address by, where the peer has connected

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
            self._alarm_of_handshake = None
        self._buffer.limit = limit
        self._read_most = _IDLE_READ
        self._heard = time.monotonic()
        self._watch_silence(self._settings.timers.silence)

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
            before_wait: called when there is none at hand. What it raises comes out here.

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
            before_wait()
            if self.closing:
                break  # by what was handled just now: nobody need wait for the peer's end of it
            if self._buffer.begun and self._frame_began is None:
                self._watch_frame()
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

    def _watch_silence(self, seconds: float) -> None:
        slack = self._settings.timers.silence * _SILENCE_SLACK
        self._alarm_of_silence = self._alarms.after_about(seconds, self._check_silence, slack=slack)

    def _check_silence(self) -> None:
        if self.closing:
            return
        left = self._heard + self._settings.timers.silence - time.monotonic()
        if left > 0:
            self._watch_silence(left)
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

    # --- closing ------------------------------------------------------------------------------------------------

    def finish(self, last: bytes = b"") -> None:
        """Send what waits and then `last`, and close; within `linger`, and without waiting here.

        The peer's direction stays open for so long: closing it with bytes unread would make the system throw away
        what the peer has not read yet, the reason for the closing included.
        """
        gathering.make_way(self)
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

    def _end_waiting(self) -> None:
        """Have nobody wait for a sign of life any more."""
        if self._sign_of_life is not None:
            self._sign_of_life.set()

    def _close(self) -> None:
        """Close at once. `_lock` is held."""
        super()._close()
        self._end_waiting()

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
                self._wait_for(lambda: self._state is State.CLOSED or not (self._waiting or self._writer_busy))
            self._close()
            # Closed under a writer, its descriptor could be another connection's before the writer noticed.
            self._wait_for(lambda: not self._writer_busy)
        self.transport.close()
        # Alarms keep what they call until they are due: a link, and what has come of a frame, must not last as long.
        self._buffer = FrameBuffer(self._buffer.limit)
        for alarm in (self._alarm_of_handshake, self._alarm_of_frame, self._alarm_of_silence):
            if alarm is not None:
                alarm.cancel()
