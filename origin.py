"""Frames that a server or an introducer originates: signed, and tied to their envelope by `hdr` (section 4.2).

Those that go no further than one link are neither on TLS, which protects them (section 15).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Protocol

import socp
from crypto.keys import BadKey, PublicKey, read_public_key
from crypto.signing import Signer, header_digest, verify
from framing import encode_frame
from socp import BAD_KEY, INVALID_SIG, Envelope, ProtocolError


class Channel(Protocol):
    """What a frame goes over: a link."""

    @property
    def secure(self) -> bool:
        """Whether it is over TLS."""


class Origin:
    """Makes the frames of one identity.

    Making a signed frame takes an RSA operation: never do it with a lock held. What is for a link alone is made by
    `link_frame` or `frames`; `signed` is for gossip, and for the frame that ends a handshake.
    """

    def __init__(self, signer: Signer) -> None:
        self.signer = signer
        self.id = signer.public.id
        self.public = signer.public

    def signed(
        self, frame_type: str, to: str, payload: Mapping[str, object], ts: int | None = None
    ) -> dict[str, object]:
        """Return a signed envelope.

        Args:
            frame_type: its type.
            to: its destination.
            payload: without `hdr`.
            ts: Unix ms; now if None.
        """
        ts = socp.now_ms() if ts is None else ts
        full = {**payload, "hdr": header_digest(self.id, to, ts, frame_type)}
        return socp.make_envelope(frame_type, self.id, to, ts, full, self.signer.sign(full))

    def unsigned(self, frame_type: str, to: str, payload: Mapping[str, object], ts: int | None = None) -> bytes:
        """Return a frame without signature, as goes to whoever has not proved who they are."""
        return encode_frame(socp.make_envelope(frame_type, self.id, to, socp.now_ms() if ts is None else ts, payload))

    def link_frame(
        self, link: Channel, frame_type: str, to: str, payload: Mapping[str, object], ts: int | None = None
    ) -> bytes:
        """Return a frame that goes over one link and no further: signed, unless that is TLS; see `signed`."""
        if link.secure:
            return self.unsigned(frame_type, to, payload, ts)
        return encode_frame(self.signed(frame_type, to, payload, ts))

    def frames(
        self, frame_type: str, to: str, payload: Mapping[str, object], ts: int | None = None
    ) -> Callable[[Channel], bytes]:
        """Return what makes the frame for each of many links, as `link_frame` does, and signs at most once."""

        @functools.cache
        def made(secure: bool) -> bytes:
            if secure:
                return self.unsigned(frame_type, to, payload, ts)
            return encode_frame(self.signed(frame_type, to, payload, ts))

        return lambda link: made(link.secure)

    def error(self, to: str, error: ProtocolError, link: Channel | None = None) -> bytes:
        """Return the ERROR that tells a peer what it did wrong.

        Args:
            to: the peer's id, or "*".
            error: what to say.
            link: the peer's, once the handshake is done. Nothing is signed for a stranger.
        """
        payload = {"code": error.code, "detail": error.detail, **error.refs}
        if link is None:
            return self.unsigned(socp.ERROR, to, payload)
        return self.link_frame(link, socp.ERROR, to, payload)


def check_origin(envelope: Envelope, key: PublicKey) -> None:
    """Verify the signature of a server's frame, and that its envelope is the one it was signed in.

    Raises:
        ProtocolError: INVALID_SIG.
    """
    hdr = header_digest(envelope.sender, envelope.to, envelope.ts, envelope.type)
    if envelope.payload.get("hdr") != hdr or not verify(key, envelope.payload, envelope.sig):
        raise ProtocolError(INVALID_SIG, "the signature does not match the frame")


def check_link_frame(envelope: Envelope, key: PublicKey, link: Channel) -> None:
    """Check a server's frame that was made for this very link (section 15).

    On TLS it needs no signature; one that it has must be good all the same.

    Raises:
        ProtocolError: INVALID_SIG.
    """
    if not link.secure or envelope.sig or "hdr" in envelope.payload:
        check_origin(envelope, key)


def key_of(text: str, expected_id: str, read: Callable[[str], PublicKey] = read_public_key) -> PublicKey:
    """Read a public key that must be the one of an id (section 4.1).

    Args:
        text: the key on the wire.
        expected_id: the id.
        read: parses it; keeps it parsed, or does not.

    Raises:
        ProtocolError: BAD_KEY.
    """
    try:
        key = read(text)
    except BadKey as error:
        raise ProtocolError(BAD_KEY, "not an RSA-4096 public key in its one encoding") from error
    if key.id != expected_id:
        raise ProtocolError(BAD_KEY, "the key is not the one of the id")
    return key
