"""Who may connect (PROTOCOL.md section 14): decided at accept, before a byte is read or a thread is started.

Unfinished handshakes are what anybody can begin, so they have few places. Whoever has many gives way to whoever has
fewer: then no number of idle connections, from however many addresses, keeps an honest peer out.
"""

from __future__ import annotations

import logging
import resource
import sys
import threading
from collections import Counter

from link import Link
from penalties import Penalties, worth
from settings import Settings
from socp import SERVER_BUSY, USER_HELLO, LinkError

log = logging.getLogger("socp.gate")

# Descriptors that links must leave to the database, to dialling and to logs; of a small limit, a quarter.
_RESERVED = 128


def most_links() -> int:
    """Return how many links this process has descriptors for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    return int(soft - min(_RESERVED, soft // 4))


class Gate:
    """The places of one host's links.

    Args:
        settings: limits and times.
    """

    def __init__(self, settings: Settings) -> None:
        self._limits = settings.limits
        # Users leave descriptors to servers, and to handshakes: these must be able to make room for each other.
        most = most_links()
        self._users_most = min(self._limits.users, max(most - 2 * self._limits.handshakes, most // 2))
        self._penalties = Penalties(settings.timers, settings.limits.sources) if settings.penalties else None
        self._lock = threading.Lock()  # guards the three below
        self._unfinished: dict[Link, str] = {}  # the oldest first, to the address that it came from
        self._greeted: set[Link] = set()  # of those, the ones whose hello was good
        self._users: set[Link] = set()

    def admits(self, source: str) -> bool:
        """Tell whether a connection of this address may begin a handshake. One thread asks, and then calls `enter`.

        Args:
            source: the address, as addresses.source_of has it.
        """
        if self._penalties is not None and self._penalties.refuses(source):
            return False
        with self._lock:
            counts = Counter(self._unfinished.values())
            crowded = len(self._unfinished) >= self._limits.handshakes
            # Of those that are crowded, nobody gives way to whoever has as many.
            most = max(counts.values()) if crowded else self._limits.handshakes_of_one
            admitted = counts[source] < min(most, self._limits.handshakes_of_one)
        if not admitted:
            log.info("too many unfinished handshakes; turned away: %s", source)
        return admitted

    def enter(self, link: Link, source: str) -> None:
        """Give a link that was admitted its place, which another may have to make free."""
        with self._lock:
            gives_way: Link | None = None
            if len(self._unfinished) >= self._limits.handshakes:
                counts = Counter(self._unfinished.values())
                most = max(counts.values())
                those = [other for other, of in self._unfinished.items() if counts[of] == most]
                # Who has said hello is a moment from being done, unless it is an attacker who has come that far.
                gives_way = next((other for other in those if other not in self._greeted), those[0])
                self._end_handshake(gives_way)
            self._unfinished[link] = source
        if gives_way is not None:
            log.info("too many unfinished handshakes; %s is closed for another", gives_way.name)
            gives_way.abort()

    def _end_handshake(self, link: Link) -> None:
        """Take back a link's place among the unfinished. `_lock` is held."""
        self._unfinished.pop(link, None)
        self._greeted.discard(link)

    def greet(self, link: Link) -> None:
        """Note that the hello of a link was good."""
        with self._lock:
            if link in self._unfinished:
                self._greeted.add(link)

    def check_room(self, hello: str) -> None:
        """Refuse the hello of a user for whom there is no place.

        Raises:
            LinkError: SERVER_BUSY.
        """
        with self._lock:
            self._check_room(hello)

    def _check_room(self, hello: str) -> None:
        """See `check_room`. `_lock` is held."""
        if hello == USER_HELLO and len(self._users) >= self._users_most:
            raise LinkError(SERVER_BUSY, "no more users are taken here; try another server, or again later")

    def prove(self, link: Link, hello: str) -> None:
        """Note that the peer of a link has proved who it is, and give a user one of the users' places.

        Raises:
            LinkError: SERVER_BUSY, when others have taken them since its hello.
        """
        with self._lock:
            self._end_handshake(link)
            self._check_room(hello)
            if hello == USER_HELLO:
                self._users.add(link)

    def leave(self, link: Link) -> None:
        """Take back whatever place a link has; harmless when repeated."""
        with self._lock:
            self._end_handshake(link)
            self._users.discard(link)

    def note_failure(self, source: str, code: str | None, *, proved: bool) -> None:
        """Note that a link has failed; see penalties.worth."""
        if self._penalties is not None:
            self._penalties.note(source, worth(code, proved=proved))
