"""Frames that a reader passes on, gathered while there is more to read: what goes to one link goes out in one call.

A reader that takes many frames out of one read would else make a call to the system for each of them, and a hundred
for each broadcast to a hundred users. It gathers for a moment at most, for no longer than it has frames at hand,
and not while it is busy with a long one: nothing is held back for what may come.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Protocol

# Seconds. Looked at after each frame: what waits for others to be signed waits for a few of them at most.
_MOMENT = 0.01


class Outlet(Protocol):
    """A link, as far as this knows one."""

    def flush(self) -> None:
        """Send what was gathered; never blocks."""


class Gathering:
    """What one thread has gathered, as a context: within it, links let wait what this thread sends, until `flush`."""

    def __init__(self) -> None:
        self._links: dict[Outlet, None] = {}
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
        if not self._links:
            self._began = time.monotonic()
        self._links[link] = None

    def flush(self) -> None:
        """Have all that was gathered sent. No link's lock may be held."""
        while self._links:
            self._links.popitem()[0].flush()

    def flush_if_due(self) -> None:
        """The same, if the first of it has waited for a moment."""
        if self._links and time.monotonic() - self._began > _MOMENT:
            self.flush()


class _OfThread(threading.local):
    gathering: Gathering | None = None


_of_thread = _OfThread()


def current() -> Gathering | None:
    """Return what this thread gathers in, if it does."""
    return _of_thread.gathering


def flush_own() -> None:
    """Send what this thread has gathered, before it waits for anything."""
    if _of_thread.gathering is not None:
        _of_thread.gathering.flush()
