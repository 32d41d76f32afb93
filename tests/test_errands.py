"""Errands, from their request to their ending, whoever does them."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import socp
from chat import Chat
from contacts import Contact
from errands import (
    ERRANDS,
    Desk,
    Ending,
    Errand,
    Request,
    Witness,
    make_errand,
    read_request,
    request_values,
)
from errors import NotConnected
from events import (
    Delivered,
    Disconnected,
    Event,
    Failed,
    FileDone,
    FileFailed,
    FileStarted,
    Message,
    Notice,
    PresenceChanged,
    Stored,
    Unconfirmed,
)
from exits import Exit
from profiles import Profile
from scripts import COMMANDS
from tests.test_users import make_user
from tests.vectors import key

ALICE, BOB = key("alice").id, key("bob").id


class ErrandTest(unittest.TestCase):
    """Errands at a chat that is the test's."""

    def setUp(self) -> None:
        """Make it."""
        self.chat = mock.create_autospec(Chat, instance=True, user_id=ALICE, contacts=mock.Mock(), blocking=set())
        self.chat.contacts.label.return_value = "bob"
        self.chat.contacts.name_of.return_value = "bob"
        self.chat.contacts.nick.return_value = ""
        self.chat.contacts.is_verified.return_value = False
        self.chat.contacts.find.return_value = BOB
        self.chat.contacts.refresh.return_value = Contact(make_user("bob"), key("bob").public)
        self.witness = mock.create_autospec(Witness, instance=True)
        self.desk = Desk(self.chat, mock.create_autospec(Profile, instance=True), self.witness)

    def make(self, do: str, **named: Any) -> Errand:
        """Return an errand."""
        return make_errand(self.desk, Request(do, **named))

    @staticmethod
    def said(said: Any) -> list[Any]:
        """Return the types of reports, and endings."""
        return [each if isinstance(each, Ending) else each["type"] for each in said]

    def tell_early(self, errand: Errand, *events: Event) -> None:
        """Have things happen to a message before it is known what programs call it by."""

        def tell(_to: str, _text: str, taken: Callable[[str, int], None]) -> str:
            self.assertIsNone(errand.hear(Delivered("other", BOB, 6)))
            taken(BOB, 7)
            for event in events:
                self.assertEqual(errand.hear(event), ())
            return "ref"

        self.chat.tell.side_effect = tell


class RequestTest(unittest.TestCase):
    """Requests on their way to a running client."""

    def test_round_trip(self) -> None:
        """What is asked for arrives, for every command that there is."""
        self.assertEqual(set(ERRANDS), set(COMMANDS))
        for do in ERRANDS:
            request = Request(do, "bob", "text", "/path", 3)
            self.assertEqual(read_request(request_values(request)), request)

    def test_nonsense(self) -> None:
        """What is no request is refused."""
        good = request_values(Request("list"))
        for change in ({"do": "x"}, {"do": 1}, {"user": None}, {"count": -1}, {"count": True}, {"count": "1"}):
            with self.subTest(change), self.assertRaises(ValueError):
                read_request({**good, **change})


class TellingTest(ErrandTest):
    """Direct messages."""

    def test_early(self) -> None:
        """What becomes of a message before it is said to be sent is said after that."""
        errand = self.make("tell", user="bob", text="Lunch?")
        self.tell_early(errand, Stored("ref", BOB, 7), Delivered("ref", BOB, 7))
        said = list(errand.begin())
        self.assertEqual(self.said(said), ["sent", "stored", Ending(Exit.DONE), "delivered", Ending(Exit.DONE)])
        self.witness.sent.assert_called_once_with(BOB, 7, "Lunch?")

    def test_fates(self) -> None:
        """Each fate has its code; those of other messages are not this errand's."""
        errand = self.make("tell", user="bob", text="Lunch?")
        self.tell_early(errand)
        self.assertEqual(self.said(errand.begin()), ["sent"])
        for other in (Delivered("x", BOB, 6), Failed("x", socp.PUBLIC, "code", "why"), Notice("x")):
            self.assertIsNone(errand.hear(other))
        fates: list[tuple[Event, str, Exit]] = [
            (Stored("ref", BOB, 7), "stored", Exit.DONE),
            (Failed("ref", BOB, socp.USER_NOT_FOUND, "why", 7), "failed", Exit.NO_SUCH_USER),
            (Failed("ref", BOB, socp.TIMEOUT, "why", 7), "failed", Exit.TIMED_OUT),
            (Failed("ref", BOB, "failed", "why", 7), "failed", Exit.FAILURE),
            (Unconfirmed("ref", BOB, 7), "unconfirmed", Exit.TIMED_OUT),
        ]
        for event, report_type, code in fates:
            report, ending = errand.hear(event) or ()
            assert isinstance(ending, Ending)
            self.assertEqual(self.said([report]), [report_type])
            self.assertEqual(ending.code, code)
            self.assertEqual(bool(ending.error), code is not Exit.DONE)

    def test_lost(self) -> None:
        """A connection that will not come back ends every errand."""
        for do in ERRANDS:
            self.assertIsNone(self.make(do).hear(PresenceChanged((), ())))
            ending = (self.make(do).hear(Disconnected("why", final=True)) or ())[-1]
            assert isinstance(ending, Ending)
            self.assertEqual(ending.code, Exit.NO_CONNECTION)

    def test_nobody_watches(self) -> None:
        """A running client whose own output is gone does not keep a script's message back."""
        self.witness.sent.side_effect = BrokenPipeError
        errand = self.make("tell", user="bob", text="Lunch?")
        self.tell_early(errand)
        self.assertEqual(self.said(errand.begin()), ["sent"])


class SendingTest(ErrandTest):
    """Files."""

    def test_early(self) -> None:
        """What happens to a file before it is said to be offered is said after that, and nothing of others."""
        errand = self.make("send", user="bob", path="/menu")

        def send(_to: str, _path: Path) -> str:
            for event in (
                FileStarted("other", BOB, "x", 1, incoming=False),
                FileStarted("id", BOB, "menu", 1, incoming=False),
            ):
                self.assertEqual(errand.hear(event), ())
            self.assertIsNone(errand.hear(FileDone("id", BOB, "x", 1, incoming=True, path=Path("x"))))
            return "id"

        self.chat.send_file.side_effect = send
        self.assertEqual(self.said(errand.begin()), ["file-offered", "file-started"])
        self.assertIsNone(errand.hear(FileFailed("other", BOB, "x", incoming=False, reason="x")))
        done = errand.hear(FileDone("id", BOB, "menu", 1, incoming=False, path=Path("menu")))
        self.assertEqual(self.said(done), ["file-done", Ending(Exit.DONE)])

    def test_abandoned(self) -> None:
        """A file of a script that is gone is not sent any more; one that is over is let be."""
        errand = self.make("send", user="bob", path="/menu")
        self.chat.send_file.return_value = "id"
        list(errand.begin())
        self.chat.cancel_file.side_effect = NotConnected("x")
        errand.abandon()
        self.chat.cancel_file.assert_called_once_with("id")
        self.make("listen").abandon()

    def test_abandoned_early(self) -> None:
        """Nor is one of a script that is gone before it could be told that its file is offered."""
        errand = self.make("send", user="bob", path="/menu")
        errand.abandon()
        self.chat.cancel_file.assert_not_called()
        self.chat.send_file.return_value = "id"
        next(iter(errand.begin()))
        errand.abandon()
        self.chat.cancel_file.assert_called_once_with("id")


class ListeningTest(ErrandTest):
    """What comes."""

    def test_count(self) -> None:
        """Messages and files are counted, what becomes of one's own is not."""
        errand = self.make("listen", count=2)
        self.assertEqual(list(errand.begin()), [])
        events: list[tuple[Event, list[Any]]] = [
            (Delivered("ref", BOB, 7), ["delivered"]),
            (Message(BOB, "bob", "Yes", 5), ["message"]),
            (FileDone("id", BOB, "menu", 1, incoming=False, path=Path("menu")), ["file-done"]),
            (FileDone("id", BOB, "menu", 1, incoming=True, path=Path("menu")), ["file-done", Ending(Exit.DONE)]),
        ]
        for event, said in events:
            self.assertEqual(self.said(errand.hear(event)), said)
