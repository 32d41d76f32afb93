"""Tests of what looks at the databases of killed servers."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
import unittest
from pathlib import Path

from tests.chaos.kills import Times, check_databases


class DatabasesTest(unittest.TestCase):
    """A directory with a database."""

    def setUp(self) -> None:
        """Make both."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.path = self.directory / "some.sqlite3"
        with contextlib.closing(sqlite3.connect(self.path)) as database, database:
            database.execute("CREATE TABLE one (value TEXT)")
            database.executemany("INSERT INTO one VALUES (?)", [("x" * 100,)] * 1000)

    def test_whole(self) -> None:
        """Nothing is wrong with a database that is whole, and it is left as it was."""
        before = self.path.read_bytes()
        self.assertEqual(check_databases(self.directory), [])
        self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual([path.name for path in self.directory.iterdir()], ["some.sqlite3"])

    def test_damaged(self) -> None:
        """A damaged database is seen."""
        data = bytearray(self.path.read_bytes())
        data[8192:12288] = b"\x55" * 4096
        self.path.write_bytes(data)
        self.assertEqual(len(check_databases(self.directory)), 1)

    def test_none(self) -> None:
        """A server without a database has not been looked at."""
        self.path.unlink()
        self.assertEqual(len(check_databases(self.directory)), 1)

    def test_table(self) -> None:
        """The table has the median and the most of what was measured, and what is allowed."""
        lines = Times(links=[1.0, 2.0, 9.0]).report(60.0)
        self.assertEqual(lines[1].split(), ["links", "are", "up", "2.00", "9.00", "60.00"])
        self.assertEqual(len(lines), 2)
