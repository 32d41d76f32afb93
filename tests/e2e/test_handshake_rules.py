"""Peers that break the rules of frames, envelopes and the handshake (sections 2 to 6): exact errors, closed doors."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import socp
from crypto.encoding import encode_base64url
from framing import HANDSHAKE_BODY_MOST, USER_BODY_MOST, encode_frame
from socp import (
    ACK,
    BAD_ENVELOPE,
    BAD_FRAME,
    BAD_KEY,
    BAD_TIMESTAMP,
    INVALID_SIG,
    NAME_IN_USE,
    NOT_ALLOWED,
    SERVER_HELLO_JOIN,
    SERVER_HELLO_LINK,
    TIMEOUT,
    TOO_LARGE,
    UNAUTHENTICATED,
    UNKNOWN_TYPE,
    USER_HELLO,
)
from tests.e2e.harness import FAST, NetworkTest
from tests.e2e.rules import RulesTest
from tests.peer import NOWHERE, Peer, membership
from tests.sockets import EVERYWHERE, NothingCameError
from tests.vectors import cases, key

MINUTE = 60 * 1000


class StrangerTest(RulesTest):
    """Who has not shaken hands yet."""

    def test_frames(self) -> None:
        """Each stream of the vectors that is BAD_FRAME is answered so, unsigned and to "*", and closed."""
        bad = [case for case in cases("frames", 28) if case["error"]]
        self.assertEqual(len(bad), 22)
        for case in bad:
            with self.subTest(case["why"]):
                data = bytes.fromhex(case["hex"])
                if case["envelopes"]:  # what comes before the bad frame is no hello, and refused already
                    data = data[4 + int.from_bytes(data[:4], "big") :]
                peer = self.connect("dave")
                peer.send_bytes(data)
                self.assertEqual(peer.expect_refusal(BAD_FRAME).to, socp.EVERYONE)
                peer.close()  # else it would hold its place for as long as the server lingers

    def test_peer_gone(self) -> None:
        """Whoever closes in the middle of a frame, or says nothing at all, gets no reply."""
        for data in (b"", b"\0\0", b"\0\0\0\x7f{"):
            with self.subTest(data=data):
                peer = self.connect("dave")
                peer.send_bytes(data)
                peer.end_sending()
                self.assertIsNone(peer.read())

    def test_before_the_handshake(self) -> None:
        """A hello of 16 kB is read, and one byte more is refused by its length alone."""
        peer = self.connect("dave")
        peer.send_bytes((HANDSHAKE_BODY_MOST + 1).to_bytes(4, "big"))
        peer.expect_refusal(BAD_FRAME)
        peer = self.connect("dave")
        peer.attach_user(padding="x" * 8_000)

    def test_any_other_type(self) -> None:
        """Any type but a hello is UNAUTHENTICATED, known or not."""
        for frame_type in (socp.MSG_DIRECT, socp.HEARTBEAT, socp.AUTH_RESPONSE, "user_hello", "NONSENSE"):
            with self.subTest(frame_type):
                peer = self.connect("dave")
                peer.send(frame_type, {})
                self.assertEqual(peer.expect_refusal(UNAUTHENTICATED).to, socp.EVERYONE)

    def test_errors_are_not_answered(self) -> None:
        """ERROR and ACK are never answered by an ERROR."""
        for frame_type in (socp.ERROR, ACK):
            with self.subTest(frame_type):
                peer = self.connect("dave")
                peer.send(frame_type, {"code": "X", "msg_ref": "X"})
                self.assertIsNone(peer.read())

    def test_bad_envelope(self) -> None:
        """An envelope that lacks a field is BAD_ENVELOPE, and closed before the handshake."""
        for field in ("type", "from", "to", "ts", "payload", "sig"):
            with self.subTest(field):
                peer = self.connect("dave")
                value = socp.make_envelope(USER_HELLO, peer.id, "*", socp.now_ms(), {})
                del value[field]
                peer.send_bytes(encode_frame(value))
                self.assertIn(field, peer.expect_refusal(BAD_ENVELOPE).payload["detail"])


class HelloTest(RulesTest):
    """Hellos and AUTH_RESPONSEs."""

    def hello_refused(self, code: str, name: str = "dave", hello: str = USER_HELLO, **change: Any) -> None:
        """Have a hello refused before anything is signed, and the error go to whoever said it."""
        peer = self.connect(name)
        peer.hello(hello, **change)
        self.assertEqual(peer.expect_refusal(code).to, peer.id)

    def test_hello(self) -> None:
        """Each field of USER_HELLO that is wrong gets its own error."""
        self.hello_refused(BAD_ENVELOPE, nonce="AA")
        self.hello_refused(BAD_ENVELOPE, nonce=None)
        self.hello_refused(BAD_ENVELOPE, caps=["x"] * 17)
        self.hello_refused(BAD_ENVELOPE, meta={"display_name": "x" * 65})
        self.hello_refused(TOO_LARGE, meta={"extras": "x" * 4096})
        self.hello_refused(BAD_KEY, pubkey="junk")
        self.hello_refused(BAD_KEY, enc_pubkey=key("alice").public.text)
        self.hello_refused(NOT_ALLOWED, to=key("server2").id)
        self.hello_refused(NOT_ALLOWED, to=socp.PUBLIC)

    def test_bad_keys(self) -> None:
        """Each key of the vectors that section 4 forbids is BAD_KEY."""
        for case in cases("bad_keys", 10):
            with self.subTest(case["why"]):
                self.hello_refused(BAD_KEY, pubkey=case["pubkey"])

    def test_id_is_not_the_keys(self) -> None:
        """A hello in another's name is BAD_KEY."""
        peer = self.connect("dave")
        peer.send(USER_HELLO, self.user_hello("dave"), sender=key("alice").id)
        peer.expect_refusal(BAD_KEY)

    def user_hello(self, name: str) -> dict[str, object]:
        """Return the payload of a good USER_HELLO."""
        nonce = encode_base64url(bytes(32))
        return {"client": "x", "pubkey": key(name).public.text, "nonce": nonce, "meta": {}, "caps": []}

    def test_join_is_for_introducers(self) -> None:
        """A server answers SERVER_HELLO_JOIN with NOT_ALLOWED."""
        self.hello_refused(NOT_ALLOWED, "server2", SERVER_HELLO_JOIN)

    def test_second_hello(self) -> None:
        """A second hello is UNAUTHENTICATED, before and after the handshake."""
        peer = self.connect("dave")
        peer.hello()
        peer.expect(socp.AUTH_CHALLENGE)
        peer.hello()
        peer.expect_refusal(UNAUTHENTICATED)
        attached = self.attached("dave")
        attached.send(USER_HELLO, self.user_hello("dave"))
        attached.expect_refusal(UNAUTHENTICATED)

    def response_refused(self, code: str, **change: Any) -> str:
        """Have an AUTH_RESPONSE refused, and return the detail."""
        peer = self.connect("dave")
        peer.hello(meta={"display_name": "dave"}, caps=["presence"])
        peer.respond(**change)
        envelope = peer.expect_refusal(code)
        self.assertEqual(envelope.to, peer.id)
        return str(envelope.payload["detail"])

    def test_response(self) -> None:
        """Whatever does not prove the key for this server, this nonce and these caps is INVALID_SIG."""
        other = encode_base64url(b"\1" * 32)
        changes: list[dict[str, Any]] = [
            {"signer": "mallory"},
            {"sender": key("alice").id},
            {"to": key("server2").id},
            {"to": socp.EVERYONE},
            {"sent_nonce": other},
            {"nonce": other},
            {"nonce": other, "sent_nonce": other},
            {"server_id": key("server2").id},
            {"user_id": key("alice").id},
            {"caps": []},
            {"caps": ["presence", "a256gcm"]},
            {"meta": {}},
            {"meta": {"display_name": "alice"}},
        ]
        for change in changes:
            with self.subTest(change=change):
                self.response_refused(INVALID_SIG, **change)

    def test_recorded_response(self) -> None:
        """A response that was recorded is of no use: the nonce is another one each time."""
        first = self.attached("dave")
        attach = first.attach
        first.close()
        again = self.connect("dave")
        again.hello()
        again.acceptor = again.expect(socp.AUTH_CHALLENGE).sender
        again.send(
            socp.AUTH_RESPONSE,
            {"nonce": attach["nonce"], "content_sig": attach["content_sig"]},
            ts=int(str(attach["ts"])),
        )
        again.expect_refusal(INVALID_SIG)

    def test_clock(self) -> None:
        """A response signed more than five minutes away is BAD_TIMESTAMP, with both times."""
        for minutes in (-6, 6):
            ts = socp.now_ms() + minutes * MINUTE
            self.assertRegex(self.response_refused(BAD_TIMESTAMP, ts=ts), rf"{ts}.*\d{{13}}")

    def test_after(self) -> None:
        """The challenge tells the last attachment; one that is not later than it is refused."""
        first = self.attached("erin")
        first.close()
        second = self.connect("erin")
        second.hello()
        challenge = second.expect(socp.AUTH_CHALLENGE)
        self.assertEqual(challenge.payload["after"], first.attached_at)
        self.assertEqual(challenge.sig, "")
        third = self.connect("erin")
        third.hello()
        third.respond(ts=first.attached_at)
        third.expect_refusal_of_known(BAD_TIMESTAMP)

    def test_welcome(self) -> None:
        """The ACK tells the server and how many users are online, and is signed with both nonces."""
        peer = self.connect("dave")
        ack = peer.attach_user()
        self.assertEqual(ack.payload["msg_ref"], USER_HELLO)
        self.assertEqual(ack.payload["server_id"], self.server_id)
        self.assertEqual(ack.payload["users"], 3)

    def test_name_in_use(self) -> None:
        """A user whose client answers the probe keeps its link, and the second gets NAME_IN_USE."""
        second = self.connect("alice")
        second.hello()
        second.respond()
        second.expect_refusal_of_known(NAME_IN_USE)

    def test_dead_link_is_replaced(self) -> None:
        """A user whose old link does not answer for three seconds is attached by the new one."""
        old = self.attached("dave")
        new = self.connect("dave")
        new.hello()
        new.respond()
        while (probe := old.expect(socp.HEARTBEAT)).to != old.id:
            continue
        self.assertIs(probe.payload["probe"], True)
        new.finish_handshake()
        old.expect_closed()
        new.expect_alive()


class EstablishedTest(RulesTest):
    """The rules of sections 2 and 3 on links whose handshake is done."""

    def test_size(self) -> None:
        """A frame of a user over 786,432 bytes is TOO_LARGE by its length; one of that size is read."""
        peer = self.attached("dave")
        padding = "x" * (USER_BODY_MOST - len(json.dumps(socp.make_envelope("NO", peer.id, "*", 1, {"p": ""}))))
        frame = encode_frame(socp.make_envelope("NO", peer.id, "*", 1, {"p": padding}))
        self.assertLessEqual(len(frame), USER_BODY_MOST + 4)
        peer.send_bytes(frame)
        peer.expect_error(UNKNOWN_TYPE)
        peer.send_bytes((USER_BODY_MOST + 1).to_bytes(4, "big"))
        peer.expect_refusal(TOO_LARGE)

    def test_bad_frame_closes(self) -> None:
        """A body that is no JSON closes the link of a user and of a server."""
        for peer in (self.attached("dave"), self.linked("server2")):
            peer.send_bytes(b"\0\0\0\x04nope")
            peer.expect_refusal(BAD_FRAME)

    def test_other_errors_do_not_close(self) -> None:
        """Errors of an envelope, its type or its role are told, and the link goes on."""
        peer = self.attached("dave")
        peer.send("NONSENSE", {})
        peer.expect_error(UNKNOWN_TYPE)
        peer.send("heartbeat", {})
        peer.expect_error(UNKNOWN_TYPE)
        for frame_type in (socp.USER_ADVERTISE, socp.SERVER_DELIVER, socp.AUTH_RESPONSE, socp.SERVER_WELCOME):
            peer.send(frame_type, {})
            peer.expect_error(NOT_ALLOWED)
        peer.send_bytes(encode_frame({"type": "HEARTBEAT"}))
        peer.expect_error(BAD_ENVELOPE)
        peer.send(socp.MSG_DIRECT, {"ciphertext": 5})
        peer.expect_error(BAD_ENVELOPE)
        peer.expect_alive()

    def test_errors_and_acks_are_not_answered(self) -> None:
        """An ERROR or an ACK that is wrong in whatever way gets no answer."""
        peer = self.attached("dave")
        for payload in ({}, {"code": 5}, {"code": "X", "msg_ref": "X"}):
            peer.send(socp.ERROR, payload)
            peer.send(ACK, payload)
        peer.expect_silence()

    def test_unknown_fields(self) -> None:
        """Fields that nobody knows are passed over."""
        peer = self.attached("dave")
        value = socp.make_envelope(socp.HEARTBEAT, peer.id, "*", socp.now_ms(), {"probe": True, "later": [1]})
        peer.send_bytes(encode_frame({**value, "more": {"x": None}}))
        while peer.expect(socp.HEARTBEAT).to != peer.id:
            continue

    def test_in_pieces(self) -> None:
        """Frames may come in any pieces, and several at once."""
        peer = self.attached("dave")
        frame = encode_frame(socp.make_envelope("NO", peer.id, "*", 1, {}))
        for byte in frame:
            peer.send_bytes(bytes([byte]))
        peer.send_bytes(frame * 3)
        for _ in range(4):
            peer.expect_error(UNKNOWN_TYPE)


class LinkTest(RulesTest):
    """SERVER_HELLO_LINK: who may link."""

    def refused(self, name: str = "server2", **change: Any) -> None:
        """Have a link refused as NOT_ALLOWED."""
        peer = self.connect(name)
        peer.hello(SERVER_HELLO_LINK, **{"memberships": [membership(name)]} | change)
        peer.expect_refusal(NOT_ALLOWED)

    def test_memberships(self) -> None:
        """Only an unexpired membership by a pinned introducer for this id, key, host and port opens the door."""
        week_ago = socp.now_ms() - 7 * 24 * 60 * MINUTE
        forged = membership("server2", by="mallory") | {"introducer_id": key("introducer").id}
        lists: list[list[dict[str, object]]] = [
            [],
            [membership("server2", issued=week_ago)],
            [membership("server2", by="introducer2")],
            [membership("server3")],
            [forged],
            [membership("server2") | {"host": "127.0.0.2"}],
            [membership("server2") | {"port": 2}],
            [membership("server2") | {"expires": socp.now_ms() + 14 * 24 * 60 * MINUTE}],
            [{}],
        ]
        for memberships in lists:
            with self.subTest(memberships=memberships):
                self.refused(memberships=memberships)

    def test_host_and_port(self) -> None:
        """A server that says another host or port than its membership is NOT_ALLOWED."""
        self.refused(port=2)
        self.refused(host="127.0.0.2")

    def test_one_good_membership_is_enough(self) -> None:
        """Among memberships of no use, one good one opens the door."""
        peer = self.connect("server2")
        bad = [membership("server2", by="introducer2"), membership("server3"), {"x": 1}]
        peer.link_server("server2", memberships=[*bad, membership("server2")])
        peer.expect_alive()

    def test_response(self) -> None:
        """A link object that is not signed by the server for this acceptor, host and port is INVALID_SIG."""
        changes: list[dict[str, Any]] = [
            {"signer": "mallory"},
            {"acceptor_id": key("server3").id},
            {"port": 2},
            {"type": SERVER_HELLO_JOIN},
            {"peer_id": key("server3").id},
        ]
        for change in changes:
            with self.subTest(change=change):
                peer = self.connect("server2")
                peer.hello(SERVER_HELLO_LINK, memberships=[membership("server2")])
                peer.respond(**change)
                peer.expect_refusal(INVALID_SIG)

    def test_newer_link_replaces_older(self) -> None:
        """A second link of the same server replaces the first."""
        first, second = self.linked("server2"), self.linked("server2")
        self.assertIn("newer", first.expect(socp.CTRL_CLOSE).payload["reason"])
        first.expect_closed()
        second.expect_alive()

    def test_users_limits_do_not_hold_for_servers(self) -> None:
        """A server may send a frame of up to 1 MiB, and one byte more is BAD_FRAME."""
        peer = self.linked("server2")
        frame = encode_frame(socp.make_envelope("NO", peer.id, "*", 1, {"p": "x" * 1_000_000}))
        peer.send_bytes(frame)
        peer.expect_error(UNKNOWN_TYPE)
        peer.send_bytes((1024 * 1024 + 1).to_bytes(4, "big"))
        peer.expect_refusal(BAD_FRAME)


class IntroducerTest(NetworkTest):
    """Peers that break the rules of an introducer."""

    def setUp(self) -> None:
        """Start an introducer."""
        super().setUp()
        _, self.port = self.introducer()

    def connect(self, name: str) -> Peer:
        """Connect to it."""
        peer = Peer(self.port, name)
        self.addCleanup(peer.leave)
        return peer

    def test_join(self) -> None:
        """A server that joins is given its id, a membership of seven days, and those of the servers that are linked."""
        first = self.connect("server")
        welcome = first.join()
        self.assertEqual(welcome.payload["assigned_id"], first.id)
        self.assertEqual(welcome.payload["introducer_id"], key("introducer").id)
        self.assertEqual((welcome.payload["servers"], welcome.payload["clients"]), ([], []))
        granted = welcome.payload["membership"]
        self.assertEqual(granted["expires"] - granted["issued"], 7 * 24 * 60 * MINUTE)
        self.assertEqual((granted["host"], granted["port"]), (NOWHERE.host, NOWHERE.port))
        second = self.connect("server2")
        self.assertEqual(second.join().payload["servers"], [granted])
        first.close()
        second.expect_alive()

    def test_refusals(self) -> None:
        """Users, links, hosts that nobody can dial and strangers' signatures are refused, each by its code."""
        user = self.connect("dave")
        user.hello(USER_HELLO)
        user.expect_refusal(NOT_ALLOWED)
        link = self.connect("server")
        link.hello(SERVER_HELLO_LINK, memberships=[membership("server")])
        link.expect_refusal(NOT_ALLOWED)
        for host in (EVERYWHERE, "::", "", "a b"):
            peer = self.connect("server")
            peer.hello(SERVER_HELLO_JOIN, host=host)
            peer.expect_refusal(BAD_ENVELOPE)
        stranger = self.connect("server")
        stranger.hello(SERVER_HELLO_JOIN)
        stranger.respond(signer="mallory")
        stranger.expect_refusal(INVALID_SIG)
        self.connect("server").join()

    def test_after_the_handshake(self) -> None:
        """What is not for a server to send here is NOT_ALLOWED, in another's name too; the link goes on."""
        peer = self.connect("server")
        peer.join()
        peer.send_signed(socp.USER_SYNC_REQUEST, {})
        peer.expect_error(NOT_ALLOWED)
        peer.send_signed(socp.HEARTBEAT, {}, sig="AA")
        peer.expect_error(INVALID_SIG)
        peer.send_signed("NONSENSE", {})
        peer.expect_error(UNKNOWN_TYPE)
        peer.expect_alive()
        peer.hello(SERVER_HELLO_JOIN)
        peer.expect_refusal(UNAUTHENTICATED)

    def test_announcements_are_passed_on(self) -> None:
        """An announcement goes to the servers that have joined before, once, and only if it proves itself."""
        first, second = self.connect("server"), self.connect("server2")
        first.join()
        granted = second.join().payload["membership"]
        payload = {
            "host": NOWHERE.host,
            "port": NOWHERE.port,
            "pubkey": second.pair.public.text,
            "membership": granted,
        }
        second.send_signed(socp.SERVER_ANNOUNCE, payload, to=socp.EVERYONE, sig="AA")
        second.expect_error(INVALID_SIG)
        second.send_signed(socp.SERVER_ANNOUNCE, payload | {"membership": membership("server2", by="mallory")})
        second.expect_error(NOT_ALLOWED)
        second.send_signed(socp.SERVER_ANNOUNCE, payload, to=socp.EVERYONE)
        self.assertEqual(first.expect(socp.SERVER_ANNOUNCE).payload["membership"], granted)
        first.expect_silence()


class TimersTest(NetworkTest):
    """Peers that keep others waiting, with timers shrunk to a tenth."""

    factor = FAST

    def setUp(self) -> None:
        """Start a server that no introducer answers."""
        super().setUp()
        (self.directory / "introducer.b64u").write_text(key("introducer").public.text, "ascii")
        _, self.port = self.server("server", 1, registered=False)

    def connect(self, name: str) -> Peer:
        """Connect to it."""
        peer = Peer(self.port, name)
        self.addCleanup(peer.leave)
        return peer

    def test_patience_ends(self) -> None:
        """Who says nothing, stops in mid-handshake or in mid-frame, or falls silent gets TIMEOUT and is closed.

        Bytes that trickle in prolong neither the handshake's time nor a frame's.
        """
        silent, slow, stuck, idle = (self.connect(name) for name in ("dave", "erin", "frank", "grace"))
        dripping_stranger, dripping_user = self.connect("stranger"), self.connect("heidi")
        slow.hello()
        slow.expect(socp.AUTH_CHALLENGE)
        for peer in (stuck, idle, dripping_user):
            peer.attach_user()
        stuck.send_bytes(b"\0\0\1\0{")
        for peer in (dripping_stranger, dripping_user):
            peer.send_bytes((10_000).to_bytes(4, "big") + b"{")
        self.drip(dripping_stranger, dripping_user)
        for peer in (silent, slow, stuck, idle):
            peer.expect_refusal(TIMEOUT)

    def drip(self, *peers: Peer) -> None:
        """Send a byte of a frame now and then until each peer got TIMEOUT and was closed."""
        for peer in peers:
            while True:
                for each in peers:
                    with contextlib.suppress(OSError):
                        each.send_bytes(b" ")
                with contextlib.suppress(NothingCameError):
                    self.assertEqual(peer.expect(socp.ERROR, seconds=0.05).payload["code"], TIMEOUT)
                    break
            peer.expect_closed()
