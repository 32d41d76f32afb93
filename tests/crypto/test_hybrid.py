"""File chunks under AES-256-GCM with a sealed key."""

from __future__ import annotations

import hashlib
import unittest

from crypto.encoding import decode_base64url
from crypto.hybrid import HybridChunk, open_chunk, seal_chunk
from crypto.sealing import OpenError, chunk_label, seal
from tests.vectors import cases, key, load


class HybridTest(unittest.TestCase):
    """Section 10.1."""

    def test_vectors(self) -> None:
        """Each chunk of the vectors opens to the plaintext with its hash, or not at all."""
        vectors = load("hybrid")
        for case in cases("hybrid", 5):
            with self.subTest(case["why"]):
                payload = case["payload"]
                label = chunk_label(payload["file_id"], vectors["from"], payload["index"], vectors["to"])
                chunk = HybridChunk(*(decode_base64url(payload[name]) for name in ("wrapped_key", "iv", "ciphertext")))
                if case["valid"]:
                    plain = open_chunk(key("bob"), chunk, label)
                    self.assertEqual(hashlib.sha256(plain).hexdigest(), case["plaintext_sha256"])
                else:
                    with self.assertRaises(OpenError):
                        open_chunk(key("bob"), chunk, label)

    def test_fresh(self) -> None:
        """Each chunk has a key and an iv of its own, also for the same bytes."""
        one, other = (seal_chunk(key("bob").public, b"same", b"label") for _ in range(2))
        self.assertNotEqual(one.iv, other.iv)
        self.assertNotEqual(one.ciphertext, other.ciphertext)
        self.assertEqual(open_chunk(key("bob"), one, b"label"), b"same")

    def test_wrong_lengths(self) -> None:
        """A sealed key or an iv of another length is an error like any other."""
        good = seal_chunk(key("bob").public, b"x", b"label")
        short_key = HybridChunk(seal(key("bob").public, b"k" * 16, b"label"), good.iv, good.ciphertext)
        for chunk in (
            short_key,
            HybridChunk(good.wrapped_key, good.iv[:8], good.ciphertext),
            HybridChunk(good.wrapped_key, good.iv, b""),
        ):
            with self.assertRaises(OpenError):
                open_chunk(key("bob"), chunk, b"label")
