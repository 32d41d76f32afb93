"""Receiving files (PROTOCOL.md section 10): chunks opened in order, and a file shown only when it is right.

Each file has a thread of its own. What the reader's thread hands in is queued within the window that the sender has,
so that nothing here holds it up.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections import OrderedDict, deque
from functools import partial
from pathlib import Path
from typing import Any

import socp
from crypto.encoding import EncodingError, decode_base64url
from crypto.sealing import OpenError, chunk_label, open_sealed
from crypto.signing import FILE_RESULT, KeySigner, sign_content
from downloads import Download, safe_name
from errors import ChatError, NotConnected, NotRemembered
from events import Event, FileDone, FileFailed, FileInterrupted, FileResumed, FileStarted
from finished import RecentTransfers
from messages import Manifest, read_manifest
from sending import CHUNK_PLAIN, CHUNK_SEALED, NAME_MOST, Owner, TransferFailed
from socp import FILE_ACK, FILE_END, Envelope, ProtocolError

log = logging.getLogger("socp.receiving")

_ENDED_EARLY = "the sender ended it before its last chunk"


class Came(enum.Enum):
    """What can come besides frames."""

    QUESTION = enum.auto()  # where are we?
    LOSS = enum.auto()  # of our connection
    NOTHING = enum.auto()  # for too long


class Incoming:
    """A file that we receive, and what has come of it and waits to be written.

    Args:
        manifest: what is received.
        most: bytes of frames that may wait.
    """

    def __init__(self, manifest: Manifest, most: int) -> None:
        self.manifest = manifest
        self.offered = time.monotonic()
        # The receiving thread's alone:
        self.next_index = 0
        self.reported = -1
        self.progress = self.offered  # when there last was more of it than before
        self.until = 0.0  # when it is too long without progress
        self.interrupted = False
        self._most = most
        self._changed = threading.Condition()  # guards all below
        self.started = False
        self._waiting: deque[Envelope | None] = deque()  # None: it is to be said where we are
        self._waiting_bytes = 0
        self._arrived = 0  # how many chunks have come, in their order
        self._gap = False  # something was lost on the way, and what is behind it will be sent again
        self._lost = False
        self._reason = ""  # why it ends before its time

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

    def _ask(self) -> None:
        if None in self._waiting:
            self._waiting.remove(None)
        self._waiting.append(None)
        # What is lost is asked for hereby: an end that is on its way does not mean that the sender gives up.
        self._gap = True
        self._changed.notify_all()

    def take(self, envelope: Envelope) -> None:
        """Take FILE_CHUNK or FILE_END, in the reader's thread; what is not needed now is not kept."""
        with self._changed:
            if envelope.type == FILE_END:
                self._take_end(envelope)
            elif self.started and envelope.payload["index"] == self._arrived < self.manifest.chunks:
                self._arrived += 1
                self._gap = False
                self._keep(envelope)
            else:
                # A repeat, what is behind a chunk that was lost, or what is left of an attempt before our restart.
                self._gap = self._gap or envelope.payload["index"] > self._arrived

    def _take_end(self, envelope: Envelope) -> None:
        if not self.started:
            self._fail(_ENDED_EARLY)
        elif self._arrived < self.manifest.chunks and self._gap:
            self._ask()
            self._gap = False
        else:
            self._keep(envelope)

    def _keep(self, envelope: Envelope) -> None:
        if self._waiting_bytes + len(envelope.raw) > self._most:
            self._fail("the sender sent more than was asked for")
            return
        self._waiting.append(envelope)
        self._waiting_bytes += len(envelope.raw)
        self._changed.notify_all()

    def next(self) -> Came | Envelope:
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
                envelope = self._waiting.popleft()
                assert envelope is not None
                self._waiting_bytes -= len(envelope.raw)
                return envelope
            if self._lost:  # after what came before
                self._lost = False
                return Came.LOSS
            if not self._waiting:
                return Came.NOTHING
            self._waiting.popleft()
            return Came.QUESTION

    @property
    def silent(self) -> bool:
        """Whether nothing waits to be taken."""
        with self._changed:
            return not (self._waiting or self._lost or self._reason)


class FileReceiver:
    """The files that one client receives.

    Args:
        owner: the client.
        downloads: where they are put.
    """

    def __init__(self, owner: Owner, downloads: Path) -> None:
        self._owner = owner
        self._pair = owner.pair
        self._signer = KeySigner(owner.pair)
        self._downloads = downloads
        self._timers = owner.settings.timers
        self._limits = owner.settings.limits
        self._recent = RecentTransfers(owner.settings.limits.shown)  # for when the disk fails
        self._lock = threading.Lock()  # guards what is below; taken before that of an Incoming
        self._incoming: OrderedDict[tuple[str, str], Incoming] = OrderedDict()

    @property
    def active(self) -> int:
        """How many files are being received, or wait for their turn."""
        with self._lock:
            return len(self._incoming)

    def end_all(self, reason: str) -> None:
        """End every transfer; senders are told, where they can be."""
        for receiving in self._all():
            receiving.fail(reason)
        self._start_waiting(at_once=True)

    def disconnected(self) -> None:
        """Interrupt every transfer."""
        for receiving in self._all():
            receiving.lose()

    def connected(self) -> None:
        """Have every sender told where we are: what was on its way may be lost."""
        for receiving in self._all():
            receiving.ask()

    def _all(self) -> list[Incoming]:
        with self._lock:
            return list(self._incoming.values())

    def take_start(self, envelope: Envelope) -> None:
        """Take the offer of a file: all that keep to section 10 are accepted, a few at a time."""
        sender, file_id = place = (envelope.sender, envelope.payload["file_id"])
        with self._lock:
            known = self._incoming.get(place)
        try:
            # In this order: a transfer is remembered before it is taken off those under way.
            finished = self._recent.get(*place) or self._owner.finished.get(*place) if known is None else None
        except NotRemembered as error:
            log.warning("the offer of a file is rejected: %s", error)
            self._reject(sender, file_id, "the recipient cannot tell whether it had it before")
            return
        try:
            manifest, _ = read_manifest(envelope)
        except ProtocolError as error:
            log.warning("the offer of a file from %s is not what its sender has signed: %s", sender, error)
            if known is None and finished is None:  # else a server could end a transfer by an offer that it forges
                self._reject(sender, file_id, "its sender has not signed it so")
            return
        if known is not None:
            if known.manifest == manifest and self._is_timely(envelope):
                known.ask()
        elif finished is not None:
            status, sha256 = finished
            if sha256 == manifest.sha256:
                # The end that was sent then may never have arrived.
                self._send_last(manifest, status, "" if status == "complete" else "it had failed before")
            else:
                self._reject(sender, file_id, "another file was sent under this id before")
        elif reason := self._why_not(envelope, manifest):
            self._reject(sender, file_id, reason)
        else:
            with self._lock:
                self._incoming[place] = Incoming(manifest, 2 * self._limits.transfer_window)
            self._start_waiting()

    def _why_not(self, envelope: Envelope, manifest: Manifest) -> str:
        """Return why an offer is to be rejected, or the empty string."""
        payload = envelope.payload
        least = -(-manifest.size // CHUNK_PLAIN)
        if not self._is_timely(envelope):
            return "the offer's time is too far from the recipient's clock"
        if payload["mode"] != "dm":
            return 'the mode is not "dm"'
        if "alg" in payload or "enc" in payload:
            return "the recipient cannot open that cipher"
        if len(manifest.name) > NAME_MOST:
            return f"its name has over {NAME_MOST} characters"
        if manifest.size > self._limits.file_bytes:
            return f"over {self._limits.file_bytes:,} bytes"
        if not least <= manifest.chunks <= manifest.size:
            return "the number of chunks does not match the size"
        with self._lock:
            of_sender = sum(peer == envelope.sender for peer, _ in self._incoming)
            too_many = (
                len(self._incoming) >= self._limits.transfers + self._limits.transfers_waiting
                or of_sender >= self._limits.transfers_of_one
            )
        return "too many files at once" if too_many else ""

    def _is_timely(self, envelope: Envelope) -> bool:
        return abs(envelope.ts - socp.now_ms()) <= self._limits.clock_skew

    def _start_waiting(self, *, at_once: bool = False) -> None:
        """Begin the transfers whose turn has come; or all of them, when they are to end."""
        starting = []
        with self._lock:
            running = sum(receiving.started for receiving in self._incoming.values())
            for receiving in self._incoming.values():
                if (at_once or running < self._limits.transfers) and not receiving.started:
                    receiving.start()
                    running += 1
                    starting.append(receiving)
        for receiving in starting:
            self._run_incoming(receiving)

    def _run_incoming(self, receiving: Incoming) -> None:
        name = f"receive {receiving.manifest.file_id[:8]}"
        if not self._owner.threads.start(name, partial(self._receive, receiving)):
            with self._lock:
                self._incoming.pop((receiving.manifest.peer, receiving.manifest.file_id), None)

    def take(self, envelope: Envelope) -> None:
        """Take FILE_CHUNK or FILE_END, in the reader's thread."""
        with self._lock:
            receiving = self._incoming.get((envelope.sender, envelope.payload["file_id"]))
        if receiving is not None:
            receiving.take(envelope)

    def _receive(self, receiving: Incoming) -> None:
        manifest = receiving.manifest
        event: Event
        download: Download | None = None
        try:
            if time.monotonic() - receiving.offered > self._timers.offer:
                raise TransferFailed("its sender has waited too long")
            download = Download(self._downloads)
            self._report(receiving)
            self._owner.emit(FileStarted(manifest.file_id, manifest.peer, manifest.name, manifest.size, incoming=True))
            self._receive_chunks(receiving, download)
            path = download.keep(safe_name(manifest.name))
            event = FileDone(manifest.file_id, manifest.peer, manifest.name, manifest.size, incoming=True, path=path)
            self._conclude(manifest, "complete")
        except (TransferFailed, ChatError, OSError, ValueError) as error:
            # A ValueError is a name that this system cannot write.
            ours = isinstance(error, (OSError, ValueError))
            said = error.strerror if isinstance(error, OSError) else error
            reason = f"cannot write to {self._downloads}: {said}" if ours else str(error)
            event = FileFailed(manifest.file_id, manifest.peer, manifest.name, incoming=True, reason=reason)
            # What is wrong with our disk is not the sender's to know.
            self._conclude(manifest, "failed", "the recipient cannot save it" if ours else reason)
        finally:
            if download is not None:
                download.discard()
        self._owner.emit(event)
        with self._lock:
            self._incoming.pop((manifest.peer, manifest.file_id), None)
        self._owner.settled()
        self._start_waiting()

    def _receive_chunks(self, receiving: Incoming, download: Download) -> None:
        manifest = receiving.manifest
        unreported = 0
        length = 0  # of every chunk but the last
        self._note_progress(receiving)
        while (envelope := self._next_frame(receiving)).type != FILE_END:
            plain, sealed = self._open_chunk(manifest, envelope.payload)
            length = length or len(plain)
            last = receiving.next_index == manifest.chunks - 1
            if not plain or (len(plain) > length if last else len(plain) != length):
                raise TransferFailed("the chunks are not of one size")
            if download.size + len(plain) > manifest.size:
                raise TransferFailed("it is longer than was said")
            download.write(plain)
            receiving.next_index += 1
            self._note_progress(receiving)
            unreported += sealed
            if unreported + CHUNK_SEALED > self._limits.transfer_ack or last:
                unreported = 0
                self._report(receiving)
        if receiving.next_index < manifest.chunks:
            raise TransferFailed(_ENDED_EARLY)
        if download.size != manifest.size:
            raise TransferFailed("its size is not the one that was said")
        if download.sha256() != manifest.sha256:
            raise TransferFailed("its SHA-256 is not the one that was said")

    def _note_progress(self, receiving: Incoming) -> None:
        manifest = receiving.manifest
        receiving.progress = time.monotonic()
        receiving.until = receiving.progress + self._timers.stall
        if receiving.interrupted:
            receiving.interrupted = False
            self._owner.emit(FileResumed(manifest.file_id, manifest.peer, manifest.name, incoming=True))

    def _interrupt(self, receiving: Incoming, reason: str) -> None:
        manifest = receiving.manifest
        if not receiving.interrupted:
            receiving.interrupted = True
            event = FileInterrupted(manifest.file_id, manifest.peer, manifest.name, incoming=True, reason=reason)
            self._owner.emit(event)

    def _next_frame(self, receiving: Incoming) -> Envelope:
        """Wait for the next chunk or the end, as long as it may yet come.

        Raises:
            TransferFailed: it may not.
        """
        while not isinstance(came := receiving.next(), Envelope):
            if time.monotonic() >= receiving.progress + self._timers.resume:
                raise TransferFailed("it was interrupted for too long")
            if came is Came.LOSS:
                self._interrupt(receiving, "the connection was lost")
            elif came is Came.QUESTION:
                if receiving.reported != receiving.next_index:
                    self._report(receiving)
                # Only what is said twice tells a sender that what it has sent since is lost.
                self._report(receiving)
                self._prolong(receiving)
            elif not self._owner.connected(0):
                self._interrupt(receiving, "not connected to a server")
                self._prolong(receiving)
            elif not self._owner.is_online(receiving.manifest.peer):
                self._interrupt(receiving, "the sender is not online")
                self._prolong(receiving)
            elif receiving.silent:  # while the question was out
                raise TransferFailed("nothing was heard from the sender for too long")
        return came

    def _prolong(self, receiving: Incoming) -> None:
        """Give it time to go on, but none beyond that after which an interrupted transfer has failed."""
        end = receiving.progress + self._timers.resume
        receiving.until = min(time.monotonic() + self._timers.stall, end)

    def _open_chunk(self, manifest: Manifest, payload: dict[str, Any]) -> tuple[bytes, int]:
        label = chunk_label(manifest.file_id, manifest.peer, payload["index"], self._pair.id)
        try:
            sealed = decode_base64url(payload["ciphertext"])
            return open_sealed(self._pair, sealed, label), len(sealed)
        except (EncodingError, OpenError) as error:
            raise TransferFailed("a chunk does not open") from error

    def _report(self, receiving: Incoming) -> None:
        manifest, index = receiving.manifest, receiving.next_index
        payload: dict[str, object] = {"file_id": manifest.file_id, "next_index": index, "status": "receiving"}
        try:
            self._owner.send(FILE_ACK, manifest.peer, payload)
        except NotConnected as error:
            log.info("the sender of a file is told how far it has come once we are connected again: %s", error)
        else:
            receiving.reported = index

    def _conclude(self, manifest: Manifest, status: str, detail: str = "") -> None:
        """Remember how a transfer ended, and then tell its sender."""
        ended = (manifest.peer, manifest.file_id, status, manifest.sha256)
        self._recent.add(*ended)
        try:
            self._owner.finished.add(*ended)
        except NotRemembered as error:
            log.warning("that a file is %s is remembered no longer than this program runs: %s", status, error)
        self._send_last(manifest, status, detail)

    def _send_last(self, manifest: Manifest, status: str, detail: str) -> None:
        index = manifest.chunks if status == "complete" else 0
        self._say_last(manifest.peer, manifest.file_id, index, status, detail)

    def _reject(self, sender: str, file_id: str, reason: str) -> None:
        self._say_last(sender, file_id, 0, "rejected", reason)

    def _say_last(self, sender: str, file_id: str, next_index: int, status: str, detail: str) -> None:
        """Send the FILE_ACK that ends a transfer, which is signed."""
        ts = socp.now_ms()
        values = {"file_id": file_id, "status": status, "from": self._pair.id, "to": sender, "ts": ts}
        payload = {
            "file_id": file_id,
            "next_index": next_index,
            "status": status,
            "content_sig": sign_content(self._signer, FILE_RESULT, values),
            **({"detail": detail} if detail else {}),
        }
        try:
            self._owner.send(FILE_ACK, sender, payload, ts)
        except ChatError as error:
            log.info("the sender of a file could not be told that it is %s: %s", status, error)
