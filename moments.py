"""Moments, as people read them: in the time of the place where they are."""

from __future__ import annotations

import time


def day_and_time(moment: int) -> str:
    """Return a moment, Unix ms, as in `2026-11-25 14:05`."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment / 1_000))
