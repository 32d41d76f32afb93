"""Whom a client knows, and what a person means by a name."""

from __future__ import annotations

import random
import re
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from contacts import Contact, Contacts, Listed
from errors import ChatError, NameTaken, NoAnswer, NotConnected, UserAmbiguous, UserBlocked, UserUnknown
from profiles import ProfileError, open_profile
from tests.vectors import key
from users import Attachment, User

ALICE, BOB, CAROL = (key(name).id for name in ("alice", "bob", "carol"))
SERVER = key("server").id


class ContactsTest(unittest.TestCase):
    """Contacts of a client whose server says what a test wants."""

    def setUp(self) -> None:
        """Make contacts; `signed` are the names that users have signed, `online` what the server lists."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.profile = open_profile("a", Path(directory.name))
        self.addCleanup(self.profile.close)
        self.signed = {ALICE: "alice", BOB: "bob", CAROL: ""}
        self.online = [Listed(user_id, name, SERVER) for user_id, name in self.signed.items()]
        self.asked: list[str] = []
        self.notices: list[str] = []
        self.contacts = Contacts(self.profile, self.ask, lambda: self.online, self.notices.append)

    def ask(self, user_id: str) -> Contact:
        """Answer as a server does."""
        self.asked.append(user_id)
        if user_id not in self.signed:
            raise UserUnknown("USER_NOT_FOUND")
        attach = Attachment("n", 1, "s")
        meta = {"display_name": self.signed[user_id]}
        return Contact(User(user_id, SERVER, "k", meta, (), attach, online=True), key("alice").public, time.monotonic())

    def test_asked_once(self) -> None:
        """A user's key is asked for when it is needed, and then known."""
        self.assertEqual(self.contacts.name_of(ALICE), "alice")
        self.contacts.get(ALICE)
        self.assertEqual(self.asked, [ALICE])
        self.contacts.note_listing([Listed(ALICE, "another", SERVER)])
        self.contacts.get(ALICE)
        self.assertEqual(self.asked, [ALICE, ALICE])

    def test_latest(self) -> None:
        """What was asked for a moment ago is taken as it is; else it is asked for anew, and kept if nobody answers."""
        with mock.patch("time.monotonic", return_value=1000.0):
            known = self.contacts.latest(ALICE)
            self.assertEqual((self.contacts.latest(ALICE), self.asked), (known, [ALICE]))
        with mock.patch("time.monotonic", return_value=1100.0):
            self.signed[ALICE] = "another"
            self.assertEqual(self.contacts.latest(ALICE).user.display_name, "another")
            self.assertEqual(self.asked, [ALICE, ALICE])
        del self.signed[ALICE]
        with mock.patch("time.monotonic", return_value=1200.0):
            self.assertEqual(self.contacts.latest(ALICE).user.display_name, "another")
            self.assertRaises(UserUnknown, self.contacts.latest, SERVER)

    def test_name_of_nobody(self) -> None:
        """A user of whom nothing can be had has no name."""
        self.assertEqual(self.contacts.name_of(SERVER), "")

    def test_by_id(self) -> None:
        """An id in whatever case, and an unambiguous beginning of one, are taken as they are."""
        self.assertEqual(self.contacts.find(BOB.upper()), BOB)
        for length in (4, 8, 20, 35):
            self.assertEqual(self.contacts.find(BOB[:length]), BOB)
        self.assertRaises(UserUnknown, self.contacts.find, BOB[:3])
        self.assertEqual(self.notices, [])

    def test_ambiguous_beginning(self) -> None:
        """A beginning that several ids have is refused, and all are named."""
        twin = BOB[:4] + "0" + BOB[5:]
        self.online.append(Listed(twin, "", SERVER))
        with self.assertRaisesRegex(UserAmbiguous, twin):
            self.contacts.find(BOB[:4])
        self.assertEqual(self.contacts.find(BOB[:9]), BOB)

    def test_impostors(self) -> None:
        """Who calls itself by a bound name, changed in what nobody can see, is neither shown as its owner nor meant."""
        self.contacts.find("bob")
        disguise = f"^{CAROL[:8]} · calls itself .*, but is not {BOB[:8]}$"
        unseen = ("b\u200bob", "bob\u3164", "\u202ebob", "bob\u2800", "b\ufe0fob", "bob" + "\u00a0" * 9)
        for name in (*unseen, "\uff42ob", "BOB"):
            with self.subTest(ascii(name)):
                self.assertRegex(self.contacts.label(CAROL, name), disguise)
                listed = self.contacts.listed_name(Listed(CAROL, name, SERVER))
                self.assertRegex(listed, rf"\(not {BOB[:8]}\)$")
                self.assertEqual(self.contacts.find(name), BOB)

    def test_name_of_nothing(self) -> None:
        """A name of which nothing can be seen means nobody, and is bound to nobody, whoever goes by such a one."""
        self.signed[CAROL] = "\u200b\u2060"
        self.online = [Listed(CAROL, "\u200b\u2060", SERVER)]
        for called in ("\u200b\u2060", "\u3164", ""):
            for find in (self.contacts.find, self.contacts.look_up):
                self.assertRaises(UserUnknown, find, called)
        self.assertEqual(self.profile.bound, {})

    def test_first_use_binds(self) -> None:
        """The first use of a name binds it, says so, and holds from then on, also when the user is away."""
        self.assertEqual(self.contacts.find("Alice"), ALICE)
        self.assertEqual(self.notices, [f"Alice is {ALICE} from now on, in this profile"])
        self.online = []
        self.assertEqual(self.contacts.find("alice"), ALICE)
        self.assertEqual(len(self.notices), 1)
        self.assertEqual(self.contacts.find(ALICE[:6]), ALICE)

    def test_another_under_the_name(self) -> None:
        """Another user under a bound name is refused, and pointed out when both are there."""
        self.contacts.find("alice")
        self.online = [Listed(BOB, "alice", SERVER)]
        with self.assertRaisesRegex(NameTaken, f"{ALICE} .*{BOB}"):
            self.contacts.find("alice")
        self.online.append(Listed(ALICE, "alice", SERVER))
        self.assertEqual(self.contacts.find("alice"), ALICE)
        self.assertIn(BOB, self.notices[-1])

    def test_two_under_a_name(self) -> None:
        """A name that two users have is refused while it is bound to neither."""
        self.online.append(Listed(CAROL, "bob", SERVER))
        with self.assertRaisesRegex(UserAmbiguous, f"(?=.*{BOB})(?=.*{CAROL})"):
            self.contacts.find("bob")

    def test_name_like_an_id(self) -> None:
        """What could be the beginning of an id is never taken for a name: neither with its owner here nor away."""
        self.signed[CAROL] = BOB[:8]
        self.online = [Listed(CAROL, BOB[:8], SERVER), Listed(BOB, "bob", SERVER)]
        self.assertEqual(self.contacts.find(BOB[:8]), BOB)
        self.online = [Listed(CAROL, BOB[:8], SERVER)]
        self.assertRaises(UserUnknown, self.contacts.find, BOB[:8])
        self.profile.bind(BOB[:8], CAROL)
        self.assertRaises(UserUnknown, self.contacts.find, BOB[:8])
        self.assertEqual(self.asked, [])

    def test_cannot_be_bound(self) -> None:
        """When a binding cannot be written, nothing is sent."""
        failing = mock.patch.object(self.profile, "bind", side_effect=ProfileError("no space"))
        with failing, self.assertRaisesRegex(ChatError, "no space; nothing was sent"):
            self.contacts.find("alice")

    def test_blocked(self) -> None:
        """Who is blocked gets no name, and is not in the way of who has it or would get it."""
        self.profile.block(BOB, "bob")
        self.assertRaises(UserUnknown, self.contacts.find, "bob")
        self.assertIsNone(self.profile.bound_to("bob"))
        self.online = [Listed(BOB, "alice", SERVER), Listed(ALICE, "alice", SERVER)]
        self.assertEqual(self.contacts.find("alice"), ALICE)
        self.online = [Listed(BOB, "alice", SERVER)]
        self.assertEqual(self.contacts.find("alice"), ALICE)
        self.assertEqual(len(self.notices), 1)
        self.assertEqual(self.contacts.find(BOB[:6]), BOB)

    def test_to_block(self) -> None:
        """Whom a person wants to block is found by id or by name, and gets no name by that; a guess is not made."""
        for called in (BOB, BOB[:6], "bob"):
            self.assertEqual(self.contacts.look_up(called), BOB)
        self.assertIsNone(self.profile.bound_to("bob"))
        self.profile.bind("alice", ALICE)
        self.online = []
        self.assertEqual(self.contacts.look_up("alice"), ALICE)
        self.online = [Listed(BOB, "alice", SERVER)]
        self.assertRaises(UserAmbiguous, self.contacts.look_up, "alice")
        self.assertRaises(UserUnknown, self.contacts.look_up, "nobody")
        with mock.patch.object(self.contacts, "_listing", side_effect=NotConnected("lost")):
            self.assertEqual(self.contacts.look_up("alice"), ALICE)

    def test_find_blocked(self) -> None:
        """Who is blocked is found by id, or by the name of then: also when nobody else knows it."""
        self.online = []
        self.profile.block(BOB, "bob")
        self.profile.block(CAROL, BOB[:8])
        for called in (BOB, BOB.upper(), BOB[:4], BOB[:8], "Bob"):
            self.assertEqual(self.contacts.find_blocked(called), BOB)
        for called in (ALICE, "alice", ""):
            self.assertRaises(UserBlocked, self.contacts.find_blocked, called)
        self.profile.block(CAROL, "bob")
        self.assertRaises(UserAmbiguous, self.contacts.find_blocked, "bob")

    def test_listed_names(self) -> None:
        """In a list, a name that is bound to somebody else says so."""
        self.assertEqual(self.contacts.listed_name(Listed(BOB, "a:b", SERVER)), "a.b")
        self.assertEqual(self.contacts.listed_name(Listed(BOB, "", SERVER)), "")
        self.profile.bind("alice", ALICE)
        self.assertEqual(self.contacts.listed_name(Listed(ALICE, "alice", SERVER)), "alice")
        self.assertEqual(self.contacts.listed_name(Listed(BOB, "Alice ", SERVER)), f"Alice (not {ALICE[:8]})")

    def test_a_server_cannot_give_names(self) -> None:
        """A name that the server lists, and its user has not signed, is refused and not bound."""
        self.online = [Listed(BOB, "alice", SERVER)]
        with self.assertRaisesRegex(NameTaken, "has not signed"):
            self.contacts.find("alice")
        self.assertIsNone(self.profile.bound_to("alice"))

    def test_nobody(self) -> None:
        """A name that nobody has is unknown; a server that does not answer is passed on."""
        self.assertRaises(UserUnknown, self.contacts.find, "nobody")

        def fail() -> list[Listed]:
            raise NoAnswer("no")

        contacts = Contacts(self.profile, self.ask, fail, self.notices.append)
        self.assertRaises(NoAnswer, contacts.find, "bob")

    def test_nicknames(self) -> None:
        """A nickname finds its user and nobody else, online or not, connected or not, and binds no name."""
        self.contacts.nicknames.give(CAROL, "bob")
        for listed in (self.online, [Listed(BOB, "bob", SERVER)], []):
            self.online = listed
            for find in (self.contacts.find, self.contacts.look_up):
                self.assertEqual(find("BOB"), CAROL)
        with mock.patch.object(self.contacts, "_listing", side_effect=NotConnected("lost")):
            self.assertEqual(self.contacts.find("bob"), CAROL)
            self.assertEqual(self.contacts.find(CAROL[:6]), CAROL)
        self.profile.block(CAROL, "")
        self.assertEqual(self.contacts.find_blocked("bob"), CAROL)
        self.assertEqual((self.profile.bound_ids(), self.asked, self.notices), (set(), [], []))

    def test_look_alike_is_not_bound(self) -> None:
        """Who calls itself nearly as a contact gets no name bound by a slip, and nothing is sent to it by that name."""
        self.contacts.nicknames.give(BOB, "ben")
        self.profile.bind("alice", ALICE)
        for name, owner in (("b\u0435n", BOB), ("al1ce", ALICE)):
            self.signed[CAROL] = name
            self.online = [Listed(CAROL, name, SERVER)]
            with self.assertRaisesRegex(NameTaken, f"is {CAROL}, but looks like .*, which is {owner} "):
                self.contacts.find(name)
            self.assertEqual(self.contacts.look_up(name), CAROL)
        self.assertEqual((self.contacts.is_contact(BOB), self.contacts.is_contact(ALICE)), (True, False))
        self.assertEqual((self.contacts.nick(BOB), self.contacts.nick(ALICE)), ("ben", ""))
        self.assertFalse(self.contacts.is_verified(BOB) or self.contacts.is_verified(ALICE))
        self.contacts.nicknames.mark(BOB, verified=True)
        self.assertTrue(self.contacts.is_verified(BOB))
        self.assertEqual(self.profile.bound_ids(), {ALICE})

    def test_look_up(self) -> None:
        """A display name that one user alone bears, and has signed, tells whom something is about, and stays free."""
        self.assertEqual(self.contacts.look_up("bob"), BOB)
        self.assertIsNone(self.profile.bound_to("bob"))
        self.online = [Listed(BOB, "alice", SERVER)]
        self.assertRaisesRegex(NameTaken, "has not signed", self.contacts.look_up, "alice")

    def test_quoted(self) -> None:
        """At a terminal, names that users have given themselves stand in quotes, and say whose they are like."""
        self.contacts.quoted = True
        self.profile.bind("alice", ALICE)
        self.contacts.nicknames.give(BOB, "Ben")
        short = CAROL[:8]
        for name, label, listed in (
            ("", short, ""),
            ("carol", f'"carol" \u00b7 {short}', '"carol"'),
            ('c" \u00b7 x', f'"c. . x" \u00b7 {short}', '"c. . x"'),
            ("ben", f'"ben" \u00b7 {short}, not your Ben', '"ben", not your Ben'),
            ("b\u0435n", f'"b\u0435n" \u00b7 {short}, not your Ben', '"b\u0435n", not your Ben'),
            ("ALICE", f'"ALICE" \u00b7 {short}, not your ALICE', '"ALICE", not your ALICE'),
        ):
            with self.subTest(name):
                self.assertEqual(self.contacts.label(CAROL, name), label)
                self.assertEqual(self.contacts.listed_name(Listed(CAROL, name, SERVER)), listed)
        self.assertEqual(self.contacts.label(ALICE, "alice"), f'"alice" \u00b7 {ALICE[:8]}')
        self.assertEqual(self.contacts.label(ALICE, "alice", quoted=False), f"alice \u00b7 {ALICE[:8]}")
        for name in ("bob", "", "alice"):  # whatever a contact calls itself
            self.assertEqual(self.contacts.label(BOB, name), f"Ben \u00b7 {BOB[:8]}")
            self.assertEqual(self.contacts.listed_name(Listed(BOB, name, SERVER)), "Ben")

    def test_random_labels(self) -> None:
        """No name, whatever is in it, is shown like a contact's, or ends the quotes that it stands in."""
        self.contacts.nicknames.give(BOB, "ben")
        self.contacts.quoted = True
        numbers = random.Random(7)
        form = re.compile(rf'("[^"\u201c\u201d\u02ee\u00b7]+" \u00b7 )?{CAROL[:8]}(, not your ben)?')
        for _ in range(500):
            pieces = numbers.choices(("ben", '"', "\u00b7", BOB[:8], ", not your ben", " ", "\u02ee", "\n"), k=3)
            pieces += [chr(numbers.randrange(1, 0x3000)) for _ in range(3)]
            numbers.shuffle(pieces)
            label = self.contacts.label(CAROL, "".join(pieces))
            self.assertTrue(form.fullmatch(label), ascii(label))

    def test_labels(self) -> None:
        """A user is shown by the name it signed and its id; never by a name that is bound to somebody else."""
        self.assertEqual(self.contacts.label(ALICE, "alice"), f"alice \u00b7 {ALICE[:8]}")
        self.assertEqual(self.contacts.label(CAROL, ""), CAROL[:8])
        self.profile.bind("alice", ALICE)
        self.assertEqual(self.contacts.label(ALICE, "ALICE"), f"ALICE \u00b7 {ALICE[:8]}")
        self.contacts.nicknames.give(CAROL, "Caro")
        self.assertEqual(self.contacts.label(CAROL, "carol"), f"Caro \u00b7 {CAROL[:8]}")
        self.assertEqual(
            self.contacts.label(BOB, "car0"), f"{BOB[:8]} \u00b7 calls itself car0, but is not {CAROL[:8]}"
        )
        forged = self.contacts.label(BOB, "alice")
        self.assertTrue(forged.startswith(BOB[:8]))
        self.assertIn(f"is not {ALICE[:8]}", forged)
