"""What is known of a user, and the attachment by which the user proves it (PROTOCOL.md sections 4.3 and 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import socp
from crypto.encoding import canonical
from crypto.keys import PublicKey
from crypto.signing import ATTACHMENT, verify_content
from origin import key_of
from socp import BAD_TIMESTAMP, INVALID_SIG, TOO_LARGE, ProtocolError


@dataclass(frozen=True)
class Attachment:
    """What a user signed when it attached (section 4.3): the proof of its home, its meta and its caps."""

    nonce: str
    ts: int
    content_sig: str = field(repr=False)

    def to_wire(self) -> dict[str, object]:
        """Return it as it stands in frames."""
        return {"nonce": self.nonce, "ts": self.ts, "content_sig": self.content_sig}


@dataclass(frozen=True)
class User:
    """What is known of a user, all of it verified; `home` is the server that it was last attached to.

    Attributes:
        online: whether its home says that it is there, and can be reached.
        removed: its home has said that it left. Only a newer attachment brings it back (section 7).
    """

    user_id: str
    home: str
    pubkey: str = field(repr=False)
    meta: Mapping[str, Any]
    caps: tuple[str, ...]
    attach: Attachment
    online: bool
    removed: bool = False

    @property
    def display_name(self) -> str:
        """The name it calls itself, or the empty string."""
        name = self.meta.get("display_name", "")
        return name if isinstance(name, str) else ""

    @property
    def rank(self) -> tuple[int, str]:
        """What decides between two attachments (section 7): the later, and of a tie the greater server."""
        return (self.attach.ts, self.home)

    def to_listing(self) -> dict[str, object]:
        """Return what USER_LIST and PRESENCE say of an online user."""
        return {"user_id": self.user_id, "server_id": self.home, "display_name": self.display_name}

    def to_wire(self) -> dict[str, object]:
        """Return what USER_ADVERTISE, USER_SYNC and USER_KEY have in common."""
        return {
            "user_id": self.user_id,
            "pubkey": self.pubkey,
            "meta": dict(self.meta),
            "caps": list(self.caps),
            "attach": self.attach.to_wire(),
        }


def attachment_object(
    user_id: str, server_id: str, attach: Attachment, meta: Mapping[str, Any], caps: tuple[str, ...] | list[str]
) -> dict[str, object]:
    """Return what a user signs when it attaches to a server (section 4.3)."""
    return {
        "user_id": user_id,
        "server_id": server_id,
        "nonce": attach.nonce,
        "ts": attach.ts,
        "meta": dict(meta),
        "caps": list(caps),
    }


def read_user(entry: Mapping[str, Any], home: str, *, online: bool, newest: int) -> tuple[User, PublicKey]:
    """Check what a server says of a user against what the user signed.

    Args:
        entry: the fields of USER_ADVERTISE, USER_KEY or an entry of USER_SYNC, of the right shape.
        home: the server that the user is said to have attached to.
        online: whether it is said to be there still.
        newest: Unix ms; an attachment from after that cannot be.

    Raises:
        ProtocolError: BAD_KEY, INVALID_SIG, TOO_LARGE or BAD_TIMESTAMP.
    """
    key = key_of(entry["pubkey"], entry["user_id"])
    if len(canonical(entry["meta"])) > socp.META_MOST:
        raise ProtocolError(TOO_LARGE, f"meta is over {socp.META_MOST} bytes")
    attach = Attachment(entry["attach"]["nonce"], entry["attach"]["ts"], entry["attach"]["content_sig"])
    if attach.ts > newest:
        raise ProtocolError(BAD_TIMESTAMP, "an attachment from the future")
    signed = attachment_object(key.id, home, attach, entry["meta"], entry["caps"])
    if not verify_content(key, ATTACHMENT, signed, attach.content_sig):
        raise ProtocolError(INVALID_SIG, "the user has not signed this attachment")
    user = User(key.id, home, key.text, entry["meta"], tuple(entry["caps"]), attach, online)
    return user, key
