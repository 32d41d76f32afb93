"""What is wrong with a modulus."""

from __future__ import annotations

import math
import unittest

from crypto import moduli
from crypto.moduli import fault
from tests.badkeys import power
from tests.vectors import key, load


class FaultTest(unittest.TestCase):
    """Moduli that no key may have."""

    def test_sound(self) -> None:
        """Nothing is wrong with the keys of the vectors."""
        for name in load("keys")["keys"]:
            self.assertEqual(fault(key(name).public.rsa.public_numbers().n), "")

    def test_every_power(self) -> None:
        """A power is found, whatever its exponent; beyond 311, bases of the right size all have small factors."""
        exponents = [exponent for exponent in moduli._RESIDUE_TESTS if exponent <= 311]
        self.assertEqual((len(exponents), exponents[:3]), (64, [2, 3, 5]))
        for exponent in exponents:
            with self.subTest(exponent):
                self.assertEqual(fault(power(exponent)), "its modulus is a power")
        self.assertEqual(fault(power(6)), "its modulus is a power")

    def test_every_small_factor(self) -> None:
        """A factor below 1,024 is found."""
        n = key("alice").public.rsa.public_numbers().n
        for prime in (2, 3, 5, 7, 503, 1021):
            self.assertEqual(fault(n - n % prime), "its modulus has a small factor")

    def test_sizes(self) -> None:
        """A modulus has 4,096 bits."""
        for bits in (1, 2048, 4095, 4097, 1 << 20):
            self.assertIn(f"{bits} bits", fault((1 << bits) - 1))

    def test_passes_all_residues(self) -> None:
        """A number that was made to be 1 modulo each prime of the tests is no power all the same."""
        step = moduli._RESIDUE_PRODUCT
        start = (1 << 4095) // step
        made = (number * step + 1 for number in range(start + 1, start + 1000))
        number = next(one for one in made if math.gcd(one, moduli._SMALL_PRODUCT) == 1)
        self.assertEqual(fault(number), "")
