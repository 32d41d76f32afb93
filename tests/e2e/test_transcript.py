"""The chat that README.md shows: that it is what happens, at two real terminals."""

from __future__ import annotations

import unittest

from tests.e2e.harness import ROOT
from tests.e2e.transcript import BEGIN, END, put_into, record


class TranscriptTest(unittest.TestCase):
    """The transcript."""

    def test_true(self) -> None:
        """What the README shows is what two people see who chat so, to the letter."""
        transcript = record()
        for row in (
            '\n    12:04 e2e    → "ann" · b9819588: Lunch at noon?  ✓✓\n',
            '\n    12:04 e2e    "ben" · 32be3080: Lunch at noon?\n',
            "\n      2026-11-25 12:04  e2e    ben · 32be3080: Lunch at noon?\n",
        ):
            self.assertEqual(transcript.count(row), 1, transcript)
        readme = (ROOT / "README.md").read_text("utf-8")
        kept = readme.partition(f"{BEGIN}\n")[2].partition(f"{END}\n")[0]
        self.assertEqual(kept.strip("\n").split("\n"), transcript.split("\n"), "make transcript puts it right")

    def test_put_into(self) -> None:
        """A transcript takes the place of the one before, and nothing else changes."""
        text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
        first = put_into(text, "new")
        self.assertEqual(first, f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n")
        self.assertEqual(put_into(first, "new"), first)
        for text in ("", BEGIN, f"{END}\n{BEGIN}\n", f"{BEGIN}\n"):
            with self.subTest(text), self.assertRaisesRegex(ValueError, "make transcript"):
                put_into(text, "new")
