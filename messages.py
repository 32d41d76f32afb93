"""What a user signs and everybody can check: broadcasts and file manifests (PROTOCOL.md sections 10 and 11)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import socp
from ciphers import Cipher
from crypto.keys import PublicKey
from crypto.signing import BROADCAST, MANIFEST, Purpose, verify_content
from origin import key_of
from socp import BAD_ENVELOPE, INVALID_SIG, TOO_LARGE, Envelope, ProtocolError

_BROADCAST_FIELDS = len(socp.SHAPES[socp.MSG_PUBLIC_CHANNEL].required)


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


def broadcast_key(envelope: Envelope) -> bytes | None:
    """Return what a broadcast is remembered by (section 7.3), at a third of the price of canonical JSON.

    It names the same: each value of the envelope and the payload that section 7.3 does.

    Args:
        envelope: of the right shape.

    Returns:
        None if there is more in the payload, which then is to be named too: else whoever passes a broadcast on could
        add what keeps it from going further, and have the good one be taken for a repeat.
    """
    payload = envelope.payload
    if len(payload) != _BROADCAST_FIELDS:
        return None
    text, sender_pub, content_sig = payload["text"], payload["sender_pub"], payload["content_sig"]
    # The lengths keep apart where one value ends and the next begins.
    named = (
        f"broadcast {envelope.ts} {envelope.sender} {envelope.to} {len(sender_pub)} {len(content_sig)} "
        f"{sender_pub}{content_sig}{text}"
    )
    return hashlib.sha256(named.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True)
class Manifest:
    """What FILE_START says of a file; `peer` is the other end, `size` in bytes, `sha256` in hex.

    Attributes:
        cipher: what all of its chunks are sealed by.
    """

    file_id: str
    peer: str
    name: str
    size: int
    sha256: str
    chunks: int
    cipher: Cipher = Cipher.BLOCKS


def read_manifest(envelope: Envelope) -> tuple[Manifest, PublicKey]:
    """Verify that a FILE_START is what its sender signed; its time and its sense are the caller's to judge.

    Returns:
        The manifest, and the sender's key.

    Raises:
        ProtocolError: BAD_KEY or INVALID_SIG.
    """
    key, payload = _check_signed(envelope, MANIFEST), envelope.payload
    manifest = Manifest(
        payload["file_id"],
        envelope.sender,
        payload["name"],
        payload["size"],
        payload["sha256"],
        payload["chunks"],
        Cipher.of_manifest(payload),
    )
    return manifest, key


def _check_signed(envelope: Envelope, purpose: Purpose) -> PublicKey:
    key = key_of(envelope.payload["sender_pub"], envelope.sender)
    if not verify_content(key, purpose, envelope.signed_values(), envelope.payload["content_sig"]):
        raise ProtocolError(INVALID_SIG, "the sender has not signed this")
    return key
