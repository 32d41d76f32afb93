"""What of presence needs no network: see e2e/test_server_rules.py for the rest."""

from __future__ import annotations

import json
import unittest
from collections.abc import Mapping
from dataclasses import replace
from unittest import mock

import socp
from crypto.signing import KeySigner
from framing import decode_frame, encode_frame
from host import Host
from link import Link
from mesh import Mesh, Peer
from origin import Origin
from outflow import Sent
from presence import Presence, _batches, _notices
from routing import RoutingTable
from settings import Settings
from tests.vectors import key
from users import Attachment, User


def users(count: int, *, name: str = "") -> list[User]:
    """Return so many users, every other of them away."""
    return [
        User(f"{number:08x}-0000-4000-8000-000000000000", key("server").id, key("alice").public.text,
             {"display_name": name}, (), Attachment("n" * 43, number + 1, "s" * 683), online=number % 2 == 0)
        for number in range(count)
    ]  # fmt: skip


class BatchesTest(unittest.TestCase):
    """USER_SYNC in frames of a bounded size."""

    def test_size(self) -> None:
        """Each frame is at most as large as it may be, and together they hold every user once, in order."""
        origin = Origin(KeySigner(key("server")))
        everyone = users(700, name="\u00e9" * 64)
        batches = list(_batches(everyone, 512 * 1024))
        self.assertGreater(len(batches), 1)
        for part, batch in enumerate(batches, start=1):
            payload = {"server_id": origin.id, "users": batch, "part": part, "parts": len(batches)}
            frame = encode_frame(origin.signed(socp.USER_SYNC, key("server2").id, payload))
            self.assertLessEqual(len(frame), 512 * 1024)
        listed = [entry["user_id"] for batch in batches for entry in batch]
        self.assertEqual(listed, [user.user_id for user in everyone])

    def test_separators(self) -> None:
        """Users whose meta is all separators are cut into frames that can be read."""
        meta = {"x": [0] * 2_000}
        everyone = [replace(user, meta=meta) for user in users(100)]
        batches = list(_batches(everyone, 512 * 1024))
        self.assertEqual(sum(map(len, batches)), 100)
        for batch in batches:
            decode_frame(encode_frame({"type": "x", "payload": {"users": batch, "part": 1, "parts": 1}}))

    def test_none(self) -> None:
        """A server without users says so in one frame."""
        self.assertEqual(list(_batches([], 512 * 1024)), [[]])

    def test_entries(self) -> None:
        """An entry says whether the user is online."""
        (batch,) = _batches(users(2), 512 * 1024)
        self.assertEqual([entry["online"] for entry in batch], [True, False])
        for entry in batch:
            self.assertEqual(set(entry), {"user_id", "pubkey", "meta", "caps", "attach", "online"})


class NoticesTest(unittest.TestCase):
    """PRESENCE in frames of a bounded size."""

    def test_as_it_is(self) -> None:
        """Users who are online have joined, the others have left, and no frame holds too many."""
        everyone = users(2500, name="x" * 64)
        notices = list(_notices(everyone))
        joined = [entry["user_id"] for notice in notices for entry in notice["joined"]]  # type: ignore[attr-defined]
        left = [user_id for notice in notices for user_id in notice["left"]]  # type: ignore[attr-defined]
        self.assertEqual(joined, [user.user_id for user in everyone if user.online])
        self.assertEqual(left, [user.user_id for user in everyone if not user.online])
        for notice in notices:
            self.assertLess(len(json.dumps(notice)), 1_000_000)
        self.assertEqual(list(_notices([])), [])


class SignedTest(unittest.TestCase):
    """When other servers are told of a user, and by what."""

    def setUp(self) -> None:
        """Make the presence of a server that has no links."""
        host = mock.create_autospec(Host, instance=True)
        host.origin, host.settings = Origin(KeySigner(key("server"))), Settings()
        host.aside, host.threads = mock.Mock(), mock.Mock()
        host.aside.do = lambda work: work()
        host.threads.start = lambda _name, work: work() or True
        self.sign = host.origin.signed = mock.Mock(wraps=host.origin.signed)
        self.table = RoutingTable(key("server").id)
        mesh = mock.create_autospec(Mesh, instance=True)
        mesh.spread = self.spread
        self.presence = Presence(host, self.table, mock.Mock(), lambda: mesh, mock.Mock())
        self.link = mock.create_autospec(Link, instance=True, secure=True)
        peer_link = mock.create_autospec(Link, instance=True, secure=True, closing=False)
        peer_link.name, peer_link.send = "link-1", self.take_sync
        self.peer = Peer(peer_link, key("server2").public)
        self.told: list[tuple[str, bool]] = []  # in turn: by which frame, and whether alice is there

    def take_sync(self, frame: bytes) -> Sent:
        """Be the other server, which is sent a USER_SYNC."""
        value = decode_frame(frame)
        online = {entry["user_id"]: entry["online"] for entry in value["payload"]["users"]}
        self.told.append((value["type"], online.get(key("alice").id, False)))
        return Sent.YES

    def spread(self, envelope: Mapping[str, object]) -> None:
        """Be the other server, which hears gossip while it is linked."""
        frame_type = str(envelope["type"])
        self.told += [(frame_type, frame_type == socp.USER_ADVERTISE) for _ in self.table.server_links()]

    def attach(self) -> None:
        """Have alice attach."""
        attach = Attachment("n" * 43, 1, "s" * 683)
        alice = User(key("alice").id, key("server").id, key("alice").public.text, {}, (), attach, online=True)
        self.presence.attach(alice, self.link, lambda: b"", lambda: None)

    def detach(self) -> None:
        """Have her leave."""
        self.presence.detach(key("alice").id, self.link)

    def link_up(self) -> None:
        """Have the other server link, as Mesh does it."""
        self.table.add_server(self.peer.id, self.peer.link)
        self.presence.link_up(self.peer)

    def test_nobody_to_tell(self) -> None:
        """While no server is linked, nothing is signed for any; one that links later is sent a USER_SYNC."""
        self.attach()
        self.link_up()
        self.table.drop_server(self.peer.id, self.peer.link)
        self.detach()
        self.link_up()
        self.sign.assert_not_called()  # and what goes over TLS, as to this one, is not either
        self.assertEqual(self.told, [(socp.USER_SYNC, True), (socp.USER_SYNC, False)])

    def test_linked(self) -> None:
        """A server that is linked is told of who comes and who goes."""
        self.link_up()
        self.attach()
        self.detach()
        told = [(socp.USER_SYNC, False), (socp.USER_ADVERTISE, True), (socp.USER_REMOVE, False)]
        self.assertEqual(self.told, told)

    def test_a_link_at_any_moment(self) -> None:
        """At whatever moment a server links while a user comes or goes, it knows in the end whether the user is there.

        The moments are those before and after the table is changed, and before and after it is asked who is linked.
        """
        for change in (self.attach, self.detach):
            for step in (change.__name__, "server_links"):
                for before in (True, False):
                    with self.subTest(change.__name__, step=step, before=before):
                        self.setUp()
                        if change == self.detach:
                            self.attach()
                        self.link_up_at(step, before=before)
                        change()
                        self.assertEqual(self.told[-1][1], change == self.attach)

    def link_up_at(self, step: str, *, before: bool) -> None:
        """Have the other server link just before or after a method of the table is called for the next time."""
        method = getattr(self.table, step)

        def call(*given: object) -> object:
            setattr(self.table, step, method)
            if before:
                self.link_up()
            result = method(*given)
            if not before:
                self.link_up()
            return result

        setattr(self.table, step, call)
