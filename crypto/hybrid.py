"""File chunks under AES-256-GCM with a sealed key of their own (PROTOCOL.md section 10.1)."""

from __future__ import annotations

import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto.keys import KeyPair, PublicKey
from crypto.sealing import BLOCK_SEALED, OpenError, open_sealed, seal

KEY_BYTES = 32
IV_BYTES = 12
TAG_BYTES = 16
PLAIN_MOST = 256 * 1024  # bytes of a chunk


@dataclass(frozen=True)
class HybridChunk:
    """One chunk: the sealed key, the iv of 12 bytes, and the ciphertext with its 16-byte tag at the end."""

    wrapped_key: bytes
    iv: bytes
    ciphertext: bytes


def seal_chunk(key: PublicKey, plain: bytes, label: bytes) -> HybridChunk:
    """Encrypt a chunk under a fresh key and iv; the label is bound to both layers.

    Raises:
        ValueError: more than a chunk holds.
    """
    if len(plain) > PLAIN_MOST:
        raise ValueError(f"{len(plain)} bytes; a chunk holds at most {PLAIN_MOST}")
    secret, iv = os.urandom(KEY_BYTES), os.urandom(IV_BYTES)
    return HybridChunk(seal(key, secret, label), iv, AESGCM(secret).encrypt(iv, plain, label))


def open_chunk(pair: KeyPair, chunk: HybridChunk, label: bytes) -> bytes:
    """Decrypt a chunk.

    Raises:
        OpenError: anything at all is wrong with it.
    """
    # First what costs nothing to see: a key of many blocks would cost as many RSA operations.
    if (
        len(chunk.wrapped_key) != BLOCK_SEALED
        or len(chunk.iv) != IV_BYTES
        or not TAG_BYTES <= len(chunk.ciphertext) <= PLAIN_MOST + TAG_BYTES
    ):
        raise OpenError("does not open")
    secret = open_sealed(pair, chunk.wrapped_key, label)
    if len(secret) != KEY_BYTES:
        raise OpenError("does not open")
    try:
        return AESGCM(secret).decrypt(chunk.iv, chunk.ciphertext, label)
    except (InvalidTag, ValueError) as error:
        raise OpenError("does not open") from error
