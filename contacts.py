"""Whom a client knows: keys and signed names of users, and what a person means by a name.

A server's word is not taken for anything here: keys are checked against ids, names and caps against the signature of
the user's own attachment (PROTOCOL.md sections 4.1 and 12).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import socp
from crypto.keys import PublicKey
from errors import ChatError, NameTaken, UserAmbiguous, UserUnknown
from profiles import Profile, name_key
from users import User

_BEGINNING = re.compile(r"[0-9a-f][0-9a-f-]{3,35}", re.ASCII)
BEGINNING_LEAST = 4
# Of the users met in one session; forgetting one costs a question to the server.
_CONTACTS_MOST = 10_000


# With these in it, a name could end the bracket that it stands in and forge what follows: the line of another sender.
_FORGING = str.maketrans({"[": "(", "]": ")", "·": "."})


def plain_name(name: str) -> str:
    """Return a display name as it may stand within a line: on one line, with single spaces, and no brackets."""
    return " ".join(name.translate(_FORGING).split())


@dataclass(frozen=True)
class Listed:
    """An online user, as a server lists it: the name is that server's word alone."""

    user_id: str
    name: str
    server_id: str


@dataclass(frozen=True)
class Contact:
    """A user whose key and attachment have been verified."""

    user: User
    key: PublicKey


class Contacts:
    """The users that one client has met.

    Args:
        profile: where names are bound.
        ask: asks the server for a user's key, and verifies the answer; raises UserUnknown or another ChatError.
        listing: asks the server for all users online.
        notice: told of what the person should know.
    """

    def __init__(
        self,
        profile: Profile,
        ask: Callable[[str], Contact],
        listing: Callable[[], list[Listed]],
        notice: Callable[[str], None],
    ) -> None:
        self._profile = profile
        self._ask = ask
        self._listing = listing
        self._notice = notice
        self._lock = threading.Lock()  # guards _met
        self._met: dict[str, Contact] = {}

    def get(self, user_id: str) -> Contact:
        """Return a user's verified key and attachment, asking for them when they are not known.

        Raises:
            ChatError: the server knows no such user, or does not answer.
        """
        with self._lock:
            known = self._met.get(user_id)
        return known if known is not None else self.refresh(user_id)

    def refresh(self, user_id: str) -> Contact:
        """Ask for a user's key and attachment, known or not; see `get`."""
        contact = self._ask(user_id)
        with self._lock:
            while len(self._met) >= _CONTACTS_MOST:
                self._met.pop(next(iter(self._met)))
            self._met[user_id] = contact
        return contact

    def name_of(self, user_id: str) -> str:
        """Return the display name that a user has signed; the empty string if there is none, or nobody can tell."""
        try:
            return self.get(user_id).user.display_name
        except ChatError:
            return ""

    def label(self, user_id: str, name: str) -> str:
        """Return how a user is called before a person: never by a name that is bound to somebody else."""
        short, shown = user_id[:8], plain_name(name)
        if not shown:
            return short
        bound = self._profile.bound_to(name)
        if bound is not None and bound != user_id:
            return f"{short} · calls itself {shown}, but is not {bound[:8]}"
        return f"{shown} · {short}"

    def note_listing(self, listed: Iterable[Listed]) -> None:
        """Forget whoever is listed under another name than before, so that the new one is asked for."""
        with self._lock:
            for entry in listed:
                known = self._met.get(entry.user_id)
                if known is not None and known.user.display_name != entry.name:
                    del self._met[entry.user_id]

    def find(self, called: str) -> str:
        """Return the id of the user that a person means.

        Args:
            called: an id, an unambiguous beginning of one (4 characters or more), or a display name.

        Raises:
            UserUnknown, UserAmbiguous, NameTaken: as they say.
            ChatError: the server does not answer.
        """
        if socp.is_id(called.lower()):
            return called.lower()
        online = self._listing()
        bound = self._profile.bound_to(called)
        named = [entry for entry in online if entry.name and name_key(entry.name) == name_key(called)]
        if bound is not None:
            return self._bound(called, bound, [entry.user_id for entry in named])
        begun = self._beginning_with(called.lower(), online)
        meant = {entry.user_id: entry for entry in named}
        meant.update({user_id: Listed(user_id, "", "") for user_id in begun if user_id not in meant})
        if not meant:
            raise UserUnknown(f"nobody online is called {called}; /list shows who is there")
        if len(meant) > 1:
            ids = ", ".join(sorted(meant))
            raise UserAmbiguous(f"{called} could be any of {ids}; say which by more of the id")
        user_id = next(iter(meant))
        if user_id in begun:
            return user_id
        return self._bind(called, user_id)

    def _beginning_with(self, beginning: str, online: Iterable[Listed]) -> set[str]:
        if not _BEGINNING.fullmatch(beginning):
            return set()
        known = {entry.user_id for entry in online} | self._profile.bound_ids()
        with self._lock:
            known |= set(self._met)
        return {user_id for user_id in known if user_id.startswith(beginning)}

    def _bound(self, called: str, bound: str, claimants: list[str]) -> str:
        others = sorted(user_id for user_id in claimants if user_id != bound)
        if others and bound not in claimants:
            raise NameTaken(
                f"refused: {called} is {bound} in this profile, and is used by {', '.join(others)} now. "
                "If you mean that user, use the id."
            )
        if others:
            self._notice(f"{called} is {bound}; the same name is also used by {', '.join(others)}")
        return bound

    def _bind(self, called: str, user_id: str) -> str:
        signed = self.refresh(user_id).user.display_name
        if name_key(signed) != name_key(called):
            raise NameTaken(f"refused: the server lists {user_id} as {called}, which that user has not signed")
        self._profile.bind(called, user_id)
        self._notice(f"{called} is {user_id} from now on, in this profile")
        return user_id
