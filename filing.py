"""The commands for files: to send one, to say which are taken, and to see and end those that are under way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from commands import Command, Kind, UsageError, split_user
from downloads import safe_name
from errors import ChatError, FileRefused, TransferUnknown
from progress import size_text
from session import Session
from underway import State, UnderWay

_NUMBER = re.compile(r"#?([0-9]{1,9})", re.ASCII)
_DOING = {
    State.OFFERED: "not answered yet",
    State.WAITING: "accepted; waits for its turn",
    State.HASHING: "is read before it is offered",
    State.RUNNING: "under way",
    State.INTERRUPTED: "interrupted",
}


def _send(session: Session, rest: str) -> None:
    user, path = split_user(rest)
    path = path.strip()
    if not user or not path:
        raise UsageError
    try:
        found = Path(path).expanduser()
    except (RuntimeError, ValueError) as error:  # no name of a user at all, such as one with NUL in it: a ValueError
        raise FileRefused(f"cannot read {path}: there is no such user") from error
    file_id = session.chat.send_file(user, found)
    if session.screen.interactive:
        for file in session.chat.files():
            if file.file_id == file_id and not file.incoming:
                _say(session, file, f"offered ({file.size:,} bytes); /cancel {file.number} ends it")


def _accept(session: Session, rest: str) -> None:
    file = _offered(session, rest, "/accept")
    if not session.chat.accept_file(file.file_id, file.peer):
        return  # and an event tells why
    # That it begins is told by an event, which comes from another thread and may be there already.
    now = _numbered(session.chat.files(), file.number)
    if now is not None and now.state is State.WAITING:
        _say(session, now, f"{_DOING[State.WAITING]} ({now.size:,} bytes)")


def _deny(session: Session, rest: str) -> None:
    file = _offered(session, rest, "/deny")
    session.chat.deny_file(file.file_id, file.peer)  # which an event tells


def _cancel(session: Session, rest: str) -> None:
    number = _number(rest)
    if number is None:
        raise UsageError
    file = _numbered(session.chat.files(), number)
    if file is None:
        raise TransferUnknown(f"no file #{number} is under way; /files shows which are")
    session.chat.cancel_file(file.file_id, file.peer)  # which an event tells


def _list(session: Session, _rest: str) -> None:
    files = session.chat.files()
    session.say("Files", f"{len(files)} offered or under way")
    for file in files:
        way = "from" if file.incoming else "to"
        share = f"{size_text(file.done)} of {size_text(file.size)}"
        # The name stands last, so that it can pass for nothing else.
        session.row(
            f"#{file.number}  {way} {session.label(file.peer)}  {share}  {_doing(file)}  {safe_name(file.name)}"
        )


def _doing(file: UnderWay) -> str:
    if file.incoming and file.state is State.OFFERED:
        return f"/accept {file.number} or /deny {file.number}"
    return _DOING[file.state]


def _offered(session: Session, rest: str, command: str) -> UnderWay:
    """Return the offer that a person means: by its number, or the only one.

    Raises:
        ChatError: none is meant, or it is not clear which.
    """
    offered = [file for file in session.chat.files() if file.incoming and file.state is State.OFFERED]
    number = _number(rest)
    if number is not None:
        file = _numbered(offered, number)
        if file is None:
            raise TransferUnknown(f"no file #{number} is offered; /files shows which are")
        return file
    if not offered:
        raise TransferUnknown("no file is offered")
    [*others, file] = offered
    if others:
        numbers = ", ".join(f"{command} {each.number}" for each in offered)
        raise ChatError(f"{len(offered)} files are offered; say which is meant: {numbers}")
    if session.is_unseen(file.began):
        # It was typed about another one, that is not offered any more, or before this one could be read.
        raise ChatError(f"{safe_name(file.name)} was offered in the meantime; {command} again means that")
    return file


def _number(rest: str) -> int | None:
    """Return a number that was typed; None if nothing was.

    Raises:
        UsageError: something else was.
    """
    text = rest.strip()
    match = _NUMBER.fullmatch(text)
    if text and match is None:
        raise UsageError
    return int(match[1]) if match is not None else None


def _numbered(files: Sequence[UnderWay], number: int) -> UnderWay | None:
    return next((file for file in files if file.number == number), None)


def _say(session: Session, file: UnderWay, what: str) -> None:
    way = "from" if file.incoming else "to"
    session.say(f"File {way} {session.label(file.peer)}", f"{safe_name(file.name)} {what}")


COMMANDS = (
    Command(
        "/file",
        "/file <user> <path>",
        "a file that <user> alone can read",
        "It is sent when <user> has accepted it.\n  /file ben ~/menu.pdf",
        _send,
        (Kind.USER, Kind.PATH),
    ),
    Command(
        "/accept",
        "/accept <number>",
        "take a file that is offered",
        "/accept alone takes the only one. It is put where --downloads says, under a\n"
        "name that no file has there. --accept-from says whose are taken unasked.\n"
        "  /accept 3",
        _accept,
        (Kind.TEXT,),
    ),
    Command(
        "/deny",
        "/deny <number>",
        "turn down a file that is offered",
        "/deny alone turns down the only one. Its sender learns that you do not take\n"
        "it. What you do not answer lapses in ten minutes.\n"
        "  /deny 3",
        _deny,
        (Kind.TEXT,),
    ),
    Command(
        "/files",
        "/files",
        "files that are offered or under way",
        "Each with its number. A transfer that is interrupted goes on by itself when\nboth ends are connected again.",
        _list,
    ),
    Command(
        "/cancel",
        "/cancel <number>",
        "end a file that is sent or received",
        "The other end is told, and nothing is left of it there.\n  /cancel 3",
        _cancel,
        (Kind.TEXT,),
    ),
)
