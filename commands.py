"""The commands of a client: what each is called, takes and does, and which one is meant by what was typed."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from session import Session


class Kind(enum.Enum):
    """What an argument is, for whoever completes it."""

    USER = enum.auto()
    PATH = enum.auto()
    COMMAND = enum.auto()
    TEXT = enum.auto()  # nothing to complete


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: what it begins with, such as "/tell".
        usage: the whole of it, such as "/tell <user> <message>".
        summary: what it does, in some words.
        details: what more there is to know, with examples; a line for each of the text's.
        run: carries it out, with what follows the name; raises ChatError.
        completes: what its arguments are.
    """

    name: str
    usage: str
    summary: str
    details: str
    run: Callable[[Session, str], None]
    completes: tuple[Kind, ...] = ()


class UsageError(Exception):
    """Raised by a command whose arguments it cannot take."""


class Commands:
    """The table of all commands, in the order in which they are listed."""

    def __init__(self, commands: Iterable[Command]) -> None:
        self._commands = {command.name: command for command in commands}

    def __iter__(self) -> Iterator[Command]:
        return iter(self._commands.values())

    def add(self, command: Command) -> None:
        """Add one more."""
        self._commands[command.name] = command

    def get(self, name: str) -> Command | None:
        """Return the command of a name, with or without its slash."""
        return self._commands.get(name if name.startswith("/") else f"/{name}")

    def near(self, name: str) -> str:
        """Return the name that was most likely meant by one that there is not, or the empty string."""
        found = difflib.get_close_matches(name.lower(), self._commands, n=1, cutoff=0.6)
        return found[0] if found else ""


def split_user(rest: str) -> tuple[str, str]:
    """Cut a command's rest into the user, who may stand in quotes, and what follows."""
    if rest.startswith('"') and '"' in rest[1:]:
        user, _, text = rest[1:].partition('"')
        return user, text.lstrip()
    user, _, text = rest.partition(" ")
    return user, text.lstrip()
