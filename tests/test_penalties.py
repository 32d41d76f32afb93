"""Addresses that fail again and again."""

from __future__ import annotations

import unittest
from unittest import mock

import socp
from penalties import Penalties, worth
from settings import Timers

# What a handshake can end with that broke a rule, and one whose peer said nothing in time.
BROKE = worth(socp.BAD_FRAME, proved=False)
HUNG = worth(socp.TIMEOUT, proved=False)
LEFT = worth(None, proved=False)


class PenaltiesTest(unittest.TestCase):
    """Failures at times of the test's choice."""

    def setUp(self) -> None:
        """Begin at some time."""
        self.now = 1000.0
        self.penalties = Penalties(Timers(), 100, lambda: self.now)
        patch = mock.patch("penalties.log.warning")
        self.logged = patch.start()
        self.addCleanup(patch.stop)

    def failing(self, source: str, share: float, times: int = 1, every: float = 0.0) -> None:
        """Have an address fail some times."""
        for _ in range(times):
            self.penalties.note(source, share)
            self.now += every

    def refused_for(self, source: str) -> float:
        """Return for how many seconds from now an address is refused, and let them pass."""
        began = self.now
        while self.penalties.refuses(source):
            self.now += 1.0
        return self.now - began

    def test_growing(self) -> None:
        """Each refusal is twice as long as the last, up to ten minutes."""
        times = []
        for _ in range(8):
            self.failing("a", BROKE, 4)
            times.append(self.refused_for("a"))
        self.assertEqual(times, [15, 30, 60, 120, 240, 480, 600, 600])

    def test_others(self) -> None:
        """What one address does falls back on no other."""
        self.failing("a", BROKE, 10)
        self.assertTrue(self.penalties.refuses("a"))
        self.assertFalse(self.penalties.refuses("b"))

    def test_forgiven(self) -> None:
        """After ten minutes without a failure, an address begins anew, and nothing is kept of it."""
        self.failing("a", BROKE, 4)
        self.refused_for("a")
        self.now += 601
        self.failing("b", LEFT)
        self.assertEqual(len(self.penalties), 1)
        self.failing("a", BROKE, 4)
        self.assertEqual(self.refused_for("a"), 15)

    def test_honest(self) -> None:
        """What honest peers do at their worst is met with no refusal."""
        self.failing("port probe", LEFT, 1000, every=1.0)
        self.failing("not admitted", worth(socp.NOT_ALLOWED, proved=False), 100, every=1.0)
        self.failing("bad network", HUNG, 100, every=10.0)
        self.failing("wrong port", BROKE, 3)
        for code in (socp.BAD_TIMESTAMP, socp.SERVER_BUSY, socp.NAME_IN_USE):
            self.failing("unlucky", worth(code, proved=False), 1000)
            self.failing("unlucky", worth(code, proved=True), 1000)
        self.failing("gone silent", worth(socp.TIMEOUT, proved=True), 1000)
        self.failing("leaves", worth(None, proved=True), 1000)
        for delay in (0, 1, 2, 4, 8, 16, 30, 30):  # a client of another version, with its back-off
            self.now += delay
            self.failing("of another version", BROKE)
        self.logged.assert_not_called()

    def test_dishonest(self) -> None:
        """Who breaks rules, hangs or leaves faster than that is refused."""
        self.failing("breaks", BROKE, 4)
        self.failing("hangs", HUNG, 16)
        self.failing("leaves", LEFT, 30, every=0.1)
        self.failing("known", worth(socp.TOO_LARGE, proved=True), 4)
        for source in ("breaks", "hangs", "leaves", "known"):
            self.assertTrue(self.penalties.refuses(source), source)

    def test_exempt(self) -> None:
        """This machine itself is never refused; its other loopback addresses are strangers' as any."""
        for source in ("127.0.0.1", "::1", "127.0.0.2"):
            self.failing(source, BROKE, 100)
        self.assertFalse(self.penalties.refuses("127.0.0.1"))
        self.assertFalse(self.penalties.refuses("::1"))
        self.assertTrue(self.penalties.refuses("127.0.0.2"))

    def test_bounded(self) -> None:
        """No more addresses are remembered than there is room for; the one that ends first goes."""
        self.failing("worst", BROKE, 4)
        for number in range(1000):
            self.failing(f"source {number}", BROKE)
        self.assertEqual(len(self.penalties), 100)
        self.assertTrue(self.penalties.refuses("worst"))

    def test_one_line(self) -> None:
        """A refusal is one line of the log, which tells how many connections met the one before."""
        self.failing("a", BROKE, 4)
        for _ in range(500):
            self.penalties.refuses("a")
        self.now += 15
        self.failing("a", BROKE, 4)
        said = [call.args[0] % call.args[1:] for call in self.logged.call_args_list]
        self.assertEqual(
            said,
            [
                "a is refused for 15 s after repeated failures (refusal 1; 0 connections met the last one)",
                "a is refused for 30 s after repeated failures (refusal 2; 500 connections met the last one)",
            ],
        )
