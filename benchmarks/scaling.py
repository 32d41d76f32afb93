"""What a message costs the servers as users and servers become more: nothing should grow with either."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.bench import Bench
from benchmarks.chart import Panel, draw
from benchmarks.direct import DELIVERED, lines
from benchmarks.keys import USERS, prepare
from benchmarks.load import IDLES, Line, LoadProcess, Plan, run_round, running_loads
from benchmarks.network import Network, running_servers
from benchmarks.report import Row

_NAME = "scaling"
_FLAT = 1.20
_PAIRS = 4
# Before a round, the servers must have done next to nothing for a moment: what they were told of users is done with.
_MOMENT = 0.5  # seconds
_NEXT_TO_NOTHING = 0.05  # of one core, for each server
_QUIET_WITHIN = 30.0


def _points(bench: Bench) -> Iterator[tuple[int, int]]:
    """Yield how many users and servers there are, the fewest first."""
    users, servers = ((10, 30), (2, 3)) if bench.quick else ((10, 100, 1_000, 10_000), (2, 4, 8, 16))
    yield from ((count, servers[0]) for count in users)
    yield from ((users[0], count) for count in servers[1:])


def _cost(bench: Bench, users: int, servers: int) -> float:
    """Return the seconds of all servers' processors that a message from the first to the last takes, in signatures."""
    each = bench.size(60, 5)
    with running_servers(servers) as network:
        senders, takers = lines(bench, network, _PAIRS, each * bench.repetitions)
        taking = Plan([*takers, *_idle(network, users - 2 * _PAIRS)], each, DELIVERED)
        with running_loads(taking, Plan(senders, each, DELIVERED, known=users)) as loads:
            costs = [_round(bench, network, loads) / (_PAIRS * each) for _ in range(bench.repetitions)]
    return statistics.median(costs)


def _round(bench: Bench, network: Network, loads: Sequence[LoadProcess]) -> float:
    _wait_quiet(network)
    sign = bench.rsa("sign")
    cpu = network.cpu()
    run_round(loads)
    return (network.cpu() - cpu) / sign.cpu


def _idle(network: Network, count: int) -> list[Line]:
    """Return users who do nothing, as many at each server."""
    first = USERS + 2 * _PAIRS
    return [Line(IDLES, number, network.ports[number % len(network.ports)]) for number in range(first, first + count)]


def _wait_quiet(network: Network) -> None:
    """Wait until the servers do next to nothing."""
    end, used = time.monotonic() + _QUIET_WITHIN, network.cpu()
    while time.monotonic() < end:
        time.sleep(_MOMENT)
        used, before = network.cpu(), used
        if used - before < _NEXT_TO_NOTHING * _MOMENT * len(network.processes):
            return


def _draw(bench: Bench, costs: Mapping[tuple[int, int], float]) -> None:
    few_users, few_servers = next(iter(costs))
    by_users = [(float(users), cost) for (users, servers), cost in costs.items() if servers == few_servers]
    by_servers = [(float(servers), cost) for (users, servers), cost in costs.items() if users == few_users]
    picture = draw(
        "What a direct message across two servers costs all servers together",
        "CPU time, in RSA signatures of the same moment",
        [Panel(f"users, at {few_servers} servers", by_users), Panel(f"servers, with {few_users} users", by_servers)],
        _FLAT,
    )
    (bench.pictures / "scaling.svg").write_text(picture, "utf-8")


def users_and_servers(bench: Bench) -> list[Row]:
    """Measure messages across two servers, among ever more users and servers, and draw a picture of it."""
    prepare(USERS + max(users for users, _ in _points(bench)))
    costs: dict[tuple[int, int], float] = {}
    for users, servers in _points(bench):
        costs[users, servers] = _cost(bench, users, servers)
        bench.say(f"  {users:,} users, {servers} servers: {costs[users, servers]:.2f} signatures a message")
    _draw(bench, costs)
    fewest = next(iter(costs.values()))
    return [
        Row(
            _NAME,
            f"CPU a message, {users:,} users, {servers} servers",
            cost,
            "signatures",
            cost / fewest,
            "the fewest of both",
            _FLAT,
            at_most=True,
        )
        for (users, servers), cost in costs.items()
    ]
