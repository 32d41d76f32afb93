"""What stands on a terminal, after whatever has been done to it."""

from __future__ import annotations

import os
import random
import unittest
from unittest import mock

import canvas
from canvas import Canvas, Input
from painting import Painter
from screen import Line, Shown, Span, Style
from tests.vt100 import Vt100

WORDS = ("a", "some", "日本語", "cafe\u0301", "👩\u200d🚀", "Привет", "incomprehensibilities", "🇫🇷", "…")


class Drawn:
    """A canvas, the screen that its output makes, and what should stand there.

    Args:
        test: at whose end it is closed.
        chance: what decides.
    """

    def __init__(self, test: unittest.TestCase, chance: random.Random) -> None:
        self.chance = chance
        self.painter = Painter(colours=False)
        self.vt = Vt100(40, 12, joins=chance.random() < 0.5)
        self.patch = mock.patch.multiple(canvas, _COLUMNS=40, _ROWS=12)
        self.patch.start()
        test.addCleanup(mock.patch.stopall)
        self.end, output = os.pipe()
        for descriptor in (self.end, output):
            test.addCleanup(os.close, descriptor)
        os.set_blocking(self.end, False)
        self.canvas = Canvas(output, Painter(colours=True), "utf-8", is_dumb=False, gone=lambda: None)
        self.lines: list[Line] = []
        self.shown: list[Shown] = []
        self.status: dict[str, Line] = {}
        self.input = Input()
        self.changed = self.unchanged = 0
        self.canvas.take()

    def line(self, number: int) -> Line:
        """Return a line of some words."""
        words = self.chance.choices(WORDS, k=self.chance.randrange(20))
        style = self.chance.choice(list(Style))
        return [Span(f"<{number}> "), Span(" ".join(words), style, "someone")]

    def show(self) -> None:
        """Show a line."""
        self.lines.append(self.line(len(self.lines)))
        self.shown.append(self.canvas.show(self.lines[-1]))

    def change(self) -> None:
        """Change one of the last lines, if it can still be."""
        if not self.lines:
            return
        number = self.chance.randrange(max(0, len(self.lines) - 8), len(self.lines))
        line = self.line(number)
        if self.shown[number].change(line):
            self.lines[number] = line
            self.changed += 1
        else:
            self.unchanged += 1

    def set_status(self) -> None:
        """Show, change or take away a row above the input."""
        name = self.chance.choice("abc")
        line = self.line(0) if self.chance.random() < 0.5 else None
        self.canvas.status(name, line)
        self.status.pop(name, None) if line is None else self.status.__setitem__(name, line)

    def type(self) -> None:
        """Type something else."""
        text = "".join(self.chance.choices("ab日 ", k=self.chance.randrange(60)))
        self.input = Input(text, self.chance.randrange(len(text) + 1))
        self.canvas.type(self.input)

    def resize(self) -> None:
        """Have another size."""
        columns, rows = self.chance.randrange(12, 60), self.chance.randrange(3, 20)
        self.patch.stop()
        self.patch = mock.patch.multiple(canvas, _COLUMNS=columns, _ROWS=rows)
        self.patch.start()
        self.vt.resize(columns, rows)
        self.canvas.resize()

    def take_back(self) -> None:
        """Give the terminal away, and have it again."""
        self.canvas.give_away()
        self.show()
        self.canvas.take_back()

    def read(self) -> None:
        """Have the screen take in what was written."""
        while True:
            try:
                self.vt.feed(os.read(self.end, 1_000_000).replace(b"\n", b"\r\n"))
            except BlockingIOError:
                return

    def expected(self) -> list[str]:
        """Return the rows that should stand above the input, as far back as there are any."""
        columns, rows = self.vt.columns - 1, self.vt.rows
        found = [row for line in self.lines[-rows:] for row in self.painter.rows(line, columns)]
        status = [self.painter.one_row(line, columns) for line in self.status.values()]
        return [row.rstrip() for row in [*found, *status[: (rows - 1) // 2]]]


class CanvasTest(unittest.TestCase):
    """One canvas."""

    def test_anything(self) -> None:
        """Whatever is shown, changed, typed and resized in whatever order, what should be on the screen is there."""
        changed = unchanged = 0
        for seed in range(4):
            drawn = Drawn(self, random.Random(seed))
            deeds = (drawn.show, drawn.show, drawn.change, drawn.change, drawn.set_status, drawn.type)
            seldom = (drawn.resize, drawn.take_back, drawn.canvas.repaint)
            for step in range(120):
                deed = drawn.chance.choice(seldom if drawn.chance.random() < 0.05 and seed % 2 else deeds)
                deed()
                drawn.read()
                with self.subTest(seed=seed, step=step, deed=deed):
                    self.check(drawn)
            changed, unchanged = changed + drawn.changed, unchanged + drawn.unchanged
            if not seed % 2:  # nothing was drawn anew
                everything = " ".join([*drawn.vt.gone, *drawn.vt.shown])
                self.assertFalse([n for n in range(len(drawn.lines)) if f"<{n}>" not in everything])
        self.assertGreater(min(changed, unchanged), 20)

    def check(self, drawn: Drawn) -> None:
        """Compare the screen with what should stand there."""
        row = drawn.vt.cursor[1]
        self.assertEqual(drawn.vt.shown[:row], drawn.expected()[-row:] if row else [])
        self.assertFalse("".join(drawn.vt.shown[row + 1 :]))
        self.assertTrue(drawn.vt.line.startswith(">"))
        text, cursor = drawn.input.text, drawn.input.cursor
        before = drawn.vt.before.removeprefix("> ").removeprefix("<")
        self.assertTrue(text[:cursor].endswith(before), (text, before))
        self.assertTrue(text[cursor:].startswith(drawn.vt.line[len(drawn.vt.before) :].removesuffix(">").rstrip()))

    def test_resized_unnoticed(self) -> None:
        """A line that a smaller screen has no place for is out of reach, even before anybody has told of the size."""
        drawn = Drawn(self, random.Random(1))
        for _ in range(6):
            drawn.show()
        with mock.patch.multiple(canvas, _ROWS=3):
            self.assertFalse(drawn.shown[0].change([Span("x")]))
            self.assertTrue(drawn.shown[5].change([Span("y")]))

    def test_gone(self) -> None:
        """When the terminal is gone, whoever owns it is told once, and whoever shows a line then and there."""
        gone = mock.Mock()
        reading, writing = os.pipe()
        made = Canvas(writing, Painter(colours=False), "utf-8", is_dumb=False, gone=gone)
        made.take()
        os.close(reading)
        self.assertRaises(BrokenPipeError, made.show, [Span("x")])
        made.show([Span("y")])
        made.ring()
        gone.assert_called_once_with()
        os.close(writing)

    def test_held(self) -> None:
        """A terminal that takes nothing for a while, and says so, gets all in the end."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        written = os.write
        calls = iter([BlockingIOError(), None])

        def write(descriptor: int, data: bytes) -> int:
            error = next(calls, None)
            if error is not None:
                raise error
            return written(descriptor, data[:5])

        made = Canvas(writing, Painter(colours=False), "utf-8", is_dumb=False, gone=lambda: None)
        with mock.patch("os.write", write):
            made.take()
        self.assertEqual(os.read(reading, 100), b"\x1b[?7l\r\x1b[2K> \x1b[J\r> \x1b[?7h")
        os.close(reading)
        os.close(writing)
