"""The programs in process, each with the peers that it has, and what each peer says given to its handlers.

A server with two users of its own and two servers linked; an introducer with a server that has joined. Whatever a
handler raises that no handler may comes out of `give`.
"""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import socp
from access import Access
from addresses import Address
from framing import FROM_USER
from handshake import Connector, HandshakeRefused
from introducer import Introducer
from membership import read_membership
from mesh import Peer
from node import SCHEMAS, Node
from outflow import Sent
from settings import Settings
from socp import LinkError, ProtocolError
from tests.fuzz.grammar import (
    ADMITTING,
    DIALLED,
    JOINED,
    NEWCOMER,
    NOW,
    PORTS,
    SERVER,
    STRANGER,
    USER,
    Grammar,
    Role,
    Wire,
)
from tests.fuzz.inputs import Input
from tests.fuzz.scenes import JoinScene, MailScene
from tests.fuzz.server_corners import ServerCorners
from tests.fuzz.stage import Disk, Pipe, StageLink
from tests.fuzz.world import CORNERS_SHARE, NO_TLS, World, accept, frame_of, give_bytes, greeting
from tests.vectors import key
from threads import Deadline
from users import Attachment, User


class ServerWorld(World):
    """A server: alice and bob are attached, server2 and server3 are linked, carol and dave are known to be elsewhere.

    Args:
        grammar, rng: see World.
        directory: where its database is put.
        settings: AMPLE or TIGHT.
    """

    def __init__(self, grammar: Grammar, rng: random.Random, directory: Path, settings: Settings) -> None:
        super().__init__(grammar, rng)
        self.settings = settings
        self._disk = Disk(directory / f"{rng.random()}.sqlite3", SCHEMAS, 0.0)
        pins = {key("introducer").id: key("introducer").public}
        address = Address("127.0.0.1", PORTS["server"])
        self.node = Node(
            grammar.signer("server"),
            settings,
            self._disk,
            context=NO_TLS,
            pins=pins,
            introducers=[],
            registered=lambda _: None,
            access=Access("user"),
        )
        self.threads, self.alarms = self.node.host.threads, self.node.host.alarms  # type: ignore[assignment]
        self.node.start(address)
        self.node.host.aside.stop()  # there are no threads here …
        self.node.host.signers.stop()  # … nor does anybody sign ahead
        self.mesh = self.node._linked()
        self.users: dict[str, tuple[User, StageLink]] = {}
        self.peers: dict[str, Peer] = {}
        self.mesh._own["x"] = read_membership(grammar.membership("server"), pins, NOW)
        for name in ("server2", "server3"):
            self._link_server(name)
        for name in ("carol", "dave"):
            self.node.table.advertise(self.user(name, "server2", online=name == "carol"))
        self.node.table.attach(self.user("erin", "server"), self.link("erin"))
        self.node.table.detach(key("erin").id, self.node.table.local_users[key("erin").id])
        for name in ("alice", "bob"):
            self.attach(name)

    def roles(self) -> tuple[Role, ...]:
        """Return who it hears."""
        return USER, USER, SERVER, SERVER, SERVER, STRANGER, DIALLED, ADMITTING

    def user(self, name: str, home: str, *, online: bool = True) -> User:
        """Return a user who has attached to a server, later than is known."""
        known = self.node.table.user(key(name).id)
        ts = max(NOW - 60_000, known.attach.ts + 1 if known is not None else 0)
        said = self.grammar.known(name, home, ts)
        attach = Attachment(**said["attach"])
        return User(said["user_id"], key(home).id, said["pubkey"], said["meta"], ("presence",), attach, online)

    def attach(self, name: str) -> None:
        """Have a user attach."""
        user, link = self.user(name, "server"), self.link(name, FROM_USER)
        begin = partial(self.node.carrier.begin, user.user_id, link)
        with contextlib.suppress(LinkError):  # the older link was said to be alive
            self.node.presence.attach(user, link, lambda: b"welcome", begin)
            self.users[name] = (user, link)

    def leave(self, name: str) -> None:
        """Have a user's link end."""
        user, link = self.users[name]
        link.abort()
        self.node.presence.detach(user.user_id, link)
        self.node.carrier.end(user.user_id, link)
        self.node.forwarder.kick(user.user_id)

    def _link_server(self, name: str) -> None:
        link = self.link(name)
        link.heard = partial(self._answer_mail, name)
        peer = Peer(link, key(name).public)
        self.node.table.add_server(peer.id, link)
        self.mesh._keys[peer.id] = peer.key
        self.peers[name] = peer
        self.node._link_up(peer)

    def _answer_mail(self, name: str, frame: bytes) -> None:
        """Answer what is handed over to a server, as it does, in some other way, or not at all."""
        if b'"store":true' not in frame or b"SERVER_DELIVER" not in frame:
            return
        wire = self.grammar.make(socp.ACK, replace(SERVER, server=name))
        reference = self.rng.choice(list(self._awaited(name)) or ["x"])
        answer = self.rng.choice(({"status": "stored"}, {"code": socp.MAILBOX_FULL}, None, {"status": "?"}))
        if answer is not None:
            wire |= {"type": socp.ERROR if "code" in answer else socp.ACK, "from": key(name).id}
            wire |= {"to": key("server").id, "payload": {**answer, "msg_ref": reference}}
            if self.rng.random() < 0.2:
                wire["payload"]["user_id"] = key("mallory").id  # whose message it is not
            peer = self.peers[name]
            envelope = socp.read_envelope(self.grammar.sign_again(wire, name))
            self.node._server_handlers(peer)[envelope.type](envelope)

    def _awaited(self, name: str) -> list[str]:
        server = self.node.forwarder._servers.get(key(name).id)
        return list(server.awaited) if server is not None else []

    def give(self, made: Input) -> None:
        """Have its handlers take an input."""
        if made.role is USER:
            self._give_user("alice", made.chunks)
        elif made.role is SERVER:
            self._give_server("server2", made.chunks)
        elif made.role is STRANGER:
            self._give_stranger(made)
        else:
            self._give_dialler(made)

    def _give_user(self, name: str, chunks: tuple[bytes, ...]) -> None:
        if self.users[name][1].closing:
            self.leave(name)
            self.attach(name)
        user, link = self.users[name]
        handlers = self.node._user_handlers(link, user)
        dispatch = partial(self.node.host.dispatch, link, user.user_id, handlers, socp.is_plain_heartbeat)
        give_bytes(link, chunks, dispatch)

    def _give_server(self, name: str, chunks: tuple[bytes, ...]) -> None:
        if self.peers[name].link.closing:
            self.node.table.drop_server(key(name).id, self.peers[name].link)
            self._link_server(name)
        peer = self.peers[name]
        handlers = {socp.SERVER_ANNOUNCE: self.mesh.take_announce, **self.node._server_handlers(peer)}
        give_bytes(peer.link, chunks, partial(self.node.host.dispatch, peer.link, peer.id, handlers))

    def say_user(self, name: str, wire: Wire) -> None:
        """Have a user of its own say something."""
        self._give_user(name, (frame_of(wire),))

    def say_frames(self, name: str, *frames: bytes) -> None:
        """Have a user of its own say several things at once."""
        self._give_user(name, frames)

    def say_server(self, name: str, wire: Wire) -> None:
        """Have a linked server say something."""
        self._give_server(name, (frame_of(wire),))

    def scene(self) -> None:
        """Have several frames come that belong together."""
        (ServerCorners(self) if self.rng.random() < CORNERS_SHARE else MailScene(self)).play()

    def open_links(self) -> None:
        """Have everything be taken again, and written."""
        for link in self._links():
            link.taking, link.drains = Sent.YES, True
        self._disk.full = self.threads.dry = False

    def _links(self) -> list[StageLink]:
        links = [link for _, link in self.users.values()] + [peer.link for peer in self.peers.values()]
        return [link for link in links if isinstance(link, StageLink)]

    def _give_stranger(self, made: Input) -> None:
        pipe = Pipe()
        pipe.feed(*self.handshake(STRANGER, made))
        accept(self.node.host, pipe)
        self.forget("frank")

    def forget(self, name: str) -> None:
        """Forget a user who has left, or the next attachment would have to be later."""
        self.node.table._users._users.pop(key(name).id, None)
        self.node.table._locate(key(name).id, None)

    def _give_dialler(self, made: Input) -> None:
        """Have it connect to somebody who says this."""
        pipe = Pipe()
        pipe.feed(*greeting(self.grammar, made))
        self.dial(pipe, join=made.role is ADMITTING)

    def dial(self, pipe: Pipe, *, join: bool) -> None:
        """Have it connect to a server, or to an introducer."""
        hello = socp.SERVER_HELLO_JOIN if join else socp.SERVER_HELLO_LINK
        rest: Wire = {} if join else {"memberships": []}
        connector = Connector(
            self.grammar.signer("server"),
            hello,
            {"host": "127.0.0.1", "port": PORTS["server"], **rest},
            self._check_acceptor,
            socp.EVERYONE,
            self.settings.limits.clock_skew,
            lambda: NOW,
        )
        membership = read_membership(self.grammar.membership("server2"), self.mesh._pins, NOW)
        serve = partial(self.mesh._serve_join, connector) if join else partial(self.mesh._serve_dialled, membership)
        with (
            mock.patch("host.connect_transport", lambda *_, **__: pipe),
            contextlib.suppress(OSError, HandshakeRefused, ProtocolError),
        ):
            self.node.host.connect(Address("127.0.0.1", 1), connector, serve)

    @staticmethod
    def _check_acceptor(found: Any) -> None:
        if found.id not in (key("server2").id, key("introducer").id):
            raise HandshakeRefused(socp.BAD_KEY, "another one")

    def turn(self) -> None:
        """Let all run that waits for its turn."""
        self._disk.turn()
        self.threads.turn()
        self._disk.turn()

    def disturb(self) -> None:
        """Have links fill up, close or come, alarms go off, the disk fill up, and threads run out."""
        what = self.rng.randrange(9)
        link = self.rng.choice(self._links())
        if what <= 1:
            link.taking = self.rng.choice(tuple(Sent))
        elif what == 2:
            self.open_links()
        elif what == 3:
            self.alarms.ring()
        elif what == 4:
            self._disk.full = not self._disk.full
        elif what == 5:
            self.threads.dry = not self.threads.dry
        elif what == 6:
            self._toggle_bob()
        elif what == 7:
            for user_id in self.node._mail.expire(NOW + self.rng.choice((0, 8 * 24 * 60 * 60 * 1000))):
                self.node.carrier.kick(user_id)
        else:
            self._come_and_go()

    def _toggle_bob(self) -> None:
        _, link = self.users["bob"]
        link.alive = self.rng.random() < 0.5
        if self.rng.random() < 0.5:
            self.leave("bob")
        self.attach("bob")

    def _come_and_go(self) -> None:
        """Have a server's link go, stay away for a while, or come again."""
        peer = self.peers["server3"]
        if self.node.table.server_link(peer.id) is None:
            self._link_server("server3")
        else:
            peer.link.abort()
            self.node.table.drop_server(peer.id, peer.link)
            self.node.forwarder.wake()

    def check(self) -> None:
        """Fail if it has kept more than it may."""
        limits, mesh = self.settings.limits, self.mesh
        kept = {
            "gossip": (len(mesh._seen._seen), limits.seen),
            "servers": (len(mesh._known), limits.servers),
            "links": (len(self.node.host._links), 0),
            "mail": (max((box.stored for box in self.node._mail._boxes.values()), default=0), limits.mailbox),
            "states of links": (len(self.node.presence._peers), 20_000),
        }
        for what, (count, most) in kept.items():
            assert count <= most, f"{count} {what} are kept, of at most {most}"

    def close(self) -> None:
        """Close the database, and what a host has."""
        self._disk.close(Deadline(1))
        self.node.host._wake_reader.close()
        self.node.host._wake_writer.close()


class IntroducerWorld(World):
    """An introducer: server2 and server3 have joined."""

    def __init__(
        self, grammar: Grammar, rng: random.Random, directory: Path, settings: Settings, *, choosy: bool
    ) -> None:
        super().__init__(grammar, rng)
        self.settings = settings
        allowed = directory / "allowed"
        allowed.write_text("".join(f"{key(name).id}\n" for name in ("server2", "server3")), "ascii")
        access = Access("server", allowed if choosy else None)
        self.introducer = Introducer(grammar.signer("introducer"), settings, context=NO_TLS, access=access)
        self.threads, self.alarms = self.introducer.host.threads, self.introducer.host.alarms  # type: ignore[assignment]
        self._links: dict[str, StageLink] = {}
        for name in ("server2", "server3"):
            self._join(name)

    def roles(self) -> tuple[Role, ...]:
        """Return who it hears."""
        return JOINED, NEWCOMER

    def _join(self, name: str) -> None:
        link = self.link(name)
        member = read_membership(self.grammar.membership(name), self.introducer._pins, NOW)
        self.introducer._servers[key(name).id] = (link, member)
        self._links[name] = link

    def give(self, made: Input) -> None:
        """Have its handlers take an input."""
        if made.role is NEWCOMER:
            self._let_in(self.handshake(NEWCOMER, made))
        else:
            self._give_server("server2", made.chunks)

    def _let_in(self, chunks: list[bytes]) -> None:
        pipe = Pipe()
        pipe.feed(*chunks)
        accept(self.introducer.host, pipe)

    def _give_server(self, name: str, chunks: tuple[bytes, ...]) -> None:
        if self._links[name].closing or key(name).id not in self.introducer._servers:
            self._join(name)
        link, public = self._links[name], key(name).public
        handlers = self.introducer._handlers(link, public)
        give_bytes(link, chunks, partial(self.introducer.host.dispatch, link, public.id, handlers))

    def join(self, name: str, then: Wire) -> None:
        """Have a server join, say something, and leave."""
        role = replace(NEWCOMER, server=name)
        wires = [self.grammar.make(frame_type, role) for frame_type in (socp.SERVER_HELLO_JOIN, socp.AUTH_RESPONSE)]
        self._let_in([frame_of(wire) for wire in (*wires, then)])

    def say(self, name: str, wire: Wire) -> None:
        """Have a server that has joined say something."""
        self._give_server(name, (frame_of(wire),))

    def scene(self) -> None:
        """Have servers join and be announced."""
        JoinScene(self).play()

    def disturb(self) -> None:
        """Have its alarms go off."""
        self.alarms.ring()

    def check(self) -> None:
        """Fail if it has kept more than it may."""
        assert len(self.introducer._seen._seen) <= self.settings.limits.seen
        assert not self.introducer.host._links

    def close(self) -> None:
        """Close what a host has."""
        self.introducer.host._wake_reader.close()
        self.introducer.host._wake_writer.close()
