"""New users, by the address that brings them."""

from __future__ import annotations

import unittest

from newcomers import Newcomers

HOUR = 3600


class NewcomersTest(unittest.TestCase):
    """On a clock that stands still."""

    def setUp(self) -> None:
        """Take in two of each address, and remember three addresses."""
        self.now = 50.0
        self.newcomers = Newcomers(2, 3, lambda: self.now)

    def admit(self, source: str, times: int = 5) -> int:
        """Bring so many, and return how many are taken in."""
        return sum(self.newcomers.admit(source) for _ in range(times))

    def test_of_one(self) -> None:
        """Each address has its own number, and a new one an hour after its first newcomer."""
        self.assertEqual(self.admit("192.0.2.1"), 2)
        self.now += HOUR / 2
        self.assertEqual(self.admit("192.0.2.2"), 2)
        self.assertEqual(self.admit("192.0.2.1"), 0)
        self.now += HOUR / 2
        self.assertEqual((self.admit("192.0.2.1"), self.admit("192.0.2.2")), (2, 0))

    def test_exempt(self) -> None:
        """This machine itself has no number; its other loopback addresses have."""
        for source, most in (("127.0.0.1", 5), ("::1", 5), ("127.0.0.2", 2)):
            self.assertEqual(self.admit(source), most)

    def test_bounded(self) -> None:
        """Of too many addresses, the one whose hour began first is forgotten."""
        for number in range(1, 5):
            self.admit(f"192.0.2.{number}")
        self.assertEqual(self.admit("192.0.2.2"), 0)
        self.assertEqual(self.admit("192.0.2.1"), 2)
        self.assertEqual(len(self.newcomers._counts), 3)
