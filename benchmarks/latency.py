"""How long one direct message takes from one real client to another, until its sender has verified the receipt."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.keys import USERS
from benchmarks.network import running_servers
from benchmarks.person import running_people
from benchmarks.report import Row
from benchmarks.rsa import measure, operations

_NAME = "latency"
_MOST = 1.5
_WARM = 5  # messages before those that count


def _crypto(seconds: float) -> float:
    """Return what the RSA of one message takes, in turn: Seal, Open, and two signatures that are verified."""
    once = {name: 1 / measure(operation, 1, seconds).per_second for name, operation in operations().items()}
    return once["encrypt"] + once["decrypt"] + 2 * (once["sign"] + once["verify"])


def _measure(bench: Bench, messages: int) -> Sequence[Row]:
    crypto = _crypto(bench.beside)
    with running_servers(1) as network, tempfile.TemporaryDirectory(prefix="socp-bench-") as name:
        port = network.ports[0]
        with running_people(Path(name), (USERS, port, "--tls"), (USERS + 1, port, "--tls")) as (alice, bob):
            alice.tell(bob, "warm up", _WARM)
            seconds = alice.tell(bob, "x" * 100, messages)
    median, tail = statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]
    to = "its RSA, in turn"
    return (
        Row(_NAME, "message to verified receipt, TLS", median * 1000, "ms", median / crypto, to, _MOST, at_most=True),
        Row(_NAME, "95th percentile", tail * 1000, "ms", tail / crypto, to),
        Row(_NAME, "its RSA, in turn", crypto * 1000, "ms"),
    )


def message_and_receipt(bench: Bench) -> list[Row]:
    """Have one client write to another on one server over TLS, one message after the other."""
    return bench.median(partial(_measure, bench, bench.size(200, 10)))
