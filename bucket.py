"""A token bucket: how often something may be done, with a few times at once for whoever did not for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Bucket:
    """So many tokens at most, and so many new ones in a second.

    Args:
        most: tokens that it holds, and has at first.
        per_second: new ones.
        clock: seconds, monotonic.
    """

    def __init__(self, most: int, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._per_second = per_second
        self._clock = clock
        self._lock = threading.Lock()  # guards the two below
        self._tokens = float(most)
        self._counted = clock()

    def take(self) -> bool:
        """Take a token; False when there is none."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._most, self._tokens + (now - self._counted) * self._per_second)
            self._counted = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
