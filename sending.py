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
from typing import BinaryIO

import socp
from connection import Send
from contacts import Contact
from crypto.encoding import encode_base64url
from crypto.keys import KeyPair
from crypto.sealing import BLOCK_SEALED, BLOCKS_MOST, SEAL_MOST, chunk_label, seal
from crypto.signing import FILE_RESULT, MANIFEST, KeySigner, sign_content, verify_content
from errors import ChatError, FileRefused, NotConnected
from events import Event, FileDone, FileFailed, FileInterrupted, FileResumed, FileStarted
from finished import FinishedTransfers
from messages import Manifest
from outgoing import Outgoing, Step
from settings import Settings
from socp import FILE_CHUNK, FILE_END, FILE_START, SERVER_BUSY, USER_NOT_FOUND, Envelope
from threads import Threads

log = logging.getLogger("socp.sending")

CHUNK_PLAIN = SEAL_MOST
CHUNK_SEALED = BLOCKS_MOST * BLOCK_SEALED
_HASHED_AT_ONCE = 1024 * 1024
NAME_MOST = 255  # characters


class TransferFailed(Exception):
    """Raised inside a transfer to end it; the message says why, for people."""


class _Sending(Outgoing):
    """A file that we send: how far it has come, where it is read, and to whom it goes."""

    def __init__(self, manifest: Manifest, recipient: Contact, path: Path, file: BinaryIO, settings: Settings) -> None:
        window = max(1, settings.limits.transfer_window // CHUNK_SEALED)
        super().__init__(manifest, window, settings.timers, settings.limits)
        self.recipient = recipient
        self.path = path
        self.file = file


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
        connected: waits up to so many seconds until the client is attached to a server; False if it is not by then, or
            is leaving.
        online: asks the server whether a user is online; raises ChatError when it does not say.
        finished: how incoming transfers ended.
    """

    pair: KeyPair
    settings: Settings
    threads: Threads
    send: Send
    emit: Callable[[Event], None]
    settled: Callable[[], None]
    connected: Callable[[float], bool]
    online: Callable[[str], bool]
    finished: FinishedTransfers

    def is_online(self, user_id: str) -> bool:
        """Ask the server whether a user is online; False when it does not say."""
        try:
            return self.online(user_id)
        except ChatError as error:
            log.info("it is not known whether the other end of a transfer is online: %s", error)
            return False


class FileSender:
    """The files that one client sends."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._pair = owner.pair
        self._signer = KeySigner(owner.pair)
        self._timers = owner.settings.timers
        self._limits = owner.settings.limits
        self._lock = threading.Lock()  # guards _outgoing
        self._outgoing: dict[str, _Sending] = {}

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

    def disconnected(self) -> None:
        """Interrupt every transfer: what was on its way may be lost."""
        with self._lock:
            outgoing = list(self._outgoing.values())
        for sending in outgoing:
            sending.lose("the connection was lost")

    def connected(self) -> None:
        """Have every transfer that was interrupted go on."""
        with self._lock:
            outgoing = list(self._outgoing.values())
        for sending in outgoing:
            sending.hurry()

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
            sending = _Sending(manifest, recipient, path, file, self._owner.settings)
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

    def _run_outgoing(self, sending: _Sending) -> None:
        reason = ""
        try:
            self._hash(sending)
            self._offer(sending, time.monotonic() + self._timers.offer, "the recipient did not answer the offer")
            self._transfer(sending)
        except (TransferFailed, ChatError, OSError) as error:
            reason = f"cannot read {sending.path}: {error.strerror}" if isinstance(error, OSError) else str(error)
        finally:
            sending.file.close()
        manifest = sending.manifest
        event: Event
        if sending.final == "complete":
            event = FileDone(
                manifest.file_id, manifest.peer, manifest.name, manifest.size, incoming=False, path=sending.path
            )
        else:
            event = FileFailed(manifest.file_id, manifest.peer, manifest.name, incoming=False, reason=reason)
            if sending.accepted:
                # An end before the last chunk is how a recipient learns at once that no more will come.
                with contextlib.suppress(ChatError):
                    self._owner.send(FILE_END, manifest.peer, {"file_id": manifest.file_id})
        self._owner.emit(event)
        with self._lock:
            del self._outgoing[manifest.file_id]
        self._owner.settled()

    def _hash(self, sending: _Sending) -> None:
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

    def _offer(self, sending: _Sending, deadline: float, too_late: str) -> None:
        """Send the manifest, again if need be, until the recipient says from where it takes the file.

        Args:
            deadline: of all attempts, on the monotonic clock.
            too_late: the reason to fail for when it has passed.

        Raises:
            TransferFailed: it has, or the transfer has ended meanwhile.
        """
        while not _is_over(sending):
            sending.wait_turn(deadline - time.monotonic())
            if not self._owner.connected(max(0.0, deadline - time.monotonic())) and not _is_over(sending):
                raise TransferFailed("this client is leaving" if time.monotonic() < deadline else too_late)
            if time.monotonic() >= deadline:
                raise TransferFailed(too_late)
            sending.begin_offer()
            try:
                self._send_manifest(sending.manifest)
            except NotConnected as error:
                sending.lose(str(error))
            # A person may take long to accept; a client that has begun does not.
            patience = self._timers.ask if sending.accepted else self._timers.offer
            if sending.wait_answer(min(patience, deadline - time.monotonic())):
                return

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

    def _transfer(self, sending: _Sending) -> None:
        """Send what the recipient has accepted, until it has said what became of it.

        Raises:
            TransferFailed: it has failed.
        """
        manifest = sending.manifest
        if not _is_over(sending):
            self._owner.emit(FileStarted(manifest.file_id, manifest.peer, manifest.name, manifest.size, incoming=False))
        while (step := sending.next_step()) is not Step.OVER:
            try:
                self._take_step(sending, step)
            except NotConnected as error:
                sending.lose(str(error))
        _is_over(sending)

    def _take_step(self, sending: _Sending, step: Step) -> None:
        manifest = sending.manifest
        if step is Step.CHUNK:
            self._send_chunk(sending, sending.begin_chunk())
        elif step is Step.END:
            sending.begin_end()
            self._owner.send(FILE_END, manifest.peer, {"file_id": manifest.file_id})
        elif step is Step.ASK:
            sending.begin_question()
            self._send_manifest(manifest)
        elif step is Step.BUSY:
            sending.pause()
        elif step is Step.OFFER:
            self._resume(sending, sending.lost)
        elif step is Step.STALLED:
            if not self._owner.is_online(manifest.peer):
                sending.lose("the recipient is not online")
            elif sending.stalled():  # and has not stirred while the question was out
                raise TransferFailed("nothing was heard from the recipient for too long")

    def _resume(self, sending: _Sending, reason: str) -> None:
        """Offer the file again until it goes on."""
        manifest = sending.manifest
        self._owner.emit(FileInterrupted(manifest.file_id, manifest.peer, manifest.name, incoming=False, reason=reason))
        self._offer(sending, sending.deadline(), f"it was interrupted for too long: {reason}")
        if not _is_over(sending):
            self._owner.emit(FileResumed(manifest.file_id, manifest.peer, manifest.name, incoming=False))

    def _send_chunk(self, sending: _Sending, index: int) -> None:
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

    def take_ack(self, envelope: Envelope) -> None:
        """Take a recipient's FILE_ACK, in the reader's thread."""
        payload = envelope.payload
        with self._lock:
            sending = self._outgoing.get(payload["file_id"])
        if sending is None or envelope.sender != sending.manifest.peer:
            return
        status, detail = payload["status"], str(payload.get("detail", ""))
        if status == "receiving":
            sending.take_report(payload["next_index"])
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
            sending.take_busy()
        elif code == USER_NOT_FOUND and (sending.accepted or sending.offered_again):
            sending.lose("the recipient is not online")
        else:
            sending.end("failed", f"{code}: {detail}" if detail else code)


def _is_over(sending: Outgoing) -> bool:
    """Tell whether the recipient has the whole file.

    Raises:
        TransferFailed: the transfer has ended without that.
    """
    if sending.final not in (None, "complete"):
        raise TransferFailed(sending.reason)
    return sending.final == "complete"


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
