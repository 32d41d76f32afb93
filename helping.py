"""The commands for finding out, and for what a person sees: /help, /info, /joins and /quit, and the first run."""

from __future__ import annotations

import time

from commands import Command, Commands, Kind, UsageError
from errors import ChatError
from events import Event, PresenceChanged
from session import Session

_USER = (
    "A <user> is a nickname, an id, a beginning of one (4 characters or more), or",
    'a display name ("in quotes" if it has spaces).',
)
_MOST_NAMED = 5
_WHOSE = {"contacts": "contacts", "all": "everybody", "none": "nobody"}
JOINS = tuple(_WHOSE)


def help_command(commands: Commands) -> Command:
    """Return /help for a table of commands."""

    def show(session: Session, rest: str) -> None:
        wanted = rest.strip()
        if not wanted:
            width = max(len(command.usage) for command in commands)
            for command in commands:
                session.row(f"{command.usage:<{width}}  {command.summary}")
            for line in _USER:
                session.row(line)
            return
        found = commands.get(wanted)
        if found is None:
            near = commands.near(wanted if wanted.startswith("/") else f"/{wanted}")
            raise ChatError(f"there is no command {wanted}" + (f"; did you mean {near}?" if near else ""))
        session.row(f"{found.usage}    {found.summary}")
        for line in found.details.splitlines():
            session.row(line)

    return Command(
        "/help",
        "/help <command>",
        "what one command does, with examples",
        "/help alone lists all.\n  /help file",
        show,
        (Kind.COMMAND,),
    )


def welcome(session: Session) -> None:
    """Tell somebody who is here for the first time what has happened, and what to type."""
    chat = session.chat
    for line in (
        f"Welcome! A key was made for you: it is you, and stays in the profile {chat.profile_name}.",
        f"Your id, {chat.user_id[:8]}…, proves that key to your friends: give it to them.",
        "/list shows who is here. /tell <user> <message>: only <user> can read that.",
        "/all <message> is for everybody. /file <user> <path> sends a file.",
        "Tab completes, /help tells the rest, and Ctrl-D leaves.",
    ):
        session.row(line)


def greet(session: Session) -> None:
    """Tell somebody who has just come who is here."""
    try:
        others = [user for user in session.chat.users() if user.user_id != session.chat.user_id]
    except ChatError as error:
        session.note(f"who is here is not known: {error}")
        return
    names = [session.called(user.user_id, user.name) for user in others[:_MOST_NAMED]]
    more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
    session.say("Here", f"{', '.join(names)}{more}" if others else "nobody else is online")


def _info(session: Session, _rest: str) -> None:
    chat, counts = session.chat, session.counts
    session.say(
        "Info", f"you are {session.label(chat.user_id)}, with the id {chat.user_id}, in the profile {chat.profile_name}"
    )
    status = chat.link_status
    if status is None:
        session.row("not connected to a server at the moment; that comes back by itself")
    else:
        kind = "encrypted by TLS" if status.secure else "plain: public messages can be read on the way"
        session.row(f"server {status.address}, {status.server_id}")
        session.row(f"link {kind}; up for {_duration(time.time() - status.since)}")
    session.row(
        f"since the start: {counts.sent} sent, {counts.received} direct and {counts.public} public messages received; "
        f"{chat.undelivered} not confirmed, {chat.unsent_files} files on their way"
    )


def _duration(seconds: float) -> str:
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86_400)
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min" if minutes else f"{int(seconds)} s"


class Joins:
    """Shows who comes and goes: contacts, everybody, or nobody.

    Args:
        session: where.
        whose: one of JOINS.
    """

    def __init__(self, session: Session, whose: str) -> None:
        self._session = session
        self.whose = whose

    def take(self, event: Event) -> None:
        """Show an event, if it is somebody who comes or goes and is to be shown."""
        if isinstance(event, PresenceChanged):
            self._show(event.joined, "here now")
            self._show(event.left, "gone")

    def _show(self, user_ids: tuple[str, ...], what: str) -> None:
        is_contact = self._session.chat.contacts.is_contact
        if self.whose == "none":
            return
        shown = [
            user_id
            for user_id in user_ids
            if user_id != self._session.chat.user_id and (self.whose == "all" or is_contact(user_id))
        ]
        if not shown:
            return
        names = [self._session.label(user_id) for user_id in shown[:_MOST_NAMED]]  # no more: they are asked for
        more = f" and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
        self._session.say("Here", f"{', '.join(names)}{more}: {what}")

    def command(self) -> Command:
        """Return /joins."""
        return Command(
            "/joins",
            "/joins contacts|all|none",
            "whose coming and going is shown",
            "Of contacts alone, if nothing else is said; /joins alone says what it is.\n  /joins all",
            self._set,
        )

    def _set(self, session: Session, rest: str) -> None:
        whose = rest.strip().lower()
        if whose not in ("", *JOINS):
            raise UsageError
        self.whose = whose or self.whose
        session.note(f"shown is the coming and going of {_WHOSE[self.whose]}")


COMMANDS = (
    Command(
        "/info",
        "/info",
        "you, your server, the link to it, and what was sent",
        "What is end-to-end encrypted no server can read, whatever the link is.",
        _info,
    ),
)
