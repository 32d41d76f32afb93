"""How a transfer of a file stands, in either direction: what Chat.files tells."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class State(enum.Enum):
    """What a transfer does at the moment."""

    OFFERED = enum.auto()  # nobody has said yet whether it is taken
    WAITING = enum.auto()  # it is taken, and its turn has not come
    HASHING = enum.auto()  # it is read for the first time, before it is offered
    RUNNING = enum.auto()
    INTERRUPTED = enum.auto()  # until both ends are connected again


class TransferFailed(Exception):
    """Raised inside a transfer to end it; the message says why, for people."""


@dataclass(frozen=True)
class UnderWay:
    """A transfer that is offered or under way; the name is raw: show it with `visible`.

    Attributes:
        number: what people call it, in this client alone: 1 for the first that was offered in either direction.
        peer: the id of the other end.
        size: bytes.
        done: bytes that have arrived and been taken; while it is hashed, that have been read.
        began: when it began in its state of before the first byte, on the monotonic clock.
        progressed: when there last was more of it than before, on the same clock.
    """

    file_id: str
    number: int
    peer: str
    name: str
    size: int
    incoming: bool
    state: State
    done: int
    began: float
    progressed: float
