"""Which files have been received, or have failed to be: what is asked before one is taken (PROTOCOL.md section 10)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Protocol


class FinishedTransfers(Protocol):
    """Remembers, for 8 days and longer than the program runs, how incoming transfers ended."""

    def get(self, sender: str, file_id: str) -> tuple[str, str] | None:
        """Return the final status of a transfer and the SHA-256 of its manifest; None if it is not known.

        Raises:
            NotRemembered: it cannot be read.
        """

    def add(self, sender: str, file_id: str, status: str, sha256: str) -> None:
        """Remember how a transfer ended; it is on the disk when this returns.

        Raises:
            NotRemembered: it is not.
        """


class RecentTransfers:
    """The same for as long as the program runs.

    Args:
        most: how many are remembered; the oldest is forgotten first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()  # guards _ended
        self._ended: OrderedDict[tuple[str, str], tuple[str, str]] = OrderedDict()

    def get(self, sender: str, file_id: str) -> tuple[str, str] | None:
        """See FinishedTransfers.get; raises nothing."""
        with self._lock:
            return self._ended.get((sender, file_id))

    def add(self, sender: str, file_id: str, status: str, sha256: str) -> None:
        """See FinishedTransfers.add; raises nothing."""
        with self._lock:
            self._ended[sender, file_id] = (status, sha256)
            if len(self._ended) > self._most:
                self._ended.popitem(last=False)
