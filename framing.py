"""Frames (PROTOCOL.md section 2): a length and so many bytes of strict JSON. Bytes in, objects out, no socket."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from socp import BAD_FRAME, TOO_LARGE, LinkError

HEADER_BYTES: Final = 4
BODY_LEAST: Final = 2
BODY_MOST: Final = 1_048_576
USER_BODY_MOST: Final = 786_432
HANDSHAKE_BODY_MOST: Final = 16_384
NESTING_MOST: Final = 16
# 1 MiB of "[{},{},…]" grows to 24 MiB as Python objects; this bounds how many there can be.
SEPARATORS_MOST: Final = 65_536
INTEGER_DIGITS_MOST: Final = 16

# One alternative always matches to the end of an unclosed string: without it, a body of escaped quotes would be
# scanned again from each of them, in quadratic time.
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_BRACKET: Final = re.compile(rb"[\[\]{}]")
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

    __slots__ = ("_data", "limit")

    def __init__(self, limit: BodyLimit) -> None:
        self.limit = limit
        # Grows at its end and shrinks at its front without being copied: a peer that sends a large frame byte by byte
        # costs no more than one that sends it whole.
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """Add bytes as they were received."""
        self._data += data

    @property
    def begun(self) -> bool:
        """Whether a frame has begun that is not whole yet."""
        return bool(self._data)

    def next_frame(self) -> bytes | None:
        """Take the next whole frame, with its length; None when more bytes are needed.

        Raises:
            LinkError: BAD_FRAME or TOO_LARGE, by the limit in force.
        """
        if self._data and self._data[0]:
            # Over 2^24, whatever the other three bytes will be: this is no peer of ours, so do not wait for them.
            raise LinkError(self.limit.code, "a frame begins with its length")
        if len(self._data) < HEADER_BYTES:
            return None
        length = int.from_bytes(self._data[:HEADER_BYTES], "big")
        if length < BODY_LEAST:
            raise LinkError(BAD_FRAME, f"a body of {length} bytes cannot be an object")
        if length > self.limit.most:
            raise LinkError(self.limit.code, f"a body of {length} bytes, where at most {self.limit.most} go")
        end = HEADER_BYTES + length
        if len(self._data) < end:
            return None
        frame = bytes(self._data[:end])
        del self._data[:end]
        return frame


def decode_frame(frame: bytes) -> dict[str, Any]:
    """Read the object in a whole frame.

    Raises:
        LinkError: BAD_FRAME for all that section 2 forbids in JSON.
    """
    return decode_body(frame[HEADER_BYTES:])


def decode_body(body: bytes) -> dict[str, Any]:
    """Read one object from strict JSON.

    Raises:
        LinkError: BAD_FRAME for all that section 2 forbids in JSON.
    """
    # Before the parser runs: a deep body can exhaust its stack, and kill the process.
    _check_structure(body)
    try:
        text = body.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
        if _SURROGATE_ESCAPE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # refuses a surrogate without its other half
    except UnicodeError as error:
        raise LinkError(BAD_FRAME, "the body is not strict UTF-8") from error
    except ValueError as error:
        raise LinkError(BAD_FRAME, "the body is not strict JSON") from error
    if not isinstance(value, dict):
        raise LinkError(BAD_FRAME, "the body is not an object")
    return value


def encode_frame(envelope: Mapping[str, object]) -> bytes:
    """Return the frame that carries an envelope.

    Raises:
        ValueError: no frame can carry it: its reader would refuse it, and close the link.
    """
    body = json.dumps(envelope, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")
    if len(body) > BODY_MOST:
        raise ValueError(f"a body of {len(body)} bytes does not fit a frame")
    try:
        _check_structure(body)
    except LinkError as error:
        raise ValueError(error.detail) from error
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def count_separators(body: bytes) -> int:
    """Return how many of the characters `, [ {` are in a body; section 2 bounds them."""
    return _count_openings(body) + body.count(b",")


def _count_openings(body: bytes) -> int:
    return body.count(b"[") + body.count(b"{")


def _check_structure(body: bytes) -> None:
    openings = _count_openings(body)
    if openings + body.count(b",") > SEPARATORS_MOST:
        raise LinkError(BAD_FRAME, f"over {SEPARATORS_MOST} separators in a body")
    if openings <= NESTING_MOST:
        return
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", body)):
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
