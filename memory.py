"""What a client must not forget when it ends: the messages that it has shown, and the files that it is done with.

PROTOCOL.md sections 8.1 and 10. Without this memory a message that is sent again, by a server or by whoever has
recorded it, would be shown again to somebody who has started the client anew.
"""

from __future__ import annotations

import enum
import threading
from collections import OrderedDict

import socp
from database import Database, DatabaseError
from errors import NotRemembered
from settings import Limits

SCHEMA = """
CREATE TABLE shown (msg_ref TEXT PRIMARY KEY, begun INTEGER NOT NULL, done INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE shown_public (msg_ref TEXT PRIMARY KEY, begun INTEGER NOT NULL, done INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE concluded (
    sender TEXT NOT NULL,
    file_id TEXT NOT NULL,
    status TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (sender, file_id)
) WITHOUT ROWID;
"""


class Showing(enum.Enum):
    """What is remembered of a message."""

    NEW = enum.auto()  # nothing
    BEGUN = enum.auto()  # it was about to be shown, and nobody knows whether it was: the client died meanwhile
    DONE = enum.auto()  # it was shown


class Shown:
    """The messages that were shown, each by its msg_ref.

    No disk can be made to change in the very moment in which a line appears on a screen. So it is written down first
    that a message will be shown, and then that it was: one that was begun and not done is never shown again, and its
    sender is told that it failed.

    Args:
        database: the client's.
        table: "shown" for direct messages, "shown_public" for broadcasts: who sends many of those cannot push the
            others out of this memory.
        age: ms, for which messages are remembered.
        most: how many are.

    Raises:
        DatabaseError: it cannot be read.
    """

    def __init__(self, database: Database, table: str, age: int, most: int) -> None:
        self._database = database
        self._table = table
        self._age = age
        self._most = most
        self._lock = threading.Lock()  # guards _known
        with database.reading() as connection:
            rows = connection.execute(self._about("SELECT msg_ref, done FROM {table} ORDER BY begun")).fetchall()
        self._known: OrderedDict[str, Showing] = OrderedDict(
            (msg_ref, Showing.DONE if done else Showing.BEGUN) for msg_ref, done in rows[-most:]
        )

    def forget_old(self) -> None:
        """Let go on the disk of what is too old to be shown. Only with a clock that somebody else has agreed to."""
        self._write("DELETE FROM {table} WHERE begun < ?", socp.now_ms() - self._age)
        self._write(
            "DELETE FROM {table} WHERE msg_ref NOT IN (SELECT msg_ref FROM {table} ORDER BY begun DESC LIMIT ?)",
            self._most,
        )

    def of(self, msg_ref: str) -> Showing:
        """Return what is remembered of a message."""
        with self._lock:
            return self._known.get(msg_ref, Showing.NEW)

    def begin(self, msg_ref: str) -> None:
        """Write down that a message is about to be shown.

        Raises:
            DatabaseError: it is not written down, and must not be shown.
        """
        # A row that is there already is of a write that seemed to have failed.
        statement = self._about("INSERT INTO {table} VALUES (?, ?, 0) ON CONFLICT (msg_ref) DO NOTHING")
        now = socp.now_ms()
        self._database.commit(lambda connection: connection.execute(statement, (msg_ref, now)))
        self._note(msg_ref, Showing.BEGUN)

    def done(self, msg_ref: str) -> threading.Event:
        """Write down that a message was shown; what is returned is set once that is on the disk, or cannot be."""
        self._note(msg_ref, Showing.DONE)
        statement = "INSERT INTO {table} VALUES (?, ?, 1) ON CONFLICT (msg_ref) DO UPDATE SET done = 1"
        return self._write(statement, msg_ref, socp.now_ms())

    def undo(self, msg_ref: str) -> None:
        """Write down that a message could not be shown, so that it is when it comes again."""
        with self._lock:
            self._known.pop(msg_ref, None)
        self._write("DELETE FROM {table} WHERE msg_ref = ?", msg_ref)

    def _write(self, statement: str, *values: object) -> threading.Event:
        return self._database.write_soon(self._about(statement), *values)

    def _about(self, statement: str) -> str:
        """Return a statement about our table, whose name is the program's own."""
        return statement.format(table=self._table)

    def _note(self, msg_ref: str, showing: Showing) -> None:
        forgotten = ""
        with self._lock:
            self._known[msg_ref] = showing
            if len(self._known) > self._most:
                forgotten, _ = self._known.popitem(last=False)
        if forgotten:
            self._write("DELETE FROM {table} WHERE msg_ref = ?", forgotten)


class Concluded:
    """The files that came to an end here, whichever, each by its sender and its file_id; a finished.FinishedTransfers.

    Args:
        database: the client's.
        limits: for how long they are remembered.

    Raises:
        DatabaseError: it cannot be read.
    """

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._age = limits.shown_age
        self._most = limits.shown
        with database.reading() as connection:
            rows = connection.execute("SELECT sender, file_id, status, sha256 FROM concluded ORDER BY at").fetchall()
        self._lock = threading.Lock()  # guards _known
        self._known: OrderedDict[tuple[str, str], tuple[str, str]] = OrderedDict(
            ((sender, file_id), (status, sha256)) for sender, file_id, status, sha256 in rows[-self._most :]
        )

    def forget_old(self) -> None:
        """Let go on the disk of what is too old; see Shown.forget_old."""
        self._database.write_soon("DELETE FROM concluded WHERE at < ?", socp.now_ms() - self._age)
        self._database.write_soon(
            "DELETE FROM concluded WHERE (sender, file_id) NOT IN "
            "(SELECT sender, file_id FROM concluded ORDER BY at DESC LIMIT ?)",
            self._most,
        )

    def get(self, sender: str, file_id: str) -> tuple[str, str] | None:
        """Return the final status of a transfer and the SHA-256 of its file, in hex; None if it has not ended here."""
        with self._lock:
            return self._known.get((sender, file_id))

    def add(self, sender: str, file_id: str, status: str, sha256: str) -> None:
        """Write down how a transfer has ended, before anybody is told.

        Raises:
            NotRemembered: it is not written down.
        """
        row = (sender, file_id, status, sha256, socp.now_ms())
        statement = "INSERT OR REPLACE INTO concluded VALUES (?, ?, ?, ?, ?)"
        try:
            self._database.commit(lambda connection: connection.execute(statement, row))
        except DatabaseError as error:
            raise NotRemembered(str(error)) from error
        forgotten: tuple[str, str] | None = None
        with self._lock:
            self._known[(sender, file_id)] = (status, sha256)
            if len(self._known) > self._most:
                forgotten, _ = self._known.popitem(last=False)
        if forgotten is not None:  # on the disk too: whoever sends files must not fill it with what they were
            self._database.write_soon("DELETE FROM concluded WHERE sender = ? AND file_id = ?", *forgotten)
