"""Messages that were received."""

from __future__ import annotations

import unittest
from typing import Any

import socp
from crypto.encoding import encode_base64url
from crypto.sealing import message_label, seal
from crypto.signing import BROADCAST, MESSAGE, RECEIPT, KeySigner, message_reference, sign_content, verify_content
from errors import ChatError, NotShown, TextRefused
from events import Event, Message, PublicMessage
from inbox import Inbox
from settings import Limits
from socp import Envelope
from tests.vectors import key

ALICE, BOB, SERVER = (key(name).id for name in ("alice", "bob", "server"))
DAY = 24 * 60 * 60 * 1000


class InboxTest(unittest.TestCase):
    """The inbox of bob."""

    def setUp(self) -> None:
        """Make it; `events` are shown, `sent` are its frames."""
        self.events: list[Event] = []
        self.sent: list[tuple[str, str, dict[str, object], int]] = []
        self.inbox = Inbox(
            key("bob"),
            Limits(shown=3),
            name_of=lambda user_id: f"name of {user_id[:4]}",
            show=self.events.append,
            send=lambda *frame: self.sent.append(frame),
        )

    def message(
        self,
        text: bytes = b"hi",
        *,
        sender: str = "alice",
        label_of: str = "alice",
        ts: int | None = None,
        **change: Any,
    ) -> Envelope:
        """Return USER_DELIVER of a message to bob, with fields of the payload changed after it was signed."""
        ts = socp.now_ms() if ts is None else ts
        sealed = seal(key("bob").public, text, message_label(key(label_of).id, BOB))
        payload: dict[str, Any] = {"ciphertext": encode_base64url(sealed)}
        values = {**payload, "from": key(sender).id, "to": BOB, "ts": ts}
        payload |= {
            "sender": key(sender).id,
            "sender_pub": key(sender).public.text,
            "content_sig": sign_content(KeySigner(key(sender)), MESSAGE, values),
        }
        return socp.read_envelope(socp.make_envelope(socp.USER_DELIVER, SERVER, BOB, ts, payload | change))

    def statuses(self) -> list[object]:
        """Return the statuses of the receipts that were sent, having verified each."""
        for frame_type, to, payload, ts in self.sent:
            self.assertEqual(frame_type, socp.ACK)
            values = {**payload, "from": BOB, "to": to, "ts": ts}
            self.assertTrue(verify_content(key("bob").public, RECEIPT, values, str(payload["content_sig"])))
        return [payload["status"] for _, _, payload, _ in self.sent]

    def test_shown_once_and_confirmed_each_time(self) -> None:
        """A message is shown once; a repeat is confirmed again."""
        envelope = self.message("caf\u00e9".encode())
        for _ in range(3):
            self.inbox.take_message(envelope)
        self.assertEqual(self.events, [Message(ALICE, f"name of {ALICE[:4]}", "caf\u00e9", envelope.ts)])
        self.assertEqual(self.statuses(), ["delivered"] * 3)
        self.assertEqual(self.sent[0][1], ALICE)
        self.assertEqual(self.sent[0][2]["msg_ref"], message_reference(envelope.payload["content_sig"]))

    def test_handlers_that_fail(self) -> None:
        """What could not be shown is not confirmed; what was shown is, though its reader could do nothing about it."""

        def show(event: Event) -> None:
            self.events.append(event)
            raise self.raised

        self.inbox._show = show
        envelope = self.message()
        self.raised: ChatError = NotShown("nobody reads")
        self.assertRaises(NotShown, self.inbox.take_message, envelope)
        self.assertEqual(self.sent, [])
        self.raised = TextRefused("too long an answer")
        with self.assertLogs("socp.inbox", "WARNING"):
            self.inbox.take_message(envelope)
        self.inbox.take_message(envelope)
        self.assertEqual((self.statuses(), len(self.events)), (["delivered"] * 2, 2))

    def test_failed(self) -> None:
        """What cannot be verified or opened is not shown, and is said to have failed."""
        with self.assertLogs("socp.inbox", "WARNING"):
            for envelope in (
                self.message(content_sig="AA"),
                self.message(ciphertext="AAAA"),
                self.message(sender="mallory", label_of="alice"),
                self.message(b"\xff"),
                self.message(ts=socp.now_ms() - 9 * DAY),
            ):
                self.inbox.take_message(envelope)
        self.assertEqual(self.events, [])
        self.assertEqual(self.statuses(), ["failed"] * 5)

    def test_another_key(self) -> None:
        """A message whose key is not its sender's is passed over: there is nobody to answer."""
        with self.assertLogs("socp.inbox", "WARNING"):
            self.inbox.take_message(self.message(sender_pub=key("mallory").public.text))
            self.inbox.take_message(self.message(sender_pub="junk"))
        self.assertEqual((self.events, self.sent), ([], []))

    def test_old_messages(self) -> None:
        """A message of a week ago is shown: it may have waited in a mailbox."""
        self.inbox.take_message(self.message(ts=socp.now_ms() - 7 * DAY))
        self.assertEqual(len(self.events), 1)

    def test_memory_is_bounded(self) -> None:
        """As many messages as may be are remembered."""
        first = self.message(b"0")
        for envelope in (first, *(self.message(str(number).encode()) for number in range(1, 4))):
            self.inbox.take_message(envelope)
        self.inbox.take_message(first)
        self.assertEqual(len(self.events), 5)

    def broadcast(self, sender: str = "alice", to: str = socp.PUBLIC, ts: int | None = None, **change: Any) -> Envelope:
        """Return a broadcast."""
        ts = socp.now_ms() if ts is None else ts
        values = {"text": "hi all", "from": key(sender).id, "ts": ts}
        signature = sign_content(KeySigner(key(sender)), BROADCAST, values)
        payload = {"text": "hi all", "sender_pub": key(sender).public.text, "content_sig": signature, **change}
        return socp.read_envelope(socp.make_envelope(socp.MSG_PUBLIC_CHANNEL, key(sender).id, to, ts, payload))

    def test_broadcast(self) -> None:
        """A broadcast is shown once, as public."""
        envelope = self.broadcast()
        for _ in range(2):
            self.inbox.take_broadcast(envelope)
        self.assertEqual(self.events, [PublicMessage(ALICE, f"name of {ALICE[:4]}", "hi all", envelope.ts)])
        self.assertEqual(self.sent, [])

    def test_broadcasts_passed_over(self) -> None:
        """Old, forged, misaddressed broadcasts and our own are not shown."""
        minute = 60 * 1000
        for envelope in (
            self.broadcast(ts=socp.now_ms() - 6 * minute),
            self.broadcast(ts=socp.now_ms() + 6 * minute),
            self.broadcast(to=BOB),
            self.broadcast(sender="bob"),
        ):
            self.inbox.take_broadcast(envelope)
        with self.assertLogs("socp.inbox", "WARNING"):
            self.inbox.take_broadcast(self.broadcast(text="changed"))
            self.inbox.take_broadcast(self.broadcast(sender_pub=key("bob").public.text))
        self.assertEqual(self.events, [])
