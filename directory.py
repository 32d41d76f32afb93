"""What a server remembers across restarts (PROTOCOL.md section 12): users, their homes, and who belongs to the network.

All reading is done once, before the server starts. What waits to be written is kept by its key, the newest in place of
the older, so that a slow disk makes it neither grow without bound nor hold up the thread that routes. What cannot be
written stays, and is tried again.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import socp
from crypto.keys import PublicKey
from database import Database, DatabaseError
from membership import Membership, read_membership
from origin import key_of
from socp import ProtocolError
from users import Attachment, User

log = logging.getLogger("socp.directory")

# The first three are v1.3's (section 15.1). A server here holds no private key and no password of anybody: those
# two columns stay empty.
SCHEMA = """
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
INSERT INTO groups (group_id, creator_id, created_at) VALUES ('public', 'system', strftime('%s', 'now') * 1000);
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
_FORGET_USER = (
    "DELETE FROM attachments WHERE user_id = ?",
    "DELETE FROM group_members WHERE member_id = ?",
    "DELETE FROM users WHERE user_id = ?",
)
_SAVE_MEMBERSHIP = """
INSERT INTO memberships (server_id, introducer_id, statement, issued)
VALUES (:server_id, :introducer_id, :statement, :issued)
ON CONFLICT (server_id, introducer_id) DO UPDATE SET statement = excluded.statement, issued = excluded.issued
    WHERE excluded.issued > issued
"""


@dataclass(frozen=True)
class _Forgotten:
    """What is written of a user who is not to be known any more."""

    user_id: str


_Record = User | Membership | _Forgotten


class Directory:
    """The users and memberships in one server's database.

    Args:
        database: the server's.
        later: has something done after `retry` seconds.
    """

    def __init__(self, database: Database, later: Callable[[Callable[[], None]], None]) -> None:
        self._database = database
        self._later = later
        self._lock = threading.Lock()  # guards the three below
        self._waiting: dict[tuple[str, ...], _Record] = {}  # one of each user and server that is known
        self._writing: dict[tuple[str, ...], _Record] = {}
        self._busy = False  # a write is under way, or will be

    # --- reading ------------------------------------------------------------------------------------------------

    def users(self) -> list[User]:
        """Return all users that were ever known, each away until its home says otherwise.

        Raises:
            DatabaseError: the database cannot be read.
        """
        with self._database.reading() as connection:
            rows = connection.execute(
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
                log.error("%s: the row of user %r is damaged and passed over: %s", self._database.path, user_id, error)
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
            DatabaseError: the database cannot be read.
        """
        with self._database.reading() as connection:
            rows = connection.execute("SELECT statement FROM memberships").fetchall()
        valid = []
        for (statement,) in rows:
            try:
                valid.append(read_membership(json.loads(statement), pins, now))
            except (ProtocolError, ValueError, TypeError) as error:
                log.info("a stored membership is of no use any more: %s", error)
        return valid

    def forget_memberships(self, before: int) -> None:
        """Have memberships deleted, soon, that were issued before a time (Unix ms): anybody may have made many."""
        self._database.write_soon("DELETE FROM memberships WHERE issued < ?", before)

    # --- writing ------------------------------------------------------------------------------------------------

    def save_user(self, user: User) -> None:
        """Have a user's record written, soon, unless a newer one is there."""
        self._save(("user", user.user_id), user)

    def forget_user(self, user_id: str) -> None:
        """Have what is known of a user deleted, soon."""
        self._save(("user", user_id), _Forgotten(user_id))

    def save_membership(self, membership: Membership) -> None:
        """Have a membership written, soon."""
        self._save(("membership", membership.server_id, membership.introducer_id), membership)

    def _save(self, key: tuple[str, ...], record: _Record) -> None:
        with self._lock:
            self._waiting[key] = _newer(self._waiting.get(key), record)
            begin, self._busy = not self._busy, True
        if begin:
            self._begin()

    def _begin(self) -> None:
        """Write what waits. Nobody else does: `_busy` is set."""
        with self._lock:
            self._writing, self._waiting = self._waiting, {}
        self._database.write(self._write, self._written)

    def _write(self, connection: sqlite3.Connection) -> None:
        for record in self._writing.values():
            if isinstance(record, User):
                values = _user_row(record)
                # Of two attachments the older may come here last; what is there already then stays.
                if connection.execute(_SAVE_ATTACHMENT, values).rowcount:
                    connection.execute(_SAVE_USER, values)
                    connection.execute(_SAVE_MEMBER, values)
            elif isinstance(record, _Forgotten):
                for statement in _FORGET_USER:
                    connection.execute(statement, (record.user_id,))
            else:
                connection.execute(_SAVE_MEMBERSHIP, _membership_row(record))

    def _written(self, error: DatabaseError | None) -> None:
        with self._lock:
            if error is not None:
                for key, record in self._writing.items():
                    self._waiting[key] = _newer(record, self._waiting.get(key, record))
            self._writing = {}
            left = len(self._waiting)
            self._busy = left > 0
        if error is not None:
            log.error("%s; will try again with what is known of users and servers (%d records)", error, left)
            self._later(self._begin)
        elif left:
            self._begin()

    def unwritten(self) -> int:
        """Return how many records are not written yet."""
        with self._lock:
            return len({*self._waiting, *self._writing})


def _newer(one: _Record | None, other: _Record) -> _Record:
    """Return whichever of two records under one key counts, the other being the later."""
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
