"""What may wait to be sent on all links of a program together (PROTOCOL.md section 14)."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

log = logging.getLogger("socp.budget")


class Closable(Protocol):
    """A link, as far as this knows one."""

    name: str

    def abort(self) -> None:
        """Close it at once."""


class Budget:
    """The sum of what waits, and who has how much of it.

    Args:
        most: bytes; beyond, the link that has most is closed.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # Guards the two below. Links take it with their own lock held: nothing else is taken under it.
        self._lock = threading.Lock()
        self._waiting: dict[Closable, int] = {}
        self._sum = 0

    def note(self, link: Closable, size: int) -> None:
        """Note how many bytes wait at a link now."""
        with self._lock:
            self._sum += size - self._waiting.get(link, 0)
            if size:
                self._waiting[link] = size
            else:
                self._waiting.pop(link, None)

    @property
    def waiting(self) -> int:
        """How many bytes wait at all links."""
        with self._lock:
            return self._sum

    def keep(self) -> None:
        """Close the fullest link, if too much waits. No link's lock may be held: the one closed takes its own."""
        with self._lock:
            if self._sum <= self._most:
                return
            fullest = max(self._waiting, key=self._waiting.__getitem__)
            size = self._waiting[fullest]
        log.warning("%s: closed, since %d bytes wait there, and too many in all", fullest.name, size)
        fullest.abort()
