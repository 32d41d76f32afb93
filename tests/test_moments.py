"""Moments, as people read them."""

from __future__ import annotations

import os
import time
import unittest
from unittest import mock

from moments import day_and_time


class MomentsTest(unittest.TestCase):
    """Moments in a place of a known time."""

    def test_day_and_time(self) -> None:
        """A moment is told by the clock of the place, whatever its number."""
        self.addCleanup(time.tzset)  # after the variable is as it was
        with mock.patch.dict(os.environ, {"TZ": "XXX-2"}):
            time.tzset()
            self.assertEqual(day_and_time(1_795_568_700_000), "2026-11-25 03:05")
            self.assertEqual(day_and_time(1), "1970-01-01 02:00")
            self.assertRegex(day_and_time(2**53 - 1), r"\A\d+-\d\d-\d\d \d\d:\d\d\Z")
