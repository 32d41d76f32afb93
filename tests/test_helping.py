"""The commands for finding out: help, what is known of the link, and who comes and goes."""

from __future__ import annotations

import time
import unittest

from addresses import Address
from commands import Commands, UsageError
from connection import LinkStatus
from contacts import Listed
from errors import ChatError
from events import Notice, PresenceChanged
from helping import COMMANDS, Joins, greet, help_command, welcome
from tests.screens import FakeScreen
from tests.test_session import ALICE, BOB, make_session
from tests.vectors import key

DAVE = key("dave").id


class HelpingTest(unittest.TestCase):
    """One session."""

    def setUp(self) -> None:
        """Make it."""
        self.screen = FakeScreen()
        self.session = make_session(self.screen)

    def test_help(self) -> None:
        """All commands have a line; one alone has its examples; one that there is not has the near one named."""
        commands = Commands(COMMANDS)
        command = help_command(commands)
        commands.add(command)
        command.run(self.session, "")
        for usage in ("/info", "/help <command>"):
            self.assertTrue(any(line.startswith(f"  {usage} ") for line in self.screen.lines), usage)
        self.screen.lines.clear()
        command.run(self.session, "help")
        self.assertIn("/help file", "".join(self.screen.lines))
        for word in ("/inf", "inf"):
            with self.subTest(word), self.assertRaisesRegex(ChatError, f"no command {word}; did you mean /info"):
                command.run(self.session, word)

    def test_info(self) -> None:
        """It says who one is, which server it is, what the link hides and for how long it is up, or that it is gone."""
        info = Commands(COMMANDS).get("/info")
        assert info is not None
        info.run(self.session, "")
        self.assertIn("not connected", self.screen.lines[1])
        for secure, kind in ((True, "encrypted by TLS"), (False, "plain")):
            for ago, duration in ((5, "5 s"), (300, "5 min"), (7500, "2 h 5 min"), (90_000, "1 d 1 h")):
                status = LinkStatus(Address("::1", 9001), key("server").id, secure, time.time() - ago)
                self.session.chat.link_status = status  # type: ignore[misc]
                self.screen.lines.clear()
                info.run(self.session, "")
                with self.subTest(duration, secure=secure):
                    self.assertIn(ALICE, self.screen.lines[0])
                    self.assertEqual(self.screen.lines[1], f"  server [::1]:9001, {key('server').id}")
                    self.assertTrue(self.screen.lines[2].startswith(f"  link {kind}"))
                    self.assertTrue(self.screen.lines[2].endswith(f"up for {duration}"))

    def test_joins(self) -> None:
        """Contacts alone are said to come and go, unless all or none are wanted; never oneself; of many, some names."""
        joins = Joins(self.session, "contacts")
        joins.take(PresenceChanged((BOB, DAVE, ALICE), ()))
        joins.take(PresenceChanged((), (BOB,)))
        joins.take(PresenceChanged((DAVE,), ()))
        joins.take(Notice("something"))
        who = f"bob · {BOB[:8]}"
        self.assertEqual(self.screen.lines, [f"[Here] {who}: here now", f"[Here] {who}: gone"])
        command = joins.command()
        command.run(self.session, "all")
        self.screen.lines.clear()
        joins.take(PresenceChanged((BOB, DAVE), ()))
        joins.take(PresenceChanged((DAVE,) * 8, ()))
        self.assertEqual(
            self.screen.lines,
            [f"[Here] {who}, {DAVE[:8]}: here now", f"[Here] {', '.join([DAVE[:8]] * 5)} and 3 more: here now"],
        )
        command.run(self.session, "none")
        self.screen.lines.clear()
        joins.take(PresenceChanged((BOB,), ()))
        self.assertEqual(self.screen.lines, [])
        command.run(self.session, "")
        self.assertEqual(self.screen.lines, ["[Note] shown is the coming and going of nobody"])
        with self.assertRaises(UsageError):
            command.run(self.session, "some")

    def test_greet(self) -> None:
        """Somebody who comes is told who is here, of many some; it harms nothing when the server does not say."""
        chat = self.session.chat
        greet(self.session)
        people = [Listed(ALICE, "alice", ""), Listed(BOB, "bob", "")]
        chat.users.return_value = people  # type: ignore[attr-defined]
        greet(self.session)
        chat.users.return_value = [*people, *(Listed(DAVE, "", "") for _ in range(7))]  # type: ignore[attr-defined]
        greet(self.session)
        chat.users.side_effect = ChatError("no answer")  # type: ignore[attr-defined]
        greet(self.session)
        who, dave = f"bob · {BOB[:8]}", DAVE[:8]
        said = [
            "[Here] nobody else is online",
            f"[Here] {who}",
            f"[Here] {who}, {dave}, {dave}, {dave}, {dave} and 3 more",
            "[Note] who is here is not known: no answer",
        ]
        self.assertEqual(self.screen.lines, said)

    def test_welcome(self) -> None:
        """Somebody new is told in five lines what has happened, and what to type."""
        welcome(self.session)
        self.assertEqual(len(self.screen.lines), 5)
        self.assertTrue(all(line.startswith("  ") for line in self.screen.lines))
