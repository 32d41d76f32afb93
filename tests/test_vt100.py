"""The terminal of the tests: it does what it should, and agrees with one that people use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from cells import INDENT
from screen import Span, Style
from tests.terminals import PATIENCE, Terminal, open_screen
from tests.vt100 import UnknownSequence, Vt100

# Shows what is in a file, and asks where the cursor is: once that is answered, all before it is on the screen.
PLAYER = """
import os, sys, tty
tty.setraw(0)
data = open(sys.argv[1], "rb").read() + b"\\x1b[6n"
while data:
    data = data[os.write(1, data):]
while os.read(0, 1) != b"R":
    pass
os.execvp(sys.argv[2], sys.argv[2:])
"""


def after(*written: str, columns: int = 10, rows: int = 4) -> Vt100:
    """Return a terminal after something was written to it."""
    vt = Vt100(columns, rows)
    for text in written:
        vt.feed(text.encode())
    return vt


class Vt100Test(unittest.TestCase):
    """What it makes of what is written."""

    def test_text(self) -> None:
        """Text stands where it should, in one or two cells; marks take none."""
        vt = after("a日e\u0301b\r\nc\bd")
        self.assertEqual((vt.text, vt.cursor, vt.before), ("a日e\u0301b\nd", (1, 1), "d"))
        self.assertEqual(after("日x\rab").text, "abx")
        self.assertEqual(after("x日y\r\x1b[1Aab").text, "ab y")

    def test_margin(self) -> None:
        """A row is broken only when something more is written, and never when that is switched off."""
        self.assertEqual(after("x" * 10).cursor, (9, 0))
        self.assertEqual(after("x" * 10 + "y").text, "x" * 10 + "\ny")
        self.assertEqual(after("x" * 9 + "日").text, "x" * 9 + "\n日")
        self.assertEqual(after("x" * 10 + "\r\ny").text, "x" * 10 + "\ny")
        self.assertEqual(after("\x1b[?7l" + "x" * 10 + "yz").text, "x" * 9 + "z")

    def test_scrolls(self) -> None:
        """What is written below the last row moves all up."""
        vt = after("a\r\nb\r\nc\r\nd\r\ne")
        self.assertEqual((vt.shown, vt.gone), (["b", "c", "d", "e"], ["a"]))

    def test_sequences(self) -> None:
        """It moves, erases, recolours and switches; also when a sequence comes in pieces."""
        vt = after("one\r\ntwo\r\nthree\x1b", "[2", "A\r\x1b[K")
        self.assertEqual((vt.text, vt.cursor), ("\ntwo\nthree", (0, 0)))
        self.assertEqual(after("one\r\ntwo\x1b[H\x1b[J").text, "")
        self.assertEqual(after("one\r\ntwo\x1b[2Kx").text, "one\n   x")
        self.assertEqual(after("one\r\ntwo\x1b[1Ax\x1b[J").text, "onex")
        vt = after("a\x1b[1;36mb\x1b[0mc\a\x1b[?2004h\x1b[?7l")
        self.assertEqual([vt.look(text) for text in "abc"], ["", "1;36", ""])
        self.assertEqual((vt.bells, vt.modes), (1, {2004}))

    def test_unknown(self) -> None:
        """It fails on what it does not know."""
        for text in (
            "\x1b[5n",
            "\x1b]0;title\x07",
            "\x1bc",
            "\x1b[?25l",
            "\x1b[2J",
            "\x1b[1;1H",
            "\x9b",
            "\x00",
            "\x7f",
            "\t",
        ):
            with self.subTest(text), self.assertRaises(UnknownSequence):
                after(text)


@unittest.skipUnless(shutil.which("tmux"), "needs tmux")
class TmuxTest(unittest.TestCase):
    """Beside a terminal that people use."""

    def test_agrees(self) -> None:
        """Of what a session at a screen wrote, both show the same, with the cursor at the same place."""
        for columns in (40, 200):
            with self.subTest(columns=columns):
                terminal = self.session(columns)
                shown, cursor = self.shown_by_tmux(terminal.written, columns, 12)
                self.assertEqual(shown, terminal.vt.text.split("\n"))
                self.assertEqual(cursor, terminal.vt.cursor)

    def session(self, columns: int) -> Terminal:
        """Return a terminal in which much has happened."""
        terminal = Terminal(self, columns, 12)
        screen = open_screen(self, terminal)
        terminal.wait_for(lambda vt: vt.line == ">")
        shown = [
            screen.show([Span(f"{number} ", Style.DIM), Span("日本語 und e\u0301 " * number)]) for number in range(14)
        ]
        terminal.type("日本語, cafe\u0301 und mehr" + "\x1b[D" * 5)
        terminal.wait_for(lambda vt: vt.before.endswith("und"))
        screen.status("file", [Span("file [####      ] 日本"), Span("…" * columns, Style.GOOD)])
        self.assertTrue(shown[-1].change([Span("13 changed ✓✓", Style.BAD)]))
        self.assertFalse(shown[0].change([Span("x")]))
        screen.status("other", [Span("other")])
        screen.status("other", None)
        screen.show([Span("ben", Style.PERSON, "ben"), Span(": 한국어 " * 12), Span("the end")])
        terminal.type("X")
        terminal.wait_for(lambda vt: vt.before.endswith("undX") and "the end" in vt.text)
        self.assertIn(INDENT if columns < 100 else ">", terminal.vt.text)
        return terminal

    def shown_by_tmux(self, written: bytes, columns: int, rows: int) -> tuple[list[str], tuple[int, int]]:
        """Return the rows that tmux shows of something, and its cursor."""
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "written"
            file.write_bytes(written)
            environment = {**os.environ, "TMUX_TMPDIR": directory, "LC_ALL": "C.UTF-8"}
            environment.pop("TMUX", None)

            def tmux(*arguments: str) -> str:
                command = ("tmux", "-u", "-f", os.devnull, "-L", "test", *arguments)
                done = subprocess.run(command, env=environment, check=True, capture_output=True, timeout=PATIENCE)
                return done.stdout.decode()

            done = ("sh", "-c", "tmux -L test wait-for -S done; exec sleep 1000")
            player = (sys.executable, "-S", "-E", "-c", PLAYER, str(file), *done)
            tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), *player)
            try:
                tmux("wait-for", "done")
                text = tmux("capture-pane", "-p")
                column, row = tmux("display-message", "-p", "#{cursor_x} #{cursor_y}").split()
            finally:
                tmux("kill-server")
        return [line.rstrip() for line in text.rstrip("\n").split("\n")], (int(column), int(row))
