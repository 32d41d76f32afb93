"""The handshake (PROTOCOL.md section 5), both sides of all three kinds of link, as one table of moves.

    connector                                    acceptor
    CONNECTING ── hello ──────────────────────▶  START
               ◀───────────────── AUTH_CHALLENGE
    CHALLENGED ── AUTH_RESPONSE ──────────────▶  WAITING
               ◀──────── ACK or SERVER_WELCOME   PROVED   (the program that accepts decides, and sends it)
    DONE                                         DONE

Each side is an object that is given one envelope after the other, and answers with the frame to send. It holds no
socket and no thread, and it signs nothing for a peer that has not shown what it must: a connector answers the one
that it expects alone, and an acceptor signs its first frame when the connector has proved its key.
"""

from __future__ import annotations

import enum
import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import socp
from crypto.encoding import decode_base64url, encode_base64url
from crypto.keys import PublicKey, parse_public_key
from crypto.signing import ATTACHMENT, SERVER_LINK, Signer, sign_content, verify_content
from framing import encode_frame
from origin import Origin, check_origin, key_of
from socp import (
    ACK,
    AUTH_CHALLENGE,
    AUTH_RESPONSE,
    BAD_KEY,
    BAD_TIMESTAMP,
    ERROR,
    INVALID_SIG,
    NOT_ALLOWED,
    SERVER_HELLO_JOIN,
    SERVER_HELLO_LINK,
    SERVER_WELCOME,
    UNAUTHENTICATED,
    USER_HELLO,
    Envelope,
    ProtocolError,
)
from users import Attachment, attachment_object

_TLS_MARK_BYTES = 8


class State(enum.Enum):
    """Where a side stands; see the module's picture."""

    START = enum.auto()
    WAITING = enum.auto()
    PROVED = enum.auto()
    CONNECTING = enum.auto()
    CHALLENGED = enum.auto()
    DONE = enum.auto()


class HandshakeRefused(Exception):
    """Raised on the connector's side when the acceptor answers ERROR, or is not whom it must be."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class Proof:
    """What a connector has proved: who it is, and what it signed to prove it.

    Attributes:
        hello: the type of its hello, which is the kind of link.
        key: its key; `key.id` is its id.
        payload: of its hello.
        nonce: the acceptor's, which it signed.
        ts: Unix ms of its AUTH_RESPONSE, which it signed.
        content_sig: the signature, of the attachment or the link object of section 4.3.
    """

    hello: str
    key: PublicKey
    payload: Mapping[str, Any] = field(repr=False)
    nonce: str
    ts: int
    content_sig: str = field(repr=False)


def new_nonce() -> str:
    """Return 32 random bytes as base64url."""
    return encode_base64url(secrets.token_bytes(socp.NONCE_BYTES))


def new_tls_nonce() -> str:
    """Return a nonce by which an acceptor tells the connector that it speaks TLS (section 15).

    The connector signs it, so nobody in between can change it.
    """
    random = secrets.token_bytes(socp.NONCE_BYTES - _TLS_MARK_BYTES)
    return encode_base64url(random + _tls_mark(random))


def says_tls(nonce: str) -> bool:
    """Tell whether a nonce of 32 bytes is one of `new_tls_nonce`; of others, one in 2^64 is taken for it."""
    random, mark = decode_base64url(nonce)[:-_TLS_MARK_BYTES], decode_base64url(nonce)[-_TLS_MARK_BYTES:]
    return mark == _tls_mark(random)


def _tls_mark(random: bytes) -> bytes:
    return hashlib.sha256(b"SOCP in TLS" + random).digest()[:_TLS_MARK_BYTES]


def check_clock(ts: int, now: int, skew: int) -> None:
    """Refuse a time too far from ours.

    Raises:
        ProtocolError: BAD_TIMESTAMP, with both times.
    """
    if abs(ts - now) > skew:
        raise ProtocolError(BAD_TIMESTAMP, f"your time is {ts}, the time here is {now} (Unix ms)")


def _signed_object(
    hello: str, acceptor_id: str, nonce: str, ts: int, own_id: str, payload: Mapping[str, Any]
) -> dict[str, object]:
    """Return what AUTH_RESPONSE signs (section 4.3), which is also what it is verified against."""
    if hello == USER_HELLO:
        attach = Attachment(nonce, ts, "")
        return attachment_object(own_id, acceptor_id, attach, payload["meta"], payload["caps"])
    return {
        "peer_id": own_id,
        "acceptor_id": acceptor_id,
        "nonce": nonce,
        "ts": ts,
        "host": payload["host"],
        "port": payload["port"],
        "type": hello,
    }


def _without_ballast(hello: Envelope) -> Envelope:
    """Return of a hello what is needed until the handshake is done; a stranger could make the rest take 0.5 MB."""
    kept = socp.SHAPES[hello.type].required.keys() - {"memberships"}
    return replace(hello, payload={name: hello.payload[name] for name in kept}, visited=(), raw=b"")


class Acceptor:
    """The side that was connected to.

    Args:
        origin: who we are.
        check_hello: refuses a hello by raising ProtocolError, as NOT_ALLOWED: its kind, or who sent it.
        last_attachment: tells the `ts` of a user's last known attachment, 0 if there is none.
        skew: how far the connector's clock may be off, in ms.
        now: the clock, Unix ms.

    Attributes:
        secure: whether the connector is connected by TLS; to be set before `receive`.
    """

    def __init__(
        self,
        origin: Origin,
        check_hello: Callable[[str, PublicKey, Mapping[str, Any]], None],
        last_attachment: Callable[[str], int],
        skew: int,
        now: Callable[[], int] = socp.now_ms,
    ) -> None:
        self._origin = origin
        self._check_hello = check_hello
        self._last_attachment = last_attachment
        self._skew = skew
        self._now = now
        self._hello: Envelope | None = None
        self._key: PublicKey | None = None  # of the hello
        self._nonce = ""
        self.state = State.START
        self.secure = False
        self.peer_id = socp.EVERYONE
        self.proof: Proof | None = None

    def receive(self, envelope: Envelope) -> bytes | None:
        """Take the connector's next envelope.

        Returns:
            The frame to answer with; None when `proof` is there, and `accept` is what comes next.

        Raises:
            ProtocolError: the connector broke a rule; every error before the handshake is done closes the link.
        """
        move = _ACCEPTOR_MOVES.get((self.state, envelope.type))
        if move is None:
            raise ProtocolError(UNAUTHENTICATED, f"the handshake waits for {_AWAITED[self.state]}")
        if self.state is State.START:
            self.peer_id = envelope.sender  # as it says; errors go there, and nothing else until it is proved
        socp.check_payload(envelope)
        return move(self, envelope)

    def _take_hello(self, envelope: Envelope) -> bytes:
        payload = envelope.payload
        # Not among the keys that are kept parsed: strangers could drive the others out, and for a user who is attached
        # there is nothing more to verify.
        key = key_of(payload["pubkey"], envelope.sender, parse_public_key)
        if payload.get("enc_pubkey", key.text) != key.text:
            raise ProtocolError(BAD_KEY, "enc_pubkey is not pubkey")
        # Who joins knows an address alone, and that may be another one than ours from where it stands.
        if envelope.type != SERVER_HELLO_JOIN and envelope.to not in (socp.EVERYONE, self._origin.id):
            raise ProtocolError(NOT_ALLOWED, f"this is {self._origin.id}")
        self._check_hello(envelope.type, key, payload)
        self._hello, self._key = _without_ballast(envelope), key
        self._nonce = new_tls_nonce() if self.secure else new_nonce()
        self.state = State.WAITING
        after = self._last_attachment(key.id) if envelope.type == USER_HELLO else 0
        challenge = {"nonce": self._nonce, "pubkey": self._origin.public.text, "after": after}
        return self._origin.unsigned(AUTH_CHALLENGE, key.id, challenge)

    def _take_response(self, envelope: Envelope) -> None:
        assert self._hello is not None
        assert self._key is not None
        hello, key, payload = self._hello, self._key, envelope.payload
        signed = _signed_object(hello.type, self._origin.id, self._nonce, envelope.ts, key.id, hello.payload)
        purpose = ATTACHMENT if hello.type == USER_HELLO else SERVER_LINK
        if (
            payload["nonce"] != self._nonce
            or envelope.to != self._origin.id
            or envelope.sender != key.id
            or not verify_content(key, purpose, signed, payload["content_sig"])
        ):
            raise ProtocolError(INVALID_SIG, "AUTH_RESPONSE does not prove the key")
        check_clock(envelope.ts, self._now(), self._skew)
        self.proof = Proof(hello.type, key, hello.payload, self._nonce, envelope.ts, payload["content_sig"])
        self.state = State.PROVED

    @property
    def proved(self) -> bool:
        """Whether the connector has proved its key."""
        return self.state in (State.PROVED, State.DONE)

    def forget(self) -> None:
        """Keep nothing of a handshake that is done: neither `proof`, nor what `accept` needs."""
        self._hello = self._key = self.proof = None

    def accept(self, **fields: object) -> bytes:
        """Return the frame that ends the handshake: SERVER_WELCOME for a join, else ACK.

        Args:
            fields: what it says besides the nonces.
        """
        assert self._hello is not None
        assert self.state is State.PROVED
        self.state = State.DONE
        nonces = {"client_nonce": self._hello.payload["nonce"], "nonce": self._nonce}
        if self._hello.type == SERVER_HELLO_JOIN:
            return encode_frame(self._origin.signed(SERVER_WELCOME, self.peer_id, {**fields, **nonces}))
        return encode_frame(self._origin.signed(ACK, self.peer_id, {"msg_ref": self._hello.type, **fields, **nonces}))


class Connector:
    """The side that connects.

    Args:
        signer: who we are.
        hello: the type of hello, which is the kind of link.
        payload: of the hello, without `pubkey` and `nonce`.
        check_acceptor: refuses an acceptor that is not the one expected, by raising HandshakeRefused.
        to: the hello's destination.
        skew: how far ahead the last attachment may be, in ms.
        now: the clock, Unix ms.
    """

    def __init__(
        self,
        signer: Signer,
        hello: str,
        payload: Mapping[str, Any],
        check_acceptor: Callable[[PublicKey], None],
        to: str,
        skew: int,
        now: Callable[[], int] = socp.now_ms,
    ) -> None:
        self._signer = signer
        self._type = hello
        self._nonce = new_nonce()
        self._payload = {**payload, "pubkey": signer.public.text, "nonce": self._nonce}
        self._check_acceptor = check_acceptor
        self._to = to
        self._skew = skew
        self._now = now
        self._channel_key: PublicKey | None = None
        self._challenge = ""
        self.state = State.CONNECTING
        self.acceptor: PublicKey | None = None
        self.welcome: Envelope | None = None
        self.attached_at = 0

    def hello(self, channel_key: PublicKey | None = None) -> bytes:
        """Return the frame that opens the handshake.

        Args:
            channel_key: the one that the acceptor has proved in TLS (section 15); None on a plain connection.
        """
        self._channel_key = channel_key
        return self._frame(self._type, self._to, self._now(), self._payload)

    def receive(self, envelope: Envelope) -> bytes | None:
        """Take the acceptor's next envelope.

        Returns:
            The frame to answer with; None when the link is up, and `welcome` says how.

        Raises:
            HandshakeRefused: the acceptor refused us, is not the one expected, or broke a rule.
        """
        move = _CONNECTOR_MOVES.get((self.state, envelope.type))
        if move is None:
            raise HandshakeRefused(UNAUTHENTICATED, f"{envelope.type} in the middle of the handshake")
        try:
            socp.check_payload(envelope)
            return move(self, envelope)
        except ProtocolError as error:
            raise HandshakeRefused(error.code, error.detail) from error

    def _take_challenge(self, envelope: Envelope) -> bytes:
        payload = envelope.payload
        acceptor = key_of(payload["pubkey"], envelope.sender)
        # Without this, whoever stands in the middle could answer TLS himself, and pass on what is said in it.
        if self._channel_key is not None and self._channel_key.der != acceptor.der:
            raise HandshakeRefused(
                BAD_KEY,
                f"the other side of this TLS connection has the key of {self._channel_key.id} and says it is "
                f"{acceptor.id}: somebody may be in the middle",
            )
        # Whoever leads a plain connection of a server on into TLS could make up frames in its name there, since those
        # need no signature. A user's need none on either, so that a tunnel before a client does no harm.
        if self._channel_key is None and self._type != USER_HELLO and says_tls(payload["nonce"]):
            raise HandshakeRefused(
                NOT_ALLOWED,
                "the other side speaks TLS, and this connection does not: somebody may be in the middle (or a tunnel: "
                "connect without it, by --tls)",
            )
        self._check_acceptor(acceptor)
        ts = self._now()
        if payload["after"] - ts > self._skew:
            raise HandshakeRefused(
                BAD_TIMESTAMP,
                f"the last attachment with this key was signed at {payload['after']}, and this clock says {ts} "
                "(Unix ms): one of the two clocks is off",
            )
        ts = max(ts, payload["after"] + 1)
        signed = _signed_object(self._type, acceptor.id, payload["nonce"], ts, self._signer.public.id, self._payload)
        purpose = ATTACHMENT if self._type == USER_HELLO else SERVER_LINK
        self.acceptor = acceptor
        self.attached_at = ts
        self._challenge = payload["nonce"]
        self.state = State.CHALLENGED
        answer = {"nonce": payload["nonce"], "content_sig": sign_content(self._signer, purpose, signed)}
        return self._frame(AUTH_RESPONSE, acceptor.id, ts, answer)

    def _take_welcome(self, envelope: Envelope) -> None:
        assert self.acceptor is not None
        payload = envelope.payload
        expected = SERVER_WELCOME if self._type == SERVER_HELLO_JOIN else ACK
        if (
            envelope.type != expected
            or envelope.sender != self.acceptor.id
            or envelope.to != self._signer.public.id
            or payload.get("client_nonce") != self._nonce
            or payload.get("nonce") != self._challenge
            or payload.get("msg_ref", self._type) != self._type
        ):
            raise HandshakeRefused(INVALID_SIG, f"this {envelope.type} does not belong to our {self._type}")
        check_origin(envelope, self.acceptor)
        self.welcome = envelope
        self.state = State.DONE

    def _take_error(self, envelope: Envelope) -> None:
        raise HandshakeRefused(envelope.payload["code"], str(envelope.payload.get("detail", "")))

    def _frame(self, frame_type: str, to: str, ts: int, payload: Mapping[str, object]) -> bytes:
        return encode_frame(socp.make_envelope(frame_type, self._signer.public.id, to, ts, payload))


_AcceptorMove = Callable[[Acceptor, Envelope], "bytes | None"]
_ConnectorMove = Callable[[Connector, Envelope], "bytes | None"]

_ACCEPTOR_MOVES: dict[tuple[State, str], _AcceptorMove] = {
    (State.START, USER_HELLO): Acceptor._take_hello,
    (State.START, SERVER_HELLO_JOIN): Acceptor._take_hello,
    (State.START, SERVER_HELLO_LINK): Acceptor._take_hello,
    (State.WAITING, AUTH_RESPONSE): Acceptor._take_response,
}

_CONNECTOR_MOVES: dict[tuple[State, str], _ConnectorMove] = {
    (State.CONNECTING, AUTH_CHALLENGE): Connector._take_challenge,
    (State.CONNECTING, ERROR): Connector._take_error,
    (State.CHALLENGED, ACK): Connector._take_welcome,
    (State.CHALLENGED, SERVER_WELCOME): Connector._take_welcome,
    (State.CHALLENGED, ERROR): Connector._take_error,
}

_AWAITED = {
    State.START: "a hello",
    State.WAITING: "AUTH_RESPONSE",
    State.PROVED: "nothing more",
    State.DONE: "nothing more",
}
