"""File chunks under AES-256-GCM with a sealed key of their own (PROTOCOL.md section 10.1)."""

from __future__ import annotations

import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto.keys import KeyPair, PublicKey
from crypto.sealing import OpenError, open_sealed, seal

KEY_BYTES = 32
IV_BYTES = 12


@dataclass(frozen=True)
class HybridChunk:
    """One chunk: the sealed key, the iv of 12 bytes, and the ciphertext with its 16-byte tag at the end."""

    wrapped_key: bytes
    iv: bytes
    ciphertext: bytes


def seal_chunk(key: PublicKey, plain: bytes, label: bytes) -> HybridChunk:
    """Encrypt a chunk under a fresh key and iv; the label is bound to both layers."""
    secret, iv = os.urandom(KEY_BYTES), os.urandom(IV_BYTES)
    return HybridChunk(seal(key, secret, label), iv, AESGCM(secret).encrypt(iv, plain, label))


def open_chunk(pair: KeyPair, chunk: HybridChunk, label: bytes) -> bytes:
    """Decrypt a chunk.

    Raises:
        OpenError: anything at all is wrong with it.
    """
    secret = open_sealed(pair, chunk.wrapped_key, label)
    if len(secret) != KEY_BYTES or len(chunk.iv) != IV_BYTES:
        raise OpenError("does not open")
    try:
        return AESGCM(secret).decrypt(chunk.iv, chunk.ciphertext, label)
    except (InvalidTag, ValueError) as error:
        raise OpenError("does not open") from error
