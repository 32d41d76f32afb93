"""A server under attack, two honest users whose conversation must go on meanwhile, and attackers of any address."""

from __future__ import annotations

import socket
import threading
import unittest
from typing import ClassVar

from tests.e2e.harness import Network, Program
from tests.e2e.rules import RulesTest
from tests.peer import Peer
from tests.vectors import key

# Between two messages of the conversation: often enough to fall into every attack, and little of the processors' time.
_PAUSE = 0.2


class Conversation:
    """Two clients who tell each other something, each time once the last was confirmed, until they are stopped.

    Args:
        one: a client, by the name of its key …
        other: … and the other.
    """

    def __init__(self, one: Program, other: Program) -> None:
        self._ends = (one, other)
        self._marks = {one.name: one.mark(), other.name: other.mark()}
        self._changed = threading.Condition()  # guards the two below
        self._confirmed = 0
        self._failure = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._talk, name="conversation", daemon=True)

    def start(self) -> None:
        """Begin to talk."""
        self._thread.start()

    def _talk(self) -> None:
        number = 0
        try:
            while not self._stopped.wait(_PAUSE):
                sender, recipient = self._ends if number % 2 == 0 else self._ends[::-1]
                self._exchange(sender, recipient, f"conversation {self._marks[sender.name]} {number}")
                number += 1
                with self._changed:
                    self._confirmed += 1
                    self._changed.notify_all()
        except (AssertionError, OSError) as error:
            with self._changed:
                self._failure = str(error)
                self._changed.notify_all()

    def _exchange(self, sender: Program, recipient: Program, text: str) -> None:
        typed, heard = sender.mark(), recipient.mark()
        sender.type(f"/tell {key(recipient.name).id} {text}")
        recipient.expect(rf"\[DM from {sender.name} .*\] {text}$", after=heard)
        sender.expect(rf"\[DM to {recipient.name} .*\] delivered", after=typed)

    def wait_more(self, count: int = 1) -> None:
        """Wait until so many more messages have been confirmed; fail if the conversation has broken off."""
        with self._changed:
            wanted = self._confirmed + count
            self._changed.wait_for(lambda: self._confirmed >= wanted or self._failure)
            if self._failure:
                raise AssertionError(f"the honest users' conversation broke off: {self._failure}")

    def stop(self) -> None:
        """End it, once it has gone on; fail if it has not, or if a message was shown twice."""
        try:
            self.wait_more()
        finally:
            self._stopped.set()
            self._thread.join()
        for end in self._ends:
            shown = [line for line in end.lines[self._marks[end.name] :] if "] conversation " in line]
            if len(shown) != len(set(shown)):
                raise AssertionError(f"{end.name} was shown a message twice:\n{end.report()}")


class HostileTest(RulesTest):
    """Attacks on one server, which the classes of a module share if they want it run the same way.

    Alice and bob talk during each test. `wait_more` of `conversation` shows that an attack under way leaves them alone.
    """

    arguments: ClassVar[tuple[str, ...]] = ()  # more of the server's
    users: ClassVar[tuple[str, ...]] = ()  # arguments of alice and bob
    penalties: ClassVar[bool] = False  # whether the server has them: they would be in the way of whoever attacks often
    timers: ClassVar[str] = ""  # of the server that have a value of their own: "handshake=1 frame=1"
    descriptors: ClassVar[int] = 0  # that the server may have; 0 for as many as usual
    conversation: Conversation
    _running: ClassVar[tuple[tuple[str, ...], tuple[str, ...], dict[str, str]]] = ((), (), {})

    @classmethod
    def setUpClass(cls) -> None:
        """Start a server with these arguments and timers, unless it runs."""
        arguments = cls.arguments if cls.penalties else (*cls.arguments, "--no-penalties")
        environment = {"TEST_TIMERS": cls.timers, "TEST_DESCRIPTORS": str(cls.descriptors)}
        wanted = (arguments, cls.users, environment)
        if RulesTest.network is not None and HostileTest._running != wanted:
            cls.end_network()
        if RulesTest.network is None:
            HostileTest._running = wanted
            cls.start_network(Network(), *arguments, environment=environment, users=cls.users)
            unittest.addModuleCleanup(cls.end_network)

    def setUp(self) -> None:
        """Have the honest users begin to talk."""
        super().setUp()
        self.conversation = Conversation(self.alice, self.bob)
        self.conversation.start()

    def tearDown(self) -> None:
        """See that their conversation has gone on, and that the server runs."""
        self.conversation.stop()
        self.assertIsNone(self.program.process.poll(), self.program.report())

    def attacker(self, name: str, number: int = 2, *, tls: bool = False) -> Peer:
        """Connect as an attacker at 127.0.0.`number`, with a key of the vectors."""
        peer = Peer(self.port, name, source=attacker_address(number), tls=tls)
        self.addCleanup(peer.close)
        return peer

    def attackers_user(self, name: str, number: int = 2, *caps: str) -> Peer:
        """Attach as a user from 127.0.0.`number`."""
        peer = self.attacker(name, number)
        peer.attach_user(caps=list(caps))
        return peer

    def attackers_server(self, name: str, number: int = 2) -> Peer:
        """Link as a server from 127.0.0.`number`."""
        peer = self.attacker(name, number)
        peer.link_server(name)
        return peer


def attacker_address(number: int) -> str:
    """Return a loopback address that is not the honest users'.

    Raises:
        unittest.SkipTest: this machine has but one, as macOS has until it is told: ifconfig lo0 alias 127.0.0.2
    """
    address = f"127.0.{number // 256}.{number % 256}"
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            raise unittest.SkipTest(f"this machine has no {address}: {error.strerror}") from error
    return address
