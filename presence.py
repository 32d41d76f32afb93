"""Who is online, and how servers come to agree on it (PROTOCOL.md section 7)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import socp
from bucket import Bucket
from crypto.encoding import canonical
from directory import Directory
from framing import SEPARATORS_MOST, count_separators
from host import Host
from link import Link
from mesh import Mesh, Peer
from origin import check_origin
from outflow import Sent
from routing import Change, RoutingTable
from socp import (
    BAD_TIMESTAMP,
    EVERYONE,
    INVALID_SIG,
    NAME_IN_USE,
    PRESENCE,
    SERVER_BUSY,
    USER_ADVERTISE,
    USER_REMOVE,
    USER_SYNC,
    USER_SYNC_REQUEST,
    Envelope,
    LinkError,
    ProtocolError,
)
from users import User, read_user

log = logging.getLogger("socp.presence")

# Entries of one PRESENCE frame: at 64 characters of display name each, well under a frame.
_PRESENCE_ENTRIES = 1000
# USER_SYNC_REQUESTs that a server may send at once.
_SYNC_REQUESTS = 10
_NO_ROOM = "as many users are known as can be, and one of another server is not taken in"
# Of the digest, until a server is asked for its users again some of which found no room: after an hour.
_PATIENT_MISMATCHES = 240


class _PeerState:
    """What is kept of one link to a server: the USER_SYNC that is arriving, and how often the digest was off.

    Args:
        heartbeat: seconds between two of the server's.
    """

    def __init__(self, heartbeat: float) -> None:
        self.mismatches = 0
        self.parts_seen = 0
        self.last_part = -1
        self.listed: set[str] = set()
        self.lacking = False  # there was no room for some of its users
        # A server asks at every second heartbeat at most; each time costs us as much as all our users take.
        self.requests = Bucket(_SYNC_REQUESTS, 1 / heartbeat)
        self.sending = threading.Lock()  # held while a USER_SYNC is being sent here; never waited for

    def begin_again(self) -> None:
        """Forget what has arrived of a USER_SYNC."""
        self.parts_seen, self.last_part, self.listed = 0, -1, set()


class Presence:
    """Keeps the routing table's users right, and tells others of what changes.

    Args:
        host: makes frames, and closes links.
        table: what is kept right.
        directory: keeps users across restarts.
        mesh: the links to servers.
        placed: told of each user who has attached somewhere, since that is where its mail belongs.
    """

    def __init__(
        self,
        host: Host,
        table: RoutingTable,
        directory: Directory,
        mesh: Callable[[], Mesh],
        placed: Callable[[str], None],
    ) -> None:
        self._host = host
        self._origin = host.origin
        self._timers = host.settings.timers
        self._limits = host.settings.limits
        self._table = table
        self._directory = directory
        self._mesh = mesh
        self._placed = placed
        self._peers_lock = threading.Lock()  # guards _peers
        self._peers: dict[Link, _PeerState] = {}  # of links that are up, or ended since the last came up
        self._changed = threading.Condition()  # guards _news
        self._news: set[str] = set()  # the ids of users who came or went since the last PRESENCE

    # --- users of ours ------------------------------------------------------------------------------------------

    def attach(self, user: User, link: Link, welcome: Callable[[], bytes], begin: Callable[[], None]) -> None:
        """Take in a user whose handshake has proved it, once an older link of the same user is found dead.

        Args:
            user: what it proved.
            link: its link.
            welcome: makes the frame that ends the handshake, which goes out before any other.
            begin: told when others can write to the user; what is sent from there waits behind the welcome.

        Raises:
            LinkError: NAME_IN_USE, if the older link lives; BAD_TIMESTAMP, if a newer attachment is known; SERVER_BUSY,
                if there is no room for a user who is new.
        """
        first = self._host.aside.do(welcome)
        while True:
            link.hold()
            change = self._table.attach(user, link)
            if change is not None:
                break
            older = self._table.local_link(user.user_id)
            if older is None:
                raise LinkError(BAD_TIMESTAMP, "a newer attachment of this user is known; attach again")
            probe = self._origin.link_frame(older, socp.HEARTBEAT, user.user_id, {"probe": True})
            if older.alive_within(self._timers.probe, asked_by=probe):
                raise LinkError(NAME_IN_USE, "this user is attached here already, and its client answers")
            older.abort()
            self.detach(user.user_id, older)
        if change.refused:
            self.publish(change)
            raise LinkError(SERVER_BUSY, "as many users are known here as can be; try another server")
        begin()
        link.release(first)
        self.publish(change)
        if self._is_heard():
            payload = {**user.to_wire(), "server_id": self._origin.id}
            signed = partial(self._origin.signed, USER_ADVERTISE, EVERYONE, payload)
            self._mesh().spread(self._host.aside.do(signed))

    def detach(self, user_id: str, link: Link) -> None:
        """Note that a link of a user has ended; harmless when it was not in use any more."""
        user, change = self._table.detach(user_id, link)
        if user is not None:
            self.publish(change)
            if self._is_heard():
                payload = {"user_id": user_id, "server_id": self._origin.id, "attach_ts": user.attach.ts}
                self._mesh().spread(self._origin.signed(USER_REMOVE, EVERYONE, payload))

    def _is_heard(self) -> bool:
        """Tell whether there is any server to sign for. To be asked once a change is in the table, never before.

        A server that is not linked when this looks is put in the table later, and then our users are read there for the
        USER_SYNC that it is sent: as they have been since the change.
        """
        return bool(self._table.server_links())

    def publish(self, change: Change) -> None:
        """Write a change to the directory, and have our users told of it."""
        for user in change.saved:
            self._directory.save_user(user)
            self._placed(user.user_id)
        for user_id in change.forgotten:
            self._directory.forget_user(user_id)
        with self._changed:
            self._news.update(change.joined)
            self._news.update(change.left)
            self._changed.notify()
        for link in change.displaced:
            self._host.close(link, socp.ATTACHED_ELSEWHERE)

    # --- gossip -------------------------------------------------------------------------------------------------

    def take_advertise(self, envelope: Envelope) -> None:
        """Learn that a user has attached to another server.

        Raises:
            ProtocolError: INVALID_SIG, BAD_KEY and so on, if it does not prove so.
        """
        seen = self._check_gossip(envelope)
        if seen is None:
            return
        newest = socp.now_ms() + self._limits.clock_skew
        user, _ = read_user(envelope.payload, envelope.sender, online=True, newest=newest)
        if self._mesh().remember(seen):
            self._note_advertised(user)
            change = self._table.advertise(user)
            self.publish(change)
            if change.refused:
                log.warning(_NO_ROOM)
            self._mesh().expect_link(user.home)
            self._mesh().spread(envelope.to_wire(), envelope.visited)

    def _note_advertised(self, user: User) -> None:
        """Count a user who attaches while a USER_SYNC of its home is arriving as one that it lists."""
        link = self._table.server_link(user.home)
        with self._peers_lock:
            state = self._peers.get(link) if link is not None else None
        if state is not None and state.parts_seen and len(state.listed) < self._limits.known_users:
            state.listed.add(user.user_id)

    def take_remove(self, envelope: Envelope) -> None:
        """Learn that a user has left its server.

        Raises:
            ProtocolError: INVALID_SIG.
        """
        seen = self._check_gossip(envelope)
        if seen is not None and self._mesh().remember(seen):
            payload = envelope.payload
            self.publish(self._table.remove(payload["user_id"], envelope.sender, payload["attach_ts"]))
            self._mesh().spread(envelope.to_wire(), envelope.visited)

    def _check_gossip(self, envelope: Envelope) -> bytes | None:
        """Verify gossip of a server about its own users; None when it is to be passed over."""
        if envelope.sender == self._origin.id:
            return None
        key = self._mesh().key_of(envelope.sender)
        if key is None:
            log.info("%s from %s, whose key is not known; dropped", envelope.type, envelope.sender)
            return None
        seen = self._mesh().fresh(envelope)
        if seen is None:
            return None
        check_origin(envelope, key)
        if envelope.payload["server_id"] != envelope.sender:
            raise ProtocolError(INVALID_SIG, "a server speaks for its own users alone")
        return seen

    # --- agreement between servers ------------------------------------------------------------------------------

    def link_up(self, peer: Peer) -> None:
        """Begin a link to a server by telling it of our users."""
        with self._peers_lock:
            self._peers = {link: state for link, state in self._peers.items() if not link.closing}
            self._peers[peer.link] = _PeerState(self._timers.heartbeat)
        self._send_sync(peer)

    def _state(self, peer: Peer) -> _PeerState:
        with self._peers_lock:
            return self._peers.setdefault(peer.link, _PeerState(self._timers.heartbeat))

    def _send_sync(self, peer: Peer) -> None:
        """Send USER_SYNC from a thread of its own, which can wait for a slow link where a reader must not."""
        state = self._state(peer)
        if state.sending.acquire(blocking=False) and not self._host.threads.start(
            f"{peer.link.name} sync", partial(self._run_sync, peer, state)
        ):
            state.sending.release()

    def _run_sync(self, peer: Peer, state: _PeerState) -> None:
        try:
            users = self._table.users_of(self._origin.id)
            sent = self._send_parts(peer, users)
            # Who attached meanwhile is advertised, but what was advertised before the last part is replaced by it.
            by_now = self._table.users_of(self._origin.id)
            if sent and by_now != users:
                self._send_parts(peer, by_now)
        finally:
            state.sending.release()

    def _send_parts(self, peer: Peer, users: list[User]) -> bool:
        """Send a USER_SYNC, waiting while the link takes no more; False when it takes nothing for too long."""
        batches = list(_batches(users, self._limits.sync_bytes))
        for part, entries in enumerate(batches, start=1):
            payload = {"server_id": self._origin.id, "users": entries, "part": part, "parts": len(batches)}
            frame = self._origin.link_frame(peer.link, USER_SYNC, peer.id, payload)
            while peer.link.send(frame) is Sent.FULL:
                if not peer.link.wait_until_drained(self._timers.full):
                    return False
        return True

    def take_sync(self, peer: Peer, envelope: Envelope) -> None:
        """Take one part of a server's USER_SYNC; the last replaces all that was known of users behind it.

        Raises:
            ProtocolError: an entry does not prove what it says. The others count.
        """
        payload = envelope.payload
        if payload["server_id"] != peer.id:
            raise ProtocolError(INVALID_SIG, "a server speaks for its own users alone")
        state = self._state(peer)
        if payload["part"] <= state.last_part:
            state.begin_again()  # the one before it was never finished
        state.last_part = payload["part"]
        wrong: ProtocolError | None = None
        for entry in payload["users"]:
            try:
                user = self._read_entry(peer, entry)
            except ProtocolError as error:
                wrong = wrong or error  # one bad entry hides none of the others
                continue
            change = self._table.sync(user)
            self.publish(change)
            if change.refused:
                state.lacking = True
                log.warning(_NO_ROOM)
            elif len(state.listed) < self._limits.known_users:  # it is for the peer to say when a USER_SYNC ends
                state.listed.add(user.user_id)
        state.parts_seen += 1
        if state.parts_seen >= payload["parts"]:
            self.publish(self._table.sync_done(peer.id, frozenset(state.listed)))
            state.begin_again()
        if wrong is not None:
            raise wrong

    def _read_entry(self, peer: Peer, entry: dict[str, Any]) -> User:
        socp.check_shape(socp.SYNC_ENTRY, entry, "USER_SYNC")
        newest = socp.now_ms() + self._limits.clock_skew
        return read_user(entry, peer.id, online=entry["online"], newest=newest)[0]

    def take_sync_request(self, peer: Peer, _envelope: Envelope) -> None:
        """Send USER_SYNC again, unless it was asked for too often."""
        if self._state(peer).requests.take():
            self._send_sync(peer)
        else:
            log.info("%s asks for our users too often; passed over", peer.id)

    def take_heartbeat(self, peer: Peer, envelope: Envelope) -> None:
        """Compare the peer's digest with ours, and ask for a USER_SYNC when it was off twice in a row."""
        self._mesh().answer_heartbeat(peer, envelope)
        present = envelope.payload.get("present")
        if present is None:
            return
        state = self._state(peer)
        if present == self._table.present(peer.id):
            state.mismatches = 0
            return
        state.mismatches += 1
        # What there was no room for would be missing again, and be sent and verified for nothing.
        if state.mismatches >= (_PATIENT_MISMATCHES if state.lacking else 2):
            state.mismatches, state.lacking = 0, False
            log.info("what is known of the users at %s is off; asking it", peer.id)
            peer.link.send(self._origin.link_frame(peer.link, USER_SYNC_REQUEST, peer.id, {}))

    # --- what clients see ---------------------------------------------------------------------------------------

    def run_notices(self) -> None:
        """Tell our users with the cap of who came and went, at most once a second; until the host stops."""
        while (news := self._next_news()) is not None:
            links = self._table.presence_links()
            if links:
                # As it is now: of two changes, the one told here last need not be the one that came last.
                users = [user for user_id in sorted(news) if (user := self._table.user(user_id)) is not None]
                for payload in _notices(users):
                    frame = self._origin.frames(PRESENCE, EVERYONE, payload)
                    for link in links:
                        link.send(frame(link))  # when its queue is full, it goes without
            self._host.stopping.wait(self._timers.presence)

    def _next_news(self) -> set[str] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._news or self._host.stopping.is_set())
            if self._host.stopping.is_set():
                return None
            news, self._news = self._news, set()
            return news

    def wake(self) -> None:
        """Have `run_notices` look at `host.stopping`."""
        with self._changed:
            self._changed.notify_all()


def _batches(users: list[User], most: int) -> Iterator[list[dict[str, object]]]:
    """Cut the entries of a USER_SYNC into frames of at most `most` bytes that can be read; one empty for no users."""
    batch: list[dict[str, object]] = []
    size = separators = 0
    for user in users:
        entry = {**user.to_wire(), "online": user.online}
        written = canonical(entry)
        length, count = len(written) + 1, count_separators(written) + 1
        # Less what the envelope around them takes.
        if batch and (size + length > most - 2048 or separators + count > SEPARATORS_MOST - 64):
            yield batch
            batch, size, separators = [], 0, 0
        batch.append(entry)
        size += length
        separators += count
    yield batch


def _notices(users: list[User]) -> Iterator[dict[str, object]]:
    for start in range(0, len(users), _PRESENCE_ENTRIES):
        some = users[start : start + _PRESENCE_ENTRIES]
        yield {
            "joined": [user.to_listing() for user in some if user.online],
            "left": [user.user_id for user in some if not user.online],
        }
