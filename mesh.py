"""The server's links to other servers and to introducers: who belongs, who dials whom, and what is gossiped.

PROTOCOL.md sections 6 and 7.3. Each introducer that a server was told of, and each server that it has learned of,
has one thread here, which connects, reads the link for as long as it stands, and tries again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import socp
from addresses import Address
from ahead import Begin, Handler, Step, Stepwise
from backoff import Backoff
from crypto.keys import PublicKey
from directory import Directory
from gossip import send_gossip
from handshake import Connector, HandshakeRefused
from host import Host
from link import Link
from membership import Membership, check_announce, newest, read_membership
from origin import check_link_frame
from routing import Change, RoutingTable, SeenCache
from socp import (
    CTRL_CLOSE,
    HEARTBEAT,
    NOT_ALLOWED,
    SERVER_ANNOUNCE,
    SERVER_BUSY,
    SERVER_HELLO_JOIN,
    SERVER_HELLO_LINK,
    Envelope,
    ProtocolError,
)

log = logging.getLogger("socp.mesh")

# Of our own memberships, in a hello: more would not fit what an acceptor reads before the handshake is done.
_MEMBERSHIPS_SHOWN = 8


@dataclass(frozen=True)
class Peer:
    """A server or an introducer at the other end of a link that is up."""

    link: Link
    key: PublicKey

    @property
    def id(self) -> str:
        """Its identifier."""
        return self.key.id


class Mesh:
    """The links of one server.

    Args:
        host: makes and ends links.
        table: where links to servers are noted.
        directory: keeps memberships across restarts.
        pins: the introducers' keys by id; nobody else can say who belongs.
        introducers: where to join.
        address: where peers reach this server.
        handlers: what else to do with the frames of a server's link, for that peer.
        link_up: told of each new link to a server, in its reader's thread …
        link_down: … and when one has ended.
        lost: told what the loss of a server changed.
        registered: told of each membership that an introducer has granted.
    """

    def __init__(
        self,
        host: Host,
        table: RoutingTable,
        directory: Directory,
        seen: SeenCache,
        *,
        pins: Mapping[str, PublicKey],
        introducers: Iterable[Address],
        address: Address,
        handlers: Callable[[Peer], dict[str, Handler]],
        link_up: Callable[[Peer], None],
        link_down: Callable[[], None],
        lost: Callable[[Change], None],
        registered: Callable[[Membership], None],
    ) -> None:
        self._host = host
        self._origin = host.origin
        self._timers = host.settings.timers
        self._skew = host.settings.limits.clock_skew
        self._servers_most = host.settings.limits.servers
        self._lifetime = host.settings.limits.membership
        self._table = table
        self._directory = directory
        self._seen = seen
        self._pins = dict(pins)
        self._introducers = list(introducers)
        self._address = address
        self._handlers = handlers
        self._link_up = link_up
        self._link_down = link_down
        self._lost = lost
        self._registered = registered
        # Guards all below. May be held when the table's lock is taken, never the other way round. Re-entrant.
        self._changed = threading.Condition()
        self._own: dict[str, Membership] = {}  # by introducer
        self._known: dict[str, Membership] = {}  # the newest of each other server, at most `servers`
        self._keys: dict[str, PublicKey] = {}  # of those, and so on: `servers` bounds all of it
        self._linkless_since: dict[str, float] = {}
        self._joined: dict[Link, PublicKey] = {}
        self._awaited: set[str] = set()  # of those, the ones without a link whose users were heard of

    def start(self) -> None:
        """Take up what is known from before, and begin to join and to dial."""
        self._directory.forget_memberships(socp.now_ms() - self._lifetime)
        for membership in self._directory.memberships(self._pins, socp.now_ms()):
            if membership.server_id != self._origin.id:
                self._learn(membership)
            elif membership.address == self._address:
                with self._changed:
                    self._own[membership.introducer_id] = membership
        for address in self._introducers:
            self._host.threads.start(f"join {address}", partial(self._keep_joined, address))

    def wake(self) -> None:
        """Have every waiting dialler look at `host.stopping`."""
        with self._changed:
            self._changed.notify_all()

    # --- introducers --------------------------------------------------------------------------------------------

    def _keep_joined(self, address: Address) -> None:
        backoff = Backoff(self._timers.retry_first, self._timers.retry_most)
        said = ""
        while not self._host.stopping.is_set():
            connector = Connector(
                self._origin.signer,
                SERVER_HELLO_JOIN,
                {"host": self._address.host, "port": self._address.port},
                partial(self._check_pin, address),
                str(address),
                self._skew,
            )
            error = self._connect(address, connector, partial(self._serve_join, connector), backoff)
            if error:
                # Once, and not again every minute for as long as it stays the same.
                log.log(
                    logging.WARNING if error != said else logging.DEBUG,
                    "cannot join through the introducer at %s: %s; trying again",
                    address,
                    error,
                )
            said = error
            self._host.stopping.wait(backoff.next())

    def _connect(
        self, address: Address, connector: Connector, serve: Callable[[Link, Envelope], None], backoff: Backoff
    ) -> str:
        """Connect, and read the link to its end; return what went wrong, or the empty string.

        The back-off begins again only after a link that has stood: one that is refused each time is no success.
        """
        up_since: list[float] = []

        def serve_and_note(link: Link, welcome: Envelope) -> None:
            up_since.append(time.monotonic())
            serve(link, welcome)

        try:
            self._host.connect(address, connector, serve_and_note)
        except (OSError, HandshakeRefused, ProtocolError) as error:
            return str(error)
        except Exception as error:
            # A bug of ours. Everything is caught here, so that this server goes on being dialled.
            log.critical("a link to %s was ended by a bug", address, exc_info=True)
            return type(error).__name__
        finally:
            if up_since and time.monotonic() - up_since[0] >= self._timers.heartbeat:
                backoff.reset()
        return ""

    def _check_pin(self, address: Address, key: PublicKey) -> None:
        if key.id not in self._pins:
            raise HandshakeRefused(
                socp.BAD_KEY,
                f"{address} is the introducer {key.id}, which is not pinned here (pinned: "
                f"{', '.join(sorted(self._pins))}); give its public key with --introducer-pub",
            )

    def _serve_join(self, connector: Connector, link: Link, welcome: Envelope) -> None:
        assert connector.acceptor is not None
        peer = Peer(link, connector.acceptor)
        membership = read_membership(welcome.payload["membership"], self._pins, socp.now_ms())
        if (membership.server_id, membership.address) != (self._origin.id, self._address):
            raise ProtocolError(NOT_ALLOWED, "this membership is not ours")
        self._directory.save_membership(membership)
        with self._changed:
            self._own[membership.introducer_id] = membership
            self._joined[link] = connector.acceptor
            self._changed.notify_all()
        renewal = self._host.alarms.after(
            max(0, membership.renewal - socp.now_ms()) / 1000,
            partial(self._renew, link),
        )
        try:
            for value in welcome.payload["servers"]:
                try:
                    self._learn(read_membership(value, self._pins, socp.now_ms()))
                except ProtocolError as error:
                    log.warning("the introducer %s named a server that cannot be used: %s", peer.id, error)
            self._registered(membership)
            self._announce(membership, {peer.id: link, **self._table.server_links()})
            self._host.dispatch(link, peer.id, self._introducer_handlers(peer))
        finally:
            renewal.cancel()
            with self._changed:
                del self._joined[link]

    def _introducer_handlers(self, peer: Peer) -> dict[str, Handler]:
        return {
            HEARTBEAT: self.own(peer, partial(self.answer_heartbeat, peer)),
            CTRL_CLOSE: self.own(peer, partial(self.take_close, peer)),
            socp.ERROR: self.own(peer, partial(_log_error, peer)),
            socp.ACK: _ignore,
            SERVER_ANNOUNCE: self.take_announce,
        }

    def _renew(self, link: Link) -> None:
        # Saying goodbye takes a signature, which is nothing for the thread that keeps time.
        self._host.threads.start("renew", partial(self._host.close, link, "renewing the membership"))

    # --- servers ------------------------------------------------------------------------------------------------

    def key_of(self, server_id: str) -> PublicKey | None:
        """Return the key of a server that was ever heard of."""
        with self._changed:
            return self._keys.get(server_id)

    def check_hello(self, key: PublicKey, host: str, port: int, memberships: list[dict[str, object]]) -> None:
        """Refuse the SERVER_HELLO_LINK of a server that shows no membership of its own (section 6.2).

        Raises:
            ProtocolError: NOT_ALLOWED; SERVER_BUSY, when as many servers are known as can be.
        """
        if key.id == self._origin.id:
            raise ProtocolError(NOT_ALLOWED, "this is yourself")
        valid = []
        for value in memberships:
            try:
                valid.append(read_membership(value, self._pins, socp.now_ms()))
            except ProtocolError as error:
                log.debug("%s showed a membership of no use: %s", key.id, error)
        best = newest(membership for membership in valid if membership.server_id == key.id)
        if best is None or best.address != Address(host, port):
            raise ProtocolError(
                NOT_ALLOWED, "no valid membership for this id, key, host and port by an introducer pinned here"
            )
        if not self._learn(best):
            raise ProtocolError(SERVER_BUSY, "this server knows as many others as it takes in")

    def _learn(self, membership: Membership) -> bool:
        """Note a verified membership of another server, and see to it that there is a link.

        Returns:
            False when no more servers are taken in: all that is kept of servers is kept of those that are known.
        """
        server_id = membership.server_id
        if server_id == self._origin.id:
            return True
        with self._changed:
            known = self._known.get(server_id)
            if known is not None and known.issued >= membership.issued:
                return True
            if known is None and len(self._known) >= self._servers_most:
                log.warning("%d servers are known, and no more are taken in: %s", len(self._known), server_id)
                return False
            self._known[server_id] = membership
            self._keys[server_id] = membership.key
            self._linkless_since.setdefault(server_id, time.monotonic())
            self._changed.notify_all()
        self._table.set_address(server_id, membership.address)
        self._directory.save_membership(membership)
        dial = partial(self._keep_linked, server_id)
        if known is None and not self._host.threads.start(f"dial {server_id}", dial):
            self._forget(server_id)
        return True

    def _forget(self, server_id: str) -> None:
        """Keep nothing of a server until it is heard of again: servers come and go, and not all can be kept."""
        with self._changed:
            del self._known[server_id], self._keys[server_id], self._linkless_since[server_id]
        self._table.drop_address(server_id)
        self._directory.forget_memberships(socp.now_ms() - self._lifetime)

    def _keep_linked(self, server_id: str) -> None:
        backoff = Backoff(self._timers.retry_first, self._timers.retry_most)
        while (membership := self._my_turn_to_dial(server_id)) is not None:
            shown = [entry.to_wire() for entry in self._own_valid()[:_MEMBERSHIPS_SHOWN]]
            connector = Connector(
                self._origin.signer,
                SERVER_HELLO_LINK,
                {"host": self._address.host, "port": self._address.port, "memberships": shown},
                partial(_check_server, server_id),
                server_id,
                self._skew,
            )
            error = self._connect(membership.address, connector, partial(self._serve_dialled, membership), backoff)
            if error:
                log.info("no link to %s at %s: %s", server_id, membership.address, error)
            self._host.stopping.wait(backoff.next())

    def _my_turn_to_dial(self, server_id: str) -> Membership | None:
        """Wait until it is for us to dial (section 6.3).

        Returns:
            Where to; None when this server stops, or the other has no valid membership any more.
        """
        with self._changed:
            while not self._host.stopping.is_set():
                if self._table.server_link(server_id) is not None:
                    self._changed.wait()
                    continue
                membership = self._known[server_id]
                wait = (membership.expires - socp.now_ms()) / 1000
                if wait <= 0:
                    self._forget(server_id)
                    return None
                if self._own_valid():
                    grace = 0.0 if self._origin.id < server_id else self._timers.dial_grace
                    wait = min(wait, self._linkless_since[server_id] + grace - time.monotonic())
                    if wait <= 0:
                        return membership
                self._changed.wait(wait)
            return None

    def _own_valid(self) -> list[Membership]:
        """Return the memberships that we can show, the newest first."""
        now = socp.now_ms()
        with self._changed:
            valid = [own for own in self._own.values() if own.expires > now]
        return sorted(valid, key=lambda own: own.issued, reverse=True)

    def _serve_dialled(self, membership: Membership, link: Link, _welcome: Envelope) -> None:
        self.serve(Peer(link, membership.key))

    def serve(self, peer: Peer) -> None:
        """Read a link to a server, whoever dialled, to its end.

        Raises:
            LinkError: an error that closes the link.
        """
        older = self._table.add_server(peer.id, peer.link)
        with self._changed:
            self._changed.notify_all()
        if older is not None:
            self._host.close(older, "replaced by a newer link")
        log.info("link to server %s is up (%s)", peer.id, peer.link.where)
        try:
            for membership in self._own_valid():  # each is for those who have pinned its introducer
                self._announce(membership, {peer.id: peer.link})
            self._link_up(peer)
            handlers = {SERVER_ANNOUNCE: self.take_announce, **self._handlers(peer)}
            self._host.dispatch(peer.link, peer.id, handlers)
        finally:
            self._link_down()
            if self._table.drop_server(peer.id, peer.link):
                log.info("link to server %s is down", peer.id)
                with self._changed:
                    if peer.id in self._known:
                        self._linkless_since[peer.id] = time.monotonic()
                    self._changed.notify_all()
                self._host.alarms.after(self._timers.lost_after, partial(self._check_lost, peer.id))

    def expect_link(self, server_id: str) -> None:
        """Note that users of a server were heard of: without a link to it, they are away as if one had been lost."""
        with self._changed:
            if server_id in self._awaited or self._table.server_link(server_id) is not None:
                return
            self._awaited.add(server_id)
        self._host.alarms.after(self._timers.lost_after, partial(self._check_awaited, server_id))

    def _check_awaited(self, server_id: str) -> None:
        with self._changed:
            self._awaited.discard(server_id)
        self._check_lost(server_id)

    def _check_lost(self, server_id: str) -> None:
        with self._changed:
            linkless = time.monotonic() - self._linkless_since.get(server_id, 0.0)
        # It may have come back and gone again since: then a later alarm is the one that counts.
        if linkless >= self._timers.lost_after * 0.99:
            self._lost(self._table.lose_server(server_id))

    # --- frames -------------------------------------------------------------------------------------------------

    def own(self, peer: Peer, handler: Handler, begin: Begin | None = None) -> Handler:
        """Return a handler for frames that are the peer's own, and checked to be, also before they are begun ahead."""

        def checked(envelope: Envelope) -> None:
            if envelope.sender != peer.id:
                log.info("%s passed on a %s that is not its own; dropped", peer.id, envelope.type)
                return
            if envelope.to not in (self._origin.id, socp.EVERYONE):
                raise ProtocolError(NOT_ALLOWED, f"{envelope.type} is not addressed to this server")
            check_link_frame(envelope, peer.key, peer.link)
            handler(envelope)

        return checked if begin is None else Stepwise(checked, partial(self._begin_own, peer, begin))

    def _begin_own(self, peer: Peer, begin: Begin, envelope: Envelope) -> Step | None:
        if envelope.sender != peer.id or envelope.to not in (self._origin.id, socp.EVERYONE):
            return None
        step = begin(envelope)
        return step.after(partial(check_link_frame, envelope, peer.key, peer.link)) if step is not None else None

    def fresh(self, envelope: Envelope, key: bytes | None = None) -> bytes | None:
        """Return what a gossiped frame is remembered by, None when it is a repeat or out of time (section 7.3).

        Args:
            envelope: the frame.
            key: what names it as surely as the hash of section 7.3, where there is such a thing.
        """
        if abs(envelope.ts - socp.now_ms()) > self._skew:
            log.info("gossip of %s is out of time; dropped", envelope.sender)
            return None
        if key is None:
            key = SeenCache.key(envelope.ts, envelope.sender, envelope.to, envelope.payload)
        return None if self._seen.has(key) else key

    def remember(self, key: bytes) -> bool:
        """Note gossip whose signatures have all been verified; False when another thread was faster."""
        return self._seen.add(key)

    def spread(self, envelope: Mapping[str, object], visited: Iterable[str] = ()) -> None:
        """Gossip a frame to the linked servers that it has not been sent to."""
        send_gossip(envelope, self._origin.id, visited, self._table.server_links())

    def _announce(self, membership: Membership, links: Mapping[str, Link]) -> None:
        payload = {
            "host": self._address.host,
            "port": self._address.port,
            "pubkey": self._origin.public.text,
            "membership": membership.to_wire(),
        }
        send_gossip(self._origin.signed(SERVER_ANNOUNCE, socp.EVERYONE, payload), self._origin.id, (), links)

    def take_announce(self, envelope: Envelope) -> None:
        """Learn of a server from its SERVER_ANNOUNCE (section 6.3), whoever passed it on, and gossip it on.

        Raises:
            ProtocolError: it does not prove what it says.
        """
        if envelope.sender == self._origin.id or (seen := self.fresh(envelope)) is None:
            return
        membership = check_announce(envelope, self._pins)
        if self.remember(seen):
            self._learn(membership)
            self.spread(envelope.to_wire(), envelope.visited)

    def answer_heartbeat(self, peer: Peer, envelope: Envelope) -> None:
        """Answer a HEARTBEAT that asks for it, and no other (section 6.4)."""
        if envelope.payload.get("probe"):
            present = {"present": self._table.present(self._origin.id)}
            peer.link.send(self._origin.link_frame(peer.link, HEARTBEAT, peer.id, present))

    def take_close(self, peer: Peer, envelope: Envelope) -> None:
        """Close a link that the peer has said goodbye on."""
        log.info("%s closes: %s", peer.id, envelope.payload["reason"])
        peer.link.finish()

    def beat(self, present: str) -> None:
        """Send HEARTBEAT to every server and introducer.

        Args:
            present: the digest over our online users, which servers compare with what they know (section 7.1).
        """
        with self._changed:
            introducers = dict(self._joined)
        for link, key in introducers.items():
            link.send(self._origin.link_frame(link, HEARTBEAT, key.id, {}))
        for server_id, link in self._table.server_links().items():
            link.send(self._origin.link_frame(link, HEARTBEAT, server_id, {"present": present}))


def _check_server(server_id: str, key: PublicKey) -> None:
    if key.id != server_id:
        raise HandshakeRefused(socp.BAD_KEY, f"another server answers there: {key.id}")


def _log_error(peer: Peer, envelope: Envelope) -> None:
    log.warning("%s answered %s: %s", peer.id, envelope.payload["code"], envelope.payload.get("detail", ""))


def _ignore(_envelope: Envelope) -> None:
    """Take a frame that asks for nothing."""
