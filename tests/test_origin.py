"""Frames that a server originates."""

from __future__ import annotations

import unittest
from dataclasses import dataclass, replace
from unittest import mock

import socp
from crypto.signing import KeySigner
from framing import decode_frame
from origin import Origin, check_link_frame, check_origin, key_of
from socp import BAD_KEY, INVALID_SIG, Envelope, LinkError, ProtocolError, read_envelope
from tests.vectors import key

PEER = key("server2").id


@dataclass(frozen=True)
class Channel:
    """What stands for a link."""

    secure: bool


PLAIN, TLS = Channel(secure=False), Channel(secure=True)


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
        envelope = self.read(self.origin.link_frame(PLAIN, socp.HEARTBEAT, PEER, {"present": "x"}, 5))
        self.assertEqual((envelope.sender, envelope.to, envelope.ts), (key("server").id, PEER, 5))
        self.assertEqual(set(envelope.payload), {"present", "hdr"})
        check_origin(envelope, key("server").public)
        self.assertRaises(ProtocolError, check_origin, envelope, key("server2").public)

    def test_changed(self) -> None:
        """Whatever is changed in the envelope or the payload, the frame does not verify any more."""
        envelope = self.read(self.origin.link_frame(PLAIN, socp.HEARTBEAT, PEER, {"present": "x"}))
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
        known = self.read(self.origin.error(PEER, error, PLAIN))
        check_origin(known, key("server").public)
        stranger = self.read(self.origin.error(socp.EVERYONE, error))
        self.assertEqual((stranger.sig, stranger.to), ("", "*"))
        self.assertEqual(stranger.payload, {"code": BAD_KEY, "detail": "why", "msg_ref": "m"})

    def test_tls(self) -> None:
        """What goes over one link is not signed if that is TLS; of many links, those without share one signature."""
        with mock.patch.object(self.origin, "signed", wraps=self.origin.signed) as signed:
            frames = self.origin.frames(socp.HEARTBEAT, socp.EVERYONE, {"present": "x"})
            bare = self.read(frames(TLS))
            signed.assert_not_called()
            self.assertEqual(frames(PLAIN), frames(PLAIN))
            signed.assert_called_once()
        self.assertEqual((bare.sig, bare.payload, bare.to), ("", {"present": "x"}, "*"))
        check_origin(self.read(frames(PLAIN)), key("server").public)
        error = self.read(self.origin.error(PEER, LinkError(BAD_KEY, "why"), TLS))
        self.assertEqual((error.sig, error.payload), ("", {"code": BAD_KEY, "detail": "why"}))
        at = self.read(self.origin.link_frame(TLS, socp.HEARTBEAT, PEER, {}, 5))
        self.assertEqual((at.ts, at.to), (5, PEER))

    def test_checks_by_link(self) -> None:
        """A frame without signature is taken on TLS alone, and a signature must be good wherever there is one."""
        public = key("server").public
        bare = self.read(self.origin.unsigned(socp.HEARTBEAT, PEER, {}))
        signed = self.read(self.origin.link_frame(PLAIN, socp.HEARTBEAT, PEER, {}))
        check_link_frame(bare, public, TLS)
        for link in (PLAIN, TLS):
            check_link_frame(signed, public, link)
            for wrong in (
                replace(signed, ts=signed.ts + 1),
                replace(signed, sig=""),
                replace(signed, payload={}),
                replace(bare, sig=signed.sig),
            ):
                self.assertRaises(ProtocolError, check_link_frame, wrong, public, link)
        self.assertRaises(ProtocolError, check_link_frame, bare, public, PLAIN)
        self.assertRaises(ProtocolError, check_origin, bare, public)

    def test_key_of(self) -> None:
        """A key is taken only for its own id."""
        self.assertEqual(key_of(key("alice").public.text, key("alice").id).id, key("alice").id)
        for text in (key("bob").public.text, "junk", ""):
            with self.assertRaises(ProtocolError) as caught:
                key_of(text, key("alice").id)
            self.assertEqual(caught.exception.code, BAD_KEY)
