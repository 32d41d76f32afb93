"""Plain TCP under a link."""

from __future__ import annotations

import socket
import threading
import unittest

from addresses import Address
from channels import accept_transport, connect_transport
from settings import TlsPolicy
from tests.sockets import tcp_pair
from tests.tls import context_of
from transport import READ_BYTES, PlainTransport

PATIENCE = 10.0


class PlainTransportTest(unittest.TestCase):
    """A real connection over loopback."""

    def setUp(self) -> None:
        """Connect two ends."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.address = Address("127.0.0.1", listener.getsockname()[1])
            self.ours = connect_transport(self.address, PATIENCE, TlsPolicy())
            self.theirs, _ = listener.accept()
        self.addCleanup(self.theirs.close)
        self.addCleanup(self.ours.close)

    def test_bytes(self) -> None:
        """Bytes pass in both directions, and the end is seen."""
        self.ours.send(b"to them")
        self.assertEqual(self.theirs.recv(100), b"to them")
        self.theirs.sendall(b"to us")
        self.assertEqual(self.ours.receive(), b"to us")
        self.theirs.shutdown(socket.SHUT_WR)
        self.assertEqual(self.ours.receive(), b"")
        self.ours.finish()
        self.assertEqual(self.theirs.recv(100), b"")

    def test_peer(self) -> None:
        """The other end has a name for the log."""
        self.assertEqual(self.ours.peer, str(self.address))

    def test_sends_without_waiting(self) -> None:
        """A send that must not wait takes what there is room for, and then nothing."""
        block = b"x" * 1024 * 1024
        taken = [self.ours.send_now(block) for _ in range(100)]
        self.assertGreater(taken[0], 0)
        self.assertEqual(taken[-1], 0)  # the system may move some of it to the peer's side before that

    def test_waking(self) -> None:
        """A blocked reader is woken by closing one direction, which leaves the other, or both."""
        for wake, writable in ((self.ours.stop_reading, True), (self.ours.shut, False)):
            received: list[bytes] = []
            reader = threading.Thread(target=lambda received=received: received.append(self.ours.receive()))
            reader.start()
            wake()
            reader.join(PATIENCE)
            self.assertEqual(received, [b""])
            if writable:
                self.ours.send(b"still")
                self.assertEqual(self.theirs.recv(100), b"still")
        with self.assertRaises(OSError):
            self.ours.send(b"not any more")
        self.ours.shut()

    def test_first_byte_stays(self) -> None:
        """Choosing what a connection speaks takes nothing from it."""
        end, other = tcp_pair()
        self.addCleanup(other.close)
        plain = PlainTransport(end)
        other.sendall(b"\x00rest")
        self.assertIs(accept_transport(plain, context_of("server"), TlsPolicy()), plain)
        self.assertEqual(plain.receive(), b"\x00rest")
        plain.close()

    def test_reads(self) -> None:
        """A read returns at most 64 KiB, as soon as there is anything."""
        threading.Thread(target=self.theirs.sendall, args=(b"x" * 300_000,), daemon=True).start()
        total = 0
        while total < 300_000:
            data = self.ours.receive()
            self.assertLessEqual(len(data), READ_BYTES)
            total += len(data)

    def test_nobody_there(self) -> None:
        """A port where nobody listens is an OSError."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.assertRaises(OSError, connect_transport, Address("127.0.0.1", port), PATIENCE, TlsPolicy())
