"""Receiving files: senders that break the rules."""

from __future__ import annotations

import itertools
import os
import threading
import uuid
from dataclasses import replace
from typing import Any

import socp
from crypto.encoding import encode_base64url
from crypto.sealing import chunk_label, seal
from crypto.signing import FILE_RESULT, MANIFEST, KeySigner, sign_content, verify_content
from sending import CHUNK_PLAIN
from settings import Limits, Settings, Timers
from socp import FILE_ACK, FILE_CHUNK, FILE_END, FILE_START, Envelope
from tests.vectors import key
from tests.wire import PATIENCE, WireTest, changed
from threads import Deadline


class ReceiveTest(WireTest):
    """Files that arrive."""

    def test_content(self) -> None:
        """Files of all lengths around a chunk's arrive as they are."""
        for size in (0, 1, CHUNK_PLAIN - 1, CHUNK_PLAIN, CHUNK_PLAIN + 1):
            content = os.urandom(size)
            self.offer(content, f"{size}.bin")
            done = self.assert_done(self.bob)
            self.assertEqual((done.path, done.path.read_bytes()), (self.bob.files / f"{size}.bin", content))
            self.assert_done(self.alice)

    def test_acknowledged(self) -> None:
        """Progress is told at least every 256 kB of ciphertext, and the end is signed."""
        self.offer(b"x" * CHUNK_PLAIN * 16)
        self.assert_done(self.alice)
        indexes = [envelope.payload["next_index"] for envelope in self.bob.sent]
        steps = [later - earlier for earlier, later in itertools.pairwise(indexes)]
        self.assertLessEqual(max(steps) * CHUNK_PLAIN, 256 * 1024)
        last = self.bob.sent[-1]
        self.assertEqual((last.payload["status"], last.payload["next_index"]), ("complete", 16))
        self.assertTrue(
            verify_content(key("bob").public, FILE_RESULT, last.signed_values(), last.payload["content_sig"])
        )

    def test_names(self) -> None:
        """Whatever a sender calls a file, it lands in the directory, under a name that nobody had."""
        self.bob.files.mkdir()
        (self.bob.files / "passwd").write_bytes(b"mine")
        path = self.file(b"theirs")
        self.alice.alter = self.rename("../../../../passwd")
        self.alice.transfers.offer(self.bob.contact, path)
        self.assertEqual(self.assert_done(self.bob).path, self.bob.files / "passwd (2)")
        self.assertEqual((self.bob.files / "passwd").read_bytes(), b"mine")

    def rename(self, name: str) -> Any:
        """Return what signs the offer anew, under another name."""

        def alter(envelope: Envelope) -> Envelope | None:
            return resigned(envelope, name=name) if envelope.type == FILE_START else envelope

        return alter


def resigned(start: Envelope, **change: Any) -> Envelope:
    """Return the offer of a file by alice with fields changed, and signed as they are now."""
    draft = changed(start, **change)
    signature = sign_content(KeySigner(key("alice")), MANIFEST, draft.signed_values())
    return changed(draft, content_sig=signature)


class OfferTest(WireTest):
    """Offers that are not taken."""

    settings = Settings(limits=replace(Limits(), file_bytes=10 * CHUNK_PLAIN))

    def offered(self, **change: Any) -> Envelope:
        """Return an offer to bob."""
        payload = {
            "file_id": str(uuid.uuid4()),
            "name": "x",
            "size": 5,
            "sha256": "00" * 32,
            "mode": "dm",
            "chunks": 1,
            "sender_pub": key("alice").public.text,
            "content_sig": "",
        }
        wire = socp.make_envelope(FILE_START, self.alice.id, self.bob.id, change.pop("ts", socp.now_ms()), payload)
        return resigned(socp.read_envelope(wire), **change)

    def test_rejected(self) -> None:
        """An offer that section 10 does not allow is rejected with a reason, signed, and leaves nothing."""
        minute = 60 * 1000
        offers: list[tuple[str, dict[str, Any]]] = [
            ("mode", {"mode": "group"}),
            ("name", {"name": "x" * 256}),
            ("cipher", {"alg": "RSA-OAEP-256", "enc": "A256GCM"}),
            ("over 285,440 bytes", {"size": 10 * CHUNK_PLAIN + 1, "chunks": 11}),
            ("number of chunks", {"size": CHUNK_PLAIN + 1, "chunks": 1}),
            ("number of chunks", {"size": 5, "chunks": 6}),
            ("number of chunks", {"size": 0, "chunks": 1}),
            ("number of chunks", {"size": 5, "chunks": 0}),
            ("clock", {"ts": socp.now_ms() - 6 * minute}),
            ("clock", {"ts": socp.now_ms() + 6 * minute}),
        ]
        for number, (reason, change) in enumerate(offers, start=1):
            with self.subTest(change=change):
                self.bob.transfers.take_start(self.offered(**change))
                self.assertEqual(len(self.bob.sent), number)
                answer = self.bob.sent[-1]
                self.assertEqual((answer.type, answer.payload["status"]), (FILE_ACK, "rejected"))
                self.assertIn(reason, answer.payload["detail"])
                self.assertTrue(
                    verify_content(
                        key("bob").public, FILE_RESULT, answer.signed_values(), answer.payload["content_sig"]
                    )
                )
        self.assert_nothing_left()
        self.assertEqual(self.bob.transfers.active, 0)

    def test_forged(self) -> None:
        """An offer that its sender has not signed so is rejected."""
        with self.assertLogs("socp.receiving", "WARNING"):
            self.bob.transfers.take_start(changed(self.offered(), size=6))
            self.bob.transfers.take_start(changed(self.offered(), sender_pub=key("bob").public.text))
        self.assertEqual([envelope.payload["status"] for envelope in self.bob.sent], ["rejected"] * 2)
        self.assertEqual(self.bob.transfers.active, 0)

    def test_four_at_a_time(self) -> None:
        """Four transfers run at a time; others wait their turn, and far too many of one sender are rejected."""
        limit = Limits()
        for number in range(1, limit.transfers_of_one + 1):
            self.bob.transfers.take_start(self.offered())
            self.assertEqual(self.bob.transfers.active, number)
        self.bob.transfers.take_start(self.offered())
        rejected = [envelope for envelope in self.bob.sent if envelope.payload["status"] == "rejected"]
        self.assertIn("too many", rejected[0].payload["detail"])
        for _ in range(limit.transfers):
            self.bob.events.get(timeout=PATIENCE)
        self.assertTrue(self.bob.events.empty())
        receiving = [envelope for envelope in self.bob.sent if envelope.payload["status"] == "receiving"]
        self.assertEqual(len(receiving), limit.transfers)

    def test_offered_again(self) -> None:
        """An offer that is repeated while the file is received is answered by where the recipient stands."""
        offer = self.offered()
        self.bob.transfers.take_start(offer)
        self.bob.events.get(timeout=PATIENCE)
        self.bob.transfers.take_start(resigned(offer))
        self.assertEqual([envelope.payload["next_index"] for envelope in self.bob.sent], [0, 0])
        self.assertEqual(self.bob.transfers.active, 1)


class ChunksTest(WireTest):
    """Chunks that are not what they should be: nothing of the file is left, and the sender is told."""

    settings = Settings(replace(Timers(), busy=0.01))

    def chunk(self, envelope: Envelope, plain: bytes, **label: Any) -> Envelope:
        """Return a chunk of alice's with another content, or sealed under another label."""
        parts = {
            "file_id": envelope.payload["file_id"],
            "sender": self.alice.id,
            "index": envelope.payload["index"],
            "to": self.bob.id,
            **label,
        }
        return changed(envelope, ciphertext=encode_base64url(seal(key("bob").public, plain, chunk_label(**parts))))

    def fails(self, reason: str, alter: Any, chunks: int = 3) -> None:
        """Have a transfer fail, whose chunks are altered on the way."""
        self.alice.alter = lambda envelope: alter(envelope) if envelope.type == FILE_CHUNK else envelope
        self.offer(b"x" * CHUNK_PLAIN * chunks)
        self.assert_failed(self.bob, reason)
        self.assert_failed(self.alice, "failed at the recipient")
        self.assert_nothing_left()
        self.assertEqual(self.bob.transfers.active, 0)

    def test_ciphertext(self) -> None:
        """A chunk that does not open fails the transfer: of another key, place, file, sender or no ciphertext."""
        plain = b"x" * CHUNK_PLAIN
        self.fails("does not open", lambda envelope: changed(envelope, ciphertext="AAAA"))
        self.fails("does not open", lambda envelope: changed(envelope, ciphertext="A"))
        self.fails("does not open", lambda envelope: self.chunk(envelope, plain, index=7))
        self.fails("does not open", lambda envelope: self.chunk(envelope, plain, sender=key("mallory").id))
        self.fails("does not open", lambda envelope: self.chunk(envelope, plain, file_id=str(uuid.uuid4())))

    def test_lengths(self) -> None:
        """Chunks of several lengths, empty ones and ones that hold too much fail the transfer."""

        def shorter_second(envelope: Envelope) -> Envelope:
            return self.chunk(envelope, b"x" * 100) if envelope.payload["index"] == 1 else envelope

        self.fails("not of one size", shorter_second)
        self.fails("not of one size", lambda envelope: self.chunk(envelope, b""))

        def longer_last(envelope: Envelope) -> Envelope:
            return self.chunk(envelope, b"x" * 11) if envelope.payload["index"] else self.chunk(envelope, b"x" * 10)

        self.fails("not of one size", longer_last, 2)
        self.fails("its size is not", lambda envelope: self.chunk(envelope, b"x" * 10))

    def test_content(self) -> None:
        """Bytes that are not those of the manifest fail the transfer at its end."""
        self.fails("SHA-256", lambda envelope: self.chunk(envelope, b"y" * CHUNK_PLAIN))

    def test_longer_than_said(self) -> None:
        """A file that turns out longer than its manifest says fails before it is written."""

        def alter(envelope: Envelope) -> Envelope:
            if envelope.type == FILE_START:
                return resigned(envelope, size=2 * CHUNK_PLAIN + 1)
            return envelope

        self.alice.alter = alter
        self.offer(b"x" * CHUNK_PLAIN * 3)
        self.assert_failed(self.bob, "longer than was said")
        self.assert_nothing_left()

    def test_order(self) -> None:
        """Each index is taken in its order and once: repeats are passed over, and what is missing is asked for."""
        dropped: list[Envelope] = []

        def alter(envelope: Envelope) -> Envelope | None:
            if envelope.type != FILE_CHUNK:
                return envelope
            if envelope.payload["index"] == 1 and not dropped:
                dropped.append(envelope)
                self.alice.refuse(envelope, socp.SERVER_BUSY)
                return None
            self.bob.take(envelope)  # twice
            return envelope

        self.alice.alter = alter
        content = os.urandom(CHUNK_PLAIN * 3)
        self.offer(content)
        self.assertEqual(self.assert_done(self.bob).path.read_bytes(), content)

    def test_others_chunks(self) -> None:
        """Chunks of somebody else, for a transfer that they know of, change nothing."""

        def alter(envelope: Envelope) -> Envelope:
            if envelope.type in (FILE_CHUNK, FILE_END):
                wire = {**envelope.to_wire(), "from": key("mallory").id}
                self.bob.take(socp.read_envelope(wire, b"x"))
            return envelope

        self.alice.alter = alter
        content = os.urandom(CHUNK_PLAIN * 2)
        self.offer(content)
        self.assertEqual(self.assert_done(self.bob).path.read_bytes(), content)

    def test_flood(self) -> None:
        """A sender that sends more than the window allows fails its transfer, and is not kept in memory."""
        self.alice.alter = lambda envelope: None if envelope.type == FILE_CHUNK else envelope
        file_id = self.offer(b"x" * CHUNK_PLAIN * 100)
        self.bob.events.get(timeout=PATIENCE)
        payload = {"file_id": file_id, "index": 5, "ciphertext": "AAAA"}
        wire = socp.make_envelope(FILE_CHUNK, self.alice.id, self.bob.id, 1, payload)
        big = socp.read_envelope(wire, b"x" * 600_000)
        with self.bob.transfers._receiver._incoming[self.alice.id, file_id].changed:
            incoming = self.bob.transfers._receiver._incoming[self.alice.id, file_id]
            incoming.waiting.extend([big] * 4)
            incoming.waiting_bytes = 4 * 600_000
        self.bob.transfers.take(big)
        self.assert_failed(self.bob, "more than was asked for")

    def test_cannot_be_saved(self) -> None:
        """A directory that cannot be written to fails the transfer; the sender is not told why."""
        self.bob.files.write_bytes(b"a file in the directory's place")
        self.offer(b"secret reason")
        failed = self.assert_failed(self.bob, "cannot write to .*bob-files")
        told = self.assert_failed(self.alice, "the recipient cannot save it")
        self.assertNotIn("bob-files", told.reason)
        self.assertTrue(failed.incoming)


class SilenceTest(WireTest):
    """Senders that say nothing more."""

    settings = Settings(replace(Timers(), stall=0.2))

    def test_silence(self) -> None:
        """A sender that falls silent fails the transfer in time, and nothing of it is left."""
        self.alice.alter = lambda envelope: envelope if envelope.type == FILE_START else None
        self.offer(b"x")
        self.assert_failed(self.bob, "nothing was heard from the sender")
        self.assert_nothing_left()

    def test_no_progress(self) -> None:
        """Frames that bring nothing do not prolong a transfer's time."""

        def alter(envelope: Envelope) -> Envelope | None:
            return changed(envelope, index=7) if envelope.type == FILE_CHUNK else envelope

        self.alice.alter = alter
        self.offer(b"x" * CHUNK_PLAIN * 9)
        self.bob.events.get(timeout=PATIENCE)
        chunk = socp.make_envelope(FILE_CHUNK, self.alice.id, self.bob.id, 1, {"index": 5, "ciphertext": ""})
        deadline = Deadline(PATIENCE)
        while self.bob.transfers.active:
            for peer, file_id in list(self.bob.transfers._receiver._incoming):
                self.assertEqual(peer, self.alice.id)
                payload = {"file_id": file_id, "index": 5, "ciphertext": ""}
                self.bob.transfers.take(socp.read_envelope({**chunk, "payload": payload}, b"x"))
            self.assertTrue(deadline.left())
            threading.Event().wait(0.02)  # as a sender does that keeps it from falling silent
        self.assert_failed(self.bob, "nothing was heard from the sender")
