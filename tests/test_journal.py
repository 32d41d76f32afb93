"""The message history: what is found in it, and that nobody else finds anything."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import tempfile
import tracemalloc
import unittest
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import journal
from crypto import passwords
from database import DatabaseError
from errors import HistoryLocked, NotRemembered
from journal import Entry, Fate, Journal, change_password
from tests.vectors import key
from threads import Deadline

ME, BEN, EVE = key("alice").id, key("bob").id, key("erin").id
PASSWORD = "a long passphrase"
PATIENCE = 20.0


def said(text: str, peer: str = BEN, name: str = "ben", ts: int = 1_700_000_000_000) -> Entry:
    """Return a message from somebody."""
    return Entry(peer, name, text, ts)


def texts(entries: list[Entry]) -> list[str]:
    """Return what messages say."""
    return [entry.text for entry in entries]


class JournalTest(unittest.TestCase):
    """A history in a file."""

    def setUp(self) -> None:
        """Make it."""
        patch = mock.patch.multiple(passwords, WORK=4, WORK_LEAST=4)
        patch.start()
        self.addCleanup(patch.stop)
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / journal.FILE_NAME
        self.journal = self.open()

    def open(self, password: str = PASSWORD) -> Journal:
        """Open the history, as a client does that starts."""
        opened = Journal(self.path, password)
        self.addCleanup(opened.close, Deadline(PATIENCE))
        return opened

    def restart(self) -> None:
        """End this client, and begin the next."""
        self.journal.close(Deadline(PATIENCE))
        self.journal = self.open()

    def written(self) -> None:
        """Wait until all is written that was recorded."""
        self.journal._database.commit(lambda _: None)

    @contextlib.contextmanager
    def tampering(self) -> Iterator[sqlite3.Connection]:
        """Open the file as whoever can write to it, after the client has ended; start the next then."""
        self.journal.close(Deadline(PATIENCE))
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            yield connection
            connection.commit()
        self.journal = self.open()

    def bytes(self) -> bytes:
        """Return all that is in the file and beside it."""
        return b"".join(path.read_bytes() for path in sorted(self.path.parent.iterdir()))


class RecordTest(JournalTest):
    """What is written down, and found again."""

    def test_last(self) -> None:
        """The newest messages of all, or of one user, come in their order, also in the next client."""
        mine = Entry(BEN, "ben", "an answer", 5, outgoing=True, fate=Fate.SENT)
        to_all = Entry(ME, "me", "to all", 6, outgoing=True, public=True, fate=Fate.SENT)
        hostile = said('\ud800\x00\x1b[2J\n"}', EVE, "e\u202eve\x00")
        entries = [said("one"), hostile, mine, to_all, said("two")]
        for entry in entries:
            self.journal.record(entry)
        self.written()
        for _ in range(2):
            self.assertEqual(self.journal.last(10), entries)
            self.assertEqual(self.journal.last(2), entries[-2:])
            self.assertEqual(self.journal.last(10, BEN), [said("one"), mine, said("two")])
            self.assertEqual(self.journal.last(1, EVE), [hostile])
            self.assertEqual(self.journal.last(10, key("carol").id), [])
            self.restart()

    def test_search(self) -> None:
        """A search finds the newest messages that hold each of the words, in any order, large or small."""
        for text in ("Lunch at NOON?", "noon it is", "Straße um zwölf", "nothing", "lunch: at 12, not at noon"):
            self.journal.record(said(text))
        self.written()
        self.assertEqual(
            texts(self.journal.search("noon", 10)), ["Lunch at NOON?", "noon it is", "lunch: at 12, not at noon"]
        )
        self.assertEqual(texts(self.journal.search("Noon LUNCH", 10)), ["Lunch at NOON?", "lunch: at 12, not at noon"])
        self.assertEqual(texts(self.journal.search("noon", 1)), ["lunch: at 12, not at noon"])
        self.assertEqual(texts(self.journal.search("STRASSE zwo\u0308lf", 10)), ["Straße um zwölf"])
        self.assertEqual(self.journal.search("dinner", 10), [])

    def test_peers(self) -> None:
        """Users are found by their newest message."""
        for entry in (said("a", name="benjamin"), said("b", EVE, "eve"), said("c", name="ben")):
            self.journal.record(entry)
        self.written()
        self.assertEqual(self.journal.peers(lambda entry: entry.name == "ben"), {BEN})
        self.assertEqual(self.journal.peers(lambda entry: entry.name == "benjamin"), set())
        self.assertEqual(self.journal.peers(lambda _: True), {BEN, EVE})

    def test_fates(self) -> None:
        """The fate of a message changes, and nothing else of it; one that is not there has none."""
        mine = Entry(BEN, "ben", "an answer", 5, outgoing=True, fate=Fate.SENT)
        self.journal.record(mine, "ref-1")
        self.journal.record(replace(mine, text="another"), "ref-2")
        self.journal.set_fate("ref-1", Fate.STORED)
        self.journal.set_fate("ref-1", Fate.DELIVERED)
        self.journal.set_fate("ref-2", Fate.FAILED, "MAILBOX_FULL: no room")
        self.journal.set_fate("ref-3", Fate.DELIVERED)
        self.written()
        self.assertEqual(
            self.journal.last(10),
            [
                replace(mine, fate=Fate.DELIVERED),
                replace(mine, text="another", fate=Fate.FAILED, reason="MAILBOX_FULL: no room"),
            ],
        )

    def test_not_written(self) -> None:
        """A disk that takes nothing is warned of once, until it takes something again."""
        failure = mock.patch.object(
            self.journal._database, "write", side_effect=lambda _, done: done(DatabaseError("the disk is full"))
        )
        with failure, self.assertLogs("socp.journal", "WARNING") as logged:
            self.journal.record(said("one"))
            self.journal.record(said("two"))
        self.assertEqual(len(logged.output), 1)
        self.journal.record(said("three"))
        self.written()
        self.assertEqual(texts(self.journal.last(10)), ["three"])

    def test_not_read(self) -> None:
        """A file that cannot be read is an error that says so, for every question."""
        asked = (
            lambda: self.journal.last(1),
            lambda: self.journal.last(1, BEN),
            lambda: self.journal.search("x", 1),
            lambda: self.journal.peers(lambda _: True),
        )
        with mock.patch.object(self.journal._database, "_open", side_effect=sqlite3.OperationalError("disk I/O error")):
            for ask in asked:
                with self.assertRaisesRegex(NotRemembered, "disk I/O error"):
                    ask()


class BoundsTest(JournalTest):
    """How large it becomes."""

    def record(self, count: int, text: str) -> None:
        """Record so many messages, each with its number."""
        for number in range(count):
            self.journal.record(said(f"{number} {text}"))
        self.written()

    def test_rows(self) -> None:
        """There are never many more rows than allowed: the oldest go."""
        with mock.patch.object(journal, "ROWS_MOST", 250):
            self.record(700, "text")
        entries = self.journal.last(1000)
        self.assertEqual(len(entries), 250)
        self.assertEqual((entries[0].text, entries[-1].text), ("450 text", "699 text"))

    def test_bytes(self) -> None:
        """Who sends long messages cannot fill the disk: the oldest go before their number is reached."""
        with mock.patch.object(journal, "BYTES_MOST", 1_000_000):
            self.record(400, "x" * 10_000)
        entries = self.journal.last(1000)
        self.assertTrue(50 <= len(entries) < 100, len(entries))
        self.assertEqual(entries[-1].text[:4], "399 ")

    def test_memory(self) -> None:
        """A search reads row by row: what it does not find it does not keep."""
        self.record(300, "x" * 10_000)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.assertEqual(self.journal.search("nothing", 10), [])
        self.assertEqual(len(self.journal.search("x", 3)), 3)
        self.assertLess(tracemalloc.get_traced_memory()[1], 500_000)


class ForgetTest(JournalTest):
    """What nobody is to remember."""

    def test_forget(self) -> None:
        """All that was written by a user and to it is gone, and nothing else."""
        self.journal.record(said("from ben"))
        self.journal.record(Entry(BEN, "ben", "to ben", 1, outgoing=True), "ref")
        self.journal.record(said("from eve", EVE))
        self.journal.record(replace(said("from ben to all"), public=True))
        self.assertEqual(self.journal.forget(BEN), 3)
        self.journal.set_fate("ref", Fate.DELIVERED)
        self.written()
        self.assertEqual(texts(self.journal.last(10)), ["from eve"])
        self.assertEqual(self.journal.forget(BEN), 0)

    def test_nothing_is_left_in_the_files(self) -> None:
        """No byte of a row that was forgotten is in the file, or in the log beside it; the others are unharmed."""
        for number in range(400):
            peer = (BEN, EVE)[number % 2]
            self.journal.record(Entry(peer, "", f"{number} {'x' * (number % 90) * 20}", 1, outgoing=True), str(number))
        for number in range(0, 400, 3):
            self.journal.set_fate(str(number), Fate.FAILED, "a reason " * (number % 50))
        self.written()
        others = self.journal.last(1000, EVE)
        with self.journal._database.reading() as connection:
            mark = self.journal._mark(b"peer", BEN)
            rows = connection.execute("SELECT sealed, message FROM past WHERE peer = ?", (mark,)).fetchall()
        pieces = [bytes(row[0])[start : start + 16] for row in rows for start in range(0, len(row[0]) - 16, 64)]
        pieces += [mark, *(bytes(row[1]) for row in rows)]
        before = self.bytes()
        self.assertGreater(sum(piece in before for piece in pieces), 1000)
        self.journal.forget(BEN)
        after = self.bytes()
        self.assertEqual([piece for piece in pieces if piece in after], [])
        self.assertEqual(self.journal.last(1000), others)

    def test_in_use(self) -> None:
        """While somebody else reads the file, it is said that something may be left; the next try leaves nothing."""
        self.journal.record(said("from ben"))
        self.written()
        self.journal._database._patience = 0.01
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM past").fetchall()
            with self.assertRaisesRegex(NotRemembered, "in use|locked"):
                self.journal.forget(BEN)
        self.assertEqual(self.journal.forget(BEN), 0)
        self.assertEqual(self.journal.last(10), [])


class SecretTest(JournalTest):
    """Who else can read it."""

    def test_mode(self) -> None:
        """Nobody else can open the file, or what SQLite puts beside it."""
        self.journal.record(said("text"))
        self.written()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in self.path.parent.iterdir()}
        self.assertIn(journal.FILE_NAME, modes)
        self.assertEqual(set(modes.values()), {0o600})

    def test_nothing_to_read(self) -> None:
        """Neither texts, names, ids, references, fates nor times are found in the files."""
        entry = Entry(BEN, "benjamin", "lunch at noon", 1_700_000_123_456, outgoing=True, fate=Fate.SENT)
        self.journal.record(entry, "the-msg-ref")
        self.journal.set_fate("the-msg-ref", Fate.FAILED, "a reason to fail")
        self.journal.record(said("lunch at noon"))
        self.written()
        content = self.bytes()
        for secret in (BEN, BEN[:8], "benjamin", "lunch", "1700000123456", "msg-ref", "failed", "reason", PASSWORD):
            with self.subTest(secret):
                self.assertNotIn(secret.encode(), content)
        ben = bytes.fromhex(BEN.replace("-", ""))
        self.assertNotIn(ben, content)

    def test_without_a_password(self) -> None:
        """There is no history without a password: the error says what to do, and nothing is written."""
        path = self.path.with_name("other.sqlite3")
        with self.assertRaises(HistoryLocked) as caught:
            Journal(path, "")
        self.assertIn("key password", caught.exception.hint)
        self.assertFalse(path.exists())

    def test_another_password(self) -> None:
        """A wrong password is told as one, and changes nothing."""
        self.journal.record(said("text"))
        self.journal.close(Deadline(PATIENCE))
        before = self.path.read_bytes()
        with self.assertRaisesRegex(HistoryLocked, "does not open with the password") as caught:
            Journal(self.path, "another")
        self.assertIn("move", caught.exception.hint)
        self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual(texts(self.open().last(1)), ["text"])

    def test_rows_exchanged(self) -> None:
        """Rows that somebody has exchanged, renumbered, given to another user or changed do not open."""
        for number in range(6):
            self.journal.record(said(str(number), (BEN, EVE)[number % 2]))
        changes = (
            "UPDATE past SET number = 100 WHERE number = 1",
            "UPDATE past SET peer = (SELECT peer FROM past WHERE number = 3) WHERE number = 2",
            "UPDATE past SET sealed = (SELECT sealed FROM past WHERE number = 5) WHERE number = 3",
            "UPDATE past SET message = x'00' WHERE number = 4",
        )
        with self.tampering() as connection:
            for change in changes:
                self.assertEqual(connection.execute(change).rowcount, 1)
        with self.assertLogs("socp.journal", "WARNING") as logged:
            self.assertEqual(texts(self.journal.last(10)), ["4", "5"])
            self.assertEqual(texts(self.journal.last(10, BEN)), ["4"])
        self.assertEqual(len(logged.output), 1)

    def test_foreign_rows(self) -> None:
        """Whatever stands in a row, it is passed over with one warning, and the others are found."""
        self.journal.record(said("right"), "ref")
        values = (None, 1, 2**40, 0.5, "text", b"", b"short", b"x" * 100, b"x" * 300)
        rows = [(peer, peer, sealed) for peer in values[1:] for sealed in values[1:]]
        with self.tampering() as connection:
            connection.executemany("INSERT INTO past (peer, message, sealed) VALUES (?, ?, ?)", rows)
            connection.execute("INSERT INTO past VALUES (-5, x'00', x'00', x'00')")
            connection.execute("INSERT INTO past (peer, message, sealed) SELECT peer, message, x'00' FROM past LIMIT 2")
        with self.assertLogs("socp.journal", "WARNING") as logged:
            self.assertEqual(texts(self.journal.last(10)), ["right"])
            self.journal.set_fate("ref", Fate.DELIVERED)
            self.written()
            self.assertEqual(texts(self.journal.search("right", 10)), ["right"])
        self.assertEqual(len(logged.output), 1)

    def test_foreign_files(self) -> None:
        """What is no history of ours, or one that lacks its key, is an error that names the file."""
        contents = ("INSERT INTO past VALUES (1, x'00', x'00', x'00')",
                    "INSERT INTO wrapped VALUES (1, 'x', 2, 3, 4)",
                    "DROP TABLE wrapped",
                    "PRAGMA user_version = 99")  # fmt: skip
        for number, statement in enumerate(contents):
            path = self.path.with_name(f"{number}.sqlite3")
            with contextlib.closing(sqlite3.connect(path)) as connection:
                connection.executescript(f"{journal._SCHEMA}; PRAGMA user_version = 1; {statement}")
                connection.commit()
            with self.subTest(statement), self.assertRaisesRegex(NotRemembered, path.name):
                Journal(path, PASSWORD)
        path = self.path.with_name("text.sqlite3")
        path.write_text("This is no database." * 100)
        with self.assertRaisesRegex(NotRemembered, path.name):
            Journal(path, PASSWORD)

    def test_work_of_a_file(self) -> None:
        """A file cannot have its reader work, or take memory, beyond bounds."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            connection.execute("UPDATE wrapped SET work = 40")
            connection.commit()
        with mock.patch.object(passwords, "Scrypt", side_effect=AssertionError("it was begun")):
            self.assertRaises(HistoryLocked, Journal, self.path, PASSWORD)


class PasswordTest(JournalTest):
    """What happens to it when the key gets another password."""

    def setUp(self) -> None:
        """Have something in it, and nobody use it."""
        super().setUp()
        self.journal.record(said("text"))
        self.journal.close(Deadline(PATIENCE))

    def test_changed(self) -> None:
        """It opens with the new password, and not with the old: nothing in the file is of use to who knows that."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            salt, sealed = connection.execute("SELECT salt, sealed FROM wrapped").fetchone()
        change_password(self.path, PASSWORD, "new")
        self.assertEqual(texts(self.open("new").last(1)), ["text"])
        self.assertRaises(HistoryLocked, Journal, self.path, PASSWORD)
        self.assertNotIn(salt, self.bytes())
        self.assertNotIn(sealed, self.bytes())

    def test_done_before(self) -> None:
        """What was interrupted between the history and the key is ended by doing it again."""
        change_password(self.path, PASSWORD, "new")
        change_password(self.path, PASSWORD, "new")
        self.assertEqual(texts(self.open("new").last(1)), ["text"])

    def test_refused(self) -> None:
        """It stays as it is when neither password opens it, or when the new one is none."""
        with self.assertRaisesRegex(HistoryLocked, "does not open"):
            change_password(self.path, "wrong", "new")
        with self.assertRaisesRegex(HistoryLocked, "does not open"):
            change_password(self.path, "", "new")
        with self.assertRaises(HistoryLocked) as caught:
            change_password(self.path, PASSWORD, "")
        self.assertIn(str(self.path), caught.exception.hint)
        self.assertEqual(texts(self.open().last(1)), ["text"])

    def test_no_history(self) -> None:
        """Without a history there is nothing to do, with whatever password."""
        path = self.path.with_name("other.sqlite3")
        change_password(path, "old", "new")
        change_password(path, "old", "")
        self.assertFalse(path.exists())
