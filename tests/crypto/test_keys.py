"""Keys, the identifiers made from them, and the files that private keys rest in."""

from __future__ import annotations

import os
import stat
import tempfile
import threading
import traceback
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
    remove_drafts,
    replacing_key_file,
    write_key_file,
)
from tests.badkeys import bad_keys, power, text_of
from tests.secrets import private_forms
from tests.vectors import key, load


class PublicKeyTest(unittest.TestCase):
    """Which public keys are taken."""

    def test_bad_keys(self) -> None:
        """Each key that section 4 forbids is refused as a bad key: those of the vectors, and many more."""
        self.assertGreater(len(bad_keys()), 50)
        for why, text in bad_keys().items():
            with self.subTest(why), self.assertRaises(BadKey):
                read_public_key(text)

    def test_same_key_otherwise(self) -> None:
        """What is refused for its encoding alone is a good key but for that."""
        numbers = key("mallory").public.rsa.public_numbers()
        self.assertEqual(text_of(numbers.n, numbers.e), key("mallory").public.text)

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
        private = rsa.generate_private_key(65537, 2048)
        self.assertRaisesRegex(BadKey, "its modulus has 2048 bits, not 4096", KeyPair, private)
        encoding, form, unlocked = serialization.Encoding.PEM, serialization.PrivateFormat, serialization.NoEncryption()
        for written, error in (
            (form.PKCS8, "2048 bits"),
            (form.TraditionalOpenSSL, "PKCS#8"),
            (form.OpenSSH, "PKCS#8"),
        ):
            with self.subTest(written):
                pem = private.private_bytes(encoding, written, unlocked)
                self.assertRaisesRegex(KeyFileError, error, KeyPair.from_pem, pem)

    def test_bad_numbers(self) -> None:
        """A private key whose public half would be refused is refused itself."""
        for modulus, exponent in ((power(3), 65537), (key("alice").public.rsa.public_numbers().n, 17)):
            private = mock.create_autospec(rsa.RSAPrivateKey)
            private.public_key.return_value = rsa.RSAPublicNumbers(exponent, modulus).public_key()
            self.assertRaises(BadKey, KeyPair, private)

    def test_nothing_is_told(self) -> None:
        """Neither a key that is printed nor what is raised about one holds anything of a private key or a password."""
        pair = key("alice")
        told = [repr(pair), str(pair), repr(pair.public), repr(pair.private)]
        locked = pair.to_pem("correct-horse")
        for pem, password in (
            (locked, "wrong-battery"),
            (locked, ""),
            (pair.to_pem()[:900], ""),
            (pair.to_pem(), "x9y8"),
        ):
            with self.assertRaises(KeyFileError) as caught:
                KeyPair.from_pem(pem, password)
            told += traceback.format_exception(caught.exception)
        text = "".join(told)
        for secret in (*private_forms(pair), b"correct-horse", b"wrong-battery", b"x9y8"):
            self.assertNotIn(secret.decode("ascii"), text)

    def test_passwords_as_typed(self) -> None:
        """Two spellings of an accent are two passwords."""
        composed, decomposed = "caf\u00e9", "cafe\u0301"
        self.assertRaises(WrongPassword, KeyPair.from_pem, key("alice").to_pem(composed), decomposed)

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

    def test_of_another_user(self) -> None:
        """A key that another user owns is refused, whoever can read it."""
        self.make()
        if os.geteuid() == 0:
            os.chown(self.path, 12_345, -1)
            self.assertRaisesRegex(KeyFileError, "key.pem belongs to another user", open_key_file, self.path)
        else:
            with mock.patch("os.geteuid", return_value=12_345):
                self.assertRaisesRegex(KeyFileError, "key.pem belongs to another user", read_key_file, self.path)

    def test_directory(self) -> None:
        """A key is neither read nor made where others could remove it, unless they are kept from it as in /tmp."""
        directory = self.path.parent
        directory.mkdir(mode=0o700)
        for made in (False, True):
            for mode in (0o770, 0o702):
                with self.subTest(mode=oct(mode), made=made):
                    directory.chmod(mode)
                    with self.assertRaisesRegex(KeyFileError, f"chmod go-w {directory}"):
                        self.make()
                    self.assertEqual(self.path.exists(), made)
            directory.chmod(0o1777)
            self.make()
        with mock.patch("os.geteuid", return_value=12_345):
            status = os.stat_result((*directory.stat()[:4], 54_321, *directory.stat()[5:]))
            with mock.patch.object(Path, "stat", return_value=status):
                self.assertRaisesRegex(KeyFileError, "new belongs to another user", open_key_file, self.path)

    def test_sizes(self) -> None:
        """An empty file, a huge one and a device are no keys, and are not read."""
        self.path.parent.mkdir(mode=0o700)
        for size in (0, 65_537, 1 << 40):
            self.path.touch(mode=0o600)
            os.truncate(self.path, size)
            with self.subTest(size=size), self.assertRaisesRegex(KeyFileError, f"PEM: it has {size:,} bytes"):
                read_key_file(self.path)
        self.assertRaisesRegex(KeyFileError, "not a regular file", read_key_file, Path("/dev/zero"))

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

    def test_replaced(self) -> None:
        """A key takes another's place once all beside it has worked out; whatever fails leaves the old one alone."""
        self.make("old")
        with replacing_key_file(self.path, key("alice"), "new"):
            before = self.path.read_bytes()
            [draft] = self.path.parent.glob(".key.pem.*")
            self.assertEqual(stat.S_IMODE(draft.stat().st_mode), 0o600)
        self.assertNotEqual(self.path.read_bytes(), before)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        after = self.path.read_bytes()
        for error in (KeyboardInterrupt, ValueError):
            with self.assertRaises(error), replacing_key_file(self.path, key("bob")):
                raise error
        with (
            mock.patch("crypto.keys.os.fsync", side_effect=OSError(28, "No space left on device")),
            self.assertRaisesRegex(KeyFileError, "No space left"),
            replacing_key_file(self.path, key("bob")),
        ):
            self.fail("it goes on without a draft")
        self.assertEqual([entry.name for entry in self.path.parent.iterdir()], ["key.pem"])
        self.assertEqual(self.path.read_bytes(), after)

    def test_drafts(self) -> None:
        """What a kill has left of a key is removed, and nothing else is."""
        self.path.parent.mkdir()
        for name in ("key.pem", ".key.pem.0123", ".key.pem.4567", ".other.pem.89"):
            (self.path.parent / name).touch()
        remove_drafts(self.path)
        self.assertEqual({entry.name for entry in self.path.parent.iterdir()}, {"key.pem", ".other.pem.89"})

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
