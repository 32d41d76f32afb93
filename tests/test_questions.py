"""Questions that wait for answers."""

from __future__ import annotations

import threading
import unittest
from collections.abc import Callable
from functools import partial
from typing import Any

import socp
from errors import ChatError, NoAnswer, NotConnected, ServerBusy, UserUnknown
from questions import Questions
from socp import SERVER_BUSY, USER_KEY, USER_LIST, USER_NOT_FOUND, Envelope
from tests.vectors import key

PATIENCE = 10.0
ALICE, BOB = key("alice").id, key("bob").id


def answer(frame_type: str, **payload: Any) -> Envelope:
    """Return a server's frame."""
    return socp.read_envelope(socp.make_envelope(frame_type, ALICE, BOB, 1, payload))


class QuestionsTest(unittest.TestCase):
    """Asking in one thread, answering in another."""

    def setUp(self) -> None:
        """Make the questions; `sent` tells when one is on its way."""
        self.asked = 0
        self.sent = threading.Semaphore(0)
        self.questions = Questions(self.count, 0.05)
        self.outcomes: list[Envelope | ChatError] = []

    def count(self) -> None:
        """Count what was asked."""
        self.asked += 1

    def ask(self, expects: str, about: str = "") -> threading.Thread:
        """Ask in a thread, whose outcome goes to `outcomes`."""

        def run() -> None:
            try:
                self.outcomes.append(self.questions.ask(self.sent.release, expects, about, PATIENCE))
            except ChatError as error:
                self.outcomes.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        self.assertTrue(self.sent.acquire(timeout=PATIENCE))
        return thread

    def outcome(self, thread: threading.Thread, act: Callable[[], object]) -> Envelope | ChatError:
        """Do something, and return what the asker got."""
        act()
        thread.join(PATIENCE)
        return self.outcomes.pop()

    def test_answered(self) -> None:
        """An answer goes to who asked for it, by type and user."""
        about_bob = self.ask(USER_KEY, BOB)
        listing = self.ask(USER_LIST)
        self.assertTrue(self.questions.pending())
        self.questions.answer(answer(USER_KEY), ALICE)
        found = answer(USER_LIST)
        self.assertIs(self.outcome(listing, lambda: self.questions.answer(found)), found)
        found = answer(USER_KEY)
        self.assertIs(self.outcome(about_bob, lambda: self.questions.answer(found, BOB)), found)
        self.assertFalse(self.questions.pending())
        self.assertEqual(self.asked, 2)

    def test_refused(self) -> None:
        """An ERROR goes to whom it is meant for, and to nobody when nobody asked that."""
        thread = self.ask(USER_KEY, BOB)
        self.assertFalse(self.questions.refuse("X", "", ALICE))
        error = self.outcome(thread, lambda: self.questions.refuse(USER_NOT_FOUND, "gone", BOB))
        self.assertIsInstance(error, UserUnknown)
        thread = self.ask(USER_LIST)
        error = self.outcome(thread, lambda: self.questions.refuse("OTHER", "", ""))
        self.assertEqual((type(error), str(error)), (ChatError, "OTHER"))
        self.assertFalse(self.questions.refuse("X", "", ""))

    def test_busy(self) -> None:
        """A question that the server is too busy for is asked again, and answered in the end."""
        thread = self.ask(USER_KEY, BOB)
        for _ in range(3):
            self.assertTrue(self.questions.refuse(SERVER_BUSY, "later", BOB))
            self.assertTrue(self.sent.acquire(timeout=PATIENCE))
        found = answer(USER_KEY)
        self.assertIs(self.outcome(thread, lambda: self.questions.answer(found, BOB)), found)
        self.assertEqual(self.asked, 4)

    def test_busy_for_too_long(self) -> None:
        """A server that stays busy for longer than we wait is said to be; so is the end of this client."""
        refuse = partial(self.questions.refuse, SERVER_BUSY, "later", "")
        with self.assertRaisesRegex(ServerBusy, "SERVER_BUSY: later"):
            self.questions.ask(lambda: self.assertTrue(refuse()), USER_LIST, "", 0.12)
        self.questions = Questions(self.count, PATIENCE / 2)
        thread = self.ask(USER_LIST)
        self.questions.refuse(SERVER_BUSY, "later", "")
        error = self.outcome(thread, lambda: self.questions.close("leaving"))
        self.assertEqual((type(error), str(error)), (NotConnected, "leaving"))

    def test_disconnected(self) -> None:
        """When the server is gone, all who wait are told."""
        threads = [self.ask(USER_LIST), self.ask(USER_KEY, BOB)]
        self.questions.give_up("gone")
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual([type(outcome) for outcome in self.outcomes], [NotConnected] * 2)

    def test_no_answer(self) -> None:
        """A question that is not answered in time, or cannot be sent, waits no more."""
        with self.assertRaisesRegex(NoAnswer, "0.01 s"):
            self.questions.ask(lambda: None, USER_LIST, "", 0.01)

        def fail() -> None:
            raise NotConnected("no")

        self.assertRaises(NotConnected, self.questions.ask, fail, USER_LIST, "", PATIENCE)
        self.assertFalse(self.questions.pending())
        self.questions.answer(answer(USER_LIST))

    def test_closed(self) -> None:
        """Once it is closed, whoever waits and whoever asks is told why, at once."""
        thread = self.ask(USER_LIST)
        error = self.outcome(thread, lambda: self.questions.close("leaving"))
        self.assertEqual((type(error), str(error)), (NotConnected, "leaving"))
        with self.assertRaisesRegex(NotConnected, "leaving"):
            self.questions.ask(lambda: self.fail("it was sent"), USER_LIST, "", PATIENCE)
