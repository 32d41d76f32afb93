"""The inputs of the fuzzer: what each kind of peer sends, changed in one way or two, all of it from a seed."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import socp
from framing import FROM_SERVER, FrameBuffer, decode_frame
from socp import LinkError
from tests.fuzz.grammar import NOW, Grammar, Role, Wire
from tests.fuzz.mutators import (
    ON_ENVELOPE,
    ON_FRAME,
    ON_TEXT,
    ONE_BY_ONE,
    UNCHANGED,
    Choices,
    framed,
    write,
)

_POOL = 4  # envelopes of each type that a role has ready: a signature takes longer than all the rest
_SHOWN = 2000  # characters of an input that are told of

# Of all inputs. Most are whole frames with something wrong in them: what fails as a frame never comes to a handler.
_UNCHANGED_SHARE = 0.12
_TEXT_SHARE = 0.08
_FRAME_SHARE = 0.12
_AGAIN_SHARE = 0.5  # of the changed frames of servers, which are signed as they are then
_TWICE_SHARE = 0.15  # of the changed frames, which are changed in a second way

# Where a role's frames come from what others have answered to it, they are of these types.
TYPES: dict[str, tuple[str, ...]] = {
    "stranger": (socp.USER_HELLO, socp.SERVER_HELLO_JOIN, socp.SERVER_HELLO_LINK, socp.AUTH_RESPONSE),
    "newcomer": (socp.USER_HELLO, socp.SERVER_HELLO_JOIN, socp.SERVER_HELLO_LINK, socp.AUTH_RESPONSE),
    "dialled server": (socp.AUTH_CHALLENGE, socp.ACK, socp.ERROR, socp.CTRL_CLOSE, socp.USER_SYNC),
    "dialled introducer": (socp.AUTH_CHALLENGE, socp.SERVER_WELCOME, socp.ERROR, socp.SERVER_ANNOUNCE, socp.HEARTBEAT),
    "greeting server": (socp.AUTH_CHALLENGE, socp.ACK, socp.ERROR),
}


@dataclass(frozen=True)
class Input:
    """What is sent at once.

    Attributes:
        number: its place, counted from 0.
        role: who sends it.
        frame_type: what it was before it was changed.
        kinds: what was done to it.
        chunks: its bytes, as they arrive.
    """

    number: int
    role: Role
    frame_type: str
    kinds: tuple[str, ...]
    chunks: tuple[bytes, ...]

    @property
    def data(self) -> bytes:
        """All of its bytes."""
        return b"".join(self.chunks)

    def __str__(self) -> str:
        shown = repr(self.data)
        more = f" … ({len(self.data):,} bytes)" if len(shown) > _SHOWN else ""
        what = f"{self.frame_type} of a {self.role.name} ({', '.join(self.kinds)})"
        return f"input {self.number}, {what}: {shown[:_SHOWN]}{more}"


class Inputs:
    """Makes inputs without end; the same seed makes the same ones.

    Args:
        seed: what decides everything.
        roles: who sends them.
        now: the time, Unix ms.
    """

    def __init__(self, seed: int, roles: tuple[Role, ...], now: Callable[[], int] = lambda: NOW) -> None:
        self._rng = random.Random(seed)
        self.grammar = Grammar(self._rng, now)
        self._roles = roles
        self.count = 0  # inputs made so far
        self._pools: dict[str, list[Wire]] = {}
        self.kinds: Counter[str] = Counter()
        self.whole = 0  # inputs that pass framing

    def refresh(self) -> None:
        """Sign everything anew, with the time that it is now."""
        self._pools.clear()

    def pick(self, role: Role) -> Wire:
        """Return a valid envelope of a role."""
        types = TYPES.get(role.name, tuple(socp.SHAPES))
        if role.name in TYPES and self._rng.random() < 0.1:
            types = tuple(socp.SHAPES)
        frame_type = self._rng.choice(types)
        pool = self._pools.setdefault(f"{role.name} {frame_type}", [])
        if len(pool) < _POOL:
            pool.append(self.grammar.make(frame_type, role))
        return copy.deepcopy(self._rng.choice(pool))

    def next(self, role: Role | None = None) -> Input:
        """Return the next input, of any role if none is named."""
        role = role if role is not None else self._rng.choice(self._roles)
        wire = self.pick(role)
        frame_type = str(wire["type"])
        choices = Choices(self._rng, self.pick(self._rng.choice(self._roles)))
        body, kinds = self._change(choices, role, wire)
        frame = framed(body)
        share = self._rng.random()
        if not kinds and share < _FRAME_SHARE / (1 - _TEXT_SHARE):
            kinds.append(self._rng.choice(tuple(ON_FRAME)))
            frame = ON_FRAME[kinds[-1]](choices, frame)
        chunks: tuple[bytes, ...] = (frame,)
        if self._rng.random() < 0.05 and len(frame) < 4000:
            kinds.append(ONE_BY_ONE)
            chunks = tuple(frame[place : place + 1] for place in range(len(frame)))
        made = Input(self.count, role, frame_type, tuple(kinds) or (UNCHANGED,), chunks)
        self.count += 1
        self.kinds.update(made.kinds)
        self.whole += passes_framing(made.data)
        return made

    def _change(self, choices: Choices, role: Role, wire: Wire) -> tuple[bytes, list[str]]:
        """Change an envelope, or its text, or neither; return its JSON, and what was done."""
        kinds: list[str] = []
        share = self._rng.random()
        if share < _UNCHANGED_SHARE + _FRAME_SHARE:
            return write(wire), kinds
        if share < _UNCHANGED_SHARE + _FRAME_SHARE + _TEXT_SHARE:
            kinds.append(self._rng.choice(tuple(ON_TEXT)))
            return ON_TEXT[kinds[0]](choices, write(wire)), kinds
        signed = bool(wire["sig"])
        kinds.append(self._rng.choice(tuple(ON_ENVELOPE)))
        ON_ENVELOPE[kinds[0]](choices, wire)
        if self._rng.random() < _TWICE_SHARE and isinstance(wire.get("payload"), dict) and set(wire) >= _SIX:
            kinds.append(self._rng.choice(tuple(ON_ENVELOPE)))
            ON_ENVELOPE[kinds[1]](choices, wire)
        if signed and "no signature" not in kinds and self._rng.random() < _AGAIN_SHARE and _can_be_signed(wire):
            wire = self.grammar.sign_again(wire, role.server)
        return write(wire), kinds


_SIX = {"type", "from", "to", "ts", "payload", "sig"}


def _can_be_signed(wire: Wire) -> bool:
    body = write(wire)
    return b"NaN" not in body and b"Infinity" not in body


def passes_framing(data: bytes) -> bool:
    """Tell whether bytes are whole frames of strict JSON, as far as framing goes."""
    buffer = FrameBuffer(FROM_SERVER)
    buffer.feed(data)
    found = False
    try:
        while (frame := buffer.next_frame()) is not None:
            decode_frame(frame)
            found = True
    except LinkError:
        return False
    return found and not buffer.begun
