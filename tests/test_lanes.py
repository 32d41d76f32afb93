"""The processes that tests are run in: nothing that happens there may pass for a test that has passed."""

from __future__ import annotations

import io
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from tests.lanes import Lanes, in_lanes

_MODULE = '''
import os
import unittest


class Mixed(unittest.TestCase):
    """Tests."""

    def test_passes(self):
        """Passes."""
        print("a line that is no outcome")

    def test_fails(self):
        self.assertEqual(1, 2)

    def test_errs(self):
        raise KeyError("a key")

    @unittest.skip("a reason")
    def test_skipped(self):
        pass

    def test_parts(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertNotEqual(number, 1)


class Unready(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise RuntimeError("not ready")

    def test_never(self):
        pass
'''
_DEADLY = """
import os
import unittest


class Deadly(unittest.TestCase):
    def test_dies(self):
        os._exit(3)
"""
_GOOD = """
import unittest


class Good(unittest.TestCase):
    def test_passes(self):
        pass
"""


class LanesTest(unittest.TestCase):
    """Lanes."""

    def run_modules(self, **modules: str) -> tuple[unittest.TestResult, str]:
        """Run modules, by name and text; return the result, and what the runner printed."""
        with tempfile.TemporaryDirectory(prefix="socp-test-") as directory:
            for name, text in modules.items():
                Path(directory, f"{name}.py").write_text(text, "utf-8")
            stream = io.StringIO()
            with mock.patch.dict("os.environ", {"PYTHONPATH": directory}):
                result = unittest.TextTestRunner(stream, verbosity=2).run(Lanes(list(modules), [], 2))
            return result, stream.getvalue()

    def test_outcomes(self) -> None:
        """Every outcome is told: what passes, is skipped, fails, fails in a part, errs, or was never ready."""
        result, printed = self.run_modules(module_a=_MODULE)
        failed = {test.id().split(" ")[0] for test, _ in result.failures}
        self.assertEqual(
            failed,
            {
                "module_a.Mixed.test_fails",
                "module_a.Mixed.test_errs",
                "module_a.Mixed.test_parts",
                "setUpClass",
            },
        )
        self.assertEqual([reason for _, reason in result.skipped], ["a reason"])
        self.assertEqual((result.testsRun, result.errors), (6, []))
        for text in (
            "module_a.Mixed.test_passes",
            "KeyError: 'a key'",
            "1 != 2",
            "(number=1)",
            "RuntimeError: not ready",
        ):
            self.assertIn(text, printed)

    def test_a_process_that_dies(self) -> None:
        """A module that kills its process fails, and those behind it are run by another."""
        result, _ = self.run_modules(module_b=_DEADLY, module_c=_GOOD, module_d=_GOOD, module_e=_GOOD)
        self.assertEqual([test.id() for test, _ in result.failures], ["module_b"])
        self.assertEqual(result.testsRun, 4)

    def test_a_module_that_is_not_there(self) -> None:
        """A module that cannot be loaded fails."""
        result, _ = self.run_modules(module_f="import nothing_of_that_name\n")
        self.assertEqual(len(result.failures), 1)

    def test_which_are_run_so(self) -> None:
        """Modules are run in lanes, and what belongs to none is run here; so is everything where there is one core."""
        suite = unittest.defaultTestLoader.loadTestsFromNames(["tests.test_lanes", "tests.no_such_module"])
        with mock.patch("os.cpu_count", return_value=2):
            split = in_lanes(suite)
            assert isinstance(split, Lanes)
            self.assertEqual((list(split._waiting), len(list(split))), (["tests.test_lanes"], 1))
            with mock.patch.dict(sys.modules, {"coverage": mock.Mock()}):
                self.assertIs(in_lanes(suite), suite)
        with mock.patch("os.cpu_count", return_value=1):
            self.assertIs(in_lanes(suite), suite)
