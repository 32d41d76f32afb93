"""Rows of lines."""

from __future__ import annotations

import unittest

from painting import InputPainter, Painter
from screen import Span, Style


class PainterTest(unittest.TestCase):
    """Lines that are shown."""

    def test_rows(self) -> None:
        """Rows are broken across pieces, indented, and each is coloured for itself."""
        painter = Painter(colours=True)
        line = [Span("12:04 ", Style.DIM), Span("abcdefgh", Style.BAD), Span("ij"), Span("", Style.BREAK), Span("k")]
        expected = ["\x1b[2m12:04 \x1b[0m\x1b[31mabcd\x1b[0m", "    \x1b[31mefgh\x1b[0mij", "    k"]
        self.assertEqual(painter.rows(line, 10), expected)
        self.assertEqual(Painter(colours=False).rows(line, 10), ["12:04 abcd", "    efghij", "    k"])

    def test_one_row(self) -> None:
        """A status has one row, whatever it holds."""
        painter = Painter(colours=True)
        self.assertEqual(painter.one_row([Span("ok", Style.GOOD), Span(" \x1b日")], 9), "\x1b[32mok\x1b[0m \\x1b日")
        self.assertEqual(painter.one_row([Span("ok", Style.GOOD), Span("\n日本")], 6), "ok\\n…")
        self.assertEqual(painter.one_row([Span("a"), Span("", Style.BREAK), Span("b")], 6), "a b")

    def test_encoding(self) -> None:
        """What the terminal's encoding lacks is escaped, and takes as much room as that."""
        painter = Painter(colours=False, encoding="iso-8859-1")
        self.assertEqual(painter.rows([Span("é日\u0161")], 40), ["é\\u65e5\\u0161"])
        self.assertEqual(InputPainter(painter).row("> ", "日x", 1, 40).cells, 9)


class InputPainterTest(unittest.TestCase):
    """The input's row."""

    def row(self, text: str, cursor: int, columns: int = 20) -> tuple[str, str]:
        """Return the whole row, and what stands before the cursor."""
        row = InputPainter(Painter(colours=False)).row("> ", text, cursor, columns)
        return row.whole, row.before

    def test_short(self) -> None:
        """What fits stands there as it is, breaks and all."""
        self.assertEqual(self.row("", 0), ("> ", "> "))
        self.assertEqual(self.row("日本\ta\nb", 2), ("> 日本⇥a↵b", "> 日本"))

    def test_long(self) -> None:
        """Of what does not fit, marks tell that there is more on a side."""
        self.assertEqual(self.row("x" * 30, 0), ("> " + "x" * 15 + ">", "> "))
        whole, before = self.row("x" * 30, 30)
        self.assertEqual((whole, before), ("> <" + "x" * 10, "> <" + "x" * 10))
        for cursor in range(31):
            for columns in range(1, 25):
                row = InputPainter(Painter(colours=False)).row("> ", "日" * 30, cursor, columns)
                self.assertTrue(row.whole.startswith(row.before))
                self.assertLess(row.cells, max(columns, 7), "one cell at the end is free")

    def test_stays(self) -> None:
        """While the cursor moves in what is in sight, that stays where it is."""
        painter = InputPainter(Painter(colours=False))
        text = "".join(map(chr, range(ord("a"), ord("z") + 1)))
        rows = [painter.row("> ", text, cursor, 20).whole for cursor in (26, 25, 22, 17)]
        self.assertEqual(len(set(rows)), 1)
        self.assertNotEqual(painter.row("> ", text, 12, 20).whole, rows[0])

    def test_hidden(self) -> None:
        """What must not reach a terminal is shown escaped, and what joins where it is needed is not."""
        self.assertEqual(self.row("a\u202eb", 2)[0], "> a\\u202eb")
        self.assertEqual(self.row("a" + "\u0301" * 300 + "b", 0)[0], "> " + "…" * 15 + ">")
        persian = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
        self.assertEqual(self.row(persian, 0)[0], f"> {persian}")
