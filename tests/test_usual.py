"""Frames in their usual form: whatever is read and written the short way is what the full way would have made of it."""

from __future__ import annotations

import random
import string
import unittest

import socp
from crypto.encoding import encode_base64url
from framing import HEADER_BYTES, decode_frame, encode_frame
from mail import Mail
from socp import ACK, MSG_DIRECT, MSG_PUBLIC_CHANNEL, USER_DELIVER, Envelope, ProtocolError
from tests.vectors import key
from usual import read_usual, write_delivery

ALICE, BOB = key("alice").id, key("bob").id
_TS = 1_700_000_000_000
# What a frame can be spoilt by: other spellings of the same, ends of values, other fields, characters beyond ASCII.
_SNIPPETS = (
    *(b'"', b"\\", b"\\\\", b'\\"', b"\\u0041", b"\\n", b"\\/", b" ", b"\n", b"\0", b"\x7f", b"\x80", b"\xff"),
    *("é".encode(), "😀".encode(), b"\xed\xa0\x80", b"\xef\xbb\xbf", b"{", b"}", b"[", b"]", b",", b":", b"="),
    *(b'"x":1,', b',"x":{}', b'"ts":5,', b'"sig":"",', b'","sig":"AA', b'"user_id":"x",', b'"visited":[],', b"-", b"_"),
    *(b"0", b"1", b"1e3", b"1.0", b"-1", b"00", b"NaN", b"true", b"null", "٣".encode(), b"+", b"/"),
    *(b'"type":"ACK",', b'"from":', b'"payload":{', b'"status":"stored",', b"A", b"B", b"Q", b"x"),
)


def text(chance: random.Random, characters: int) -> str:
    """Return some base64url."""
    return encode_base64url(chance.randbytes(characters))[:characters]


def message(chance: random.Random, blocks: int = 1) -> bytes:
    """Return a direct message as clients write it."""
    payload = {
        "ciphertext": encode_base64url(chance.randbytes(512 * blocks)),
        "sender_pub": text(chance, 734),
        "content_sig": text(chance, 683),
    }
    return encode_frame(socp.make_envelope(MSG_DIRECT, ALICE, BOB, _TS + chance.randrange(10**9), payload))


def receipt(chance: random.Random) -> bytes:
    """Return a receipt as clients write it."""
    status = chance.choice(["delivered", "failed"])
    payload = {"msg_ref": text(chance, 43), "status": status, "content_sig": text(chance, 683)}
    return encode_frame(socp.make_envelope(ACK, BOB, ALICE, _TS + chance.randrange(10**9), payload))


_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace('"', "").replace("\\", "")


def broadcast(chance: random.Random, characters: int = 40) -> bytes:
    """Return a broadcast as clients write it."""
    said = "".join(chance.choices(_PRINTABLE, k=characters))
    payload = {"text": said, "sender_pub": text(chance, 734), "content_sig": text(chance, 683)}
    return encode_frame(
        socp.make_envelope(MSG_PUBLIC_CHANNEL, ALICE, socp.PUBLIC, _TS + chance.randrange(10**9), payload)
    )


def framed(body: bytes) -> bytes:
    """Return a body with its length."""
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def read_fully(frame: bytes) -> Envelope | None:
    """Read a frame the full way; None where that is refused."""
    try:
        envelope = socp.read_envelope(decode_frame(frame), frame)
        if envelope.type in socp.SHAPES:
            socp.check_payload(envelope)
    except ProtocolError:
        return None
    return envelope


class ReadTest(unittest.TestCase):
    """What is read the short way."""

    def compare(self, frame: bytes) -> tuple[bool, bool]:
        """Check that what the short way reads, the full way reads alike; tell whether each reads it at all."""
        usual, full = read_usual(frame), read_fully(frame)
        if usual is not None:
            # As text too: to Python, 1 equals True. The order of fields decides what is passed on, and counts.
            self.assertEqual(repr(usual), repr(full), frame)
        return usual is not None, full is not None

    def test_as_clients_write(self) -> None:
        """Messages of any number of blocks, receipts and broadcasts are read the short way, and alike."""
        chance = random.Random(1)
        for characters in (0, 1, 100, 16_384):
            self.assertEqual(self.compare(broadcast(chance, characters)), (True, True))
        self.assertEqual(self.compare(broadcast(chance, 16_385)), (False, True))
        self.assertEqual(
            self.compare(framed(broadcast(chance)[4:].replace(b'"text":"', b'"text":"' + b"," * 70_000))),
            (False, False),
        )
        for blocks in (*range(1, 65), *[1] * 100):
            for frame in (message(chance, blocks), receipt(chance)):
                self.assertEqual(self.compare(frame), (True, True), frame)

    def test_mutants(self) -> None:
        """Of frames spoilt in thousands of ways, none is read here that the full way refuses, or reads otherwise."""
        chance = random.Random(2)
        both = full_alone = neither = 0
        for _ in range(20_000):
            body = bytearray(chance.choice((message, receipt, broadcast))(chance)[HEADER_BYTES:])
            for _ in range(chance.choice((1, 1, 1, 2, 3))):
                self.spoil(chance, body)
            outcome = self.compare(framed(bytes(body)))
            both += outcome == (True, True)
            full_alone += outcome == (False, True)
            neither += outcome == (False, False)
        self.assertGreater(min(both, full_alone, neither), 500)

    def spoil(self, chance: random.Random, body: bytearray) -> None:
        """Change a body somewhere, more often where something begins or ends than in the middle of a long value."""
        marks = [place for place, byte in enumerate(body) if byte in b'"{}:,'] or [0]
        near = chance.choice(marks) + chance.choice((-1, 0, 0, 1))
        place = max(0, min(near if chance.random() < 0.7 else chance.randrange(len(body)), len(body) - 1))
        match chance.randrange(6):
            case 0:
                body[place : place + 1] = chance.choice(_SNIPPETS)
            case 1:
                body[place:place] = chance.choice(_SNIPPETS)
            case 2:
                del body[place : place + chance.choice((1, 1, 1, 2, 4, 40))]
            case 3:
                body[place] = chance.randrange(256)
            case 4:
                body[place] = ord(chance.choice(string.ascii_letters + string.digits + "-_"))
            case _:
                start, end = sorted(chance.sample(range(len(body) + 1), 2))
                body[place:place] = body[start : min(end, start + 60)]
        if not body:
            body += b"{}"

    def test_every_place(self) -> None:
        """At no place of a frame can a character be put in, for another or beside it, that would be read otherwise."""
        chance = random.Random(3)
        for frame in (message(chance), receipt(chance), broadcast(chance)):
            body = frame[HEADER_BYTES:]
            for place in range(len(body) + 1):
                for snippet in chance.sample(_SNIPPETS, 2):
                    self.compare(framed(body[:place] + snippet + body[place:]))
                    self.compare(framed(body[:place] + snippet + body[place + len(snippet) :]))

    def test_other_spellings(self) -> None:
        """Each field that the short way must leave to the full way, is left to it: also what that would take."""
        chance = random.Random(4)
        sent, confirmed = message(chance)[HEADER_BYTES:], receipt(chance)[HEADER_BYTES:]
        public = broadcast(chance)[HEADER_BYTES:]
        last = sent.index(b'","sender_pub"')
        for body, taken in (
            (sent.replace(b'"sig":""', b'"sig":"AA"'), True),
            (sent.replace(BOB.encode(), b"public", 1), True),
            (sent.replace(BOB.encode(), BOB.upper().encode(), 1), False),
            (sent.replace(b'"ts":1', b'"ts":0'), False),
            (sent.replace(b'"ts":1', b'"ts":123'), True),
            (sent.replace(b'"ts":1', b'"ts":9991'), False),  # beyond 2^53
            (sent.replace(b'"ts":1', b'"ts":-'), False),
            (sent[: last - 1] + b"B" + sent[last:], False),  # with bits that no byte has
            (sent[: last - 2] + sent[last:], False),  # of a length that no bytes have
            (sent.replace(b'"},"sig"', b'A"},"sig"'), True),
            (sent.replace(b',"payload"', b', "payload"'), True),
            (sent.replace(b'"ciphertext":"', b'"ciphertext":"AAAA","ciphertext":"'), False),
            (sent.replace(b'"sig":""}', b'"sig":"","visited":[]}'), True),
            (sent.replace(b'"MSG_DIRECT"', b'"ACK"'), False),
            (confirmed.replace(b'"ACK"', b'"MSG_DIRECT"'), False),
            (confirmed.replace(b'"status":"', b'"status":"_'), True),
            (confirmed.replace(b'"status":"', b'"status":"'), True),
            (public.replace(b'"text":"', b'"text":"\xc3\xa9'), True),
            (public.replace(b'"text":"', b'"text":"\\n'), True),
            (public.replace(b'"text":"', b'"text":"\t'), False),
            (public.replace(b'"text":"', b'"text":"\x7f'), True),
            (public.replace(b'"to":"public"', b'"to":"' + BOB.encode() + b'"'), True),
            (public.replace(b'"to":"public"', b'"to":"*"'), True),
            (public.replace(b'"sig":""}', b'"sig":"","visited":[]}'), True),
            (public.replace(b'"content_sig":"', b'"content_sig":"='), True),
            (public.replace(b'"sender_pub":"', b'"x":"","sender_pub":"'), True),
            (confirmed + b" ", True),
            (b" " + confirmed, True),
        ):
            if body != confirmed:
                self.assertEqual(self.compare(framed(body)), (False, taken), body)


class WriteTest(unittest.TestCase):
    """What is written the short way."""

    def test_deliveries(self) -> None:
        """Whatever is in a message, what the short way writes is what the encoder writes."""
        chance = random.Random(5)
        odd = ('"', "\\", "\n", "é", "😀", "\x7f", "\0", "=", " ", "A", "-", "?", "{}", '","hdr":"', '"},"sig":"')
        usual = unusual = 0
        for _ in range(3000):
            values = [encode_base64url(chance.randbytes(length)) for length in (512, 550, 512)]
            if chance.random() < 0.7:
                field = chance.randrange(3)
                place = chance.randrange(len(values[field]) + 1)
                values[field] = values[field][:place] + chance.choice(odd) + values[field][place:]
            ciphertext, sender_pub, content_sig = values
            mail = Mail(BOB, ALICE, sender_pub, ciphertext, content_sig, chance.randrange(1, 2**53))
            expected = socp.make_envelope(USER_DELIVER, key("server").id, BOB, mail.ts, mail.to_user())
            frame = write_delivery(key("server").id, mail)
            if frame is None:
                unusual += 1
            else:
                usual += 1
                self.assertEqual(frame, encode_frame(expected))
        self.assertGreater(min(usual, unusual), 1000)

    def test_what_no_frame_can_carry(self) -> None:
        """Half of a character, which no frame can carry, is left to the full way to refuse; so is what is too long."""
        for ciphertext, content_sig in (("\ud800", "AA"), ("AA", "A" * 1_048_576)):
            self.assertIsNone(write_delivery(key("server").id, Mail(BOB, ALICE, "AA", ciphertext, content_sig, 1)))
