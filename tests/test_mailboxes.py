"""Every user's mail at a server: what is stored, kept, refused, repeated, lent and deleted, with a real database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import socp
from boxes import Entry
from mail import Mail
from socp import MAILBOX_FULL, SERVER_BUSY
from tests.mails import ALICE, BOB, CAROL, MailTest, Told, make_link, make_mail

DAY = 24 * 60 * 60 * 1000


class StoreTest(MailTest):
    """What is stored."""

    def waiting(self, user_id: str = ALICE, most: int = 100) -> list[str]:
        """Return what waits for a user, as a server would be lent it; it waits no more."""
        return [mail.ciphertext for _, mail in self.mail.read(self.mail.lend(user_id, make_link(), most, ()))]

    def test_committed_when_told(self) -> None:
        """Whoever is told that a message is stored finds it on the disk; then its recipient can be given it."""
        query = "SELECT recipient, sender, ciphertext, ts FROM mailbox"
        found: list[Any] = []

        def look() -> None:
            with self.database.reading() as connection:
                found.extend(connection.execute(query).fetchall())

        told = Told(look=look)
        mail = make_mail("hello")
        self.mail.store(mail, told)
        self.assertEqual(told.next(), "stored")
        self.assertEqual(found, [(ALICE, BOB, "hello", mail.ts)])
        self.assertEqual(self.ready.get(timeout=1), ALICE)

    def test_after_a_restart(self) -> None:
        """What is stored is there after a restart, whole and in order, and what comes then is behind it."""
        self.store(*(make_mail(text) for text in "ab"))
        self.open_again()
        self.store(make_mail("c"))
        self.open_again()
        mails = [mail for _, mail in self.mail.read(self.mail.lend(ALICE, make_link(), 10, ()))]
        self.assertEqual(mails, [make_mail(text) for text in "abc"])

    def test_repeats(self) -> None:
        """A repeat is told what its original was, however far that has come, and is not stored twice."""
        told, server = Told(), Told(CAROL)
        for answer in (told, told, server):
            self.mail.store(make_mail(), answer)
        self.assertEqual((told.next(), server.next()), ("stored", "stored"))
        self.flush()
        self.assertLessEqual(len(self.rows()), 1)
        self.waiting()
        self.mail.store(make_mail(), server)
        self.assertEqual(server.next(), "stored")
        self.assertEqual(self.rows(), ["x"])

    def test_same_signature(self) -> None:
        """Messages of two senders with one signature are two messages: nobody can take another's place."""
        self.store(make_mail("real", sig="s"), make_mail("false", sender=CAROL, sig="s"))
        self.assertEqual(self.rows(), ["real", "false"])
        self.open_again()
        self.mail.confirm(ALICE, make_mail(sender=CAROL, sig="s").key)
        self.assertEqual(self.waiting(), ["real"])
        self.assertEqual(self.rows(), ["real"])

    def test_nothing_overtakes(self) -> None:
        """What is being written is waited for by what is behind it."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as blocker:
            self.store(make_mail("a"))
            blocker.execute("BEGIN IMMEDIATE")
            told = Told()
            self.mail.store(make_mail("b"), told)
            self.assertEqual(self.waiting(), ["a"])
            self.assertFalse(self.mail.has_waiting(ALICE))
            self.assertTrue(told.silent)
            blocker.execute("ROLLBACK")
            self.assertEqual(told.next(), "stored")
        self.assertEqual(self.waiting(), ["b"])

    def test_disk_that_fails(self) -> None:
        """A message that cannot be committed is SERVER_BUSY, takes no room, and can be stored later."""
        self.open(patience=0, mailbox=1)
        told = Told()
        with closing(sqlite3.connect(self.path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            with self.assertLogs("socp.mailboxes", "ERROR") as logs:
                for _ in range(3):
                    self.mail.store(make_mail(), told)
                    self.assertEqual(told.next(), SERVER_BUSY)
            self.assertEqual(len(logs.output), 1)  # and not a line for each
        self.flush()
        self.assertEqual(self.mail.recipients(), [])
        self.store(make_mail())
        self.assertEqual(self.rows(), ["x"])

    def test_delete_that_fails(self) -> None:
        """What is done with and cannot be deleted now is gone for everybody, and is deleted later."""
        self.open(patience=0)
        self.store(make_mail())
        with closing(sqlite3.connect(self.path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            with self.assertLogs("socp.mailboxes", "ERROR"):
                self.mail.confirm(ALICE, make_mail().key)
                again = self.again.get(timeout=10)
            self.assertFalse(self.mail.has_waiting(ALICE))
        self.store(make_mail(), make_mail("y"))  # also under the same name
        again()
        self.assertEqual(self.rows(), ["x", "y"])
        self.open_again()
        self.assertEqual(self.waiting(), ["x", "y"])

    def test_expired(self) -> None:
        """What is seven days old is deleted, also while somebody holds it; what is younger is not."""
        now, server = socp.now_ms(), make_link()
        self.store(make_mail("old", ts=now), make_mail("lent", recipient=CAROL, ts=now))
        lent = self.mail.lend(CAROL, server, 1, ())
        self.assertEqual(self.mail.expire(now + 7 * DAY), set())
        self.assertEqual(len(self.rows()), 2)
        self.assertEqual(self.mail.expire(now + 7 * DAY + 1), {ALICE, CAROL})
        self.assertEqual(self.rows(), [])
        self.mail.give_back(lent, server)
        self.mail.end(lent)
        self.assertEqual(self.mail.recipients(), [])

    def test_age(self) -> None:
        """A message's age counts from when it was sent, also after a restart, and never from what is yet to come."""
        now = socp.now_ms()
        self.store(make_mail("handed over", ts=now - 6 * DAY), make_mail("ahead", ts=now + 99 * DAY))
        self.open_again()
        self.mail.expire(now + DAY)
        self.assertEqual(self.rows(), ["handed over", "ahead"])
        self.mail.expire(now + DAY + 1)
        self.assertEqual(self.rows(), ["ahead"])
        self.mail.expire(socp.now_ms() + 7 * DAY + 1)
        self.assertEqual(self.rows(), [])

    def test_damaged_rows(self) -> None:
        """A row that is damaged is passed over and said, and the others are handed out."""
        self.store(*(make_mail(text) for text in "abc"))
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("UPDATE mailbox SET sender_pub = x'00' WHERE ciphertext = 'a'")
            connection.execute("UPDATE mailbox SET recipient = 'x' WHERE ciphertext = 'b'")
            connection.commit()
        with self.assertLogs("socp.mailstore", "ERROR"):
            self.open_again()
        with self.assertLogs("socp", "ERROR") as logs:
            self.assertEqual(self.waiting(), ["c"])
        self.assertIn("1 stored messages cannot be read and are given up", logs.output[-1])

    def test_lost_row(self) -> None:
        """A message that somebody else has taken out of the file is given up, and not looked for again and again."""
        self.store(make_mail())
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("DELETE FROM mailbox")
            connection.commit()
        with self.assertLogs("socp.mailboxes", "ERROR"):
            self.assertEqual(self.waiting(), [])
        self.assertFalse(self.mail.has_waiting(ALICE))


class LimitsTest(MailTest):
    """How much is stored."""

    def stored(self, *mails: Mail, **limits: int) -> list[str]:
        """Return what is told of messages under other limits."""
        self.open_again(**limits)
        outcomes = []
        for mail in mails:
            told = Told()
            self.mail.store(mail, told)
            outcomes.append(told.next())
        return outcomes

    def mails(self, size: int = 100, *, recipients: int = 1, senders: int = 1) -> list[Mail]:
        """Return four messages of a size, of and for some users."""
        users = (ALICE, BOB, CAROL)
        return [
            make_mail(
                str(number).ljust(size - len(f"key{number}")),
                recipient=users[number % recipients],
                sender=users[number % senders],
                sig=str(number),
            )
            for number in range(4)
        ]

    def test_limits(self) -> None:
        """One message more than a limit is refused, counted by user, by sender and in all, also after a restart."""
        good, full = "stored", MAILBOX_FULL
        for limits, many, expected in (
            ({"mailbox": 3}, {"senders": 3}, [good, good, good, full]),
            ({"mailbox": 3}, {"recipients": 2}, [good] * 4),
            ({"mailbox_bytes": 350}, {"senders": 3}, [good, good, good, full]),
            ({"mailbox_bytes": 350}, {"recipients": 2}, [good] * 4),
            ({"mailbox_of_one": 3}, {}, [good, good, good, full]),
            ({"mailbox_of_one": 3}, {"senders": 2}, [good] * 4),
            ({"mailbox_of_one_bytes": 350}, {}, [good, good, good, full]),
            ({"mailbox_of_one_bytes": 350}, {"senders": 2}, [good] * 4),
            ({"mailboxes_bytes": 399}, {"recipients": 3, "senders": 3}, [good, good, good, full]),
            ({"mail_writing": 99}, {}, [SERVER_BUSY] * 4),
        ):
            with self.subTest(limits=limits, many=many):
                mails = self.mails(**many)
                self.assertEqual(mails[0].size, 100)
                self.assertEqual(self.stored(*mails, **limits), expected)
                count = expected.count(good)
                self.assertEqual(self.stored(mails[-1], **limits), expected[-1:])  # after a restart
                self.assertEqual(len(self.rows()), count)
                self.assertEqual(self.stored(mails[0], **limits), expected[:1])  # a repeat
                for mail in mails:
                    self.mail.confirm(mail.recipient, mail.key)
                self.assertEqual(self.rows(), [])
                self.assertEqual(self.stored(mails[-1], **limits), expected[:1])
                self.mail.confirm(mails[-1].recipient, mails[-1].key)

    def test_refused_leaves_nothing(self) -> None:
        """A message that is refused is forgotten: it is neither handed out nor takes room."""
        self.stored(make_mail("a"), make_mail("b"), mailbox=1)
        self.mail.confirm(ALICE, make_mail("a").key)
        self.assertEqual(self.mail.recipients(), [])


class KeptTest(MailTest):
    """What goes straight to a user's link."""

    def setUp(self) -> None:
        """Have alice here."""
        super().setUp()
        self.link = make_link()
        self.mail.attach(ALICE, self.link)

    def hand(self, text: str = "x") -> bool:
        """Tell whether a message goes straight to alice's link, which is said before as well, and twice."""
        said = [self.mail.goes_straight(make_mail(text)) for _ in range(2)]
        handed = self.mail.hand(make_mail(text), Told())
        self.assertEqual(said, 2 * [handed is not None])
        self.assertTrue(handed is None or handed.link is self.link)
        return handed is not None

    def pumped(self) -> list[Entry]:
        """Return what a pump is given at once."""
        pump = self.mail.begin_pump(ALICE)
        if pump is None:
            return []
        batch = self.mail.next_for_user(ALICE, pump)
        self.mail.end_pump(ALICE, pump)
        return batch[1] if batch is not None else []

    def texts(self, entries: list[Entry]) -> list[str]:
        """Return what is in stored messages."""
        return [mail.ciphertext for _, mail in self.mail.read(entries)]

    def test_straight(self) -> None:
        """A message for who is here touches no disk, and is done with once it is confirmed."""
        self.assertTrue(self.hand())
        self.mail.confirm(ALICE, make_mail().key)
        self.mail.detach(ALICE, self.link)
        self.assertEqual(self.rows(), [])
        self.assertFalse(self.hand())  # nobody is here

    def test_unconfirmed(self) -> None:
        """What is not confirmed when the link ends is stored in its old place, before what came later."""
        told = Told()
        self.mail.hand(make_mail("a"), told)
        self.hand("b")
        self.mail.confirm(ALICE, make_mail("b").key)
        self.assertTrue(told.silent)
        self.store(make_mail("c"))  # as when the link was full
        self.mail.detach(ALICE, self.link)
        self.mail.detach(ALICE, self.link)
        self.assertEqual(told.next(), "stored")
        self.assertEqual(self.rows(), ["a", "c"])
        self.link = make_link()
        self.mail.attach(ALICE, self.link)
        self.assertEqual(self.texts(self.pumped()), ["a", "c"])

    def test_newer_link(self) -> None:
        """A newer link takes over: what the older one has not confirmed is stored, and its end changes nothing."""
        self.hand("a")
        older, self.link = self.link, make_link()
        self.mail.attach(ALICE, self.link)
        self.flush()
        self.mail.detach(ALICE, older)
        self.assertEqual(self.texts(self.pumped()), ["a"])

    def test_behind_what_waits(self) -> None:
        """Nothing goes straight to a link while something waits before it, or is just being handed out."""
        self.store(make_mail("a"))
        for text in "ab":
            self.assertFalse(self.hand(text))
        pump = self.mail.begin_pump(ALICE)
        assert pump is not None
        self.assertIsNone(self.mail.begin_pump(ALICE))
        self.assertIsNotNone(self.mail.next_for_user(ALICE, pump))
        self.assertFalse(self.hand("b"))
        self.assertIsNone(self.mail.next_for_user(ALICE, pump))
        self.assertTrue(self.hand("b"))

    def test_link_that_takes_nothing(self) -> None:
        """A message that the link does not take is stored and waits; a repeat of it does too."""
        told = Told()
        self.mail.hand(make_mail(), told)
        for refused_by in (self.link, None):
            self.mail.store(make_mail(), told, refused_by)
            self.assertEqual(told.next(), "stored")
        self.assertEqual(self.texts(self.pumped()), ["x"])

    def test_repeats(self) -> None:
        """A message that was handed out is handed out again, once more in memory or not; it is kept once."""
        for _ in range(3):
            self.assertTrue(self.hand())
        self.store(make_mail())  # handed over by another server, which must know that it is on a disk
        handed = self.mail.hand(make_mail(), Told())
        assert handed is not None
        self.assertTrue(handed.repeated and handed.stored)
        self.mail.confirm(ALICE, make_mail().key)
        self.assertEqual(self.rows(), [])
        self.assertEqual(self.pumped(), [])

    def test_kept_limits(self) -> None:
        """Only so much is kept in memory for a user, and for all; what is more is for the mailbox."""
        size = make_mail().size
        for limits in ({"kept": 2}, {"kept_bytes": 3 * size - 1}, {"all_kept_bytes": 3 * size - 1}):
            with self.subTest(limits=limits):
                self.open(**limits)
                self.mail.attach(ALICE, self.link)
                self.assertEqual([self.hand(text) for text in "abc"], [True, True, False])
                self.mail.confirm(ALICE, make_mail("a").key)
                self.assertTrue(self.hand("c"))

    def test_too_much_to_store(self) -> None:
        """What is not confirmed and cannot be stored when the link ends is refused to its sender."""
        self.open(mailbox=1)
        self.mail.attach(ALICE, self.link)
        answers = [Told() for _ in "ab"]
        for text, told in zip("ab", answers, strict=True):
            self.mail.hand(make_mail(text), told)
        self.mail.detach(ALICE, self.link)
        self.assertEqual([told.next() for told in answers], ["stored", MAILBOX_FULL])
        self.assertEqual(self.mail.recipients(), [ALICE])

    def test_many_of_one_sender(self) -> None:
        """What was handed out is stored when the link ends, however much of one sender's it is; what is new is not."""
        size = make_mail("0").size
        for limits in ({"mailbox_of_one": 2}, {"mailbox_of_one_bytes": 2 * size}):
            with self.subTest(limits=limits):
                self.open_again(**limits)
                self.mail.attach(ALICE, self.link)
                answers = [Told() for _ in range(5)]
                for number, told in enumerate(answers):
                    self.mail.hand(make_mail(str(number)), told)
                self.mail.detach(ALICE, self.link)
                self.assertEqual([told.next() for told in answers], ["stored"] * 5)
                for text in "01234":
                    told = Told()
                    self.mail.store(make_mail("n"), told)
                    self.assertEqual(told.next(), "stored" if text == "4" else MAILBOX_FULL)
                    self.mail.confirm(ALICE, make_mail(text).key)
                self.mail.confirm(ALICE, make_mail("n").key)

    def test_confirmed_while_it_is_written(self) -> None:
        """What is confirmed before its commit is deleted after it, and nobody is told that it is stored."""
        told = Told()
        self.mail.hand(make_mail(), told)
        with closing(sqlite3.connect(self.path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            self.mail.detach(ALICE, self.link)
            self.mail.attach(ALICE, self.link)
            self.mail.confirm(ALICE, make_mail().key)
            blocker.execute("ROLLBACK")
        self.flush()
        self.assertEqual(self.rows(), [])
        self.assertTrue(told.silent)

    def test_window(self) -> None:
        """At most 64 are unconfirmed, with those that went straight to the link; each that is makes room for one."""
        for number in range(4):
            self.hand(f"straight {number}")
        self.store(*(make_mail(f"{number:03}", sender=(BOB, CAROL)[number % 2]) for number in range(70)))
        first = self.pumped()
        self.assertEqual(self.texts(first), [f"{number:03}" for number in range(60)])
        self.assertEqual(self.pumped(), [])
        for entry in first[:2]:
            self.mail.confirm(ALICE, entry.key)
        self.assertEqual(self.texts(self.pumped()), ["060", "061"])

    def test_given_back(self) -> None:
        """What a link did not take waits in its place; what somebody else holds by then is left alone."""
        self.store(*(make_mail(text) for text in "ab"))
        entries = self.pumped()
        self.mail.give_back(entries[1:], self.link)
        self.assertEqual(self.texts(self.pumped()), ["b"])
        self.mail.give_back(entries, make_link())
        self.assertEqual(self.pumped(), [])

    def test_pump_and_a_newer_link(self) -> None:
        """A pump whose link has ended goes on with a newer one, and ends if there is none."""
        self.store(make_mail())
        pump = self.mail.begin_pump(ALICE)
        assert pump is not None
        self.assertIsNotNone(self.mail.next_for_user(ALICE, pump))
        older, newer = self.link, make_link()
        self.mail.attach(ALICE, newer)
        self.assertFalse(self.mail.end_pump(ALICE, pump, older))
        batch = self.mail.next_for_user(ALICE, pump)
        assert batch is not None
        self.assertIs(batch[0], newer)
        self.assertTrue(self.mail.end_pump(ALICE, pump, newer))
        self.assertIsNone(self.mail.next_for_user(ALICE, pump))

    def test_lent(self) -> None:
        """What is lent to a server is not handed to its recipient, and no two that are lent have one msg_ref."""
        self.store(make_mail("a", sig="s"), make_mail("b", sender=CAROL, sig="s"), make_mail("c"))
        server = make_link()
        lent = self.mail.lend(ALICE, server, 10, {make_mail("c").msg_ref})
        self.assertEqual(self.texts(lent), ["a"])
        self.assertEqual(self.texts(self.pumped()), ["b", "c"])
        self.mail.give_back(lent, server)
        self.assertEqual(self.texts(self.pumped()), ["a"])
