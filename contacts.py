"""Whom a client knows: keys and signed names of users, what a person means by a name, and how a user is called.

A server's word is not taken for anything here: keys are checked against ids, names and caps against the signature of
the user's own attachment (PROTOCOL.md sections 4.1 and 12). The names that the person gives are in nicknames.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

import socp
from crypto.keys import PublicKey
from errors import ChatError, NameTaken, NotConnected, UserAmbiguous, UserBlocked, UserUnknown
from names import name_key, plain_name
from nicknames import BEGINNING, Nicknames, Owner
from profiles import Profile, ProfileError
from users import User

# Of the users met in one session; forgetting one costs a question to the server.
_CONTACTS_MOST = 10_000
_LATE = 60.0  # seconds after which what the server said of a user may not be so any more
_NOBODY_ONLINE = "nobody online is called so; /list shows who is there"


@dataclass(frozen=True)
class Listed:
    """An online user, as a server lists it: the name is that server's word alone."""

    user_id: str
    name: str
    server_id: str


@dataclass(frozen=True)
class Contact:
    """A user whose key and attachment have been verified.

    Attributes:
        asked: when the server was asked for them, on the monotonic clock.
    """

    user: User
    key: PublicKey
    asked: float = field(default=0.0, compare=False)


class Contacts:
    """The users that one client has met.

    Args:
        profile: where names are bound.
        ask: asks the server for a user's key, and verifies the answer; raises UserUnknown or another ChatError.
        listing: asks the server for all users online.
        notice: told of what the person should know.

    Attributes:
        nicknames: what the person calls users; whoever has a nickname is a contact.
        quoted: whether names that users have given themselves are shown in quotes, so that strangers are told
            from contacts at a glance. For terminals: in the other form, programs read the name and the id.
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
        self._lock = threading.Lock()  # guards the two below
        self._met: dict[str, Contact] = {}
        self._listed: dict[str, str] = {}  # the names of those who were online when that was last asked for
        self.nicknames = Nicknames(profile)
        self.quoted = False

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

    def latest(self, user_id: str) -> Contact:
        """Return what the server says of a user, now or a moment ago; if it says nothing, what is known. See `get`."""
        known = self.get(user_id)
        if time.monotonic() - known.asked < _LATE:
            return known
        try:
            return self.refresh(user_id)
        except ChatError:
            return known

    def name_of(self, user_id: str) -> str:
        """Return the display name that a user has signed; the empty string if there is none, or nobody can tell."""
        try:
            return self.get(user_id).user.display_name
        except ChatError:
            return ""

    def known_name(self, user_id: str) -> str:
        """Return the display name that a user has signed, if it is known without asking; else the empty string."""
        with self._lock:
            known = self._met.get(user_id)
        return known.user.display_name if known is not None else ""

    def is_contact(self, user_id: str) -> bool:
        """Tell whether a user has a nickname in this profile: a name that was bound to it makes no contact."""
        return user_id in self.nicknames.named

    def nick(self, user_id: str) -> str:
        """Return a contact's nickname; the empty string if the user is none."""
        return self.nicknames.of(user_id)

    def is_verified(self, user_id: str) -> bool:
        """Tell whether the person has compared the number of a contact (see fingerprint.py), and found it right."""
        named = self.nicknames.named.get(user_id)
        return named is not None and named.verified > 0

    def label(self, user_id: str, name: str, *, quoted: bool | None = None) -> str:
        """Return how a user is called before a person: never by a name that is, or looks like, somebody else's here.

        Args:
            user_id: whom.
            name: what the user calls itself.
            quoted: whether that is shown in quotes; as everywhere, if None.
        """
        short, shown = user_id[:8], plain_name(name)
        if nick := self.nick(user_id):
            return f"{nick} · {short}"
        if not shown:
            return short
        owner = self.nicknames.other_owner(name, user_id)
        if self.quoted if quoted is None else quoted:
            # No name holds a quotation mark (see names.py): what stands behind it is our word.
            return f'"{shown}" · {short}{_warning(owner)}'
        return f"{short} · calls itself {shown}, but is not {owner.user_id[:8]}" if owner else f"{shown} · {short}"

    def listed_name(self, listed: Listed) -> str:
        """Return the name to list a user by, and whose it is, or looks like, if that is somebody else's here."""
        if nick := self.nick(listed.user_id):
            return nick
        shown = plain_name(listed.name)
        owner = self.nicknames.other_owner(listed.name, listed.user_id) if shown else None
        if self.quoted:
            return f'"{shown}"{_warning(owner)}' if shown else ""
        return f"{shown} (not {owner.user_id[:8]})" if owner else shown

    def known(self) -> list[tuple[str, str]]:
        """Return whom one may want to name: ids, each with a name that stands for it here, or none; nobody is asked."""
        with self._lock:
            names = {user_id: contact.user.display_name for user_id, contact in self._met.items()}
            names |= self._listed
        found = {user_id: name for user_id, name in names.items() if not self.nicknames.other_owner(name, user_id)}
        nicks = {user_id: named.nick for user_id, named in self.nicknames.named.items()}
        return list({**dict.fromkeys(names, ""), **found, **nicks}.items())

    def note_listing(self, listed: Collection[Listed]) -> None:
        """Forget whoever is listed under another name than before, so that the new one is asked for."""
        with self._lock:
            self._listed = {entry.user_id: entry.name for entry in listed}
            for entry in listed:
                known = self._met.get(entry.user_id)
                if known is not None and known.user.display_name != entry.name:
                    del self._met[entry.user_id]

    def find(self, called: str) -> str:
        """Return the id of the user that something is to be sent to.

        Args:
            called: an id, a nickname, an unambiguous beginning of an id (4 characters or more), or a display name,
                which is bound to its user by that. What could be the beginning of an id is never taken for a name: or
                somebody could take the one for the other.

        Raises:
            UserUnknown, UserAmbiguous, NameTaken: as they say.
            ChatError: the server does not answer.
        """
        if (user_id := self._known_without_asking(called)) is not None:
            return user_id
        try:
            online = self._listing()
        except NotConnected:
            return self._find_offline(called)
        if BEGINNING.fullmatch(called.lower()):
            return self._known_by(called, online)
        # Whoever is blocked neither gets a name nor is in the way of who has it.
        named = _named(called, online) - self._profile.blocked.keys()
        bound = self._profile.bound_to(called)
        if bound is not None:
            return self._bound(called, bound, named)
        return self._bind(called, _only(called, named, _NOBODY_ONLINE))

    def look_up(self, called: str) -> str:
        """Return the id of a user whom something is about, and nothing is sent to: no name is bound by that.

        Args:
            called: as `find` takes it. A display name that others bear too is refused, bound or not.

        Raises:
            UserUnknown, UserAmbiguous, NameTaken: as they say.
            ChatError: the server does not answer.
        """
        if (user_id := self._known_without_asking(called)) is not None:
            return user_id
        try:
            online = self._listing()
        except NotConnected:
            online = []
        if BEGINNING.fullmatch(called.lower()):
            return self._known_by(called, online)
        bound = self._profile.bound_to(called)
        user_id = _only(called, _named(called, online) | ({bound} if bound is not None else set()), _NOBODY_ONLINE)
        if user_id != bound:
            self._check_signed(called, user_id)
        return user_id

    def _known_without_asking(self, called: str) -> str | None:
        """Return the id that is an id or a nickname."""
        return called.lower() if socp.is_id(called.lower()) else self.nicknames.find(called)

    def find_blocked(self, called: str) -> str:
        """Return the id of a blocked user: by the id, a nickname, a beginning, or the name it had when it was blocked.

        Raises:
            UserAmbiguous, UserBlocked: as they say.
        """
        blocked = self._profile.blocked
        if (user_id := self._known_without_asking(called)) in blocked:
            return str(user_id)
        if BEGINNING.fullmatch(called.lower()):
            meant = {user_id for user_id in blocked if user_id.startswith(called.lower())}
        else:
            meant = {user_id for user_id, name in blocked.items() if name and name_key(name) == name_key(called)}
        if not meant:
            raise UserBlocked(f"{called}: nobody is blocked who has such an id or name; /block shows who is")
        return _only(called, meant, "")

    def _find_offline(self, called: str) -> str:
        """Return the id of a user met before, whom a message can be written to while there is no server to ask."""
        if BEGINNING.fullmatch(called.lower()):
            meant = self._beginning_with(called.lower(), ())
            return _only(called, meant, "nobody met before has an id that begins so, and there is no connection now")
        bound = self._profile.bound_to(called)
        if bound is None:
            raise UserUnknown(f"{called}: nobody in this profile is called so, and there is no connection now")
        return bound

    def _known_by(self, called: str, online: Iterable[Listed]) -> str:
        return _only(called, self._beginning_with(called.lower(), online), "nobody known has an id that begins so")

    def _beginning_with(self, beginning: str, online: Iterable[Listed]) -> set[str]:
        known = {entry.user_id for entry in online} | self._profile.bound_ids() | self._profile.blocked.keys()
        known |= self.nicknames.named.keys()
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
        self._check_signed(called, user_id)
        owner = self.nicknames.other_owner(called, user_id)
        if owner is not None:
            raise NameTaken(
                f"refused: {called} is {user_id}, but looks like {owner.name}, which is {owner.user_id} in this "
                "profile. If you mean that user, use the id."
            )
        try:
            self._profile.bind(called, user_id)
        except ProfileError as error:
            raise ChatError(f"{error}; nothing was sent") from error
        self._notice(f"{called} is {user_id} from now on, in this profile")
        return user_id

    def _check_signed(self, called: str, user_id: str) -> None:
        """See that a user has signed the name that a server lists it by: else a server could give names."""
        signed = self.refresh(user_id).user.display_name
        if name_key(signed) != name_key(called):
            raise NameTaken(f"refused: the server lists {user_id} as {called}, which that user has not signed")


def _warning(owner: Owner | None) -> str:
    return f", not your {owner.name}" if owner is not None else ""


def _named(called: str, online: Iterable[Listed]) -> set[str]:
    key = name_key(called)  # empty where nothing of the name can be seen: that means nobody
    return {entry.user_id for entry in online if key and name_key(entry.name) == key}


def _only(called: str, meant: set[str], none: str) -> str:
    if not meant:
        raise UserUnknown(f"{called}: {none}")
    if len(meant) > 1:
        raise UserAmbiguous(f"{called} could be any of {', '.join(sorted(meant))}; say which by more of the id")
    return next(iter(meant))
