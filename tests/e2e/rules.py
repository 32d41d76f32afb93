"""What the tests of rule-breaking peers have in common: one server, and two users who must notice nothing."""

from __future__ import annotations

import itertools
import unittest
from typing import ClassVar

from tests.e2e.harness import Network, Program
from tests.peer import Peer
from tests.vectors import key


class RulesTest(unittest.TestCase):
    """Tests against one server that runs for all of them; alice and bob talk to each other after each."""

    network: ClassVar[Network]
    program: ClassVar[Program]
    port: ClassVar[int]
    alice: ClassVar[Program]
    bob: ClassVar[Program]
    server_id: ClassVar[str]
    _numbers = itertools.count(1)

    @classmethod
    def setUpClass(cls) -> None:
        """Start the server, which no introducer answers, and the two users."""
        cls.network = Network()
        cls.addClassCleanup(cls.network.end)
        (cls.network.directory / "introducer.b64u").write_text(key("introducer").public.text, "ascii")
        cls.program, cls.port = cls.network.server("server", 1, registered=False)
        cls.server_id = key("server").id
        cls.alice = cls.network.client("alice", cls.port)
        cls.bob = cls.network.client("bob", cls.port)

    def tearDown(self) -> None:
        """Have alice and bob talk to each other, as if nothing had happened."""
        number = next(self._numbers)
        mark = self.alice.mark()
        self.alice.type(f"/tell {key('bob').id} all is well ({number})")
        self.bob.expect(rf"\[DM from alice .*\] all is well \({number}\)$")
        self.alice.expect(r"\[DM to bob .*\] delivered", after=mark)

    def connect(self, name: str) -> Peer:
        """Connect with a key of the vectors."""
        peer = Peer(self.port, name)
        self.addCleanup(peer.close)
        return peer

    def attached(self, name: str, *caps: str) -> Peer:
        """Return a user who is attached."""
        peer = self.connect(name)
        peer.attach_user(caps=list(caps))
        return peer

    def linked(self, name: str) -> Peer:
        """Return a server that is linked."""
        peer = self.connect(name)
        peer.link_server(name)
        return peer
