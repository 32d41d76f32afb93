"""What is measured: an introducer and servers, or the relay that they are compared with, as processes of their own."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.keys import INTRODUCER, SERVERS, pair
from benchmarks.machine import Process
from crypto.keys import write_key_file

# All of a benchmark's users come from one address, and some benchmarks have thousands.
_FLAGS = ("--max-identities", 100_000, "--log-level", "ERROR")


class Network:
    """The processes that are measured.

    Attributes:
        ports: where each takes users.
    """

    def __init__(self, processes: list[Process], ports: list[int]) -> None:
        self.processes = processes
        self.ports = ports

    def cpu(self) -> float:
        """Return the seconds of the processor that all of them have used so far."""
        return sum(process.cpu() for process in self.processes)


@contextlib.contextmanager
def running_servers(count: int, *flags: object, program: Sequence[object] = ("server.py",)) -> Iterator[Network]:
    """Run servers; more than one know each other by an introducer, which is not measured.

    Args:
        count: how many.
        flags: more of them, for each.
        program: what is run as a server.
    """
    with tempfile.TemporaryDirectory(prefix="socp-bench-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        pin: object = pair(INTRODUCER).public.text
        where: tuple[object, ...] = ()
        if count > 1:
            where = ("--introducer", f"127.0.0.1:{_start_introducer(stack, directory)}")
        servers, ports = [], []
        for number in range(count):
            data = directory / f"server-{number}"
            data.mkdir()
            write_key_file(data / "server_key.pem", pair(SERVERS + number))
            command = (*program, "--port", 0, "--data-dir", data, "--introducer-pub", pin)
            servers.append(_start(stack, f"server {number}", *command, *where, *_FLAGS, *flags))
        for server in servers:
            ports.append(int(server.expect("Server running on").rpartition(":")[2]))
        if count > 1:
            for server in servers:
                server.expect("Registered with introducer")
        yield Network(servers, ports)


def _start_introducer(stack: contextlib.ExitStack, directory: Path) -> int:
    data = directory / "introducer"
    data.mkdir()
    write_key_file(data / "introducer_key.pem", pair(INTRODUCER))
    command = ("introducer.py", "--port", 0, "--data-dir", data, "--export", directory / "introducer.b64u")
    introducer = _start(stack, "introducer", *command, silent=True)  # it logs each server that comes and goes
    return int(introducer.expect("Running on").partition(" as ")[0].rpartition(":")[2])


@contextlib.contextmanager
def running_relay() -> Iterator[Network]:
    """Run the asyncio relay."""
    with contextlib.ExitStack() as stack:
        relay = _start(stack, "relay", "-m", "benchmarks.relay")
        yield Network([relay], [int(relay.line())])


def _start(stack: contextlib.ExitStack, name: str, *command: object, silent: bool = False) -> Process:
    process = Process(name, *command, silent=silent)
    stack.callback(process.end)
    return process
