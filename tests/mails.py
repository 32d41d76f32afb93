"""Messages, answers, links and a mailbox in a file, for the tests of what hands mail on."""

from __future__ import annotations

import queue
import tempfile
import threading
import unittest
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from unittest import mock

from answers import Answer
from crypto.signing import KeySigner
from database import Database
from framing import decode_frame
from host import Host
from link import Link
from mail import Mail
from mailboxes import Mailboxes
from node import SCHEMAS
from origin import Origin
from outflow import Sent
from settings import Limits, Settings, Timers
from socp import Envelope, ProtocolError, read_envelope
from tests.vectors import key
from threads import Alarms, Deadline, Threads

PATIENCE = 10.0
TS = 1_700_000_000_000  # of messages, if no other is given
ALICE, BOB, CAROL = (key(name).id for name in ("alice", "bob", "carol"))


def make_mail(text: str = "x", *, recipient: str = ALICE, sender: str = BOB, sig: str = "", ts: int = TS) -> Mail:
    """Return a message whose ciphertext is a text; its signature, if none is given, is that text too."""
    return Mail(recipient, sender, "key", text, sig or f"sig of {text}", ts)


def make_link() -> Any:
    """Return something that stands for a link which takes everything."""
    link = mock.create_autospec(Link, instance=True, closing=False, secure=False)
    link.send.return_value = Sent.YES
    return link


class Told(Answer):
    """An answer that notes what it is told: "stored", or an error's code."""

    def __init__(self, to: str = BOB, look: Callable[[], object] = lambda: None) -> None:
        self.to = to
        self._look = look
        self._heard: queue.SimpleQueue[str] = queue.SimpleQueue()

    def prepare(self) -> None:
        """Sign nothing."""

    def __call__(self, error: ProtocolError | None) -> None:
        """Note it, after a look at something."""
        self._look()
        self._heard.put("stored" if error is None else error.code)

    def next(self) -> str:
        """Return what is told next."""
        return self._heard.get(timeout=PATIENCE)

    @property
    def silent(self) -> bool:
        """Whether nothing more has been told."""
        return self._heard.empty()


class FakeHost:
    """What stands for a host: its threads run, its alarms wait to be made to go off, its origin signs.

    Attributes:
        due: what its alarms call.
    """

    def __init__(self, timers: Timers, limits: Limits) -> None:
        self.origin = Origin(KeySigner(key("server")))
        self.settings = Settings(timers, limits)
        self.threads = Threads()
        self.stopping = threading.Event()
        self.due: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.alarms = mock.create_autospec(Alarms, instance=True)
        self.alarms.after.side_effect = lambda _, callback: self.due.put(callback)

    @property
    def host(self) -> Host:
        """It, as what it stands for."""
        return cast("Host", self)

    def go_off(self) -> None:
        """Have the next alarm go off."""
        self.due.get(timeout=PATIENCE)()


class Frames:
    """The frames that a link is given, which it takes as `answers` say; then it takes everything."""

    def __init__(self, *answers: Sent) -> None:
        self._frames: queue.SimpleQueue[Envelope] = queue.SimpleQueue()
        self._answers = list(answers)
        self.link = make_link()
        self.link.send.side_effect = self._send
        self.link.wait_until_drained.return_value = True

    def _send(self, frame: bytes) -> Sent:
        sent = self._answers.pop(0) if self._answers else Sent.YES
        if sent is Sent.YES:
            self._frames.put(read_envelope(decode_frame(frame)))
        return sent

    def next(self) -> Envelope:
        """Return the next."""
        return self._frames.get(timeout=PATIENCE)

    def texts(self, count: int) -> list[str]:
        """Return what is in the next messages."""
        return [self.next().payload["ciphertext"] for _ in range(count)]

    @property
    def silent(self) -> bool:
        """Whether there are no more."""
        return self._frames.empty()


class MailTest(unittest.TestCase):
    """A test with mailboxes in a file."""

    limits = Limits()

    def setUp(self) -> None:
        """Make them."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "directory.sqlite3"
        self.again: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()  # what is to be done later
        self.ready: queue.SimpleQueue[str] = queue.SimpleQueue()  # whose mail waits
        self.open()

    def open(self, *, patience: float = PATIENCE, **limits: int) -> None:
        """Open what is in the file, as a server does that starts."""
        self.database = Database(self.path, SCHEMAS, patience)
        self.database.start()
        self.addCleanup(self.close, self.database)
        self.mail = Mailboxes(self.database, replace(self.limits, **limits), self.again.put, self.say)
        self.mail.watch(self.ready.put)
        self.flush()  # its writer is past what needs a lock, which another one's patience may not wait for

    def say(self, answer: Answer, error: ProtocolError | None) -> None:
        """Give an answer that might need a signature, in whatever thread."""
        answer(error)

    def close(self, database: Database) -> None:
        """End one; harmless when repeated."""
        database.close(Deadline(PATIENCE))

    def open_again(self, **limits: int) -> None:
        """End and start again."""
        self.flush()
        self.database.close(Deadline(PATIENCE))
        self.open(**limits)

    def flush(self) -> None:
        """Wait until all that waits to be written is, and what its end gives rise to."""
        for _ in range(2):
            self.database.commit(lambda _: None)

    def store(self, *mails: Mail) -> None:
        """Store messages."""
        told = Told()
        for mail in mails:
            self.mail.store(mail, told)
        self.assertEqual({told.next() for _ in mails}, {"stored"})

    def rows(self) -> list[str]:
        """Return what is on the disk, oldest first."""
        self.flush()
        with self.database.reading() as connection:
            return [text for (text,) in connection.execute("SELECT ciphertext FROM mailbox ORDER BY seq")]
