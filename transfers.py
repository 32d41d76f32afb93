"""Files, in both directions (PROTOCOL.md section 10): each transfer has a thread of its own.

A sender hashes the file, offers it, and keeps at most a window of ciphertext unacknowledged; a recipient opens each
chunk in order, writes it to a draft, and shows the file only when its size and hash are right. What the reader's
thread hands in is queued within that window, so that nothing here holds it up.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import socp
from contacts import Contact
from crypto.encoding import EncodingError, decode_base64url, encode_base64url
from crypto.keys import KeyPair, PublicKey
from crypto.sealing import BLOCK_SEALED, BLOCKS_MOST, SEAL_MOST, OpenError, chunk_label, open_sealed, seal
from crypto.signing import FILE_RESULT, MANIFEST, KeySigner, sign_content, verify_content
from downloads import Download, safe_name
from errors import ChatError, FileRefused
from events import Event, FileDone, FileFailed, FileStarted
from messages import check_manifest
from settings import Settings
from socp import FILE_ACK, FILE_CHUNK, FILE_END, FILE_START, SERVER_BUSY, Envelope, ProtocolError
from threads import Threads

log = logging.getLogger("socp.transfers")

CHUNK_PLAIN = SEAL_MOST
CHUNK_SEALED = BLOCKS_MOST * BLOCK_SEALED
_HASHED_AT_ONCE = 1024 * 1024
_NAME_MOST = 255

Send = Callable[..., None]


class TransferFailed(Exception):
    """Raised inside a transfer to end it; the message says why, for people."""


@dataclass(frozen=True)
class Manifest:
    """What FILE_START says of a file, as the sender signed it."""

    file_id: str
    peer: str
    name: str
    size: int
    sha256: str
    chunks: int


class Outgoing:
    """A file that we send."""

    def __init__(self, manifest: Manifest, recipient: Contact, path: Path, file: BinaryIO) -> None:
        self.manifest = manifest
        self.recipient = recipient
        self.path = path
        self.file = file
        self.changed = threading.Condition()  # guards all below
        self.accepted = False
        self.next_index = 0
        self.heard = time.monotonic()
        self.busy = False
        self.final: str | None = None
        self.reason = ""

    def end(self, status: str, reason: str) -> None:
        """Note how it ended, unless that is known."""
        with self.changed:
            if self.final is None:
                self.final, self.reason = status, reason
            self.changed.notify_all()


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


class Transfers:
    """All transfers of one client.

    Args:
        pair: our key.
        downloads: where received files are put.
        settings: timers and limits.
        threads: where each transfer's thread is registered.
        contact: returns a user's verified key.
        send: sends a frame of ours: type, to, payload, and ts if it is not now.
        emit: told each event.
        settled: told when a transfer is over and its event has been emitted.
    """

    def __init__(
        self,
        pair: KeyPair,
        downloads: Path,
        settings: Settings,
        threads: Threads,
        *,
        send: Send,
        emit: Callable[[Event], None],
        settled: Callable[[], None],
    ) -> None:
        self._pair = pair
        self._signer = KeySigner(pair)
        self._downloads = downloads
        self._timers = settings.timers
        self._limits = settings.limits
        self._threads = threads
        self._send = send
        self._emit = emit
        self._settled = settled
        self._lock = threading.Lock()  # guards all below
        self._outgoing: dict[str, Outgoing] = {}
        self._incoming: OrderedDict[tuple[str, str], Incoming] = OrderedDict()
        self._finished: OrderedDict[tuple[str, str], str] = OrderedDict()  # to the final status

    @property
    def active(self) -> int:
        """How many transfers are under way, in both directions."""
        with self._lock:
            return len(self._outgoing) + len(self._incoming)

    def stop(self) -> None:
        """End every transfer; the other end of each is told."""
        self._end_all("this client is leaving")

    def disconnected(self) -> None:
        """End every transfer, since nobody can be told any more."""
        self._end_all("the connection was lost")

    def _end_all(self, reason: str) -> None:
        with self._lock:
            outgoing, incoming = list(self._outgoing.values()), list(self._incoming.values())
        for sending in outgoing:
            sending.end("failed", reason)
        for receiving in incoming:
            receiving.fail(reason)
            if not receiving.started:
                self._run_incoming(receiving)

    # --- sending ------------------------------------------------------------------------------------------------

    def offer(self, recipient: Contact, path: Path) -> str:
        """Send a file, in a thread of its own.

        Returns:
            Its file_id.

        Raises:
            FileRefused: it is no file that can be sent.
        """
        file = _open_regular(path)
        try:
            size = os.fstat(file.fileno()).st_size
            if size > self._limits.file_bytes:
                raise FileRefused(f"{path} has {size:,} bytes; at most {self._limits.file_bytes:,} can be sent")
            name = path.name.encode("utf-8", errors="replace").decode("utf-8")[:_NAME_MOST]
            chunks = -(-size // CHUNK_PLAIN)
            manifest = Manifest(str(uuid.uuid4()), recipient.user.user_id, name, size, "", chunks)
            sending = Outgoing(manifest, recipient, path, file)
            with self._lock:
                self._outgoing[manifest.file_id] = sending
            if not self._threads.start(f"send {manifest.file_id[:8]}", partial(self._run_outgoing, sending)):
                with self._lock:
                    del self._outgoing[manifest.file_id]
                raise FileRefused("this client is leaving")
        except FileRefused:
            file.close()
            raise
        return manifest.file_id

    def _run_outgoing(self, sending: Outgoing) -> None:
        manifest = sending.manifest
        event: Event
        try:
            self._hash(sending)
            self._start(sending)
            self._send_chunks(sending)
            event = FileDone(
                manifest.file_id, manifest.peer, manifest.name, manifest.size, incoming=False, path=sending.path
            )
        except (TransferFailed, ChatError, OSError) as error:
            reason = f"cannot read {sending.path}: {error.strerror}" if isinstance(error, OSError) else str(error)
            event = FileFailed(manifest.file_id, manifest.peer, manifest.name, incoming=False, reason=reason)
            if sending.accepted:
                # An end before the last chunk is how a recipient learns at once that no more will come.
                with contextlib.suppress(ChatError):
                    self._send(FILE_END, manifest.peer, {"file_id": manifest.file_id})
        finally:
            sending.file.close()
        self._emit(event)
        with self._lock:
            del self._outgoing[manifest.file_id]
        self._settled()

    def _hash(self, sending: Outgoing) -> None:
        hasher, size = hashlib.sha256(), 0
        while data := sending.file.read(_HASHED_AT_ONCE):
            hasher.update(data)
            size += len(data)
            if sending.final is not None:
                raise TransferFailed(sending.reason)
        if size != sending.manifest.size:
            raise TransferFailed("the file changes while it is read")
        sending.manifest = Manifest(**{**vars(sending.manifest), "sha256": hasher.hexdigest()})
        sending.file.seek(0)

    def _start(self, sending: Outgoing) -> None:
        """Send the manifest, and wait until the recipient takes the file."""
        manifest = sending.manifest
        deadline = time.monotonic() + self._timers.offer
        while True:
            self._send_manifest(manifest)
            with sending.changed:
                sending.changed.wait_for(
                    lambda: sending.accepted or sending.busy or sending.final is not None,
                    max(0.0, deadline - time.monotonic()),
                )
                self._check_final(sending)
                if sending.accepted:
                    break
                if not sending.busy:
                    raise TransferFailed("the recipient did not answer the offer")
            self._pause(sending)
        self._emit(FileStarted(manifest.file_id, manifest.peer, manifest.name, manifest.size, incoming=False))

    def _send_manifest(self, manifest: Manifest) -> None:
        payload: dict[str, object] = {
            "file_id": manifest.file_id,
            "name": manifest.name,
            "size": manifest.size,
            "sha256": manifest.sha256,
            "mode": "dm",
            "chunks": manifest.chunks,
        }
        ts = socp.now_ms()
        values = {**payload, "from": self._pair.id, "to": manifest.peer, "ts": ts}
        payload["sender_pub"] = self._pair.public.text
        payload["content_sig"] = sign_content(self._signer, MANIFEST, values)
        self._send(FILE_START, manifest.peer, payload, ts)

    def _send_chunks(self, sending: Outgoing) -> None:
        manifest = sending.manifest
        window = max(1, self._limits.transfer_window // CHUNK_SEALED)
        index = sending.next_index
        ended = False
        sending.heard = time.monotonic()
        while True:
            with sending.changed:
                sending.changed.wait_for(
                    partial(_may_go_on, sending, index, window, ended),
                    max(0.0, sending.heard + self._timers.stall - time.monotonic()),
                )
                if sending.final == "complete":
                    return
                self._check_final(sending)
                busy = sending.busy
                if not _may_go_on(sending, index, window, ended):
                    if time.monotonic() - sending.heard >= self._timers.stall:
                        raise TransferFailed("nothing was heard from the recipient for too long")
                    continue
            if busy:
                # Something was thrown away on the way: go back to what the recipient has not had.
                self._pause(sending)
                index, ended = sending.next_index, False
            elif index < manifest.chunks:
                self._send_chunk(sending, index)
                index += 1
            else:
                self._send(FILE_END, manifest.peer, {"file_id": manifest.file_id})
                ended = True

    def _send_chunk(self, sending: Outgoing, index: int) -> None:
        manifest = sending.manifest
        sending.file.seek(index * CHUNK_PLAIN)
        expected = min(CHUNK_PLAIN, manifest.size - index * CHUNK_PLAIN)
        plain = sending.file.read(expected)
        if len(plain) != expected:
            raise TransferFailed("the file was cut short while it was sent")
        label = chunk_label(manifest.file_id, self._pair.id, index, manifest.peer)
        sealed = encode_base64url(seal(sending.recipient.key, plain, label))
        payload = {"file_id": manifest.file_id, "index": index, "ciphertext": sealed}
        self._send(FILE_CHUNK, manifest.peer, payload)

    def _pause(self, sending: Outgoing) -> None:
        with sending.changed:
            sending.busy = False
            sending.changed.wait_for(lambda: sending.final is not None, self._timers.busy)

    def _check_final(self, sending: Outgoing) -> None:
        if sending.final is not None:
            raise TransferFailed(sending.reason)

    def _take_ack(self, envelope: Envelope) -> None:
        payload = envelope.payload
        with self._lock:
            sending = self._outgoing.get(payload["file_id"])
        if sending is None or envelope.sender != sending.manifest.peer:
            return
        status, detail = payload["status"], str(payload.get("detail", ""))
        if status == "receiving":
            with sending.changed:
                sending.accepted = True
                sending.heard = time.monotonic()
                # A recipient that asks again for what it had is not believed: it could keep us here for ever.
                if payload["next_index"] <= sending.manifest.chunks:
                    sending.next_index = max(sending.next_index, payload["next_index"])
                sending.changed.notify_all()
            return
        signature = str(payload.get("content_sig", ""))
        if not verify_content(sending.recipient.key, FILE_RESULT, envelope.signed_values(), signature):
            log.warning("the end of a transfer that its recipient has not signed was passed over")
        elif status == "complete":
            sending.end("complete", "")
        elif status in ("failed", "rejected"):
            what = "rejected by the recipient" if status == "rejected" else "failed at the recipient"
            sending.end(status, f"{what}: {detail}" if detail else what)

    def take_error(self, file_id: str, code: str, detail: str) -> None:
        """Take a server's ERROR about a transfer."""
        with self._lock:
            sending = self._outgoing.get(file_id)
        if sending is None:
            return
        if code == SERVER_BUSY:
            with sending.changed:
                sending.busy = True
                sending.changed.notify_all()
        else:
            sending.end("failed", f"{code}: {detail}" if detail else code)

    # --- receiving ----------------------------------------------------------------------------------------------

    def take_start(self, envelope: Envelope) -> None:
        """Take the offer of a file: all that keep to section 10 are accepted, a few at a time."""
        payload, sender = envelope.payload, envelope.sender
        try:
            key = check_manifest(envelope)
        except ProtocolError as error:
            log.warning("the offer of a file from %s was passed over: %s", sender, error)
            return
        manifest = Manifest(
            payload["file_id"], sender, payload["name"], payload["size"], payload["sha256"], payload["chunks"]
        )
        place = (sender, manifest.file_id)
        with self._lock:
            known = self._incoming.get(place)
            finished = self._finished.get(place)
            too_many = len(self._incoming) >= self._limits.transfers + self._limits.transfers_waiting
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
            self._conclude(manifest, "rejected", reason)
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
        if manifest.size > self._limits.file_bytes:
            return f"over {self._limits.file_bytes:,} bytes"
        if not least <= manifest.chunks <= manifest.size:
            return "the number of chunks does not match the size"
        return ""

    def _start_waiting(self) -> None:
        """Begin the transfers whose turn has come."""
        starting = []
        with self._lock:
            running = sum(receiving.started for receiving in self._incoming.values())
            for receiving in self._incoming.values():
                if running < self._limits.transfers and not receiving.started:
                    receiving.started = True
                    running += 1
                    starting.append(receiving)
        for receiving in starting:
            self._run_incoming(receiving)

    def _run_incoming(self, receiving: Incoming) -> None:
        receiving.started = True
        name = f"receive {receiving.manifest.file_id[:8]}"
        if not self._threads.start(name, partial(self._receive, receiving)):
            with self._lock:
                self._incoming.pop((receiving.manifest.peer, receiving.manifest.file_id), None)

    def take(self, envelope: Envelope) -> None:
        """Take FILE_CHUNK, FILE_END or FILE_ACK, in the reader's thread."""
        if envelope.type == FILE_ACK:
            self._take_ack(envelope)
            return
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
            self._emit(FileStarted(manifest.file_id, manifest.peer, manifest.name, manifest.size, incoming=True))
            self._receive_chunks(receiving, download)
            path = download.keep(safe_name(manifest.name))
            event = FileDone(manifest.file_id, manifest.peer, manifest.name, manifest.size, incoming=True, path=path)
            self._conclude(manifest, "complete", "")
        except (TransferFailed, ChatError, OSError) as error:
            reason = str(error)
            if isinstance(error, OSError):
                reason = f"cannot write to {self._downloads}: {error.strerror}"
            event = FileFailed(manifest.file_id, manifest.peer, manifest.name, incoming=True, reason=reason)
            # What is wrong with our disk is not the sender's to know.
            told = "the recipient cannot save it" if isinstance(error, OSError) else reason
            self._conclude(manifest, "failed", told)
        finally:
            if download is not None:
                download.discard()
        self._emit(event)
        with self._lock:
            self._incoming.pop((manifest.peer, manifest.file_id), None)
        self._settled()
        self._start_waiting()

    def _receive_chunks(self, receiving: Incoming, download: Download) -> None:
        manifest = receiving.manifest
        unreported = 0
        length = 0  # of every chunk but the last
        gap = False
        while True:
            envelope = self._next_frame(receiving)
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
            unreported += sealed
            if unreported + CHUNK_SEALED > self._limits.transfer_ack and not last:
                unreported = 0
                self._report(receiving)
        if download.size != manifest.size:
            raise TransferFailed("its size is not the one that was said")
        if download.sha256() != manifest.sha256:
            raise TransferFailed("its SHA-256 is not the one that was said")

    def _next_frame(self, receiving: Incoming) -> Envelope:
        with receiving.changed:
            heard = receiving.changed.wait_for(lambda: receiving.waiting or receiving.reason, self._timers.stall)
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
        self._send(FILE_ACK, receiving.manifest.peer, payload)

    def _conclude(self, manifest: Manifest, status: str, detail: str) -> None:
        """Send the last, signed FILE_ACK, and remember the transfer."""
        if status != "rejected":
            with self._lock:
                self._finished[(manifest.peer, manifest.file_id)] = status
                if len(self._finished) > self._limits.shown:
                    self._finished.popitem(last=False)
        ts = socp.now_ms()
        values = {
            "file_id": manifest.file_id,
            "status": status,
            "from": self._pair.id,
            "to": manifest.peer,
            "ts": ts,
        }
        payload = {
            "file_id": manifest.file_id,
            "next_index": manifest.chunks if status == "complete" else 0,
            "status": status,
            "content_sig": sign_content(self._signer, FILE_RESULT, values),
            **({"detail": detail} if detail else {}),
        }
        try:
            self._send(FILE_ACK, manifest.peer, payload, ts)
        except ChatError as error:
            log.info("the sender of a file could not be told that it is %s: %s", status, error)


def _may_go_on(sending: Outgoing, index: int, window: int, ended: bool) -> bool:
    """Tell whether a sender has something to do. `sending.changed` is held."""
    if sending.final is not None or sending.busy:
        return True
    return not ended and index - sending.next_index < window


def _open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        FileRefused: it is not there, cannot be read, or is something else.
    """
    try:
        # O_NONBLOCK: a FIFO must be refused, not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FileRefused(f"cannot read {path}: {reason}") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise FileRefused(f"cannot send {path}: it is {what}")
    return open(descriptor, "rb")
