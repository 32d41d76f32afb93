"""Breaks a program on purpose, so that tests can show that the checker of a chaos run notices.

launch.py calls this when $TEST_SABOTAGE is set; the programs themselves have no such thing. What is patched must be
there: else the sabotage fails, and does not pass for a program that nothing can break.

    drop:1000   of a thousand direct messages, one is confirmed by its recipient's client and not shown
    forget      a client has never shown anything before, whatever it is asked
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from typing import Any

from events import Event, Message
from inbox import Inbox
from memory import Showing, Shown


def sabotage(what: str) -> None:
    """Break this process.

    Args:
        what: see above.

    Raises:
        ValueError: there is no such sabotage, or nothing to break by it.
    """
    kind, _, number = what.partition(":")
    if kind == "drop":
        _drop(int(number))
    elif kind == "forget":
        _forget()
    else:
        raise ValueError(f"no such sabotage: {what}")


def _drop(one_in: int) -> None:
    if "show" not in inspect.signature(Inbox).parameters:
        raise ValueError("Inbox takes no function that shows")
    right = Inbox.__init__

    def begin(inbox: Inbox, *arguments: Any, show: Callable[[Event], None], **others: Any) -> None:
        def show_most(event: Event) -> None:
            if not isinstance(event, Message) or random.randrange(one_in):
                show(event)

        right(inbox, *arguments, show=show_most, **others)

    Inbox.__init__ = begin  # type: ignore[method-assign, assignment]


def _forget() -> None:
    if not {"of", "begin", "done"} <= set(vars(Shown)):
        raise ValueError("Shown has no such memory")
    Shown.of = lambda *_: Showing.NEW  # type: ignore[method-assign]
    Shown.begin = lambda *_: None  # type: ignore[method-assign]
