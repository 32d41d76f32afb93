"""Frames and strict JSON."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import tracemalloc
import unittest

from crypto.encoding import Base64Url, is_base64url
from framing import (
    BODY_MOST,
    FROM_SERVER,
    FROM_STRANGER,
    FROM_USER,
    NESTING_MOST,
    SEPARATORS_MOST,
    BodyLimit,
    FrameBuffer,
    decode_body,
    decode_frame,
    encode_chunk,
    encode_frame,
)
from socp import BAD_FRAME, TOO_LARGE, LinkError, make_envelope
from tests.vectors import cases
from threads import STACK_BYTES


def read(data: bytes, piece: int) -> tuple[int, str | None, bool]:
    """Read a stream in pieces of so many bytes: how many objects, the error, and whether a frame has begun."""
    buffer = FrameBuffer(FROM_SERVER)
    count = 0
    for start in range(0, len(data), piece):
        buffer.feed(data[start : start + piece])
        try:
            while (frame := buffer.next_frame()) is not None:
                decode_frame(frame)
                count += 1
        except LinkError as error:
            return count, error.code, False
    return count, None, buffer.begun


class FramesTest(unittest.TestCase):
    """Streams of bytes."""

    def test_vectors(self) -> None:
        """Each stream of the vectors gives so many envelopes and then its error, in whatever pieces it arrives."""
        for case in cases("frames", 28):
            for piece in (1, 7, 65_536):
                with self.subTest(case["why"], piece=piece):
                    count, code, begun = read(bytes.fromhex(case["hex"]), piece)
                    self.assertEqual((count, code), (case["envelopes"], case["error"]))
                    self.assertIs(begun, case["eof"])

    def test_length_before_body(self) -> None:
        """A length that is too great is refused as soon as it is there, by the limit and the code in force."""
        for limit in (FROM_STRANGER, FROM_USER, FROM_SERVER):
            with self.subTest(limit=limit):
                self.refused(limit, (limit.most + 1).to_bytes(4, "big"), limit.code)
                buffer = FrameBuffer(limit)
                buffer.feed(limit.most.to_bytes(4, "big"))
                self.assertIsNone(buffer.next_frame())
        self.assertEqual((FROM_STRANGER.most, FROM_STRANGER.code), (16_384, BAD_FRAME))
        self.assertEqual((FROM_USER.most, FROM_USER.code), (786_432, TOO_LARGE))
        self.assertEqual((FROM_SERVER.most, FROM_SERVER.code), (1_048_576, BAD_FRAME))

    def test_first_byte(self) -> None:
        """What cannot begin a length is refused by its first byte, without waiting for more."""
        self.refused(FROM_STRANGER, b"G", BAD_FRAME)
        self.refused(FROM_STRANGER, b"\x16", BAD_FRAME)

    def test_short_bodies(self) -> None:
        """A body of no or one byte cannot be an object."""
        for length in (0, 1):
            self.refused(FROM_USER, length.to_bytes(4, "big") + b"{" * length, BAD_FRAME)

    def refused(self, limit: BodyLimit, data: bytes, code: str) -> None:
        """Have a buffer refuse bytes."""
        buffer = FrameBuffer(limit)
        buffer.feed(data)
        with self.assertRaises(LinkError) as caught:
            buffer.next_frame()
        self.assertEqual(caught.exception.code, code)

    def test_limit_changes_between_frames(self) -> None:
        """A new limit holds from the next frame on: what came with the handshake's last frame is judged by it."""
        frame = encode_frame({"a": "x" * 20_000})
        buffer = FrameBuffer(FROM_STRANGER)
        buffer.feed(encode_frame({}) + frame)
        self.assertEqual(buffer.next_frame(), encode_frame({}))
        buffer.limit = FROM_USER
        self.assertEqual(buffer.next_frame(), frame)
        self.assertFalse(buffer.begun)

    def test_whatever_the_pieces(self) -> None:
        """However a stream is cut into reads, and whenever somebody looks, the same frames come out of it, in order."""
        chance = random.Random(1)
        frames = [encode_frame({"a": "x" * chance.choice((0, 1, 50, 500, 5000, 40_000))}) for _ in range(400)]
        for most in (3, 100, 2000, 65_536):
            stream, buffer, came = b"".join(frames[: most // 2 + 20]), FrameBuffer(FROM_SERVER), []
            while stream:
                piece = chance.randint(1, most)
                buffer.feed(stream[:piece])
                stream = stream[piece:]
                while chance.random() < 0.9 and (frame := buffer.next_frame()) is not None:
                    came.append(frame)
            while (frame := buffer.next_frame()) is not None:
                came.append(frame)
            self.assertEqual(came, frames[: most // 2 + 20])
            self.assertFalse(buffer.begun)

    def test_frames_are_the_bytes_that_came(self) -> None:
        """A frame is handed out as it came in, so that it can be relayed unchanged."""
        body = b'{ "a" : "\\u00e9" }'
        frame = len(body).to_bytes(4, "big") + body
        buffer = FrameBuffer(FROM_SERVER)
        buffer.feed(frame)
        self.assertEqual(buffer.next_frame(), frame)


class JsonTest(unittest.TestCase):
    """What section 2 forbids in JSON, where the vectors do not say it already."""

    def refused(self, body: bytes) -> None:
        """Have a body refused."""
        with self.assertRaises(LinkError) as caught:
            decode_body(body)
        self.assertEqual(caught.exception.code, BAD_FRAME)

    def test_separators(self) -> None:
        """So many separators are taken, and one more is refused before anything is parsed."""
        commas = b'{"a":[' + b",".join([b"0"] * (SEPARATORS_MOST - 1)) + b"]}"
        self.assertEqual(len(decode_body(commas)["a"]), SEPARATORS_MOST - 1)
        self.refused(b'{"a":[' + b",".join([b"0"] * SEPARATORS_MOST) + b"]}")
        self.refused(b'{"a":"' + b"," * SEPARATORS_MOST + b'"}')

    def test_brackets_in_strings(self) -> None:
        """Brackets in strings do not nest, behind escaped quotes either; those behind a string's real end do."""
        text = '["\\' * 100
        self.assertEqual(decode_body(json.dumps({"a": text, "b": text}).encode()), {"a": text, "b": text})
        self.refused(b'{"a":"\\\\",' + b'"b":' + b"[" * NESTING_MOST + b"]" * NESTING_MOST + b"}")

    def test_many_brackets_beside_each_other(self) -> None:
        """Brackets that do not nest are counted, and taken."""
        self.assertEqual(len(decode_body(b'{"a":[' + b",".join([b"[]"] * 1000) + b"]}")["a"]), 1000)

    def test_deep_bodies_do_not_reach_the_parser(self) -> None:
        """Bodies that would exhaust the parser's stack are refused, also on a thread with the stack that ours have."""
        before = threading.stack_size(STACK_BYTES)
        refused: list[bytes] = []

        def attempt() -> None:
            for body in (b"[" * 16_000, b'{"a":' * 16_000, b'{"a":"' + b'\\"' * 100_000 + b"[" * 3000, b'"[' * 8000):
                self.refused(body)
                refused.append(body)

        try:
            thread = threading.Thread(target=attempt)
            thread.start()
            thread.join()
        finally:
            threading.stack_size(before)
        self.assertEqual(len(refused), 4)

    def test_integers(self) -> None:
        """Integers of 16 digits are taken, with a sign too, and longer ones are not, however long."""
        self.assertEqual(decode_body(b'{"a":-9999999999999999}'), {"a": -9999999999999999})
        for digits in (17, 400, 5_000, 500_000):
            self.refused(b'{"a":' + b"1" * digits + b"}")

    def test_surrogates(self) -> None:
        """Escaped pairs are one character; halves of them are refused, in keys too."""
        self.assertEqual(decode_body(b'{"a":"\\ud83d\\ude00"}'), {"a": "\U0001f600"})
        for body in (b'{"\\ud83d":1}', b'{"a":["\\ude00\\ud83d"]}', b'{"a":"\xed\xa0\xbd"}'):
            self.refused(body)

    def test_not_objects(self) -> None:
        """What is JSON and no object is refused, and so is what is around one."""
        for body in (b'""', b"12", b"null", b"true", b"[]", b"{}{}", b"{} x", b"\xef\xbb\xbf{}", b"{}\x00", b"{'a':1}"):
            with self.subTest(body=body):
                self.refused(body)
        self.assertEqual(decode_body(b" {}\n"), {})


class EncodeTest(unittest.TestCase):
    """Frames that are made here."""

    def test_round_trip(self) -> None:
        """What is encoded is decoded to the same, in any script."""
        value = {"type": "X", "payload": {"text": "caf\u00e9 \U0001f600 \x00 \u2028", "n": -5, "b": True, "l": [None]}}
        self.assertEqual(decode_frame(encode_frame(value)), value)

    def test_cannot_be_carried(self) -> None:
        """What no frame can carry is refused, and never sent in part."""
        deep: object = 0
        for _ in range(NESTING_MOST):
            deep = [deep]
        values: list[dict[str, object]] = [
            {"a": "x" * BODY_MOST},
            {"a": "\ud83d"},
            {"a": float("inf")},
            {"a": deep},
            {"a": [0] * SEPARATORS_MOST},
        ]
        for value in values:
            with self.assertRaises(ValueError):
                encode_frame(value)


class ChunkTest(unittest.TestCase):
    """Frames with long fields of base64url."""

    def test_same(self) -> None:
        """Such a frame is read as one that was encoded in the usual way."""
        envelope = make_envelope("FILE_CHUNK", "a", "b", 1, {"file_id": "c", "index": 3})
        frame = encode_chunk(envelope, {"iv": b"AA", "ciphertext": b"-_Az" * 1000})
        payload = {"file_id": "c", "index": 3, "iv": "AA", "ciphertext": "-_Az" * 1000}
        self.assertEqual(decode_frame(frame), {**envelope, "payload": payload})

    def test_too_long(self) -> None:
        """What its reader would refuse is not encoded."""
        envelope = make_envelope("FILE_CHUNK", "a", "b", 1, {"index": 3})
        self.assertRaises(ValueError, encode_chunk, envelope, {"ciphertext": b"A" * BODY_MOST})


class ApartTest(unittest.TestCase):
    """A long text of base64url, which is taken out of a body before that is parsed."""

    LONG, SHORT = "-_Az" * 20_000, "-_Az"

    def read(self, body: str, text: str) -> object:
        """Read a body with a text in the place of `#`; return the object with `#` in its place again, or the error."""
        try:
            value = json.dumps(decode_body(body.replace("#", text).encode("utf-8", "surrogatepass")), sort_keys=True)
        except LinkError as error:
            return error.code
        return value.replace(text, "#")

    def test_as_any_other(self) -> None:
        """A body with a long text is read, or refused, as the same body is with a short one, whatever is around it."""
        deep = '{"a":' * (NESTING_MOST - 1) + '{"ciphertext":"#"}' + "}" * (NESTING_MOST - 1)
        taken = (
            '{"ciphertext":"#"}',
            ' {"type":"X","payload":{"index":3,"ciphertext":"#","iv":"AA"},"sig":""}\n',
            '{"ciphertext":"#","a":"#"}',
            '{"a":[{"ciphertext":"#"},[],{"b":"\\ud83d\\ude00, \\" caf\u00e9"}]}',
            '{"\\"ciphertext":"#"}',
            '{"a":"NaN","ciphertext":"#"}',
            '{"x":{"ciphertext":"AAAA"},"ciphertext":"#"}',
            '{"ciphertext": "#"}',
            '{"a":"\\"ciphertext\\":\\"#"}',
            '{"ciphertext":"#\\n"}',
            '{"ciphertext":"#="}',
            '{"ciphertext":"#A"}',
            '{"ciphertext":"#AB"}',
            '{"ciphertext":"#+/"}',
            '{"ciphertext":"#,[{"}',
            deep,
        )
        refused = (
            '{"ciphertext":"#","a":NaN}',
            '{"a":NaN,"ciphertext":"#"}',
            '{"a":-Infinity,"ciphertext":"#"}',
            '{"ciphertext":"#","a":Infinity}',
            '{"ciphertext":"#","ciphertext":"#"}',
            '{"ciphertext":"#","ciphertext":1}',
            '{"ciphertext":"#","a":1.5}',
            '{"ciphertext":"#","a":12345678901234567}',
            '{"ciphertext":"#","a":"\\ud83d"}',
            '{"ciphertext":"#","a":"\ud83d"}',
            '{"ciphertext":"#"x}',
            '{"ciphertext":"#"N}',
            '{"ciphertext":"#"""}',
            '{"ciphertext":"#":1}',
            '{"ciphertext":"#"',
            '{"ciphertext":"#',
            '{"a":"b"ciphertext":"#"}',
            '{"a"ciphertext":"#"}',
            '["ciphertext":"#"]',
            '[{"ciphertext":"#"}]',
            '"ciphertext":"#"',
            '{"ciphertext":"#"}{}',
            '{"ciphertext":"#\n"}',
            '{"a":' + deep + "}",
            '{"ciphertext":"#","a":[' + ",".join(["0"] * SEPARATORS_MOST) + "]}",
        )
        for body in taken + refused:
            with self.subTest(body=body[:80]):
                short = self.read(body, self.SHORT)
                self.assertIs(short == BAD_FRAME, body in refused)
                self.assertEqual(self.read(body, self.LONG), short)

    def test_looked_at_once(self) -> None:
        """The text of a chunk that was read is known to be base64url; one with another character in it is not."""
        envelope = make_envelope("FILE_CHUNK", "a", "b", 1, {"index": 3})
        for text, known in ((self.LONG, True), (self.LONG + "A", False), (self.LONG + "+", False)):
            value = decode_frame(encode_chunk(envelope, {"ciphertext": text.encode()}))["payload"]["ciphertext"]
            self.assertEqual(value, text)
            self.assertIs(isinstance(value, Base64Url), known)
            self.assertIs(is_base64url(value), known)


class MemoryTest(unittest.TestCase):
    """What it takes at most to read a body of a MiB, or as much of one as section 2 lets be read."""

    def peak(self, body: bytes) -> float:
        """Return how many MiB are in use at the worst moment while a body is read, or refused."""
        frame = len(body).to_bytes(4, "big") + body
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        with contextlib.suppress(LinkError):
            decode_frame(frame)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak / 1024**2

    def test_bounded(self) -> None:
        """No body takes 8 MiB beside itself, whatever it is filled with."""
        room, many = BODY_MOST - 20, SEPARATORS_MOST // 2 - 10
        for what, inside in (
            ("empty objects, too many", b"[" + b"{}," * 349_525 + b"0]"),
            ("empty objects", b"[" + b",".join([b"{}"] * many) + b"]"),
            ("objects", b"[" + b",".join([b'{"a":1}'] * many) + b"]"),
            ("lists", b"[" + b",".join([b"[1]"] * many) + b"]"),
            ("nesting", b"[" * room),
            ("digits", b"1" * room),
            ("integers", b"[" + b",".join([b"1234567890123"] * (SEPARATORS_MOST - 10)) + b"]"),
            ("strings", b"[" + b",".join(b'"%08d"' % number for number in range(SEPARATORS_MOST - 10)) + b"]"),
            ("a string with one wide character", b'"' + b"x" * (room - 20) + "\U0001f600".encode() + b'"'),
            ("the same, escaped", b'"' + b"x" * (room - 20) + b'\\ud83d\\ude00"'),
            ("escapes behind brackets", b'["' + b"[" * 20 + b'\\"' * (room // 2 - 20) + b'"]'),
            ("brackets in a string", b'"' + b"[" * (SEPARATORS_MOST - 10) + b'"'),
            ("a chunk of a file", b'{"ciphertext":"' + b"A" * (room // 4 * 4 - 20) + b'"}'),
        ):
            with self.subTest(what):
                self.assertLessEqual(self.peak(b'{"a":' + inside + b"}"), 8.1)

    def test_keys(self) -> None:
        """The most that a body can take is 17 MiB, when it is one object of as many keys as there may be."""
        pairs = b",".join(b'"%07d":12345' % number for number in range(SEPARATORS_MOST - 10))
        self.assertLessEqual(self.peak(b"{" + pairs + b"}"), 17)
