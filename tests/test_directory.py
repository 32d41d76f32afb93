"""What a server remembers across restarts."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
import unittest
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import socp
from addresses import Address
from crypto.signing import KeySigner
from directory import SCHEMA_VERSION, Directory, DirectoryError
from membership import issue
from tests.test_users import make_user
from tests.vectors import USERS, key

PATIENCE = 10.0
DAY = 24 * 60 * 60 * 1000
PINS = {key("introducer").id: key("introducer").public}


class DirectoryTest(unittest.TestCase):
    """A database in a file."""

    def setUp(self) -> None:
        """Make a directory."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "directory.sqlite3"

    def save(self, *records: Any) -> None:
        """Write records as a server does that stops afterwards."""
        directory = Directory(self.path, 0.05)
        for record in records:
            (directory.save_user if hasattr(record, "rank") else directory.save_membership)(record)
        directory.stop()
        directory.run()

    def rows(self, query: str) -> list[Any]:
        """Return what a query finds."""
        with closing(sqlite3.connect(self.path)) as database:
            return database.execute(query).fetchall()

    def test_schema(self) -> None:
        """The tables of v1.3 are there with their columns, the public group, WAL and a version."""
        Directory(self.path, 1)
        columns = {
            table: [row[1] for row in self.rows(f"PRAGMA table_info({table})")]
            for table in ("users", "groups", "group_members")
        }
        self.assertEqual(columns["users"], ["user_id", "pubkey", "privkey_store", "pake_password", "meta", "version"])
        self.assertEqual(columns["groups"], ["group_id", "creator_id", "created_at", "meta", "version"])
        self.assertEqual(columns["group_members"], ["group_id", "member_id", "role", "wrapped_key", "added_at"])
        self.assertEqual(self.rows("SELECT group_id, creator_id FROM groups"), [("public", "system")])
        self.assertEqual(self.rows("PRAGMA journal_mode"), [("wal",)])
        self.assertEqual(self.rows("PRAGMA user_version"), [(SCHEMA_VERSION,)])

    def test_users(self) -> None:
        """A user is read again as it was, but for being away until its home says otherwise."""
        alice = make_user(display_name="Zo\u00eb '); DROP TABLE users; --", extras={"x": [1, None]})
        self.save(alice, make_user("bob", key("server2").id))
        users = {user.user_id: user for user in Directory(self.path, 1).users()}
        self.assertEqual(users[alice.user_id], replace(alice, online=False))
        self.assertEqual(users[key("bob").id].home, key("server2").id)
        self.assertEqual(len(self.rows("SELECT * FROM group_members WHERE group_id = 'public'")), 2)

    def test_newer_attachment_stays(self) -> None:
        """Of several attachments the newest stays, in whichever order they are written, at once or not."""
        newer, older = make_user(ts=20, display_name="new"), make_user(ts=10, display_name="old")
        for batches in ([[newer], [older]], [[older], [newer]], [[newer, older]], [[older, newer]]):
            for batch in batches:
                self.save(*batch)
            user = Directory(self.path, 1).users()[0]
            self.assertEqual((user.attach.ts, user.display_name), (20, "new"))
        self.assertEqual(self.rows("SELECT count(*) FROM users"), [(1,)])

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
        directory = Directory(self.path, 1)
        valid = directory.memberships(PINS, now + 10)
        self.assertEqual([membership.to_wire() for membership in valid], [second.to_wire()])
        self.assertEqual(directory.memberships({}, now), [])

    def test_damaged_rows(self) -> None:
        """A row that is damaged is passed over and said, and the others are read."""
        self.save(*map(make_user, USERS))
        with closing(sqlite3.connect(self.path)) as database:
            for column, name in (("pubkey", "alice"), ("meta", "bob")):
                database.execute(f"UPDATE users SET {column} = '[' WHERE user_id = ?", (key(name).id,))
            for table, column, value, name in (
                ("users", "meta", "5", "dave"),
                ("users", "pubkey", b"x", "erin"),
                ("attachments", "caps", "5", "frank"),
                ("attachments", "ts", "abc", "grace"),
                ("attachments", "home", "x", "heidi"),
            ):
                database.execute(f"UPDATE {table} SET {column} = ? WHERE user_id = ?", (value, key(name).id))
            for number, statement in enumerate(("{", "5", "[]", b"x", None)):
                database.execute("INSERT INTO memberships VALUES (?, 'y', ?, 1)", (number, statement or 5))
            database.commit()
        with self.assertLogs("socp.directory", "ERROR") as logs:
            users = Directory(self.path, 1).users()
        self.assertEqual([user.user_id for user in users], [key("carol").id])
        self.assertEqual(len(logs.output), 7)
        self.assertEqual(Directory(self.path, 1).memberships(PINS, 1), [])

    def test_not_ours(self) -> None:
        """What is no database, or was written by a newer version, is refused and left as it is."""
        self.path.write_bytes(b"no database" * 100)
        with self.assertRaisesRegex(DirectoryError, "directory.sqlite3"):
            Directory(self.path, 1)
        self.assertEqual(self.path.read_bytes(), b"no database" * 100)
        self.path.unlink()
        Directory(self.path, 1)
        with closing(sqlite3.connect(self.path)) as database:
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        with self.assertRaisesRegex(DirectoryError, "newer version"):
            Directory(self.path, 1)

    def test_written_while_it_runs(self) -> None:
        """A record is written soon, without anything being stopped."""
        directory = Directory(self.path, 0.05)
        writer = threading.Thread(target=directory.run)
        writer.start()
        try:
            directory.save_user(make_user())
            done = threading.Event()
            for _ in range(200):
                if self.rows("SELECT count(*) FROM users") == [(1,)]:
                    done.set()
                    break
                done.wait(0.02)  # nothing tells another connection of a commit
            self.assertTrue(done.is_set())
        finally:
            directory.stop()
            writer.join(PATIENCE)

    def test_lost_at_the_end(self) -> None:
        """What cannot be written at the very end is said to be lost."""
        directory = Directory(self.path, 0.01)
        with closing(sqlite3.connect(self.path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN EXCLUSIVE")
            directory.save_user(make_user())
            directory.stop()
            with self.assertLogs("socp.directory", "ERROR") as logs:
                directory.run()
        self.assertIn(r"lost: 1 record(s)", logs.output[0])

    def test_tried_again(self) -> None:
        """What cannot be written now is kept, said, and written later; the newest of it counts."""
        directory = Directory(self.path, 0.05)
        blocker = sqlite3.connect(self.path, isolation_level=None)
        blocker.execute("BEGIN EXCLUSIVE")
        writer = threading.Thread(target=directory.run)
        with self.assertLogs("socp.directory", "ERROR") as logs:
            writer.start()
            directory.save_user(make_user(ts=10))
            failed = threading.Event()
            for _ in range(500):
                if logs.output:
                    failed.set()
                    break
                failed.wait(0.02)  # the log is all that tells
            self.assertTrue(failed.is_set())
            directory.save_user(make_user(ts=20))
            blocker.execute("ROLLBACK")
            blocker.close()
            directory.stop()
            writer.join(PATIENCE)
        self.assertIn("will try again", logs.output[0])
        self.assertEqual([user.attach.ts for user in Directory(self.path, 1).users()], [20])
