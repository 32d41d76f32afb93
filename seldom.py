"""Keeps the log small, whatever strangers do: of lines that say the same of others, so many a minute are written."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

LINES_MOST: Final = 200  # in a window, of one kind: a full disk is what an attacker would like to make of a log
WINDOW: Final = 60.0  # seconds
_KINDS_MOST: Final = 1_000  # there are some hundred; texts that were made before they were logged count as one each


class Seldom(logging.Filter):
    """Lets through so many lines of a kind in a window; errors, which are our own, all of them.

    Lines are of a kind when they were logged with the same format. The first of the next window tells how many are
    missing.

    Args:
        now: the clock, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._lock = threading.Lock()  # guards the two below
        self._began = now()
        self._counts: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line is to be written."""
        if record.levelno >= logging.ERROR:
            return True
        missing = 0
        with self._lock:
            if self._now() - self._began >= WINDOW:
                self._began = self._now()
                self._counts = {kind: LINES_MOST - count for kind, count in self._counts.items() if count > LINES_MOST}
            # What is below zero is what the last window is missing.
            count = self._counts.get(record.msg, 0)
            if count < 0:
                missing, count = -count, 0
            if record.msg in self._counts or len(self._counts) < _KINDS_MOST:
                self._counts[record.msg] = count + 1
            shown = count < LINES_MOST
        if missing:
            record.msg = f"{record.msg} (and %d more like this in the minute before)"
            record.args = (*_arguments(record), missing)
        return shown


def _arguments(record: logging.LogRecord) -> tuple[object, ...]:
    return record.args if isinstance(record.args, tuple) else (record.args,) if record.args else ()
