"""Broadcasts from one user to a hundred on one server."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks.bench import Bench
from benchmarks.direct import Cost
from benchmarks.keys import USERS
from benchmarks.load import HEARS, SENDS, Line, Plan, run_round, running_loads
from benchmarks.network import Network, running_relay, running_servers
from benchmarks.report import Row


def broadcast(bench: Bench, network: Network, listeners: int, count: int, *, relay: bool) -> Cost:
    """Have one user broadcast to others, and return what a delivery takes."""
    port = network.ports[0]
    lines = [Line(HEARS, USERS + number, port) for number in range(1, listeners + 1)]
    lines.append(Line(SENDS, USERS, port, str(bench.frames.broadcasts(USERS, count))))
    # In one process, since the sender waits for those who hear: a server drops broadcasts for whom it cannot keep up.
    plan = Plan(lines, count, '"type":"MSG_PUBLIC_CHANNEL"', receipt="", relay=relay)
    with running_loads(plan) as loads:
        cpu = network.cpu()
        taken = run_round(loads)
        cpu = network.cpu() - cpu
    return Cost(cpu / (count * listeners), count * listeners / taken.seconds)


def _measure(bench: Bench, listeners: int, count: int) -> Sequence[Row]:
    with running_relay() as network:
        relayed = broadcast(bench, network, listeners, count, relay=True)
    with running_servers(1) as network:
        ours = broadcast(bench, network, listeners, count, relay=False)
    name, to = "broadcast", "asyncio relay"
    return (
        Row(
            name, "CPU of the server, a delivery", ours.cpu * 1e6, "µs", ours.cpu / relayed.cpu, to, 0.25, at_most=True
        ),
        Row(name, "deliveries by the clock", ours.rate, "/s", ours.rate / relayed.rate, to, 4.0),
        Row(name, "the relay: CPU, a delivery", relayed.cpu * 1e6, "µs"),
        Row(name, "the relay: deliveries by the clock", relayed.rate, "/s"),
    )


def one_to_a_hundred(bench: Bench) -> list[Row]:
    """Measure one sender and a hundred listeners, against the relay."""
    return bench.median(partial(_measure, bench, bench.size(100, 10), bench.size(1500, 30)))
