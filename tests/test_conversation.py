"""A conversation: which line is which command, what is said of one that is none, and how it ends."""

from __future__ import annotations

import unittest
from collections.abc import Iterable

from conversation import Conversation
from errors import UserUnknown
from lines import LineCut
from session import Session
from tests.screens import FakeScreen
from tests.test_session import BOB, make_session


class CuttingScreen(FakeScreen):
    """A screen whose first line is too long."""

    def next(self) -> str | None:
        """See Screen."""
        if not self.lines:
            raise LineCut
        return super().next()


class ConversationTest(unittest.TestCase):
    """What is typed, and what comes of it."""

    def converse(self, lines: Iterable[str], *, settled: bool = True, screen: FakeScreen | None = None) -> Session:
        """Type lines until the end of input; `code` is then the exit code."""
        self.screen = screen or FakeScreen(*lines)
        session = make_session(self.screen)
        chat = session.chat
        chat.tell_when_settled.side_effect = lambda _seconds, told: told(settled)  # type: ignore[attr-defined]
        self.code = Conversation(session).run()
        return session

    def test_commands(self) -> None:
        """A line is a command, or a message to whom was chosen; two slashes begin one with a slash."""
        session = self.converse(["/tell bob  hi", "", "  ", "/to bob", "hello there", "//etc/passwd is public"])
        told = [call.args[:2] for call in session.chat.tell.call_args_list]  # type: ignore[attr-defined]
        self.assertEqual(told, [("bob", "hi"), (BOB, "hello there"), (BOB, "/etc/passwd is public")])
        self.assertEqual(self.code, 0)

    def test_wrong(self) -> None:
        """What is no command names the near one; what is not complete says how it is; both fail."""
        session = self.converse(["/tel bob hi", "/xyz", "/tell bob", "hello"])
        said = [
            "[Error] /tel is no command; did you mean /tell?",
            "[Error] /xyz is no command; /help shows what there is",
            "[Error] usage: /tell <user> <message>",
        ]
        self.assertEqual(self.screen.lines[:3], said)
        self.assertTrue(self.screen.lines[3].startswith("[Error] nothing was sent"))
        session.chat.tell.assert_not_called()  # type: ignore[attr-defined]
        self.assertEqual(self.code, 3, "there is no server")

    def test_quit_and_more(self) -> None:
        """What leaves is /quit alone: with more behind it, the next line is carried out."""
        self.converse(["/quit smoking", "/xyz"])
        self.assertEqual(self.screen.lines[0], "[Error] usage: /quit")
        self.assertIn("/xyz", self.screen.lines[1])

    def test_private(self) -> None:
        """What is written to one user, or may have been meant to be, is private; other commands are not."""
        conversation = Conversation(make_session(FakeScreen()))
        private = ("hello", "//hello", "/tell bob hi", " /tell bob hi", "/TELL bob hi", "/tel bob hi", "/r hi")
        for line in (*private, "/tell\nbob hi", "/tell\tbob hi", "/search words of a message"):
            self.assertTrue(conversation.is_private(line), line)
        for line in ("/all hi", "/list", " /whois bob", "/to bob", "/quit"):
            self.assertFalse(conversation.is_private(line), line)

    def test_help_fits(self) -> None:
        """What /help shows breaks where we have it break, at a terminal of 80 columns."""
        commands = [command.name for command in Conversation(make_session(FakeScreen())).commands]
        self.converse(["/help", *(f"/help {name}" for name in commands)])
        self.assertGreater(len(self.screen.lines), 2 * len(commands))
        self.assertEqual([line for line in self.screen.lines if len(line) > 79], [])

    def test_errors(self) -> None:
        """What a command says is wrong is shown, and the next line is carried out."""
        screen = FakeScreen("/list", "/help")
        session = make_session(screen)
        session.chat.users.side_effect = UserUnknown("nobody is here")  # type: ignore[attr-defined]
        session.chat.tell_when_settled.side_effect = lambda _seconds, told: told(True)  # type: ignore[attr-defined]
        session.chat.server_id = BOB  # type: ignore[misc]
        self.assertEqual(Conversation(session).run(), 1)
        self.assertEqual(screen.lines[0], "[Error] nobody is here")
        self.assertGreater(len(screen.lines), 5)

    def test_cut(self) -> None:
        """A line that the terminal has cut is not sent."""
        session = self.converse([], screen=CuttingScreen("/quit"))
        self.assertIn("the terminal has cut this line", self.screen.lines[0])
        session.chat.tell.assert_not_called()  # type: ignore[attr-defined]

    def test_leaving(self) -> None:
        """A person who leaves waits for no receipts, and is told what is not confirmed; Ctrl-C has its own code."""
        for interrupted, code in ((False, 0), (True, 130)):
            screen = FakeScreen(interactive=True)
            screen.is_interrupted = interrupted
            session = make_session(screen)
            session.chat.undelivered = 1  # type: ignore[misc]
            with self.subTest(code):
                self.assertEqual(Conversation(session).run(), code)
                session.chat.tell_when_settled.assert_not_called()  # type: ignore[attr-defined]
                self.assertIn("[Note] 1 message(s) were not confirmed yet", screen.lines[-1])

    def test_lost_for_good(self) -> None:
        """At a terminal, the line that is typed when the connection is lost for good is not sent, and leaves."""
        screen = FakeScreen("/tell bob too late", "/list", interactive=True)
        session = make_session(screen)
        session.chat.lost = True  # type: ignore[misc]
        self.assertEqual(Conversation(session).run(), 3)
        session.chat.tell.assert_not_called()  # type: ignore[attr-defined]
        self.assertEqual(screen.next(), "/list")

    def test_unfinished(self) -> None:
        """What is not confirmed is said at the end: a failure at the end of input, and none for /quit."""
        for lines, tag, code in (([], "Error", 3), (["/quit"], "Note", 0)):
            with self.subTest(tag):
                screen = FakeScreen(*lines)
                session = make_session(screen)
                session.chat.undelivered, session.chat.unsent_files = 2, 1  # type: ignore[misc]
                session.chat.tell_when_settled.side_effect = lambda _s, told: told(False)  # type: ignore[attr-defined]
                self.assertEqual(Conversation(session).run(), code)
                self.assertTrue(screen.lines[0].startswith(f"[{tag}] 2 message(s) were not confirmed"))
                self.assertTrue(screen.lines[1].startswith(f"[{tag}] 1 file(s) were not confirmed"))
