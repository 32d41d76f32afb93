"""Who speaks TLS with whom."""

from __future__ import annotations

import argparse
import contextlib
import io
import unittest
from unittest import mock

from addresses import Address
from channels import accept_transport, add_tls_flags, check_tls_flags, connect_transport, with_tls, with_tls_flags
from optiontable import TLS_WORDS
from settings import Settings, TlsPolicy
from socp import NOT_ALLOWED, LinkError
from tests.sockets import EVERYWHERE, tcp_pair
from tests.tls import context_of
from tls import TlsTransport
from transport import PlainTransport

EITHER, TLS, PLAIN, REQUIRED = TlsPolicy(), TlsPolicy(dial=True), TlsPolicy(dial=False), TlsPolicy(required=True)


class AcceptTest(unittest.TestCase):
    """What is made of the first byte."""

    def accept(self, first: bytes, policy: TlsPolicy) -> object:
        """Return what a connection that begins so is taken for."""
        ours, theirs = tcp_pair()
        self.addCleanup(ours.close)
        theirs.sendall(first)
        theirs.close()
        return accept_transport(PlainTransport(ours), context_of("server"), policy)

    def test_first_byte(self) -> None:
        """A TLS hello is TLS, whatever the policy; all else goes on as plain, where it is BAD_FRAME if it must be."""
        for policy in (EITHER, TLS, PLAIN, REQUIRED):
            self.assertIsInstance(self.accept(b"\x16\x03\x01", policy), TlsTransport)
            for first in (b"GET /", b"\x17", b""):
                self.assertIsInstance(self.accept(first, policy), PlainTransport)
        for policy in (EITHER, TLS, PLAIN):
            self.assertIsInstance(self.accept(b"\0\0\0\x02{}", policy), PlainTransport)

    def test_required(self) -> None:
        """Where TLS is required, plain SOCP is NOT_ALLOWED."""
        with self.assertRaises(LinkError) as caught:
            self.accept(b"\0\0\0\x02{}", REQUIRED)
        self.assertEqual(caught.exception.code, NOT_ALLOWED)


class ConnectTest(unittest.TestCase):
    """Which of the two a connector speaks."""

    def kind(self, host: str, policy: TlsPolicy) -> type:
        """Return how a peer at an IP address is spoken to."""
        ours, theirs = tcp_pair()
        self.addCleanup(theirs.close)
        with (
            mock.patch("socket.create_connection", return_value=ours),
            mock.patch.object(PlainTransport, "peer_host", host),
        ):
            transport = connect_transport(Address("name.example", 1), 1.0, policy)
        self.addCleanup(transport.close)
        return type(transport)

    def test_by_address(self) -> None:
        """It is the peer's real address that counts, not what it was called: TLS, but to this machine itself."""
        for host in ("127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"):
            self.assertIs(self.kind(host, EITHER), PlainTransport, host)
        for host in ("192.0.2.1", "10.0.0.1", "::ffff:192.0.2.1", "fe80::1%eth0", "2001:db8::1", EVERYWHERE, "::", ""):
            self.assertIs(self.kind(host, EITHER), TlsTransport, host)

    def test_by_flags(self) -> None:
        """Flags decide for every address."""
        for host in ("127.0.0.1", "192.0.2.1"):
            self.assertIs(self.kind(host, TLS), TlsTransport)
            self.assertIs(self.kind(host, REQUIRED), TlsTransport)
            self.assertIs(self.kind(host, PLAIN), PlainTransport)


class FlagsTest(unittest.TestCase):
    """What the programs are told."""

    def read(self, *words: str) -> TlsPolicy:
        """Return what flags mean."""
        parser = argparse.ArgumentParser()
        add_tls_flags(parser)
        arguments = parser.parse_args(words)
        check_tls_flags(parser, arguments)
        return with_tls_flags(Settings(), arguments).tls

    def test_flags(self) -> None:
        """Each flag means what it says, and --require-tls is as good as --tls beside it."""
        self.assertEqual(self.read(), EITHER)
        self.assertEqual(self.read("--tls"), TLS)
        self.assertEqual(self.read("--plain"), PLAIN)
        self.assertEqual(self.read("--require-tls"), REQUIRED)
        self.assertEqual(self.read("--require-tls", "--tls"), TlsPolicy(dial=True, required=True))

    def test_contradictions(self) -> None:
        """--plain goes with neither of the others, which is said."""
        for other in ("--tls", "--require-tls"):
            said = io.StringIO()
            with contextlib.redirect_stderr(said), self.assertRaises(SystemExit):
                self.read("--plain", other)
            self.assertIn("--plain says to use no TLS", said.getvalue())

    def test_words(self) -> None:
        """The client's option has a word for each way."""
        found = [with_tls(Settings(), word).tls for word in TLS_WORDS]
        self.assertEqual(found, [TlsPolicy(), TlsPolicy(dial=True), TlsPolicy(dial=False)])
