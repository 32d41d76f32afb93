"""Profiles: keys, pins and names, for one client at a time."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import unittest
import uuid
from pathlib import Path
from unittest import mock

from addresses import Address
from profiles import BLOCKED_MOST, CONTACTS_MOST, Named, Profile, ProfileError, default_directory, open_profile
from tests.vectors import key

ALICE, BOB = key("alice").id, key("bob").id


class ProfileTest(unittest.TestCase):
    """Directories of profiles."""

    def setUp(self) -> None:
        """Make a directory for them."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name) / "profiles"

    def test_default_is_the_next_free(self) -> None:
        """Clients started the same way take `default`, `default-2` and so on, and free ones are taken again."""
        with open_profile(None, self.root) as first, open_profile(None, self.root) as second:
            self.assertEqual((first.name, second.name), ("default", "default-2"))
            first.close()
            with open_profile(None, self.root) as third:
                self.assertEqual(third.name, "default")

    def test_named(self) -> None:
        """A profile that was named is taken or refused, and its name leads nowhere else."""
        with open_profile("work", self.root), self.assertRaisesRegex(ProfileError, "work is in use"):
            open_profile("work", self.root)
        open_profile("work", self.root).close()
        for name in ("", ".", "..", "a/b", "/etc", "-x", "a\nb", "x" * 65, "\u00e9"):
            with self.subTest(name=name), self.assertRaises(ProfileError):
                open_profile(name, self.root)

    def test_modes(self) -> None:
        """What a profile holds is for its owner alone."""
        with open_profile("a", self.root) as profile:
            profile.set_pin(Address("h", 1), ALICE)
            self.assertEqual(stat.S_IMODE(profile.path.stat().st_mode), 0o700)
            for file in profile.path.iterdir():
                self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600, file)

    def test_memory(self) -> None:
        """Pins, names and the display name are there again the next time."""
        with open_profile("a", self.root) as profile:
            self.assertIsNone(profile.pin(Address("::1", 1)))
            profile.set_pin(Address("::1", 1), ALICE)
            profile.bind("Bob \u00c4", BOB)
            profile.set_display_name("Zo\u00eb \U0001f600")
        with open_profile("a", self.root) as profile:
            self.assertEqual(profile.pin(Address("::1", 1)), ALICE)
            self.assertIsNone(profile.pin(Address("::1", 2)))
            self.assertEqual(profile.bound_to("bob \u00e4"), BOB)
            self.assertEqual(profile.bound_ids(), {BOB})
            self.assertEqual(profile.display_name, "Zo\u00eb \U0001f600")
            self.assertEqual(sorted(file.name for file in profile.path.iterdir()), ["lock", "profile.json"])

    def test_blocked(self) -> None:
        """Who is blocked is the next time too, until it is unblocked; there are so many at most."""
        with open_profile("a", self.root) as profile:
            profile.block(BOB, "bob")
            profile.block(ALICE, "\u00e4" * 64)
        with open_profile("a", self.root) as profile:
            self.assertEqual(profile.blocked, {BOB: "bob", ALICE: "\u00e4" * 64})
            profile.unblock(ALICE)
            profile.unblock(ALICE)
        with open_profile("a", self.root) as profile, mock.patch("profiles.BLOCKED_MOST", 1):
            self.assertEqual(profile.blocked, {BOB: "bob"})
            profile.block(BOB, "robert")
            self.assertRaisesRegex(ProfileError, "at most 1 ", profile.block, ALICE, "")
            self.assertEqual(profile.blocked, {BOB: "robert"})

    def test_most_blocked(self) -> None:
        """As many blocked users and contacts as there may be, of the longest names, can be read again."""
        with open_profile("a", self.root) as profile:
            names = {str(uuid.UUID(int=number)): "\U0001f600" * 64 for number in range(BLOCKED_MOST - 1)}
            profile._set_blocked(names)
            named = {user_id: Named(name, 2**52, 2**52) for user_id, name in list(names.items())[:CONTACTS_MOST]}
            profile.change_contacts(lambda _contacts: named)
            profile.block(BOB, "\U0001f600" * 64)
        with open_profile("a", self.root) as profile:
            self.assertEqual(len(profile.blocked), BLOCKED_MOST)
            self.assertEqual(profile.contacts, named)

    def name_bob(self, profile: Profile, named: Named) -> None:
        """Make bob a contact."""
        profile.change_contacts(lambda contacts: {**contacts, BOB: named})

    def test_contacts(self) -> None:
        """Contacts are there again the next time; what a change raises changes nothing."""
        named = Named("ben \u00e4", 5, 6)
        with open_profile("a", self.root) as profile:
            self.assertEqual(profile.contacts, {})
            self.name_bob(profile, named)
            self.assertRaises(KeyError, profile.change_contacts, lambda contacts: {ALICE: contacts[ALICE]})
        with open_profile("a", self.root) as profile:
            self.assertEqual(profile.contacts, {BOB: named})
            profile.change_contacts(lambda _contacts: {})
        with open_profile("a", self.root) as profile:
            self.assertEqual(profile.contacts, {})

    def test_most_contacts(self) -> None:
        """There are so many contacts at most; where there are more already, they can be changed and not added to."""
        with open_profile("a", self.root) as profile, mock.patch("profiles.CONTACTS_MOST", 1):
            self.name_bob(profile, Named("ben"))
            with self.assertRaisesRegex(ProfileError, "at most 1 users"):
                profile.change_contacts(lambda contacts: {**contacts, ALICE: Named("al")})
            self.assertEqual(profile.contacts, {BOB: Named("ben")})
            with mock.patch("profiles.CONTACTS_MOST", 0):
                self.name_bob(profile, Named("benny"))
            self.assertEqual(profile.contacts, {BOB: Named("benny")})

    def test_first_seen(self) -> None:
        """A pin knows since when it is one, however often it is set again; one of an older file does not."""
        address, older = Address("h", 1), Address("h", 2)
        with open_profile("a", self.root) as profile:
            with mock.patch("socp.now_ms", return_value=1_000):
                profile.set_pin(address, ALICE)
            profile.set_pin(address, ALICE)
            self.assertEqual(profile.pinned_at(address), 1_000)
            profile.set_pin(address, BOB)
            self.assertGreater(profile.pinned_at(address), 1_000)
        file = self.root / "a" / "profile.json"
        file.write_text(json.dumps({"pins": {str(older): ALICE}, "names": {"bob": BOB}, "display_name": "x"}))
        with open_profile("a", self.root) as profile:
            self.assertEqual((profile.pin(older), profile.pinned_at(older), profile.pinned_at(address)), (ALICE, 0, 0))
            self.assertEqual((profile.bound, profile.contacts), ({"bob": BOB}, {}))

    def test_unbind(self) -> None:
        """All names of one user are freed, and can be bound again."""
        with open_profile("a", self.root) as profile:
            for name, user_id in (("bob", BOB), ("robert", BOB), ("alice", ALICE)):
                profile.bind(name, user_id)
            profile.unbind(BOB)
            self.assertEqual(profile.bound, {"alice": ALICE})
            profile.bind("bob", ALICE)
        with open_profile("a", self.root) as profile:
            self.assertEqual(profile.bound, {"alice": ALICE, "bob": ALICE})

    def test_names_stay_bound(self) -> None:
        """A name is bound once; names that look alike are the same name."""
        with open_profile("a", self.root) as profile:
            profile.bind("bob", BOB)
            profile.bind("BOB", ALICE)
            self.assertEqual(profile.bound_to("bob"), BOB)

    def test_cannot_be_written(self) -> None:
        """What cannot be written is an error, and is not remembered either."""
        with open_profile("a", self.root) as profile:
            with mock.patch.object(os, "fsync", side_effect=OSError(28, "No space left on device")):
                self.assertRaisesRegex(ProfileError, "No space left", profile.bind, "bob", BOB)
                self.assertRaises(ProfileError, profile.set_pin, Address("h", 1), ALICE)
                self.assertRaises(ProfileError, profile.set_display_name, "x")
                self.assertRaises(ProfileError, profile.block, BOB, "bob")
                self.assertRaises(ProfileError, self.name_bob, profile, Named("ben"))
                self.assertRaises(ProfileError, profile.unbind, BOB)
            self.assertEqual((profile.blocked, profile.contacts, profile.bound), ({}, {}, {}))
            self.assertEqual(
                (profile.bound_ids(), profile.pin(Address("h", 1)), profile.display_name), (set(), None, "")
            )
            self.assertEqual([file.name for file in profile.path.iterdir()], ["lock"])
            profile.bind("bob", BOB)
            self.assertEqual(profile.bound_ids(), {BOB})

    def test_display_names(self) -> None:
        """A display name that is too long or no text is refused."""
        with open_profile("a", self.root) as profile:
            profile.set_display_name("x" * 64)
            for name in ("x" * 65, "\ud800"):
                self.assertRaises(ProfileError, profile.set_display_name, name)
            self.assertEqual(profile.display_name, "x" * 64)

    def test_damaged(self) -> None:
        """A memory that is damaged is refused rather than forgotten: pins are what keeps us safe."""
        open_profile("a", self.root).close()
        file = self.root / "a" / "profile.json"
        blocked = ('{"blocked": []}', '{"blocked": {"x": "y"}}', json.dumps({"blocked": {BOB: 5}}))
        entries = (
            *("ben", {}, {"nick": "ben"}, {"nick": 5, "verified": 0}, {"nick": "\u200b", "verified": 0}),
            *({"nick": "ben", "verified": time} for time in (-1, 2**53, True, False, "1", None)),
            {"nick": "ben", "verified": 0, "since": -1},
        )
        contacts = (json.dumps({"contacts": {BOB: entry}}) for entry in entries)
        others: tuple[object, ...] = (
            {"contacts": []},
            {"contacts": {"x": {"nick": "ben", "verified": 0}}},
            {"pins_seen": {"h:1": "x"}},
            *({"display_name": name} for name in (5, None, "x" * 65, "\ud800")),
        )
        for text in (
            "{",
            "\xff",
            json.dumps({"pins": []}),
            json.dumps({"pins": {"h:1": "x"}}),
            '{"names": {"a": 5}}',
            *blocked,
            *contacts,
            *map(json.dumps, others),
        ):
            file.write_text(text, "latin-1")
            with self.subTest(text=text), self.assertRaisesRegex(ProfileError, "profile.json is damaged"):
                open_profile("a", self.root)
        file.unlink()
        file.mkdir()
        self.assertRaisesRegex(ProfileError, "cannot read", open_profile, "a", self.root)

    def test_unusable_directory(self) -> None:
        """A directory that cannot be made is named."""
        self.root.touch()
        self.assertRaisesRegex(ProfileError, f"cannot use the profile {self.root}", open_profile, None, self.root)

    def test_lock_is_no_link(self) -> None:
        """A symbolic link in the lock's place is not followed."""
        (self.root / "a").mkdir(parents=True)
        (self.root / "a" / "lock").symlink_to(self.root / "elsewhere")
        self.assertRaises(ProfileError, open_profile, "a", self.root)
        self.assertFalse((self.root / "elsewhere").exists())

    def test_where(self) -> None:
        """Profiles are kept where the specification of such directories has them; a relative one is ignored."""
        home = str(self.root)
        for value, expected in (
            ("/data", Path("/data/socp/profiles")),
            ("", self.root / ".local/share/socp/profiles"),
            ("relative", self.root / ".local/share/socp/profiles"),
        ):
            with mock.patch.dict(os.environ, {"XDG_DATA_HOME": value, "HOME": home}):
                self.assertEqual(default_directory(), expected)
