"""Nicknames: what can be one, and whose names they protect."""

from __future__ import annotations

import random
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from errors import ChatError, NameTaken, UserUnknown
from lookalikes import skeletons
from names import name_key, plain_name
from nicknames import BEGINNING, Nicknames, Owner
from profiles import open_profile
from tests.vectors import USERS, key

ALICE, BOB, CAROL = (key(name).id for name in ("alice", "bob", "carol"))
CYRILLIC_BEN = "b\u0435n"


class NicknamesTest(unittest.TestCase):
    """Nicknames of one profile."""

    def setUp(self) -> None:
        """Make them."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        self.profile = open_profile("a", self.root)
        self.addCleanup(self.profile.close)
        self.nicknames = Nicknames(self.profile)

    def test_given(self) -> None:
        """A nickname is shown as it was cleaned, finds its user in every case and width, and is there the next time."""
        self.assertEqual(self.nicknames.give(BOB, "  Ben\u200d  Smith:"), "Ben Smith.")
        for called in ("Ben Smith.", "BEN  SMITH.", "\uff42en smith."):
            self.assertEqual(self.nicknames.find(called), BOB)
        self.assertIsNone(self.nicknames.find("ben"))
        self.assertEqual((self.nicknames.of(BOB), self.nicknames.of(ALICE)), ("Ben Smith.", ""))
        self.profile.close()
        with open_profile("a", self.root) as profile:
            self.assertEqual(Nicknames(profile).find("ben smith."), BOB)

    def test_cannot_be(self) -> None:
        """What shows nothing, could begin an id, or is a number is no nickname; what begins no id can be one."""
        for name in ("", " ", ".", "-", "\u200b", "[]", "dada", "FACE", "cafe-babe", "2f4db844", BOB, BOB[:20], "42"):
            with self.subTest(name), self.assertRaises(ChatError):
                self.nicknames.give(BOB, name)
        self.assertEqual(self.nicknames.named, {})
        for name in ("abe", "ben", "dada x", "\U0001f43b", "42nd", "\u05d3\u05d5\u05d3"):
            self.assertEqual(self.nicknames.give(BOB, name), name)

    def test_taken(self) -> None:
        """Nobody else gets a nickname that somebody has, or one that looks like it; its user may get another."""
        self.nicknames.give(BOB, "ben")
        for name in ("ben", "BEN", "b\u200den"):
            with self.assertRaisesRegex(NameTaken, f" is your nickname for {BOB}"):
                self.nicknames.give(CAROL, name)
        for name in (CYRILLIC_BEN, "b.e.n", "b\u00e9n", "8en".replace("8", "\u0412")):
            with self.assertRaisesRegex(NameTaken, f"looks like ben, which is your nickname for {BOB}"):
                self.nicknames.give(CAROL, name)
        self.assertEqual(self.nicknames.give(BOB, "B\u00e9n"), "B\u00e9n")
        self.assertEqual(self.nicknames.give(CAROL, "den"), "den")
        self.nicknames.take(BOB)
        self.assertEqual(self.nicknames.give(CAROL, "ben"), "ben")

    def test_bound(self) -> None:
        """A name that is bound to somebody else cannot be a nickname, until it is freed; its own user can have it."""
        self.profile.bind("Ben", BOB)
        for name, alike in (("ben", "is"), (CYRILLIC_BEN, "looks like ben, which is")):
            with self.assertRaisesRegex(NameTaken, f"{alike} {BOB} in this profile.*/name {BOB[:8]} -"):
                self.nicknames.give(CAROL, name)
        self.assertEqual(self.nicknames.give(BOB, "ben"), "ben")
        self.nicknames.take(BOB)
        self.assertEqual(self.nicknames.free(BOB), ["ben"])
        self.assertEqual(self.nicknames.free(BOB), [])
        self.assertEqual(self.nicknames.give(CAROL, "ben"), "ben")

    def test_owners(self) -> None:
        """Whose name somebody bears is told, by nickname or by the name that is bound; nobody poses as themselves."""
        self.assertIsNone(self.nicknames.other_owner("ben", CAROL))
        self.nicknames.give(BOB, "Ben")
        self.profile.bind("robert", BOB)
        self.profile.bind("alice", ALICE)
        for name, owner in (
            *(("ben", Owner(BOB, "Ben")), (CYRILLIC_BEN, Owner(BOB, "Ben")), ("R0BERT", Owner(BOB, "Ben"))),
            *(("Alice", Owner(ALICE, "Alice")), ("al\u0456ce", Owner(ALICE, "alice")), ("someone", None), ("", None)),
        ):
            with self.subTest(name):
                self.assertEqual(self.nicknames.other_owner(name, CAROL), owner)
                if owner is not None:
                    self.assertIsNone(self.nicknames.other_owner(name, owner.user_id))
        self.nicknames.take(BOB)
        self.assertIsNone(self.nicknames.other_owner("ben", CAROL))

    def test_verified(self) -> None:
        """A contact is verified until that is taken back, whatever it is called; without a nickname it is none."""
        self.assertRaises(UserUnknown, self.nicknames.mark, BOB, verified=True)
        self.nicknames.give(BOB, "ben")
        self.assertEqual(self.nicknames.named[BOB].verified, 0)
        with mock.patch("socp.now_ms", return_value=5):
            self.nicknames.mark(BOB, verified=True)
        since = self.nicknames.named[BOB].since
        self.nicknames.give(BOB, "benny")
        named = self.nicknames.named[BOB]
        self.assertEqual((named.nick, named.since, named.verified), ("benny", since, 5))
        self.nicknames.mark(BOB, verified=False)
        self.assertEqual(self.nicknames.named[BOB].verified, 0)
        self.nicknames.mark(BOB, verified=True)
        self.nicknames.take(BOB)
        self.assertRaises(UserUnknown, self.nicknames.take, BOB)
        self.nicknames.give(BOB, "ben")
        self.assertEqual(self.nicknames.named[BOB].verified, 0)

    def test_cannot_be_written(self) -> None:
        """What cannot be written is an error, and changes nothing."""
        self.profile.bind("bob", BOB)
        with mock.patch("os.fsync", side_effect=OSError(28, "No space left on device")):
            for change in (lambda: self.nicknames.give(BOB, "ben"), lambda: self.nicknames.free(BOB)):
                with self.assertRaisesRegex(ChatError, "No space left on device; nothing was changed"):
                    change()
        self.assertEqual((self.nicknames.named, self.profile.bound_ids()), ({}, {BOB}))

    def test_random(self) -> None:
        """However names are given and taken, no two users have alike ones, and none passes for an id."""
        numbers = random.Random(3)
        letters = "beno.\u0435\u043e\u0412BENO01lI"
        for _ in range(120):
            user_id = key(numbers.choice(USERS)).id
            name = "".join(numbers.choices(letters, k=numbers.randrange(1, 5)))
            try:
                if numbers.random() < 0.2:
                    self.nicknames.take(user_id)
                elif numbers.random() < 0.1:
                    self.profile.bind(name, user_id)
                else:
                    self.nicknames.give(user_id, name)
            except ChatError:
                continue
        named = {user_id: entry.nick for user_id, entry in self.nicknames.named.items()}
        self.assertGreater(len(named), 2)
        for user_id, nick in named.items():
            self.assertEqual(self.nicknames.find(nick), user_id)
            self.assertEqual(plain_name(nick), nick)
            self.assertIsNone(BEGINNING.fullmatch(name_key(nick)))
            for other, another in named.items():
                self.assertTrue(other == user_id or not skeletons(nick) & skeletons(another), (nick, another))
