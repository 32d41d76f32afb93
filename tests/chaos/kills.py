"""Kills a server under load again and again: its database stays whole, and links and presence are right again in time.

python -m tests.chaos.kills --times 100 --factor 0.1
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.ledger import Ledger
from tests.chaos.observe import wait_presence
from tests.chaos.run import Outcome, drain
from tests.chaos.schedule import Shape
from tests.chaos.talk import Load
from tests.chaos.world import World

_WITHIN = 60.0  # seconds, scaled, for links and for presence
_WITHIN_LEAST = 10.0
_LOST = 45.0  # seconds, scaled, after which the users of a server without a link are away ...
_LOST_SHARE = 0.2  # ... and of how many kills a server stays dead for longer


@dataclass
class Times:
    """What was measured, in seconds from the restart."""

    links: list[float] = field(default_factory=list)
    presence: list[float] = field(default_factory=list)

    def report(self, allowed: float) -> list[str]:
        """Return the lines of a table."""
        lines = [f"{'seconds from the restart':<26}{'median':>8}{'most':>8}{'allowed':>9}"]
        for name, values in (("links are up", self.links), ("presence is right", self.presence)):
            if values:
                lines.append(f"{name:<26}{statistics.median(values):>8.2f}{max(values):>8.2f}{allowed:>9.2f}")
        return lines


def check_databases(directory: Path) -> list[str]:
    """Check every database in the directory of a server that was killed; return what is wrong.

    Copies are checked: SQLite would mend the originals when it opens them, which is for the server to do.
    """
    databases = sorted(directory.glob("*.sqlite3"))
    problems = [] if databases else [f"{directory} holds no database"]
    for path in databases:
        with tempfile.TemporaryDirectory(prefix="socp-check-") as copies:
            for part in directory.glob(f"{path.name}*"):
                shutil.copy(part, copies)
            with contextlib.closing(sqlite3.connect(Path(copies, path.name))) as database:
                try:
                    found = "; ".join(row[0] for row in database.execute("PRAGMA integrity_check"))
                except sqlite3.DatabaseError as error:
                    found = str(error)
            if found != "ok":
                problems.append(f"{path}: {found}")
    return problems


def wait_links(world: World, name: str, deadline: float) -> str:
    """Wait until a server says that its links to all others are up; return what is missing at the deadline."""
    program = world.parts[name].program
    if program is None:
        return f"{name} does not run"
    for other in world.shape.server_names:
        if other == name:
            continue
        try:
            program.expect_error(
                f"link to server {world.parts[other].id} is up", seconds=max(0.0, deadline - time.monotonic())
            )
        except AssertionError:
            return f"{name} has no link to {other}"
    return ""


class Kills:
    """The kills of one run.

    Args:
        world: the network; its first clients, one for each server, observe, and the others talk.
        rng: who is killed, and for how long.
        say: prints a line.
    """

    def __init__(self, world: World, rng: random.Random, say: Callable[[str], None]) -> None:
        self._world = world
        self._rng = rng
        self._say = say
        self.observers = world.shape.client_names[: world.shape.servers]
        self.talkers = world.shape.client_names[world.shape.servers :]
        self.allowed = max(_WITHIN * world.shape.factor, _WITHIN_LEAST)
        self.times = Times()

    def run(self, times: int) -> None:
        """Kill so often; what is wrong is among the world's problems."""
        for number in range(1, times + 1):
            # What was right must have stayed so: presence that goes wrong late is seen here.
            before = wait_presence(self._world, self.observers, time.monotonic() + self.allowed)
            if before:
                self._problem(f"before kill {number}: {before}")
            self._kill(number, self._rng.choice(self._world.shape.server_names))

    def _kill(self, number: int, name: str) -> None:
        world = self._world
        # At any moment of whatever the server does.
        threading.Event().wait(self._rng.uniform(0, 2.0))
        with world.parts[name].busy:
            world.kill(name)
            for problem in check_databases(world.files(name)):
                self._problem(f"kill {number}: {problem}")
            down = self._time_down()
            threading.Event().wait(down)
            began = time.monotonic()
            world.begin(name)
        deadline = began + self.allowed
        missing = wait_links(world, name, deadline)
        links = time.monotonic() - began
        wrong = wait_presence(world, self.observers, deadline)
        presence = time.monotonic() - began
        for problem in filter(None, (missing, wrong)):
            self._problem(f"kill {number}, after {self.allowed:.1f} s: {problem}")
        if not missing:
            self.times.links.append(links)
        if not wrong:
            self.times.presence.append(presence)
        self._say(
            f"{number:>4}  {name} killed and down for {down:.1f} s;"
            f" links after {links:.2f} s, presence after {presence:.2f} s"
        )

    def _time_down(self) -> float:
        """Return the seconds to leave a server dead: now and then so long that its users have gone from all lists."""
        if self._rng.random() < _LOST_SHARE:
            return self._rng.uniform(1.05, 1.2) * _LOST * self._world.shape.factor
        return self._rng.uniform(0, 2.0) * self._world.shape.factor

    def _problem(self, text: str) -> None:
        self._world.problems.append(text)
        self._say(f"  ! {text}")


def run(times: int, shape: Shape, seed: int, rate: float, say: Callable[[str], None]) -> Outcome:
    """Do all of it.

    Args:
        times: how often to kill.
        shape: the network, with more clients than servers.
        seed: who is killed, and who talks to whom.
        rate: messages a second of each client.
        say: prints a line.
    """
    ledger = Ledger()
    # Each client knows its own server alone, and comes back to it: else there would soon be none to ask at some.
    world = World(shape, ledger, say, servers_of_a_client=1)
    keep = True
    try:
        world.start()
        kills = Kills(world, random.Random(seed), say)
        load = Load(world, rate, seed, kills.talkers)
        load.start()
        kills.run(times)
        load.stop()
        drain(world, None, say)
        world.finish()
        for line in kills.times.report(kills.allowed):
            say(line)
        account = ledger.account()
        keep = bool(world.problems) or any(account.bad.values())
        return Outcome(account, world.problems, str(world.directory) if keep else "")
    finally:
        world.close(keep=keep)


def main() -> int:
    """Run, and return 0 for green and 1 for red."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.kills", description=__doc__, allow_abbrev=False)
    parser.add_argument("--times", type=int, default=5, help="how often a server is killed (default: %(default)s)")
    parser.add_argument("--factor", type=float, default=1.0, help="that all timers are multiplied by")
    parser.add_argument("--servers", type=int, default=4)
    parser.add_argument("--clients", type=int, default=10, help="one for each server observes, the others talk")
    parser.add_argument("--rate", type=float, default=2.0, help="messages a second of each client that talks")
    parser.add_argument("--seed", type=int, help="who is killed and when (default: by the clock)")
    arguments = parser.parse_args()
    if arguments.clients < arguments.servers + 2:
        parser.error("there must be two clients more than servers, to talk")
    seed = arguments.seed if arguments.seed is not None else int(time.time())
    shape = Shape(arguments.servers, arguments.clients, 1, arguments.factor)

    def say(line: str) -> None:
        print(line, flush=True)

    say(f"seed {seed}: {arguments.times} kills, timers at {arguments.factor:g}")
    outcome = run(arguments.times, shape, seed, arguments.rate, say)
    for line in outcome.report():
        say(line)
    return 0 if outcome.green else 1


if __name__ == "__main__":
    sys.exit(main())
