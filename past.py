"""The commands for what was said before, /history, /search and /forget, and what writes it down.

What is shown of the past stands between two lines that say so, with its day, indented and pale, so that nobody takes
it for something new.
"""

from __future__ import annotations

from functools import partial

import socp
from commands import Command, Kind, UsageError, split_user
from errors import ChatError, NoAnswer, ServerBusy, UserAmbiguous, UserUnknown
from events import Delivered, Event, Failed, Message, PublicMessage, Sent, Stored, Unconfirmed
from journal import Entry, Fate, Journal
from moments import day_and_time
from names import name_key
from nicknames import BEGINNING
from screen import Span, Style, with_breaks
from session import Session

SHOWN = 20  # messages, when nothing else is said
SHOWN_MOST = 999  # with more digits, it would be the beginning of an id
_FATES: dict[type, Fate] = {
    Stored: Fate.STORED,
    Delivered: Fate.DELIVERED,
    Unconfirmed: Fate.UNCONFIRMED,
}


class HistoryOff(ChatError):
    """Raised when there is no history to look at."""


class Recorder:
    """Writes into the history what is shown and sent.

    Args:
        session: where that happens.
        journal: the history.
    """

    def __init__(self, session: Session, journal: Journal) -> None:
        self._session = session
        self._journal = journal

    def take(self, event: Event) -> None:
        """Take an event, once it was shown; waits for nothing."""
        if isinstance(event, Message | PublicMessage):
            # By its sender's clock, which could be ahead by years, and it would seem to be new for as long.
            ts = min(event.ts, socp.now_ms())
            public = isinstance(event, PublicMessage)
            self._journal.record(Entry(event.sender, event.name, event.text, ts, public=public))
        elif isinstance(event, Sent):
            self._take_sent(event)
        elif isinstance(event, Stored | Delivered | Unconfirmed):
            self._journal.set_fate(_reference(event.number, event.msg_ref), _FATES[type(event)])
        elif isinstance(event, Failed):
            reason = event.reason or event.code
            self._journal.set_fate(_reference(event.number, event.msg_ref), Fate.FAILED, reason)

    def _take_sent(self, event: Sent) -> None:
        chat = self._session.chat
        public = event.to == socp.PUBLIC
        peer = chat.user_id if public else event.to
        name = "" if public else chat.contacts.known_name(peer)
        entry = Entry(peer, name, event.text, socp.now_ms(), outgoing=True, public=public, fate=Fate.SENT)
        self._journal.record(entry, _reference(event.number, event.msg_ref))


def _reference(number: int | None, msg_ref: str) -> str:
    """Return what the history calls a message of ours by: its number is known before its msg_ref is."""
    return msg_ref if number is None else f"#{number}"


# --- the commands ---------------------------------------------------------------------------------------------------


def _journal(session: Session) -> Journal:
    if session.journal is None:
        raise HistoryOff(
            "the history is off, and nothing is written down; start the client with --history to keep one, "
            "encrypted with the password of your key"
        )
    return session.journal


def _history(session: Session, rest: str) -> None:
    journal = _journal(session)
    user, count = _user_and_count(rest)
    if not user:
        _show(session, journal.last(count), "")
        return
    user_id = _find(session, journal, user)
    label = session.called(user_id, session.chat.contacts.known_name(user_id))
    _show(session, journal.last(count, user_id), f", from and to {label}")


def _user_and_count(rest: str) -> tuple[str, int]:
    """Read "[user] [n]"; a number of up to three digits alone is no user."""
    user, count = split_user(rest.strip())
    if not count and _is_count(user) and not rest.startswith('"'):
        user, count = "", user
    if count and not _is_count(count):
        raise UsageError
    return user, int(count or SHOWN)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) <= SHOWN_MOST


def _search(session: Session, rest: str) -> None:
    words = rest.strip()
    if not words:
        raise UsageError
    found = _journal(session).search(words, SHOWN)
    _show(session, found, f", with {words}")


def _forget(session: Session, rest: str) -> None:
    journal = _journal(session)
    user, more = split_user(rest.strip())
    if not user or more:
        raise UsageError
    user_id = _find(session, journal, user)
    count = journal.forget(user_id)
    label = session.called(user_id, session.chat.contacts.known_name(user_id))
    session.say("History", f"{count:,} message(s) from and to {label} are forgotten; what comes from now on is kept")


def _find(session: Session, journal: Journal, called: str) -> str:
    """Return the id of the user that is meant, who may have been gone for long; no name is bound to it.

    Raises:
        ChatError: nobody is, or several may be.
    """
    try:
        return session.chat.contacts.look_up(called)
    except (UserUnknown, NoAnswer, ServerBusy):
        meant = journal.peers(partial(_is_called, called))
    if not meant:
        raise UserUnknown(f"{called}: nobody who is online or in the history has such a name or id")
    if len(meant) > 1:
        raise UserAmbiguous(f"{called} could be any of {', '.join(sorted(meant))}; say which by more of the id")
    return meant.pop()


def _is_called(called: str, entry: Entry) -> bool:
    if BEGINNING.fullmatch(called.lower()):
        return entry.peer.startswith(called.lower())
    return bool(entry.name) and name_key(entry.name) == name_key(called)


# --- what is shown --------------------------------------------------------------------------------------------------


def _show(session: Session, entries: list[Entry], about: str) -> None:
    if not entries:
        session.say("History", f"nothing is remembered{about}")
        return
    session.say("History", f"said before{about}: the newest {len(entries)}")
    for entry in entries:
        _show_entry(session, entry)
    session.say("History", "that was before; what is below is new")


def _show_entry(session: Session, entry: Entry) -> None:
    at_terminal = session.screen.interactive
    head = f"{day_and_time(entry.ts)}  {'public' if entry.public else 'e2e':<6} {_who(session, entry)}: "
    text = with_breaks(entry.text) if at_terminal else [Span(entry.text)]
    fate = _fate(entry, at_terminal) if entry.outgoing else ""
    tail = f"  {fate}" if fate else ""
    session.row(*map(_pale, (Span(head), *text, Span(tail))))


def _pale(span: Span) -> Span:
    return span if span.style is Style.BREAK else Span(span.text, Style.DIM)


def _who(session: Session, entry: Entry) -> str:
    if entry.outgoing:
        return f"→ {'everybody' if entry.public else session.called(entry.peer, entry.name)}"
    return session.called(entry.peer, entry.name)


def _fate(entry: Entry, at_terminal: bool) -> str:
    """Return what became of a message of ours; nobody confirms a broadcast."""
    if entry.public and entry.fate is Fate.SENT:
        return ""
    marks = {Fate.SENT: "…", Fate.STORED: "✓", Fate.DELIVERED: "✓✓", Fate.UNCONFIRMED: "?", Fate.FAILED: "✗ failed"}
    word = marks.get(entry.fate, "") if at_terminal else f"({entry.fate.value})"
    return f"{word}: {entry.reason}" if entry.reason else word


COMMANDS = (
    Command(
        "/history",
        "/history <user> <n>",
        "the newest messages of before",
        "Of and to <user>, or everybody. <n> is how many: if it is left out,\n"
        f"{SHOWN}, and {SHOWN_MOST} at most.\n"
        "There is a history if the client is started with --history.\n"
        "  /history\n  /history ben\n  /history ben 100",
        _history,
        (Kind.USER, Kind.TEXT),
    ),
    Command(
        "/search",
        "/search <words>",
        "the newest messages that hold all of these words",
        "Large and small letters are the same, and a part of a word is enough.\n  /search lunch noon",
        _search,
        (Kind.TEXT,),
    ),
    Command(
        "/forget",
        "/forget <user>",
        "erase what <user> has said and was told",
        "Nothing of it is left in the file of the history, for good. What is on your\n"
        "screen stays there.\n"
        "  /forget ben",
        _forget,
        (Kind.USER,),
    ),
)
