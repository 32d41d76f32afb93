"""The message history of a profile: an SQLite file whose rows are sealed under the password of the profile's key.

    password ── scrypt ──▶ a key that wraps ──▶ 32 random bytes ── HKDF ──▶ the key of the rows (AES-256-GCM)
                                                                       └──▶ the key of the marks (HMAC-SHA-256)

Who, when and what stands in the sealed part of a row. Beside it stand its number and two marks, keyed hashes by which
the rows of one user, and the one of a message of ours, are found. Who has the file and not the password learns how
many messages there are, how long they are, and how many each of some people without a name wrote and got.

The tag of a row covers its number and its marks: no row opens in the place of another.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import hmac
import itertools
import json
import logging
import os
import sqlite3
import unicodedata
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from crypto.passwords import NotUnwrapped, Wrapped, unwrap, wrap
from database import Database, DatabaseError
from errors import HistoryLocked, NotRemembered
from threads import Deadline

log = logging.getLogger("socp.journal")

FILE_NAME = "history.sqlite3"  # in the profile
ROWS_MOST = 200_000
BYTES_MOST = 256 * 1024 * 1024

_SCHEMA = """
CREATE TABLE wrapped (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    work INTEGER NOT NULL,
    salt BLOB NOT NULL,
    nonce BLOB NOT NULL,
    sealed BLOB NOT NULL
);
CREATE TABLE past (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    peer BLOB NOT NULL,
    message BLOB NOT NULL,
    sealed BLOB NOT NULL
);
CREATE INDEX past_by_peer ON past (peer);
CREATE INDEX past_by_message ON past (message)
"""
_ALL = "SELECT number, peer, message, sealed FROM past ORDER BY number DESC"
_OF_ONE = "SELECT number, peer, message, sealed FROM past WHERE peer = ? ORDER BY number DESC"
_NEWEST_OF_EACH = """
SELECT number, peer, message, sealed FROM past WHERE number IN (SELECT max(number) FROM past GROUP BY peer)
"""
_OLDEST = "DELETE FROM past WHERE number IN (SELECT number FROM past ORDER BY number LIMIT ?)"

_LABEL = b"socp history 1 data key"
_ROW_LABEL = b"socp history 1 row"
_MARK_BYTES = 16
_NONCE_BYTES = 12
_TRIM_EVERY = 100  # rows
_TRIM_STEP = 10
_PATIENCE = 5.0  # seconds; nobody else should have the file, but a backup may

_NO_PASSWORD = "the history is encrypted with the password of the key, and this key has none"  # noqa: S105 - a text


class Fate(str, enum.Enum):
    """What became of a message of ours; of one from somebody else, nothing."""

    NONE = ""
    SENT = "sent"
    STORED = "stored"
    DELIVERED = "delivered"
    UNCONFIRMED = "not confirmed"
    FAILED = "failed"


@dataclass(frozen=True)
class Entry:
    """A message of the past. What others have written in it is raw: show it with `visible`.

    Attributes:
        peer: the id of the other end; of a broadcast of ours, our own.
        name: the display name that the other end had signed then, or the empty string.
        text: what it says.
        ts: Unix ms.
        outgoing: it is ours.
        public: it is a broadcast.
        fate: of one of ours.
        reason: of its failure, for people.
    """

    peer: str
    name: str
    text: str
    ts: int
    outgoing: bool = False
    public: bool = False
    fate: Fate = Fate.NONE
    reason: str = ""


class Journal:
    """The history in a file, for this process alone. End with `close`.

    Args:
        path: where it is; made if it is not there.
        password: of the profile's key.

    Raises:
        HistoryLocked: there is no password, or another one was used.
        NotRemembered: it cannot be read or written.
    """

    def __init__(self, path: Path, password: str) -> None:
        if not password:
            raise HistoryLocked(_NO_PASSWORD, "set one with `client.py key password`, or go on without --history")
        self.path = path
        self._warned_of_damage = self._warned_of_writing = False
        self._database = _open_database(path)
        with contextlib.ExitStack() as stack:
            stack.callback(self.close, Deadline(_PATIENCE))
            secret = self._data_key(password)
            stack.pop_all()
        self._rows = AESGCM(_subkey(secret, b"rows"))
        self._marks = _subkey(secret, b"marks")

    def _data_key(self, password: str) -> bytes:
        """Return the key to everything, made if there is none."""
        wrapped = _read_wrapped(self._database)
        if wrapped is not None:
            return _unwrap(self.path, wrapped, password)
        secret = os.urandom(32)
        _write_wrapped(self._database, wrap(secret, password, _LABEL))
        return secret

    def close(self, deadline: Deadline) -> None:
        """Write what waits, and end; harmless when repeated."""
        self._database.close(deadline)

    # --- writing ------------------------------------------------------------------------------------------------

    def record(self, entry: Entry, reference: str = "") -> None:
        """Write a message down, soon; one that cannot be is missing, and a warning says so once.

        Args:
            entry: the message.
            reference: what `set_fate` calls it by.
        """
        peer, message = self._mark(b"peer", entry.peer), self._mark(b"message", reference) if reference else b""

        def write(connection: sqlite3.Connection) -> None:
            number = connection.execute(
                "INSERT INTO past (peer, message, sealed) VALUES (?, ?, x'')", (peer, message)
            ).lastrowid
            assert number is not None
            sealed = self._seal(entry, number, peer, message)
            connection.execute("UPDATE past SET sealed = ? WHERE number = ?", (sealed, number))
            if number % _TRIM_EVERY == 0:
                _trim(connection)

        self._database.write(write, self._note_written)

    def set_fate(self, reference: str, fate: Fate, reason: str = "") -> None:
        """Write down what became of a message of ours, soon; nothing if it is not in the history."""
        message = self._mark(b"message", reference)

        def write(connection: sqlite3.Connection) -> None:
            row = connection.execute(
                "SELECT number, peer, message, sealed FROM past WHERE message = ? ORDER BY number DESC LIMIT 1",
                (message,),
            ).fetchone()
            entry = self._open(row) if row is not None else None
            if entry is not None:
                changed = replace(entry, fate=fate, reason=reason)
                sealed = self._seal(changed, row[0], row[1], message)
                connection.execute("UPDATE past SET sealed = ? WHERE number = ?", (sealed, row[0]))

        self._database.write(write, self._note_written)

    def _note_written(self, error: DatabaseError | None) -> None:
        if error is not None and not self._warned_of_writing:
            log.warning("messages are missing in the history: %s", error)
        self._warned_of_writing = error is not None

    def forget(self, user_id: str) -> int:
        """Delete what a user has written, and what was written to that user; nothing of it is left in the file.

        Returns:
            How many messages there were.

        Raises:
            NotRemembered: not all of it could be deleted, or overwritten; it can be tried again.
        """
        peer, counts = self._mark(b"peer", user_id), [0]

        def write(connection: sqlite3.Connection) -> None:
            counts.append(connection.execute("DELETE FROM past WHERE peer = ?", (peer,)).rowcount)

        try:
            self._database.commit(write)
            self._database.erase_deleted()
        except DatabaseError as error:
            raise NotRemembered(str(error)) from error
        return counts[-1]

    # --- reading ------------------------------------------------------------------------------------------------

    def last(self, most: int, user_id: str = "") -> list[Entry]:
        """Return the newest messages, in their order.

        Args:
            most: how many.
            user_id: of and to whom; everybody if it is empty.

        Raises:
            NotRemembered: they cannot be read.
        """
        return self._newest(most, lambda _: True, user_id)

    def search(self, words: str, most: int) -> list[Entry]:
        """Return the newest messages in whose text each of some words is found, large or small, in their order.

        Raises:
            NotRemembered: they cannot be read.
        """
        wanted = _folded(words).split()

        def holds(entry: Entry) -> bool:
            text = _folded(entry.text)
            return all(word in text for word in wanted)

        return self._newest(most, holds)

    def peers(self, wanted: Callable[[Entry], bool]) -> set[str]:
        """Return the ids of those users whose newest message is wanted.

        Raises:
            NotRemembered: they cannot be read.
        """
        with contextlib.closing(self._entries(_NEWEST_OF_EACH)) as entries:
            return {entry.peer for entry in entries if wanted(entry)}

    def _newest(self, most: int, wanted: Callable[[Entry], bool], user_id: str = "") -> list[Entry]:
        chosen = (_OF_ONE, self._mark(b"peer", user_id)) if user_id else (_ALL,)
        with contextlib.closing(self._entries(*chosen)) as entries:
            found = list(itertools.islice(filter(wanted, entries), most))
        return found[::-1]

    def _entries(self, statement: str, *values: bytes) -> Generator[Entry, None, None]:
        """Yield the messages that open, one by one: all of them could fill the memory."""
        try:
            with self._database.reading() as connection:
                for row in connection.execute(statement, values):
                    entry = self._open(row)
                    if entry is not None:
                        yield entry
        except DatabaseError as error:
            raise NotRemembered(str(error)) from error

    # --- rows ---------------------------------------------------------------------------------------------------

    def _mark(self, kind: bytes, text: str) -> bytes:
        data = kind + b"\0" + text.encode("utf-8")
        return hmac.new(self._marks, data, hashlib.sha256).digest()[:_MARK_BYTES]

    def _seal(self, entry: Entry, number: int, peer: bytes, message: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        plain = json.dumps(asdict(entry)).encode("ascii")
        return nonce + self._rows.encrypt(nonce, plain, _row_label(number, peer, message))

    def _open(self, row: tuple[int, bytes, bytes, bytes]) -> Entry | None:
        """Return what a row says, and None if it is damaged, or was not written here."""
        number, peer, message, sealed = row
        try:
            label = _row_label(number, peer, message)
            plain = self._rows.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], label)
            values = json.loads(plain)
            return Entry(**{**values, "fate": Fate(values["fate"])})
        except (InvalidTag, ValueError, TypeError, KeyError, OverflowError):
            if not self._warned_of_damage:
                self._warned_of_damage = True
                log.warning("the history in %s is damaged; what does not open is passed over", self.path)
            return None


def change_password(path: Path, old: str, new: str) -> None:
    """Have a history open with another password from now on; nothing if there is none.

    Call it before the key gets the new password; the other way round if that fails. A change that was interrupted is
    ended by doing it again.

    Args:
        path: of the history.
        old: the key's password until now; empty for none.
        new: the one that it gets; empty for none.

    Raises:
        HistoryLocked: it does not open with the old password, or there is no new one.
        NotRemembered: it cannot be read or written.
    """
    if not path.exists():
        return
    if not new:
        raise HistoryLocked(
            "the history is encrypted with the password of the key, which cannot be taken away from it",
            f"remove {path} first, and all that it remembers",
        )
    database = _open_database(path)
    try:
        wrapped = _read_wrapped(database)
        if wrapped is None:
            return  # there is nothing in it yet
        try:
            secret = unwrap(wrapped, old, _LABEL)
        except NotUnwrapped:
            _unwrap(path, wrapped, new)
            return  # this was done before
        _write_wrapped(database, wrap(secret, new, _LABEL))
    finally:
        database.close(Deadline(_PATIENCE))


def _open_database(path: Path) -> Database:
    try:
        database = Database(path, (_SCHEMA,), _PATIENCE, secret=True)
        database.start()
    except DatabaseError as error:
        raise NotRemembered(str(error)) from error
    return database


def _unwrap(path: Path, wrapped: Wrapped, password: str) -> bytes:
    try:
        return unwrap(wrapped, password, _LABEL)
    except NotUnwrapped as error:
        raise HistoryLocked(
            f"the history in {path} does not open with the password of the key: it has another one, or is damaged",
            f"give the key the password that it had before, or move {path} away to begin a new history",
        ) from error


def _read_wrapped(database: Database) -> Wrapped | None:
    """Return what the key to everything is made of; None if nothing was written yet."""
    try:
        with database.reading() as connection:
            row = connection.execute("SELECT work, salt, nonce, sealed FROM wrapped").fetchone()
            begun = connection.execute("SELECT EXISTS (SELECT 1 FROM past)").fetchone()[0]
    except DatabaseError as error:
        raise NotRemembered(str(error)) from error
    if row is None and not begun:
        return None
    if row is None or tuple(map(type, row)) != (int, bytes, bytes, bytes):
        raise NotRemembered(f"{database.path} is damaged: it lacks the key to what is in it; move it away")
    return Wrapped(*row)


def _write_wrapped(database: Database, wrapped: Wrapped) -> None:
    """Write down what the key to everything is made of, and leave nothing of what it was made of before."""
    values = (wrapped.work, wrapped.salt, wrapped.nonce, wrapped.sealed)
    statement = "INSERT OR REPLACE INTO wrapped VALUES (1, ?, ?, ?, ?)"
    try:
        database.commit(lambda connection: connection.execute(statement, values))
        database.erase_deleted()
    except DatabaseError as error:
        raise NotRemembered(str(error)) from error


def _subkey(secret: bytes, use: bytes) -> bytes:
    return HKDFExpand(hashes.SHA256(), 32, b"socp history 1 " + use).derive(secret)


def _row_label(number: int, peer: bytes, message: bytes) -> bytes:
    return b"".join((_ROW_LABEL, number.to_bytes(8, "big"), bytes((len(peer),)), peer, message))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _trim(connection: sqlite3.Connection) -> None:
    """Delete the oldest messages while there are too many, or too long ones."""
    count = connection.execute("SELECT count(*) FROM past").fetchone()[0]
    connection.execute(_OLDEST, (max(0, count - ROWS_MOST),))
    while _used(connection) > BYTES_MOST:
        if not connection.execute(_OLDEST, (_TRIM_STEP,)).rowcount:
            break


def _used(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
