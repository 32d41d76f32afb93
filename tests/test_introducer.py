"""The introducer's files and lists; what it does is tested from outside, in e2e/."""

from __future__ import annotations

import json
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

from addresses import Address
from crypto.keys import read_public_key
from crypto.signing import KeySigner
from introducer import _as_many_as_fit, export_key, read_allowed
from membership import issue
from programs import StartError
from tests.vectors import key


class FilesTest(unittest.TestCase):
    """What it reads and writes."""

    def setUp(self) -> None:
        """Make a directory."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def test_allowed(self) -> None:
        """A list has an id on a line, comments and blank lines."""
        path = self.directory / "allow"
        first, second = key("server").id, key("server2").id
        path.write_text(f"# ours\n\n  {first}  # the first\n{second}#\n{first}\n", "utf-8")
        self.assertEqual(read_allowed(path), {first, second})

    def test_allowed_refused(self) -> None:
        """What is no list is refused with the line, or the reason."""
        path = self.directory / "allow"
        self.assertRaisesRegex(StartError, "No such file", read_allowed, path)
        for text, error in ((b"\xff", "not UTF-8"), (b"\n\nx\n", "line 3: 'x' is not a server id")):
            path.write_bytes(text)
            with self.assertRaisesRegex(StartError, error):
                read_allowed(path)

    def test_export(self) -> None:
        """The public key is written whole, over an older one, and nothing else is left there."""
        path = self.directory / "pub"
        for name in ("introducer2", "introducer"):
            export_key(path, key(name).public)
        self.assertEqual(read_public_key(path.read_text("ascii").strip()).id, key("introducer").id)
        self.assertEqual(list(self.directory.iterdir()), [path])
        with self.assertRaisesRegex(StartError, "cannot export"):
            export_key(self.directory / "missing" / "pub", key("introducer").public)


class WelcomeTest(unittest.TestCase):
    """How many servers a newcomer is told of."""

    def test_as_many_as_fit(self) -> None:
        """All are named while they fit a frame; of too many, as many as fit."""
        one = issue(KeySigner(key("introducer")), key("server").public, Address("h" * 200, 1), 1, 2)
        few = [replace(one, issued=number) for number in range(50)]
        self.assertEqual(sorted(str(entry["issued"]) for entry in _as_many_as_fit(few)), sorted(map(str, range(50))))
        many = _as_many_as_fit(replace(one, issued=number) for number in range(2000))
        self.assertGreater(len(many), 300)
        self.assertLess(len(json.dumps(many)), 1_000_000)
        escaped = _as_many_as_fit(replace(one, issued=number, sig="\x01" * 600) for number in range(2000))
        self.assertLess(len(json.dumps(escaped)), 1_000_000)
