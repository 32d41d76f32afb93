"""A server that says whatever a test wants to a client, once the client has attached to it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Any

import socp
from crypto.signing import KeySigner
from framing import FROM_SERVER, FrameBuffer, decode_frame, encode_frame
from handshake import Acceptor, Proof
from origin import Origin
from socp import Envelope
from tests.sockets import receive_envelope
from tests.vectors import key

PATIENCE = 20.0
DAY = 24 * 60 * 60 * 1000


class FakeServer:
    """Listens at 127.0.0.1, and takes one client at a time.

    Args:
        name: whose key of the vectors it has.
        spoil: what it does to each of its frames of the handshake; None for one that it does not send.
        after: what it says of the client's last attachment.
        port: where it listens; a free one if 0.
        tls: what it does TLS with; None for none.
    """

    def __init__(
        self,
        name: str = "server",
        spoil: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda envelope: envelope,
        after: int = 0,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.origin = Origin(KeySigner(key(name)))
        self.id = self.origin.id
        self.client_id = ""
        self.proof: Proof | None = None
        self._spoil = spoil
        self._after = after
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.settimeout(PATIENCE)
        self.port: int = self._listener.getsockname()[1]
        self._buffer = FrameBuffer(FROM_SERVER)
        self._connection: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def expect_client(self) -> None:
        """Take the next client, in a thread."""
        self.hang_up()
        self._thread = threading.Thread(target=self._shake_hands, args=(self._thread,), daemon=True)
        self._thread.start()

    def attached(self) -> None:
        """Wait until the handshake is done, at our end."""
        assert self._thread is not None
        self._thread.join(PATIENCE)
        assert self.client_id, "no client has attached"

    def attached_or_refused(self) -> None:
        """Wait until the handshake is over, at our end."""
        assert self._thread is not None
        self._thread.join(PATIENCE)

    def _shake_hands(self, before: threading.Thread | None) -> None:
        if before is not None:
            before.join(PATIENCE)  # else it might read from our connection, which stands where its own did
        acceptor = Acceptor(self.origin, lambda *_: None, lambda _: self._after, DAY)
        with contextlib.suppress(OSError):
            self._connection, _ = self._listener.accept()
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                self._connection = self._tls.wrap_socket(self._connection, server_side=True)
            self._buffer = FrameBuffer(FROM_SERVER)
            while (envelope := self.read()) is not None:
                answer = acceptor.receive(envelope)
                if acceptor.proof is not None:
                    self.proof = acceptor.proof
                    self._send_spoilt(acceptor.accept(server_id=self.id, users=1))
                    self.client_id = acceptor.proof.key.id
                    return
                assert answer is not None
                self._send_spoilt(answer)

    def _send_spoilt(self, frame: bytes) -> None:
        envelope = self._spoil(decode_frame(frame))
        if envelope is not None:
            self.say_bytes(encode_frame(envelope))

    def say_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        assert self._connection is not None
        self._connection.sendall(data)

    def say(
        self,
        frame_type: str,
        payload: Mapping[str, object],
        *,
        to: str | None = None,
        ts: int | None = None,
        **change: Any,
    ) -> None:
        """Send a frame that is signed, on TLS too, with fields of the envelope changed after that."""
        envelope = self.origin.signed(frame_type, self.client_id if to is None else to, payload, ts)
        self.say_bytes(encode_frame({**envelope, **change}))

    def pass_on(self, frame_type: str, sender: str, payload: Mapping[str, object], ts: int, to: str = "") -> None:
        """Send a user's frame, as if that user had sent it."""
        to = to or self.client_id
        self.say_bytes(encode_frame(socp.make_envelope(frame_type, key(sender).id, to, ts, payload)))

    def read(self) -> Envelope | None:
        """Return the client's next frame; None when it has closed."""
        assert self._connection is not None
        return receive_envelope(self._connection, self._buffer, PATIENCE)

    def expect(self, frame_type: str) -> Envelope:
        """Return the client's next frame of a type, passing over its heartbeats."""
        while (envelope := self.read()) is not None:
            if envelope.type == frame_type:
                return envelope
            assert envelope.type == socp.HEARTBEAT, f"{frame_type} was expected, and {envelope.type} came"
        raise AssertionError(f"{frame_type} was expected, and the client has closed")

    def expect_silence(self) -> None:
        """Expect that the client answers nothing to what was sent so far, and still listens."""
        self.say(socp.HEARTBEAT, {"probe": True})
        while (envelope := self.read()) is not None:
            assert envelope.type == socp.HEARTBEAT, f"{envelope.type} came"
            if envelope.to == self.id:
                return
        raise AssertionError("the client has closed")

    def hang_up(self) -> None:
        """Close the connection to the client."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._connection, socket.SHUT_RDWR)
            self._connection.close()

    def close(self) -> None:
        """Close everything."""
        # First what takes clients: one that is quick to come back would be let in, and cut off in its handshake.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes an accept
        self._listener.close()
        self.hang_up()
        if self._thread is not None:
            self._thread.join(PATIENCE)
