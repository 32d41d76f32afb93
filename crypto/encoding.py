"""Strict base64url and canonical JSON (PROTOCOL.md section 3): each value has exactly one spelling."""

from __future__ import annotations

import binascii
import hashlib
import json
from collections.abc import Mapping

# Made once: json.dumps would make one for each object.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# What the last character may be, by length modulo 4, so that the bits it does not use are zero. A second
# spelling of a signature would pass a check that looks for repeats by the text alone.
_LAST = {0: frozenset(ALPHABET), 2: frozenset(ALPHABET[::16]), 3: frozenset(ALPHABET[::4])}


class EncodingError(ValueError):
    """Raised when a text is not the one base64url spelling of any bytes."""


class Base64Url(str):
    """A text that was found to be the one spelling of some bytes; only `read_base64url` makes one.

    A chunk of a file is looked at once, then: the checks of payloads and decoding need not do it again.
    """

    __slots__ = ()


def read_base64url(raw: bytes) -> Base64Url | None:
    """Return a text that needs no other check, or None if it is not the one spelling of any bytes."""
    return Base64Url(raw, "ascii") if _is_spelling(raw) else None


def is_base64url(text: str) -> bool:
    """Tell whether `text` is the one spelling of some bytes, without decoding it."""
    if type(text) is Base64Url:
        return True
    return text.isascii() and _is_spelling(text.encode("ascii"))


def _is_spelling(raw: bytes) -> bool:
    return not raw.translate(None, ALPHABET) and has_one_spelling(raw)


def has_one_spelling(text: bytes) -> bool:
    """Tell whether a text of base64url's alphabet alone is the one spelling of some bytes."""
    last = _LAST.get(len(text) % 4)
    return last is not None and (not text or text[-1] in last)


def decode_base64url(text: str) -> bytes:
    """Decode base64url without padding (RFC 4648 section 5).

    Raises:
        EncodingError: a foreign character, padding, an impossible length, or unused bits that are not zero.
    """
    if not is_base64url(text):
        raise EncodingError("not base64url in its one spelling")
    try:
        # `replace` copies from one such character to the next; `translate` would look each character up.
        raw = text.encode("ascii").replace(b"-", b"+").replace(b"_", b"/")
        return binascii.a2b_base64(raw + b"=" * (-len(text) % 4))
    except binascii.Error as error:
        raise EncodingError("not base64url") from error


def encode_base64url(data: bytes) -> str:
    """Encode bytes as base64url without padding."""
    return encode_base64url_bytes(data).decode("ascii")


def encode_base64url_bytes(data: bytes) -> bytes:
    """Encode bytes as base64url without padding, to be sent as it is."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").replace(b"+", b"-").replace(b"/", b"_")


def canonical(value: Mapping[str, object]) -> bytes:
    """Return the canonical JSON of an object: what signatures, labels and digests are made over.

    Raises:
        ValueError: the object holds NaN or Infinity, which no frame can carry.
    """
    return _ENCODER.encode(value).encode("ascii")


def digest(value: Mapping[str, object]) -> bytes:
    """Return SHA-256 (32 bytes) over the canonical JSON of an object."""
    return hashlib.sha256(canonical(value)).digest()
