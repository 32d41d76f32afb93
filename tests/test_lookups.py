"""What a client asks its server about users."""

from __future__ import annotations

import unittest
from dataclasses import replace
from typing import Any

import socp
from errors import ChatError, NoAnswer
from lookups import Lookups
from settings import Settings, Timers
from socp import Envelope
from tests.test_users import HOME, make_user
from tests.vectors import key

BOB = key("bob").id


class LookupsTest(unittest.TestCase):
    """Questions to a server that says what a test wants."""

    settings = Settings()

    def setUp(self) -> None:
        """Have nothing asked yet."""
        self.asked: list[tuple[str, dict[str, object], str, str]] = []
        self.answers: list[dict[str, Any]] = []
        self.lookups = Lookups(self.ask, self.settings)

    def ask(self, frame_type: str, payload: dict[str, object], expects: str, about: str) -> Envelope:
        """Answer with what is next, and with the last for ever."""
        self.asked.append((frame_type, payload, expects, about))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return socp.read_envelope(socp.make_envelope(expects, HOME, key("alice").id, 1, answer))

    def test_users(self) -> None:
        """Pages are asked for until there are as many as the server has said; what is out of order is passed over."""
        ids = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(4)]
        self.answers = [
            {"users": [{"user_id": ids[1], "display_name": "b", "server_id": HOME}, {"user_id": "x"}, {}], "total": 2},
            {"users": [{"user_id": ids[0]}, {"user_id": ids[3], "server_id": f"{HOME}  (you)"}], "total": 2},
        ]
        users = [(user.user_id, user.name, user.server_id) for user in self.lookups.users()]
        self.assertEqual(users, [(ids[1], "b", HOME), (ids[3], "", "")])
        self.assertEqual([payload["after"] for _, payload, _, _ in self.asked], ["", ids[1]])

    def test_list_without_end(self) -> None:
        """A server whose list does not come to an end in time is given up."""
        lookups = Lookups(self.ask, replace(self.settings, timers=replace(Timers(), request=0.0)))
        self.assertRaises(NoAnswer, lookups.users)

    def test_contact(self) -> None:
        """A key comes with the attachment that its user has signed, and else is refused."""
        self.answers = [{**make_user("bob").to_wire(), "server_id": HOME, "online": True}]
        self.assertEqual(self.lookups.contact(BOB).key.id, BOB)
        self.assertEqual(self.asked[0][1:], ({"user_id": BOB}, socp.USER_KEY, BOB))
        self.answers = [{**self.answers[0], "server_id": key("server2").id}]
        with self.assertRaisesRegex(ChatError, "not proved"):
            self.lookups.contact(BOB)
