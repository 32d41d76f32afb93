"""What of a server's mesh needs no network: see e2e/test_server_rules.py and e2e/test_network.py for the rest."""

from __future__ import annotations

import unittest

from mesh import Backoff
from settings import Timers


class BackoffTest(unittest.TestCase):
    """The waits between attempts."""

    def test_doubles(self) -> None:
        """Waits double from 1 s to 60 s, each within 20 % of that, and begin again after a success."""
        backoff = Backoff(Timers())
        for _ in range(2):
            for expected in (1, 2, 4, 8, 16, 32, 60, 60, 60):
                wait = backoff.next()
                self.assertGreaterEqual(wait, expected * 0.8)
                self.assertLessEqual(wait, expected * 1.2)
            backoff.reset()

    def test_spread(self) -> None:
        """Two that fail together do not try again together."""
        one, other = Backoff(Timers()), Backoff(Timers())
        self.assertNotEqual([one.next() for _ in range(5)], [other.next() for _ in range(5)])
