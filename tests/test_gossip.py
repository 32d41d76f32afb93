"""What is carried on of gossip, and to whom."""

from __future__ import annotations

import unittest
from unittest import mock

import socp
from crypto.signing import KeySigner
from framing import BODY_MOST, SEPARATORS_MOST, decode_frame, encode_frame
from gossip import send_gossip
from link import Link
from origin import Origin, check_origin
from socp import read_envelope
from tests.vectors import key

PEER = key("server2").id


class GossipTest(unittest.TestCase):
    """Frames that are carried on."""

    def setUp(self) -> None:
        """Make an origin."""
        self.origin = Origin(KeySigner(key("server")))

    def test_gossip(self) -> None:
        """Gossip carries the list of servers, the new ones too, beside the envelope, where it is not signed."""
        signed = self.origin.signed(socp.USER_REMOVE, socp.EVERYONE, {})
        link = mock.create_autospec(Link, instance=True)
        send_gossip(signed, self.origin.id, [], {PEER: link, self.origin.id: link})
        envelope = read_envelope(decode_frame(link.send.call_args.args[0]))
        link.send.assert_called_once()  # and not to itself
        self.assertEqual(envelope.visited, (self.origin.id, PEER))
        check_origin(envelope, key("server").public)

    def test_gossip_that_has_been_everywhere(self) -> None:
        """Gossip goes neither to those that it was sent to nor to the one that it is from."""
        link = mock.create_autospec(Link, instance=True)
        other = key("server3").id
        envelope = socp.make_envelope(socp.USER_REMOVE, other, "*", 1, {})
        send_gossip(envelope, self.origin.id, [PEER], {PEER: link, other: link})
        link.send.assert_not_called()

    def test_gossip_that_cannot_go_on(self) -> None:
        """Gossip that the list of servers would make a frame that others must refuse goes no further."""
        link = mock.create_autospec(Link, instance=True)
        for payload in ({"x": [0] * (SEPARATORS_MOST - 10)}, {"x": "x" * (BODY_MOST - 300)}):
            envelope = socp.make_envelope(socp.MSG_PUBLIC_CHANNEL, key("alice").id, "*", 1, payload)
            encode_frame(envelope)
            visited = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(20)]
            send_gossip(envelope, self.origin.id, visited, {PEER: link})
        link.send.assert_not_called()
