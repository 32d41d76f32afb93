"""A log that strangers cannot make large."""

from __future__ import annotations

import logging
import unittest

from seldom import LINES_MOST, WINDOW, Seldom


class SeldomTest(unittest.TestCase):
    """A logger with the filter, and a clock of the test's."""

    def setUp(self) -> None:
        """Make them."""
        self.now = 0.0
        self.lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]
        handler.addFilter(Seldom(lambda: self.now))
        self.log = logging.Logger("test")
        self.log.addHandler(handler)

    def test_many_of_a_kind(self) -> None:
        """Of one kind so many are written, and then how many are missing; other lines are not lost."""
        for number in range(LINES_MOST + 50):
            self.log.warning("%s did it again: %d", "somebody", number)
        self.log.info("something else")
        self.assertEqual(len(self.lines), LINES_MOST + 1)
        self.now += WINDOW
        self.log.warning("%s did it again: %d", "somebody", 999)
        self.log.warning("%s did it again: %d", "somebody", 1000)
        self.assertEqual(
            self.lines[-2:],
            ["somebody did it again: 999 (and 50 more like this in the minute before)", "somebody did it again: 1000"],
        )

    def test_errors(self) -> None:
        """Errors are all written: they are ours, and not for strangers to cause."""
        for _ in range(LINES_MOST + 50):
            self.log.error("the disk is full")
        self.assertEqual(len(self.lines), LINES_MOST + 50)

    def test_few(self) -> None:
        """What is said now and then is never lost."""
        for _ in range(10 * LINES_MOST):
            self.log.info("a user came")
            self.now += 1.01 * WINDOW / LINES_MOST
        self.assertEqual(len(self.lines), 10 * LINES_MOST)

    def test_texts(self) -> None:
        """Texts that all differ are written, and not kept."""
        for number in range(5_000):
            self.log.info(f"made before it was logged: {number}")
        self.assertEqual(len(self.lines), 5_000)

    def test_bare_percent(self) -> None:
        """A text without arguments may hold anything."""
        for _ in range(LINES_MOST + 1):
            self.log.info("100 done")
        self.now += WINDOW
        self.log.info("100 done")
        self.assertEqual(self.lines[-1], "100 done (and 1 more like this in the minute before)")
