"""Keys that section 4 forbids, shown at every place where a running server or client reads one.

Each is shown under the id that it would have, so that nothing but the key itself is wrong.
"""

from __future__ import annotations

from typing import Any

import socp
from crypto.encoding import encode_base64url
from crypto.sealing import message_label, seal
from crypto.signing import KeySigner, message_reference
from framing import HANDSHAKE_BODY_MOST, encode_frame
from socp import BAD_KEY, INVALID_SIG, NOT_ALLOWED
from tests.badkeys import bad_keys, identifier_of, weak_keys
from tests.e2e.harness import Network
from tests.fake_server import FakeServer
from tests.hostile.arena import HostileTest
from tests.peer import NOWHERE, Peer, membership
from tests.vectors import key

_ATTACH = {"nonce": "A" * 43, "ts": 1, "content_sig": "AA"}


def vouched(text: str) -> dict[str, object]:
    """Return a membership that the pinned introducer has signed for any key."""
    statement = {**membership("server3"), "pubkey": text, "server_id": identifier_of(text)}
    del statement["sig"]
    return {**statement, "sig": KeySigner(key("introducer")).sign(statement)}


class ServerTest(HostileTest):
    """Keys that a server is shown."""

    def hello(self, port: int, hello_type: str, text: str, code: str, **change: Any) -> None:
        """Have a hello with a key refused."""
        with Peer(port, "mallory") as peer:
            peer.id = identifier_of(text)
            peer.hello(hello_type, **{"pubkey": text, **change})
            peer.expect_refusal(code)

    def test_hello_of_a_user(self) -> None:
        """USER_HELLO with any of the keys that are none is BAD_KEY, in either of its fields."""
        for why, text in bad_keys().items():
            if len(text) < HANDSHAKE_BODY_MOST // 2:
                with self.subTest(why):
                    self.hello(self.port, socp.USER_HELLO, text, BAD_KEY)
        for why, text in weak_keys().items():
            with self.subTest(why), Peer(self.port, "mallory") as peer:
                peer.hello(socp.USER_HELLO, enc_pubkey=text)
                peer.expect_refusal(BAD_KEY)
        self.conversation.wait_more()

    def test_hello_of_a_server(self) -> None:
        """SERVER_HELLO_LINK with such a key is BAD_KEY, whoever vouches for it; a membership for one is none."""
        for why, text in weak_keys().items():
            with self.subTest(why):
                vouchers = [vouched(text)]
                self.hello(self.port, socp.SERVER_HELLO_LINK, text, BAD_KEY, memberships=vouchers)
                with Peer(self.port, "server3") as peer:
                    peer.hello(socp.SERVER_HELLO_LINK, memberships=[{**vouchers[0], "server_id": peer.id}])
                    peer.expect_refusal(NOT_ALLOWED)

    def test_joining(self) -> None:
        """An introducer vouches for no such key."""
        network = self.network
        assert isinstance(network, Network)
        introducer, port = network.introducer("introducer2")
        for why, text in weak_keys().items():
            with self.subTest(why):
                self.hello(port, socp.SERVER_HELLO_JOIN, text, BAD_KEY, to=str(NOWHERE))
        self.assertIsNone(introducer.process.poll(), introducer.report())
        introducer.clean_up()

    def test_from_a_server(self) -> None:
        """What a linked server says of such keys is refused, each with its error, and the link lives on."""
        peer = self.attackers_server("server3")
        for why, text in weak_keys().items():
            user = {"user_id": identifier_of(text), "pubkey": text, "meta": {}, "caps": [], "attach": _ATTACH}
            with self.subTest(why):
                peer.send_signed(socp.USER_ADVERTISE, {**user, "server_id": peer.id}, to=socp.EVERYONE)
                peer.expect_error(BAD_KEY)
                entries = [{**user, "online": True}]
                peer.send_signed(socp.USER_SYNC, {"server_id": peer.id, "users": entries, "part": 1, "parts": 1})
                peer.expect_error(BAD_KEY)
                where = {"host": NOWHERE.host, "port": NOWHERE.port}
                for membership_of, code in ((vouched(text), NOT_ALLOWED), (membership("server3"), BAD_KEY)):
                    announcement = {**where, "pubkey": text, "membership": membership_of}
                    peer.send_signed(socp.SERVER_ANNOUNCE, announcement, to=socp.EVERYONE)
                    peer.expect_error(code)
                mail = {"ciphertext": "A" * 683, "sender": identifier_of(text), "sender_pub": text, "content_sig": "AA"}
                peer.send_signed(socp.SERVER_DELIVER, {**mail, "user_id": key("alice").id})
                peer.expect_error(BAD_KEY)
        peer.expect_alive()
        self.conversation.wait_more()

    def test_from_a_user(self) -> None:
        """A user whose message carries another key than its link's is refused, and attached still."""
        peer = self.attackers_user("mallory")
        for why, text in weak_keys().items():
            with self.subTest(why):
                ts = socp.now_ms()
                payload = {**peer.message("alice", "hello", ts), "sender_pub": text}
                peer.send(socp.MSG_DIRECT, payload, to=key("alice").id, ts=ts)
                peer.expect_error(INVALID_SIG)
        peer.expect_alive()


class ClientTest(HostileTest):
    """Keys that a server shows to its client."""

    def test_frames(self) -> None:
        """Nothing that comes with such a key is shown; what comes with a good one still is."""
        assert self.network is not None
        with FakeServer("server4") as server, Peer(self.port, "mallory") as peer:
            server.expect_client()
            client = self.network.client("heidi", server.port)
            server.attached()
            for why, text in weak_keys().items():
                with self.subTest(why):
                    self.show(server, peer, text)
                    client.type(f"/tell {identifier_of(text)} hello")
                    server.expect(socp.USER_KEY_REQUEST)
                    user = {"user_id": identifier_of(text), "pubkey": text, "meta": {}, "caps": [], "attach": _ATTACH}
                    server.say(socp.USER_KEY, {**user, "server_id": server.id, "online": True})
                    mark = client.expect(rf"answer about {identifier_of(text)} is not proved \(BAD_KEY\)").start()
                    self.assertEqual(mark, len("[Error] refused: the server's "))
            self.assertFalse(
                [line for line in client.lines if "hello" in line or line.startswith(("[DM", "[All", "[Fi"))]
            )
            client.kill()

    def show(self, server: FakeServer, peer: Peer, text: str) -> None:
        """Send a message, a broadcast and a file with a key; the message is answered as one that failed."""
        ts, sender = socp.now_ms(), identifier_of(text)
        sealed = encode_base64url(seal(key("heidi").public, b"hello", message_label(sender, key("heidi").id)))
        keyed = {"sender_pub": text, "content_sig": "AA"}
        server.say(socp.USER_DELIVER, {"ciphertext": sealed, "sender": sender, **keyed}, ts=ts)
        answer = server.expect(socp.ACK).payload
        self.assertEqual((answer["msg_ref"], answer["status"]), (message_reference("AA"), "failed"))
        public = socp.make_envelope(socp.MSG_PUBLIC_CHANNEL, sender, socp.PUBLIC, ts, {"text": "hello", **keyed})
        server.say_bytes(encode_frame(public))
        offer = {**peer.manifest("heidi", ts, name="hello"), **keyed}
        server.say_bytes(encode_frame(socp.make_envelope(socp.FILE_START, sender, key("heidi").id, ts, offer)))
        self.assertEqual(server.expect(socp.FILE_ACK).payload["status"], "rejected")
