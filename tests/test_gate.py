"""Who may connect: places for handshakes and users, by address."""

from __future__ import annotations

import resource
import sys
import unittest
from dataclasses import replace
from unittest import mock

from gate import Gate, most_links
from link import Link
from settings import Limits, Settings
from socp import BAD_FRAME, SERVER_BUSY, SERVER_HELLO_LINK, USER_HELLO, LinkError

LIMITS = replace(Limits(), handshakes=8, handshakes_of_one=3, users=2)


class GateTest(unittest.TestCase):
    """A gate with few places; links are only counted."""

    def setUp(self) -> None:
        """Make it."""
        self.gate = Gate(Settings(limits=LIMITS))

    def come(self, source: str) -> mock.Mock | None:
        """Have a connection come from an address; None when it is turned away."""
        if not self.gate.admits(source):
            return None
        link = mock.Mock(spec=Link)
        link.name = source
        self.gate.enter(link, source)
        return link

    def come_all(self, *sources: str) -> list[mock.Mock]:
        """Have connections come that are all let in."""
        links = [self.come(source) for source in sources]
        self.assertNotIn(None, links)
        return [link for link in links if link is not None]

    def test_of_one_address(self) -> None:
        """One address has so many unfinished handshakes, and another once one of them is finished or gone."""
        links = self.come_all("a", "a", "a")
        self.assertIsNone(self.come("a"))
        self.come_all("b")
        self.gate.leave(links[0])
        self.gate.prove(links[1], SERVER_HELLO_LINK)
        self.come_all("a", "a")
        self.assertIsNone(self.come("a"))

    def test_oldest_of_most_gives_way(self) -> None:
        """When all places are taken, the oldest handshake of the address that has most makes room for another's."""
        links = self.come_all("a", "b", "b", "b", "c", "c", "c", "d")
        self.come_all("e")
        self.assertEqual([link.abort.called for link in links], [number == 1 for number in range(8)])
        self.come_all("f")  # c alone has three now
        self.assertEqual([number for number, link in enumerate(links) if link.abort.called], [1, 4])

    def test_nobody_gives_way_to_more(self) -> None:
        """Who has as many as anybody is turned away when all places are taken."""
        links = self.come_all("a", "a", "b", "b", "c", "c", "d", "d")
        self.assertIsNone(self.come("a"))
        self.come_all("e")
        self.assertTrue(links[0].abort.called)

    def test_many_addresses(self) -> None:
        """Idle connections from however many addresses keep nobody out."""
        idle = self.come_all(*(str(number) for number in range(8)))
        for number in range(100):
            honest = self.come_all(f"honest {number}")[0]
            idle += self.come_all(f"idle {number}")
            self.assertFalse(honest.abort.called)
            self.gate.prove(honest, SERVER_HELLO_LINK)

    def test_greeted(self) -> None:
        """Of those that have as many, who has said hello gives way last, so that bursts do not cut honest peers off."""
        links = self.come_all(*(str(number) for number in range(8)))
        for link in (links[0], links[2]):
            self.gate.greet(link)
        self.come_all(*(f"more {number}" for number in range(6)))
        self.assertEqual([number for number, link in enumerate(links) if not link.abort.called], [0, 2])
        for link in links[3:]:
            self.gate.greet(link)  # too late
        burst = self.come_all(*(f"burst {number}" for number in range(100)))
        self.assertFalse(links[0].abort.called)
        for link in burst[-6:]:
            self.gate.greet(link)
        self.come_all("last")
        self.assertTrue(links[0].abort.called)

    def test_users(self) -> None:
        """There are so many places for users, whose hellos are refused beyond; servers come in still."""
        users = self.come_all("a", "b", "c", "d")
        self.gate.check_room(USER_HELLO)
        for link in users[:2]:
            self.gate.prove(link, USER_HELLO)
        with self.assertRaisesRegex(LinkError, SERVER_BUSY):
            self.gate.check_room(USER_HELLO)
        with self.assertRaisesRegex(LinkError, SERVER_BUSY):
            self.gate.prove(users[2], USER_HELLO)
        self.gate.check_room(SERVER_HELLO_LINK)
        self.gate.prove(users[3], SERVER_HELLO_LINK)
        self.gate.leave(users[0])
        self.gate.leave(users[0])
        self.gate.check_room(USER_HELLO)

    def test_users_leave_descriptors(self) -> None:
        """Where there are few descriptors, there are fewer places for users: handshakes and servers need some too."""
        for descriptors, users in ((100, 84), (20, 10), (sys.maxsize, 200)):
            with mock.patch("gate.most_links", return_value=descriptors):
                self.gate = Gate(Settings(limits=replace(LIMITS, users=200)))
            for _ in range(users):
                self.gate.prove(self.come_all("a")[0], USER_HELLO)
            with self.assertRaisesRegex(LinkError, SERVER_BUSY):
                self.gate.prove(self.come_all("a")[0], USER_HELLO)

    def test_penalties(self) -> None:
        """An address that has failed often is turned away, unless there are no penalties."""
        for _ in range(4):
            self.gate.note_failure("a", BAD_FRAME, proved=False)
        self.assertIsNone(self.come("a"))
        self.come_all("b")
        self.gate = Gate(Settings(limits=LIMITS, penalties=False))
        for _ in range(4):
            self.gate.note_failure("a", BAD_FRAME, proved=False)
        self.come_all("a")


class DescriptorsTest(unittest.TestCase):
    """How many links there are descriptors for."""

    def test_reserve(self) -> None:
        """Links leave some descriptors to other things: of few a quarter; and no limit is none."""
        for soft, most in ((4096, 3968), (64, 48), (resource.RLIM_INFINITY, sys.maxsize)):
            with mock.patch("resource.getrlimit", return_value=(soft, soft)):
                self.assertEqual(most_links(), most)
