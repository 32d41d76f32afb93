"""Frames that a reader passes on, gathered while there is more to read: what goes to one link goes out in one call.

A reader that takes many frames out of one read would else make a call to the system for each of them, and a hundred
for each broadcast to a hundred users. It gathers for a moment at most, for no longer than it has frames at hand,
and not while it is busy with a long one: nothing is held back for what may come.

What goes to one link waits in the link's queue. What goes to many waits here, once for all of them, and is joined once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

# Seconds. Looked at after each frame: what waits for others to be signed waits for a few of them at most.
_MOMENT = 0.01
# Bytes that wait for many links: what one read holds, and the rest of a frame.
_COMMON_MOST = 256 * 1024


class Outlet(Protocol):
    """A link, as far as this knows one."""

    def flush(self) -> None:
        """Send what was gathered; never blocks."""

    def send_joined(self, joined: bytes, frames: Sequence[bytes]) -> None:
        """Send frames, given joined as well; those that there is no room for are dropped. Never blocks."""


class Gathering:
    """What one thread has gathered, as a context: within it, links let wait what this thread sends, until `flush`."""

    def __init__(self) -> None:
        self._links: dict[Outlet, None] = {}  # at which something waits
        self._common: list[bytes] = []  # frames that go to each of …
        self._common_bytes = 0
        self._hearers: Sequence[Outlet] = ()  # … these
        self._hearing: frozenset[Outlet] = frozenset()  # the same, while there are any such frames
        self._began = 0.0

    def __enter__(self) -> Gathering:
        _of_thread.gathering = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _of_thread.gathering = None
        self.flush()

    def add(self, link: Outlet) -> None:
        """Note that something waits at a link until `flush`."""
        if not (self._links or self._common):
            self._began = time.monotonic()
        self._links[link] = None

    def add_common(self, hearers: Sequence[Outlet], frame: bytes) -> None:
        """Have a frame sent to many links. None of their locks may be held."""
        if self._common and (hearers != self._hearers or self._common_bytes >= _COMMON_MOST):
            self._flush_common()
        if not self._common:
            self._hearers, self._hearing = hearers, frozenset(hearers)
            if not self._links:
                self._began = time.monotonic()
        self._common.append(frame)
        self._common_bytes += len(frame)

    def make_way(self, link: Outlet) -> None:
        """Send first what went to many links, if this one, which something else is to go to now, is among them."""
        if link in self._hearing:
            self._flush_common()

    def flush(self) -> None:
        """Have all that was gathered sent. No link's lock may be held."""
        self._flush_common()
        while self._links:
            self._links.popitem()[0].flush()

    def _flush_common(self) -> None:
        frames, hearers = self._common, self._hearers
        if not frames:
            return
        self._common, self._common_bytes, self._hearers, self._hearing = [], 0, (), frozenset()
        joined = frames[0] if len(frames) == 1 else b"".join(frames)
        for link in hearers:
            link.send_joined(joined, frames)

    def flush_if_due(self) -> None:
        """The same, if the first of it has waited for a moment."""
        if (self._links or self._common) and time.monotonic() - self._began > _MOMENT:
            self.flush()


class _OfThread(threading.local):
    gathering: Gathering | None = None


_of_thread = _OfThread()


def current() -> Gathering | None:
    """Return what this thread gathers in, if it does."""
    return _of_thread.gathering


def send_to_all(links: Sequence[Outlet], frame: bytes) -> None:
    """Send a frame to those of many links that have room for it, now or when this thread flushes."""
    if _of_thread.gathering is not None:
        _of_thread.gathering.add_common(links, frame)
    else:
        for link in links:
            link.send_joined(frame, (frame,))


def make_way(link: Outlet) -> None:
    """Send what this thread has gathered for many links, if this one is among them."""
    if _of_thread.gathering is not None:
        _of_thread.gathering.make_way(link)


def flush_own() -> None:
    """Send what this thread has gathered, before it waits for anything."""
    if _of_thread.gathering is not None:
        _of_thread.gathering.flush()
