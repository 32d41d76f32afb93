"""A whole network on this machine, for a look at it: `make demo`, `make chat` and `make client`.

    python network.py demo      three servers, three clients, the four commands; then everything is stopped
    python network.py chat      two servers, and you in a client; leaving it stops the network
    python network.py client    another client of the network that `chat` runs

Each program is a real process. They hold the reading end of a pipe (a leash) whose other end is ours alone: however
we end, kill -9 included, the system closes it, and they end too.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NoReturn

from console import complain, say, speak_utf8
from programs import ArgumentParser
from threads import Deadline

HERE = Path(__file__).resolve().parent
PATIENCE = 60.0  # seconds; a new RSA-4096 key can take several on a small machine
_LEASH = "SOCP_LEASH"  # the descriptor's number, in the environment of what we start


class NetworkError(Exception):
    """Raised when the network does not do what it should; says what."""


class Program:
    """A program that we started, and what it prints.

    Args:
        name: shown before each of its lines.
        arguments: the program's module, and its arguments.
        leash: the reading end of the pipe that it ends with.
        show: told each line of its standard output.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        leash: int,
        show: Callable[[str, str], None],
        cwd: Path,
        environment: dict[str, str],
    ) -> None:
        self.name = name
        self._show = show
        self._changed = threading.Condition()  # guards the two below
        self._lines: list[str] = []
        self._ended = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `stop`
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "network.py"), "run", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=cwd,
            env={**os.environ, **environment, _LEASH: str(leash), "PYTHONUNBUFFERED": "1"},
            pass_fds=(leash,),
            start_new_session=True,  # Ctrl-C is for us, and we tell them
        )
        self._reader = threading.Thread(target=self._read, name=f"{name} reader", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            line = raw.decode("utf-8", errors="replace").rstrip("\n")
            self._show(self.name, line)
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def expect(self, pattern: str, after: int = 0) -> re.Match[str]:
        """Wait for a line that holds `pattern`, a regular expression, from line number `after` on.

        Raises:
            NetworkError: it did not come.
        """

        def found() -> re.Match[str] | None:
            return next(filter(None, (re.search(pattern, line) for line in self._lines[after:])), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or self._ended, PATIENCE)
            match = found()
        if match is None:
            self._errors.seek(0)
            errors = self._errors.read().decode("utf-8", errors="replace").strip()
            raise NetworkError(f"{self.name} did not print {pattern!r}" + (f"; it says:\n{errors}" if errors else ""))
        return match

    @property
    def printed(self) -> int:
        """How many lines it has printed."""
        with self._changed:
            return len(self._lines)

    def type(self, line: str) -> None:
        """Type a line into it, and show that."""
        assert self.process.stdin is not None
        self._show(self.name, f"> {line}")
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise NetworkError(f"{self.name} has ended") from error

    def stop(self) -> int:
        """End it, and return its exit code."""
        self.process.terminate()
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._reader.join()
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        return code


class Network:
    """Programs that are stopped together, with their state in a temporary directory."""

    def __init__(self, directory: Path, show: Callable[[str, str], None]) -> None:
        self.directory = directory
        self._show = show
        self._leash, self._held = os.pipe()
        self._programs: list[Program] = []

    def start(self, name: str, *arguments: object) -> Program:
        """Start a program; its first argument is the module's name."""
        environment = {"HOME": str(self.directory), "INTRODUCER_PUB_B64U": "", "CHAT_KEY_PASSWORD": ""}
        texts = [str(argument) for argument in arguments]
        program = Program(name, texts, self._leash, self._show, self.directory, environment)
        self._programs.append(program)
        return program

    def start_servers(self, ports: Sequence[int]) -> list[int]:
        """Start an introducer and a server at each of these ports (0: a free one); return the servers' ports."""
        introducer = self.start("introducer", "introducer", "--port", 0, "--data-dir", self.directory / "data")
        at = introducer.expect(r"Running on 127\.0\.0\.1:(\d+)")[1]

        def start(number: int, port: int) -> int:
            data = self.directory / "data" / f"server-{number}"
            server = self.start(
                f"server{number}", "server", "--port", port, "--introducer", f"127.0.0.1:{at}", "--data-dir", data
            )
            bound = server.expect(r"Server running on 127\.0\.0\.1:(\d+)")[1]
            server.expect("Registered with introducer")
            return int(bound)

        with ThreadPoolExecutor(len(ports)) as pool:  # each makes a key, which takes a while
            return list(pool.map(start, range(1, len(ports) + 1), ports))

    def be_client(self, arguments: Sequence[str]) -> int:
        """Run a client in our own terminal until it ends, and return its exit code."""
        process = subprocess.Popen(
            [sys.executable, str(HERE / "network.py"), "run", *arguments],
            env={**os.environ, _LEASH: str(self._leash)},
            pass_fds=(self._leash,),
        )
        # Ctrl-C goes to both of us: it is the client's to answer, and ours to wait for that.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return process.wait()
        finally:
            process.terminate()
            process.wait()

    def stop(self) -> None:
        """Stop everything, clients first."""
        os.close(self._held)
        for program in reversed(self._programs):
            program.stop()
        os.close(self._leash)


@contextlib.contextmanager
def running(show: Callable[[str, str], None]) -> Iterator[Network]:
    """Provide a network in a temporary directory, and leave nothing of it behind."""
    with tempfile.TemporaryDirectory(prefix="socp-") as directory:
        network = Network(Path(directory), show)
        try:
            yield network
        finally:
            for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(ending, signal.SIG_IGN)
            network.stop()


# --- make demo ----------------------------------------------------------------------------------------------------


def demo() -> None:
    """Show the four commands between three servers.

    Raises:
        NetworkError: something did not work.
    """
    with running(lambda name, line: say(f"{name:>10} | {line}")) as network:
        say("An introducer and three servers, each a process with a new key of its own:")
        ports = network.start_servers([0, 0, 0])
        say("Three clients, each on a server of its own:")
        names = ("alice", "bob", "carol")
        with ThreadPoolExecutor(len(names)) as pool:
            started = pool.map(partial(_start_client, network), names, ports)
            clients = dict(zip(names, started, strict=True))
        _wait_for_all(clients["alice"], len(names))
        _talk(clients["alice"], clients["bob"], clients["carol"])
        _send_file(network, clients["carol"], clients["alice"])
        say("All of it worked. Stopping everything.")


def _start_client(network: Network, name: str, port: int) -> Program:
    client = network.start(
        name,
        "client",
        "--server",
        f"127.0.0.1:{port}",
        "--profile",
        name,
        "--name",
        name,
        "--downloads",
        network.directory / f"files-of-{name}",
        "--accept-from",
        "all",
    )
    client.expect(r"\[Me\] user_id = ")
    return client


def _wait_for_all(client: Program, count: int) -> None:
    """Ask for /list until everyone is on it: servers that have just met need a moment to tell each other."""
    say("The user list, gathered from all servers:")
    deadline = Deadline(PATIENCE)
    while True:
        before = client.printed
        client.type("/list")
        if int(client.expect(r"\[List\] (\d+) online", before)[1]) >= count:
            return
        if not deadline.left():
            raise NetworkError("the servers did not tell each other of their users")
        threading.Event().wait(0.5)  # as a person would who looks again


def _talk(alice: Program, bob: Program, carol: Program) -> None:
    say("Private messages, across servers and in both directions; the servers see ciphertext alone:")
    alice.type("/tell bob Hello Bob, this is for your eyes only.")
    bob.expect(r"\[DM from alice .*\] Hello Bob, this is for your eyes only\.")
    alice.expect(r"\[DM to bob .*\] delivered")
    bob.type("/tell alice Nobody else can read my answer either ✓")
    alice.expect(r"\[DM from bob .*\] Nobody else can read my answer either ✓")
    bob.expect(r"\[DM to alice .*\] delivered")
    say("A broadcast: signed, and readable by everyone:")
    carol.type("/all Good morning, everyone!")
    for client in (alice, bob):
        client.expect(r"\[All\] carol .*: Good morning, everyone!")


def _send_file(network: Network, sender: Program, recipient: Program) -> None:
    say("A file of 100 kB, encrypted chunk by chunk:")
    path = network.directory / "holiday.bin"
    path.write_bytes(secrets.token_bytes(100 * 1024))
    sender.type(f"/file {recipient.name} {path}")
    saved = Path(recipient.expect(r"saved (.*) \(102,400 bytes\)")[1])
    sender.expect("holiday.bin delivered")
    sent, received = (hashlib.sha256(file.read_bytes()).hexdigest() for file in (path, saved))
    say(f"SHA-256 of what was sent:     {sent}")
    say(f"SHA-256 of what was received: {received}")
    if sent != received:
        raise NetworkError("the file was damaged on its way")


# --- make chat and make client ------------------------------------------------------------------------------------


def chat(name: Sequence[str]) -> int:
    """Run a network with a person in it.

    Args:
        name: further arguments of the person's client.

    Returns:
        The exit code of the client.
    """
    with running(lambda _name, _line: None) as network:
        say("Starting an introducer and two servers …")
        ports = network.start_servers([0, 0])
        note = _note()
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = {"pid": os.getpid(), "port": ports[1], "profiles": str(network.directory / "profiles")}
        note.write_text(json.dumps(found), "utf-8")
        try:
            say(f"The network runs: servers at ports {ports[0]} and {ports[1]}.")
            say("`make client` in another terminal brings in somebody else. /quit stops the network.")
            return network.be_client(_client_arguments(ports[0], network.directory / "profiles", name))
        finally:
            with contextlib.suppress(OSError, ValueError):
                if json.loads(note.read_text("utf-8")) == found:  # and not of a network that was started after ours
                    note.unlink()
                    note.parent.rmdir()


def client(name: Sequence[str]) -> NoReturn:
    """Become a client of the network that `chat` runs.

    Args:
        name: further arguments of the client.

    Raises:
        NetworkError: none runs.
    """
    try:
        found = json.loads(_note().read_text("utf-8"))
        os.kill(found["pid"], 0)
        arguments = _client_arguments(found["port"], Path(found["profiles"]), name)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NetworkError("no network runs; start one with `make chat` in another terminal") from error
    os.execv(sys.executable, [sys.executable, str(HERE / "client.py"), *arguments[1:]])


def _note() -> Path:
    """Return the file by which `chat` tells `client` where its servers are."""
    return HERE / "data" / "chat-network.json"


def _client_arguments(port: int, profiles: Path, name: Sequence[str]) -> list[str]:
    return ["client", "--server", f"127.0.0.1:{port}", "--data-dir", str(profiles), *name]


# --- on the leash -------------------------------------------------------------------------------------------------


def run_on_leash(arguments: Sequence[str]) -> int:
    """Run one of the programs in this process, and end it when the leash is cut."""
    leash = int(os.environ.pop(_LEASH))
    threading.Thread(target=_watch, args=(leash,), name="leash", daemon=True).start()
    program = importlib.import_module(arguments[0])
    sys.argv = [f"{arguments[0]}.py", *arguments[1:]]
    code: int = program.main()
    return code


def _watch(leash: int) -> None:
    # The program blocks these later, and waits for them: here they must not be let in, to do their default.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    os.read(leash, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _end(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Do what the first argument says; returns the exit code."""
    if sys.argv[1:2] == ["run"]:
        return run_on_leash(sys.argv[2:])
    parser = ArgumentParser(description="Run a whole network on this machine.")
    parser.add_argument("what", choices=("demo", "chat", "client"))
    parser.add_argument("--name", help="the display name to go by in `chat` and `client`")
    arguments = parser.parse_args()
    name = ["--name", arguments.name] if arguments.name else []
    speak_utf8()
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _end)
    try:
        if arguments.what == "demo":
            demo()
            return 0
        return chat(name) if arguments.what == "chat" else client(name)
    except NetworkError as error:
        complain(f"It did not work: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
