"""A secret that rests under a password: AES-256-GCM with a key that scrypt (RFC 7914) has made of the password.

Whoever has the file can try passwords. With the work of 2^16 each try takes 64 MiB and a fifth of a second.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

WORK = 16  # the logarithm of scrypt's N
# Of a file: whoever can write to it must not choose how much memory opening it takes. 2^18 takes 256 MiB.
WORK_LEAST, WORK_MOST = 14, 18
_R, _P = 8, 1
_KEY_BYTES = 32
_SALT_BYTES = 16
_NONCE_BYTES = 12


class NotUnwrapped(Exception):
    """Raised when a secret does not open: the password is another one, or something was changed."""


@dataclass(frozen=True)
class Wrapped:
    """A secret under a password.

    Attributes:
        work: the logarithm of scrypt's N; its r is 8 and its p is 1.
        salt: 16 bytes.
        nonce: 12 bytes.
        sealed: the ciphertext with its tag of 16 bytes.
    """

    work: int
    salt: bytes
    nonce: bytes
    sealed: bytes


def wrap(secret: bytes, password: str, label: bytes) -> Wrapped:
    """Encrypt a secret under a password, with a fresh salt and nonce.

    Args:
        secret: what is to be kept.
        password: not empty.
        label: what the secret is for; it opens for nothing else.

    Raises:
        UnicodeEncodeError: the password is not text.
    """
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    key = _derive(password, salt, WORK)
    return Wrapped(WORK, salt, nonce, AESGCM(key).encrypt(nonce, secret, label))


def unwrap(wrapped: Wrapped, password: str, label: bytes) -> bytes:
    """Return a secret.

    Raises:
        NotUnwrapped: it does not open.
    """
    if not WORK_LEAST <= wrapped.work <= WORK_MOST:
        raise NotUnwrapped(f"a work of 2^{wrapped.work} is not between 2^{WORK_LEAST} and 2^{WORK_MOST}")
    if len(wrapped.salt) != _SALT_BYTES or len(wrapped.nonce) != _NONCE_BYTES:
        raise NotUnwrapped("does not open")
    try:
        key = _derive(password, wrapped.salt, wrapped.work)
        return AESGCM(key).decrypt(wrapped.nonce, wrapped.sealed, label)
    except (InvalidTag, ValueError) as error:
        raise NotUnwrapped("does not open") from error


def _derive(password: str, salt: bytes, work: int) -> bytes:
    return Scrypt(salt, _KEY_BYTES, 1 << work, _R, _P).derive(password.encode("utf-8"))
