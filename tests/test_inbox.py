"""Messages that were received."""

from __future__ import annotations

import tempfile
import threading
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import memory
import socp
from crypto.encoding import encode_base64url
from crypto.sealing import message_label, seal
from crypto.signing import BROADCAST, MESSAGE, RECEIPT, KeySigner, message_reference, sign_content, verify_content
from database import Database, DatabaseError
from errors import ChatError, NotShown, TextRefused
from events import Event, Message, Notice, PublicMessage
from inbox import Inbox
from memory import Showing, Shown
from settings import Limits
from socp import Envelope
from tests.vectors import key
from threads import Deadline

ALICE, BOB, SERVER = (key(name).id for name in ("alice", "bob", "server"))
DAY = 24 * 60 * 60 * 1000


class InboxTest(unittest.TestCase):
    """The inbox of bob."""

    def setUp(self) -> None:
        """Make it; `events` are shown, `sent` are its frames."""
        self.laters = 0
        self.blocked: set[str] = set()
        self.events: list[Event] = []
        self.sent: list[tuple[str, str, dict[str, object], int]] = []
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "messages.sqlite3"
        self.inbox = self.start()

    def start(self) -> Inbox:
        """Return an inbox with the memory that the one before has left."""
        self.database = Database(self.path, (memory.SCHEMA,), 5.0)
        self.database.start()
        self.addCleanup(self.database.close, Deadline(5.0))
        limits = Limits(shown=3)
        return Inbox(
            key("bob"),
            limits,
            Shown(self.database, "shown", limits.shown_age, limits.shown),
            Shown(self.database, "shown_public", 10 * 60 * 1000, 2),
            blocked=self.blocked.__contains__,
            name_of=lambda user_id: f"name of {user_id[:4]}",
            show=self.show,
            send=self.send,
            later=self.later,
        )

    def later(self) -> None:
        """Note that it is to be tried again."""
        self.laters += 1

    def show(self, event: Event) -> None:
        """Take an event."""
        self.events.append(event)

    def send(self, frame_type: str, to: str, payload: dict[str, object], ts: int | None = None) -> None:
        """Take a frame."""
        assert ts is not None
        self.sent.append((frame_type, to, payload, ts))

    def restart(self) -> None:
        """Begin anew, as a client does that was ended and started again."""
        self.database.close(Deadline(5.0))
        self.inbox = self.start()

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

    def test_confirmed_when_it_is_on_the_disk(self) -> None:
        """That a message is delivered is said when the next process will know that it was shown, and not before."""
        waits: list[bool] = []

        class Written(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                waits.append(not sent)
                return True

        sent = self.sent
        with mock.patch.object(self.inbox._shown, "done", return_value=Written()):
            self.inbox.take_message(self.message())
        self.assertEqual((waits, self.statuses()), ([True], ["delivered"]))

    def test_blocked(self) -> None:
        """What comes from a blocked user is answered as failed, every time, and neither shown nor remembered."""
        before, meanwhile = self.message(), self.message(b"meanwhile")
        self.inbox.take_message(before)
        self.blocked.add(ALICE)
        for _ in range(2):
            self.inbox.take_message(meanwhile)
        self.inbox.take_message(before)  # which was shown, and it would be a lie to say otherwise
        self.inbox.take_broadcast(self.broadcast())
        self.assertEqual(self.statuses(), ["delivered", "failed", "failed", "delivered"])
        self.assertEqual(len(self.events), 1)
        self.assertEqual(len(self.inbox._shown._known), 1)
        self.blocked.clear()
        self.inbox.take_message(self.message(b"afterwards"))
        self.inbox.take_broadcast(self.broadcast())
        self.assertEqual(len(self.events), 3)

    def test_blocked_while_the_server_is_asked(self) -> None:
        """Nor is one, or a broadcast, whose sender is blocked while the server is asked for the sender's name."""

        def asked(user_id: str) -> str:
            self.blocked.add(user_id)
            return ""

        with mock.patch.object(self.inbox, "_name_of", asked):
            self.inbox.take_message(self.message())
            self.blocked.clear()
            self.inbox.take_broadcast(self.broadcast())
        self.assertEqual((self.events, self.statuses()), ([], ["failed"]))

    def test_blocked_while_it_waits(self) -> None:
        """A message that waited for the disk is not shown any more when its sender is blocked meanwhile."""
        with mock.patch.object(self.inbox._shown, "begin", side_effect=DatabaseError("full")):
            self.inbox.take_message(self.message())
        self.blocked.add(ALICE)
        self.inbox.retry()
        self.assertEqual(self.statuses(), ["failed"])
        self.assertNotIn(Message, map(type, self.events))

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
        """A message whose key is not its sender's is not shown, and is answered, since servers wait for that."""
        with self.assertLogs("socp.inbox", "WARNING"):
            self.inbox.take_message(self.message(sender_pub=key("mallory").public.text))
            self.inbox.take_message(self.message(sender_pub="junk"))
        self.assertEqual((self.events, self.statuses()), ([], ["failed"] * 2))

    def test_old_messages(self) -> None:
        """A message of a week ago is shown: it may have waited in a mailbox."""
        self.inbox.take_message(self.message(ts=socp.now_ms() - 7 * DAY))
        self.assertEqual(len(self.events), 1)

    def test_across_restarts(self) -> None:
        """What was shown is remembered by the next process: it confirms a repeat, and does not show it."""
        envelope, broadcast = self.message(), self.broadcast()
        self.inbox.take_message(envelope)
        self.inbox.take_broadcast(broadcast)
        self.restart()
        self.inbox.take_message(envelope)
        self.inbox.take_broadcast(broadcast)
        self.assertEqual([type(event) for event in self.events], [Message, PublicMessage])
        self.assertEqual(self.statuses(), ["delivered"] * 2)

    def test_ended_while_showing(self) -> None:
        """A message that may have been shown when the process ended is not shown again, and its sender is told."""

        class PowerCut(BaseException):
            pass

        envelope = self.message()
        with mock.patch.object(self.inbox, "_show", side_effect=PowerCut), self.assertRaises(PowerCut):
            self.inbox.take_message(envelope)
        self.restart()
        with self.assertLogs("socp.inbox", "WARNING"):
            self.inbox.take_message(envelope)
        self.assertEqual((self.events, self.statuses()), ([], ["failed"]))

    def test_not_shown_is_not_remembered(self) -> None:
        """A message that could not be shown is shown by the next process."""
        envelope = self.message()
        with mock.patch.object(self.inbox, "_show", side_effect=NotShown("nobody reads")):
            self.assertRaises(NotShown, self.inbox.take_message, envelope)
        self.restart()
        self.inbox.take_message(envelope)
        self.assertEqual((len(self.events), self.statuses()), (1, ["delivered"]))

    def test_full_disk(self) -> None:
        """What cannot be written down is not shown, which is said once; it is shown in order as soon as it can be."""
        envelopes = [self.message(text) for text in (b"one", b"two", b"three")]
        full = DatabaseError("the disk is full")
        with (
            mock.patch.object(self.database, "commit", side_effect=full) as commit,
            self.assertLogs("socp.inbox", "INFO"),
        ):
            for envelope in envelopes:
                self.inbox.take_message(envelope)
            self.assertEqual((self.laters, commit.call_count), (1, 3))
            self.inbox.retry()
            self.assertEqual((self.laters, commit.call_count), (2, 4))  # after the first, the others are not tried
        self.assertEqual(([type(event) for event in self.events], self.sent), ([Notice], []))
        self.inbox.retry()
        self.assertEqual([event.text for event in self.events if isinstance(event, Message)], ["one", "two", "three"])
        self.assertEqual((self.statuses(), self.laters), (["delivered"] * 3, 2))

    def test_asked_before_it_is_begun(self) -> None:
        """The sender's name is asked for before it is written down that the message is shown, and not between."""
        known: list[Showing] = []
        envelope = self.message()
        msg_ref = message_reference(envelope.payload["content_sig"])

        def name_of(_: str) -> str:
            known.append(self.inbox._shown.of(msg_ref))
            return "ann"

        self.inbox._name_of = name_of
        self.inbox.take_message(envelope)
        self.assertEqual(known, [Showing.NEW])

    def test_broadcasts_do_not_push_messages_out(self) -> None:
        """However many broadcasts there are, direct messages are remembered."""
        envelope = self.message()
        self.inbox.take_message(envelope)
        for number in range(5):
            self.inbox.take_broadcast(self.broadcast(ts=socp.now_ms() + number))
        self.inbox.take_message(envelope)
        self.assertEqual(len([event for event in self.events if isinstance(event, Message)]), 1)

    def test_a_wrong_clock(self) -> None:
        """A start with a clock that is days ahead, which no server has agreed to, makes nothing be forgotten."""
        envelope = self.message()
        self.inbox.take_message(envelope)
        right = socp.now_ms
        with mock.patch("socp.now_ms", lambda: right() + 9 * DAY):
            self.restart()
        self.restart()
        self.inbox.take_message(envelope)
        self.assertEqual(len(self.events), 1)
        with mock.patch("socp.now_ms", lambda: right() + 9 * DAY):
            self.inbox._shown.forget_old()
        self.restart()
        self.assertIs(self.inbox._shown.of(message_reference(envelope.payload["content_sig"])), Showing.NEW)

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
