"""Cells, clusters and rows."""

from __future__ import annotations

import os
import unittest
from unittest import mock

import cells
from cells import clusters, cut, rows, width, wrapped

FAMILY = "👨\u200d👩\u200d👧\u200d👦"


class ClustersTest(unittest.TestCase):
    """What moves as one."""

    def test_clusters(self) -> None:
        """Marks, emoji of several characters, flags and syllables stay together, and nothing else does."""
        for parts in (
            ["a", "b", "\n", "c"],
            ["e\u0301", "x", "o\u0308\u0301"],
            ["日", "本"],
            [FAMILY, "👍🏽", "x"],
            ["🇫🇷", "🇩🇪", "🇯"],
            ["1\ufe0f\u20e3", "❤\ufe0f", "☺"],
            ["\U0001f3f4\U000e0067\U000e0062\U000e007f", "x"],
            ["한", "\u1112\u1161\u11ab", "가\u11a8", "x"],
            ["नि", "म"],
            ["\u0301", "x"],
            ["a\u200c", "b"],
        ):
            with self.subTest(parts):
                self.assertEqual(clusters("".join(parts)), parts)

    def test_bounded(self) -> None:
        """Marks without end are not all of one cluster, and a control character takes none."""
        self.assertGreater(len(clusters("a" + "\u0301" * 1_000)), 10)
        self.assertEqual(clusters("\n\u0301"), ["\n", "\u0301"])


class WidthTest(unittest.TestCase):
    """How many cells a text takes."""

    def test_width(self) -> None:
        """It is the most that terminals take, but for what is ambiguous."""
        for text, expected in (
            ("abc", 3), ("日本", 4), ("ｱ", 1), ("e\u0301", 1), ("👍", 2), ("👍🏽", 4), (FAMILY, 8), ("🇫🇷", 4),
            ("❤", 1), ("❤\ufe0f", 2), ("1\ufe0f\u20e3", 2), ("Ж…→", 3), ("✓✗", 2), ("\u1112\u1161\u11ab", 2), ("", 0),
        ):  # fmt: skip
            with self.subTest(text):
                self.assertEqual(width(text), expected)

    def test_locale(self) -> None:
        """Ambiguous characters are wide where the locale is of East Asia."""
        for environment, expected in (({"LANG": "ja_JP.UTF-8"}, 2), ({"LANG": "ja", "LC_ALL": "de_DE"}, 1), ({}, 1)):
            self.addCleanup(self.forget)
            self.forget()
            with mock.patch.dict(os.environ, environment, clear=True):
                self.assertEqual(width("→"), expected)

    def forget(self) -> None:
        """Have the locale be looked at again."""
        cells._ambiguous.cache_clear()
        cells._cluster_width.cache_clear()

    def test_wary(self) -> None:
        """Where a row must not be broken again, all that may be wide is."""
        self.assertEqual(width("Ж…☺❤\ufe0f", wary=True), 9)

    def test_cut(self) -> None:
        """A text that does not fit ends with an ellipsis, and not within a character."""
        self.assertEqual(
            [cut("ab日本", room) for room in range(8)], ["", "…", "a…", "ab…", "ab…", "ab日…", "ab日本", "ab日本"]
        )
        self.assertEqual(cut("e\u0301e\u0301e\u0301", 2), "e\u0301…")


class RowsTest(unittest.TestCase):
    """Where rows break."""

    def broken(self, text: str, columns: int, *, indented: bool = False) -> list[str]:
        """Return the rows of a text."""
        parts = clusters(text)
        return ["".join(parts[begin:end]) for begin, end in rows(parts, columns, indented=indented)]

    def test_words(self) -> None:
        """Rows break behind words, and within those that are too long for that; all but the first are shorter."""
        self.assertEqual(self.broken("the quick brown fox", 10), ["the quick ", "brown ", "fox"])
        self.assertEqual(self.broken("the quick", 9), ["the quick"])
        self.assertEqual(self.broken("the quick brown", 9), ["the quick", "brown"])
        self.assertEqual(self.broken("abcdefghijklmnopqrs", 10), ["abcdefghij", "klmnop", "qrs"])
        self.assertEqual(self.broken("a bcdefghijklmnopqr", 10), ["a bcdefghi", "jklmno", "pqr"])
        self.assertEqual(self.broken("日本語日本語日", 10), ["日本語日本", "語日"])
        self.assertEqual(self.broken("abcdefgh", 10, indented=True), ["abcdef", "gh"])
        self.assertEqual(self.broken("", 10), [""])

    def test_complete(self) -> None:
        """Nothing but single spaces at the end of a row is ever left out, and each row fits."""
        for text in ("word " * 50, "日本 語" * 30, "x" * 100, FAMILY * 5, "a  b   c    d     e      f", "Ж" * 50):
            for columns in range(12, 30):  # the family needs eight
                broken = self.broken(text, columns)
                self.assertEqual("".join(broken).replace(" ", ""), text.replace(" ", ""))
                for number, row in enumerate(broken):
                    self.assertLessEqual(width(row), columns - 4 * (number > 0))

    def test_narrow(self) -> None:
        """Where there is next to no room, rows are longer than the terminal is wide, and there is an end of them."""
        self.assertEqual(self.broken("abcdefghijkl", 0), ["abcdefgh", "ijkl"])
        self.assertEqual(self.broken(FAMILY * 3, 8), [FAMILY] * 3)

    def test_wrapped(self) -> None:
        """Whoever leaves rows to the terminal breaks them early, and loses nothing."""
        self.assertEqual(list(wrapped("Ж" * 6, 10)), ["Ж" * 5, "    Ж"])
        self.assertEqual(list(wrapped("a " * 6, 10)), ["a " * 5, "    a "])
