"""What a user can do to the running client of another: files that are not what they seem, and what blocking stops."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import unittest
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import socp
from ciphers import Cipher, seal_chunk
from crypto.encoding import encode_base64url
from crypto.sealing import BLOCK_PLAIN, chunk_label, seal
from crypto.signing import FILE_RESULT, sign_content
from settings import Limits
from socp import ACK, FILE_ACK, FILE_CHUNK, FILE_END, FILE_START, MSG_PUBLIC_CHANNEL, Envelope
from tests.e2e.harness import Network, Program
from tests.e2e.rules import RulesTest
from tests.hostile.arena import HostileTest
from tests.hostile.measure import descriptors, threads
from tests.peer import Peer
from tests.vectors import key
from workers import CORES

MINUTE = 60 * 1000
Step = Callable[["Offer"], None]


class Offer:
    """A file that an attacker offers.

    Args:
        peer: the attacker.
        content: what its manifest says that it is, in chunks of one block.
        to: whom it is offered to.
        change: fields of the manifest that say something else.
    """

    def __init__(self, peer: Peer, content: bytes = b"", *, to: str = "bob", **change: Any) -> None:
        self.peer = peer
        self.to = key(to)
        self.file_id = str(uuid.uuid4())
        self.plains = [content[at : at + BLOCK_PLAIN] for at in range(0, len(content), BLOCK_PLAIN)]
        said = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "chunks": len(self.plains)}
        self.ts = change.pop("ts", socp.now_ms())
        self.payload = peer.manifest(
            change.pop("signed_for", to), self.ts, file_id=self.file_id, **{**said, "name": "x", **change}
        )

    def start(self, **forged: object) -> Offer:
        """Send the manifest, with fields changed after it was signed."""
        self.peer.send(FILE_START, {**self.payload, **forged}, to=self.to.id, ts=self.ts)
        return self

    def chunk(self, index: int, plain: bytes | None = None, /, **change: object) -> None:
        """Send a chunk, which says something else if `plain` does."""
        label = chunk_label(self.file_id, self.peer.id, index, self.to.id)
        sealed = seal(self.to.public, self.plains[index] if plain is None else plain, label)
        payload = {"file_id": self.file_id, "index": index, "ciphertext": encode_base64url(sealed), **change}
        self.peer.send(FILE_CHUNK, payload, to=self.to.id)

    def hybrid(self, index: int, /, **change: object) -> None:
        """Send a chunk of section 10.1, with fields changed; those that are None are left out."""
        label = chunk_label(self.file_id, self.peer.id, index, self.to.id)
        sealed = seal_chunk(Cipher.HYBRID, self.to.public, self.plains[index], label)
        fields = {**{name: value.decode() for name, value in sealed.items()}, **change}
        payload = {name: value for name, value in fields.items() if value is not None}
        self.peer.send(FILE_CHUNK, {"file_id": self.file_id, "index": index, **payload}, to=self.to.id)

    def end(self) -> None:
        """Send the end."""
        self.peer.send(FILE_END, {"file_id": self.file_id}, to=self.to.id)

    def send_all(self) -> None:
        """Send every chunk as it should be, and the end."""
        for index in range(len(self.plains)):
            self.chunk(index)
        self.end()

    def answer(self, *passed_over: str) -> tuple[str, str]:
        """Wait for what the recipient says of this file, passing over some statuses; return status and detail."""
        while True:
            payload = self.peer.expect(FILE_ACK).payload
            if payload["file_id"] == self.file_id and payload["status"] not in passed_over:
                return payload["status"], payload.get("detail", "")


class ClientTest(HostileTest):
    """Attacks of users, while alice and bob talk; the one network is that of all classes of this module."""

    @classmethod
    def setUpClass(cls) -> None:
        """Start the network: its clients give up sooner on whoever falls silent."""
        if RulesTest.network is None:
            cls.start_network(Network(environment={"TEST_TIMERS": "stall=4"}))
            unittest.addModuleCleanup(cls.end_network)

    def setUp(self) -> None:
        """Attach an attacker."""
        super().setUp()
        assert self.network is not None
        self.directory = self.network.directory
        self.files = self.directory / "bob-files"
        self.mallory = self.attackers_user("mallory")

    def send(self, content: bytes = b"", **change: Any) -> tuple[str, str]:
        """Have a file sent as it should be, but for its manifest; return how it ends."""
        offer = Offer(self.mallory, content, **change).start()
        answer = offer.answer()
        if answer[0] == "receiving":
            offer.send_all()
            answer = offer.answer("receiving")
        return answer

    def names(self) -> set[str]:
        """Return what is in bob's directory, drafts too."""
        return {path.name for path in self.files.iterdir()} if self.files.exists() else set()


class NamesTest(ClientTest):
    """Names that senders choose, and what stands in their way."""

    def test_names(self) -> None:
        """Whatever a file is called, it lands in the directory, under a name that does no harm anywhere."""
        expected = {}
        for number, (name, safe) in enumerate(
            (
                ("../../{}", "{}"),
                ("/etc/{}", "{}"),
                ("..\\..\\{}", "{}"),
                ("C:\\Windows\\{}", "{}"),
                ("C:{}", "C_{}"),
                ("\\\\server\\share\\{}", "{}"),
                ("CON.{}", "_CON.{}"),
                ("com1 .{}", "_com1.{}"),
                ("\x00\x1b[2J\r\n{}", "__[2J__{}"),
                ("{}. . .", "{}"),
                (".{}", "_{}"),
                ("~{}", "_{}"),
                ("-{}", "_{}"),
                ("\U0001f600" * 75 + "{}.pdf", None),
                ("\u202egpj.{}\u200b.exe", "_gpj.{}_.exe"),
                ("\u0435\u0301{}\u3164\ufe0f", "\u0435\u0301{}"),
            )
        ):
            mark = f"mark{number}"
            self.assertEqual(self.send(name=name.format(mark))[0], "complete", name)
            expected[mark] = safe.format(mark) if safe is not None else "\U0001f600" * 49 + ".pdf"
        for nothing in ("", ".", "..", "...", "/", "\\"):
            self.assertEqual(self.send(name=nothing)[0], "complete", nothing)
        unnamed = {"file", *(f"file ({number})" for number in range(1, 6))}
        self.assertEqual(self.names(), {*expected.values(), *unnamed})
        around = {path.name for path in self.directory.iterdir()}
        self.assertFalse({name for name in around if "mark" in name or name == "file"}, around)
        self.assertEqual(self.send(name="x" * 256), ("rejected", "its name has over 255 characters"))
        self.bob.expect(r"\[File from .* saved .*bob-files/_gpj\.mark14_\.exe")
        for path in self.files.iterdir():
            path.unlink()

    def test_in_the_way(self) -> None:
        """Nothing that is there is written to, whatever it is; names that differ little are the same."""
        secret = self.directory / "secret"
        secret.write_bytes(b"secret")
        self.files.mkdir(exist_ok=True)
        (self.files / "link").symlink_to(secret)
        (self.files / "dangling").symlink_to(self.directory / "nowhere")
        os.mkfifo(self.files / "fifo")
        (self.files / "directory").mkdir()
        (self.files / "file.txt").write_bytes(b"mine")
        (self.files / "e\u0301").write_bytes(b"mine")
        before = self.names()
        for name, safe in (
            ("link", "link (1)"),
            ("dangling", "dangling (1)"),
            ("fifo", "fifo (1)"),
            ("directory", "directory (1)"),
            ("file.txt", "file (1).txt"),
            ("FILE.TXT", "FILE (1).TXT"),
            ("\u00c9", "\u00c9 (1)"),
        ):
            self.assertEqual(self.send(b"theirs", name=name)[0], "complete", name)
            self.assertEqual((self.files / safe).read_bytes(), b"theirs")
            self.assertFalse((self.files / safe).is_symlink())
            (self.files / safe).unlink()
        self.assertEqual(self.names(), before)
        self.assertEqual((secret.read_bytes(), (self.files / "file.txt").read_bytes()), (b"secret", b"mine"))
        self.assertFalse((self.directory / "nowhere").exists())
        (self.files / "directory").rmdir()
        for path in self.files.iterdir():
            path.unlink()

    def test_directory_in_the_way(self) -> None:
        """A directory that cannot be written to fails files, and whoever sends them is not told why."""
        self.files.mkdir(exist_ok=True)
        kept = self.files.rename(self.directory / "kept")
        puts: Sequence[Callable[[], object]] = (
            self.files.touch,
            lambda: os.mkfifo(self.files),
            lambda: self.files.symlink_to(self.directory / "nowhere"),
        )
        for put in puts:
            put()
            self.assertEqual(self.send(b"x"), ("rejected", "the recipient cannot save it"))
            self.files.unlink()
        self.assertFalse((self.directory / "nowhere").exists())
        kept.rename(self.files)

    def test_directory_replaced(self) -> None:
        """A directory that is replaced by a link while a file comes in is not written through."""
        elsewhere = self.directory / "elsewhere"
        elsewhere.mkdir()
        offer = Offer(self.mallory, b"x", name="misled").start()
        self.assertEqual(offer.answer()[0], "receiving")
        kept = self.files.rename(self.directory / "moved")
        self.files.symlink_to(elsewhere)
        offer.send_all()
        self.assertEqual(offer.answer("receiving"), ("failed", "the recipient cannot save it"))
        self.files.unlink()
        kept.rename(self.files)
        self.assertEqual((list(elsewhere.iterdir()), self.names()), ([], set()))


class FlowTest(ClientTest):
    """Manifests and frames that lie."""

    def test_manifests(self) -> None:
        """What a manifest says that cannot be, or that its sender has not signed so, is rejected with a reason."""
        before = self.names()
        mark = self.bob.mark()
        for reason, change in (
            ("over 1,073,741,824 bytes", {"size": 2**50, "chunks": 2**40}),
            ("number of chunks", {"size": 5, "chunks": 6}),
            ("number of chunks", {"size": 5, "chunks": 0}),
            ("number of chunks", {"size": 0, "chunks": 1}),
            ("number of chunks", {"size": 2**30, "chunks": 1}),
            ("number of chunks", {"size": 1, "chunks": 2**53 - 1}),
            ("clock", {"ts": socp.now_ms() - 6 * MINUTE}),
            ("not signed it so", {"signed_for": "alice"}),
        ):
            status, detail = self.send(b"", **change)
            self.assertEqual(status, "rejected", change)
            self.assertIn(reason, detail)
        for change in ({"name": "y"}, {"size": 6}, {"sha256": "11" * 32}, {"file_id": str(uuid.uuid4())}):
            offer = Offer(self.mallory, b"12345")
            offer.file_id = str(change.get("file_id", offer.file_id))
            self.assertEqual(offer.start(**change).answer(), ("rejected", "its sender has not signed it so"))
        self.assertEqual((self.names(), self.shown_since(mark)), (before, []))

    def shown_since(self, mark: int) -> list[str]:
        """Return what bob was shown of the attacker."""
        return [line for line in self.bob.lines[mark:] if self.mallory.id[:8] in line]

    def test_frames(self) -> None:
        """Chunks and ends that are not what was said fail the file, and nothing of it is left."""
        cases: Sequence[tuple[str, dict[str, Any], Sequence[Step]]] = (
            ("SHA-256", {"sha256": "00" * 32}, [Offer.send_all]),
            ("its size is not", {"size": 2 * BLOCK_PLAIN + 1}, [Offer.send_all]),
            ("longer than was said", {"size": 2 * BLOCK_PLAIN - 1}, [Offer.send_all]),
            ("not of one size", {}, [lambda offer: offer.chunk(0), lambda offer: offer.chunk(1, b"y" * 447)]),
            ("not of one size", {}, [lambda offer: offer.chunk(0, b"")]),
            ("does not open", {}, [lambda offer: offer.chunk(0, ciphertext="AAAA")]),
            ("does not open", {}, [lambda offer: offer.chunk(0), lambda offer: offer.chunk(0, index=1)]),
            ("before its last chunk", {}, [Offer.end]),
            ("before its last chunk", {}, [lambda offer: offer.chunk(0), Offer.end]),
        )
        before = self.names()
        for reason, change, steps in cases:
            offer = Offer(self.mallory, b"y" * 2 * BLOCK_PLAIN, **change).start()
            self.assertEqual(offer.answer()[0], "receiving", reason)
            for step in steps:
                step(offer)
            status, detail = offer.answer("receiving")
            self.assertEqual(status, "failed", reason)
            self.assertIn(reason, detail)
            offer.end()  # late
        self.assertEqual(self.names(), before)

    def test_hybrid(self) -> None:
        """Chunks by AES-256-GCM are taken where the signed manifest says so, whole and of that kind alone."""
        said = {"alg": "RSA-OAEP-256", "enc": "A256GCM"}
        content = os.urandom(2 * BLOCK_PLAIN)
        offer = Offer(self.mallory, content, name="hybrid", **said).start()
        self.assertEqual(offer.answer()[0], "receiving")
        offer.hybrid(0)
        offer.hybrid(0)  # again
        offer.hybrid(1)
        offer.end()
        self.assertEqual(offer.answer("receiving"), ("complete", ""))
        self.assertEqual((self.files / "hybrid").read_bytes(), content)
        (self.files / "hybrid").unlink()
        cases: Sequence[tuple[dict[str, Any], Step]] = (
            (said, lambda offer: offer.chunk(0)),
            ({}, lambda offer: offer.hybrid(0)),
            (said, lambda offer: offer.hybrid(0, wrapped_key=None)),
            (said, lambda offer: offer.hybrid(0, iv=None)),
            (said, lambda offer: offer.hybrid(0, iv="AAAAAAAAAAA")),
            (said, lambda offer: offer.hybrid(0, ciphertext="AAAA")),
            (said, lambda offer: offer.hybrid(0, wrapped_key=encode_base64url(bytes(64 * 512)))),
            (said, lambda offer: offer.hybrid(0, ciphertext=encode_base64url(bytes(300_000)))),
            (said, lambda offer: offer.hybrid(1, index=0)),
        )
        before = self.names()
        for change, step in cases:
            offer = Offer(self.mallory, content, **change).start()
            self.assertEqual(offer.answer()[0], "receiving")
            step(offer)
            self.assertEqual(offer.answer("receiving"), ("failed", "a chunk does not open"))
        for change in ({"alg": "RSA-OAEP-256"}, {"enc": "A256GCM"}, {**said, "enc": "A128GCM"}):
            self.assertEqual(self.send(b"x", **change), ("rejected", "the recipient cannot open that cipher"))
        self.assertEqual(Offer(self.mallory, content).start(**said).answer()[1], "its sender has not signed it so")
        self.assertEqual(self.names(), before)

    def test_order(self) -> None:
        """Chunks in a wrong order, repeated, far beyond or of nothing that was offered change nothing."""
        content = os.urandom(3 * BLOCK_PLAIN)
        offer = Offer(self.mallory, content, name="in order")
        offer.chunk(0)  # before it is offered
        offer.end()
        offer.start()
        offer.chunk(1)  # before anybody can have answered
        self.assertEqual(offer.answer()[0], "receiving")
        never = Offer(self.mallory, content)
        never.send_all()
        for index in (2, 1, 0, 0, 2):
            offer.chunk(index)
        for index in (3, 2**32, 2**53 - 1):
            offer.chunk(0, index=index)
        for index in (-1, 2**53):
            offer.chunk(0, index=index)
            self.mallory.expect_error(socp.BAD_ENVELOPE)
        offer.start()  # asks where the recipient is
        offer.start(sha256="00" * 32)  # and so does nobody
        for index in (0, 1, 1, 2):
            offer.chunk(index)
        offer.end()
        self.assertEqual(offer.answer("receiving"), ("complete", ""))
        kept = self.files / "in order"
        self.assertEqual(kept.read_bytes(), content)
        kept.unlink()
        self.assertEqual(self.names(), set())

    def test_abandoned(self) -> None:
        """A file whose sender falls silent, though it is there, fails in time, and leaves nothing."""
        offer = Offer(self.mallory, b"x" * 2 * BLOCK_PLAIN).start()
        self.assertEqual(offer.answer()[0], "receiving")
        offer.chunk(0)
        self.assertEqual(len(self.names()), 1)
        self.assertEqual(offer.answer("receiving"), ("failed", "nothing was heard from the sender for too long"))
        self.assertEqual(self.send(), ("complete", ""))
        (self.files / "x").unlink()
        self.assertEqual(self.names(), set())

    def test_many(self) -> None:
        """Of a flood of offers few are taken, they take little, and an honest user's file comes in meanwhile."""
        limits = Limits()
        before = self.size(self.bob)
        offers = [Offer(self.mallory, b"x").start() for _ in range(limits.transfers_of_one + 20)]
        honest = self.directory / "honest.txt"
        honest.write_bytes(b"honest")
        self.alice.type(f"/file {key('bob').id} {honest}")
        self.bob.expect(r"\[File from alice .*\] saved .*honest\.txt")
        ended: dict[str, str] = {}
        self.take_ends(ended, len(offers) - limits.transfers_of_one)
        self.assertEqual(set(ended.values()), {"rejected: too many files at once"})
        after = self.size(self.bob)
        most = limits.transfers_running_of_one + 1  # alice's may not be quite over; two descriptors and a thread each
        self.assertLessEqual(after[0] - before[0], 2 * most)
        self.assertLessEqual(after[1] - before[1], most + CORES)  # those that open chunks, for all files together
        for offer in offers:
            offer.end()
        self.take_ends(ended, len(offers))
        (self.files / "honest.txt").unlink()
        self.assertEqual(self.send(), ("complete", ""))
        (self.files / "x").unlink()
        self.assertEqual(self.names(), set())

    def test_forged_offers(self) -> None:
        """Offers that cost their sender nothing, and the recipient a signature each, are not all answered.

        What others say meanwhile is shown between the answers, and what the attacker says is shown behind them.
        """
        payload = self.mallory.manifest("bob", socp.now_ms())
        count = 1000
        for _ in range(count):
            self.mallory.send(FILE_START, {**payload, "file_id": str(uuid.uuid4())}, to=key("bob").id)
        msg_ref = self.mallory.tell("bob", "that was all")
        self.conversation.wait_more(2)
        rejected = 0
        while (envelope := self.mallory.read()) is not None and envelope.payload.get("msg_ref") != msg_ref:
            rejected += envelope.type == FILE_ACK
        self.assertGreaterEqual(rejected, Limits().offers_of_one)
        self.assertLess(rejected, count // 2)
        self.bob.expect(r"\] that was all$")

    def take_ends(self, ended: dict[str, str], count: int) -> None:
        """Wait until so many of the attacker's files have ended, and note how."""
        while len(ended) < count:
            payload = self.mallory.expect(FILE_ACK).payload
            if payload["status"] != "receiving":
                ended[payload["file_id"]] = f"{payload['status']}: {payload['detail']}"

    def size(self, program: Program) -> tuple[int, int]:
        """Return how many descriptors and threads a program has, where that can be known."""
        pid = program.process.pid
        return (descriptors(pid), threads(pid)) if sys.platform == "linux" else (0, 0)


class ReplayTest(ClientTest):
    """What was said once, and is said again."""

    def test_again(self) -> None:
        """A file that has ended is not taken again, by the next process either, and the killed leave nothing."""
        assert self.network is not None
        carol = self.network.client("carol", self.port)
        files = self.directory / "carol-files"
        whole = Offer(self.mallory, b"once", to="carol").start()
        whole.answer()
        whole.send_all()
        self.assertEqual(whole.answer("receiving")[0], "complete")
        self.assertEqual(whole.start().answer(), ("complete", ""))
        other = Offer(self.mallory, b"other", to="carol")
        other.payload = self.mallory.manifest("carol", other.ts, **{**_said(other), "file_id": whole.file_id})
        other.file_id = whole.file_id
        self.assertEqual(other.start().answer(), ("rejected", "another file was sent under this id before"))
        half = Offer(self.mallory, b"x" * 2 * BLOCK_PLAIN, to="carol").start()
        half.answer()
        self.assertEqual(len(list(files.iterdir())), 2)
        carol.kill()
        self.assertEqual(len(list(files.iterdir())), 2)
        carol = self.network.client("carol", self.port)
        self.assertEqual([path.name for path in files.iterdir()], ["x"])
        self.assertEqual(whole.start().answer(), ("complete", ""))
        self.assertEqual(other.start().answer()[0], "rejected")
        self.assertEqual([path.name for path in files.iterdir()], ["x"])
        carol.clean_up()


def _said(offer: Offer) -> dict[str, Any]:
    return {name: offer.payload[name] for name in ("name", "size", "sha256", "chunks")}


class SendingTest(ClientTest):
    """What a sender has to fear: from others, from the recipient, and from its own files."""

    def result(self, offer: Envelope, signer: Peer, status: str, ts: int) -> dict[str, object]:
        """Return the end of a transfer, by whoever signs it."""
        said = {"file_id": offer.payload["file_id"], "status": status}
        signature = sign_content(signer.signer, FILE_RESULT, {**said, "from": signer.id, "to": offer.sender, "ts": ts})
        return {**said, "next_index": 1, "content_sig": signature}

    def test_answers(self) -> None:
        """What strangers say of a file, what makes no sense and what is not signed neither ends nor moves it."""
        erin = self.attackers_user("erin", 3)
        path = self.directory / "to erin.txt"
        path.write_bytes(b"hello")
        mark = self.alice.mark()
        self.alice.type(f"/file {erin.id} {path}")
        offer = erin.expect(FILE_START)
        file_id, ts = offer.payload["file_id"], socp.now_ms()
        for status in ("rejected", "failed", "complete"):
            self.mallory.send(FILE_ACK, self.result(offer, self.mallory, status, ts), to=offer.sender, ts=ts)
            forged = self.result(offer, self.mallory, status, ts)
            erin.send(FILE_ACK, forged, to=offer.sender, ts=ts)
            erin.send(FILE_ACK, {**forged, "content_sig": "", "status": status}, to=offer.sender, ts=ts)
        receiving = {"file_id": file_id, "next_index": 0, "status": "receiving"}
        self.mallory.send(FILE_ACK, receiving, to=offer.sender)
        erin.send(FILE_ACK, {**receiving, "status": "whatever"}, to=offer.sender)
        erin.send(FILE_ACK, {**receiving, "next_index": -1}, to=offer.sender)
        erin.expect_error(socp.BAD_ENVELOPE)
        erin.send_probe()  # no chunk has come: nobody has been believed
        while (envelope := erin.read()) is not None and envelope.type != socp.HEARTBEAT:
            self.assertNotEqual(envelope.type, FILE_CHUNK)
        erin.send(FILE_ACK, {**receiving, "next_index": 2**53 - 1}, to=offer.sender)
        self.assertEqual(erin.expect(FILE_CHUNK).payload["index"], 0)
        for index in (7, 2**32, 2**53 - 1) * 100:
            erin.send(FILE_ACK, {**receiving, "next_index": index}, to=offer.sender)
        erin.send(FILE_ACK, {**receiving, "next_index": 1}, to=offer.sender)
        erin.expect(FILE_END)
        ts = socp.now_ms()
        erin.send(FILE_ACK, self.result(offer, erin, "complete", ts), to=offer.sender, ts=ts)
        self.alice.expect(rf"\[File to {erin.id[:8]}\] to erin\.txt delivered", after=mark)
        self.assertFalse([line for line in self.alice.lines[mark:] if "failed" in line])

    def test_own_files(self) -> None:
        """What a person asks to send that is no file, or too large, is refused at once, with the reason."""
        directory = self.directory / "own"
        directory.mkdir()
        os.mkfifo(directory / "fifo")
        with (directory / "large").open("wb") as stream:
            stream.truncate(Limits().file_bytes + 1)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.relpath(directory / "socket"))
            for path, error in (
                (directory / "fifo", "not a regular file"),
                (Path("/dev/zero"), "not a regular file"),
                (directory, "a directory"),
                (directory / "large", r"1,073,741,825 bytes; at most"),
                (directory / "socket", r"cannot (read|send) .*socket"),
                (directory / "missing", "No such file"),
            ):
                mark = self.alice.mark()
                self.alice.type(f"/file {key('bob').id} {path}")
                self.alice.expect(rf"\[Error\] .*{error}", after=mark)


class BlockingTest(ClientTest):
    """A user whom bob has blocked."""

    def test_blocked(self) -> None:
        """Nothing of a blocked user reaches the screen, however much it sends; what comes after unblocking does."""
        attacker = self.attacker("frank", 4)
        attacker.attach_user(meta={"display_name": "frank"})
        under_way = Offer(attacker, b"x" * 2 * BLOCK_PLAIN).start()
        self.assertEqual(under_way.answer()[0], "receiving")
        self.bob.type("/block frank")
        self.bob.expect(rf"\[Block\] frank · {attacker.id[:8]} is blocked from now on")
        self.assertEqual(under_way.answer("receiving"), ("failed", "the recipient does not take it"))
        self.bob.expect(r"\[File from frank .*\] x failed: the recipient does not take it")
        mark = self.bob.mark()
        for number in range(20):
            ts = socp.now_ms() + number
            attacker.send(MSG_PUBLIC_CHANNEL, attacker.broadcast(f"noise {number}", ts), to=socp.PUBLIC, ts=ts)
        self.assertEqual(Offer(attacker, b"x").start().answer(), ("rejected", "the recipient does not take it"))
        refs = {attacker.tell("bob", f"noise {number}") for number in range(Limits().unacknowledged + 16)}
        while refs:
            receipt = attacker.expect(ACK).payload
            if receipt["status"] != "stored":
                self.assertEqual(receipt["status"], "failed")
                refs.discard(receipt["msg_ref"])
        self.bob.type("/list")
        self.bob.expect(rf"^  {attacker.id}  frank  .*  \(blocked\)$", after=mark)
        self.bob.type(f"/tell {attacker.id} stop it")
        self.bob.expect(r"\[Error\] .* is blocked, .* /unblock it first", after=mark)
        self.bob.type("/block")
        self.bob.expect(rf"^  {attacker.id}  frank$", after=mark)
        seen = [line for line in self.bob.lines[mark:] if "noise" in line or "frank ·" in line]
        self.assertEqual(seen, [])
        self.bob.type("/unblock frank")
        self.bob.expect(r"\[Block\] frank .* is not blocked any more")
        attacker.tell("bob", "sorry")
        self.bob.expect(r"\[DM from frank .*\] sorry$")
