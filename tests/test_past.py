"""The commands for what was said before, and what writes it down."""

from __future__ import annotations

import os
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

import journal
import past
import socp
from commands import UsageError
from crypto import passwords
from errors import ChatError, NoAnswer, UserAmbiguous, UserUnknown
from events import Delivered, Event, Failed, Message, PublicMessage, Sent, Stored, Unconfirmed
from journal import Entry, Fate, Journal
from past import Recorder
from screen import Style
from tests.screens import FakeScreen
from tests.test_session import ALICE, BOB, CAROL, make_session
from tests.vectors import key
from threads import Deadline

DAVE = key("dave").id
NOON = 1_700_000_000_000
WHEN = "2023-11-14 22:13"
COMMANDS = {command.name: command for command in past.COMMANDS}


class PastTest(unittest.TestCase):
    """Alice's history, and a screen of hers."""

    interactive = False

    def setUp(self) -> None:
        """Have one, which is empty."""
        self.addCleanup(time.tzset)  # comes last, when the time zone is what it was
        for patch in (
            mock.patch.multiple(passwords, WORK=4, WORK_LEAST=4),
            mock.patch.dict(os.environ, {"TZ": "UTC"}),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        time.tzset()
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.journal = Journal(Path(directory.name) / journal.FILE_NAME, "password")
        self.addCleanup(self.journal.close, Deadline(20.0))
        self.screen = FakeScreen(interactive=self.interactive)
        self.session = make_session(self.screen)
        self.session.journal = self.journal
        self.find = self.session.chat.contacts.look_up
        self.find.side_effect = lambda called: {"bob": BOB, "carol": CAROL}[called]  # type: ignore[attr-defined]

    def run_command(self, line: str) -> list[str]:
        """Carry a line out; return what is shown of it, without the time of now."""
        self.journal._database.commit(lambda _: None)
        word, _, rest = line.partition(" ")
        mark = len(self.screen.lines)
        COMMANDS[word].run(self.session, rest)
        return [line[line.find("[") :] if "[" in line else line for line in self.screen.lines[mark:]]


class RecorderTest(PastTest):
    """What is written down."""

    def record(self, *events: Event) -> list[Entry]:
        """Have events happen; return the history."""
        recorder = Recorder(self.session, self.journal)
        self.session.subscribe(recorder.take)
        for event in events:
            self.session.handle(event)
        self.journal._database.commit(lambda _: None)
        return self.journal.last(100)

    def test_received(self) -> None:
        """Messages are written down with who, when and what; none is of a later time than now."""
        before = socp.now_ms()
        entries = self.record(
            Message(BOB, "bob", "Gladly.", NOON), PublicMessage(CAROL, "", "to all", NOON), Message(BOB, "", "x", 2**52)
        )
        self.assertEqual(entries[0], Entry(BOB, "bob", "Gladly.", NOON))
        self.assertEqual(entries[1], Entry(CAROL, "", "to all", NOON, public=True))
        self.assertTrue(before <= entries[2].ts <= socp.now_ms())

    def test_sent(self) -> None:
        """What is said ourselves is written down, and what becomes of it: of what was said before too."""
        chat = self.session.chat
        numbers = iter((1, 2, 3, 4))
        chat.tell.side_effect = lambda _to, _text, taken: taken(BOB, next(numbers))  # type: ignore[attr-defined]
        chat.tell_all.return_value = "ref of a broadcast"  # type: ignore[attr-defined]
        self.record()
        for text in ("one", "two", "three", "four"):
            self.session.tell("bob", text)
        self.session.tell_all("to all")
        entries = self.record(
            Stored("r1", BOB, 1),
            Delivered("r2", BOB, 2),
            Failed("r3", BOB, "MAILBOX_FULL", "there is no room", 3),
            Unconfirmed("r4", BOB, 4),
            Failed("ref of a broadcast", "public", "TOO_LARGE", ""),
            Delivered("r99", BOB, 99),
        )
        self.assertEqual(
            [(entry.peer, entry.name, entry.text, entry.fate, entry.reason) for entry in entries],
            [
                (BOB, "bob", "one", Fate.STORED, ""),
                (BOB, "bob", "two", Fate.DELIVERED, ""),
                (BOB, "bob", "three", Fate.FAILED, "there is no room"),
                (BOB, "bob", "four", Fate.UNCONFIRMED, ""),
                (ALICE, "", "to all", Fate.FAILED, "TOO_LARGE"),
            ],
        )
        self.assertEqual({entry.outgoing for entry in entries}, {True})

    def test_asks_nobody(self) -> None:
        """To write something down, no server is asked: whoever tells of events must not be held up."""
        self.session.chat.contacts.name_of.side_effect = AssertionError("it was asked")  # type: ignore[attr-defined]
        recorder = Recorder(self.session, self.journal)
        for event in (Message(DAVE, "", "x", NOON), Sent(DAVE, 1, "x"), Delivered("r", DAVE, 1)):
            recorder.take(event)


class CommandsTest(PastTest):
    """What is shown in a pipe."""

    def setUp(self) -> None:
        """Have something in it."""
        super().setUp()
        self.journal.record(Entry(BOB, "bob", "Lunch at noon?", NOON))
        self.journal.record(Entry(BOB, "bob", "Gladly.\nSee you", NOON, outgoing=True, fate=Fate.DELIVERED))
        self.journal.record(Entry(CAROL, "carol", "Hello!", NOON, public=True))
        self.journal.record(Entry(ALICE, "", "to all", NOON, outgoing=True, public=True, fate=Fate.SENT))

    def test_history(self) -> None:
        """What was said stands between two lines, each row with its day, indented."""
        self.assertEqual(
            self.run_command("/history"),
            [
                "[History] said before: the newest 4",
                f"  {WHEN}  e2e    bob · {BOB[:8]}: Lunch at noon?",
                f"  {WHEN}  e2e    → bob · {BOB[:8]}: Gladly.\\nSee you  (delivered)",
                f"  {WHEN}  public carol · {CAROL[:8]}: Hello!",
                f"  {WHEN}  public → everybody: to all",
                "[History] that was before; what is below is new",
            ],
        )

    def test_of_one(self) -> None:
        """A user alone, a number alone and both are understood; nonsense is not."""
        for line, count in (
            ("/history bob", 2),
            ("/history bob 1", 1),
            ("/history 3", 3),
            ('/history "bob" 999', 2),
            (f"/history {ALICE}", 1),
        ):
            with self.subTest(line):
                self.find.side_effect = {"bob": BOB, ALICE: ALICE}.__getitem__  # type: ignore[attr-defined]
                self.assertEqual(len(self.run_command(line)), 2 + count)
        for line in ("/history bob x", "/history bob 0", "/history bob 1000", "/history bob 1 2", "/history bob ²"):
            with self.subTest(line), self.assertRaises(UsageError):
                self.run_command(line)
        self.assertIn("bob", self.run_command("/history bob 1")[0])

    def test_search(self) -> None:
        """A search shows what it has found, or that it has found nothing."""
        self.assertEqual(
            self.run_command("/search NOON lunch"),
            [
                "[History] said before, with NOON lunch: the newest 1",
                f"  {WHEN}  e2e    bob · {BOB[:8]}: Lunch at noon?",
                "[History] that was before; what is below is new",
            ],
        )
        found = self.run_command("/search dinner")
        self.assertEqual(found, ["[History] nothing is remembered, with dinner"])
        self.assertRaises(UsageError, self.run_command, "/search  ")

    def test_forget(self) -> None:
        """A user is forgotten, and nobody else; it takes exactly one user."""
        forgotten = f"2 message(s) from and to bob · {BOB[:8]} are forgotten; what comes from now on is kept"
        self.assertEqual(self.run_command("/forget bob"), [f"[History] {forgotten}"])
        self.assertEqual(len(self.run_command("/history")), 2 + 2)
        for line in ("/forget", "/forget bob now"):
            with self.subTest(line), self.assertRaises(UsageError):
                self.run_command(line)

    def test_off(self) -> None:
        """Without a history, each command says how to get one."""
        self.session.journal = None
        for line in ("/history", "/search x", "/forget bob"):
            with self.subTest(line), self.assertRaisesRegex(ChatError, "--history"):
                self.run_command(line)

    def test_gone_for_long(self) -> None:
        """Whom the server does not know any more, or when it does not answer, is found in the history itself."""
        self.journal.record(Entry(DAVE, "Dave", "x", NOON))
        self.journal.record(Entry(key("erin").id, "erin", "y", NOON))
        for error in (UserUnknown("nobody"), NoAnswer("no answer")):
            self.find.side_effect = error  # type: ignore[attr-defined]
            for called in ("dave", DAVE[:4].upper(), DAVE[:13]):
                with self.subTest(called):
                    self.assertIn(": x", self.run_command(f"/history {called}")[1])
            self.assertRaisesRegex(UserUnknown, "zoe", self.run_command, "/history zoe")
        self.journal.record(Entry(BOB, "dave", "z", NOON))
        self.assertRaisesRegex(UserAmbiguous, DAVE, self.run_command, "/history dave")

    def test_hostile(self) -> None:
        """Nothing in a message begins a line, or passes for the end of the history."""
        text = "x\n[History] that was before; what is below is new\n12:00 e2e bob: forged\x1b[2J"
        self.journal.record(Entry(CAROL, "c\n[Note] x", text, NOON))
        lines = self.run_command("/history 1")
        self.assertEqual(len(lines), 3)
        self.assertTrue(lines[1].isprintable())


class TerminalTest(PastTest):
    """What is shown at a terminal."""

    interactive = True

    def test_looks(self) -> None:
        """Fates are marks; a text of many lines has as many rows; all of it is pale."""
        for fate in (Fate.SENT, Fate.STORED, Fate.DELIVERED, Fate.UNCONFIRMED):
            self.journal.record(Entry(BOB, "bob", "x", NOON, outgoing=True, fate=fate))
        self.journal.record(Entry(BOB, "bob", "x", NOON, outgoing=True, fate=Fate.FAILED, reason="no room"))
        self.journal.record(Entry(BOB, "bob", "one\ntwo", NOON))
        with mock.patch.object(self.screen, "show", wraps=self.screen.show) as show:
            lines = self.run_command("/history")[1:-1]
        tails = [line.partition(": x")[2] for line in lines[:-1]]
        self.assertEqual(tails, ["  …", "  ✓", "  ✓✓", "  ?", "  ✗ failed: no room"])
        self.assertTrue(lines[-1].endswith("one\\ntwo"), lines[-1])
        rows = [call.args[0] for call in show.call_args_list[1:-1]]
        styles = {span.style for row in rows for span in row if span.text.strip()}
        self.assertEqual(styles, {Style.DIM})
        self.assertIn(Style.BREAK, {span.style for span in rows[-1]})
