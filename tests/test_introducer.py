"""The introducer's files and lists; what it does is tested from outside, in e2e/."""

from __future__ import annotations

import json
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

from access import Access
from addresses import Address
from crypto.keys import read_public_key
from crypto.signing import KeySigner
from introducer import Introducer, _as_many_as_fit, export_key
from membership import issue
from programs import StartError
from settings import Limits, Settings
from socp import SERVER_BUSY, SERVER_HELLO_JOIN
from tests.peer import Peer
from tests.tls import context_of
from tests.vectors import key


class FilesTest(unittest.TestCase):
    """What it reads and writes."""

    def setUp(self) -> None:
        """Make a directory."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def test_export(self) -> None:
        """The public key is written whole, over an older one, and nothing else is left there."""
        path = self.directory / "pub"
        for name in ("introducer2", "introducer"):
            export_key(path, key(name).public)
        self.assertEqual(read_public_key(path.read_text("ascii").strip()).id, key("introducer").id)
        self.assertEqual(list(self.directory.iterdir()), [path])
        with self.assertRaisesRegex(StartError, "cannot export"):
            export_key(self.directory / "missing" / "pub", key("introducer").public)


class WelcomeTest(unittest.TestCase):
    """How many servers a newcomer is told of."""

    def test_as_many_as_fit(self) -> None:
        """All are named while they fit a frame; of too many, as many as fit."""
        one = issue(KeySigner(key("introducer")), key("server").public, Address("h" * 200, 1), 1, 2)
        few = [replace(one, issued=number) for number in range(50)]
        self.assertEqual(sorted(str(entry["issued"]) for entry in _as_many_as_fit(few)), sorted(map(str, range(50))))
        many = _as_many_as_fit(replace(one, issued=number) for number in range(2000))
        self.assertGreater(len(many), 300)
        self.assertLess(len(json.dumps(many)), 1_000_000)
        escaped = _as_many_as_fit(replace(one, issued=number, sig="\x01" * 600) for number in range(2000))
        self.assertLess(len(json.dumps(escaped)), 1_000_000)


class RoomTest(unittest.TestCase):
    """An introducer that has room for one server."""

    def test_servers(self) -> None:
        """One server more than there is room for is told SERVER_BUSY; the same server again is none more."""
        settings = Settings(limits=replace(Limits(), servers=1))
        introducer = Introducer(
            KeySigner(key("introducer")), settings, context=context_of("introducer"), access=Access("server")
        )
        port = introducer.host.bind(Address("127.0.0.1", 0)).port
        introducer.start()
        self.addCleanup(introducer.stop)
        with Peer(port, "server") as first, Peer(port, "server2") as late, Peer(port, "server") as again:
            first.join()
            late.hello(SERVER_HELLO_JOIN)
            late.respond()
            late.expect_refusal_of_known(SERVER_BUSY)
            again.join()
