"""What every program has when it is fuzzed in process: links without sockets, small or ample limits, handshakes."""

from __future__ import annotations

import abc
import random
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import socp
from framing import FROM_SERVER
from host import Host
from link import Link
from settings import Limits, Settings, Timers
from socp import LinkError
from tests.fuzz.grammar import (
    NONCE,
    NOW,
    Grammar,
    Role,
    Wire,
)
from tests.fuzz.inputs import Input
from tests.fuzz.mutators import framed, write
from tests.fuzz.stage import Bells, Pipe, StageLink, Turns
from tests.vectors import key

CORNERS_SHARE = 0.4  # of the scenes
CORNERS_AT_ONCE = 3
# Whatever is accepted here is plain, or said to be TLS.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
# A handler must not wait, and what runs for a handler must end.
TIMERS = replace(
    Timers(),
    **dict.fromkeys(
        ("request", "probe", "full", "lost_after", "stall", "busy", "retry_first", "retry_client", "idle"), 0.0
    ),
    resume=0.03,
    offer=0.2,
)
AMPLE = Settings(TIMERS, Limits())
# Small enough for every limit to be met.
TIGHT = Settings(
    replace(TIMERS, ask=0.0, seen=0.0),
    replace(
        Limits(),
        servers=1,
        known_users=7,
        seen=20,
        mailbox=3,
        mailbox_bytes=6_000,
        mailboxes_bytes=7_500,
        mail_writing=5_000,
        mailbox_of_one=2,
        mailbox_of_one_bytes=4_000,
        unacknowledged=1,
        kept=1,
        transfers=1,
        transfers_waiting=1,
        transfers_of_one=1,
        transfer_ack=100,
        transfer_window=1_000,
        unwritten=1,
        file_bytes=18,
    ),
)


def frame_of(wire: Wire) -> bytes:
    """Return the frame of an envelope."""
    return framed(write(wire))


class World(abc.ABC):
    """What every program here has.

    Args:
        grammar: makes valid frames.
        rng: decides what is not in the inputs.
    """

    threads: Turns
    alarms: Bells

    def __init__(self, grammar: Grammar, rng: random.Random) -> None:
        self.grammar = grammar
        self.rng = rng

    def link(self, name: str, limit: Any = FROM_SERVER) -> StageLink:
        """Return a new link, whose transport is a Pipe."""
        return StageLink(
            Pipe(secure=self.rng.random() < 0.3),
            limit,
            settings=self.settings,
            alarms=self.alarms,
            threads=self.threads,
            name=name,
        )

    settings: Settings

    @abc.abstractmethod
    def roles(self) -> tuple[Role, ...]:
        """Return who it hears."""

    @abc.abstractmethod
    def give(self, made: Input) -> None:
        """Have its handlers take an input."""

    def turn(self) -> None:
        """Let all run that waits for its turn."""
        self.threads.turn()

    @abc.abstractmethod
    def disturb(self) -> None:
        """Do what happens to a program besides what it is sent."""

    @abc.abstractmethod
    def scene(self) -> None:
        """Have several frames come that belong together."""

    @abc.abstractmethod
    def check(self) -> None:
        """Fail if it has kept more than it may."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give back what it has taken."""

    def handshake(self, role: Role, made: Input) -> list[bytes]:
        """Return the bytes of a handshake of which an input is one part, and the others are right."""
        if made.frame_type == socp.AUTH_RESPONSE:
            return [frame_of(self.grammar.make(self.grammar.hello_of(role), role)), *made.chunks]
        hello = made.frame_type if made.frame_type in socp.HELLOS else self.grammar.hello_of(role)
        name = role.user if hello == socp.USER_HELLO else role.server
        response = self.grammar.make(socp.AUTH_RESPONSE, role)
        response["from"] = key(name).id
        response["payload"]["content_sig"] = self.grammar.prove(role, name, hello, response["payload"]["nonce"], NOW)
        return [*made.chunks, frame_of(response), frame_of(self.grammar.make(socp.HEARTBEAT, role))]


def accept(host: Host, pipe: Pipe, source: str = "127.0.0.1") -> None:
    """Have a host take a connection, as it does those that it accepts; from here may come any number of new users."""
    link = host._new_link(pipe, "conn", host._from_stranger)
    link.source = source
    host._gate.enter(link, link.source)
    host._run_accepted(link, pipe, link.source)  # type: ignore[arg-type]


def give_bytes(link: Link, chunks: tuple[bytes, ...], dispatch: Callable[[], None]) -> None:
    """Have a link that is up be given bytes; it is closed when they are not whole frames, as it would be in the end."""
    assert isinstance(link.transport, Pipe)
    link.transport.feed(*chunks)
    try:
        dispatch()
    except LinkError:
        link.abort()
    if link._buffer.begun:  # what comes next would be taken for the rest of this one
        link.abort()


def greeting(grammar: Grammar, made: Input) -> list[bytes]:
    """Return the bytes of an acceptor's handshake of which an input is one part, and the others are right."""
    role = made.role
    challenge = frame_of(grammar.make(socp.AUTH_CHALLENGE, role))
    end = socp.SERVER_WELCOME if role.server == "introducer" else socp.ACK
    welcome = grammar.make(end, role)
    if end == socp.ACK:
        hello = socp.USER_HELLO if role.here == "alice" else socp.SERVER_HELLO_LINK
        welcome |= {"from": key(role.server).id, "to": key(role.here).id}
        welcome["payload"] = {"msg_ref": hello, "client_nonce": NONCE, "nonce": NONCE}
        welcome = grammar.sign_again(welcome, role.server)
    if made.frame_type == socp.AUTH_CHALLENGE:
        return [*made.chunks, frame_of(welcome)]
    if made.frame_type in (socp.ACK, socp.SERVER_WELCOME):
        return [challenge, *made.chunks]
    return [challenge, frame_of(welcome), *made.chunks]
