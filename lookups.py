"""What a client asks its server about users: who is online, and what a user's key is (PROTOCOL.md section 12)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import socp
from contacts import Contact, Listed
from errors import ChatError, NoAnswer
from settings import Settings
from socp import Envelope, ProtocolError
from threads import Deadline
from users import read_user

_PAGE = 500
_LISTED_MOST = 100_000  # a server that lists without end must not fill the memory

Ask = Callable[[str, "dict[str, object]", str, str], Envelope]


class Lookups:
    """Questions about users, and the checks of the answers.

    Args:
        ask: asks: the question's type and payload, the answer's type, and the user it is about or the empty string;
            raises ChatError when there is no answer.
        settings: of the client.
    """

    def __init__(self, ask: Ask, settings: Settings) -> None:
        self._ask = ask
        self._settings = settings

    def users(self) -> list[Listed]:
        """Return all users online, by id.

        Raises:
            ChatError: the server does not answer, or not to the end.
        """
        found: dict[str, Listed] = {}
        after = ""
        deadline = Deadline(3 * self._settings.timers.request)
        while True:
            if not deadline.left():
                raise NoAnswer("the server's list does not come to an end; try again")
            answer = self._ask(socp.USER_LIST_REQUEST, {"after": after, "limit": _PAGE}, socp.USER_LIST, "")
            page = [
                _listed(entry)
                for entry in answer.payload["users"]
                if socp.is_id(entry.get("user_id")) and entry["user_id"] > after
            ]
            if not page:
                break
            found.update({entry.user_id: entry for entry in page})
            after = page[-1].user_id
            if len(found) >= min(answer.payload["total"], _LISTED_MOST):
                break
        return list(found.values())

    def contact(self, user_id: str) -> Contact:
        """Return a user's key and attachment, verified.

        Raises:
            ChatError: the server knows no such user, does not answer, or says what is not proved.
        """
        payload = self._ask(socp.USER_KEY_REQUEST, {"user_id": user_id}, socp.USER_KEY, user_id).payload
        newest = socp.now_ms() + self._settings.limits.clock_skew
        try:
            user, key = read_user(payload, payload["server_id"], online=payload["online"], newest=newest)
        except ProtocolError as error:
            raise ChatError(f"refused: the server's answer about {user_id} is not proved ({error.code})") from error
        return Contact(user, key, time.monotonic())


def _listed(entry: dict[str, Any]) -> Listed:
    """Return an entry; a server that is no id could say there what we say behind it, as of ourselves or the blocked."""
    server_id = str(entry.get("server_id", ""))
    return Listed(entry["user_id"], str(entry.get("display_name", "")), server_id if socp.is_id(server_id) else "")
