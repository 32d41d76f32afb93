"""What reaches terminals and logs."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import subprocess
import sys
import unittest
from pathlib import Path
from unittest import mock

from cells import wrapped
from console import VisibleFormatter, complain, say, speak_utf8


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
        keycap = "1\ufe0f\u20e3"  # two columns wide where emoji are known, and else one
        self.assertEqual(list(wrapped(keycap * 6, 10)), [keycap * 5, "    " + keycap])
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
        self.assertIn(r'ERROR it "failed\x1b[0m"\nValueError: bad\nvalue at test_log:', lines[0])
        self.assertNotIn("Traceback", lines[0])

    def test_log_of_python(self) -> None:
        """What Python itself would print, warnings and what nobody caught, is one line of the log each."""
        script = (
            "import gc, threading, warnings, console\n"
            "console.start_logging('INFO')\n"
            "class Bad:\n    def __del__(self): raise ValueError('un\\nraisable')\n"
            "Bad(); gc.collect()\n"
            "warnings.warn('careful\\x1b[0m')\n"
            "def fail(): raise ValueError('in a\\nthread')\n"
            "thread = threading.Thread(target=fail); thread.start(); thread.join()\n"
            "raise ValueError('at the\\x1b end')\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 4, done.stderr)
        for line, told in zip(lines, ("un\nraisable", "careful\x1b[0m", "in a\nthread", "at the\x1b end"), strict=True):
            shown = re.escape(told.replace("\n", r"\n").replace("\x1b", r"\x1b"))
            self.assertRegex(line, rf"^[0-9: ,-]+ (CRITICAL socp\.console|WARNING py\.warnings): .*{shown}")
        self.assertEqual(done.returncode, 1)
