"""What one attach costs in signatures and verifications: at the server where it happens, and at each that is told."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Sequence
from functools import partial

from benchmarks.bench import Bench
from benchmarks.keys import USERS, pair
from benchmarks.machine import PATIENCE, BenchmarkError
from benchmarks.network import Network, running_servers
from benchmarks.report import Row
from benchmarks.users import attach, online_count

_NAME = "attach"
COUNTED = ("-m", "benchmarks.counted", "server.py")
_ASK_EVERY = 0.05  # seconds: nothing tells when gossip has come


def _counts(network: Network) -> list[dict[str, int]]:
    """Ask every server what it has signed and verified so far."""
    for process in network.processes:
        process.say("\n")
    return [json.loads(process.expect('"signed"')) for process in network.processes]


def count(network: Network, users: int) -> list[Row]:
    """Attach users at the first server, and count until the others know of them."""
    receivers = len(network.ports) - 1
    with contextlib.ExitStack() as stack:
        watchers = []
        for number, port in enumerate(network.ports):
            watchers.append((stack.enter_context(attach(port, pair(USERS + number))), pair(USERS + number).id))
        present = len(watchers)
        _wait_known(watchers, present)
        before = _counts(network)
        for number in range(USERS + present, USERS + present + users):
            stack.enter_context(attach(network.ports[0], pair(number)))
        asked = _wait_known(watchers, present + users)
        after = _counts(network)
    spent = [{what: now[what] - then[what] for what in now} for now, then in zip(after, before, strict=True)]
    # Each question for how many are known was answered with a signature too.
    signed = (spent[0]["signed"] - asked) / users
    rows = [
        _row("signatures at the origin", signed, 2.0),
        _row("verifications at the origin", spent[0]["verified"] / users, None),
    ]
    if receivers:
        verified = sum(counts["verified"] for counts in spent[1:]) / receivers / users
        signed = sum(counts["signed"] - asked for counts in spent[1:]) / receivers / users
        rows.append(_row(f"verifications at each of {receivers} receivers", verified, 2.0))
        rows.append(_row("signatures at each receiver", signed, None))
    return rows


def _start_and_count(receivers: int, users: int) -> list[Row]:
    with running_servers(receivers + 1, program=COUNTED) as network:
        return count(network, users)


def _row(what: str, value: float, target: float | None) -> Row:
    ratio = None if target is None else value / target
    to = "" if target is None else f"{target:g}"
    return Row(_NAME, what, value, "an attach", ratio, to, None if target is None else 1.0, at_most=True)


def _wait_known(watchers: Sequence[tuple[socket.socket, str]], count: int) -> int:
    """Wait until every server knows so many users to be online; return how often each was asked."""
    deadline, asked = time.monotonic() + PATIENCE, 0
    while True:
        asked += 1
        known = [online_count(link, user_id) for link, user_id in watchers]  # each is asked each time
        if min(known) >= count:
            return asked
        if time.monotonic() > deadline:
            raise BenchmarkError("not every server hears of the users")
        time.sleep(_ASK_EVERY)


def attach_among_servers(bench: Bench) -> list[Row]:
    """Count what is signed and verified for an attach that is gossiped to eight servers."""
    receivers, users = bench.size(8, 2), bench.size(20, 3)
    return bench.median(partial(_start_and_count, receivers, users))
