"""What an attached user may send, and what it gets for anything else (sections 7.2, 8, 10, 11 and 12)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

import socp
from crypto.keys import read_public_key
from crypto.signing import message_reference
from framing import encode_frame
from origin import check_origin
from socp import (
    ACK,
    BAD_ENVELOPE,
    BAD_TIMESTAMP,
    FILE_ACK,
    FILE_CHUNK,
    FILE_END,
    FILE_START,
    INVALID_SIG,
    MSG_DIRECT,
    MSG_PUBLIC_CHANNEL,
    NOT_ALLOWED,
    PRESENCE,
    TOO_LARGE,
    USER_DELIVER,
    USER_KEY,
    USER_KEY_REQUEST,
    USER_LIST,
    USER_LIST_REQUEST,
    USER_NOT_FOUND,
)
from tests.e2e.rules import RulesTest
from tests.peer import Peer
from tests.vectors import key
from users import read_user

MINUTE = 60 * 1000
HOUR = 60 * MINUTE
FILE_ID = "3f0c1b9e-8a44-4d0e-9a5e-6f6f2f9f1c11"


class DirectTest(RulesTest):
    """Direct messages and receipts."""

    def setUp(self) -> None:
        """Attach two users."""
        self.dave, self.erin = self.attached("dave"), self.attached("erin")

    def refused(self, code: str, payload: dict[str, Any], **change: Any) -> None:
        """Have a message of dave's refused, with its msg_ref, and the link go on."""
        self.dave.send(MSG_DIRECT, payload, **{"to": self.erin.id} | change)
        error = self.dave.expect_error(code)
        self.assertEqual(error.payload["msg_ref"], message_reference(str(payload["content_sig"])))
        self.erin.expect_silence()

    def test_delivered(self) -> None:
        """The recipient gets what was sealed and signed, at the sender's time, signed by the server."""
        ts = socp.now_ms() - HOUR
        payload = self.dave.message("erin", "hello", ts)
        self.dave.send(MSG_DIRECT, {**payload, "secret": "not a known field"}, to=self.erin.id, ts=ts)
        delivered = self.erin.expect(USER_DELIVER)
        check_origin(delivered, key("server").public)
        self.assertEqual((delivered.ts, delivered.to), (ts, self.erin.id))
        self.assertEqual(delivered.payload, {**payload, "sender": self.dave.id, "hdr": delivered.payload["hdr"]})

    def test_all_at_once(self) -> None:
        """What is sent in one go is handled in its order, and what comes to each is too, whatever has to be signed."""
        frames, texts, ts = list[bytes](), list[str](), socp.now_ms()

        def add(frame_type: str, payload: dict[str, Any], to: str) -> None:
            frames.append(encode_frame(socp.make_envelope(frame_type, self.dave.id, to, ts, payload)))

        for number in range(24):
            payload = self.dave.message("erin", str(number), ts)
            texts.append(str(payload["ciphertext"]))
            add(MSG_DIRECT, payload, self.erin.id)
            if number == 5:
                add("NEW", {}, socp.EVERYONE)
            elif number == 11:
                add(MSG_PUBLIC_CHANNEL, self.dave.broadcast("in between", ts), socp.PUBLIC)
                texts.append("in between")
            elif number == 17:
                add(MSG_DIRECT, {**payload, "sender_pub": key("alice").public.text}, self.erin.id)
        self.dave.send_bytes(b"".join(frames))
        answers = self.dave.read_until_answer()
        codes = [envelope.payload["code"] for envelope in answers if envelope.type == socp.ERROR]
        self.assertEqual(codes, [socp.UNKNOWN_TYPE, INVALID_SIG])
        came = [frame for frame in self.erin.read_until_answer() if frame.type != socp.HEARTBEAT]
        self.assertEqual([frame.payload.get("ciphertext", frame.payload.get("text")) for frame in came], texts)
        for frame in came:
            if frame.type == USER_DELIVER:
                check_origin(frame, key("server").public)

    def test_receipt(self) -> None:
        """A receipt reaches the sender as the bytes that the recipient sent."""
        msg_ref = self.dave.tell("erin", "hello")
        self.erin.expect(USER_DELIVER)
        ts = socp.now_ms()
        receipt = socp.make_envelope(ACK, self.erin.id, self.dave.id, ts, self.erin.receipt("dave", ts, msg_ref))
        frame = encode_frame({**receipt, "extra": [1]})
        self.erin.send_bytes(frame)
        self.assertEqual(self.dave.expect(ACK).raw, frame)

    def test_sender(self) -> None:
        """A message in another's name, or with another's key, is INVALID_SIG."""
        payload = self.dave.message("erin", "hello", socp.now_ms())
        self.refused(INVALID_SIG, payload, sender=key("alice").id)
        self.refused(INVALID_SIG, {**payload, "sender_pub": key("alice").public.text})

    def test_time(self) -> None:
        """A message may be 24 hours old and five minutes ahead, and no more."""
        for ts in (socp.now_ms() - 24 * HOUR - MINUTE, socp.now_ms() + 6 * MINUTE):
            self.refused(BAD_TIMESTAMP, self.dave.message("erin", "hello", ts), ts=ts)
        for ts in (socp.now_ms() - 24 * HOUR + MINUTE, socp.now_ms() + 4 * MINUTE):
            self.dave.send(MSG_DIRECT, self.dave.message("erin", "hello", ts), to=self.erin.id, ts=ts)
            self.assertEqual(self.erin.expect(USER_DELIVER).ts, ts)

    def test_size(self) -> None:
        """A message of more than 64 blocks is TOO_LARGE."""
        payload = self.dave.message("erin", "hello", socp.now_ms())
        self.refused(TOO_LARGE, {**payload, "ciphertext": "A" * 43_692})

    def test_recipient(self) -> None:
        """Nobody and everybody are USER_NOT_FOUND; what is for somebody who has left is stored until it is back."""
        payload = self.dave.message("erin", "hello", socp.now_ms())
        for to in (str(uuid.uuid4()), socp.EVERYONE, socp.PUBLIC, self.server_id):
            self.refused(USER_NOT_FOUND, payload, to=to)
        gone = self.attached("frank")
        gone.send(socp.CTRL_CLOSE, {"reason": "leaving"})
        gone.expect_closed()
        msg_ref = self.dave.tell("frank", "hello")
        stored = self.dave.expect(ACK)
        check_origin(stored, key("server").public)
        self.assertEqual((stored.payload["msg_ref"], stored.payload["status"]), (msg_ref, "stored"))
        self.assertEqual(stored.sender, self.server_id)
        self.attached("frank").expect(USER_DELIVER)

    def test_forged_receipts(self) -> None:
        """A receipt in another's name, or for nobody, goes nowhere, and is not answered."""
        receipt = self.erin.receipt("dave", socp.now_ms(), "x")
        self.erin.send(ACK, receipt, to=self.dave.id, sender=key("alice").id)
        for to in (str(uuid.uuid4()), socp.EVERYONE, self.server_id):
            self.erin.send(ACK, receipt, to=to)
        self.erin.expect_silence()
        self.dave.expect_silence()

    def test_other_frames_in_anothers_name(self) -> None:
        """Every other frame in another's name is INVALID_SIG too."""
        self.dave.send(socp.HEARTBEAT, {"probe": True}, sender=self.erin.id)
        self.dave.expect_error(INVALID_SIG)
        self.dave.send(socp.CTRL_CLOSE, {"reason": "x"}, sender=self.erin.id)
        self.dave.expect_error(INVALID_SIG)
        self.dave.expect_alive()
        self.erin.expect_alive()


class BroadcastTest(RulesTest):
    """Broadcasts."""

    def setUp(self) -> None:
        """Attach two users."""
        self.dave, self.erin = self.attached("dave"), self.attached("erin")

    def refused(self, code: str, payload: dict[str, Any], **change: Any) -> None:
        """Have a broadcast of dave's refused, and nobody hear of it."""
        self.dave.send(MSG_PUBLIC_CHANNEL, payload, **{"to": socp.PUBLIC} | change)
        error = self.dave.expect_error(code)
        self.assertEqual(error.payload["msg_ref"], message_reference(str(payload["content_sig"])))
        self.erin.expect_silence()

    def test_to_everyone_else(self) -> None:
        """Everyone but the sender gets the bytes that were sent, once, however often they are sent."""
        ts = socp.now_ms()
        envelope = socp.make_envelope(MSG_PUBLIC_CHANNEL, self.dave.id, "public", ts, self.dave.broadcast("hi all", ts))
        frame = encode_frame({**envelope, "extra": 1})
        for _ in range(3):
            self.dave.send_bytes(frame)
        self.assertEqual(self.erin.expect(MSG_PUBLIC_CHANNEL).raw, frame)
        self.alice.expect(rf"\[All\] .*{self.dave.id[:8]}: hi all$")
        self.dave.expect_silence()
        self.erin.expect_silence()

    def test_refused(self) -> None:
        """Forged, altered, old and misaddressed broadcasts get their errors."""
        ts = socp.now_ms()
        good = self.dave.broadcast("hi", ts)
        self.refused(INVALID_SIG, good, ts=ts, sender=key("alice").id)
        self.refused(INVALID_SIG, {**good, "sender_pub": key("alice").public.text}, ts=ts)
        self.refused(INVALID_SIG, {**good, "text": "bye"}, ts=ts)
        self.refused(INVALID_SIG, good, ts=ts + 1)
        self.refused(NOT_ALLOWED, good, ts=ts, to=self.erin.id)
        for minutes in (-6, 6):
            other = socp.now_ms() + minutes * MINUTE
            self.refused(BAD_TIMESTAMP, self.dave.broadcast("hi", other), ts=other)

    def test_frame(self) -> None:
        """A broadcast whose frame is filled with something else is TOO_LARGE: it could not be gossiped."""
        ts = socp.now_ms()
        self.refused(TOO_LARGE, {**self.dave.broadcast("hi", ts), "junk": [0] * 60_000}, ts=ts)
        ts = socp.now_ms()
        self.dave.send(MSG_PUBLIC_CHANNEL, self.dave.broadcast("\x01" * 16_384, ts), to=socp.PUBLIC, ts=ts)
        self.assertEqual(self.erin.expect(MSG_PUBLIC_CHANNEL).payload["text"], "\x01" * 16_384)

    def test_size(self) -> None:
        """16 kB of UTF-8 are carried, and one byte more is TOO_LARGE."""
        ts = socp.now_ms()
        self.refused(TOO_LARGE, self.dave.broadcast("\u00e9" * 8192 + "x", ts), ts=ts)
        self.dave.send(MSG_PUBLIC_CHANNEL, self.dave.broadcast("\u00e9" * 8192, ts), to=socp.PUBLIC, ts=ts)
        self.assertEqual(self.erin.expect(MSG_PUBLIC_CHANNEL).payload["text"], "\u00e9" * 8192)


class FileTest(RulesTest):
    """Frames of files."""

    def setUp(self) -> None:
        """Attach two users."""
        self.dave, self.erin = self.attached("dave"), self.attached("erin")

    def test_relayed_unchanged(self) -> None:
        """All four frames reach the other end as the bytes that were sent."""
        ts = socp.now_ms()
        frames: list[tuple[Peer, Peer, str, dict[str, Any]]] = [
            (self.dave, self.erin, FILE_START, self.dave.manifest("erin", ts)),
            (self.erin, self.dave, FILE_ACK, {"file_id": FILE_ID, "next_index": 0, "status": "receiving"}),
            (self.dave, self.erin, FILE_CHUNK, {"file_id": FILE_ID, "index": 0, "ciphertext": "A" * 600_000}),
            (self.dave, self.erin, FILE_END, {"file_id": FILE_ID}),
        ]
        for sender, recipient, frame_type, payload in frames:
            envelope = socp.make_envelope(frame_type, sender.id, recipient.id, ts, {**payload, "extra": "\u00e9"})
            frame = encode_frame(envelope)
            sender.send_bytes(frame)
            self.assertEqual(recipient.expect(frame_type).raw, frame)

    def test_refused(self) -> None:
        """Another's name, another mode and nobody to receive get their errors, with the file_id."""
        ts = socp.now_ms()
        manifest = self.dave.manifest("erin", ts)
        nobody = str(uuid.uuid4())
        cases: Iterable[tuple[str, str, dict[str, Any], dict[str, Any]]] = (
            (INVALID_SIG, FILE_START, manifest, {"sender": key("alice").id}),
            (INVALID_SIG, FILE_START, {**manifest, "sender_pub": key("alice").public.text}, {}),
            (INVALID_SIG, FILE_END, {"file_id": FILE_ID}, {"sender": key("alice").id}),
            (NOT_ALLOWED, FILE_START, {**manifest, "mode": "group"}, {}),
            (USER_NOT_FOUND, FILE_START, manifest, {"to": nobody}),
            (USER_NOT_FOUND, FILE_CHUNK, {"file_id": FILE_ID, "index": 0, "ciphertext": ""}, {"to": nobody}),
            (USER_NOT_FOUND, FILE_END, {"file_id": FILE_ID}, {"to": socp.EVERYONE}),
        )
        for code, frame_type, payload, change in cases:
            with self.subTest(code=code, frame_type=frame_type):
                self.dave.send(frame_type, payload, **{"to": self.erin.id} | change)
                self.assertEqual(self.dave.expect_error(code).payload["file_id"], FILE_ID)
        self.dave.send(FILE_ACK, {"file_id": FILE_ID, "next_index": 0, "status": "receiving"}, to=nobody)
        self.dave.expect_silence()
        self.erin.expect_silence()

    def test_ill_typed(self) -> None:
        """A frame of a file that lacks a field, or has a wrong one, is BAD_ENVELOPE."""
        manifest = self.dave.manifest("erin", socp.now_ms())
        for change in ({"sha256": "00"}, {"size": -1}, {"file_id": "x"}, {"chunks": None}, {"name": 5}):
            self.dave.send(FILE_START, {**manifest, **change}, to=self.erin.id)
            self.dave.expect_error(BAD_ENVELOPE)
        for index in (-1, "0", None):
            self.dave.send(FILE_CHUNK, {"file_id": FILE_ID, "index": index, "ciphertext": ""}, to=self.erin.id)
            self.dave.expect_error(BAD_ENVELOPE)
        self.erin.expect_silence()


class DirectoryTest(RulesTest):
    """The user list, keys of users, and news of who is there."""

    def test_list(self) -> None:
        """The list comes in pages, sorted by id, with how many there are in all."""
        names = ("dave", "erin", "frank")
        peers = [self.connect(name) for name in names]
        for name, peer in zip(names, peers, strict=True):
            peer.attach_user(meta={"display_name": name})
        everyone = sorted(key(name).id for name in ("alice", "bob", *names))
        found: list[str] = []
        while True:
            peers[0].send(USER_LIST_REQUEST, {"after": found[-1] if found else "", "limit": 2})
            page = peers[0].expect(USER_LIST)
            check_origin(page, key("server").public)
            self.assertEqual(page.payload["total"], 5)
            users = page.payload["users"]
            self.assertLessEqual(len(users), 2)
            if not users:
                break
            found += [user["user_id"] for user in users]
            for user in users:
                self.assertEqual(user["server_id"], self.server_id)
                self.assertEqual(key(user["display_name"]).id, user["user_id"])
        self.assertEqual(found, everyone)

    def test_list_refused(self) -> None:
        """A page of none, of too many, or behind no id is BAD_ENVELOPE; in another's name it is INVALID_SIG."""
        dave = self.attached("dave")
        for payload in ({"after": "", "limit": 0}, {"after": "", "limit": 1001}, {"after": "x", "limit": 1}, {}):
            dave.send(USER_LIST_REQUEST, payload)
            dave.expect_error(BAD_ENVELOPE)
        dave.send(USER_LIST_REQUEST, {"after": "", "limit": 1}, sender=key("alice").id)
        dave.expect_error(INVALID_SIG)
        dave.expect_alive()

    def test_key(self) -> None:
        """A user's key comes with the attachment that the user signed, also when it has left."""
        erin = self.connect("erin")
        erin.attach_user(meta={"display_name": "Erin", "extras": {"x": [1, None]}}, caps=["a256gcm"])
        dave = self.attached("dave")
        for online in (True, False):
            dave.send(USER_KEY_REQUEST, {"user_id": erin.id})
            answer = dave.expect(USER_KEY)
            check_origin(answer, key("server").public)
            newest = socp.now_ms() + 5 * MINUTE
            user, public = read_user(answer.payload, answer.payload["server_id"], online=online, newest=newest)
            self.assertEqual((user.display_name, user.caps, public.id), ("Erin", ("a256gcm",), erin.id))
            self.assertEqual(answer.payload["attach"], erin.attach)
            self.assertIs(answer.payload["online"], online)
            erin.send(socp.CTRL_CLOSE, {"reason": "leaving"})
            erin.expect_closed()

    def test_unknown_key(self) -> None:
        """A user that nobody has heard of is USER_NOT_FOUND, with the user_id."""
        dave = self.attached("dave")
        nobody = str(uuid.uuid4())
        dave.send(USER_KEY_REQUEST, {"user_id": nobody})
        self.assertEqual(dave.expect_error(USER_NOT_FOUND).payload["user_id"], nobody)
        dave.send(USER_KEY_REQUEST, {"user_id": "x"})
        dave.expect_error(BAD_ENVELOPE)

    def test_presence(self) -> None:
        """Who has the cap is told who came and went, by a frame of the server; who has not is not."""
        watching, other = self.attached("dave", "presence"), self.attached("erin")
        frank = self.connect("frank")
        frank.attach_user(meta={"display_name": "Frank"})
        joined: list[dict[str, Any]] = []
        while frank.id not in [entry["user_id"] for entry in joined]:
            notice = watching.expect(PRESENCE)
            check_origin(notice, read_public_key(watching.acceptor_key))
            self.assertEqual(notice.to, socp.EVERYONE)
            joined += notice.payload["joined"]
        entry = {"user_id": frank.id, "server_id": self.server_id, "display_name": "Frank"}
        self.assertIn(entry, joined)
        frank.close()
        left: list[str] = []
        while frank.id not in left:
            left += watching.expect(PRESENCE).payload["left"]
        other.send(USER_LIST_REQUEST, {"after": "", "limit": 1})
        while (envelope := other.read()) is not None and envelope.type != USER_LIST:
            self.assertNotEqual(envelope.type, PRESENCE)
