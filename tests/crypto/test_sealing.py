"""Seal and Open."""

from __future__ import annotations

import unittest

from crypto.encoding import canonical, decode_base64url
from crypto.sealing import (
    BLOCK_PLAIN,
    BLOCK_SEALED,
    SEAL_MOST,
    OpenError,
    chunk_label,
    message_label,
    open_sealed,
    seal,
)
from tests.vectors import cases, key


class SealTest(unittest.TestCase):
    """RSA-OAEP block by block."""

    def test_vectors(self) -> None:
        """Each ciphertext of the vectors opens to its plaintext, or not at all."""
        for case in cases("seal", 12):
            with self.subTest(case["why"]):
                label = canonical(case["label"])
                if case.get("error"):
                    with self.assertRaises(OpenError):
                        open_sealed(key("bob"), decode_base64url(case["ciphertext"]), label)
                else:
                    plain = open_sealed(key("bob"), decode_base64url(case["ciphertext"]), label)
                    self.assertEqual(plain.hex(), case["plaintext_hex"])

    def test_labels(self) -> None:
        """Labels are the canonical objects of section 4."""
        self.assertEqual(message_label("a", "b"), b'{"from":"a","to":"b"}')
        self.assertEqual(chunk_label("f", "a", 7, "b"), b'{"file_id":"f","from":"a","index":7,"to":"b"}')

    def test_lengths(self) -> None:
        """Around a block's end as many blocks are made as are needed, and all opens again."""
        for length, blocks in ((0, 1), (1, 1), (BLOCK_PLAIN, 1), (BLOCK_PLAIN + 1, 2), (SEAL_MOST, 64)):
            with self.subTest(length=length):
                plain = bytes(index % 251 for index in range(length))
                sealed = seal(key("bob").public, plain, b"label")
                self.assertEqual(len(sealed), blocks * BLOCK_SEALED)
                if length < SEAL_MOST:  # opening 64 blocks takes a while, and the vectors have it
                    self.assertEqual(open_sealed(key("bob"), sealed, b"label"), plain)

    def test_too_long(self) -> None:
        """One byte more than 64 blocks hold is refused, in both directions."""
        with self.assertRaises(ValueError):
            seal(key("bob").public, b"x" * (SEAL_MOST + 1), b"")
        with self.assertRaises(OpenError):
            open_sealed(key("bob"), bytes(65 * BLOCK_SEALED), b"")

    def test_one_way_to_cut(self) -> None:
        """Blocks that Seal would not have cut so are refused: a short one in the middle, an empty one at the end."""
        short, full, empty = (seal(key("bob").public, plain, b"") for plain in (b"a", b"b" * BLOCK_PLAIN, b""))
        self.assertEqual(open_sealed(key("bob"), full + short, b""), b"b" * BLOCK_PLAIN + b"a")
        for sealed in (short + full, full + empty, short + short):
            with self.assertRaises(OpenError):
                open_sealed(key("bob"), sealed, b"")

    def test_no_reason(self) -> None:
        """Whatever is wrong, the error says the same."""
        sealed = seal(key("bob").public, b"secret", b"label")
        said = set()
        for pair, data, label in (
            (key("alice"), sealed, b"label"),
            (key("bob"), sealed, b"other"),
            (key("bob"), sealed[:-1], b"label"),
            (key("bob"), bytes([sealed[0] ^ 1]) + sealed[1:], b"label"),
            (key("bob"), b"", b"label"),
        ):
            with self.assertRaises(OpenError) as caught:
                open_sealed(pair, data, label)
            said.add(str(caught.exception))
        self.assertEqual(len(said), 1)
