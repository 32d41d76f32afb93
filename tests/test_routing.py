"""The routing table, and the cache of gossip."""

from __future__ import annotations

import random
import threading
import unittest
from dataclasses import replace
from unittest import mock

from addresses import Address
from crypto.encoding import digest, encode_base64url
from known import KnownUsers
from link import Link
from routing import Change, RoutingTable, SeenCache, Where
from tests.vectors import key
from users import Attachment, User

OWN, OTHER, THIRD = (key(name).id for name in ("server", "server2", "server3"))
LOW, HIGH = sorted((OTHER, THIRD))


def user(
    name: str = "alice", home: str = OTHER, ts: int = 10, *, online: bool = True, caps: tuple[str, ...] = ()
) -> User:
    """Return a user; tables do not look at signatures."""
    return User(key(name).id, home, "k", {}, caps, Attachment("n", ts, "s"), online=online)


def link() -> Link:
    """Return something that stands for a link."""
    stand_in: Link = mock.create_autospec(Link, instance=True)
    return stand_in


class UsersTest(unittest.TestCase):
    """Where users are."""

    def setUp(self) -> None:
        """Make a table."""
        self.table = RoutingTable(OWN)
        self.alice = key("alice").id

    def where(self) -> Where:
        """Return where alice is."""
        return self.table.route(self.alice).where

    def test_unknown(self) -> None:
        """Nobody is known at first, but for those that are given from before, who are away."""
        self.assertIs(self.where(), Where.UNKNOWN)
        self.table = RoutingTable(OWN, KnownUsers([user(online=False)]))
        self.assertIs(self.where(), Where.AWAY)
        self.assertEqual(self.table.online_page("", 10), ([], 0))

    def test_local(self) -> None:
        """A user who attaches is local until its link ends, and away from then on."""
        ours = link()
        change = self.table.attach(user(home=OWN), ours)
        assert change is not None
        self.assertEqual((change.joined, change.saved), ((self.alice,), (user(home=OWN),)))
        route = self.table.route(self.alice)
        self.assertEqual((route.where, route.link), (Where.LOCAL, ours))
        self.assertIsNone(self.table.attach(user(home=OWN, ts=11), link()))
        self.assertEqual(self.table.detach(self.alice, link()), (None, Change()))
        gone, change = self.table.detach(self.alice, ours)
        assert gone is not None
        self.assertEqual((gone.attach.ts, change.left), (10, (self.alice,)))
        self.assertIs(self.where(), Where.AWAY)
        self.assertEqual(self.table.detach(self.alice, ours), (None, Change()))

    def test_stale_attachment(self) -> None:
        """An attachment that is not newer than what is known is not taken."""
        self.table.advertise(user(ts=10))
        self.assertIsNone(self.table.attach(user(home=OWN, ts=9), link()))
        self.assertIsNotNone(self.table.attach(user(home=OWN, ts=11), link()))

    def test_remote(self) -> None:
        """A user at another server is reached while that server is linked."""
        self.assertEqual(self.table.advertise(user()).joined, (self.alice,))
        self.assertIs(self.where(), Where.AWAY)
        theirs = link()
        self.table.add_server(OTHER, theirs)
        self.assertEqual(self.table.route(self.alice).link, theirs)
        self.assertIs(self.where(), Where.REMOTE)
        self.assertTrue(self.table.is_behind(self.alice, OTHER))
        self.assertFalse(self.table.is_behind(self.alice, THIRD))

    def test_greatest_attachment_wins(self) -> None:
        """Whatever order attachments are heard of in, the same one wins; a tie goes to the greater server."""
        entries = [user(home=LOW, ts=10), user(home=HIGH, ts=10), user(home=LOW, ts=9), user(home=HIGH, ts=8)]
        for order in (entries, entries[::-1], entries[2:] + entries[:2]):
            table = RoutingTable(OWN)
            for entry in order:
                table.advertise(entry)
            self.assertEqual(table.user_locations[self.alice], HIGH)

    def test_displaced(self) -> None:
        """A local user who has attached elsewhere since is displaced, and its end changes nothing any more."""
        ours = link()
        self.table.attach(user(home=OWN), ours)
        self.assertEqual(self.table.advertise(user(ts=9)).displaced, ())
        change = self.table.advertise(user(ts=11))
        self.assertEqual((change.displaced, change.joined), ((ours,), (self.alice,)))
        self.assertIsNone(self.table.local_link(self.alice))
        self.assertEqual(self.table.detach(self.alice, ours), (None, Change()))
        self.assertEqual(self.table.user_locations[self.alice], OTHER)

    def test_remove(self) -> None:
        """Only the end of the last attachment at the right server counts, and only a newer one undoes it."""
        self.table.advertise(user())
        self.assertEqual(self.table.remove(self.alice, OTHER, 9), Change())
        self.assertEqual(self.table.remove(self.alice, THIRD, 10), Change())
        self.assertEqual(self.table.remove(self.alice, OTHER, 10).left, (self.alice,))
        self.assertEqual(self.table.remove(key("bob").id, OTHER, 10), Change())
        self.assertEqual(self.table.advertise(user()), Change())
        self.assertEqual(self.table.sync(user()), Change())
        self.assertIs(self.where(), Where.AWAY)
        self.assertEqual(self.table.advertise(user(ts=11)).joined, (self.alice,))

    def test_sync(self) -> None:
        """An entry brings a user, or takes it away; what is not listed at the end is away."""
        self.assertEqual(self.table.sync(user()).joined, (self.alice,))
        self.assertEqual(self.table.sync(user()), Change())
        self.assertEqual(self.table.sync(user(online=False)).left, (self.alice,))
        self.assertEqual(self.table.sync(user()).joined, (self.alice,))
        self.assertEqual(self.table.sync(user(ts=9, online=False)), Change())
        self.assertEqual(self.table.sync_done(OTHER, frozenset({self.alice})), Change())
        self.assertEqual(self.table.sync_done(THIRD, frozenset()), Change())
        self.assertEqual(self.table.sync_done(OTHER, frozenset()).left, (self.alice,))
        self.assertEqual(self.table.sync(user()).joined, (self.alice,))

    def test_lost_server(self) -> None:
        """The users of a server that is lost are away, unless it is linked again, and come back with it."""
        theirs = link()
        self.table.add_server(OTHER, theirs)
        self.table.advertise(user())
        self.assertEqual(self.table.lose_server(OTHER), Change())
        self.table.drop_server(OTHER, theirs)
        self.assertEqual(self.table.lose_server(OTHER).left, (self.alice,))
        self.assertEqual(self.table.sync(user()).joined, (self.alice,))

    def test_moved(self) -> None:
        """A user who moves between other servers is told of again; one who attaches again to the same is not."""
        self.table.advertise(user(home=OTHER, ts=10))
        self.assertEqual(self.table.advertise(user(home=THIRD, ts=11)).joined, (self.alice,))
        change = self.table.advertise(user(home=THIRD, ts=12))
        self.assertEqual((change.joined, len(change.saved)), ((), 1))

    def test_pages(self) -> None:
        """Pages are sorted by id, behind the last one's end, with the number of all."""
        names = ("alice", "bob", "carol", "dave")
        for name in names:
            self.table.advertise(user(name))
        ids = sorted(key(name).id for name in names)
        first, total = self.table.online_page("", 3)
        self.assertEqual(([entry.user_id for entry in first], total), (ids[:3], 4))
        second, total = self.table.online_page(ids[2], 3)
        self.assertEqual(([entry.user_id for entry in second], total), (ids[3:], 4))
        self.assertEqual(self.table.online_count(counting=ids[0]), 4)
        self.assertEqual(self.table.online_count(counting=key("erin").id), 5)

    def test_pages_of_whoever_is_there(self) -> None:
        """However users come, move and go, a page lists exactly those who are online."""
        names = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")
        chance = random.Random(7)
        links = {name: link() for name in names}
        for ts in range(1, 400):
            name, home = chance.choice(names), chance.choice((OWN, OTHER, THIRD))
            what = chance.randrange(5)
            if what == 0:
                self.table.attach(user(name, home=OWN, ts=ts), links[name])
            elif what == 1:
                self.table.detach(key(name).id, links[name])
            elif what == 2:
                self.table.sync(user(name, home=home, ts=ts, online=chance.random() < 0.5))
            elif what == 3:
                self.table.remove(key(name).id, home, ts - chance.randrange(3))
            else:
                self.table.lose_server(home)
            listed, total = self.table.online_page("", 100)
            self.assertEqual([entry.user_id for entry in listed], sorted(self.table.user_locations))
            self.assertEqual(total, len(listed))

    def test_digest(self) -> None:
        """The digest is the one of section 7.1: over a server's own users that are online, sorted."""
        self.table.advertise(user("bob", ts=5))
        self.table.advertise(user("alice", ts=6))
        self.table.advertise(user("carol", home=THIRD))
        self.table.sync(user("dave", online=False))
        users = sorted([[key("alice").id, 6], [key("bob").id, 5]])
        self.assertEqual(self.table.present(OTHER), encode_base64url(digest({"users": users})))
        self.assertEqual(self.table.present(OWN), encode_base64url(digest({"users": []})))
        self.assertEqual(len(self.table.users_of(OTHER)), 3)

    def test_links(self) -> None:
        """Links are told by user, by cap, and all but one's."""
        links = {name: link() for name in ("alice", "bob")}
        self.table.attach(user("alice", home=OWN, caps=("presence",)), links["alice"])
        self.table.attach(user("bob", home=OWN), links["bob"])
        self.assertEqual(self.table.presence_links(), [links["alice"]])
        self.assertEqual(self.table.local_links(but=key("alice").id), [links["bob"]])
        self.assertEqual(set(self.table.local_by_id()), {key("alice").id, key("bob").id})

    def test_many_threads(self) -> None:
        """However many threads bring news at once, the table ends with what the newest attachments say."""
        threads = [
            threading.Thread(
                target=lambda home=home, start=start: [
                    self.table.advertise(user(home=home, ts=ts)) for ts in range(start, 600, 3)
                ]
            )
            for start, home in enumerate((OTHER, THIRD, OTHER), start=1)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        known = self.table.user(self.alice)
        assert known is not None
        self.assertEqual(known.attach.ts, 599)
        self.assertEqual(self.table.user_locations[self.alice], known.home)


class ServersTest(unittest.TestCase):
    """Links to servers."""

    def test_newest_link(self) -> None:
        """A new link replaces the older one, whose end then means nothing."""
        table, first, second = RoutingTable(OWN), link(), link()
        self.assertIsNone(table.add_server(OTHER, first))
        self.assertIs(table.add_server(OTHER, second), first)
        self.assertFalse(table.drop_server(OTHER, first))
        self.assertIs(table.server_link(OTHER), second)
        self.assertTrue(table.drop_server(OTHER, second))
        self.assertEqual(table.server_links(), {})

    def test_addresses(self) -> None:
        """Where a server is reached is known by its id."""
        table = RoutingTable(OWN)
        table.set_address(OTHER, Address("h", 1))
        self.assertEqual(table.server_addrs, {OTHER: Address("h", 1)})


class SeenCacheTest(unittest.TestCase):
    """Gossip that was seen."""

    def test_once(self) -> None:
        """A frame is new once; asking alone does not make it known."""
        cache = SeenCache(10, 60)
        key_ = SeenCache.key(1, OWN, "*", {"a": 1})
        self.assertFalse(cache.has(key_))
        self.assertTrue(cache.add(key_))
        self.assertTrue(cache.has(key_))
        self.assertFalse(cache.add(key_))

    def test_keys(self) -> None:
        """Each of the time, the ends and the payload makes another frame; the order of keys does not."""
        base = SeenCache.key(1, OWN, "*", {"a": 1, "b": 2})
        self.assertEqual(base, SeenCache.key(1, OWN, "*", {"b": 2, "a": 1}))
        others = {
            SeenCache.key(2, OWN, "*", {"a": 1, "b": 2}),
            SeenCache.key(1, OTHER, "*", {"a": 1, "b": 2}),
            SeenCache.key(1, OWN, OTHER, {"a": 1, "b": 2}),
            SeenCache.key(1, OWN, "*", {"a": 1, "b": 3}),
        }
        self.assertEqual(len(others - {base}), 4)

    def test_bounded(self) -> None:
        """The oldest are forgotten first, by number and by time."""
        cache = SeenCache(2, 60)
        for name in (b"1", b"2", b"3"):
            cache.add(name)
        self.assertEqual([cache.has(name) for name in (b"1", b"2", b"3")], [False, True, True])
        old = SeenCache(10, 0)
        old.add(b"1")
        self.assertFalse(old.has(b"1"))
        self.assertTrue(old.add(b"1"))


class ChangeTest(unittest.TestCase):
    """What changes say."""

    def test_sum(self) -> None:
        """Losing a server takes all its users away in one change."""
        table = RoutingTable(OWN)
        for name in ("alice", "bob"):
            table.advertise(user(name))
        self.assertEqual(set(table.lose_server(OTHER).left), {key("alice").id, key("bob").id})
        self.assertEqual(replace(Change(), left=("x",)).left, ("x",))
