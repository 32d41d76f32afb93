"""A peer that says whatever a test wants, over a real socket: a user, a server or a stranger, with a vector's key."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Mapping
from typing import Any

import socp
from addresses import Address
from certificates import certified_key
from crypto.encoding import encode_base64url
from crypto.keys import KeyPair, read_public_key
from crypto.sealing import message_label, seal
from crypto.signing import (
    ATTACHMENT,
    BROADCAST,
    MANIFEST,
    MESSAGE,
    RECEIPT,
    SERVER_LINK,
    KeySigner,
    Purpose,
    message_reference,
    sign_content,
)
from framing import FROM_SERVER, FrameBuffer, encode_frame
from handshake import new_nonce
from membership import issue
from origin import Origin, check_origin
from socp import Envelope
from tests.sockets import receive_envelope
from tests.tls import lax_context
from tests.vectors import key

PATIENCE = 30.0  # seconds for what should take a moment, on a machine that is busy
DAY = 24 * 60 * 60 * 1000
# What a server sends of itself at any time.
_NEWS = frozenset({socp.HEARTBEAT, socp.PRESENCE, socp.USER_SYNC, socp.USER_ADVERTISE, socp.USER_REMOVE})
_PROBE = "TEST_PROBE"
NOWHERE = Address("127.0.0.1", 1)  # where the servers that tests play are said to be


def membership(
    name: str, *, by: str = "introducer", issued: int | None = None, lifetime: int = DAY, address: Address = NOWHERE
) -> dict[str, object]:
    """Return a membership for a server of the vectors, by an introducer of the vectors."""
    now = socp.now_ms() if issued is None else issued
    return issue(KeySigner(key(by)), key(name).public, address, now, lifetime).to_wire()


class Peer:
    """One connection to an acceptor.

    Args:
        port: where it listens, at 127.0.0.1.
        name: whose key of the vectors we have.
        source: the address that we connect from; left to the system if None.
        tls: whether to speak TLS; the acceptor must then have the key that it proves there.
    """

    def __init__(self, port: int, name: str, *, source: str | None = None, tls: bool = False) -> None:
        self.pair: KeyPair = key(name)
        self.id = self.pair.id
        self.signer = KeySigner(self.pair)
        self.origin = Origin(self.signer)
        self.acceptor = socp.EVERYONE
        self.welcomed = False
        self.hello_payload: dict[str, Any] = {}
        self.attached_at = 0
        self.unconfirmed: list[Envelope] = []  # the messages that have been read, and not answered
        self._hello_type = ""
        self._buffer = FrameBuffer(FROM_SERVER)
        self._socket = socket.create_connection(
            ("127.0.0.1", port), timeout=PATIENCE, source_address=(source, 0) if source is not None else None
        )
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each second small frame waits 40 ms
        self.secure = tls
        if tls:
            self._socket = lax_context().wrap_socket(self._socket)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def leave(self) -> None:
        """Close the connection, and wait until the other side has noticed: it closes last, having let us go.

        A user confirms what it was sent before, so that no other test finds it in the mailbox.
        """
        with contextlib.suppress(OSError):
            if self.welcomed and self._hello_type == socp.USER_HELLO:
                self.empty_mailbox()
            self.end_sending()
            while self.read() is not None:
                continue
        self.close()

    # --- saying anything ----------------------------------------------------------------------------------------

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def shrink(self) -> None:
        """Take in little that is not read: what is sent to us soon has to wait at the other side."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def end_sending(self) -> None:
        """Close our direction alone."""
        # An SSLSocket's own method would go on in the clear.
        socket.socket.shutdown(self._socket, socket.SHUT_WR)

    def send(
        self,
        frame_type: str,
        payload: Mapping[str, object],
        *,
        sender: str | None = None,
        to: str | None = None,
        ts: int | None = None,
        sig: str = "",
    ) -> None:
        """Send an unsigned frame of ours; to the acceptor, if `to` does not say otherwise."""
        self.send_bytes(
            encode_frame(
                socp.make_envelope(
                    frame_type,
                    self.id if sender is None else sender,
                    self.acceptor if to is None else to,
                    socp.now_ms() if ts is None else ts,
                    payload,
                    sig,
                )
            )
        )

    def send_signed(
        self, frame_type: str, payload: Mapping[str, object], *, to: str | None = None, **change: Any
    ) -> None:
        """Send a frame of ours as a server does, with fields of the envelope changed after it was signed."""
        envelope = self.origin.signed(frame_type, self.acceptor if to is None else to, payload)
        self.send_bytes(encode_frame({**envelope, **change}))

    # --- hearing ------------------------------------------------------------------------------------------------

    def read(self, seconds: float = PATIENCE) -> Envelope | None:
        """Return the next frame; None when the other side has closed."""
        envelope = receive_envelope(self._socket, self._buffer, seconds)
        if envelope is not None and envelope.type == socp.USER_DELIVER:
            self.unconfirmed.append(envelope)
        return envelope

    def expect(self, frame_type: str, seconds: float = PATIENCE) -> Envelope:
        """Return the next frame of a type, passing over others; an ERROR that was not waited for fails."""
        while (envelope := self.read(seconds)) is not None:
            if envelope.type == frame_type:
                return envelope
            if envelope.type == socp.ERROR:
                raise AssertionError(f"{frame_type} was expected, and {envelope.payload} came")
        raise AssertionError(f"{frame_type} was expected, and the connection was closed")

    def expect_error(self, code: str) -> Envelope:
        """Expect an ERROR with this code: signed by whom we know, and by nobody for a stranger."""
        envelope = self.expect(socp.ERROR)
        assert envelope.payload["code"] == code, envelope.payload
        if self.welcomed:
            self.check_own(envelope)
        else:
            assert envelope.sig == "", "an ERROR was signed for a stranger"
            assert "hdr" not in envelope.payload
        return envelope

    def check_own(self, envelope: Envelope) -> Envelope:
        """Expect a frame that goes no further than our link to be signed, or not to be on TLS; and return it."""
        if self.secure:
            assert envelope.sig == "" and "hdr" not in envelope.payload, "a frame was signed that TLS protects"
        else:
            check_origin(envelope, read_public_key(self.acceptor_key))
        return envelope

    def expect_closed(self) -> None:
        """Expect the other side to close, and to say nothing more before it."""
        while (envelope := self.read()) is not None:
            assert envelope.type in _NEWS, f"{envelope.type} came"

    def expect_refusal(self, code: str) -> Envelope:
        """Expect an ERROR with this code, and the end of the connection."""
        envelope = self.expect_error(code)
        self.expect_closed()
        return envelope

    def expect_refusal_of_known(self, code: str) -> Envelope:
        """Expect an ERROR after we have proved who we are: it is signed, though there was no ACK."""
        self.welcomed = True
        return self.expect_refusal(code)

    def expect_alive(self) -> None:
        """Expect that the other side still listens to us: it answers what asks for an answer."""
        self.send_probe()
        while not self._is_answer(self._next()):
            continue

    def expect_silence(self) -> None:
        """Expect that what was sent so far is passed over: nothing but its own news comes before a probe's answer."""
        for envelope in self.read_until_answer():
            assert envelope.sender == self.acceptor and envelope.type in _NEWS, f"{envelope.type} came"

    def read_until_answer(self) -> list[Envelope]:
        """Return what comes before the answer to a probe: all that was to be said about what was sent so far."""
        self.send_probe()
        came = []
        while not self._is_answer(envelope := self._next()):
            came.append(envelope)
        return came

    def _next(self) -> Envelope:
        envelope = self.read()
        assert envelope is not None, "the connection was closed"
        return envelope

    def send_probe(self) -> None:
        """Send what is answered at once, by what comes at no other time.

        For a user that is the answer to a HEARTBEAT. Servers are sent such frames of themselves too: for them it is the
        ERROR about a frame of a type that nobody knows.
        """
        if self._hello_type == socp.USER_HELLO:
            self.send(socp.HEARTBEAT, {"probe": True})
        else:
            self.send_signed(_PROBE, {})

    def _is_answer(self, envelope: Envelope) -> bool:
        if self._hello_type == socp.USER_HELLO:
            return envelope.type == socp.HEARTBEAT and envelope.to == self.id
        return envelope.type == socp.ERROR and envelope.payload["code"] == socp.UNKNOWN_TYPE

    # --- the handshake ------------------------------------------------------------------------------------------

    def hello(self, hello_type: str = socp.USER_HELLO, *, to: str = socp.EVERYONE, **change: Any) -> None:
        """Send a hello, with fields of its payload changed."""
        payload: dict[str, object] = {"pubkey": self.pair.public.text, "nonce": new_nonce()}
        if hello_type == socp.USER_HELLO:
            payload |= {"client": "test/1", "meta": {}, "caps": []}
        else:
            payload |= {"host": NOWHERE.host, "port": NOWHERE.port}
        self._hello_type = hello_type
        self.hello_payload = {name: value for name, value in {**payload, **change}.items() if value is not None}
        self.send(hello_type, self.hello_payload, to=to)

    def respond(
        self,
        *,
        signer: str | None = None,
        ts: int | None = None,
        sender: str | None = None,
        to: str | None = None,
        **change: Any,
    ) -> None:
        """Answer AUTH_CHALLENGE.

        Args:
            signer: whose key of the vectors signs; ours if None.
            ts: Unix ms; now, or behind the last attachment, if None.
            sender: the envelope's `from`; `to`: its `to`.
            change: fields of what is signed that are not what they should be; `sent_nonce`: of the payload.
        """
        challenge = self.expect(socp.AUTH_CHALLENGE)
        self.acceptor = challenge.sender
        self.acceptor_key = challenge.payload["pubkey"]
        if isinstance(self._socket, ssl.SSLSocket):
            certified = certified_key(self._socket.getpeercert(binary_form=True) or b"")
            assert certified.text == self.acceptor_key, "the acceptor has another key in TLS"
        sent_nonce = change.pop("sent_nonce", challenge.payload["nonce"])
        ts = max(socp.now_ms(), challenge.payload["after"] + 1) if ts is None else ts
        signed: dict[str, object] = {"nonce": challenge.payload["nonce"], "ts": ts}
        purpose: Purpose
        if self._hello_type == socp.USER_HELLO:
            purpose = ATTACHMENT
            signed |= {"user_id": self.id, "server_id": self.acceptor}
            signed |= {"meta": self.hello_payload["meta"], "caps": self.hello_payload["caps"]}
        else:
            purpose = SERVER_LINK
            signed |= {"peer_id": self.id, "acceptor_id": self.acceptor, "type": self._hello_type}
            signed |= {"host": self.hello_payload["host"], "port": self.hello_payload["port"]}
        signature = sign_content(KeySigner(key(signer)) if signer else self.signer, purpose, {**signed, **change})
        self.attached_at = ts
        self.attach = {"nonce": challenge.payload["nonce"], "ts": ts, "content_sig": signature}
        self.send(socp.AUTH_RESPONSE, {"nonce": sent_nonce, "content_sig": signature}, ts=ts, sender=sender, to=to)

    def finish_handshake(self) -> Envelope:
        """Read and check the frame that ends the handshake."""
        welcome = self.expect(socp.SERVER_WELCOME if self._hello_type == socp.SERVER_HELLO_JOIN else socp.ACK)
        check_origin(welcome, read_public_key(self.acceptor_key))
        assert welcome.payload["client_nonce"] == self.hello_payload["nonce"]
        assert welcome.to == self.id
        self.welcomed = True
        return welcome

    def attach_user(self, **change: Any) -> Envelope:
        """Attach as a user, and return the ACK."""
        self.hello(socp.USER_HELLO, **change)
        self.respond()
        return self.finish_handshake()

    def link_server(self, name: str, **change: Any) -> Envelope:
        """Link as the server of that name, and return the ACK."""
        self.hello(socp.SERVER_HELLO_LINK, **{"memberships": [membership(name)]} | change)
        self.respond()
        return self.finish_handshake()

    def join(self, **change: Any) -> Envelope:
        """Join an introducer, and return its SERVER_WELCOME."""
        self.hello(socp.SERVER_HELLO_JOIN, **change)
        self.respond()
        return self.finish_handshake()

    # --- what users send ----------------------------------------------------------------------------------------

    def signed_payload(
        self, purpose: Purpose, to: str, ts: int, payload: Mapping[str, object], *, sender_pub: bool = True
    ) -> dict[str, object]:
        """Return a payload with `sender_pub` and a content signature of ours."""
        values = {**payload, "from": self.id, "to": to, "ts": ts}
        extra = {"sender_pub": self.pair.public.text} if sender_pub else {}
        return {**payload, **extra, "content_sig": sign_content(self.signer, purpose, values)}

    def message(self, to: str, text: str, ts: int) -> dict[str, object]:
        """Return the payload of a direct message to a user of the vectors, named."""
        recipient = key(to)
        sealed = seal(recipient.public, text.encode(), message_label(self.id, recipient.id))
        return self.signed_payload(MESSAGE, recipient.id, ts, {"ciphertext": encode_base64url(sealed)})

    def tell(self, to: str, text: str) -> str:
        """Send a direct message to a user of the vectors, named, and return its msg_ref."""
        ts = socp.now_ms()
        payload = self.message(to, text, ts)
        self.send(socp.MSG_DIRECT, payload, to=key(to).id, ts=ts)
        return message_reference(str(payload["content_sig"]))

    def confirm(self, delivered: Envelope, status: str = "delivered") -> None:
        """Answer a message as a recipient does."""
        ts, sender = socp.now_ms(), delivered.payload["sender"]
        receipt = {"msg_ref": message_reference(delivered.payload["content_sig"]), "status": status}
        self.send(socp.ACK, self.signed_payload(RECEIPT, sender, ts, receipt, sender_pub=False), to=sender, ts=ts)
        self.unconfirmed = [other for other in self.unconfirmed if other is not delivered]

    def empty_mailbox(self) -> None:
        """Confirm every message that was sent, until no more come."""
        confirmed = True
        while confirmed:
            confirmed = False
            self.send_probe()
            while (envelope := self.read()) is not None and not self._is_answer(envelope):
                continue
            for delivered in self.unconfirmed:
                self.confirm(delivered)
                confirmed = envelope is not None

    def broadcast(self, text: str, ts: int) -> dict[str, object]:
        """Return the payload of a broadcast."""
        return self.signed_payload(BROADCAST, socp.PUBLIC, ts, {"text": text})

    def manifest(self, to: str, ts: int, **change: Any) -> dict[str, object]:
        """Return the payload of a FILE_START to a user of the vectors, named."""
        manifest = {
            "file_id": "3f0c1b9e-8a44-4d0e-9a5e-6f6f2f9f1c11",
            "name": "a file",
            "size": 5,
            "sha256": "00" * 32,
            "mode": "dm",
            "chunks": 1,
            **change,
        }
        return self.signed_payload(MANIFEST, key(to).id, ts, manifest)

    def receipt(self, to: str, ts: int, msg_ref: str, status: str = "delivered") -> dict[str, object]:
        """Return the payload of a receipt for a user of the vectors, named."""
        receipt = {"msg_ref": msg_ref, "status": status}
        return self.signed_payload(RECEIPT, key(to).id, ts, receipt, sender_pub=False)
