"""Sign and Verify, transport signatures with `hdr`, and content signatures."""

from __future__ import annotations

import itertools
import unittest
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

import socp
from crypto.encoding import decode_base64url, digest, encode_base64url
from crypto.sealing import message_label, open_sealed
from crypto.signing import (
    ATTACHMENT,
    BROADCAST,
    FILE_RESULT,
    MANIFEST,
    MESSAGE,
    RECEIPT,
    SERVER_LINK,
    KeySigner,
    Purpose,
    message_reference,
    sign_content,
    verify,
    verify_content,
)
from origin import check_origin
from socp import ProtocolError
from tests.vectors import cases, key, load

PURPOSES = {
    "dm": MESSAGE,
    "receipt": RECEIPT,
    "broadcast": BROADCAST,
    "file": MANIFEST,
    "file_ack": FILE_RESULT,
    "attach": ATTACHMENT,
    "link": SERVER_LINK,
}


class TransportTest(unittest.TestCase):
    """Frames of servers."""

    def test_vectors(self) -> None:
        """Each server frame of the vectors verifies or is refused as INVALID_SIG."""
        signer = key(load("transport")["signer"])
        for case in cases("transport", 9):
            with self.subTest(case["why"]):
                envelope = socp.read_envelope(case["envelope"])
                if case["valid"]:
                    check_origin(envelope, signer.public)
                else:
                    with self.assertRaises(ProtocolError) as caught:
                        check_origin(envelope, signer.public)
                    self.assertEqual(caught.exception.code, socp.INVALID_SIG)


class ContentTest(unittest.TestCase):
    """What users and servers sign for others to check."""

    def test_vectors(self) -> None:
        """Each content signature of the vectors verifies or does not, by its kind."""
        for case in cases("content", 15):
            with self.subTest(kind=case["kind"], why=case.get("why", "")):
                values, signature = self.signed_values(case)
                public = key(case["signer"]).public
                self.assertIs(verify_content(public, PURPOSES[case["kind"]], values, signature), case["valid"])
                if "msg_ref" in case:
                    self.assertEqual(message_reference(signature), case["msg_ref"])
                if "plaintext" in case:
                    sealed = decode_base64url(case["envelope"]["payload"]["ciphertext"])
                    label = message_label(values["from"], values["to"])
                    plain = open_sealed(key(case["opens_for"]), sealed, label)
                    self.assertEqual(plain.decode("utf-8"), case["plaintext"])

    def signed_values(self, case: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Return what a case signs and its signature."""
        if "object" in case:
            return case["object"], case["content_sig"]
        envelope = socp.read_envelope(case["envelope"])
        return envelope.signed_values(), envelope.payload["content_sig"]

    def test_purposes_cannot_be_confused(self) -> None:
        """No two purposes can sign objects with the same set of keys."""
        sets = []
        for purpose in PURPOSES.values():
            for count in range(len(purpose.when_present) + 1):
                for extra in itertools.combinations(purpose.when_present, count):
                    sets.append(frozenset((*purpose.required, *extra)))
        self.assertEqual(len(sets), len(set(sets)))
        self.assertGreaterEqual(len(sets), 7)

    def test_missing_field(self) -> None:
        """An object that lacks a signed field is not verified, and is no error."""
        purpose = Purpose(("a", "b"))
        self.assertFalse(verify_content(key("alice").public, purpose, {"a": 1}, "AA"))

    def test_round_trip(self) -> None:
        """A signature verifies by its signer's key alone, and over its own values alone."""
        values = {"from": "x", "text": "y", "ts": 1, "other": "not signed"}
        signature = sign_content(KeySigner(key("alice")), BROADCAST, values)
        self.assertTrue(verify_content(key("alice").public, BROADCAST, {**values, "other": "changed"}, signature))
        self.assertFalse(verify_content(key("bob").public, BROADCAST, values, signature))
        for name in ("from", "text", "ts"):
            self.assertFalse(verify_content(key("alice").public, BROADCAST, {**values, name: "z"}, signature))

    def test_salt_lengths(self) -> None:
        """A salt of any length is accepted."""
        value = {"a": 1}
        for length in (0, 32, 478):
            with self.subTest(length=length):
                scheme = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=length)
                raw = key("alice").private.sign(digest(value), scheme, hashes.SHA256())
                self.assertTrue(verify(key("alice").public, value, encode_base64url(raw)))

    def test_no_signature(self) -> None:
        """What is no signature at all does not verify, and is no error."""
        for text in ("", "AA", "=", "\u2713", "A" * 683, "A" * 10_000):
            with self.subTest(text=text[:8]):
                self.assertFalse(verify(key("alice").public, {"a": 1}, text))
