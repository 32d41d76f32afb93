"""Who gets in: those who may not, one user twice at once, too many new ones, and who asks too much."""

from __future__ import annotations

import queue
import signal
import tempfile
import threading
import unittest
from pathlib import Path
from typing import ClassVar
from unittest import mock

import socp
from exits import Exit
from socp import (
    ACK,
    AUTH_CHALLENGE,
    CTRL_CLOSE,
    ERROR,
    HEARTBEAT,
    NAME_IN_USE,
    NOT_ALLOWED,
    SERVER_BUSY,
    UNAUTHENTICATED,
    USER_ADVERTISE,
    USER_DELIVER,
    USER_KEY,
    USER_KEY_REQUEST,
    USER_LIST,
    USER_LIST_REQUEST,
    USER_NOT_FOUND,
    USER_SYNC,
)
from tests.e2e.harness import PATIENCE, Network, Program, put_key
from tests.e2e.test_server_rules import attachment
from tests.hostile.arena import Conversation, HostileTest
from tests.hostile.test_authority import OF_JOINED, expect_refused_types
from tests.peer import Peer
from tests.vectors import key


class Lists:
    """A file of ids that a program reads, and reads again when it is told to."""

    def __init__(self, *names: str) -> None:
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        unittest.addModuleCleanup(directory.cleanup)
        self.path = Path(directory.name) / "list"
        self.write(*(key(name).id for name in names))

    def write(self, *lines: str) -> None:
        """Replace what is in it."""
        self.path.write_text("".join(f"{line}\n" for line in lines), "utf-8")

    def read_by(self, program: Program, says: str) -> None:
        """Have the program read it, and wait until it says so."""
        mark = len(program.errors)
        program.signal(signal.SIGHUP)
        program.expect_error(says, after=mark)


def start_twice(network: Network, name: str, ports: tuple[int, int]) -> tuple[Program, Program]:
    """Start two clients with one key at the same time; return the one that stays, and the one that has ended."""
    ended: queue.SimpleQueue[Program] = queue.SimpleQueue()
    programs = []
    for number, port in enumerate(ports):
        profiles = network.directory / f"profiles-{number}"
        put_key(profiles / name / "key.pem", name)
        arguments = ("--server", f"127.0.0.1:{port}", "--profile", name, "--data-dir", profiles, "--name", name)
        programs.append(network.start(f"{name}-{number}", "client", *arguments))
        programs[-1].on_end(ended.put)
    loser = ended.get(timeout=PATIENCE)
    winner = programs[loser is programs[0]]
    winner.expect(r"\[Me\] user_id = " + key(name).id)
    return winner, loser


class AdmissionTest(HostileTest):
    """A server with a list of those who may not attach, and little room and patience."""

    denied: ClassVar[Lists]

    @classmethod
    def setUpClass(cls) -> None:
        """Make the list."""
        cls.denied = Lists()
        limits = ("--max-known-users", "8", "--max-identities", "3")
        questions = ("--max-questions", "5", "--max-questions-per-second", "2")
        cls.arguments = ("--deny", str(cls.denied.path), *limits, *questions)
        super().setUpClass()

    def is_known(self, asker: Peer, name: str) -> bool:
        """Tell whether the server knows a user."""
        asker.send(USER_KEY_REQUEST, {"user_id": key(name).id})
        while (envelope := asker.read()) is not None:
            if envelope.type == USER_KEY:
                return True
            if envelope.type == ERROR:
                self.assertEqual(envelope.payload["code"], USER_NOT_FOUND)
                return False
        raise AssertionError("the server has closed")

    def expect_busy(self, name: str, number: int) -> None:
        """Expect that a user is not taken in."""
        peer = self.attacker(name, number)
        peer.hello()
        peer.respond()
        peer.expect_refusal_of_known(SERVER_BUSY)

    def go(self, peer: Peer) -> None:
        """Have a user leave, and wait until the server knows."""
        peer.send(CTRL_CLOSE, {"reason": "going"})
        peer.expect_closed()

    def deny_nobody(self) -> None:
        """Let everybody attach again."""
        self.denied.write()
        self.denied.read_by(self.program, "have been read again")

    def test_denied(self) -> None:
        """Who is denied while attached is told and closed, does not come back by itself, and cannot."""
        assert self.network is not None
        self.addCleanup(self.deny_nobody)
        erin = self.network.client("erin", self.port)
        self.denied.write(f"{key('erin').id}  # enough")
        self.denied.read_by(self.program, "have been read again")
        erin.expect(r"\[Note\] the server answered NOT_ALLOWED: this user may not attach to this server")
        erin.expect(r"\[Note\] the server at .* does not let this user in: NOT_ALLOWED")
        erin.expect(r"\[Server\] connection lost: no server is left to go to")
        self.assertEqual(erin.wait(), 3)
        peer = self.attacker("erin", 20)
        peer.hello()
        peer.expect_refusal(NOT_ALLOWED)  # in place of AUTH_CHALLENGE, and without a signature
        self.denied.write("nonsense")
        self.denied.read_by(self.program, r"list, line 1: 'nonsense' is not a user id; who may come in stays as it was")
        peer = self.attacker("erin", 20)
        peer.hello()
        peer.expect_refusal(NOT_ALLOWED)
        self.deny_nobody()
        self.attackers_user("erin", 20)
        late = self.attacker("heidi", 20)
        late.hello()
        challenge = late.expect(AUTH_CHALLENGE)
        self.denied.write(key("heidi").id)
        self.denied.read_by(self.program, "have been read again")
        with mock.patch.object(late, "expect", return_value=challenge):  # which is from before
            late.respond()
        late.finish_handshake()
        late.expect_refusal(NOT_ALLOWED)
        self.conversation.wait_more()

    def test_same_client_twice(self) -> None:
        """Of two clients with one key that are started together, one stays and the other is told, and ends."""
        assert self.network is not None
        winner, loser = start_twice(self.network, "carol", (self.port, self.port))
        self.addCleanup(winner.clean_up)
        self.assertEqual(loser.wait(), Exit.NO_CONNECTION)
        loser.expect_error("NAME_IN_USE")
        self.alice.type(f"/tell {key('carol').id} to whoever is there")
        winner.expect("] to whoever is there$")
        self.assertIsNone(winner.process.poll())

    def test_same_user_at_once(self) -> None:
        """Of three that prove the same key in the same moment, one stays; the others are NAME_IN_USE."""
        peers = [self.attacker("dave", 21) for _ in range(3)]
        for peer in peers:
            peer.hello()
        ts = socp.now_ms()
        for peer in peers:
            peer.respond(ts=ts)
        outcomes: queue.SimpleQueue[tuple[str, Peer]] = queue.SimpleQueue()
        threads = [threading.Thread(target=self.answer_probes, args=(peer, outcomes), daemon=True) for peer in peers]
        for thread in threads:
            thread.start()
        found = [outcomes.get(timeout=PATIENCE) for _ in peers]
        self.assertEqual(sorted(what for what, _ in found), [ACK, NAME_IN_USE, NAME_IN_USE])
        for what, peer in found:
            if what != ACK:
                continue
            self.alice.type(f"/tell {key('dave').id} to whoever is there")
            self.assertEqual(outcomes.get(timeout=PATIENCE), (USER_DELIVER, peer))
            peer.end_sending()
        for thread in threads:
            thread.join(PATIENCE)

    def answer_probes(self, peer: Peer, outcomes: queue.SimpleQueue[tuple[str, Peer]]) -> None:
        """Live as a client does, and tell what happens."""
        while (envelope := peer.read()) is not None:
            if envelope.type == HEARTBEAT and envelope.payload.get("probe"):
                peer.send(HEARTBEAT, {})
            elif envelope.type == ERROR:
                outcomes.put((envelope.payload["code"], peer))
            elif envelope.type in (ACK, USER_DELIVER):
                outcomes.put((envelope.type, peer))

    def test_questions(self) -> None:
        """Who asks and asks is SERVER_BUSY; a client that asks much waits, and gets every answer."""
        mallory = self.attackers_user("mallory", 22)
        for _ in range(12):
            mallory.send(USER_LIST_REQUEST, {"after": "", "limit": 1000})
            mallory.send(USER_KEY_REQUEST, {"user_id": key("alice").id})
        answers = mallory.read_until_answer()
        busy = [answer.payload for answer in answers if answer.type == ERROR]
        self.assertEqual({payload["code"] for payload in busy}, {SERVER_BUSY})
        self.assertEqual({payload.get("user_id") for payload in busy}, {None, key("alice").id})
        self.assertEqual(len(answers), 24)
        self.assertLess(sum(answer.type in (USER_LIST, USER_KEY) for answer in answers), 24)
        mark = self.alice.mark()
        for _ in range(8):
            self.alice.type("/list")
        self.alice.type(f"/tell {key('mallory').id} after the lists")
        self.alice.expect(rf"\[DM to {key('mallory').id[:8]}\] sent", after=mark)
        listed = [line for line in self.alice.lines[mark:] if "online" in line]
        self.assertEqual(len(listed), 8, self.alice.lines[mark:])
        self.assertEqual([line for line in self.alice.lines[mark:] if "[Error]" in line], [])

    def test_newcomers(self) -> None:
        """One address brings so many new users in an hour; known ones get in from it, and new ones elsewhere."""
        names = ("introducer2", "server3", "server4")
        for name in names:
            self.go(self.attackers_user(name, 30))
        self.expect_busy("server2", 30)
        self.go(self.attackers_user(names[0], 30))
        self.go(self.attackers_user("server2", 31))
        self.conversation.wait_more()

    def test_known(self) -> None:
        """Who was away for longest, and has no mail, is forgotten for a newcomer; with nobody such, none gets in."""
        names = ("frank", "grace", "heidi", "stranger", "mallory", "introducer")
        frank, grace, heidi, *_ = [self.attackers_user(name, 40 + number // 3) for number, name in enumerate(names)]
        self.expect_busy("dave", 42)
        server = self.attackers_server("server2", 42)
        server.expect(USER_SYNC)
        server.send_signed(USER_ADVERTISE, attachment("erin", "server2"), to=socp.EVERYONE)
        self.program.expect_error("as many users are known as can be, and one of another server is not taken in")
        self.assertFalse(self.is_known(heidi, "erin"))
        self.go(frank)
        heidi.tell("frank", "for later")
        self.assertEqual(heidi.expect(ACK).payload["status"], "stored")
        self.expect_busy("dave", 42)  # for frank has mail
        self.go(grace)
        dave = self.attackers_user("dave", 42)
        self.assertEqual([self.is_known(heidi, name) for name in ("frank", "grace", "dave")], [True, False, True])
        self.expect_busy("grace", 43)
        back = self.attackers_user("frank", 43)
        back.confirm(back.expect(USER_DELIVER))
        self.go(dave)
        self.attackers_user("grace", 43)
        self.assertFalse(self.is_known(back, "dave"))
        self.conversation.wait_more()


class NetworkTest(unittest.TestCase):
    """Two servers that are linked to each other, and an introducer with a list of those that it admits."""

    network: ClassVar[Network]

    @classmethod
    def setUpClass(cls) -> None:
        """Start all of it, with alice at one server and bob at the other."""
        cls.network = Network()
        cls.addClassCleanup(cls.network.end)
        cls.admitted = Lists("server", "server2", "server3")
        cls.introducer, cls.introducer_port = cls.network.introducer("introducer", "--allow", cls.admitted.path)
        cls.server, cls.port = cls.network.server("server", cls.introducer_port)
        cls.server2, cls.port2 = cls.network.server("server2", cls.introducer_port)
        cls.server.expect_error("link to server .* is up")
        cls.alice = cls.network.client("alice", cls.port)
        cls.bob = cls.network.client("bob", cls.port2)

    introducer: ClassVar[Program]
    introducer_port: ClassVar[int]
    server: ClassVar[Program]
    server2: ClassVar[Program]
    port: ClassVar[int]
    port2: ClassVar[int]
    alice: ClassVar[Program]
    bob: ClassVar[Program]
    admitted: ClassVar[Lists]

    def setUp(self) -> None:
        """Have alice and bob begin to talk."""
        self.conversation = Conversation(self.alice, self.bob)
        self.conversation.start()
        self.addCleanup(self.conversation.stop)

    def test_attached_at_both(self) -> None:
        """Of two clients with one key, started together at two servers, one stays; the other is told, and ends."""
        winner, loser = start_twice(self.network, "carol", (self.port, self.port2))
        self.addCleanup(winner.clean_up)
        self.assertEqual(loser.wait(), 3)
        told = "the server says: attached elsewhere|BAD_TIMESTAMP: a newer attachment of this user is known"
        self.assertRegex(loser.report(), told)
        place = "server" if winner.name == "carol-0" else "server2"
        for looker in (self.alice, self.bob):
            self.network.wait_placed(looker, {"alice": "server", "bob": "server2", "carol": place})
        self.assertIsNone(winner.process.poll())

    def test_not_admitted_any_more(self) -> None:
        """A server that is struck off the list loses its link to the introducer; back on it, it joins again."""
        mark = len(self.server2.errors), self.server2.mark()
        self.admitted.write(key("server").id)
        self.admitted.read_by(
            self.introducer, f"server {key('server2').id} is not admitted any more; its membership lasts until 20"
        )
        self.server2.expect_error('NOT_ALLOWED: "this server is not admitted any more"', after=mark[0])
        self.server2.expect_error("cannot join .*NOT_ALLOWED: .* is not on this introducer's list", after=mark[0])
        self.conversation.wait_more()  # over a link that the introducer has no part in
        self.admitted.write(*(key(name).id for name in ("server", "server2", "server3")))
        self.admitted.read_by(self.introducer, "have been read again")
        self.server2.expect("Registered with introducer", after=mark[1])

    def test_types(self) -> None:
        """From a server that has joined, each type that is not for introducers is refused; so is a second hello."""
        for hello in (None, *sorted(socp.HELLOS)):
            with Peer(self.introducer_port, "server3") as peer:
                peer.join()
                if hello is None:
                    expect_refused_types(self, peer, OF_JOINED)
                else:
                    peer.hello(hello)
                    peer.expect_refusal(UNAUTHENTICATED)
