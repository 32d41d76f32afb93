"""What must never be written down, and every form in which it could be."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator

from crypto.keys import KeyPair


def forms(secret: bytes) -> Iterator[bytes]:
    """Return all forms in which something could be written down."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    try:
        text = secret.decode("utf-8")
        yield json.dumps(text)[1:-1].encode()
        yield json.dumps(text, ensure_ascii=False)[1:-1].encode()
    except UnicodeDecodeError:
        pass
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + secret).rstrip(b"=")
        # Its first and last characters hold bits of what stands beside it.
        inner = encoded[4 if offset else 0 : len(encoded) // 4 * 4 - 4]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))


def seen(secret: bytes, haystacks: Iterable[bytes]) -> bool:
    """Tell whether something is written anywhere, in any form."""
    return any(form in haystack for form in forms(secret) for haystack in haystacks)


def private_forms(pair: KeyPair) -> list[bytes]:
    """Return pieces of a private key as it could be written down: lines of its PEM, and its numbers."""
    numbers = pair.private.private_numbers()
    found = [line for line in pair.to_pem().splitlines()[2:-2] if line not in _public_lines(pair)]
    for number in (numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp):
        middle = number.to_bytes(512, "big").lstrip(b"\0")[20:60]
        found += [str(number)[10:60].encode(), *(form for form in forms(middle) if form.isascii())]
    return found


def _public_lines(pair: KeyPair) -> list[bytes]:
    """Return the lines of the PEM that hold the modulus alone, which is no secret."""
    modulus = pair.private.private_numbers().public_numbers.n.to_bytes(512, "big")
    lines = pair.to_pem().splitlines()[1:-1]
    return [line for line in lines if base64.b64decode(line) in modulus]
