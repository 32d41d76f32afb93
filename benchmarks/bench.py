"""What every scenario is given: how large to be, how often to repeat, and what is measured beside it."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import benchmarks.rsa
from benchmarks.frames import Frames
from benchmarks.report import Row
from benchmarks.rsa import Rate


@dataclass
class Bench:
    """One run of `make bench`.

    Attributes:
        directory: for files, gone after the run.
        quick: whether sizes are small, to see that everything works, and the figures mean little.
        repetitions: of which the median counts.
        beside: seconds for which each operation of RSA is measured beside a repetition.
        pictures: where pictures are written.
        frames: what load is made of, kept for the next repetition.
    """

    directory: Path
    quick: bool = False
    repetitions: int = 5
    beside: float = 0.5
    pictures: Path = field(default_factory=lambda: Path(__file__).parent)
    frames: Frames = field(init=False)

    def __post_init__(self) -> None:
        self.frames = Frames(self.directory)

    def size(self, full: int, quick: int) -> int:
        """Return how large to be."""
        return quick if self.quick else full

    def rsa(self, name: str) -> Rate:
        """Measure an operation of RSA on all cores, now."""
        return benchmarks.rsa.ceiling(name, self.beside)

    def say(self, text: str) -> None:
        """Tell a person what is going on."""
        print(text, file=sys.stderr, flush=True)

    def median(self, measure: Callable[[], Sequence[Row]]) -> list[Row]:
        """Repeat a measurement, and return each of its rows with the medians of value and ratio.

        The ratio is that of one repetition, whose RSA was measured beside it, before its median is taken.
        """
        runs = []
        for number in range(self.repetitions):
            runs.append(list(measure()))
            self.say(f"  {number + 1} of {self.repetitions}: " + "; ".join(map(_short, runs[-1])))
        return [median_row([run[place] for run in runs]) for place in range(len(runs[0]))]


def median_row(rows: Sequence[Row]) -> Row:
    """Return the median of rows that tell the same of several repetitions."""
    first = rows[0]
    ratios = [row.ratio for row in rows if row.ratio is not None]
    return Row(
        first.scenario,
        first.what,
        statistics.median(row.value for row in rows),
        first.unit,
        statistics.median(ratios) if ratios else None,
        first.to,
        first.target,
        first.at_most,
    )


def _short(row: Row) -> str:
    ratio = "" if row.ratio is None else f" ({row.ratio:.2f})"
    return f"{row.what} {row.value:.4g} {row.unit}{ratio}"
