"""What is done ahead of a frame's turn, and what in it; the time of a frame here is its number."""

from __future__ import annotations

import threading
import unittest
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import socp
from ahead import Ahead, Handler, Signers, Step, Stepwise
from link import Link
from socp import BAD_FRAME, INVALID_SIG, Envelope, LinkError, ProtocolError
from tests.vectors import key
from threads import Deadline, Threads
from workers import Workers

PATIENCE = 10.0
MOST = 4


def numbered(number: int) -> Envelope:
    """Return a frame."""
    return socp.read_envelope(socp.make_envelope("X", key("alice").id, "*", number, {}))


class AheadTest(unittest.TestCase):
    """A reader on two cores: itself, and one worker."""

    def setUp(self) -> None:
        """Make it."""
        for name, value in (("workers.CORES", 2), ("ahead.CORES", 2), ("ahead.MOST", MOST)):
            patch = mock.patch(name, value)
            patch.start()
            self.addCleanup(patch.stop)
        threads = Threads()
        self.workers = Workers(threads, PATIENCE, spared=1)
        self.addCleanup(lambda: self.assertEqual(threads.join(Deadline(PATIENCE)), []))
        self.signers = Signers(self.workers)
        self.addCleanup(self.signers.stop)
        self.link: Any = mock.create_autospec(Link, instance=True, closing=False)
        self.done: list[str] = []
        self.ahead = Ahead(self.link, self.signers, self.handle)

    def handle(self, envelope: Envelope, handler: Handler) -> None:
        """Have a frame taken, as a host does."""
        try:
            handler(envelope)
        except LinkError:
            raise
        except ProtocolError as error:
            self.done.append(f"{envelope.ts} {error.code}")

    def whole(self, envelope: Envelope) -> None:
        """Take a frame of which nothing was done ahead."""
        self.done.append(f"{envelope.ts} whole")

    def then(self, frame: bytes) -> None:
        """Take one of which something was."""
        self.done.append(frame.decode())

    def put(self, number: int, work: Callable[[], object] = lambda: None) -> None:
        """Have a frame come for which there is work."""

        def make() -> bytes:
            work()
            return b"%d ahead" % number

        self.ahead.put(numbered(number), Stepwise(self.whole, lambda _: Step(make, self.then)))

    def put_plain(self, number: int, handler: Handler | None = None) -> None:
        """Have a frame come for which there is none."""
        self.ahead.put(numbered(number), handler if handler is not None else self.whole)

    def test_nothing_ahead(self) -> None:
        """What takes no signature is handled at once, if nothing waits before it."""
        self.put_plain(1)
        self.ahead.put(numbered(2), Stepwise(self.whole, lambda _: None))
        self.assertEqual(self.done, ["1 whole", "2 whole"])
        self.assertTrue(self.ahead.settle())

    def test_alone(self) -> None:
        """A frame that comes alone is signed for by its reader, and no other thread is asked."""
        threads: list[threading.Thread] = []
        with mock.patch.object(self.workers, "give") as give:
            self.put(1, lambda: threads.append(threading.current_thread()))
            self.assertEqual(self.done, [])
            self.assertTrue(self.ahead.settle())
        give.assert_not_called()
        self.assertEqual((self.done, threads), (["1 ahead"], [threading.current_thread()]))

    def test_side_by_side(self) -> None:
        """Two frames are signed for at a time."""
        both = threading.Barrier(2)
        for number in (1, 2):
            self.put(number, lambda: both.wait(PATIENCE))
        self.ahead.settle()
        self.assertEqual(self.done, ["1 ahead", "2 ahead"])

    def test_order(self) -> None:
        """Frames are handled in the order in which they came, whatever is ready first, and errors are among them."""
        second = threading.Event()
        self.put(1, lambda: self.assertTrue(second.wait(PATIENCE)))
        self.put(2, second.set)
        self.put_plain(3)
        self.put_plain(4, mock.Mock(side_effect=ProtocolError(INVALID_SIG, "no")))
        for number in range(5, 20):
            (self.put if number % 3 else self.put_plain)(number)
        self.assertTrue(self.ahead.settle())
        self.assertEqual([entry.split()[0] for entry in self.done], [str(number) for number in range(1, 20)])
        self.assertEqual(self.done[:5], ["1 ahead", "2 ahead", "3 whole", f"4 {INVALID_SIG}", "5 ahead"])

    def test_bound(self) -> None:
        """Only so many wait: the first is handled when there would be more."""
        with mock.patch.object(self.workers, "give"):
            for number in range(1, 2 * MOST):
                self.put(number)
                self.assertEqual(len(self.done), max(0, number - MOST + 1))

    def test_as_many_readers_as_cores(self) -> None:
        """Where all cores have a reader to sign for, no worker is given anything, until one of them has done."""
        other = Ahead(self.link, self.signers, self.handle)
        other.put(numbered(9), Stepwise(self.whole, lambda _: Step(lambda: b"9 ahead", self.then)))
        with mock.patch.object(self.workers, "give") as give:
            self.put(1)
            self.put(2)
            give.assert_not_called()
            self.assertTrue(other.settle())
            self.put(3)
            give.assert_called_once()
            self.ahead.close()  # as its link ends
            self.ahead.close()
            for number in (4, 5):
                other.put(numbered(number), Stepwise(self.whole, lambda _: Step(lambda: b"ahead", self.then)))
            self.assertEqual(give.call_count, 2)
            self.put(6)
            self.put(7)
            self.assertEqual(give.call_count, 2)  # it counts again, and had ended once
        other.settle()
        self.ahead.settle()
        self.assertEqual(self.done, ["9 ahead", "ahead", "ahead", "6 ahead", "7 ahead"])

    def test_reader_helps(self) -> None:
        """While a worker is at what is needed first, the reader does what nobody has begun."""
        third = threading.Event()
        given: list[Callable[[], None]] = []
        with mock.patch.object(self.workers, "give", given.append):
            self.put(1)
            begun = threading.Event()

            def work() -> None:
                begun.set()
                self.assertTrue(third.wait(PATIENCE))

            self.put(2, work)
            self.put(3, third.set)
        worker = threading.Thread(target=given[0])
        worker.start()
        self.assertTrue(begun.wait(PATIENCE))
        self.ahead.settle()
        worker.join(PATIENCE)
        self.assertEqual(self.done, ["1 ahead", "2 ahead", "3 ahead"])

    def test_work_that_fails(self) -> None:
        """Where the work fails, in whatever way, the frame is handled whole, at its turn."""
        for number, error in enumerate((ProtocolError(INVALID_SIG, "no"), ValueError("a bug")), start=1):
            self.put(number, mock.Mock(side_effect=error))
        self.ahead.settle()
        self.assertEqual(self.done, ["1 whole", "2 whole"])

    def test_error_that_ends_the_link(self) -> None:
        """Nothing behind a frame that ends the link is handled, nor signed for, also if the reader then settles."""
        self.put(1)
        self.put_plain(2, mock.Mock(side_effect=LinkError(BAD_FRAME, "no")))
        work = mock.Mock()
        with mock.patch.object(self.workers, "give"):
            self.put(3, work)
        self.assertRaises(LinkError, self.ahead.settle)
        self.ahead.settle()
        self.assertEqual(self.done, ["1 ahead"])
        work.assert_not_called()

    def test_link_that_closes(self) -> None:
        """Nothing behind a farewell is handled, nor signed for, and whoever reads is told that it is over."""
        self.put(1)
        self.put_plain(2, lambda _: setattr(self.link, "closing", True))
        work, given = mock.Mock(), list[Callable[[], None]]()
        with mock.patch.object(self.workers, "give", given.append):
            self.put(3, work)
        self.assertFalse(self.ahead.settle())
        given[0]()  # a worker that comes to it now
        self.assertEqual(self.done, ["1 ahead"])
        work.assert_not_called()

    def test_whole(self) -> None:
        """A handler of which something can be done ahead can be called as any other."""
        handler = Stepwise(self.whole, partial(self.fail))
        handler(numbered(1))
        self.assertEqual(self.done, ["1 whole"])
