"""Who says what he has no right to say: see e2e/test_server_rules.py and e2e/test_user_rules.py for much of it too."""

from __future__ import annotations

import hashlib
import unittest
from pathlib import Path

import socp
from crypto.encoding import encode_base64url
from crypto.sealing import chunk_label, seal
from crypto.signing import FILE_RESULT, RECEIPT, KeySigner, message_reference, sign_content
from framing import encode_frame
from socp import (
    ACK,
    CTRL_CLOSE,
    ERROR,
    FILE_ACK,
    FILE_CHUNK,
    FILE_END,
    FILE_START,
    HEARTBEAT,
    INVALID_SIG,
    MSG_DIRECT,
    MSG_PUBLIC_CHANNEL,
    NOT_ALLOWED,
    SERVER_ANNOUNCE,
    SERVER_BUSY,
    SERVER_DELIVER,
    UNAUTHENTICATED,
    USER_ADVERTISE,
    USER_DELIVER,
    USER_KEY,
    USER_KEY_REQUEST,
    USER_LIST,
    USER_LIST_REQUEST,
    USER_REMOVE,
    USER_SYNC,
    USER_SYNC_REQUEST,
)
from tests.e2e.test_server_rules import attachment
from tests.hostile.arena import HostileTest
from tests.peer import Peer
from tests.vectors import key

# What each may send once its handshake is done; a hello closes the link, and every other known type is NOT_ALLOWED.
OF_USERS = frozenset(
    {MSG_DIRECT, MSG_PUBLIC_CHANNEL, ACK, USER_LIST_REQUEST, USER_KEY_REQUEST, HEARTBEAT, CTRL_CLOSE, ERROR}
    | socp.FILE_FRAMES
)
OF_SERVERS = frozenset(
    {HEARTBEAT, CTRL_CLOSE, ERROR, ACK, SERVER_ANNOUNCE, USER_ADVERTISE, USER_REMOVE, USER_SYNC, USER_SYNC_REQUEST}
    | {SERVER_DELIVER, MSG_PUBLIC_CHANNEL}
    | socp.FILE_FRAMES
)
OF_JOINED = frozenset({HEARTBEAT, CTRL_CLOSE, ERROR, ACK, SERVER_ANNOUNCE})
FILE_ID = "3f0c1b9e-8a44-4d0e-9a5e-6f6f2f9f1c11"


def expect_refused_types(test: unittest.TestCase, peer: Peer, allowed: frozenset[str]) -> None:
    """Have a peer send a frame of each type that is not for it, signed as a server's, and see each refused."""
    for frame_type in sorted(socp.SHAPES.keys() - allowed - socp.HELLOS):
        with test.subTest(type=frame_type):
            peer.send_signed(frame_type, {"user_id": peer.id, "server_id": peer.acceptor})
            peer.expect_error(NOT_ALLOWED)


class TypesTest(HostileTest):
    """Frames of types that are somebody else's."""

    def test_of_users(self) -> None:
        """From a user, each type that is for servers, introducers or handshakes is refused; so is a second hello."""
        expect_refused_types(self, self.attackers_user("stranger", 10), OF_USERS)
        for hello in sorted(socp.HELLOS):
            peer = self.attackers_user("mallory", 10)
            peer.hello(hello)
            peer.expect_refusal(UNAUTHENTICATED)

    def test_of_servers(self) -> None:
        """From a linked server, each type that is for users, introducers or handshakes is refused; so is a hello."""
        expect_refused_types(self, self.attackers_server("server2", 11), OF_SERVERS)
        for hello in sorted(socp.HELLOS):
            peer = self.attackers_server("server2", 11)
            peer.hello(hello)
            peer.expect_refusal(UNAUTHENTICATED)

    def test_all_are_covered(self) -> None:
        """Every type that there is, is somebody's or nobody's here: a new one has to be decided on."""
        answers = {socp.SERVER_WELCOME, socp.AUTH_CHALLENGE, socp.AUTH_RESPONSE}
        to_users = {socp.PRESENCE, USER_DELIVER, USER_LIST, USER_KEY}
        self.assertEqual(OF_USERS | OF_SERVERS | OF_JOINED | socp.HELLOS | answers | to_users, socp.SHAPES.keys())


class PresenceTest(HostileTest):
    """Saying of others that they are here or gone."""

    def test_replayed(self) -> None:
        """What another server said once moves nobody when it is said again, by whoever, however it is dressed up."""
        second, third = self.attackers_server("server2", 12), self.attackers_server("server3", 13)
        for server in (second, third):
            server.expect(USER_SYNC)
        looker = self.attackers_user("grace", 12)
        came = third.origin.signed(USER_ADVERTISE, socp.EVERYONE, attachment("frank", "server3"))
        self.say(third, came)
        self.assert_at(looker, "frank", "server3")
        gone_payload = {"user_id": key("frank").id, "server_id": third.id, "attach_ts": came["payload"]["attach"]["ts"]}  # type: ignore[index]
        gone = third.origin.signed(USER_REMOVE, socp.EVERYONE, gone_payload)
        self.say(third, gone)
        self.assert_at(looker, "frank", "")
        for visited in ([], [second.id]):
            self.say(second, {**came, "visited": visited})
        self.assert_at(looker, "frank", "")
        again = third.origin.signed(USER_ADVERTISE, socp.EVERYONE, attachment("frank", "server3"))
        self.say(third, again)
        self.say(second, gone)
        self.say(second, {**gone, "ts": gone["ts"] + 1}, INVALID_SIG)  # type: ignore[operator]
        self.say(second, {**gone, "from": second.id}, INVALID_SIG)
        self.assert_at(looker, "frank", "server3")
        self.conversation.wait_more()

    def test_honest_users(self) -> None:
        """An honest user of this server is neither taken away nor taken over by a server that is linked to it."""
        second = self.attackers_server("server2", 14)
        second.expect(USER_SYNC)
        looker = self.attackers_user("grace", 14)
        looker.send(USER_KEY_REQUEST, {"user_id": key("alice").id})
        alice = looker.expect(USER_KEY).payload
        attach_ts = alice["attach"]["ts"]
        entry = {name: alice[name] for name in ("user_id", "pubkey", "meta", "caps", "attach")}
        for server_id in (second.id, self.server_id):
            removal = {"user_id": key("alice").id, "server_id": server_id, "attach_ts": attach_ts}
            claim = {**entry, "server_id": server_id}
            for frame_type, payload in ((USER_REMOVE, removal), (USER_ADVERTISE, claim)):
                envelope = second.origin.signed(frame_type, socp.EVERYONE, payload)
                harmless = server_id == second.id and frame_type == USER_REMOVE
                self.say(second, envelope, "" if harmless else INVALID_SIG)
                self.say(second, {**envelope, "from": self.server_id})  # its own: it has never said that
        sync = {"server_id": second.id, "users": [{**entry, "online": True}], "part": 1, "parts": 1}
        self.say(second, second.origin.signed(USER_SYNC, self.server_id, sync), INVALID_SIG)
        self.assert_at(looker, "alice", "server")
        self.conversation.wait_more()

    def test_asking_for_all_users(self) -> None:
        """A server that asks for all users again and again is sent them some times, and then no more."""
        second = self.attackers_server("server2", 19)
        second.expect(USER_SYNC)
        for _ in range(14):
            second.send_signed(USER_SYNC_REQUEST, {})
            second.expect_alive()
        self.program.expect_error(f"{second.id} asks for our users too often; passed over")
        self.conversation.wait_more()

    def say(self, server: Peer, envelope: dict[str, object], code: str = "") -> None:
        """Have a server send an envelope, and see that it is passed over, or what it is answered."""
        server.send_bytes(encode_frame(envelope))
        if code:
            server.expect_error(code)
        for answer in server.read_until_answer():
            self.assertNotEqual(answer.type, ERROR, answer.payload)

    def assert_at(self, looker: Peer, user: str, server: str) -> None:
        """Check at which server a user is said to be online; the empty string is nowhere."""
        looker.send(USER_KEY_REQUEST, {"user_id": key(user).id})
        payload = looker.expect(USER_KEY).payload
        self.assertEqual(payload["server_id"] if payload["online"] else "", key(server).id if server else "")


class OthersTest(HostileTest):
    """Frames about what is between two others."""

    def test_receipts(self) -> None:
        """A receipt by somebody else than the recipient, in whatever name, confirms nothing."""
        carol, mallory = self.attackers_user("carol", 15), self.attackers_user("mallory", 16)
        mark = self.alice.mark()
        self.alice.type(f"/tell {carol.id} between us")
        delivered = carol.expect(USER_DELIVER)
        msg_ref = message_reference(delivered.payload["content_sig"])
        ts = socp.now_ms()
        forged = mallory.receipt("alice", ts, msg_ref)
        mallory.send(ACK, forged, to=key("alice").id, ts=ts)
        mallory.send(ACK, forged, to=key("alice").id, ts=ts, sender=carol.id)
        mallory.send(ACK, {"msg_ref": msg_ref, "status": "stored"}, to=key("alice").id)
        second = self.attackers_server("server2", 16)
        second.send_bytes(encode_frame(socp.make_envelope(ACK, carol.id, key("alice").id, ts, forged)))
        second.expect_alive()
        mallory.tell("alice", "after the forged ones")
        self.alice.expect("] after the forged ones$", after=mark)
        self.assertEqual([line for line in self.alice.lines[mark:] if f"[DM to {carol.id[:8]}" in line][1:], [])
        carol.confirm(delivered)
        self.alice.expect(rf"\[DM to {carol.id[:8]}\] delivered", after=mark)

    def test_receipts_by_a_home(self) -> None:
        """Not even the home of a recipient can say that a message was shown: the recipient has to sign it."""
        second = self.attackers_server("server2", 20)
        second.expect(USER_SYNC)
        second.send_signed(USER_ADVERTISE, attachment("frank", "server2"), to=socp.EVERYONE)
        second.expect_alive()
        mark = self.alice.mark()
        self.alice.type(f"/tell {key('frank').id} past the post")
        ref = message_reference(second.expect(SERVER_DELIVER).payload["content_sig"])
        ts = socp.now_ms()
        for name in ("server2", "mallory"):
            forged = {"msg_ref": ref, "status": "delivered", "from": key("frank").id, "to": key("alice").id, "ts": ts}
            signature = sign_content(KeySigner(key(name)), RECEIPT, forged)
            payload = {"msg_ref": ref, "status": "delivered", "content_sig": signature}
            second.send_bytes(encode_frame(socp.make_envelope(ACK, key("frank").id, key("alice").id, ts, payload)))
        second.expect_alive()
        self.conversation.wait_more(2)
        told = [line for line in self.alice.lines[mark:] if "[DM to frank" in line]
        self.assertEqual(len(told), 1, told)  # that it was sent

    def test_senders_transfer(self) -> None:
        """Who has no part in a transfer can neither end nor hurry it at its sender."""
        carol, mallory = self.attackers_user("carol", 15), self.attackers_user("mallory", 16)
        content = b"for carol's eyes"
        (self.network_directory / "letter").write_bytes(content)
        mark = self.alice.mark()
        self.alice.type(f"/file {carol.id} {self.network_directory / 'letter'}")
        start = carol.expect(FILE_START)
        file_id = start.payload["file_id"]
        for status in ("rejected", "complete", "failed"):
            self.answer(mallory, file_id, 1, status)
            self.answer(mallory, file_id, 1, status, sender=carol.id)
        self.answer(mallory, file_id, 1, "receiving")
        mallory.send(FILE_END, {"file_id": file_id}, to=key("alice").id)
        carol.expect_alive()  # and nothing has come of the file before she takes it
        self.answer(carol, file_id, 0, "receiving")
        self.assertEqual(carol.expect(FILE_CHUNK).payload["file_id"], file_id)
        self.answer(carol, file_id, 1, "receiving")
        carol.expect(FILE_END)
        self.answer(carol, file_id, 1, "complete")
        self.alice.expect(rf"\[File to {carol.id[:8]}\] letter delivered", after=mark)

    def test_recipients_transfer(self) -> None:
        """Who has no part in a transfer can add nothing to it at its recipient, and not end it."""
        carol, mallory = self.attackers_user("carol", 15), self.attackers_user("mallory", 16)
        content = b"from carol"
        mark = self.alice.mark()
        ts = socp.now_ms()
        manifest = {"name": "letter.txt", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        carol.send(FILE_START, carol.manifest("alice", ts, **manifest), to=key("alice").id, ts=ts)
        self.assertEqual(carol.expect(FILE_ACK).payload["status"], "receiving")
        self.chunk(mallory, b"from evil!")
        self.chunk(mallory, b"from evil!", sender=carol.id)
        for sender in (mallory.id, carol.id):
            mallory.send(FILE_END, {"file_id": FILE_ID}, to=key("alice").id, sender=sender)
        ts = socp.now_ms()
        theirs = {**manifest, "sha256": hashlib.sha256(b"from evil!").hexdigest()}
        stolen = {**mallory.manifest("alice", ts, **theirs), "sender_pub": carol.pair.public.text}
        mallory.send(FILE_START, stolen, to=key("alice").id, ts=ts)
        mallory.read_until_answer()
        self.chunk(carol, content)
        carol.send(FILE_END, {"file_id": FILE_ID}, to=key("alice").id)
        saved = self.alice.expect(r"\[File from .*\] saved (.*) \(10 bytes\)", after=mark)[1]
        self.assertEqual((self.network_directory / saved).read_bytes(), content)

    def test_mail_in_anothers_name(self) -> None:
        """A server cannot fill the share of another's user in a mailbox: it can sign for nobody."""
        second, carol = self.attackers_server("server2", 17), self.attackers_user("carol", 17)
        carol.send(CTRL_CLOSE, {"reason": "away"})
        carol.expect_closed()
        forger = Peer(self.port, "mallory")
        forger.close()
        for flags in ({}, {"store": True}, {"forwarded": True}):
            for stolen in ({}, {"sender_pub": key("alice").public.text}):
                ts = socp.now_ms()
                payload = {**forger.message("carol", "x", ts), **stolen, "user_id": carol.id, "sender": key("alice").id}
                second.send_bytes(
                    encode_frame(second.origin.signed(SERVER_DELIVER, self.server_id, {**payload, **flags}, ts))
                )
                second.expect_error(INVALID_SIG if stolen else socp.BAD_KEY)
        again = self.attackers_user("carol", 17)
        again.expect_silence()

    def test_errors(self) -> None:
        """What a linked server says went wrong reaches no user, unless it names what it is about."""
        second = self.attackers_server("server2", 18)
        mark = self.alice.mark()
        for code in (NOT_ALLOWED, SERVER_BUSY, "GO_TO_EVIL_EXAMPLE"):
            second.send_signed(ERROR, {"code": code, "detail": "your password, please", "user_id": key("alice").id})
            second.send_signed(
                ERROR,
                {"code": code, "detail": "no", "user_id": key("alice").id, "msg_ref": encode_base64url(bytes(32))},
            )
        second.expect_alive()
        self.conversation.wait_more(2)
        told = [line for line in self.alice.lines[mark:] if "password" in line or "failed" in line]
        self.assertEqual(told, [])

    @property
    def network_directory(self) -> Path:
        """Where the programs run."""
        assert self.network is not None
        return self.network.directory

    def answer(self, peer: Peer, file_id: str, next_index: int, status: str, sender: str | None = None) -> None:
        """Have a peer answer alice's file, signed as it would be."""
        ts = socp.now_ms()
        payload: dict[str, object] = {"file_id": file_id, "status": status}
        if status != "receiving":
            payload = peer.signed_payload(FILE_RESULT, key("alice").id, ts, payload, sender_pub=False)
        peer.send(FILE_ACK, {**payload, "next_index": next_index}, to=key("alice").id, ts=ts, sender=sender)

    def chunk(self, peer: Peer, content: bytes, sender: str | None = None) -> None:
        """Have a peer send the one chunk of a file to alice."""
        label = chunk_label(FILE_ID, sender or peer.id, 0, key("alice").id)
        sealed = encode_base64url(seal(key("alice").public, content, label))
        payload = {"file_id": FILE_ID, "index": 0, "ciphertext": sealed}
        peer.send(FILE_CHUNK, payload, to=key("alice").id, sender=sender)
