"""Files by AES-256-GCM (PROTOCOL.md section 10.1), from end to end; test_receiving.py has those by RSA alone."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

from ciphers import Cipher, open_chunk, seal_chunk
from crypto.encoding import decode_base64url, encode_base64url
from crypto.keys import KeyPair
from crypto.sealing import chunk_label, seal
from crypto.signing import MANIFEST, verify_content
from settings import Limits, Settings, Timers
from socp import FILE_CHUNK, FILE_START, SERVER_BUSY, Envelope
from tests.test_receiving import OfferedTest
from tests.vectors import key
from tests.wire import CHUNK, PATIENCE, WireTest, changed

NAMES: dict[str, Any] = {"alg": "RSA-OAEP-256", "enc": "A256GCM"}


class HybridTest(WireTest):
    """Two clients that both take such chunks, at their real size."""

    hybrid = (True, True)
    chunk_size = Limits().chunk_hybrid

    def test_content(self) -> None:
        """A file arrives as it is, in chunks of 255 KiB, and its signed manifest says how it was sealed."""
        content = os.urandom(2 * self.chunk_size + 5)
        self.offer(content)
        self.assertEqual(self.assert_done(self.bob).path.read_bytes(), content)
        start, *chunks = self.alice.wait_sent(4)[:4]
        self.assertEqual({name: start.payload[name] for name in NAMES}, NAMES)
        signature = start.payload["content_sig"]
        self.assertTrue(verify_content(key("alice").public, MANIFEST, start.signed_values(), signature))
        stripped = {name: value for name, value in start.signed_values().items() if name not in NAMES}
        self.assertFalse(verify_content(key("alice").public, MANIFEST, stripped, signature))
        self.assertEqual((start.payload["chunks"], [chunk.payload["index"] for chunk in chunks]), (3, [0, 1, 2]))
        sealed = self.chunk_size + 16
        self.assertEqual([len(decode_base64url(chunk.payload["ciphertext"])) for chunk in chunks], [sealed] * 2 + [21])
        self.assertEqual(len({chunk.payload[name] for chunk in chunks for name in ("iv", "wrapped_key")}), 6)

    def test_sizes(self) -> None:
        """An empty file has no chunks, and a small one has one."""
        for size in (0, 1):
            self.offer(b"x" * size, f"{size}.bin")
            self.assertEqual(self.assert_done(self.bob).path.read_bytes(), b"x" * size)
            self.assert_done(self.alice)

    def test_window(self) -> None:
        """Four chunks are on their way at most, and each one is acknowledged: sections 10's limits hold."""
        self.bob.alter = lambda envelope: envelope if envelope.payload["next_index"] == 0 else None
        self.offer(b"x" * self.chunk_size * 6)
        self.alice.wait_sent(5)
        self.bob.wait_sent(5)
        self.assertEqual([envelope.type for envelope in self.alice.sent], [FILE_START] + [FILE_CHUNK] * 4)
        self.assertEqual([envelope.payload["next_index"] for envelope in self.bob.sent], [0, 1, 2, 3, 4])


class SideBySideTest(WireTest):
    """Chunks that several threads open."""

    def opening(self, watch: Callable[[int], None]) -> None:
        """Have somebody told the index of each chunk that has been opened, before its content is used."""

        def opened(cipher: Cipher, pair: KeyPair, payload: dict[str, Any], label: bytes) -> bytes | None:
            plain = open_chunk(cipher, pair, payload, label)
            watch(payload["index"])
            return plain

        patch = mock.patch("saving.open_chunk", opened)
        patch.start()
        self.addCleanup(patch.stop)

    def test_order(self) -> None:
        """A chunk that is opened before the one in front of it is written behind it."""
        second = threading.Event()

        def watch(index: int) -> None:
            if index == 0:
                self.assertTrue(second.wait(PATIENCE))
            elif index == 1:
                second.set()

        self.opening(watch)
        content = os.urandom(CHUNK * 5)
        with mock.patch("workers.CORES", 2):
            self.offer(content)
            self.assertEqual(self.assert_done(self.bob).path.read_bytes(), content)

    def test_not_wanted(self) -> None:
        """What waits behind a chunk that does not open costs nothing more."""
        opened: list[int] = []
        self.opening(opened.append)
        self.alice.alter = lambda envelope: (
            changed(envelope, ciphertext="AAAA") if envelope.payload.get("index") == 1 else envelope
        )
        with mock.patch("workers.CORES", 1):
            self.offer(b"x" * CHUNK * 20)
            self.assert_failed(self.bob, "does not open")
        self.assertEqual(opened, [0, 1])


class BothWaysTest(WireTest):
    """Clients of which one takes no such chunks."""

    def fields(self) -> set[str]:
        """Have alice send a file that arrives, and return what its frames have of section 10.1."""
        content = os.urandom(CHUNK * 2 + 1)
        self.offer(content)
        self.assertEqual(self.assert_done(self.bob).path.read_bytes(), content)
        return {
            name
            for envelope in self.alice.sent
            for name in ("alg", "enc", "wrapped_key", "iv", *envelope.payload)
            if name in envelope.payload and name in ("alg", "enc", "wrapped_key", "iv")
        }

    def test_neither(self) -> None:
        """Where neither does, files go by RSA alone."""
        self.assertEqual(self.fields(), set())


class OldRecipientTest(BothWaysTest):
    """A recipient that has not signed that it takes them."""

    hybrid = (True, False)


class OldSenderTest(BothWaysTest):
    """A sender that sends none, to a recipient that takes them."""

    hybrid = (False, True)


class RefusedTest(OfferedTest):
    """Offers of what a client does not take."""

    def test_without_cap(self) -> None:
        """A client that has not signed that it takes such chunks rejects them."""
        self.bob.transfers.take_start(self.offered(**NAMES))
        [answer] = self.bob.sent
        self.assertEqual(answer.payload["detail"], "the recipient cannot open that cipher")


class HybridOfferTest(OfferedTest):
    """Offers to a client that takes such chunks."""

    hybrid = (True, True)

    def test_offers(self) -> None:
        """Other names, or one of the two alone, are rejected; so are fewer chunks than the size takes."""
        for change, reason in (
            ({"alg": "RSA-OAEP-256"}, "cipher"),
            ({"enc": "A256GCM"}, "cipher"),
            ({**NAMES, "enc": "A128GCM"}, "cipher"),
            ({**NAMES, "size": 256 * 1024 + 1}, "number of chunks"),
        ):
            self.bob.transfers.take_start(self.offered(**change))
            self.assertEqual(self.bob.sent[-1].payload["status"], "rejected")
            self.assertIn(reason, self.bob.sent[-1].payload["detail"])
        self.assertEqual(self.bob.transfers.active, 0)
        self.bob.transfers.take_start(self.offered(**NAMES, size=256 * 1024))
        self.assertEqual(self.bob.wait_sent(5)[-1].payload["status"], "receiving")

    def test_changed_on_the_way(self) -> None:
        """A server that takes the names out of an offer, or puts them in, has it rejected as not signed."""
        with self.assertLogs("socp.receiving", "WARNING"):
            self.bob.transfers.take_start(changed(self.offered(), **NAMES))
        self.assertIn("not signed it so", self.bob.sent[-1].payload["detail"])


class HybridChunksTest(WireTest):
    """Chunks that are not what they should be: nothing of the file is left, and the sender is told."""

    hybrid = (True, True)
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
        sealed = seal_chunk(Cipher.HYBRID, key("bob").public, plain, chunk_label(**parts))
        return changed(envelope, **{name: value.decode() for name, value in sealed.items()})

    def fails(self, reason: str, alter: Any) -> None:
        """Have a transfer fail, whose chunks are altered on the way."""
        self.alice.alter = lambda envelope: alter(envelope) if envelope.type == FILE_CHUNK else envelope
        self.offer(b"x" * CHUNK * 3)
        self.assert_failed(self.bob, reason)
        self.assert_failed(self.alice, "failed at the recipient")
        self.assert_nothing_left()
        self.assertEqual(self.bob.transfers.active, 0)

    def test_does_not_open(self) -> None:
        """A chunk of another place, of the other kind, or with parts of another one fails the transfer."""
        plain = b"x" * CHUNK
        first: list[Envelope] = []

        def keep_key(envelope: Envelope) -> Envelope:
            first.append(envelope)
            return changed(envelope, wrapped_key=first[0].payload["wrapped_key"], iv=first[0].payload["iv"])

        def blocks(envelope: Envelope) -> Envelope:
            label = chunk_label(envelope.payload["file_id"], self.alice.id, envelope.payload["index"], self.bob.id)
            ciphertext = encode_base64url(seal(key("bob").public, plain, label))
            rest = {name: value for name, value in envelope.payload.items() if name not in ("wrapped_key", "iv")}
            return changed(replace(envelope, payload=rest), ciphertext=ciphertext)

        for alter in (
            lambda envelope: self.chunk(envelope, plain, file_id=str(uuid.uuid4())),
            lambda envelope: self.chunk(envelope, plain, index=7),
            lambda envelope: self.chunk(envelope, plain, sender=key("mallory").id),
            keep_key,
            blocks,
            lambda envelope: changed(envelope, ciphertext="A" + envelope.payload["ciphertext"][1:-2] + "AA"),
        ):
            self.fails("does not open", alter)

    def test_lengths(self) -> None:
        """Chunks of several lengths, empty ones and ones that hold too much fail the transfer."""

        def shorter_second(envelope: Envelope) -> Envelope:
            return self.chunk(envelope, b"x" * 100) if envelope.payload["index"] == 1 else envelope

        self.fails("not of one size", shorter_second)
        self.fails("not of one size", lambda envelope: self.chunk(envelope, b""))
        self.fails("longer than was said", lambda envelope: self.chunk(envelope, b"x" * CHUNK * 4))

    def test_replay(self) -> None:
        """A chunk that comes again, as it was or under the next index, is passed over or does not open."""
        sent: list[Envelope] = []

        def alter(envelope: Envelope) -> Envelope | None:
            if envelope.type == FILE_CHUNK:
                sent.append(envelope)
                self.bob.take(envelope)  # twice
                self.bob.take(sent[0])
            return envelope

        self.alice.alter = alter
        content = os.urandom(CHUNK * 3)
        self.offer(content)
        self.assertEqual(self.assert_done(self.bob).path.read_bytes(), content)
        self.assert_done(self.alice)
        (self.bob.files / "a file.bin").unlink()
        self.fails(
            "does not open",
            lambda envelope: changed(
                envelope, **{**sent[0].payload, **{name: envelope.payload[name] for name in ("file_id", "index")}}
            ),
        )

    def test_goes_on(self) -> None:
        """What was lost is sent again, sealed anew; a recipient that was started again gets it from the start."""
        content = os.urandom(CHUNK * 12)
        crashed = threading.Event()
        refused: list[Envelope] = []

        def alter(envelope: Envelope) -> Envelope | None:
            index = envelope.payload.get("index")
            if index == 4 and len(refused) < 2:
                refused.append(envelope)
                self.alice.refuse(envelope, SERVER_BUSY)
                return None
            if index == 8 and len(refused) == 2:
                crashed.set()
            return None if crashed.is_set() else envelope

        self.alice.alter = alter
        self.offer(content)
        self.assertTrue(crashed.wait(PATIENCE))
        self.alice.cut()
        self.crash_bob()
        self.alice.alter = lambda envelope: envelope
        self.alice.mend()
        self.assertEqual(self.assert_done(self.bob).path.read_bytes(), content)
        self.assertEqual(len({envelope.payload["iv"] for envelope in refused}), 2)
