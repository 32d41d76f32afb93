"""Numbers, sizes and times as people write them."""

from __future__ import annotations

import unittest

from quantities import Unit, read_value, written


class QuantitiesTest(unittest.TestCase):
    """Reading and writing."""

    def test_read(self) -> None:
        """A count has no letter, a size may have one, and a time may have a fraction."""
        for unit, text, value in (
            (Unit.COUNT, "10", 10), (Unit.COUNT, "1k", None), (Unit.SIZE, "0", 0), (Unit.SIZE, "3k", 3072),
            (Unit.SIZE, "2M", 2 << 20), (Unit.SIZE, "1G", 1 << 30), (Unit.SIZE, "1K", None), (Unit.SIZE, "-1", None),
            (Unit.TIME, "2.5", 2.5), (Unit.TIME, "1e3", None), (Unit.TIME, "inf", None), (Unit.TIME, "\u0661", None),
        ):  # fmt: skip
            self.assertEqual(read_value(unit, text), value, text)

    def test_written(self) -> None:
        """What is written can be read again."""
        for unit, value, text in (
            (Unit.COUNT, 1024, "1024"), (Unit.SIZE, 1024, "1k"), (Unit.SIZE, 1025, "1025"), (Unit.SIZE, 0, "0"),
            (Unit.SIZE, 1 << 30, "1G"), (Unit.TIME, 2.5, "2.5"), (Unit.TIME, 60, "60"),
        ):  # fmt: skip
            self.assertEqual(written(unit, value), text)
            self.assertEqual(read_value(unit, text), value)
