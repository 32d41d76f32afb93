"""All transfers of one client, in both directions; the work is done in sending.py and receiving.py."""

from __future__ import annotations

from pathlib import Path

from contacts import Contact
from receiving import FileReceiver
from sending import FileSender, Owner
from socp import FILE_ACK, Envelope


class Transfers:
    """Hands each frame of a file to the side that it is for.

    Args:
        owner: the client.
        downloads: where received files are put.
    """

    def __init__(self, owner: Owner, downloads: Path) -> None:
        self._sender = FileSender(owner)
        self._receiver = FileReceiver(owner, downloads)

    @property
    def active(self) -> int:
        """How many transfers are under way."""
        return self._sender.active + self._receiver.active

    @property
    def sending(self) -> int:
        """How many files of ours are under way."""
        return self._sender.active

    def offer(self, recipient: Contact, path: Path) -> str:
        """Send a file; see FileSender.offer."""
        return self._sender.offer(recipient, path)

    def take_start(self, envelope: Envelope) -> None:
        """Take the offer of a file; this verifies and signs, and is not for the reader's thread."""
        self._receiver.take_start(envelope)

    def take(self, envelope: Envelope) -> None:
        """Take FILE_CHUNK, FILE_END or FILE_ACK, in the reader's thread."""
        if envelope.type == FILE_ACK:
            self._sender.take_ack(envelope)
        else:
            self._receiver.take(envelope)

    def take_error(self, file_id: str, code: str, detail: str) -> None:
        """Take a server's ERROR about a file that we send."""
        self._sender.take_error(file_id, code, detail)

    def stop(self) -> None:
        """End every transfer; the other end of each is told."""
        self._sender.end_all("this client is leaving")
        self._receiver.end_all("this client is leaving")

    def disconnected(self) -> None:
        """Interrupt every transfer: the connection was lost."""
        self._sender.disconnected()
        self._receiver.disconnected()

    def connected(self) -> None:
        """Have every transfer that was interrupted go on: frames can be sent again. Waits for nothing."""
        self._sender.connected()
        self._receiver.connected()
