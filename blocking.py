"""Whom a client's user has blocked: of them nothing is shown and no file taken (PROTOCOL.md section 8.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from contacts import Contacts
from errors import ChatError, UserBlocked
from names import plain_name
from profiles import Profile, ProfileError


class Blocking:
    """The blocked users of one profile.

    Args:
        profile: where they are remembered.
        contacts: who is meant by what a person calls them.
        user_id: our own.
        ended: ends what comes from a user at the moment.
    """

    def __init__(self, profile: Profile, contacts: Contacts, user_id: str, ended: Callable[[str], None]) -> None:
        self._profile = profile
        self._contacts = contacts
        self._user_id = user_id
        self._ended = ended

    def __contains__(self, user_id: object) -> bool:
        return user_id in self._profile.blocked

    @property
    def names(self) -> Mapping[str, str]:
        """The blocked users' ids, and the names that they had then."""
        return self._profile.blocked

    def block(self, called: str) -> str:
        """Show nothing of a user from now on, take no files of it, and end those that are under way.

        Args:
            called: as Contacts.look_up takes it.

        Returns:
            The user's id.

        Raises:
            ChatError: nobody was blocked; says why.
        """
        user_id = self._contacts.look_up(called)
        if user_id == self._user_id:
            raise UserBlocked("nobody can block themselves")
        try:
            self._profile.block(user_id, plain_name(self._contacts.name_of(user_id)))
        except ProfileError as error:
            raise ChatError(f"{error}; nobody was blocked") from error
        self._ended(user_id)
        return user_id

    def unblock(self, called: str) -> str:
        """Show again what a user sends from now on.

        Args:
            called: as Contacts.find_blocked takes it.

        Returns:
            The user's id.

        Raises:
            ChatError: nobody was unblocked; says why.
        """
        user_id = self._contacts.find_blocked(called)
        try:
            self._profile.unblock(user_id)
        except ProfileError as error:
            raise ChatError(f"{error}; nobody was unblocked") from error
        return user_id

    def check(self, user_id: str) -> None:
        """Make sure that a user is not blocked, before anything is sent to it: no answer would be shown.

        Raises:
            UserBlocked: it is.
        """
        if user_id in self:
            raise UserBlocked(f"{user_id} is blocked, and would answer in vain; nothing was sent. /unblock it first")
