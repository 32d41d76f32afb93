"""The part of chat.Chat that is about files: to send one, and to say what becomes of those that are offered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from contacts import Contact
from transfers import Transfers
from underway import UnderWay


class FileCalls(ABC):
    """What Chat can be asked about files; each call may be made in any thread, and events tell how it goes on."""

    _transfers: Transfers

    @abstractmethod
    def _recipient(self, to: str, *, latest: bool = False) -> Contact:
        """Return whom something goes to, as it is known, or as it is now; `to` is as Contacts.find takes it."""

    def send_file(self, to: str, path: Path) -> str:
        """Send a file, in a thread of its own.

        Args:
            to: as Contacts.find takes it.
            path: a regular file.

        Returns:
            The transfer's file_id.

        Raises:
            ChatError: it cannot be sent; says why.
        """
        # As it is now: a client that has taken the place of another one may open other chunks.
        return self._transfers.offer(self._recipient(to, latest=True), path)

    def files(self) -> list[UnderWay]:
        """Return every transfer that is offered or under way, in either direction, in the order of their numbers."""
        return self._transfers.under_way()

    def accept_file(self, file_id: str, sender: str = "") -> bool:
        """Take a file that FileOffered has told of; it begins when its turn comes.

        Args:
            sender: the id of the user who offers it: needed where two offer files of one id, as only attackers do.

        Returns:
            False when it cannot be saved. Then it is rejected, and FileNotTaken says why.

        Raises:
            TransferUnknown: it is not offered any more, or it is not clear which is meant.
        """
        return self._transfers.accept(file_id, sender)

    def deny_file(self, file_id: str, sender: str = "") -> None:
        """Reject a file that FileOffered has told of.

        Raises:
            TransferUnknown: it is not offered any more.
        """
        self._transfers.deny(file_id, sender)

    def cancel_file(self, file_id: str, peer: str = "") -> None:
        """End a transfer in either direction, whether it has begun or not; the other end is told that it is cancelled.

        Args:
            peer: the id of the other end; that of anybody who has a file of this id, if empty.

        Raises:
            TransferUnknown: there is none.
        """
        self._transfers.cancel(file_id, peer)

    @property
    def unsent_files(self) -> int:
        """How many files of ours their recipients have not confirmed; they do not outlive this process."""
        return self._transfers.sending
