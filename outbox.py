"""The direct messages that a client has sent, until it knows what became of them (PROTOCOL.md section 8.1)."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

import socp
from contacts import Contact
from crypto.signing import RECEIPT, verify_content
from events import Delivered, Event, Failed, Stored
from socp import Envelope

log = logging.getLogger("socp.outbox")

_BROADCASTS_KEPT = 1000  # of which a server's ERROR may still come


class Outbox:
    """Messages without a receipt yet.

    Args:
        contact: returns a user's verified key.
        emit: told each event; in the thread that brings the news.
        settled: told when the fate of a message is known, after its event.
    """

    def __init__(
        self, contact: Callable[[str], Contact], emit: Callable[[Event], None], settled: Callable[[], None]
    ) -> None:
        self._contact = contact
        self._emit = emit
        self._settled = settled
        self._lock = threading.Lock()  # guards the two below
        self._unconfirmed: dict[str, str] = {}  # msg_ref to the recipient's id
        self._broadcasts: deque[str] = deque(maxlen=_BROADCASTS_KEPT)

    def __len__(self) -> int:
        with self._lock:
            return len(self._unconfirmed)

    def add(self, msg_ref: str, to: str) -> None:
        """Note a message that is about to be sent."""
        with self._lock:
            self._unconfirmed[msg_ref] = to

    def add_broadcast(self, msg_ref: str) -> None:
        """Note a broadcast that is about to be sent; nobody confirms those."""
        with self._lock:
            self._broadcasts.append(msg_ref)

    def forget(self, msg_ref: str) -> None:
        """Note that the fate of a message is known."""
        with self._lock:
            self._unconfirmed.pop(msg_ref, None)
        self._settled()

    def _recipient(self, msg_ref: str) -> str | None:
        with self._lock:
            return self._unconfirmed.get(msg_ref)

    def take_receipt(self, envelope: Envelope) -> None:
        """Take a recipient's ACK, and believe it only with the recipient's signature: no server can forge one.

        Raises:
            ChatError: the recipient's key is not known any more, and cannot be had.
        """
        payload = envelope.payload
        msg_ref = payload["msg_ref"]
        to = self._recipient(msg_ref)
        if to is None or to != envelope.sender:
            return
        signature = str(payload.get("content_sig", ""))
        if not verify_content(self._contact(to).key, RECEIPT, envelope.signed_values(), signature):
            log.warning("a receipt that %s has not signed was passed over", to)
        elif payload.get("status") == "delivered":
            self._emit(Delivered(msg_ref, to))
            self.forget(msg_ref)
        else:
            self._emit(Failed(msg_ref, to, "failed", "the recipient could not open or verify it"))
            self.forget(msg_ref)

    def take_stored(self, msg_ref: str) -> None:
        """Take a server's word that it keeps a message."""
        to = self._recipient(msg_ref)
        if to is not None:
            self._emit(Stored(msg_ref, to))

    def take_error(self, msg_ref: str, code: str, detail: str) -> None:
        """Take a server's ERROR about a message or a broadcast; one about any other is passed over."""
        with self._lock:
            to = socp.PUBLIC if msg_ref in self._broadcasts else self._unconfirmed.get(msg_ref)
        if to is None:
            log.info("%s about a message that nothing is waited for of: %s", code, detail)
            return
        self._emit(Failed(msg_ref, to, code, detail))
        self.forget(msg_ref)
