"""Queues of senders: who floods holds up nobody else."""

from __future__ import annotations

import threading
import unittest
from collections.abc import Callable
from dataclasses import replace

from errors import ChatError
from settings import Limits
from shares import Shares
from teller import Teller
from tests.wire import PATIENCE
from threads import Deadline, Threads


class SharesTest(unittest.TestCase):
    """A teller that is held up until a test lets it go on; two jobs of one sender stand in its line at a time."""

    limits = replace(Limits(), inbox=6, inbox_of_one=2, offers_of_one=3)

    def setUp(self) -> None:
        """Hold the teller up."""
        self.threads = Threads()
        self.teller = Teller(self.threads, 100, lambda: False)
        self.asks = False
        self.shares = Shares(self.teller, self.limits, lambda: self.asks)
        self.done: list[str] = []
        self.released = threading.Event()
        self.teller.give(self.hold)
        self.addCleanup(self.end)

    def hold(self) -> None:
        """Wait."""
        self.assertTrue(self.released.wait(PATIENCE))

    def end(self) -> None:
        """End the teller."""
        self.released.set()
        self.teller.stop()
        self.assertEqual(self.threads.join(Deadline(PATIENCE)), [])

    def job(self, text: str) -> Callable[[], None]:
        """Return a job that notes that it was done."""
        return lambda: self.done.append(text)

    def give(self, texts: str, *, offer: bool = False) -> None:
        """Give jobs, each of the sender that its first letter names."""
        for text in texts.split():
            self.shares.give(text[0], self.job(text), 1, offer=offer)

    def finish(self) -> str:
        """Let the teller do everything, and return in which order it has."""
        self.released.set()
        while self.shares._standing:
            self.assertTrue(self.teller.wait_idle(PATIENCE))
        self.assertTrue(self.teller.wait_idle(PATIENCE))
        self.assertEqual((self.shares._count, self.shares._bytes, self.shares._waiting), (0, 0, {}))
        return " ".join(self.done)

    def test_flood(self) -> None:
        """What others send is done between what one sends who floods, and each one's in its order."""
        self.give("m1 m2 m3 m4 m5 m6 m7 a1 a2 a3 b1")
        self.assertEqual(self.finish(), "m1 m2 a1 a2 b1 m3 m4 a3 m5 m6 m7")

    def test_offers(self) -> None:
        """Of offers that come faster than they are answered the last are thrown away; nothing else is."""
        self.give("m1 m2 m3 m4 m5 m6 m7", offer=True)
        self.give("m8")
        self.assertEqual(self.finish(), "m1 m2 m3 m4 m5 m8")

    def give_beyond(self) -> threading.Thread:
        """Give as much as there is room for and, in a thread, one more."""
        self.give("m1 m2 m3 m4 m5 m6 m7 m8")
        giver = threading.Thread(target=self.give, args=["m9"])
        giver.start()
        self.addCleanup(giver.join)
        return giver

    def test_too_much(self) -> None:
        """Whoever gives what is beyond all limits is held up until there is room; nothing is lost."""
        giver = self.give_beyond()
        self.released.set()
        giver.join(PATIENCE)
        self.assertEqual(self.finish(), "m1 m2 m3 m4 m5 m6 m7 m8 m9")

    def test_question(self) -> None:
        """It is let through while a question is waited for, whose answer may stand behind it, and when all ends."""
        giver = self.give_beyond()
        self.asks = True
        self.shares.let_through()
        giver.join(PATIENCE)
        self.assertEqual(self.shares._count, 7)
        self.asks = False
        giver = threading.Thread(target=self.give, args=["m10"])
        giver.start()
        self.shares.stop()
        giver.join(PATIENCE)
        self.assertEqual(self.finish(), "m1 m2 m3 m4 m5 m6 m7 m8 m9")

    def test_idle(self) -> None:
        """What had been given is done before it is said to be, also what waits for its sender's turn."""
        self.give("m1 m2 m3 m4 m5 a1")
        self.assertFalse(self.shares.wait_idle(0.0))
        self.released.set()
        self.assertTrue(self.shares.wait_idle(PATIENCE))
        self.assertEqual(self.done, ["m1", "m2", "a1", "m3", "m4", "m5"])

    def test_stopped(self) -> None:
        """What was given before the end is done, in its order; what comes later is thrown away."""
        self.give("m1 m2 m3 m4 m5 a1")
        self.shares.stop()
        self.give("m6")
        self.teller.stop()
        self.released.set()
        self.assertEqual(self.threads.join(Deadline(PATIENCE)), [])
        self.assertEqual(self.done, ["m1", "m2", "a1", "m3", "m4", "m5"])

    def test_bytes(self) -> None:
        """While a question is waited for, more may wait, and not without end: a flood must not fill the memory."""
        self.asks = True
        self.give("m1 m2")
        for text in ("m3", "m4"):
            self.shares.give("m", self.job(text), 16 * 1024 * 1024)
        giver = threading.Thread(target=self.give, args=["m5"])
        giver.start()
        self.addCleanup(giver.join)
        giver.join(0.05)
        self.assertTrue(giver.is_alive())
        self.released.set()
        giver.join(PATIENCE)
        self.assertEqual(self.finish(), "m1 m2 m3 m4 m5")

    def test_failure(self) -> None:
        """A job that fails does not keep its sender's next ones from being done."""

        def fail() -> None:
            raise ChatError("not now")

        for _ in range(5):
            self.shares.give("m", fail, 1)
        self.give("m6")
        self.assertEqual(self.finish(), "m6")
