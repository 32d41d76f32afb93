"""How many users a server knows, and whom it forgets."""

from __future__ import annotations

import unittest
import uuid
from dataclasses import replace
from typing import Any

from known import KnownUsers
from users import Attachment, User


def user(number: int, *, online: bool = False, ts: int | None = None) -> User:
    """Return a user; the greater its number, the later it attached."""
    attach = Attachment("n", number if ts is None else ts, "s")
    return User(str(uuid.UUID(int=number)), "home", "k", {}, (), attach, online=online)


class KnownUsersTest(unittest.TestCase):
    """At most four of them."""

    def setUp(self) -> None:
        """Know nobody, and have mail for nobody."""
        self.with_mail: set[str] = set()
        self.known = KnownUsers((), 4, self.with_mail.__contains__)

    def add(self, *users: User, ours: bool = True) -> list[int]:
        """Take in users as long as there is room, and return the numbers of those who are forgotten."""
        forgotten: list[int] = []
        for one in users:
            gone, room = self.known.make_room(ours=ours)
            forgotten += (uuid.UUID(user_id).int for user_id in gone)
            if room:
                self.known.put(one)
        return forgotten

    def numbers(self) -> list[int]:
        """Return the numbers of those who are known."""
        return sorted(uuid.UUID(one.user_id).int for one in self.known)

    def test_oldest_first(self) -> None:
        """Whoever attached longest ago is forgotten for a newcomer, and never more than must be."""
        self.assertEqual(self.add(*(user(number) for number in (5, 2, 9, 4))), [])
        self.assertEqual(self.add(user(1), user(7)), [2, 1])
        self.assertEqual(self.numbers(), [4, 5, 7, 9])

    def test_online(self) -> None:
        """Who is online is not forgotten; who has been back since counts by the new attachment."""
        self.add(user(1, online=True), user(2), user(3), user(4, online=True))
        self.known.put(user(2, online=True, ts=10))
        self.known.put(user(2, ts=10))
        self.assertEqual(self.add(user(5, online=True)), [3])
        self.assertEqual(self.add(user(6, online=True)), [2])
        self.assertEqual(self.add(user(7)), [])
        self.assertEqual(self.numbers(), [1, 4, 5, 6])

    def test_mail(self) -> None:
        """Who has mail here is not forgotten while it waits, and is again once it is gone."""
        self.add(*(user(number) for number in range(1, 5)))
        self.with_mail |= {user(1).user_id, user(2).user_id}
        self.assertEqual(self.add(user(5), user(6)), [3, 4])
        self.with_mail |= {user(5).user_id, user(6).user_id}
        self.assertEqual(self.add(user(7)), [])
        self.with_mail.clear()
        self.assertEqual(self.add(user(8)), [1])

    def test_too_many_from_before(self) -> None:
        """What is there from before may be more than may be known now: a newcomer sees it off."""
        self.known = KnownUsers([user(number) for number in range(1, 9)], 4, self.with_mail.__contains__)
        self.assertEqual(self.add(user(9)), [1, 2, 3, 4, 5])

    def test_of_others(self) -> None:
        """Users of other servers take no more than three quarters, but for the place of somebody who is away."""
        online = [user(number, online=True) for number in range(1, 10)]
        self.add(*online[:5], ours=False)
        self.assertEqual(self.numbers(), [1, 2, 3])
        self.add(*online[5:], ours=True)
        self.assertEqual(self.numbers(), [1, 2, 3, 6])
        self.known.put(user(2))
        self.assertEqual(self.add(online[3], ours=False), [2])
        self.assertEqual(self.numbers(), [1, 3, 4, 6])

    def test_search(self) -> None:
        """However many have mail, one newcomer's search ends soon, and the next one's goes on behind it."""
        looked: list[str] = []

        def keeps(user_id: str) -> bool:
            looked.append(user_id)
            return user_id != user(250).user_id

        self.known = KnownUsers([user(number) for number in range(1, 251)], 250, keeps)
        self.assertEqual([self.add(user(9999)) for _ in range(3)], [[], [], [250]])
        self.assertEqual(len(looked), len(set(looked)))

    def test_coming_and_going(self) -> None:
        """Users who come and go for ever leave no trail."""
        self.add(user(1))
        for ts in range(2, 5_000):
            self.known.put(replace(user(1, ts=ts), online=True))
            self.known.put(user(1, ts=ts))
        waiting: list[Any] = self.known._away
        self.assertLess(len(waiting), 1_100)
        self.assertEqual(self.numbers(), [1])
