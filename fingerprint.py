"""The number that both users of a conversation see, to compare by voice (PROTOCOL.md appendix A).

It is made of both ids and keys, and the same whichever side makes it. If the two read the same sixty digits, each has
the other's right key, whatever the servers between them say.
"""

from __future__ import annotations

import hashlib

from crypto.keys import PublicKey

_LABEL = b"SOCP fingerprint 1\0"
# Each digest costs as many: whoever looks for a key whose number is like another's pays them for each try.
_ROUNDS = 5_200
_GROUP_BYTES, _GROUP_DIGITS, _GROUPS = 5, 5, 6  # of one user
_GROUPS_A_LINE = 4


def fingerprint(one: PublicKey, other: PublicKey) -> list[str]:
    """Return the number of two users: twelve groups of five digits."""
    halves = sorted((_half(one), _half(other)))
    return [group for half in halves for group in half]


def lines(groups: list[str]) -> list[str]:
    """Return such a number as three lines to read out."""
    return [" ".join(groups[start : start + _GROUPS_A_LINE]) for start in range(0, len(groups), _GROUPS_A_LINE)]


def _half(key: PublicKey) -> list[str]:
    """Return one user's part: of 30 bytes of the digest, each five as a number modulo 100,000."""
    digest = _LABEL + key.id.encode("ascii") + key.der
    for _ in range(_ROUNDS):
        digest = hashlib.sha512(digest + key.der).digest()
    starts = range(0, _GROUPS * _GROUP_BYTES, _GROUP_BYTES)
    numbers = [int.from_bytes(digest[start : start + _GROUP_BYTES], "big") for start in starts]
    return [f"{number % 10**_GROUP_DIGITS:0{_GROUP_DIGITS}}" for number in numbers]
