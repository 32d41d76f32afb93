"""What a client does not forget when it ends."""

from __future__ import annotations

import sqlite3
import tempfile
import unittest
from contextlib import closing
from pathlib import Path
from unittest import mock

import memory
import socp
from database import Database, DatabaseError
from errors import NotRemembered
from memory import Concluded, Showing, Shown
from settings import Limits
from threads import Deadline

PATIENCE = 30.0  # seconds
HOUR = 60 * 60 * 1000
FILE_ID = "3f0c1b9e-8a44-4d0e-9a5e-6f6f2f9f1c11"


class MemoryTest(unittest.TestCase):
    """A memory, and the one of the next process."""

    def setUp(self) -> None:
        """Make its database."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "messages.sqlite3"
        self.start()

    def start(self) -> None:
        """Open the database, as the next process does."""
        self.database = Database(self.path, (memory.SCHEMA,), 5.0)
        self.database.start()
        self.addCleanup(self.database.close, Deadline(5.0))
        self.shown = Shown(self.database, "shown", HOUR, 3)
        self.concluded = Concluded(self.database, Limits(shown=2, shown_age=HOUR))

    def restart(self) -> None:
        """End this process, and begin the next."""
        self.database.close(Deadline(5.0))
        self.start()

    def later(self) -> mock._patch[object]:
        """Return a patch after which the clock is two hours ahead."""
        right = socp.now_ms
        return mock.patch("socp.now_ms", lambda: right() + 2 * HOUR)


class ShownTest(MemoryTest):
    """Messages that were shown."""

    def test_across_restarts(self) -> None:
        """Whether a message is new, begun or done is known to the next process too; one that was undone is new."""
        for msg_ref in ("begun", "done", "undone"):
            self.assertIs(self.shown.of(msg_ref), Showing.NEW)
            self.shown.begin(msg_ref)
            self.assertIs(self.shown.of(msg_ref), Showing.BEGUN)
        self.shown.done("done")
        self.shown.undo("undone")
        expected = {"begun": Showing.BEGUN, "done": Showing.DONE, "undone": Showing.NEW}
        for _ in range(2):
            self.assertEqual({msg_ref: self.shown.of(msg_ref) for msg_ref in expected}, expected)
            self.restart()

    def test_on_the_disk(self) -> None:
        """What says that it was written that a message was shown says so when another process finds it there."""
        self.shown.begin("a")
        self.assertTrue(self.shown.done("a").wait(PATIENCE))
        with closing(sqlite3.connect(self.path)) as connection:
            self.assertEqual(connection.execute("SELECT msg_ref, done FROM shown").fetchall(), [("a", 1)])
        self.database.close(Deadline(5.0))
        with self.assertLogs("socp.database", "WARNING"):
            self.assertTrue(self.shown.done("b").wait(PATIENCE))  # which it never will be

    def test_not_written(self) -> None:
        """What cannot be written down has not begun; it can be when the disk is well, whatever the disk has kept."""
        with (
            mock.patch.object(self.database, "commit", side_effect=DatabaseError("full")),
            self.assertRaises(DatabaseError),
        ):
            self.shown.begin("a")
        self.assertIs(self.shown.of("a"), Showing.NEW)
        self.shown.begin("a")
        self.shown._known.clear()  # as if that write had been said to fail
        self.shown.begin("a")
        self.assertIs(self.shown.of("a"), Showing.BEGUN)

    def test_bounded(self) -> None:
        """The newest are remembered, as many as may be, by this process and the next."""
        for msg_ref in "abcde":
            self.shown.done(msg_ref)
        for _ in range(2):
            known = [msg_ref for msg_ref in "abcde" if self.shown.of(msg_ref) is Showing.DONE]
            self.assertEqual(known, ["c", "d", "e"])
            self.restart()

    def test_forgotten_when_told(self) -> None:
        """What is too old is let go of when that is asked for, and not before."""
        self.shown.done("a")
        with self.later():
            self.restart()
            self.assertIs(self.shown.of("a"), Showing.DONE)
            self.shown.forget_old()
            self.restart()
        self.assertIs(self.shown.of("a"), Showing.NEW)


class ConcludedTest(MemoryTest):
    """Files that came to an end."""

    def test_across_restarts(self) -> None:
        """How a file ended is known to the next process too, by its sender and its id; the newest of them are."""
        for sender in ("one", "other", "third"):
            self.concluded.add(sender, FILE_ID, "complete", sender)
        for _ in range(2):
            found = [self.concluded.get(sender, FILE_ID) for sender in ("one", "other", "third", "nobody")]
            self.assertEqual(found, [None, ("complete", "other"), ("complete", "third"), None])
            self.restart()

    def test_bounded_on_the_disk(self) -> None:
        """What is forgotten is let go of on the disk, at once; what an older program has left there, when told."""
        for number in range(20):
            self.concluded.add(str(number), FILE_ID, "failed", "00")
        self.assertEqual(self.kept(), ["18", "19"])
        row = "INSERT INTO concluded VALUES (?, ?, 'failed', '00', ?)"
        for number in range(5):
            self.database.write_soon(row, f"old {number}", FILE_ID, number)
        self.assertEqual(len(self.kept()), 7)
        self.concluded.forget_old()
        self.assertEqual(self.kept(), ["18", "19"])

    def kept(self) -> list[str]:
        """Return whose files are on the disk, in the order of their ends, once all is written."""
        self.database.commit(lambda connection: connection.execute("SELECT 1"))
        with self.database.reading() as connection:
            rows = connection.execute("SELECT sender FROM concluded ORDER BY at, CAST(sender AS INTEGER)").fetchall()
        return [sender for (sender,) in rows]

    def test_not_written(self) -> None:
        """That it cannot be written down is said."""
        with (
            mock.patch.object(self.database, "commit", side_effect=DatabaseError("full")),
            self.assertRaisesRegex(NotRemembered, "full"),
        ):
            self.concluded.add("one", FILE_ID, "failed", "00")

    def test_forgotten_when_told(self) -> None:
        """What is too old is let go of when that is asked for."""
        self.concluded.add("one", FILE_ID, "failed", "00")
        with self.later():
            self.concluded.forget_old()
            self.restart()
        self.assertIsNone(self.concluded.get("one", FILE_ID))
