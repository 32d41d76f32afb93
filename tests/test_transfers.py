"""Transfers in both directions at once, and over connections that are lost; their two sides have tests of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from crypto.signing import MANIFEST, verify_content
from events import FileDone, FileInterrupted, FileResumed, FileStarted
from settings import Limits, Settings, Timers
from socp import FILE_ACK, FILE_CHUNK, FILE_END, FILE_START, Envelope
from tests.vectors import key
from tests.wire import CHUNK, PATIENCE, WireTest

SMALL = 446  # bytes of one block: a file of many chunks that takes little time
SEALED = 512


class TransfersTest(WireTest):
    """Several files at a time."""

    def test_both_directions(self) -> None:
        """Files that cross each other, of the same name too, all arrive whole."""
        contents = {number: os.urandom(1_000 * number) for number in range(1, 7)} | {7: os.urandom(CHUNK + 1)}
        for number, content in contents.items():
            path = self.file(content, f"{number}.bin")
            self.alice.transfers.offer(self.bob.contact, path)
            self.bob.transfers.offer(self.alice.contact, path)
        for end in (self.alice, self.bob):
            for _ in range(2 * len(contents)):
                self.assert_done(end)
            received = {file.name: file.read_bytes() for file in end.files.iterdir()}
            self.assertEqual(received, {f"{number}.bin": content for number, content in contents.items()})

    def test_settled(self) -> None:
        """Whoever waits for transfers is told when none is under way any more."""
        self.offer(b"x")
        for end in (self.alice, self.bob):
            self.assert_done(end)
            self.wait_settled(end)

    def test_stopped(self) -> None:
        """After the end, files are neither sent nor received."""
        self.alice.end()
        with self.assertRaisesRegex(Exception, "this client is leaving"):
            self.offer(b"x")
        self.assertEqual(self.alice.transfers.active, 0)


class SmallTest(WireTest):
    """Transfers of 30 small chunks from alice to bob, 10 of which may be unacknowledged, every third reported."""

    # What is to happen at once must not be brought about by a question that is asked, or a pause that ends, later.
    settings = Settings(
        replace(Timers(), busy=PATIENCE, ask=PATIENCE, retry_first=PATIENCE, retry_client=PATIENCE, report=PATIENCE),
        replace(Limits(), transfer_window=10 * SEALED, transfer_ack=3 * SEALED),
    )

    chunk_size = SMALL

    def setUp(self) -> None:
        """Make a file of many chunks."""
        super().setUp()
        self.content = os.urandom(SMALL * 30 - 5)

    def at_chunk(self, index: int, act: Callable[[], None], lost: int = 1) -> None:
        """Lose so many chunks up to this one, the first time that alice sends them, and do something with the last."""
        left = list(range(index + 1 - lost, index + 1))

        def alter(envelope: Envelope) -> Envelope | None:
            if envelope.type != FILE_CHUNK or envelope.payload["index"] not in left:
                return envelope
            left.remove(envelope.payload["index"])
            if not left:
                act()
            return None

        self.alice.alter = alter

    def assert_arrived(self) -> None:
        """Check that the file has arrived whole, and that nothing else is left."""
        self.assertEqual([file.read_bytes() for file in self.bob.files.iterdir()], [self.content])
        self.assertEqual(self.alice.transfers.active, 0)

    def wait_arrived(self) -> None:
        """Wait until the file is done at both ends, whatever else they were told."""
        self.assert_done(self.alice)
        self.assert_done(self.bob)
        self.wait_settled(self.alice)
        self.wait_settled(self.bob)
        self.assert_arrived()

    def sent(self, frame_type: str) -> list[Envelope]:
        """Return what alice has sent of one type."""
        return [envelope for envelope in self.alice.sent if envelope.type == frame_type]


class LossTest(SmallTest):
    """Connections that are lost and come back."""

    def test_nothing_twice(self) -> None:
        """When nothing is lost, nothing is sent twice."""
        self.offer(self.content)
        self.wait_arrived()
        self.assertEqual([chunk.payload["index"] for chunk in self.sent(FILE_CHUNK)], list(range(30)))
        self.assertEqual((len(self.sent(FILE_START)), len(self.sent(FILE_END))), (1, 1))
        indexes = [envelope.payload["next_index"] for envelope in self.bob.sent]
        self.assertEqual(indexes[:-1], sorted(set(indexes)))

    def test_senders_link(self) -> None:
        """A sender that was disconnected offers the file again, signed anew, and goes on where the recipient is."""

        def cut() -> None:
            self.bob.wait_sent(3)  # 0, 3 and 6
            self.alice.cut()

        self.at_chunk(8, cut)
        self.offer(self.content)
        self.assert_told(self.alice, FileStarted, FileInterrupted)
        self.alice.mend()
        self.assert_told(self.alice, FileResumed, FileDone)
        self.assert_told(self.bob, FileStarted, FileDone)
        self.wait_settled(self.alice)
        self.assert_arrived()
        first, again = self.sent(FILE_START)
        same = {"file_id", "name", "size", "sha256", "mode", "chunks", "sender_pub"}
        self.assertEqual({name: first.payload[name] for name in same}, {name: again.payload[name] for name in same})
        self.assertNotEqual(first.payload["content_sig"], again.payload["content_sig"])
        self.assertTrue(
            verify_content(key("alice").public, MANIFEST, again.signed_values(), again.payload["content_sig"])
        )
        after = self.alice.sent[self.alice.sent.index(again) + 1]
        self.assertEqual(after.type, FILE_CHUNK)
        self.assertIn(after.payload["index"], (6, 8))

    def test_untold(self) -> None:
        """A sender that cannot send, though it was not told yet that the link is lost, is interrupted as well."""

        def cut_in_silence() -> None:
            self.alice.connected = False

        self.at_chunk(8, cut_in_silence)
        self.offer(self.content)
        self.assert_told(self.alice, FileStarted, FileInterrupted)
        self.alice.transfers.disconnected()
        self.alice.mend()
        self.assert_told(self.alice, FileResumed, FileDone)
        self.wait_settled(self.alice)
        self.assert_arrived()

    def test_recipients_link(self) -> None:
        """A recipient that was disconnected is waited for, and says where it is when it is back."""
        self.at_chunk(8, self.bob.cut)
        self.offer(self.content)
        for end, incoming, reason in (
            (self.alice, False, "the recipient is not online"),
            (self.bob, True, "the connection was lost"),
        ):
            self.assert_told(end, FileStarted)
            event = end.events.get(timeout=PATIENCE)
            assert isinstance(event, FileInterrupted)
            self.assertEqual((event.incoming, event.reason, event.name), (incoming, reason, "a file.bin"))
        self.bob.mend()
        self.assert_told(self.alice, FileResumed, FileDone)
        self.assert_told(self.bob, FileResumed, FileDone)
        self.wait_settled(self.alice)
        self.assert_arrived()

    def test_both_links(self) -> None:
        """When both are disconnected, it goes on whoever is back first."""
        for first, second in ((self.alice, self.bob), (self.bob, self.alice)):
            with self.subTest(first=first.id):

                def cut() -> None:
                    self.alice.cut()
                    self.bob.cut()

                self.content = os.urandom(SMALL * 30)
                self.at_chunk(8, cut)
                self.offer(self.content)
                for end in (self.alice, self.bob):
                    self.assert_told(end, FileStarted, FileInterrupted)
                first.mend()
                second.mend()
                for end in (self.alice, self.bob):
                    self.assert_told(end, FileResumed, FileDone)
                    self.wait_settled(end)
                self.assert_arrived()
                next(self.bob.files.iterdir()).unlink()

    def test_short_loss(self) -> None:
        """Chunks that were lost while a recipient's link was replaced are sent again as soon as it says where it is."""

        def replace_link() -> None:
            self.bob.cut()
            self.bob.mend()

        for index in (2, 3, 8, 9, 10, 29):
            with self.subTest(index=index):
                self.content = os.urandom(SMALL * 30)
                self.at_chunk(index, replace_link, lost=3)
                starts = len(self.sent(FILE_START))
                self.offer(self.content)
                self.wait_arrived()
                self.assertEqual(len(self.sent(FILE_START)), starts + 1)
                next(self.bob.files.iterdir()).unlink()

    def test_offer_again(self) -> None:
        """An offer that is unanswered when the sender's link is lost is made again, and the file begins once."""
        lost: list[Envelope] = []

        def alter(envelope: Envelope) -> Envelope | None:
            if envelope.type == FILE_START and not lost:
                lost.append(envelope)
                self.alice.cut()
                return None
            return envelope

        self.alice.alter = alter
        self.offer(self.content)
        self.alice.wait_sent(1)
        self.alice.mend()
        self.assert_told(self.alice, FileStarted, FileDone)
        self.assert_told(self.bob, FileStarted, FileDone)

    def test_leaving(self) -> None:
        """A transfer that waits for its other end to be online ends at once when its client leaves."""
        self.at_chunk(8, self.bob.cut)
        self.offer(self.content)
        for end in (self.alice, self.bob):
            self.assert_told(end, FileStarted, FileInterrupted)
            end.stop()
            self.assert_failed(end, "this client is leaving")
        self.assert_nothing_left()

    def test_leaving_unconnected(self) -> None:
        """So does one that waits for a connection of its own."""

        def cut() -> None:
            self.alice.cut()
            self.bob.cut()

        self.at_chunk(8, cut)
        self.offer(self.content)
        for end in (self.alice, self.bob):
            self.assert_told(end, FileStarted, FileInterrupted)
            end.stop()
            self.assert_failed(end, "this client is leaving")
        self.assert_nothing_left()

    def test_end_lost(self) -> None:
        """A recipient whose last word was lost says it again, and the file has not failed."""

        def alter(envelope: Envelope) -> Envelope | None:
            if envelope.payload["status"] == "complete" and self.bob.connected:
                self.bob.cut()
                return None
            return envelope

        self.bob.alter = alter
        self.offer(self.content)
        self.assert_done(self.bob)
        self.bob.alter = lambda envelope: envelope
        self.bob.mend()
        self.alice.cut()
        self.alice.mend()
        self.wait_settled(self.alice)
        self.assert_told(self.alice, FileStarted, FileInterrupted, FileDone)
        self.assert_arrived()
        self.assertEqual(self.bob.sent[-1].payload["next_index"], 30)

    def test_end_lost_in_a_crash(self) -> None:
        """It does so after it was started again, too."""

        def alter(envelope: Envelope) -> Envelope | None:
            return envelope if envelope.payload["status"] == "receiving" else None

        self.bob.alter = alter
        file_id = self.offer(self.content)
        self.assert_done(self.bob)
        self.wait_settled(self.bob)
        self.assertEqual(self.bob.sent[-1].payload["status"], "complete")
        self.crash_bob()
        self.alice.cut()
        self.alice.mend()
        self.assertEqual(self.assert_done(self.alice).file_id, file_id)
        self.assert_arrived()
        self.assertEqual([envelope.payload["status"] for envelope in self.bob.sent], ["complete"])


class QuestionTest(SmallTest):
    """Losses that nobody is told of: the sender asks."""

    settings = Settings(
        replace(Timers(), busy=0.1, ask=0.2, retry_first=0.01, retry_client=0.05), SmallTest.settings.limits
    )

    def test_chunks(self) -> None:
        """Chunks that vanish, in the midst of a file or at its end, are sent again."""
        for index in (2, 10, 15, 29):
            with self.subTest(index=index):
                self.content = os.urandom(SMALL * 30)
                self.at_chunk(index, lambda: None, lost=3)
                ends = len(self.sent(FILE_END))
                self.offer(self.content)
                self.wait_arrived()
                self.assertEqual(len(self.sent(FILE_END)), ends + 1)
                next(self.bob.files.iterdir()).unlink()

    def test_reports(self) -> None:
        """Reports that vanish are made again; nothing is taken for lost but what is."""
        lost: list[Envelope] = []

        def alter(envelope: Envelope) -> Envelope | None:
            if envelope.payload["next_index"] in (6, 9, 12) and len(lost) < 3:
                lost.append(envelope)
                return None
            return envelope

        self.bob.alter = alter
        self.offer(self.content)
        self.wait_arrived()
        self.assertEqual(len(lost), 3)

    def test_end(self) -> None:
        """An end that vanishes is sent again, and so is the recipient's last word."""
        lost: list[str] = []

        def alter(envelope: Envelope) -> Envelope | None:
            last = envelope.type == FILE_END or envelope.payload.get("status") == "complete"
            if last and envelope.type not in lost:
                lost.append(envelope.type)
                return None
            return envelope

        self.alice.alter = self.bob.alter = alter
        self.offer(self.content)
        self.wait_arrived()
        self.assertEqual(lost, [FILE_END, FILE_ACK])

    def test_crash(self) -> None:
        """A recipient that was started again takes the file from its beginning."""
        self.at_chunk(8, self.bob.cut)
        self.offer(self.content)
        self.assert_told(self.alice, FileStarted, FileInterrupted)
        self.crash_bob()
        self.assert_told(self.alice, FileResumed)
        self.wait_arrived()
        self.assertEqual(len([chunk for chunk in self.sent(FILE_CHUNK) if chunk.payload["index"] == 0]), 2)

    def test_crash_unnoticed(self) -> None:
        """A recipient that was started again before anybody noticed is found to know nothing, and begins anew."""
        self.at_chunk(8, self.crash_bob)
        self.offer(self.content)
        self.wait_arrived()


class DeadlineTest(SmallTest):
    """Connections that do not come back."""

    settings = Settings(
        replace(Timers(), retry_first=0.01, retry_client=0.05, stall=1.0, resume=2.5), SmallTest.settings.limits
    )

    def test_sender_away(self) -> None:
        """A recipient waits for a sender who is not online, asking seldom, and gives up in time."""
        self.at_chunk(8, self.alice.cut)
        self.offer(self.content)
        self.assert_told(self.bob, FileStarted, FileInterrupted)
        self.assert_failed(self.bob, "interrupted for too long")
        self.assert_failed(self.alice, "interrupted for too long: the connection was lost|not connected")
        self.assertLessEqual(self.bob.asked_online, 5)
        self.assert_nothing_left()

    def test_recipient_away(self) -> None:
        """A sender waits for a recipient who is not online, and gives up in time."""
        self.at_chunk(8, self.bob.cut)
        self.offer(self.content)
        self.assert_told(self.alice, FileStarted, FileInterrupted)
        self.assert_failed(self.alice, "interrupted for too long: the recipient is not online")
        self.assert_failed(self.bob, "interrupted for too long")
        self.assert_nothing_left()
