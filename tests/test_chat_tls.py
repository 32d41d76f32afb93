"""The client without a terminal, over TLS, against a server that does what it likes."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace

import socp
from addresses import Address
from errors import AttachRefused, NotConnected
from framing import encode_frame
from settings import TlsPolicy
from socp import HEARTBEAT
from tests import test_chat
from tests.fake_server import PATIENCE, FakeServer
from tests.tls import context_of
from tests.vectors import key

ALICE = key("alice").id


class ChatTlsTest(test_chat.ChatTest):
    """Alice's client, which takes nothing but TLS."""

    settings = replace(test_chat.ChatTest.settings, tls=TlsPolicy(required=True))

    def start_server(self, certified: str = "server") -> FakeServer:
        """Start a server with a certificate of somebody's, which waits for the client."""
        return super().start_server(tls=context_of(certified))

    def test_frames_without_signature(self) -> None:
        """Over TLS a frame of the server needs no signature; one that it has must be good, and be the server's."""
        server = self.attached()
        probe: dict[str, object] = {"probe": True}

        def envelope(sig: str, payload: dict[str, object]) -> dict[str, object]:
            return socp.make_envelope(socp.HEARTBEAT, server.id, ALICE, socp.now_ms(), payload, sig)

        for good in (envelope("", probe), server.origin.signed(HEARTBEAT, ALICE, probe)):
            server.say_bytes(encode_frame(good))
            while server.expect(HEARTBEAT).to != server.id:
                continue  # one of its own
        with self.assertLogs("socp.chat", "WARNING") as logged:
            server.say(HEARTBEAT, probe, sig="")
            server.say(HEARTBEAT, probe, sig="AA")
            server.say_bytes(encode_frame(envelope("AA", probe)))
            server.say_bytes(encode_frame(envelope("", {**probe, "hdr": "AA"})))
            server.say(HEARTBEAT, probe, ts=1, type=socp.CTRL_CLOSE)
            server.expect_silence()
        self.assertEqual(len(logged.output), 5)

    def test_plain_server(self) -> None:
        """A server that does not speak TLS is not spoken to."""
        heard: list[bytes] = []

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"\0\0\0\x02{}")
                while data := connection.recv(65_536):
                    heard.append(data)

        with socket.create_server(("127.0.0.1", 0)) as listener:
            serving = threading.Thread(target=serve, daemon=True)
            serving.start()
            with self.assertRaisesRegex(NotConnected, "cannot talk to a server at .*: no TLS 1.3 could be set up"):
                self.chat.attach(Address("127.0.0.1", listener.getsockname()[1]))
            serving.join(PATIENCE)
        self.assertNotIn(b"USER_HELLO", b"".join(heard))

    def test_certificate_of_another(self) -> None:
        """A server that shows one key in TLS and another in the handshake is refused before anything is signed."""
        server = self.start_server("mallory")
        with self.assertRaisesRegex(AttachRefused, "somebody may be in the middle"):
            self.attach(server)
        server.attached_or_refused()
        self.assertIsNone(server.proof)
        self.assertIsNone(self.profile.pin(Address("127.0.0.1", server.port)))
