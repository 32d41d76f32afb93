"""Seal and Open (PROTOCOL.md section 4): RSA-OAEP block by block, each bound to a label."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from crypto.encoding import canonical
from crypto.keys import KeyPair, PublicKey

BLOCK_PLAIN = 446  # bytes: 512 less two SHA-256 digests and two bytes of OAEP
BLOCK_SEALED = 512
BLOCKS_MOST = 64  # a frame; opening a block costs 1.3 ms, so this also bounds what one frame can cost
SEAL_MOST = BLOCKS_MOST * BLOCK_PLAIN

_HASH = hashes.SHA256()
_MGF = padding.MGF1(_HASH)


class OpenError(Exception):
    """Raised when sealed bytes do not open. It never says why: the reason is what an attacker is after."""


def message_label(sender: str, to: str) -> bytes:
    """Return the label of a direct message, so that nobody can pass off another's sealed message as their own."""
    return canonical({"from": sender, "to": to})


def chunk_label(file_id: str, sender: str, index: int, to: str) -> bytes:
    """Return the label of a file chunk, which ties it to its file, its place in it, and both ends."""
    return canonical({"file_id": file_id, "from": sender, "index": index, "to": to})


def seal(key: PublicKey, plain: bytes, label: bytes) -> bytes:
    """Encrypt up to 28,544 bytes for the holder of `key`; the empty string is one empty block.

    Raises:
        ValueError: more than a frame carries.
    """
    if len(plain) > SEAL_MOST:
        raise ValueError(f"{len(plain)} bytes; a frame carries at most {SEAL_MOST}")
    scheme = padding.OAEP(mgf=_MGF, algorithm=_HASH, label=label)
    starts = range(0, max(len(plain), 1), BLOCK_PLAIN)
    return b"".join(key.rsa.encrypt(plain[start : start + BLOCK_PLAIN], scheme) for start in starts)


def open_sealed(pair: KeyPair, sealed: bytes, label: bytes) -> bytes:
    """Decrypt what `seal` made for this key and this label.

    Raises:
        OpenError: anything at all is wrong with it.
    """
    blocks, rest = divmod(len(sealed), BLOCK_SEALED)
    if rest or not 1 <= blocks <= BLOCKS_MOST:
        raise OpenError("does not open")
    scheme = padding.OAEP(mgf=_MGF, algorithm=_HASH, label=label)
    plain = []
    try:
        for start in range(0, len(sealed), BLOCK_SEALED):
            plain.append(pair.private.decrypt(sealed[start : start + BLOCK_SEALED], scheme))
    except ValueError as error:
        raise OpenError("does not open") from error
    # Each text has one way to be cut: a short block in the middle, or an empty one at the end, is not it.
    if any(len(block) != BLOCK_PLAIN for block in plain[:-1]) or (blocks > 1 and not plain[-1]):
        raise OpenError("does not open")
    return b"".join(plain)
