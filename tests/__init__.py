"""The tests: one module for each module of the project, and e2e/ with real processes."""

from __future__ import annotations

import signal
import unittest
from pathlib import Path

from tests.lanes import in_lanes

# A shell has what it starts in the background ignore these keys. Whatever is run here is to meet them all the same.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def load_tests(loader: unittest.TestLoader, _tests: unittest.TestSuite, pattern: str | None) -> unittest.TestSuite:
    """Find the tests as `discover` does, and have them run on all cores."""
    here = Path(__file__).resolve().parent
    return in_lanes(loader.discover(str(here), pattern or "test*.py", str(here.parent)))
