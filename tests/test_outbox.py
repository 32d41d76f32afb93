"""Messages that were sent, until it is known what became of them."""

from __future__ import annotations

import itertools
import queue
import tempfile
import threading
import unittest
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import outbox
import socp
from contacts import Contact
from crypto.signing import RECEIPT, KeySigner, message_reference, sign_content
from database import Database, DatabaseError
from errors import NotConnected, TextRefused
from events import Delivered, Event, Failed, Stored, Unconfirmed
from outbox import Outbox
from settings import Limits, Settings, Timers
from socp import Envelope
from tests.test_users import make_user
from tests.vectors import key
from threads import Deadline, Threads

ALICE, BOB = key("alice").id, key("bob").id
PATIENCE = 20.0
HOUR = 60 * 60 * 1000
DAY = 24 * HOUR
Frame = tuple[str, str, dict[str, object], int | None]


class OutboxTest(unittest.TestCase):
    """The outbox of alice, who writes to bob."""

    settings = Settings(replace(Timers(), request=0.05))

    def setUp(self) -> None:
        """Start it, without a link to a server."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "messages.sqlite3"
        self.events: queue.Queue[Event] = queue.Queue()
        self.frames: queue.Queue[Frame] = queue.Queue()
        self.laters: list[Any] = []
        self.telling = True
        self.settled = 0
        self.refusing = False
        self.signatures = itertools.count(1)
        self.numbers: queue.Queue[int] = queue.Queue()
        self.threads = Threads()
        self.start()

    def start(self) -> None:
        """Start an outbox with what the one before has left."""
        self.database = Database(self.path, (outbox.SCHEMA,), 5.0)
        self.database.start()
        self.addCleanup(self.database.close, Deadline(5.0))
        self.outbox = Outbox(
            self.database,
            key("alice").public.text,
            self.settings,
            contact=lambda _: Contact(make_user("bob"), key("bob").public),
            send=self.send,
            emit=self.tell,
            settled=self.settle,
            later=self.laters.append,
        )
        self.addCleanup(self.outbox.stop)
        self.threads = Threads()
        self.threads.start("outbox", self.outbox.run)

    def restart(self) -> None:
        """Begin anew, as a client does that was ended and started again."""
        self.outbox.stop()
        self.assertEqual(self.threads.join(Deadline(PATIENCE)), [])
        self.database.close(Deadline(PATIENCE))
        self.start()

    def tell(self, event: Event, then: Any) -> None:
        """Tell an event, if somebody is there."""
        if self.telling:
            then()  # first, so that whoever sees the event finds done what comes after it
            self.events.put(event)

    def settle(self) -> None:
        """Count what is settled."""
        self.settled += 1

    def send(self, frame_type: str, to: str, payload: dict[str, object], ts: int | None = None) -> None:
        """Take a frame, or say that there is no link."""
        if self.refusing:
            raise NotConnected("not connected")
        self.frames.put((frame_type, to, payload, ts))

    def add(self, ts: int | None = None) -> str:
        """Take a message, and return its msg_ref."""
        signature = f"signature-{next(self.signatures)}"
        ts = socp.now_ms() if ts is None else ts
        return self.outbox.add(BOB, ts, "Y2lwaGVy", signature, self.numbers.put)

    def added(self) -> str:
        """Take a message, and note its number."""
        msg_ref = self.add()
        self.number = self.numbers.get_nowait()
        return msg_ref

    def event(self) -> Event:
        """Return the next event."""
        return self.events.get(timeout=PATIENCE)

    def frame(self) -> str:
        """Return the msg_ref of the next frame, having looked at the rest of it."""
        frame_type, to, payload, ts = self.frames.get(timeout=PATIENCE)
        self.assertEqual((frame_type, to, payload["sender_pub"]), (socp.MSG_DIRECT, BOB, key("alice").public.text))
        self.assertIsNotNone(ts)
        return message_reference(str(payload["content_sig"]))

    def receipt(
        self, msg_ref: str, signer: str = "bob", sender: str = BOB, said: str = "delivered", **change: Any
    ) -> Envelope:
        """Return a receipt, with fields of the payload changed after it was signed."""
        payload: dict[str, Any] = {"msg_ref": msg_ref, "status": said}
        values = {**payload, "from": sender, "to": ALICE, "ts": 7}
        payload |= {"content_sig": sign_content(KeySigner(key(signer)), RECEIPT, values)} | change
        return socp.read_envelope(socp.make_envelope(socp.ACK, sender, ALICE, 7, payload))

    def left(self) -> list[str]:
        """Return the msg_refs that are on the disk, once all has been written."""
        for _ in range(2):  # behind the last of them, another may be on its way
            self.database.commit(lambda _: None)
        with self.database.reading() as connection:
            return [row[0] for row in connection.execute("SELECT msg_ref FROM outbox ORDER BY number")]


class FateTest(OutboxTest):
    """What becomes of a message."""

    def test_delivered(self) -> None:
        """A receipt that the recipient signed settles the message, once, and it is not kept."""
        msg_ref = self.added()
        self.assertEqual(self.left(), [msg_ref])
        for _ in range(2):
            self.outbox.take_receipt(self.receipt(msg_ref))
        self.assertEqual(self.event(), Delivered(msg_ref, BOB, self.number))
        self.assertEqual((len(self.outbox), self.settled, self.left()), (0, 1, []))
        self.assertTrue(self.events.empty())

    def test_failed(self) -> None:
        """A recipient can say that it could not open the message."""
        msg_ref = self.added()
        self.outbox.take_receipt(self.receipt(msg_ref, said="failed"))
        event = self.event()
        assert isinstance(event, Failed)
        self.assertEqual((event.msg_ref, event.code, event.number), (msg_ref, "failed", self.number))
        self.assertEqual(self.left(), [])

    def test_forged(self) -> None:
        """A receipt by anybody but the recipient, or changed since, is passed over."""
        msg_ref = self.added()
        with self.assertLogs("socp.outbox", "WARNING"):
            for envelope in (
                self.receipt(msg_ref, signer="mallory"),
                self.receipt(msg_ref, content_sig=""),
                self.receipt(msg_ref, content_sig=self.receipt(msg_ref, said="failed").payload["content_sig"]),
            ):
                self.outbox.take_receipt(envelope)
        self.outbox.take_receipt(self.receipt(msg_ref, signer="carol", sender=key("carol").id))
        self.outbox.take_receipt(self.receipt("another"))
        self.assertEqual((self.events.empty(), len(self.outbox), self.left()), (True, 1, [msg_ref]))

    def test_errors(self) -> None:
        """A server's ERROR settles the message it is about; one about none of ours is passed over."""
        msg_ref = self.added()
        self.outbox.add_broadcast("public")
        self.outbox.take_error("public", "TOO_LARGE", "why")
        for about in ("unknown", msg_ref, msg_ref):
            self.outbox.take_error(about, "MAILBOX_FULL", "full")
        self.assertEqual(self.event(), Failed("public", "public", "TOO_LARGE", "why"))
        self.assertEqual(self.event(), Failed(msg_ref, BOB, "MAILBOX_FULL", "full", self.number))
        self.assertEqual((len(self.outbox), self.left(), self.events.empty()), (0, [], True))

    def test_stored(self) -> None:
        """That a server keeps a message is told once, also across restarts; it is kept until it is confirmed."""
        msg_ref = self.added()
        for _ in range(2):
            self.outbox.take_stored(msg_ref)
        self.outbox.take_stored("other")
        self.assertEqual(self.event(), Stored(msg_ref, BOB, self.number))
        self.assertEqual((len(self.outbox), self.outbox.unconfirmed, self.settled), (0, 1, 1))
        self.restart()
        self.outbox.take_stored(msg_ref)
        self.assertEqual((len(self.outbox), self.outbox.unconfirmed), (0, 1))
        self.outbox.take_receipt(self.receipt(msg_ref))
        self.assertEqual(self.event(), Delivered(msg_ref, BOB, self.number))

    def test_too_old(self) -> None:
        """What nobody has taken charge of for a day has failed; what is stored is not confirmed after seven days."""
        now = socp.now_ms()
        young, waiting, old, stored = (self.add(now - age) for age in (23 * HOUR, 5 * DAY, 24 * HOUR, 7 * DAY + HOUR))
        for msg_ref in (waiting, stored):
            self.outbox.take_stored(msg_ref)
            self.assertIsInstance(self.event(), Stored)
        self.restart()
        self.assertEqual(
            self.left(), [young, waiting, old, stored]
        )  # as if the clock were wrong: nobody has said it is
        self.outbox.connected()
        reported = {self.event(), self.event()}
        self.assertEqual({type(event) for event in reported}, {Failed, Unconfirmed})
        failed = next(event for event in reported if isinstance(event, Failed))
        self.assertEqual((failed.msg_ref, failed.code), (old, socp.TIMEOUT))
        self.assertEqual(self.frame(), young)  # the other is stored, and no server would take it again
        self.assertEqual(self.left(), [young, waiting])

    def test_nobody_was_told(self) -> None:
        """What became of a message is found out again by the next process, if this one has told nobody of it."""
        refs = [self.added() for _ in range(2)]
        self.telling = False
        self.outbox.take_error(refs[0], "MAILBOX_FULL", "full")
        self.outbox.take_receipt(self.receipt(refs[1]))
        self.assertEqual((len(self.outbox), self.left()), (0, refs))
        self.restart()
        self.assertEqual(self.outbox.unconfirmed, 2)

    def test_error_about_what_is_stored(self) -> None:
        """A server that does not take the repeat of a message that another one keeps is not believed to be its end."""
        msg_ref = self.added()
        self.outbox.take_stored(msg_ref)
        self.assertIsInstance(self.event(), Stored)
        self.outbox.take_error(msg_ref, "USER_NOT_FOUND", "never heard of")
        self.assertEqual((self.outbox.unconfirmed, self.events.empty()), (1, True))
        self.outbox.take_receipt(self.receipt(msg_ref))
        self.assertIsInstance(self.event(), Delivered)

    def test_deleted_when_it_can_be(self) -> None:
        """What cannot be deleted from the disk now is deleted later."""
        refs = [self.added() for _ in range(2)]

        def fail(_write: Any, done: Any) -> None:
            done(DatabaseError("the disk is full"))

        with mock.patch.object(self.database, "write", fail), self.assertLogs("socp.outbox", "WARNING"):
            self.outbox.take_receipt(self.receipt(refs[0]))
        self.assertEqual((self.left(), len(self.laters)), (refs, 1))
        self.laters.pop()()
        self.assertEqual(self.left(), refs[1:])


class KeptTest(OutboxTest):
    """What is on the disk."""

    def test_numbers_go_on(self) -> None:
        """Numbers are the next in each profile, and none is given twice, whatever is forgotten meanwhile."""
        first = self.added()
        self.assertEqual(self.number, 1)
        self.outbox.take_error(first, "X", "")
        self.left()
        self.restart()
        self.assertIsInstance(self.event(), Failed)
        self.added()
        self.assertEqual(self.number, 2)

    def test_not_written_is_not_taken(self) -> None:
        """A message that cannot be written down is refused, and never sent."""
        self.outbox.connected()
        failing = mock.patch.object(self.database, "commit", side_effect=DatabaseError("the disk is full"))
        with failing, self.assertRaisesRegex(TextRefused, "the disk is full; nothing was sent"):
            self.add()
        self.assertTrue(self.numbers.empty())
        self.added()
        self.frame()
        self.assertTrue(self.frames.empty())

    def test_ciphertext_alone(self) -> None:
        """What is on the disk of a message is what servers see of it."""
        self.added()
        with self.database.reading() as connection:
            rows = connection.execute("SELECT recipient, ciphertext, content_sig, stored FROM outbox").fetchall()
        self.assertEqual(rows, [(BOB, "Y2lwaGVy", "signature-1", 0)])


class FewTest(OutboxTest):
    """An outbox that is full."""

    settings = Settings(replace(Timers(), request=0.05), replace(Limits(), outbox=2))

    def test_full(self) -> None:
        """When too many messages wait, one more is refused; it is taken when one of them is settled in time."""
        first = self.added()
        self.added()
        with self.assertRaisesRegex(TextRefused, "2 messages are not confirmed yet"):
            self.add()
        self.outbox.take_error(first, "X", "")
        self.assertIsInstance(self.event(), Failed)
        self.added()


class SendingTest(OutboxTest):
    """When messages are sent."""

    def test_at_once(self) -> None:
        """With a link a message is sent at once; without one, when there is."""
        first = self.added()
        self.assertTrue(self.frames.empty())
        self.outbox.connected()
        self.assertEqual(self.frame(), first)
        second = self.added()
        self.assertEqual(self.frame(), second)

    def test_after_each_reconnect(self) -> None:
        """After a reconnect, and after a restart, all are sent again in their order, as the identical frames."""
        refs = [self.added() for _ in range(3)]
        self.outbox.take_stored(refs[1])
        self.outbox.connected()
        first = [self.frames.get(timeout=PATIENCE) for _ in refs]
        self.outbox.disconnected()
        self.outbox.connected()
        second = [self.frames.get(timeout=PATIENCE) for _ in refs]
        self.restart()
        self.outbox.connected()
        third = [self.frames.get(timeout=PATIENCE) for _ in refs]
        self.assertEqual([message_reference(str(frame[2]["content_sig"])) for frame in first], refs)
        self.assertEqual(first, second)
        self.assertEqual(first, third)
        self.assertEqual([list(frame[2]) for frame in first], [list(frame[2]) for frame in third])

    def test_link_lost_while_sending(self) -> None:
        """What could not be sent is sent after the next reconnect."""
        self.refusing = True
        self.outbox.connected()
        msg_ref = self.added()
        self.outbox.disconnected()
        self.refusing = False
        self.outbox.connected()
        self.assertEqual(self.frame(), msg_ref)

    def test_in_order_after_a_quick_reconnect(self) -> None:
        """What was about to be sent over a link that is gone does not overtake what was lost with it."""
        refs = [self.added() for _ in range(6)]
        held, go_on = threading.Event(), threading.Event()
        send = self.outbox._send

        def hold(*frame: Any, **others: Any) -> None:
            send(*frame, **others)
            if self.frames.qsize() == 3:
                held.set()
                go_on.wait(PATIENCE)

        self.outbox._send = hold
        self.outbox.connected()
        self.assertTrue(held.wait(PATIENCE))
        self.outbox.disconnected()
        self.outbox.connected()
        go_on.set()
        self.assertEqual([self.frame() for _ in range(9)], refs[:3] + refs)

    def test_not_kept_in_memory(self) -> None:
        """What is written while there is no link is on the disk alone."""
        msg_ref = self.added()
        self.assertIsNone(self.outbox._pending[msg_ref].sealed)
        self.outbox.connected()
        self.assertEqual(self.frame(), msg_ref)

    def test_forgotten_is_not_sent(self) -> None:
        """What is settled is not sent any more."""
        first, second = self.added(), self.added()
        self.outbox.take_receipt(self.receipt(first))
        self.outbox.connected()
        self.assertEqual(self.frame(), second)
        self.assertTrue(self.frames.empty())

    def test_taken_by_many_threads(self) -> None:
        """Messages of many threads are all taken and sent, each under a number of its own."""
        self.outbox.connected()
        threads = [threading.Thread(target=lambda: [self.add() for _ in range(20)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        refs = set()
        for _ in range(160):
            msg_ref = self.frame()
            self.outbox.take_stored(msg_ref)
            refs.add(msg_ref)
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(self.numbers.queue), list(range(1, 161)))
        self.assertEqual(len(refs), 160)
        self.assertEqual(set(self.left()), refs)


class FlyingTest(OutboxTest):
    """How many messages are on their way at a time."""

    settings = Settings(replace(Timers(), resend_first=0.3), replace(Limits(), flying=3))

    def test_answers_let_others_fly(self) -> None:
        """No more are sent than may fly; each answer, of whatever kind, lets one more go, in order."""
        refs = [self.added() for _ in range(7)]
        self.outbox.connected()
        self.assertEqual([self.frame() for _ in range(3)], refs[:3])
        with self.assertRaises(queue.Empty):
            self.frames.get(timeout=0.05)
        self.outbox.take_stored(refs[1])
        self.assertEqual(self.frame(), refs[3])
        self.outbox.take_receipt(self.receipt(refs[0]))
        self.assertEqual(self.frame(), refs[4])
        self.outbox.take_error(refs[4], "X", "")
        self.assertEqual(self.frame(), refs[5])
        self.outbox.take_stored(refs[1])  # said again, which lets nobody go who is not flying
        with self.assertRaises(queue.Empty):
            self.frames.get(timeout=0.05)

    def test_no_answer_is_not_waited_for(self) -> None:
        """What is not answered in time does not keep the others back, and is sent again."""
        refs = [self.added() for _ in range(5)]
        self.outbox.connected()
        self.assertEqual([self.frame() for _ in range(3)], refs[:3])
        later = [self.frame() for _ in range(5)]
        self.assertEqual(sorted(later), sorted(refs))

    def test_after_a_reconnect(self) -> None:
        """A new link begins with nothing on its way."""
        refs = [self.added() for _ in range(4)]
        for _ in range(3):
            self.outbox.connected()
            self.assertEqual([self.frame() for _ in range(3)], refs[:3])
            self.outbox.disconnected()


class ResendTest(OutboxTest):
    """Messages of which nothing is heard."""

    settings = Settings(replace(Timers(), resend_first=0.02, resend_most=0.08))

    def test_doubling(self) -> None:
        """A message that nothing is heard of is sent again and again, at times that double."""
        waits: list[float] = []
        attempt = self.outbox._note_attempt

        def note(msg_ref: str) -> Any:
            pending = attempt(msg_ref)
            if pending is not None:
                waits.append(pending.wait)
            return pending

        with mock.patch.object(self.outbox, "_note_attempt", note):
            self.outbox.connected()
            msg_ref = self.added()
            self.assertEqual([self.frame() for _ in range(5)], [msg_ref] * 5)
        self.assertEqual(waits[:4], [0.04, 0.08, 0.08, 0.08])

    def test_stored_is_asked_for_too(self) -> None:
        """A message that is stored is sent again from time to time, since its receipt may have been lost."""
        msg_ref = self.added()
        self.outbox.take_stored(msg_ref)
        self.outbox.connected()
        self.assertEqual([self.frame() for _ in range(3)], [msg_ref] * 3)

    def test_a_database_that_cannot_be_read(self) -> None:
        """A message that cannot be read from the disk now is sent when it can."""
        msg_ref = self.added()
        with (
            mock.patch.object(self.database, "reading", side_effect=DatabaseError("locked")),
            self.assertLogs("socp.outbox", "WARNING"),
        ):
            self.outbox.connected()
            with self.assertRaises(queue.Empty):
                self.frames.get(timeout=0.1)
        self.assertEqual(self.frame(), msg_ref)
