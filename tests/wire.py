"""Two clients' transfers, wired to each other without servers; what passes can be changed, dropped or answered."""

from __future__ import annotations

import queue
import tempfile
import threading
import time
import unittest
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import socp
from contacts import Contact
from crypto.sealing import BLOCK_PLAIN, BLOCK_SEALED
from errors import NotConnected
from events import Event, FileDone, FileFailed, FileInterrupted, FileNotTaken, FileResumed, FileStarted
from finished import RecentTransfers
from framing import decode_frame, encode_chunk, encode_frame
from receiving import Taking, Verdict
from sending import Owner
from settings import Settings
from socp import Envelope
from tests.test_users import make_user
from tests.vectors import key
from threads import Alarm, Deadline, Threads
from transfers import Transfers

PATIENCE = 20.0
CHUNK = 2 * BLOCK_PLAIN  # of a file in these tests: RSA takes long
CHUNK_SEALED = 2 * BLOCK_SEALED
Alter = Callable[[Envelope], "Envelope | None"]


def changed(envelope: Envelope, **change: Any) -> Envelope:
    """Return an envelope with fields of its payload changed."""
    wire = socp.make_envelope(envelope.type, envelope.sender, envelope.to, envelope.ts, {**envelope.payload, **change})
    return socp.read_envelope(wire, encode_frame(wire))


class End:
    """One of the two: what it is told and sends, where its files go, and whether it is connected.

    Attributes:
        verdict: what it does about offers.
        patience: how long it may be waited at most, at a time, until it is connected.
        hybrid: whether it has signed that it takes chunks of section 10.1, and sends them.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        settings: Settings,
        finished: RecentTransfers | None = None,
        most: int | None = None,
        *,
        hybrid: bool = False,
    ) -> None:
        self.id = key(name).id
        self.contact = Contact(make_user(name, caps=(socp.CAP_HYBRID,) if hybrid else ()), key(name).public)
        self.files = directory / f"{name}-files"
        self.threads = Threads()
        self.events: queue.Queue[Event] = queue.Queue()
        self.sent: list[Envelope] = []
        self.alter: Alter = lambda envelope: envelope
        self.settled = threading.Event()
        self.other: End
        self.finished = finished if finished is not None else RecentTransfers(settings.limits.shown)
        self.says_online: Callable[[], bool] = lambda: self.other.connected
        self.asked_online = 0
        self.blocked: set[str] = set()
        self.alarms: list[Alarm] = []
        self._link = threading.Condition()  # guards the two below, and is told of what is sent
        self.connected = True
        self._leaving = False
        owner = Owner(
            key(name),
            settings,
            self.threads,
            self.send,
            self.events.put,
            self.settled.set,
            self._wait_connected,
            self._is_online,
            self.finished,
            self.blocked.__contains__,
            self._do_after,
            hybrid,
        )
        self.verdict = Verdict.ACCEPT
        self.patience = float("inf")
        self.transfers = Transfers(owner, Taking(self.files, lambda *_: self.verdict, most))
        self._incoming: queue.Queue[Envelope | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _do_after(self, seconds: float, job: Callable[[], None]) -> Alarm:
        """Note what is to be done later; `ring` does it."""
        alarm = Alarm(time.monotonic() + seconds, job)
        self.alarms.append(alarm)
        return alarm

    def ring(self) -> None:
        """Do what was to be done later, however much later that was."""
        alarms, self.alarms = self.alarms, []
        for alarm in alarms:
            alarm.callback()

    def _wait_connected(self, seconds: float) -> bool:
        assert seconds <= self.patience
        with self._link:
            self._link.wait_for(lambda: self.connected or self._leaving, seconds)
            return self.connected and not self._leaving

    def _is_online(self, user_id: str) -> bool:
        assert user_id == self.other.id
        self.asked_online += 1
        return self.says_online()

    def cut(self) -> None:
        """Lose the connection."""
        with self._link:
            self.connected = False
        self.transfers.disconnected()

    def mend(self) -> None:
        """Be connected again."""
        with self._link:
            self.connected = True
            self._link.notify_all()
        self.transfers.connected()

    def stop(self) -> None:
        """Leave."""
        with self._link:
            self._leaving = True
            self._link.notify_all()
        self.transfers.stop()

    def send(
        self,
        frame_type: str,
        to: str,
        payload: dict[str, object],
        ts: int | None = None,
        binary: Mapping[str, bytes] | None = None,
    ) -> None:
        """Send a frame, as Chat does; what its server knows not to arrive is answered as servers do."""
        if not self.connected:
            raise NotConnected("not connected to a server")
        wire = socp.make_envelope(frame_type, self.id, to, ts or socp.now_ms(), payload)
        frame = encode_frame(wire) if binary is None else encode_chunk(wire, binary)
        envelope = socp.read_envelope(decode_frame(frame), frame)
        with self._link:
            self.sent.append(envelope)
            self._link.notify_all()
        passed = self.alter(envelope)
        if passed is not None and self.other.connected:
            self.other.take(passed)
        elif passed is not None and frame_type != socp.FILE_ACK:
            self.refuse(envelope, socp.USER_NOT_FOUND)

    def wait_sent(self, count: int) -> list[Envelope]:
        """Wait until so many frames have been sent, and return all that have."""
        with self._link:
            assert self._link.wait_for(lambda: len(self.sent) >= count, PATIENCE), self.sent
            return list(self.sent)

    def take(self, envelope: Envelope) -> None:
        """Receive a frame."""
        self._incoming.put(envelope)

    def _read(self) -> None:
        while (envelope := self._incoming.get()) is not None:
            if envelope.type == socp.FILE_START:
                self.transfers.take_start(envelope)
            elif envelope.type == socp.ERROR:
                payload = envelope.payload
                self.transfers.take_error(payload["file_id"], payload["code"], payload.get("detail", ""))
            else:
                self.transfers.take(envelope)

    def refuse(self, envelope: Envelope, code: str) -> None:
        """Have a server answer a frame of ours with an ERROR."""
        payload = {"code": code, "detail": "by the test", "file_id": envelope.payload["file_id"]}
        self.take(socp.read_envelope(socp.make_envelope(socp.ERROR, key("server").id, self.id, 1, payload)))

    def end(self) -> list[str]:
        """End its threads, and return those that did not."""
        self.stop()
        left = self.threads.join(Deadline(PATIENCE))
        self._incoming.put(None)
        self._reader.join(PATIENCE)
        return left


class WireTest(unittest.TestCase):
    """A test in which alice sends files to bob, by RSA alone.

    Attributes:
        chunk_size: plain bytes in one frame.
        hybrid: whether alice, and whether bob, is for section 10.1.
    """

    settings = Settings()
    chunk_size = CHUNK
    hybrid = (False, False)

    def setUp(self) -> None:
        """Wire the two to each other."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        limits = replace(self.settings.limits, chunk=self.chunk_size, chunk_hybrid=self.chunk_size)
        self.settings = replace(self.settings, limits=limits)
        self.alice, self.bob = (
            End(name, self.directory, self.settings, hybrid=hybrid)
            for name, hybrid in zip(("alice", "bob"), self.hybrid, strict=True)
        )
        self.alice.other, self.bob.other = self.bob, self.alice
        self.addCleanup(lambda: self.assertEqual(self.alice.end() + self.bob.end(), []))

    def file(self, content: bytes, name: str = "a file.bin") -> Path:
        """Write a file to send."""
        path = self.directory / name
        path.write_bytes(content)
        return path

    def offer(self, content: bytes, name: str = "a file.bin") -> str:
        """Have alice send a file to bob, and return its file_id."""
        return self.alice.transfers.offer(self.bob.contact, self.file(content, name))

    def crash_bob(self) -> None:
        """Have bob's client crash and be started again: it knows what it has received, not what it was receiving."""
        crashed = self.bob
        kept = RecentTransfers(self.settings.limits.shown)
        kept._ended |= crashed.finished._ended
        crashed.cut()
        self.assertEqual(crashed.end(), [])
        self.bob = End("bob", self.directory, self.settings, kept, hybrid=self.hybrid[1])
        self.bob.other, self.alice.other = self.alice, self.bob

    def wait_settled(self, end: End) -> None:
        """Wait until an end has no transfer under way."""
        deadline = Deadline(PATIENCE)
        while end.transfers.active:
            self.assertTrue(end.settled.wait(deadline.left()), "a transfer does not end")
            end.settled.clear()

    def outcome(self, end: End) -> FileDone | FileFailed:
        """Wait for how a transfer ends at one end."""
        while True:
            event = end.events.get(timeout=PATIENCE)
            if isinstance(event, (FileDone, FileFailed)):
                return event
            self.assertIsInstance(event, (FileStarted, FileInterrupted, FileResumed))

    def assert_told(self, end: End, *expected: type[Event]) -> None:
        """Check which events come next at one end."""
        self.assertEqual([type(end.events.get(timeout=PATIENCE)) for _ in expected], list(expected))

    def assert_done(self, end: End) -> FileDone:
        """Check that a transfer has ended well at one end."""
        outcome = self.outcome(end)
        assert isinstance(outcome, FileDone), outcome
        return outcome

    def assert_failed(self, end: End, reason: str) -> FileFailed:
        """Check that a transfer has failed at one end, for a reason."""
        outcome = self.outcome(end)
        assert isinstance(outcome, FileFailed), outcome
        self.assertRegex(outcome.reason, reason)
        return outcome

    def assert_not_taken(self, end: End, reason: str) -> FileNotTaken:
        """Check that an end is told next that an offer is not taken, or not made any more, for a reason."""
        event = end.events.get(timeout=PATIENCE)
        assert isinstance(event, FileNotTaken), event
        self.assertRegex(event.reason, reason)
        return event

    def assert_nothing_left(self) -> None:
        """Check that bob has kept nothing of any file."""
        self.assertEqual(list(self.bob.files.iterdir()) if self.bob.files.exists() else [], [])
