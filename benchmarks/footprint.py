"""How much memory a large file takes: at its sender, at the server that it passes, and at its recipient."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.keys import USERS
from benchmarks.machine import Process, resident_of
from benchmarks.network import running_servers
from benchmarks.person import running_people
from benchmarks.report import Row

_NAME = "footprint"
_MIB = 1024 * 1024
_MOST = 64.0  # MiB above idle
_LOOK_EVERY = 0.02  # seconds


@contextlib.contextmanager
def watching(processes: Mapping[str, Process]) -> Iterator[dict[str, int]]:
    """Look at processes again and again, and keep the most that each has taken, in bytes above what it had before."""
    before = {name: resident_of(process.pid) for name, process in processes.items()}
    most = dict.fromkeys(processes, 0)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_EVERY):
            for name, process in processes.items():
                most[name] = max(most[name], resident_of(process.pid) - before[name])

    watcher = threading.Thread(target=watch, name="memory")
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()


def _measure(bench: Bench, size: int) -> Sequence[Row]:
    path = bench.directory / "large"
    path.touch()
    os.truncate(path, size)  # sparse: it takes nothing of the disk
    with running_servers(1) as network, tempfile.TemporaryDirectory(prefix="socp-bench-") as name:
        port = network.ports[0]
        with running_people(Path(name), (USERS, port, ""), (USERS + 1, port, "")) as (alice, bob):
            alice.wait_known(bob)
            watched = {"sender": alice.process, "server": network.processes[0], "recipient": bob.process}
            with watching(watched) as most:
                seconds = alice.send_file(bob, path)
    rows = [
        Row(_NAME, f"{who} above idle", taken / _MIB, "MiB", taken / _MIB / _MOST, f"{_MOST:g} MiB", 1.0, at_most=True)
        for who, taken in most.items()
    ]
    return (*rows, Row(_NAME, f"a file of {size / _MIB:,.0f} MiB", size / 1e6 / seconds, "MB/s"))


def large_file(bench: Bench) -> list[Row]:
    """Send a file of 1 GiB through one server, and watch the memory of all three."""
    return bench.median(partial(_measure, bench, bench.size(1024 * _MIB, 2 * _MIB)))
