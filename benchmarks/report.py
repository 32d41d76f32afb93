"""What was measured, one row each, with its ratio to what bounds it; as a table for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        scenario: the name it is run by.
        what: what was measured.
        value: the figure itself, in `unit`.
        ratio: the value divided by what it is compared to, or the value itself where the target is of the same unit.
        to: what it is compared to; empty for nothing.
        target: what the ratio should reach; None where there is nothing to reach.
        at_most: whether the target is an upper bound; else it is a lower one.
    """

    scenario: str
    what: str
    value: float
    unit: str
    ratio: float | None = None
    to: str = ""
    target: float | None = None
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        if self.target is None or self.ratio is None:
            return None
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target


_HEADINGS = ("scenario", "what", "value", "ratio", "to", "target", "met")
_TEXT_COLUMNS = (0, 1, 4, 6)


def _figure(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.3f}"


def _cells(row: Row) -> tuple[str, ...]:
    sign = "≤" if row.at_most else "≥"
    return (
        row.scenario,
        row.what,
        f"{_figure(row.value)} {row.unit}",
        "" if row.ratio is None else f"{row.ratio:.2f}",
        row.to,
        "" if row.target is None else f"{sign} {row.target:g}",
        {True: "yes", False: "NO", None: ""}[row.met],
    )


def table(rows: Iterable[Row]) -> str:
    """Return rows as a table of Markdown, which reads well as it is."""
    cells: Sequence[tuple[str, ...]] = [_HEADINGS, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    lines = [
        "| "
        + " | ".join(
            text.ljust(width) if column in _TEXT_COLUMNS else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in cells
    ]
    rules = [
        "-" * (width + 2) if column in _TEXT_COLUMNS else "-" * (width + 1) + ":" for column, width in enumerate(widths)
    ]
    return "\n".join([lines[0], "|" + "|".join(rules) + "|", *lines[1:]])


def write_json(path: Path, rows: Iterable[Row], about: dict[str, object]) -> None:
    """Write rows to a file, with what is to be known about the run."""
    entries = [{**asdict(row), "met": row.met} for row in rows]
    path.write_text(json.dumps({**about, "rows": entries}, indent=1, ensure_ascii=False) + "\n", "utf-8")
