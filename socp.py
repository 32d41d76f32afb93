"""The words of SOCP v1.3: frame types, error codes, limits, the envelope, and the shape of every payload.

PROTOCOL.md sections 2, 3 and 13. Nothing here does I/O, keeps state or knows a clock of its own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from crypto.encoding import canonical, is_base64url

# Frame types
USER_HELLO: Final = "USER_HELLO"
SERVER_HELLO_JOIN: Final = "SERVER_HELLO_JOIN"
SERVER_HELLO_LINK: Final = "SERVER_HELLO_LINK"
AUTH_CHALLENGE: Final = "AUTH_CHALLENGE"
AUTH_RESPONSE: Final = "AUTH_RESPONSE"
ACK: Final = "ACK"
ERROR: Final = "ERROR"
SERVER_WELCOME: Final = "SERVER_WELCOME"
SERVER_ANNOUNCE: Final = "SERVER_ANNOUNCE"
HEARTBEAT: Final = "HEARTBEAT"
CTRL_CLOSE: Final = "CTRL_CLOSE"
USER_ADVERTISE: Final = "USER_ADVERTISE"
USER_REMOVE: Final = "USER_REMOVE"
USER_SYNC: Final = "USER_SYNC"
USER_SYNC_REQUEST: Final = "USER_SYNC_REQUEST"
PRESENCE: Final = "PRESENCE"
MSG_DIRECT: Final = "MSG_DIRECT"
SERVER_DELIVER: Final = "SERVER_DELIVER"
USER_DELIVER: Final = "USER_DELIVER"
MSG_PUBLIC_CHANNEL: Final = "MSG_PUBLIC_CHANNEL"
FILE_START: Final = "FILE_START"
FILE_CHUNK: Final = "FILE_CHUNK"
FILE_END: Final = "FILE_END"
FILE_ACK: Final = "FILE_ACK"
USER_LIST_REQUEST: Final = "USER_LIST_REQUEST"
USER_LIST: Final = "USER_LIST"
USER_KEY_REQUEST: Final = "USER_KEY_REQUEST"
USER_KEY: Final = "USER_KEY"

HELLOS: Final = frozenset({USER_HELLO, SERVER_HELLO_JOIN, SERVER_HELLO_LINK})
FILE_FRAMES: Final = frozenset({FILE_START, FILE_CHUNK, FILE_END, FILE_ACK})

# Error codes
USER_NOT_FOUND: Final = "USER_NOT_FOUND"
INVALID_SIG: Final = "INVALID_SIG"
BAD_KEY: Final = "BAD_KEY"
TIMEOUT: Final = "TIMEOUT"
UNKNOWN_TYPE: Final = "UNKNOWN_TYPE"
NAME_IN_USE: Final = "NAME_IN_USE"
BAD_FRAME: Final = "BAD_FRAME"
BAD_ENVELOPE: Final = "BAD_ENVELOPE"
BAD_TIMESTAMP: Final = "BAD_TIMESTAMP"
UNAUTHENTICATED: Final = "UNAUTHENTICATED"
NOT_ALLOWED: Final = "NOT_ALLOWED"
MAILBOX_FULL: Final = "MAILBOX_FULL"
TOO_LARGE: Final = "TOO_LARGE"
SERVER_BUSY: Final = "SERVER_BUSY"

# Addresses that are not an id
EVERYONE: Final = "*"
PUBLIC: Final = "public"

# The reason of a CTRL_CLOSE after which a client does not connect again by itself (section 7)
ATTACHED_ELSEWHERE: Final = "attached elsewhere"

# What a client's signed caps can say (section 5.1)
CAP_PRESENCE: Final = "presence"
CAP_HYBRID: Final = "a256gcm"  # section 10.1

# Limits that both ends must share; those that a program may choose are in settings.py.
META_MOST: Final = 4 * 1024  # bytes of canonical JSON
META_NESTING_MOST: Final = 12  # USER_SYNC has it four levels down, and no frame may be nested deeper than 16
DISPLAY_NAME_MOST: Final = 64  # characters
CAPS_MOST: Final = 16
CAP_MOST: Final = 32  # characters
TYPE_MOST: Final = 64  # characters
BROADCAST_MOST: Final = 16 * 1024  # bytes of UTF-8
# Bytes of a broadcast's frame: the longest text with every character escaped fits, and whatever else is in there, the
# list of servers that gossip adds cannot make it a frame that others must refuse.
BROADCAST_FRAME_MOST: Final = 100 * 1024
SEALED_TEXT_MOST: Final = 43_691  # characters: 64 blocks of 512 bytes as base64url
VISITED_MOST: Final = 1024  # servers; a longer list is no honest one, and would grow with each hop
# The same with that list, of 39 bytes for each: what another server passes on goes to every user as it came.
BROADCAST_GOSSIP_MOST: Final = BROADCAST_FRAME_MOST + 40 * VISITED_MOST
LIST_PAGE_MOST: Final = 1000
DETAIL_MOST: Final = 1000  # characters of another server's words that are passed on
REF_MOST: Final = 64  # characters; a msg_ref has 43, a file_id 36
TS_END: Final = 2**53
NONCE_BYTES: Final = 32


class ProtocolError(Exception):
    """Raised when a peer breaks the protocol, with what section 13 says to tell it.

    ProtocolError
     +- LinkError       also ends the link: the errors of section 2, NAME_IN_USE, and any before the handshake
                        is done

    Attributes:
        code: an error code of section 13.
        detail: for people; never repeats hostile input raw, and tells nothing of keys.
        refs: `msg_ref`, `file_id` or `user_id`, where the error is about one.
    """

    def __init__(self, code: str, detail: str, **refs: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.refs = refs


class LinkError(ProtocolError):
    """Raised for an error after which the link is closed."""


def now_ms() -> int:
    """Return Unix time in milliseconds, the `ts` of an envelope made now."""
    return time.time_ns() // 1_000_000


# --- envelopes (section 3) --------------------------------------------------------------------------------------


# Not frozen: one is made for each frame, and to freeze it takes longer than all else that is done to make it.
@dataclass(slots=True)
class Envelope:
    """One frame as read: the six fields, `visited` of gossip, and the bytes that it came in. Nobody changes it.

    Attributes:
        ts: Unix time in milliseconds.
        raw: the whole frame with its length, to be relayed unchanged; empty when it was not read from a link.
    """

    type: str
    sender: str
    to: str
    ts: int
    payload: dict[str, Any]
    sig: str
    visited: tuple[str, ...]
    raw: bytes

    def to_wire(self) -> dict[str, object]:
        """Return the six fields as they stand in a frame."""
        return make_envelope(self.type, self.sender, self.to, self.ts, self.payload, self.sig)

    def signed_values(self) -> dict[str, object]:
        """Return what content signatures choose from: the payload, under the envelope's own from, to and ts."""
        return {**self.payload, "from": self.sender, "to": self.to, "ts": self.ts}


_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_HOST_PORT = re.compile(r"[!-~]{1,255}:[0-9]{1,5}", re.ASCII)


def is_id(value: object) -> bool:
    """Tell whether a value is a UUID in its one spelling: lower case, with hyphens."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def is_ts(value: object) -> bool:
    """Tell whether a value is a time in milliseconds, 0 < ts < 2^53; a bool is an int to Python alone."""
    return type(value) is int and 0 < value < TS_END


def _is_destination(value: object) -> bool:
    if not isinstance(value, str):
        return False
    return value in (EVERYONE, PUBLIC) or is_id(value) or _HOST_PORT.fullmatch(value) is not None


def _is_type(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= TYPE_MOST


def _is_visited(value: object) -> bool:
    return isinstance(value, list) and len(value) <= VISITED_MOST and all(map(is_id, value))


_ENVELOPE: Final[tuple[tuple[str, Callable[[object], bool]], ...]] = (
    ("type", _is_type),
    ("from", is_id),
    ("to", _is_destination),
    ("ts", is_ts),
    ("payload", lambda value: isinstance(value, dict)),
    # Also where nothing depends on it: a value has one spelling (section 3).
    ("sig", lambda value: isinstance(value, str) and is_base64url(value)),
)


def read_envelope(value: Mapping[str, Any], raw: bytes = b"") -> Envelope:
    """Check the six fields of an envelope; unknown fields are passed over.

    Args:
        value: the object of a frame.
        raw: the frame that it came in.

    Raises:
        ProtocolError: BAD_ENVELOPE, naming the field.
    """
    for name, check in _ENVELOPE:
        if name not in value or not check(value[name]):
            raise ProtocolError(BAD_ENVELOPE, f"the envelope's {name} is missing or ill-typed")
    # Only gossip carries this, and it decides nothing; elsewhere it is an unknown field like any other.
    visited = value.get("visited", [])
    return Envelope(
        type=value["type"],
        sender=value["from"],
        to=value["to"],
        ts=value["ts"],
        payload=value["payload"],
        sig=value["sig"],
        visited=tuple(visited) if _is_visited(visited) else (),
        raw=raw,
    )


def make_envelope(
    frame_type: str, sender: str, to: str, ts: int, payload: Mapping[str, object], sig: str = ""
) -> dict[str, object]:
    """Return an envelope as an object ready to be framed."""
    return {"type": frame_type, "from": sender, "to": to, "ts": ts, "payload": dict(payload), "sig": sig}


# As clients write it; `ts` a little shorter than it may be.
_PLAIN_HEARTBEAT: Final = re.compile(
    rb'.{4}\{"type":"HEARTBEAT","from":"([0-9a-f-]{36})","to":"\*","ts":[1-9][0-9]{0,14},"payload":\{\},"sig":""\}',
    re.DOTALL,
)
_PLAIN_HEARTBEAT_MOST: Final = 128  # bytes


def is_plain_heartbeat(frame: bytes, user_id: str) -> bool:
    """Tell whether a frame is the HEARTBEAT of a user who asks for nothing (section 6.4), without reading its JSON.

    Most frames that a server reads are, and each would cost as much to read as any other.

    Args:
        frame: a whole one.
        user_id: the user's.

    Returns:
        False also for one in another spelling, which is to be read like any frame.
    """
    if len(frame) > _PLAIN_HEARTBEAT_MOST:
        return False
    found = _PLAIN_HEARTBEAT.fullmatch(frame)
    return found is not None and found[1] == user_id.encode()


# --- payloads ---------------------------------------------------------------------------------------------------

Check = Callable[[object], bool]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_binary(value: object) -> bool:
    return isinstance(value, str) and is_base64url(value)


def _is_nonce(value: object) -> bool:
    return isinstance(value, str) and len(value) == 43 and is_base64url(value)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value, re.ASCII) is not None


def _between(least: int, most: int) -> Check:
    return lambda value: type(value) is int and least <= value <= most


def _at_most(characters: int) -> Check:
    return lambda value: isinstance(value, str) and len(value) <= characters


_COUNT = _between(0, TS_END - 1)
_PORT = _between(1, 65535)


def _is_caps(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= CAPS_MOST
        and all(isinstance(cap, str) and 1 <= len(cap) <= CAP_MOST for cap in value)
    )


def _is_meta(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    name = value.get("display_name", "")
    return isinstance(name, str) and len(name) <= DISPLAY_NAME_MOST and _is_nested_within(value, META_NESTING_MOST)


def _is_nested_within(value: object, most: int) -> bool:
    if not isinstance(value, (dict, list)):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return most > 0 and all(_is_nested_within(entry, most - 1) for entry in inner)


def _is_page_start(value: object) -> bool:
    return value == "" or is_id(value)


def _is_attachment(value: object) -> bool:
    return (
        isinstance(value, dict)
        and _is_nonce(value.get("nonce"))
        and is_ts(value.get("ts"))
        and _is_text(value.get("content_sig"))
    )


@dataclass(frozen=True)
class Shape:
    """The fields of a payload and what each must be."""

    required: Mapping[str, Check]
    optional: Mapping[str, Check]


def _shape(required: Mapping[str, Check], **optional: Check) -> Shape:
    return Shape(required, optional)


# Keys and signatures are only `text` here: what is wrong with those is BAD_KEY and INVALID_SIG, not BAD_ENVELOPE.
_WHERE: Final[dict[str, Check]] = {"host": _at_most(255), "port": _PORT}
_PRESENT: Final[dict[str, Check]] = {"pubkey": _is_text, "meta": _is_meta, "caps": _is_caps}
_SEALED: Final[dict[str, Check]] = {"ciphertext": _is_binary, "sender_pub": _is_text, "content_sig": _is_text}

SHAPES: Final[dict[str, Shape]] = {
    USER_HELLO: _shape({**_PRESENT, "client": _is_text, "nonce": _is_nonce}, enc_pubkey=_is_text),
    SERVER_HELLO_JOIN: _shape({**_WHERE, "pubkey": _is_text, "nonce": _is_nonce}),
    SERVER_HELLO_LINK: _shape({**_WHERE, "pubkey": _is_text, "nonce": _is_nonce, "memberships": _is_objects}),
    AUTH_CHALLENGE: _shape({"nonce": _is_nonce, "pubkey": _is_text, "after": _COUNT}),
    AUTH_RESPONSE: _shape({"nonce": _is_text, "content_sig": _is_text}),
    ACK: _shape({"msg_ref": _at_most(REF_MOST)}, status=_is_text, content_sig=_is_text, user_id=is_id),
    ERROR: _shape(
        {"code": _is_text}, detail=_is_text, msg_ref=_at_most(REF_MOST), file_id=_at_most(REF_MOST), user_id=is_id
    ),
    SERVER_WELCOME: _shape(
        {
            "assigned_id": is_id,
            "introducer_id": is_id,
            "membership": _is_object,
            "servers": _is_objects,
            "clients": _is_list,
            "client_nonce": _is_text,
            "nonce": _is_text,
        }
    ),
    SERVER_ANNOUNCE: _shape({**_WHERE, "pubkey": _is_text, "membership": _is_object}),
    HEARTBEAT: _shape({}, present=_is_text, probe=_is_bool),
    CTRL_CLOSE: _shape({"reason": _is_text}),
    USER_ADVERTISE: _shape({**_PRESENT, "user_id": is_id, "server_id": is_id, "attach": _is_attachment}),
    USER_REMOVE: _shape({"user_id": is_id, "server_id": is_id, "attach_ts": is_ts}),
    USER_SYNC: _shape({"server_id": is_id, "users": _is_objects, "part": _COUNT, "parts": _COUNT}),
    USER_SYNC_REQUEST: _shape({}),
    PRESENCE: _shape({"joined": _is_objects, "left": _is_list}),
    MSG_DIRECT: _shape(_SEALED),
    SERVER_DELIVER: _shape({**_SEALED, "user_id": is_id, "sender": is_id}, store=_is_bool, forwarded=_is_bool),
    USER_DELIVER: _shape({**_SEALED, "sender": is_id}),
    MSG_PUBLIC_CHANNEL: _shape({"text": _is_text, "sender_pub": _is_text, "content_sig": _is_text}),
    FILE_START: _shape(
        {
            "file_id": is_id,
            "name": _is_text,
            "size": _COUNT,
            "sha256": _is_sha256,
            "mode": _is_text,
            "chunks": _COUNT,
            "sender_pub": _is_text,
            "content_sig": _is_text,
        },
        alg=_is_text,
        enc=_is_text,
    ),
    FILE_CHUNK: _shape(
        {"file_id": is_id, "index": _COUNT, "ciphertext": _is_binary}, wrapped_key=_is_binary, iv=_is_binary
    ),
    FILE_END: _shape({"file_id": is_id}, status=_is_text),
    FILE_ACK: _shape(
        {"file_id": is_id, "next_index": _COUNT, "status": _is_text}, detail=_is_text, content_sig=_is_text
    ),
    USER_LIST_REQUEST: _shape({"after": _is_page_start, "limit": _between(1, LIST_PAGE_MOST)}),
    USER_LIST: _shape({"users": _is_objects, "total": _COUNT}),
    USER_KEY_REQUEST: _shape({"user_id": is_id}),
    USER_KEY: _shape({**_PRESENT, "user_id": is_id, "server_id": is_id, "attach": _is_attachment, "online": _is_bool}),
}

SYNC_ENTRY: Final = _shape({**_PRESENT, "user_id": is_id, "attach": _is_attachment, "online": _is_bool})
MEMBERSHIP: Final = _shape(
    {
        **_WHERE,
        "server_id": is_id,
        "pubkey": _is_text,
        "issued": is_ts,
        "expires": is_ts,
        "introducer_id": is_id,
        "sig": _is_text,
    }
)


def check_shape(shape: Shape, value: Mapping[str, Any], what: str) -> None:
    """Check the fields of a payload, or of an entry in one.

    Args:
        what: how the error names it.

    Raises:
        ProtocolError: BAD_ENVELOPE, naming the field.
    """
    for name, check in shape.required.items():
        if name not in value or not check(value[name]):
            raise ProtocolError(BAD_ENVELOPE, f"{what}: {name} is missing or ill-typed")
    for name, check in shape.optional.items():
        if name in value and not check(value[name]):
            raise ProtocolError(BAD_ENVELOPE, f"{what}: {name} is ill-typed")


def check_payload(envelope: Envelope) -> None:
    """Check the payload of a frame of a known type.

    Raises:
        ProtocolError: BAD_ENVELOPE, naming the field; TOO_LARGE for `meta` of over 4 kB (section 5.1).
    """
    check_shape(SHAPES[envelope.type], envelope.payload, envelope.type)
    if "meta" in SHAPES[envelope.type].required and len(canonical(envelope.payload["meta"])) > META_MOST:
        raise ProtocolError(TOO_LARGE, f"meta is over {META_MOST} bytes")
