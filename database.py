"""SQLite as the programs use it: one thread that writes and commits in groups, and connections of their own to read.

Whoever has something to write gives it to that thread, and is told when it is committed, or that it could not be: a
slow, full or locked disk holds up nobody who does not choose to wait for it. What is said to be committed survives a
power cut.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from threads import Deadline, Threads

log = logging.getLogger("socp.database")

# Writes that may wait for the disk; beyond, they fail at once.
_WAITING_MOST = 10_000
# Of one transaction: what is behind it waits for it.
_BATCH_MOST = 500

# What the values of a write can be the reason of, and not the disk.
_WRONG = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)

Write = Callable[[sqlite3.Connection], object]
Done = Callable[["DatabaseError | None"], None]


class DatabaseError(Exception):
    """Raised when a database cannot be opened, read or written; says which, and why."""


class Database:
    """One file.

    Args:
        path: where it is; made if it is not there.
        versions: the statements that lead from each version of the schema to the next, the first from nothing.
        patience: seconds to wait for a lock that another process has on it.
        secret: what is deleted is overwritten in the file; see also `erase_deleted`.

    Raises:
        DatabaseError: it cannot be opened or written to, is not ours, or is of a newer version.
    """

    def __init__(self, path: Path, versions: Sequence[str], patience: float, *, secret: bool = False) -> None:
        self.path = path
        self._patience = patience
        self._secret = secret
        self._threads = Threads()
        self._changed = threading.Condition()  # guards the three below
        self._waiting: deque[tuple[Write, Done]] = deque()
        self._closed = False
        self._writer: threading.Thread | None = None
        self._create()
        with self.reading() as connection:
            self._upgrade(connection, versions)

    def _create(self) -> None:
        """Make the file, if it is not there, with its mode: what others write to each other is not for everybody."""
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return
        except OSError as error:
            raise DatabaseError(f"cannot make the database {self.path}: {error.strerror}") from error

    def _upgrade(self, connection: sqlite3.Connection, versions: Sequence[str]) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(versions):
            raise DatabaseError(f"{self.path} was written by a newer version of this program")
        # SQLite would open it to read alone, and say so at the first write: too late for whoever starts a program.
        if not os.access(self.path, os.W_OK):
            raise DatabaseError(f"cannot write to {self.path}: it is read-only")
        if version == len(versions):
            return
        connection.execute("BEGIN IMMEDIATE")
        for statements in versions[version:]:
            for statement in statements.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(versions)}")
        connection.execute("COMMIT")

    def start(self) -> None:
        """Begin to write.

        Raises:
            DatabaseError: there is no thread to be had for it.
        """
        if not self._threads.start(f"{self.path.name} writer", self._run):
            raise DatabaseError(f"cannot write to {self.path}: the system has no more threads")

    # --- reading ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Provide a connection to read with; it sees all that has been committed.

        Raises:
            DatabaseError: it cannot be read.
        """
        try:
            with contextlib.closing(self._open()) as connection:
                yield connection
        except sqlite3.Error as error:
            raise DatabaseError(f"cannot use the database {self.path}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=self._patience)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA fullfsync = ON")  # macOS: to the disk itself, and not to its cache
            if self._secret:
                connection.execute("PRAGMA secure_delete = ON")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    # --- writing ------------------------------------------------------------------------------------------------

    def write(self, write: Write, done: Done) -> None:
        """Have something written, in a transaction with what else waits; waits for nothing itself.

        Args:
            write: executes its statements, in the writer's thread; nothing that is not the same when done again.
            done: told, in the writer's thread, that all of it is committed (None), or why none of it is.
        """
        with self._changed:
            # What the end of a write gives rise to is part of what waits when this is closed.
            open_to_it = not self._closed or threading.current_thread() is self._writer
            room = open_to_it and len(self._waiting) < _WAITING_MOST
            if room:
                self._waiting.append((write, done))
                self._changed.notify_all()
        if not room:
            done(DatabaseError(f"cannot write to {self.path}: it is closed, or too much waits to be written"))

    def write_soon(self, statement: str, *values: object) -> threading.Event:
        """Have one statement executed; that it could not be is logged, for what harms nobody if it is lost.

        Returns:
            what is set once it is committed, or could not be.
        """
        ended = threading.Event()

        def done(error: DatabaseError | None) -> None:
            if error is not None:
                log.warning("%s", error)
            ended.set()

        self.write(lambda connection: connection.execute(statement, values), done)
        return ended

    def commit(self, write: Write) -> None:
        """Write something, and wait until it is committed.

        Raises:
            DatabaseError: nothing of it is.
        """
        ended = threading.Event()
        failures: list[DatabaseError] = []

        def done(error: DatabaseError | None) -> None:
            if error is not None:
                failures.append(error)
            ended.set()

        self.write(write, done)
        ended.wait()
        if failures:
            raise failures[0]

    def erase_deleted(self) -> None:
        """Leave nothing in the file, or in the log beside it, of what has been deleted; all of it is written anew.

        Raises:
            DatabaseError: something of it may be left; it can be tried again.
        """
        with self.reading() as connection:
            # The log holds pages as they were. And SQLite moves rows within its pages and between them, and does not
            # overwrite all of the places where they have been: only a file that is written anew is known to be clean.
            for statement in ("PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                blocked = connection.execute(statement).fetchone()
                if blocked is not None and blocked[0]:
                    raise DatabaseError(f"cannot erase what was deleted from {self.path}: it is in use")

    def close(self, deadline: Deadline) -> None:
        """Write what waits, and end; harmless when repeated."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if left := self._threads.join(deadline):
            log.warning("threads that did not end in time: %s", ", ".join(left))

    def _run(self) -> None:
        with self._changed:
            self._writer = threading.current_thread()
        connection = self._replace(None)
        try:
            while batch := self._next_batch():
                connection = self._write_batch(connection, batch)
        finally:
            if connection is not None:
                connection.close()

    def _next_batch(self) -> list[tuple[Write, Done]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return [self._waiting.popleft() for _ in range(min(_BATCH_MOST, len(self._waiting)))]

    def _write_batch(
        self, connection: sqlite3.Connection | None, batch: list[tuple[Write, Done]]
    ) -> sqlite3.Connection | None:
        """Commit all of a batch or none of it; return the connection, None if it is of no use any more."""
        failure: DatabaseError | None = None
        try:
            connection = connection if connection is not None else self._open()
            _transact(connection, [write for write, _ in batch])
        except Exception as error:
            wrong = isinstance(error, _WRONG) or not isinstance(error, sqlite3.Error)
            if wrong and len(batch) > 1:  # one of them is: the others are not to suffer
                for entry in batch:
                    connection = self._write_batch(connection, [entry])
                return connection
            failure = DatabaseError(f"cannot write to {self.path}: {error}")
            if wrong:
                # A bug of ours. It must not end the thread that everybody else's writes wait for.
                log.critical("a write is wrong: %s", error, exc_info=True)
            else:
                connection = self._replace(connection)
        for _, done in batch:
            try:
                done(failure)
            except Exception:
                # A bug of ours: whoever waits for the writes behind it must still be told of theirs.
                log.critical("the end of a write was not handled", exc_info=True)
        return connection

    def _replace(self, connection: sqlite3.Connection | None) -> sqlite3.Connection | None:
        """Return a new connection for the writer, which after a fault of the disk relies on nothing of the old one.

        The old one is closed last: without any, the next would have to make the index of the log anew, so that on a
        full disk nothing could be read.
        """
        try:
            new = self._open()
        except sqlite3.Error as error:
            log.debug("cannot open %s: %s", self.path, error)  # whose writes fail next is told
            return connection
        if connection is not None:
            connection.close()
        return new


def _transact(connection: sqlite3.Connection, writes: Sequence[Write]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for write in writes:
            write(connection)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
