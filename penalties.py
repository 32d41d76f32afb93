"""Addresses whose handshakes fail again and again are refused for some time (PROTOCOL.md section 14).

Each failure adds seconds to its address, and each second takes one away. Over `refuse_first` of them, the address is
refused for as long; the next time for twice as long, and so on, up to `refuse_most`. It begins anew once it has not
failed for that long.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from settings import Timers
from socp import (
    BAD_FRAME,
    BAD_TIMESTAMP,
    NAME_IN_USE,
    NOT_ALLOWED,
    SERVER_BUSY,
    TIMEOUT,
    TOO_LARGE,
)

log = logging.getLogger("socp.penalties")

# All that comes through a tunnel or a proxy on this machine shares these; and who is on this machine can do worse.
EXEMPT: Final = frozenset({"127.0.0.1", "::1"})

# What a failure is worth, as a share of `refuse_first` (in seconds, by the defaults).
_BROKE: Final = 1 / 3  # 5 s: no program of ours does it; whoever knocks at a wrong port once or twice may
_HUNG: Final = 1 / 5  # 3 s: it holds a place for the whole time; but honest networks hang too, one handshake at a time
_LEFT: Final = 1 / 15  # 1 s: a port that is probed each second, or a server refused again and again, stays below
_NOTHING: Final = 0.0

# Before the peer has proved who it is. Every other code is a rule that was broken.
_OF_STRANGER: Final[Mapping[str, float]] = {
    TIMEOUT: _HUNG,
    NOT_ALLOWED: _LEFT,  # the wrong kind of acceptor, or a membership that has run out: they come back with back-off
    BAD_TIMESTAMP: _NOTHING,  # a clock that is off, or two attachments at once: its signature was good
    SERVER_BUSY: _NOTHING,  # our fault
    NAME_IN_USE: _NOTHING,
}
# And after. Silence is no fault: networks fail. What else errs in a link that is up does not end it.
_OF_KNOWN: Final[Mapping[str, float]] = {BAD_FRAME: _BROKE, TOO_LARGE: _BROKE}


def worth(code: str | None, *, proved: bool) -> float:
    """Return what a failure is worth, as a share of `refuse_first`.

    Args:
        code: of the error that ended the link; None if it ended without one.
        proved: whether the peer had proved who it is by then.
    """
    if proved:
        return _OF_KNOWN.get(code, _NOTHING) if code is not None else _NOTHING
    return _LEFT if code is None else _OF_STRANGER.get(code, _BROKE)


class _Record:
    """What is remembered of one address.

    Attributes:
        score: seconds, as of `since`.
        until: when its refusal ends.
        rounds: how often it was refused.
        turned_away: how many connections were refused since that was said last.
        end: when all this may be forgotten.
    """

    __slots__ = ("end", "rounds", "score", "since", "turned_away", "until")

    def __init__(self, now: float) -> None:
        self.score = 0.0
        self.since = self.until = self.end = now
        self.rounds = self.turned_away = 0


class Penalties:
    """The addresses that have failed.

    Args:
        timers: see settings.
        most: how many addresses are remembered; beyond, the one that would be forgotten first is.
        now: the clock, in seconds.
    """

    def __init__(self, timers: Timers, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self._first = timers.refuse_first
        self._most_seconds = timers.refuse_most
        self._most = most
        self._now = now
        self._lock = threading.Lock()  # guards the two below
        self._records: dict[str, _Record] = {}
        # One entry for each record, by an end that it had: ends only move away, which is seen when its turn has come.
        self._ends: list[tuple[float, str]] = []

    def refuses(self, source: str) -> bool:
        """Tell whether a connection of this address is to be closed without a word, and count it if so."""
        with self._lock:
            record = self._records.get(source)
            if record is None or record.until <= self._now():
                return False
            record.turned_away += 1
            return True

    def note(self, source: str, share: float) -> None:
        """Note a failure.

        Args:
            source: the address, as addresses.source_of has it.
            share: what it is worth; see `worth`.
        """
        if share <= 0 or source in EXEMPT:
            return
        with self._lock:
            now = self._now()
            record = self._record(source, now)
            record.score = max(0.0, record.score - (now - record.since)) + share * self._first
            record.since = now
            seconds, turned_away, rounds = 0.0, record.turned_away, record.rounds
            if record.score > self._first * (1 + 1e-9) and record.until <= now:
                seconds = min(self._first * 2.0**rounds, self._most_seconds)
                record.until = now + seconds
                record.score = 0.0
                record.rounds = min(rounds + 1, 64)
                record.turned_away = 0
            # A refusal leaves its mark for longer than what is left of the score.
            record.end = max(record.until + self._most_seconds if record.rounds else 0.0, now + record.score)
        if seconds:
            # The one line of this refusal, however many connections it meets: the next one tells how many.
            log.warning(
                "%s is refused for %.0f s after repeated failures (refusal %d; %d connections met the last one)",
                source,
                seconds,
                rounds + 1,
                turned_away,
            )

    def _record(self, source: str, now: float) -> _Record:
        """Return the record of an address, made if there is none, with room made for it. `_lock` is held."""
        self._forget(lambda end: end <= now)
        record = self._records.get(source)
        if record is None:
            if len(self._records) >= self._most:
                self._forget(lambda _: len(self._records) >= self._most)
            record = self._records[source] = _Record(now)
            heapq.heappush(self._ends, (now, source))
        return record

    def _forget(self, which: Callable[[float], bool]) -> None:
        """Forget records, the one that ends first first, while `which` says so of its end. `_lock` is held."""
        while self._ends and which(self._ends[0][0]):
            noted, source = self._ends[0]
            end = self._records[source].end
            if end > noted:
                heapq.heapreplace(self._ends, (end, source))
            else:
                heapq.heappop(self._ends)
                del self._records[source]

    def __len__(self) -> int:
        """Return how many addresses are remembered."""
        with self._lock:
            return len(self._records)
