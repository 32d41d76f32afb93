"""The two kinds of chunks that a file can be sent in (PROTOCOL.md sections 10 and 10.1), sealed and opened.

Which one it is, is said in the signed manifest, and holds for all of a file: a chunk of the other kind does not open.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from crypto.encoding import EncodingError, decode_base64url, encode_base64url_bytes
from crypto.hybrid import PLAIN_MOST, TAG_BYTES, HybridChunk
from crypto.hybrid import open_chunk as open_hybrid
from crypto.hybrid import seal_chunk as seal_hybrid
from crypto.keys import KeyPair, PublicKey
from crypto.sealing import BLOCK_PLAIN, BLOCK_SEALED, SEAL_MOST, OpenError, open_sealed, seal

_IN_MANIFEST = {"alg": "RSA-OAEP-256", "enc": "A256GCM"}  # the names of JOSE
_IN_CHUNK = ("wrapped_key", "iv")
CHUNK_FIELDS = frozenset({"index", "ciphertext", *_IN_CHUNK})  # of a FILE_CHUNK, what it takes to open it


class Cipher(enum.Enum):
    """What the chunks of a file are sealed by."""

    BLOCKS = enum.auto()  # RSA-OAEP alone
    HYBRID = enum.auto()  # AES-256-GCM, and RSA-OAEP for each chunk's key
    UNKNOWN = enum.auto()  # one that we cannot open

    @property
    def most(self) -> int:
        """How many plain bytes a chunk may hold."""
        return PLAIN_MOST if self is Cipher.HYBRID else SEAL_MOST

    def sealed_length(self, plain: int) -> int:
        """Return how long the ciphertext of a chunk of so many plain bytes is."""
        return plain + TAG_BYTES if self is Cipher.HYBRID else -(-plain // BLOCK_PLAIN) * BLOCK_SEALED

    @property
    def manifest_fields(self) -> dict[str, str]:
        """What a manifest says of it."""
        return dict(_IN_MANIFEST) if self is Cipher.HYBRID else {}

    @classmethod
    def of_manifest(cls, payload: Mapping[str, Any]) -> Cipher:
        """Return what a manifest says."""
        said = {name: payload[name] for name in _IN_MANIFEST if name in payload}
        if not said:
            return cls.BLOCKS
        return cls.HYBRID if said == _IN_MANIFEST else cls.UNKNOWN


def seal_chunk(cipher: Cipher, key: PublicKey, plain: bytes, label: bytes) -> dict[str, bytes]:
    """Return what a FILE_CHUNK holds of a chunk: fields of base64url."""
    if cipher is Cipher.HYBRID:
        chunk = seal_hybrid(key, plain, label)
        fields = {"wrapped_key": chunk.wrapped_key, "iv": chunk.iv, "ciphertext": chunk.ciphertext}
    else:
        fields = {"ciphertext": seal(key, plain, label)}
    return {name: encode_base64url_bytes(value) for name, value in fields.items()}


def open_chunk(cipher: Cipher, pair: KeyPair, payload: Mapping[str, Any], label: bytes) -> bytes | None:
    """Return what a FILE_CHUNK holds; None if anything at all is wrong with it."""
    hybrid = cipher is Cipher.HYBRID
    if any((name in payload) is not hybrid for name in _IN_CHUNK):
        return None
    try:
        sealed = decode_base64url(payload["ciphertext"])
        if not hybrid:
            return open_sealed(pair, sealed, label)
        wrapped_key, iv = (decode_base64url(payload[name]) for name in _IN_CHUNK)
        return open_hybrid(pair, HybridChunk(wrapped_key, iv, sealed), label)
    except (EncodingError, OpenError):
        return None
