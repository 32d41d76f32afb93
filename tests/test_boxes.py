"""A user's mail as it is counted in memory."""

from __future__ import annotations

import random
import unittest

from boxes import Box, Entry, OnDisk
from tests.mails import ALICE, BOB, make_link


class BoxTest(unittest.TestCase):
    """What a box knows without looking at each message."""

    def test_counts(self) -> None:
        """Whatever becomes of messages, how many wait and how many the user's link holds is what a recount finds."""
        links = [make_link(), make_link()]
        chance = random.Random(3)
        box = Box()
        box.link = links[0]
        seen = set()
        for step in range(300):
            if not box.entries or chance.random() < 0.3:
                on_disk, holder = chance.choice(list(OnDisk)), chance.choice([None, *links])
                box.add(Entry(step, ALICE, (BOB, str(step)), 1, on_disk, step, holder))
            entry = chance.choice(list(box.entries.values()))
            match chance.randrange(3):
                case 0:
                    box.remove(entry)
                case 1:
                    box.move(entry, chance.choice(list(OnDisk)))
                case _:
                    box.give(entry, chance.choice([None, *links]))
            if chance.random() < 0.1:
                box.link = chance.choice([None, *links])
            entries = box.entries.values()
            held = [entry for entry in entries if box.link is not None and entry.holder is box.link]
            waiting = sum(entry.holder is None for entry in entries)
            self.assertEqual((box.waits(), box.held_count(), box.held()), (waiting > 0, len(held), held))
            seen.add((box.waits(), bool(held)))
        self.assertEqual(len(seen), 4)  # nothing was compared with nothing alone
