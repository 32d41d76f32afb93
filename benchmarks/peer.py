"""What benchmarks have in common: a server in a process of its own, and users that speak to it as fast as they can."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import socp
from addresses import Address
from channels import connect_transport
from crypto.encoding import encode_base64url
from crypto.keys import KeyPair, PublicKey, write_key_file
from crypto.sealing import message_label, seal
from crypto.signing import BROADCAST, MESSAGE, KeySigner, sign_content
from framing import FROM_SERVER, FrameBuffer, decode_frame, encode_frame
from handshake import Connector
from settings import TlsPolicy
from tests.vectors import key

_ROOT = Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def running_server(*flags: str) -> Iterator[int]:
    """Run a server, and provide its port."""
    with tempfile.TemporaryDirectory(prefix="socp-bench-") as directory:
        write_key_file(Path(directory) / "server_key.pem", key("server"))
        pin = key("introducer").public.text
        command = [sys.executable, "server.py", "--port", "0", "--data-dir", directory, "--introducer-pub", pin]
        with subprocess.Popen(
            [*command, "--log-level", "ERROR", *flags], cwd=_ROOT, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout is not None
            try:
                yield int(server.stdout.readline().rpartition(":")[2])
            finally:
                server.terminate()


class Peer:
    """A user that speaks the protocol as fast as it can, and checks nothing on the way."""

    def __init__(self, pair: KeyPair, port: int) -> None:
        self.pair = pair
        self._transport = connect_transport(Address("127.0.0.1", port), 5.0, TlsPolicy())
        self._buffer = FrameBuffer(FROM_SERVER)
        connector = Connector(
            KeySigner(self.pair),
            socp.USER_HELLO,
            {"client": "bench", "meta": {}, "caps": []},
            lambda _: None,
            socp.EVERYONE,
            300_000,
        )
        self.send(connector.hello())
        while connector.welcome is None:
            answer = connector.receive(socp.read_envelope(decode_frame(self.frame())))
            if answer is not None:
                self.send(answer)

    def send(self, data: bytes) -> None:
        """Send frames."""
        self._transport.send(data)

    def frame(self) -> bytes:
        """Return the next frame."""
        while (frame := self._buffer.next_frame()) is None:
            data = self._transport.receive()
            if not data:
                raise ConnectionError("the server closed")
            self._buffer.feed(data)
        return frame

    def heartbeat(self) -> bytes:
        """Return what tells a server that this user lives."""
        return encode_frame(socp.make_envelope(socp.HEARTBEAT, self.pair.id, socp.EVERYONE, socp.now_ms(), {}))

    def message(self, to: PublicKey) -> bytes:
        """Return a direct message of 100 bytes."""
        ts = socp.now_ms()
        sealed = seal(to, b"x" * 100, message_label(self.pair.id, to.id))
        payload = {"ciphertext": encode_base64url(sealed), "sender_pub": self.pair.public.text}
        return self._signed(socp.MSG_DIRECT, to.id, ts, payload)

    def broadcast(self, number: int, size: int = 0) -> bytes:
        """Return a broadcast, with a text of at least so many bytes."""
        text = f"number {number}".ljust(size, ".")
        payload = {"text": text, "sender_pub": self.pair.public.text}
        return self._signed(socp.MSG_PUBLIC_CHANNEL, socp.PUBLIC, socp.now_ms(), payload)

    def chunk(self, to: PublicKey) -> bytes:
        """Return a file chunk of full size; its content is nobody's."""
        payload = {
            "file_id": "3f0c1b9e-8a44-4d0e-9a5e-6f6f2f9f1c11",
            "index": 0,
            "ciphertext": encode_base64url(os.urandom(32_768)),
        }
        envelope = socp.make_envelope(socp.FILE_CHUNK, self.pair.id, to.id, socp.now_ms(), payload)
        return encode_frame(envelope)

    def _signed(self, frame_type: str, to: str, ts: int, payload: dict[str, str]) -> bytes:
        purpose = MESSAGE if frame_type == socp.MSG_DIRECT else BROADCAST
        values = {**payload, "from": self.pair.id, "to": to, "ts": ts}
        signed = {**payload, "content_sig": sign_content(KeySigner(self.pair), purpose, values)}
        return encode_frame(socp.make_envelope(frame_type, self.pair.id, to, ts, signed))

    def receive(self, frame_type: str, count: int) -> None:
        """Read until so many frames of a type have come."""
        wanted = f'"type":"{frame_type}"'.encode()
        while count:
            count -= wanted in self.frame()[:60]

    def drain(self) -> None:
        """Read until the connection is closed."""
        with contextlib.suppress(OSError):
            while self._transport.receive():
                continue

    def close(self) -> None:
        """Leave."""
        self._transport.shut()
