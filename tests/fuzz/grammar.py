"""The grammar of the fuzzer: valid frames of every type, as each kind of peer would send them, rightly signed.

All of it is decided by the seed: signatures have no salt, and sealed texts are padded by what is in them.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import socp
from crypto.encoding import digest, encode_base64url
from crypto.keys import PublicKey
from crypto.sealing import chunk_label, message_label
from crypto.signing import (
    ATTACHMENT,
    BROADCAST,
    FILE_RESULT,
    MANIFEST,
    MESSAGE,
    RECEIPT,
    SERVER_LINK,
    Purpose,
    header_digest,
    message_reference,
)
from tests.vectors import SERVERS, key

Wire = dict[str, Any]

NOW = 1_800_000_000_000  # Unix ms: what in-process targets take the time for
DAY = 24 * 60 * 60 * 1000
NONCE = encode_base64url(bytes(range(32)))  # what every side of a handshake in process draws
PORTS = {name: 9001 + number for number, name in enumerate(SERVERS)}
FILES = tuple(f"{number:08x}-0000-4000-8000-000000000000" for number in range(1, 5))
CONTENT = b"what is in the file"

_HASH = hashes.SHA256()
_PADDING = padding.PSS(mgf=padding.MGF1(_HASH), salt_length=0)


class FixedSigner:
    """Signs the same value with the same bytes each time.

    Args:
        name: with whose key of the vectors.
        real: by RSA, as every verifier of ours takes it; or else by what stands for that in process.
    """

    def __init__(self, name: str, *, real: bool = False) -> None:
        self._name = name
        self._real = real

    @property
    def public(self) -> PublicKey:
        """The key that verifies."""
        return key(self._name).public

    def sign(self, value: Mapping[str, object]) -> str:
        """Return base64url(Sign(value))."""
        if not self._real:
            return stand_in(self.public, value)
        return encode_base64url(key(self._name).private.sign(digest(value), _PADDING, _HASH))


def stand_in(public: PublicKey, value: Mapping[str, object]) -> str:
    """Return what stands for a signature in process, where RSA would take nine tenths of the time."""
    return encode_base64url(hashlib.shake_256(public.der + digest(value)).digest(512))


def _mask(seed: bytes, length: int) -> bytes:
    blocks = (hashlib.sha256(seed + number.to_bytes(4, "big")).digest() for number in range(-(-length // 32)))
    return b"".join(blocks)[:length]


def _exclusive_or(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


@functools.lru_cache(maxsize=4096)
def seal_fixed(name: str, plain: bytes, label: bytes) -> str:
    """Seal at most 446 bytes for a key of the vectors by RSA-OAEP (RFC 8017), padded by what is sealed alone."""
    numbers = key(name).public.rsa.public_numbers()
    block = hashlib.sha256(label).digest() + bytes(446 - len(plain)) + b"\1" + plain
    seed = hashlib.sha256(label + plain).digest()
    masked = _exclusive_or(block, _mask(seed, len(block)))
    padded = b"\0" + _exclusive_or(seed, _mask(masked, 32)) + masked
    return encode_base64url(pow(int.from_bytes(padded, "big"), numbers.e, numbers.n).to_bytes(512, "big"))


def chunk_fixed(name: str, plain: bytes, label: bytes) -> Wire:
    """Return what a chunk of section 10.1 holds, with a key and an iv that are the same for the same label."""
    secret = hashlib.sha256(label + plain).digest()
    return {
        "wrapped_key": seal_fixed(name, secret, label),
        "iv": encode_base64url(secret[:12]),
        "ciphertext": encode_base64url(AESGCM(secret).encrypt(secret[:12], plain, label)),
    }


@dataclass(frozen=True)
class Role:
    """A kind of peer: who it is, and to whom it writes. All but `name` are names of the vectors' keys.

    Attributes:
        name: what it is called.
        server: who signs what servers say in its place.
        user: who says what users say in its place.
        here: who reads it.
        others: to whom else its frames may be.
    """

    name: str
    server: str
    user: str
    here: str
    others: tuple[str, ...]


USER = Role("user", "server2", "alice", "server", ("bob", "carol", "dave", "erin", "heidi"))
SERVER = Role("server", "server2", "carol", "server", ("alice", "bob", "erin", "dave", "heidi"))
JOINED = Role("joined server", "server2", "carol", "introducer", ("server3",))
CLIENT = Role("client", "server", "bob", "alice", ("alice",))
STRANGER = Role("stranger", "server2", "frank", "server", ("alice",))
NEWCOMER = Role("newcomer", "server4", "frank", "introducer", ("alice",))
DIALLED = Role("dialled server", "server2", "bob", "server", ("alice",))
ADMITTING = Role("dialled introducer", "introducer", "bob", "server", ("alice",))
GREETING = Role("greeting server", "server", "bob", "alice", ("alice",))
ROLES = (USER, SERVER, JOINED, CLIENT, STRANGER, NEWCOMER, DIALLED, ADMITTING, GREETING)


class Grammar:
    """Makes frames.

    Args:
        choices: what decides everything.
        now: the time, Unix ms.
        ports: where servers are said to be, by name.
        real: see FixedSigner.
    """

    def __init__(
        self,
        choices: random.Random,
        now: Callable[[], int] = lambda: NOW,
        ports: Mapping[str, int] = PORTS,
        *,
        real: bool = False,
    ) -> None:
        self._real = real
        self._choices = choices
        self._now = now
        self._ports = ports
        self._signers: dict[str, FixedSigner] = {}
        self._makers: dict[str, Callable[[Role, Wire], None]] = {
            socp.USER_HELLO: self._hello,
            socp.SERVER_HELLO_JOIN: self._hello,
            socp.SERVER_HELLO_LINK: self._hello,
            socp.AUTH_CHALLENGE: self._challenge,
            socp.AUTH_RESPONSE: self._response,
            socp.ACK: self._ack,
            socp.ERROR: self._error,
            socp.SERVER_WELCOME: self._welcome,
            socp.SERVER_ANNOUNCE: self._announce,
            socp.HEARTBEAT: self._heartbeat,
            socp.CTRL_CLOSE: self._close,
            socp.USER_ADVERTISE: self._advertise,
            socp.USER_REMOVE: self._remove,
            socp.USER_SYNC: self._sync,
            socp.USER_SYNC_REQUEST: self._nothing,
            socp.PRESENCE: self._presence,
            socp.MSG_DIRECT: self._direct,
            socp.SERVER_DELIVER: self._deliver,
            socp.USER_DELIVER: self._user_deliver,
            socp.MSG_PUBLIC_CHANNEL: self._broadcast,
            socp.FILE_START: self._file_start,
            socp.FILE_CHUNK: self._file_chunk,
            socp.FILE_END: self._file_end,
            socp.FILE_ACK: self._file_ack,
            socp.USER_LIST_REQUEST: self._list_request,
            socp.USER_LIST: self._list,
            socp.USER_KEY_REQUEST: self._key_request,
            socp.USER_KEY: self._key,
        }

    def make(self, frame_type: str, role: Role) -> Wire:
        """Return a valid envelope of a type, as that kind of peer would send it."""
        wire: Wire = {"type": frame_type, "ts": self._now(), "payload": {}, "sig": ""}
        self._makers[frame_type](role, wire)
        return {name: wire[name] for name in ("type", "from", "to", "ts", "payload", "sig", "visited") if name in wire}

    # --- signatures ---------------------------------------------------------------------------------------------

    def signer(self, name: str) -> FixedSigner:
        """Return who signs with a key of the vectors."""
        return self._signers.setdefault(name, FixedSigner(name, real=self._real))

    def sign_again(self, wire: Wire, name: str) -> Wire:
        """Return an envelope as that server would have sent it, whatever it says."""
        signed = copy.deepcopy(wire)
        payload = signed.get("payload")
        if isinstance(payload, dict):
            fields = (signed.get("from"), signed.get("to"), signed.get("ts"), signed.get("type"))
            payload["hdr"] = header_digest(*fields)  # type: ignore[arg-type]
            signed["sig"] = self.signer(name).sign(payload)
        return signed

    def _content(self, name: str, purpose: Purpose, values: Mapping[str, Any]) -> str:
        return self.signer(name).sign(purpose.object_of(values))

    def _from_server(self, role: Role, wire: Wire, to: str, payload: Wire) -> None:
        wire |= {"from": key(role.server).id, "to": to, "payload": payload}
        wire |= self.sign_again(wire, role.server)

    def _from_user(
        self, role: Role, wire: Wire, to: str, payload: Wire, purpose: Purpose | None = None, *, pub: bool = True
    ) -> None:
        wire |= {"from": key(role.user).id, "to": to, "payload": payload}
        if pub:
            payload["sender_pub"] = key(role.user).public.text
        if purpose is not None:
            values = {**payload, "from": wire["from"], "to": to, "ts": wire["ts"]}
            payload["content_sig"] = self._content(role.user, purpose, values)

    def _other(self, role: Role) -> str:
        return self._choices.choice(role.others)

    def _here_or_all(self, role: Role) -> str:
        return self._choices.choice((key(role.here).id, socp.EVERYONE))

    # --- handshakes ---------------------------------------------------------------------------------------------

    def attachment(self, name: str, server: str, ts: int, meta: Wire, caps: list[str]) -> Wire:
        """Return what a user signs when it attaches to a server."""
        values = {"user_id": key(name).id, "server_id": key(server).id, "nonce": NONCE, "ts": ts}
        signature = self._content(name, ATTACHMENT, {**values, "meta": meta, "caps": caps})
        return {"nonce": NONCE, "ts": ts, "content_sig": signature}

    def membership(self, name: str, *, issued: int | None = None, by: str = "introducer", lifetime: int = DAY) -> Wire:
        """Return what an introducer says of a server."""
        issued = self._now() - 1000 if issued is None else issued
        statement = {
            "server_id": key(name).id,
            "host": "127.0.0.1",
            "port": self._ports.get(name, 9000),
            "pubkey": key(name).public.text,
            "issued": issued,
            "expires": issued + lifetime,
            "introducer_id": key(by).id,
        }
        return {**statement, "sig": self.signer(by).sign(statement)}

    def _hello(self, role: Role, wire: Wire) -> None:
        name = role.user if wire["type"] == socp.USER_HELLO else role.server
        payload: Wire = {"pubkey": key(name).public.text, "nonce": NONCE}
        if wire["type"] == socp.USER_HELLO:
            payload |= {"client": "fuzz/1", "meta": {"display_name": name}, "caps": [socp.CAP_PRESENCE]}
            if self._choices.random() < 0.3:
                payload["enc_pubkey"] = payload["pubkey"]
        else:
            payload |= {"host": "127.0.0.1", "port": self._ports.get(name, 9000)}
        if wire["type"] == socp.SERVER_HELLO_LINK:
            payload["memberships"] = [self.membership(name)]
        wire |= {"from": key(name).id, "to": self._here_or_all(role), "payload": payload}

    def _challenge(self, role: Role, wire: Wire) -> None:
        payload = {"nonce": NONCE, "pubkey": key(role.server).public.text, "after": self._choices.choice((0, NOW - 5))}
        wire |= {"from": key(role.server).id, "to": key(role.here).id, "payload": payload}

    def _response(self, role: Role, wire: Wire) -> None:
        """Answer the challenge that the hello of this role is given."""
        hello = self.hello_of(role)
        name = role.user if hello == socp.USER_HELLO else role.server
        wire |= {"from": key(name).id, "to": key(role.here).id}
        wire["payload"] = {"nonce": NONCE, "content_sig": self.prove(role, name, hello, NONCE, wire["ts"])}

    def prove(self, role: Role, name: str, hello: str, nonce: str, ts: int) -> str:
        """Return the signature that ends a handshake with whoever reads this role."""
        values: Wire = {"nonce": nonce, "ts": ts}
        if hello == socp.USER_HELLO:
            about = {"user_id": key(name).id, "server_id": key(role.here).id}
            values |= {**about, "meta": {"display_name": name}, "caps": [socp.CAP_PRESENCE]}
            return self._content(name, ATTACHMENT, values)
        values |= {"peer_id": key(name).id, "acceptor_id": key(role.here).id, "type": hello}
        values |= {"host": "127.0.0.1", "port": self._ports.get(name, 9000)}
        return self._content(name, SERVER_LINK, values)

    @staticmethod
    def hello_of(role: Role) -> str:
        """Return the type of hello that a role begins with."""
        if role is STRANGER or role.name == "user":
            return socp.USER_HELLO
        return socp.SERVER_HELLO_JOIN if role.here == "introducer" else socp.SERVER_HELLO_LINK

    def _welcome(self, role: Role, wire: Wire) -> None:
        payload: Wire = {
            "assigned_id": key("server").id,
            "introducer_id": key("introducer").id,
            "membership": self.membership("server"),
            "servers": [self.membership("server3"), self.membership("server4", by="introducer2"), {}],
            "clients": [],
            "client_nonce": NONCE,
            "nonce": NONCE,
        }
        self._from_server(role, wire, key(role.here).id, payload)

    def _announce(self, role: Role, wire: Wire) -> None:
        about = self._choices.choice((role.server, "server4"))
        statement = self.membership(about, issued=self._now() - self._choices.choice((500, 1000, DAY)))
        payload = {"host": "127.0.0.1", "port": statement["port"], "pubkey": statement["pubkey"]}
        wire |= {"from": key(about).id, "to": socp.EVERYONE, "payload": {**payload, "membership": statement}}
        wire |= self.sign_again(wire, about)
        wire["visited"] = [key(about).id]

    # --- what anybody says --------------------------------------------------------------------------------------

    def _ack(self, role: Role, wire: Wire) -> None:
        kind = self._choices.choice(("receipt", "failed", "stored", "hello"))
        reference = self._reference(role)
        if role.name == "user" or kind in ("receipt", "failed"):
            status = "delivered" if kind != "failed" else "failed"
            payload: Wire = {"msg_ref": reference, "status": status}
            self._from_user(role, wire, key(self._other(role)).id, payload, RECEIPT, pub=False)
        elif kind == "stored":
            payload = {"msg_ref": reference, "status": "stored"}
            if role.here == "server":
                payload["user_id"] = key(self._other(role)).id
            self._from_server(role, wire, self._here_or_all(role), payload)
        else:
            payload = {"msg_ref": socp.SERVER_HELLO_LINK, "client_nonce": NONCE, "nonce": NONCE}
            self._from_server(role, wire, key(role.here).id, payload)

    def _reference(self, role: Role) -> str:
        """Return the msg_ref of a message that may be on its way, made as the one in `_direct` is."""
        sender = self._choices.choice(("alice", "bob", "carol", *role.others))
        return message_reference(self._message(sender, self._other(role), self._now())["content_sig"])

    def _error(self, role: Role, wire: Wire) -> None:
        code = self._choice(socp.USER_NOT_FOUND, socp.SERVER_BUSY, socp.MAILBOX_FULL, "NEW_CODE")
        payload: Wire = {"code": code, "detail": "of the fuzzer"}
        about = self._choices.randrange(4)
        if about == 0:
            payload["msg_ref"] = self._reference(role)
        elif about == 1:
            payload["file_id"] = self._choices.choice(FILES)
        if about != 2 and role.here == "server":
            payload["user_id"] = key(self._other(role)).id
        if role.name == "user":
            self._from_user(role, wire, key(role.here).id, payload, pub=False)
        else:
            self._from_server(role, wire, self._here_or_all(role), payload)

    def _choice(self, *values: str) -> str:
        return self._choices.choice(values)

    def _heartbeat(self, role: Role, wire: Wire) -> None:
        payload: Wire = self._choices.choice(({}, {"probe": True}, {"present": NONCE}))
        if role.name == "user":
            self._from_user(role, wire, self._here_or_all(role), dict(payload), pub=False)
        else:
            self._from_server(role, wire, self._here_or_all(role), dict(payload))

    def _close(self, role: Role, wire: Wire) -> None:
        payload = {"reason": self._choice("leaving", "shutting down", "attached elsewhere")}
        if role.name == "user":
            self._from_user(role, wire, key(role.here).id, payload, pub=False)
        else:
            self._from_server(role, wire, self._here_or_all(role), payload)

    def _nothing(self, role: Role, wire: Wire) -> None:
        self._from_server(role, wire, key(role.here).id, {})

    # --- what servers say of users ------------------------------------------------------------------------------

    def known(self, name: str, server: str, ts: int | None = None) -> Wire:
        """Return what servers say of a user who has attached somewhere, in every frame that does."""
        meta, caps = {"display_name": name}, ["presence"]
        ts = self._now() - self._choices.choice((1, 1000, 60_000)) if ts is None else ts
        proof = self.attachment(name, server, ts, meta, caps)
        return {"user_id": key(name).id, "pubkey": key(name).public.text, "meta": meta, "caps": caps, "attach": proof}

    def _advertise(self, role: Role, wire: Wire) -> None:
        name = self._choices.choice((role.user, "dave", "erin", "grace", "bob"))
        payload = {**self.known(name, role.server), "server_id": key(role.server).id}
        self._from_server(role, wire, socp.EVERYONE, payload)
        wire["visited"] = [wire["from"]]

    def _remove(self, role: Role, wire: Wire) -> None:
        name = self._choices.choice((role.user, "dave", "erin", "grace"))
        ts = self._now() - self._choices.choice((1, 1000, 60_000))
        payload = {"user_id": key(name).id, "server_id": key(role.server).id, "attach_ts": ts}
        self._from_server(role, wire, socp.EVERYONE, payload)

    def _sync(self, role: Role, wire: Wire) -> None:
        names = self._choices.sample(("carol", "dave", "grace", "frank"), self._choices.randrange(4))
        users = [{**self.known(name, role.server), "online": self._choices.random() < 0.7} for name in names]
        parts = self._choices.choice((1, 1, 2))
        payload = {"server_id": key(role.server).id, "users": users, "part": self._choices.randint(1, parts)}
        self._from_server(role, wire, key(role.here).id, {**payload, "parts": parts})

    def _presence(self, role: Role, wire: Wire) -> None:
        listed = self._listing("carol")
        self._from_server(role, wire, socp.EVERYONE, {"joined": [listed, {}], "left": [key("dave").id, "x"]})

    @staticmethod
    def _listing(name: str) -> Wire:
        return {"user_id": key(name).id, "server_id": key("server2").id, "display_name": name}

    # --- messages -----------------------------------------------------------------------------------------------

    def _message(self, sender: str, to: str, ts: int) -> Wire:
        label = message_label(key(sender).id, key(to).id)
        text = self._choice("one", "two", "drei ü", "\x1b[31mred", "")
        sealed = seal_fixed(to, text.encode(), label)
        values = {"ciphertext": sealed, "from": key(sender).id, "to": key(to).id, "ts": ts}
        signature = self._content(sender, MESSAGE, values)
        return {"ciphertext": sealed, "sender_pub": key(sender).public.text, "content_sig": signature}

    def _direct(self, role: Role, wire: Wire) -> None:
        to = self._other(role)
        wire |= {"from": key(role.user).id, "to": key(to).id, "payload": self._message(role.user, to, wire["ts"])}

    def _deliver(self, role: Role, wire: Wire) -> None:
        to, sender = self._other(role), self._choices.choice((role.user, "grace", "bob"))
        payload = {**self._message(sender, to, wire["ts"]), "user_id": key(to).id, "sender": key(sender).id}
        for flag in ("store", "forwarded"):
            if self._choices.random() < 0.3:
                payload[flag] = self._choices.random() < 0.8
        self._from_server(role, wire, key(role.here).id, payload)

    def _user_deliver(self, role: Role, wire: Wire) -> None:
        to, sender = self._other(role), self._choices.choice((role.user, "grace"))
        payload = {**self._message(sender, to, wire["ts"]), "sender": key(sender).id}
        self._from_server(role, wire, key(to).id, payload)

    def _broadcast(self, role: Role, wire: Wire) -> None:
        payload = {"text": self._choice("to all", "ü\u202e", "x" * 500)}
        self._from_user(role, wire, socp.PUBLIC, payload, BROADCAST)
        wire["visited"] = [key(role.server).id]

    # --- files --------------------------------------------------------------------------------------------------

    def _file_start(self, role: Role, wire: Wire) -> None:
        payload = {
            "file_id": self._choices.choice(FILES),
            "name": self._choice("a file", "../up", "nul", "x" * 300),
            "size": len(CONTENT),
            "sha256": hashlib.sha256(CONTENT).hexdigest(),
            "mode": "dm",
            "chunks": 1,
        }
        self._from_user(role, wire, key(self._other(role)).id, payload, MANIFEST)

    def _file_chunk(self, role: Role, wire: Wire) -> None:
        to, file_id = self._other(role), self._choices.choice(FILES)
        label = chunk_label(file_id, key(role.user).id, 0, key(to).id)
        payload = {"file_id": file_id, "index": 0, "ciphertext": seal_fixed(to, CONTENT, label)}
        self._from_user(role, wire, key(to).id, payload, pub=False)

    def _file_end(self, role: Role, wire: Wire) -> None:
        payload = {"file_id": self._choices.choice(FILES)}
        if self._choices.random() < 0.3:
            payload["status"] = "cancelled"
        self._from_user(role, wire, key(self._other(role)).id, payload, pub=False)

    def _file_ack(self, role: Role, wire: Wire) -> None:
        status = self._choice("receiving", "complete", "failed", "rejected", "waiting")
        payload = {"file_id": self._choices.choice(FILES), "next_index": self._choices.choice((0, 1)), "status": status}
        purpose = FILE_RESULT if status not in ("receiving", "waiting") else None
        self._from_user(role, wire, key(self._other(role)).id, payload, purpose, pub=False)

    # --- questions and answers ----------------------------------------------------------------------------------

    def _list_request(self, role: Role, wire: Wire) -> None:
        payload = {"after": self._choices.choice(("", key("bob").id)), "limit": self._choices.choice((1, 1000))}
        self._from_user(role, wire, key(role.here).id, payload, pub=False)

    def _list(self, role: Role, wire: Wire) -> None:
        payload = {"users": [self._listing("bob"), self._listing("carol")], "total": 2}
        self._from_server(role, wire, key(role.here).id, payload)

    def _key_request(self, role: Role, wire: Wire) -> None:
        payload = {"user_id": key(self._other(role)).id}
        self._from_user(role, wire, key(role.here).id, payload, pub=False)

    def _key(self, role: Role, wire: Wire) -> None:
        name = self._choices.choice(("bob", "carol"))
        payload = {**self.known(name, "server2"), "server_id": key("server2").id, "online": True}
        self._from_server(role, wire, key(role.here).id, payload)
