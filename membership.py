"""Memberships: an introducer's signed statement that a server belongs to the network (PROTOCOL.md section 6.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import socp
from addresses import Address, is_host, is_wildcard
from crypto.keys import BadKey, PublicKey, read_public_key
from crypto.signing import Signer, verify
from origin import check_origin, key_of
from socp import NOT_ALLOWED, Envelope, ProtocolError

# Section 6.2, in ms: how long one may last, and how far ahead the clock of its introducer may be.
_LIFETIME_MOST = 7 * 24 * 60 * 60 * 1000
_SKEW = 5 * 60 * 1000


@dataclass(frozen=True)
class Membership:
    """A membership whose signature has been verified; `issued` and `expires` in Unix ms."""

    server_id: str
    address: Address
    key: PublicKey
    issued: int
    expires: int
    introducer_id: str
    sig: str

    def to_wire(self) -> dict[str, object]:
        """Return M as it stands in frames."""
        return {**self._statement(), "sig": self.sig}

    def _statement(self) -> dict[str, object]:
        return {
            "server_id": self.server_id,
            "host": self.address.host,
            "port": self.address.port,
            "pubkey": self.key.text,
            "issued": self.issued,
            "expires": self.expires,
            "introducer_id": self.introducer_id,
        }

    @property
    def renewal(self) -> int:
        """When its server asks for a new one: as half its time is over."""
        return self.issued + (self.expires - self.issued) // 2


def issue(signer: Signer, key: PublicKey, address: Address, now: int, lifetime: int) -> Membership:
    """Make a membership for a server.

    Args:
        signer: the introducer.
        key: the server's.
        address: where the server is reached.
        now: Unix ms.
        lifetime: ms.
    """
    draft = Membership(key.id, address, key, now, now + lifetime, signer.public.id, "")
    return Membership(
        draft.server_id,
        address,
        key,
        draft.issued,
        draft.expires,
        draft.introducer_id,
        signer.sign(draft._statement()),
    )


def read_membership(value: Mapping[str, Any], pins: Mapping[str, PublicKey], now: int) -> Membership:
    """Check a membership in full.

    Args:
        value: M as it stood in a frame or a database.
        pins: the pinned introducers' keys by id.
        now: Unix ms.

    Raises:
        ProtocolError: NOT_ALLOWED for whatever is wrong with it.
    """
    try:
        if not isinstance(value, dict):
            raise ProtocolError(socp.BAD_ENVELOPE, "not an object")
        socp.check_shape(socp.MEMBERSHIP, value, "membership")
        key = read_public_key(value["pubkey"])
        check_host(value["host"])
    except (ProtocolError, BadKey) as error:
        raise ProtocolError(NOT_ALLOWED, "not a membership") from error
    introducer = pins.get(value["introducer_id"])
    if introducer is None:
        raise ProtocolError(NOT_ALLOWED, "a membership by an introducer that is not pinned here")
    if key.id != value["server_id"]:
        raise ProtocolError(NOT_ALLOWED, "a membership whose id is not its key's")
    membership = Membership(
        value["server_id"],
        Address(value["host"], value["port"]),
        key,
        value["issued"],
        value["expires"],
        value["introducer_id"],
        value["sig"],
    )
    if membership.expires <= now:
        raise ProtocolError(NOT_ALLOWED, "a membership that has expired")
    # What an introducer gave by mistake or by malice ends by itself: and with a time that no other can reach, it would
    # count before all that are issued later.
    if membership.issued > now + _SKEW or membership.expires - membership.issued > _LIFETIME_MOST:
        raise ProtocolError(NOT_ALLOWED, "a membership of the future, or of too long a time")
    if not verify(introducer, membership._statement(), membership.sig):
        raise ProtocolError(NOT_ALLOWED, "a membership with a wrong signature")
    return membership


def check_host(host: str) -> None:
    """Refuse a host that cannot be dialled (section 6.1).

    Raises:
        ProtocolError: BAD_ENVELOPE for a wildcard address, or what is no host at all.
    """
    if is_wildcard(host) or not is_host(host):
        raise ProtocolError(socp.BAD_ENVELOPE, "host is not an address that others can connect to")


def newest(memberships: Iterable[Membership]) -> Membership | None:
    """Return the one that counts of several: the greatest `issued`."""
    return max(memberships, key=lambda membership: membership.issued, default=None)


def check_announce(envelope: Envelope, pins: Mapping[str, PublicKey]) -> Membership:
    """Verify a SERVER_ANNOUNCE and return the membership it carries.

    Raises:
        ProtocolError: NOT_ALLOWED, BAD_KEY, BAD_ENVELOPE or INVALID_SIG.
    """
    payload = envelope.payload
    membership = read_membership(payload["membership"], pins, socp.now_ms())
    if key_of(payload["pubkey"], envelope.sender).id != membership.server_id:
        raise ProtocolError(NOT_ALLOWED, "the membership is another server's")
    if membership.address != Address(payload["host"], payload["port"]):
        raise ProtocolError(socp.BAD_ENVELOPE, "host and port are not the membership's")
    check_origin(envelope, membership.key)
    return membership
