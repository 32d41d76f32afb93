"""Secrets that rest under a password."""

from __future__ import annotations

import unittest
from dataclasses import replace
from unittest import mock

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from crypto import passwords
from crypto.passwords import NotUnwrapped, Wrapped, unwrap, wrap

SECRET, LABEL = b"s" * 32, b"a test"


class PasswordsTest(unittest.TestCase):
    """One secret, and whoever wants it."""

    def setUp(self) -> None:
        """Let scrypt work less."""
        patch = mock.patch.object(passwords, "WORK", passwords.WORK_LEAST)
        patch.start()
        self.addCleanup(patch.stop)

    def test_opens_with_its_password_alone(self) -> None:
        """A secret opens with the password and the label that it was wrapped with, and with no other."""
        wrapped = wrap(SECRET, "pässword", LABEL)
        self.assertEqual(unwrap(wrapped, "pässword", LABEL), SECRET)
        for password, label in (("password", LABEL), ("", LABEL), ("pässword", b"another")):
            with self.subTest(password=password, label=label), self.assertRaises(NotUnwrapped):
                unwrap(wrapped, password, label)

    def test_what_it_is(self) -> None:
        """It is AES-256-GCM with a key of scrypt, N = 2^work, r = 8 and p = 1, as others can compute it too."""
        key = Scrypt(b"x" * 16, 32, 2**14, 8, 1).derive(b"password")
        made = Wrapped(14, b"x" * 16, b"n" * 12, AESGCM(key).encrypt(b"n" * 12, SECRET, LABEL))
        self.assertEqual(unwrap(made, "password", LABEL), SECRET)

    def test_never_twice_the_same(self) -> None:
        """Each time there is another salt and another nonce."""
        first, second = (wrap(SECRET, "password", LABEL) for _ in range(2))
        self.assertNotEqual(first.salt, second.salt)
        self.assertNotEqual(first.nonce, second.nonce)

    def test_changed(self) -> None:
        """Nothing of it can be changed; a work beyond bounds is not even begun."""
        wrapped = wrap(SECRET, "password", LABEL)
        for changed in (
            replace(wrapped, salt=b"x" * 16),
            replace(wrapped, salt=b""),
            replace(wrapped, nonce=b"n" * 12),
            replace(wrapped, nonce=b"n"),
            replace(wrapped, sealed=b""),
            replace(wrapped, sealed=wrapped.sealed[:-1] + bytes((wrapped.sealed[-1] ^ 1,))),
            replace(wrapped, work=wrapped.work + 1),
        ):
            with self.subTest(changed), self.assertRaises(NotUnwrapped):
                unwrap(changed, "password", LABEL)
        with mock.patch.object(passwords, "Scrypt", side_effect=AssertionError("it was begun")):
            for work in (-1, 0, passwords.WORK_LEAST - 1, passwords.WORK_MOST + 1, 2**62):
                with self.subTest(work=work), self.assertRaisesRegex(NotUnwrapped, "work"):
                    unwrap(replace(wrapped, work=work), "password", LABEL)
