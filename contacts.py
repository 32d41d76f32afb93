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
from errors import ChatError, NameTaken, NotConnected, UserAmbiguous, UserUnknown
from names import name_key, plain_name
from profiles import Profile, ProfileError
from users import User

_BEGINNING = re.compile(r"[0-9a-f][0-9a-f-]{3,35}", re.ASCII)
BEGINNING_LEAST = 4
# Of the users met in one session; forgetting one costs a question to the server.
_CONTACTS_MOST = 10_000


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
        owner = self._other_owner(name, user_id)
        if owner:
            return f"{short} · calls itself {shown}, but is not {owner}"
        return f"{shown} · {short}"

    def listed_name(self, listed: Listed) -> str:
        """Return the name to list a user by, and whose it is if it is bound to somebody else."""
        shown = plain_name(listed.name)
        owner = self._other_owner(listed.name, listed.user_id)
        return f"{shown} (not {owner})" if shown and owner else shown

    def _other_owner(self, name: str, user_id: str) -> str:
        """Return whom a name is bound to, by the beginning of the id, if that is somebody else than its user."""
        bound = self._profile.bound_to(name)
        return bound[:8] if bound is not None and bound != user_id else ""

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
            called: an id, an unambiguous beginning of one (4 characters or more), or a display name. What could
                be the beginning of an id is never taken for a name: or somebody could take the one for the other.

        Raises:
            UserUnknown, UserAmbiguous, NameTaken: as they say.
            ChatError: the server does not answer.
        """
        if socp.is_id(called.lower()):
            return called.lower()
        try:
            online = self._listing()
        except NotConnected:
            return self._find_offline(called)
        if _BEGINNING.fullmatch(called.lower()):
            return _only(called, self._beginning_with(called.lower(), online), "nobody known has an id that begins so")
        named = {entry.user_id for entry in online if entry.name and name_key(entry.name) == name_key(called)}
        bound = self._profile.bound_to(called)
        if bound is not None:
            return self._bound(called, bound, named)
        return self._bind(called, _only(called, named, "nobody online is called so; /list shows who is there"))

    def _find_offline(self, called: str) -> str:
        """Return the id of a user met before, whom a message can be written to while there is no server to ask."""
        if _BEGINNING.fullmatch(called.lower()):
            meant = self._beginning_with(called.lower(), ())
            return _only(called, meant, "nobody met before has an id that begins so, and there is no connection now")
        bound = self._profile.bound_to(called)
        if bound is None:
            raise UserUnknown(f"{called}: nobody in this profile is called so, and there is no connection now")
        return bound

    def _beginning_with(self, beginning: str, online: Iterable[Listed]) -> set[str]:
        known = {entry.user_id for entry in online} | self._profile.bound_ids()
        with self._lock:
            known |= set(self._met)
        return {user_id for user_id in known if user_id.startswith(beginning)}

    def _bound(self, called: str, bound: str, claimants: set[str]) -> str:
        others = sorted(claimants - {bound})
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
        try:
            self._profile.bind(called, user_id)
        except ProfileError as error:
            raise ChatError(f"{error}; nothing was sent") from error
        self._notice(f"{called} is {user_id} from now on, in this profile")
        return user_id


def _only(called: str, meant: set[str], none: str) -> str:
    if not meant:
        raise UserUnknown(f"{called}: {none}")
    if len(meant) > 1:
        raise UserAmbiguous(f"{called} could be any of {', '.join(sorted(meant))}; say which by more of the id")
    return next(iter(meant))
