"""Display names."""

from __future__ import annotations

import random
import sys
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

    def test_quotation_marks(self) -> None:
        """A name cannot end quotes that it stands in: it holds no quotation mark, and no letter like one."""
        for sign in '"\u02ba\u02ee\u05f4\u201c\u201d\u201f\u301e\u2033\uff02\u00ab':
            self.assertRegex(plain_name(f"ann{sign} b"), r"\Aann[.()]+ b\Z", ascii(sign))

    def test_look_alikes(self) -> None:
        """Letters that look like a colon or a middle dot stand behind letters of their own script alone."""
        for sign in "\ua78f\u02d0\u0903\u1427\u119e\u17c7\ua4fd":
            self.assertEqual(plain_name(f"ann {sign} b9819588{sign} hi"), "ann . b9819588. hi")
        for name in ("\u0926\u0941\u0903\u0916", "\u1472\u1427", "\ua4d0\ua4fd", "\u1796\u17c7"):
            self.assertEqual(plain_name(name), name)

    def test_unseen(self) -> None:
        """Characters that cannot be seen are left out, and runs of spaces are one."""
        for name in ("an\u200dn", "ann\ufe0f", "\u202eann", "ann\u3164", " ann\u00a0 ", "a\u00adnn", "ann\U000e0041"):
            self.assertEqual(plain_name(name), "ann")

    def test_long(self) -> None:
        """A name of ten thousand characters is cut to as many as a signed one may have, and made in no time."""
        for name in ("x" * 10_000, "\ufdfa" * 10_000, "a " * 10_000, "\u0301" * 10_000):
            self.assertLessEqual(len(plain_name(name)), 64)
        self.assertEqual(name_key("x" * 10_000), name_key("X" * 64))


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
            *(f"ann{blank}lee" for blank in "\u2000\u2007\u202f\u205f\u3000\u2800\u00a0"),
            *(
                f"a{unseen}nn lee{unseen}"
                for unseen in "\u200b\u200c\u2060\ufeff\u061c\u115f\u1160\u3164\uffa0\u034f\U000e0041"
            ),
            "\u2066ann lee\u2069",
            "\U0001d5ee\u24dd\uff4e \u2113ee",
        ):
            self.assertEqual(name_key(name), name_key("ann lee"), name)

    def test_random(self) -> None:
        """What a name is shown as, and what it is known by, have the same key as the name itself."""
        numbers = random.Random(5)
        codes = [code for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
        for _ in range(1_000):
            pool = codes if numbers.random() < 0.5 else codes[:0x3000]
            name = "".join(map(chr, numbers.choices(pool, k=numbers.randrange(1, 20))))
            self.assertEqual(plain_name(plain_name(name)), plain_name(name), ascii(name))
            self.assertEqual(name_key(plain_name(name)), name_key(name), ascii(name))
            self.assertEqual(name_key(name_key(name)), name_key(name), ascii(name))

    def test_different(self) -> None:
        """Other names are not."""
        for name in ("ann lea", "annlee", "ann", ""):
            self.assertNotEqual(name_key(name), name_key("ann lee"))
