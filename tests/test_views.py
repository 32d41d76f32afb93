"""What events look like: in pipes as they always have, on terminals with times and marks that change in place."""

from __future__ import annotations

import re
import unittest
from pathlib import Path

import socp
from events import (
    Connected,
    Delivered,
    Disconnected,
    Event,
    Failed,
    FileDone,
    FileFailed,
    FileInterrupted,
    FileResumed,
    FileStarted,
    Message,
    Notice,
    PublicMessage,
    Stored,
    Unconfirmed,
)
from tests.screens import FakeScreen
from tests.vectors import key
from views import PipeView, TerminalView

BOB = key("bob").id
FILE = "0b7c2d9e-5a3f-4c1d-8e6b-2f4a6c8e0d1b"


def label(user_id: str, name: str | None) -> str:
    """Return what stands for a user here."""
    return f"{name or 'bob'} · {user_id[:8]}"


class PipeTest(unittest.TestCase):
    """A line for each event."""

    def test_lines(self) -> None:
        """Each event has its line, the same as ever, in which what others say stays on its line."""
        who = f"bob · {BOB[:8]}"
        expected: tuple[tuple[Event, str], ...] = (
            (Message(BOB, "bob", "hi\nthere", 0), f"[DM from {who}] hi\\nthere"),
            (PublicMessage(BOB, "bob", "hi", 0), f"[All] {who}: hi"),
            (Stored("ref", BOB, 3), f"[DM to {who}] stored until the user is back (#3)"),
            (Delivered("ref", BOB, 3), f"[DM to {who}] delivered (#3)"),
            (Unconfirmed("ref", BOB, 3), f"[DM to {who}] not confirmed after 7 days (#3)"),
            (Failed("ref", BOB, "CODE", "why", 3), f"[DM to {who}] failed: CODE: why (#3)"),
            (Failed("ref", "public", "CODE", "why"), "[All] failed: CODE: why"),
            (FileStarted(FILE, BOB, "../x", 1234, incoming=True), f"[File from {who}] receiving x (1,234 bytes)"),
            (FileStarted(FILE, BOB, "x", 1234, incoming=False), f"[File to {who}] sending x (1,234 bytes)"),
            (FileDone(FILE, BOB, "x", 1, incoming=True, path=Path("d/x")), f"[File from {who}] saved d/x (1 bytes)"),
            (FileDone(FILE, BOB, "x", 1, incoming=False, path=Path("x")), f"[File to {who}] x delivered (1 bytes)"),
            (FileInterrupted(FILE, BOB, "x", incoming=True, reason="why"), f"[File from {who}] x interrupted: why"),
            (FileResumed(FILE, BOB, "x", incoming=True), f"[File from {who}] x goes on"),
            (FileFailed(FILE, BOB, "x", incoming=True, reason="why"), f"[File from {who}] x failed: why"),
            (Notice("a\x1bb"), "[Note] a\\x1bb"),
            (Disconnected("why", final=False), "[Server] connection lost: why"),
            (Connected("host:1", BOB), f"[Server] connected again: host:1 ({BOB})"),
        )
        for event, line in expected:
            with self.subTest(type(event).__name__):
                screen = FakeScreen()
                PipeView(screen, label).show(event)
                self.assertEqual(screen.lines, [line])

    def test_sent(self) -> None:
        """A direct message of ours is said to be sent, by its number; what was typed stays to be seen by itself."""
        screen = FakeScreen()
        view = PipeView(screen, label)
        view.sent(BOB, 7, "hi")
        view.sent_to_all("ref", "hi")
        self.assertEqual(screen.lines, [f"[DM to bob · {BOB[:8]}] sent (#7)"])


class TerminalTest(unittest.TestCase):
    """What a person sees."""

    def setUp(self) -> None:
        """Make a terminal."""
        self.screen = FakeScreen(interactive=True)
        self.view = TerminalView(self.screen, label, bell=True)

    def shown(self) -> list[str]:
        """Return what stands there, without the times."""
        lines = [re.fullmatch(r"(?:\w{3} \d\d )?\d\d:\d\d (.*)", line) for line in self.screen.lines]
        assert all(lines), self.screen.lines
        return [match[1] for match in lines if match is not None]

    def test_messages(self) -> None:
        """A message has its time, its kind and its sender; a direct one rings, if it may."""
        self.view.show(Message(BOB, "bob", "hi\nthere", socp.now_ms()))
        self.view.show(PublicMessage(BOB, "bob", "hello", socp.now_ms()))
        who = f"bob · {BOB[:8]}"
        self.assertEqual(self.shown(), [f"e2e    {who}: hi\\nthere", f"public {who}: hello"])
        self.assertEqual(self.screen.rung, 1)
        TerminalView(self.screen, label, bell=False).show(Message(BOB, "bob", "hi", socp.now_ms()))
        self.assertEqual(self.screen.rung, 1)

    def test_day(self) -> None:
        """What was not said today has its day before its time."""
        view = TerminalView(self.screen, label, bell=False, now=lambda: 2_000_000_000.0)
        view.show(Message(BOB, "bob", "hi", 1_999_000_000_000))
        view.show(Message(BOB, "bob", "hi", 2_000_000_000_000))
        self.assertRegex(self.screen.lines[0], r"^May \d\d \d\d:\d\d e2e")
        self.assertRegex(self.screen.lines[1], r"^\d\d:\d\d e2e")

    def test_fates(self) -> None:
        """What becomes of a message is marked at it, also after others have come; a reason stands beside it."""
        line = f"e2e    → bob · {BOB[:8]}: hi  "
        for number in (1, 2, 3):
            self.view.sent(BOB, number, "hi")
        self.assertEqual(self.shown(), [line + "…"] * 3)
        self.view.show(Stored("a", BOB, 1))
        self.view.show(Failed("b", BOB, "MAILBOX_FULL", "no more is stored", 2))
        self.view.show(Unconfirmed("c", BOB, 3))
        says = [line + "✓", line + "✗ failed: no more is stored", line + "? not confirmed after 7 days"]
        self.assertEqual(self.shown(), says)
        self.view.show(Delivered("a", BOB, 1))
        self.assertEqual(self.shown()[0], line + "✓✓")

    def test_broadcasts(self) -> None:
        """A broadcast of ours is shown, with a mark if the server has refused it."""
        self.view.sent_to_all("ref", "hello")
        self.assertEqual(self.shown(), ["public → everybody: hello"])
        self.view.show(Failed("ref", "public", "TOO_LARGE", "too large"))
        self.assertEqual(self.shown(), ["public → everybody: hello  ✗ failed: too large"])

    def test_out_of_reach(self) -> None:
        """What becomes of a message that has gone out of sight, or is of before, is a line that says of which."""
        self.screen = FakeScreen(interactive=True, reach=1)
        self.view = TerminalView(self.screen, label, bell=True)
        self.view.sent(BOB, 1, "a" * 40)
        self.view.show(Notice("something"))
        self.view.show(Stored("a", BOB, 1))
        self.view.show(Delivered("a", BOB, 1))
        self.view.show(Delivered("b", BOB, 77))
        self.view.show(Failed("c", "public", "TOO_LARGE", "too large"))
        who = f"→ bob · {BOB[:8]}"
        self.assertEqual(
            self.shown()[2:],
            [
                f"✓ {who}: stored until they are back  ({'a' * 32}…)",
                f"✓✓ {who}: delivered  ({'a' * 32}…)",
                f"✓✓ {who}: delivered  (#77, of before)",
                "✗ → everybody: failed: too large  (a broadcast)",
            ],
        )

    def test_bounded(self) -> None:
        """Of many messages that nothing is heard of the oldest are forgotten."""
        for number in range(300):
            self.view.sent(BOB, number, "hi")
        self.view.show(Delivered("a", BOB, 0))
        self.assertIn("(#0, of before)", self.shown()[-1])
