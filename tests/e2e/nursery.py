"""Starts programs for tests by forking a process that has loaded them: what Python takes to start is paid once.

The programs are processes of their own all the same, with their own descriptors, environment, directory and session.
A test's process has one nursery, from its first program on. They talk over a pair of sockets: a program is asked for
by a datagram that holds what to run, with its three descriptors, and answered by its process id; its end is told later.

    python -m tests.e2e.nursery DESCRIPTOR
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 60.0  # seconds
_REQUEST_MOST = 256 * 1024
_LOADED = ("tests.e2e.launch", "introducer", "server", "clients", "tests.chaos.sabotage")
_STREAM: Any = {"buffering": 1, "encoding": "utf-8", "closefd": False}
_SELF = "tests.e2e.nursery"


class Child:
    """A program that was started so; used as subprocess.Popen.

    Attributes:
        pid: its process.
        returncode: its exit code, or minus the signal that has ended it; None while it runs.
        stdin, stdout, stderr: the other ends of its pipes, if it has some.
    """

    def __init__(self, pid: int, streams: Sequence[IO[bytes] | None]) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = streams
        self.returncode: int | None = None
        self._ended = threading.Event()

    def end(self, status: int) -> None:
        """Note its end, as os.waitpid tells it."""
        self.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set()

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return the exit code.

        Raises:
            subprocess.TimeoutExpired: it took longer.
        """
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The nursery of this process; use `start`."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET if _HAS_PACKETS else socket.SOCK_DGRAM)
        with theirs:
            environment = {**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONWARNINGS": "error::ResourceWarning"}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            command = [sys.executable, "-m", _SELF, str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL
            )
        self._socket = ours
        for size in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            ours.setsockopt(socket.SOL_SOCKET, size, _REQUEST_MOST)
        self._asking = threading.Lock()  # one program is asked for at a time
        self._born: queue.Queue[int] = queue.Queue(1)
        self._lock = threading.Lock()  # guards the two below
        self._children: dict[int, Child] = {}
        self._ended: dict[int, int] = {}  # before it was known who they are
        threading.Thread(target=self._listen, name="nursery", daemon=True).start()
        atexit.register(self.close)

    def close(self) -> None:
        """End it; the programs go on."""
        self._socket.shutdown(socket.SHUT_RDWR)  # which alone ends the wait of `_listen`
        self._socket.close()
        self._process.wait(_PATIENCE)

    def start(
        self, request: Mapping[str, object], descriptors: Sequence[int], streams: Sequence[IO[bytes] | None]
    ) -> Child:
        """Have a program started."""
        with self._asking:
            socket.send_fds(self._socket, [json.dumps(request).encode()], descriptors)
            pid = self._born.get(timeout=_PATIENCE)
        child = Child(pid, streams)
        with self._lock:
            status = self._ended.pop(pid, None)
            if status is None:
                self._children[pid] = child
        if status is not None:
            child.end(status)
        return child

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while data := self._socket.recv(_REQUEST_MOST):
                told = json.loads(data)
                if "born" in told:
                    self._born.put(told["born"])
                    continue
                with self._lock:
                    child = self._children.pop(told["ended"], None)
                    if child is None:
                        self._ended[told["ended"]] = told["status"]
                if child is not None:
                    child.end(told["status"])


_HAS_PACKETS = sys.platform == "linux"
_nursery: list[Nursery] = []
_making = threading.Lock()  # guards _nursery


def start(
    module: str, arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str], terminal: int = -1
) -> Child:
    """Start a program, with pipes for its input and output, or at a terminal.

    Args:
        module: what `python -m` would run: its `main` is called.
        arguments: its arguments.
        cwd: where it runs.
        environment: all variables that it has.
        terminal: a descriptor of the terminal that becomes its own.
    """
    with _making:
        if not _nursery:
            _nursery.append(Nursery())
    request = {
        "module": module,
        "arguments": [os.fsencode(argument).hex() for argument in arguments],
        "cwd": str(cwd),
        "environment": {os.fsencode(name).hex(): os.fsencode(value).hex() for name, value in environment.items()},
        "terminal": terminal >= 0,
    }
    if terminal >= 0:
        return _nursery[0].start(request, [terminal] * 3, (None, None, None))
    with contextlib.ExitStack() as stack:
        theirs: list[int] = []
        ours: list[IO[bytes]] = []
        for number in range(3):
            reading, writing = os.pipe()
            theirs.append(writing if number else reading)
            ours.append(os.fdopen(reading, "rb") if number else os.fdopen(writing, "wb", buffering=0))
            stack.callback(os.close, theirs[-1])
        return _nursery[0].start(request, theirs, ours)


# --- in the nursery's process -----------------------------------------------------------------------------------------


def _serve(connection: socket.socket) -> None:
    """Start programs, and tell of their ends, until nobody wants any more."""
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # that Ctrl-C is for the tests
    while True:
        ready = select.select([connection, woken], [], [])[0]
        if woken in ready:
            woken.recv(4096)
            _tell_of_ends(connection)
        if connection not in ready:
            continue
        try:
            data, descriptors, _, _ = socket.recv_fds(connection, _REQUEST_MOST, 3)
        except ConnectionError:  # as macOS tells it of datagrams
            break
        if not data:
            break
        pid = os.fork()
        if pid == 0:
            for end in (connection, woken, wake):
                end.close()
            _become(json.loads(data), descriptors)
        connection.send(json.dumps({"born": pid}).encode())
        for descriptor in descriptors:
            os.close(descriptor)
    for end in (connection, woken, wake):
        end.close()


def _tell_of_ends(connection: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            with contextlib.suppress(OSError):  # nobody is there any more to hear it
                connection.send(json.dumps({"ended": ended[0], "status": ended[1]}).encode())


def _become(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Be a program from now on, as if Python had just been started for it."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    for descriptor in set(descriptors):
        os.close(descriptor)
    if request["terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(request["cwd"])
    os.environ.clear()
    for name, value in request["environment"].items():
        os.environb[bytes.fromhex(name)] = bytes.fromhex(value)
    sys.argv = ["", *(os.fsdecode(bytes.fromhex(argument)) for argument in request["arguments"])]
    streams = [open(number, "w" if number else "r", **_STREAM) for number in range(3)]  # noqa: SIM115 - for good
    sys.stdin, sys.stdout, sys.stderr = streams
    sys.exit(importlib.import_module(request["module"]).main())


def main() -> None:
    """Be a nursery."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    for module in _LOADED:
        importlib.import_module(module)
    assert threading.active_count() == 1, "a process with threads must not be forked"
    gc.freeze()  # what is loaded stays in memory that all of them share
    _serve(connection)


if __name__ == "__main__":
    main()
