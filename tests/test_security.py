"""SECURITY.md: whatever it says that somebody cannot do is shown by a test, and each test that it names is there."""

from __future__ import annotations

import importlib
import re
import unittest
from pathlib import Path

_TEXT = (Path(__file__).resolve().parents[1] / "SECURITY.md").read_text("utf-8")
_NAME = re.compile(r"`([a-z0-9_]+(?:\.[a-z0-9_]+)*\.[A-Z]\w+\.test_\w+)`")
# From "*Cannot:*" to the next of these, or to the next heading.
_CANNOT = re.compile(r"^\*Cannot:\*$(.*?)(?=^\*\w+:\*|^#|\Z)", re.MULTILINE | re.DOTALL)


def _points(section: str) -> list[str]:
    """Return the entries of a list, each on one line."""
    return [" ".join(point.split()) for point in re.split(r"^- ", section, flags=re.MULTILINE)[1:]]


class SecurityTest(unittest.TestCase):
    """Names of tests are those below tests/."""

    def test_named_tests(self) -> None:
        """Every test that is named exists."""
        names = _NAME.findall(_TEXT)
        self.assertGreater(len(names), 40)
        for name in names:
            with self.subTest(name=name):
                module, case, method = name.rsplit(".", 2)
                found = getattr(importlib.import_module(f"tests.{module}"), case)
                self.assertTrue(issubclass(found, unittest.TestCase))
                self.assertTrue(callable(getattr(found, method)))

    def test_every_cannot_is_shown(self) -> None:
        """Every adversary has a list of what it cannot do, and each entry of it names its tests."""
        sections = _CANNOT.findall(_TEXT)
        self.assertEqual(len(sections), _TEXT.count("*Can:*"))
        for section in sections:
            points = _points(section)
            self.assertTrue(points)
            for point in points:
                with self.subTest(point=point[:80]):
                    self.assertRegex(point, _NAME)
