"""Attacks on TLS: by who connects to a server, and by who stands between a program and the server that it means."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import ssl
import threading
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import socp
from exits import Exit
from framing import encode_frame
from handshake import new_nonce
from socp import BAD_FRAME, INVALID_SIG, NOT_ALLOWED, SERVER_HELLO_LINK, USER_HELLO, Envelope
from tests.e2e.harness import put_key
from tests.hostile.arena import HostileTest, attacker_address
from tests.hostile.middle import FrameSocket, Middle, copied_context
from tests.peer import NOWHERE, Peer, membership
from tests.tls import context_of, lax_context
from tests.vectors import key

_HANDSHAKE = 2.0  # seconds, for the server's handshakes
PATIENCE = 30.0


class TlsRequiredTest(HostileTest):
    """A server that takes nothing but TLS; its two users talk over that."""

    arguments = ("--require-tls",)
    users: ClassVar[tuple[str, ...]] = ("--tls",)
    timers = f"handshake={_HANDSHAKE}"


class ConnectingTest(TlsRequiredTest):
    """Who connects to the server."""

    _places = itertools.count(2)  # an address for each attack: none is closed for what others have done from there

    def stranger(self, name: str = "mallory", *, tls: bool = True) -> Peer:
        """Connect from an address that was not heard of before."""
        return self.attacker(name, next(self._places), tls=tls)

    def raw(self) -> socket.socket:
        """Connect from such an address, and say nothing yet."""
        source = (attacker_address(next(self._places)), 0)
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE, source_address=source)
        self.addCleanup(connection.close)
        return connection

    def client_hello(self) -> bytes:
        """Return the first bytes of a TLS client."""
        outgoing = ssl.MemoryBIO()
        client = lax_context().wrap_bio(ssl.MemoryBIO(), outgoing)
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        return outgoing.read()

    def assert_closed(self, connection: socket.socket) -> bytes:
        """Wait until the server has closed, and return what it said before."""
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(65_536):
                said += data
        return said

    def test_plain_peers(self) -> None:
        """Whoever speaks plain SOCP is answered NOT_ALLOWED and closed, and whoever speaks neither BAD_FRAME."""
        user = self.stranger(tls=False)
        user.hello()
        user.expect_refusal(NOT_ALLOWED)
        server = self.stranger("server2", tls=False)
        server.hello(SERVER_HELLO_LINK, memberships=[membership("server2")])
        server.expect_refusal(NOT_ALLOWED)
        neither = self.stranger(tls=False)
        neither.send_bytes(b"GET / HTTP/1.1\r\n\r\n")
        neither.expect_refusal(BAD_FRAME)
        self.conversation.wait_more()

    def test_older_tls(self) -> None:
        """TLS 1.2 is refused."""
        context = lax_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with self.assertRaisesRegex(ssl.SSLError, "(?i)protocol.version"):
            context.wrap_socket(self.raw())
        self.conversation.wait_more()

    def test_junk(self) -> None:
        """Junk in the place of a TLS hello, or of what should follow it, ends that connection alone."""
        hello = self.client_hello()
        for begin in (b"\x16" * 5_000, b"\x16\x03\x01\xff\xff" + bytes(70_000), hello + b"\x17" * 200, hello + hello):
            connection = self.raw()
            address = connection.getsockname()[0]
            with contextlib.suppress(OSError):
                connection.sendall(begin)
            self.assert_closed(connection)
            self.program.expect_error(rf"from {address}:\d+: no TLS 1\.3 could be set up: ")  # and not for being slow
        inside = self.stranger()
        inside.send_bytes(b"GET / HTTP/1.1\r\n\r\n")
        inside.expect_refusal(BAD_FRAME)
        self.conversation.wait_more()

    def test_handshakes_that_stop(self) -> None:
        """Whoever stops in the middle of the TLS handshake, or of what comes after it, is closed in time."""
        hello = self.client_hello()
        stopped = [self.raw() for _ in range(5)]
        for connection, begin in zip(stopped, (b"", b"\x16", hello[:5], hello[:-1], hello), strict=True):
            connection.sendall(begin)
        within = self.stranger()
        self.conversation.wait_more()
        for connection in stopped:
            self.assert_closed(connection)
        within.expect_refusal(socp.TIMEOUT)

    def test_handshake_that_drips(self) -> None:
        """A TLS handshake that goes on byte by byte is closed when its time is over, like one that stops."""
        connection = self.raw()
        connection.settimeout(0.1)
        closed = False
        for byte in self.client_hello()[: int(10 * _HANDSHAKE) + 100]:
            try:
                connection.sendall(bytes([byte]))
                closed = connection.recv(1) == b""
            except TimeoutError:
                continue  # 0.1 s is over, in which nothing was heard: the next byte
            except ConnectionError:
                closed = True
            break
        self.assertTrue(closed)
        self.conversation.wait_more()

    def test_frames_without_signature(self) -> None:
        """On TLS, a server's own frames need no signature; one that they have must be good, and gossip needs one."""
        server = self.stranger("server2")
        server.link_server("server2")
        server.send(socp.HEARTBEAT, {"probe": True})
        answer = server.check_own(server.expect(socp.HEARTBEAT))
        self.assertEqual(answer.to, server.id)
        server.send_signed(socp.HEARTBEAT, {})
        server.expect_silence()
        server.send_signed(socp.HEARTBEAT, {}, ts=1)
        server.expect_error(INVALID_SIG)
        server.send_signed(socp.HEARTBEAT, {}, sig="")
        server.expect_error(INVALID_SIG)
        server.send(socp.HEARTBEAT, {}, sig="AA")
        server.expect_error(INVALID_SIG)
        server.send(socp.HEARTBEAT, {"hdr": "x"})
        server.expect_error(INVALID_SIG)
        gone = {"user_id": key("alice").id, "server_id": server.id, "attach_ts": socp.now_ms()}
        server.send(socp.USER_REMOVE, gone, to=socp.EVERYONE)
        server.expect_error(INVALID_SIG)
        self.conversation.wait_more()


class MiddleTest(TlsRequiredTest):
    """Who stands between a program and the server that it means; the attackers' server is the honest users'."""

    def middle(self, treat: Callable[[socket.socket], object]) -> Middle:
        """Stand in the middle, until the test ends."""
        middle = Middle(treat)
        self.addCleanup(middle.close)
        return middle

    def outside(self) -> socket.socket:
        """Connect to the real server, for a program that is in our hands."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def refusing_client(self, middle: Middle, pattern: str, code: Exit = Exit.NO_CONNECTION) -> None:
        """Have a client that means to connect to the server refuse whoever it finds there."""
        assert self.network is not None
        client = self.network.client("carol", middle.port, "--tls", attached=False)
        client.expect_error(pattern)
        self.assertEqual(client.wait(), code)
        self.assertFalse([line for line in client.lines if "[Me]" in line])

    def relay(self, connection: socket.socket) -> object:
        """Answer TLS by a certificate of our own, pass the handshake on to the real server; return what is heard."""
        heard = []
        with (
            context_of("mallory").wrap_socket(connection, server_side=True) as secured,
            self.outside() as outside,
            lax_context().wrap_socket(outside) as server,
        ):
            near, far = FrameSocket(secured), FrameSocket(server)
            while (said := near.read()) is not None:
                heard.append(said.type)
                far.send(said.raw)
                if (answer := far.read()) is None:
                    break
                near.send(answer.raw)
        return heard

    def test_own_certificate(self) -> None:
        """A middle with a certificate of its own that passes the handshake on learns a hello, and gets no signature."""
        middle = self.middle(self.relay)
        self.refusing_client(
            middle,
            rf"{key('mallory').id} and says it is {self.server_id}: somebody may be in the mid",
            Exit.BAD_KEY,
        )
        self.assertEqual(middle.next(), [USER_HELLO])
        self.conversation.wait_more()

    def test_copied_certificate(self) -> None:
        """A middle with the server's own certificate, but not its key, is not spoken to."""
        context = copied_context("server", "mallory")
        middle = self.middle(lambda connection: context.wrap_socket(connection, server_side=True))
        self.refusing_client(middle, "cannot talk to a server at .*: no TLS 1.3 could be set up: bad signature")
        self.assertIsInstance(middle.next(), ssl.SSLError)
        self.conversation.wait_more()

    def test_own_name(self) -> None:
        """A middle that is itself, certificate and all, is not the server that was pinned."""
        assert self.network is not None
        middle = self.middle(partial(challenge_as_mallory, challenge("mallory", "dave")))
        profile = self.network.directory / "profiles" / "dave"
        profile.mkdir(mode=0o700, parents=True)
        pins = {"pins": {f"127.0.0.1:{middle.port}": self.server_id}}
        (profile / "profile.json").write_text(json.dumps(pins), "utf-8")
        client = self.network.client("dave", middle.port, "--tls", attached=False)
        client.expect_error(f"^socp: error: .*{key('mallory').id}")
        client.expect_error("^socp: hint: somebody may be in the middle")
        self.assertEqual(client.wait(), Exit.BAD_KEY)
        self.assertIsNone(middle.next())

    def test_stripped(self) -> None:
        """A middle that answers TLS in the clear gets neither a frame nor a plain connection instead."""

        def answer_plainly(connection: socket.socket) -> object:
            heard = connection.recv(65_536)
            connection.sendall(challenge("server", "carol"))
            while data := connection.recv(65_536):
                heard += data
            return heard

        middle = self.middle(answer_plainly)
        self.refusing_client(middle, "cannot talk to a server at .*: no TLS 1.3 could be set up: ")
        heard = middle.next()
        assert isinstance(heard, bytes)
        self.assertEqual(heard[:1], b"\x16")
        self.assertNotIn(b"USER_HELLO", heard)
        self.assertTrue(middle.seen.empty())  # it did not try again

    def test_passed_on(self) -> None:
        """A middle that passes TLS on as it is learns nothing of it; a bit that it changes ends that connection."""
        assert self.network is not None
        change = threading.Event()
        passed = bytearray()

        def carry(source: socket.socket, target: socket.socket, changed: threading.Event | None) -> None:
            with contextlib.suppress(OSError):
                while data := bytearray(source.recv(65_536)):
                    passed.extend(data)
                    if changed is not None and changed.is_set():
                        data[-1] ^= 1
                    target.sendall(data)
            for end in (source, target):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

        def pass_on(connection: socket.socket) -> None:
            with self.outside() as server:
                up = threading.Thread(target=carry, args=(connection, server, None), daemon=True)
                up.start()
                carry(server, connection, change)
                up.join(PATIENCE)

        middle = self.middle(pass_on)
        client = self.network.client("erin", middle.port, "--tls")
        client.type(f"/tell {key('alice').id} a word in private")
        client.expect(r"\[DM to .*\] delivered")
        change.set()
        client.type("/list")
        client.expect(r"\[Server\] connection lost")
        middle.next()
        middle.close()
        for secret in (b"SOCP", b"MSG_DIRECT", b"private", key("alice").id.encode(), key("erin").id.encode()):
            self.assertNotIn(secret, passed)
        self.conversation.wait_more()

    def test_plain_server_led_into_tls(self) -> None:
        """A server signs nothing if a middle carries its plain connection on by TLS, where frames need no signature."""
        assert self.network is not None

        def carry_on(connection: socket.socket) -> object:
            near = FrameSocket(connection)
            with self.outside() as outside, lax_context().wrap_socket(outside) as secured:
                far = FrameSocket(secured)
                said = near.read()
                assert said is not None
                where = {"host": NOWHERE.host, "port": NOWHERE.port}
                hello = {**said.payload, **where, "memberships": [membership("server2")]}
                wire = socp.make_envelope(SERVER_HELLO_LINK, said.sender, self.server_id, said.ts, hello)
                far.send(encode_frame(wire))
                answer = far.read()
                assert answer is not None
                near.send(answer.raw)
                return near.read()

        middle = self.middle(carry_on)
        put_key(self.network.directory / "led" / "server_key.pem", "server2")
        server = self.network.start(
            "server2",
            "server",
            *("--port", 0, "--data-dir", self.network.directory / "led", "--introducer", f"127.0.0.1:{middle.port}"),
            *("--introducer-pub", key("server").public.text),
        )
        server.expect_error("cannot join .*NOT_ALLOWED: the other side speaks TLS, and this connection does not")
        self.assertIsNone(middle.next())
        self.conversation.wait_more()

    def test_servers(self) -> None:
        """A server finds the same out about who stands before its introducer, says why it does not join and goes on."""
        assert self.network is not None

        def be_plain(connection: socket.socket) -> object:
            connection.sendall(challenge("introducer", "server2"))
            return connection.recv(65_536)[:1]

        treatments = iter((partial(challenge_as_mallory, challenge("introducer", "server2")), be_plain))

        def be_one_then_the_other(connection: socket.socket) -> object:
            return next(treatments, be_plain)(connection)

        middle = self.middle(be_one_then_the_other)
        server, _ = self.network.server("server2", middle.port, "--tls", registered=False)
        server.expect_error('cannot join .*BAD_KEY: .* says it is .*: somebody may be in the middle"?; trying again')
        self.assertIsNone(middle.next())
        server.expect_error('cannot join .*no TLS 1.3 could be set up: .*"?; trying again')
        self.assertEqual(middle.next(), b"\x16")
        self.conversation.wait_more()


def challenge(acceptor: str, connector: str) -> bytes:
    """Return an AUTH_CHALLENGE, by names of keys of the vectors; there is nothing in it that takes a private key."""
    payload = {"nonce": new_nonce(), "pubkey": key(acceptor).public.text, "after": 0}
    envelope = socp.make_envelope(socp.AUTH_CHALLENGE, key(acceptor).id, key(connector).id, socp.now_ms(), payload)
    return encode_frame(envelope)


def challenge_as_mallory(frame: bytes, connection: socket.socket) -> Envelope | None:
    """Do TLS with mallory's certificate, answer a hello by this AUTH_CHALLENGE, and return what is said to that."""
    with context_of("mallory").wrap_socket(connection, server_side=True) as secured:
        peer = FrameSocket(secured)
        peer.read()
        peer.send(frame)
        return peer.read()
