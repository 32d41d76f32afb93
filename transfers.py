"""All transfers of one client, in both directions; the work is done in sending.py and receiving.py."""

from __future__ import annotations

import itertools
from pathlib import Path

from contacts import Contact
from errors import TransferUnknown
from receiving import FileReceiver, Taking
from sending import LEAVING, FileSender, Owner
from socp import FILE_ACK, Envelope
from underway import UnderWay
from workers import Workers


class Transfers:
    """Hands each frame of a file to the side that it is for.

    Args:
        owner: the client.
        taking: what it takes of what others offer.
    """

    def __init__(self, owner: Owner, taking: Taking) -> None:
        numbers = itertools.count(1)
        self._workers = Workers(owner.threads, owner.settings.timers.idle)
        self._sender = FileSender(owner, self._workers, numbers)
        self._receiver = FileReceiver(owner, taking, self._workers, numbers)

    @property
    def active(self) -> int:
        """How many transfers are under way, without those that a person is asked about."""
        return self._sender.active + self._receiver.active

    @property
    def sending(self) -> int:
        """How many files of ours are under way."""
        return self._sender.active

    def offer(self, recipient: Contact, path: Path) -> str:
        """Send a file; see FileSender.offer."""
        return self._sender.offer(recipient, path)

    def under_way(self) -> list[UnderWay]:
        """Return how each transfer stands, in the order of their numbers."""
        both = self._sender.under_way() + self._receiver.under_way()
        return sorted(both, key=lambda transfer: transfer.number)

    def accept(self, file_id: str, sender: str) -> bool:
        """Take a file that a person was asked about; see Chat.accept_file."""
        return self._receiver.accept(file_id, sender)

    def deny(self, file_id: str, sender: str) -> None:
        """Turn down a file that a person was asked about; see Chat.deny_file."""
        self._receiver.deny(file_id, sender)

    def cancel(self, file_id: str, peer: str) -> None:
        """End a transfer in either direction; see Chat.cancel_file."""
        sent = self._sender.cancel(file_id, peer)
        received = self._receiver.cancel(file_id, peer)  # a file to oneself is both
        if not (sent or received):
            raise TransferUnknown("no such file is under way")

    def take_start(self, envelope: Envelope) -> None:
        """Take the offer of a file; this verifies and signs, and is not for the reader's thread."""
        self._receiver.take_start(envelope)

    def take(self, envelope: Envelope) -> bool:
        """Take FILE_CHUNK, FILE_END or FILE_ACK, in the reader's thread; False if it is for no file that is known."""
        if envelope.type == FILE_ACK:
            self._sender.take_ack(envelope)
            return True
        return self._receiver.take(envelope)

    def take_late(self, envelope: Envelope) -> None:
        """Take a FILE_END that nothing was known of: behind the offers that came before it, in their thread."""
        self._receiver.take(envelope)

    def take_error(self, file_id: str, code: str, detail: str) -> None:
        """Take a server's ERROR about a file that we send."""
        self._sender.take_error(file_id, code, detail)

    def end_from(self, sender: str) -> None:
        """End every transfer from one user, who was blocked."""
        self._receiver.end_from(sender)

    def stop(self) -> None:
        """End every transfer; the other end of each is told."""
        self._sender.end_all(LEAVING)
        self._receiver.end_all(LEAVING)
        self._workers.stop()

    def disconnected(self) -> None:
        """Interrupt every transfer: the connection was lost."""
        self._sender.disconnected()
        self._receiver.disconnected()

    def connected(self) -> None:
        """Have every transfer that was interrupted go on: frames can be sent again. Waits for nothing."""
        self._sender.connected()
        self._receiver.connected()
