"""One run: a network, its load, its faults, and what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.chaos.faults import Trouble, can_fill_disks
from tests.chaos.ledger import Account, Ledger
from tests.chaos.observe import wait_presence
from tests.chaos.schedule import Fault, Shape
from tests.chaos.talk import Load
from tests.chaos.world import World
from tests.e2e.harness import PATIENCE

# Messages that are stored wait for links and for resends: some minutes, scaled, and what a busy machine adds to that.
_DRAIN = 240.0
_DRAIN_LEAST = 60.0


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Args:
        seed: of the choices of all that talk.
        seconds: of load and faults.
        shape: the network.
        faults: what goes wrong.
        rate: messages a second of each client.
        environment: variables for all programs.
        drain: seconds that everything has to be settled in, afterwards.
        keep: whether to keep the directory; None: if something is wrong.
        tls: whether all speak TLS, and nothing else.
    """

    seed: int
    seconds: float
    shape: Shape
    faults: Sequence[Fault]
    rate: float
    environment: dict[str, str] = field(default_factory=dict)
    drain: float | None = None
    keep: bool | None = None
    tls: bool = False


@dataclass
class Outcome:
    """What came of it."""

    account: Account
    problems: list[str]
    directory: str  # where everything was kept, or the empty string

    @property
    def green(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems and not any(self.account.bad.values())

    def report(self) -> Iterator[str]:
        """Return the lines to print; the last is the verdict."""
        yield from self.account.report()
        for problem in self.problems[:10]:
            yield from (f"  ! {line}" for line in problem.splitlines()[:40])
        if len(self.problems) > 10:
            yield f"  ! and {len(self.problems) - 10} more problems"
        if self.directory:
            yield f"All that was printed is in {self.directory}/logs"
        bad = {heading: len(pieces) for heading, pieces in self.account.bad.items() if pieces}
        if self.problems:
            bad["problems of programs"] = len(self.problems)
        said = ", ".join(f"{count:,} {heading}" for heading, count in bad.items())
        yield f"RED: {said}" if bad else "GREEN: every message was shown once, or reported by its sender"


def run(plan: Plan, say: Callable[[str], None]) -> Outcome:
    """Do all of it.

    Args:
        plan: what to do.
        say: prints a line.

    Raises:
        AssertionError: the network could not be started.
    """
    ledger = Ledger()
    world = World(plan.shape, ledger, say, environment=plan.environment, tls=plan.tls)
    keep = plan.keep is not False
    try:
        account = _run(plan, world, say)
        if plan.keep is None:
            keep = bool(world.problems) or any(account.bad.values())
        return Outcome(account, world.problems, str(world.directory) if keep else "")
    finally:
        world.close(keep=keep)


def _run(plan: Plan, world: World, say: Callable[[str], None]) -> Account:
    shape, ledger = plan.shape, world.ledger
    began = time.monotonic()

    def since() -> str:
        return f"{time.monotonic() - began:.1f} s"

    if not can_fill_disks() and any(fault.kind.endswith("disk") for fault in plan.faults):
        say("this system does not let one process limit the files of another: no disk is filled")
    world.start()
    # While nobody types anything else: an error about a list is not to be taken for one about a message.
    wrong = wait_presence(world, shape.client_names, time.monotonic() + PATIENCE)
    assert not wrong, wrong
    load = Load(world, plan.rate, plan.seed)
    load.meet()
    say(f"{shape.servers} servers and {shape.clients} clients run, and everybody has met everybody ({since()})")
    put_in_trouble(plan, world, load, say)
    drain(world, plan.drain, say)
    world.finish()
    say(f"done ({since()})")
    return ledger.account()


def put_in_trouble(plan: Plan, world: World, load: Load, say: Callable[[str], None]) -> None:
    """Have everybody talk while everything of the schedule happens."""
    began = time.monotonic()
    load.start()
    Trouble(world, lambda: time.monotonic() - began, say).run(plan.faults)
    threading.Event().wait(max(0.0, began + plan.seconds - time.monotonic()))
    load.stop()


def drain(world: World, seconds: float | None, say: Callable[[str], None]) -> None:
    """Make everything good, and wait until every message that was taken has its final word.

    Args:
        world: the network.
        seconds: how long; without it, as long as the timers ask for.
        say: prints a line.
    """
    began = time.monotonic()
    world.heal()
    waiting = world.ledger.unsettled()
    say(f"all is healed; {waiting:,} messages have no final word yet")
    # Whoever attaches sends all that is not confirmed again, and gets all that is stored.
    for name in world.shape.client_names:
        with world.parts[name].busy:
            world.end(name)
            world.begin(name)
    if seconds is None:
        seconds = _DRAIN * world.shape.factor + _DRAIN_LEAST
    settled = world.ledger.wait_settled(seconds)
    took = time.monotonic() - began
    left = "all have one now" if settled else f"{world.ledger.unsettled():,} have none still"
    say(f"{left} ({took:.1f} s)")
