"""Files from one real client to another through servers: by RSA-OAEP blocks, and by chunks of AES-256-GCM."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks import wormhole
from benchmarks.bench import Bench
from benchmarks.keys import USERS
from benchmarks.machine import BenchmarkError
from benchmarks.network import Network, running_servers
from benchmarks.person import Person, running_people
from benchmarks.report import Row
from crypto.sealing import BLOCK_PLAIN

_MEGA = 1_000_000
_RSA_LEAST = 0.80
_WORMHOLE_LEAST = {1: 0.8, 2: 0.6}  # by the number of servers


def random_file(path: Path, size: int) -> Path:
    """Write a file that nothing could make shorter."""
    with path.open("wb") as file:
        for at in range(0, size, _MEGA):
            file.write(os.urandom(min(_MEGA, size - at)))
    return path


def _check(person: Person, path: Path) -> None:
    """Compare what a client has received with what was sent.

    Raises:
        BenchmarkError: it is something else.
    """
    (received,) = person.files.iterdir()
    if received.read_bytes() != path.read_bytes():
        raise BenchmarkError("the file that came is not the one that was sent")
    received.unlink()


def send(network: Network, alice: Person, bob: Person, path: Path) -> tuple[float, float]:
    """Send a file; return its bytes a second, and the seconds of the servers' CPU for each MB."""
    size, cpu = path.stat().st_size, network.cpu()
    seconds = alice.send_file(bob, path)
    cpu = network.cpu() - cpu
    _check(bob, path)
    return size / seconds, cpu / (size / _MEGA)


def _transfer(servers: int, path: Path, flag: str = "") -> tuple[float, float]:
    """Send a file through so many servers, after a small one."""
    with running_servers(servers) as network, tempfile.TemporaryDirectory(prefix="socp-bench-") as name:
        directory = Path(name)
        first, last = network.ports[0], network.ports[-1]
        with running_people(directory, (USERS, first, flag), (USERS + 1, last, flag)) as (alice, bob):
            alice.wait_known(bob)
            send(network, alice, bob, random_file(directory / "small", 1000))
            return send(network, alice, bob, path)


def _by_blocks(bench: Bench, size: int) -> Sequence[Row]:
    bound = bench.rsa("decrypt").per_second * BLOCK_PLAIN
    rate, _ = _transfer(2, random_file(bench.directory / "blocks", size), "--blocks")
    to = f"decryptions/s, all cores, of {BLOCK_PLAIN} bytes"
    return (Row("file-blocks", "RSA blocks, two servers", rate / _MEGA, "MB/s", rate / bound, to, _RSA_LEAST),)


def by_blocks(bench: Bench) -> list[Row]:
    """Send a file by RSA-OAEP blocks through two servers."""
    return bench.median(partial(_by_blocks, bench, bench.size(4 * _MEGA, 20_000)))


def _by_chunks(bench: Bench, size: int, *, compare: bool) -> Sequence[Row]:
    path = random_file(bench.directory / "chunks", size)
    worm = size / wormhole.send(bench.directory, path) if compare else None
    to = "magic-wormhole through its relay" if compare else "magic-wormhole is not installed"
    rows = []
    for servers, least in _WORMHOLE_LEAST.items():
        rate, cpu = _transfer(servers, path)
        what = f"AES-256-GCM, {'one server' if servers == 1 else 'two servers'}"
        ratio = None if worm is None else rate / worm
        rows.append(Row("file-chunks", what, rate / _MEGA, "MB/s", ratio, to, None if worm is None else least))
        rows.append(Row("file-chunks", f"{what}: CPU of the servers", cpu * 1000, "ms/MB"))
    if worm is not None:
        rows.append(Row("file-chunks", "magic-wormhole through its relay", worm / _MEGA, "MB/s"))
    return rows


def by_chunks(bench: Bench) -> list[Row]:
    """Send a file by chunks of AES-256-GCM through one and two servers, with magic-wormhole beside where it is."""
    compare = wormhole.installed()
    if not compare:
        bench.say("  magic-wormhole is not installed: there is nothing to compare with")
    return bench.median(partial(_by_chunks, bench, bench.size(100 * _MEGA, _MEGA), compare=compare))
