"""A network that speaks nothing but TLS."""

from __future__ import annotations

import os
import signal

from crypto.keys import write_key_file
from tests.e2e.harness import FAST, NetworkTest
from tests.vectors import key

_PASSWORD = "a passw\u00f6rd that is nowhere in clear"


class TlsNetworkTest(NetworkTest):
    """An introducer, two servers and their users, all with --require-tls."""

    factor = FAST

    def test_all_of_it(self) -> None:
        """Messages, a broadcast and a file pass; a server comes back, and so do its users; mail waits for who is away.

        One server's key has a password, which no file holds, nor any the key in clear.
        """
        flag = "--require-tls"
        _, intro_port = self.introducer("introducer", flag)
        (self.directory / "server").mkdir(mode=0o700)
        write_key_file(self.directory / "server" / "server_key.pem", key("server"), _PASSWORD)
        secret = {"SERVER_KEY_PASS": _PASSWORD}
        first, port = self.server("server", intro_port, flag, environment=secret)
        second, other_port = self.server("server2", intro_port, flag)
        for server, other in ((first, "server2"), (second, "server")):
            server.expect_error(rf"link to server {key(other).id} is up \(127\.0\.0\.1:\d+, TLS\)")
        alice, bob = self.client("alice", port, flag), self.client("bob", other_port, flag)
        first.expect_error(rf"user {key('alice').id} attached \(127\.0\.0\.1:\d+, TLS\)")
        self.wait_listed(alice, {"alice", "bob"})
        self.chat(alice, bob, "hello bob")
        self.chat(bob, alice, "hello alice")
        alice.type("/all good morning")
        bob.expect(r"\[All\] alice · .*: good morning$")
        self.send_file(alice, bob, os.urandom(30_000))
        bob.type("/quit")
        self.assertEqual(bob.wait(), 0)
        self.wait_listed(alice, {"alice"})
        alice.type(f"/tell {key('bob').id} while you were away")
        alice.expect(r"\[DM to bob .*\] stored until the user is back")
        bob = self.client("bob", other_port, flag)
        bob.expect(r"\[DM from alice .*\] while you were away$")
        first.signal(signal.SIGTERM)
        self.assertEqual(first.wait(), 0)
        alice.expect(r"\[Server\] connection lost: the server says: shutting down")
        bob.type(f"/tell {key('alice').id} are you back?")
        bob.expect(r"\[DM to alice .*\] sent")
        self.server("server", intro_port, flag, port=port, environment=secret)
        alice.expect(r"\[Server\] connected again")
        alice.expect(r"\[DM from bob .*\] are you back\?$")
        self.assert_nothing_in_clear()

    def assert_nothing_in_clear(self) -> None:
        """Check that the first server's directory holds neither its password nor its key as it is."""
        numbers = key("server").private.private_numbers()
        parts = [number.to_bytes(256, "big") for number in (numbers.p, numbers.q)]
        files = [path for path in (self.directory / "server").rglob("*") if path.is_file()]
        self.assertIn("certificate.pem", {path.name for path in files})
        for path in files:
            content = path.read_bytes()
            for secret in (_PASSWORD.encode(), b"BEGIN PRIVATE KEY", b"BEGIN RSA PRIVATE KEY", *parts):
                self.assertNotIn(secret, content, path)
