"""How many users that nobody knew an address brings in an hour (PROTOCOL.md section 14).

Keys cost nothing, and each new one takes a row of what a server remembers. Who is known always gets in.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from penalties import EXEMPT

_HOUR = 3600.0


class Newcomers:
    """The addresses that have brought newcomers, each with how many, in the hour since its first.

    Args:
        most: how many newcomers of one address are taken in.
        addresses: how many addresses are remembered. Whoever has more than that can have the oldest forgotten, and
            begin anew with it: no more than what another address would give him.
        clock: seconds, monotonic.
    """

    def __init__(self, most: int, addresses: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._addresses = addresses
        self._clock = clock
        self._lock = threading.Lock()  # guards _counts
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()  # the hour that began first comes first

    def admit(self, source: str) -> bool:
        """Count a newcomer; False when it is one too many.

        Args:
            source: its address, as addresses.source_of has it.
        """
        if source in EXEMPT:
            return True
        with self._lock:
            now = self._clock()
            while self._counts and now - next(iter(self._counts.values()))[0] >= _HOUR:
                self._counts.popitem(last=False)
            began, count = self._counts.get(source, (now, 0))
            if count >= self._most:
                return False
            self._counts[source] = (began, count + 1)
            if len(self._counts) > self._addresses:
                self._counts.popitem(last=False)
            return True
