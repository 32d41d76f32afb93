"""What senders are told of stored messages, and in which thread that is signed."""

from __future__ import annotations

import queue
import sqlite3
import threading
from contextlib import closing
from typing import Any
from unittest import mock

import socp
from answers import Answer, Speaker
from crypto.signing import KeySigner
from origin import Origin
from routing import RoutingTable
from settings import Limits, Timers
from socp import MAILBOX_FULL, SERVER_BUSY, ProtocolError
from tests.mails import ALICE, BOB, PATIENCE, FakeHost, Frames, MailTest, Told, make_link, make_mail
from tests.vectors import key
from threads import Deadline
from users import Attachment, User

OWN = key("server").id


class SigningOrigin(Origin):
    """Signs, when it may, and notes the threads that it does so in."""

    def __init__(self) -> None:
        super().__init__(KeySigner(key("server")))
        self.may = threading.Event()
        self.may.set()
        self.threads: queue.SimpleQueue[str] = queue.SimpleQueue()

    def signed(self, *args: Any, **fields: Any) -> dict[str, object]:
        """Return a signed envelope."""
        self.threads.put(threading.current_thread().name)
        assert self.may.wait(PATIENCE)
        return super().signed(*args, **fields)


class SpeakerTest(MailTest):
    """A server with alice and bob, who writes to her."""

    def setUp(self) -> None:
        """Make it."""
        self.host = FakeHost(Timers(), Limits())
        self.speaker = Speaker(self.host.host)
        super().setUp()
        self.origin = SigningOrigin()
        self.table = RoutingTable(OWN)
        self.bob = Frames()
        self.table.attach(User(BOB, OWN, "k", {}, (), Attachment("n", 1, "s"), online=True), self.bob.link)
        self.link = make_link()
        self.mail.attach(ALICE, self.link)
        self.addCleanup(self.join)

    def join(self) -> None:
        """Wait for the threads."""
        self.origin.may.set()
        self.assertEqual(self.host.threads.join(Deadline(PATIENCE)), [])

    def say(self, answer: Answer, error: ProtocolError | None) -> None:
        """Give answers as a server does."""
        self.speaker.say(answer, error)

    def answer(self, text: str) -> Answer:
        """Return the answer for a message of bob's."""
        return Answer(self.origin, self.table, BOB, None, make_mail(text).msg_ref)

    def heard(self) -> tuple[str, object]:
        """Return what bob is told next, and about what."""
        frame = self.bob.next()
        return str(frame.payload.get("status", frame.payload.get("code"))), frame.payload["msg_ref"]

    def test_not_behind_signatures(self) -> None:
        """That a message is stored is told while what was handed out before it still waits for its signatures."""
        for text in "abc":
            self.mail.hand(make_mail(text), self.answer(text))
        prepared = self.answer("d")
        prepared.prepare()
        self.assertEqual(self.origin.threads.get(timeout=PATIENCE), threading.current_thread().name)
        self.origin.may.clear()
        self.mail.detach(ALICE, self.link)
        self.mail.store(make_mail("d"), prepared)
        self.assertEqual(self.heard(), ("stored", make_mail("d").msg_ref))
        self.origin.may.set()
        self.assertEqual([self.heard() for _ in "abc"], [("stored", make_mail(text).msg_ref) for text in "abc"])
        self.assertEqual({self.origin.threads.get(timeout=PATIENCE) for _ in "abc"}, {"answers"})

    def test_disk_that_fails(self) -> None:
        """Nor are errors signed in the thread that writes."""
        self.open(patience=0)
        with closing(sqlite3.connect(self.path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            with self.assertLogs("socp.mailboxes", "ERROR"):
                self.mail.store(make_mail("a"), self.answer("a"))
                self.assertEqual(self.heard(), (SERVER_BUSY, make_mail("a").msg_ref))
        self.origin.threads.get(timeout=PATIENCE)  # for "stored", in the thread that gave the message
        self.assertEqual(self.origin.threads.get(timeout=PATIENCE), "answers")

    def test_refused_when_a_link_ends(self) -> None:
        """Nor in the one that a user's next link waits for."""
        self.open(mailbox=0)
        self.mail.attach(ALICE, self.link)
        self.mail.hand(make_mail("a"), self.answer("a"))
        self.mail.attach(ALICE, make_link())
        self.assertEqual(self.heard(), (MAILBOX_FULL, make_mail("a").msg_ref))
        self.assertEqual(self.origin.threads.get(timeout=PATIENCE), "answers")

    def test_at_the_end(self) -> None:
        """What is not said yet when the server ends is not said, and holds up nothing."""
        self.origin.may.clear()
        for text in "abc":
            self.speaker.say(self.answer(text), None)
        self.origin.threads.get(timeout=PATIENCE)
        self.host.stopping.set()
        self.origin.may.set()
        self.assertEqual(self.host.threads.join(Deadline(PATIENCE)), [])
        self.assertEqual(self.heard()[0], "stored")
        with mock.patch.object(self.host.threads, "start") as start:
            self.speaker.say(self.answer("d"), None)
        start.assert_not_called()
        self.assertTrue(self.bob.silent)
        self.assertTrue(self.origin.threads.empty())

    def test_without_threads(self) -> None:
        """What cannot be said for want of a thread is forgotten, and later answers are given."""
        with mock.patch.object(self.host.threads, "start", return_value=False):
            self.speaker.say(self.answer("a"), None)
        self.speaker.say(self.answer("b"), None)
        self.assertEqual(self.heard(), ("stored", make_mail("b").msg_ref))

    def test_too_many(self) -> None:
        """Only so much waits to be said."""
        self.origin.may.clear()
        self.speaker.say(self.answer("first"), None)
        self.origin.threads.get(timeout=PATIENCE)
        with mock.patch("answers._WAITING_MOST", 2):
            for text in "abc":
                self.speaker.say(self.answer(text), None)
        self.origin.may.set()
        refs = [self.heard()[1] for _ in range(3)]
        self.assertEqual(refs, [make_mail(text).msg_ref for text in ("first", "a", "b")])
        self.assertEqual(self.host.threads.join(Deadline(PATIENCE)), [])
        self.assertTrue(self.bob.silent)

    def test_bug(self) -> None:
        """An answer that cannot be given keeps none from being given that comes behind it."""
        with self.assertLogs("socp.answers", "CRITICAL"):
            self.speaker.say(Told(look=mock.Mock(side_effect=ZeroDivisionError)), ProtocolError(socp.TIMEOUT, "x"))
            self.speaker.say(self.answer("a"), None)
            self.assertEqual(self.heard()[0], "stored")
