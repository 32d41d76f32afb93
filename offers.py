"""Whose files a client takes unasked, and whose a person is asked about: the client's policy about offers.

What is rejected here is rejected in the same words as a file that somebody does not want, or of somebody who is
blocked (results.NOT_TAKEN): its sender learns nothing of whom the client knows.
"""

from __future__ import annotations

from collections.abc import Callable

from optiontable import ALL, CONTACTS
from receiving import Verdict


class OfferPolicy:
    """Judges offers for one client; see chat.Chat.

    Args:
        accept_from: whose files are taken unasked: optiontable.CONTACTS, ALL or NONE.
        is_contact: tells whether a user is a contact, by id; it waits for nothing.
        can_ask: whether a person is there who can be asked about the others; they are rejected if not.
    """

    def __init__(self, accept_from: str, is_contact: Callable[[str], bool], *, can_ask: bool) -> None:
        self._accept_from = accept_from
        self._is_contact = is_contact
        self._can_ask = can_ask

    def __call__(self, sender: str, _name: str, _size: int) -> Verdict:
        """Return what is done about an offer."""
        if self._accept_from == ALL or (self._accept_from == CONTACTS and self._is_contact(sender)):
            return Verdict.ACCEPT
        return Verdict.ASK if self._can_ask else Verdict.REJECT
