"""The names that a person gives to others: which of them are taken, whom they mean, and who only looks like them.

A user with a nickname is a contact. A nickname is the person's own word, and wins over whatever users call themselves:
nobody else is found by it, and whoever is called so, or nearly so, is told apart from its owner. Names that were bound
to users when they were first written to are protected in the same way, and make no contacts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import socp
from errors import ChatError, NameTaken, UserUnknown
from lookalikes import skeletons
from names import name_key, plain_name
from profiles import Named, Profile, ProfileError

# What could be the beginning of an id is never taken for a name: or somebody could take the one for the other.
BEGINNING = re.compile(r"[0-9a-f][0-9a-f-]{3,35}", re.ASCII)


@dataclass(frozen=True)
class Owner:
    """Whose a name is here: a user's id, and the name that it is known by."""

    user_id: str
    name: str


class _Index:
    """All names of one profile at one time, by their keys and by their looks.

    Args:
        contacts, bound: as Profile has them.
    """

    def __init__(self, contacts: Mapping[str, Named], bound: Mapping[str, str]) -> None:
        self.contacts = contacts
        self.bound = bound
        self._by_key: dict[str, str] = {}
        self._by_look: dict[str, dict[str, str]] = {}
        for user_id, named in contacts.items():
            self._add(user_id, named.nick)
        for name, user_id in bound.items():  # after those, which win
            self._add(user_id, name)

    def _add(self, user_id: str, name: str) -> None:
        self._by_key.setdefault(name_key(name), user_id)
        for look in skeletons(name):
            self._by_look.setdefault(look, {}).setdefault(user_id, name)

    def contact(self, called: str) -> str | None:
        """Return the contact with a nickname."""
        key = name_key(called)
        user_id = self._by_key.get(key, "")
        return user_id if user_id in self.contacts and name_key(self.contacts[user_id].nick) == key else None

    def other_owner(self, name: str, user_id: str) -> Owner | None:
        """Return to whom a name belongs, or whose it looks like, if that is somebody else than a user."""
        if not self._by_key:
            return None
        owner = self._by_key.get(name_key(name))
        if owner is not None:
            return self._owner(owner, plain_name(name)) if owner != user_id else None
        for look in skeletons(name):
            for other, known in self._by_look.get(look, {}).items():
                if other != user_id:
                    return self._owner(other, known)
        return None

    def _owner(self, user_id: str, known: str) -> Owner:
        named = self.contacts.get(user_id)
        return Owner(user_id, plain_name(named.nick) if named is not None else known)


class Nicknames:
    """The nicknames of one profile.

    Args:
        profile: where they are kept.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        # Replaced as a whole when it does not fit the profile any more; two threads may both do so, to the same end.
        self._index = _Index(profile.contacts, profile.bound)

    @property
    def named(self) -> Mapping[str, Named]:
        """All contacts, by id."""
        return self._profile.contacts

    def of(self, user_id: str) -> str:
        """Return a user's nickname, or the empty string."""
        named = self._profile.contacts.get(user_id)
        return plain_name(named.nick) if named is not None else ""

    def find(self, called: str) -> str | None:
        """Return the id of the contact with a nickname."""
        return self._current().contact(called)

    def other_owner(self, name: str, user_id: str) -> Owner | None:
        """Return whose name, or name like it, a user bears that is somebody else's here.

        Args:
            name: what the user calls itself.
            user_id: which.
        """
        return self._current().other_owner(name, user_id)

    def _current(self) -> _Index:
        index, profile = self._index, self._profile
        if index.contacts is not profile.contacts or index.bound is not profile.bound:
            self._index = index = _Index(profile.contacts, profile.bound)
        return index

    def give(self, user_id: str, name: str) -> str:
        """Give a user a nickname, in the place of another one that it may have.

        Args:
            user_id: whom.
            name: what was typed.

        Returns:
            The nickname as it will be shown.

        Raises:
            NameTaken: it is, or looks like, the nickname of another contact, or a name bound to another user.
            ChatError: it cannot be a nickname, or cannot be written.
        """
        nick = _checked(name)

        def change(contacts: Mapping[str, Named]) -> dict[str, Named]:
            # Here, where nobody else can take the name between the look and the change.
            owner = _Index(contacts, self._profile.bound).other_owner(nick, user_id)
            if owner is not None:
                raise _taken(nick, owner, contacts)
            before = contacts.get(user_id, Named(nick, socp.now_ms()))
            return {**contacts, user_id: replace(before, nick=nick)}

        self._change(change)
        return nick

    def take(self, user_id: str) -> None:
        """Take a user's nickname away: it is no contact any more, and not verified.

        Raises:
            UserUnknown: it has none.
            ChatError: that cannot be written.
        """

        def change(contacts: Mapping[str, Named]) -> dict[str, Named]:
            if user_id not in contacts:
                raise UserUnknown(f"{user_id} has no nickname")
            return {other: named for other, named in contacts.items() if other != user_id}

        self._change(change)

    def bound_to(self, user_id: str) -> list[str]:
        """Return the names that are bound to a user, since it was first written to by them; as they were folded."""
        return sorted(name for name, other in self._profile.bound.items() if other == user_id)

    def free(self, user_id: str) -> list[str]:
        """Free the names that are bound to a user; return which.

        Raises:
            ChatError: that cannot be written.
        """
        names = self.bound_to(user_id)
        if names:
            try:
                self._profile.unbind(user_id)
            except ProfileError as error:
                raise ChatError(f"{error}; nothing was changed") from error
        return names

    def mark(self, user_id: str, *, verified: bool) -> None:
        """Note that a contact is verified, or is not any more. It stays so under another nickname: its key is its id.

        Raises:
            UserUnknown: it is no contact.
            ChatError: that cannot be written.
        """

        def change(contacts: Mapping[str, Named]) -> dict[str, Named]:
            if user_id not in contacts:
                raise UserUnknown(f"{user_id} has no nickname, and none but contacts are verified")
            return {**contacts, user_id: replace(contacts[user_id], verified=socp.now_ms() if verified else 0)}

        self._change(change)

    def _change(self, change: Callable[[Mapping[str, Named]], dict[str, Named]]) -> None:
        try:
            self._profile.change_contacts(change)
        except ProfileError as error:
            raise ChatError(f"{error}; nothing was changed") from error


def _checked(name: str) -> str:
    """Return a nickname as it will be shown.

    Raises:
        ChatError: it cannot be one.
    """
    nick = plain_name(name)
    if not skeletons(nick):
        raise ChatError("a nickname needs a letter or a digit at least")
    if BEGINNING.fullmatch(name_key(nick)):
        raise ChatError(f"{nick} could be the beginning of an id, and cannot be a nickname")
    if nick.isdecimal():
        raise ChatError(f"{nick} is a number, and cannot be a nickname")
    return nick


def _taken(nick: str, owner: Owner, contacts: Mapping[str, Named]) -> NameTaken:
    alike = "is" if name_key(owner.name) == name_key(nick) else f"looks like {owner.name}, which is"
    if owner.user_id in contacts:
        return NameTaken(f"{nick} {alike} your nickname for {owner.user_id}; take another, or take it away from there")
    return NameTaken(
        f"{nick} {alike} {owner.user_id} in this profile, since you wrote to that name first. Take another nickname, "
        f"or free the name: /name {owner.user_id[:8]} -"
    )
