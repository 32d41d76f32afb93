"""One running server: its tables, its links, and which frame from whom goes to which handler."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import directory
import mailstore
import socp
from access import Access
from addresses import Address
from ahead import Handler, Step, Stepwise
from answers import Speaker
from bucket import Bucket
from carrier import Carrier
from crypto.keys import PublicKey
from crypto.signing import Signer
from database import Database
from delivery import Delivery, check_sender
from directory import Directory
from forwarding import Forwarder
from handshake import Acceptor, Proof
from host import Host
from known import KnownUsers
from link import Link
from mailboxes import Mailboxes
from membership import Membership
from mesh import Mesh, Peer
from newcomers import Newcomers
from origin import Origin
from presence import Presence
from routing import RoutingTable, SeenCache
from settings import Settings
from socp import (
    NOT_ALLOWED,
    SERVER_BUSY,
    SERVER_HELLO_JOIN,
    SERVER_HELLO_LINK,
    USER_HELLO,
    Envelope,
    LinkError,
    ProtocolError,
)
from threads import Deadline
from users import Attachment, User

log = logging.getLogger("socp.node")

# Of what a server's database holds; see database.Database.
SCHEMAS = (directory.SCHEMA, mailstore.SCHEMA)

_NOT_HERE = "this user may not attach to this server"

# Of the time that a server has to end: the rest is for its database, which the last links give something to write.
_LINKS_SHARE = 0.9


class Node:
    """A server.

    Args:
        signer: its identity.
        settings: timers and limits.
        context: what TLS is done with on our port.
        database: of SCHEMAS, not started yet.
        pins: the introducers' keys by id.
        introducers: where to join.
        registered: told of each membership that an introducer has granted.
        access: which users may attach here.

    Raises:
        DatabaseError: the database cannot be read.
    """

    def __init__(
        self,
        signer: Signer,
        settings: Settings,
        database: Database,
        *,
        context: ssl.SSLContext,
        pins: Mapping[str, PublicKey],
        introducers: Iterable[Address],
        registered: Callable[[Membership], None],
        access: Access,
    ) -> None:
        origin = Origin(signer)
        self.id = origin.id
        self._origin = origin
        self._settings = settings
        self._database = database
        self._pins = pins
        self._introducers = list(introducers)
        self._registered = registered
        self._access = access
        self._newcomers = Newcomers(settings.limits.identities, settings.limits.sources)
        self.host = Host(
            origin,
            settings,
            context=context,
            check_hello=self._check_hello,
            last_attachment=self._last_attachment,
            serve=self._serve,
        )
        self._mesh: Mesh | None = None
        self._directory = Directory(database, self._later)
        self._mail = Mailboxes(database, settings.limits, self._later, Speaker(self.host).say)
        known = KnownUsers(self._directory.users(), settings.limits.known_users, self._mail.has_any)
        self.table = RoutingTable(origin.id, known)
        self._mail.watch(self._mail_waits)
        self.carrier = Carrier(self.host, self._mail)
        self.forwarder = Forwarder(self.host, self.table, self._mail, self._mail_waits)
        self.presence = Presence(self.host, self.table, self._directory, self._linked, self.forwarder.kick)
        self.delivery = Delivery(self.host, self.table, self._linked, self.carrier, self.forwarder)

    def start(self, address: Address) -> None:
        """Start all that runs by itself.

        Args:
            address: where peers reach this server. `host.bind` has been called.

        Raises:
            DatabaseError: the database cannot be written to.
        """
        self._database.start()
        self._mesh = Mesh(
            self.host,
            self.table,
            self._directory,
            SeenCache(self._settings.limits.seen, self._settings.timers.seen),
            pins=self._pins,
            introducers=self._introducers,
            address=address,
            handlers=self._server_handlers,
            link_up=self._link_up,
            link_down=self.forwarder.wake,
            lost=self.presence.publish,
            registered=self._registered,
        )
        start = self.host.threads.start
        start("notices", self.presence.run_notices)
        start("heartbeat", self._run_heartbeat)
        self.host.start()
        self.carrier.start()
        self._mesh.start()

    def _linked(self) -> Mesh:
        assert self._mesh is not None
        return self._mesh

    def _later(self, callback: Callable[[], None]) -> None:
        self.host.alarms.after(self._settings.timers.disk_retry, callback)

    def _link_up(self, peer: Peer) -> None:
        self.presence.link_up(peer)
        self.forwarder.link_up(peer.id)

    def _mail_waits(self, user_id: str) -> None:
        self.carrier.kick(user_id)
        self.forwarder.kick(user_id)

    def stop(self) -> None:
        """End everything in an orderly way, within `timers.stop`: links first, then what is to be committed."""
        deadline = Deadline(self._settings.timers.stop)
        links = Deadline(deadline.left() * _LINKS_SHARE)
        self.host.stop(links, first=partial(self._let_users_go, links))
        self._database.close(deadline)
        if lost := self._directory.unwritten():
            log.error("what is known of users and servers could not all be written; lost: %d records", lost)

    def _let_users_go(self, deadline: Deadline) -> None:
        # Users first, while the other servers can still be told that they left.
        farewell = self._origin.frames(socp.CTRL_CLOSE, socp.EVERYONE, {"reason": "shutting down"})
        enough = Deadline(deadline.left() / 2)
        for user_id, link in self.table.local_by_id().items():
            link.finish(farewell(link))
            if enough.left():
                self.presence.detach(user_id, link)
            self.carrier.end(user_id, link)
        self._linked().wake()
        self.presence.wake()
        self.forwarder.wake()

    def read_again(self) -> None:
        """Read the lists of users again, and close the links of those who may not be here any more."""
        if not self._access.read_again():
            return
        for user_id, link in self.table.local_by_id().items():
            if not self._access.allows(user_id):
                log.info("user %s may not be here any more", user_id)
                self.host.refuse(link, LinkError(NOT_ALLOWED, _NOT_HERE))

    def _run_heartbeat(self) -> None:
        while not self.host.stopping.wait(self._settings.timers.heartbeat):
            links = self.table.local_links()
            if links:
                frame = self._origin.frames(socp.HEARTBEAT, socp.EVERYONE, {})
                for link in links:
                    link.send(frame(link))
            self._linked().beat(self.table.present(self.id))

    # --- the handshake ------------------------------------------------------------------------------------------

    def _check_hello(self, hello: str, key: PublicKey, payload: Mapping[str, Any]) -> None:
        if hello == SERVER_HELLO_JOIN:
            raise ProtocolError(NOT_ALLOWED, "this is a server; join through an introducer")
        if hello == USER_HELLO:
            self._check_allowed(key.id)
        if hello == SERVER_HELLO_LINK:
            self._linked().check_hello(key, payload["host"], payload["port"], payload["memberships"])

    def _check_allowed(self, user_id: str) -> None:
        if not self._access.allows(user_id):
            raise LinkError(NOT_ALLOWED, _NOT_HERE)

    def _last_attachment(self, user_id: str) -> int:
        user = self.table.user(user_id)
        return user.attach.ts if user is not None else 0

    def _serve(self, link: Link, acceptor: Acceptor, proof: Proof) -> Callable[[], None]:
        if proof.hello == USER_HELLO:
            return partial(self._serve_user, link, self._take_in(link, acceptor, proof), acceptor.forget)
        link.send(acceptor.accept())
        self.host.established(link, proof.hello)
        return partial(self._linked().serve, Peer(link, proof.key))

    def _take_in(self, link: Link, acceptor: Acceptor, proof: Proof) -> User:
        attach = Attachment(proof.nonce, proof.ts, proof.content_sig)
        meta, caps = proof.payload["meta"], tuple(proof.payload["caps"])
        user = User(proof.key.id, self.id, proof.key.text, meta, caps, attach, online=True)
        if self.table.user(user.user_id) is None and not self._newcomers.admit(link.source):
            raise LinkError(SERVER_BUSY, "too many new users come from your address; try again in an hour")
        try:
            self.presence.attach(
                user,
                link,
                lambda: acceptor.accept(server_id=self.id, users=self.table.online_count(user.user_id)),
                partial(self.carrier.begin, user.user_id, link),
            )
            self.host.established(link, proof.hello)
            log.info("user %s attached (%s)", user.user_id, link.where)
            self._check_allowed(user.user_id)  # the lists may have been read again since the hello
        except BaseException:  # whatever it is, the user does not stay
            self._let_go(link, user)
            raise
        return user

    def _serve_user(self, link: Link, user: User, forget: Callable[[], None]) -> None:
        try:
            # The user may be here for days, and a key that is freed here would be kept by this thread's allocator.
            self.host.aside.do(forget)
            self.host.dispatch(link, user.user_id, self._user_handlers(link, user), socp.is_plain_heartbeat)
        finally:
            self._let_go(link, user)

    def _let_go(self, link: Link, user: User) -> None:
        self.presence.detach(user.user_id, link)
        self.carrier.end(user.user_id, link)
        self.forwarder.kick(user.user_id)  # its mail, if it has attached elsewhere by now

    # --- who may send what --------------------------------------------------------------------------------------

    def _user_handlers(self, link: Link, user: User) -> _UserHandlers:
        return _UserHandlers(self, link, user)

    def bucket_for_questions(self) -> Bucket:
        """Return what bounds how often one user asks."""
        limits = self._settings.limits
        return Bucket(limits.questions, limits.questions_per_second)

    def _server_handlers(self, peer: Peer) -> dict[str, Handler]:
        mesh, presence, delivery = self._linked(), self.presence, self.delivery
        relayed = partial(delivery.take_relayed, peer)
        return {
            # Its own frames.
            socp.HEARTBEAT: mesh.own(peer, partial(presence.take_heartbeat, peer)),
            socp.USER_SYNC: mesh.own(peer, partial(presence.take_sync, peer)),
            socp.USER_SYNC_REQUEST: mesh.own(peer, partial(presence.take_sync_request, peer)),
            socp.SERVER_DELIVER: mesh.own(
                peer, partial(delivery.take_deliver, peer), partial(delivery.begin_deliver, peer)
            ),
            socp.CTRL_CLOSE: mesh.own(peer, partial(mesh.take_close, peer)),
            socp.ERROR: mesh.own(peer, partial(delivery.take_error, peer)),
            # Gossip, which proves itself.
            socp.USER_ADVERTISE: presence.take_advertise,
            socp.USER_REMOVE: presence.take_remove,
            socp.MSG_PUBLIC_CHANNEL: delivery.take_gossiped,
            # Frames of its users.
            socp.FILE_START: relayed,
            socp.FILE_CHUNK: relayed,
            socp.FILE_END: relayed,
            socp.FILE_ACK: relayed,
            socp.ACK: partial(self._take_server_ack, peer),
        }

    def _take_server_ack(self, peer: Peer, envelope: Envelope) -> None:
        """Take an ACK, which servers send of their own and pass on from their users."""
        if envelope.sender == peer.id:
            self._linked().own(peer, partial(self.delivery.take_ack, peer))(envelope)
        else:
            self.delivery.take_relayed(peer, envelope)


class _UserHandlers:
    """What is done with the frames of one user, who may be one of ten thousand: a table for all of them has them.

    Args:
        node: where the user is attached.
        link: by which.
        user: who.
    """

    __slots__ = ("_link", "_node", "_questions", "_user")

    def __init__(self, node: Node, link: Link, user: User) -> None:
        self._node = node
        self._link = link
        self._user = user
        self._questions: Bucket | None = None  # there once the user has asked anything

    def get(self, frame_type: str) -> Handler | None:
        """Return the handler of a type; see host.Handlers."""
        if frame_type == socp.MSG_DIRECT:
            return Stepwise(self.take_direct, self.begin_direct)
        take = _OF_USERS.get(frame_type)
        return None if take is None else partial(take, self)

    def take_direct(self, envelope: Envelope) -> None:
        """Take a direct message."""
        self._node.delivery.take_direct(self._user, envelope)

    def begin_direct(self, envelope: Envelope) -> Step | None:
        """Begin with a direct message ahead of its turn."""
        return self._node.delivery.begin_direct(self._user, envelope)

    def take_broadcast(self, envelope: Envelope) -> None:
        """Take a broadcast."""
        self._node.delivery.take_broadcast(self._user, envelope)

    def relay(self, envelope: Envelope) -> None:
        """Take what another user is to have as it is."""
        self._node.delivery.relay(self._user, envelope)

    def take_ack(self, envelope: Envelope) -> None:
        """Take a receipt."""
        self._node.delivery.relay(self._user, envelope)
        self._node.carrier.take_receipt(self._user.user_id, envelope)

    def take_list_request(self, envelope: Envelope) -> None:
        """Take the question who is there."""
        self._node.delivery.take_list_request(self._link, self._user, self._bucket(), envelope)

    def take_key_request(self, envelope: Envelope) -> None:
        """Take the question for somebody's key."""
        self._node.delivery.take_key_request(self._link, self._user, self._bucket(), envelope)

    def _bucket(self) -> Bucket:
        if self._questions is None:
            self._questions = self._node.bucket_for_questions()
        return self._questions

    def take_heartbeat(self, envelope: Envelope) -> None:
        """Take a sign of life, and give one if that is asked for."""
        check_sender(self._user, envelope)
        if envelope.payload.get("probe"):
            origin = self._node.host.origin
            self._link.send(origin.link_frame(self._link, socp.HEARTBEAT, envelope.sender, {}))

    def take_close(self, envelope: Envelope) -> None:
        """Take a farewell."""
        check_sender(self._user, envelope)
        # Before it sees the end: whoever it tells of that finds it gone.
        self._node.presence.detach(self._user.user_id, self._link)
        self._link.finish()

    def take_error(self, _envelope: Envelope) -> None:
        """Pass over what a user has to complain about."""


_OF_USERS: Mapping[str, Callable[[_UserHandlers, Envelope], None]] = {
    socp.MSG_PUBLIC_CHANNEL: _UserHandlers.take_broadcast,
    socp.FILE_START: _UserHandlers.relay,
    socp.FILE_CHUNK: _UserHandlers.relay,
    socp.FILE_END: _UserHandlers.relay,
    socp.FILE_ACK: _UserHandlers.relay,
    socp.ACK: _UserHandlers.take_ack,
    socp.USER_LIST_REQUEST: _UserHandlers.take_list_request,
    socp.USER_KEY_REQUEST: _UserHandlers.take_key_request,
    socp.HEARTBEAT: _UserHandlers.take_heartbeat,
    socp.CTRL_CLOSE: _UserHandlers.take_close,
    socp.ERROR: _UserHandlers.take_error,
}
