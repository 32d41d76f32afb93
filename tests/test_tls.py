"""TLS under a link: over real sockets, against the same code and against Python's own SSLSocket."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socket
import ssl
import subprocess
import threading
import unittest
from collections.abc import Callable
from functools import partial
from unittest import mock

from tests.sockets import tcp_pair
from tests.tls import context_of, context_of_another_kind, lax_context
from tests.vectors import key
from tls import TlsError, TlsTransport
from transport import READ_BYTES, PlainTransport

PATIENCE = 20.0


def in_thread(work: Callable[[], object]) -> threading.Thread:
    """Run something beside the test."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def block(number: int, size: int) -> bytes:
    """Return bytes that are like no others."""
    return hashlib.shake_128(number.to_bytes(4, "big")).digest(size)


class TlsTest(unittest.TestCase):
    """Two transports, or one and an SSLSocket."""

    def pair(self) -> tuple[TlsTransport, TlsTransport]:
        """Return an acceptor and a connector whose TLS handshake is done, over a connection that holds little."""
        ends = tcp_pair()
        for end in ends:
            for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, buffer, 100_000)
        acceptor = TlsTransport(PlainTransport(ends[0]), context_of("server"))
        connector = TlsTransport(PlainTransport(ends[1]))
        for transport in (acceptor, connector):
            self.addCleanup(transport.close)
        begun = in_thread(acceptor.begin)
        connector.begin()
        begun.join(PATIENCE)
        return acceptor, connector

    def with_client(self, context: ssl.SSLContext) -> tuple[TlsTransport, ssl.SSLSocket]:
        """Return an acceptor, and Python's own client, whose TLS handshake is done."""
        ours, theirs = tcp_pair()
        acceptor = TlsTransport(PlainTransport(ours), context_of("server"))
        self.addCleanup(acceptor.close)
        begun = in_thread(acceptor.begin)
        theirs.settimeout(PATIENCE)
        client = context.wrap_socket(theirs, suppress_ragged_eofs=False)
        self.addCleanup(client.close)
        begun.join(PATIENCE)
        return acceptor, client

    def receive(self, end: TlsTransport, size: int) -> bytes:
        """Return so many bytes."""
        data = bytearray()
        while len(data) < size:
            more = end.receive()
            self.assertTrue(more, f"the end came after {len(data)} bytes")
            self.assertLessEqual(len(more), READ_BYTES)
            data += more
        return bytes(data)


class PassingTest(TlsTest):
    """Bytes that pass."""

    def test_both_directions_at_once(self) -> None:
        """What two threads write at each end while two others read arrives whole and in order, both ways."""
        ends = self.pair()
        sent = [block(number, 3_000_001) for number in range(2)]
        writers = [in_thread(partial(end.send, data)) for end, data in zip(ends, sent, strict=True)]
        heard = [b"", b""]

        def read(place: int) -> None:
            heard[place] = self.receive(ends[place], len(sent[1 - place]))

        readers = [in_thread(partial(read, place)) for place in range(2)]
        for thread in (*writers, *readers):
            thread.join(PATIENCE)
        self.assertEqual(heard, sent[::-1])

    def test_less_room_than_a_record(self) -> None:
        """What one record holds is read in as small pieces as are asked for, though nothing comes behind it."""
        acceptor, connector = self.pair()
        data = block(1, 16_000)
        acceptor.send(data)
        heard = [b""]

        def read() -> None:
            while sum(map(len, heard)) < len(data) and (piece := connector.receive(999)):
                heard.append(piece)

        in_thread(read).join(PATIENCE)
        self.assertEqual(b"".join(heard), data)
        self.assertLessEqual(max(map(len, heard)), 999)

    def test_full_socket(self) -> None:
        """What the socket does not take is not counted, and goes on with exactly the rest, by whichever of the two."""
        acceptor, connector = self.pair()
        data = memoryview(block(1, 3_000_000))
        done = 0
        while sent := acceptor.send_now(data[done:]):
            done += sent
        self.assertGreater(done, 0)
        self.assertLess(done, len(data))
        heard = bytearray()
        for _ in range(20):  # each time a part of what is not counted has been encrypted already
            heard += connector.receive()
            done += acceptor.send_now(data[done:])
        writer = in_thread(lambda: acceptor.send(data[done:]))
        heard += self.receive(connector, len(data) - len(heard))
        writer.join(PATIENCE)
        self.assertEqual(acceptor.send_now(b"and more"), 8)
        heard += self.receive(connector, 8)
        self.assertEqual(bytes(heard), bytes(data) + b"and more")

    def test_ahead_of_small_sends(self) -> None:
        """What was encrypted before is told of by as many sends as it takes, and sent once."""
        acceptor, connector = self.pair()
        data = block(1, 3_000_000)
        done = 0
        while sent := acceptor.send_now(data[done:]):
            done += sent
        self.assertGreater(acceptor._ahead, 1000)
        heard = self.receive(connector, done)
        for number in range(800):  # more than is encrypted in one go
            piece = data[done : done + 100]
            if number % 2:
                acceptor.send(piece)
            else:
                self.assertEqual(acceptor.send_now(piece), len(piece))
            done += len(piece)
        heard += self.receive(connector, done - len(heard))
        self.assertEqual(heard, data[:done])

    def test_nothing_overtakes(self) -> None:
        """While a writer waits with ciphertext in its hands, none is sent before that."""
        acceptor, connector = self.pair()
        data = block(1, 3_000_000)
        writer = in_thread(lambda: acceptor.send(data))
        connector.send(b"ping")
        self.assertEqual(acceptor.receive(), b"ping")
        heard = self.receive(connector, 600_000)  # so that there is room for what comes too early
        self.assertEqual(acceptor.send_now(b"too early"), 0)
        heard += self.receive(connector, len(data) - len(heard))
        writer.join(PATIENCE)
        self.assertEqual(acceptor.send_now(b"in time"), 7)
        self.assertEqual(heard, data)
        self.assertEqual(self.receive(connector, 7), b"in time")

    def test_small_pieces(self) -> None:
        """Sends that take turns between the two ways arrive in order; several records are read at once."""
        acceptor, connector = self.pair()
        pieces = [block(number, number % 700) for number in range(300)]
        for number, piece in enumerate(pieces):
            if number % 2:
                self.assertEqual(acceptor.send_now(piece), len(piece))
            else:
                acceptor.send(piece)
        expected = b"".join(pieces)
        reads = 0
        heard = b""
        while len(heard) < len(expected):
            heard += connector.receive()
            reads += 1
        self.assertEqual(heard, expected)
        self.assertLess(reads, 200)

    def test_not_readable_on_the_way(self) -> None:
        """What passes holds nothing of what is said, nor the id of the acceptor."""
        ours, theirs = tcp_pair()
        acceptor = TlsTransport(PlainTransport(theirs), context_of("server"))
        self.addCleanup(acceptor.close)
        recorder, inside = tcp_pair()
        passed = bytearray()

        def carry(source: socket.socket, target: socket.socket) -> None:
            while data := source.recv(65_536):
                passed.extend(data)
                target.sendall(data)

        carriers = [in_thread(lambda: carry(recorder, ours)), in_thread(lambda: carry(ours, recorder))]
        connector = TlsTransport(PlainTransport(inside))
        begun = in_thread(acceptor.begin)
        connector.begin()
        begun.join(PATIENCE)
        connector.send(b"the secret " * 1_000)
        self.assertIn(b"the secret", self.receive(acceptor, 11_000))
        connector.shut()
        acceptor.shut()
        for thread in carriers:
            thread.join(PATIENCE)
        connector.close()
        for end in (ours, recorder):
            end.close()
        self.assertGreater(len(passed), 11_000)
        for secret in (b"the secret", key("server").id.encode(), key("server").public.der[-200:]):
            self.assertNotIn(secret, passed)

    def test_key_update(self) -> None:
        """A peer that changes its key, and asks that we change ours, is understood and answered, and both go on."""
        openssl = shutil.which("openssl")
        if openssl is None:
            self.skipTest("there is no openssl to ask for a key update")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = subprocess.Popen(
                [openssl, "s_client", "-connect", f"127.0.0.1:{listener.getsockname()[1]}", "-msg"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            connection, _ = listener.accept()
        acceptor = TlsTransport(PlainTransport(connection), context_of("server"))
        assert client.stdin is not None and client.stdout is not None
        for clean_up in (acceptor.close, client.wait, client.kill, client.stdout.close, client.stdin.close):
            self.addCleanup(clean_up)
        acceptor.begin()
        client.stdin.write(b"K\n")  # this is its command for that
        client.stdin.flush()
        said = iter(client.stdout.readline, b"")
        self.assertIn(b"KEYUPDATE\n", said)
        client.stdin.write(b"after it\n")
        client.stdin.flush()
        self.assertEqual(self.receive(acceptor, 9), b"after it\n")
        acceptor.send(b"and back\n")
        self.assertTrue(any(line.startswith(b"<<<") and b"KeyUpdate" in line for line in said))
        self.assertIn(b"and back\n", said)


class EndTest(TlsTest):
    """How it ends."""

    def test_finish(self) -> None:
        """After one side has finished, the other sees the end, and can still say something."""
        acceptor, connector = self.pair()
        connector.send(b"last words")
        acceptor.send(b"not read when the end comes")
        connector.finish()
        self.assertEqual(self.receive(acceptor, 10), b"last words")
        self.assertEqual(acceptor.receive(), b"")
        self.assertEqual(acceptor.receive(), b"")
        acceptor.send(b"; heard")
        acceptor.finish()
        self.assertEqual(self.receive(connector, 34), b"not read when the end comes; heard")
        self.assertEqual(connector.receive(), b"")

    def test_finish_says_so(self) -> None:
        """The end is announced within TLS, so that whoever cares can tell it from a connection that was cut."""
        acceptor, client = self.with_client(lax_context())
        acceptor.send_now(b"x")
        acceptor.finish()
        self.assertEqual(client.recv(10), b"x")
        self.assertEqual(client.recv(10), b"")

    def test_finish_never_waits(self) -> None:
        """Where the socket takes nothing more, finishing waits for nobody."""
        acceptor, _ = self.pair()
        data = memoryview(block(1, 3_000_000))
        while sent := acceptor.send_now(data):
            data = data[sent:]
        acceptor.finish()

    def test_cut(self) -> None:
        """A connection that is cut, without a word or in the middle of a record, is at its end."""
        for rest in (b"", b"\x17\x03\x03\x40\x00half a record"):
            acceptor, client = self.with_client(lax_context())
            with socket.socket(fileno=client.detach()) as bare:
                bare.sendall(rest)
            self.assertEqual(acceptor.receive(), b"")

    def test_changed_on_the_way(self) -> None:
        """A record that was changed, or that nobody of the two has made, ends the connection with an error."""
        acceptor, client = self.with_client(lax_context())
        with socket.socket(fileno=client.detach()) as bare:
            bare.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            with self.assertRaisesRegex(TlsError, "TLS was broken"):
                acceptor.receive()

    def test_waking(self) -> None:
        """A blocked reader is woken by closing one direction, which leaves the other, or both."""
        for wake, writable in ((TlsTransport.stop_reading, True), (TlsTransport.shut, False)):
            acceptor, connector = self.pair()
            heard: list[bytes] = []
            reader = in_thread(partial(self.read_into, heard, acceptor))
            wake(acceptor)
            reader.join(PATIENCE)
            self.assertEqual(heard, [b""])
            if writable:
                acceptor.send(b"still")
                self.assertEqual(connector.receive(), b"still")
        with self.assertRaises(OSError):
            acceptor.send(b"not any more" * 100)
            acceptor.send(b"not any more" * 100)
        acceptor.shut()

    def read_into(self, heard: list[bytes], end: TlsTransport) -> None:
        """Note what is read next."""
        heard.append(end.receive())

    def test_peer_that_goes_on(self) -> None:
        """What comes after the reading was to stop is not read, also in the TLS handshake."""
        acceptor, connector = self.pair()
        acceptor.stop_reading()
        connector.send(b"more " * 1_000)
        self.assertEqual(acceptor.receive(), b"")
        ours, theirs = tcp_pair()
        self.addCleanup(theirs.close)
        beginning = TlsTransport(PlainTransport(ours), context_of("server"))
        self.addCleanup(beginning.close)
        beginning.stop_reading()
        theirs.sendall(b"\x16\x03\x01")
        self.assertRaisesRegex(TlsError, "closed in the middle", beginning.begin)

    def test_blocked_writer_is_woken(self) -> None:
        """A writer that waits for a peer who reads nothing is woken when the connection is shut."""
        acceptor, _ = self.pair()
        failed: list[OSError] = []

        def send() -> None:
            try:
                acceptor.send(bytes(3_000_000))
            except OSError as error:
                failed.append(error)

        writer = in_thread(send)
        while writer.is_alive() and not acceptor._sending:
            writer.join(0.01)
        acceptor.shut()
        writer.join(PATIENCE)
        self.assertTrue(failed)

    def test_answers_that_are_not_read(self) -> None:
        """A peer that has TLS answer it, and reads none of the answers, is closed before they take up memory."""
        acceptor, _ = self.pair()
        while acceptor._outgoing.pending <= 256 * 1024:
            acceptor._outgoing.write(bytes(10_000))
        full = mock.patch.object(PlainTransport, "send_now", return_value=0)
        with full, self.assertRaisesRegex(TlsError, "more than it reads"):
            acceptor.receive()


class BeginTest(TlsTest):
    """How it begins, and with whom it does not."""

    def test_versions(self) -> None:
        """TLS 1.3 is spoken, and nothing older is, at either side."""
        _, client = self.with_client(lax_context())
        self.assertEqual((client.version(), client.compression(), client.session_reused), ("TLSv1.3", None, False))
        old = lax_context()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        ours, theirs = tcp_pair()
        acceptor = TlsTransport(PlainTransport(ours), context_of("server"))
        self.addCleanup(acceptor.close)
        self.addCleanup(theirs.close)
        refused = in_thread(lambda: self.refused_by(old, theirs))
        with self.assertRaisesRegex(TlsError, "^no TLS 1.3 could be set up: unsupported protocol$"):
            acceptor.begin()
        refused.join(PATIENCE)

    def refused_by(self, context: ssl.SSLContext, connection: socket.socket) -> None:
        """Have a handshake refused by its other side."""
        with contextlib.suppress(ssl.SSLError, OSError):
            context.wrap_socket(connection)

    def refuse(self, answer: Callable[[socket.socket], object], pattern: str) -> None:
        """Have a connector refuse whoever answers it."""
        ours, theirs = tcp_pair()
        connector = TlsTransport(PlainTransport(ours))
        self.addCleanup(connector.close)
        self.addCleanup(theirs.close)
        theirs.settimeout(PATIENCE)
        answering = in_thread(lambda: answer(theirs))
        with self.assertRaisesRegex(TlsError, pattern):
            connector.begin()
        connector.shut()
        answering.join(PATIENCE)
        self.assertFalse(connector.channel_key)

    def test_acceptors_of_another_kind(self) -> None:
        """Whoever answers a TLS hello in the clear, with junk or not at all is refused in so many words."""
        self.refuse(lambda end: end.sendall(b"\0\0\0\x02{}" * 10), "no TLS 1.3 could be set up: ")
        self.refuse(lambda end: end.sendall(b"\x16" * 3_000), "no TLS 1.3 could be set up: ")
        self.refuse(lambda end: end.shutdown(socket.SHUT_WR), "closed in the middle of the TLS handshake")

    def test_certificates_of_no_use(self) -> None:
        """A key of another kind is refused in so many words, though TLS itself has no objection to it."""
        context = context_of_another_kind()
        self.refuse(lambda end: self.accepted_by(context, end), "certificate of the other side .*: not an RSA key$")

    def accepted_by(self, context: ssl.SSLContext, connection: socket.socket) -> None:
        """Have a handshake accepted, as far as TLS goes."""
        with contextlib.suppress(ssl.SSLError, OSError):
            context.wrap_socket(connection, server_side=True).close()

    def test_key(self) -> None:
        """The connector learns the acceptor's key, and the acceptor none."""
        acceptor, connector = self.pair()
        assert connector.channel_key is not None
        self.assertEqual(connector.channel_key.der, key("server").public.der)
        self.assertIsNone(acceptor.channel_key)
        self.assertTrue(acceptor.secure and connector.secure)
