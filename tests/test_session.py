"""A session: what it shows and counts, whom lines go to, and who is told of events."""

from __future__ import annotations

import time
import unittest
from types import SimpleNamespace
from typing import Any

from errors import NotShown
from events import Delivered, Disconnected, Event, Failed, Message, Notice, Sent
from screen import Line, Shown
from session import Session
from settings import Settings
from tests.screens import FakeScreen, fake_chat
from tests.vectors import key

ALICE, BOB, CAROL = (key(name).id for name in ("alice", "bob", "carol"))


class BrokenScreen(FakeScreen):
    """A screen that nobody reads."""

    def show(self, line: Line) -> Shown:
        """See Screen."""
        raise BrokenPipeError


def make_session(screen: FakeScreen, **options: object) -> Session:
    """Return a session of alice's, who knows bob and carol; it has begun."""
    defaults: dict[str, Any] = {"bell": True, "joins": "contacts"}
    session = Session(screen, SimpleNamespace(**{**defaults, **options}), Settings())  # type: ignore[arg-type]
    session.chat = fake_chat(ALICE, {ALICE: "alice", BOB: "bob", CAROL: "carol"})
    session.begin()
    return session


class SessionTest(unittest.TestCase):
    """One session."""

    def setUp(self) -> None:
        """Make it."""
        self.screen = FakeScreen()
        self.session = make_session(self.screen)

    def test_handed_on(self) -> None:
        """Everybody who asks is told of every event once it was shown, of what we say too, and until they end it."""
        told: list[Event] = []
        end = self.session.subscribe(told.append)
        self.session.handle(Notice("something"))
        self.session.chat.tell.side_effect = lambda _to, _text, taken: taken(BOB, 4)  # type: ignore[attr-defined]
        self.session.chat.tell_all.return_value = "ref"  # type: ignore[attr-defined]
        self.session.tell("bob", "hi")
        self.session.tell_all("hello")
        end()
        self.session.handle(Notice("else"))
        self.assertEqual(told, [Notice("something"), Sent(BOB, 4, "hi"), Sent("public", None, "hello", "ref")])
        self.assertEqual(self.session.counts.sent, 2)

    def test_not_shown(self) -> None:
        """When nobody reads what is shown, the event counts as not shown, and nobody is told of it."""
        session = make_session(BrokenScreen())
        told: list[Event] = []
        session.subscribe(told.append)
        with self.assertRaises(NotShown):
            session.handle(Message(BOB, "bob", "hi", 0))
        self.assertEqual(told, [])

    def test_failures(self) -> None:
        """What fails is counted, once each."""
        self.session.handle(Failed("ref", BOB, "CODE", "why", 1))
        self.session.handle(Delivered("ref", BOB, 2))
        self.session.complain("something else")
        self.assertEqual(self.session.failures, 2)

    def test_end(self) -> None:
        """The end of the connection for good ends the wait for what is typed; a loss that passes does not."""
        self.session.handle(Disconnected("why", final=False))
        self.assertEqual(self.screen.woken, 0)
        self.session.handle(Disconnected("why", final=True))
        self.assertEqual(self.screen.woken, 1)

    def test_end_at_a_terminal(self) -> None:
        """At a terminal the end of the connection ends no line that is half typed, but says how one leaves."""
        screen = FakeScreen(interactive=True)
        make_session(screen).handle(Disconnected("why", final=True))
        self.assertEqual(screen.woken, 0)
        self.assertIn("Enter leaves", screen.lines[-1])

    def test_last_sender(self) -> None:
        """The last sender is known, and since when: not since their last message, but since somebody else's."""
        self.assertEqual(self.session.last_sender[0], "")
        self.session.handle(Message(BOB, "bob", "hi", 0))
        since = self.session.last_sender[1]
        self.session.handle(Message(BOB, "bob", "hi", 0))
        self.assertEqual(self.session.last_sender[0], BOB)
        self.assertGreaterEqual(self.session.last_sender[1], since)
        self.session.handle(Message(CAROL, "carol", "hi", 0))
        self.assertEqual(self.session.last_sender[0], CAROL)
        self.assertGreater(self.session.last_sender[1], since)

    def test_unseen(self) -> None:
        """What has come since a person began to type was not meant, nor what came a glance ago; a pipe means all."""
        screen = FakeScreen(interactive=True)
        session = make_session(screen)
        now = time.monotonic()
        for begun, since, unseen in ((now - 60, now - 30, True), (now - 60, now - 90, False), (now, now - 0.5, True)):
            screen.begun = begun
            self.assertIs(session.is_unseen(since), unseen)
        screen.interactive = False
        self.assertFalse(session.is_unseen(now))

    def test_choose(self) -> None:
        """Who is chosen stands in the prompt."""
        self.assertEqual(self.session.choose("bob"), BOB)
        self.assertEqual(self.session.chosen, BOB)
        self.session.choose("")
        self.assertEqual(self.session.chosen, "")
        self.assertEqual(self.screen.prompts, [f"→ bob · {BOB[:8]} > ", "> "])
