"""The commands for saying something, and lines without a command."""

from __future__ import annotations

import time
import unittest
from dataclasses import replace

from commands import Commands, UsageError
from contacts import Listed
from errors import ChatError
from events import Message
from session import Session
from settings import Timers
from talking import COMMANDS, JustWritten, say_plainly
from tests.screens import FakeScreen
from tests.test_session import ALICE, BOB, CAROL, make_session
from tests.vectors import key


class TalkingTest(unittest.TestCase):
    """One session."""

    def setUp(self) -> None:
        """Make it."""
        self.screen = FakeScreen()
        self.session = make_session(self.screen)
        self.told: list[tuple[str, str]] = []
        self.session.chat.tell.side_effect = lambda to, text, _taken: self.told.append((to, text))  # type: ignore[attr-defined]

    def run_command(self, name: str, rest: str = "", session: Session | None = None) -> None:
        """Carry out a command."""
        command = Commands(COMMANDS).get(name)
        assert command is not None
        command.run(session or self.session, rest)

    def test_tell(self) -> None:
        """A message goes to who is named; a command without one, or without a user, is told how it is used."""
        self.run_command("/tell", "bob hi  there")
        self.assertEqual(self.told, [("bob", "hi  there")])
        for name, rest in (("/tell", ""), ("/tell", "bob"), ("/all", ""), ("/r", ""), ("/to", "bob hi")):
            with self.subTest(name, rest=rest), self.assertRaises(UsageError):
                self.run_command(name, rest)

    def test_plain_lines(self) -> None:
        """A line without a command goes to who was chosen, and to nobody when nobody was."""
        with self.assertRaisesRegex(ChatError, "nothing was sent"):
            say_plainly(self.session, "hi")
        self.run_command("/to")
        self.run_command("/to", "bob")
        say_plainly(self.session, "hi")
        self.run_command("/to")
        self.run_command("/to", "-")
        with self.assertRaises(ChatError):
            say_plainly(self.session, "hi")
        self.assertEqual(self.told, [(BOB, "hi")])
        who = f"bob · {BOB[:8]}"
        said = ["nobody", f"{who} from now on", who, "nobody from now on"]
        self.assertEqual(self.screen.lines, [f"[Note] plain lines go to {whom}" for whom in said])

    def test_answer(self) -> None:
        """An answer goes to who has written last, and to nobody before anybody has."""
        with self.assertRaisesRegex(ChatError, "nobody has written"):
            self.run_command("/r", "hi")
        self.session.handle(Message(BOB, "bob", "hi", 0))
        self.run_command("/r", "hi")
        self.assertEqual(self.told, [(BOB, "hi")])

    def test_answer_to_another(self) -> None:
        """An answer that somebody else's message has come before is not sent to that one by accident."""
        session = make_session(FakeScreen(interactive=True))
        session.chat.tell.side_effect = self.session.chat.tell.side_effect  # type: ignore[attr-defined]
        session.handle(Message(CAROL, "carol", "hi", 0))
        with self.assertRaisesRegex(JustWritten, "nothing was sent: carol"):
            self.run_command("/r", "hi", session)
        session.settings = replace(session.settings, timers=Timers(glance=0))
        session.screen.begun = time.monotonic() - 60
        with self.assertRaises(JustWritten):
            self.run_command("/r", "hi", session)
        session.screen.begun = time.monotonic()
        self.run_command("/r", "hi", session)
        self.assertEqual(self.told, [(CAROL, "hi")])

    def test_list(self) -> None:
        """A pipe gets ids, names and servers; a person who is where, and who is oneself."""
        server = key("server").id
        online = [Listed(ALICE, "alice", server), Listed(BOB, "", server), Listed(CAROL, "carol", key("server2").id)]
        self.session.chat.users.return_value = online  # type: ignore[attr-defined]
        self.run_command("/list")
        rows = [f"  {ALICE}  alice  {server}  (you)", f"  {BOB}  -  {server}", f"  {CAROL}  carol  {key('server2').id}"]
        self.assertEqual(self.screen.lines, ["[List] 3 online", *rows])
        session = make_session(FakeScreen(interactive=True))
        session.chat.users.return_value, session.chat.server_id = online, server  # type: ignore[attr-defined, misc]
        self.run_command("/list", session=session)
        assert isinstance(session.screen, FakeScreen)
        self.assertEqual(
            session.screen.lines[1:],
            [
                f"  alice · {ALICE[:8]}  on this server  (you)",
                f"  {BOB[:8]}  on this server",
                f"  carol · {CAROL[:8]}  on {key('server2').id[:8]}",
            ],
        )
