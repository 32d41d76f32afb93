"""Functions that are told of events."""

from __future__ import annotations

import unittest

from events import Event, Notice
from subscribers import Subscribers


class SubscribersTest(unittest.TestCase):
    """Who is told, and who is not any more."""

    def setUp(self) -> None:
        """Have nobody there yet; `told` has who was told of what."""
        self.subscribers = Subscribers()
        self.told: list[tuple[str, Event]] = []

    def test_while_they_want_to_be(self) -> None:
        """Each is told of what happens between its beginning and its end, in the order in which they came."""
        events = [Notice(text) for text in "abcd"]
        self.subscribers.tell(events[0])
        end_first = self.subscribers.add(lambda event: self.told.append(("first", event)))
        self.subscribers.add(lambda event: self.told.append(("second", event)))
        self.subscribers.tell(events[1])
        end_first()
        self.subscribers.tell(events[2])
        end_first()
        self.subscribers.tell(events[3])
        told = [("first", events[1]), ("second", events[1]), ("second", events[2]), ("second", events[3])]
        self.assertEqual(self.told, told)

    def test_while_they_are_told(self) -> None:
        """One that ends, and one that is added, while all are told are no trouble: who was there is told."""

        def change(event: Event) -> None:
            self.told.append(("changes", event))
            end()
            self.subscribers.add(lambda event: self.told.append(("new", event)))

        end = self.subscribers.add(change)
        self.subscribers.add(lambda event: self.told.append(("last", event)))
        first, second = Notice("first"), Notice("second")
        self.subscribers.tell(first)
        self.subscribers.tell(second)
        self.assertEqual(self.told, [("changes", first), ("last", first), ("last", second), ("new", second)])
