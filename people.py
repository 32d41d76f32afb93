"""The commands for the people one knows: /name, /whois, /verify, /verified, /block and /unblock.

An id is made from its user's key, and no key has another id. So what is known of an id stays true: a contact that is
verified is so for good, under whatever nickname and on whatever server; who comes with another key comes with another
id, and is a stranger.
"""

from __future__ import annotations

import fingerprint
from commands import Command, Kind, UsageError, split_user
from errors import ChatError
from moments import day_and_time
from names import plain_name
from session import Session
from users import User


def _one_user(rest: str) -> str:
    """Return the user that a command is about, and nothing else."""
    user, more = split_user(rest.strip())
    if not user or more:
        raise UsageError
    return user


def _find_other(session: Session, called: str) -> str:
    """Return the id of a user that is meant, and is not this one.

    Raises:
        ChatError: nobody is, or it is this one.
    """
    user_id = session.chat.contacts.look_up(called)
    if user_id == session.chat.user_id:
        raise ChatError("that is you")
    return user_id


def _known_label(session: Session, user_id: str) -> str:
    """Return how a user is called, without asking for its name."""
    contacts = session.chat.contacts
    return contacts.label(user_id, contacts.known_name(user_id))


# --- nicknames ------------------------------------------------------------------------------------------------------


def _name(session: Session, rest: str) -> None:
    user, nick = split_user(rest.strip())
    if not user:
        _list_contacts(session)
        return
    user_id = _find_other(session, user)
    if not nick:
        _show_name(session, user_id)
    elif nick == "-":
        _take_name(session, user_id)
    else:
        quoted = len(nick) > 1 and nick[0] == nick[-1] == '"'
        given = session.chat.contacts.nicknames.give(user_id, nick[1:-1] if quoted else nick)
        session.say("Name", f"{given} is {user_id} from now on, in this profile")
    if session.chosen == user_id and nick and user_id not in session.chat.blocking:
        session.choose(user_id)  # so that the prompt says the new name


def _list_contacts(session: Session) -> None:
    named = session.chat.contacts.nicknames.named
    session.say("Name", f"{len(named)} with a nickname")
    for user_id, entry in sorted(named.items(), key=lambda item: (item[1].nick.casefold(), item[0])):
        session.row(f"{user_id}  {plain_name(entry.nick)}{'  (verified)' if entry.verified else ''}")


def _show_name(session: Session, user_id: str) -> None:
    nick = session.chat.contacts.nicknames.of(user_id)
    said = f"is your nickname for {user_id}" if nick else "has no nickname"
    session.say("Name", f"{nick or session.label(user_id)} {said}")


def _take_name(session: Session, user_id: str) -> None:
    """Take a user's nickname away; of one who has none, the names that it was written to by."""
    nicknames = session.chat.contacts.nicknames
    if nicknames.of(user_id):
        nicknames.take(user_id)
        left = " and ".join(nicknames.bound_to(user_id))
        more = f". It is still meant by {left}; /name {user_id[:8]} - once more changes that" if left else ""
        session.say("Name", f"{_known_label(session, user_id)} has no nickname any more, and is not verified{more}")
    elif freed := nicknames.free(user_id):
        names = " and ".join(freed)
        session.say("Name", f"{user_id[:8]} is not meant by {names} any more, and whoever is called so may be")
    else:
        raise ChatError(f"{session.label(user_id)} has no nickname")


# --- who somebody is ------------------------------------------------------------------------------------------------


def _whois(session: Session, rest: str) -> None:
    contacts = session.chat.contacts
    user_id = contacts.look_up(_one_user(rest))
    found: User | None = None
    missing = ""
    try:
        found = contacts.refresh(user_id).user
    except ChatError as error:
        missing = f"not known: {error}"
    session.say("Whois", user_id + ("  (you)" if user_id == session.chat.user_id else ""))
    rows = {
        "nickname": _nickname(session, user_id),
        "calls itself": _own_name(session, found) if found is not None else missing,
        "verified": _verified_since(session, user_id),
        "online": _presence(found) if found is not None else missing,
        "server": found.home if found is not None else missing,
        "blocked": "yes" if user_id in session.chat.blocking else "no",
    }
    if names := contacts.nicknames.bound_to(user_id):
        rows["written to as"] = ", ".join(names)
    for what, says in rows.items():
        session.row(f"{what:<13}  {says}")


def _nickname(session: Session, user_id: str) -> str:
    named = session.chat.contacts.nicknames.named.get(user_id)
    if named is None:
        return f"none; /name {user_id[:8]} <nickname> gives one"
    return plain_name(named.nick) + (f", since {day_and_time(named.since)}" if named.since else "")


def _own_name(session: Session, user: User) -> str:
    """Return the name that a user has signed, in quotes wherever it is shown: they are its words."""
    shown = plain_name(user.display_name)
    if not shown:
        return "nothing"
    owner = session.chat.contacts.nicknames.other_owner(user.display_name, user.user_id)
    return f'"{shown}"' + (f", but is not your {owner.name}, who is {owner.user_id}" if owner is not None else "")


def _verified_since(session: Session, user_id: str) -> str:
    named = session.chat.contacts.nicknames.named.get(user_id)
    if named is not None and named.verified:
        return f"yes, since {day_and_time(named.verified)}"
    return f"no; /verify {user_id[:8]} shows what to compare"


def _presence(user: User) -> str:
    """Return whether a user is there, by the word of its server, and since when, by its own."""
    return f"{'yes' if user.online else 'no'}, attached last on {day_and_time(user.attach.ts)}"


# --- verifying ------------------------------------------------------------------------------------------------------


def _verify(session: Session, rest: str) -> None:
    user_id = _find_other(session, _one_user(rest))
    key = session.chat.contacts.get(user_id).key
    label = _known_label(session, user_id)
    session.say("Verify", f"the number of you and {label}:")
    for line in fingerprint.lines(fingerprint.fingerprint(session.chat.public_key, key)):
        session.row(f"    {line}")
    for line in (
        f"Have them type /verify {session.chat.user_id[:8]}, and read the digits to each other, by",
        f"telephone or face to face. If all are the same: /verified {user_id[:8]}. If one is",
        "not, you do not write to the one you speak with, but to somebody else: send",
        "nothing that matters.",
    ):
        session.row(line)


def _verified(session: Session, rest: str) -> None:
    user, more = split_user(rest.strip())
    if not user or more.strip().lower() not in ("", "no"):
        raise UsageError
    user_id = _find_other(session, user)
    nicknames = session.chat.contacts.nicknames
    if more:
        nicknames.mark(user_id, verified=False)
        session.say("Verify", f"{_known_label(session, user_id)} is not verified any more, in this profile")
        return
    if not nicknames.of(user_id):
        _name_as_signed(session, user_id)
    nicknames.mark(user_id, verified=True)
    session.say("Verify", f"{_known_label(session, user_id)} is verified from now on, in this profile")


def _name_as_signed(session: Session, user_id: str) -> None:
    """Make a user a contact by the name that it has signed.

    Raises:
        ChatError: it has none, or that is somebody else's here.
    """
    contacts = session.chat.contacts
    signed = contacts.name_of(user_id)
    how = f"give a nickname first: /name {user_id[:8]} <nickname>"
    if not plain_name(signed):
        raise ChatError(f"{user_id} has no name; {how}")
    try:
        contacts.nicknames.give(user_id, signed)
    except ChatError as error:
        raise ChatError(f"{error}; {how}") from error


# --- blocking -------------------------------------------------------------------------------------------------------


def _block(session: Session, rest: str) -> None:
    user, _ = split_user(rest)
    blocking = session.chat.blocking
    if user:
        session.say("Block", f"{session.label(blocking.block(user))} is blocked from now on, in this profile")
        return
    session.say("Block", f"{len(blocking.names)} blocked")
    for user_id, name in sorted(blocking.names.items()):
        session.row(f"{user_id}  {plain_name(name) or '-'}")


def _unblock(session: Session, rest: str) -> None:
    user, _ = split_user(rest)
    if not user:
        raise UsageError
    session.say("Block", f"{session.label(session.chat.blocking.unblock(user))} is not blocked any more")


COMMANDS = (
    Command(
        "/name",
        "/name <user> <nickname>",
        "call <user> by a name that nobody else can take",
        "Whoever has a nickname is a contact. Others who are called so, or nearly so,\n"
        "are pointed out to you, and are never meant by it. /name <user> says it,\n"
        "/name <user> - takes it away, and /name alone lists all.\n"
        "  /name 2f4d ben\n"
        "  /name ben Ben Smith\n"
        '  /name "Ben Smith" -',
        _name,
        (Kind.USER, Kind.TEXT),
    ),
    Command(
        "/whois",
        "/whois <user>",
        "the id of <user>, and what is known of them",
        "The id is the one thing that cannot be chosen: it is made from the key.\n  /whois ben",
        _whois,
        (Kind.USER,),
    ),
    Command(
        "/verify",
        "/verify <user>",
        "a number to compare with <user> by voice",
        "Both of you see the same sixty digits, made of both ids and keys, or\n"
        "somebody is in the middle and poses as one of you.\n"
        "  /verify ben\n"
        "  /verified ben",
        _verify,
        (Kind.USER,),
    ),
    Command(
        "/verified",
        "/verified <user>",
        "note that the number of /verify was the same",
        "/verified <user> no takes that back. Who has no nickname gets the name that\n"
        "they have given themselves, if nobody else has it here. It holds for this id\n"
        "and its key, and so for good: who has another key has another id.\n"
        "  /verified ben\n"
        "  /verified ben no",
        _verified,
        (Kind.USER,),
    ),
    Command(
        "/block",
        "/block <user>",
        "show nothing of <user> any more",
        "Nobody is told. Files of theirs that are under way end. /block alone says who\nis blocked.\n  /block ben",
        _block,
        (Kind.USER,),
    ),
    Command(
        "/unblock",
        "/unblock <user>",
        "show again what <user> sends from now on",
        "  /unblock ben",
        _unblock,
        (Kind.USER,),
    ),
)
