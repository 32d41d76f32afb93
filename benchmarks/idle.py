"""Thousands of users who are attached to one server and do nothing: their time, memory and CPU, and what others pay."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from benchmarks.bench import Bench
from benchmarks.direct import talk
from benchmarks.keys import USERS, prepare
from benchmarks.load import IDLES, Line, LoadProcess, Plan
from benchmarks.machine import resident_of
from benchmarks.network import Network, running_servers
from benchmarks.report import Row

_NAME = "idle"
_PROCESSES = 2  # that make the load: a server lets 16 of one address be about to attach, and each begins 8
_TALKERS = 2  # users besides, who write to each other
_ATTACHED_WITHIN = 60.0  # seconds
_PATIENCE = 900.0  # seconds: what takes longer than it should is measured all the same
_RESIDENT_MOST = 40.0  # kB a client
_CORE_MOST = 10.0  # per cent of one
_FLAT = 1.20


@contextmanager
def idle_users(network: Network, count: int) -> Iterator[None]:
    """Attach so many users, from several processes at once, and keep them attached."""
    first = USERS + _TALKERS
    numbers = range(first, first + count)
    plans = [
        Plan([Line(IDLES, number, network.ports[0]) for number in numbers[place::_PROCESSES]], 0, "")
        for place in range(min(_PROCESSES, count))
    ]
    with ExitStack() as stack:
        loads = []
        for place, plan in enumerate(plans):
            load = LoadProcess(f"load {place}", plan)
            stack.callback(load.end)
            loads.append(load)
        for load in loads:
            load.wait_ready(_PATIENCE)
        yield


def _measure(bench: Bench, users: int, messages: int) -> Sequence[Row]:
    idle = users - _TALKERS
    watch = bench.size(30, 1)  # seconds: two heartbeats
    with running_servers(1) as network:
        server = network.processes[0]
        talk(bench, network, 1, messages)  # to warm up
        alone = talk(bench, network, 1, messages)
        resident, cpu, began = resident_of(server.pid), server.cpu(), time.monotonic()
        with idle_users(network, idle):
            seconds, attaching = time.monotonic() - began, server.cpu() - cpu
            each = (resident_of(server.pid) - resident) / idle / 1000
            cpu = server.cpu()
            threading.Event().wait(watch)
            share = (server.cpu() - cpu) / watch * 100
            among = talk(bench, network, 1, messages)
    ratio = among.cpu / alone.cpu
    within = _ATTACHED_WITHIN * users / 10_000
    return (
        Row(_NAME, f"{users:,} users attached", seconds, "s", seconds / within, f"{within:g} s", 1.0, at_most=True),
        Row(_NAME, "CPU of the server, an attach", attaching / idle * 1000, "ms"),
        Row(_NAME, "resident, a user", each, "kB", each / _RESIDENT_MOST, f"{_RESIDENT_MOST:g} kB", 1.0, at_most=True),
        Row(_NAME, "CPU of the idle server", share, "%", share / _CORE_MOST, f"{_CORE_MOST:g} %", 1.0, at_most=True),
        Row(_NAME, "CPU of a message among them", among.cpu * 1000, "ms", ratio, "two alone", _FLAT, at_most=True),
    )


def many_users(bench: Bench) -> list[Row]:
    """Attach ten thousand users to one server, over plain links, and leave them there."""
    users, messages = bench.size(10_000, 20), bench.size(400, 20)
    prepare(USERS + users)
    return bench.median(partial(_measure, bench, users, messages))
