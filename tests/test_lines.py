"""Standard input, line by line."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import unittest
from collections.abc import Iterator
from unittest import mock

from lines import LineCut, Lines

PATIENCE = 10.0


@contextlib.contextmanager
def typing() -> Iterator[tuple[Lines, int]]:
    """Provide lines, and the descriptor into which they are typed."""
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as stream, mock.patch.object(sys, "stdin", stream):
        lines = Lines()
        try:
            yield lines, writing
        finally:
            lines.close()
            with contextlib.suppress(OSError):
                os.close(writing)


class LinesTest(unittest.TestCase):
    """Lines of standard input."""

    def test_lines(self) -> None:
        """Lines come out as they were typed, in whatever pieces, and the last needs no end."""
        with typing() as (lines, writing):
            for piece in (b"on", b"e\ntwo\r\n\nb\xc3", b"\xbccher\nla", b"st"):
                os.write(writing, piece)
            os.close(writing)
            found = [lines.next() for _ in range(6)]
        self.assertEqual(found, ["one", "two", "", "b\u00fccher", "last", None])

    def test_not_utf8(self) -> None:
        """What is not UTF-8 comes out in a form that cannot be sent, and is refused later rather than here."""
        with typing() as (lines, writing):
            os.write(writing, b"\xff\n")
            self.assertEqual(lines.next(), "\udcff")

    def test_woken(self) -> None:
        """A wait is ended from another thread, and so is the next, as often as it may be."""
        with typing() as (lines, writing):
            threading.Timer(0.02, lines.wake).start()
            self.assertRaises(InterruptedError, lines.next)
            for _ in range(100_000):
                lines.wake()
            lines.wait_woken()
            os.write(writing, b"too late\n")
            self.assertRaises(InterruptedError, lines.next)

    def test_a_signal_wakes(self) -> None:
        """Every signal ends a wait, also one that arrives just before it begins."""
        before = signal.signal(signal.SIGUSR1, lambda *_: None)
        try:
            with typing() as (lines, _):
                os.kill(os.getpid(), signal.SIGUSR1)
                self.assertRaises(InterruptedError, lines.next)
        finally:
            signal.signal(signal.SIGUSR1, before)

    def test_cut_by_the_terminal(self) -> None:
        """A line that is as long as a terminal can hold may have been cut, and is not taken."""
        with typing() as (lines, writing):
            lines.is_terminal = True
            os.write(writing, b"x" * 4095 + b"\nnext\n")
            self.assertRaises(LineCut, lines.next)
            self.assertEqual(lines.next(), "next")
            lines.is_terminal = False
            os.write(writing, b"x" * 30_000 + b"\n")
            self.assertEqual(lines.next(), "x" * 30_000)

    def test_no_input_at_all(self) -> None:
        """Without standard input there are no lines."""
        with mock.patch.object(sys, "stdin", None):
            lines = Lines()
            self.assertIsNone(lines.next())
            lines.close()
