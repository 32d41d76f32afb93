"""A file that is offered to us (PROTOCOL.md section 10): what has been heard of it, and waits to be written.

Nothing is written or sent here. The reader's thread hands in what comes, within the window that the sender has, so that
nothing holds it up; the file's own thread, in saving.py, takes it out again.
"""

from __future__ import annotations

import enum
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ciphers import CHUNK_FIELDS
from messages import Manifest
from sending import CANCELLED
from socp import FILE_END, Envelope
from underway import State, TransferFailed, UnderWay
from workers import Task

ENDED_EARLY = "the sender ended it before its last chunk"
WITHDRAWN = "its sender has withdrawn it"
CANCELLED_BY_SENDER = "cancelled by the sender"


class Came(enum.Enum):
    """What can come besides frames."""

    QUESTION = enum.auto()  # where are we?
    LOSS = enum.auto()  # of our connection
    NOTHING = enum.auto()  # for too long


@dataclass(frozen=True)
class Arrived:
    """A frame that has arrived when it was due: a chunk, or the end.

    Attributes:
        size: bytes of its frame.
        sealed: bytes of its ciphertext.
        opening: gives the plain bytes of a chunk, or None if it does not open; None for the end.
    """

    size: int
    sealed: int = 0
    opening: Task[bytes | None] | None = None


class Incoming:
    """A file that we receive, or may receive.

    Args:
        manifest: what it is.
        number: what people call it.
        most: bytes of frames that may wait.
        asked: whether a person is asked for it first.
        opened: opens a chunk, given what a FILE_CHUNK holds of it; None if it does not open.

    Attributes:
        asked: whether the person has yet to answer; the FileReceiver's lock guards it and the next two.
        promised: whether a person has taken it: it makes room for nobody.
        heard: when its sender last offered it.
    """

    def __init__(
        self,
        manifest: Manifest,
        number: int,
        most: int,
        *,
        asked: bool,
        opened: Callable[[Mapping[str, Any]], bytes | None],
    ) -> None:
        self.manifest = manifest
        self.number = number
        self.sender = manifest.peer
        self.offered = time.monotonic()
        self.asked = asked
        self.promised = False
        self.heard = self.offered
        # The receiving thread's alone:
        self.next_index = 0
        self.reported = -1
        self.reported_at = self.offered
        self.until = 0.0  # when it is too long without progress
        self._most = most
        self._opened = opened
        self._changed = threading.Condition()  # guards all below
        self.started = False
        self._received = 0  # bytes that are written
        self._progress = self.offered  # when there last were more
        self._interrupted = False
        self._waiting: deque[Arrived | None] = deque()  # None: it is to be said where we are
        self._waiting_bytes = 0
        self._arrived = 0  # how many chunks have come, in their order
        self._gap = False  # something was lost on the way, and what is behind it will be sent again
        self._lost = False
        self._reason = ""  # why it ends before its time

    # --- what is heard ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Note that its turn has come."""
        with self._changed:
            self.started = True
            self._lost = False  # what was lost before is no loss to it

    def fail(self, reason: str) -> None:
        """Have the transfer end."""
        with self._changed:
            self._fail(reason)

    def _fail(self, reason: str) -> None:
        self._reason = self._reason or reason
        self._changed.notify_all()

    def lose(self) -> None:
        """Note that our connection was lost."""
        with self._changed:
            self._lost = True
            self._changed.notify_all()

    def ask(self) -> None:
        """Have it said where we are, when all has been written that came before, and once for all who ask meanwhile."""
        with self._changed:
            if self.started:
                self._ask()

    @property
    def unanswered(self) -> bool:
        """Whether somebody has asked where we are and was not told: once it is over, nobody is any more."""
        with self._changed:
            return None in self._waiting

    def _ask(self) -> None:
        if None in self._waiting:
            self._waiting.remove(None)
        self._waiting.append(None)
        # What is lost is asked for hereby: an end that is on its way does not mean that the sender gives up.
        self._gap = True
        self._changed.notify_all()

    def take(self, envelope: Envelope) -> Task[bytes | None] | None:
        """Take FILE_CHUNK or FILE_END once it is started; what is not needed now is not kept.

        Returns:
            What it takes to open a chunk that is kept, which may be begun at once.
        """
        with self._changed:
            if envelope.type == FILE_END:
                self._take_end(envelope)
            elif self.started and envelope.payload["index"] == self._arrived < self.manifest.chunks:
                self._arrived += 1
                self._gap = False
                # Nothing else of the frame: a sender can fill it up with what takes many times as much in memory.
                chunk = {name: value for name, value in envelope.payload.items() if name in CHUNK_FIELDS}
                opening = Task(partial(self._opened, chunk))
                sealed = len(envelope.payload["ciphertext"]) * 3 // 4
                if self._keep(Arrived(len(envelope.raw), sealed, opening)):
                    return opening
            else:
                # A repeat, what is behind a chunk that was lost, or what is left of an attempt before our restart.
                self._gap = self._gap or envelope.payload["index"] > self._arrived
            return None

    def _take_end(self, envelope: Envelope) -> None:
        if envelope.payload.get("status") == CANCELLED:
            self._fail(CANCELLED_BY_SENDER)
        elif self._arrived == self.manifest.chunks:
            self._keep(Arrived(len(envelope.raw)))
        elif self._gap:
            self._ask()
            self._gap = False
        else:
            self._fail(ENDED_EARLY)  # at once: to open what waits could take long, and be for nothing

    def _keep(self, arrived: Arrived) -> bool:
        if self._reason:
            return False  # nobody takes it any more
        if self._waiting_bytes + arrived.size > self._most:
            self._fail("the sender sent more than was asked for")
            return False
        self._waiting.append(arrived)
        self._waiting_bytes += arrived.size
        self._changed.notify_all()
        return True

    # --- what is done, in the file's thread ---------------------------------------------------------------------

    def next(self) -> Came | Arrived:
        """Wait for what comes next, not longer than `until`.

        Raises:
            TransferFailed: it is to end.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting or self._lost or self._reason, max(0.0, self.until - time.monotonic())
            )
            if self._reason:
                raise TransferFailed(self._reason)
            if self._waiting and self._waiting[0] is not None:
                arrived = self._waiting.popleft()
                assert arrived is not None
                self._waiting_bytes -= arrived.size
                return arrived
            if self._lost:  # after what came before
                self._lost = False
                return Came.LOSS
            if not self._waiting:
                return Came.NOTHING
            self._waiting.popleft()
            return Came.QUESTION

    def drop(self) -> None:
        """Have nobody open what waits, and keep nothing more, but that somebody has asked: it is over."""
        with self._changed:
            self._fail("it is over")
            for arrived in self._waiting:
                if arrived is not None and arrived.opening is not None:
                    arrived.opening.drop()
            self._waiting = deque(arrived for arrived in self._waiting if arrived is None)

    @property
    def silent(self) -> bool:
        """Whether nothing waits to be taken."""
        with self._changed:
            return not (self._waiting or self._lost or self._reason)

    @property
    def progress(self) -> float:
        """When there last was more of it than before, on the monotonic clock."""
        with self._changed:
            return self._progress

    def note_progress(self, received: int) -> bool:
        """Note how many bytes are written; True if it was interrupted, and goes on."""
        with self._changed:
            self._received = received
            self._progress = time.monotonic()
            resumed, self._interrupted = self._interrupted, False
            return resumed

    def note_interruption(self) -> bool:
        """Note that it is interrupted; False if that is known."""
        with self._changed:
            known, self._interrupted = self._interrupted, True
            return not known

    # --- how it stands ------------------------------------------------------------------------------------------

    @property
    def missing(self) -> int:
        """How many bytes are yet to be written."""
        with self._changed:
            return self.manifest.size - self._received

    def under_way(self) -> UnderWay:
        """Return how it stands; the receiver's lock is held."""
        manifest = self.manifest
        with self._changed:
            if self.asked:
                state = State.OFFERED
            elif not self.started:
                state = State.WAITING
            else:
                state = State.INTERRUPTED if self._interrupted else State.RUNNING
            return UnderWay(
                manifest.file_id,
                self.number,
                manifest.peer,
                manifest.name,
                manifest.size,
                incoming=True,
                state=state,
                done=self._received,
                began=self.offered,
                progressed=self._progress,
            )
