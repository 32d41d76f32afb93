"""One thread that writes and commits in groups, and what it says when it cannot."""

from __future__ import annotations

import contextlib
import queue
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from database import Database, DatabaseError, Write
from tests.e2e.harness import ROOT
from threads import Deadline

PATIENCE = 10.0
SCHEMA = "CREATE TABLE things (number INTEGER PRIMARY KEY, text TEXT NOT NULL)"
_FILL = """
import os, resource, signal, sys
from pathlib import Path
from database import Database, DatabaseError
from threads import Deadline

database = Database(Path(sys.argv[1]), [], 1)
database.start()
database.commit(lambda connection: connection.execute("INSERT INTO things VALUES (1, 'before')"))
large = "x" * 1_000_000
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
for _ in range(2):
    with database.reading() as connection:
        assert connection.execute("SELECT number FROM things").fetchall() == [(1,)]
    try:
        database.commit(lambda connection: connection.execute("INSERT INTO things VALUES (2, ?)", (large,)))
    except DatabaseError as error:
        print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
database.commit(lambda connection: connection.execute("INSERT INTO things VALUES (3, ?)", (large,)))
database.close(Deadline(5))
"""
_CUT = """
import sys
from pathlib import Path
from database import Database

database = Database(Path(sys.argv[1]), [], 1)
database.start()
for number in range(100_000):
    text = str(number) * 200
    database.commit(lambda connection: connection.execute("INSERT INTO things VALUES (?, ?)", (number, text)))
    print(number, flush=True)
"""


def put(number: int, text: str | None = "") -> Write:
    """Return a write of one row; `None` for its text is wrong."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO things VALUES (?, ?)", (number, text))

    return write


def _break(_connection: sqlite3.Connection) -> None:
    raise KeyError("a bug")


class DatabaseTest(unittest.TestCase):
    """A database in a file."""

    def setUp(self) -> None:
        """Make one with a table."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "things.sqlite3"
        self.told: queue.SimpleQueue[DatabaseError | None] = queue.SimpleQueue()
        self.database = Database(self.path, [SCHEMA], 0.01)
        self.addCleanup(lambda: self.database.close(Deadline(PATIENCE)))

    def rows(self, query: str = "SELECT number FROM things ORDER BY number") -> list[Any]:
        """Return what a query finds."""
        with self.database.reading() as connection:
            return connection.execute(query).fetchall()

    def outcomes(self, count: int) -> list[DatabaseError | None]:
        """Return what was told of so many writes."""
        return [self.told.get(timeout=PATIENCE) for _ in range(count)]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that a writer needs, as another process may."""
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN EXCLUSIVE")
            yield

    def test_soon(self) -> None:
        """One statement is executed when its turn comes; that it could not be is logged, and nothing else is."""
        self.database.start()
        self.database.write_soon("INSERT INTO things VALUES (?, ?)", 7, "")
        self.database.commit(lambda _: None)
        self.assertEqual(self.rows(), [(7,)])
        self.database.close(Deadline(PATIENCE))
        with self.assertLogs("socp.database", "WARNING"):
            self.database.write_soon("INSERT INTO things VALUES (?, ?)", 8, "")

    def test_committed_when_told(self) -> None:
        """Whoever is told that a write is committed finds it there by another connection."""
        self.database.start()
        found: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.database.write(put(1), lambda error: found.put((error, self.rows())))
        self.assertEqual(found.get(timeout=PATIENCE), (None, [(1,)]))
        self.database.commit(put(2))
        self.assertEqual(self.rows(), [(1,), (2,)])

    def test_survives_a_power_cut(self) -> None:
        """Each commit is on the disk before it is said: that is what WAL with full synchronisation is."""
        with self.database.reading() as connection:
            self.assertEqual(connection.execute("PRAGMA journal_mode").fetchone(), ("wal",))
            self.assertEqual(connection.execute("PRAGMA synchronous").fetchone(), (2,))

    def test_secret(self) -> None:
        """What is deleted from a secret database is overwritten, and can be made to leave nothing in its files."""
        path = self.path.with_name("secrets.sqlite3")
        database = Database(path, [SCHEMA], 0.01, secret=True)
        self.addCleanup(lambda: database.close(Deadline(PATIENCE)))
        database.start()
        with database.reading() as connection:
            self.assertEqual(connection.execute("PRAGMA secure_delete").fetchone(), (1,))
        for number in range(50):
            database.commit(put(number, "gone" * 50 if number % 2 else "stays" * 50))
        database.commit(lambda connection: connection.execute("DELETE FROM things WHERE number % 2"))
        database.erase_deleted()
        files = b"".join(file.read_bytes() for file in path.parent.glob("secrets.*"))
        self.assertEqual((files.count(b"gone"), files.count(b"stays")), (0, 25 * 50))

    def test_in_groups(self) -> None:
        """What waits together is committed together: nothing of it can be seen until all of it can be."""
        seen: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(400):
            self.database.write(put(number), lambda _: seen.put(len(self.rows())))
        self.database.start()
        self.assertEqual({seen.get(timeout=PATIENCE) for _ in range(400)}, {400})

    def test_wrong_writes(self) -> None:
        """A write that cannot be, or that fails by a bug, is told so, and harms none of those that waited with it."""
        self.database.write(put(1), self.told.put)
        self.database.write(put(2, None), self.told.put)
        self.database.write(put(1), self.told.put)
        self.database.write(_break, self.told.put)
        self.database.write(put(3), self.told.put)
        with self.assertLogs("socp.database", "CRITICAL"):
            self.database.start()
            outcomes = self.outcomes(5)
        self.assertEqual([error is None for error in outcomes], [True, False, False, False, True])
        self.assertEqual(self.rows(), [(1,), (3,)])
        self.database.commit(put(4))

    def test_half_a_write(self) -> None:
        """Of a write that fails in its middle nothing is left."""
        self.database.start()

        def write(connection: sqlite3.Connection) -> None:
            put(1)(connection)
            put(2, None)(connection)

        with self.assertLogs("socp.database", "CRITICAL"):
            self.assertRaises(DatabaseError, self.database.commit, write)
        self.assertEqual(self.rows(), [])

    def test_an_end_that_fails(self) -> None:
        """Whoever fails over what it is told keeps nobody else from being told."""
        self.database.write(put(1), lambda _: self.fail("a bug"))
        self.database.write(put(2), self.told.put)
        with self.assertLogs("socp.database", "CRITICAL"):
            self.database.start()
            self.assertEqual(self.outcomes(1), [None])

    def test_locked(self) -> None:
        """A lock of another process fails a write when patience is over, not before nor for ever; reading goes on."""
        self.database.start()
        self.database.commit(put(1))
        with self.locked():
            for number in (2, 3):
                self.database.write(put(number), self.told.put)
            for error in self.outcomes(2):
                self.assertIn("locked", str(error))
            self.assertEqual(self.rows(), [(1,)])
        self.database.commit(put(4))
        self.assertEqual(self.rows(), [(1,), (4,)])

    def test_lock_that_goes_in_time(self) -> None:
        """A lock that is given back within patience costs nothing but time."""
        database = Database(self.path, [SCHEMA], PATIENCE)
        database.start()
        self.addCleanup(lambda: database.close(Deadline(PATIENCE)))
        with self.locked():
            database.write(put(1), self.told.put)
            self.assertTrue(self.told.empty())
        self.assertEqual(self.outcomes(1), [None])

    def test_too_much_waits(self) -> None:
        """What is more than may wait is refused at once, and what waits is written."""
        for number in range(10_001):
            self.database.write(put(number), self.told.put)
        self.assertIn("too much waits", str(self.told.get_nowait()))
        self.database.start()
        self.assertEqual(set(self.outcomes(10_000)), {None})

    def test_close(self) -> None:
        """Closing writes what waits, and what its end gives rise to; what comes later is told that it was not."""
        self.database.write(put(1), lambda _: self.database.write(put(2), self.told.put))
        self.database.start()
        self.database.close(Deadline(PATIENCE))
        self.assertEqual(self.outcomes(1), [None])
        self.assertEqual(self.rows(), [(1,), (2,)])
        self.database.write(put(3), self.told.put)
        self.assertIn("closed", str(self.told.get_nowait()))
        self.assertRaises(DatabaseError, self.database.commit, put(4))
        self.database.close(Deadline(PATIENCE))

    def test_close_in_time(self) -> None:
        """A disk that does not answer does not keep a program from ending."""
        go_on = threading.Event()
        self.addCleanup(go_on.set)

        def write(_: sqlite3.Connection) -> None:
            go_on.wait(PATIENCE)

        self.database.write(write, self.told.put)
        self.database.start()
        with self.assertLogs("socp.database", "WARNING") as logs:
            self.database.close(Deadline(0.05))
        self.assertIn("did not end in time: things.sqlite3 writer", logs.output[0])

    def test_upgrade(self) -> None:
        """Each version is made from the one before, once, and what is in it stays."""
        self.database.start()
        self.database.commit(put(1))
        more = "ALTER TABLE things ADD COLUMN more INTEGER; UPDATE things SET more = 5"
        for _ in range(2):
            Database(self.path, [SCHEMA, more], 0)
            self.assertEqual(self.rows("SELECT number, more FROM things"), [(1, 5)])
        self.assertEqual(self.rows("PRAGMA user_version"), [(2,)])

    def test_upgrade_that_fails(self) -> None:
        """An upgrade that cannot be done leaves the database as it was."""
        with self.assertRaisesRegex(DatabaseError, "things.sqlite3"):
            Database(self.path, [SCHEMA, "CREATE TABLE more (x); CREATE TABLE things (y)"], 0)
        self.assertEqual(self.rows("PRAGMA user_version"), [(1,)])
        self.assertEqual(self.rows("SELECT name FROM sqlite_master"), [("things",)])

    def test_refused(self) -> None:
        """What a newer version wrote, what is no database, and what cannot be written to are refused, and stay."""
        with self.assertRaisesRegex(DatabaseError, "newer version"):
            Database(self.path, [], 0)
        with mock.patch("os.access", return_value=False), self.assertRaisesRegex(DatabaseError, "read-only"):
            Database(self.path, [SCHEMA], 0)  # see e2e/test_mail.py for the real thing
        other = self.path.with_name("other.sqlite3")
        other.write_bytes(b"no database" * 100)
        with self.assertRaisesRegex(DatabaseError, "other.sqlite3"):
            Database(other, [SCHEMA], 0)
        self.assertEqual(other.read_bytes(), b"no database" * 100)
        with self.assertRaisesRegex(DatabaseError, "cannot make the database"):
            Database(self.path.with_name("missing") / "x.sqlite3", [SCHEMA], 0)

    def run_script(self, script: str) -> subprocess.Popen[str]:
        """Run a script that writes to the database."""
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(self.path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def check(self) -> None:
        """Check that the file is a whole database."""
        self.assertEqual(self.rows("PRAGMA integrity_check"), [("ok",)])

    def test_full_disk(self) -> None:
        """A disk that is full fails what does not fit, harms nothing, and is written to when there is room again."""
        with self.database.reading() as connection:
            connection.execute("PRAGMA user_version = 0")
        process = self.run_script(_FILL)
        output, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0)
        self.assertEqual(output.count("cannot write to"), 2)
        self.check()
        self.assertEqual(self.rows(), [(1,), (3,)])

    def test_killed(self) -> None:
        """A process that is killed while it writes leaves a whole database with all that was said to be committed."""
        with self.database.reading() as connection:
            connection.execute("PRAGMA user_version = 0")
        process = self.run_script(_CUT)
        assert process.stdout is not None
        while (last := int(process.stdout.readline())) < 50:
            continue
        process.send_signal(signal.SIGKILL)
        for line in process.stdout.read().split("\n")[:-1]:
            last = int(line)
        process.stdout.close()
        self.check()
        written = [number for (number,) in self.rows()]
        self.assertEqual(written, list(range(len(written))))
        self.assertGreater(len(written), last)
