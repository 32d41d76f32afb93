"""Frames that a server originates."""

from __future__ import annotations

import unittest
from dataclasses import replace

import socp
from crypto.signing import KeySigner
from framing import decode_frame
from origin import Origin, check_origin, key_of
from socp import BAD_KEY, INVALID_SIG, Envelope, LinkError, ProtocolError, read_envelope
from tests.vectors import key

PEER = key("server2").id


class OriginTest(unittest.TestCase):
    """Making frames, and checking them."""

    def setUp(self) -> None:
        """Make an origin."""
        self.origin = Origin(KeySigner(key("server")))

    def read(self, frame: bytes) -> Envelope:
        """Return the envelope in a frame."""
        return read_envelope(decode_frame(frame), frame)

    def test_signed(self) -> None:
        """A frame is from its origin, at its time, and verifies by its origin's key alone."""
        envelope = self.read(self.origin.frame(socp.HEARTBEAT, PEER, {"present": "x"}, 5))
        self.assertEqual((envelope.sender, envelope.to, envelope.ts), (key("server").id, PEER, 5))
        self.assertEqual(set(envelope.payload), {"present", "hdr"})
        check_origin(envelope, key("server").public)
        self.assertRaises(ProtocolError, check_origin, envelope, key("server2").public)

    def test_changed(self) -> None:
        """Whatever is changed in the envelope or the payload, the frame does not verify any more."""
        envelope = self.read(self.origin.frame(socp.HEARTBEAT, PEER, {"present": "x"}))
        hdr = envelope.payload["hdr"]
        for changed in (
            replace(envelope, type=socp.CTRL_CLOSE),
            replace(envelope, sender=PEER),
            replace(envelope, to=socp.EVERYONE),
            replace(envelope, ts=envelope.ts + 1),
            replace(envelope, payload={"present": "y", "hdr": hdr}),
            replace(envelope, payload={"present": "x"}),
            replace(envelope, payload={**envelope.payload, "more": 1}),
            replace(envelope, sig=""),
        ):
            with self.assertRaises(ProtocolError) as caught:
                check_origin(changed, key("server").public)
            self.assertEqual(caught.exception.code, INVALID_SIG)

    def test_errors(self) -> None:
        """An ERROR is signed for whom we know and for nobody else, and says what it is about."""
        error = LinkError(BAD_KEY, "why", msg_ref="m")
        known = self.read(self.origin.error(PEER, error, known=True))
        check_origin(known, key("server").public)
        stranger = self.read(self.origin.error(socp.EVERYONE, error, known=False))
        self.assertEqual((stranger.sig, stranger.to), ("", "*"))
        self.assertEqual(stranger.payload, {"code": BAD_KEY, "detail": "why", "msg_ref": "m"})

    def test_key_of(self) -> None:
        """A key is taken only for its own id."""
        self.assertEqual(key_of(key("alice").public.text, key("alice").id).id, key("alice").id)
        for text in (key("bob").public.text, "junk", ""):
            with self.assertRaises(ProtocolError) as caught:
                key_of(text, key("alice").id)
            self.assertEqual(caught.exception.code, BAD_KEY)
