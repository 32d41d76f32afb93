"""The commands for saying something: /list, /tell, /all, /r, /to and lines without a command."""

from __future__ import annotations

from commands import Command, Kind, UsageError, split_user
from contacts import Listed
from errors import ChatError
from screen import Span, Style
from session import Session

_NOBODY = (
    "nothing was sent: it is not said to whom. /tell <user> <message> writes to one user, /to <user> chooses whom "
    "plain lines go to, /all <message> writes to everybody"
)


class JustWritten(ChatError):
    """Raised for an answer to somebody who has come between the message that is answered and the answer."""


def say_plainly(session: Session, text: str) -> None:
    """Send a line without a command to the user who was chosen for that.

    Raises:
        ChatError: nobody is, or it was not sent.
    """
    if not session.chosen:
        raise ChatError(_NOBODY)
    session.tell(session.chosen, text)


def _list(session: Session, _rest: str) -> None:
    users = session.chat.users()
    session.say("List", f"{len(users)} online")
    for user in users:
        if session.screen.interactive:
            _show_person(session, user)
        else:
            name = session.chat.contacts.listed_name(user) or "-"
            session.row(f"{user.user_id}  {name}  {user.server_id}{_mark(session, user.user_id)}")


def _show_person(session: Session, user: Listed) -> None:
    label = session.called(user.user_id, user.name)
    where = (
        "on this server" if user.server_id == session.chat.server_id else f"on {user.server_id[:8] or 'another server'}"
    )
    mark = _mark(session, user.user_id)
    session.row(Span(label, Style.PERSON, user.user_id), Span(f"  {where}", Style.DIM), mark)


def _mark(session: Session, user_id: str) -> str:
    if user_id == session.chat.user_id:
        return "  (you)"
    return "  (blocked)" if user_id in session.chat.blocking else ""


def _tell(session: Session, rest: str) -> None:
    user, message = split_user(rest)
    if not user or not message:
        raise UsageError
    session.tell(user, message)


def _tell_all(session: Session, rest: str) -> None:
    if not rest:
        raise UsageError
    session.tell_all(rest)


def _answer(session: Session, rest: str) -> None:
    if not rest:
        raise UsageError
    sender, since = session.last_sender
    if not sender:
        raise ChatError("nobody has written to you yet, since this client was started")
    if session.is_unseen(since):
        # It was typed as an answer to somebody else.
        raise JustWritten(
            f"nothing was sent: {session.label(sender)} has written in the meantime; /r again answers that"
        )
    session.tell(sender, rest)


def _choose(session: Session, rest: str) -> None:
    user, more = split_user(rest)
    if more:
        raise UsageError
    if not user:
        chosen = session.chosen
        session.note(f"plain lines go to {session.label(chosen) if chosen else 'nobody'}")
        return
    user_id = session.choose("" if user == "-" else user)
    session.note(f"plain lines go to {session.label(user_id) if user_id else 'nobody'} from now on")


COMMANDS = (
    Command(
        "/list",
        "/list",
        "who is online: id, name, server",
        "Names are what you call people, or what they call themselves.",
        _list,
    ),
    Command(
        "/tell",
        "/tell <user> <message>",
        "a message that <user> alone can read",
        "A <user> is a nickname or a display name, in quotes if it has spaces, or an\n"
        "id, or 4 characters or more of its beginning.\n"
        "  /tell ben Lunch at noon?\n"
        '  /tell "Ann Lee" Lunch at noon?\n'
        "  /tell 2f4d Lunch at noon?",
        _tell,
        (Kind.USER, Kind.TEXT),
    ),
    Command(
        "/all",
        "/all <message>",
        "a message that everyone can read, servers included",
        "It is signed, and not encrypted.\n  /all Lunch at noon, everybody!",
        _tell_all,
        (Kind.TEXT,),
    ),
    Command(
        "/r",
        "/r <message>",
        "an answer to whoever has written last",
        "When somebody else has written while you typed, nothing is sent, and you\nare told.\n  /r Gladly.",
        _answer,
        (Kind.TEXT,),
    ),
    Command(
        "/to",
        "/to <user>",
        "have lines without a command go to <user>",
        "/to alone says whom they go to; /to - has them go to nobody. A line that is\n"
        "to begin with a slash begins with two.\n"
        "  /to ben\n  Lunch at noon?\n  /to -",
        _choose,
        (Kind.USER,),
    ),
)
