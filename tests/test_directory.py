"""What a server remembers across restarts."""

from __future__ import annotations

import queue
import sqlite3
import tempfile
import unittest
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import socp
from addresses import Address
from crypto.signing import KeySigner
from database import Database
from directory import Directory
from membership import issue
from node import SCHEMAS
from tests.test_users import make_user
from tests.vectors import USERS, key
from threads import Deadline

PATIENCE = 10.0
DAY = 24 * 60 * 60 * 1000
PINS = {key("introducer").id: key("introducer").public}


class DirectoryTest(unittest.TestCase):
    """A database in a file."""

    def setUp(self) -> None:
        """Find a place for it."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "directory.sqlite3"
        self.again: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()  # what is to be done later

    def database(self, patience: float = PATIENCE) -> Database:
        """Return the database."""
        return Database(self.path, SCHEMAS, patience)

    def directory(self, database: Database | None = None) -> Directory:
        """Return what is in it."""
        return Directory(database if database is not None else self.database(), self.again.put)

    def save(self, *records: Any) -> None:
        """Write records as a server does that stops afterwards."""
        database = self.database()
        directory = self.directory(database)
        for record in records:
            (directory.save_user if hasattr(record, "rank") else directory.save_membership)(record)
        database.start()
        database.close(Deadline(PATIENCE))
        self.assertEqual(directory.unwritten(), 0)

    def rows(self, query: str) -> list[Any]:
        """Return what a query finds."""
        with closing(sqlite3.connect(self.path)) as database:
            return database.execute(query).fetchall()

    def test_schema(self) -> None:
        """The tables of v1.3 are there with their columns, the public group, WAL and a version."""
        self.database()
        columns = {
            table: [row[1] for row in self.rows(f"PRAGMA table_info({table})")]
            for table in ("users", "groups", "group_members")
        }
        self.assertEqual(columns["users"], ["user_id", "pubkey", "privkey_store", "pake_password", "meta", "version"])
        self.assertEqual(columns["groups"], ["group_id", "creator_id", "created_at", "meta", "version"])
        self.assertEqual(columns["group_members"], ["group_id", "member_id", "role", "wrapped_key", "added_at"])
        self.assertEqual(self.rows("SELECT group_id, creator_id FROM groups"), [("public", "system")])
        self.assertEqual(self.rows("PRAGMA journal_mode"), [("wal",)])
        self.assertEqual(self.rows("PRAGMA user_version"), [(len(SCHEMAS),)])

    def test_users(self) -> None:
        """A user is read again as it was, but for being away until its home says otherwise."""
        alice = make_user(display_name="Zo\u00eb '); DROP TABLE users; --", extras={"x": [1, None]})
        self.save(alice, make_user("bob", key("server2").id))
        users = {user.user_id: user for user in self.directory().users()}
        self.assertEqual(users[alice.user_id], replace(alice, online=False))
        self.assertEqual(users[key("bob").id].home, key("server2").id)
        self.assertEqual(len(self.rows("SELECT * FROM group_members WHERE group_id = 'public'")), 2)

    def test_newer_attachment_stays(self) -> None:
        """Of several attachments the newest stays, in whichever order they are written, at once or not."""
        newer, older = make_user(ts=20, display_name="new"), make_user(ts=10, display_name="old")
        for batches in ([[newer], [older]], [[older], [newer]], [[newer, older]], [[older, newer]]):
            for batch in batches:
                self.save(*batch)
            user = self.directory().users()[0]
            self.assertEqual((user.attach.ts, user.display_name), (20, "new"))
        self.assertEqual(self.rows("SELECT count(*) FROM users"), [(1,)])

    def test_forgotten(self) -> None:
        """A user who is forgotten leaves nothing, and can be known again; whichever of both came last counts."""
        self.save(make_user(), make_user("bob"))
        database = self.database()
        directory = self.directory(database)
        directory.forget_user(key("alice").id)
        directory.forget_user(key("bob").id)
        directory.save_user(make_user("bob", ts=2000))
        directory.save_user(make_user("carol"))
        directory.forget_user(key("carol").id)
        database.start()
        database.close(Deadline(PATIENCE))
        self.assertEqual([(user.user_id, user.attach.ts) for user in self.directory().users()], [(key("bob").id, 2000)])
        for query in ("SELECT user_id FROM users", "SELECT member_id FROM group_members"):
            self.assertEqual(self.rows(query), [(key("bob").id,)])

    def test_private_columns_stay_empty(self) -> None:
        """A server keeps neither private keys nor passwords of anybody."""
        self.save(make_user())
        self.assertEqual(self.rows("SELECT privkey_store, pake_password FROM users"), [("", "")])

    def test_memberships(self) -> None:
        """Memberships are read again while they are valid, by whom is pinned; the one issued last stays."""
        now = socp.now_ms()
        first, second, expired = (
            issue(KeySigner(key("introducer")), key(name).public, Address("h", 1), issued, DAY)
            for name, issued in (("server", now), ("server", now + 5), ("server2", now - 2 * DAY))
        )
        other = issue(KeySigner(key("introducer2")), key("server3").public, Address("h", 1), now, DAY)
        self.save(second, expired, other)
        self.save(first)
        directory = self.directory()
        valid = directory.memberships(PINS, now + 10)
        self.assertEqual([membership.to_wire() for membership in valid], [second.to_wire()])
        self.assertEqual(directory.memberships({}, now), [])

    def test_old_memberships(self) -> None:
        """Memberships that were issued too long ago are deleted, so that servers which come and go fill no disk."""
        now = socp.now_ms()
        self.save(
            *(
                issue(KeySigner(key("introducer")), key(name).public, Address("h", 1), issued, DAY)
                for name, issued in (("server", now), ("server2", now - 8 * DAY))
            )
        )
        database = self.database()
        database.start()
        Directory(database, lambda _: None).forget_memberships(now - 7 * DAY)
        database.close(Deadline(10))
        self.assertEqual(self.rows("SELECT server_id FROM memberships"), [(key("server").id,)])

    def test_damaged_rows(self) -> None:
        """A row that is damaged is passed over and said, and the others are read."""
        self.save(*map(make_user, USERS))
        with closing(sqlite3.connect(self.path)) as database:
            for column, name in (("pubkey", "alice"), ("meta", "bob")):
                change = "UPDATE users SET {column} = '[' WHERE user_id = ?"
                database.execute(change.format(column=column), (key(name).id,))
            for table, column, value, name in (
                ("users", "meta", "5", "dave"),
                ("users", "pubkey", b"x", "erin"),
                ("attachments", "caps", "5", "frank"),
                ("attachments", "ts", "abc", "grace"),
                ("attachments", "home", "x", "heidi"),
            ):
                change = "UPDATE {table} SET {column} = ? WHERE user_id = ?"
                database.execute(change.format(table=table, column=column), (value, key(name).id))
            for number, statement in enumerate(("{", "5", "[]", b"x", None)):
                database.execute("INSERT INTO memberships VALUES (?, 'y', ?, 1)", (number, statement or 5))
            database.commit()
        with self.assertLogs("socp.directory", "ERROR") as logs:
            users = self.directory().users()
        self.assertEqual([user.user_id for user in users], [key("carol").id])
        self.assertEqual(len(logs.output), 7)
        self.assertEqual(self.directory().memberships(PINS, 1), [])

    def test_first_version(self) -> None:
        """A database of the version before mail was stored is brought up to date where it is, with what is in it."""
        user = make_user()
        attach = user.attach
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript((Path(__file__).parent / "vectors" / "directory-1.sql").read_text("utf-8"))
            connection.execute("INSERT INTO users (user_id, pubkey) VALUES (?, ?)", (user.user_id, user.pubkey))
            values = (user.user_id, user.home, '["presence"]', attach.nonce, attach.ts, attach.content_sig)
            connection.execute("INSERT INTO attachments VALUES (?, ?, ?, ?, ?, ?)", values)
            connection.commit()
        first = self.tables()
        self.save(make_user("bob"))
        self.assertEqual({known.user_id for known in self.directory().users()}, {user.user_id, key("bob").id})
        self.assertEqual(self.rows("PRAGMA user_version"), [(2,)])
        self.assertEqual(self.rows("SELECT count(*) FROM mailbox"), [(0,)])
        self.path.unlink()
        self.database()
        self.assertEqual(first, {name: sql for name, sql in self.tables().items() if name != "mailbox"})

    def tables(self) -> dict[str, str]:
        """Return the statements that make the tables, by their names."""
        return dict(self.rows("SELECT name, sql FROM sqlite_master WHERE sql NOT NULL"))

    def test_tried_again(self) -> None:
        """What cannot be written now is kept, said, and written later; the newest of it counts."""
        database = self.database(patience=0)
        directory = self.directory(database)
        database.start()
        with closing(sqlite3.connect(self.path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN EXCLUSIVE")
            with self.assertLogs("socp.directory", "ERROR") as logs:
                directory.save_user(make_user(ts=10))
                again = self.again.get(timeout=PATIENCE)
            self.assertIn("will try again", logs.output[0])
            directory.save_user(make_user(ts=20))
            self.assertEqual(directory.unwritten(), 1)
            blocker.execute("ROLLBACK")
        again()
        database.close(Deadline(PATIENCE))
        self.assertEqual(directory.unwritten(), 0)
        self.assertEqual([user.attach.ts for user in self.directory().users()], [20])

    def test_written_while_another_is(self) -> None:
        """What comes while something is being written is written behind it, also when that is at the very end."""
        database = self.database()
        directory = self.directory(database)
        directory.save_user(make_user())
        directory.save_user(make_user("bob"))
        database.start()
        database.close(Deadline(PATIENCE))
        self.assertEqual(len(self.directory().users()), 2)

    def test_lost_at_the_end(self) -> None:
        """What cannot be written at the very end is counted."""
        database = self.database(patience=0)
        directory = self.directory(database)
        with closing(sqlite3.connect(self.path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN EXCLUSIVE")
            directory.save_user(make_user())
            with self.assertLogs("socp.directory", "ERROR"):
                database.start()
                database.close(Deadline(PATIENCE))
        self.assertEqual(directory.unwritten(), 1)
