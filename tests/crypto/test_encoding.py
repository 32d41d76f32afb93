"""Strict base64url and canonical JSON."""

from __future__ import annotations

import json
import string
import unittest

from crypto.encoding import (
    EncodingError,
    canonical,
    decode_base64url,
    digest,
    encode_base64url,
    encode_base64url_bytes,
    is_base64url,
    read_base64url,
)
from tests.vectors import cases


class Base64UrlTest(unittest.TestCase):
    """One spelling for each value."""

    def test_vectors(self) -> None:
        """Each text of the vectors decodes to its bytes, or is an error."""
        for case in cases("base64url", 12):
            with self.subTest(case.get("why", case["text"])):
                if case.get("error"):
                    self.assertFalse(is_base64url(case["text"]))
                    with self.assertRaises(EncodingError):
                        decode_base64url(case["text"])
                else:
                    self.assertTrue(is_base64url(case["text"]))
                    self.assertEqual(decode_base64url(case["text"]).hex(), case["hex"])
                    self.assertEqual(encode_base64url(bytes.fromhex(case["hex"])), case["text"])

    def test_bytes(self) -> None:
        """Text to be sent as it is, is the same text."""
        for data in (b"", b"\xfb", b"\xfb\xff", b"\xfb\xff\xfe", bytes(range(256))):
            self.assertEqual(encode_base64url_bytes(data).decode(), encode_base64url(data))
            self.assertEqual(decode_base64url(encode_base64url(data)), data)

    def test_one_spelling(self) -> None:
        """Of all texts of two characters, exactly one decodes to each byte, and it is the one that is encoded."""
        alphabet = string.ascii_letters + string.digits + "-_"
        found = [text for first in alphabet for second in alphabet if is_base64url(text := first + second)]
        self.assertEqual(len(found), 256)
        self.assertEqual({decode_base64url(text) for text in found}, {bytes([value]) for value in range(256)})
        for text in found:
            self.assertEqual(encode_base64url(decode_base64url(text)), text)

    def test_foreign_characters(self) -> None:
        """Digits and letters of other scripts, blanks and the other alphabet are refused."""
        for text in ("\u0661\u0662", "AA A", "AAA\n", "A+/A", "\u212a\u212a"):
            with self.subTest(text=ascii(text)):
                self.assertFalse(is_base64url(text))

    def test_looked_at_once(self) -> None:
        """Bytes that are such a text become one that is known to be one, and no others do."""
        for raw in (b"", b"AA", b"-_8"):
            text = read_base64url(raw)
            assert text is not None
            self.assertEqual(text, raw.decode())
            self.assertTrue(is_base64url(text))
            self.assertEqual(encode_base64url(decode_base64url(text)), text)
        for raw in (b"A", b"AB", b"AA=", b"+/8", b"A\xc3", b'A"'):
            self.assertIsNone(read_base64url(raw))


class CanonicalTest(unittest.TestCase):
    """What signatures are made over."""

    def test_vectors(self) -> None:
        """Each object of the vectors has the canonical form that stands beside it."""
        for case in cases("canonical", 5):
            with self.subTest(case["canonical"][:40]):
                self.assertEqual(canonical(case["object"]), case["canonical"].encode("ascii"))

    def test_order(self) -> None:
        """The order in which keys were written does not matter, at any level."""
        one = json.loads('{"b":{"d":1,"c":2},"a":3}')
        other = json.loads('{"a":3,"b":{"c":2,"d":1}}')
        self.assertEqual(canonical(one), canonical(other))
        self.assertEqual(digest(one), digest(other))

    def test_no_nan(self) -> None:
        """What JSON does not have is refused rather than written."""
        with self.assertRaises(ValueError):
            canonical({"a": float("nan")})
