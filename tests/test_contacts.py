"""Whom a client knows, and what a person means by a name."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from unittest import mock

from contacts import Contact, Contacts, Listed
from errors import ChatError, NameTaken, NoAnswer, UserAmbiguous, UserUnknown
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
        return Contact(User(user_id, SERVER, "k", meta, (), attach, online=True), key("alice").public)

    def test_asked_once(self) -> None:
        """A user's key is asked for when it is needed, and then known."""
        self.assertEqual(self.contacts.name_of(ALICE), "alice")
        self.contacts.get(ALICE)
        self.assertEqual(self.asked, [ALICE])
        self.contacts.note_listing([Listed(ALICE, "another", SERVER)])
        self.contacts.get(ALICE)
        self.assertEqual(self.asked, [ALICE, ALICE])

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

    def test_labels(self) -> None:
        """A user is shown by the name it signed and its id; never by a name that is bound to somebody else."""
        self.assertEqual(self.contacts.label(ALICE, "alice"), f"alice \u00b7 {ALICE[:8]}")
        self.assertEqual(self.contacts.label(CAROL, ""), CAROL[:8])
        self.profile.bind("alice", ALICE)
        self.assertEqual(self.contacts.label(ALICE, "ALICE"), f"ALICE \u00b7 {ALICE[:8]}")
        forged = self.contacts.label(BOB, "alice")
        self.assertTrue(forged.startswith(BOB[:8]))
        self.assertIn(f"is not {ALICE[:8]}", forged)
