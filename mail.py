"""A direct message on its way, as servers see it: sealed and signed by its sender (PROTOCOL.md section 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import socp
from crypto.signing import message_reference
from socp import TOO_LARGE, Envelope, ProtocolError

# A sender's public key and signature have a fixed length; what is longer is none, and is not to fill disks.
_TEXT_MOST = 1024

# What receipts and errors call a message by is the hash of its signature, which anybody who has seen it can send as
# their own: by that alone, a message could be made to pass for one that is there already.
Key = tuple[str, str]


# Not frozen, as envelopes are not.
@dataclass(slots=True)
class Mail:
    """One message for one user. Nobody changes it.

    Attributes:
        ts: the sender's, Unix ms; its signature covers it.
        msg_ref: what it is called in ACK and ERROR.
        key: what tells it from every other message for the same user: its sender and its msg_ref.
        size: the bytes that count against limits.
    """

    recipient: str
    sender: str
    sender_pub: str = field(repr=False)
    ciphertext: str = field(repr=False)
    content_sig: str = field(repr=False)
    ts: int
    msg_ref: str = field(init=False)
    key: Key = field(init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.msg_ref = message_reference(self.content_sig)
        self.key = (self.sender, self.msg_ref)
        self.size = len(self.ciphertext) + len(self.sender_pub) + len(self.content_sig)

    def signed_values(self) -> dict[str, object]:
        """Return what its sender has signed (section 4.3)."""
        return {"ciphertext": self.ciphertext, "from": self.sender, "to": self.recipient, "ts": self.ts}

    def to_user(self) -> dict[str, object]:
        """Return the payload of USER_DELIVER."""
        return {
            "ciphertext": self.ciphertext,
            "sender": self.sender,
            "sender_pub": self.sender_pub,
            "content_sig": self.content_sig,
        }

    def to_server(self, **flags: bool) -> dict[str, object]:
        """Return the payload of SERVER_DELIVER.

        Args:
            flags: `store` or `forwarded`.
        """
        return {**self.to_user(), "user_id": self.recipient, **flags}


def read_mail(envelope: Envelope, sender: str, recipient: str) -> Mail:
    """Take a message out of MSG_DIRECT or SERVER_DELIVER.

    Args:
        envelope: of the right shape.
        sender: the user whose message it is said to be.
        recipient: whom it is for.

    Raises:
        ProtocolError: TOO_LARGE, with its msg_ref.
    """
    payload: Mapping[str, Any] = envelope.payload
    mail = Mail(recipient, sender, payload["sender_pub"], payload["ciphertext"], payload["content_sig"], envelope.ts)
    if len(mail.ciphertext) > socp.SEALED_TEXT_MOST:
        raise ProtocolError(TOO_LARGE, "over 64 sealed blocks", msg_ref=mail.msg_ref)
    if max(len(mail.sender_pub), len(mail.content_sig)) > _TEXT_MOST:
        raise ProtocolError(TOO_LARGE, "no key and no signature is so long", msg_ref=mail.msg_ref)
    return mail
