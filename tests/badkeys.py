"""Keys that section 4 of PROTOCOL.md forbids: those of the vectors, and many more, by what is wrong with them."""

from __future__ import annotations

import base64
import functools
import math
import random
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from crypto.encoding import EncodingError, decode_base64url, encode_base64url
from crypto.keys import identifier
from tests.vectors import cases, key

_RSA, _PSS = "06092a864886f70d010101", "06092a864886f70d01010a"
_NULL = "0500"


def _der(tag: str, *parts: bytes) -> bytes:
    """Return a value of DER with the shortest form of its length."""
    content = b"".join(parts)
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x80 | (size.bit_length() + 7) // 8]) + _shortest(size)
    return bytes.fromhex(tag) + length + content


def _shortest(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _integer(number: int) -> bytes:
    return _der("02", number.to_bytes(number.bit_length() // 8 + 1, "big"))


def spki(modulus: bytes, exponent: bytes, algorithm: str = _RSA + _NULL) -> bytes:
    """Return a SubjectPublicKeyInfo of two integers as they are encoded, and an algorithm in hex."""
    return _der("30", _der("30", bytes.fromhex(algorithm)), _der("03", b"\0", _der("30", modulus, exponent)))


def text_of(modulus: int, exponent: int = 65537) -> str:
    """Return a key of any numbers as it is written on the wire."""
    return encode_base64url(spki(_integer(modulus), _integer(exponent)))


@functools.lru_cache
def power(exponent: int) -> int:
    """Return a power of 4,096 bits of a number without small factors."""
    # Its base is between the 4,095th and the 4,096th part of 4,096 bits: between 2**bits and that by 2**(1 / exponent).
    numbers, small = random.Random(exponent), math.factorial(1024)
    low = 2 ** (4095 / exponent - (bits := max(4095 // exponent - 50, 0)))
    while True:
        base = int(low * (1 + numbers.random() * (2 ** (1 / exponent) - 1))) + 1 << bits | numbers.getrandbits(bits + 1)
        if (base**exponent).bit_length() == 4096 and math.gcd(base, small) == 1:
            return int(base**exponent)


def _certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mallory")])
    day = datetime(2026, 1, 1, tzinfo=timezone.utc)
    builder = x509.CertificateBuilder(name, name, key("mallory").public.rsa, 1, day, day + timedelta(days=9_999))
    return builder.sign(key("mallory").private, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@functools.lru_cache
def bad_keys() -> dict[str, str]:
    """Return texts that are no key of this protocol, by what is wrong with each."""
    good = key("mallory").public
    n = good.rsa.public_numbers().n
    modulus, exponent = _integer(n), _integer(65537)
    pkcs1 = _der("30", modulus, exponent)
    body = spki(modulus, exponent)[4:]
    pem = good.rsa.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    numbers = {
        "an even modulus": (n - 1, 65537),
        "a modulus of 4,095 bits": (n >> 1 | 1, 65537),
        "a modulus of 4,097 bits": (n << 1 | 1, 65537),
        "a modulus of 16,384 bits": (n**4, 65537),
        "the modulus 1": (1, 65537),
        "a small factor": (next(n - down for down in range(0, 2_042, 2) if (n - down) % 1021 == 0), 65537),
        **{f"a power of {count}": (power(count), 65537) for count in (2, 3, 5, 7, 31, 101, 211)},
        **{f"exponent {e}": (n, e) for e in (1, 2, 3, 17, 65535, 65539, 2**32 + 1)},
        "an exponent as long as the modulus": (n, n - 2),
    }
    encodings = {
        "PKCS#1": pkcs1,
        "a certificate": _certificate(),
        "PEM as bytes": pem.encode(),
        "trailing data": good.der + b"\0",
        "trailing data within": spki(modulus, exponent + b"\5\0"),
        "cut short": good.der[:-1],
        "a longer form of the length": b"\x30\x83\0" + good.der[2:],
        "an indefinite length": b"\x30\x80" + body + b"\0\0",
        "no NULL": spki(modulus, exponent, _RSA),
        "RSASSA-PSS": spki(modulus, exponent, _PSS),
        "RSASSA-PSS with NULL": spki(modulus, exponent, _PSS + _NULL),
        "a leading zero in the modulus": spki(_der("02", b"\0\0" + _shortest(n)), exponent),
        "a leading zero in the exponent": spki(modulus, _der("02", b"\0\1\0\1")),
        "a negative modulus": spki(_der("02", _shortest(n)), exponent),
        "unused bits": good.der.replace(b"\x03\x82\x02\x0f\x00", b"\x03\x82\x02\x0f\x01"),
        "a set": b"\x31" + good.der[1:],
    }
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    texts = {
        "PEM": pem,
        "standard base64": base64.b64encode(good.der).decode().rstrip("="),
        "padding": good.text + "==",
        "unused bits of base64": good.text[:-1] + alphabet[alphabet.index(good.text[-1]) + 1],
        "a line break": good.text + "\n",
        "a space within": good.text[:400] + " " + good.text[400:],
        "a letter of another script": good.text.replace("A", "\u0410", 1),
        "nothing": "",
        "a megabyte": "A" * 900_000,
        "as long as a key": "A" * 734,
    }  # fmt: skip
    return {
        **{case["why"]: case["pubkey"] for case in cases("bad_keys", 10)},
        **{why: text_of(*pair) for why, pair in numbers.items()},
        **{why: encode_base64url(der) for why, der in encodings.items()},
        **texts,
    }


def identifier_of(text: str) -> str:
    """Return the identifier that a key would have if it were allowed; some user's where it is not even base64url."""
    try:
        return identifier(decode_base64url(text))
    except EncodingError:
        return key("dave").id


def weak_keys() -> dict[str, str]:
    """Return a few of the above that differ most; each is read, and used, by software that is less careful."""
    wanted = ("2048-bit modulus", "public exponent 3", "elliptic-curve key", "a power of 2", "a small factor", "PKCS#1")
    return {why: bad_keys()[why] for why in (*wanted, "RSASSA-PSS with NULL", "an even modulus", "padding")}
