"""Blocking users: from what a client is told to what its server hears."""

from __future__ import annotations

from unittest import mock

import socp
from crypto.encoding import encode_base64url
from crypto.sealing import message_label, seal
from crypto.signing import MESSAGE, KeySigner, sign_content
from errors import ChatError, UserBlocked
from events import Message
from profiles import ProfileError
from socp import ACK, USER_DELIVER, USER_KEY_REQUEST, USER_NOT_FOUND
from tests.fake_server import PATIENCE, FakeServer
from tests.test_chat import ALICE, BOB, CAROL, ChatTest
from tests.vectors import key


class BlockingTest(ChatTest):
    """Alice's client, and what bob sends to it."""

    def block(self, server: FakeServer) -> None:
        """Have alice block bob."""
        outcome = self.do(self.chat.blocking.block, BOB)
        self.answer_key(server, "bob")
        self.assertEqual(outcome.get(timeout=PATIENCE), BOB)

    def deliver(self, server: FakeServer, text: str) -> socp.Envelope:
        """Deliver a message of bob's, and return the receipt."""
        ts = socp.now_ms()
        sealed = seal(key("alice").public, text.encode(), message_label(BOB, ALICE))
        payload: dict[str, object] = {"ciphertext": encode_base64url(sealed)}
        signature = sign_content(KeySigner(key("bob")), MESSAGE, {**payload, "from": BOB, "to": ALICE, "ts": ts})
        payload |= {"sender": BOB, "sender_pub": key("bob").public.text, "content_sig": signature}
        server.say(USER_DELIVER, payload, ts=ts)
        return server.expect(ACK)

    def test_blocked(self) -> None:
        """Nothing of a blocked user is shown, and what comes after unblocking is."""
        server = self.attached()
        self.block(server)
        self.assertEqual(self.deliver(server, "hello").payload["status"], "failed")
        self.no_event(server)
        self.assertEqual(dict(self.chat.blocking.names), {BOB: "bob"})
        self.assertIn(BOB, self.chat.blocking)
        self.assertEqual(self.chat.blocking.unblock("bob"), BOB)
        self.assertEqual(self.deliver(server, "hello again").payload["status"], "delivered")
        event = self.event()
        assert isinstance(event, Message)
        self.assertEqual(event.text, "hello again")

    def test_sending(self) -> None:
        """Nothing is sent to who is blocked: the answer would not be shown."""
        server = self.attached()
        self.block(server)
        self.assertRaisesRegex(UserBlocked, "/unblock it first", self.chat.tell, BOB, "hello")
        self.assertRaises(UserBlocked, self.chat.send_file, BOB, self.directory)
        self.no_event(server)

    def test_files_end(self) -> None:
        """The files of who is blocked end."""
        server = self.attached()
        with mock.patch.object(self.chat._transfers, "end_from") as end_from:
            self.block(server)
        end_from.assert_called_once_with(BOB)

    def test_refused(self) -> None:
        """Nobody blocks themselves, or a number of users that the profile cannot hold."""
        server = self.attached()
        self.assertRaisesRegex(UserBlocked, "themselves", self.chat.blocking.block, ALICE)
        self.assertRaises(UserBlocked, self.chat.blocking.unblock, BOB)
        with mock.patch.object(self.profile, "block", side_effect=ProfileError("full")):
            outcome = self.do(self.chat.blocking.block, CAROL)
            server.expect(USER_KEY_REQUEST)
            server.say(socp.ERROR, {"code": USER_NOT_FOUND, "detail": "", "user_id": CAROL})
            error = outcome.get(timeout=PATIENCE)
        self.assertIsInstance(error, ChatError)
        self.assertEqual(str(error), "full; nobody was blocked")
        self.assertEqual(dict(self.chat.blocking.names), {})
