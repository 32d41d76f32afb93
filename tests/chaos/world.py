"""A network of real processes behind proxies: introducers, servers and clients that are ended and started again."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.chaos.keys import key_of
from tests.chaos.ledger import Ledger
from tests.chaos.schedule import EVERYWHERE, Shape
from tests.e2e.harness import PATIENCE, Network, Program
from tests.e2e.proxy import FINE, Proxy, Weather

_SERVERS_OF_A_CLIENT = 3
# Not part of the protocol, but what a busy machine may take: a tenth of that is too little, and tells nothing.
_MACHINE = {"TEST_TIMERS": "stop=5 request=10"}
_FAILED_TO_START = 200  # times in a row, some twenty seconds at least: then it is not for the want of a server


class Part:
    """A program of the network, through all its runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.id = key_of(name).id
        self.busy = threading.Lock()  # held by whoever ends it and starts it again
        self.changed = threading.Condition()  # guards all below
        self.program: Program | None = None  # while it runs, as far as we want it to
        self.ready = False  # a client that has attached in this run
        self.failures = 0  # of a client to start


class World:
    """All programs of one run.

    Args:
        shape: how many of each.
        ledger: told what the clients print.
        say: told what happens without having been asked for.
        servers_of_a_client: how many servers a client is told of, its own first.
        environment: variables for every program.
        tls: whether they speak TLS, and nothing else.
    """

    def __init__(
        self,
        shape: Shape,
        ledger: Ledger,
        say: Callable[[str], None],
        *,
        servers_of_a_client: int = _SERVERS_OF_A_CLIENT,
        environment: dict[str, str] | None = None,
        tls: bool = False,
    ) -> None:
        self.shape = shape
        self.ledger = ledger
        self._say = say
        self._servers_of_a_client = servers_of_a_client
        self.network = Network(shape.factor, key_of=key_of, environment={**_MACHINE, **(environment or {})})
        names = [*shape.introducer_names, *shape.server_names, *shape.client_names]
        self.parts = {name: Part(name) for name in names}
        self._flags = ["--require-tls"] if tls else []
        # Within TLS no hello can be read: there, an address of its own tells who connects.
        self._sources = {name: f"127.1.0.{number}" for number, name in enumerate(names, start=1)} if tls else {}
        sources = {address: self.parts[name].id for name, address in self._sources.items()} if tls else None
        behind = [*shape.introducer_names, *shape.server_names]
        self.proxies = {name: Proxy(record=False, sources=sources) for name in behind}
        self.problems: list[str] = []
        self._ending = threading.Event()

    @property
    def directory(self) -> Path:
        """Where the programs have their files."""
        return self.network.directory

    def start(self) -> None:
        """Start everything, and return when every client is attached."""
        for name in (*self.shape.introducer_names, *self.shape.server_names, *self.shape.client_names):
            self.begin(name)
            if self.problems:
                raise AssertionError(self.problems[0])
        for name in self.shape.client_names:
            if self.wait_ready(name, 2 * PATIENCE) is None:
                raise AssertionError(f"{name} does not attach:\n{self.report(name)}")

    def report(self, name: str) -> str:
        """Return all that a program has printed in its last run."""
        runs = [program for program in self.network.programs if program.name == name]
        return runs[-1].report() if runs else f"{name} was never started"

    # --- programs -----------------------------------------------------------------------------------------------

    def begin(self, name: str) -> None:
        """Start a program that does not run."""
        part = self.parts[name]
        start = {"i": self._start_introducer, "s": self._start_server, "c": self._start_client}[name[0]]
        with part.changed:
            part.ready = False
        try:
            program = start(name)
        except AssertionError as error:
            self.problems.append(f"{name} could not be started again:\n{error}")
            self._say(f"{name} could not be started again")
            return
        with part.changed:
            part.program = program
            part.changed.notify_all()
        program.on_end(partial(self._ended, part))

    def _start_introducer(self, name: str) -> Program:
        program, self.proxies[name].target = self.network.introducer(name, *self._flags)
        return program

    def _start_server(self, name: str) -> Program:
        first, *others = self.shape.introducer_names
        arguments: list[object] = [*self._flags, "--advertise", f"127.0.0.1:{self.proxies[name].port}"]
        for other in others:
            arguments += ["--introducer", f"127.0.0.1:{self.proxies[other].port}"]
        # A new port each time: the old one may have been given to somebody else meanwhile.
        program, self.proxies[name].target = self.network.server(
            name,
            self.proxies[first].port,
            *arguments,
            registered=False,
            pins=self.shape.introducer_names,
            environment=self._own_environment(name),
        )
        return program

    def _own_environment(self, name: str) -> dict[str, str]:
        return {"TEST_SOURCE": self._sources[name]} if self._sources else {}

    def _start_client(self, name: str) -> Program:
        known = self.shape.servers_of(name, self._servers_of_a_client)
        return self.network.client(
            name,
            [self.proxies[server].port for server in known],
            *self._flags,
            attached=False,
            environment=self._own_environment(name),
            hear=partial(self._hear, self.parts[name]),
        )

    def _hear(self, part: Part, line: str) -> None:
        self.ledger.hear(part.name, line)
        if line.startswith("[Me] user_id = "):
            with part.changed:
                part.ready = True
                part.failures = 0
                part.changed.notify_all()

    def _ended(self, part: Part, program: Program) -> None:
        """Take note that a program has ended; runs in the thread that has read its last line."""
        is_client = part.name in self.shape.client_names
        if is_client:
            self.ledger.ended(part.name)
        with part.changed:
            if part.program is not program:
                return  # we have ended it
            part.program = None
            ready, part.ready = part.ready, False
            part.failures += not ready
            part.changed.notify_all()
        if self._ending.is_set():
            return
        code = program.process.wait()
        if is_client and not ready and part.failures < _FAILED_TO_START:
            self._say(f"{part.name} could not start, and tries again")  # no server can be reached
        else:
            self.problems.append(f"{part.name} ended by itself with {code}:\n{_tail(program)}")
            self._say(f"{part.name} ended by itself with {code}")
        threading.Thread(target=self._begin_again, args=(part,), daemon=True).start()

    def _begin_again(self, part: Part) -> None:
        with part.busy:
            if not self._ending.wait(self.shape.factor) and part.program is None:
                self.begin(part.name)

    def wait_ready(self, name: str, seconds: float) -> Program | None:
        """Return a client's program once it has attached; None when that took longer."""
        part = self.parts[name]
        with part.changed:
            part.changed.wait_for(lambda: part.ready and part.program is not None, seconds)
            return part.program if part.ready else None

    def take_down(self, name: str) -> Program | None:
        """Have a program's end be none that happens by itself, and return it; None when it does not run."""
        part = self.parts[name]
        with part.changed:
            program, part.program = part.program, None
            part.ready = False
            part.changed.notify_all()
        return program

    def kill(self, name: str) -> None:
        """End a program as a power cut would."""
        if program := self.take_down(name):
            program.kill()
            program.clean_up()

    def end(self, name: str) -> None:
        """End a program in order, and note it if it does not end as it should."""
        # A client that has only just been started cannot be told to end in order yet.
        if name in self.shape.client_names and self.parts[name].program is not None:
            self.wait_ready(name, PATIENCE)
        if program := self.take_down(name):
            program.signal(signal.SIGTERM)
            try:
                code = program.wait()
            except AssertionError:
                self.problems.append(f"{name} did not end when it was told to:\n{_tail(program)}")
                program.kill()
                code = 0
            program.clean_up()
            if code:
                self.problems.append(f"{name} was told to end, and ended with {code}:\n{_tail(program)}")

    def files(self, name: str) -> Path:
        """Return the directory of a server or a client."""
        return self.directory / name if name in self.proxies else self.directory / "profiles" / name

    # --- links --------------------------------------------------------------------------------------------------

    def set_weather(self, weather: Weather, one: str, other: str) -> None:
        """Change the links between two servers, or those of a client to a server or EVERYWHERE."""
        if other == EVERYWHERE:
            for name in self.shape.server_names:
                self.proxies[name].set_weather(weather, self.parts[one].id)
            return
        self.proxies[other].set_weather(weather, self.parts[one].id)
        if one in self.proxies:
            self.proxies[one].set_weather(weather, self.parts[other].id)

    def heal(self) -> None:
        """Let everything pass again, and start what does not run."""
        for proxy in self.proxies.values():
            for who in (None, *(part.id for part in self.parts.values())):
                proxy.set_weather(FINE, who)
        for name, part in self.parts.items():
            with part.busy:
                if part.program is None:
                    self.begin(name)

    # --- the end ------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """End all programs in order: clients, servers, introducers; and look for what must never be printed."""
        self._ending.set()
        names = [*self.shape.client_names, *self.shape.server_names, *self.shape.introducer_names]
        for name in names:
            with self.parts[name].busy:
                self.end(name)
        self.problems += [text for program in self.network.programs if (text := program.misbehaved())]

    def close(self, *, keep: bool) -> None:
        """End whatever still runs, and remove the directory or write all that was printed into it."""
        self._ending.set()
        for name in self.parts:
            self.take_down(name)
        for proxy in self.proxies.values():
            proxy.close()
        if keep:
            self._write_logs()
        with contextlib.suppress(AssertionError):  # what misbehaved was noted by `finish`
            self.network.end(keep=keep)

    def _write_logs(self) -> None:
        logs = self.directory / "logs"
        logs.mkdir(exist_ok=True)
        runs: dict[str, int] = {}
        for program in self.network.programs:
            runs[program.name] = run = runs.get(program.name, 0) + 1
            (logs / f"{program.name}-{run}.log").write_text(program.report() + "\n", "utf-8")
        (logs / "clients.log").write_text("\n".join(self.ledger.said) + "\n", "utf-8")


def _tail(program: Program) -> str:
    return "\n".join([*program.lines[-5:], *program.errors[-10:]])
