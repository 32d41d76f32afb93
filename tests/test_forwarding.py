"""Handing stored mail over to other servers, over links whose answers are chosen."""

from __future__ import annotations

import queue
import threading
from typing import Any
from unittest import mock

import socp
from crypto.signing import message_reference
from database import DatabaseError
from forwarding import Forwarder
from mesh import Peer
from origin import check_origin
from outflow import Sent
from routing import RoutingTable
from settings import Limits, Timers
from socp import ACK, ERROR, MAILBOX_FULL, SERVER_DELIVER
from tests.mails import ALICE, BOB, CAROL, PATIENCE, FakeHost, Frames, MailTest, make_link, make_mail
from tests.vectors import key
from threads import Deadline
from users import Attachment, User

OWN, HOME, OTHER = (key(name).id for name in ("server", "server2", "server3"))


class ForwarderCase(MailTest):
    """A server with mail for alice and carol, whose home is another; it sends four at a time, in place of 64."""

    timers = Timers()
    limits = Limits(unacknowledged=4)

    def setUp(self) -> None:
        """Make it, without a link."""
        super().setUp()
        self.host = FakeHost(self.timers, self.limits)
        self.table = RoutingTable(OWN)
        self.returned: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.forwarder = Forwarder(self.host.host, self.table, self.mail, self.returned.put)
        self.mail.watch(self.forwarder.kick)
        for user_id in (ALICE, CAROL):
            self.place(user_id, HOME)
        self.addCleanup(self.join)

    def join(self) -> None:
        """Stop, and wait for the threads."""
        self.host.stopping.set()
        self.forwarder.wake()
        self.assertEqual(self.host.threads.join(Deadline(PATIENCE)), [])

    def place(self, user_id: str, home: str, ts: int = 1) -> None:
        """Have a user attached to a server."""
        self.table.advertise(User(user_id, home, "k", {}, (), Attachment("n", ts, "s"), online=True))

    def link(self, *answers: Sent, server_id: str = HOME) -> Frames:
        """Have a link to a server."""
        frames = Frames(*answers)
        self.table.add_server(server_id, frames.link)
        self.forwarder.link_up(server_id)
        return frames

    def answer(self, text: str, frame_type: str = ACK, server: str = "server2", **fields: Any) -> bool:
        """Have a server answer about a message of bob's; tell whether that was taken."""
        payload = {"msg_ref": message_reference(f"sig of {text}"), "user_id": BOB, **fields}
        payload |= {"status": "stored"} if frame_type == ACK else {"code": MAILBOX_FULL}
        wire = socp.make_envelope(frame_type, key(server).id, OWN, 1, {**payload, **fields})
        return self.forwarder.take_answer(Peer(make_link(), key(server).public), socp.read_envelope(wire))


class ForwarderTest(ForwarderCase):
    """Servers that answer."""

    def test_handed_over(self) -> None:
        """Mail for the users of a server goes there when it is linked, and is deleted as it says it is stored there."""
        self.store(make_mail("a"), make_mail("b"), make_mail("c", recipient=CAROL), make_mail("d", recipient=BOB))
        frames = self.link()
        first = frames.next()
        check_origin(first, key("server").public)
        mail = make_mail("a")
        self.assertEqual((first.type, first.to, first.ts), (SERVER_DELIVER, HOME, mail.ts))
        del first.payload["hdr"]
        self.assertEqual(first.payload, mail.to_server(store=True))
        self.assertEqual(frames.texts(2), ["b", "c"])
        self.assertEqual(self.rows(), ["a", "b", "c", "d"])
        self.assertTrue(self.answer("b"))
        self.assertEqual(self.rows(), ["a", "c", "d"])
        for text in "ac":
            self.assertTrue(self.answer(text))
        self.assertEqual(self.rows(), ["d"])
        self.assertTrue(frames.silent)

    def test_new_mail(self) -> None:
        """Mail that is stored while the home is linked goes there at once; so does that of a user who moves there."""
        frames = self.link()
        self.store(make_mail("a"))
        self.assertEqual(frames.texts(1), ["a"])
        self.answer("a")
        self.store(make_mail("b", recipient=BOB))
        self.assertTrue(frames.silent)
        self.place(BOB, HOME)
        self.forwarder.kick(BOB)
        self.assertEqual(frames.texts(1), ["b"])

    def test_batches(self) -> None:
        """So many are unanswered and no more, of all users together; the next go when all of them are answered."""
        self.store(*(make_mail(text, recipient=(ALICE, CAROL)[text in "bd"]) for text in "abcdef"))
        frames = self.link()
        first = frames.texts(4)
        for text in first[:3]:
            self.answer(text)
        self.assertTrue(frames.silent)
        self.answer(first[3])
        self.assertEqual({*first, *frames.texts(2)}, {*"abcdef"})
        for text in "abcdef":
            self.answer(text)
        self.assertEqual(self.rows(), [])

    def test_refused(self) -> None:
        """What is refused is kept, and tried again after a while and not before; what is taken is not held up."""
        self.store(make_mail("a"), make_mail("b", recipient=CAROL))
        frames = self.link()
        self.assertEqual(frames.texts(2), ["a", "b"])
        self.assertTrue(self.answer("a", ERROR))
        self.assertTrue(self.answer("b"))
        again = self.host.due.get(timeout=PATIENCE)
        self.assertEqual(self.returned.get(timeout=PATIENCE), ALICE)
        self.forwarder.kick(ALICE)
        self.store(make_mail("c", recipient=CAROL))
        self.assertEqual(frames.texts(1), ["c"])
        self.answer("c")
        again()
        self.assertEqual(frames.texts(1), ["a"])
        self.answer("a")
        self.assertEqual(self.rows(), [])

    def test_refused_while_others_are_taken(self) -> None:
        """Who was refused is tried again while the mail of others keeps the server busy, and no sooner for that."""
        self.store(make_mail("a"), make_mail("0", recipient=CAROL))
        frames = self.link()
        self.assertEqual(frames.texts(2), ["a", "0"])
        for number in range(3):
            self.store(make_mail(f"{number + 1}", recipient=CAROL))  # waits when the one before is answered
            if number == 0:
                self.answer("a", ERROR)
            self.answer(f"{number}")
            self.assertEqual(frames.texts(1), [f"{number + 1}"])
        self.host.go_off()
        self.answer("3")
        self.assertEqual(frames.texts(1), ["a"])
        self.answer("a", ERROR)
        self.host.due.get(timeout=PATIENCE)
        waits = [call.args[0] for call in self.host.alarms.after.call_args_list]
        for wait, expected in zip(waits, (1, 2), strict=True):
            self.assertLessEqual(abs(wait - expected), expected * 0.21)

    def test_bug(self) -> None:
        """What a thread had in hand that died of a bug waits again, and is handed over later by another."""
        for of, name in ((self.forwarder, "_await_answers"), (self.mail, "has_waiting"), (self.mail, "read")):
            with self.subTest(name):
                self.store(make_mail(name))
                with mock.patch.object(of, name, side_effect=ZeroDivisionError), self.assertLogs("socp", "CRITICAL"):
                    self.link()
                    again = self.host.due.get(timeout=PATIENCE)
                    self.assertEqual(self.returned.get(timeout=PATIENCE), ALICE)
                    for thread in threading.enumerate():
                        if thread.name == f"mail for {HOME}":
                            thread.join(PATIENCE)
                frames = Frames()
                self.table.add_server(HOME, frames.link)
                again()
                self.assertEqual(frames.texts(1), [name])
                self.assertTrue(self.answer(name))
                self.assertEqual(self.rows(), [])
                self.table.drop_server(HOME, frames.link)

    def test_longer_and_longer(self) -> None:
        """The more often a server takes nothing, the longer it is left alone, until it takes something."""
        self.store(make_mail("a"))
        frames = self.link()
        for _ in range(8):
            self.assertEqual(frames.texts(1), ["a"])
            self.answer("a", ERROR)
            self.host.go_off()
        self.assertEqual(frames.texts(1), ["a"])
        self.answer("a")
        self.store(make_mail("b"))
        self.assertEqual(frames.texts(1), ["b"])
        self.answer("b", ERROR)
        self.host.due.get(timeout=PATIENCE)
        waits = [call.args[0] for call in self.host.alarms.after.call_args_list]
        for wait, expected in zip(waits, (1, 2, 4, 8, 16, 32, 60, 60, 1), strict=True):
            self.assertLessEqual(abs(wait - expected), expected * 0.21)

    def test_answers_of_others(self) -> None:
        """An answer of another server, about another sender, or about what was not handed over changes nothing."""
        self.store(make_mail("a"))
        self.assertFalse(self.answer("a"))
        frames = self.link()
        self.assertEqual(frames.texts(1), ["a"])
        self.assertFalse(self.answer("b"))
        self.assertFalse(self.answer("a", server="server3"))
        self.assertFalse(self.answer("a", user_id=CAROL))  # a message of carol's with bob's signature
        self.assertFalse(self.answer("a", ERROR, user_id=CAROL))
        self.assertEqual(self.rows(), ["a"])
        self.assertTrue(self.answer("a"))
        self.assertFalse(self.answer("a"))

    def test_answer_that_says_nothing(self) -> None:
        """Only "stored" deletes."""
        self.store(make_mail("a"))
        self.link().texts(1)
        self.assertTrue(self.answer("a", status="delivered"))
        self.assertEqual(self.rows(), ["a"])

    def test_lost_link(self) -> None:
        """What a link that ends has not answered is kept, and handed over again when there is another."""
        self.store(make_mail("a"))
        frames = self.link()
        self.assertEqual(frames.texts(1), ["a"])
        frames.link.closing = True
        self.table.drop_server(HOME, frames.link)
        self.forwarder.wake()
        self.assertEqual(self.returned.get(timeout=PATIENCE), ALICE)
        self.assertFalse(self.answer("a"))
        newer = self.link()
        self.assertEqual(newer.texts(1), ["a"])
        self.answer("a")
        self.assertEqual(self.rows(), [])

    def test_link_that_takes_nothing(self) -> None:
        """A full link is waited for; one that stays full, or is closed, has taken nothing."""
        self.store(make_mail("a"), make_mail("b"))
        frames = self.link(Sent.YES, Sent.FULL)
        self.assertEqual(frames.texts(2), ["a", "b"])
        for text in "ab":
            self.answer(text)
        self.store(make_mail("c"))
        self.assertEqual(frames.texts(1), ["c"])

    def test_same_signature(self) -> None:
        """Two messages with one msg_ref are not under way at once: an answer is about one of them."""
        self.store(make_mail("a", sig="s"), make_mail("b", sender=CAROL, sig="s"))
        frames = self.link()
        self.assertEqual(frames.texts(1), ["a"])
        self.assertTrue(frames.silent)
        msg_ref = message_reference("s")
        self.assertTrue(self.answer("", msg_ref=msg_ref))
        self.assertEqual(frames.texts(1), ["b"])
        self.assertTrue(self.answer("", msg_ref=msg_ref, user_id=CAROL))
        self.assertEqual(self.rows(), [])

    def test_moved_again(self) -> None:
        """Mail that was refused goes to the home that its recipient has by then."""
        self.store(make_mail("a"))
        frames, other = self.link(), self.link(server_id=OTHER)
        self.assertEqual(frames.texts(1), ["a"])
        self.place(ALICE, OTHER, ts=2)
        self.answer("a", ERROR)
        self.assertEqual(self.returned.get(timeout=PATIENCE), ALICE)
        self.forwarder.kick(ALICE)
        self.assertEqual(other.texts(1), ["a"])
        self.host.go_off()  # the first server's turn, which has nothing to take any more
        self.assertTrue(self.answer("a", server="server3"))
        self.assertEqual(self.rows(), [])
        self.assertTrue(frames.silent)

    def test_disk_that_cannot_be_read(self) -> None:
        """What cannot be read now is said, kept, and handed over later."""
        self.store(make_mail("a"))
        with (
            mock.patch("mailstore.read_mail", side_effect=DatabaseError("the disk is gone")),
            self.assertLogs("socp.forwarding", "ERROR"),
        ):
            frames = self.link()
            again = self.host.due.get(timeout=PATIENCE)
        again()
        self.assertEqual(frames.texts(1), ["a"])


class SilentTest(ForwarderCase):
    """A server whose patience is short."""

    timers = Timers(request=0.05)

    def test_no_answer(self) -> None:
        """What is not answered in time is handed over again, later."""
        self.store(make_mail("a"))
        frames = self.link()
        self.assertEqual(frames.texts(1), ["a"])
        self.host.go_off()
        self.assertEqual(frames.texts(1), ["a"])
        self.assertEqual(self.rows(), ["a"])
