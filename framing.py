"""Frames (PROTOCOL.md section 2): a length and so many bytes of strict JSON. Bytes in, objects out, no socket."""

from __future__ import annotations

import json
import re
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from crypto.encoding import Base64Url, read_base64url
from socp import BAD_FRAME, TOO_LARGE, LinkError

HEADER_BYTES: Final = 4
BODY_LEAST: Final = 2
BODY_MOST: Final = 1_048_576
USER_BODY_MOST: Final = 786_432
HANDSHAKE_BODY_MOST: Final = 16_384
NESTING_MOST: Final = 16
# 1 MiB of "[{},{},…]" grows to 24 MiB as Python objects; this bounds how many there can be.
SEPARATORS_MOST: Final = 65_536
# A body of more is read by one thread at a time: as objects it takes up to 17 times its length, for a moment.
_SEPARATORS_MANY: Final = 4_096
INTEGER_DIGITS_MOST: Final = 16

_LENGTH: Final = struct.Struct(">I")
# What makes a long frame long, where it is a chunk of a file: so many bytes of base64url, behind this.
_LONG: Final = 65_536
_LONG_FIELD: Final = b'"ciphertext":"'
_STAND_IN: Final = b"NaN"
# Of a body without escapes. Such a pattern costs no memory; one that knows of escapes has 60 bytes for each of them.
_STRING: Final = re.compile(rb'"[^"]*"?')
_BRACKET: Final = re.compile(rb"[\[\]{}]")
_ONE_AT_A_TIME: Final = threading.Lock()  # guards no data, but memory: see _SEPARATORS_MANY
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True)
class BodyLimit:
    """How long a body may be, and the error code for a longer one."""

    most: int
    code: str


FROM_STRANGER: Final = BodyLimit(HANDSHAKE_BODY_MOST, BAD_FRAME)
FROM_SERVER: Final = BodyLimit(BODY_MOST, BAD_FRAME)
FROM_USER: Final = BodyLimit(USER_BODY_MOST, TOO_LARGE)


class FrameBuffer:
    """Cuts a stream of bytes into frames; the length is checked before a byte of the body is waited for."""

    __slots__ = ("_at", "_came", "_part", "limit")

    def __init__(self, limit: BodyLimit) -> None:
        self.limit = limit
        # What came last, and how far it is cut: at full speed some forty frames are cut out of one read, with no more
        # than one copy of each.
        self._came = b""
        self._at = 0
        # Of a frame that came in several reads, what did so far, before `_came`. It grows at its end without being
        # copied: a peer that sends a large frame byte by byte costs no more than one that sends it whole.
        self._part = bytearray()

    def feed(self, data: bytes) -> None:
        """Add bytes as they were received."""
        self._came = self._came[self._at :] + data if self._at < len(self._came) else data
        self._at = 0

    @property
    def begun(self) -> bool:
        """Whether a frame has begun that is not whole yet."""
        return bool(self._part) or self._at < len(self._came)

    def next_frame(self) -> bytes | None:
        """Take the next whole frame, with its length; None when more bytes are needed.

        Raises:
            LinkError: BAD_FRAME or TOO_LARGE, by the limit in force.
        """
        start, came = self._at, self._came
        if self._part or len(came) - start < HEADER_BYTES:
            return self._next_in_parts()
        (length,) = _LENGTH.unpack_from(came, start)
        end = start + HEADER_BYTES + length
        if not BODY_LEAST <= length <= self.limit.most or len(came) < end:
            return self._next_in_parts()
        self._at = end
        return came[start:end]

    def _next_in_parts(self) -> bytes | None:
        """See `next_frame`; for a frame that did not come whole in one read, or must be refused."""
        self._take_up_to(HEADER_BYTES)
        if self._part and self._part[0]:
            # Over 2^24, whatever the other three bytes will be: this is no peer of ours, so do not wait for them.
            raise LinkError(self.limit.code, "a frame begins with its length")
        if len(self._part) < HEADER_BYTES:
            return None
        (length,) = _LENGTH.unpack_from(self._part)
        if length < BODY_LEAST:
            raise LinkError(BAD_FRAME, f"a body of {length} bytes cannot be an object")
        if length > self.limit.most:
            raise LinkError(self.limit.code, f"a body of {length} bytes, where at most {self.limit.most} go")
        end = HEADER_BYTES + length
        self._take_up_to(end)
        if len(self._part) < end:
            return None
        frame = bytes(self._part)
        self._part = bytearray()
        return frame

    def _take_up_to(self, size: int) -> None:
        """Move what came last behind the part of a frame, until there are so many bytes of it or no more."""
        end = min(self._at + size - len(self._part), len(self._came))
        if end > self._at:
            self._part += memoryview(self._came)[self._at : end]
            self._at = end
        if self._at == len(self._came):
            self._came, self._at = b"", 0  # which would be kept until the next read


def decode_frame(frame: bytes) -> dict[str, Any]:
    """Read the object in a whole frame.

    Raises:
        LinkError: BAD_FRAME for all that section 2 forbids in JSON.
    """
    return _decode(frame, HEADER_BYTES)


def decode_body(body: bytes) -> dict[str, Any]:
    """Read one object from strict JSON.

    Raises:
        LinkError: BAD_FRAME for all that section 2 forbids in JSON.
    """
    return _decode(body, 0)


def _decode(data: bytes, start: int) -> dict[str, Any]:
    """Read the object that begins at `start`, without a copy of it: each would be another MiB of a large frame."""
    apart: Base64Url | None = None
    if len(data) > _LONG and (found := _set_apart(data, start)) is not None:
        data, apart = found
        start = 0
    # Before the parser runs: a deep body can exhaust its stack, and kill the process.
    separators = _check_structure(data, start)
    try:
        text = str(memoryview(data)[start:], "utf-8")
        if separators > _SEPARATORS_MANY:
            with _ONE_AT_A_TIME:
                value = _parse(text, apart)
        else:
            value = _parse(text, apart)
    except UnicodeError as error:
        raise LinkError(BAD_FRAME, "the body is not strict UTF-8") from error
    except ValueError as error:
        raise LinkError(BAD_FRAME, "the body is not strict JSON") from error
    if not isinstance(value, dict):
        raise LinkError(BAD_FRAME, "the body is not an object")
    return value


def _set_apart(data: bytes, start: int) -> tuple[bytes, Base64Url] | None:
    """Take a long text of base64url out of a body, so that only a check of its alphabet looks at its characters.

    In valid JSON, the last quote of _LONG_FIELD begins the text of a field, wherever that stands. What is in the text
    can neither end it nor count as a separator. So the rest, with a stand-in for the text and its quotes, is as valid
    as the body is. The stand-in is what no frame may have: one that has it besides is refused, by _once.

    Returns:
        The rest, and the text; None if there is no such text, or anything else is in it.
    """
    at = data.find(_LONG_FIELD, start) + len(_LONG_FIELD)
    end = data.find(b'"', at)
    if at < len(_LONG_FIELD) or end - at < _LONG:
        return None
    text = read_base64url(data[at:end])
    return None if text is None else (data[start : at - 1] + _STAND_IN + data[end + 1 :], text)


def _parse(text: str, apart: Base64Url | None) -> object:
    value: object = (_DECODER if apart is None else _make_decoder(_once(apart))).decode(text)
    if "\\" in text and _SURROGATE_ESCAPE.search(text):  # which the longest frames, chunks of files, never have
        _check_strings(value)
    return value


def _check_strings(value: object) -> None:
    """Refuse surrogates without their other half. To encode everything would find them too, at the price of copies."""
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise ValueError("half of a character")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_strings(key)
            _check_strings(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_strings(inner)


def encode_frame(envelope: Mapping[str, object]) -> bytes:
    """Return the frame that carries an envelope.

    Raises:
        ValueError: no frame can carry it: its reader would refuse it, and close the link.
    """
    body = _ENCODER.encode(envelope).encode("utf-8")
    if len(body) > BODY_MOST:
        raise ValueError(f"a body of {len(body)} bytes does not fit a frame")
    try:
        _check_structure(body)
    except LinkError as error:
        raise ValueError(error.detail) from error
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def encode_chunk(envelope: Mapping[str, object], binary: Mapping[str, bytes]) -> bytes:
    """Return the frame that carries an envelope whose payload has fields of base64url besides its own.

    Those need no escapes: what would look at each of their characters, and copy them, is left out.

    Args:
        envelope: its payload is not empty.
        binary: the fields, as base64url.

    Raises:
        ValueError: no frame can carry it.
    """
    others = {name: value for name, value in envelope.items() if name != "payload"}
    start = encode_frame({**others, "payload": envelope["payload"]})
    parts = [start[HEADER_BYTES:-2]]
    for name, value in binary.items():
        parts += (b',"', name.encode("ascii"), b'":"', value, b'"')
    parts.append(start[-2:])
    length = sum(map(len, parts))
    if length > BODY_MOST:
        raise ValueError(f"a body of {length} bytes does not fit a frame")
    return b"".join((length.to_bytes(HEADER_BYTES, "big"), *parts))


def count_separators(body: bytes) -> int:
    """Return how many of the characters `, [ {` are in a body; section 2 bounds them."""
    return _count_openings(body, 0) + body.count(b",")


def _count_openings(data: bytes, start: int) -> int:
    # To look for the first is several times as fast as to count, and few frames have any list.
    lists = data.count(b"[", start) if data.find(b"[", start) >= 0 else 0
    return lists + data.count(b"{", start)


def _check_structure(data: bytes, start: int = 0) -> int:
    """Refuse a body with too many separators or that is nested too deep; return their number, if it can matter."""
    openings = _count_openings(data, start)
    # A short body cannot have many, whatever is in it: as most frames are short, this saves a third of the looking.
    commas = data.count(b",", start) if len(data) > _SEPARATORS_MANY else 0
    separators = openings + commas
    if separators > SEPARATORS_MOST:
        raise LinkError(BAD_FRAME, f"over {SEPARATORS_MOST} separators in a body")
    if openings > NESTING_MOST:
        _check_nesting(data, start)
    return separators


def _check_nesting(data: bytes, start: int) -> None:
    depth = 0
    unescaped = data[start:].replace(b"\\\\", b"").replace(b'\\"', b"")
    for bracket in _BRACKET.finditer(_STRING.sub(b"", unescaped)):
        depth += 1 if bracket.group() in b"[{" else -1
        if depth > NESTING_MOST:
            raise LinkError(BAD_FRAME, f"nested over {NESTING_MOST} deep")
        if depth < 0:
            raise LinkError(BAD_FRAME, "the body is not strict JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")
    return result


def _integer(digits: str) -> int:
    # Checked by length, not by value: some versions refuse to convert long digits at all, others take seconds.
    if len(digits.lstrip("-")) > INTEGER_DIGITS_MOST:
        raise ValueError("an integer of too many digits")
    return int(digits)


def _no_number(_text: str) -> NoReturn:
    raise ValueError("not an integer")


def _once(apart: Base64Url) -> Callable[[str], Base64Url]:
    """Return what reads the one stand-in for a text; another one, or what else is no number, has come in the frame."""
    left = [apart]

    def read(_text: str) -> Base64Url:
        if not left:
            raise ValueError("not an integer")
        return left.pop()

    return read


def _make_decoder(constant: Callable[[str], object]) -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=_unique, parse_int=_integer, parse_float=_no_number, parse_constant=constant
    )


# Made once: json.loads and json.dumps would make one for each frame, which costs as much as a short frame's parsing.
_DECODER: Final = _make_decoder(_no_number)
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
