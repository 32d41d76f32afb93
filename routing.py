"""Who is where: the lock-protected tables of a server, and the cache of gossip that it has seen.

The tables are v1.3's: `local_users`, `user_locations`, `servers` and `server_addrs`, with one record a user that
tells its key and its last attachment. Nothing here does I/O, signs or verifies; what is put in has been verified.
"""

from __future__ import annotations

import bisect
import enum
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from addresses import Address
from crypto.encoding import digest, encode_base64url
from known import KnownUsers
from link import Link
from socp import CAP_PRESENCE
from users import User


@dataclass(frozen=True)
class Change:
    """What one update of the tables did to what others can see."""

    joined: tuple[str, ...] = ()  # ids of users who are online now, or elsewhere than before
    left: tuple[str, ...] = ()  # ids of users who are away now
    saved: tuple[User, ...] = ()  # to be written to the directory
    displaced: tuple[Link, ...] = ()  # local links whose users have attached elsewhere since
    forgotten: tuple[str, ...] = ()  # ids of users whom nothing is known of any more
    refused: bool = False  # the user is not taken in, for want of room


class Where(enum.Enum):
    """What the tables say about where a user can be reached."""

    LOCAL = enum.auto()
    REMOTE = enum.auto()
    AWAY = enum.auto()  # known, and not online or not reachable
    UNKNOWN = enum.auto()


@dataclass(slots=True)
class Route:
    """Where to send what is for a user, as far as is known in this moment.

    Attributes:
        link: over which the user can be reached now.
        server_link: to its home, if that is another server and linked, whether the user is there or away.
    """

    where: Where
    user: User | None = None
    link: Link | None = None
    server_link: Link | None = None


class RoutingTable:
    """The tables of the server `own_id`, which begin with the users that are known from before."""

    def __init__(self, own_id: str, known: KnownUsers | None = None) -> None:
        self.own_id = own_id
        # Guards all tables below. May be held when the mailboxes' lock is taken, never the other way round.
        self._lock = threading.Lock()
        self.local_users: dict[str, Link] = {}
        self.user_locations: dict[str, str] = {}  # online users alone, to the id of their server
        self._online: list[str] = []  # their ids, sorted: a page of them is asked for at any user's will
        self.servers: dict[str, Link] = {}
        self.server_addrs: dict[str, Address] = {}
        self._users = known if known is not None else KnownUsers()

    # --- reading ------------------------------------------------------------------------------------------------

    def user(self, user_id: str) -> User | None:
        """Return what is known of a user."""
        with self._lock:
            return self._users.get(user_id)

    def route(self, user_id: str) -> Route:
        """Tell where a user can be reached now."""
        with self._lock:
            user = self._users.get(user_id)
            if user is None:
                return Route(Where.UNKNOWN)
            link = self.local_users.get(user_id)
            if link is not None:
                return Route(Where.LOCAL, user, link)
            server_link = self.servers.get(user.home)
            if user_id not in self.user_locations or server_link is None:
                return Route(Where.AWAY, user, None, server_link)
            return Route(Where.REMOTE, user, server_link, server_link)

    def is_behind(self, user_id: str, server_id: str) -> bool:
        """Tell whether a user is attached to that server."""
        with self._lock:
            return self.user_locations.get(user_id) == server_id

    def local_link(self, user_id: str) -> Link | None:
        """Return the link of a user of ours."""
        with self._lock:
            return self.local_users.get(user_id)

    def local_by_id(self) -> dict[str, Link]:
        """Return the links of all our users by their ids."""
        with self._lock:
            return dict(self.local_users)

    def local_links(self, but: str = "", cap: str = "") -> list[Link]:
        """Return the links of our users, but one; only of those with a cap, if one is named."""
        with self._lock:
            return [
                link
                for user_id, link in self.local_users.items()
                if user_id != but and (not cap or cap in self._users[user_id].caps)
            ]

    def presence_links(self) -> list[Link]:
        """Return the links of our users who want PRESENCE."""
        return self.local_links(cap=CAP_PRESENCE)

    def server_link(self, server_id: str) -> Link | None:
        """Return the link to a server."""
        with self._lock:
            return self.servers.get(server_id)

    def server_links(self) -> dict[str, Link]:
        """Return the links to servers by their ids."""
        with self._lock:
            return dict(self.servers)

    def online_count(self, counting: str) -> int:
        """Return how many users are known to be online, counting one who is about to be."""
        with self._lock:
            return len(self.user_locations) + (counting not in self.user_locations)

    def online_page(self, after: str, limit: int) -> tuple[list[User], int]:
        """Return the online users behind `after`, by id, at most `limit`; and how many are online in all."""
        with self._lock:
            start = bisect.bisect_right(self._online, after)
            return [self._users[user_id] for user_id in self._online[start : start + limit]], len(self._online)

    def users_of(self, server_id: str) -> list[User]:
        """Return all users whose home a server is, online and away."""
        with self._lock:
            return [user for user in self._users if user.home == server_id]

    def present(self, server_id: str) -> str:
        """Return the digest over a server's online users (section 7.1)."""
        with self._lock:
            users = sorted(
                (user_id, self._users[user_id].attach.ts)
                for user_id, server in self.user_locations.items()
                if server == server_id
            )
        return encode_base64url(digest({"users": users}))

    # --- users --------------------------------------------------------------------------------------------------

    def attach(self, user: User, link: Link) -> Change | None:
        """Take in a user of ours, if there is room; None when it has another link, or has attached elsewhere since."""
        with self._lock:
            known = self._users.get(user.user_id)
            if user.user_id in self.local_users or (known is not None and user.rank <= known.rank):
                return None
            change = self._place(user)
            if not change.refused:
                self.local_users[user.user_id] = link
            return change

    def detach(self, user_id: str, link: Link) -> tuple[User | None, Change]:
        """Note that a link of a user has ended; nothing happens when it is not the user's link any more.

        Returns:
            The user as it was, if it is away now; and the change.
        """
        with self._lock:
            if self.local_users.get(user_id) is not link:
                return None, Change()
            user = self._users[user_id]
            del self.local_users[user_id]
            if self.user_locations.get(user_id) != self.own_id:
                return None, Change()  # it has attached elsewhere, which is known already
            return user, self._take_away(user, removed=True)

    def advertise(self, user: User) -> Change:
        """Note that a user is online at another server, unless something newer is known."""
        with self._lock:
            known = self._users.get(user.user_id)
            if known is not None and user.rank <= known.rank:
                return Change()
            return self._place(user)

    def remove(self, user_id: str, server_id: str, attach_ts: int) -> Change:
        """Note that a user has left its server, if that was its last attachment."""
        with self._lock:
            user = self._users.get(user_id)
            if user is None or user.home != server_id or user.attach.ts != attach_ts:
                return Change()
            return self._take_away(user, removed=True)

    def sync(self, user: User) -> Change:
        """Take an entry of its home's USER_SYNC, unless it lost to a newer attachment elsewhere."""
        with self._lock:
            known = self._users.get(user.user_id)
            if known is not None and user.rank < known.rank:
                return Change()
            if known is not None and user.rank == known.rank:
                if known.removed or known.online == user.online:
                    return Change()
                return self._place(user) if user.online else self._take_away(known, removed=False)
            return self._place(user)

    def sync_done(self, server_id: str, listed: frozenset[str]) -> Change:
        """Take away the users of a server that its USER_SYNC did not list."""
        with self._lock:
            gone = [
                self._users[user_id]
                for user_id, server in self.user_locations.items()
                if server == server_id and user_id not in listed
            ]
            return _sum(self._take_away(user, removed=False) for user in gone)

    def lose_server(self, server_id: str) -> Change:
        """Take away the users of a server that has had no link for too long; nothing if it has one again."""
        with self._lock:
            if server_id in self.servers:
                return Change()
            gone = [self._users[user] for user, server in self.user_locations.items() if server == server_id]
            return _sum(self._take_away(user, removed=False) for user in gone)

    def _place(self, user: User) -> Change:
        """Write a record that has won, if there is room for it. `_lock` is held."""
        before = self._users.get(user.user_id)
        forgotten: tuple[str, ...] = ()
        if before is None:
            forgotten, room = self._users.make_room(ours=user.home == self.own_id)
            if not room:
                return Change(forgotten=forgotten, refused=True)
        displaced: tuple[Link, ...] = ()
        if user.home != self.own_id and (link := self.local_users.pop(user.user_id, None)) is not None:
            displaced = (link,)
        was_online = before is not None and before.online
        self._locate(user.user_id, user.home if user.online else None)
        self._users.put(user)
        moved = before is None or not was_online or before.home != user.home
        return Change(
            joined=(user.user_id,) if user.online and moved else (),
            left=(user.user_id,) if was_online and not user.online else (),
            saved=(user,),
            displaced=displaced,
            forgotten=forgotten,
        )

    def _take_away(self, user: User, *, removed: bool) -> Change:
        """Make a user away; its home stays. `_lock` is held."""
        was_online = user.user_id in self.user_locations
        self._locate(user.user_id, None)
        self._users.put(replace(user, online=False, removed=removed or user.removed))
        return Change(left=(user.user_id,) if was_online else ())

    def _locate(self, user_id: str, server_id: str | None) -> None:
        """Note where a user is online; None is nowhere. `_lock` is held."""
        if server_id is None:
            if self.user_locations.pop(user_id, None) is not None:
                del self._online[bisect.bisect_left(self._online, user_id)]
        else:
            if user_id not in self.user_locations:
                bisect.insort(self._online, user_id)
            self.user_locations[user_id] = server_id

    # --- servers ------------------------------------------------------------------------------------------------

    def add_server(self, server_id: str, link: Link) -> Link | None:
        """Note a link to a server, and return the older one that it replaces."""
        with self._lock:
            older = self.servers.get(server_id)
            self.servers[server_id] = link
            return older

    def drop_server(self, server_id: str, link: Link) -> bool:
        """Note that a link to a server has ended; False when it was not the one in use."""
        with self._lock:
            if self.servers.get(server_id) is not link:
                return False
            del self.servers[server_id]
            return True

    def set_address(self, server_id: str, address: Address) -> None:
        """Note where a server is reached."""
        with self._lock:
            self.server_addrs[server_id] = address

    def drop_address(self, server_id: str) -> None:
        """Forget where a server is reached."""
        with self._lock:
            self.server_addrs.pop(server_id, None)


def _sum(changes: Iterable[Change]) -> Change:
    joined: list[str] = []
    left: list[str] = []
    saved: list[User] = []
    displaced: list[Link] = []
    for change in changes:
        joined += change.joined
        left += change.left
        saved += change.saved
        displaced += change.displaced
    return Change(tuple(joined), tuple(left), tuple(saved), tuple(displaced))


class SeenCache:
    """The gossip of the last minutes (section 7.3), so that a frame is handled once, whichever way it comes.

    Args:
        most: how many frames are remembered; the oldest are forgotten first.
        seconds: for how long.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._lock = threading.Lock()  # guards _seen
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    @staticmethod
    def key(ts: int, sender: str, to: str, payload: Mapping[str, object]) -> bytes:
        """Return what a frame is remembered by."""
        return hashlib.sha256(f"{ts} {sender} {to} ".encode() + digest(payload)).digest()

    def has(self, key: bytes) -> bool:
        """Tell whether a frame was seen, without adding it."""
        with self._lock:
            return key in self._seen and time.monotonic() - self._seen[key] < self._seconds

    def add(self, key: bytes) -> bool:
        """Remember a frame whose signatures have all been verified; False when it was known already."""
        now = time.monotonic()
        with self._lock:
            while self._seen and (now - next(iter(self._seen.values())) >= self._seconds):
                self._seen.popitem(last=False)
            if key in self._seen:
                return False
            self._seen[key] = now
            if len(self._seen) > self._most:
                self._seen.popitem(last=False)
            return True
