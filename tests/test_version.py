"""The version is the newest of the changelog."""

from __future__ import annotations

import re
import unittest
from pathlib import Path

from version import VERSION

CHANGELOG = (Path(__file__).resolve().parents[1] / "CHANGELOG.md").read_text("utf-8")


class VersionTest(unittest.TestCase):
    """What --version says."""

    def test_newest(self) -> None:
        """It is the newest version in the changelog, or one under development where that is "Unreleased"."""
        newest = re.search(r"^## \[?([^\]\s]+)", CHANGELOG, re.MULTILINE)
        assert newest is not None
        if newest[1] == "Unreleased":
            self.assertRegex(VERSION, r"^[0-9]+(\.[0-9]+)+\.dev[0-9]+$")
        else:
            self.assertEqual(VERSION, newest[1])
