"""Tests of the keys that are made of the vectors' primes."""

from __future__ import annotations

import unittest

from crypto.keys import KeyPair
from tests.chaos.keys import combined_key, key_of


class KeysTest(unittest.TestCase):
    """Keys by number and by name."""

    def test_a_combined_key_is_a_key(self) -> None:
        """What is made of two primes passes every check of a key file, and keeps its id."""
        pair = combined_key(479)
        self.assertEqual(KeyPair.from_pem(pair.to_pem()).id, pair.id)

    def test_names_have_keys_of_their_own(self) -> None:
        """Introducers, servers and clients have different keys, the same ones each time."""
        names = ["i1", "i9", "s1", "s99", "c01", "c359"]
        ids = [key_of(name).id for name in names]
        self.assertEqual(len(set(ids)), len(names))
        self.assertEqual(ids, [key_of(name).id for name in names])
