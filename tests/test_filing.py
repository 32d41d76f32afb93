"""The commands for files, and the lines that tell of offers, in a client that is not connected."""

from __future__ import annotations

import threading
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

from commands import UsageError
from conversation import Conversation
from errors import ChatError, FileRefused, TransferUnknown
from events import FileNotTaken, FileOffered
from filing import COMMANDS
from progress import Progress
from receiving import Verdict
from session import Session
from socp import FILE_CHUNK, Envelope
from tests.screens import FakeScreen
from tests.terminals import Terminal, open_screen
from tests.test_session import BOB, CAROL, make_session
from tests.wire import CHUNK, PATIENCE, WireTest
from threads import Alarms
from underway import State, UnderWay

_RUN = {command.name: command.run for command in COMMANDS}


def offer(number: int, peer: str = BOB, **change: object) -> UnderWay:
    """Return a file that bob offers."""
    values: dict[str, object] = {
        "name": f"file {number}",
        "size": 5_000,
        "incoming": True,
        "state": State.OFFERED,
        "done": 0,
        "began": time.monotonic() - 60,
        "progressed": 0.0,
        **change,
    }
    return UnderWay(f"id {number}", number, peer, **values)  # type: ignore[arg-type]


class FilingTest(unittest.TestCase):
    """What is typed, and what comes of it."""

    def session(self, *files: UnderWay, interactive: bool = True) -> Session:
        """Return a session with files."""
        self.screen = FakeScreen(interactive=interactive)
        session = make_session(self.screen)
        self.chat = session.chat
        session.chat.files.return_value = list(files)  # type: ignore[attr-defined]
        return session

    def test_send(self) -> None:
        """A file is sent; a person is told its number, and a pipe what it was told before."""
        for interactive in (True, False):
            session = self.session(offer(4, incoming=False), interactive=interactive)
            session.chat.send_file.return_value = "id 4"  # type: ignore[attr-defined]
            _RUN["/file"](session, 'bob  a "b" c.txt ')
            session.chat.send_file.assert_called_once_with("bob", Path('a "b" c.txt'))  # type: ignore[attr-defined]
            said = [line.partition("[")[2] for line in self.screen.lines]
            expected = "File to bob · 2f4db844] file 4 offered (5,000 bytes); /cancel 4 ends it"
            self.assertEqual(said, [expected.replace("2f4db844", BOB[:8])] if interactive else [])
        for wrong in ("", "bob", "bob  "):
            self.assertRaises(UsageError, _RUN["/file"], session, wrong)
        self.assertRaises(FileRefused, _RUN["/file"], session, "bob ~nobody-at-all/x")

    def test_accept_by_number(self) -> None:
        """A number means one offer, with or without its sign, and nothing that is none."""
        session = self.session(offer(1), offer(2, CAROL), offer(3, incoming=False), offer(4, state=State.RUNNING))
        for typed in ("2", " #2 "):
            _RUN["/accept"](session, typed)
            self.chat.accept_file.assert_called_with("id 2", CAROL)  # type: ignore[attr-defined]
        for typed in ("3", "4", "5"):
            self.assertRaises(TransferUnknown, _RUN["/accept"], session, typed)
        for typed in ("x", "1 2", "-1", "\u0661", "1" * 10):
            self.assertRaises(UsageError, _RUN["/deny"], session, typed)
        self.chat.deny_file.assert_not_called()  # type: ignore[attr-defined]

    def test_accepted(self) -> None:
        """A file that begins at once is told of by that alone; one that waits for its turn is said to be accepted."""
        for state in (State.RUNNING, State.WAITING):
            session = self.session(offer(1), offer(2))
            files: Any = session.chat.files
            files.side_effect = [files.return_value, [offer(1), offer(2, state=state)]]
            _RUN["/accept"](session, "2")
        [line] = self.screen.lines
        said = f"[File from bob · {BOB[:8]}] file 2 accepted; waits for its turn (5,000 bytes)"
        self.assertEqual(line.partition(" ")[2], said)

    def test_without_a_number(self) -> None:
        """The only offer is meant, and none of several; nor one that has come this very moment."""
        for command, call in (("/accept", "accept_file"), ("/deny", "deny_file")):
            session = self.session(offer(7), offer(8, incoming=False))
            _RUN[command](session, "")
            getattr(self.chat, call).assert_called_once_with("id 7", BOB)
            with self.assertRaisesRegex(ChatError, f"say which is meant: {command} 1, {command} 2$"):
                _RUN[command](self.session(offer(1), offer(2)), "")
            with self.assertRaisesRegex(ChatError, "no file is offered"):
                _RUN[command](self.session(), "")
            new = offer(9, began=time.monotonic())
            with self.assertRaisesRegex(ChatError, f"file 9 was offered in the meantime; {command} again means that"):
                _RUN[command](self.session(new), "")
            _RUN[command](self.session(new, interactive=False), "")  # a program has seen it
            getattr(self.chat, call).assert_called_once_with("id 9", BOB)

    def test_not_saved(self) -> None:
        """What cannot be saved is not said to be accepted: an event tells why."""
        session = self.session(offer(1))
        self.chat.accept_file.return_value = False  # type: ignore[attr-defined]
        _RUN["/accept"](session, "1")
        self.assertEqual(self.screen.lines, [])

    def test_cancel(self) -> None:
        """A transfer in either direction is ended by its number."""
        session = self.session(offer(1), offer(2, CAROL, incoming=False))
        _RUN["/cancel"](session, "2")
        self.chat.cancel_file.assert_called_once_with("id 2", CAROL)  # type: ignore[attr-defined]
        self.assertRaises(UsageError, _RUN["/cancel"], session, "")
        self.assertRaises(TransferUnknown, _RUN["/cancel"], session, "3")

    def test_list(self) -> None:
        """Every transfer is listed with its number, what it does and how far it is; names stand last, and are safe."""
        session = self.session(
            offer(1, name="../../x\x1b[2J"),
            offer(2, CAROL, incoming=False),
            offer(3, state=State.RUNNING, done=2_500),
            offer(4, state=State.INTERRUPTED),
            offer(5, state=State.WAITING),
            offer(6, incoming=False, state=State.HASHING),
        )
        _RUN["/files"](session, "")
        bob, carol = f"bob · {BOB[:8]}", f"carol · {CAROL[:8]}"
        self.assertIn("[Files] 6 offered or under way", self.screen.lines[0])
        self.assertEqual(
            [line.strip() for line in self.screen.lines[1:]],
            [
                f"#1  from {bob}  0 B of 5.0 kB  /accept 1 or /deny 1  x_[2J",
                f"#2  to {carol}  0 B of 5.0 kB  not answered yet  file 2",
                f"#3  from {bob}  2.5 kB of 5.0 kB  under way  file 3",
                f"#4  from {bob}  0 B of 5.0 kB  interrupted  file 4",
                f"#5  from {bob}  0 B of 5.0 kB  accepted; waits for its turn  file 5",
                f"#6  to {bob}  0 B of 5.0 kB  is read before it is offered  file 6",
            ],
        )

    def test_offers_are_shown(self) -> None:
        """An offer is shown with what to type, and with why it could not be saved; so is its end."""
        session = self.session()
        show: Callable[..., None] = session.handle
        show(FileOffered("id 1", BOB, "a/b.pdf", 48_213, 3, ""))
        show(FileOffered("id 2", BOB, "c", 1, 4, "cannot write to x: y"))
        show(FileNotTaken("id 1", BOB, "a/b.pdf", 48_213, "its sender has withdrawn it"))
        who = f"[File from bob · {BOB[:8]}] "
        self.assertEqual(
            [line.partition(" ")[2] for line in self.screen.lines],
            [
                who + "offers b.pdf (48,213 bytes): /accept 3 or /deny 3",
                who + "offers c (1 bytes): /accept 4 or /deny 4; it would not be saved now: cannot write to x: y",
                who + "b.pdf (48,213 bytes) not taken: its sender has withdrawn it",
            ],
        )


class AtTerminalTest(WireTest):
    """Bob at a terminal, half a line typed, while alice sends him a file."""

    def at(self, columns: int) -> None:
        """Have a terminal of some width, and a client at it."""
        self.bob.verdict = Verdict.ASK
        self.terminal = Terminal(self, columns, 24)
        self.session = session = make_session(FakeScreen())
        chat: Any = session.chat
        transfers = self.bob.transfers
        chat.files, chat.accept_file, chat.deny_file = transfers.under_way, transfers.accept, transfers.deny
        session.use_screen(open_screen(self, self.terminal))
        alarms = Alarms()
        alarms.start()
        self.addCleanup(alarms.stop)
        session.subscribe(Progress(session.screen, chat.files, alarms, tick=0.01, stalled=0.1).handle)
        self.conversation = Conversation(session)
        self.terminal.wait_for(lambda vt: vt.line == ">")

    def happen(self) -> None:
        """Have the next event of bob's be shown."""
        self.session.handle(self.bob.events.get(timeout=PATIENCE))

    def run_command(self, line: str) -> None:
        """Type a line in the place of what was typed, and have it carried out; then half a line again."""
        self.terminal.type(f"\x05\x15{line}\r")
        self.conversation._do(self.session.screen.next() or "")
        self.terminal.type("half a line" + "\x1b[D" * 4)

    def expect(self, *texts: str) -> None:
        """Wait until all of these are shown, however they are wrapped, and the half line is as it was typed."""

        def is_shown(text: str) -> bool:
            shown = " ".join(text.split())
            return all(each in shown for each in texts)

        self.terminal.wait_for(lambda vt: is_shown(vt.text) and (vt.line, vt.before) == ("> half a line", "> half a "))

    def receive(self) -> None:
        """Have bob be asked, accept, and see the file come on, stall and be there."""
        held = threading.Event()

        def alter(envelope: Envelope) -> Envelope:
            if envelope.type == FILE_CHUNK and envelope.payload["index"] == 1:
                self.assertTrue(held.wait(PATIENCE))
            return envelope

        self.alice.alter = alter
        self.offer(b"x" * CHUNK * 2, "a.pdf")
        self.happen()
        self.run_command("/files")
        self.expect("offers a.pdf (1,784 bytes): /accept 1 or /deny 1", "/deny 1 a.pdf")
        self.run_command("/accept 1")
        self.happen()
        self.expect("receiving a.pdf (1,784 bytes)", "↓ a.pdf [#####-----] 50% stalled")
        held.set()
        self.happen()
        self.expect("] saved ")
        self.terminal.wait_for(lambda vt: "[#####" not in vt.text)
        self.assert_done(self.alice)

    def test_narrow(self) -> None:
        """In a narrow terminal, the row of a file and the lines about it leave the line alone that bob types."""
        self.at(40)
        self.receive()

    def test_wide(self) -> None:
        """So they do in a wide one."""
        self.at(200)
        self.receive()

    def test_denied(self) -> None:
        """An offer that is turned down is said to be, at both ends."""
        self.at(80)
        self.offer(b"x")
        self.happen()
        self.run_command("/deny 1")
        self.happen()
        self.expect("a file.bin (1 bytes) not taken: denied")
        self.assert_failed(self.alice, "the recipient does not take it")
        self.run_command("/accept")
        self.expect("[Error] no file is offered")
