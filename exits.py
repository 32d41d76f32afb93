"""How a client ends: its exit codes, and the lines on standard error that say why.

Scripts depend on the numbers: none of them changes its meaning.
"""

from __future__ import annotations

import enum
import sys

from display import visible


class Exit(enum.IntEnum):
    """The exit codes of a client."""

    DONE = 0
    FAILURE = 1
    USAGE = 2
    NO_CONNECTION = 3
    NO_SUCH_USER = 4  # or one who is offline, where that matters
    BAD_KEY = 5  # a key, its password, or a signature
    TIMED_OUT = 6
    INTERRUPTED = 130


EXIT_MEANINGS: dict[Exit, str] = {
    Exit.DONE: "done (tell: delivered or stored)",
    Exit.FAILURE: "failed",
    Exit.USAGE: "wrong usage",
    Exit.NO_CONNECTION: "no connection to a server",
    Exit.NO_SUCH_USER: "no such user, or offline",
    Exit.BAD_KEY: "a key, its password, or a signature is wrong",
    Exit.TIMED_OUT: "timed out",
    Exit.INTERRUPTED: "ended by Ctrl-C",
}


def explain(message: str, hint: str = "") -> None:
    """Print on standard error what went wrong, and what would help, made visible and on one line each."""
    sys.stderr.write(f"socp: error: {visible(message)}\n")
    if hint:
        sys.stderr.write(f"socp: hint: {visible(hint)}\n")
    sys.stderr.flush()
