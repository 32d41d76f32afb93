"""Tests of the proxy that tests put before programs."""

from __future__ import annotations

import json
import socket
import threading
import time
import unittest

from tests.e2e.harness import PATIENCE
from tests.e2e.proxy import CUT, FINE, HOLE, MUTE, Proxy, Weather


def frame(**fields: str) -> bytes:
    """Return a frame."""
    body = json.dumps(fields).encode()
    return len(body).to_bytes(4, "big") + body


def hello(who: str) -> bytes:
    """Return a frame by which the proxy knows who connects."""
    return frame(**{"from": who})


class ProxyTest(unittest.TestCase):
    """A proxy before a program that sends everything back."""

    def setUp(self) -> None:
        """Start both."""
        self.echo = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.echo.close)
        threading.Thread(target=self.accept, daemon=True).start()
        self.proxy = Proxy()
        self.addCleanup(self.proxy.close)
        self.proxy.target = self.echo.getsockname()[1]

    def accept(self) -> None:
        """Serve connections."""
        while True:
            try:
                connection, _ = self.echo.accept()
            except OSError:
                return
            threading.Thread(target=self.send_back, args=(connection,), daemon=True).start()

    def send_back(self, connection: socket.socket) -> None:
        """Send back what comes, to its end."""
        with connection:
            while data := connection.recv(65_536):
                connection.sendall(data)

    def connect(self, who: str) -> socket.socket:
        """Connect as somebody."""
        connection = socket.create_connection(("127.0.0.1", self.proxy.port), PATIENCE)
        self.addCleanup(connection.close)
        connection.sendall(hello(who))
        return connection

    def receive(self, connection: socket.socket, expected: bytes) -> None:
        """See these bytes come, and no other."""
        data = b""
        while len(data) < len(expected) and (more := connection.recv(65_536)):
            data += more
        self.assertEqual(data, expected)

    def assert_silent(self, connection: socket.socket) -> None:
        """See nothing come, neither bytes nor an end."""
        connection.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            connection.recv(1)
        connection.settimeout(PATIENCE)

    def established(self, who: str) -> socket.socket:
        """Connect as somebody, and see it work."""
        connection = self.connect(who)
        self.receive(connection, hello(who))
        return connection

    def test_passes_and_records(self) -> None:
        """In fine weather everything passes, the end too, and is recorded; a hello need not be one."""
        connection = self.established("ann")
        connection.sendall(b"more")
        self.receive(connection, b"more")
        connection.shutdown(socket.SHUT_WR)
        self.assertEqual(connection.recv(1), b"")
        self.assertEqual(self.proxy.recorded, 2 * hello("ann") + 2 * b"more")
        with socket.create_connection(("127.0.0.1", self.proxy.port), PATIENCE) as other:
            other.sendall(b"GET / HTTP/1.1\r\n")
            self.receive(other, b"GET / HTTP/1.1\r\n")

    def test_cuts_one_of_two(self) -> None:
        """A pair is cut and refused until it is healed; others notice nothing."""
        ann, ben = self.established("ann"), self.established("ben")
        self.proxy.set_weather(CUT, "ann")
        self.assertEqual(ann.recv(1), b"")
        self.assertEqual(self.connect("ann").recv(1), b"")
        ben.sendall(b"still here")
        self.receive(ben, b"still here")
        self.proxy.set_weather(FINE, "ann")
        self.established("ann")

    def test_swallows(self) -> None:
        """A black hole says nothing, and does not give back what it has swallowed; a new connection passes again."""
        ann, ben = self.established("ann"), self.established("ben")
        self.proxy.set_weather(HOLE)
        for connection in (ann, ben, self.connect("ann")):
            connection.sendall(b"anybody?")
            self.assert_silent(connection)
        self.proxy.set_weather(FINE)
        ann.sendall(b"and now?")
        self.assert_silent(ann)
        self.established("ann")

    def test_mutes(self) -> None:
        """One direction alone can be dead: what the program says still comes."""
        ann = self.established("ann")
        self.proxy.set_weather(MUTE, "ann")
        ann.sendall(b"lost")
        self.assert_silent(ann)
        self.proxy.close()
        self.assertEqual(ann.recv(1), b"")

    def test_delays(self) -> None:
        """What is delayed comes whole, in its order, and not before its time."""
        ann = self.established("ann")
        self.proxy.set_weather(Weather(delay=0.1), "ann")
        began = time.monotonic()
        ann.sendall(b"one")
        ann.sendall(b"two")
        self.receive(ann, b"onetwo")
        self.assertGreaterEqual(time.monotonic() - began, 0.2)

    def test_loses_frames(self) -> None:
        """Frames of some types get lost for one of two, however they are cut up; the connection stands, and heals."""
        self.proxy = Proxy(record=False, whole=True)
        self.addCleanup(self.proxy.close)
        self.proxy.target = self.echo.getsockname()[1]
        ann, ben = self.established("ann"), self.established("ben")
        self.proxy.set_weather(Weather(lost=frozenset({"A"})), "ann")
        lost, kept = frame(type="A"), frame(type="B")
        for part in ((lost + kept)[:3], (lost + kept)[3:30], (lost + kept)[30:] + lost + kept[:9], kept[9:]):
            ann.sendall(part)
        self.receive(ann, kept + kept)
        ben.sendall(lost)
        self.receive(ben, lost)
        self.proxy.set_weather(FINE, "ann")
        ann.sendall(lost)
        self.receive(ann, lost)

    def test_refuses_without_a_program(self) -> None:
        """Who connects while nothing listens behind the proxy is let go at once."""
        self.proxy.target = 1
        connection = socket.create_connection(("127.0.0.1", self.proxy.port), PATIENCE)
        self.addCleanup(connection.close)
        self.assertEqual(connection.recv(1), b"")
