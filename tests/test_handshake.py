"""The handshake's two sides, talking to each other without a socket."""

from __future__ import annotations

import itertools
import unittest
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import socp
from crypto.encoding import decode_base64url
from crypto.keys import PublicKey, read_public_key
from crypto.signing import KeySigner
from framing import decode_frame, encode_frame
from handshake import Acceptor, Connector, HandshakeRefused, State, check_clock, new_nonce, says_tls
from origin import Origin, check_origin
from socp import (
    BAD_TIMESTAMP,
    INVALID_SIG,
    NOT_ALLOWED,
    SERVER_HELLO_JOIN,
    SERVER_HELLO_LINK,
    UNAUTHENTICATED,
    USER_HELLO,
    Envelope,
    ProtocolError,
    read_envelope,
)
from tests.badkeys import bad_keys, identifier_of
from tests.vectors import key

NOW = 1_700_000_000_000
SKEW = 5 * 60 * 1000
USER = {"client": "x", "meta": {"display_name": "a"}, "caps": []}
WHERE = {"host": "127.0.0.1", "port": 5, "memberships": []}


def opened(frame: bytes | None) -> Envelope:
    """Return the envelope in a frame."""
    assert frame is not None
    return read_envelope(decode_frame(frame), frame)


def changed(envelope: Envelope, **change: Any) -> Envelope:
    """Return an envelope with fields of its payload changed."""
    return read_envelope({**envelope.to_wire(), "payload": {**envelope.payload, **change}})


class Pair:
    """A connector and an acceptor."""

    def __init__(
        self,
        hello: str = USER_HELLO,
        payload: Mapping[str, Any] = USER,
        *,
        after: int = 0,
        connector_now: int = NOW,
        check_hello: Callable[[str, PublicKey, Mapping[str, Any]], None] = lambda *_: None,
        check_acceptor: Callable[[PublicKey], None] = lambda _: None,
    ) -> None:
        self.acceptor = Acceptor(Origin(KeySigner(key("server"))), check_hello, lambda _: after, SKEW, now=lambda: NOW)
        self.connector = Connector(
            KeySigner(key("alice")), hello, payload, check_acceptor, "*", SKEW, now=lambda: connector_now
        )

    def respond(self) -> Envelope:
        """Go on until AUTH_RESPONSE, and return that."""
        challenge = opened(self.acceptor.receive(opened(self.connector.hello())))
        return opened(self.connector.receive(challenge))

    def prove(self) -> None:
        """Go on until the connector has proved itself."""
        assert self.acceptor.receive(self.respond()) is None


class HandshakeTest(unittest.TestCase):
    """All three kinds of link, when all goes well."""

    def test_kinds(self) -> None:
        """Each kind ends with both sides done, knowing each other, and signed where it must be."""
        for hello, payload, last in (
            (USER_HELLO, USER, socp.ACK),
            (SERVER_HELLO_LINK, WHERE, socp.ACK),
            (SERVER_HELLO_JOIN, {"host": "h", "port": 1}, socp.SERVER_WELCOME),
        ):
            with self.subTest(hello):
                pair = Pair(hello, payload)
                pair.prove()
                proof = pair.acceptor.proof
                assert proof is not None
                self.assertEqual((proof.hello, proof.key.id, proof.ts), (hello, key("alice").id, NOW))
                fields = self.welcome_fields() if last == socp.SERVER_WELCOME else {"server_id": key("server").id}
                welcome = opened(pair.acceptor.accept(**fields))
                self.assertEqual(welcome.type, last)
                self.assertIsNone(pair.connector.receive(welcome))
                self.assertIs(pair.connector.state, State.DONE)
                self.assertIs(pair.acceptor.state, State.DONE)
                assert pair.connector.acceptor is not None
                self.assertEqual(pair.connector.acceptor.id, key("server").id)

    def welcome_fields(self) -> dict[str, Any]:
        """Return what SERVER_WELCOME says besides the nonces."""
        server_id = key("server").id
        return {
            "assigned_id": key("alice").id,
            "introducer_id": server_id,
            "membership": {},
            "servers": [],
            "clients": [],
        }

    def test_nothing_signed_for_a_stranger(self) -> None:
        """The acceptor signs nothing before the connector has proved its key."""
        pair = Pair()
        challenge = opened(pair.acceptor.receive(opened(pair.connector.hello())))
        self.assertEqual(challenge.sig, "")
        self.assertNotIn("hdr", challenge.payload)

    def test_forgotten(self) -> None:
        """Of a handshake that is done nothing is kept but that it was: not even its key among those kept parsed."""
        read_public_key.cache_clear()
        pair = Pair()
        self.assertFalse(pair.acceptor.proved)
        pair.prove()
        self.assertTrue(pair.acceptor.proved)
        pair.acceptor.accept()
        pair.acceptor.forget()
        self.assertIsNone(pair.acceptor.proof)
        self.assertTrue(pair.acceptor.proved)
        self.assertEqual(pair.acceptor.peer_id, key("alice").id)
        misses = read_public_key.cache_info().misses
        read_public_key(key("alice").public.text)
        self.assertEqual(read_public_key.cache_info().misses, misses + 1)

    def test_nonces(self) -> None:
        """Nonces are 32 bytes, and never twice the same."""
        nonces = {new_nonce() for _ in range(100)}
        self.assertEqual(len(nonces), 100)
        self.assertEqual({len(decode_base64url(nonce)) for nonce in nonces}, {32})

    def test_after(self) -> None:
        """The user signs a time behind its last attachment, also when its clock is a little behind that."""
        pair = Pair(after=NOW + SKEW)
        self.assertEqual(pair.respond().ts, NOW + SKEW + 1)
        self.assertEqual(pair.connector.attached_at, NOW + SKEW + 1)

    def test_clock(self) -> None:
        """Times are compared in both directions."""
        check_clock(NOW - SKEW, NOW, SKEW)
        check_clock(NOW + SKEW, NOW, SKEW)
        for ts in (NOW - SKEW - 1, NOW + SKEW + 1):
            with self.assertRaisesRegex(ProtocolError, f"{ts}.*{NOW}"):
                check_clock(ts, NOW, SKEW)


class AcceptorTest(unittest.TestCase):
    """Connectors that break the rules; more of them in e2e/test_handshake_rules.py."""

    def refused(self, code: str, pair: Pair, envelope: Envelope) -> None:
        """Have the acceptor refuse an envelope."""
        with self.assertRaises(ProtocolError) as caught:
            pair.acceptor.receive(envelope)
        self.assertEqual(caught.exception.code, code)

    def test_out_of_turn(self) -> None:
        """Every type is refused in every state that does not wait for it."""
        for frame_type in (socp.ACK, socp.AUTH_RESPONSE, socp.AUTH_CHALLENGE, socp.HEARTBEAT, "X"):
            envelope = read_envelope(socp.make_envelope(frame_type, key("alice").id, "*", NOW, {}))
            self.refused(UNAUTHENTICATED, Pair(), envelope)
        pair = Pair()
        hello = opened(pair.connector.hello())
        pair.acceptor.receive(hello)
        self.refused(UNAUTHENTICATED, pair, hello)
        proved = Pair()
        proved.prove()
        self.refused(UNAUTHENTICATED, proved, opened(proved.connector.hello()))

    def test_clock(self) -> None:
        """A response of another time is refused only once it is proved: nobody learns our clock for nothing."""
        late = Pair(connector_now=NOW - SKEW - 1)
        self.refused(BAD_TIMESTAMP, late, late.respond())
        pair = Pair(connector_now=NOW - SKEW - 1)
        self.refused(INVALID_SIG, pair, changed(pair.respond(), content_sig="AA"))

    def test_channel(self) -> None:
        """A server that connects plainly signs nothing for an acceptor that speaks TLS; a user does."""
        for hello, payload in ((USER_HELLO, USER), (SERVER_HELLO_LINK, WHERE)):
            for at_connector, at_acceptor in itertools.product((False, True), repeat=2):
                pair = Pair(hello, payload)
                pair.acceptor.secure = at_acceptor
                opening = pair.connector.hello(key("server").public if at_connector else None)
                challenge = opened(pair.acceptor.receive(opened(opening)))
                self.assertEqual(says_tls(challenge.payload["nonce"]), at_acceptor)
                if hello == USER_HELLO or at_connector or not at_acceptor:
                    self.assertIsNone(pair.acceptor.receive(opened(pair.connector.receive(challenge))))
                else:
                    with self.assertRaisesRegex(HandshakeRefused, "somebody may be in the middle"):
                        pair.connector.receive(challenge)

    def test_hello_checked_first(self) -> None:
        """A hello that the program refuses is not challenged."""

        def refuse(hello: str, public: PublicKey, payload: Mapping[str, Any]) -> None:
            raise ProtocolError(NOT_ALLOWED, f"{hello} {public.id == key('alice').id} {payload['client']}")

        pair = Pair(check_hello=refuse)
        with self.assertRaisesRegex(ProtocolError, "USER_HELLO True x"):
            pair.acceptor.receive(opened(pair.connector.hello()))


class ConnectorTest(unittest.TestCase):
    """Acceptors that break the rules."""

    def refused(self, code: str, pair: Pair, envelope: Envelope) -> None:
        """Have the connector refuse an envelope."""
        with self.assertRaises((HandshakeRefused, ProtocolError)) as caught:
            pair.connector.receive(envelope)
        self.assertEqual(getattr(caught.exception, "code", ""), code)

    def challenge(self, pair: Pair) -> Envelope:
        """Return the acceptor's challenge."""
        return opened(pair.acceptor.receive(opened(pair.connector.hello())))

    def test_wrong_acceptor(self) -> None:
        """Nothing is signed for an acceptor that is not the one expected, or not the owner of its key."""

        def refuse(_: PublicKey) -> None:
            raise HandshakeRefused("X", "another server")

        pair = Pair(check_acceptor=refuse)
        self.refused("X", pair, self.challenge(pair))
        pair = Pair()
        self.refused(socp.BAD_KEY, pair, changed(self.challenge(pair), pubkey=key("server2").public.text))

    def test_bad_keys(self) -> None:
        """Nothing is signed for an acceptor whose key is none that is allowed, though the id be that key's."""
        for why, text in bad_keys().items():
            with self.subTest(why):
                challenge = changed(self.challenge(pair := Pair()), pubkey=text)
                self.refused(socp.BAD_KEY, pair, replace(challenge, sender=identifier_of(text)))

    def test_channel(self) -> None:
        """Nothing is signed for an acceptor whose TLS has another key than it shows; the same key is right."""
        for proved, right in (("server", True), ("mallory", False)):
            pair = Pair()
            hello = opened(pair.connector.hello(key(proved).public))
            challenge = opened(pair.acceptor.receive(hello))
            if right:
                self.assertEqual(opened(pair.connector.receive(challenge)).type, socp.AUTH_RESPONSE)
            else:
                with self.assertRaisesRegex(HandshakeRefused, f"{key('mallory').id}.*somebody may be in the middle"):
                    pair.connector.receive(challenge)

    def test_clock_ahead(self) -> None:
        """A last attachment too far ahead of our clock is refused with both times, and nothing is signed."""
        pair = Pair(after=NOW + SKEW + 1)
        challenge = self.challenge(pair)
        with self.assertRaisesRegex(HandshakeRefused, rf"{NOW + SKEW + 1}.*{NOW}"):
            pair.connector.receive(challenge)

    def test_welcome(self) -> None:
        """A welcome with a wrong nonce, from or to somebody else, or signed by nobody is refused."""
        payloads: list[dict[str, object]] = [
            {"client_nonce": new_nonce()},
            {"nonce": new_nonce()},
            {"msg_ref": SERVER_HELLO_LINK},
            {"server_id": "changed after it was signed"},
        ]
        for change in payloads:
            pair = Pair()
            pair.prove()
            self.refused(INVALID_SIG, pair, changed(opened(pair.acceptor.accept(server_id="x")), **change))
        envelopes: list[dict[str, object]] = [
            {"from": key("server2").id},
            {"to": key("bob").id},
            {"sig": ""},
            {"ts": NOW + 1},
        ]
        for change in envelopes:
            pair = Pair()
            pair.prove()
            welcome = opened(pair.acceptor.accept())
            self.refused(INVALID_SIG, pair, read_envelope({**welcome.to_wire(), **change}))

    def test_nonces_of_a_welcome(self) -> None:
        """A welcome that the right server has signed, for another nonce of ours or of its own, is refused."""
        origin = Origin(KeySigner(key("server")))
        for wrong in ("client_nonce", "nonce", "msg_ref"):
            pair = Pair()
            pair.prove()
            payload = {**opened(pair.acceptor.accept()).payload, wrong: new_nonce()}
            self.refused(INVALID_SIG, pair, opened(encode_frame(origin.signed(socp.ACK, key("alice").id, payload))))

    def test_recorded_welcome(self) -> None:
        """A welcome that was recorded, though signed by the right server, is refused."""
        recorded = Pair()
        recorded.prove()
        welcome = opened(recorded.acceptor.accept())
        pair = Pair()
        pair.respond()
        self.refused(INVALID_SIG, pair, welcome)

    def test_errors_and_surprises(self) -> None:
        """An ERROR is passed on with its code; any other type that is not awaited ends the handshake."""
        origin = Origin(KeySigner(key("server")))
        error = opened(origin.error(key("alice").id, ProtocolError(NOT_ALLOWED, "no")))
        for prepare in (lambda _: None, Pair.respond):
            pair = Pair()
            prepare(pair)
            self.refused(NOT_ALLOWED, pair, error)
        pair = Pair()
        pair.connector.hello()
        with self.assertRaises((HandshakeRefused, ProtocolError)):
            pair.connector.receive(
                opened(encode_frame(origin.signed(socp.ACK, key("alice").id, {"msg_ref": USER_HELLO})))
            )

    def test_challenge_only_once(self) -> None:
        """A second challenge is not answered: each handshake signs once."""
        pair = Pair()
        challenge = self.challenge(pair)
        pair.connector.receive(challenge)
        with self.assertRaises((HandshakeRefused, ProtocolError)):
            pair.connector.receive(challenge)

    def test_hello_is_as_it_was_given(self) -> None:
        """The hello carries the key, a nonce and what the program says, unsigned."""
        hello = opened(Pair().connector.hello())
        self.assertEqual((hello.type, hello.sig, hello.sender), (USER_HELLO, "", key("alice").id))
        self.assertEqual(hello.payload["meta"], USER["meta"])
        socp.check_payload(hello)
        check = opened(encode_frame(hello.to_wire()))
        with self.assertRaises(ProtocolError):
            check_origin(check, key("alice").public)
