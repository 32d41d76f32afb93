"""Handing mail to users who are here, over links whose answers are chosen."""

from __future__ import annotations

import threading
from unittest import mock

import socp
from carrier import Carrier
from crypto.signing import message_reference
from database import DatabaseError
from link import Link
from origin import check_origin
from outflow import Sent
from settings import Limits, Timers
from tests.mails import ALICE, BOB, PATIENCE, FakeHost, Frames, MailTest, Told, make_mail
from tests.vectors import key
from threads import Deadline

DAY = 24 * 60 * 60 * 1000


class CarrierTest(MailTest):
    """A server with alice for its user; it lets four messages be unconfirmed, in place of 64."""

    limits = Limits(unacknowledged=4)

    def setUp(self) -> None:
        """Make it."""
        super().setUp()
        self.host = FakeHost(Timers(), self.limits)
        self.carrier = Carrier(self.host.host, self.mail)
        self.mail.watch(self.carrier.kick)
        self.addCleanup(self.join)

    def join(self) -> None:
        """Wait for the threads."""
        self.assertEqual(self.host.threads.join(Deadline(PATIENCE)), [])

    def confirm(self, text: str, status: str = "delivered") -> None:
        """Have alice confirm a message of bob's."""
        receipt = {"msg_ref": message_reference(f"sig of {text}"), "status": status}
        wire = socp.make_envelope(socp.ACK, ALICE, BOB, 1, receipt)
        self.carrier.take_receipt(ALICE, socp.read_envelope(wire))

    def test_straight(self) -> None:
        """A message for who is here is sent at once, at the sender's time, and not stored."""
        frames, told = Frames(), Told()
        self.carrier.begin(ALICE, frames.link)
        self.carrier.deliver(make_mail(), told)
        frame = frames.next()
        check_origin(frame, key("server").public)
        mail = make_mail()
        self.assertEqual((frame.type, frame.to, frame.ts), (socp.USER_DELIVER, ALICE, mail.ts))
        del frame.payload["hdr"]
        self.assertEqual(frame.payload, mail.to_user())
        self.confirm("x")
        self.carrier.end(ALICE, frames.link)
        self.assertTrue(told.silent)
        self.assertEqual(self.rows(), [])

    def test_signed_ahead(self) -> None:
        """What was signed ahead is sent, unless the recipient is on TLS by now; what would wait is not signed."""
        frames = Frames()
        self.carrier.begin(ALICE, frames.link)
        make = self.carrier.signing(make_mail(), frames.link)
        assert make is not None
        signed = make()
        self.carrier.deliver(make_mail(), Told(), signed)
        frames.link.send.assert_called_once_with(signed)
        check_origin(frames.next(), key("server").public)
        newer = Frames()
        newer.link.secure = True
        self.carrier.begin(ALICE, newer.link)
        self.assertEqual(newer.texts(1), ["x"])  # it was not confirmed
        self.confirm("x")
        self.carrier.deliver(make_mail("y"), Told(), b"made for a link without TLS")
        frame = newer.next()
        self.assertEqual((frame.payload["ciphertext"], frame.sig), ("y", ""))
        self.carrier.end(ALICE, newer.link)
        self.assertIsNone(self.carrier.signing(make_mail("z"), newer.link))

    def test_stored_first(self) -> None:
        """Who comes back is given what is stored, oldest first, then what is new, and what is confirmed is deleted."""
        self.store(*(make_mail(text) for text in "abc"))
        frames = Frames()
        self.carrier.begin(ALICE, frames.link)
        self.assertEqual(frames.texts(3), ["a", "b", "c"])
        self.carrier.deliver(make_mail("d"), Told())
        self.assertEqual(frames.texts(1), ["d"])
        for text, status in (("a", "delivered"), ("b", "failed"), ("c", "shown"), ("d", "delivered")):
            self.confirm(text, status)
        self.assertEqual(self.rows(), ["c"])

    def test_window(self) -> None:
        """So many go out unconfirmed and no more, and each that is confirmed brings one more."""
        self.store(*(make_mail(text) for text in "abcdef"))
        frames = Frames()
        self.carrier.begin(ALICE, frames.link)
        self.assertEqual(frames.texts(4), [*"abcd"])
        self.confirm("c")
        self.assertEqual(frames.texts(1), ["e"])
        self.assertTrue(frames.silent)
        self.confirm("a")
        self.assertEqual(frames.texts(1), ["f"])

    def test_full_link(self) -> None:
        """What a full link does not take is stored, and goes out in order once the link has drained."""
        frames, told = Frames(Sent.FULL), Told()
        self.carrier.begin(ALICE, frames.link)
        for text in "abc":
            self.carrier.deliver(make_mail(text), told)
        self.assertEqual(told.next(), "stored")
        self.assertEqual(frames.texts(3), ["a", "b", "c"])

    def test_link_that_stays_full(self) -> None:
        """What is stored waits for another link when this one takes nothing, and then goes out once."""
        self.store(make_mail("a"), make_mail("b"))
        frames = Frames(Sent.YES, *[Sent.FULL] * 9)
        frames.link.wait_until_drained.return_value = False
        self.carrier.begin(ALICE, frames.link)
        self.assertEqual(frames.texts(1), ["a"])
        newer = Frames()
        self.carrier.begin(ALICE, newer.link)
        self.carrier.end(ALICE, frames.link)
        self.assertEqual(newer.texts(2), ["a", "b"])
        self.assertTrue(newer.silent)

    def test_link_that_was_full(self) -> None:
        """What a link that was full for long did not take goes out over it when there is a new reason to try."""
        self.store(make_mail("a"), make_mail("b"))
        frames, ended = Frames(Sent.YES, Sent.FULL), threading.Event()
        frames.link.wait_until_drained.return_value = False
        end_pump = self.mail.end_pump

        def end(user_id: str, pump: object, link: Link | None = None) -> bool:
            has_ended = end_pump(user_id, pump, link)
            ended.set()
            return has_ended

        with mock.patch.object(self.mail, "end_pump", end):
            self.carrier.begin(ALICE, frames.link)
            self.assertTrue(ended.wait(PATIENCE))
        self.confirm("a")
        self.assertEqual(frames.texts(2), ["a", "b"])

    def test_repeat_for_a_full_link(self) -> None:
        """A repeat that the link does not take is not stored: the original is on its way, and is when the link ends."""
        frames, told = Frames(Sent.YES, Sent.FULL), Told()
        self.carrier.begin(ALICE, frames.link)
        for _ in range(2):
            self.carrier.deliver(make_mail(), told)
        self.assertEqual(self.rows(), [])
        self.assertTrue(told.silent)

    def test_closed_link(self) -> None:
        """A message that comes when the link has just closed is stored, and its sender told so."""
        frames, told = Frames(Sent.CLOSED), Told()
        self.carrier.begin(ALICE, frames.link)
        self.carrier.deliver(make_mail(), told)
        self.assertEqual(told.next(), "stored")
        self.carrier.end(ALICE, frames.link)
        self.assertEqual(self.rows(), ["x"])

    def test_repeats(self) -> None:
        """A repeat of what is not confirmed is sent again; if the original is stored, that is said again too."""
        frames, told = Frames(), Told()
        self.carrier.begin(ALICE, frames.link)
        for _ in range(2):
            self.carrier.deliver(make_mail("a"), told)
        self.assertTrue(told.silent)
        self.carrier.store(make_mail("b"), told)
        self.assertEqual(told.next(), "stored")
        self.assertEqual(frames.texts(3), ["a", "a", "b"])
        self.carrier.deliver(make_mail("b"), told)
        self.assertEqual(told.next(), "stored")
        self.assertEqual(frames.texts(1), ["b"])

    def test_disk_that_cannot_be_read(self) -> None:
        """What cannot be read now is said, kept, and handed out later; what comes meanwhile is behind it."""
        self.store(make_mail("a"))
        frames = Frames()
        with (
            mock.patch("mailstore.read_mail", side_effect=DatabaseError("the disk is gone")),
            self.assertLogs("socp.carrier", "ERROR"),
        ):
            self.carrier.begin(ALICE, frames.link)
            again = self.host.due.get(timeout=PATIENCE)
        told = Told()
        self.carrier.deliver(make_mail("b"), told)
        again()
        self.assertEqual(frames.texts(2), ["a", "b"])
        self.assertEqual(told.next(), "stored")

    def test_no_threads(self) -> None:
        """Without a thread to be had, mail waits for one."""
        self.store(make_mail())
        frames = Frames()
        with mock.patch.object(self.host.threads, "start", return_value=False):
            self.carrier.begin(ALICE, frames.link)
        self.host.go_off()
        self.assertEqual(frames.texts(1), ["x"])

    def test_age(self) -> None:
        """Mail that has lain for seven days is deleted at the start, and when the hour is over."""
        self.store(make_mail("a", ts=socp.now_ms()))
        late = socp.now_ms() + 7 * DAY + 1
        with mock.patch("socp.now_ms", return_value=late):
            self.carrier.start()
            again = self.host.due.get(timeout=PATIENCE)
            self.assertEqual(self.rows(), [])
            self.store(make_mail("b", ts=late))
        with mock.patch("socp.now_ms", return_value=late + 7 * DAY + 1):
            again()
            self.host.due.get(timeout=PATIENCE)
            self.assertEqual(self.rows(), [])
        self.assertEqual(self.host.alarms.after.call_args.args[0], 3600)

    def test_held_for_too_long(self) -> None:
        """What its recipient never confirms holds up what is behind it no longer than it is kept."""
        now = socp.now_ms()
        self.store(*(make_mail(text, ts=now - DAY) for text in "abcd"), make_mail("e", ts=now))
        frames = Frames()
        self.carrier.begin(ALICE, frames.link)
        self.assertEqual(frames.texts(4), [*"abcd"])
        with mock.patch("socp.now_ms", return_value=now + 6 * DAY + 1):
            self.carrier.start()
            self.assertEqual(frames.texts(1), ["e"])
        self.assertEqual(self.rows(), ["e"])

    def test_many_at_once(self) -> None:
        """Whatever order arrivals, ends and confirmations come in, every message is handed out, and none is left."""
        frames = Frames(*[Sent.YES, Sent.FULL, Sent.YES, Sent.CLOSED] * 20)
        self.carrier.begin(ALICE, frames.link)
        waiting = {str(number) for number in range(40)}
        for number, text in enumerate(sorted(waiting)):
            self.carrier.deliver(make_mail(text), Told())
            if number % 10 == 9:
                self.carrier.end(ALICE, frames.link)
                frames = Frames(Sent.FULL, Sent.YES, Sent.FULL)
                self.carrier.begin(ALICE, frames.link)
        while waiting:
            text = frames.next().payload["ciphertext"]
            waiting.discard(text)
            self.confirm(text)
        self.assertEqual(self.rows(), [])
        self.assertEqual(self.mail.recipients(), [])
