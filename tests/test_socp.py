"""Envelopes and the shapes of payloads."""

from __future__ import annotations

import random
import time
import unittest
from typing import Any

import socp
from crypto.encoding import encode_base64url
from framing import decode_frame, encode_frame
from socp import BAD_ENVELOPE, TOO_LARGE, ProtocolError, check_payload, is_id, read_envelope
from tests.vectors import cases, key

NONCE = encode_base64url(bytes(32))
USER = key("alice").id
HELLO: dict[str, Any] = {
    "client": "test/1",
    "pubkey": "k",
    "nonce": NONCE,
    "meta": {"display_name": "alice"},
    "caps": ["presence"],
}


def nested(depth: int) -> object:
    """Return lists nested so deep."""
    return [nested(depth - 1)] if depth > 1 else []


def envelope(frame_type: str, payload: dict[str, Any]) -> socp.Envelope:
    """Return an envelope of a type with a payload."""
    return read_envelope(socp.make_envelope(frame_type, USER, "*", 1, payload))


class EnvelopeTest(unittest.TestCase):
    """The six fields."""

    def test_vectors(self) -> None:
        """Each object of the vectors is an envelope, or BAD_ENVELOPE."""
        for case in cases("envelopes", 18):
            with self.subTest(case["why"]):
                if case["error"] is None:
                    read_envelope(case["object"])
                else:
                    with self.assertRaises(ProtocolError) as caught:
                        read_envelope(case["object"])
                    self.assertEqual(caught.exception.code, case["error"])

    def test_error_names_the_field(self) -> None:
        """What is wrong is named, and never repeated."""
        value = socp.make_envelope("X", USER, "*", 1, {})
        with self.assertRaisesRegex(ProtocolError, "the envelope's ts is missing or ill-typed"):
            read_envelope({**value, "ts": "<script>"})

    def test_plain_heartbeats(self) -> None:
        """What is taken for a heartbeat that asks for nothing is one to the JSON's reader too, and of that user."""
        other = key("bob").id
        plain = encode_frame(socp.make_envelope(socp.HEARTBEAT, USER, "*", socp.now_ms(), {}))
        self.assertTrue(socp.is_plain_heartbeat(plain, USER))
        self.assertFalse(socp.is_plain_heartbeat(plain, other))
        envelopes = (
            socp.make_envelope(socp.HEARTBEAT, USER, "*", 1, {"probe": True}),
            socp.make_envelope(socp.HEARTBEAT, USER, other, 1, {}),
            socp.make_envelope(socp.HEARTBEAT, USER, "*", 0, {}),
            socp.make_envelope(socp.HEARTBEAT, USER, "*", -1, {}),
            socp.make_envelope(socp.HEARTBEAT, USER, "*", socp.TS_END, {}),
            socp.make_envelope(socp.HEARTBEAT, USER, "*", 1, {}, "AA"),
            socp.make_envelope(socp.CTRL_CLOSE, USER, "*", 1, {}),
            {**socp.make_envelope(socp.HEARTBEAT, USER, "*", 1, {}), "visited": []},
        )
        for value in envelopes:
            with self.subTest(value):
                self.assertFalse(socp.is_plain_heartbeat(encode_frame(value), USER))
        rng = random.Random(7)
        for _ in range(20_000):
            changed = bytearray(plain)
            changed[rng.randrange(len(plain))] = rng.choice(b'"{}[],:*\\\n 0129aAzHT\xff')
            frame = bytes(changed)
            if socp.is_plain_heartbeat(frame, USER):
                read = read_envelope(decode_frame(frame))
                self.assertEqual((read.type, read.sender, read.payload), (socp.HEARTBEAT, USER, {}))

    def test_ids(self) -> None:
        """An id has one spelling."""
        self.assertTrue(is_id(USER))
        for text in (USER.upper(), f"{{{USER}}}", f"urn:uuid:{USER}", USER.replace("-", ""), USER + "\n", 5, None, ""):
            with self.subTest(text=text):
                self.assertFalse(is_id(text))

    def test_times(self) -> None:
        """Times are integers within bounds; a bool is none."""
        for ts, valid in ((1, True), (2**53 - 1, True), (2**53, False), (0, False), (-1, False), (True, False)):
            with self.subTest(ts=ts):
                self.assertIs(socp.is_ts(ts), valid)

    def test_destinations(self) -> None:
        """A destination is an id, "*", "public" or host:port."""
        value = socp.make_envelope("X", USER, "*", 1, {})
        for to in (USER, "*", "public", "127.0.0.1:8000", "[::1]:8000", "example.org:1"):
            self.assertEqual(read_envelope({**value, "to": to}).to, to)
        wrong: list[object] = ["", "everyone", "host", "host:", "host:x", "a b:1", 5, None, ["*"], "x" * 300 + ":1"]
        for other in wrong:
            with self.subTest(to=other), self.assertRaises(ProtocolError):
                read_envelope({**value, "to": other})

    def test_visited(self) -> None:
        """`visited` of any shape never refuses an envelope; one that is no list of ids counts as empty."""
        value = socp.make_envelope("X", USER, "*", 1, {})
        self.assertEqual(read_envelope({**value, "visited": [USER]}).visited, (USER,))
        wrong: list[object] = ["x", 5, [5], [USER, "x"], [USER] * 1025, {}]
        for visited in wrong:
            self.assertEqual(read_envelope({**value, "visited": visited}).visited, ())

    def test_signatures(self) -> None:
        """A `sig` that is no base64url is refused also where nothing depends on it; none at all is not."""
        value = socp.make_envelope("X", USER, "*", 1, {})
        for sig in ("=", "AA==", "A", "AB", "a b", "\u0661AAA", 5, None):
            with self.subTest(sig=sig), self.assertRaises(ProtocolError) as caught:
                read_envelope({**value, "sig": sig})
            self.assertEqual(caught.exception.code, socp.BAD_ENVELOPE)
        read_envelope({**value, "sig": ""})

    def test_now(self) -> None:
        """The clock counts milliseconds of Unix time."""
        self.assertAlmostEqual(socp.now_ms() / 1000, time.time(), delta=5)


class ShapesTest(unittest.TestCase):
    """The payload of each type."""

    def test_every_type_has_a_shape(self) -> None:
        """No type is known without its payload being checked."""
        named = {value for name, value in vars(socp).items() if name.isupper() and value == name}
        codes = {
            *("USER_NOT_FOUND", "INVALID_SIG", "BAD_KEY", "TIMEOUT", "UNKNOWN_TYPE", "NAME_IN_USE", "BAD_FRAME"),
            *("BAD_ENVELOPE", "BAD_TIMESTAMP", "UNAUTHENTICATED", "NOT_ALLOWED", "MAILBOX_FULL", "TOO_LARGE"),
            "SERVER_BUSY",
        }
        self.assertTrue(codes < named)
        self.assertEqual(named - codes, set(socp.SHAPES))
        self.assertEqual(len(socp.SHAPES), 28)

    def test_missing_fields(self) -> None:
        """Without any one of its required fields, a payload is BAD_ENVELOPE and the field is named."""
        for frame_type, shape in socp.SHAPES.items():
            for name in shape.required:
                with self.subTest(frame_type, field=name):
                    others = {other: None for other in shape.required if other != name}
                    with self.assertRaises(ProtocolError) as caught:
                        check_payload(envelope(frame_type, others))
                    self.assertEqual(caught.exception.code, BAD_ENVELOPE)

    def test_hello(self) -> None:
        """USER_HELLO is taken as section 5.1 has it, with fields that nobody knows too."""
        check_payload(envelope(socp.USER_HELLO, {**HELLO, "enc_pubkey": "k", "later": {"x": 1}}))

    def test_hello_refused(self) -> None:
        """Each field of USER_HELLO that is not what it must be is BAD_ENVELOPE."""
        changes: list[dict[str, object]] = [
            {"nonce": NONCE[:-1]},
            {"nonce": NONCE + "A"},
            {"nonce": "=" * 43},
            {"nonce": 5},
            {"caps": ["x"] * 17},
            {"caps": ["x" * 33]},
            {"caps": [""]},
            {"caps": [5]},
            {"caps": "presence"},
            {"meta": []},
            {"meta": {"display_name": "x" * 65}},
            {"meta": {"display_name": 5}},
            {"meta": {"x": nested(12)}},
            {"enc_pubkey": 5},
            {"pubkey": None},
            {"client": 1},
        ]
        for change in changes:
            with self.subTest(change=change), self.assertRaises(ProtocolError) as caught:
                check_payload(envelope(socp.USER_HELLO, {**HELLO, **change}))
            self.assertEqual(caught.exception.code, BAD_ENVELOPE)

    def test_meta_too_large(self) -> None:
        """`meta` of 4 kB canonical is taken, and one byte more is TOO_LARGE."""
        base = len(b'{"extras":""}')
        check_payload(envelope(socp.USER_HELLO, {**HELLO, "meta": {"extras": "x" * (socp.META_MOST - base)}}))
        with self.assertRaises(ProtocolError) as caught:
            check_payload(envelope(socp.USER_HELLO, {**HELLO, "meta": {"extras": "x" * (socp.META_MOST - base + 1)}}))
        self.assertEqual(caught.exception.code, TOO_LARGE)

    def test_meta_elsewhere(self) -> None:
        """An unknown field is passed over, also one that has a meaning elsewhere."""
        check_payload(envelope(socp.HEARTBEAT, {"meta": "x" * 5000}))

    def test_meta_nested(self) -> None:
        """`meta` may be nested as deep as USER_SYNC can carry it."""
        entry = {**HELLO, "meta": {"x": nested(11)}}
        check_payload(envelope(socp.USER_HELLO, entry))
        decode_frame(encode_frame(socp.make_envelope(socp.USER_SYNC, USER, "*", 1, {"users": [entry]})))

    def test_optional_fields(self) -> None:
        """An optional field may be absent, and must be right when it is there."""
        check_payload(envelope(socp.HEARTBEAT, {}))
        check_payload(envelope(socp.HEARTBEAT, {"probe": True}))
        for probe in (1, "yes", None):
            with self.assertRaises(ProtocolError):
                check_payload(envelope(socp.HEARTBEAT, {"probe": probe}))

    def test_counts(self) -> None:
        """Page sizes, ports and indexes have bounds."""
        for limit, valid in ((1, True), (1000, True), (0, False), (1001, False), (True, False), ("1", False)):
            with self.subTest(limit=limit):
                request = envelope(socp.USER_LIST_REQUEST, {"after": "", "limit": limit})
                if valid:
                    check_payload(request)
                else:
                    self.assertRaises(ProtocolError, check_payload, request)
        for index in (-1, 2**53, 1.5, None):
            with self.assertRaises(ProtocolError):
                check_payload(envelope(socp.FILE_CHUNK, {"file_id": USER, "index": index, "ciphertext": ""}))
