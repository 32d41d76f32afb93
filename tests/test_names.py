"""Display names."""

from __future__ import annotations

import unittest

from names import name_key, plain_name


class PlainNameTest(unittest.TestCase):
    """How a name is shown."""

    def test_names_stay(self) -> None:
        """Names in any script, with marks, digits and symbols, stay as they are."""
        for name in (
            *("Zo\u00eb", "\u5f20\u4f1f", "\u05d3\u05d5\u05d3", "O'Neil-Smith Jr.", "ann_2", "\U0001f600 ann", "a & b"),
            "\u0928\u093f\u0927\u093f",
        ):
            self.assertEqual(plain_name(name), name)

    def test_cannot_forge(self) -> None:
        """Nothing in a name can end what it stands in: brackets, colons, dots and breaks of any kind."""
        for name in (
            *(
                "a] [DM from bob \u00b7 12345678\n",
                "ann \u0387 b9819588: I quit",
                "ann \u2219 b98\uff3d pay",
                "a\u2022b",
            ),
            *("a\u22c5b", "a\u30fbb", "a\uff1ab", "a\ua789b\u02d0", "a\u3010b\u3011", "a\u2028b\tc", "\u27e6x\u27e7"),
        ):
            with self.subTest(name=name):
                shown = plain_name(name)
                self.assertFalse(
                    set(shown) & set("[]:\u00b7\u2219\u22c5\u2022\u30fb\n\t\u2028\u3010\u3011\u27e6\u27e7"), shown
                )

    def test_unseen(self) -> None:
        """Characters that cannot be seen are left out, and runs of spaces are one."""
        for name in ("an\u200dn", "ann\ufe0f", "\u202eann", "ann\u3164", " ann\u00a0 ", "a\u00adnn", "ann\U000e0041"):
            self.assertEqual(plain_name(name), "ann")


class NameKeyTest(unittest.TestCase):
    """When two names are the same to a reader."""

    def test_same(self) -> None:
        """Names that differ in case, width, spaces or what cannot be seen are the same."""
        for name in (
            "ANN LEE",
            "ann  lee",
            "\uff41nn lee",
            "ann\u200d lee",
            "ann lee\ufe0f",
            "ann\u00a0lee",
            "\u202eann lee",
        ):
            self.assertEqual(name_key(name), name_key("ann lee"), name)

    def test_different(self) -> None:
        """Other names are not."""
        for name in ("ann lea", "annlee", "ann", ""):
            self.assertNotEqual(name_key(name), name_key("ann lee"))
