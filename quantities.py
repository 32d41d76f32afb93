"""Numbers, sizes and times as people write them."""

from __future__ import annotations

import enum
import re

_SIZE = re.compile(r"([0-9]{1,12})([kMG]?)", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,3})?", re.ASCII)
_FACTORS = {"": 1, "k": 1024, "M": 1024**2, "G": 1024**3}


class Unit(enum.Enum):
    """What the value of a flag counts."""

    COUNT = "N"
    SIZE = "BYTES"
    TIME = "SECONDS"


def read_value(unit: Unit, text: str) -> float | None:
    """Return the value that a text stands for, if it is one."""
    if unit is Unit.TIME:
        return float(text) if _SECONDS.fullmatch(text) else None
    match = _SIZE.fullmatch(text)
    if match is None or (unit is Unit.COUNT and match[2]):
        return None
    return int(match[1]) * _FACTORS[match[2]]


def written(unit: Unit, value: float) -> str:
    """Return a value as a flag takes it."""
    if unit is Unit.SIZE and value:
        for letter in "GMk":
            if value % _FACTORS[letter] == 0:
                return f"{value // _FACTORS[letter]:.0f}{letter}"
    return f"{value:g}" if unit is Unit.TIME else f"{value:.0f}"
