"""Sending files (PROTOCOL.md section 10): hash, offer, and a window of ciphertext that the recipient keeps moving.

Each file has a thread of its own; the reader's thread only notes what the recipient and the servers say of it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import socp
from ciphers import Cipher
from connection import SendBinary
from contacts import Contact
from crypto.keys import KeyPair
from crypto.signing import FILE_RESULT, MANIFEST, KeySigner, sign_content, verify_content
from errors import ChatError, FileRefused, NotConnected
from events import Event, FileDone, FileFailed, FileInterrupted, FileResumed, FileStarted
from finished import FinishedTransfers
from messages import Manifest
from outgoing import Outgoing, Step
from settings import Settings
from socp import CAP_HYBRID, FILE_CHUNK, FILE_END, FILE_START, SERVER_BUSY, USER_NOT_FOUND, Envelope
from source import Source, chunk_of, open_regular
from threads import Alarm, Threads
from underway import TransferFailed, UnderWay
from workers import Workers

log = logging.getLogger("socp.sending")

NAME_MOST = 255  # characters
CANCELLED = "cancelled"  # what an end says that a person wants
LEAVING = "this client is leaving"
# What a recipient says of itself, and how that is told to a sender.
_OF_THE_RECIPIENT = {CANCELLED: "cancelled by the recipient", LEAVING: "the recipient's client is leaving"}
WAITING = "waiting"  # the status of a file that is taken, and whose turn has not come


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
        blocked: tells whether a user is blocked.
        after: has something done in so many seconds, in a thread that it may hold up for a moment.
        hybrid: whether files go by section 10.1 where both ends can do so.
    """

    pair: KeyPair
    settings: Settings
    threads: Threads
    send: SendBinary
    emit: Callable[[Event], None]
    settled: Callable[[], None]
    connected: Callable[[float], bool]
    online: Callable[[str], bool]
    finished: FinishedTransfers
    blocked: Callable[[str], bool]
    after: Callable[[float, Callable[[], None]], Alarm]
    hybrid: bool = True

    def is_online(self, user_id: str) -> bool:
        """Ask the server whether a user is online; False when it does not say."""
        try:
            return self.online(user_id)
        except ChatError as error:
            log.info("it is not known whether the other end of a transfer is online: %s", error)
            return False


class FileSender:
    """The files that one client sends.

    Args:
        owner: the client.
        workers: seal chunks.
        numbers: gives each file the number that people call it by.
    """

    def __init__(self, owner: Owner, workers: Workers, numbers: Iterator[int]) -> None:
        self._owner = owner
        self._workers = workers
        self._numbers = numbers
        self._pair = owner.pair
        self._signer = KeySigner(owner.pair)
        self._timers = owner.settings.timers
        self._limits = owner.settings.limits
        self._lock = threading.Lock()  # guards _outgoing
        self._outgoing: dict[str, Source] = {}

    @property
    def active(self) -> int:
        """How many files are being sent."""
        with self._lock:
            return len(self._outgoing)

    def under_way(self) -> list[UnderWay]:
        """Return how each stands, the oldest first."""
        return [sending.under_way() for sending in self._all()]

    def _all(self) -> list[Source]:
        with self._lock:
            return list(self._outgoing.values())

    def end_all(self, reason: str) -> None:
        """End every transfer; recipients are told, where they can be."""
        for sending in self._all():
            sending.end("failed", reason)

    def cancel(self, file_id: str, recipient: str) -> bool:
        """End a transfer because a person wants it so; False if there is none."""
        for sending in self._all():
            if sending.manifest.file_id == file_id and recipient in ("", sending.manifest.peer):
                sending.end("failed", CANCELLED, cancelled=True)
                return True
        return False

    def disconnected(self) -> None:
        """Interrupt every transfer: what was on its way may be lost."""
        for sending in self._all():
            sending.lose("the connection was lost")

    def connected(self) -> None:
        """Have every transfer that was interrupted go on."""
        for sending in self._all():
            sending.hurry()

    def offer(self, recipient: Contact, path: Path) -> str:
        """Send a file, in a thread of its own.

        Returns:
            Its file_id.

        Raises:
            FileRefused: it is no file that can be sent.
        """
        file = open_regular(path)
        try:
            size = os.fstat(file.fileno()).st_size
            if size > self._limits.file_bytes:
                raise FileRefused(f"{path} has {size:,} bytes; at most {self._limits.file_bytes:,} can be sent")
            name = path.name.encode("utf-8", errors="replace").decode("utf-8")[:NAME_MOST]
            # The recipient's own signed word: a server could only keep the latest from us.
            hybrid = self._owner.hybrid and CAP_HYBRID in recipient.user.caps
            cipher = Cipher.HYBRID if hybrid else Cipher.BLOCKS
            chunks = -(-size // chunk_of(cipher, self._owner.settings))
            manifest = Manifest(str(uuid.uuid4()), recipient.user.user_id, name, size, "", chunks, cipher)
            sending = Source(manifest, next(self._numbers), recipient, path, file, self._owner.settings)
            with self._lock:
                self._outgoing[manifest.file_id] = sending
            if not self._owner.threads.start(f"send {manifest.file_id[:8]}", partial(self._run_outgoing, sending)):
                with self._lock:
                    del self._outgoing[manifest.file_id]
                raise FileRefused(LEAVING)
        except FileRefused:
            file.close()
            raise
        return manifest.file_id

    def _run_outgoing(self, sending: Source) -> None:
        reason = ""
        try:
            sending.hash()
            self._offer(sending, time.monotonic() + self._timers.offer, "the recipient did not answer the offer")
            self._transfer(sending)
        except (TransferFailed, ChatError, OSError) as error:
            reason = f"cannot read {sending.path}: {error.strerror}" if isinstance(error, OSError) else str(error)
        finally:
            sending.close()
        manifest = sending.manifest
        event: Event
        if sending.final == "complete":
            event = FileDone(
                manifest.file_id, manifest.peer, manifest.name, manifest.size, incoming=False, path=sending.path
            )
        else:
            event = FileFailed(manifest.file_id, manifest.peer, manifest.name, incoming=False, reason=reason)
            if sending.accepted or (sending.offered and not sending.refused):
                self._give_up(sending)
        self._owner.emit(event)
        with self._lock:
            del self._outgoing[manifest.file_id]
        self._owner.settled()

    def _give_up(self, sending: Source) -> None:
        """Tell a recipient at once that no more will come: an end before the last chunk says that."""
        payload: dict[str, object] = {"file_id": sending.manifest.file_id}
        if sending.cancelled:
            payload["status"] = CANCELLED
        with contextlib.suppress(ChatError):
            self._owner.send(FILE_END, sending.manifest.peer, payload)

    def _offer(self, sending: Source, until: float, too_late: str) -> None:
        """Send the manifest, again if need be, until the recipient says from where it takes the file.

        Args:
            until: when it is too long for all attempts, on the monotonic clock; see Outgoing.patience.
            too_late: the reason to fail for then.

        Raises:
            TransferFailed: it is, or the transfer has ended meanwhile.
        """
        while not _is_over(sending):
            sending.wait_turn(sending.patience(until) - time.monotonic())
            self._wait_connected(sending, until, too_late)
            if not _is_over(sending):
                self._make_offer(sending)
                if self._wait_answer(sending, until):
                    return

    def _wait_connected(self, sending: Source, until: float, too_late: str) -> None:
        while not _is_over(sending):
            left = sending.patience(until) - time.monotonic()
            if left <= 0:
                raise TransferFailed(too_late)
            sending.unhurry()
            if self._owner.connected(0):
                return
            sending.wait_hurried(left)

    def _make_offer(self, sending: Source) -> None:
        sending.begin_offer()
        try:
            self._send_manifest(sending.manifest)
        except NotConnected as error:
            sending.lose(str(error))

    def _wait_answer(self, sending: Source, until: float) -> bool:
        """Wait for the answer to an offer; False when another one is to be made, as the way may be lost.

        A person may take long to accept, and is reminded: a client that was started again knows nothing of the offer.
        One that has begun answers at once.
        """
        while True:
            left = sending.patience(until) - time.monotonic()
            if sending.wait_answer(min(self._timers.ask if sending.accepted else self._timers.remind, left)):
                return True
            if not sending.unheard or time.monotonic() >= sending.patience(until):
                return False
            self._make_offer(sending)

    def _send_manifest(self, manifest: Manifest) -> None:
        payload: dict[str, object] = {
            "file_id": manifest.file_id,
            "name": manifest.name,
            "size": manifest.size,
            "sha256": manifest.sha256,
            "mode": "dm",
            "chunks": manifest.chunks,
            **manifest.cipher.manifest_fields,
        }
        ts = socp.now_ms()
        values = {**payload, "from": self._pair.id, "to": manifest.peer, "ts": ts}
        payload["sender_pub"] = self._pair.public.text
        payload["content_sig"] = sign_content(self._signer, MANIFEST, values)
        self._owner.send(FILE_START, manifest.peer, payload, ts)

    def _transfer(self, sending: Source) -> None:
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

    def _take_step(self, sending: Source, step: Step) -> None:
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

    def _resume(self, sending: Source, reason: str) -> None:
        """Offer the file again until it goes on."""
        manifest = sending.manifest
        self._owner.emit(FileInterrupted(manifest.file_id, manifest.peer, manifest.name, incoming=False, reason=reason))
        self._offer(sending, sending.deadline(), f"it was interrupted for too long: {reason}")
        if not _is_over(sending):
            self._owner.emit(FileResumed(manifest.file_id, manifest.peer, manifest.name, incoming=False))

    def _send_chunk(self, sending: Source, index: int) -> None:
        manifest = sending.manifest
        sealed = sending.sealed(index, self._pair.id, self._workers)
        self._owner.send(FILE_CHUNK, manifest.peer, {"file_id": manifest.file_id, "index": index}, binary=sealed)

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
        if status == WAITING:  # which brings nothing but patience, and needs no signature
            sending.take_waiting()
            return
        signature = str(payload.get("content_sig", ""))
        if not verify_content(sending.recipient.key, FILE_RESULT, envelope.signed_values(), signature):
            log.warning("the end of a transfer that its recipient has not signed was passed over")
        elif status == "complete":
            sending.end("complete", "")
        elif status in ("failed", "rejected"):
            what = "rejected by the recipient" if status == "rejected" else "failed at the recipient"
            sending.refuse(status, _OF_THE_RECIPIENT.get(detail) or (f"{what}: {detail}" if detail else what))

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
            sending.refuse("failed", f"{code}: {detail}" if detail else code)


def _is_over(sending: Outgoing) -> bool:
    """Tell whether the recipient has the whole file.

    Raises:
        TransferFailed: the transfer has ended without that.
    """
    if sending.final not in (None, "complete"):
        raise TransferFailed(sending.reason)
    return sending.final == "complete"
