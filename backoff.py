"""The waits between attempts to connect (PROTOCOL.md section 6.1)."""

from __future__ import annotations

import random


class Backoff:
    """Waits that double, and are never quite the same for two who failed together.

    Args:
        first: seconds, before the second attempt.
        most: seconds; no wait is longer, but for the spread of a fifth.
    """

    def __init__(self, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self._next = first

    def reset(self) -> None:
        """Begin again with the shortest wait, after a success."""
        self._next = self._first

    def next(self) -> float:
        """Return the seconds to wait now."""
        wait = self._next
        self._next = min(self._next * 2, self._most)
        return wait * random.uniform(0.8, 1.2)  # noqa: S311 - spread, not secrecy
