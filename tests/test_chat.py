"""The client without a terminal, against a server that does what it likes."""

from __future__ import annotations

import os
import queue
import tempfile
import threading
import time
import unittest
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import socp
from addresses import Address
from chat import Chat
from crypto.encoding import decode_base64url, encode_base64url
from crypto.sealing import message_label, open_sealed, seal
from crypto.signing import BROADCAST, MESSAGE, RECEIPT, KeySigner, message_reference, sign_content, verify_content
from errors import (
    AttachRefused,
    ChatError,
    NoAnswer,
    NotConnected,
    NotShown,
    ServerChanged,
    TextRefused,
    UserUnknown,
)
from events import (
    Connected,
    Delivered,
    Disconnected,
    Event,
    Failed,
    Message,
    Notice,
    PresenceChanged,
    PublicMessage,
    Stored,
)
from framing import encode_frame
from profiles import Profile, open_profile
from settings import Limits, Settings, Timers
from socp import (
    ACK,
    CTRL_CLOSE,
    ERROR,
    HEARTBEAT,
    MSG_DIRECT,
    MSG_PUBLIC_CHANNEL,
    USER_DELIVER,
    USER_KEY,
    USER_KEY_REQUEST,
    USER_LIST,
    USER_LIST_REQUEST,
    USER_NOT_FOUND,
)
from tests.fake_server import PATIENCE, FakeServer
from tests.test_users import make_user
from tests.vectors import key

ALICE, BOB, CAROL = (key(name).id for name in ("alice", "bob", "carol"))


class ChatTest(unittest.TestCase):
    """Alice's client."""

    settings = Settings(replace(Timers(), linger=0.2, retry_first=0.02))
    caps: tuple[str, ...] = ()
    options: Mapping[str, Any] = MappingProxyType({})  # of Chat besides

    def setUp(self) -> None:
        """Make the client and its server."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        reading = mock.patch.object(Profile, "key_pair", lambda *_: key("alice"))  # from its file it takes 0.3 s
        reading.start()
        self.addCleanup(reading.stop)
        self.profile: Profile = open_profile("alice", self.directory)
        self.addCleanup(self.profile.close)
        self.events: queue.Queue[Event] = queue.Queue()
        self.chat = Chat(
            self.profile,
            self.take_event,
            caps=self.caps,
            downloads=self.directory / "files",
            settings=self.settings,
            **self.options,
        )
        self.addCleanup(self.chat.close)

    def take_event(self, event: Event) -> None:
        """Take an event."""
        self.events.put(event)

    def start_server(self, *arguments: Any, **named: Any) -> FakeServer:
        """Start a server that waits for the client."""
        server = FakeServer(*arguments, **named)
        self.addCleanup(server.close)
        server.expect_client()
        return server

    def attach(self, server: FakeServer, **named: Any) -> None:
        """Attach to a server."""
        self.chat.attach(Address("127.0.0.1", server.port), **named)

    def attached(self) -> FakeServer:
        """Return a server that the client has attached to."""
        server = self.start_server()
        self.attach(server)
        server.attached()
        self.assertIsInstance(self.event(), Notice)  # of the pin
        return server

    def event(self) -> Event:
        """Return the next event."""
        return self.events.get(timeout=PATIENCE)

    def no_event(self, server: FakeServer) -> None:
        """Check that nothing has happened, once the client has taken all that was sent."""
        server.expect_silence()
        self.assertTrue(self.chat._teller.wait_idle(PATIENCE))
        self.assertTrue(self.events.empty(), list(self.events.queue))

    def do(self, action: Any, *arguments: Any) -> queue.Queue[Any]:
        """Call a method of the client in a thread; its result or exception comes out of the queue."""
        outcome: queue.Queue[Any] = queue.Queue()

        def run() -> None:
            try:
                outcome.put(action(*arguments))
            except ChatError as error:
                outcome.put(error)

        threading.Thread(target=run, daemon=True).start()
        return outcome

    def answer_key(self, server: FakeServer, name: str, **change: Any) -> None:
        """Answer the question for a user's key."""
        request = server.expect(USER_KEY_REQUEST)
        self.assertEqual(request.payload["user_id"], key(name).id)
        user = make_user(name, display_name=name)
        server.say(USER_KEY, {**user.to_wire(), "server_id": user.home, "online": True, **change})

    def told(self, server: FakeServer, text: str = "hello") -> socp.Envelope:
        """Have the client send a message to bob, and return its frame."""
        numbers: list[tuple[str, int]] = []
        outcome = self.do(self.chat.tell, BOB, text, lambda to, number: numbers.append((to, number)))
        if BOB not in self.chat.contacts._met:
            self.answer_key(server, "bob")
        envelope = server.expect(MSG_DIRECT)
        self.msg_ref = outcome.get(timeout=PATIENCE)
        [(to, self.number)] = numbers
        self.assertEqual(to, BOB)
        return envelope


class AttachTest(ChatTest):
    """The handshake, and pins."""

    def test_attached(self) -> None:
        """The client proves itself, says its name and caps, and beats at once."""
        self.profile.set_display_name("Alice")
        server = self.attached()
        assert server.proof is not None
        self.assertEqual(server.proof.payload["meta"], {"display_name": "Alice"})
        self.assertEqual((server.proof.payload["caps"], server.proof.key.id), (["a256gcm"], ALICE))
        self.assertEqual((self.chat.user_id, self.chat.server_id), (ALICE, server.id))
        self.assertEqual(server.expect(HEARTBEAT).payload, {})

    def test_pinned(self) -> None:
        """Another server at a pinned address is refused before anything is signed, unless it is trusted by name."""
        address = Address("127.0.0.1", 0)
        server = self.start_server("server2")
        address = Address("127.0.0.1", server.port)
        self.profile.set_pin(address, key("server").id)
        with self.assertRaises(ServerChanged) as caught:
            self.attach(server)
        self.assertEqual((caught.exception.pinned, caught.exception.found), (key("server").id, key("server2").id))
        self.assertEqual(
            (caught.exception.address, caught.exception.seen), (str(address), self.profile.pinned_at(address))
        )
        self.assertIsNone(server.proof)
        server.expect_client()
        self.assertRaises(ServerChanged, self.attach, server, trusted=key("server3").id)
        server.expect_client()
        self.attach(server, trusted=key("server2").id)
        self.assertEqual(self.profile.pin(address), key("server2").id)

    def test_not_pinned_before_it_is_proved(self) -> None:
        """A server that shows another's public key, and cannot prove it, is refused and not pinned."""

        def spoil(envelope: dict[str, Any]) -> dict[str, Any]:
            return {**envelope, "sig": ""} if envelope["type"] == ACK else envelope

        server = self.start_server(spoil=spoil)
        with self.assertRaises(AttachRefused) as caught:
            self.attach(server)
        self.assertEqual(caught.exception.code, socp.INVALID_SIG)
        self.assertIsNone(self.profile.pin(Address("127.0.0.1", server.port)))

    def test_refused(self) -> None:
        """An ERROR of the server, a frame that makes no sense and silence each end the attempt."""

        def refuse(envelope: dict[str, Any]) -> dict[str, Any]:
            payload = {"code": socp.NAME_IN_USE, "detail": "why"}
            return {**envelope, "type": ERROR, "payload": payload, "sig": ""}

        with self.assertRaisesRegex(AttachRefused, "NAME_IN_USE: why"):
            self.attach(self.start_server(spoil=refuse))
        changes: list[dict[str, Any]] = [{"type": "NONSENSE"}, {"payload": {}}, {"from": "x"}, {"from": BOB}]
        for change in changes:
            with self.subTest(change=change), self.assertRaises(AttachRefused):
                self.attach(self.start_server(spoil=lambda envelope, change=change: {**envelope, **change}))

    def test_refused_by_one(self) -> None:
        """Of several servers, one that is busy or does not let us in is passed over; any other refusal is said."""
        codes = iter((socp.SERVER_BUSY, socp.NOT_ALLOWED, socp.NAME_IN_USE))

        def refuse(envelope: dict[str, Any]) -> dict[str, Any]:
            return {**envelope, "type": ERROR, "payload": {"code": next(codes), "detail": "why"}, "sig": ""}

        servers = [self.start_server(spoil=refuse), self.start_server("server2", spoil=refuse)]
        addresses = [Address("127.0.0.1", server.port) for server in servers]
        with self.assertRaisesRegex(AttachRefused, "NOT_ALLOWED: why"):
            self.chat.attach(*addresses)
        for server in servers:
            server.expect_client()
        with self.assertRaisesRegex(AttachRefused, "NAME_IN_USE: why"):
            self.chat.attach(*addresses)

    def test_crowded(self) -> None:
        """A server that closes without a word, as one does that has too many handshakes, is passed over."""

        def hang_up(_envelope: dict[str, Any]) -> None:
            crowded.hang_up()

        crowded = self.start_server(spoil=hang_up)
        with self.assertRaisesRegex(AttachRefused, "closed in the middle"):
            self.attach(crowded)
        crowded.expect_client()
        second = self.start_server("server2")
        self.chat.attach(*(Address("127.0.0.1", server.port) for server in (crowded, second)))
        self.assertEqual(self.chat.server_id, second.id)

    def test_nobody_there(self) -> None:
        """An address that nobody answers at is said."""
        server = FakeServer()
        server.close()
        with self.assertRaisesRegex(NotConnected, f"127.0.0.1:{server.port}: Connection refused"):
            self.attach(server)
        with self.assertRaises(NotConnected):
            self.chat.tell_all("hello")

    def test_hangs_up(self) -> None:
        """A server that closes in the middle of the handshake is refused."""
        server: FakeServer = self.start_server(spoil=lambda _: server.hang_up())
        self.assertRaises(AttachRefused, self.attach, server)

    def test_clock_of_the_last_attachment(self) -> None:
        """A last attachment far ahead of our clock is refused with both times."""
        after = socp.now_ms() + 10 * 60 * 1000
        with self.assertRaisesRegex(AttachRefused, f"{after}"):
            self.attach(self.start_server(after=after))
        near = socp.now_ms() + 60 * 1000
        server = self.start_server(after=near)
        self.attach(server)
        assert server.proof is not None
        self.assertEqual(server.proof.ts, near + 1)


class PlainFilesTest(ChatTest):
    """A client that is to send and take files by RSA alone."""

    caps = ("presence",)
    options = MappingProxyType({"hybrid": False})

    def test_caps(self) -> None:
        """It does not sign that it takes others."""
        server = self.attached()
        assert server.proof is not None
        self.assertEqual(server.proof.payload["caps"], ["presence"])


class SlowServerTest(ChatTest):
    """Servers that keep the client waiting."""

    settings = Settings(replace(Timers(), handshake=0.6, request=0.6, silence=0.8, heartbeat=0.1, linger=0.2))

    def test_silent_handshake(self) -> None:
        """A server that never answers the hello is given up."""
        with self.assertRaisesRegex(AttachRefused, "TIMEOUT"):
            self.attach(self.start_server(spoil=lambda _: None))

    def test_no_answer(self) -> None:
        """A question that is not answered in time is given up; the next one may be."""
        server = self.start_server()
        self.attach(server)
        self.assertRaises(NoAnswer, self.chat.users)
        server.expect(USER_LIST_REQUEST)
        outcome = self.do(self.chat.users)
        server.expect(USER_LIST_REQUEST)
        server.say(USER_LIST, {"users": [], "total": 0})
        self.assertEqual(outcome.get(timeout=PATIENCE), [])

    def test_silence(self) -> None:
        """A server that is not heard of for too long is gone; the client has beaten meanwhile."""
        server = self.start_server()
        self.attach(server)
        self.event()
        event = self.event()
        assert isinstance(event, Disconnected)
        self.assertIn("nothing was heard", event.reason)
        for _ in range(3):
            server.expect(HEARTBEAT)


class AskTest(ChatTest):
    """Questions to the server, whose word is not taken for anything that users sign."""

    def test_list(self) -> None:
        """All pages are asked for, and what makes no sense in them is passed over."""
        server = self.attached()
        outcome = self.do(self.chat.users)
        ids = sorted([ALICE, BOB, CAROL])
        junk: list[dict[str, Any]] = [{}, {"user_id": "x"}, {"user_id": 5}]
        for start in range(3):
            request = server.expect(USER_LIST_REQUEST)
            self.assertEqual(request.payload["after"], ids[start - 1] if start else "")
            entry = {"user_id": ids[start], "server_id": server.id, "display_name": "n"}
            server.say(USER_LIST, {"users": [*junk, entry], "total": 3})
        self.assertEqual([listed.user_id for listed in outcome.get(timeout=PATIENCE)], ids)

    def test_list_without_end(self) -> None:
        """A server that repeats itself for ever is not asked for ever."""
        server = self.attached()
        outcome = self.do(self.chat.users)
        for _ in range(2):
            server.expect(USER_LIST_REQUEST)
            server.say(USER_LIST, {"users": [{"user_id": ALICE}], "total": 10})
        self.assertEqual(len(outcome.get(timeout=PATIENCE)), 1)

    def test_keys_are_proved(self) -> None:
        """A key that is not the user's, or an attachment that the user has not signed, is refused; nothing is sent."""
        server = self.attached()
        bob = make_user("bob")
        for change in (
            {"pubkey": key("mallory").public.text},
            {"user_id": BOB, "pubkey": "junk"},
            {"caps": ["a256gcm"]},
            {"meta": {"display_name": "carol"}},
            {"server_id": key("server2").id},
            {"attach": {**bob.attach.to_wire(), "ts": 5}},
        ):
            with self.subTest(change=change):
                outcome = self.do(self.chat.tell, BOB, "secret")
                self.answer_key(server, "bob", **change)
                error = outcome.get(timeout=PATIENCE)
                self.assertIsInstance(error, ChatError)
                self.assertIn("not proved", str(error))
        self.no_event(server)

    def test_answer_about_somebody_else(self) -> None:
        """The answer about another user is not taken for the one that was asked for."""
        server = self.attached()
        outcome = self.do(self.chat.tell, BOB, "secret")
        server.expect(USER_KEY_REQUEST)
        carol = make_user("carol")
        server.say(USER_KEY, {**carol.to_wire(), "server_id": carol.home, "online": True})
        server.say(ERROR, {"code": USER_NOT_FOUND, "detail": "", "user_id": BOB})
        self.assertIsInstance(outcome.get(timeout=PATIENCE), UserUnknown)

    def test_unsigned_answers(self) -> None:
        """An answer that the server has not signed is passed over."""
        server = self.attached()
        outcome = self.do(self.chat.users)
        server.expect(USER_LIST_REQUEST)
        with self.assertLogs("socp.chat", "WARNING"):
            server.say(USER_LIST, {"users": [{"user_id": BOB}], "total": 1}, sig="")
            server.say(USER_LIST, {"users": [], "total": 0})
            self.assertEqual(outcome.get(timeout=PATIENCE), [])

    def test_disconnected(self) -> None:
        """Who waits for an answer is told when the server is gone."""
        server = self.attached()
        outcome = self.do(self.chat.users)
        server.expect(USER_LIST_REQUEST)
        server.hang_up()
        self.assertIsInstance(outcome.get(timeout=PATIENCE), NotConnected)


class SendTest(ChatTest):
    """Messages of ours."""

    def receipt(self, server: FakeServer, msg_ref: str, signer: str = "bob", sender: str = "bob") -> None:
        """Send the receipt of a message."""
        ts = socp.now_ms()
        payload = {"msg_ref": msg_ref, "status": "delivered"}
        values = {**payload, "from": key(sender).id, "to": ALICE, "ts": ts}
        signature = sign_content(KeySigner(key(signer)), RECEIPT, values)
        server.pass_on(ACK, sender, {**payload, "content_sig": signature}, ts)

    def test_sealed_and_signed(self) -> None:
        """A message is sealed for its recipient under its label, and signed; a receipt is believed when it is too."""
        server = self.attached()
        envelope = self.told(server, "caf\u00e9")
        payload = envelope.payload
        self.assertTrue(verify_content(key("alice").public, MESSAGE, envelope.signed_values(), payload["content_sig"]))
        plain = open_sealed(key("bob"), decode_base64url(payload["ciphertext"]), message_label(ALICE, BOB))
        self.assertEqual((plain.decode(), envelope.to, envelope.sender), ("caf\u00e9", BOB, ALICE))
        self.assertEqual(self.msg_ref, message_reference(payload["content_sig"]))
        with self.assertLogs("socp.outbox", "WARNING"):
            self.receipt(server, self.msg_ref, signer="mallory")
            self.no_event(server)
        self.assertEqual(self.chat.outstanding, 1)
        self.receipt(server, self.msg_ref)
        self.assertEqual(self.event(), Delivered(self.msg_ref, BOB, self.number))
        self.assertTrue(self.chat.wait_settled(PATIENCE))
        self.assertEqual(self.chat.outstanding, 0)

    def test_a_servers_words_by_a_user(self) -> None:
        """What only its server may say, and what users do not send each other, is nothing from a user."""
        server = self.attached()
        self.told(server)
        bob = make_user("bob").to_wire()
        said: dict[str, dict[str, Any]] = {
            ERROR: {"code": USER_NOT_FOUND, "detail": "gone", "msg_ref": self.msg_ref},
            CTRL_CLOSE: {"reason": socp.ATTACHED_ELSEWHERE},
            socp.PRESENCE: {"joined": [{"user_id": BOB}], "left": [CAROL]},
            HEARTBEAT: {"probe": True},
            USER_KEY: {**bob, "server_id": BOB, "online": True},
            USER_LIST: {"users": [{"user_id": BOB}], "total": 1},
        }
        types = socp.SHAPES.keys() - socp.FILE_FRAMES - {MSG_PUBLIC_CHANNEL, ACK}
        with self.assertLogs("socp.chat", "WARNING"):
            for frame_type in sorted(types):
                for to in (ALICE, socp.EVERYONE):
                    server.pass_on(frame_type, "bob", said.get(frame_type, {}), 1, to=to)
            server.pass_on(ACK, "bob", {"msg_ref": self.msg_ref, "status": "stored"}, 1)
            self.no_event(server)
        self.assertEqual(self.chat.outstanding, 1)
        self.assertFalse(self.chat.lost)

    def test_times_differ(self) -> None:
        """No two messages have the same time, so that their order is known."""
        server = self.attached()
        times = [self.told(server).ts for _ in range(5)]
        self.assertEqual(len(set(times)), 5)
        self.assertEqual(times, sorted(times))

    def test_errors_and_stored(self) -> None:
        """What the server says of a message is told: stored, or failed with its reason."""
        server = self.attached()
        self.told(server)
        stored = self.msg_ref
        server.say(ACK, {"msg_ref": stored, "status": "stored"})
        self.assertEqual(self.event(), Stored(stored, BOB, self.number))
        self.assertTrue(self.chat.wait_settled(PATIENCE))
        self.told(server)
        server.say(ERROR, {"code": USER_NOT_FOUND, "detail": "gone", "msg_ref": stored})  # it is kept elsewhere
        server.say(ERROR, {"code": USER_NOT_FOUND, "detail": "gone", "msg_ref": self.msg_ref})
        self.assertEqual(self.event(), Failed(self.msg_ref, BOB, USER_NOT_FOUND, "gone", self.number))
        self.assertTrue(self.chat.wait_settled(PATIENCE))
        self.assertEqual(self.chat.undelivered, 1)
        with self.assertLogs("socp.chat", "WARNING"):
            server.say(ACK, {"msg_ref": stored, "status": "delivered"}, sig="")
            self.no_event(server)

    def test_failures_are_told_before_they_are_forgotten(self) -> None:
        """A failure that was not shown when the client ended is found out again by the next, and shown."""
        server = self.attached()
        self.told(server)
        showing = threading.Event()

        def show(_: Event) -> None:
            showing.set()
            raise NotShown("nobody reads")

        self.chat._on_event = show
        server.say(ERROR, {"code": "MAILBOX_FULL", "detail": "", "msg_ref": self.msg_ref})
        self.assertTrue(showing.wait(PATIENCE))
        server.hang_up()
        self.chat.close()
        self.chat = Chat(self.profile, self.take_event, settings=self.settings)
        self.addCleanup(self.chat.close)
        self.assertEqual(self.chat.undelivered, 1)

    def test_a_server_cannot_confirm(self) -> None:
        """A server's own word that a message was delivered is worth nothing."""
        server = self.attached()
        self.told(server)
        server.say(ACK, {"msg_ref": self.msg_ref, "status": "delivered"})
        self.no_event(server)
        self.assertEqual(self.chat.outstanding, 1)

    def test_broadcast(self) -> None:
        """A broadcast is signed, and its refusal is told."""
        server = self.attached()
        msg_ref = self.chat.tell_all("hi all")
        envelope = server.expect(MSG_PUBLIC_CHANNEL)
        signature = envelope.payload["content_sig"]
        self.assertTrue(verify_content(key("alice").public, BROADCAST, envelope.signed_values(), signature))
        self.assertEqual(self.chat.outstanding, 0)
        server.say(ERROR, {"code": "TOO_LARGE", "msg_ref": msg_ref})
        self.assertEqual(self.event(), Failed(msg_ref, socp.PUBLIC, "TOO_LARGE", ""))

    def test_texts(self) -> None:
        """What cannot be sent is refused before anything is."""
        server = self.attached()
        for text in ("", "\ud800", "x" * 28_545):
            self.assertRaises(TextRefused, self.chat.tell, BOB, text)
        for text in ("", "\ud800", "x" * 16_385):
            self.assertRaises(TextRefused, self.chat.tell_all, text)
        self.no_event(server)
        self.assertEqual(self.chat.outstanding, 0)

    def test_not_settled(self) -> None:
        """What is not confirmed in time is waited for no longer."""
        server = self.attached()
        self.told(server)
        self.assertFalse(self.chat.wait_settled(0.05))
        server.say(CTRL_CLOSE, {"reason": "attached elsewhere"})
        self.assertFalse(self.chat.wait_settled(PATIENCE))  # there is nothing to wait for any more


class ReceiveTest(ChatTest):
    """What the server hands us."""

    caps = ("presence",)

    def message(self, text: str, sender: str = "bob", **change: Any) -> dict[str, Any]:
        """Return the payload of a USER_DELIVER, and leave its time in `ts`."""
        self.ts = socp.now_ms()
        sealed = seal(key("alice").public, text.encode(), message_label(key(sender).id, ALICE))
        values = {"ciphertext": encode_base64url(sealed), "from": key(sender).id, "to": ALICE, "ts": self.ts}
        return {
            "ciphertext": values["ciphertext"],
            "sender": key(sender).id,
            "sender_pub": key(sender).public.text,
            "content_sig": sign_content(KeySigner(key(sender)), MESSAGE, values),
            **change,
        }

    def deliver(self, server: FakeServer, payload: dict[str, Any], **change: Any) -> None:
        """Hand over a message at its time."""
        server.say(USER_DELIVER, payload, ts=self.ts, **change)

    def test_message(self) -> None:
        """A message is shown once, with the name that its sender has signed, and confirmed each time."""
        server = self.attached()
        payload = self.message("hello")
        self.deliver(server, payload)
        self.answer_key(server, "bob")
        self.assertEqual(self.event(), Message(BOB, "bob", "hello", self.ts))
        for _ in range(2):
            receipt = server.expect(ACK)
            self.assertEqual((receipt.to, receipt.payload["status"]), (BOB, "delivered"))
            self.deliver(server, payload)
        server.expect(ACK)
        self.assertTrue(self.events.empty())

    def test_without_a_name(self) -> None:
        """A message of whom the server says nothing is shown all the same, without a name."""
        server = self.attached()
        self.deliver(server, self.message("hello"))
        server.expect(USER_KEY_REQUEST)
        server.say(ERROR, {"code": USER_NOT_FOUND, "user_id": BOB})
        self.assertEqual(self.event(), Message(BOB, "", "hello", self.ts))

    def test_server_frames_are_checked(self) -> None:
        """A frame of the server that it has not signed so, for this user and now, is passed over."""
        server = self.attached()
        payload = self.message("forged")
        with self.assertLogs("socp.chat", "WARNING"):
            self.deliver(server, payload, sig="")
            server.say_bytes(encode_frame(socp.make_envelope(USER_DELIVER, server.id, ALICE, self.ts, payload)))
            self.deliver(server, payload, to=BOB)
            self.deliver(server, payload, sig="A" * 683)
            server.say(USER_DELIVER, payload, to=BOB)
            server.say(USER_DELIVER, {**payload, "sender": "x"})
            self.no_event(server)

    def test_other_servers_frames(self) -> None:
        """A frame of another server, and one that only servers send in a user's name, is passed over."""
        server = self.attached()
        other = FakeServer("server2")
        self.addCleanup(other.close)
        payload = self.message("forged")
        with self.assertLogs("socp.chat", "WARNING"):
            server.say_bytes(encode_frame(other.origin.signed(USER_DELIVER, ALICE, payload, self.ts)))
            server.pass_on(USER_DELIVER, "bob", payload, self.ts)
            server.pass_on(USER_LIST, "bob", {"users": [], "total": 0}, self.ts)
            server.pass_on(ACK, "bob", {"msg_ref": "x"}, self.ts, to=CAROL)
            self.no_event(server)

    def test_nonsense(self) -> None:
        """Types that nobody knows and payloads that lack something harm nothing."""
        server = self.attached()
        server.say("NONSENSE", {})
        with self.assertLogs("socp.chat", "WARNING"):
            server.say(USER_LIST, {})
            server.say_bytes(b"\0\0\0\x02{}")
            self.no_event(server)

    def test_bad_frame(self) -> None:
        """A frame that is no frame ends the connection, and says why."""
        server = self.attached()
        server.say_bytes(b"\0\0\0\x04nope")
        event = self.event()
        assert isinstance(event, Disconnected)
        self.assertIn("BAD_FRAME", event.reason)
        self.assertFalse(event.final)

    def test_broadcast(self) -> None:
        """A broadcast is shown once, as public, and is not confirmed."""
        server = self.attached()
        ts = socp.now_ms()
        signature = sign_content(KeySigner(key("bob")), BROADCAST, {"text": "hi", "from": BOB, "ts": ts})
        payload = {"text": "hi", "sender_pub": key("bob").public.text, "content_sig": signature}
        for _ in range(2):
            server.pass_on(MSG_PUBLIC_CHANNEL, "bob", payload, ts, to=socp.PUBLIC)
        self.answer_key(server, "bob")
        self.assertEqual(self.event(), PublicMessage(BOB, "bob", "hi", ts))
        self.no_event(server)

    def test_presence(self) -> None:
        """News of who came and went is told; what is no id in it is not."""
        server = self.attached()
        server.say(socp.PRESENCE, {"joined": [{"user_id": BOB}, {"user_id": 5}, {}], "left": [CAROL, 5, {}]})
        self.assertEqual(self.event(), PresenceChanged((BOB,), (CAROL,)))

    def test_errors_about_nothing(self) -> None:
        """An ERROR that nobody waits for is told."""
        server = self.attached()
        server.say(ERROR, {"code": "NEW_CODE", "detail": "and why"})
        self.assertEqual(self.event(), Notice("the server answered NEW_CODE: and why"))

    def test_probe(self) -> None:
        """A HEARTBEAT that asks is answered, and one that does not is not."""
        server = self.attached()
        server.expect(HEARTBEAT)
        server.say(HEARTBEAT, {}, to=socp.EVERYONE)
        server.say(HEARTBEAT, {"probe": True})
        answer = server.expect(HEARTBEAT)
        self.assertEqual((answer.to, answer.payload), (server.id, {}))

    def test_files_of_strangers(self) -> None:
        """Chunks of a file that was never offered are passed over."""
        server = self.attached()
        chunk = {"file_id": str(uuid.uuid4()), "index": 0, "ciphertext": "AA"}
        server.pass_on(socp.FILE_CHUNK, "bob", chunk, 1)
        server.pass_on(socp.FILE_END, "bob", {"file_id": chunk["file_id"]}, 1)
        server.pass_on(socp.FILE_ACK, "bob", {"file_id": chunk["file_id"], "next_index": 0, "status": "complete"}, 1)
        self.no_event(server)
        self.assertFalse((self.directory / "files").exists())


class EndTest(ChatTest):
    """The end of a connection."""

    def test_attached_elsewhere(self) -> None:
        """A client whose user has attached elsewhere ends there, and does not fight for the place."""
        server = self.attached()
        server.say(CTRL_CLOSE, {"reason": "attached elsewhere"})
        self.assertEqual(self.event(), Disconnected("the server says: attached elsewhere", final=True))
        self.assertTrue(self.chat.wait(PATIENCE))
        self.assertTrue(self.chat.lost)
        with self.assertRaises(NotConnected):
            self.chat.tell_all("hello")

    def test_farewell_of_ours(self) -> None:
        """Closing says goodbye, tells no event, and is harmless when repeated."""
        server = self.attached()
        closing = threading.Thread(target=self.chat.close)
        closing.start()
        self.assertEqual(server.expect(CTRL_CLOSE).payload, {"reason": "leaving"})
        self.assertIsNone(server.read())
        server.hang_up()
        closing.join(PATIENCE)
        self.chat.close()
        self.assertTrue(self.events.empty())

    def test_closing_while_a_question_waits(self) -> None:
        """A client ends in time though its server does not answer what a message that it shows has made it ask."""
        server = self.attached()
        ts = socp.now_ms()
        for number in range(3):
            signature = sign_content(KeySigner(key("bob")), BROADCAST, {"text": "hi", "from": BOB, "ts": ts + number})
            payload = {"text": "hi", "sender_pub": key("bob").public.text, "content_sig": signature}
            server.pass_on(MSG_PUBLIC_CHANNEL, "bob", payload, ts + number, to=socp.PUBLIC)
        server.expect(USER_KEY_REQUEST)
        began = time.monotonic()
        with self.assertNoLogs("socp.chat", "WARNING"):
            self.chat.close()
        self.assertLess(time.monotonic() - began, Timers().stop)

    def test_never_attached(self) -> None:
        """A client that never attached closes at once."""
        began = time.monotonic()
        self.chat.close()
        self.assertLess(time.monotonic() - began, Timers().stop / 2)

    def test_handler_that_closes(self) -> None:
        """Whoever is told of events may end the client from there."""
        closed = threading.Event()

        def close(_: Event) -> None:
            self.chat.close()
            closed.set()

        self.chat.close()
        self.chat = Chat(self.profile, close, settings=self.settings)
        server = self.start_server()
        self.attach(server)
        server.attached()
        self.assertTrue(closed.wait(PATIENCE))


class ReconnectTest(ChatTest):
    """Connections that come back."""

    def lost(self, server: FakeServer, reason: str = "the server closed the connection") -> None:
        """Expect that the loss of the connection is told, while the server lets nobody in."""
        self.assertEqual(self.event(), Disconnected(reason, final=False))

    def connected(self, server: FakeServer) -> None:
        """Expect that the client comes back, and says so once."""
        server.attached()
        self.assertEqual(self.event(), Connected(f"127.0.0.1:{server.port}", server.id))

    def test_same_server(self) -> None:
        """A connection that is lost comes back, is said to be lost and to be back once, and carries everything."""
        server = self.attached()
        for _ in range(3):
            server.expect_client()  # hangs up, and lets the next in
            self.lost(server)
            self.connected(server)
            self.chat.tell_all("again")
            server.expect(MSG_PUBLIC_CHANNEL)
        self.no_event(server)

    def test_messages_go_on(self) -> None:
        """What was sent without an answer is sent again; what is written meanwhile is sent behind it."""
        server = self.attached()
        first = self.told(server)
        number = self.number
        server.hang_up()
        self.lost(server)
        numbers: list[int] = []
        msg_ref = self.chat.tell(BOB, "while there is no connection", lambda _, number: numbers.append(number))
        self.assertEqual(numbers, [number + 1])
        self.assertRaises(NotConnected, self.chat.tell_all, "nobody hears this")
        self.assertRaises(NotConnected, self.chat.users)
        server.expect_client()
        self.connected(server)
        again, second = server.expect(MSG_DIRECT), server.expect(MSG_DIRECT)
        self.assertEqual(again.raw, first.raw)
        self.assertEqual(message_reference(second.payload["content_sig"]), msg_ref)

    def test_kept_across_processes(self) -> None:
        """What one process has sent without an answer, the next of the same profile sends again, the same bytes."""
        server = self.attached()
        first = self.told(server)
        server.hang_up()
        self.chat.close()
        self.chat = Chat(self.profile, self.take_event, settings=self.settings)
        self.addCleanup(self.chat.close)
        self.assertEqual(self.chat.undelivered, 1)
        server.expect_client()
        self.attach(server)
        self.assertEqual(server.expect(MSG_DIRECT).raw, first.raw)

    def test_next_server(self) -> None:
        """A client that knows several servers goes to the next when its own is gone, and round again."""
        one, other = self.start_server(), self.start_server("server2")
        self.chat.attach(Address("127.0.0.1", one.port), Address("127.0.0.1", other.port))
        one.attached()
        self.assertIsInstance(self.event(), Notice)
        one.close()
        self.lost(one)
        other.attached()
        self.assertEqual({type(self.event()), type(self.event())}, {Notice, Connected})

    def test_first_server_is_not_there(self) -> None:
        """The first of several servers that can be reached is taken."""
        with FakeServer() as gone:
            pass
        other = self.start_server("server2")
        self.chat.attach(Address("127.0.0.1", gone.port), Address("127.0.0.1", other.port))
        other.attached()
        self.assertEqual(self.chat.server_id, other.id)

    def test_told_to_go(self) -> None:
        """A client whose server says that it shuts down goes to another at once, and not to the same."""
        one, other = self.start_server(), self.start_server("server2")
        self.chat.attach(Address("127.0.0.1", one.port), Address("127.0.0.1", other.port))
        one.attached()
        self.assertIsInstance(self.event(), Notice)
        one.say(CTRL_CLOSE, {"reason": "shutting down"})
        self.lost(one, "the server says: shutting down")
        other.attached()
        self.assertEqual({type(self.event()), type(self.event())}, {Notice, Connected})
        self.assertEqual(self.chat.server_id, other.id)

    def test_no_running_round(self) -> None:
        """Of servers that let a client in and go, the first is left at once; then there are pauses that get longer."""
        with FakeServer() as gone:
            pass
        server = self.start_server()
        self.chat.attach(Address("127.0.0.1", server.port), Address("127.0.0.1", gone.port))
        server.attached()
        waits: list[float] = []
        wait = self.chat._connection._leaving.wait

        def note(seconds: float) -> bool:
            waits.append(seconds)
            return wait(seconds)

        with mock.patch.object(self.chat._connection._leaving, "wait", note):
            for _ in range(4):
                server.client_id = ""
                server.expect_client()
                server.attached()
        self.assertEqual(waits[0], 0.0)
        self.assertTrue(0 < waits[1] < waits[2] < waits[3], waits)

    def test_clock_that_went_back(self) -> None:
        """A client signs a later time each time that it attaches, whatever its clock and its server say."""
        server = self.attached()
        assert server.proof is not None
        first = server.proof.ts
        right = socp.now_ms
        with mock.patch("socp.now_ms", lambda: right() - 60_000):
            server.expect_client()
            self.lost(server)
            self.connected(server)
        self.assertGreater(server.proof.ts, first)

    def test_another_server(self) -> None:
        """A client does not go back to a server that is another one now; with none left, that is the end."""
        server = self.attached()
        server.close()
        self.lost(server)
        with FakeServer("server2", port=server.port) as other:
            other.expect_client()
            notice = self.event()
            assert isinstance(notice, Notice)
            self.assertIn(server.id, notice.text)
            self.assertIn(other.id, notice.text)
            self.assertEqual(self.event(), Disconnected("no server is left to go to", final=True))
            self.assertTrue(self.chat.wait(PATIENCE))

    def test_not_allowed_any_more(self) -> None:
        """A client whose server does not let it in any more says so, does not try again, and ends with none left."""

        def refuse(envelope: dict[str, Any]) -> dict[str, Any]:
            return {**envelope, "type": ERROR, "payload": {"code": socp.NOT_ALLOWED, "detail": "go"}, "sig": ""}

        server = self.attached()
        server._spoil = refuse
        server.say(ERROR, {"code": socp.NOT_ALLOWED, "detail": "go"})
        self.assertEqual(self.event(), Notice("the server answered NOT_ALLOWED: go"))
        server.expect_client()
        self.lost(server)
        notice = self.event()
        assert isinstance(notice, Notice)
        self.assertRegex(notice.text, r"^the server at 127.0.0.1:\d+ does not let this user in: NOT_ALLOWED: go$")
        self.assertEqual(self.event(), Disconnected("no server is left to go to", final=True))
        self.assertTrue(self.chat.lost)

    def test_refused_for_a_time(self) -> None:
        """A client that is refused when it comes back says so once, and goes on trying."""
        refusals = 3

        def refuse(envelope: dict[str, Any]) -> dict[str, Any]:
            nonlocal refusals
            if envelope["type"] == ACK and refusals:
                refusals -= 1
                payload = {"code": "NAME_IN_USE", "detail": "another link lives"}
                return server.origin.signed(ERROR, envelope["to"], payload)
            return envelope

        server = self.attached()
        server._spoil = refuse
        server.hang_up()
        self.lost(server)
        for _ in range(4):
            server.client_id = ""
            server.expect_client()
            server.attached_or_refused()
        notice = self.event()
        assert isinstance(notice, Notice)
        self.assertIn("NAME_IN_USE: another link lives; trying again", notice.text)
        self.assertEqual(self.event(), Connected(f"127.0.0.1:{server.port}", server.id))

    def test_closing_while_there_is_no_connection(self) -> None:
        """A client may be closed while it tries to connect again."""
        server = self.attached()
        server.close()
        self.lost(server)
        began = time.monotonic()
        self.chat.close()
        self.assertLess(time.monotonic() - began, Timers().stop / 2)
        self.assertFalse(self.chat.lost)

    def test_closing_in_mid_handshake(self) -> None:
        """A client may be closed while a server that it comes back to says nothing."""
        server = self.attached()
        server.hang_up()
        self.lost(server)
        connection, _ = server._listener.accept()
        with connection:
            connection.recv(1)
            began = time.monotonic()
            self.chat.close()
            self.assertLess(time.monotonic() - began, Timers().stop / 2)


class FullTest(ChatTest):
    """A client that is told more than it has handled."""

    settings = Settings(limits=replace(Limits(), inbox=4))

    def test_answer_behind_many_frames(self) -> None:
        """The answer that the first event waits for is heard behind many frames, and all are told in order."""
        server = self.attached()
        ts = socp.now_ms()
        for number in range(30):
            text = str(number)
            signature = sign_content(KeySigner(key("bob")), BROADCAST, {"text": text, "from": BOB, "ts": ts + number})
            payload = {"text": text, "sender_pub": key("bob").public.text, "content_sig": signature}
            server.pass_on(MSG_PUBLIC_CHANNEL, "bob", payload, ts + number, to=socp.PUBLIC)
        began = time.monotonic()
        self.answer_key(server, "bob")
        texts = []
        for _ in range(30):
            event = self.event()
            assert isinstance(event, PublicMessage)
            texts.append(event.text)
            self.assertEqual(event.name, "bob")
        self.assertEqual(texts, [str(number) for number in range(30)])
        self.assertLess(time.monotonic() - began, Timers().request)


class KeyTest(unittest.TestCase):
    """The key of a profile."""

    def test_password(self) -> None:
        """The password is asked for once, and said to be new or not."""
        asked: list[bool] = []
        with tempfile.TemporaryDirectory(prefix="socp-test-") as directory:
            profile_directory = Path(directory) / "a"
            profile_directory.mkdir(mode=0o700)
            descriptor = os.open(profile_directory / "key.pem", os.O_WRONLY | os.O_CREAT, 0o600)
            with open(descriptor, "wb") as stream:
                stream.write(key("alice").to_pem("secret"))

            def ask(new: bool) -> str:
                asked.append(new)
                return "secret"

            with open_profile("a", Path(directory)) as profile, Chat(profile, lambda _: None, password=ask) as chat:
                self.assertEqual(chat.user_id, ALICE)
        self.assertEqual(asked, [False])
