"""What a user signs and everybody can check."""

from __future__ import annotations

import unittest
from typing import Any

import socp
from crypto.signing import BROADCAST, MANIFEST, KeySigner, Purpose, sign_content
from messages import broadcast_key, check_broadcast, read_manifest
from socp import BAD_ENVELOPE, BAD_KEY, INVALID_SIG, TOO_LARGE, Envelope, ProtocolError
from tests.vectors import key

ALICE, BOB = key("alice").id, key("bob").id
FILE: dict[str, Any] = {
    "file_id": ALICE,
    "name": "a",
    "size": 5,
    "sha256": "00" * 32,
    "mode": "dm",
    "chunks": 1,
}


def signed(purpose: Purpose, frame_type: str, to: str, payload: dict[str, Any], **change: Any) -> Envelope:
    """Return an envelope signed by alice, with fields of the payload changed afterwards."""
    values = {**payload, "from": ALICE, "to": to, "ts": 5}
    full = {**payload, "content_sig": sign_content(KeySigner(key("alice")), purpose, values)}
    full |= {"sender_pub": key("alice").public.text} | change
    return socp.read_envelope(socp.make_envelope(frame_type, ALICE, to, 5, full))


class BroadcastTest(unittest.TestCase):
    """check_broadcast."""

    def refused(self, code: str, said: str, **change: Any) -> None:
        """Have a broadcast refused."""
        with self.assertRaises(ProtocolError) as caught:
            check_broadcast(signed(BROADCAST, socp.MSG_PUBLIC_CHANNEL, socp.PUBLIC, {"text": said}, **change))
        self.assertEqual(caught.exception.code, code)

    def test_checked(self) -> None:
        """What was signed passes, and what was changed, is too large or no text does not."""
        check_broadcast(signed(BROADCAST, socp.MSG_PUBLIC_CHANNEL, socp.PUBLIC, {"text": "\u00e9" * 8192}))
        self.refused(TOO_LARGE, "\u00e9" * 8192 + "x")
        self.refused(INVALID_SIG, "hi", text="bye")
        self.refused(INVALID_SIG, "hi", content_sig="")
        self.refused(BAD_KEY, "hi", sender_pub=key("bob").public.text)
        self.refused(BAD_ENVELOPE, "hi", text="\ud800")


class BroadcastKeyTest(unittest.TestCase):
    """broadcast_key."""

    def key_of(self, ts: int = 5, sender: str = ALICE, to: str = socp.PUBLIC, **change: Any) -> bytes | None:
        """Return what a broadcast is remembered by, with some of it changed."""
        payload = {"text": "hi", "content_sig": "AAAA", "sender_pub": "key"} | change
        wire = socp.make_envelope(socp.MSG_PUBLIC_CHANNEL, sender, to, ts, payload)
        return broadcast_key(socp.read_envelope(wire))

    def test_all_is_named(self) -> None:
        """Whatever is other in a broadcast, also where one value ends, has it remembered for itself."""
        keys = [
            self.key_of(),
            self.key_of(ts=6),
            self.key_of(sender=BOB),
            self.key_of(to=BOB),
            self.key_of(text="ho"),
            self.key_of(text=""),
            self.key_of(text="\ud800"),
            self.key_of(sender_pub="yek"),
            self.key_of(sender_pub="keyA", content_sig="AAA"),
            self.key_of(content_sig="AAAB"),
            self.key_of(content_sig="AAAAh", text="i"),
            self.key_of(content_sig="AAA", text="Ahi"),
        ]
        self.assertEqual(len(set(keys)), len(keys))
        self.assertNotIn(None, keys)
        self.assertEqual(self.key_of(), keys[0])

    def test_what_was_added(self) -> None:
        """A broadcast that somebody has added something to is to be named with all of that."""
        self.assertIsNone(self.key_of(x="y"))


class ManifestTest(unittest.TestCase):
    """read_manifest."""

    def test_read(self) -> None:
        """What was signed is read, with the cipher's names or without."""
        for extra in ({}, {"alg": "RSA-OAEP-256", "enc": "A256GCM"}):
            manifest, public = read_manifest(signed(MANIFEST, socp.FILE_START, BOB, {**FILE, **extra}))
            self.assertEqual((manifest.file_id, manifest.peer, manifest.size), (ALICE, ALICE, 5))
            self.assertEqual(public.id, ALICE)

    def test_changed(self) -> None:
        """Every field is covered, and so is the absence of a cipher."""
        for change in (
            {"size": 6},
            {"name": "b"},
            {"chunks": 2},
            {"sha256": "11" * 32},
            {"mode": "x"},
            {"file_id": BOB},
            {"alg": "none"},
            {"enc": "A256GCM"},
        ):
            with self.subTest(change=change), self.assertRaises(ProtocolError) as caught:
                read_manifest(signed(MANIFEST, socp.FILE_START, BOB, FILE, **change))
            self.assertEqual(caught.exception.code, INVALID_SIG)
