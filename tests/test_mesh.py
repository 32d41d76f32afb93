"""What is checked of another server's own frames; the rest is tested from outside, in e2e/test_server_rules.py."""

from __future__ import annotations

import unittest
from functools import partial
from typing import Any, cast
from unittest import mock

import socp
from ahead import Step, Stepwise
from crypto.signing import KeySigner
from link import Link
from mesh import Mesh, Peer
from origin import Origin
from socp import INVALID_SIG, NOT_ALLOWED, Envelope, ProtocolError
from tests.vectors import key


class OwnTest(unittest.TestCase):
    """Frames of a server that is linked, of which something can be done ahead."""

    def setUp(self) -> None:
        """Have a handler for them."""
        self.mesh: Any = mock.create_autospec(Mesh, instance=True)
        self.mesh._origin = Origin(KeySigner(key("server")))
        self.mesh._begin_own = partial(Mesh._begin_own, self.mesh)
        peer = Peer(mock.create_autospec(Link, instance=True, secure=False), key("server2").public)
        self.whole, self.work = mock.Mock(), mock.Mock(return_value=b"made")
        self.begin = mock.Mock(return_value=Step(self.work, mock.Mock()))
        self.handler = cast("Stepwise", Mesh.own(self.mesh, peer, self.whole, self.begin))

    def envelope(self, *, signer: str = "server2", to: str = key("server").id, **change: object) -> Envelope:
        """Return a frame, with some of it changed after it was signed."""
        return socp.read_envelope({**Origin(KeySigner(key(signer))).signed(socp.HEARTBEAT, to, {}), **change})

    def test_ahead(self) -> None:
        """What is done ahead begins with the check of the signature, and is what was said."""
        step = self.handler.begin(self.envelope())
        assert step is not None
        self.work.assert_not_called()
        self.assertEqual(step.work(), b"made")
        self.assertIs(step.then, self.begin.return_value.then)
        self.begin.return_value = None
        self.assertIsNone(self.handler.begin(self.envelope()))

    def test_wrong_signature(self) -> None:
        """For a frame whose signature is wrong nothing is done ahead, and it is refused at its turn."""
        envelope = self.envelope(ts=5)
        step = self.handler.begin(envelope)
        assert step is not None
        for attempt in (step.work, lambda: self.handler(envelope)):
            with self.assertRaises(ProtocolError) as caught:
                attempt()
            self.assertEqual(caught.exception.code, INVALID_SIG)
        self.work.assert_not_called()
        self.whole.assert_not_called()

    def test_others(self) -> None:
        """Nothing is done ahead for what is another's, or for another."""
        foreign = self.envelope(signer="server3")
        self.assertIsNone(self.handler.begin(foreign))
        with self.assertLogs("socp.mesh", "INFO"):
            self.handler(foreign)
        elsewhere = self.envelope(to=key("server3").id)
        self.assertIsNone(self.handler.begin(elsewhere))
        with self.assertRaises(ProtocolError) as caught:
            self.handler(elsewhere)
        self.assertEqual(caught.exception.code, NOT_ALLOWED)
        self.begin.assert_not_called()
        self.whole.assert_not_called()
