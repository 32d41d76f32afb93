"""A file that is being sent (PROTOCOL.md section 10): what has been heard of it, and what is to be done next.

No frame is sent here and nothing is read. The reader's thread notes what the recipient and the servers say; the file's
own thread, in sending.py, does what `next_step` tells it.
"""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable

from messages import Manifest
from settings import Limits, Timers
from underway import State


class Step(enum.Enum):
    """What a sender does next."""

    CHUNK = enum.auto()  # send the next chunk
    END = enum.auto()  # send FILE_END
    ASK = enum.auto()  # send FILE_START, only to learn where the recipient is
    BUSY = enum.auto()  # pause, and go back to what the recipient has not had
    OFFER = enum.auto()  # the way to the recipient was interrupted: offer the file again
    STALLED = enum.auto()  # the recipient has made no progress for too long
    OVER = enum.auto()  # `final` tells how it ended


class Outgoing:
    """How far a file has come.

    A position is the index of a chunk, or one more than their number when FILE_END has been sent.

    Args:
        manifest: what is sent.
        window: how many chunks may be unacknowledged.
        timers: of the client.
        limits: of the client.
    """

    def __init__(self, manifest: Manifest, window: int, timers: Timers, limits: Limits) -> None:
        self.manifest = manifest
        self._window = window
        self._timers = timers
        self._restarts_most = limits.transfer_restarts
        self._changed = threading.Condition()  # guards all below
        self.offered = False  # whether the recipient may have heard of it
        self.accepted = False  # whether the recipient has ever begun to receive it
        self.final: str | None = None
        self.reason = ""
        self.cancelled = False  # whether it ends because a person wants it so
        self.refused = False  # whether others have ended it: there is nobody to tell that it ends
        self._heard_waiting: float | None = None  # when the recipient last said that it takes it when its turn comes
        self.lost = ""  # why the way to the recipient is interrupted, if it is
        self._busy = False
        self._hurried = True  # to offer at once, without a pause
        self._offers = -1  # made since the recipient last had more than before, but the first
        self._awaiting = False  # an offer is out, and what the recipient answers decides where to go on
        self._asked_at: int | None = None  # the position at which it was asked, until it has answered that
        self._next_index = 0  # the chunk that the recipient needs next
        self._sent = 0  # the chunk to send next
        self._ended = False
        self._restarts = 0
        now = time.monotonic()
        self._progress = now  # when the recipient last had more of the file than before
        self._resumed = now  # when it last took the file up
        self._asked = self._chunk_at = now  # when FILE_START and a chunk were last sent

    # --- what is heard, in the reader's thread ------------------------------------------------------------------

    def end(self, status: str, reason: str, *, cancelled: bool = False) -> None:
        """Have it end, unless it has.

        Args:
            cancelled: whether a person wants it so.
        """
        with self._changed:
            self.cancelled = self.cancelled or (cancelled and self.final is None)
            self._end(status, reason)

    def refuse(self, status: str, reason: str) -> None:
        """Note how the recipient, or a server, has ended it, unless it had ended before."""
        with self._changed:
            self.refused = self.refused or self.final is None
            self._end(status, reason)

    def _end(self, status: str, reason: str) -> None:
        if self.final is None:
            self.final, self.reason = status, reason
        self._changed.notify_all()

    def lose(self, reason: str) -> None:
        """Note that the way to the recipient is interrupted: what is on it may never arrive."""
        with self._changed:
            self.lost = reason
            self._changed.notify_all()

    def hurry(self) -> None:
        """Note that the way may be open again: the next offer need not wait for its time."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()

    def take_waiting(self) -> None:
        """Note that the recipient takes it, and receives others before."""
        with self._changed:
            self._heard_waiting = time.monotonic()
            self._changed.notify_all()

    def take_busy(self) -> None:
        """Note that a server has thrown something away."""
        with self._changed:
            self._busy = True
            self._changed.notify_all()

    def take_report(self, index: int) -> None:
        """Take a FILE_ACK "receiving"; its number is the recipient's word, and may make no sense."""
        with self._changed:
            self._changed.notify_all()
            known = index <= self.manifest.chunks
            if self.lost:
                # It is there again. What it says may be older than the offer that it has yet to get.
                self._hurried = True
            elif self._awaiting:
                self._awaiting = False
                self._resumed = time.monotonic()
                if not self.accepted:
                    self.accepted, self._progress = True, self._resumed
                self._go_on_from(index if known else self._next_index)
            elif not known:
                return
            elif index > self._next_index:
                self._next_index = index
                self._sent = max(self._sent, index)
                self._note_progress()
            elif index == self._next_index:
                self._take_repeat(index)
            elif self._asked_at is not None:
                # It has begun anew. Unasked, it is not believed.
                self._resumed = time.monotonic()
                self._go_on_from(index)

    def _take_repeat(self, index: int) -> None:
        """Go back if what was sent beyond `index` is lost. `_changed` is held.

        A recipient says twice where it is when its link is new, or when it was asked. In the latter case what was sent
        after the question may well be on its way still.
        """
        asked_at, self._asked_at = self._asked_at, None
        if index < (self._position() if asked_at is None else asked_at):
            self._sent, self._ended = index, False
            if self._resumed <= self._progress:  # once, or it could ask for ever
                self._resumed = time.monotonic()

    def _go_on_from(self, index: int) -> None:
        """Go on from where the recipient says, even if it had more before. `_changed` is held."""
        self._asked_at = None
        if index > self._next_index:
            self._note_progress()
        elif index < self._next_index:
            # A recipient that began anew for ever would keep us here for ever.
            self._restarts += 1
            if self._restarts > self._restarts_most:
                self._end("failed", "the recipient began anew too often")
        self._next_index = self._sent = index
        self._ended = False

    def _note_progress(self) -> None:
        self._progress = time.monotonic()
        self._offers = 0

    def _position(self) -> int:
        return self._sent + self._ended

    @property
    def offered_again(self) -> bool:
        """Whether this is not the first offer: after a reconnect, the recipient may be about to reconnect too."""
        with self._changed:
            return self._offers > 0

    @property
    def state(self) -> State:
        """What it does at the moment."""
        with self._changed:
            if not self.offered:
                return State.HASHING
            if not self.accepted:
                return State.OFFERED if self._heard_waiting is None else State.WAITING
            return State.INTERRUPTED if self.lost or self._awaiting else State.RUNNING

    @property
    def acknowledged(self) -> int:
        """How many chunks the recipient has."""
        with self._changed:
            return self._next_index

    @property
    def progress(self) -> float:
        """When the recipient last had more of it than before, on the monotonic clock."""
        with self._changed:
            return self._progress

    # --- what is done, in the file's thread ---------------------------------------------------------------------

    def patience(self, until: float) -> float:
        """Return until when an offer may be made, on the monotonic clock: longer, if the recipient says that it waits.

        Args:
            until: when it is too long for an offer that nobody answers.
        """
        with self._changed:
            heard = self._heard_waiting
            return until if heard is None or self.accepted else max(until, heard + self._timers.offer)

    def deadline(self) -> float:
        """Return until when an interrupted transfer may be taken up again, on the monotonic clock."""
        with self._changed:
            return self._progress + self._timers.resume

    def begin_offer(self) -> None:
        """Note that FILE_START is about to be sent, and that all depends on its answer."""
        with self._changed:
            self.lost, self._busy, self._hurried = "", False, False
            self._offers += 1
            self.offered = self._awaiting = True

    def wait_answer(self, seconds: float) -> bool:
        """Wait for the answer to an offer; True when it is there, or the transfer is over."""
        with self._changed:
            self._wait_for(lambda: not self._awaiting or bool(self.lost) or self._busy, seconds)
            return not self._awaiting or self.final is not None

    @property
    def unheard(self) -> bool:
        """Whether an offer is out that nobody has answered, and nothing is known to have kept it from arriving."""
        with self._changed:
            return self._awaiting and not (self.lost or self._busy or self.accepted)

    def unhurry(self) -> None:
        """Forget that the way may be open again, before it is looked whether it is."""
        with self._changed:
            self._hurried = False

    def wait_hurried(self, seconds: float) -> None:
        """Wait until the way may be open again, at most so many seconds."""
        with self._changed:
            self._wait_for(lambda: self._hurried, seconds)

    def wait_turn(self, most: float) -> None:
        """Wait before the next offer, longer each time but at most so many seconds.

        A reason to make it at once is taken as such. Only progress makes the pauses short again: a way that opens and
        closes at once must not keep us busy.
        """
        with self._changed:
            doubled = self._timers.retry_first * 2.0 ** min(max(0, self._offers), 30)
            pause = self._timers.busy if self._busy else min(doubled, self._timers.retry_client)
            self._wait_for(lambda: self._hurried, min(pause, most))

    def pause(self) -> None:
        """Give a busy server time, and go back to what the recipient has not had."""
        with self._changed:
            self._busy = False
            self._wait_for(lambda: bool(self.lost), self._timers.busy)
            self._sent, self._ended = self._next_index, False

    def _wait_for(self, true: Callable[[], bool], seconds: float) -> None:
        self._changed.wait_for(lambda: self.final is not None or true(), max(0.0, seconds))

    def begin_chunk(self) -> int:
        """Note that a chunk is about to be sent, and return its index."""
        with self._changed:
            self._sent += 1
            self._chunk_at = time.monotonic()
            return self._sent - 1

    def begin_end(self) -> None:
        """Note that FILE_END is about to be sent."""
        with self._changed:
            self._ended = True

    def begin_question(self) -> None:
        """Note that FILE_START is about to be sent, while the transfer goes on."""
        with self._changed:
            self._asked_at = self._position()
            self._asked = time.monotonic()

    def stalled(self) -> bool:
        """Tell whether the recipient still has made no progress for too long."""
        with self._changed:
            return self._look(time.monotonic()) is Step.STALLED

    def next_step(self) -> Step:
        """Wait until there is something to do."""
        with self._changed:
            while not isinstance(found := self._look(time.monotonic()), Step):
                self._changed.wait(max(0.0, found - time.monotonic()))
            return found

    def _look(self, now: float) -> Step | float:
        """Return what is to be done now; or until when there is nothing, if nothing is heard. `_changed` is held."""
        if self.final is not None:
            return Step.OVER
        if self.lost:
            return Step.OFFER
        # Before all else: servers that are busy for ever, or a recipient that asks for one chunk for ever, make no
        # progress either.
        since = max(self._progress, self._resumed)
        if now >= since + self._timers.stall:
            return Step.STALLED
        if self._busy:
            return Step.BUSY
        chunks = self.manifest.chunks
        if self._sent < chunks:
            if self._sent - self._next_index < self._window:
                return Step.CHUNK
        elif not self._ended and self._next_index == chunks:
            return Step.END
        ask_at = max(since, self._asked) + self._timers.ask
        if self._sent == chunks and not self._ended:
            # An end that overtakes a loss would look like that of a sender who gave up: it is asked first. A busy
            # server gets the time to say that it has thrown the last chunk away.
            if self._asked < self._chunk_at:
                ask_at = min(ask_at, self._chunk_at + 2 * self._timers.busy)
            elif now >= self._asked + self._timers.ask:
                return Step.END
        return Step.ASK if now >= ask_at else min(ask_at, since + self._timers.stall)
