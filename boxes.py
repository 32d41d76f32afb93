"""One user's mail as a server keeps count of it in memory: entries, who holds each, and which go out next.

Nothing here locks: a box belongs to the Mailboxes, whose lock is held whenever one is looked at or changed.
"""

from __future__ import annotations

import enum
import heapq
from collections import Counter
from dataclasses import dataclass

from answers import Answer
from link import Link
from mail import Key, Mail


class OnDisk(enum.Enum):
    """Whether a message would survive a crash."""

    NO = enum.auto()
    WRITING = enum.auto()
    YES = enum.auto()


@dataclass(eq=False, slots=True)
class Entry:
    """One message in the index.

    Attributes:
        seq: its place in the order of arrival.
        size: the bytes that count against limits.
        on_disk: whether it is stored.
        stored_at: Unix ms; what its age counts from.
        holder: the link that it was handed to and has not been confirmed from.
        mail: what is in it, while it is not on disk.
        answers: who is to be told what becomes of it.
    """

    seq: int
    recipient: str
    key: Key
    size: int
    on_disk: OnDisk
    stored_at: int
    holder: Link | None = None
    mail: Mail | None = None
    answers: tuple[Answer, ...] = ()

    @property
    def sender(self) -> str:
        """The id of the user who sent it."""
        return self.key[0]

    @property
    def msg_ref(self) -> str:
        """What it is called in ACK and ERROR."""
        return self.key[1]

    def tell(self, answer: Answer) -> None:
        """Have one more told what becomes of it; of several for the same, the last."""
        self.answers = (*(other for other in self.answers if other.to != answer.to), answer)


class Box:
    """One user's mail.

    Attributes:
        link: the user's, while it is here.
        pump: stands for the thread that hands out what waits, while there is one.
        entries: by sender and msg_ref.
        stored, stored_bytes: of what is on disk or being written.
        kept, kept_bytes: of what is in memory alone.
    """

    def __init__(self) -> None:
        self.link: Link | None = None
        self.pump: object | None = None
        self.entries: dict[Key, Entry] = {}
        self.stored = self.stored_bytes = 0
        self.kept = self.kept_bytes = 0
        self._of_one: Counter[str] = Counter()  # stored, by sender …
        self._of_one_bytes: Counter[str] = Counter()  # … and what is in them
        # How many messages each link holds, and how many wait (None). Asked for with each new message, so no Counter,
        # which is Python where a dict is not.
        self._held_by: dict[Link | None, int] = {}

    def of_one(self, sender: str) -> tuple[int, int]:
        """Return how many messages of one sender are stored, and their bytes."""
        return self._of_one[sender], self._of_one_bytes[sender]

    def add(self, entry: Entry) -> None:
        """Put in a message."""
        self.entries[entry.key] = entry
        self._count(entry, 1)
        self._count_holder(entry, 1)

    def remove(self, entry: Entry) -> None:
        """Take out a message."""
        del self.entries[entry.key]
        self._count(entry, -1)
        self._count_holder(entry, -1)

    def give(self, entry: Entry, holder: Link | None) -> None:
        """Put a message in it into somebody's hands, or in nobody's, where it waits. Nothing else sets a holder."""
        self._count_holder(entry, -1)
        entry.holder = holder
        self._count_holder(entry, 1)

    def move(self, entry: Entry, on_disk: OnDisk) -> None:
        """Note that a message in it has come to be on the disk or not."""
        self._count(entry, -1)
        entry.on_disk = on_disk
        self._count(entry, 1)

    def _count(self, entry: Entry, sign: int) -> None:
        if entry.on_disk is OnDisk.NO:
            self.kept += sign
            self.kept_bytes += sign * entry.size
            return
        self.stored += sign
        self.stored_bytes += sign * entry.size
        for counter, number in ((self._of_one, 1), (self._of_one_bytes, entry.size)):
            counter[entry.sender] += sign * number
            if not counter[entry.sender]:
                del counter[entry.sender]

    def _count_holder(self, entry: Entry, sign: int) -> None:
        count = self._held_by.get(entry.holder, 0) + sign
        if count:
            self._held_by[entry.holder] = count
        else:
            del self._held_by[entry.holder]  # a link that has ended is not to be kept

    def held(self) -> list[Entry]:
        """Return what the user's link holds."""
        if not self.held_count():
            return []
        return [entry for entry in self.entries.values() if entry.holder is self.link]

    def held_count(self) -> int:
        """Return how many messages the user's link holds."""
        return self._held_by.get(self.link, 0) if self.link is not None else 0

    def waits(self) -> bool:
        """Tell whether anything is in nobody's hands."""
        return None in self._held_by

    def next_waiting(self, most: int) -> list[Entry]:
        """Return the oldest that can be handed out: nothing overtakes what is not committed yet."""
        if not most or not self.waits():
            return []
        waiting = (entry for entry in self.entries.values() if entry.holder is None)
        oldest = heapq.nsmallest(most, waiting, key=order)
        for count, entry in enumerate(oldest):
            if entry.on_disk is not OnDisk.YES:
                return oldest[:count]
        return oldest


def order(entry: Entry) -> int:
    """Return what messages are sorted by: as they came."""
    return entry.seq
