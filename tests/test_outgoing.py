"""What a sender does next, whatever its recipient and the servers say."""

from __future__ import annotations

import threading
import time
import unittest
from dataclasses import replace
from typing import Any

from messages import Manifest
from outgoing import Outgoing, Step
from settings import Limits, Timers
from tests.wire import PATIENCE
from threads import Deadline


class OutgoingTest(unittest.TestCase):
    """A file of 10 chunks, of which 4 may be unacknowledged."""

    def outgoing(self, **timers: float) -> Outgoing:
        """Return one that has just been accepted."""
        sending = Outgoing(Manifest("id", "peer", "name", 10, "", 10), 4, replace(Timers(), **timers), Limits())
        sending.begin_offer()
        sending.take_report(0)
        self.assertTrue(sending.accepted)
        return sending

    def send(self, sending: Outgoing, *expected: int) -> None:
        """Check which chunks are sent next."""
        for index in expected:
            self.assertIs(sending.next_step(), Step.CHUNK)
            self.assertEqual(sending.begin_chunk(), index)

    def due(self, sending: Outgoing, seconds: float = 0.0) -> Any:
        """Return what would be done in so many seconds, if nothing is heard until then."""
        return sending._look(time.monotonic() + seconds)

    def test_flow(self) -> None:
        """Chunks go out within the window, then the end once the recipient has all; no chunk goes twice."""
        sending = self.outgoing()
        self.send(sending, 0, 1, 2, 3)
        self.assertIsInstance(self.due(sending), float)
        sending.take_report(3)
        self.send(sending, 4, 5, 6)
        sending.take_report(7)
        self.send(sending, 7, 8, 9)
        self.assertIsInstance(self.due(sending), float)
        sending.take_report(10)
        self.assertIs(sending.next_step(), Step.END)
        sending.begin_end()
        self.assertIsInstance(self.due(sending), float)
        sending.end("complete", "")
        self.assertIs(sending.next_step(), Step.OVER)

    def test_repeat(self) -> None:
        """A report that is repeated means that what was sent beyond it is lost; without anything beyond, nothing."""
        sending = self.outgoing()
        sending.take_report(0)
        self.send(sending, 0, 1, 2)
        sending.take_report(2)
        sending.take_report(2)
        self.send(sending, 2, 3, 4, 5)
        sending.take_report(1)  # what it had before
        self.assertIsInstance(self.due(sending), float)

    def test_repeat_of_a_question(self) -> None:
        """What was sent after a question is not lost because its answer does not tell of it."""
        sending = self.outgoing(ask=0.0)
        self.send(sending, 0, 1, 2, 3)
        self.assertIs(sending.next_step(), Step.ASK)
        sending.begin_question()
        sending.take_report(4)
        self.send(sending, 4, 5)
        sending.take_report(4)  # the answer
        self.send(sending, 6, 7)
        self.assertIs(sending.next_step(), Step.ASK)
        sending.begin_question()
        sending.take_report(6)
        sending.take_report(6)  # the answer: 6 and 7 were sent before the question
        self.send(sending, 6, 7, 8)

    def test_asked_for_ever(self) -> None:
        """A recipient that asks for the same chunk for ever gets more time once, and then has stalled."""
        stall = 0.2
        sending = self.outgoing(stall=stall)
        start = time.monotonic()
        while (step := sending.next_step()) is Step.CHUNK:
            sending.begin_chunk()
            sending.take_report(0)
            self.assertLess(time.monotonic(), start + PATIENCE)
        self.assertIs(step, Step.STALLED)
        self.assertTrue(sending.stalled())
        self.assertGreaterEqual(time.monotonic(), start + stall)
        self.assertLess(sending._resumed, start + stall)

    def test_begun_anew(self) -> None:
        """A recipient that begins anew, when it is asked, is believed a few times and no more."""
        sending = self.outgoing(ask=0.0)
        for _ in range(Limits().transfer_restarts):
            self.send(sending, 0, 1)
            sending.take_report(2)
            sending.begin_question()
            sending.take_report(0)
        self.assertIsNone(sending.final)
        self.send(sending, 0, 1)
        sending.take_report(2)
        sending.lose("lost")
        sending.begin_offer()
        sending.take_report(0)
        self.assertEqual((sending.final, sending.reason), ("failed", "the recipient began anew too often"))

    def test_interrupted(self) -> None:
        """After an interruption the offer is made again, and what the recipient answers decides, even if lower."""
        sending = self.outgoing(retry_first=2 * PATIENCE, retry_client=2 * PATIENCE)
        self.send(sending, 0, 1, 2)
        sending.take_report(2)
        sending.lose("lost")
        self.assertIs(sending.next_step(), Step.OFFER)
        sending.take_report(3)  # may be older than the offer
        self.assertIs(sending.next_step(), Step.OFFER)
        deadline = Deadline(PATIENCE)
        sending.wait_turn(PATIENCE)  # but is a reason to make it at once
        self.assertTrue(deadline.left())
        sending.begin_offer()
        self.assertFalse(sending.wait_answer(0))
        sending.take_report(1)
        self.assertTrue(sending.wait_answer(PATIENCE))
        self.send(sending, 1, 2, 3, 4)

    def test_error_after_the_offer(self) -> None:
        """An offer that is refused, or thrown away by a busy server, is waited for no longer."""
        for trouble in (lambda sending: sending.lose("lost"), Outgoing.take_busy):
            sending = self.outgoing(busy=0.0)
            sending.lose("lost")
            sending.begin_offer()
            threading.Timer(0.01, trouble, [sending]).start()
            deadline = Deadline(PATIENCE)
            self.assertFalse(sending.wait_answer(PATIENCE))
            self.assertTrue(deadline.left())

    def test_pauses(self) -> None:
        """Pauses between offers double up to the most that a client waits, and begin anew with progress alone."""
        sending = self.outgoing(retry_first=1.0, retry_client=5.0)
        waited: list[float] = []
        sending._wait_for = lambda true, seconds: waited.append(seconds)  # type: ignore[method-assign]
        for _ in range(5):
            sending.lose("lost")
            sending.wait_turn(600)
            sending.begin_offer()
            sending.take_report(0)
        sending.take_report(1)
        sending.wait_turn(600)
        sending.wait_turn(0.5)
        self.assertEqual(waited, [1, 2, 4, 5, 5, 1, 0.5])

    def test_deadline(self) -> None:
        """The time for an interrupted transfer counts from its last progress, however often it is taken up."""
        sending = self.outgoing(resume=50)
        self.send(sending, 0)
        sending.take_report(1)
        deadline = sending.deadline()
        for _ in range(3):
            sending.lose("lost")
            sending.begin_offer()
            sending.take_report(1)
        self.assertEqual(sending.deadline(), deadline)
        self.send(sending, 1)
        sending.take_report(2)
        self.assertGreater(sending.deadline(), deadline)

    def test_end(self) -> None:
        """Before an end that nobody has said to be due the recipient is asked; an end that is lost is sent again."""
        sending = self.outgoing(busy=1.0, ask=15.0)
        self.send(sending, 0, 1, 2, 3)
        sending.take_report(4)
        self.send(sending, 4, 5, 6, 7)
        sending.take_report(8)
        self.send(sending, 8, 9)
        self.assertIsInstance(self.due(sending, 1.9), float)
        self.assertIs(self.due(sending, 2.1), Step.ASK)
        sending.begin_question()
        self.assertIsInstance(self.due(sending, 14.9), float)
        self.assertIs(self.due(sending, 15.1), Step.END)  # of a recipient that never says
        sending.take_report(10)
        self.assertIs(sending.next_step(), Step.END)
        sending.begin_end()
        sending.take_report(10)  # the answer to the question, which came before the end
        self.assertIs(self.due(sending, 15.1), Step.ASK)
        sending.begin_question()
        sending.take_report(10)
        self.assertIs(sending.next_step(), Step.END)

    def test_silence(self) -> None:
        """A recipient that is silent is asked three times before it has stalled."""
        sending = self.outgoing()
        self.send(sending, 0, 1, 2, 3)
        self.assertIsInstance(self.due(sending, 14.9), float)
        self.assertIs(self.due(sending, 15.1), Step.ASK)
        sending.begin_question()
        self.assertIsInstance(self.due(sending, 14.9), float)
        self.assertIs(self.due(sending, 60.1), Step.STALLED)

    def test_numbers_that_make_no_sense(self) -> None:
        """A number beyond the last chunk moves nothing, in the answer to an offer either."""
        sending = self.outgoing()
        self.send(sending, 0, 1, 2, 3)
        sending.take_report(11)
        self.assertIsInstance(self.due(sending), float)
        sending.lose("lost")
        sending.begin_offer()
        sending.take_report(10**9)
        self.send(sending, 0, 1, 2, 3)
