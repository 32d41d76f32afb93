"""What reaches terminals and logs."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import unittest
from unittest import mock

from console import VisibleFormatter, complain, say, speak_utf8, visible, wrapped


class VisibleTest(unittest.TestCase):
    """The one door for text from outside."""

    def test_text_stays(self) -> None:
        """Text in any script stays as it is, with what its scripts and emoji need."""
        for text in (
            *("", "hello, world", "caf\u00e9 \u4e66 \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627"),
            *("\u0928\u200d\u0926", "\U0001f468\u200d\U0001f469", "a\u0301", "\u00a0"),
        ):
            self.assertEqual(visible(text), text)

    def test_hidden_is_shown(self) -> None:
        """Whatever moves the cursor, recolours, reorders or hides text is shown as an escape."""
        for text, shown in (
            ("\x1b[2J", r"\x1b[2J"),
            ("a\nb\r\tc\x00", r"a\nb\r\tc\x00"),
            ("\x7f\x9b", r"\x7f\x9b"),
            ("\u202e\u2066\u2069\u200e\u200f\u061c", r"\u202e\u2066\u2069\u200e\u200f\u061c"),
            ("\u2028\u2029\ufeff\u200b\u00ad", r"\u2028\u2029\ufeff\u200b\xad"),
            ("\U000e0041", r"\U000e0041"),
            ("\ud800", r"\ud800"),
            ("\ue000", r"\ue000"),
        ):
            with self.subTest(shown):
                self.assertEqual(visible(text), shown)

    def test_every_control_character(self) -> None:
        """No character of the control range passes."""
        for code in (*range(32), *range(127, 160)):
            self.assertNotIn(chr(code), visible(f"x{chr(code)}y"))


class WrapTest(unittest.TestCase):
    """Lines on a terminal."""

    def test_continued(self) -> None:
        """What goes on below is indented, so that it cannot look like a line of its own, however it was filled up."""
        for filler in (" ", ".", "\u4e66", "\u0301", "\U0001f600"):
            text = "[DM from ann] " + filler * 300 + "[DM from bob] forged"
            lines = list(wrapped(text, 40))
            self.assertEqual("".join([lines[0], *(line.removeprefix("    ") for line in lines[1:])]), text)
            for line in lines[1:]:
                self.assertTrue(line.startswith("    "))

    def test_width(self) -> None:
        """Wide characters count twice, marks not at all, and short lines stay as they are."""
        self.assertEqual(list(wrapped("x" * 10, 10)), ["x" * 10])
        self.assertEqual(list(wrapped("\u4e66" * 6, 10)), ["\u4e66" * 5, "    \u4e66"])
        self.assertEqual(list(wrapped("a\u0301" * 10, 10)), ["a\u0301" * 10])
        self.assertEqual(list(wrapped("", 10)), [""])
        self.assertEqual("".join(line.strip() for line in wrapped("x" * 50, 1)), "x" * 50)


class TerminalOutputTest(unittest.TestCase):
    """What is written to a terminal."""

    def written(self, text: str) -> str:
        """Return what a terminal of 40 columns is sent."""
        stream = io.StringIO()
        size = mock.patch("shutil.get_terminal_size", return_value=os.terminal_size((40, 20)))
        with mock.patch.object(stream, "isatty", return_value=True), mock.patch.object(sys, "stdout", stream), size:
            say(text)
        return stream.getvalue()

    def test_broken_by_the_terminal(self) -> None:
        """A long line without a second bracket is left to the terminal."""
        text = "[DM from ann] (so) {long} " + "x" * 100
        self.assertEqual(self.written(text), text + "\n")

    def test_broken_here(self) -> None:
        """A line that could go on with what looks like another is broken here, and indented."""
        for bracket in "[\u3010\uff3b\u27e6":
            lines = self.written("[DM from ann] " + "x" * 26 + bracket + "DM from bob] forged").splitlines()
            self.assertEqual(lines, ["[DM from ann] " + "x" * 26, f"    {bracket}DM from bob] forged"])


class OutputTest(unittest.TestCase):
    """Lines of output and of the log."""

    def test_one_line_each(self) -> None:
        """What is said and complained of stays on its line."""
        for speak, stream in ((say, "stdout"), (complain, "stderr")):
            with mock.patch.object(sys, stream, io.StringIO()) as written:
                speak("forged\n[DM from bob] hi\x1b[1A")
                self.assertEqual(written.getvalue(), "forged\\n[DM from bob] hi\\x1b[1A\n")

    def test_encoding(self) -> None:
        """A terminal that lacks a character is shown its escape, rather than the program ending."""
        raw = io.BytesIO()
        with io.TextIOWrapper(raw, encoding="ascii") as stream, mock.patch.object(sys, "stdout", stream):
            speak_utf8()
            say("caf\u00e9")
            self.assertEqual(raw.getvalue(), b"caf\\xe9\n")

    def test_log(self) -> None:
        """A log record is one line, an exception in it is told without a traceback."""
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(VisibleFormatter("%(levelname)s %(message)s"))
        logger = logging.Logger("test")
        logger.addHandler(handler)
        with contextlib.suppress(ValueError):
            try:
                raise ValueError("bad\nvalue")
            except ValueError:
                logger.exception("it %s", "failed\x1b[0m")
                raise
        lines = stream.getvalue().splitlines()
        self.assertEqual(len(lines), 1)
        self.assertIn(r"ERROR it failed\x1b[0m\nValueError: bad\nvalue at test_log:", lines[0])
        self.assertNotIn("Traceback", lines[0])
