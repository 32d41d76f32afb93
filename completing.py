"""What the Tab key puts in: names of commands, of users, and of files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from commands import Commands, Kind
from editor import Completion
from names import plain_name
from nicknames import BEGINNING

_FILES_MOST = 10_000  # of one directory that are looked at

People = Callable[[], Iterable[tuple[str, str]]]


class Completer:
    """Completes what stands before the cursor; called in the keyboard's thread, and waits for no server.

    Args:
        commands: those there are.
        people: the users that are known, by id and name, without asking for them.
    """

    def __init__(self, commands: Commands, people: People) -> None:
        self._commands = commands
        self._people = people

    def __call__(self, before: str) -> Completion:
        """Return what could stand in place of the last word before the cursor."""
        word, space, rest = before.partition(" ")
        if not space:
            names = (f"{command.name} " for command in self._commands if command.name.startswith(word))
            return Completion(0, tuple(names) if word.startswith("/") else ())
        command = self._commands.get(word) if word.startswith("/") else None
        start = len(word) + 1
        start += len(rest) - len(rest.lstrip(" "))
        for kind in command.completes if command is not None else ():
            argument = before[start:]
            end = _end_of_argument(argument) if kind is not Kind.PATH else None
            if end is None:
                return Completion(start, tuple(sorted(self._candidates(kind, argument))))
            start += end
            start += len(before[start:]) - len(before[start:].lstrip(" "))
        return Completion(len(before), ())

    def _candidates(self, kind: Kind, typed: str) -> Iterator[str]:
        if kind is Kind.USER:
            yield from self._users(typed)
        elif kind is Kind.COMMAND:
            names = (command.name.removeprefix("/") for command in self._commands)
            yield from (name for name in names if name.startswith(typed.removeprefix("/")))
        elif kind is Kind.PATH:
            yield from _paths(typed)

    def _users(self, typed: str) -> Iterator[str]:
        """Return the names that begin as typed, or if there are none, the ids."""
        wanted = typed.lstrip('"').casefold()
        people = {user_id: plain_name(name) for user_id, name in self._people()}
        names = {name for name in people.values() if name.casefold().startswith(wanted)}
        names = {name for name in names if name and not BEGINNING.fullmatch(name.lower())}
        if names:
            yield from (f'"{name}" ' if " " in name or typed.startswith('"') else f"{name} " for name in names)
        else:
            yield from (f"{user_id} " for user_id in people if user_id.startswith(wanted))


def _end_of_argument(text: str) -> int | None:
    """Return where an argument ends that stands at the beginning of a text; None if it is not finished."""
    if text.startswith('"'):
        end = text.find('"', 1)
        return None if end < 0 or len(text) == end + 1 else end + 1
    end = text.find(" ")
    return None if end < 0 else end


def _paths(typed: str) -> Iterator[str]:
    """Return the files and directories whose paths begin as typed; what is hidden only when that was begun."""
    head, slash, beginning = typed.rpartition("/")
    try:
        directory = Path(head + slash).expanduser() if slash else Path()
        with os.scandir(directory) as entries:
            for entry in islice(entries, _FILES_MOST):
                hidden = entry.name.startswith(".") and not beginning.startswith(".")
                if entry.name.startswith(beginning) and not hidden and entry.name.isprintable():
                    yield f"{head}{slash}{entry.name}{'/' if entry.is_dir() else ''}"
    except (OSError, RuntimeError, ValueError):
        return  # there is no such directory, or no such user's: nothing to complete
