"""The counting of branches, on a module of a few lines."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import unittest
from pathlib import Path
from types import ModuleType

from tests.fuzz.branches import Branches

_SOURCE = """
def decide(number):
    assert number >= 0
    for place in range(number):
        if place > 2 and number < 9:
            return "far"
    try:
        return "even" if number % 2 == 0 else 1 / (number - 1)
    except ZeroDivisionError:
        return "one"


class Thing:
    def plain(self):
        return 1

    def nested(self, values):
        return [value for value in values if value]
"""


class BranchesTest(unittest.TestCase):
    """What is counted."""

    def setUp(self) -> None:
        """Import the module."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        path = Path(directory.name) / "few_lines.py"
        path.write_text(_SOURCE, "utf-8")
        spec = importlib.util.spec_from_file_location("few_lines", path)
        assert spec is not None and spec.loader is not None
        self.module: ModuleType = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)

    def test_counted(self) -> None:
        """Each condition and each loop has two outcomes, and an assertion or an `except` none; both are found."""
        branches = Branches({self.module: "decide"})
        decide = self.module.decide
        self.assertEqual((branches.taken, branches.outcomes), (0, 8))
        with branches:
            decide(0)
        self.assertEqual(branches.taken, 2)  # no turn of the loop, and an even number
        with branches:
            decide(1)
        self.assertEqual(branches.taken, 5)
        with branches:
            decide(5)
        self.assertEqual((branches.taken, len(branches.missing())), (7, 1))
        with branches:
            decide(10)
        self.assertEqual((branches.share, branches.missing()), (1.0, []))
        decide(3)

    def test_chosen(self) -> None:
        """What is not named is not counted; what stands inside a function belongs to it."""
        self.assertEqual(Branches({self.module: "Thing.plain"}).outcomes, 0)
        branches = Branches({self.module: r"Thing\..*"})
        with branches:
            self.module.Thing().nested([1])
            self.module.decide(2)
        taken, outcomes = branches.by_module()["few_lines"]
        self.assertEqual((taken, outcomes), (3, 4))
        self.assertRegex(branches.missing()[0], "few_lines.Thing.nested, line 18")

    def test_ends(self) -> None:
        """Behind it, nothing is watched any more."""
        with Branches({self.module: ".*"}):
            self.assertIsNotNone(sys.gettrace())
        self.assertIsNone(sys.gettrace())
