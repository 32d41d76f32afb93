"""What a user signs and everybody can check: broadcasts and file manifests (PROTOCOL.md sections 10 and 11)."""

from __future__ import annotations

import socp
from crypto.keys import PublicKey
from crypto.signing import BROADCAST, MANIFEST, Purpose, verify_content
from origin import key_of
from socp import BAD_ENVELOPE, INVALID_SIG, TOO_LARGE, Envelope, ProtocolError


def check_broadcast(envelope: Envelope) -> None:
    """Verify that a broadcast is what its sender signed; its time is the caller's to judge.

    Raises:
        ProtocolError: BAD_ENVELOPE, TOO_LARGE, BAD_KEY or INVALID_SIG.
    """
    try:
        size = len(envelope.payload["text"].encode("utf-8"))
    except UnicodeEncodeError as error:
        raise ProtocolError(BAD_ENVELOPE, "text is not UTF-8") from error
    if size > socp.BROADCAST_MOST:
        raise ProtocolError(TOO_LARGE, f"a broadcast holds at most {socp.BROADCAST_MOST} bytes")
    _check_signed(envelope, BROADCAST)


def check_manifest(envelope: Envelope) -> PublicKey:
    """Verify that a FILE_START is what its sender signed, and return the sender's key; its time is the caller's.

    Raises:
        ProtocolError: BAD_KEY or INVALID_SIG.
    """
    return _check_signed(envelope, MANIFEST)


def _check_signed(envelope: Envelope, purpose: Purpose) -> PublicKey:
    key = key_of(envelope.payload["sender_pub"], envelope.sender)
    if not verify_content(key, purpose, envelope.signed_values(), envelope.payload["content_sig"]):
        raise ProtocolError(INVALID_SIG, "the sender has not signed this")
    return key
