"""What the fuzzer does to valid frames, by name: to the envelope, to the text of its JSON, and to the bytes of a frame.

Each mutator is given what decides (`Choices`), and changes what it is given in place or returns something new.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import socp
from framing import BODY_MOST, HEADER_BYTES
from tests.fuzz.grammar import NOW, Wire
from tests.vectors import key


@dataclass(frozen=True)
class Choices:
    """What a mutator may draw on.

    Attributes:
        rng: what decides.
        other: another valid envelope.
    """

    rng: random.Random
    other: Wire


OnEnvelope = Callable[[Choices, Wire], None]
OnText = Callable[[Choices, bytes], bytes]
OnFrame = Callable[[Choices, bytes], bytes]

_FIELDS: Final = ("type", "from", "to", "ts", "payload", "sig")
_RETYPED: Final[tuple[Any, ...]] = (None, True, False, 0, 1, -1, "", "text", [], {}, [[]], {"a": 1}, [1, "2", None])
_LONG: Final = 900_000  # characters; more than users may send, and less than servers may


# --- finding a place in an envelope -----------------------------------------------------------------------------


def _spots(value: Any, kind: type | tuple[type, ...]) -> list[tuple[Any, Any]]:
    """Return every place of a type of value: what holds it, and under which key."""
    found: list[tuple[Any, Any]] = []
    entries = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    for name, inner in entries:
        if isinstance(inner, kind) and not (kind is int and isinstance(inner, bool)):
            found.append((value, name))
        if isinstance(inner, (dict, list)):
            found += _spots(inner, kind)
    return found


def _put(choices: Choices, wire: Wire, kind: type | tuple[type, ...], value: Any, match: str = "") -> None:
    """Put a value in place of one of a type; into a new field of the payload, if there is none."""
    spots = _spots(wire, kind)
    if match:
        spots = [(holder, name) for holder, name in spots if re.fullmatch(match, str(holder[name]))]
    payload = wire.get("payload")
    inner = [(holder, name) for holder, name in spots if holder is not wire]
    if inner and choices.rng.random() < 0.8:  # what is in payloads is the larger part of what can be wrong
        spots = inner
    if spots:
        holder, name = choices.rng.choice(spots)
        holder[name] = value(holder[name]) if callable(value) else value
    elif isinstance(payload, dict):
        payload["extra"] = value("x") if callable(value) else value


def _any(choices: Choices) -> Any:
    return copy.deepcopy(choices.rng.choice(_RETYPED))  # what is put in may be changed there


def _payload(wire: Wire) -> Wire:
    payload = wire["payload"]
    assert isinstance(payload, dict)
    return payload


# --- envelopes: fields ------------------------------------------------------------------------------------------


def _drop_field(choices: Choices, wire: Wire) -> None:
    del wire[choices.rng.choice(_FIELDS)]


def _drop_in_payload(choices: Choices, wire: Wire) -> None:
    holders = [holder for holder, _ in _spots(wire, object) if holder is not wire and isinstance(holder, dict)]
    if holders:
        holder = choices.rng.choice(holders)
        del holder[choices.rng.choice(sorted(holder))]


def _add_field(choices: Choices, wire: Wire) -> None:
    wire[choices.rng.choice(("visited", "hdr", "extra", "", "\u202e", "__class__"))] = _any(choices)


def _add_in_payload(choices: Choices, wire: Wire) -> None:
    names = ("probe", "store", "forwarded", "present", "status", "user_id", "msg_ref", "file_id", "alg", "enc", "extra")
    _payload(wire)[choices.rng.choice(names)] = _any(choices)


def _retype_field(choices: Choices, wire: Wire) -> None:
    wire[choices.rng.choice(_FIELDS)] = _any(choices)


def _retype_in_payload(choices: Choices, wire: Wire) -> None:
    _put(choices, {"payload": _payload(wire)}, object, _any(choices))


def _field_of_another(choices: Choices, wire: Wire) -> None:
    name = choices.rng.choice(_FIELDS)
    wire[name] = copy.deepcopy(choices.other[name])


def _value_of_another(choices: Choices, wire: Wire) -> None:
    theirs = choices.other["payload"]
    for name in choices.rng.sample(sorted(theirs), min(2, len(theirs))):
        _payload(wire)[name] = copy.deepcopy(theirs[name])


def _swap_in_payload(choices: Choices, wire: Wire) -> None:
    payload = _payload(wire)
    if len(payload) >= 2:
        one, other = choices.rng.sample(sorted(payload), 2)
        payload[one], payload[other] = payload[other], payload[one]


def _another_type(choices: Choices, wire: Wire) -> None:
    wire["type"] = choices.rng.choice(sorted(socp.SHAPES))


def _unknown_type(choices: Choices, wire: Wire) -> None:
    wire["type"] = choices.rng.choice(("NONSENSE", "msg_direct", "ACK ", "", "X" * 64, "X" * 65, "ACK\0", "\u202eKCA"))


def _sender(choices: Choices, wire: Wire) -> None:
    wire["from"] = key(choices.rng.choice(("mallory", "alice", "bob", "server", "server3", "introducer"))).id


def _recipient(choices: Choices, wire: Wire) -> None:
    ids = [key(name).id for name in ("mallory", "alice", "bob", "server", "server3")]
    wire["to"] = choices.rng.choice([*ids, socp.EVERYONE, socp.PUBLIC, "127.0.0.1:9000", "public:1", ""])


# --- envelopes: numbers, texts and times ------------------------------------------------------------------------


def _number(value: int) -> OnEnvelope:
    return lambda choices, wire: _put(choices, wire, int, value)


def _text(value: str | Callable[[str], str]) -> OnEnvelope:
    return lambda choices, wire: _put(choices, wire, str, value)


def _long_text(choices: Choices, wire: Wire) -> None:
    _put(choices, wire, str, "x" * choices.rng.choice((255, 256, 1_000, 16_385, 43_692, _LONG)))


def _time(choices: Choices, wire: Wire) -> None:
    base = wire["ts"] if type(wire["ts"]) is int else NOW
    minute = 60_000
    off = (5 * minute - 1, 5 * minute + 1, -5 * minute - 1, -24 * 60 * minute - 1, -8 * 24 * 60 * minute, 10**12)
    wire["ts"] = base + choices.rng.choice(off)


def _id(value: Callable[[str], str] | str) -> OnEnvelope:
    return lambda choices, wire: _put(choices, wire, str, value, match=r"[0-9a-f-]{36}")


def _base64(value: Callable[[str], str]) -> OnEnvelope:
    return lambda choices, wire: _put(choices, wire, str, value, match=r"[\w-]{43,}")


def _next_letter(text: str) -> str:
    return text[:-1] + chr(ord(text[-1]) + 1)


def _nest(depth: int) -> OnEnvelope:
    def nest(choices: Choices, wire: Wire) -> None:
        value: Any = 1
        for _ in range(depth - 2):  # two are the envelope and its payload
            value = {"a": value} if choices.rng.random() < 0.5 else [value]
        _payload(wire)[choices.rng.choice(("meta", "extra", "users"))] = value

    return nest


def _float(choices: Choices, wire: Wire) -> None:
    _put(choices, wire, int, choices.rng.choice((0.0, 1.5, 1e308, -0.0, float(NOW))))


def _not_a_number(choices: Choices, wire: Wire) -> None:
    _put(choices, wire, int, choices.rng.choice((float("nan"), float("inf"), float("-inf"))))


# --- envelopes: signatures and lists ----------------------------------------------------------------------------


def _wrong_hdr(choices: Choices, wire: Wire) -> None:
    _payload(wire)["hdr"] = choices.other["payload"].get("hdr", "x")


def _unsigned(choices: Choices, wire: Wire) -> None:
    wire["sig"] = ""
    if choices.rng.random() < 0.9:
        _payload(wire).pop("hdr", None)


def _signature_of_another(choices: Choices, wire: Wire) -> None:
    wire["sig"] = choices.other["sig"]


def _content_signature(choices: Choices, wire: Wire) -> None:
    theirs = choices.other["payload"].get("content_sig", "junk")
    _put(choices, wire, str, theirs, match=r"[\w-]{683}")


def _key(choices: Choices, wire: Wire) -> None:
    _put(choices, wire, str, key(choices.rng.choice(("mallory", "bob", "server3"))).public.text, match=r"MIIC[\w-]+")


def _visited(choices: Choices, wire: Wire) -> None:
    ids = [key(name).id for name in ("server", "server2", "server3")]
    many = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(1025)]
    wire["visited"] = choices.rng.choice(([], ids, ids * 3, many, many[:1024], ["x"], "x", [None], {}, [[]]))


def _many_entries(choices: Choices, wire: Wire) -> None:
    lists = _spots(wire, list)
    if lists:
        holder, name = choices.rng.choice(lists)
        holder[name] = (holder[name] or [{}]) * choices.rng.choice((2, 17, 300))
    else:
        _payload(wire)["users"] = [{}] * 300


def _strange_entries(choices: Choices, wire: Wire) -> None:
    lists = _spots(wire, list)
    if lists:
        holder, name = choices.rng.choice(lists)
        holder[name] = [*holder[name], _any(choices)]


ON_ENVELOPE: Final[Mapping[str, OnEnvelope]] = {
    "drop a field": _drop_field,
    "drop a field of the payload": _drop_in_payload,
    "add a field": _add_field,
    "add a field to the payload": _add_in_payload,
    "another type of value": _retype_field,
    "another type of value in the payload": _retype_in_payload,
    "a field of another frame": _field_of_another,
    "values of another frame": _value_of_another,
    "swap two values": _swap_in_payload,
    "another type of frame": _another_type,
    "an unknown type of frame": _unknown_type,
    "another sender": _sender,
    "another recipient": _recipient,
    "0": _number(0),
    "-1": _number(-1),
    "2^53 - 1": _number(2**53 - 1),
    "2^53": _number(2**53),
    "2^53 + 1": _number(2**53 + 1),
    "16 digits": _number(9_999_999_999_999_999),
    "17 digits": _number(10_000_000_000_000_000),
    "a float": _float,
    "not a number": _not_a_number,
    "a time that is off": _time,
    "an empty text": _text(""),
    "a text of 64": _text("x" * 64),
    "a text of 65": _text("x" * 65),
    "a long text": _long_text,
    "control characters": _text("\x1b[2J\x07\x9b\r\n"),
    "NUL": _text(lambda text: f"{text}\0"),
    "bidi": _text("\u202e\u2066\u200d\ufeff"),
    "half a surrogate pair": _text("\ud800"),
    "an id in capitals": _id(str.upper),
    "an id in braces": _id(lambda text: f"{{{text}}}"),
    "an id in other digits": _id(lambda text: text.translate({ord("0"): "\u0660", ord("1"): "\u0661"}) + "\uff10"),
    "another id": _id(key("mallory").id),
    "padded base64": _base64(lambda text: f"{text}="),
    "the other base64 alphabet": _base64(lambda text: f"+/{text[2:]}"),
    "unused bits of base64": _base64(_next_letter),
    "an impossible length of base64": _base64(lambda text: text[: len(text) // 4 * 4 + 1]),
    "nested 16 deep": _nest(16),
    "nested 17 deep": _nest(17),
    "another hdr": _wrong_hdr,
    "no signature": _unsigned,
    "the signature of another frame": _signature_of_another,
    "another content signature": _content_signature,
    "another key": _key,
    "a list of servers visited": _visited,
    "many entries": _many_entries,
    "strange entries": _strange_entries,
}


# --- the text of the JSON ---------------------------------------------------------------------------------------


def _twice(choices: Choices, body: bytes) -> bytes:
    name = choices.rng.choice((b"type", b"sig", b"ts", b"from"))
    return b'{"' + name + b'":1,' + body[1:]


def _twice_inside(choices: Choices, body: bytes) -> bytes:
    return body.replace(b'"payload":{', b'"payload":{"a":1,"a":2,', 1)


def _white_space(choices: Choices, body: bytes) -> bytes:
    space = choices.rng.choice((b" ", b"\t", b"\r\n", b"\x0b", b"\xc2\xa0"))
    return space + body.replace(b":", b":" + space, 3) + space


def _without_utf8(choices: Choices, body: bytes) -> bytes:
    junk = choices.rng.choice((b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"))
    return body.replace(b'":"', b'":"' + junk, 1)


def _escapes(choices: Choices, body: bytes) -> bytes:
    return body.replace(b'"type"', b'"\\u0074ype"', 1).replace(b'"from"', b'"\\u0066\\u0072om"', 1)


def _other_document(choices: Choices, body: bytes) -> bytes:
    return choices.rng.choice((b"[]", b"{}", b"null", b'"x"', b"[" + body + b"]", b"{}{}", b"1", b"NaN", b"{}\0"))


def _syntax(choices: Choices, body: bytes) -> bytes:
    old, new = choices.rng.choice(((b"}", b",}"), (b'"', b"'"), (b":", b"="), (b",", b",,"), (b"{", b"{/**/")))
    return body.replace(old, new, 1)


def _many_brackets(choices: Choices, body: bytes) -> bytes:
    many = choices.rng.choice((b"[" * 3000, b"{}," * 4000, b'{"a":' * 500, b"]" * 20, b"[" + b"[]," * 66_000))
    return body.replace(b'"payload":{', b'"payload":' + many + b"{", 1)


def _long_number(choices: Choices, body: bytes) -> bytes:
    number = choices.rng.choice((b"1" * 5000, b"-" + b"9" * 17, b"1e400", b"0x1", b"01", b"-0", b"1E3"))
    return re.sub(rb'"ts":\d+', b'"ts":' + number, body, count=1)


ON_TEXT: Final[Mapping[str, OnText]] = {
    "a field twice": _twice,
    "a field twice in the payload": _twice_inside,
    "white space": _white_space,
    "a byte order mark": lambda _, body: b"\xef\xbb\xbf" + body,
    "UTF-16": lambda _, body: body.decode("utf-8", "replace").encode("utf-16"),
    "what is not UTF-8": _without_utf8,
    "escaped names": _escapes,
    "another document": _other_document,
    "wrong syntax": _syntax,
    "many brackets": _many_brackets,
    "a long number": _long_number,
}


# --- the bytes of a frame ---------------------------------------------------------------------------------------


def _flip(choices: Choices, frame: bytes) -> bytes:
    changed = bytearray(frame)
    for _ in range(choices.rng.choice((1, 1, 2, 8))):
        changed[choices.rng.randrange(HEADER_BYTES, len(changed))] ^= 1 << choices.rng.randrange(8)
    return bytes(changed)


def _cut(choices: Choices, frame: bytes) -> bytes:
    return frame[: choices.rng.randrange(1, len(frame))]


def _shorter(choices: Choices, frame: bytes) -> bytes:
    start = choices.rng.randrange(HEADER_BYTES, len(frame))
    body = frame[HEADER_BYTES:start] + frame[start + choices.rng.randrange(1, 9) :]
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def _length(choices: Choices, frame: bytes) -> bytes:
    real = len(frame) - HEADER_BYTES
    lies = (0, 1, 2, real - 1, real + 1, 16_384, 16_385, 786_433, BODY_MOST, BODY_MOST + 1, 2**24, 2**32 - 1)
    return choices.rng.choice(lies).to_bytes(HEADER_BYTES, "big") + frame[HEADER_BYTES:]


def _junk(choices: Choices, frame: bytes) -> bytes:
    others = (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\0" * 9)
    return choices.rng.choice((choices.rng.randbytes(64), *others))


def _together(choices: Choices, frame: bytes) -> bytes:
    return frame * choices.rng.choice((2, 3, 20))


def _behind(choices: Choices, frame: bytes) -> bytes:
    return frame + frame[: choices.rng.randrange(1, len(frame))]


ON_FRAME: Final[Mapping[str, OnFrame]] = {
    "flipped bits": _flip,
    "cut short": _cut,
    "bytes left out": _shorter,
    "a length that lies": _length,
    "junk": _junk,
    "frames together": _together,
    "a frame and a half": _behind,
}

# How the bytes arrive.
ONE_BY_ONE: Final = "byte by byte"
UNCHANGED: Final = "unchanged"
KINDS: Final = (*ON_ENVELOPE, *ON_TEXT, *ON_FRAME, ONE_BY_ONE, UNCHANGED)


def write(wire: Any) -> bytes:
    """Return the JSON of anything, also of what no frame may carry."""
    text = json.dumps(wire, separators=(",", ":"), ensure_ascii=False)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair can only be written as an escape
        return json.dumps(wire, separators=(",", ":")).encode("ascii")


def framed(body: bytes) -> bytes:
    """Return a body behind its length."""
    return len(body).to_bytes(HEADER_BYTES, "big") + body
