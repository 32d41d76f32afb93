"""What servers do for messages that cannot be delivered now, whatever happens to the disk (sections 8.1 and 9)."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import threading
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import socp
from crypto.signing import message_reference
from framing import encode_frame
from origin import check_origin
from socp import ACK, ERROR, MAILBOX_FULL, MSG_DIRECT, SERVER_BUSY, SERVER_DELIVER, USER_DELIVER, Envelope
from tests.e2e.harness import FAST, PATIENCE, Network, NetworkTest, Program
from tests.e2e.rules import RulesTest
from tests.e2e.test_server_rules import ServersTest, attachment
from tests.peer import Peer
from tests.vectors import key
from threads import Deadline


def setUpModule() -> None:
    """Start the server that most tests here share, with its timers shrunk to a fifth."""
    RulesTest.start_network(Network(0.2))
    unittest.addModuleCleanup(RulesTest.end_network)


def sig(envelope: Envelope) -> str:
    """Return the msg_ref of a message as its recipient computes it."""
    return message_reference(envelope.payload["content_sig"])


def expect_stored(peer: Peer, msg_ref: str) -> None:
    """Expect that the server says that it keeps a message."""
    ack = peer.expect(ACK)
    check_origin(ack, key("server").public)
    assert (ack.payload["msg_ref"], ack.payload["status"]) == (msg_ref, "stored"), ack.payload


class Disk:
    """The database of a server that runs, seen from another process."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "directory.sqlite3"

    def query(self, query: str) -> list[Any]:
        """Return what a query finds."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query).fetchall()

    def stored(self) -> list[str]:
        """Return the msg_refs of what is stored, oldest first."""
        return [msg_ref for (msg_ref,) in self.query("SELECT msg_ref FROM mailbox ORDER BY seq")]

    def wait_empty(self, *but: str) -> None:
        """Wait until nothing is stored any more but these."""
        deadline = Deadline(PATIENCE)
        while self.stored() != [*but]:
            assert deadline.left(), "messages that are done with stay on the disk"
            threading.Event().wait(0.05)  # nothing tells another process of a commit

    def drain(self, user: Peer) -> None:
        """Have a user confirm all that is stored for them, also what the server reads from the disk late."""
        deadline = Deadline(PATIENCE)
        while self.stored():
            assert deadline.left(), "messages that are confirmed stay on the disk"
            user.empty_mailbox()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the server from writing."""
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield

    def check(self) -> None:
        """Check that it is whole."""
        assert self.query("PRAGMA integrity_check") == [("ok",)]


class MailCase(ServersTest):
    """Dave writes to erin, who is away; two servers are linked."""

    def setUp(self) -> None:
        """Attach dave, and have erin been here."""
        super().setUp()
        network = self.network
        assert network is not None
        self.disk = Disk(network.directory / "server")
        erin = self.attached("erin")
        self.disk.drain(erin)
        erin.leave()
        self.dave = self.attached("dave")  # last: what erin has confirmed of another test is no news to it

    def tell(self, text: str) -> str:
        """Have dave write to erin, and hear that it is stored."""
        msg_ref = self.dave.tell("erin", text)
        expect_stored(self.dave, msg_ref)
        return msg_ref

    def expect_mail(self, peer: Peer, *refs: str) -> list[Envelope]:
        """Expect these messages in this order."""
        delivered = [peer.expect(USER_DELIVER) for _ in refs]
        self.assertEqual([sig(envelope) for envelope in delivered], [*refs])
        return delivered

    def all_is_well(self) -> None:
        """Have two who are here talk to each other."""
        RulesTest.tearDown(self)


class MailboxTest(MailCase):
    """The mailbox as users see it."""

    def test_in_order(self) -> None:
        """What is said to be stored is; it is delivered oldest first, at most 64 unconfirmed, before what is new."""
        refs = [self.dave.tell("erin", str(number)) for number in range(66)]
        for count, msg_ref in enumerate(refs, start=1):
            expect_stored(self.dave, msg_ref)
            if count in (1, 40, 66):
                self.assertLessEqual(set(refs[:count]), set(self.disk.stored()))
        erin = self.attached("erin")
        delivered = self.expect_mail(erin, *refs[:64])
        check_origin(delivered[0], key("server").public)
        self.assertEqual(delivered[0].payload["sender"], self.dave.id)
        erin.expect_silence()
        refs.append(self.tell("new"))
        erin.expect_silence()
        for number in range(3):
            erin.confirm(delivered[number], status=("delivered", "failed")[number % 2])
            self.assertEqual(self.dave.expect(ACK).payload["msg_ref"], refs[number])
            self.expect_mail(erin, refs[64 + number])
        self.disk.drain(erin)

    def test_unconfirmed(self) -> None:
        """What a link has not confirmed when it ends is stored, said to be, and delivered again, by the next link."""
        erin = self.attached("erin")
        refs = [self.dave.tell("erin", text) for text in "abc"]
        delivered = self.expect_mail(erin, *refs)
        erin.confirm(delivered[1])
        self.dave.expect(ACK)
        self.dave.expect_silence()
        erin.close()
        for msg_ref in (refs[0], refs[2]):
            expect_stored(self.dave, msg_ref)
        again = self.expect_mail(self.attached("erin"), refs[0], refs[2])
        self.assertEqual([envelope.ts for envelope in again], [delivered[0].ts, delivered[2].ts])

    def test_repeats(self) -> None:
        """A repeat is answered as its original; it is delivered once, and again to who has not confirmed it."""
        ts = socp.now_ms()
        payload = self.dave.message("erin", "hello", ts)
        msg_ref = message_reference(str(payload["content_sig"]))
        for _ in range(2):
            self.dave.send(MSG_DIRECT, payload, to=key("erin").id, ts=ts)
            expect_stored(self.dave, msg_ref)
        erin = self.attached("erin")
        (delivered,) = self.expect_mail(erin, msg_ref)
        erin.expect_silence()
        self.dave.send(MSG_DIRECT, payload, to=key("erin").id, ts=ts)
        expect_stored(self.dave, msg_ref)
        self.expect_mail(erin, msg_ref)
        erin.confirm(delivered)
        self.assertEqual(self.dave.expect(ACK).payload["status"], "delivered")

    def test_same_signature(self) -> None:
        """Whoever sends another's signature as their own keeps nobody's message from being stored and delivered."""
        ts = socp.now_ms()
        frank = self.attached("frank")
        payload = self.dave.message("erin", "hello", ts)
        msg_ref = message_reference(str(payload["content_sig"]))
        false = {**frank.message("erin", "junk", ts), "content_sig": payload["content_sig"]}
        for peer, sent in ((frank, false), (self.dave, payload)):
            peer.send(MSG_DIRECT, sent, to=key("erin").id, ts=ts)
            expect_stored(peer, msg_ref)
        delivered = self.expect_mail(self.attached("erin"), msg_ref, msg_ref)
        self.assertEqual([envelope.payload["sender"] for envelope in delivered], [frank.id, self.dave.id])

    def test_full(self) -> None:
        """The message that is one too many of one sender is MAILBOX_FULL; others' are stored, and a repeat is too."""
        ts = socp.now_ms()
        payload = self.dave.message("erin", "hello", ts)
        refs = []
        for number in range(101):
            # The server need not check the signature, and does not.
            sent = {**payload, "content_sig": f"{number}"}
            refs.append(message_reference(str(number)))
            self.dave.send(MSG_DIRECT, sent, to=key("erin").id, ts=ts)
        # What is refused waits for no commit: its answer may come before those of messages that were sent first.
        stored: list[tuple[str, str]] = []
        refused: list[tuple[str, str]] = []
        while len(stored) + len(refused) < len(refs):
            told = self.dave.read()
            assert told is not None, "the connection was closed"
            if told.type == ACK:
                stored.append((told.payload["msg_ref"], told.payload["status"]))
            elif told.type == ERROR:
                refused.append((told.payload["msg_ref"], told.payload["code"]))
        self.assertEqual(refused, [(refs[100], MAILBOX_FULL)])
        self.assertEqual(stored, [(msg_ref, "stored") for msg_ref in refs[:100]])
        self.dave.send(MSG_DIRECT, {**payload, "content_sig": "5"}, to=key("erin").id, ts=ts)
        expect_stored(self.dave, refs[5])
        frank = self.attached("frank")
        expect_stored(frank, frank.tell("erin", "hello"))
        self.attached("erin")  # takes it all when it leaves


class ServerMailTest(MailCase):
    """The mailbox as other servers see it."""

    def deliver(self, recipient: str, by: Peer, *, sender: str = "frank", **flags: bool) -> str:
        """Have a server send a message for a user, and return its msg_ref."""
        ts = socp.now_ms()
        user = Peer(self.port, sender)
        user.close()
        payload = {**user.message(recipient, "hello", ts), "user_id": key(recipient).id, "sender": user.id, **flags}
        by.send_bytes(encode_frame(by.origin.signed(SERVER_DELIVER, self.server_id, payload, ts)))
        return message_reference(str(payload["content_sig"]))

    def expect_stored_for(self, server: Peer, msg_ref: str, user: str = "frank") -> None:
        """Expect that the server tells another that it keeps a message of a user."""
        ack = server.expect(ACK)
        check_origin(ack, key("server").public)
        expected = {"msg_ref": msg_ref, "status": "stored", "user_id": key(user).id, "hdr": ack.payload["hdr"]}
        self.assertEqual(ack.payload, expected)

    def home_of_erin(self) -> None:
        """Have erin attached to the second server."""
        visited = [self.second.id, self.third.id]
        entry = attachment("erin", "server2", ts=socp.now_ms() + 1)
        self.second.send_signed(socp.USER_ADVERTISE, entry, to=socp.EVERYONE, visited=visited)

    def expect_handed_over(self, server: Peer, msg_ref: str, sender: str = "dave") -> None:
        """Expect that the server hands a stored message over."""
        envelope = server.expect(SERVER_DELIVER)
        check_origin(envelope, key("server").public)
        self.assertEqual(sig(envelope), msg_ref)
        about = {name: envelope.payload[name] for name in ("user_id", "sender", "store")}
        self.assertEqual(about, {"user_id": key("erin").id, "sender": key(sender).id, "store": True})

    def take(self, server: Peer, msg_ref: str, sender: str = "dave") -> None:
        """Have a server say that it has stored what it was handed."""
        server.send_signed(ACK, {"msg_ref": msg_ref, "status": "stored", "user_id": key(sender).id})

    def test_from_another_server(self) -> None:
        """That a message is stored is told to its sender's home; or, not knowing that, to who passed it on."""
        msg_ref = self.deliver("erin", self.second)
        self.expect_stored_for(self.second, msg_ref)
        self.advertise(attachment("grace", "server3"), self.third)
        again = self.deliver("erin", self.second, sender="grace")
        self.expect_stored_for(self.third, again, "grace")
        self.second.expect_silence()
        self.expect_mail(self.attached("erin"), msg_ref, again)

    def test_handed_over_here(self) -> None:
        """What is handed over is stored, confirmed to who hands it over, and delivered from there."""
        self.advertise(attachment("grace", "server3"), self.third)
        erin = self.attached("erin")
        msg_ref = self.deliver("erin", self.second, sender="grace", store=True)
        self.expect_stored_for(self.second, msg_ref, "grace")
        (delivered,) = self.expect_mail(erin, msg_ref)
        self.assertEqual(self.disk.stored(), [msg_ref])
        self.third.expect_silence()
        erin.confirm(delivered)
        self.disk.wait_empty()
        erin.leave()
        away = self.deliver("erin", self.second, store=True)
        self.expect_stored_for(self.second, away)
        self.expect_mail(self.attached("erin"), away)

    def test_not_back(self) -> None:
        """What the home of a user itself hands over is refused; a message on its way is kept, and handed over."""
        self.home_of_erin()
        msg_ref = self.deliver("erin", self.second, store=True)
        error = self.second.expect_error(socp.USER_NOT_FOUND).payload
        self.assertEqual((error["msg_ref"], error["user_id"]), (msg_ref, key("frank").id))
        msg_ref = self.deliver("erin", self.second)
        self.expect_stored_for(self.second, msg_ref)
        self.expect_handed_over(self.second, msg_ref, "frank")
        self.take(self.second, msg_ref, "frank")
        self.disk.wait_empty()

    def test_home_moves(self) -> None:
        """Mail follows its recipient: it is handed over until the new home says that it is stored there."""
        first, second = self.tell("first"), self.tell("second")
        self.home_of_erin()
        for msg_ref in (first, second):
            self.expect_handed_over(self.second, msg_ref)
        self.take(self.second, second)
        about = {"code": SERVER_BUSY, "detail": "later", "msg_ref": first, "user_id": self.dave.id}
        self.second.send_signed(ERROR, about)
        self.expect_handed_over(self.second, first)  # after a while
        self.disk.wait_empty(first)
        self.expect_handed_over(self.second, first)  # unanswered
        self.take(self.second, first)
        self.disk.wait_empty()
        self.dave.expect_silence()  # it knows that they are stored

    def test_home_without_a_link(self) -> None:
        """Mail for a user whose home is not linked is stored, and handed over when it is; also when that breaks off."""
        self.home_of_erin()
        self.second.expect_silence()
        self.second.leave()
        msg_ref = self.tell("hello")
        for last in (False, True):
            self.second = self.linked("server2")
            self.expect_handed_over(self.second, msg_ref)
            self.assertEqual(self.disk.stored(), [msg_ref])
            if last:
                self.take(self.second, msg_ref)
                self.disk.wait_empty()
            self.second.leave()

    def test_home_is_away(self) -> None:
        """A message for a user who is away goes to the home that keeps its mail, when that is linked."""
        entry = attachment("erin", "server2", ts=socp.now_ms() + 1)
        self.advertise(entry)
        gone = {"user_id": key("erin").id, "server_id": self.second.id, "attach_ts": entry["attach"]["ts"]}
        self.second.send_signed(socp.USER_REMOVE, gone, to=socp.EVERYONE)
        self.second.expect_silence()
        msg_ref = self.dave.tell("erin", "hello")
        envelope = self.second.expect(SERVER_DELIVER)
        self.assertNotIn("store", envelope.payload)
        self.take(self.second, msg_ref)
        expect_stored(self.dave, msg_ref)
        self.assertEqual(self.disk.stored(), [])


class DiskTest(MailCase):
    """What happens when the disk does not take what it is given."""

    def expect_busy(self) -> None:
        """Have dave write to erin, and hear that it could not be stored."""
        msg_ref = self.dave.tell("erin", "hello")
        self.assertEqual(self.dave.expect_error(SERVER_BUSY).payload["msg_ref"], msg_ref)

    def told_live(self, erin: Peer) -> Envelope:
        """Have dave write to erin until she gets it: while the server hands out what it had, it needs the disk."""
        while True:
            msg_ref = self.dave.tell("erin", "live")
            heard = [envelope.type for envelope in self.dave.read_until_answer()]
            if came := [envelope for envelope in erin.read_until_answer() if envelope.type == USER_DELIVER]:
                self.assertEqual([sig(envelope) for envelope in came], [msg_ref])
                return came[0]
            if ERROR not in heard:
                self.dave.expect_error(SERVER_BUSY)

    def test_locked(self) -> None:
        """While another process has the database, nothing is said to be stored; users who are here talk unharmed."""
        with self.disk.locked():
            msg_ref = self.dave.tell("erin", "hello")
            early = self.dave.read_until_answer()
            self.assertNotIn(ACK, [envelope.type for envelope in early])
        answers = [envelope for envelope in early if envelope.type == ERROR]
        while not answers:  # when it was locked for longer than the server waits, it has said so
            envelope = self.dave.read()
            assert envelope is not None
            answers += [envelope] if envelope.type in (ACK, ERROR) else []
        self.assertEqual(answers[0].payload["msg_ref"], msg_ref)
        stored = [msg_ref] if answers[0].type == ACK else []
        with self.disk.locked():
            self.expect_busy()
            self.all_is_well()
        stored.append(self.tell("again"))
        self.assertEqual(self.disk.stored(), stored)
        self.expect_mail(self.attached("erin"), *stored)

    @unittest.skipUnless(hasattr(resource, "prlimit"), "only Linux lets one process limit another's files")
    def test_full(self) -> None:
        """Who needs a disk that is full is told so, users who are here talk unharmed, and it is used again later."""
        before = self.tell("before")
        pid = self.program.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, limits[1]))
        try:
            for _ in range(2):
                self.expect_busy()
            self.all_is_well()
            erin = self.attached("erin")
            (delivered,) = self.expect_mail(erin, before)
            erin.confirm(delivered)
            self.assertEqual(self.dave.expect(ACK).payload["status"], "delivered")
            erin.confirm(self.told_live(erin))
            self.assertEqual(self.dave.expect(ACK).payload["status"], "delivered")
            erin.leave()
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        after = self.tell("after")
        self.disk.check()
        self.expect_mail(self.attached("erin"), after)


class EndTest(NetworkTest):
    """Servers that end, and are started again; their five seconds for that are two here."""

    factor = 0.4

    def setUp(self) -> None:
        """Start one, with dave attached to it and erin known."""
        super().setUp()
        (self.directory / "introducer.b64u").write_text(key("introducer").public.text, "ascii")
        self.program, self.port = self.server("server", 1, registered=False)
        self.disk = Disk(self.directory / "server")
        self.dave, self.erin = self.attached("dave"), self.attached("erin")

    def attached(self, name: str) -> Peer:
        """Return a user who is attached."""
        peer = Peer(self.port, name)
        self.addCleanup(peer.close)
        peer.attach_user()
        return peer

    def restart(self) -> Peer:
        """Start the server again, and return erin, who attaches to it."""
        self.program, self.port = self.server("server", 1, port=self.port, registered=False)
        return self.attached("erin")

    def test_told_to_stop(self) -> None:
        """A server that is told to stop says goodbye, waits until what is not confirmed is stored, and ends with 0."""
        refs = [self.dave.tell("erin", str(number)) for number in range(20)]
        delivered = [self.erin.expect(USER_DELIVER) for _ in refs]
        self.erin.confirm(delivered[3])
        self.dave.expect(ACK)
        with self.disk.locked():
            self.program.signal(signal.SIGTERM)
            for peer in (self.dave, self.erin):
                self.assertEqual(peer.expect(socp.CTRL_CLOSE).payload["reason"], "shutting down")
                peer.close()
            self.assertRaises(OSError, socket.create_connection, ("127.0.0.1", self.port), 5)
            with self.assertRaises(subprocess.TimeoutExpired):
                self.program.process.wait(0.5)  # without a link, it has the disk alone to wait for
        self.assertEqual(self.program.wait(5), 0)
        del refs[3]
        self.assertEqual(self.disk.stored(), refs)
        erin = self.restart()
        self.assertEqual([sig(erin.expect(USER_DELIVER)) for _ in refs], refs)

    def test_told_to_stop_at_work(self) -> None:
        """A server that is told to stop while a lot waits for it ends in time, and what it has handed out is stored."""
        frames, refs, ts = list[bytes](), list[str](), socp.now_ms()
        for number in range(60):
            payload = self.dave.message("erin", str(number), ts)
            refs.append(message_reference(str(payload["content_sig"])))
            frames.append(encode_frame(socp.make_envelope(socp.MSG_DIRECT, self.dave.id, self.erin.id, ts, payload)))
        self.dave.send_bytes(b"".join(frames))
        delivered = [sig(self.erin.expect(USER_DELIVER))]
        self.program.signal(signal.SIGTERM)
        while (envelope := self.erin.read()) is not None:
            if envelope.type == USER_DELIVER:
                delivered.append(sig(envelope))
        self.erin.close()
        self.assertEqual(self.program.wait(5), 0)
        stored = self.disk.stored()
        self.assertEqual(stored, refs[: len(stored)])
        self.assertEqual(delivered, stored[: len(delivered)])

    def test_told_to_stop_with_a_locked_disk(self) -> None:
        """A disk that takes nothing does not keep a server from ending in time, with a word about what is lost."""
        self.dave.tell("erin", "hello")
        self.erin.expect(USER_DELIVER)
        with self.disk.locked():
            self.program.signal(signal.SIGINT)
            self.assertEqual(self.program.wait(5), 0)  # though neither of its users has closed
        self.program.expect_error("writer")
        self.network.programs.remove(self.program)  # it had to leave a thread behind
        self.program.clean_up()

    def test_killed(self) -> None:
        """A server that is killed while it stores has all that it said is stored when it is back, in order."""
        self.erin.leave()
        refs = [self.dave.tell("erin", str(number)) for number in range(60)]
        stored: list[str] = []
        while len(stored) < 20:
            stored.append(self.dave.expect(ACK).payload["msg_ref"])
        self.program.kill()
        with contextlib.suppress(OSError):
            while (envelope := self.dave.read()) is not None:
                if envelope.type == ACK:
                    stored.append(envelope.payload["msg_ref"])
        self.assertEqual(stored, refs[: len(stored)])
        erin = self.restart()
        self.disk.check()
        self.assertEqual([sig(erin.expect(USER_DELIVER)) for _ in stored], stored)


_AS_NOBODY = """
import os, sys
import locale, encodings.idna, random, server, sqlite3, tests.e2e.launch
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.argv = ["launch", *sys.argv[1:]]
sys.exit(tests.e2e.launch.main())
"""


class ReadOnlyTest(NetworkTest):
    """A server that may not write where its data is."""

    factor = FAST

    def setUp(self) -> None:
        """Start one, as nobody if we are root, whom no mode keeps from writing."""
        super().setUp()
        (self.directory / "introducer.b64u").write_text(key("introducer").public.text, "ascii")
        (self.directory / "start.py").write_text(_AS_NOBODY, "utf-8")
        self.data = self.directory / "server"
        self.server("server", 1, registered=False)[0].signal(signal.SIGTERM)
        self.network.programs[0].wait()
        self.give_away()
        self.addCleanup(self.allow)

    def give_away(self) -> None:
        """Let the server, and nobody else but root, have the files."""
        if os.geteuid() == 0:
            self.directory.chmod(0o755)
            for path in (self.data, *self.data.iterdir()):
                os.chown(path, 65534, 65534)

    def allow(self, *, allowed: bool = True) -> None:
        """Say whether the server may write."""
        for path in self.data.iterdir():
            path.chmod(0o600 if allowed else 0o400)
        self.data.chmod(0o700 if allowed else 0o500)

    def run_server(self) -> Program:
        """Start the server."""
        arguments = ("--port", "0", "--introducer", "127.0.0.1:1", "--data-dir", str(self.data))
        pin = ("--introducer-pub", str(self.directory / "introducer.b64u"))
        return self.start_script("server", self.directory / "start.py", str(FAST), "server", *arguments, *pin)

    def test_at_the_start(self) -> None:
        """A server that may not write to its database does not start, and says why in one line."""
        (self.data / "directory.sqlite3").chmod(0o400)
        program = self.run_server()
        self.assertEqual(program.wait(), 1)
        self.assertEqual(len(program.errors), 1, program.report())
        program.expect_error(r"^\[Server\] .*directory\.sqlite3: it is read-only")

    def test_while_it_runs(self) -> None:
        """A server whose directory is made read-only goes on between users who are here, and says what it stores."""
        program = self.run_server()
        port = int(program.expect(r"\[Server\] Server running on .*:(\d+)$")[1])
        dave, erin = Peer(port, "dave"), Peer(port, "erin")
        for peer in (dave, erin):
            self.addCleanup(peer.leave)
            peer.attach_user()
        self.allow(allowed=False)
        msg_ref = dave.tell("erin", "hello")
        delivered = erin.expect(USER_DELIVER)
        self.assertEqual(sig(delivered), msg_ref)
        erin.confirm(delivered)
        self.assertEqual(dave.expect(ACK).payload["status"], "delivered")
        erin.leave()
        msg_ref = dave.tell("erin", "hello")
        while (answer := dave.read()) is not None and answer.type not in (ACK, ERROR):
            continue
        assert answer is not None
        self.assertIn(answer.payload.get("code", answer.payload.get("status")), (SERVER_BUSY, "stored"))
        self.allow()
        expect_stored(dave, dave.tell("erin", "again"))
