"""What becomes of a frame when its receiver's link takes nothing: see e2e/test_user_rules.py for the rest."""

from __future__ import annotations

import unittest
from unittest import mock

import socp
from crypto.signing import KeySigner
from delivery import OVERFLOW, Delivery, Overflow, check_sender
from framing import decode_frame, encode_frame
from host import Host
from link import Link, Sent
from mesh import Mesh, Peer
from origin import Origin
from routing import RoutingTable
from settings import Settings
from socp import INVALID_SIG, SERVER_BUSY, USER_NOT_FOUND, Envelope, ProtocolError
from tests.vectors import key
from users import Attachment, User

OWN, ALICE, BOB = (key(name).id for name in ("server", "alice", "bob"))


def user(name: str, ts: int = 1) -> User:
    """Return a user of ours."""
    return User(key(name).id, OWN, key(name).public.text, {}, (), Attachment("n", ts, "s"), online=True)


class OverflowTest(unittest.TestCase):
    """Section 14's policy, by type of frame."""

    def setUp(self) -> None:
        """Make a server's delivery, with bob on a link whose answers are chosen here."""
        host = mock.create_autospec(Host, instance=True)
        host.origin, host.settings = Origin(KeySigner(key("server"))), Settings()
        self.table = RoutingTable(OWN)
        self.mesh = mock.create_autospec(Mesh, instance=True)
        self.delivery = Delivery(host, self.table, lambda: self.mesh)
        self.link = mock.create_autospec(Link, instance=True)
        self.table.attach(user("bob"), self.link)

    def envelope(self, frame_type: str, payload: dict[str, object], to: str = BOB) -> Envelope:
        """Return a frame of alice's."""
        wire = socp.make_envelope(frame_type, ALICE, to, socp.now_ms(), payload)
        return socp.read_envelope(wire, encode_frame(wire))

    def frames(self) -> dict[str, Envelope]:
        """Return a frame of each type that goes to one user."""
        file: dict[str, object] = {"file_id": ALICE}
        return {
            socp.FILE_START: self.envelope(socp.FILE_START, {**file, "mode": "dm"}),
            socp.FILE_CHUNK: self.envelope(socp.FILE_CHUNK, file),
            socp.FILE_END: self.envelope(socp.FILE_END, file),
            socp.FILE_ACK: self.envelope(socp.FILE_ACK, file),
            socp.ACK: self.envelope(socp.ACK, {"msg_ref": "x"}),
        }

    def test_every_type_has_a_policy(self) -> None:
        """Whatever a user sends to users, it is said what happens when that is too much."""
        self.assertEqual(set(OVERFLOW), {*self.frames(), socp.MSG_DIRECT, socp.SERVER_DELIVER, socp.MSG_PUBLIC_CHANNEL})

    def test_policies(self) -> None:
        """A full queue is SERVER_BUSY and a closed one USER_NOT_FOUND for what is refused, and silence for the rest."""
        for sent, code in ((Sent.FULL, SERVER_BUSY), (Sent.CLOSED, USER_NOT_FOUND)):
            self.link.send.return_value = sent
            for frame_type, envelope in self.frames().items():
                with self.subTest(frame_type, sent=sent):
                    if OVERFLOW[frame_type] is Overflow.DROP:
                        self.delivery.relay(user("alice"), envelope)
                        continue
                    with self.assertRaises(ProtocolError) as caught:
                        self.delivery.relay(user("alice"), envelope)
                    self.assertEqual((caught.exception.code, caught.exception.refs), (code, {"file_id": ALICE}))

    def test_messages(self) -> None:
        """A message for whom there is no room is SERVER_BUSY, with its msg_ref; nothing waits for the link."""
        self.link.send.return_value = Sent.FULL
        payload: dict[str, object] = {"ciphertext": "AA", "sender_pub": key("alice").public.text, "content_sig": "s"}
        with self.assertRaises(ProtocolError) as caught:
            self.delivery.take_direct(user("alice"), self.envelope(socp.MSG_DIRECT, payload))
        self.assertEqual(caught.exception.code, SERVER_BUSY)
        self.assertIn("msg_ref", caught.exception.refs)

    def test_errors_of_a_full_link_between_servers(self) -> None:
        """That another server's user could not be served is told to that server, with the user's id."""
        self.link.send.return_value = Sent.FULL
        peer = Peer(mock.create_autospec(Link, instance=True), key("server2").public)
        remote = User(ALICE, peer.id, key("alice").public.text, {}, (), Attachment("n", 1, "s"), online=True)
        self.table.advertise(remote)
        self.delivery.take_relayed(peer, self.frames()[socp.FILE_CHUNK])
        told = decode_frame(peer.link.send.call_args.args[0])  # type: ignore[attr-defined]
        self.assertEqual(told["type"], socp.ERROR)
        self.assertEqual((told["payload"]["code"], told["payload"]["user_id"]), (SERVER_BUSY, ALICE))

    def test_check_sender(self) -> None:
        """A frame must be from its link's user, with that user's key where it carries one."""
        check_sender(user("alice"), self.envelope(socp.HEARTBEAT, {}))
        check_sender(user("alice"), self.envelope(socp.HEARTBEAT, {"sender_pub": key("alice").public.text}))
        for wrong in (
            (user("bob"), self.envelope(socp.HEARTBEAT, {})),
            (user("alice"), self.envelope(socp.HEARTBEAT, {"sender_pub": key("bob").public.text})),
        ):
            with self.assertRaises(ProtocolError) as caught:
                check_sender(*wrong)
            self.assertEqual(caught.exception.code, INVALID_SIG)
