"""The two kinds of chunks: as section 10.1 has them, and as attackers do."""

from __future__ import annotations

import hashlib
import unittest
from typing import Any
from unittest import mock

from ciphers import Cipher, open_chunk, seal_chunk
from crypto import hybrid
from crypto.encoding import encode_base64url
from crypto.sealing import BLOCK_PLAIN, BLOCK_SEALED, SEAL_MOST, chunk_label, seal
from framing import USER_BODY_MOST, encode_chunk
from socp import make_envelope
from tests.vectors import cases, key, load

LABEL = b"label"
BOB = key("bob")


class CipherTest(unittest.TestCase):
    """What a manifest says of it."""

    def test_manifest(self) -> None:
        """Both names stand in the manifest, or neither does; anything else is one that we cannot open."""
        for cipher in (Cipher.BLOCKS, Cipher.HYBRID):
            self.assertIs(Cipher.of_manifest({"name": "x", **cipher.manifest_fields}), cipher)
        self.assertEqual(Cipher.HYBRID.manifest_fields, {"alg": "RSA-OAEP-256", "enc": "A256GCM"})
        for said in (
            {"alg": "RSA-OAEP-256"},
            {"enc": "A256GCM"},
            {"alg": "", "enc": ""},
            {"alg": "RSA-OAEP", "enc": "A256GCM"},
            {"alg": "RSA-OAEP-256", "enc": "A128GCM"},
        ):
            self.assertIs(Cipher.of_manifest(said), Cipher.UNKNOWN)

    def test_lengths(self) -> None:
        """How long a ciphertext is, is known beforehand."""
        for cipher, plain in ((Cipher.BLOCKS, 1), (Cipher.BLOCKS, BLOCK_PLAIN + 1), (Cipher.HYBRID, 1000)):
            sealed = seal_chunk(cipher, BOB.public, b"x" * plain, LABEL)["ciphertext"]
            self.assertEqual(len(sealed), -(-cipher.sealed_length(plain) * 4 // 3))
        self.assertEqual((Cipher.BLOCKS.most, Cipher.HYBRID.most), (SEAL_MOST, 256 * 1024))

    def test_fits(self) -> None:
        """The largest chunk fits the frame of a user, with half of it to spare."""
        ids = (key("alice").id, BOB.id)
        binary = seal_chunk(Cipher.HYBRID, BOB.public, b"x" * Cipher.HYBRID.most, LABEL)
        frame = encode_chunk(make_envelope("FILE_CHUNK", *ids, 2**53 - 1, {"file_id": ids[0], "index": 2**30}), binary)
        self.assertLess(len(frame), USER_BODY_MOST // 2)


class OpenTest(unittest.TestCase):
    """Opening what somebody has sent."""

    def payload(self, cipher: Cipher = Cipher.HYBRID, plain: bytes = b"plain") -> dict[str, Any]:
        """Return a chunk as it arrives."""
        sealed = seal_chunk(cipher, BOB.public, plain, LABEL)
        return {name: value.decode() for name, value in sealed.items()}

    def opened(self, payload: dict[str, Any], cipher: Cipher = Cipher.HYBRID) -> bytes | None:
        """Return what bob makes of it."""
        return open_chunk(cipher, BOB, payload, LABEL)

    def test_vectors(self) -> None:
        """The vectors of section 10.1 open or do not, as they say; none does as a chunk of blocks."""
        vectors = load("hybrid")
        for case in cases("hybrid", 5):
            payload = case["payload"]
            label = chunk_label(payload["file_id"], vectors["from"], payload["index"], vectors["to"])
            with self.subTest(case["why"]):
                plain = open_chunk(Cipher.HYBRID, BOB, payload, label)
                self.assertEqual(plain is not None, case["valid"])
                if plain is not None:
                    self.assertEqual(hashlib.sha256(plain).hexdigest(), case["plaintext_sha256"])
                self.assertIsNone(open_chunk(Cipher.BLOCKS, BOB, payload, label))

    def test_round_trip(self) -> None:
        """What is sealed opens, of both kinds."""
        for cipher in (Cipher.BLOCKS, Cipher.HYBRID):
            self.assertEqual(self.opened(self.payload(cipher), cipher), b"plain")

    def test_other_kind(self) -> None:
        """A chunk of the other kind does not open, nor one that has a part of the other's fields: nobody chooses."""
        hybrid_chunk, blocks = self.payload(Cipher.HYBRID), self.payload(Cipher.BLOCKS)
        self.assertIsNone(self.opened(blocks))
        for name in ("wrapped_key", "iv"):
            self.assertIsNone(self.opened({**blocks, name: hybrid_chunk[name]}, Cipher.BLOCKS))
            self.assertIsNone(self.opened({other: hybrid_chunk[other] for other in hybrid_chunk if other != name}))
        self.assertIsNone(self.opened(hybrid_chunk, Cipher.BLOCKS))

    def test_hostile(self) -> None:
        """A key or iv of another length, a broken tag, another's key and what is no base64url do not open."""
        good = self.payload()
        tag = good["ciphertext"][:-4] + ("AAAA" if not good["ciphertext"].endswith("AAAA") else "BBBB")

        def sealed(data: bytes, label: bytes = LABEL) -> str:
            return encode_base64url(seal(BOB.public, data, label))

        changes = {
            "tag": {"ciphertext": tag},
            "no tag": {"ciphertext": encode_base64url(b"x" * 15)},
            "nothing": {"ciphertext": ""},
            "a short key": {"wrapped_key": sealed(b"k" * 16)},
            "a long key": {"wrapped_key": sealed(b"k" * 33)},
            "no key": {"wrapped_key": ""},
            "a key under another label": {"wrapped_key": sealed(b"k" * 32, b"another")},
            "the key of another chunk": {"wrapped_key": self.payload()["wrapped_key"]},
            "a short iv": {"iv": encode_base64url(b"i" * 8)},
            "a long iv": {"iv": encode_base64url(b"i" * 16)},
            "no iv": {"iv": ""},
            "not base64url": {"ciphertext": good["ciphertext"] + "="},
            "not base64url in the key": {"wrapped_key": "A"},
        }
        for what, change in changes.items():
            with self.subTest(what):
                self.assertIsNone(self.opened({**good, **change}))

    def test_cheap(self) -> None:
        """A key of many blocks, and a chunk that holds too much, are refused before RSA is asked."""
        good = self.payload()
        for change in (
            {"wrapped_key": encode_base64url(b"x" * 64 * BLOCK_SEALED)},
            {"ciphertext": encode_base64url(b"x" * (Cipher.HYBRID.most + hybrid.TAG_BYTES + 1))},
        ):
            with mock.patch("crypto.hybrid.open_sealed") as opened:
                self.assertIsNone(self.opened({**good, **change}))
            opened.assert_not_called()

    def test_too_large_to_send(self) -> None:
        """Nobody seals more than a chunk may hold."""
        self.assertRaises(ValueError, self.payload, Cipher.HYBRID, b"x" * (Cipher.HYBRID.most + 1))
        self.assertEqual(len(self.opened(self.payload(plain=b"x" * Cipher.HYBRID.most)) or b""), Cipher.HYBRID.most)
