"""Which files a recipient takes, and whose turn is next, so that no sender takes all (PROTOCOL.md section 10).

Who only waits has cost nobody anything yet, and so makes room for a sender who has less; and what a person has yet to
be asked about, for what is taken. Who is being received from is not interrupted for anybody: so no sender gets all the
places there are for that. Nor does anybody get the place of a file that a person has taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol, TypeVar

from settings import Limits


class Place(Protocol):
    """A transfer that is under way, or waits."""

    @property
    def sender(self) -> str:
        """Return the id of its sender."""

    @property
    def started(self) -> bool:
        """Tell whether its turn has come."""

    @property
    def asked(self) -> bool:
        """Tell whether a person is asked about it, and has not answered."""

    @property
    def promised(self) -> bool:
        """Tell whether a person has taken it."""


P = TypeVar("P", bound=Place)


class NoPlace(Exception):
    """Raised when there is no place for one more file of a sender."""


def who_makes_room(places: Sequence[P], newcomer: Place, limits: Limits) -> P | None:
    """Return the transfer that has to give way to one more; None while there is room.

    Args:
        places: all transfers, the oldest first.
        newcomer: the one more, which has no place yet.

    Raises:
        NoPlace: none has to.
    """
    held = Counter(place.sender for place in places)
    its_own = held[newcomer.sender]
    if its_own >= limits.transfers_of_one:
        raise NoPlace
    if len(places) < limits.transfers + limits.transfers_waiting:
        return None
    # Of whoever holds the most; and what was offered last, so that what has waited long is not for nothing.
    asked = [place for place in reversed(places) if place.asked]
    waiting = [place for place in reversed(places) if not (place.started or place.promised)]
    if newcomer.asked:  # strangers can be many, and push out nobody but each other
        giving_way = [place for place in asked if held[place.sender] > its_own + 1]
    else:
        giving_way = asked or [place for place in waiting if held[place.sender] > its_own + 1]
    if not giving_way:
        raise NoPlace
    return max(giving_way, key=lambda place: held[place.sender])


def whose_turn(places: Sequence[P], limits: Limits) -> P | None:
    """Return the transfer that is to begin now, of a sender with as few under way as can be; None if none is.

    A person who has been asked about a file may take long: it is nobody's turn by that.
    """
    running = Counter(place.sender for place in places if place.started)
    if running.total() >= limits.transfers:
        return None
    waiting = [
        place
        for place in places
        if not (place.started or place.asked) and running[place.sender] < limits.transfers_running_of_one
    ]
    return min(waiting, key=lambda place: running[place.sender], default=None)
