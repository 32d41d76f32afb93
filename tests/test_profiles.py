"""Profiles: keys, pins and names, for one client at a time."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from addresses import Address
from profiles import ProfileError, default_directory, open_profile
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
        for text in ("{", "\xff", json.dumps({"pins": []}), json.dumps({"pins": {"h:1": "x"}}), '{"names": {"a": 5}}'):
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
