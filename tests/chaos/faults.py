"""What each kind of fault does to a network, and how it is made good again."""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from tests.chaos.schedule import Fault
from tests.chaos.world import World
from tests.e2e.proxy import CUT, FINE, HOLE, MUTE, Weather


@contextlib.contextmanager
def _killed(world: World, fault: Fault) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for name in fault.whom:
            stack.enter_context(world.parts[name].busy)
            world.kill(name)
        yield
        for name in fault.whom:
            world.begin(name)


@contextlib.contextmanager
def _ended(world: World, fault: Fault) -> Iterator[None]:
    (name,) = fault.whom
    with world.parts[name].busy:
        world.end(name)
        yield
        world.begin(name)


@contextlib.contextmanager
def _stopped(world: World, fault: Fault) -> Iterator[None]:
    (name,) = fault.whom
    with world.parts[name].busy:
        program = world.parts[name].program
        if program is not None:
            program.signal(signal.SIGSTOP)
        yield
        if program is not None:
            program.signal(signal.SIGCONT)


def _weather(choose: Callable[[Fault], Weather]) -> Callable[[World, Fault], contextlib.AbstractContextManager[None]]:
    @contextlib.contextmanager
    def changed(world: World, fault: Fault) -> Iterator[None]:
        one, other = fault.whom
        world.set_weather(choose(fault), one, other)
        yield
        world.set_weather(FINE, one, other)

    return changed


def can_fill_disks() -> bool:
    """Whether this system lets one process limit the files of another."""
    return hasattr(resource, "prlimit")


def _log_size(world: World, name: str) -> int:
    """Return the size of the longest write-ahead log: what is written goes to its end."""
    return max((path.stat().st_size for path in world.files(name).glob("*.sqlite3-wal")), default=0)


@contextlib.contextmanager
def _files_limited(world: World, fault: Fault, size: int) -> Iterator[None]:
    (name,) = fault.whom
    with world.parts[name].busy:
        program = world.parts[name].program
        if program is None or sys.platform == "darwin" or not can_fill_disks():
            yield
            return
        pid = program.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
        yield
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself, which is noted elsewhere
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def _disk_full(world: World, fault: Fault) -> contextlib.AbstractContextManager[None]:
    """Let no file become longer than the log is now; what is freed can be used again."""
    return _files_limited(world, fault, _log_size(world, fault.whom[0]))


def _disk_broken(world: World, fault: Fault) -> contextlib.AbstractContextManager[None]:
    """Let nothing be written at all."""
    return _files_limited(world, fault, 0)


KINDS: dict[str, Callable[[World, Fault], contextlib.AbstractContextManager[None]]] = {
    "kill-server": _killed,
    "stop-server": _stopped,
    "restart-server": _ended,
    "fill-disk": _disk_full,
    "break-disk": _disk_broken,
    "kill-client": _killed,
    "stop-client": _stopped,
    "break-client-disk": _disk_broken,
    "cut-servers": _weather(lambda _: CUT),
    "slow-servers": _weather(lambda fault: Weather(delay=fault.delay)),
    "lose-servers": _weather(lambda _: HOLE),
    "cut-client": _weather(lambda _: CUT),
    "slow-client": _weather(lambda fault: Weather(delay=fault.delay)),
    "lose-client": _weather(lambda _: HOLE),
    "mute-client": _weather(lambda _: MUTE),
    "kill-introducers": _killed,
}


class Trouble:
    """Has the faults of a schedule happen to a network, each at its time.

    Args:
        world: the network.
        now: returns the seconds since the beginning.
        say: told of each fault as it happens.
    """

    def __init__(self, world: World, now: Callable[[], float], say: Callable[[str], None]) -> None:
        self._world = world
        self._now = now
        self._say = say
        self._claims: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def run(self, faults: Iterable[Fault]) -> None:
        """Let everything of the schedule happen, and return when all is good again."""
        threads = []
        never = threading.Event()
        for fault in faults:
            never.wait(max(0.0, fault.at - self._now()))
            thread = threading.Thread(target=self._happen, args=(fault, self._claims[fault.claim]), daemon=True)
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()

    def _happen(self, fault: Fault, claim: threading.Lock) -> None:
        # A restart may take longer than was thought: what comes next to the same program then comes later.
        with claim:
            self._say(str(fault))
            try:
                with KINDS[fault.kind](self._world, fault):
                    threading.Event().wait(max(0.1, fault.end - self._now()))
            except (OSError, AssertionError) as error:
                self._world.problems.append(f"{fault} failed: {error}")
