"""The way of a message, and what becomes of a frame whose receiver takes nothing: see e2e/test_user_rules.py too."""

from __future__ import annotations

import contextlib
import functools
import unittest
from collections.abc import Callable
from typing import Any, cast
from unittest import mock

import socp
from ahead import Step
from carrier import Carrier
from crypto.signing import MESSAGE, KeySigner, message_reference, sign_content
from delivery import OVERFLOW, Delivery, Overflow, check_sender
from forwarding import Forwarder
from framing import decode_frame, encode_frame
from host import Host
from link import Link
from mesh import Mesh, Peer
from origin import Origin, check_origin
from outflow import Sent
from routing import RoutingTable
from settings import Settings
from socp import BAD_KEY, INVALID_SIG, SERVER_BUSY, USER_NOT_FOUND, Envelope, ProtocolError
from tests.vectors import key
from users import Attachment, User

OWN, ALICE, BOB = (key(name).id for name in ("server", "alice", "bob"))


def user(name: str, ts: int = 1) -> User:
    """Return a user of ours."""
    return User(key(name).id, OWN, key(name).public.text, {}, (), Attachment("n", ts, "s"), online=True)


@functools.cache
def sign(name: str, to: str, ts: int) -> str:
    """Return a user's signature of a message whose ciphertext is AA."""
    values = {"ciphertext": "AA", "from": key(name).id, "to": to, "ts": ts}
    return sign_content(KeySigner(key(name)), MESSAGE, values)


class OverflowTest(unittest.TestCase):
    """Section 14's policy, by type of frame."""

    def setUp(self) -> None:
        """Make a server's delivery, with bob on a link whose answers are chosen here."""
        host = mock.create_autospec(Host, instance=True)
        host.origin, host.settings = Origin(KeySigner(key("server"))), Settings()
        self.table = RoutingTable(OWN)
        self.mesh = mock.create_autospec(Mesh, instance=True)
        self.carrier = mock.create_autospec(Carrier, instance=True)
        self.forwarder = mock.create_autospec(Forwarder, instance=True)
        self.delivery = Delivery(host, self.table, lambda: self.mesh, self.carrier, self.forwarder)
        self.link = mock.create_autospec(Link, instance=True, secure=False)
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
        """Whatever a user sends to users and is not stored, it is said what happens when that is too much."""
        self.assertEqual(set(OVERFLOW), {*self.frames(), socp.MSG_PUBLIC_CHANNEL})

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

    def test_errors_of_a_full_link_between_servers(self) -> None:
        """That another server's user could not be served is told to that server, with the user's id."""
        self.link.send.return_value = Sent.FULL
        peer = Peer(mock.create_autospec(Link, instance=True, secure=False), key("server2").public)
        remote = User(ALICE, peer.id, key("alice").public.text, {}, (), Attachment("n", 1, "s"), online=True)
        self.table.advertise(remote)
        self.delivery.take_relayed(peer, self.frames()[socp.FILE_CHUNK])
        told = decode_frame(peer.link.send.call_args.args[0])  # type: ignore[attr-defined]
        self.assertEqual(told["type"], socp.ERROR)
        self.assertEqual((told["payload"]["code"], told["payload"]["user_id"]), (SERVER_BUSY, ALICE))

    def test_files_of_users_who_are_away(self) -> None:
        """A file is not sent to a user who is away, though its home is linked."""
        home: Link = mock.create_autospec(Link, instance=True, secure=False)
        self.table.advertise(User(ALICE, key("server2").id, "k", {}, (), Attachment("n", 1, "s"), online=False))
        self.table.add_server(key("server2").id, home)
        with self.assertRaises(ProtocolError) as caught:
            self.delivery.relay(user("alice"), self.envelope(socp.FILE_END, {"file_id": ALICE}, to=ALICE))
        self.assertEqual(caught.exception.code, USER_NOT_FOUND)
        home.send.assert_not_called()  # type: ignore[attr-defined]

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


class MessagesTest(unittest.TestCase):
    """Where a message goes: bob is here, carol at a server that is linked, dave at one that is not."""

    def setUp(self) -> None:
        """Make a server's delivery, with links whose answers are chosen here."""
        host = mock.create_autospec(Host, instance=True)
        host.origin, host.settings = Origin(KeySigner(key("server"))), Settings()
        self.table = RoutingTable(OWN)
        self.carrier = mock.create_autospec(Carrier, instance=True)
        self.forwarder = mock.create_autospec(Forwarder, instance=True)
        self.forwarder.take_answer.return_value = False
        mesh = mock.create_autospec(Mesh, instance=True)
        self.delivery = Delivery(host, self.table, lambda: mesh, self.carrier, self.forwarder)
        self.home = Peer(mock.create_autospec(Link, instance=True, secure=False, closing=False), key("server2").public)
        self.other = Peer(mock.create_autospec(Link, instance=True, secure=False, closing=False), key("server3").public)
        for peer in (self.home, self.other):
            self.sent(peer).return_value = Sent.YES
            self.table.add_server(peer.id, peer.link)
        self.table.attach(user("bob"), mock.create_autospec(Link, instance=True, secure=False))
        self.place("carol", self.home.id)
        self.place("dave", key("server4").id)
        self.heidis_pub, self.ciphertext = key("heidi").public.text, "AA"

    def place(self, name: str, home: str, *, online: bool = True, ts: int = 1) -> None:
        """Have a user at another server."""
        self.table.advertise(User(key(name).id, home, "k", {}, (), Attachment("n", ts, "s"), online=online))

    def sent(self, peer: Peer) -> Any:
        """Return what records the frames for a server."""
        return peer.link.send

    def from_user(self, to: str) -> None:
        """Have alice, who is here, send a message."""
        ts = socp.now_ms()
        payload = {"ciphertext": "AA", "sender_pub": key("alice").public.text, "content_sig": sign("alice", to, ts)}
        wire = socp.make_envelope(socp.MSG_DIRECT, ALICE, to, ts, payload)
        self.delivery.take_direct(user("alice"), socp.read_envelope(wire))

    def from_server(self, to: str, peer: Peer, **flags: bool) -> None:
        """Have a server send a message of heidi's, who is nowhere."""
        self.signature = sign("heidi", to, 5)
        payload = {"ciphertext": self.ciphertext, "sender_pub": self.heidis_pub, "content_sig": self.signature}
        wire = socp.make_envelope(
            socp.SERVER_DELIVER, peer.id, OWN, 5, {**payload, "sender": key("heidi").id, "user_id": to, **flags}
        )
        self.delivery.take_deliver(peer, socp.read_envelope(wire))

    def outcome(self) -> str:
        """Return what has become of the one message, and forget it."""
        found = []
        if self.carrier.deliver.called:
            found.append("delivered")
        if self.carrier.store.called:
            found.append("stored")
        for peer, name in ((self.home, "home"), (self.other, "other")):
            for call in self.sent(peer).call_args_list:
                frame = decode_frame(call.args[0])
                forwarded = " forwarded" if frame["payload"].get("forwarded") else ""
                found.append(f"{name} {frame['payload'].get('code', frame['type'])}{forwarded}")
            self.sent(peer).reset_mock()
        self.carrier.reset_mock()
        self.assertEqual(len(found), 1, found)
        return found[0]

    def test_of_our_users(self) -> None:
        """To who is here, to the home of who is not, there or away, if it takes it; else to the mailbox."""
        for name, expected in (("bob", "delivered"), ("carol", "home SERVER_DELIVER"), ("dave", "stored")):
            self.from_user(key(name).id)
            self.assertEqual(self.outcome(), expected)
        self.place("carol", self.home.id, online=False, ts=2)
        self.from_user(key("carol").id)
        self.assertEqual(self.outcome(), "home SERVER_DELIVER")
        self.table.detach(BOB, cast("Link", self.table.local_link(BOB)))
        self.from_user(BOB)
        self.assertEqual(self.outcome(), "stored")
        with self.assertRaises(ProtocolError) as caught:
            self.from_user(key("erin").id)
        self.assertEqual(caught.exception.code, USER_NOT_FOUND)

    def test_home_that_takes_nothing(self) -> None:
        """A home whose link is full, or has just been closed, is one that cannot be reached."""
        for sent in (Sent.FULL, Sent.CLOSED):
            self.sent(self.home).return_value = sent
            self.from_user(key("carol").id)
            self.carrier.store.assert_called_once()
            self.carrier.reset_mock()

    def test_crowded_servers(self) -> None:
        """A user who writes to another server waits for that before the next frame is read; another server does not."""
        self.from_user(BOB)
        self.waited(self.home).assert_not_called()
        for to in ("carol", "grace"):
            self.place("grace", self.home.id, online=False)
            self.from_user(key(to).id)
            self.waited(self.home).assert_called_once_with(Settings().limits.crowded, Settings().timers.pause)
            self.waited(self.home).reset_mock()
        payload = {"file_id": "3f0c1b9e-8a44-4d0e-9a5e-6f6f2f9f1c11", "index": 0, "ciphertext": "AA"}
        wire = socp.make_envelope(socp.FILE_CHUNK, ALICE, key("carol").id, 5, payload)
        self.delivery.relay(user("alice"), socp.read_envelope(wire))
        self.waited(self.home).assert_called_once()
        self.waited(self.home).reset_mock()
        self.from_server(key("carol").id, self.other)
        self.waited(self.home).assert_not_called()

    def waited(self, peer: Peer) -> Any:
        """Return what records how it is waited for a server."""
        return peer.link.wait_below

    def test_of_servers(self) -> None:
        """To who is here, once to a third server, and never to one that it came from; what is forwarded stays."""
        for name, peer, flags, expected in (
            ("bob", self.home, {}, "delivered"),
            ("bob", self.home, {"forwarded": True}, "delivered"),
            ("carol", self.other, {}, "home SERVER_DELIVER forwarded"),
            ("carol", self.other, {"forwarded": True}, "stored"),
            ("carol", self.home, {}, "stored"),
            ("dave", self.home, {}, "stored"),
            ("erin", self.home, {}, "home USER_NOT_FOUND"),
        ):
            with self.subTest(name=name, peer=peer.id, flags=flags):
                self.from_server(key(name).id, peer, **flags)
                self.assertEqual(self.outcome(), expected)

    def test_wrong_key(self) -> None:
        """What does not carry its sender's key is refused, as other errors are: its recipient could not confirm it."""
        for self.heidis_pub in ("garbage", key("alice").public.text):
            for store, forwarded, expected in ((False, False, "home"), (False, True, "home"), (True, False, "other")):
                with self.subTest(pub=self.heidis_pub[:9], store=store, forwarded=forwarded):
                    self.place("heidi", self.home.id)
                    self.from_server(BOB, self.other, store=store, forwarded=forwarded)
                    (call,) = self.sent(self.home if expected == "home" else self.other).call_args_list
                    payload = decode_frame(call.args[0])["payload"]
                    about = (payload["code"], payload["msg_ref"], payload["user_id"])
                    self.assertEqual(about, (BAD_KEY, message_reference(self.signature), key("heidi").id))
                    self.assertEqual(self.outcome(), f"{expected} BAD_KEY")

    def test_wrong_signature(self) -> None:
        """What its sender has not signed, and another server brings, takes no place of that sender's."""
        self.ciphertext = "BB"
        for store in (False, True):
            self.from_server(BOB, self.other, store=store)
            self.assertEqual(self.outcome(), "other INVALID_SIG")
        self.carrier.deliver.assert_not_called()

    def test_handed_over(self) -> None:
        """What a server hands over is stored, wherever the user is; but not what would go back to that server."""
        for name, peer, expected in (
            ("bob", self.home, "stored"),
            ("carol", self.other, "stored"),
            ("carol", self.home, "home USER_NOT_FOUND"),
            ("dave", self.home, "stored"),
            ("erin", self.other, "other USER_NOT_FOUND"),
        ):
            with self.subTest(name=name, peer=peer.id):
                self.from_server(key(name).id, peer, store=True)
                self.assertEqual(self.outcome(), expected)

    def test_whom_answers_go_to(self) -> None:
        """That a message is stored is told to its sender here, to its sender's home, or to who hands it over."""
        self.from_user(key("dave").id)
        self.from_server(key("dave").id, self.other)
        self.place("heidi", self.home.id)
        self.from_server(key("dave").id, self.other)
        self.from_server(key("dave").id, self.other, store=True)
        answers = [call.args[1].to for call in self.carrier.store.call_args_list]
        self.assertEqual(answers, [ALICE, self.other.id, self.home.id, self.other.id])

    def test_answers(self) -> None:
        """To a server, an answer names the sender; ERROR has the code and what it is about."""
        self.from_server(key("dave").id, self.other)
        answer = self.carrier.store.call_args.args[1]
        answer(None)
        answer(ProtocolError(SERVER_BUSY, "later", msg_ref="x"))
        frames = [decode_frame(call.args[0]) for call in self.sent(self.other).call_args_list]
        about = {"msg_ref": message_reference(self.signature), "user_id": key("heidi").id}
        for frame, frame_type, payload in zip(
            frames,
            (socp.ACK, socp.ERROR),
            ({"status": "stored"}, {"code": SERVER_BUSY, "detail": "later"}),
            strict=True,
        ):
            check_origin(socp.read_envelope(frame), key("server").public)
            self.assertEqual((frame["type"], frame["to"]), (frame_type, self.other.id))
            del frame["payload"]["hdr"]
            self.assertEqual(frame["payload"], {**about, **payload})


class AheadTest(MessagesTest):
    """All that is said above holds where what can be done ahead is, over plain links; and what is done ahead."""

    def setUp(self) -> None:
        """Have every message begun ahead."""
        super().setUp()
        self.signed = mock.Mock(return_value=b"signed for bob")
        self.carrier.signing.return_value = self.signed
        self.begun = 0
        self.meanwhile: Callable[[], object] = lambda: None
        for whole, begin in (("take_direct", "begin_direct"), ("take_deliver", "begin_deliver")):
            take = functools.partial(self.take, getattr(self.delivery, whole), getattr(self.delivery, begin))
            patch = mock.patch.object(self.delivery, whole, take)
            patch.start()
            self.addCleanup(patch.stop)

    def take(
        self,
        whole: Callable[[Any, Envelope], None],
        begin: Callable[[Any, Envelope], Step | None],
        whose: Any,
        envelope: Envelope,
    ) -> None:
        """Take a message as a reader does."""
        before = self.calls()
        step, frame = begin(whose, envelope), None
        if step is not None:
            with contextlib.suppress(ProtocolError):
                frame = step.work()
                self.begun += 1
        self.assertEqual(self.calls(), before)  # whatever is done ahead has no effect
        self.meanwhile()
        if step is None or frame is None:
            whole(whose, envelope)
        else:
            step.then(frame)

    def calls(self) -> list[int]:
        """Return how often something was handed on."""
        calls = (self.carrier.deliver, self.carrier.store, self.sent(self.home), self.sent(self.other))
        return [call.call_count for call in calls]

    def test_what_is_ahead(self) -> None:
        """A frame that is made ahead is the one that is sent, to a user who is here or to a home."""
        self.from_user(BOB)
        self.from_server(BOB, self.other)
        self.assertEqual([call.args[2] for call in self.carrier.deliver.call_args_list], 2 * [b"signed for bob"])
        origin = self.delivery._origin
        with mock.patch.object(origin, "signer", mock.Mock(wraps=origin.signer)) as signer:
            self.from_user(key("carol").id)
        signer.sign.assert_called_once()
        frame = socp.read_envelope(decode_frame(self.sent(self.home).call_args.args[0]))
        self.assertEqual((frame.type, frame.to), (socp.SERVER_DELIVER, self.home.id))
        check_origin(frame, key("server").public)
        self.assertEqual(self.begun, 3)

    def test_what_is_not(self) -> None:
        """Nothing is made ahead that would not be sent: for who is on TLS, or nowhere, and of what is refused."""
        self.carrier.signing.return_value = None  # others wait before it
        self.from_user(BOB)
        self.from_server(BOB, self.other)
        self.carrier.signing.return_value = self.signed
        cast("Any", self.table.local_link(BOB)).secure = cast("Any", self.home.link).secure = True
        for name in ("bob", "carol", "dave"):
            self.carrier.reset_mock()
            self.from_user(key(name).id)
            self.from_server(key(name).id, self.other)
            self.carrier.signing.assert_not_called()
        cast("Any", self.table.local_link(BOB)).secure = False
        self.from_server(BOB, self.other, store=True)
        self.ciphertext = "BB"
        self.from_server(BOB, self.other)  # not signed by its sender
        wire = socp.make_envelope(socp.MSG_DIRECT, BOB, BOB, socp.now_ms(), {"ciphertext": "", "content_sig": ""})
        wire["payload"] = {"ciphertext": "AA", "sender_pub": "x", "content_sig": "s"}
        self.assertIsNone(self.delivery.begin_direct(user("alice"), socp.read_envelope(wire)))
        self.signed.assert_not_called()
        self.assertEqual(self.begun, 0)

    def test_recipient_who_moves(self) -> None:
        """Where a message goes is decided at its turn: what was made for elsewhere is made anew."""
        self.meanwhile = lambda: self.place("carol", self.other.id, ts=2)
        self.from_user(key("carol").id)
        frame = socp.read_envelope(decode_frame(self.sent(self.other).call_args.args[0]))
        self.assertEqual(frame.to, self.other.id)
        check_origin(frame, key("server").public)
        self.assertEqual(self.outcome(), "other SERVER_DELIVER")
        self.meanwhile = lambda: self.table.attach(
            user("carol", 3), mock.create_autospec(Link, instance=True, secure=False)
        )
        self.from_user(key("carol").id)
        self.assertIsNone(self.carrier.deliver.call_args.args[2])
        self.assertEqual(self.outcome(), "delivered")
        self.meanwhile = lambda: self.table.detach(BOB, cast("Link", self.table.local_link(BOB)))
        self.from_user(BOB)
        self.assertEqual(self.outcome(), "stored")

    def test_recipient_who_moves_to_its_own_server(self) -> None:
        """What was made for a user is not taken for what a server of the same key is sent, nor the other way round."""
        here, both = mock.create_autospec(Link, instance=True, secure=False), self.home.id
        for ts, send in ((1, self.from_user), (3, functools.partial(self.from_server, peer=self.other))):
            self.table.attach(user("server2", ts), here)
            self.meanwhile = functools.partial(self.place, "server2", both, ts=ts + 1)
            send(both)
            frame = socp.read_envelope(decode_frame(self.sent(self.home).call_args.args[0]))
            self.assertEqual((frame.type, frame.to), (socp.SERVER_DELIVER, both))
            self.outcome()
        self.meanwhile = lambda: self.table.attach(user("server2", 5), here)
        self.from_user(both)
        self.assertIsNone(self.carrier.deliver.call_args.args[2])
        self.assertEqual(self.begun, 3)

    def test_home_on_tls_by_now(self) -> None:
        """What was signed ahead for a server is not sent to it where nothing needs be signed."""
        self.meanwhile = lambda: setattr(self.home.link, "secure", True)
        self.from_user(key("carol").id)
        self.assertEqual(decode_frame(self.sent(self.home).call_args.args[0])["sig"], "")

    def test_recipient_forgotten(self) -> None:
        """An error that is met at its turn is told to the server that the message came from."""
        self.meanwhile = lambda: setattr(self.delivery, "_table", RoutingTable(OWN))
        self.from_server(BOB, self.other)
        self.assertEqual(self.outcome(), "other USER_NOT_FOUND")
