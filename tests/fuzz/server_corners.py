"""Corners of a server: short scripts of frames that reach what scenes drawn at random hardly ever do.

What is random in them is which one is played; each says one thing that a user, a server or a stranger can do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest import mock

import socp
from crypto.signing import message_reference
from outflow import Sent
from socp import LinkError
from tests.fuzz.grammar import ADMITTING, DAY, DIALLED, NONCE, NOW, SERVER, STRANGER, Role, Wire
from tests.fuzz.stage import TLS_NONCE, Pipe
from tests.fuzz.world import CORNERS_AT_ONCE, accept, frame_of
from tests.sockets import EVERYWHERE
from tests.vectors import key
from tls import TlsError
from users import Attachment

if TYPE_CHECKING:
    from tests.fuzz.worlds import ServerWorld

_OFF = 10 * 60_000  # ms: more than a clock may be off
_ITSELF = Role("itself", "server", "frank", "server", ("alice",))
_LINKING = replace(STRANGER, name="linking server")
_SEEN = 2
_KNOWN = ("alice", "bob", "carol", "dave", "erin", "grace", "heidi")


class ServerCorners:
    """Handshakes, gossip and mail that come when they are not looked for.

    Args:
        world: where.
    """

    def __init__(self, world: ServerWorld) -> None:
        self._world = world
        self._rng = world.rng
        self._grammar = world.grammar

    def play(self) -> None:
        """Play some."""
        for corner in self._rng.sample(self.all, CORNERS_AT_ONCE):
            self.play_one(corner)

    @property
    def all(self) -> tuple[Callable[[], None], ...]:
        """All there are."""
        return (
            *(self._shake_hands, self._come_in_vain, self._link_in_vain, self._dial, self._join, self._part),
            *(self._displace, self._attach_late, self._lie, self._sync, self._fill_seen, self._broadcast),
            *(self._repeat, self._get_stuck, self._ask),
        )

    def play_one(self, corner: Callable[[], None]) -> None:
        """Play one, in a server that is well before it and behind it."""
        self._world.open_links()
        corner()
        self._world.open_links()
        self._world.turn()

    # --- handshakes ---------------------------------------------------------------------------------------------

    def _accept(
        self,
        role: Role = STRANGER,
        *,
        changes: Wire | None = None,
        secure: bool = False,
        ts: int = NOW,
        source: str = "127.0.0.1",
        fault: OSError | None = None,
    ) -> None:
        """Have somebody connect, with a hello of which some of the payload is changed."""
        hello_type = socp.USER_HELLO if role is STRANGER else socp.SERVER_HELLO_LINK
        name = role.user if role is STRANGER else role.server
        hello = self._grammar.make(hello_type, role)
        hello["payload"] |= changes or {}
        nonce = TLS_NONCE if secure else NONCE
        response = self._grammar.make(socp.AUTH_RESPONSE, role)
        response |= {"from": key(name).id, "ts": ts}
        signature = self._grammar.prove(role, name, hello_type, nonce, ts)
        response["payload"] = {"nonce": nonce, "content_sig": signature}
        pipe = Pipe(secure=secure, fault=fault)
        pipe.feed(frame_of(hello), frame_of(response))
        accept(self._world.node.host, pipe, source)
        if role is STRANGER:
            self._world.forget("frank")

    def _shake_hands(self) -> None:
        """Shake hands in TLS, with a clock that is off, with two keys, or not at all."""
        self._accept(secure=True)
        self._accept(ts=NOW + self._rng.choice((-_OFF, _OFF)))
        self._accept(changes={"enc_pubkey": key("mallory").public.text})
        self._accept(changes={"meta": {"display_name": "x" * socp.META_MOST}})
        self._accept(fault=TlsError("this is no TLS"))
        self._accept(fault=OSError("gone"))

    def _come_in_vain(self) -> None:
        """Have a user come who may not, for whom there is no room, or who is one too many from where it comes."""
        node: Any = self._world.node
        self._world.forget("frank")
        for target, name, value in (
            (node._access, "_lists", (None, frozenset({key("frank").id}))),
            (node.table._users, "_most", 0),
            (node._newcomers, "_most", 0),
        ):
            with mock.patch.object(target, name, value):
                self._accept(source="127.0.0.9")
                self._world.forget("grace")
                self._advertise("grace", NOW - 1)

    def _memberships(self) -> list[Wire]:
        """Return memberships of which none is of any use to server2."""
        return [
            self._grammar.membership("server3"),
            self._grammar.membership("server2", issued=NOW + DAY),
            self._grammar.membership("server2", lifetime=1000 * DAY),
            self._grammar.membership("server2", issued=NOW - 2 * DAY),
            *({**self._grammar.membership("server2"), "host": host} for host in (EVERYWHERE, "no host", "")),
        ]

    def _link_in_vain(self) -> None:
        """Have a server come that is this one, or that shows what does not count; and then what does."""
        self._accept(_ITSELF)
        useless = self._memberships()
        self._accept(_LINKING, changes={"memberships": useless})
        self._accept(_LINKING, changes={"port": 1})
        self._accept(_LINKING, changes={"memberships": [*useless, self._grammar.membership("server2")]})

    def _connect(self, role: Role, wires: Iterable[Wire], channel_key: str | None = None) -> None:
        pipe = Pipe(secure=channel_key is not None)
        pipe.channel_key = key(channel_key).public if channel_key is not None else None
        pipe.feed(*map(frame_of, wires))
        self._world.dial(pipe, join=role is ADMITTING)

    def _welcome(self, role: Role, nonce: str, **changes: object) -> list[Wire]:
        """Return what an acceptor says, of which some of the last payload is changed."""
        challenge = self._grammar.make(socp.AUTH_CHALLENGE, role)
        challenge["payload"]["nonce"] = nonce
        if role is ADMITTING:
            welcome = self._grammar.make(socp.SERVER_WELCOME, role)
        else:
            welcome = self._grammar.make(socp.ACK, role)
            welcome |= {"from": key(role.server).id, "to": key(role.here).id}
            welcome["payload"] = {"msg_ref": socp.SERVER_HELLO_LINK, "client_nonce": NONCE}
        welcome["payload"] |= {"nonce": nonce, **changes}
        return [challenge, self._grammar.sign_again(welcome, role.server)]

    def _dial(self) -> None:
        """Have it connect to whose key is that of its TLS, or another one; who should speak TLS; who says no."""
        refusal = self._grammar.make(socp.ERROR, DIALLED)
        refusal["payload"] = {"code": socp.SERVER_BUSY, "detail": ""}
        for wires, channel_key in (
            (self._welcome(DIALLED, TLS_NONCE), "server2"),
            (self._welcome(DIALLED, TLS_NONCE), "mallory"),
            (self._welcome(DIALLED, TLS_NONCE), None),
            ([refusal], None),
        ):
            self._connect(DIALLED, wires, channel_key)

    def _join(self) -> None:
        """Have an introducer name this server itself among others, or give it what is not its own."""
        own = self._grammar.membership("server")
        self._connect(ADMITTING, self._welcome(ADMITTING, NONCE, servers=[own, *self._memberships()]))
        self._connect(ADMITTING, self._welcome(ADMITTING, NONCE, membership=self._grammar.membership("server3")))

    # --- users and gossip ---------------------------------------------------------------------------------------

    def _say(self, frame_type: str, payload: Wire, to: str = socp.EVERYONE, ts: int = NOW) -> None:
        """Have server2 say something."""
        wire: Wire = {"type": frame_type, "from": key("server2").id, "to": to, "ts": ts, "payload": payload, "sig": ""}
        self._world.say_server("server2", self._grammar.sign_again(wire, "server2"))

    def _advertise(self, name: str, ts: int, server: str = "server2") -> None:
        said = {**self._grammar.known(name, "server2", ts), "server_id": key(server).id}
        self._say(socp.USER_ADVERTISE, said)

    def _attached(self, name: str) -> int:
        user = self._world.node.table.user(key(name).id)
        return user.attach.ts if user is not None else NOW - 60_000

    def _displace(self) -> None:
        """Have a user attach elsewhere who is here, and come back."""
        self._world.attach("bob")
        self._advertise("bob", self._attached("bob") + 1)
        self._world.leave("bob")
        self._world.attach("bob")

    def _attach_late(self) -> None:
        """Have a user attach with a proof that is older than what is known, or while another link of it lives."""
        self._world.leave("bob")
        user, _ = self._world.users["bob"]
        older = replace(user, attach=Attachment(NONCE, self._attached("bob") - 1, "x"))
        with contextlib.suppress(LinkError):
            self._world.node.presence.attach(older, self._world.link("bob"), lambda: b"welcome", lambda: None)
        self._world.attach("bob")
        self._world.users["bob"][1].alive = True
        self._world.attach("bob")

    def _lie(self) -> None:
        """Have a server speak for another's users, and of attachments from the future."""
        self._advertise("carol", self._attached("carol") + 1, server="server3")
        self._advertise("carol", NOW + DAY)

    def _sync(self) -> None:
        """Have a server list more users than there is room for, of whom two are wrong, and one attach meanwhile."""
        users = [{**self._grammar.known(name, "server2", 1), "online": True} for name in _KNOWN]
        wrong = [{**users[0], "pubkey": key("mallory").public.text}, {**users[1], "meta": {"x": "x" * socp.META_MOST}}]
        for part, entries in enumerate((users, [*wrong, *users], users), start=1):
            payload = {"server_id": key("server2").id, "users": entries, "part": part, "parts": 3}
            self._say(socp.USER_SYNC, payload, to=key("server").id)
            self._advertise("carol", self._attached("carol") + 1)

    def _gossip(self, ts: int, to: str = socp.PUBLIC, **more: object) -> None:
        wire = self._grammar.make(socp.MSG_PUBLIC_CHANNEL, SERVER)
        wire |= {"to": to, "ts": ts}
        wire["payload"] |= more
        self._world.say_server("server2", wire)

    def _fill_seen(self) -> None:
        """Have more gossip come than is remembered, in no time."""
        seen = self._world.mesh._seen
        with mock.patch.object(seen, "_seconds", 60.0), mock.patch.object(seen, "_most", _SEEN):
            for number in range(_SEEN + 2):
                self._advertise("carol", self._attached("carol") + 1 + number)

    def _broadcast(self) -> None:
        """Have a server pass on a broadcast that is too long, and one that is not for all."""
        self._gossip(NOW - self._rng.randrange(1000), more="x" * socp.BROADCAST_GOSSIP_MOST)
        self._gossip(NOW - self._rng.randrange(1000), to=key("bob").id)

    # --- messages -----------------------------------------------------------------------------------------------

    def _message(self, text: str = "A" * 40) -> Wire:
        """Return a message to bob."""
        payload = {"ciphertext": text, "sender_pub": key("alice").public.text}
        payload["content_sig"] = f"{self._rng.randrange(10**12):012}"
        ids = {"from": key("alice").id, "to": key("bob").id}
        return {"type": socp.MSG_DIRECT, **ids, "ts": NOW, "payload": payload, "sig": ""}

    def _repeat(self) -> None:
        """Send a message again that bob's client does not take then; and have it confirmed twice."""
        self._world.attach("bob")
        self._world.turn()
        wire = self._message()
        self._world.say_user("alice", wire)
        self._world.users["bob"][1].taking = Sent.FULL
        self._world.say_user("alice", wire)
        self._world.users["bob"][1].taking = Sent.YES
        receipt = {"msg_ref": message_reference(wire["payload"]["content_sig"]), "status": "delivered"}
        ids = {"from": key("bob").id, "to": key("alice").id}
        for _ in range(2):
            payload = {**receipt, "content_sig": "x"}
            self._world.say_user("bob", {"type": socp.ACK, **ids, "ts": NOW, "payload": payload, "sig": ""})

    def _get_stuck(self) -> None:
        """Have stored mail handed out to a client that stops reading in the midst of it, and goes."""
        self._world.leave("bob")
        for _ in range(3):
            self._world.say_user("alice", self._message())
            self._world.turn()
        self._world.attach("bob")
        link = self._world.users["bob"][1]
        link.taking, link.drains = self._rng.choice((Sent.FULL, Sent.CLOSED)), False
        self._world.turn()
        link.drains = True

    def _ask(self) -> None:
        """Ask for somebody whom nobody knows, and for more than may be asked."""
        ids = {"from": key("alice").id, "to": key("server").id}
        payload = {"user_id": key("stranger").id}
        frame = frame_of({"type": socp.USER_KEY_REQUEST, **ids, "ts": NOW, "payload": payload, "sig": ""})
        settings = self._world.settings
        few = replace(settings, limits=replace(settings.limits, questions=1, questions_per_second=0))
        with mock.patch.object(self._world.node, "_settings", few):
            self._world.say_frames("alice", frame, frame)

    def _part(self) -> None:
        """Have a server hand over mail for who is away, and have its link be gone when that is answered."""
        peer = self._world.peers["server2"]
        wire = self._grammar.make(socp.SERVER_DELIVER, SERVER)
        wire |= {"from": key("server2").id, "to": key("server").id}
        wire["payload"] |= {"user_id": key("erin").id, "store": True}
        self._world.node.table.drop_server(peer.id, peer.link)
        self._world.say_server("server2", self._grammar.sign_again(wire, "server2"))
        peer.link.abort()
