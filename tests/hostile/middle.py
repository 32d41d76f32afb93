"""Somebody in the middle: listens where a server is thought to be, and does with each connection what a test wants."""

from __future__ import annotations

import base64
import contextlib
import queue
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from certificates import make_certificate
from framing import FROM_SERVER, FrameBuffer
from socp import Envelope
from tests.sockets import receive_envelope
from tests.vectors import key

PATIENCE = 30.0


class Middle:
    """Listens at 127.0.0.1 until it is closed.

    Args:
        treat: is given each connection, one after the other, and returns what the test is to know of it.

    Attributes:
        seen: what `treat` has returned, or the error that ended it.
    """

    def __init__(self, treat: Callable[[socket.socket], object]) -> None:
        self.seen: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._treat = treat
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="middle", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            with connection:
                try:
                    self.seen.put(self._treat(connection))
                except (OSError, AssertionError) as error:
                    self.seen.put(error)

    def next(self) -> object:
        """Return what is seen of the next connection."""
        return self.seen.get(timeout=PATIENCE)

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes an accept
        self._listener.close()
        self._thread.join(PATIENCE)


class FrameSocket:
    """A connection whose frames are read one by one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = FrameBuffer(FROM_SERVER)

    def read(self) -> Envelope | None:
        """Return the next frame; None at the end, however it comes."""
        try:
            return receive_envelope(self._connection, self._buffer, PATIENCE)
        except OSError:
            return None

    def send(self, frame: bytes) -> None:
        """Send bytes."""
        self._connection.sendall(frame)


def copied_context(name: str, own: str) -> ssl.SSLContext:
    """Return what somebody does TLS with who has copied a certificate, and not its key.

    OpenSSL compares the public halves of the two alone: the private key says that it is the certificate's, and computes
    with the numbers of another.

    Args:
        name: whose key of the vectors the certificate is made from.
        own: whose key of the vectors there is instead.
    """
    certified, numbers = key(name).public.rsa.public_numbers(), key(own).private.private_numbers()
    parts = (0, certified.n, certified.e, numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
    der = _der(0x30, b"".join(_der(0x02, part.to_bytes(part.bit_length() // 8 + 1, "big")) for part in parts))
    pem = f"-----BEGIN RSA PRIVATE KEY-----\n{base64.encodebytes(der).decode()}-----END RSA PRIVATE KEY-----\n"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory(prefix="socp-test-") as directory:
        path = Path(directory) / "both.pem"
        path.write_bytes(make_certificate(key(name)) + pem.encode())
        context.load_cert_chain(path, password=lambda: "")
    return context


def _der(tag: int, content: bytes) -> bytes:
    """Return a value in DER; this one takes them of up to 64 KiB."""
    return bytes([tag, 0x82]) + len(content).to_bytes(2, "big") + content
