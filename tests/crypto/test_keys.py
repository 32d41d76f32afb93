"""Keys, the identifiers made from them, and the files that private keys rest in."""

from __future__ import annotations

import os
import stat
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from crypto.encoding import encode_base64url
from crypto.keys import (
    BadKey,
    KeyFileError,
    KeyPair,
    WrongPassword,
    identifier,
    open_key_file,
    read_key_file,
    read_public_key,
    write_key_file,
)
from tests.vectors import cases, key, load


class PublicKeyTest(unittest.TestCase):
    """Which public keys are taken."""

    def test_bad_keys(self) -> None:
        """Each key of the vectors that section 4 forbids is refused as a bad key."""
        for case in cases("bad_keys", 10):
            with self.subTest(case["why"]), self.assertRaises(BadKey):
                read_public_key(case["pubkey"])

    def test_identifiers(self) -> None:
        """Each key of the vectors has the identifier that stands beside it, and its one spelling."""
        keys = load("keys")["keys"]
        self.assertEqual(len(keys), 16)
        for name, entry in keys.items():
            with self.subTest(name):
                public = read_public_key(entry["pubkey"])
                self.assertEqual(public.id, entry["id"])
                self.assertEqual(identifier(public.der), entry["id"])
                self.assertEqual(public.text, entry["pubkey"])
                self.assertEqual(encode_base64url(public.der), entry["pubkey"])

    def test_private_keys(self) -> None:
        """Each private key of the vectors belongs to its public one."""
        for name, entry in load("keys")["keys"].items():
            with self.subTest(name):
                self.assertEqual(key(name).public.text, entry["pubkey"])

    def test_parsed_once(self) -> None:
        """A key that was parsed is not parsed again: its object is kept."""
        text = key("alice").public.text
        self.assertIs(read_public_key(text), read_public_key(text))


class PairTest(unittest.TestCase):
    """Private keys as PEM."""

    def test_wrong_sizes(self) -> None:
        """A private key of another size or exponent is no identity."""
        with self.assertRaises(BadKey):
            KeyPair(rsa.generate_private_key(65537, 2048))

    def test_passwords(self) -> None:
        """A password is needed if and only if there is one, and what is wrong is said to be the password."""
        locked, plain = key("alice").to_pem("correct horse ✓"), key("alice").to_pem()
        self.assertNotIn(b"ENCRYPTED", plain)
        self.assertIn(b"ENCRYPTED", locked)
        self.assertEqual(KeyPair.from_pem(locked, "correct horse ✓").id, key("alice").id)
        for pem, password in ((locked, "wrong"), (locked, ""), (plain, "wrong")):
            with self.subTest(password=password), self.assertRaisesRegex(WrongPassword, "password"):
                KeyPair.from_pem(pem, password)

    def test_wrong_password_that_decrypts(self) -> None:
        """A wrong password that happens to decrypt to something is said to be wrong like any other."""
        locked = key("alice").to_pem("right")
        with mock.patch.object(serialization, "load_pem_private_key", side_effect=ValueError("could not deserialize")):
            self.assertRaisesRegex(WrongPassword, "wrong key password", KeyPair.from_pem, locked, "wrong")
            with self.assertRaises(KeyFileError) as caught:
                KeyPair.from_pem(key("alice").to_pem())
        self.assertNotIsInstance(caught.exception, WrongPassword)

    def test_impossible_passwords(self) -> None:
        """A password that is no text, or too long, is said to be that, before a key is made or read."""
        for password in ("\udcff", "x" * 1024, "\u00e9" * 512):
            with self.subTest(length=len(password)):
                self.assertRaises(WrongPassword, key("alice").to_pem, password)
                self.assertRaisesRegex(WrongPassword, "UTF-8|at most 1,023", KeyPair.from_pem, b"", password)
        key("alice").to_pem("x" * 1023)

    def test_not_a_key(self) -> None:
        """Bytes that are no private key are said to be that, and not that the password is wrong."""
        for pem in (b"", b"junk", key("alice").to_pem()[:500], key("alice").public.der):
            with self.subTest(length=len(pem)), self.assertRaises(KeyFileError) as caught:
                KeyPair.from_pem(pem)
            self.assertNotIsInstance(caught.exception, WrongPassword)


class KeyFileTest(unittest.TestCase):
    """The file of a private key: who may have touched it, and what is said when it cannot be used."""

    def setUp(self) -> None:
        """Make a directory."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "new" / "key.pem"

    def make(self, password: str = "") -> None:
        """Put alice's key into the file."""
        open_key_file(self.path, password, lambda: key("alice"))

    def test_made_once(self) -> None:
        """A key is made with mode 0600 in a directory of mode 0700, whatever the umask, and found again."""
        before = os.umask(0)
        try:
            self.make()
        finally:
            os.umask(before)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.path.parent.stat().st_mode), 0o700)
        self.assertEqual([entry.name for entry in self.path.parent.iterdir()], ["key.pem"])
        again = open_key_file(self.path, "", lambda: self.fail("a second key was made"))
        self.assertEqual(again.id, key("alice").id)

    def test_password_asked(self) -> None:
        """A function that asks for the password is told whether it is for a new key."""
        asked: list[bool] = []

        def ask(new: bool) -> str:
            asked.append(new)
            return "secret"

        open_key_file(self.path, ask, lambda: key("alice"))
        self.assertEqual(open_key_file(self.path, ask).id, key("alice").id)
        self.assertEqual(asked, [True, False])
        with self.assertRaisesRegex(WrongPassword, "key.pem: wrong key password"):
            open_key_file(self.path, "other")

    def test_impossible_password(self) -> None:
        """With a password that cannot be, no key is made and no file is left."""
        with self.assertRaises(WrongPassword):
            open_key_file(self.path, "x" * 2000, lambda: self.fail("a key was made"))
        self.assertEqual(list(self.path.parent.iterdir()), [])

    def test_readable_by_others(self) -> None:
        """A key that others could read or change is refused with the command that mends it."""
        self.make()
        for mode in (0o640, 0o604, 0o620, 0o601):
            with self.subTest(mode=oct(mode)):
                self.path.chmod(mode)
                with self.assertRaisesRegex(KeyFileError, f"mend it with: chmod 600 {self.path}"):
                    read_key_file(self.path)
        self.path.chmod(0o600)
        self.assertEqual(read_key_file(self.path).id, key("alice").id)

    def test_symbolic_link(self) -> None:
        """A symbolic link is refused, and so is one that leads nowhere, rather than written through."""
        self.make()
        link = self.path.with_name("link.pem")
        link.symlink_to(self.path)
        with self.assertRaisesRegex(KeyFileError, "symbolic link.*mv -- "):
            read_key_file(link)
        dangling = self.path.with_name("dangling.pem")
        dangling.symlink_to(self.path.with_name("elsewhere.pem"))
        with self.assertRaisesRegex(KeyFileError, "symbolic link"):
            open_key_file(dangling, "", lambda: key("alice"))
        self.assertFalse(self.path.with_name("elsewhere.pem").exists())

    def test_fifo(self) -> None:
        """A FIFO in the key's place is refused, and not waited for."""
        self.path.parent.mkdir(mode=0o700)
        os.mkfifo(self.path, 0o600)
        refused = threading.Event()

        def read() -> None:
            with self.assertRaisesRegex(KeyFileError, "not a regular file"):
                read_key_file(self.path)
            refused.set()

        threading.Thread(target=read, daemon=True).start()
        self.assertTrue(refused.wait(10))

    def test_never_over_a_file(self) -> None:
        """A key is never written over a file that is there."""
        self.make()
        before = self.path.read_bytes()
        with self.assertRaisesRegex(KeyFileError, "File exists"):
            write_key_file(self.path, key("bob"))
        self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual(len(list(self.path.parent.iterdir())), 1)

    def test_missing_and_misplaced(self) -> None:
        """A missing file is told from one that cannot be read, and a directory that cannot be made is named."""
        with self.assertRaises(FileNotFoundError):
            read_key_file(self.path)
        self.path.mkdir(parents=True)
        with self.assertRaisesRegex(KeyFileError, "not a regular file"):
            read_key_file(self.path)
        blocker = self.path.with_name("file")
        blocker.touch()
        with self.assertRaisesRegex(KeyFileError, f"cannot make the directory {blocker}/sub"):
            open_key_file(blocker / "sub" / "key.pem", "", lambda: key("alice"))

    def test_junk(self) -> None:
        """A file that holds no key is named."""
        self.path.parent.mkdir(mode=0o700)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(descriptor, b"not a key")
        os.close(descriptor)
        with self.assertRaisesRegex(KeyFileError, "key.pem: not a private key in PKCS#8 PEM"):
            read_key_file(self.path)
