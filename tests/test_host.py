"""What introducers and servers have in common; most of it is tested from outside, in e2e/test_handshake_rules.py."""

from __future__ import annotations

import errno
import os
import socket
import threading
import unittest
from collections.abc import Callable
from dataclasses import replace
from unittest import mock

import socp
from addresses import Address
from ahead import Handler, Signers, Step, Stepwise
from crypto.signing import KeySigner
from framing import FROM_SERVER, BodyLimit, FrameBuffer, encode_frame
from gathering import current
from handshake import Acceptor, Connector, HandshakeRefused, Proof
from host import _LONG, Host, _take_of_stranger
from link import Link
from origin import Origin, check_origin
from outflow import Sent
from settings import Settings, Timers
from socp import SERVER_HELLO_JOIN, TOO_LARGE, Envelope, LinkError
from tests.sockets import receive_envelope, tcp_pair
from tests.tls import context_of
from tests.vectors import key
from threads import Deadline
from transport import PlainTransport

PATIENCE = 10.0
PEER = key("server2").id


class ReaderTest(unittest.TestCase):
    """What the thread of a link does with frames."""

    def test_long_frames(self) -> None:
        """What was gathered is sent before a frame is taken that may take long, and not before each of the others."""
        host = mock.create_autospec(Host, instance=True)
        host.signers = mock.create_autospec(Signers, instance=True)
        outlet, flushed = mock.Mock(), list[bool]()

        def take(_link: Link, _peer: str, _frame: bytes, _handlers: object, _ahead: object) -> None:
            flushed.append(outlet.flush.called)
            gathering = current()
            assert gathering is not None
            gathering.add(outlet)

        host._take = take
        link = mock.create_autospec(Link, instance=True)
        link.frames.return_value = iter([b"x", b"x", b"x" * (_LONG + 1)])
        Host.dispatch(host, link, PEER, {})
        self.assertEqual(flushed, [False, False, True])

    def test_frames_that_ask_for_nothing(self) -> None:
        """A frame that is said to be right and without effect is passed over, and no other."""
        host, link = mock.create_autospec(Host, instance=True), mock.create_autospec(Link, instance=True)
        host.signers = mock.create_autospec(Signers, instance=True)
        link.frames.return_value = iter([b"a", b"b", b"c"])
        Host.dispatch(host, link, PEER, {}, lambda frame, peer: (frame, peer) == (b"b", PEER))
        self.assertEqual([call.args[2] for call in host._take.call_args_list], [b"a", b"c"])

    def test_who_had_to_give_way(self) -> None:
        """Nothing is done any more for a stranger whose link was closed while its frame waited for a core."""
        link, acceptor = mock.Mock(closing=True), mock.create_autospec(Acceptor, instance=True)
        self.assertIsNone(_take_of_stranger(link, acceptor, b"never looked at"))
        acceptor.receive.assert_not_called()


class TurnsTest(unittest.TestCase):
    """What comes in one read, when some of it is signed for ahead; the test is the peer."""

    def setUp(self) -> None:
        """Have a user's link, with a handler of HEARTBEAT that sends what was made ahead: the frame's time."""
        self.host = Host(
            Origin(KeySigner(key("server"))),
            Settings(replace(Timers(), idle=10 * PATIENCE)),
            context=context_of("server"),
            check_hello=lambda *_: None,
            last_attachment=lambda _: 0,
            serve=lambda *_: None,
        )
        self.addCleanup(self.host.stop, Deadline(PATIENCE))
        self.connect()
        self.handlers: dict[str, Handler] = {
            socp.HEARTBEAT: Stepwise(lambda _: self.fail("not ahead"), self.begin),
            socp.CTRL_CLOSE: lambda _: self.link.finish(),
        }

    def connect(self) -> None:
        """Have a new link."""
        ours, self.peer = tcp_pair()
        self.addCleanup(self.peer.close)
        self.link = self.host._new_link(PlainTransport(ours), "conn", BodyLimit(1000, TOO_LARGE))
        self.addCleanup(self.host._end, self.link)
        self.addCleanup(self.link.abort)

    def begin(self, envelope: Envelope) -> Step:
        """Return what can be done ahead of a HEARTBEAT."""
        wire = socp.make_envelope(socp.HEARTBEAT, PEER, "*", envelope.ts, {})
        return Step(lambda: encode_frame(wire), lambda frame: self.assertIs(self.link.send(frame), Sent.YES))

    def say(self, *types_and_times: tuple[str, int], last: bytes = b"") -> None:
        """Have frames come, and last of all some bytes."""
        frames = [socp.make_envelope(kind, PEER, "*", ts, {}) for kind, ts in types_and_times]
        self.peer.sendall(b"".join(map(encode_frame, frames)) + last)

    def answers(self) -> list[object]:
        """Return the times of what was made ahead, and the codes of errors, in the order in which they were sent."""
        self.link.abort()
        buffer, found = FrameBuffer(FROM_SERVER), list[object]()
        while (envelope := receive_envelope(self.peer, buffer, PATIENCE)) is not None:
            found.append(envelope.payload["code"] if envelope.type == socp.ERROR else envelope.ts)
        return found

    def test_order(self) -> None:
        """Errors have their place among what is signed ahead, and one that ends the link comes after all before it."""
        beats = [(socp.HEARTBEAT, ts) for ts in range(1, 10)]
        self.say(*beats[:2], ("NEW", 1), *beats[2:8], (socp.CTRL_CLOSE, 1), beats[8], last=b"xxxx")
        with self.assertRaises(LinkError) as caught:
            self.host.dispatch(self.link, PEER, self.handlers)
        self.assertEqual(caught.exception.code, TOO_LARGE)
        expected = [1, 2, socp.UNKNOWN_TYPE, *range(3, 9), socp.BAD_ENVELOPE, 9]
        self.assertEqual(self.answers(), expected)

    def test_frame_that_is_none(self) -> None:
        """A frame that is no JSON ends the link as well, and what came before it counts."""
        self.say((socp.HEARTBEAT, 1), (socp.HEARTBEAT, 2), last=b"\0\0\0\2[]" + encode_frame({"type": "never seen"}))
        with self.assertRaises(LinkError) as caught:
            self.host.dispatch(self.link, PEER, self.handlers)
        self.assertEqual(caught.exception.code, socp.BAD_FRAME)
        self.assertEqual(self.answers(), [1, 2])

    def test_farewell(self) -> None:
        """What comes behind a farewell is not handled, and nobody waits until the peer has closed as well."""
        for behind in ((), ((socp.HEARTBEAT, 2), ("NEW", 1))):
            with self.subTest(behind=behind):
                self.handlers["BYE"] = bye = mock.Mock(side_effect=lambda _: self.link.finish())
                with mock.patch.dict(socp.SHAPES, {"BYE": socp.SHAPES[socp.HEARTBEAT]}):
                    self.say((socp.HEARTBEAT, 1), ("BYE", 1), *behind)
                    reader = threading.Thread(target=self.host.dispatch, args=(self.link, PEER, self.handlers))
                    reader.start()
                    reader.join(PATIENCE)
                self.assertFalse(reader.is_alive())
                bye.assert_called_once()
                self.assertEqual(self.answers(), [1])
            self.connect()

    def test_workers_end(self) -> None:
        """Who signs ahead ends with the host, however long that would wait for something to do."""
        with mock.patch("workers.CORES", 2), mock.patch("ahead.CORES", 2):
            self.say(*[(socp.HEARTBEAT, ts) for ts in range(1, 10)])
            self.peer.shutdown(socket.SHUT_WR)
            self.host.dispatch(self.link, PEER, self.handlers)
        workers = [thread for thread in threading.enumerate() if thread.name == "worker"]
        self.assertEqual(len(workers), 1)
        self.host.stop(Deadline(PATIENCE))
        self.assertFalse(workers[0].is_alive())

    def test_long_frame(self) -> None:
        """A long frame is handled when all before it has been, and not if that was a farewell."""
        self.link.handshake_done(FROM_SERVER)
        long = encode_frame(socp.make_envelope("NEW", PEER, "*", 1, {"x": "x" * _LONG}))
        self.say((socp.HEARTBEAT, 1), last=long)
        self.say((socp.HEARTBEAT, 2), last=long)
        self.peer.shutdown(socket.SHUT_WR)
        self.host.dispatch(self.link, PEER, self.handlers)
        self.assertEqual(self.answers(), [1, socp.UNKNOWN_TYPE, 2, socp.UNKNOWN_TYPE])

    def test_long_frame_after_a_farewell(self) -> None:
        """One that comes behind a farewell, in the same read, is not looked at."""
        self.link.handshake_done(FROM_SERVER)
        self.link._read_most = 2 * _LONG
        self.handlers["BYE"] = lambda _: self.link.finish()
        with mock.patch.dict(socp.SHAPES, {"BYE": socp.SHAPES[socp.HEARTBEAT]}):
            last = encode_frame(socp.make_envelope("NEW", PEER, "*", 1, {"x": "x" * _LONG}))
            self.say((socp.HEARTBEAT, 1), ("BYE", 1), last=last)
            with mock.patch.object(self.host, "_take", wraps=self.host._take) as take:
                self.host.dispatch(self.link, PEER, self.handlers)
        self.assertEqual(take.call_count, 2)
        self.assertEqual(self.answers(), [1])


class HostTest(unittest.TestCase):
    """Two hosts in this process, one of which connects to the other."""

    def setUp(self) -> None:
        """Start both."""
        self.served: list[str] = []
        self.serving = threading.Event()
        self.hosts: dict[str, Host] = {}
        for name in ("server", "introducer"):
            host = self.hosts[name] = Host(
                Origin(KeySigner(key(name))),
                Settings(Timers().scaled(0.1)),
                context=context_of(name),
                check_hello=lambda *_: None,
                last_attachment=lambda _: 0,
                serve=self.serve,
            )
            self.addCleanup(host.stop, Deadline(PATIENCE))
        self.address = self.hosts["introducer"].bind(Address("127.0.0.1", 0))
        self.hosts["server"].bind(Address("127.0.0.1", 0))
        for host in self.hosts.values():
            host.start()

    def serve(self, link: Link, acceptor: Acceptor, proof: Proof) -> None:
        """Accept whoever has proved its key, and read its link to the end."""
        self.served.append(proof.key.id)
        welcome = {"assigned_id": proof.key.id, "introducer_id": key("introducer").id, "membership": {}}
        link.send(acceptor.accept(**welcome, servers=[], clients=[]))
        self.hosts["introducer"].established(link, proof.hello)
        self.serving.set()
        self.hosts["introducer"].dispatch(link, proof.key.id, {})

    def test_the_rest(self) -> None:
        """What `serve` returns is run too; what it raises is answered, though the handshake is forgotten by then."""
        host = self.hosts["introducer"]

        def serve(link: Link, acceptor: Acceptor, proof: Proof) -> Callable[[], None]:
            welcome = {"assigned_id": proof.key.id, "introducer_id": key("introducer").id, "membership": {}}
            link.send(acceptor.accept(**welcome, servers=[], clients=[]))
            host.established(link, proof.hello)

            def go_on() -> None:
                acceptor.forget()
                raise LinkError(socp.NOT_ALLOWED, "not here")

            return go_on

        host._serve = serve
        farewells: list[Envelope] = []

        def read(link: Link, _: Envelope) -> None:
            self.hosts["server"].dispatch(link, key("introducer").id, {socp.ERROR: farewells.append})

        self.hosts["server"].connect(self.address, self.connector(), read)
        self.assertEqual([farewell.payload["code"] for farewell in farewells], [socp.NOT_ALLOWED])
        check_origin(farewells[0], key("introducer").public)

    def connector(self) -> Connector:
        """Return the connecting side."""
        where = {"host": "127.0.0.1", "port": 1}
        return Connector(KeySigner(key("server")), SERVER_HELLO_JOIN, where, lambda _: None, str(self.address), 1000)

    def test_connected(self) -> None:
        """A host that connects has the link until its end, which the other's farewell brings."""
        farewells: list[Envelope] = []

        def serve(link: Link, _: Envelope) -> None:
            self.assertTrue(self.serving.wait(PATIENCE))
            stopping = threading.Thread(target=self.hosts["introducer"].stop, args=(Deadline(PATIENCE),))
            stopping.start()
            self.addCleanup(stopping.join, PATIENCE)
            close = {socp.CTRL_CLOSE: farewells.append}
            self.hosts["server"].dispatch(link, key("introducer").id, close)

        self.hosts["server"].connect(self.address, self.connector(), serve)
        self.assertEqual(self.served, [key("server").id])
        self.assertEqual([farewell.payload["reason"] for farewell in farewells], ["shutting down"])
        check_origin(farewells[0], key("introducer").public)

    def shake(self) -> bool:
        """Tell whether the introducer takes the server in, and leave."""
        host = self.hosts["server"]
        try:
            host.connect(self.address, self.connector(), lambda link, _: host.close(link, "that is all"))
        except (OSError, HandshakeRefused):
            return False
        return True

    def test_no_more(self) -> None:
        """When a host says goodbye, its port is closed: nobody is let in to be cut off without a word."""
        refused: list[bool] = []

        def connect() -> None:
            try:
                socket.create_connection((self.address.host, self.address.port), PATIENCE).close()
            except ConnectionRefusedError:
                refused.append(True)

        self.hosts["introducer"].stop(Deadline(PATIENCE), connect)
        self.assertEqual(refused, [True])

    def test_no_thread(self) -> None:
        """While there are no threads, newcomers are closed, and accepting pauses; what is connected goes on."""
        host = self.hosts["introducer"]
        start, refusals = host.threads.start, iter([True, True, False])
        refuse = mock.patch.object(host.threads, "start", lambda *job: not next(refusals, False) and start(*job))
        with refuse, self.assertLogs("socp.host", "WARNING") as logs:
            self.assertEqual([self.shake() for _ in range(3)], [False, False, True])
        self.assertIn("there is no thread for one", logs.output[0])
        self.assertEqual(len(logs.output), 2)

    def test_link_ends(self) -> None:
        """An end of a link is what accepting waits for when there are as many as there are descriptors for."""
        host = self.hosts["introducer"]
        host._most_links = 1
        idle = socket.create_connection((self.address.host, self.address.port))
        self.addCleanup(idle.close)
        with self.assertLogs("socp.host", "WARNING") as logs:
            threads = [threading.Thread(target=lambda: self.assertTrue(self.shake())) for _ in range(2)]
            for thread in threads:
                thread.start()
            threads[0].join(0.2)
            self.assertEqual(self.served, [])
            idle.close()
            for thread in threads:
                thread.join(PATIENCE)
        self.assertEqual(len(self.served), 2)
        self.assertIn("all that this process has descriptors for", logs.output[0])

    def test_no_descriptor(self) -> None:
        """When the system has no more descriptors, accepting pauses, and tries again though no link ends."""
        host = self.hosts["introducer"] = Host(
            Origin(KeySigner(key("introducer"))),
            Settings(Timers().scaled(0.1)),
            context=context_of("introducer"),
            check_hello=lambda *_: None,
            last_attachment=lambda _: 0,
            serve=self.serve,
        )
        self.addCleanup(host.stop, Deadline(PATIENCE))
        self.address = host.bind(Address("127.0.0.1", 0))
        assert host._listener is not None
        listener = mock.Mock(wraps=host._listener)
        full = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        accept = host._listener.accept
        listener.accept.side_effect = lambda failures=[full, full]: self.fail_or(failures, accept)
        host._listener = listener
        with self.assertLogs("socp.host", "WARNING") as logs:
            host.start()
            self.assertTrue(self.shake())
        self.assertIn("no more connections can be accepted now: Too many open files", logs.output[0])

    def fail_or(self, failures: list[OSError], then: Callable[[], object]) -> object:
        """Raise what failures there are left, one after the other, and then do something."""
        if failures:
            raise failures.pop()
        return then()

    def test_stopped_in_mid_handshake(self) -> None:
        """A host that is stopped closes connections that have proved nothing, and joins their threads."""
        with mock.patch.object(Connector, "receive", side_effect=HandshakeRefused("X", "the test")):
            self.assertRaises(HandshakeRefused, self.hosts["server"].connect, self.address, self.connector(), self.fail)
        self.hosts["introducer"].stop(Deadline(PATIENCE))
        self.assertFalse([thread for thread in threading.enumerate() if thread.name.startswith("conn-")])
        self.assertRaises(OSError, self.hosts["server"].connect, self.address, self.connector(), self.fail)
