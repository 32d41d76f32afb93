"""What a server remembers across restarts (PROTOCOL.md section 12), in SQLite.

All reading is done once, before the server starts. All writing is done by one thread, which commits whatever waits
in one transaction. What waits is kept by its key, the newest in place of the older, so that a slow disk makes it
neither grow without bound nor hold up the thread that routes. What cannot be written stays, and is tried again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import socp
from crypto.keys import PublicKey
from membership import Membership, read_membership
from origin import key_of
from socp import ProtocolError
from users import Attachment, User

log = logging.getLogger("socp.directory")

SCHEMA_VERSION = 1

# The first three are v1.3's (section 15.1). A server here holds no private key and no password of anybody: those
# two columns stay empty.
_SCHEMA = """
CREATE TABLE users (
    user_id TEXT PRIMARY KEY,
    pubkey TEXT NOT NULL,
    privkey_store TEXT NOT NULL DEFAULT '',
    pake_password TEXT NOT NULL DEFAULT '',
    meta TEXT NOT NULL DEFAULT '{}',
    version INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE groups (
    group_id TEXT PRIMARY KEY,
    creator_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    meta TEXT NOT NULL DEFAULT '{}',
    version INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE group_members (
    group_id TEXT NOT NULL REFERENCES groups (group_id),
    member_id TEXT NOT NULL,
    role TEXT NOT NULL DEFAULT 'member',
    wrapped_key TEXT NOT NULL DEFAULT '',
    added_at INTEGER NOT NULL,
    PRIMARY KEY (group_id, member_id)
);
CREATE TABLE attachments (
    user_id TEXT PRIMARY KEY REFERENCES users (user_id),
    home TEXT NOT NULL,
    caps TEXT NOT NULL,
    nonce TEXT NOT NULL,
    ts INTEGER NOT NULL,
    content_sig TEXT NOT NULL
);
CREATE TABLE memberships (
    server_id TEXT NOT NULL,
    introducer_id TEXT NOT NULL,
    statement TEXT NOT NULL,
    issued INTEGER NOT NULL,
    PRIMARY KEY (server_id, introducer_id)
);
"""

_SAVE_USER = """
INSERT INTO users (user_id, pubkey, meta) VALUES (:user_id, :pubkey, :meta)
ON CONFLICT (user_id) DO UPDATE SET meta = excluded.meta, version = version + 1 WHERE meta <> excluded.meta
"""
_SAVE_ATTACHMENT = """
INSERT INTO attachments (user_id, home, caps, nonce, ts, content_sig)
VALUES (:user_id, :home, :caps, :nonce, :ts, :content_sig)
ON CONFLICT (user_id) DO UPDATE SET home = excluded.home, caps = excluded.caps, nonce = excluded.nonce,
    ts = excluded.ts, content_sig = excluded.content_sig
    WHERE (excluded.ts, excluded.home) > (ts, home)
"""
_SAVE_MEMBER = """
INSERT INTO group_members (group_id, member_id, added_at) VALUES ('public', :user_id, :ts)
ON CONFLICT (group_id, member_id) DO NOTHING
"""
_SAVE_MEMBERSHIP = """
INSERT INTO memberships (server_id, introducer_id, statement, issued)
VALUES (:server_id, :introducer_id, :statement, :issued)
ON CONFLICT (server_id, introducer_id) DO UPDATE SET statement = excluded.statement, issued = excluded.issued
    WHERE excluded.issued > issued
"""


class DirectoryError(Exception):
    """Raised when the database cannot be opened or read; says which, and why."""


class Directory:
    """The database of one server.

    Args:
        path: its file.
        retry: seconds between two attempts to write what could not be written.

    Raises:
        DirectoryError: it cannot be opened, is not ours, or is of a newer version.
    """

    def __init__(self, path: Path, retry: float) -> None:
        self._path = path
        self._retry = retry
        self._changed = threading.Condition()  # guards the two below
        self._waiting: dict[tuple[str, ...], User | Membership] = {}
        self._stopped = False
        with self._reading() as database:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise DirectoryError(f"{path} was written by a newer version of this program")
            if version == 0:
                self._create(database)

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, isolation_level=None, timeout=self._retry)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        return database

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(self._open()) as database:
                yield database
        except sqlite3.Error as error:
            raise DirectoryError(f"cannot use the database {self._path}: {error}") from error

    def _create(self, database: sqlite3.Connection) -> None:
        database.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";"):
            database.execute(statement)
        database.execute(
            "INSERT INTO groups (group_id, creator_id, created_at) VALUES ('public', 'system', ?)",
            (socp.now_ms(),),
        )
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        database.execute("COMMIT")

    # --- reading ------------------------------------------------------------------------------------------------

    def users(self) -> list[User]:
        """Return all users that were ever known, each away until its home says otherwise.

        Raises:
            DirectoryError: the database cannot be read.
        """
        with self._reading() as database:
            rows = database.execute(
                "SELECT user_id, home, pubkey, meta, caps, nonce, ts, content_sig"
                " FROM users JOIN attachments USING (user_id)"
            ).fetchall()
        users = []
        for user_id, home, pubkey, meta, caps, nonce, ts, content_sig in rows:
            try:
                entry = {"user_id": user_id, "pubkey": pubkey, "meta": json.loads(meta), "caps": json.loads(caps)}
                entry |= {"attach": {"nonce": nonce, "ts": ts, "content_sig": content_sig}, "online": False}
                socp.check_shape(socp.SYNC_ENTRY, entry, "row")
                key_of(pubkey, user_id)
                if not socp.is_id(home):
                    raise ValueError("its home is no id")
            except (ProtocolError, ValueError, TypeError) as error:
                log.error("%s: the row of user %r is damaged and passed over: %s", self._path, user_id, error)
                continue
            attach = Attachment(nonce, ts, content_sig)
            users.append(User(user_id, home, pubkey, entry["meta"], tuple(entry["caps"]), attach, online=False))
        return users

    def memberships(self, pins: Mapping[str, PublicKey], now: int) -> list[Membership]:
        """Return the memberships that are valid still, our own among them.

        Args:
            pins: the pinned introducers' keys by id.
            now: Unix ms.

        Raises:
            DirectoryError: the database cannot be read.
        """
        with self._reading() as database:
            rows = database.execute("SELECT statement FROM memberships").fetchall()
        valid = []
        for (statement,) in rows:
            try:
                valid.append(read_membership(json.loads(statement), pins, now))
            except (ProtocolError, ValueError, TypeError) as error:
                log.info("a stored membership is of no use any more: %s", error)
        return valid

    # --- writing ------------------------------------------------------------------------------------------------

    def save_user(self, user: User) -> None:
        """Have a user's record written, soon, unless a newer one is there."""
        self._save(("user", user.user_id), user)

    def save_membership(self, membership: Membership) -> None:
        """Have a membership written, soon."""
        self._save(("membership", membership.server_id, membership.introducer_id), membership)

    def _save(self, key: tuple[str, ...], record: User | Membership) -> None:
        with self._changed:
            self._waiting[key] = _newer(self._waiting.get(key), record)
            self._changed.notify()

    def run(self) -> None:
        """Write what is to be written, until `stop`, and what waits then; the body of the one writer thread."""
        database: sqlite3.Connection | None = None
        try:
            while batch := self._next_batch():
                last_attempt = self._stopped
                try:
                    database = database or self._open()
                    self._write(database, batch)
                except sqlite3.Error as error:
                    if last_attempt:
                        log.error("cannot write to %s: %s; lost: %d record(s)", self._path, error, len(batch))
                        return
                    log.error("cannot write to %s, and will try again: %s", self._path, error)
                    self._put_back(batch)
        finally:
            if database is not None:
                database.close()

    def _next_batch(self) -> dict[tuple[str, ...], User | Membership]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopped)
            batch, self._waiting = self._waiting, {}
            return batch

    def _put_back(self, batch: dict[tuple[str, ...], User | Membership]) -> None:
        """Keep what could not be written, and wait before the next attempt, which an end makes the last."""
        with self._changed:
            for key, record in batch.items():
                self._waiting[key] = _newer(self._waiting.get(key), record)
            self._changed.wait_for(lambda: self._stopped, self._retry)

    def _write(self, database: sqlite3.Connection, batch: Mapping[tuple[str, ...], User | Membership]) -> None:
        database.execute("BEGIN IMMEDIATE")
        try:
            for record in batch.values():
                if isinstance(record, User):
                    values = _user_row(record)
                    # Of two attachments the older may come here last; what is there already then stays.
                    if database.execute(_SAVE_ATTACHMENT, values).rowcount:
                        database.execute(_SAVE_USER, values)
                        database.execute(_SAVE_MEMBER, values)
                else:
                    database.execute(_SAVE_MEMBERSHIP, _membership_row(record))
            database.execute("COMMIT")
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")

    def stop(self) -> None:
        """End `run` once it has written what waits."""
        with self._changed:
            self._stopped = True
            self._changed.notify()


def _newer(one: User | Membership | None, other: User | Membership) -> User | Membership:
    """Return whichever of two records under one key counts."""
    if isinstance(one, User) and isinstance(other, User) and one.rank > other.rank:
        return one
    if isinstance(one, Membership) and isinstance(other, Membership) and one.issued > other.issued:
        return one
    return other


def _user_row(user: User) -> dict[str, Any]:
    return {
        "user_id": user.user_id,
        "pubkey": user.pubkey,
        "meta": json.dumps(dict(user.meta), sort_keys=True),
        "home": user.home,
        "caps": json.dumps(list(user.caps)),
        "nonce": user.attach.nonce,
        "ts": user.attach.ts,
        "content_sig": user.attach.content_sig,
    }


def _membership_row(membership: Membership) -> dict[str, Any]:
    return {
        "server_id": membership.server_id,
        "introducer_id": membership.introducer_id,
        "statement": json.dumps(membership.to_wire(), sort_keys=True),
        "issued": membership.issued,
    }
