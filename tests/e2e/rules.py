"""What the tests of rule-breaking peers have in common: one server, and two users who must notice nothing."""

from __future__ import annotations

import itertools
import unittest
from collections.abc import Sequence
from typing import ClassVar

from tests.e2e.harness import Network, Program
from tests.peer import Peer
from tests.vectors import key


class RulesTest(unittest.TestCase):
    """Tests against one server that runs for all of a module; alice and bob talk to each other after each."""

    network: ClassVar[Network | None] = None
    program: ClassVar[Program]
    port: ClassVar[int]
    alice: ClassVar[Program]
    bob: ClassVar[Program]
    server_id: ClassVar[str]
    _numbers = itertools.count(1)

    @classmethod
    def setUpClass(cls) -> None:
        """Start the server, which no introducer answers, and the two users, if this module has none yet."""
        if RulesTest.network is None:
            RulesTest.start_network(Network())
            unittest.addModuleCleanup(RulesTest.end_network)

    @staticmethod
    def start_network(
        network: Network, *arguments: object, environment: dict[str, str] | None = None, users: Sequence[str] = ()
    ) -> None:
        """Start what the tests of a module share.

        Args:
            network: where.
            arguments: more of the server's.
            environment: variables for the server alone.
            users: arguments of the two users.
        """
        RulesTest.network = network
        (network.directory / "introducer.b64u").write_text(key("introducer").public.text, "ascii")
        RulesTest.program, RulesTest.port = network.server(
            "server", 1, *arguments, registered=False, environment=environment
        )
        RulesTest.server_id = key("server").id
        RulesTest.alice = network.client("alice", RulesTest.port, *users)
        RulesTest.bob = network.client("bob", RulesTest.port, *users)

    @staticmethod
    def end_network() -> None:
        """End it, and fail if a program of it has misbehaved."""
        network, RulesTest.network = RulesTest.network, None
        if network is not None:
            network.end()

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
        self.addCleanup(peer.leave)
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
