"""How transfers to us ended: remembered first, and then said to their senders, signed (PROTOCOL.md section 10)."""

from __future__ import annotations

import logging

import socp
from crypto.signing import FILE_RESULT, KeySigner, sign_content
from errors import ChatError, NotRemembered
from finished import RecentTransfers
from messages import Manifest
from sending import Owner
from socp import FILE_ACK

log = logging.getLogger("socp.results")

# This tells a sender who is blocked, or who is not among those whose files are taken, nothing of either: a person who
# does not want a file says the same.
NOT_TAKEN = "the recipient does not take it"
# What is wrong with our disk, and where files are put, is not the sender's to know.
NOT_SAVED = "the recipient cannot save it"
_REJECTED, _FAILED, _COMPLETE = "rejected", "failed", "complete"


class Results:
    """The last words about incoming transfers of one client.

    Args:
        owner: the client.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._signer = KeySigner(owner.pair)
        # For when the disk fails; and for offers that were turned down, which are made again when the answer was lost.
        self._recent = RecentTransfers(owner.settings.limits.shown)

    def find(self, sender: str, file_id: str) -> tuple[str, str] | None:
        """Return how a transfer ended, and the SHA-256 of its manifest; None if it is not known.

        Raises:
            NotRemembered: it cannot be read.
        """
        return self._recent.get(sender, file_id) or self._owner.finished.get(sender, file_id)

    def conclude(self, manifest: Manifest, failed: str = "") -> None:
        """Remember how a transfer ended, and then tell its sender.

        Args:
            failed: why it has failed; empty if it is complete.
        """
        status = _FAILED if failed else _COMPLETE
        self._remember(manifest, status)
        self._send_last(manifest, status, failed)

    def remember_failed(self, manifest: Manifest) -> None:
        """Remember that a transfer has failed, which nobody is told."""
        self._remember(manifest, _FAILED)

    def _remember(self, manifest: Manifest, status: str) -> None:
        ended = (manifest.peer, manifest.file_id, status, manifest.sha256)
        self._recent.add(*ended)
        try:
            self._owner.finished.add(*ended)
        except NotRemembered as error:
            log.warning("that a file is %s is remembered no longer than this program runs: %s", status, error)

    def turn_down(self, manifest: Manifest, detail: str) -> None:
        """Reject a file that a person was asked about, also when it is offered again while this program runs."""
        self._recent.add(manifest.peer, manifest.file_id, _REJECTED, manifest.sha256)
        self._send_last(manifest, _REJECTED, detail)

    def reject(self, sender: str, file_id: str, detail: str) -> None:
        """Reject an offer; another one may be made."""
        self._say(sender, file_id, 0, _REJECTED, detail)

    def say_again(self, manifest: Manifest, status: str) -> None:
        """Tell a sender again how a transfer ended: what was sent then may never have arrived."""
        details = {_COMPLETE: "", _REJECTED: NOT_TAKEN}
        self._send_last(manifest, status, details.get(status, "it had failed before"))

    def _send_last(self, manifest: Manifest, status: str, detail: str) -> None:
        index = manifest.chunks if status == _COMPLETE else 0
        self._say(manifest.peer, manifest.file_id, index, status, detail)

    def _say(self, sender: str, file_id: str, next_index: int, status: str, detail: str) -> None:
        """Send the FILE_ACK that ends a transfer, which is signed."""
        ts = socp.now_ms()
        values = {"file_id": file_id, "status": status, "from": self._owner.pair.id, "to": sender, "ts": ts}
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
