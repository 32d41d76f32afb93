"""Messages that were sent, until it is known what became of them."""

from __future__ import annotations

import unittest
from typing import Any

import socp
from contacts import Contact
from crypto.signing import RECEIPT, KeySigner, sign_content
from events import Delivered, Event, Failed, Stored
from outbox import Outbox
from socp import Envelope
from tests.test_users import make_user
from tests.vectors import key

ALICE, BOB = key("alice").id, key("bob").id


class OutboxTest(unittest.TestCase):
    """Receipts and errors for a message of alice's to bob."""

    def setUp(self) -> None:
        """Send a message."""
        self.events: list[Event] = []
        self.settled = 0
        self.outbox = Outbox(lambda _: Contact(make_user("bob"), key("bob").public), self.events.append, self.settle)
        self.outbox.add("ref", BOB)

    def settle(self) -> None:
        """Count what is settled."""
        self.settled += 1

    def receipt(self, signer: str = "bob", sender: str = BOB, said: str = "delivered", **change: Any) -> Envelope:
        """Return a receipt, with fields of the payload changed after it was signed."""
        payload: dict[str, Any] = {"msg_ref": "ref", "status": said}
        values = {**payload, "from": sender, "to": ALICE, "ts": 7}
        payload |= {"content_sig": sign_content(KeySigner(key(signer)), RECEIPT, values)} | change
        return socp.read_envelope(socp.make_envelope(socp.ACK, sender, ALICE, 7, payload))

    def test_delivered(self) -> None:
        """A receipt that the recipient signed settles the message, once."""
        for _ in range(2):
            self.outbox.take_receipt(self.receipt())
        self.assertEqual(self.events, [Delivered("ref", BOB)])
        self.assertEqual((len(self.outbox), self.settled), (0, 1))

    def test_failed(self) -> None:
        """A recipient can say that it could not open the message."""
        self.outbox.take_receipt(self.receipt(said="failed"))
        self.assertEqual([type(event) for event in self.events], [Failed])

    def test_forged(self) -> None:
        """A receipt by anybody but the recipient, or changed since, is passed over."""
        with self.assertLogs("socp.outbox", "WARNING"):
            for envelope in (
                self.receipt(signer="mallory"),
                self.receipt(content_sig=""),
                self.receipt(msg_ref="ref", content_sig=self.receipt(said="failed").payload["content_sig"]),
            ):
                self.outbox.take_receipt(envelope)
        self.outbox.take_receipt(self.receipt(signer="carol", sender=key("carol").id))
        self.outbox.take_receipt(self.receipt(msg_ref="another"))
        self.assertEqual((self.events, len(self.outbox)), ([], 1))

    def test_errors(self) -> None:
        """A server's ERROR settles the message it is about; one about none of ours is passed over."""
        self.outbox.add_broadcast("public")
        self.outbox.take_error("public", "TOO_LARGE", "why")
        for msg_ref in ("unknown", "ref", "ref"):
            self.outbox.take_error(msg_ref, "USER_NOT_FOUND", "gone")
        self.assertEqual(
            self.events,
            [Failed("public", "public", "TOO_LARGE", "why"), Failed("ref", BOB, "USER_NOT_FOUND", "gone")],
        )
        self.assertEqual(len(self.outbox), 0)

    def test_stored(self) -> None:
        """That a server keeps a message is news, and settles nothing."""
        self.outbox.take_stored("ref")
        self.outbox.take_stored("other")
        self.assertEqual((self.events, len(self.outbox)), ([Stored("ref", BOB)], 1))
