"""Receiving files (PROTOCOL.md section 10): chunks opened in order, and a file shown only when it is right.

Each file has a thread of its own. What the reader's thread hands in is queued within the window that the sender has,
so that nothing here holds it up.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from functools import partial
from pathlib import Path
from typing import Any

import socp
from crypto.encoding import EncodingError, decode_base64url
from crypto.keys import PublicKey
from crypto.sealing import OpenError, chunk_label, open_sealed
from crypto.signing import FILE_RESULT, KeySigner, sign_content
from downloads import Download, safe_name
from errors import ChatError
from events import Event, FileDone, FileFailed, FileStarted
from messages import Manifest, read_manifest
from sending import CHUNK_PLAIN, CHUNK_SEALED, NAME_MOST, Owner, TransferFailed
from socp import FILE_ACK, FILE_END, Envelope, ProtocolError

log = logging.getLogger("socp.receiving")


class Incoming:
    """A file that we receive."""

    def __init__(self, manifest: Manifest, key: PublicKey) -> None:
        self.manifest = manifest
        self.key = key
        self.offered = time.monotonic()
        self.changed = threading.Condition()  # guards all below
        self.started = False
        self.waiting: deque[Envelope] = deque()
        self.waiting_bytes = 0
        self.next_index = 0
        self.reason = ""  # why it ends before its time

    def fail(self, reason: str) -> None:
        """Have the transfer end."""
        with self.changed:
            self.reason = self.reason or reason
            self.changed.notify_all()


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
        self._lock = threading.Lock()  # guards the two below, and which transfers have started
        self._incoming: OrderedDict[tuple[str, str], Incoming] = OrderedDict()
        self._finished: OrderedDict[tuple[str, str], str] = OrderedDict()  # to the final status

    @property
    def active(self) -> int:
        """How many files are being received, or wait for their turn."""
        with self._lock:
            return len(self._incoming)

    def end_all(self, reason: str) -> None:
        """End every transfer; senders are told, where they can be."""
        with self._lock:
            incoming = list(self._incoming.values())
        for receiving in incoming:
            receiving.fail(reason)
        self._start_waiting(at_once=True)

    def take_start(self, envelope: Envelope) -> None:
        """Take the offer of a file: all that keep to section 10 are accepted, a few at a time."""
        sender = envelope.sender
        try:
            manifest, key = read_manifest(envelope)
        except ProtocolError as error:
            log.warning("the offer of a file from %s is not what its sender has signed: %s", sender, error)
            self._reject(sender, envelope.payload["file_id"], "its sender has not signed it so")
            return
        place = (sender, manifest.file_id)
        with self._lock:
            known = self._incoming.get(place)
            finished = self._finished.get(place)
            of_sender = sum(peer == sender for peer, _ in self._incoming)
            too_many = (
                len(self._incoming) >= self._limits.transfers + self._limits.transfers_waiting
                or of_sender >= self._limits.transfers_of_one
            )
        if known is not None:
            if known.manifest == manifest and known.started:
                self._report(known)
            return
        reason = self._why_not(envelope, manifest)
        if finished is not None:
            reason = "this file was sent before"
        elif too_many:
            reason = "too many files at once"
        if reason:
            self._reject(sender, manifest.file_id, reason)
            return
        receiving = Incoming(manifest, key)
        with self._lock:
            self._incoming[place] = receiving
        self._start_waiting()

    def _why_not(self, envelope: Envelope, manifest: Manifest) -> str:
        """Return why an offer is to be rejected, or the empty string."""
        payload = envelope.payload
        least = -(-manifest.size // CHUNK_PLAIN)
        if abs(envelope.ts - socp.now_ms()) > self._limits.clock_skew:
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
        return ""

    def _start_waiting(self, *, at_once: bool = False) -> None:
        """Begin the transfers whose turn has come; or all of them, when they are to end."""
        starting = []
        with self._lock:
            running = sum(receiving.started for receiving in self._incoming.values())
            for receiving in self._incoming.values():
                if (at_once or running < self._limits.transfers) and not receiving.started:
                    receiving.started = True
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
        if receiving is None:
            return
        size = len(envelope.raw)
        with receiving.changed:
            if not receiving.started or receiving.waiting_bytes + size > 2 * self._limits.transfer_window:
                receiving.reason = receiving.reason or "the sender sent more than was asked for"
            else:
                receiving.waiting.append(envelope)
                receiving.waiting_bytes += size
            receiving.changed.notify_all()

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
            self._conclude(manifest, "complete", "")
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
        gap = False
        progress = time.monotonic()
        while True:
            envelope = self._next_frame(receiving, progress + self._timers.stall)
            if envelope.type == FILE_END:
                if receiving.next_index < manifest.chunks:
                    if not gap:
                        raise TransferFailed("the sender ended it before its last chunk")
                    gap = False
                    self._report(receiving)
                    continue
                break
            index = envelope.payload["index"]
            if index != receiving.next_index or index >= manifest.chunks:
                # A chunk was thrown away by a server that was busy: those behind it will be sent again.
                gap = gap or index > receiving.next_index
                continue
            gap = False
            plain, sealed = self._open_chunk(manifest, envelope.payload)
            length = length or len(plain)
            last = index == manifest.chunks - 1
            if not plain or (len(plain) > length if last else len(plain) != length):
                raise TransferFailed("the chunks are not of one size")
            if download.size + len(plain) > manifest.size:
                raise TransferFailed("it is longer than was said")
            download.write(plain)
            receiving.next_index += 1
            progress = time.monotonic()
            unreported += sealed
            if unreported + CHUNK_SEALED > self._limits.transfer_ack or last:
                unreported = 0
                self._report(receiving)
        if download.size != manifest.size:
            raise TransferFailed("its size is not the one that was said")
        if download.sha256() != manifest.sha256:
            raise TransferFailed("its SHA-256 is not the one that was said")

    def _next_frame(self, receiving: Incoming, until: float) -> Envelope:
        """Wait for a frame until a time on the monotonic clock: frames that bring nothing do not prolong it."""
        with receiving.changed:
            left = until - time.monotonic()
            heard = left > 0 and receiving.changed.wait_for(lambda: receiving.waiting or receiving.reason, left)
            if receiving.reason:
                raise TransferFailed(receiving.reason)
            if not heard:
                raise TransferFailed("nothing was heard from the sender for too long")
            envelope = receiving.waiting.popleft()
            receiving.waiting_bytes -= len(envelope.raw)
            return envelope

    def _open_chunk(self, manifest: Manifest, payload: dict[str, Any]) -> tuple[bytes, int]:
        label = chunk_label(manifest.file_id, manifest.peer, payload["index"], self._pair.id)
        try:
            sealed = decode_base64url(payload["ciphertext"])
            return open_sealed(self._pair, sealed, label), len(sealed)
        except (EncodingError, OpenError) as error:
            raise TransferFailed("a chunk does not open") from error

    def _report(self, receiving: Incoming) -> None:
        payload = {
            "file_id": receiving.manifest.file_id,
            "next_index": receiving.next_index,
            "status": "receiving",
        }
        self._owner.send(FILE_ACK, receiving.manifest.peer, payload)

    def _reject(self, sender: str, file_id: str, reason: str) -> None:
        self._send_last(sender, file_id, 0, "rejected", reason)

    def _conclude(self, manifest: Manifest, status: str, detail: str) -> None:
        """Send the last FILE_ACK, and remember the transfer."""
        with self._lock:
            self._finished[(manifest.peer, manifest.file_id)] = status
            if len(self._finished) > self._limits.shown:
                self._finished.popitem(last=False)
        index = manifest.chunks if status == "complete" else 0
        self._send_last(manifest.peer, manifest.file_id, index, status, detail)

    def _send_last(self, sender: str, file_id: str, next_index: int, status: str, detail: str) -> None:
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
