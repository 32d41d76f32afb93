"""What links send: at once or when its turn comes, in order, and never more than may wait."""

from __future__ import annotations

import threading
from dataclasses import replace
from unittest import mock

from budget import Budget
from outflow import Sent
from settings import Limits
from tests.test_link import PATIENCE, TIMERS, LinkCase, numbered
from threads import Alarms, Deadline


class OutflowTest(LinkCase):
    """What a link does with what is to be sent; the test is its peer."""

    def test_direct(self) -> None:
        """While nothing waits, a frame goes out in the sender's own thread."""
        link = self.make()
        self.assertIs(link.send(numbered(1)), Sent.YES)
        self.assertEqual(self.received(len(numbered(1))), numbered(1))
        self.assertFalse([thread for thread in threading.enumerate() if thread.name == "test writer"])

    def test_order(self) -> None:
        """What several threads send arrives whole, and each one's frames in their order, however slow the peer."""
        link = self.make()
        counts = 200

        def send(sender: int) -> None:
            for number in range(counts):
                self.assertIs(link.send(numbered(sender * counts + number, 2_000)), Sent.YES)

        senders = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
        for thread in senders:
            thread.start()
        total = sum(len(numbered(number, 2_000)) for number in range(4 * counts))
        data = self.received(total)
        for thread in senders:
            thread.join()
        found = [int(part.split(b",")[0]) for part in data.split(b'{"n":')[1:]]
        self.assertEqual(sorted(found), list(range(4 * counts)))
        for sender in range(4):
            own = [number for number in found if number // counts == sender]
            self.assertEqual(own, sorted(own))

    def test_never_blocks(self) -> None:
        """With a peer that reads nothing, frames wait up to the queue's size, and then the sender is told."""
        link = self.make(limits=replace(Limits(), queue=1_000_000))
        results = [link.send(numbered(number, 10_000)) for number in range(1_000)]
        self.assertIn(Sent.FULL, results)
        first_full = results.index(Sent.FULL)
        self.assertEqual(set(results[:first_full]), {Sent.YES})
        self.assertGreaterEqual(first_full, 90)
        size = sum(len(numbered(number, 10_000)) for number in range(first_full))
        # Of what comes behind them, some may have found room again.
        self.assertEqual(self.received(size)[:size].count(b'{"n":'), first_full)
        self.assertTrue(link.wait_until_drained(PATIENCE))
        self.assertIs(link.send(numbered(0)), Sent.YES)

    def test_wait_below(self) -> None:
        """Whoever waits for a queue to get shorter does so until it is, but for no longer than was said."""
        link = self.make(limits=replace(Limits(), queue=1_000_000))
        link.wait_below(1, PATIENCE)
        self.fill(link)
        link.wait_below(1, 0.01)
        shorter = threading.Thread(target=link.wait_below, args=(600_000, 2 * PATIENCE))
        shorter.start()
        self.assertTrue(shorter.is_alive())
        self.received(1_000_000)
        shorter.join(PATIENCE)
        self.assertFalse(shorter.is_alive())

    def test_wait_below_of_a_closed_link(self) -> None:
        """Nobody waits for the queue of a link that is closed to get shorter."""
        link = self.make(limits=replace(Limits(), queue=1_000_000))
        self.fill(link)
        waiting = threading.Thread(target=link.wait_below, args=(1, 2 * PATIENCE))
        waiting.start()
        link.abort()
        waiting.join(PATIENCE)
        self.assertFalse(waiting.is_alive())

    def test_full_for_too_long(self) -> None:
        """A link that stays full is closed."""
        link = self.make(TIMERS, replace(Limits(), queue=100_000))
        thread = self.read_in_thread(link)
        with self.assertLogs("socp.outflow", "WARNING"):
            self.fill(link)
            self.assertFalse(link.wait_until_drained(0))
            while thread.is_alive():
                link.send(numbered(1, 10_000))
                thread.join(0.01)
        self.assertFalse(thread.is_alive())
        self.assertIs(link.send(numbered(2)), Sent.CLOSED)

    def test_slow_peer(self) -> None:
        """A peer that keeps on taking what it is sent, however slowly, is not one that takes nothing."""
        link = self.make(replace(TIMERS, full=0.8), replace(Limits(), queue=800_000))
        deadline = Deadline(1.2)
        self.fill(link)
        while deadline.left():
            self.received(50_000)
            while link.send(numbered(1, 10_000)) is Sent.YES:
                continue
        self.assertFalse(link.closing)

    def test_full_again_and_again(self) -> None:
        """However often a link is full, one alarm looks after that: they would grow without bound else."""
        link = self.make(limits=replace(Limits(), queue=100_000))
        with mock.patch.object(Alarms, "after") as after:
            for _ in range(20):
                self.fill(link)
                while link.send(numbered(1, 10_000)) is Sent.FULL:
                    self.received(10_000)
        after.assert_called_once()

    def test_drains_in_time(self) -> None:
        """A link that was full and was emptied in time stays open."""
        timers = replace(TIMERS, full=0.6)
        link = self.make(timers, replace(Limits(), queue=100_000))
        self.fill(link)
        reader = threading.Thread(target=lambda: self.received(400_000), daemon=True)
        reader.start()
        self.assertTrue(link.wait_until_drained(PATIENCE))
        threading.Event().wait(1.5 * timers.full)
        self.assertFalse(link.closing)

    def test_held(self) -> None:
        """What is sent while a link is held goes out behind the frame that releases it."""
        link = self.make()
        link.hold()
        for number in (2, 3):
            self.assertIs(link.send(numbered(number)), Sent.YES)
        link.release(numbered(1))
        link.send(numbered(4))
        expected = b"".join(map(numbered, (1, 2, 3, 4)))
        self.assertEqual(self.received(len(expected)), expected)

    def test_no_thread_for_the_writer(self) -> None:
        """When a writer is needed and there is no thread for it, the link is closed."""
        link = self.make()
        self.threads.join(Deadline(0))
        with self.assertLogs("socp.outflow", "WARNING"):
            self.fill(link)
        self.assertTrue(link.closing)

    def test_budget(self) -> None:
        """When too much waits at all links together, the fullest is closed, whichever a frame was sent to last."""
        budget = Budget(2_000_000)
        full, other = self.make(budget=budget), self.make(budget=budget)
        with self.assertLogs("socp.budget", "WARNING"):
            self.fill(full, until=lambda: full.closing)
        self.fill(other, until=lambda: budget.waiting > 1_600_000)
        third = self.make(budget=budget)
        with self.assertLogs("socp.budget", "WARNING"):
            self.fill(third, until=lambda: other.closing or third.closing)
        self.assertTrue(other.closing)
        self.assertFalse(third.closing)
        third.abort()
        self.assertEqual(budget.waiting, 0)

    def test_peer_gone(self) -> None:
        """Sending to a peer that has gone closes the link, and raises nothing."""
        link = self.make()
        self.peer.close()
        for _ in range(3):
            link.send(numbered(1))
        self.assertIs(link.send(numbered(1)), Sent.CLOSED)
