"""Real processes for tests: started, watched line by line, and ended; and a network made of them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from crypto.keys import KeyPair
from tests.e2e import nursery
from tests.vectors import key

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0  # seconds for what should take a moment, on a machine that is busy
FAST = 0.1  # a factor for timers, when a test waits for one
_FORBIDDEN = re.compile(
    "Traceback|thread .* died|an alarm failed|an event was not handled|Exception in thread|did not end in time"
    "|was ended by a bug"
)


class Program:
    """A running program; what it prints is read as it comes.

    Args:
        name: what the test calls it.
        command: its arguments for Python.
        cwd: where it runs.
        environment: variables of its own.
        hear: told each line of standard output; runs in the thread that reads them.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        *,
        cwd: Path,
        environment: dict[str, str] | None = None,
        hear: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self.process = _start(command, cwd, clean_environment() | (environment or {}))
        self._changed = threading.Condition()  # guards all below
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._open = 2
        self._all_heard = False
        self._at_end: list[Callable[[Program], None]] = []
        self._readers = [
            threading.Thread(target=self._read, args=(stream, into, told), daemon=True)
            for stream, into, told in (
                (self.process.stdout, self.lines, hear),
                (self.process.stderr, self.errors, None),
            )
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: object, into: list[str], hear: Callable[[str], None] | None) -> None:
        for data in stream:  # type: ignore[attr-defined]
            line = data.decode("utf-8").rstrip("\n")
            with self._changed:
                into.append(line)
                self._changed.notify_all()
            if hear is not None:
                hear(line)
        with self._changed:
            self._open -= 1
            self._changed.notify_all()
            calls = self._at_end if into is self.lines else []
            self._all_heard |= into is self.lines
        for call in calls:
            call(self)

    def on_end(self, call: Callable[[Program], None]) -> None:
        """Have a function called once all of standard output was heard: by the thread that reads it, or here."""
        with self._changed:
            if not self._all_heard:
                self._at_end.append(call)
                return
        call(self)

    def expect(self, pattern: str, *, after: int = 0, seconds: float = PATIENCE) -> re.Match[str]:
        """Wait for a line of standard output that holds `pattern`, and return the match.

        Args:
            pattern: a regular expression.
            after: only lines from this number on; see `mark`.
            seconds: how long.
        """
        return self._expect(self.lines, pattern, after, seconds)

    def expect_error(self, pattern: str, *, after: int = 0, seconds: float = PATIENCE) -> re.Match[str]:
        """Wait for a line of standard error that holds `pattern`, and return the match."""
        return self._expect(self.errors, pattern, after, seconds)

    def _expect(self, lines: list[str], pattern: str, after: int, seconds: float) -> re.Match[str]:
        end = time.monotonic() + seconds
        with self._changed:
            while True:
                for line in lines[after:]:
                    if match := re.search(pattern, line):
                        return match
                left = end - time.monotonic()
                if left <= 0 or not self._open:
                    raise AssertionError(f"{self.name} did not print {pattern!r}:\n{self.report()}")
                self._changed.wait(left)

    def expect_entries(self, count: int, *, after: int) -> list[str]:
        """Wait for the entries of a /list: lines that begin with an id."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._entries(after)) >= count, PATIENCE)
            return self._entries(after)[:count]

    def _entries(self, after: int) -> list[str]:
        return [line for line in self.lines[after:] if re.match(r"  [0-9a-f]{8}-", line)]

    def mark(self) -> int:
        """Return the number of lines so far, for `after`."""
        with self._changed:
            return len(self.lines)

    def report(self) -> str:
        """Return all that was printed, to explain a failure."""
        return "\n".join([f"--- {self.name} stdout", *self.lines, f"--- {self.name} stderr", *self.errors])

    def type(self, line: str) -> None:
        """Send a line to standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode("utf-8", errors="surrogateescape") + b"\n")
        self.process.stdin.flush()

    def end_input(self) -> None:
        """Close standard input."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for the end, and return the exit code."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not end:\n{self.report()}") from None
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.wait()

    def clean_up(self) -> None:
        """End it, if it has not ended."""
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            with contextlib.suppress(AssertionError):
                self.wait(10.0)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(PATIENCE)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def misbehaved(self) -> str:
        """Return what must never be printed, if it was: a traceback, or the death of a thread."""
        found = [line for line in self.lines + self.errors if _FORBIDDEN.search(line)]
        return f"{self.name}: {found[0]}\n{self.report()}" if found else ""


def clean_environment() -> dict[str, str]:
    """Return the environment for a program that is to know nothing of where the tests run."""
    clean = {variable: value for variable, value in os.environ.items() if not _is_ours(variable)}
    return clean | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "error::ResourceWarning"}


def _start(command: list[str], cwd: Path, environment: dict[str, str]) -> nursery.Child | subprocess.Popen[bytes]:
    if command[0] == "-m":
        return nursery.start(command[1], command[2:], cwd=cwd, environment=environment)
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _is_ours(variable: str) -> bool:
    return (
        variable.startswith("SOCP_")
        or variable.endswith(("_KEY_PASS", "_KEY_PASSWORD", "_PUB_B64U"))
        or variable
        in (
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "PYTHONPATH",
            "PYTHONDONTWRITEBYTECODE",  # a hundred starts of Python are twice as fast with it
        )
    )


def put_key(path: Path, name: str, key_of: Callable[[str], KeyPair] = key, password: str = "") -> None:
    """Place a key of the vectors where a program looks for its own, so that it need not make one.

    Args:
        path: where.
        name: whose.
        key_of: returns a key by its name, where it is not one of the vectors.
        password: that protects it.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(key_of(name).to_pem(password))


class Network:
    """A temporary directory, and the programs that were started with it; none of them may print a traceback.

    Args:
        factor: that the programs' timers are multiplied by.
        key_of: returns a key by its name; without it, names are those of the vectors' keys.
        environment: variables for every program.
    """

    def __init__(
        self,
        factor: float = 1.0,
        *,
        key_of: Callable[[str], KeyPair] = key,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.factor = factor
        self._key_of = key_of
        self._environment = environment or {}
        self.directory = Path(tempfile.mkdtemp(prefix="socp-test-"))
        self.programs: list[Program] = []

    def end(self, *, keep: bool = False) -> None:
        """End all programs, and fail if one has misbehaved.

        Args:
            keep: leave the directory where it is.
        """
        for program in reversed(self.programs):
            program.clean_up()
        if not keep:
            _remove(self.directory)
        misbehaved = [text for program in self.programs if (text := program.misbehaved())]
        if misbehaved:
            raise AssertionError("\n".join(misbehaved))

    def start(
        self,
        name: str,
        *arguments: object,
        factor: float | None = None,
        environment: dict[str, str] | None = None,
        hear: Callable[[str], None] | None = None,
    ) -> Program:
        """Start a program: `start("bob", "client", "--server", …)`; its first argument is the module's name."""
        scaled = str(self.factor if factor is None else factor)
        command = ["-m", "tests.e2e.launch", scaled, *map(str, arguments)]
        return self._start(name, command, environment or {}, hear)

    def start_script(self, name: str, path: Path, *arguments: str) -> Program:
        """Start a script of the test's own."""
        return self._start(name, [str(path), *arguments], {})

    def _start(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        hear: Callable[[str], None] | None = None,
    ) -> Program:
        variables = {"HOME": str(self.directory), **self._environment, **environment}
        program = Program(name, command, cwd=self.directory, environment=variables, hear=hear)
        self.programs.append(program)
        return program

    def introducer(self, name: str = "introducer", *arguments: object, port: int = 0) -> tuple[Program, int]:
        """Start an introducer with a key of the vectors, and return it with its port."""
        data = self.directory / name
        if not (data / "introducer_key.pem").exists():
            put_key(data / "introducer_key.pem", name, self._key_of)
        export = self.directory / f"{name}.b64u"
        program = self.start(name, "introducer", "--port", port, "--data-dir", data, "--export", export, *arguments)
        port = int(program.expect(r"\[Introducer\] Running on .*:(\d+) as ")[1])
        return program, port

    def server(
        self,
        name: str,
        introducer_port: int,
        *arguments: object,
        port: int = 0,
        registered: bool = True,
        pins: Sequence[str] = ("introducer",),
        environment: dict[str, str] | None = None,
    ) -> tuple[Program, int]:
        """Start a server with a key of the vectors, and return it with its port.

        Args:
            name: of its key and its directory.
            introducer_port: where it joins.
            arguments: more of them.
            port: where it listens; 0 for a free one.
            registered: whether to wait until it is.
            pins: the names of the introducers that it trusts.
            environment: variables for it alone.
        """
        data = self.directory / name
        if not (data / "server_key.pem").exists():
            put_key(data / "server_key.pem", name, self._key_of)
        program = self.start(
            name,
            "server",
            "--port",
            port,
            "--introducer",
            f"127.0.0.1:{introducer_port}",
            *(word for pin in pins for word in ("--introducer-pub", self.directory / f"{pin}.b64u")),
            "--data-dir",
            data,
            *arguments,
            environment=environment,
        )
        port = int(program.expect(r"\[Server\] Server running on .*:(\d+)$")[1])
        if registered:
            program.expect(r"\[Server\] Registered with introducer as " + self._key_of(name).id)
        return program, port

    def client(
        self,
        name: str,
        server_port: int | Sequence[int],
        *arguments: object,
        attached: bool = True,
        environment: dict[str, str] | None = None,
        hear: Callable[[str], None] | None = None,
    ) -> Program:
        """Start a client with a key of the vectors, going by the key's name, and return it once it is attached.

        Args:
            name: of its key, its profile and its user.
            server_port: where its server is, or its servers, the first of them first.
            arguments: more of them.
            attached: whether to wait until it is attached.
            environment: variables for it alone.
            hear: see Program.
        """
        profiles = self.directory / "profiles"
        if not (profiles / name / "key.pem").exists():
            put_key(profiles / name / "key.pem", name, self._key_of)
        ports = [server_port] if isinstance(server_port, int) else server_port
        program = self.start(
            name,
            "client",
            *(word for port in ports for word in ("--server", f"127.0.0.1:{port}")),
            "--profile",
            name,
            "--data-dir",
            profiles,
            "--name",
            name,
            "--downloads",
            self.directory / f"{name}-files",
            "--accept-from",
            "all",
            *arguments,
            environment=environment,
            hear=hear,
        )
        if attached:
            program.expect(r"\[Me\] user_id = " + self._key_of(name).id)
        return program

    def chat(self, sender: Program, recipient: Program, text: str) -> None:
        """Have one user send a message to another, and see it arrive and be confirmed."""
        mark = sender.mark()
        sender.type(f"/tell {recipient.name} {text}")
        recipient.expect(rf"\[DM from {sender.name} · {self._key_of(sender.name).id[:8]}\] {re.escape(text)}$")
        sender.expect(rf"\[DM to {recipient.name} · .*\] delivered", after=mark)

    def send_file(self, sender: Program, recipient: Program, content: bytes) -> None:
        """Have one user send a file to another, and compare what arrives."""
        path = self.directory / f"from {sender.name} to {recipient.name}.bin"
        path.write_bytes(content)
        sender.type(f"/file {recipient.name} {path}")
        saved = recipient.expect(
            rf"\[File from {sender.name} · .*\] saved (.*/{path.name}) \({len(content):,} bytes\)$"
        )
        sender.expect(rf"\[File to {recipient.name} · .*\] {path.name} delivered")
        if Path(saved[1]).read_bytes() != content:
            raise AssertionError(f"{saved[1]} is not what {sender.name} has sent")

    def wait_listed(self, client: Program, names: set[str], seconds: float = PATIENCE) -> None:
        """Have a client ask for /list until it shows exactly these names online."""
        end = time.monotonic() + seconds
        while True:
            listed = {entry[1] for entry in self._list(client)}
            if listed == names:
                return
            if time.monotonic() > end:
                raise AssertionError(f"{client.name} lists {listed}, not {names}:\n{client.report()}")
            threading.Event().wait(0.5)  # between two questions; there is nothing else to wait for

    def wait_placed(self, client: Program, places: Mapping[str, str], seconds: float = PATIENCE) -> None:
        """Have a client ask for /list until it shows exactly these users, by the names of their keys, at these servers.

        Args:
            client: who asks.
            places: the names of servers' keys, by those of users' keys.
            seconds: how long.
        """
        wanted = {self._key_of(user).id: self._key_of(server).id for user, server in places.items()}
        end = time.monotonic() + seconds
        while True:
            if {entry[0]: entry[2] for entry in self._list(client)} == wanted:
                return
            if time.monotonic() > end:
                raise AssertionError(f"{client.name} does not list {places}:\n{client.report()}")
            threading.Event().wait(0.2)  # as above

    def _list(self, client: Program) -> list[list[str]]:
        """Have a client ask for /list, and return the words of each entry."""
        mark = client.mark()
        client.type("/list")
        count = int(client.expect(r"\[List\] (\d+) online", after=mark)[1])
        return [entry.split() for entry in client.expect_entries(count, after=mark)]


class NetworkTest(unittest.TestCase):
    """A test with a network of its own, whose methods it has."""

    factor = 1.0

    def setUp(self) -> None:
        """Make the network."""
        network = Network(self.factor)
        self.addCleanup(network.end)
        self.network = network
        self.directory = network.directory
        self.start = network.start
        self.start_script = network.start_script
        self.introducer = network.introducer
        self.server = network.server
        self.client = network.client
        self.chat = network.chat
        self.send_file = network.send_file
        self.wait_listed = network.wait_listed
        self.wait_placed = network.wait_placed


@contextlib.contextmanager
def patience(what: str, seconds: float = PATIENCE) -> Iterator[float]:
    """Tell how long a block took, when it took too long."""
    began = time.monotonic()
    yield began + seconds
    if time.monotonic() - began > seconds:
        raise AssertionError(f"{what} took {time.monotonic() - began:.1f} s, more than {seconds:.1f} s")


def _remove(directory: Path) -> None:
    for folder, _, files in os.walk(directory):
        Path(folder).chmod(0o700)
        for file in files:
            Path(folder, file).unlink()
    for folder, _, _ in os.walk(directory, topdown=False):
        Path(folder).rmdir()
