"""The flags that set limits and times of the programs (PROTOCOL.md sections 2, 9 and 14), made from one table."""

from __future__ import annotations

import argparse
import enum
from collections.abc import Callable
from dataclasses import dataclass, replace

from quantities import Unit, read_value, written
from settings import Limits, Settings, Timers


class User(enum.Flag):
    """Which of the programs has a flag."""

    INTRODUCER = enum.auto()
    SERVER = enum.auto()
    BOTH = INTRODUCER | SERVER


@dataclass(frozen=True)
class LimitFlag:
    """One flag.

    Attributes:
        name: of the flag, without its hyphens.
        field: of Limits, or of Timers if the unit is a time.
        unit: what its value counts.
        users: the programs that have it.
        least, most: the values that are allowed.
        help: what it limits.
    """

    name: str
    field: str
    unit: Unit
    users: User
    least: int
    most: int
    help: str


_KB, _MB, _GB = 1024, 1024**2, 1024**3
_MANY = 1_000_000_000
_DAY = 24 * 60 * 60

# Bodies can be made smaller than section 2 has them, not larger: no other program would take what a larger one allows.
# Nor so small that what all honest peers send ends their links: a hello, a message, a broadcast, a frame carried on.
FLAGS: tuple[LimitFlag, ...] = (
    LimitFlag("max-users", "users", Unit.COUNT, User.SERVER, 0, _MANY, "links of users"),
    LimitFlag("max-servers", "servers", Unit.COUNT, User.BOTH, 0, _MANY, "other servers"),
    LimitFlag("max-handshakes", "handshakes", Unit.COUNT, User.BOTH, 1, _MANY, "unfinished handshakes"),
    LimitFlag(
        "max-handshakes-per-address",
        "handshakes_of_one",
        Unit.COUNT,
        User.BOTH,
        1,
        _MANY,
        "unfinished handshakes of one address (IPv6: of one /64 network)",
    ),
    LimitFlag("handshake-time", "handshake", Unit.TIME, User.BOTH, 1, _DAY, "time for a handshake"),
    LimitFlag("frame-time", "frame", Unit.TIME, User.BOTH, 1, _DAY, "time from the first byte of a frame to its last"),
    LimitFlag(
        "max-handshake-frame",
        "frame_stranger",
        Unit.SIZE,
        User.BOTH,
        8 * _KB,
        16 * _KB,
        "body of a frame before the handshake is done",
    ),
    LimitFlag("max-user-frame", "frame_user", Unit.SIZE, User.SERVER, 128 * _KB, 768 * _KB, "body of a user's frame"),
    LimitFlag("max-frame", "frame_server", Unit.SIZE, User.BOTH, 768 * _KB, _MB, "body of a server's frame"),
    LimitFlag("max-queue", "queue", Unit.SIZE, User.BOTH, _MB, 1024 * _GB, "what may wait to be sent to one link"),
    LimitFlag("max-queues", "queues", Unit.SIZE, User.BOTH, _MB, 1024 * _GB, "what may wait to be sent to all links"),
    LimitFlag(
        "stalled-time", "full", Unit.TIME, User.BOTH, 1, _DAY, "time after which a link that takes nothing is closed"
    ),
    LimitFlag("max-seen", "seen", Unit.COUNT, User.BOTH, 1, _MANY, "gossiped frames that are remembered"),
    LimitFlag("max-mailbox", "mailbox", Unit.COUNT, User.SERVER, 0, _MANY, "messages stored for one user"),
    LimitFlag(
        "max-mailbox-size",
        "mailbox_bytes",
        Unit.SIZE,
        User.SERVER,
        0,
        1024 * _GB,
        "size of what is stored for one user",
    ),
    LimitFlag(
        "max-mailbox-per-sender",
        "mailbox_of_one",
        Unit.COUNT,
        User.SERVER,
        0,
        _MANY,
        "messages of one sender stored for one user",
    ),
    LimitFlag(
        "max-mailbox-size-per-sender",
        "mailbox_of_one_bytes",
        Unit.SIZE,
        User.SERVER,
        0,
        1024 * _GB,
        "size of what is stored of one sender for one user",
    ),
    LimitFlag(
        "max-mail-size", "mailboxes_bytes", Unit.SIZE, User.SERVER, 0, 1024 * _GB, "size of what is stored in all"
    ),
    LimitFlag("max-questions", "questions", Unit.COUNT, User.SERVER, 1, _MANY, "questions of one user at once"),
    LimitFlag(
        "max-questions-per-second",
        "questions_per_second",
        Unit.COUNT,
        User.SERVER,
        1,
        _MANY,
        "questions of one user in a second, after that",
    ),
    LimitFlag("max-known-users", "known_users", Unit.COUNT, User.SERVER, 1, _MANY, "users that are remembered"),
    LimitFlag(
        "max-identities",
        "identities",
        Unit.COUNT,
        User.SERVER,
        0,
        _MANY,
        "new users that one address may bring in an hour",
    ),
)


def add_flags(parser: argparse.ArgumentParser, user: User) -> None:
    """Give a parser the flags of one program; `with_flags` reads them."""
    group = parser.add_argument_group(
        "limits", "A size may end in k, M or G, for powers of 1,024. The defaults are those of PROTOCOL.md."
    )
    for flag in FLAGS:
        if user in flag.users:
            group.add_argument(
                f"--{flag.name}",
                dest=flag.name,
                type=_reader(flag),
                metavar=flag.unit.value,
                help=f"{flag.help} (default: {written(flag.unit, default(flag))})",
            )
    group.add_argument(
        "--no-penalties",
        action="store_true",
        help="refuse no address for its repeated failures (127.0.0.1 and ::1 never are)",
    )


def with_flags(settings: Settings, arguments: argparse.Namespace) -> Settings:
    """Return settings with what the flags say in place of what they held."""
    given = {flag: value for flag in FLAGS if (value := getattr(arguments, flag.name, None)) is not None}
    timers = {flag.field: float(value) for flag, value in given.items() if flag.unit is Unit.TIME}
    limits = {flag.field: int(value) for flag, value in given.items() if flag.unit is not Unit.TIME}
    return replace(
        settings,
        timers=replace(settings.timers, **timers),
        limits=replace(settings.limits, **limits),
        penalties=settings.penalties and not arguments.no_penalties,
    )


def default(flag: LimitFlag) -> float:
    """Return what holds without a flag."""
    value: float = getattr(Timers() if flag.unit is Unit.TIME else Limits(), flag.field)
    return value


def _reader(flag: LimitFlag) -> Callable[[str], float]:
    """Return what reads the value of a flag for argparse."""

    def read(text: str) -> float:
        value = read_value(flag.unit, text)
        if value is None or not flag.least <= value <= flag.most:
            least, most = written(flag.unit, flag.least), written(flag.unit, flag.most)
            what = {Unit.COUNT: "a whole number", Unit.SIZE: "a number of bytes, as 500k", Unit.TIME: "seconds, as 2.5"}
            raise argparse.ArgumentTypeError(f"{text!r} is not {what[flag.unit]}, from {least} to {most}")
        return value

    return read
