"""The waits between attempts to connect."""

from __future__ import annotations

import unittest

from backoff import Backoff


class BackoffTest(unittest.TestCase):
    """Backoff."""

    def test_doubles(self) -> None:
        """Waits double from the first to the longest, each within 20 % of that, and begin again after a success."""
        backoff = Backoff(1, 60)
        for _ in range(2):
            for expected in (1, 2, 4, 8, 16, 32, 60, 60, 60):
                wait = backoff.next()
                self.assertGreaterEqual(wait, expected * 0.8)
                self.assertLessEqual(wait, expected * 1.2)
            backoff.reset()

    def test_spread(self) -> None:
        """Two that fail together do not try again together."""
        one, other = Backoff(1, 60), Backoff(1, 60)
        self.assertNotEqual([one.next() for _ in range(5)], [other.next() for _ in range(5)])
