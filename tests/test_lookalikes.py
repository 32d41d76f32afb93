"""Names that look alike."""

from __future__ import annotations

import random
import unicodedata
import unittest

import lookalikes
from lookalikes import skeletons
from names import name_key, plain_name


def alike(one: str, other: str) -> bool:
    """Tell whether two names look alike."""
    return bool(skeletons(one) & skeletons(other))


class SkeletonsTest(unittest.TestCase):
    """Which names have a skeleton in common."""

    def test_other_scripts(self) -> None:
        """Letters of other scripts look like the Latin ones, in the form, small or capital, that they stand in."""
        for name, disguised in (
            ("ben", "b\u0435n"),  # Cyrillic e
            ("Ben", "\u0412en"),  # Cyrillic ve
            ("paypal", "\u0440\u0430\u0443\u0440\u0430\u04cf"),
            ("Hans", "\u0397ans"),  # Greek capital eta
            ("nina", "\u03b7ina"),  # Greek small eta
            ("vera", "\u03bdera"),  # Greek nu
            ("NINA", "\u039dINA"),
            ("john", "j\u0585hn"),  # Armenian oh
            ("DAVE", "\u13a0\u13aa\u13d9\u13ac"),  # Cherokee
            ("Kate", "\ua4d7ate"),  # Lisu
            ("bob", "b\u2c9fb"),  # Coptic
            ("olga", "\u0966lga"),  # a zero of Devanagari
            ("bill", "\u044cill"),  # Cyrillic soft sign
        ):
            with self.subTest(disguised):
                self.assertNotEqual(name_key(name), name_key(disguised))
                self.assertTrue(alike(name, disguised), (skeletons(name), skeletons(disguised)))

    def test_within_latin(self) -> None:
        """Digits for letters, two letters for one, accents, strokes, spaces and punctuation make no other name."""
        for name, disguised in (
            *(("bob", "b0b"), ("lily", "1iIy"), ("Ian", "lan"), ("ian", "1an"), ("oliver", "0Iiver")),
            *(("marge", "rnarge"), ("walter", "vvalter"), ("warner", "vvamer"), ("MARGE", "rnarge")),
            *(("Zoe", "Zo\u00eb"), ("lukasz", "\u0141ukasz"), ("soren", "s\u00f8ren"), ("boris", "\u0253oris")),
            *(("ann lee", "annlee"), ("ann-lee", "ann_lee"), ("ben", "ben."), ("oneil", "O'Neil")),
            *(("ben", "be\u0274"), ("aesop", "\u00e6sop"), ("ben", "\U0001d5ef\u24d4\uff4e")),
            ("\u0418\u0433\u043e\u0440\u044c", "\u0418\u0433op\u044c"),  # Latin letters in a Cyrillic name
        ):
            with self.subTest(disguised):
                self.assertTrue(alike(name, disguised), (skeletons(name), skeletons(disguised)))

    def test_others(self) -> None:
        """Names that a reader can tell apart have nothing in common; nor has what looks like nothing at all."""
        for one, other in (
            *(("ben", "den"), ("ben", "bean"), ("anna", "ann"), ("ben", "ben smith"), ("", ""), ("...", "!!!")),
            ("\u0928\u093f\u0927\u093f", "\u0928\u0927\u093e"),  # other vowels
            ("\u304b\u304a", "\u304c\u304a"),  # ka and ga
            ("\U0001f43b", "\U0001f43c"),  # a bear, a panda
            ("\u5f20\u4f1f", "\u5f20\u53ef"),
            ("\u0418\u0432\u0430\u043d", "\u0418\u0440\u0430\u043d"),
        ):
            with self.subTest(one):
                self.assertFalse(alike(one, other), (skeletons(one), skeletons(other)))
        self.assertEqual(skeletons("- . -"), frozenset())

    def test_table(self) -> None:
        """What the table holds can stand in names as it is, once each; and all scripts that it speaks of are there."""
        scripts = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU")
        for character in lookalikes._PROTOTYPES.keys() - {"0", "1", "I"}:
            with self.subTest(hex(ord(character))):
                self.assertEqual(plain_name("x" + character), "x" + character)
                self.assertEqual(unicodedata.normalize("NFKD", character), character)
        named = [unicodedata.name(character) for character in lookalikes._PROTOTYPES]
        self.assertEqual({script for script in scripts if any(script in name for name in named)}, set(scripts))
        self.assertEqual(len(named), sum(map(len, lookalikes._ALIKE.values())))

    def test_random_disguises(self) -> None:
        """However letters of a name are swapped for what looks like them, it looks like the name."""
        numbers = random.Random(11)
        for _ in range(1_000):
            name = "".join(numbers.choices("abcdefghijklmnopqrstuvwxyz", k=numbers.randrange(1, 12)))
            shown = numbers.choice((name, name.capitalize()))
            disguised = "".join(
                numbers.choice(lookalikes._ALIKE.get(letter, letter)) if numbers.random() < 0.5 else letter
                for letter in name
            )
            self.assertTrue(alike(shown, disguised), (shown, ascii(disguised), skeletons(shown), skeletons(disguised)))

    def test_random_names(self) -> None:
        """Names that are the same are alike, and what is shown of a name is alike to it."""
        numbers = random.Random(12)
        for _ in range(300):
            name = "".join(chr(numbers.randrange(0x21, 0x3000)) for _ in range(numbers.randrange(1, 10)))
            self.assertEqual(skeletons(plain_name(name)), skeletons(name), ascii(name))
            if skeletons(name):
                self.assertTrue(alike(name, name_key(name)), ascii(name))
