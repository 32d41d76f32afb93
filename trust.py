"""What a person is asked when another server answers than before: to type its id, so that nobody agrees by habit.

A `y` is typed in a second, by whoever wants to get on. An id has to be compared to be typed, or copied from where it
stands, with the one that was there before above it.
"""

from __future__ import annotations

from collections.abc import Callable

from errors import ServerChanged
from moments import day_and_time

_TRIES = 3


def is_trusted(changed: ServerChanged, say: Callable[[str], None], ask: Callable[[str], str | None]) -> bool:
    """Ask whether to go on with a server that is another one now.

    Args:
        changed: which was there before, and which is there now.
        say: shows a line.
        ask: shows a question, and returns the line that was typed; None if there will be none.

    Returns:
        Whether the new id was typed, the whole of it. Nothing, or something else three times, means that it was not.
    """
    seen = f"first seen {day_and_time(changed.seen)}" if changed.seen else "first seen nobody knows when"
    say(f"[Server] This is not the server that was here before, at {changed.address}!")
    say(f"[Server]   before: {changed.pinned}")
    say(f"[Server]           {seen}")
    say(f"[Server]   now:    {changed.found}")
    say("[Server] Somebody may be in the middle. Ask whoever runs the server, in")
    say("[Server] another way, whether its id is new.")
    for _ in range(_TRIES):
        answer = (ask("Type the new id in full to trust it from now on, or nothing to leave: ") or "").strip()
        if not answer or answer.lower() == changed.found:
            return bool(answer)
        say("[Server] That is not the new id.")
    return False
