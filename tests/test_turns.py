"""Whose file is taken, and whose turn is next."""

from __future__ import annotations

import unittest
from dataclasses import dataclass

from settings import Limits
from turns import NoPlace, who_makes_room, whose_turn

LIMITS = Limits(transfers=4, transfers_running_of_one=2, transfers_waiting=6, transfers_of_one=5)


@dataclass
class Held:
    """A place that somebody holds."""

    sender: str
    started: bool = False
    asked: bool = False
    promised: bool = False


def places(senders: str, started: str = "") -> list[Held]:
    """Return places of senders of one letter each, of which the first few have started."""
    return [Held(sender, number < len(started)) for number, sender in enumerate(started + senders)]


class RoomTest(unittest.TestCase):
    """Ten places, of which one sender may have five."""

    def test_room(self) -> None:
        """While there is room, nobody has to make it."""
        self.assertIsNone(who_makes_room([], Held("a"), LIMITS))
        self.assertIsNone(who_makes_room(places("aaaabbbbb"), Held("a"), LIMITS))

    def test_too_many_of_one(self) -> None:
        """A sender gets no more than it may have, however much room there is."""
        self.assertRaises(NoPlace, who_makes_room, places("aaaaa"), Held("a"), LIMITS)

    def test_makes_room(self) -> None:
        """When all is taken, the newest that waits of whoever has most gives way to who has less."""
        taken = places("aabbb", "aabbc")
        for sender in "dc":
            self.assertIs(who_makes_room(taken, Held(sender), LIMITS), taken[-1])

    def test_running_stays(self) -> None:
        """What is under way is interrupted for nobody."""
        taken = places("bbbccc", "aabb")
        self.assertIs(who_makes_room(taken, Held("d"), LIMITS), taken[6])
        self.assertRaises(NoPlace, who_makes_room, places("cdefgh", "aabb"), Held("i"), LIMITS)

    def test_no_less(self) -> None:
        """Who would then have as much as the other gets nothing: else two senders would push each other out."""
        self.assertRaises(NoPlace, who_makes_room, places("aaaaabbbbc"), Held("b"), LIMITS)
        self.assertRaises(NoPlace, who_makes_room, places("abcdefghij"), Held("k"), LIMITS)
        self.assertRaises(NoPlace, who_makes_room, places("aabbccddee"), Held("e"), LIMITS)

    def test_asked(self) -> None:
        """A question to a person makes room for any file that is taken, and pushes out nothing but other questions."""
        taken = places("ccddee", "aabb")
        self.assertRaises(NoPlace, who_makes_room, taken, Held("f", asked=True), LIMITS)
        for number in (4, 6, 7):
            taken[number].asked = True
        self.assertIs(who_makes_room(taken, Held("f", asked=True), LIMITS), taken[7])
        self.assertIs(who_makes_room(taken, Held("d"), LIMITS), taken[7])
        taken[6].asked = taken[7].asked = False
        self.assertIs(who_makes_room(taken, Held("e"), LIMITS), taken[4])

    def test_promised(self) -> None:
        """What a person has taken keeps its place, whoever comes."""
        taken = places("ccddee", "aabb")
        for place in taken[5:]:
            place.promised = True
        self.assertIs(who_makes_room(taken, Held("f"), LIMITS), taken[4])
        taken[4].promised = True
        self.assertRaises(NoPlace, who_makes_room, taken, Held("f"), LIMITS)


class TurnTest(unittest.TestCase):
    """Four at a time, of which one sender may have two."""

    def test_turn(self) -> None:
        """The oldest is next of those whose senders have the fewest under way."""
        for senders, started, expected in (
            ("", "", None),
            ("ab", "", 0),
            ("ab", "a", 2),
            ("aac", "a", 3),
            ("aaa", "aa", None),
            ("aaab", "aa", 5),
            ("bc", "aab", 4),
            ("cd", "aabb", None),
        ):
            with self.subTest(senders=senders, started=started):
                held = places(senders, started)
                self.assertIs(whose_turn(held, LIMITS), held[expected] if expected is not None else None)

    def test_asked(self) -> None:
        """A file that a person is asked about waits for that, and holds up nobody."""
        held = places("ab")
        held[0].asked = True
        self.assertIs(whose_turn(held, LIMITS), held[1])
