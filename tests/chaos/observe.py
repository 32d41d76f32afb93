"""Who is online, as clients list it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from tests.chaos.world import World
from tests.e2e.harness import Program

_LISTING = 15.0  # seconds for one answer to /list
_BETWEEN = 0.2  # seconds between two questions; there is nothing else to wait for


def listed(program: Program, seconds: float) -> set[str] | None:
    """Have a client list who is online; None when it cannot."""
    mark = program.mark()
    try:
        program.type("/list")
        found = program.expect(r"\[List\] (\d+) online|\[Error\]", after=mark, seconds=seconds)
    except (AssertionError, OSError, ValueError):
        return None
    if found[1] is None:
        return None
    entries = program.expect_entries(int(found[1]), after=mark)
    return {entry.split()[0] for entry in entries}


def wait_presence(world: World, observers: Iterable[str], deadline: float) -> str:
    """Wait until each of some clients lists exactly all users; return what is wrong at the deadline."""
    expected = {world.parts[name].id for name in world.shape.client_names}
    wrong: dict[str, str] = {}
    pause = threading.Event()

    def observe(name: str) -> None:
        while True:
            program = world.wait_ready(name, max(0.0, deadline - time.monotonic()))
            seen = listed(program, _LISTING) if program is not None else None
            if seen == expected:
                return
            if time.monotonic() >= deadline:
                wrong[name] = f"{name} lists {'nothing' if seen is None else len(seen)}, not {len(expected)}"
                return
            pause.wait(_BETWEEN)

    threads = [threading.Thread(target=observe, args=(name,), daemon=True) for name in observers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return "; ".join(wrong.values())
