"""The number that two users compare."""

from __future__ import annotations

import hashlib
import itertools
import re
import unittest
from unittest import mock

import fingerprint
from tests.vectors import USERS, key

# Of alice and bob of vectors/keys.json, as PROTOCOL.md has it too.
VECTOR = """\
58603 67999 03642 24006
27724 43773 74278 09993
34824 42562 14132 99742"""


def digits_of(name: str) -> str:
    """Return one user's thirty digits by appendix A, from its words and not from our code."""
    der = key(name).public.der
    found = b"SOCP fingerprint 1" + bytes(1) + key(name).id.encode() + der
    for _ in range(5200):
        found = hashlib.sha512(found + der).digest()
    return "".join(str(int(found[place : place + 5].hex(), 16) % 100000).zfill(5) for place in (0, 5, 10, 15, 20, 25))


class FingerprintTest(unittest.TestCase):
    """Numbers of the users of the vectors."""

    def number(self, one: str, other: str) -> list[str]:
        """Return the number of two of them."""
        return fingerprint.fingerprint(key(one).public, key(other).public)

    def test_vector(self) -> None:
        """The number is what the appendix says that it is, computed a second time, and written down."""
        computed = "".join(sorted((digits_of("alice"), digits_of("bob"))))
        self.assertEqual("".join(self.number("alice", "bob")), computed)
        self.assertEqual("\n".join(fingerprint.lines(self.number("alice", "bob"))), VECTOR)

    def test_form(self) -> None:
        """It has twelve groups of five digits, which are read out in three lines of four."""
        with mock.patch("fingerprint._ROUNDS", 1):
            for one, other in itertools.combinations(USERS, 2):
                groups = self.number(one, other)
                self.assertEqual(len(groups), 12)
                for group in groups:
                    self.assertRegex(group, r"\A[0-9]{5}\Z")
                shown = fingerprint.lines(groups)
                self.assertEqual(len(shown), 3)
                for line in shown:
                    self.assertTrue(re.fullmatch(r"\d{5} \d{5} \d{5} \d{5}", line, re.ASCII), line)
                self.assertEqual(" ".join(shown).split(), groups)

    def test_same_on_both_sides(self) -> None:
        """Both sides see the same, and no two pairs do."""
        with mock.patch("fingerprint._ROUNDS", 1):
            pairs = list(itertools.combinations_with_replacement(USERS, 2))
            for one, other in pairs:
                self.assertEqual(self.number(one, other), self.number(other, one))
            self.assertEqual(len({tuple(self.number(*pair)) for pair in pairs}), len(pairs))

    def test_both_count(self) -> None:
        """Another key in the place of one of the two changes the half that is its own."""
        with mock.patch("fingerprint._ROUNDS", 1):
            right, wrong = "".join(self.number("alice", "bob")), "".join(self.number("alice", "carol"))
        halves = [{number[:30], number[30:]} for number in (right, wrong)]
        self.assertEqual(len(halves[0] & halves[1]), 1)
