"""Sending files (PROTOCOL.md section 10): hash, offer, and a window of ciphertext that the recipient keeps moving.

Each file has a thread of its own; the reader's thread only notes what the recipient and the servers say of it.
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
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

import socp
from contacts import Contact
from crypto.encoding import encode_base64url
from crypto.keys import KeyPair
from crypto.sealing import BLOCK_SEALED, BLOCKS_MOST, SEAL_MOST, chunk_label, seal
from crypto.signing import FILE_RESULT, MANIFEST, KeySigner, sign_content, verify_content
from errors import ChatError, FileRefused
from events import Event, FileDone, FileFailed, FileStarted
from messages import Manifest
from settings import Settings
from socp import FILE_CHUNK, FILE_END, FILE_START, SERVER_BUSY, Envelope
from threads import Threads

log = logging.getLogger("socp.sending")

CHUNK_PLAIN = SEAL_MOST
CHUNK_SEALED = BLOCKS_MOST * BLOCK_SEALED
_HASHED_AT_ONCE = 1024 * 1024
NAME_MOST = 255  # characters


class Send(Protocol):
    """Sends a frame of ours, waiting while the server takes no more; raises ChatError when it cannot be."""

    def __call__(self, frame_type: str, to: str, payload: dict[str, object], ts: int | None = None) -> None:
        """Send it; `ts` is in Unix ms, now if None."""


class TransferFailed(Exception):
    """Raised inside a transfer to end it; the message says why, for people."""


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


@dataclass(frozen=True)
class Owner:
    """The client that files are sent and received for.

    Attributes:
        pair: its key.
        settings: timers and limits.
        threads: where each file's thread is registered.
        send: sends a frame of its user's.
        emit: told each event.
        settled: told when a transfer is over and its event has been emitted.
    """

    pair: KeyPair
    settings: Settings
    threads: Threads
    send: Send
    emit: Callable[[Event], None]
    settled: Callable[[], None]


class FileSender:
    """The files that one client sends."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._pair = owner.pair
        self._signer = KeySigner(owner.pair)
        self._timers = owner.settings.timers
        self._limits = owner.settings.limits
        self._lock = threading.Lock()  # guards _outgoing
        self._outgoing: dict[str, Outgoing] = {}

    @property
    def active(self) -> int:
        """How many files are being sent."""
        with self._lock:
            return len(self._outgoing)

    def end_all(self, reason: str) -> None:
        """End every transfer; recipients are told, where they can be."""
        with self._lock:
            outgoing = list(self._outgoing.values())
        for sending in outgoing:
            sending.end("failed", reason)

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
            name = path.name.encode("utf-8", errors="replace").decode("utf-8")[:NAME_MOST]
            chunks = -(-size // CHUNK_PLAIN)
            manifest = Manifest(str(uuid.uuid4()), recipient.user.user_id, name, size, "", chunks)
            sending = Outgoing(manifest, recipient, path, file)
            with self._lock:
                self._outgoing[manifest.file_id] = sending
            if not self._owner.threads.start(f"send {manifest.file_id[:8]}", partial(self._run_outgoing, sending)):
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
                    self._owner.send(FILE_END, manifest.peer, {"file_id": manifest.file_id})
        finally:
            sending.file.close()
        self._owner.emit(event)
        with self._lock:
            del self._outgoing[manifest.file_id]
        self._owner.settled()

    def _hash(self, sending: Outgoing) -> None:
        hasher, size = hashlib.sha256(), 0
        while data := sending.file.read(_HASHED_AT_ONCE):
            hasher.update(data)
            size += len(data)
            if sending.final is not None:
                raise TransferFailed(sending.reason)
        if size != sending.manifest.size:
            raise TransferFailed("the file changes while it is read")
        sending.manifest = replace(sending.manifest, sha256=hasher.hexdigest())
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
        self._owner.emit(FileStarted(manifest.file_id, manifest.peer, manifest.name, manifest.size, incoming=False))

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
        self._owner.send(FILE_START, manifest.peer, payload, ts)

    def _send_chunks(self, sending: Outgoing) -> None:
        manifest = sending.manifest
        window = max(1, self._limits.transfer_window // CHUNK_SEALED)
        index = sending.next_index
        ended = False
        sending.heard = time.monotonic()
        end_at = 0.0
        while True:
            with sending.changed:
                until = sending.heard + self._timers.stall
                if index == manifest.chunks and not ended:
                    until = min(until, end_at)
                sending.changed.wait_for(
                    partial(_may_go_on, sending, index, window, ended, end_at), max(0.0, until - time.monotonic())
                )
                if sending.final == "complete":
                    return
                self._check_final(sending)
                # Servers that are busy for ever make no progress either.
                if time.monotonic() - sending.heard >= self._timers.stall:
                    raise TransferFailed("nothing was heard from the recipient for too long")
                busy = sending.busy
                if not _may_go_on(sending, index, window, ended, end_at):
                    continue
            if busy:
                # Something was thrown away on the way: go back to what the recipient has not had.
                self._pause(sending)
                index, ended = sending.next_index, False
            elif index < manifest.chunks:
                self._send_chunk(sending, index)
                index += 1
                end_at = time.monotonic() + 2 * self._timers.busy
            else:
                self._owner.send(FILE_END, manifest.peer, {"file_id": manifest.file_id})
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
        self._owner.send(FILE_CHUNK, manifest.peer, payload)

    def _pause(self, sending: Outgoing) -> None:
        with sending.changed:
            sending.busy = False
            sending.changed.wait_for(lambda: sending.final is not None, self._timers.busy)

    def _check_final(self, sending: Outgoing) -> None:
        if sending.final is not None:
            raise TransferFailed(sending.reason)

    def take_ack(self, envelope: Envelope) -> None:
        """Take a recipient's FILE_ACK, in the reader's thread."""
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


def _may_go_on(sending: Outgoing, index: int, window: int, ended: bool, end_at: float) -> bool:
    """Tell whether a sender has something to do. `sending.changed` is held.

    The end is sent when the recipient has every chunk, or has had the time to say so. A server that was busy may have
    thrown the last one away and let the end pass, which would look like the end of a sender who gave up.
    """
    if sending.final is not None or sending.busy:
        return True
    if index < sending.manifest.chunks:
        return index - sending.next_index < window
    return not ended and (sending.next_index >= index or time.monotonic() >= end_at)


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
