"""How a client ends: numbers that scripts depend on, and lines that nobody can forge."""

from __future__ import annotations

import contextlib
import io
import unittest

from exits import EXIT_MEANINGS, Exit, explain


class ExitTest(unittest.TestCase):
    """Codes and errors."""

    def test_numbers(self) -> None:
        """Each code is the number that it has been, and has a meaning in the help."""
        numbers = {code.name: int(code) for code in Exit}
        self.assertEqual(
            numbers,
            {
                "DONE": 0, "FAILURE": 1, "USAGE": 2, "NO_CONNECTION": 3, "NO_SUCH_USER": 4, "BAD_KEY": 5,
                "TIMED_OUT": 6, "INTERRUPTED": 130,
            },
        )  # fmt: skip
        self.assertEqual(list(EXIT_MEANINGS), list(Exit))

    def test_explained(self) -> None:
        """An error is one line, a hint another, on standard error alone, with whatever is in them made visible."""
        for hint, lines in (("", []), ("try\rit", ["socp: hint: try\\rit"])):
            with contextlib.redirect_stderr(io.StringIO()) as errors, contextlib.redirect_stdout(io.StringIO()) as out:
                explain("no \x1b[2J\nsocp: error: forged", hint)
            self.assertEqual(errors.getvalue().splitlines(), ["socp: error: no \\x1b[2J\\nsocp: error: forged", *lines])
            self.assertEqual(out.getvalue(), "")
