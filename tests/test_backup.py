"""The backup of an identity: what comes out of one, and what is refused."""

from __future__ import annotations

import json
import unittest
from typing import Any
from unittest import mock

import backup
from backup import BackupError, open_backup, read_armour, seal_backup
from crypto import passwords
from crypto.keys import KeyFileError, KeyPair
from crypto.passwords import wrap
from tests.secrets import private_forms, seen
from tests.vectors import key

PASSWORD = "a long passphrase"
MEMORY = {"pins": {"h:1": key("server").id}, "display_name": "Zo\u00eb \U0001f600"}


class BackupTestCase(unittest.TestCase):
    """Works with little work for scrypt."""

    def setUp(self) -> None:
        """Make it less."""
        patch = mock.patch.multiple(passwords, WORK=10, WORK_LEAST=10)
        patch.start()
        self.addCleanup(patch.stop)

    def open(self, text: bytes, password: str = PASSWORD) -> tuple[KeyPair, dict[str, Any]]:
        """Return what is in a backup."""
        return open_backup(read_armour(text), password)

    def sealed(self, content: object) -> bytes:
        """Return a backup that holds something else than it should."""
        with mock.patch("backup.json.dumps", return_value=json.dumps(content)):
            return seal_backup(key("alice"), {}, PASSWORD)


class BackupTest(BackupTestCase):
    """Backups of alice."""

    def test_back(self) -> None:
        """What went in comes out, with the password alone; no two backups are the same."""
        text = seal_backup(key("alice"), MEMORY, PASSWORD)
        pair, memory = self.open(text)
        self.assertEqual((pair.id, memory), (key("alice").id, MEMORY))
        self.assertNotEqual(seal_backup(key("alice"), MEMORY, PASSWORD), text)
        for wrong in ("A long passphrase", "", "\udcff"):
            with self.assertRaisesRegex(BackupError, "the password is not the backup's"):
                self.open(text, wrong)

    def test_text(self) -> None:
        """It is text of short lines with a version, and shows nothing of the key, the password or the profile."""
        text = seal_backup(key("alice"), MEMORY, PASSWORD)
        lines = text.decode("ascii").splitlines()
        self.assertEqual((lines[0], lines[-1]), ("-----BEGIN SOCP BACKUP 1-----", "-----END SOCP BACKUP-----"))
        self.assertLessEqual(max(map(len, lines)), 72)
        secrets = [PASSWORD.encode(), key("server").id.encode(), *private_forms(key("alice"))]
        self.assertFalse([secret for secret in secrets if seen(secret, [text])])

    def test_no_password(self) -> None:
        """No backup is made without a password, or with one that nobody could type again."""
        for password, error in (("", "needs a password"), ("\udcff", "not text in UTF-8")):
            with self.assertRaisesRegex(BackupError, error):
                seal_backup(key("alice"), {}, password)

    def test_changed(self) -> None:
        """Nothing opens of a backup that was changed by a character, in whatever line."""
        text = seal_backup(key("alice"), {}, PASSWORD)
        lines = text.split(b"\n")
        starts = [sum(len(line) + 1 for line in lines[:number]) for number in range(len(lines))]
        for place in (*starts[:3], 22, starts[1] + 8, starts[1] + 12, starts[1] + 40, starts[20] + 5, starts[-3], -2):
            changed = bytearray(text)
            changed[place] = ord("B") if changed[place] != ord("B") else ord("C")
            with self.subTest(place=place), self.assertRaises(BackupError):
                self.open(bytes(changed))

    def test_one_spelling(self) -> None:
        """A backup that is cut off, goes on, or is spelled otherwise is refused before anything is derived."""
        text = seal_backup(key("alice"), {}, PASSWORD)
        lines = text.split(b"\n")
        with mock.patch("backup.unwrap", side_effect=AssertionError):
            for wrong, error in (
                (b"", "not a backup"),
                (b"\xff" + text, "not a backup"),
                (key("alice").to_pem(), "not a backup"),
                (text.replace(b"BACKUP 1-", b"BACKUP 2-"), "of version 2"),
                (text.replace(b"BACKUP 1-", b"BACKUP 01-"), "of version 01"),
                (text[:-1], "cut off"),
                (text[: len(text) // 2], "cut off"),
                (text + b"\n", "cut off, or something stands behind"),
                (b"\n".join(lines[:2] + lines[-2:]), "cut off"),
                (text.replace(b"\n", b"\r\n"), "not a backup"),
                (text.replace(b"scrypt 10 ", b"scrypt 010 "), "damaged"),
                (text.replace(b"scrypt 10 ", b"scrypt 100 "), "damaged"),
                (b"\n".join([*lines[:2], lines[2][:-1], *lines[3:]]), "damaged"),
                (b"\n".join([*lines[:2], lines[2][:-1] + b"=", *lines[3:]]), "damaged"),
                (b"\n".join([*lines[:-3], lines[-3] + b"A" * 72, *lines[-2:]]), "damaged"),
            ):
                with self.subTest(error), self.assertRaisesRegex(BackupError, error):
                    self.open(wrong)

    def test_bounds(self) -> None:
        """Nobody's file decides how much memory opening it takes: by its size, or by the work that it asks for."""
        text = seal_backup(key("alice"), {}, PASSWORD)
        with mock.patch.object(passwords, "Scrypt", side_effect=AssertionError):
            for work in (b"scrypt 19 ", b"scrypt 63 ", b"scrypt 99 "):
                with self.assertRaises(BackupError):
                    self.open(text.replace(b"scrypt 10 ", work))
        with mock.patch.object(backup, "FILE_MOST", 3_000):
            with self.assertRaisesRegex(BackupError, "too large"):
                self.open(text)
            with self.assertRaisesRegex(BackupError, "at most 3,000"):
                seal_backup(key("alice"), {}, PASSWORD)

    def test_most(self) -> None:
        """The largest memory that a profile can have fits."""
        self.assertGreater(backup.FILE_MOST, (16 * 1024 * 1024 + 8192) / 3 * 4 * 73 / 72)

    def test_other_content(self) -> None:
        """What opens with the password is still to be an identity."""
        pem = key("alice").to_pem().decode("ascii")
        contents: list[object] = [[], {}, {"key": pem}, {"key": 5, "profile": {}}, {"key": pem, "profile": []}, None]
        for content in contents:
            with self.subTest(content), self.assertRaisesRegex(BackupError, "holds no identity"):
                self.open(self.sealed(content))
        with self.assertRaises(KeyFileError):
            self.open(self.sealed({"key": "\ud800", "profile": {}}))
        for raw in (b"{", b"\xff", b"[" * 100_000):
            wrapped = wrap(raw, PASSWORD, backup._LABEL)
            with self.assertRaisesRegex(BackupError, "holds no identity"):
                open_backup(wrapped, PASSWORD)

    def test_of_something_else(self) -> None:
        """What is encrypted by the same password for something else is no backup."""
        with self.assertRaises(BackupError):
            open_backup(wrap(b"{}", PASSWORD, b"socp history 1 data key"), PASSWORD)
