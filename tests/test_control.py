"""Scripts at a running client: who is let in, what goes over the socket, and that no script holds the client up."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import stat
import tempfile
import threading
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import control
from chat import Chat
from control import ControlClient, ControlServer, Gone, NoClient
from errands import Ending, Request
from errors import UserUnknown
from events import Event, Message, Notice
from exits import Exit
from profiles import Profile, open_profile
from tests.vectors import key
from threads import Deadline
from waking import Waker

PATIENCE = 20.0
ALICE = key("alice").id


class FakeClient:
    """What stands for a running client: its events are the test's, and it keeps its notes."""

    def __init__(self) -> None:
        self._chat = mock.create_autospec(Chat, instance=True, user_id=ALICE)
        self._chat.contacts = mock.Mock()
        self._chat.contacts.label.return_value = "ann"
        self._chat.contacts.nick.return_value = ""
        self._chat.contacts.is_verified.return_value = False
        self.notes: list[str] = []
        self._changed = threading.Condition()
        self._handlers: list[Callable[[Event], None]] = []

    @property
    def chat(self) -> Any:
        """See control.Client."""
        return self._chat

    def subscribe(self, handler: Callable[[Event], None]) -> Callable[[], None]:
        """See control.Client."""
        with self._changed:
            self._handlers.append(handler)
            self._changed.notify_all()

        def end() -> None:
            with self._changed:
                self._handlers.remove(handler)
                self._changed.notify_all()

        return end

    def wait_handlers(self, count: int) -> None:
        """Wait until so many scripts listen."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._handlers) == count, PATIENCE), self._handlers

    def tell(self, event: Event) -> None:
        """Have an event handled."""
        with self._changed:
            handlers = list(self._handlers)
        for handler in handlers:
            handler(event)

    def note(self, text: str) -> None:
        """See errands.Witness."""
        self.notes.append(text)

    def sent(self, to: str, number: int, text: str) -> None:
        """See errands.Witness."""
        self.notes.append(f"{to} {number} {text}")

    def sent_to_all(self, _msg_ref: str, text: str) -> None:
        """See errands.Witness."""
        self.notes.append(text)


class ControlTest(unittest.TestCase):
    """A running client that lets scripts in."""

    def setUp(self) -> None:
        """Start it."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.profile = self.open(Path(directory.name))
        self.client = FakeClient()
        self.waker = Waker()
        self.addCleanup(self.waker.close)
        self.server = self.serve(self.profile)

    def open(self, directory: Path) -> Profile:
        """Take a profile in a directory."""
        profile = open_profile("alice", directory)
        self.addCleanup(profile.close)
        return profile

    def serve(self, profile: Profile) -> ControlServer:
        """Let scripts in for a profile."""
        server = ControlServer(self.client, profile)
        self.addCleanup(server.close, PATIENCE)
        server.start()
        return server

    def script(self, profile: Profile | None = None) -> ControlClient:
        """Return a script's connection."""
        script = ControlClient((profile or self.profile).path, self.waker)
        self.addCleanup(script.close)
        return script

    def raw(self) -> socket.socket:
        """Return a connection that says nothing of itself."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(connection.close)
        connection.settimeout(PATIENCE)
        connection.connect(str(self.profile.path / "control"))
        return connection

    @staticmethod
    def lines(connection: socket.socket) -> list[dict[str, Any]]:
        """Return all that is said to the end."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65_536):
                data += piece
        return [json.loads(line) for line in data.splitlines()]

    def next(self, script: ControlClient) -> Any:
        """Return what a script is told next."""
        return script.next(PATIENCE)


class PlaceTest(ControlTest):
    """Where the socket is, and whose."""

    def test_modes(self) -> None:
        """The socket is for its user alone, and gone with the client."""
        place = self.profile.path / "control"
        self.assertEqual(stat.S_IMODE(place.stat().st_mode), 0o600)
        self.assertTrue(stat.S_ISSOCK(place.stat().st_mode))
        self.assertEqual(stat.S_IMODE(self.profile.path.stat().st_mode), 0o700)
        self.doCleanups()
        self.assertFalse(os.path.lexists(place))

    def test_nobody(self) -> None:
        """Where there is no socket, or one that a killed client has left, nobody answers; the next client takes it."""
        with tempfile.TemporaryDirectory(prefix="socp-test-") as directory:
            profile = self.open(Path(directory))
            self.assertRaises(NoClient, self.script, profile)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
                left.bind(str(profile.path / "control"))
            self.assertRaises(NoClient, self.script, profile)
            server = self.serve(profile)
            self.script(profile)
            server.close(PATIENCE)

    def test_long_path(self) -> None:
        """Where a path is too long for a socket, there is a link to a directory for its user alone, both gone later."""
        with tempfile.TemporaryDirectory(prefix="socp-test-") as directory:
            profile = self.open(Path(directory) / ("long" * 50))
            for _ in range(2):  # the second one finds what the first, killed, has left
                server = self.serve(profile)
                place = (profile.path / "control").readlink()
                self.assertEqual(stat.S_IMODE(place.parent.stat().st_mode), 0o700)
                self.script(profile)
            place.parent.chmod(0o711)
            self.assertRaisesRegex(NoClient, "not for this user alone", self.script, profile)
            place.parent.chmod(0o700)
            server.close(PATIENCE)
            self.assertFalse(place.parent.exists())
            self.assertFalse(os.path.lexists(profile.path / "control"))

    def test_other_user(self) -> None:
        """Whoever is another user at the other end is not talked to, on either side."""
        with mock.patch.object(os, "geteuid", lambda: os.getuid() + 1):
            self.assertRaisesRegex(NoClient, "another user", self.script)
            self.assertEqual(self.lines(self.raw()), [])


class TalkTest(ControlTest):
    """What goes over the socket."""

    def test_errand(self) -> None:
        """A script asks for one errand, and is told all of it to its end, also when an error is that."""
        self.client.chat.users.side_effect = UserUnknown("why\x1b")
        script = self.script()
        script.ask(Request("list"))
        self.assertEqual(self.next(script), Ending(Exit.NO_SUCH_USER, "why\x1b"))
        self.assertRaises(Gone, self.next, script)
        script = self.script()
        script.ask(Request("whoami"))
        self.assertEqual(self.next(script)["id"], ALICE)
        self.assertEqual(self.next(script), Ending(Exit.DONE))
        self.client.wait_handlers(0)

    def test_nonsense(self) -> None:
        """What is no request is answered with an error, or cut off, and others go on."""
        request: dict[str, Any] = {"do": "tell", "user": "bob", "text": "x", "path": "", "count": 0}
        for change in ({"do": "nonsense"}, {"do": 1}, {"count": -1}, {"count": "1"}, {"count": True}, {"user": None}):
            connection = self.raw()
            connection.sendall(json.dumps({**request, **change}).encode() + b"\n")
            [_, ending] = self.lines(connection)
            self.assertIn("does not understand", ending["ending"]["error"])
        for junk in (b"junk\n", b"[]\n", b'{"do": "\xff"}\n', b"[" * 100_000 + b"\n", b"x" * 1_000_000, b""):
            connection = self.raw()
            with contextlib.suppress(OSError):
                connection.sendall(junk)
                connection.shutdown(socket.SHUT_WR)
            self.assertEqual(self.lines(connection), [{"control": 1}])
        self.script()

    def test_other_versions(self) -> None:
        """A client of another version, or one that says nothing, is not asked for anything."""
        for version, reason in ((2, "another version"), (1, "does not answer")):
            with mock.patch.object(control, "VERSION", version), mock.patch.object(control, "_PATIENCE", 0.1):
                connection, other = socket.socketpair()
                with connection, other, mock.patch.object(control, "_connect", return_value=connection):
                    if version == 2:
                        other.sendall(b'{"control": 1}\n')
                    self.assertRaisesRegex(NoClient, reason, ControlClient, self.profile.path, self.waker)

    def test_wrong_answers(self) -> None:
        """What a client says that is neither a report nor an ending is the end."""
        answers: tuple[object, ...] = (
            {}, {"report": {}}, {"report": {"type": "notice", "v": 1, "ts": 0}}, {"ending": {"code": "0"}},
            {"ending": {"code": 77, "error": "", "hint": ""}}, {"report": []},
        )  # fmt: skip
        for answer in answers:
            connection, other = socket.socketpair()
            with connection, other, mock.patch.object(control, "_connect", return_value=connection):
                other.sendall(b'{"control": 1}\n' + json.dumps(answer).encode() + b"\n")
                script = ControlClient(self.profile.path, self.waker)
                with self.subTest(answer=answer), self.assertRaises(Gone):
                    script.next(PATIENCE)


class SlowTest(ControlTest):
    """Scripts that are slow, silent or many."""

    def test_slow(self) -> None:
        """A script that does not read is cut off; whoever tells of events is never held up, and others hear all."""
        slow, quick = self.script(), self.script()
        for script in (slow, quick):
            script.ask(Request("listen"))
        self.client.wait_handlers(2)
        heard: queue.Queue[int] = queue.Queue()

        def hear() -> None:
            for count in range(2_000):
                assert self.next(quick)["text"].startswith("x")
                heard.put(count)

        hearing = threading.Thread(target=hear, daemon=True)
        hearing.start()
        for count in range(2_000):
            self.client.tell(Notice("x" * 1_000))
            if count >= 100:
                heard.get(timeout=PATIENCE)
        hearing.join(PATIENCE)
        said = self.next(slow)  # what went out before the queue was full
        while not isinstance(said, Ending):
            said = self.next(slow)
        self.assertIn("does not read", said.error)
        self.client.wait_handlers(1)

    def test_stuck(self) -> None:
        """A script that never reads is let go of after a while."""
        with mock.patch.object(control, "_PATIENCE", 0.2):
            connection = self.raw()
            request = {"do": "listen", "user": "", "text": "", "path": "", "count": 0}
            connection.sendall(json.dumps(request).encode() + b"\n")
            self.client.wait_handlers(1)
            for _ in range(20):  # more than a socket holds, and less than may wait
                self.client.tell(Message(ALICE, "", "x" * 28_000, 5))
            self.client.wait_handlers(0)

    def test_silent(self) -> None:
        """A script that asks for nothing is sent away after a while."""
        with mock.patch.object(control, "_PATIENCE", 0.1):
            connection = self.raw()
            self.assertEqual(self.lines(connection), [{"control": 1}])

    def test_many(self) -> None:
        """So many scripts are let in at a time, and no more; when one goes, there is room again."""
        with mock.patch.object(control, "_GUESTS_MOST", 2):
            first, second = self.script(), self.script()
            for script in (first, second):
                script.ask(Request("listen"))
            self.client.wait_handlers(2)
            third = self.script()
            with contextlib.suppress(Gone):
                third.ask(Request("whoami"))
            self.assertIn("other scripts use", self.next(third).error)
            second.close()
            deadline = Deadline(PATIENCE)
            while len(self.server._guests) > 1:
                self.assertTrue(deadline.left(), "a script that is gone keeps its place")
                threading.Event().wait(0.005)  # nothing tells that its thread has ended
            fourth = self.script()
            fourth.ask(Request("listen"))
            self.client.wait_handlers(2)

    def test_close(self) -> None:
        """When the client leaves, every script is sent away, and its thread has ended."""
        script = self.script()
        script.ask(Request("listen"))
        self.client.wait_handlers(1)
        self.raw()
        self.doCleanups()
        self.client.wait_handlers(0)
        self.assertFalse([thread.name for thread in threading.enumerate() if thread.name in ("control", "script")])
