"""Receiving files: senders that break the rules."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import threading
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import socp
from crypto.encoding import encode_base64url
from crypto.sealing import SEAL_MOST, chunk_label, seal
from crypto.signing import FILE_RESULT, MANIFEST, KeySigner, sign_content, verify_content
from downloads import Download
from errors import NoAnswer, NotRemembered
from events import FileInterrupted, FileNotTaken, FileStarted
from incoming import Arrived, Came, Incoming
from messages import Manifest, read_manifest
from settings import Limits, Settings, Timers
from socp import FILE_ACK, FILE_CHUNK, FILE_END, FILE_START, Envelope
from tests.vectors import key
from tests.wire import CHUNK, CHUNK_SEALED, PATIENCE, WireTest, changed
from threads import Deadline
from underway import TransferFailed


class ReceiveTest(WireTest):
    """Files that arrive."""

    settings = Settings(limits=replace(Limits(), transfer_ack=4 * CHUNK_SEALED))

    def test_content(self) -> None:
        """Files of all lengths around a chunk's arrive as they are."""
        for size in (0, 1, CHUNK - 1, CHUNK, CHUNK + 1):
            content = os.urandom(size)
            self.offer(content, f"{size}.bin")
            done = self.assert_done(self.bob)
            self.assertEqual((done.path, done.path.read_bytes()), (self.bob.files / f"{size}.bin", content))
            self.assert_done(self.alice)

    def test_acknowledged(self) -> None:
        """Progress is told at least as often as section 10 says, by ciphertext, and the end is signed."""
        self.offer(b"x" * CHUNK * 10)
        self.assert_done(self.alice)
        indexes = [envelope.payload["next_index"] for envelope in self.bob.sent]
        steps = [later - earlier for earlier, later in itertools.pairwise(indexes)]
        self.assertEqual(max(steps) * CHUNK_SEALED, self.settings.limits.transfer_ack)
        last = self.bob.sent[-1]
        self.assertEqual((last.payload["status"], last.payload["next_index"]), ("complete", 10))
        self.assertTrue(
            verify_content(key("bob").public, FILE_RESULT, last.signed_values(), last.payload["content_sig"])
        )

    def test_offered_again_at_the_end(self) -> None:
        """A sender that asks while a file ends is told what has become of it, and does not wait for ever."""
        receiver = self.bob.transfers._receiver
        offers: list[Envelope] = []

        def keep(envelope: Envelope) -> Envelope:
            offers.append(envelope)
            return envelope

        self.alice.alter = keep
        receive = receiver._saver.receive

        def receive_and_be_asked(receiving: Any) -> None:
            receive(receiving)
            receiver.take_start(offers[0])

        with mock.patch.object(receiver._saver, "receive", receive_and_be_asked):
            self.offer(b"x" * CHUNK)
            self.assert_done(self.alice)
            self.bob.threads.join(Deadline(PATIENCE))
        said = [envelope.payload["status"] for envelope in self.bob.sent]
        self.assertEqual(said[-2:], ["complete", "complete"])

    def test_names(self) -> None:
        """Whatever a sender calls a file, it lands in the directory, under a name that nobody had."""
        self.bob.files.mkdir()
        (self.bob.files / "passwd").write_bytes(b"mine")
        path = self.file(b"theirs")
        self.alice.alter = self.rename("../../../../passwd")
        self.alice.transfers.offer(self.bob.contact, path)
        self.assertEqual(self.assert_done(self.bob).path, self.bob.files / "passwd (1)")
        self.assertEqual((self.bob.files / "passwd").read_bytes(), b"mine")

    def rename(self, name: str) -> Any:
        """Return what signs the offer anew, under another name."""

        def alter(envelope: Envelope) -> Envelope | None:
            return resigned(envelope, name=name) if envelope.type == FILE_START else envelope

        return alter


def resigned(start: Envelope, sender: str = "alice", **change: Any) -> Envelope:
    """Return the offer of a file with fields changed, and signed as they are now."""
    draft = changed(start, sender_pub=key(sender).public.text, **change)
    signature = sign_content(KeySigner(key(sender)), MANIFEST, draft.signed_values())
    return changed(draft, content_sig=signature)


class OfferedTest(WireTest):
    """A test in which offers are made by hand."""

    settings = Settings(limits=replace(Limits(), file_bytes=10 * SEAL_MOST))

    def offered_wire(self, sender: str, ts: int | None = None) -> dict[str, object]:
        """Return an offer to bob that nobody has signed."""
        payload = {
            "file_id": str(uuid.uuid4()),
            "name": "x",
            "size": 5,
            "sha256": "00" * 32,
            "mode": "dm",
            "chunks": 1,
            "sender_pub": "",
            "content_sig": "",
        }
        return socp.make_envelope(FILE_START, sender, self.bob.id, socp.now_ms() if ts is None else ts, payload)

    def offered(self, *, sender: str = "alice", ts: int | None = None, **change: Any) -> Envelope:
        """Return an offer to bob."""
        return resigned(socp.read_envelope(self.offered_wire(key(sender).id, ts)), sender, **change)


class OfferTest(OfferedTest):
    """Offers that are not taken."""

    def test_rejected(self) -> None:
        """An offer that section 10 does not allow is rejected with a reason, signed, and leaves nothing."""
        minute = 60 * 1000
        offers: list[tuple[str, dict[str, Any]]] = [
            ("mode", {"mode": "group"}),
            ("name", {"name": "x" * 256}),
            ("cipher", {"alg": "RSA-OAEP-256", "enc": "A256GCM"}),
            ("over 285,440 bytes", {"size": 10 * SEAL_MOST + 1, "chunks": 11}),
            ("number of chunks", {"size": SEAL_MOST + 1, "chunks": 1}),
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

    def test_at_a_time(self) -> None:
        """Of one sender two files are received at a time, others wait, and far too many are rejected."""
        limit = Limits()
        for number in range(1, limit.transfers_of_one + 1):
            self.bob.transfers.take_start(self.offered())
            self.assertEqual(self.bob.transfers.active, number)
        self.bob.transfers.take_start(self.offered())
        rejected = [envelope for envelope in self.bob.sent if envelope.payload["status"] == "rejected"]
        self.assertIn("too many", rejected[0].payload["detail"])
        for _ in range(limit.transfers_running_of_one):
            self.bob.events.get(timeout=PATIENCE)
        self.assertTrue(self.bob.events.empty())
        receiving = [envelope for envelope in self.bob.sent if envelope.payload["status"] == "receiving"]
        self.assertEqual(len(receiving), limit.transfers_running_of_one)
        self.bob.transfers.take_start(self.offered(sender="carol"))  # whose turn comes before those of alice
        self.assertEqual(self.bob.wait_sent(4)[3].to, key("carol").id)

    def test_thousand(self) -> None:
        """A thousand offers of many senders take 68 places, 4 drafts and 4 threads; whoever holds less gets one."""
        limit = Limits()
        manifest, _ = read_manifest(self.offered())
        senders = [str(uuid.UUID(int=number)) for number in range(10)]

        def read(envelope: Envelope) -> tuple[Manifest, None]:
            return replace(manifest, peer=envelope.sender, file_id=envelope.payload["file_id"]), None

        # A thousand signatures, and their answers, take ten seconds.
        with mock.patch("receiving.read_manifest", read), mock.patch("results.sign_content", return_value="x"):
            for number in range(1000):
                wire = self.offered_wire(senders[number // 100])
                self.bob.transfers.take_start(socp.read_envelope(wire))
                self.assertLessEqual(self.bob.transfers.active, limit.transfers + limit.transfers_waiting)
        for _ in range(limit.transfers):
            self.assertIsInstance(self.bob.events.get(timeout=PATIENCE), FileStarted)
        held = Counter(peer for peer, _ in self.bob.transfers._receiver._incoming)
        self.assertEqual(held.total(), limit.transfers + limit.transfers_waiting)
        self.assertEqual((min(held.values()), len(held)), (6, 10))
        self.assertEqual(len(list(self.bob.files.iterdir())), limit.transfers)
        receiving = [thread for thread in threading.enumerate() if thread.name.startswith("receive ")]
        self.assertEqual(len(receiving), limit.transfers)
        rejected = [envelope for envelope in self.bob.sent if envelope.payload["status"] == "rejected"]
        self.assertEqual(len(rejected), 1000 - held.total())

    def test_disconnected_before_its_turn(self) -> None:
        """A transfer that had not begun when the connection was lost is not interrupted by that once it begins."""
        manifest, _ = read_manifest(self.offered())
        receiving = Incoming(manifest, 1, 1000, asked=False, opened=lambda _: None)
        receiving.lose()
        receiving.ask()
        receiving.start()
        self.assertIs(receiving.next(), Came.NOTHING)

    def test_no_thread(self) -> None:
        """A file that no thread can be had for is rejected, and the person is told."""
        with mock.patch.object(self.bob.transfers._receiver._owner.threads, "start", return_value=False):
            self.bob.transfers.take_start(self.offered())
        [answer] = self.bob.sent
        self.assertEqual(answer.payload["status"], "rejected")
        event = self.bob.events.get(timeout=PATIENCE)
        assert isinstance(event, FileNotTaken)
        self.assertIn("threads", event.reason)
        self.assertEqual(self.bob.transfers.active, 0)

    def test_given_up(self) -> None:
        """A sender that gives up is heard before the chunks that wait to be opened; after a gap, it is asked."""
        offer = self.offered()
        manifest, _ = read_manifest(offer)
        place = {"file_id": manifest.file_id}
        [first, later, end] = (
            socp.read_envelope(socp.make_envelope(kind, self.alice.id, self.bob.id, offer.ts, {**place, **more}), b"x")
            for kind, more in (
                (FILE_CHUNK, {"index": 0, "ciphertext": ""}),
                (FILE_CHUNK, {"index": 2, "ciphertext": ""}),
                (FILE_END, {}),
            )
        )
        receiving = Incoming(replace(manifest, chunks=3), 1, 1000, asked=False, opened=lambda _: None)
        receiving.start()
        [opening, *others] = [receiving.take(envelope) for envelope in (first, later, end)]
        came = receiving.next()
        assert isinstance(came, Arrived)
        self.assertIsNotNone(opening)
        self.assertEqual((came.opening, others), (opening, [None, None]))
        self.assertIs(receiving.next(), Came.QUESTION)
        receiving = Incoming(replace(manifest, chunks=3), 1, 1000, asked=False, opened=lambda _: None)
        receiving.start()
        for envelope in (first, end):
            receiving.take(envelope)
        self.assertRaisesRegex(TransferFailed, "before its last chunk", receiving.next)

    def test_nothing_else_is_kept(self) -> None:
        """Of a chunk that waits, no more is kept than it takes to open it, whatever its sender has put in besides."""
        manifest, _ = read_manifest(self.offered())
        given: list[Mapping[str, Any]] = []
        receiving = Incoming(replace(manifest, chunks=1), 1, 1000, asked=False, opened=given.append)
        receiving.start()
        chunk = {"index": 0, "ciphertext": "", "wrapped_key": "", "iv": ""}
        payload = {"file_id": manifest.file_id, **chunk, "ballast": [{}] * 9}
        frame = socp.make_envelope(FILE_CHUNK, self.alice.id, self.bob.id, 1, payload)
        opening = receiving.take(socp.read_envelope(frame, b"x"))
        assert opening is not None
        self.assertIsNone(opening.result())
        self.assertEqual(given, [chunk])

    def test_offered_again(self) -> None:
        """An offer that is repeated while the file is received is answered by where the recipient stands."""
        offer = self.offered()
        self.bob.transfers.take_start(offer)
        self.bob.events.get(timeout=PATIENCE)
        self.bob.transfers.take_start(resigned(offer))
        self.assertEqual([envelope.payload["next_index"] for envelope in self.bob.wait_sent(2)], [0, 0])
        self.assertEqual(self.bob.transfers.active, 1)


class BlockedTest(OfferedTest):
    """Files of a sender who is, or gets, blocked."""

    def test_offers(self) -> None:
        """What a blocked sender offers is rejected, for a reason that does not say so, and not remembered."""
        self.bob.blocked.add(self.alice.id)
        self.bob.transfers.take_start(self.offered())
        [answer] = self.bob.sent
        self.assertEqual(answer.payload["status"], "rejected")
        self.assertNotIn("block", answer.payload["detail"])
        self.assertEqual((self.bob.transfers.active, len(self.bob.finished._ended)), (0, 0))

    def test_under_way(self) -> None:
        """Files that are under way end, those that wait never begin, and others' go on."""
        for _ in range(4):
            self.bob.transfers.take_start(self.offered())
        self.bob.transfers.take_start(self.offered(sender="carol"))
        for _ in range(3):
            self.assertIsInstance(self.bob.events.get(timeout=PATIENCE), FileStarted)
        self.bob.blocked.add(self.alice.id)
        self.bob.transfers.end_from(self.alice.id)
        for _ in range(2):
            self.assert_failed(self.bob, "does not take it")
        statuses = Counter(envelope.payload["status"] for envelope in self.bob.wait_sent(7))
        self.assertEqual(statuses, {"receiving": 3, "rejected": 2, "failed": 2})
        self.wait_active(1)
        self.assertEqual(len(list(self.bob.files.iterdir())), 1)

    def test_blocked_meanwhile(self) -> None:
        """An offer that is being checked when its sender is blocked is not taken any more."""

        def read(envelope: Envelope) -> Any:
            self.bob.blocked.add(self.alice.id)
            self.bob.transfers.end_from(self.alice.id)
            return read_manifest(envelope)

        with mock.patch("receiving.read_manifest", read):
            self.bob.transfers.take_start(self.offered())
        self.assertEqual([envelope.payload["status"] for envelope in self.bob.sent], ["rejected"])
        self.assertEqual(self.bob.transfers.active, 0)

    def wait_active(self, count: int) -> None:
        """Wait until bob has so many transfers."""
        deadline = Deadline(PATIENCE)
        while self.bob.transfers.active != count:
            self.assertTrue(self.bob.settled.wait(deadline.left()))
            self.bob.settled.clear()


class OfferAgainTest(OfferedTest):
    """Offers of files that are, or were, received before."""

    def setUp(self) -> None:
        """Have bob take an offer."""
        super().setUp()
        self.offer_sent = self.offered()
        self.bob.transfers.take_start(self.offer_sent)
        self.bob.wait_sent(1)

    def answer(self, offer: Envelope) -> Envelope:
        """Return the answer to an offer that is made now."""
        count = len(self.bob.sent)
        self.bob.transfers.take_start(offer)
        [answer] = self.bob.wait_sent(count + 1)[count:]
        return answer

    def test_under_way(self) -> None:
        """While a file is received, an offer that is forged, old or of something else neither ends nor moves it."""
        ts = socp.now_ms() - 6 * 60 * 1000
        old = socp.read_envelope({**self.offer_sent.to_wire(), "ts": ts})
        with self.assertLogs("socp.receiving", "WARNING"):
            self.bob.transfers.take_start(changed(self.offer_sent, size=6))
        for offer in (resigned(old), resigned(self.offer_sent, sha256="11" * 32), resigned(self.offer_sent, name="y")):
            self.bob.transfers.take_start(offer)
        self.assertEqual(self.answer(resigned(self.offer_sent)).payload["status"], "receiving")
        self.assertEqual((len(self.bob.sent), self.bob.transfers.active), (2, 1))

    def test_flood(self) -> None:
        """Offers that come faster than they are answered are answered once, and take no room."""
        held, released = threading.Event(), threading.Event()
        self.addCleanup(released.set)

        def hold(_: Envelope) -> None:
            held.set()
            self.assertTrue(released.wait(PATIENCE))

        self.bob.alter = hold
        again = resigned(self.offer_sent)
        self.bob.transfers.take_start(again)
        self.assertTrue(held.wait(PATIENCE))
        for _ in range(20):
            self.bob.transfers.take_start(again)
        [incoming] = self.bob.transfers._receiver._incoming.values()
        self.assertEqual(list(incoming._waiting), [None])
        released.set()
        self.assertEqual(len(self.bob.wait_sent(3)), 3)

    def test_finished(self) -> None:
        """A file that has ended is not taken again: how it ended is said again, signed, and never anything else."""
        self.bob.stop()
        self.wait_settled(self.bob)
        file_id = self.offer_sent.payload["file_id"]
        self.assertEqual(self.bob.finished.get(self.alice.id, file_id), ("failed", "00" * 32))
        for status in ("failed", "complete"):
            with self.subTest(status=status):
                self.bob.transfers._receiver._results._recent.add(self.alice.id, file_id, status, "00" * 32)
                answer = self.answer(resigned(self.offer_sent))
                self.assertEqual(answer.payload["status"], status)
                self.assertEqual(answer.payload["next_index"], int(status == "complete"))
                signature = answer.payload["content_sig"]
                self.assertTrue(verify_content(key("bob").public, FILE_RESULT, answer.signed_values(), signature))
                other = self.answer(resigned(self.offer_sent, sha256="11" * 32))
                self.assertEqual(other.payload["status"], "rejected")
                count = len(self.bob.sent)
                with self.assertLogs("socp.receiving", "WARNING"):
                    self.bob.transfers.take_start(changed(self.offer_sent, size=6))
                self.assertEqual((len(self.bob.sent), self.bob.transfers.active), (count, 0))


class MemoryTest(OfferedTest):
    """What outlives the client that has received a file."""

    def test_remembered_before_it_is_said(self) -> None:
        """Whoever is told how a transfer ended can rely on it that it is remembered."""
        known: list[object] = []

        def alter(envelope: Envelope) -> Envelope:
            if "content_sig" in envelope.payload:
                known.append(self.bob.finished.get(self.alice.id, envelope.payload["file_id"]))
            return envelope

        self.bob.alter = alter
        self.offer(b"x")
        self.assert_done(self.alice)
        self.assertEqual(known, [("complete", hashlib.sha256(b"x").hexdigest())])

    def test_killed_while_it_is_saved(self) -> None:
        """A client that is killed in the moment of saving a file does not take the same file again, but says so."""
        known: list[object] = []
        keep = Download.keep

        def kept(download: Download, name: str) -> Path:
            [(sender, file_id)] = self.bob.transfers._receiver._incoming
            known.append(self.bob.finished.get(sender, file_id))
            return keep(download, name)

        with mock.patch.object(Download, "keep", kept):
            self.offer(b"x")
            self.assert_done(self.bob)
        self.assertEqual(known, [("failed", hashlib.sha256(b"x").hexdigest())])

    def test_left_by_the_killed(self) -> None:
        """What a killed client has left of files is removed when the next one starts."""
        draft = self.bob.files / f".receiving-{'0' * 16}"
        draft.parent.mkdir()
        draft.write_bytes(b"half a file")
        self.crash_bob()
        self.assert_nothing_left()

    def test_disk_fails(self) -> None:
        """A file is received though that cannot be remembered; what cannot be looked up is rejected."""
        full = mock.Mock(side_effect=NotRemembered("the disk is full"))
        self.bob.finished.add = full  # type: ignore[method-assign]
        with self.assertLogs("socp.results", "WARNING"):
            file_id = self.offer(b"x")
            self.assert_done(self.alice)
        self.assert_done(self.bob)
        self.wait_settled(self.bob)
        self.assertEqual(full.call_args.args[:3], (self.alice.id, file_id, "complete"))
        self.bob.transfers.take_start(self.alice.sent[0])
        self.assertEqual(self.bob.sent[-1].payload["status"], "complete")
        self.bob.finished.get = full  # type: ignore[method-assign]
        with self.assertLogs("socp.receiving", "WARNING"):
            self.bob.transfers.take_start(self.offered())
        self.assertEqual(self.bob.sent[-1].payload["status"], "rejected")

    def test_rejected_is_not_remembered(self) -> None:
        """A file that was rejected may be offered again."""
        offer = self.offered()
        self.bob.transfers.take_start(resigned(offer, mode="group"))
        self.assertEqual(self.bob.sent[-1].payload["status"], "rejected")
        self.assertEqual(len(self.bob.finished._ended), 0)


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
        self.offer(b"x" * CHUNK * chunks)
        self.assert_failed(self.bob, reason)
        self.assert_failed(self.alice, "failed at the recipient")
        self.assert_nothing_left()
        self.assertEqual(self.bob.transfers.active, 0)

    def test_ciphertext(self) -> None:
        """A chunk that does not open fails the transfer: of another key, place, file, sender or no ciphertext."""
        plain = b"x" * CHUNK
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
        self.fails("SHA-256", lambda envelope: self.chunk(envelope, b"y" * CHUNK))

    def test_longer_than_said(self) -> None:
        """A file that turns out longer than its manifest says fails before it is written."""

        def alter(envelope: Envelope) -> Envelope:
            if envelope.type == FILE_START:
                return resigned(envelope, size=2 * CHUNK + 1)
            return envelope

        self.alice.alter = alter
        self.offer(b"x" * CHUNK * 3)
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
        content = os.urandom(CHUNK * 3)
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
        content = os.urandom(CHUNK * 2)
        self.offer(content)
        self.assertEqual(self.assert_done(self.bob).path.read_bytes(), content)

    def test_flood(self) -> None:
        """A sender that sends more than the window allows fails its transfer, and is not kept in memory."""
        held, released = threading.Event(), threading.Event()
        self.addCleanup(released.set)

        def hold(envelope: Envelope) -> Envelope | None:
            held.set()
            self.assertTrue(released.wait(PATIENCE))
            return None

        self.bob.alter = hold  # its first report: what comes now waits
        file_id = self.offer(b"x" * CHUNK * 100)
        self.assertTrue(held.wait(PATIENCE))
        for index in range(100):
            payload = {"file_id": file_id, "index": index, "ciphertext": "AAAA"}
            wire = socp.make_envelope(FILE_CHUNK, self.alice.id, self.bob.id, 1, payload)
            self.bob.transfers.take(socp.read_envelope(wire, b"x" * 600_000))
        [incoming] = self.bob.transfers._receiver._incoming.values()
        self.assertEqual(len(incoming._waiting), 2 * Limits().transfer_window // 600_000)
        released.set()
        self.assert_failed(self.bob, "more than was asked for")

    def test_cannot_be_saved(self) -> None:
        """A directory that cannot be written to fails the transfer; the sender is not told why."""
        failing = mock.patch("saving.Download", side_effect=PermissionError(errno.EACCES, "Permission denied"))
        with failing:
            self.offer(b"secret reason")
            failed = self.assert_failed(self.bob, "cannot write to .*bob-files: Permission denied")
            told = self.assert_failed(self.alice, "failed at the recipient: the recipient cannot save it")
        self.assertNotIn("bob-files", told.reason)
        self.assertTrue(failed.incoming)

    def test_cannot_be_saved_as_is_known(self) -> None:
        """One that is known not to be writable, or a disk that is full, has the offer rejected, as secretly."""
        self.bob.files.write_bytes(b"a file in the directory's place")
        self.offer(b"x")
        self.assert_not_taken(self.bob, "cannot write to .*bob-files: Not a directory")
        told = self.assert_failed(self.alice, "rejected by the recipient: the recipient cannot save it")
        self.assertNotIn("bob-files", told.reason)
        self.bob.files.unlink()
        full = mock.Mock(f_bavail=1, f_frsize=1024**2, f_blocks=2)
        with mock.patch.object(os, "statvfs", return_value=full):
            self.offer(b"x")
            self.assert_not_taken(self.bob, "cannot write to .*bob-files: 1,048,576 bytes are free there, and 33,")
            self.assert_failed(self.alice, "the recipient cannot save it$")
        self.assertEqual(len(self.bob.finished._ended), 0)  # it may be offered again when there is room


class SilenceTest(WireTest):
    """Senders that say nothing more."""

    settings = Settings(replace(Timers(), stall=0.2, resume=1.0))

    def silence(self) -> str:
        """Have alice fall silent once bob has taken her file, and return its file_id."""
        self.alice.alter = lambda envelope: envelope if envelope.type == FILE_START else None
        return self.offer(b"x" * CHUNK * 2)

    def test_not_online(self) -> None:
        """A sender who is not online is waited for, and asked about once in each time of silence."""
        self.bob.says_online = lambda: False
        self.silence()
        self.assert_told(self.bob, FileStarted, FileInterrupted)
        self.assert_failed(self.bob, "interrupted for too long")
        self.assertLessEqual(self.bob.asked_online, 5)
        self.assert_nothing_left()

    def test_unknown_whether_online(self) -> None:
        """So is one of whom the server does not say whether it is online."""

        def online() -> bool:
            raise NoAnswer("the server did not answer")

        self.bob.says_online = online
        self.silence()
        self.assert_told(self.bob, FileStarted, FileInterrupted)

    def test_heard_while_asking(self) -> None:
        """A sender whose chunk comes while it is asked for is not taken for silent."""
        self.alice.alter = lambda envelope: envelope if envelope.type == FILE_START else None

        def online() -> bool:
            _, chunk, *_ = self.alice.wait_sent(2)
            self.bob.transfers.take(chunk)
            wire = socp.make_envelope(FILE_END, self.alice.id, self.bob.id, 1, {"file_id": chunk.payload["file_id"]})
            self.bob.transfers.take(socp.read_envelope(wire, b"x"))
            return True

        self.bob.says_online = online
        self.offer(b"x")
        self.assertEqual(self.assert_done(self.bob).path.read_bytes(), b"x")
        self.assertEqual(self.bob.asked_online, 1)

    def test_offered_for_ever(self) -> None:
        """A sender that only offers the file again holds its place no longer than an interrupted transfer may."""
        self.silence()
        self.bob.wait_sent(1)
        deadline = Deadline(PATIENCE)
        while self.bob.transfers.active:
            self.bob.transfers.take_start(resigned(self.alice.sent[0]))
            self.assertTrue(deadline.left())
        self.assert_failed(self.bob, "interrupted for too long")

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
        self.offer(b"x" * CHUNK * 9)
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
