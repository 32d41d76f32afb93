"""What the rest is compared with: RSA on this machine, and the asyncio relay."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks.bench import Bench
from benchmarks.direct import talk
from benchmarks.network import running_relay
from benchmarks.report import Row
from benchmarks.rsa import measure, operations
from workers import CORES

# A relay that cannot do as much would make what is compared with it look good.
_RELAY_LEAST = 40_000


def rsa(bench: Bench) -> list[Row]:
    """Measure what RSA-4096 takes, by one thread and by as many as there are cores."""
    return bench.median(partial(_rsa, bench.size(1, 0) or 0.05))


def _rsa(seconds: float) -> Sequence[Row]:
    rows = []
    for name, operation in operations().items():
        for threads in sorted({1, CORES}):
            rate = measure(operation, threads, seconds)
            by = "one thread" if threads == 1 else f"{threads} threads"
            rows.append(Row("rsa", f"{name}, {by}", rate.per_second, "/s"))
            rows.append(Row("rsa", f"{name}, {by}: CPU", rate.cpu * 1e6, "µs"))
    return rows


def relay(bench: Bench) -> list[Row]:
    """Measure the relay alone: eight senders and eight recipients, messages and receipts counted."""
    return bench.median(partial(_relay, bench, bench.size(1500, 20)))


def _relay(bench: Bench, each: int) -> Sequence[Row]:
    with running_relay() as network:
        cost = talk(bench, network, 8, each, relay=True)
    rate = 2 * cost.rate
    return (
        Row("relay", "frames, 8 to 8", rate, "/s", rate / _RELAY_LEAST, f"{_RELAY_LEAST:,} /s", 1.0),
        Row("relay", "CPU, a frame", cost.cpu / 2 * 1e6, "µs"),
    )
