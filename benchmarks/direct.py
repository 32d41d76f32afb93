"""Direct messages, receipts included: on one server, one to one and many to many, across servers, and over TLS."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.bench import Bench
from benchmarks.keys import USERS
from benchmarks.load import SENDS, TAKES, Line, Plan, run_round, running_loads
from benchmarks.network import Network, running_relay, running_servers
from benchmarks.report import Row

DELIVERED = '"type":"USER_DELIVER"'
_RELAYED = '"type":"MSG_DIRECT"'


@dataclass(frozen=True)
class Cost:
    """What one repetition took.

    Attributes:
        cpu: seconds of the servers' processors for one message.
        rate: messages a second by the wall clock.
    """

    cpu: float
    rate: float


def talk(bench: Bench, network: Network, pairs: int, each: int, *, tls: bool = False, relay: bool = False) -> Cost:
    """Have senders at the first server write to recipients at the last.

    Args:
        bench: the run.
        network: the servers.
        pairs: how many of both.
        each: how many messages each sends.
        tls: whether over TLS.
        relay: whether it is the relay that stands between.
    """
    senders, takers = lines(bench, network, pairs, each)
    marker = _RELAYED if relay else DELIVERED
    many = 2 * pairs if len(network.ports) > 1 else 0
    taking = Plan(takers, each, marker, tls=tls, relay=relay)
    sending = Plan(senders, each, marker, tls=tls, relay=relay, known=many)
    with running_loads(taking, sending) as loads:
        cpu = network.cpu()
        taken = run_round(loads)
        cpu = network.cpu() - cpu
    return Cost(cpu / (pairs * each), pairs * each / taken.seconds)


def lines(bench: Bench, network: Network, pairs: int, each: int) -> tuple[list[Line], list[Line]]:
    """Return senders at the first server, and their recipients at the last."""
    senders, takers = [], []
    for number in range(USERS, USERS + 2 * pairs, 2):
        messages, receipts = bench.frames.conversation(number, number + 1, each)
        senders.append(Line(SENDS, number, network.ports[0], str(messages)))
        takers.append(Line(TAKES, number + 1, network.ports[-1], str(receipts)))
    return senders, takers


@dataclass(frozen=True)
class _Targets:
    """What a row is to reach: at most so many times the CPU of its RSA, and at least such a part of its rate."""

    cpu: float
    wall: float


def _against_rsa(
    bench: Bench, name: str, servers: int, pairs: int, each: int, verifies: int, targets: _Targets
) -> Sequence[Row]:
    """Compare one repetition with what its signatures and verifications take: one signature for each server."""
    sign = bench.rsa("sign")
    cpu, seconds, to = servers * sign.cpu, servers / sign.per_second, "1 signature" if servers == 1 else "2 signatures"
    if verifies:
        verify = bench.rsa("verify")
        cpu, seconds, to = cpu + verifies * verify.cpu, seconds + verifies / verify.per_second, f"{to} + 1 verification"
    with running_servers(servers) as network:
        cost = talk(bench, network, pairs, each)
    return (
        Row(
            name, "CPU of the servers, a message", cost.cpu * 1000, "ms", cost.cpu / cpu, to, targets.cpu, at_most=True
        ),
        Row(name, "messages by the clock", cost.rate, "/s", cost.rate * seconds, f"{to}, all cores", targets.wall),
    )


def eight_to_eight(bench: Bench) -> list[Row]:
    """Measure eight senders and eight recipients on one server, over plain links."""
    each = bench.size(400, 20)
    return bench.median(partial(_against_rsa, bench, "direct", 1, 8, each, 0, _Targets(1.10, 0.80)))


def one_to_one(bench: Bench) -> list[Row]:
    """Measure one sender and one recipient on one server, over plain links."""
    each = bench.size(2000, 50)
    return bench.median(partial(_against_rsa, bench, "one-to-one", 1, 1, each, 0, _Targets(1.10, 0.75)))


def across_servers(bench: Bench) -> list[Row]:
    """Measure eight senders at one server and eight recipients at another, over plain links."""
    each = bench.size(250, 10)
    return bench.median(partial(_against_rsa, bench, "across", 2, 8, each, 1, _Targets(1.15, 0.80)))


def _against_relay(bench: Bench, pairs: int, each: int) -> Sequence[Row]:
    costs = []
    for relay in (True, False):
        with contextlib.ExitStack() as stack:
            network = stack.enter_context(running_relay() if relay else running_servers(1))
            costs.append(talk(bench, network, pairs, each, tls=not relay, relay=relay))
    relayed, ours = costs
    to = "asyncio relay, plain"
    return (
        # A message and its receipt are two frames.
        Row(
            "tls", "CPU of the server, a frame", ours.cpu / 2 * 1e6, "µs", ours.cpu / relayed.cpu, to, 1.0, at_most=True
        ),
        Row("tls", "frames by the clock", ours.rate * 2, "/s", ours.rate / relayed.rate, to, 1.0),
        Row("tls", "the relay: CPU, a frame", relayed.cpu / 2 * 1e6, "µs"),
        Row("tls", "the relay: frames by the clock", relayed.rate * 2, "/s"),
    )


def over_tls(bench: Bench) -> list[Row]:
    """Measure eight senders and eight recipients on one server over TLS, against the relay without it."""
    return bench.median(partial(_against_relay, bench, 8, bench.size(1500, 20)))
