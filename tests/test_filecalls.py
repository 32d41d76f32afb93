"""Files that a person is asked about, and transfers that are looked at and cancelled."""

from __future__ import annotations

import os
import queue
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from unittest import mock

import socp
from crypto.signing import MANIFEST, KeySigner, sign_content
from errors import TransferUnknown
from events import FileNotTaken, FileOffered, FileStarted
from receiving import Verdict
from sending import CANCELLED, WAITING
from settings import Limits, Settings, Timers
from socp import FILE_ACK, FILE_CHUNK, FILE_END, FILE_START, Envelope
from tests.fake_server import FakeServer
from tests.test_chat import ChatTest as BareChatTest
from tests.test_receiving import OfferedTest, resigned
from tests.test_transfers import SMALL, SmallTest
from tests.vectors import key
from tests.wire import CHUNK, PATIENCE, WireTest
from underway import State


class AskTest(WireTest):
    """Bob is asked about every file."""

    settings = Settings(replace(Timers(), retry_first=0.01, retry_client=0.05))

    def setUp(self) -> None:
        """Have bob be asked."""
        super().setUp()
        self.bob.verdict = Verdict.ASK

    def assert_offered(self) -> FileOffered:
        """Wait until bob is asked."""
        event = self.bob.events.get(timeout=PATIENCE)
        assert isinstance(event, FileOffered), event
        return event

    def sent(self, frame_type: str) -> list[Envelope]:
        """Return what alice has sent of one type."""
        return [envelope for envelope in self.alice.sent if envelope.type == frame_type]

    def test_accepted(self) -> None:
        """Nothing is received before the person has accepted; then the file comes."""
        file_id = self.offer(b"content")
        offered = self.assert_offered()
        self.assertEqual((offered.file_id, offered.peer, offered.name), (file_id, self.alice.id, "a file.bin"))
        self.assertEqual((offered.size, offered.number, offered.trouble), (7, 1, ""))
        for end, incoming in ((self.alice, False), (self.bob, True)):
            [standing] = end.transfers.under_way()
            self.assertEqual((standing.state, standing.incoming, standing.number), (State.OFFERED, incoming, 1))
        self.assertEqual((self.bob.sent, self.bob.transfers.active, self.sent(FILE_CHUNK)), ([], 0, []))
        self.assertTrue(self.bob.transfers.accept(file_id, ""))
        self.assertEqual(self.assert_done(self.bob).path.read_bytes(), b"content")
        self.assert_done(self.alice)
        self.wait_settled(self.bob)
        self.assertEqual(self.bob.transfers.under_way(), [])

    def test_denied(self) -> None:
        """A file that is denied is rejected for a reason that says nothing, and so is the same one after that."""
        file_id = self.offer(b"x")
        self.assert_offered()
        self.bob.transfers.deny(file_id, "")
        self.assert_not_taken(self.bob, "^denied$")
        self.assert_failed(self.alice, "^rejected by the recipient: the recipient does not take it$")
        self.assertNotIn(FILE_END, [envelope.type for envelope in self.alice.sent])
        self.bob.transfers.take_start(resigned(self.alice.sent[0]))
        self.assertEqual([answer.payload["status"] for answer in self.bob.sent], ["rejected"] * 2)
        for call in (self.bob.transfers.accept, self.bob.transfers.deny, self.bob.transfers.cancel):
            self.assertRaises(TransferUnknown, call, file_id, "")

    def test_withdrawn(self) -> None:
        """An offer that its sender cancels, or that the sender leaves behind, is none any more."""
        ways: tuple[tuple[Callable[[str], None], str], ...] = (
            (lambda file_id: self.alice.transfers.cancel(file_id, ""), "^cancelled by the sender$"),
            (lambda _: self.alice.transfers.stop(), "^its sender has withdrawn it$"),
        )
        for withdraw, reason in ways:
            file_id = self.offer(b"x")
            self.assert_offered()
            withdraw(file_id)
            self.assert_not_taken(self.bob, reason)
            self.assertRaises(TransferUnknown, self.bob.transfers.accept, file_id, "")
            self.bob.ring()
            self.assertEqual(self.bob.sent[-1].payload["status"], "rejected")
        self.assert_failed(self.alice, "^cancelled$")
        self.assert_failed(self.alice, "this client is leaving")

    def test_nobody_answers(self) -> None:
        """An offer that nobody answers lapses after its time and is rejected; one that is younger waits on."""
        self.offer(b"old")
        self.assert_offered()
        [old] = self.bob.transfers._receiver._incoming.values()
        old.offered -= self.settings.timers.offer
        self.offer(b"new", "new")
        self.assert_offered()
        self.assertEqual(len(self.bob.alarms), 1)
        self.bob.ring()
        self.assertEqual(self.assert_not_taken(self.bob, "nobody has answered").file_id, old.manifest.file_id)
        self.assert_failed(self.alice, "rejected by the recipient: nobody has answered it in time")
        self.assertEqual([standing.name for standing in self.bob.transfers.under_way()], ["new"])
        self.assertEqual(len(self.bob.alarms), 1)
        self.bob.ring()  # which is too early: clocks are what they are
        self.assertEqual(len(self.bob.transfers.under_way()), 1)

    def test_leaving(self) -> None:
        """A client that leaves rejects what it was asked about."""
        self.offer(b"x")
        self.assert_offered()
        self.bob.stop()
        self.assert_not_taken(self.bob, "this client is leaving")
        self.assert_failed(self.alice, "^the recipient's client is leaving$")

    def test_blocked(self) -> None:
        """When a sender is blocked, questions about its files are over."""
        self.offer(b"x")
        self.assert_offered()
        self.bob.blocked.add(self.alice.id)
        self.bob.transfers.end_from(self.alice.id)
        self.assert_not_taken(self.bob, "its sender is blocked")
        self.assert_failed(self.alice, "^rejected by the recipient: the recipient does not take it$")

    def test_reconnected(self) -> None:
        """An offer outlives lost connections of either side, and a person is asked once."""
        file_id = self.offer(b"x")
        self.assert_offered()
        for end in (self.alice, self.bob):
            count = len(self.sent(FILE_START))
            end.cut()
            end.mend()
            if end is self.alice:
                self.alice.wait_sent(count + 1)
        self.bob.transfers.take_start(resigned(self.alice.sent[0]))
        self.assertTrue(self.bob.events.empty())
        self.assertTrue(self.bob.transfers.accept(file_id, ""))
        self.assert_done(self.bob)
        self.assert_done(self.alice)

    def test_accepted_unconnected(self) -> None:
        """A person may accept while there is no connection: it begins when there is."""
        file_id = self.offer(b"x")
        self.assert_offered()
        self.bob.cut()
        self.assertTrue(self.bob.transfers.accept(file_id, ""))
        self.assert_told(self.bob, FileStarted)
        self.bob.mend()
        self.assert_done(self.bob)
        self.assert_done(self.alice)

    def test_no_room(self) -> None:
        """What cannot be saved is said when a person is asked; accepted all the same, it is rejected."""
        full = mock.Mock(f_bavail=0, f_frsize=1024, f_blocks=2)
        with mock.patch.object(os, "statvfs", return_value=full):
            file_id = self.offer(b"x")
            self.assertIn("0 bytes are free there", self.assert_offered().trouble)
            self.assertEqual(self.bob.sent, [])  # nobody is told of our disk before that
            self.assertFalse(self.bob.transfers.accept(file_id, ""))
        self.assert_not_taken(self.bob, "0 bytes are free there")
        self.assert_failed(self.alice, "^rejected by the recipient: the recipient cannot save it$")

    def test_restarted(self) -> None:
        """A recipient that was started again is asked again in a while; the sender need do nothing for that."""
        self.settings = Settings(replace(self.settings.timers, remind=0.05))
        for end in (self.alice, self.bob):
            end.end()
        self.setUp()
        self.offer(b"x")
        self.assert_offered()
        self.crash_bob()
        self.bob.verdict = Verdict.ASK
        file_id = self.assert_offered().file_id
        self.bob.transfers.accept(file_id, "")
        self.assert_done(self.bob)
        self.assert_done(self.alice)


class JudgeTest(OfferedTest):
    """What becomes of offers that are judged, made by hand."""

    def statuses(self) -> list[tuple[str, str]]:
        """Return what bob has said, and to what detail."""
        return [(answer.payload["status"], answer.payload.get("detail", "")) for answer in self.bob.sent]

    def offer_many(self, count: int, sender: str = "alice") -> list[str]:
        """Have bob be offered files, and return their ids."""
        offers = [self.offered(sender=sender) for _ in range(count)]
        for offer in offers:
            self.bob.transfers.take_start(offer)
        return [offer.payload["file_id"] for offer in offers]

    def test_judged(self) -> None:
        """The judge is told who offers what, and what it rejects is not taken, for no reason that says anything."""
        asked: list[tuple[str, str, int]] = []

        def judge(sender: str, name: str, size: int) -> Verdict:
            asked.append((sender, name, size))
            return Verdict.REJECT

        taking = replace(self.bob.transfers._receiver._taking, judge=judge)
        with mock.patch.object(self.bob.transfers._receiver, "_taking", taking):
            self.bob.transfers.take_start(self.offered())
        self.assertEqual(asked, [(self.alice.id, "x", 5)])
        self.assertEqual(self.statuses(), [("rejected", "the recipient does not take it")])
        self.assert_not_taken(self.bob, "files of this user are not taken")

    def test_too_large(self) -> None:
        """A file that is larger than the person wants is rejected, and nobody is asked."""
        for verdict in (Verdict.ACCEPT, Verdict.ASK):
            self.bob.verdict = verdict
            taking = replace(self.bob.transfers._receiver._taking, most=4)
            with mock.patch.object(self.bob.transfers._receiver, "_taking", taking):
                self.bob.transfers.take_start(self.offered())
            self.assert_not_taken(self.bob, "^over 4 bytes$")
        self.assertEqual(self.statuses(), [("rejected", "over 4 bytes")] * 2)

    def test_accepted_waits_for_its_turn(self) -> None:
        """A file that is accepted and waits stays accepted: its sender learns it, and it makes room for nobody."""
        self.bob.verdict = Verdict.ASK
        ids = self.offer_many(3)
        for number, file_id in enumerate(ids, start=1):
            self.assertEqual(self.bob.events.get(timeout=PATIENCE).number, number)  # type: ignore[union-attr]
            self.assertTrue(self.bob.transfers.accept(file_id, self.alice.id))
        self.bob.wait_sent(3)
        self.assertCountEqual([status for status, _ in self.statuses()], ["receiving", "receiving", WAITING])
        states = [standing.state for standing in self.bob.transfers.under_way()]
        self.assertEqual(states, [State.RUNNING, State.RUNNING, State.WAITING])
        self.assertEqual(self.bob.transfers.active, 3)
        self.bob.transfers.cancel(ids[0], "")
        self.bob.wait_sent(5)  # the end of one, and the beginning of another
        self.assertCountEqual([status for status, _ in self.statuses()[3:]], ["failed", "receiving"])

    def test_taken_at_once_and_asked(self) -> None:
        """An offer that waits for its turn is answered when it is made again: it is taken."""
        offers = [self.offered() for _ in range(3)]
        for offer in offers:
            self.bob.transfers.take_start(offer)
        self.bob.wait_sent(2)
        self.bob.transfers.take_start(resigned(offers[2]))
        self.assertEqual(self.statuses()[2:], [(WAITING, "")])

    def test_room_is_for_what_is_taken(self) -> None:
        """Questions of many strangers keep nobody out whose files are taken, and give way to those."""
        limits = replace(Limits(), transfers=1, transfers_waiting=2)
        with mock.patch.object(self.bob.transfers._receiver, "_limits", limits):
            self.bob.verdict = Verdict.ASK
            ids = self.offer_many(1, "mallory") + self.offer_many(1, "carol") + self.offer_many(1, "dave")
            self.bob.transfers.take_start(self.offered(sender="erin"))
            self.assertEqual(self.statuses(), [("rejected", "too many files at once")])
            self.bob.verdict = Verdict.ACCEPT
            self.bob.transfers.take_start(self.offered())
        self.assert_told(self.bob, FileOffered, FileOffered, FileOffered)
        gone = self.assert_not_taken(self.bob, "too many")
        self.assertEqual(gone.file_id, ids[2])
        self.assert_told(self.bob, FileStarted)

    def test_promised_keeps_its_place(self) -> None:
        """A file that a person has taken makes room for nobody, however many its sender has waiting."""
        limits = replace(Limits(), transfers=1, transfers_waiting=2)
        with mock.patch.object(self.bob.transfers._receiver, "_limits", limits):
            self.bob.verdict = Verdict.ASK
            for file_id in self.offer_many(3):
                self.bob.transfers.accept(file_id, "")
            self.bob.verdict = Verdict.ACCEPT
            self.bob.transfers.take_start(self.offered(sender="carol"))
            self.assertIn(("rejected", "too many files at once"), self.statuses())
        self.assertEqual([standing.peer for standing in self.bob.transfers.under_way()], [self.alice.id] * 3)

    def test_same_id(self) -> None:
        """Two senders' files of one id are told apart, or not accepted; a file is denied or cancelled by either."""
        self.bob.verdict = Verdict.ASK
        offer = self.offered()
        file_id = offer.payload["file_id"]
        for each in (offer, self.offered(sender="mallory", file_id=file_id)):
            self.bob.transfers.take_start(each)
        self.assertRaises(TransferUnknown, self.bob.transfers.accept, file_id, "")
        self.assertTrue(self.bob.transfers.accept(file_id, self.alice.id))
        self.assertEqual([answer.to for answer in self.bob.wait_sent(1)], [self.alice.id])
        self.bob.transfers.deny(file_id, "")
        self.assertEqual(self.bob.wait_sent(2)[1].to, key("mallory").id)

    def test_place_is_counted(self) -> None:
        """What others are to take of the disk counts before it is written."""
        with mock.patch("receiving.check_room") as check:
            self.offer_many(3)
        self.assertEqual([call.args[1] for call in check.call_args_list], [5, 10, 15])


class CancelTest(SmallTest):
    """Transfers of 30 small chunks, in the midst of which somebody cancels."""

    def cancel_at(self, index: int, cancel: Callable[[str], object]) -> None:
        """Have alice send a file, and somebody cancel it at a chunk."""
        ids: list[str] = []
        known = threading.Event()

        def act() -> None:
            known.wait(PATIENCE)
            cancel(ids[0])

        self.at_chunk(index, act)
        ids.append(self.offer(self.content))
        known.set()

    def test_by_sender(self) -> None:
        """A sender cancels: the recipient learns it at once, though a chunk was lost, and nothing is left."""
        self.cancel_at(8, lambda file_id: self.alice.transfers.cancel(file_id, self.bob.id))
        self.assert_failed(self.alice, "^cancelled$")
        self.assert_failed(self.bob, "^cancelled by the sender$")
        self.assertEqual(self.sent(FILE_END)[0].payload["status"], CANCELLED)
        self.assert_nothing_left()

    def test_by_recipient(self) -> None:
        """A recipient cancels: the sender learns it."""
        self.cancel_at(8, lambda file_id: self.bob.transfers.cancel(file_id, self.alice.id))
        self.assert_failed(self.bob, "^cancelled$")
        self.assert_failed(self.alice, "^cancelled by the recipient$")
        self.assert_nothing_left()

    def test_unconnected(self) -> None:
        """A transfer that waits for a connection is cancelled at once, before it is offered too."""
        self.alice.patience = 0.0  # it must not wait where nobody can wake it
        self.cancel_at(8, lambda _: self.alice.cut())
        self.assertIsInstance(self.alice.events.get(timeout=PATIENCE), FileStarted)
        self.alice.events.get(timeout=PATIENCE)
        [standing] = self.alice.transfers.under_way()
        self.assertIs(standing.state, State.INTERRUPTED)
        self.alice.transfers.cancel(standing.file_id, "")
        self.assert_failed(self.alice, "^cancelled$")
        self.alice.transfers.cancel(self.offer(b"x"), "")
        self.assert_failed(self.alice, "^cancelled$")

    def test_waiting(self) -> None:
        """One that waits for its turn is rejected, and others go on."""
        self.alice.alter = lambda envelope: envelope if envelope.type in (FILE_START, FILE_END) else None
        taken, take_start = threading.Semaphore(0), self.bob.transfers.take_start

        def take(envelope: Envelope) -> None:
            take_start(envelope)
            taken.release()

        with mock.patch.object(self.bob.transfers, "take_start", take):
            ids = [self.offer(b"x", name) for name in ("a", "b", "c")]
            for _ in ids:
                self.assertTrue(taken.acquire(timeout=PATIENCE))
        self.assert_told(self.bob, FileStarted, FileStarted)
        [waiting] = [transfer for transfer in self.bob.transfers.under_way() if transfer.state is State.WAITING]
        self.bob.transfers.cancel(waiting.file_id, "")
        self.assert_not_taken(self.bob, "^cancelled$")
        self.assert_failed(self.alice, "^cancelled by the recipient$")
        self.assertEqual(self.bob.transfers.active, 2)
        self.assertIn(waiting.file_id, ids)

    def test_how_it_stands(self) -> None:
        """How far a transfer is can be seen at both ends."""
        seen: queue.Queue[tuple[int, int]] = queue.Queue()

        def look() -> None:
            self.bob.wait_sent(3)  # 0, 3 and 6
            [ours], [theirs] = self.alice.transfers.under_way(), self.bob.transfers.under_way()
            self.assertEqual((ours.state, theirs.state), (State.RUNNING, State.RUNNING))
            self.assertLessEqual(ours.began, ours.progressed)
            self.assertEqual(ours.size, len(self.content))
            seen.put((ours.done, theirs.done))

        self.at_chunk(8, look)
        self.offer(self.content)
        ours, theirs = seen.get(timeout=PATIENCE)
        self.assertIn(ours, (3 * SMALL, 6 * SMALL))
        self.assertIn(theirs, (6 * SMALL, 7 * SMALL, 8 * SMALL))


class HashTest(WireTest):
    """Files that are still read."""

    def test_cancelled(self) -> None:
        """A file that is cancelled while it is hashed is never offered; how far that is can be seen."""
        hashing, cancelled = threading.Event(), threading.Event()

        def update(_: bytes) -> None:
            hashing.set()
            cancelled.wait(PATIENCE)

        with mock.patch("hashlib.sha256") as sha256:
            sha256.return_value.update.side_effect = update
            file_id = self.offer(b"x" * CHUNK)
            self.assertTrue(hashing.wait(PATIENCE))
            [standing] = self.alice.transfers.under_way()
            self.assertEqual((standing.state, standing.done), (State.HASHING, 0))
            self.alice.transfers.cancel(file_id, "")
            cancelled.set()
            self.assert_failed(self.alice, "^cancelled$")
        self.assertEqual(self.alice.sent, [])


class WaitingTest(WireTest):
    """A recipient that says that it takes a file later."""

    settings = Settings(replace(Timers(), offer=0.3, remind=0.1, retry_first=0.01))

    def test_patience(self) -> None:
        """A sender waits as long as it hears that, and asks; and no longer than an offer otherwise."""
        starts: list[Envelope] = []

        def alter(envelope: Envelope) -> Envelope | None:
            if envelope.type == FILE_START:
                starts.append(envelope)
                if len(starts) < 7:
                    payload = {"file_id": envelope.payload["file_id"], "next_index": 0, "status": WAITING}
                    wire = socp.make_envelope(FILE_ACK, self.bob.id, self.alice.id, 1, payload)
                    self.alice.take(socp.read_envelope(wire))
            return None

        self.alice.alter = alter
        self.offer(b"x")
        self.assert_failed(self.alice, "did not answer the offer")
        self.assertGreaterEqual(len(starts), 7)
        self.assertLess(len(starts), 14)


class ChatTest(BareChatTest):
    """A client that asks about files of up to 100 bytes, at a server that passes on what bob offers."""

    options = MappingProxyType({"accept_files": lambda *_: Verdict.ASK, "max_file": 100})

    def offered(self, server: FakeServer, size: int) -> str:
        """Have bob offer a file, and return its file_id."""
        ts = socp.now_ms()
        payload: dict[str, Any] = {
            "file_id": str(uuid.uuid4()),
            "name": "x",
            "size": size,
            "sha256": "00" * 32,
            "mode": "dm",
            "chunks": 1,
            "sender_pub": key("bob").public.text,
        }
        values = {**payload, "from": key("bob").id, "to": self.chat.user_id, "ts": ts}
        payload["content_sig"] = sign_content(KeySigner(key("bob")), MANIFEST, values)
        server.pass_on(FILE_START, "bob", payload, ts)
        return str(payload["file_id"])

    def test_asked(self) -> None:
        """Files are asked about, accepted, denied, cancelled and looked at; what is too large is not taken."""
        server = self.attached()
        self.offered(server, 101)
        event = self.event()
        assert isinstance(event, FileNotTaken)
        self.assertEqual((event.reason, event.size), ("over 100 bytes", 101))
        ids = [self.offered(server, size) for size in (98, 99, 100)]
        for _ in ids:
            self.assertIsInstance(self.event(), FileOffered)
        self.assertEqual([file.file_id for file in self.chat.files()], ids)
        self.assertEqual([file.number for file in self.chat.files()], [1, 2, 3])
        self.assertEqual(self.chat.outstanding, 0)
        self.chat.deny_file(ids[1])
        self.chat.cancel_file(ids[2])
        self.assertTrue(self.chat.accept_file(ids[0]))
        said = [server.expect(FILE_ACK).payload for _ in range(4)]
        self.assertEqual([payload["status"] for payload in said], ["rejected"] * 3 + ["receiving"])
        self.assertEqual([payload["file_id"] for payload in said[1:]], [ids[1], ids[2], ids[0]])
        self.assertEqual((self.chat.outstanding, self.chat.unsent_files), (1, 0))

    def test_end_before_the_offer_is_judged(self) -> None:
        """An offer that is withdrawn while it stands in line is none any more once its turn has come."""
        server = self.attached()
        held = threading.Event()
        self.chat._teller.add(lambda: self.assertTrue(held.wait(PATIENCE)))
        file_id = self.offered(server, 5)
        server.pass_on(FILE_END, "bob", {"file_id": file_id, "status": CANCELLED}, 1)
        server.expect_silence()  # both have been read
        held.set()
        self.assertIsInstance(self.event(), FileOffered)
        event = self.event()
        assert isinstance(event, FileNotTaken)
        self.assertEqual((event.file_id, event.reason), (file_id, "cancelled by the sender"))
        self.assertEqual(self.chat.files(), [])

    def test_lapses(self) -> None:
        """An offer that nobody answers is rejected in time."""
        server = self.attached()
        with mock.patch.object(self.chat._transfers._receiver, "_timers", replace(Timers(), offer=0.05)):
            self.offered(server, 5)
            self.assertIsInstance(self.event(), FileOffered)
            self.assertIsInstance(self.event(), FileNotTaken)
        self.assertEqual(server.expect(FILE_ACK).payload["status"], "rejected")
