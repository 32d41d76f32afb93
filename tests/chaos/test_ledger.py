"""Tests of the account that is kept of messages, with lines as clients print them."""

from __future__ import annotations

import threading
import unittest

from tests.chaos import ledger
from tests.chaos.ledger import RED, Entry, Ledger


class LedgerTest(unittest.TestCase):
    """Messages from ann to ben."""

    def setUp(self) -> None:
        """Begin with no messages."""
        self.ledger = Ledger()
        self.sequence = 0

    def type(self, answer: str = "") -> Entry:
        """Type a message; the answer may hold the text's number as {}."""
        self.sequence += 1
        entry = self.ledger.typing("ann", self.sequence, "ben", padding=self.sequence % 3)
        if answer:
            self.ledger.hear("ann", answer)
        return entry

    def send(self) -> Entry:
        """Type a message that is taken; its number is its sequence's."""
        return self.type(f"[DM to ben · 2f4db844] sent (#{self.sequence + 1})")

    def show(self, entry: Entry, client: str = "ben") -> None:
        """Have a client show it."""
        self.ledger.hear(client, f"[DM from ann · c0f83d09] {entry.text}")

    def say(self, entry: Entry, what: str) -> None:
        """Have its sender say what became of it."""
        self.ledger.hear("ann", f"[DM to ben · 2f4db844] {what} (#{entry.sequence})")

    def assert_bad(self, *headings: str) -> None:
        """See things under these headings, one under each, and under no other."""
        bad = self.ledger.account().bad
        self.assertEqual(
            {heading: len(pieces) for heading, pieces in bad.items() if pieces}, dict.fromkeys(headings, 1)
        )
        self.assertEqual(list(bad), list(RED))

    def test_shown_and_delivered(self) -> None:
        """What is shown once and confirmed is as it should be, whatever was said on the way."""
        entry = self.send()
        self.assertEqual(self.ledger.unsettled(), 1)
        self.say(entry, "stored until the user is back")
        self.show(entry)
        self.assertFalse(self.ledger.wait_settled(0))
        self.say(entry, "delivered")
        self.assertTrue(self.ledger.wait_settled(0))
        self.assert_bad()
        counts = self.ledger.account().counts
        for name in ("typed", "taken", "shown", "delivered", "stored at some time"):
            self.assertEqual(counts[name], 1, name)

    def test_reported(self) -> None:
        """What is reported by its sender is not lost, shown or not; both at once is counted."""
        for what in ("failed: MAILBOX_FULL: the mailbox is full", "not confirmed after 7 days"):
            self.say(self.send(), what)
        entry = self.send()
        self.show(entry)
        self.say(entry, "failed: TIMEOUT: nobody (#12) answers")
        self.assertTrue(self.ledger.wait_settled(0))
        self.assert_bad()
        counts = self.ledger.account().counts
        self.assertEqual(counts["shown and reported"], 1)
        self.assertEqual(counts["failed: MAILBOX_FULL"], 1)
        self.assertEqual(counts["failed: not confirmed"], 1)

    def test_lost(self) -> None:
        """What was taken, and neither shown nor reported, is lost in silence, stored or not."""
        self.say(self.send(), "stored until the user is back")
        self.assert_bad(ledger.LOST)

    def test_delivered_but_not_shown(self) -> None:
        """A confirmation of what nobody saw is a loss."""
        self.say(self.send(), "delivered")
        self.assert_bad(ledger.UNSEEN)

    def test_shown_twice(self) -> None:
        """A text is shown once over all runs of a client."""
        entry = self.send()
        self.say(entry, "delivered")
        self.show(entry)
        self.ledger.ended("ben")
        self.show(entry)
        self.assert_bad(ledger.TWICE)
        evidence = "\n".join(self.ledger.account().report())
        self.assertIn("ben (run 1): [DM from ann", evidence)
        self.assertIn("ben (run 2): [DM from ann", evidence)

    def test_shown_to_somebody_else(self) -> None:
        """A message that another client shows is one too many, and does not count as shown twice."""
        entry = self.send()
        self.say(entry, "delivered")
        self.show(entry, "eve")
        self.assert_bad(ledger.ELSEWHERE)

    def test_never_typed(self) -> None:
        """What nobody has typed is seen, whether it looks like one of ours or not."""
        self.ledger.hear("ben", "[DM from ann · c0f83d09] chaos ann 99 ben")
        self.ledger.hear("ben", "[DM from ann · c0f83d09] hello")
        self.assertEqual(len(self.ledger.account().bad[ledger.NEVER_TYPED]), 2)

    def test_refused(self) -> None:
        """A message that is refused with an error need not be shown, and must not be."""
        entry = self.type("[Error] not connected")
        self.assertEqual(entry.refused, "not connected")
        self.assert_bad()
        self.assertEqual(self.ledger.account().counts["errors: not connected"], 1)
        self.show(entry)
        self.assert_bad(ledger.REFUSED)

    def test_killed_before_it_said_so(self) -> None:
        """What a killed client had not answered may be shown, once, and its number is nobody's."""
        entry = self.type()
        self.ledger.ended("ann")
        self.assertTrue(entry.cut)
        self.assert_bad()
        self.show(entry)
        self.say(entry, "delivered")
        self.assertTrue(self.ledger.wait_settled(0))
        self.assert_bad()
        self.show(entry)
        self.assert_bad(ledger.TWICE)

    def test_numbers_of_nothing(self) -> None:
        """A number that no message can have is seen, and so is the delivery of a cut one that nobody saw."""
        self.ledger.hear("ann", "[DM to ben · 2f4db844] failed: TIMEOUT: late (#7)")
        self.assert_bad(ledger.NUMBERS)
        self.type()
        self.ledger.ended("ann")
        self.assert_bad()
        self.ledger.hear("ann", "[DM to ben · 2f4db844] delivered (#7)")
        self.assert_bad(ledger.NUMBERS)

    def test_a_number_given_twice(self) -> None:
        """Numbers are unique in a profile, and are given to what was typed alone."""
        self.say(self.type("[DM to ben · 2f4db844] sent (#2)"), "failed: TIMEOUT: late")
        self.ledger.hear("ann", "[DM to ben · 2f4db844] sent (#1)")
        self.assertIn("nothing was typed", self.ledger.account().bad[ledger.NUMBERS][0])
        self.type("[DM to ben · 2f4db844] sent (#2)")
        self.assertIn("given before", self.ledger.account().bad[ledger.NUMBERS][1])

    def test_not_answered(self) -> None:
        """A line that a running client says nothing to is seen, and does not hold up the next."""
        self.ledger.wait_answer(self.type(), 0)
        self.assert_bad(ledger.UNANSWERED)
        self.say(self.send(), "failed: TIMEOUT: late")
        self.assert_bad(ledger.UNANSWERED)

    def test_said_before_sent(self) -> None:
        """Two threads print: what comes of a message may be said before that it was taken."""
        entry = self.type()
        self.say(entry, "delivered")
        self.ledger.hear("ann", "[DM to ben · 2f4db844] sent (#1)")
        self.show(entry)
        self.assertTrue(entry.settled)
        self.assert_bad()

    def test_wakes_who_waits(self) -> None:
        """An answer ends the wait for it."""
        entry = self.type()
        waiting = threading.Thread(target=self.ledger.wait_answer, args=(entry, 30.0))
        waiting.start()
        self.ledger.hear("ann", "[DM to ben · 2f4db844] sent (#1)")
        waiting.join()
        self.assertFalse(entry.unanswered)
        self.assertEqual(entry.number, 1)
