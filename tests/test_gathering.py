"""Frames that a reader gathers go out together, in their order, and never wait for what may come."""

from __future__ import annotations

import random
import socket
import threading
from typing import Any
from unittest import mock

from budget import Budget
from gathering import Gathering, current, flush_own, send_to_all
from outflow import Outflow, Sent, State
from settings import Limits
from tests.test_link import LONG, PATIENCE, TIMERS, LinkCase, numbered


class GatheringTest(LinkCase):
    """A link that is sent to by a thread that gathers; the test is its peer."""

    def nothing_came(self) -> bool:
        """Tell whether the peer has received nothing."""
        self.peer.setblocking(False)
        try:
            self.peer.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        finally:
            self.peer.settimeout(PATIENCE)
        return False

    def test_in_one_call(self) -> None:
        """What is sent waits until it is flushed, and goes out in its order."""
        link = self.make()
        with Gathering() as gathering:
            for number in range(3):
                self.assertIs(link.send(numbered(number)), Sent.YES)
            self.assertTrue(self.nothing_came())
            gathering.flush()
            expected = b"".join(map(numbered, range(3)))
            self.assertEqual(self.received(len(expected)), expected)

    def test_at_the_end(self) -> None:
        """The end of the gathering sends what is left, and so does an error."""
        link = self.make()
        with self.assertRaises(KeyError), Gathering():
            link.send(numbered(1))
            raise KeyError
        self.assertIsNone(current())
        self.assertEqual(self.received(len(numbered(1))), numbered(1))

    def test_not_for_long(self) -> None:
        """After a moment it is due, however much there is to read."""
        link = self.make()
        with Gathering() as gathering:
            link.send(numbered(1))
            with mock.patch("gathering._MOMENT", 3600.0):
                gathering.flush_if_due()
            self.assertTrue(self.nothing_came())
            with mock.patch("gathering._MOMENT", -1.0):
                gathering.flush_if_due()
            self.assertEqual(self.received(len(numbered(1))), numbered(1))

    def test_before_a_wait(self) -> None:
        """Whoever waits for a link sends first what it has gathered: nobody else would."""
        link = self.make()
        with Gathering():
            link.send(numbered(0))
            flush_own()
            self.assertEqual(self.received(len(numbered(0))), numbered(0))
            link.send(numbered(1))
            self.assertTrue(link.wait_until_drained(PATIENCE))
            self.assertEqual(self.received(len(numbered(1))), numbered(1))
            link.send(numbered(2))
            link.wait_below(1000, PATIENCE)  # and so little is nothing to wait for
            self.assertTrue(self.nothing_came())
            link.wait_below(1, PATIENCE)
            self.assertEqual(self.received(len(numbered(2))), numbered(2))

    def test_order_with_another_thread(self) -> None:
        """A frame that another thread sends meanwhile goes out behind what was gathered before."""
        link = self.make()
        with Gathering():
            link.send(numbered(1))
            other = threading.Thread(target=link.send, args=(numbered(2),))
            other.start()
            other.join()
            link.send(numbered(3))
        expected = b"".join(map(numbered, (1, 2, 3)))
        self.assertEqual(self.received(len(expected)), expected)

    def test_more_than_the_queue_holds(self) -> None:
        """What does not fit the queue is sent at once, behind what was gathered; a peer that reads loses nothing."""
        frames = [numbered(number, 1000) for number in range(20)]
        link = self.make(LONG, Limits(queue=2500))
        with Gathering():
            self.assertEqual({link.send(frame) for frame in frames}, {Sent.YES})
        expected = b"".join(frames)
        self.assertEqual(self.received(len(expected)), expected)

    def test_a_full_queue(self) -> None:
        """A peer that reads nothing has the queue fill up, and no more than that is gathered."""
        link = self.make(LONG, Limits(queue=100_000))
        with Gathering():
            self.fill(link)  # fails if it takes no end
            self.assertLessEqual(link._waiting_bytes, 100_000)

    def test_budget(self) -> None:
        """What a flush leaves waiting counts among what waits at all links, and a link that has too much is closed."""
        budget = Budget(100_000)
        link = self.make(LONG, budget=budget)
        with self.assertLogs("socp.budget", "WARNING"), Gathering():
            for _ in range(50):
                self.assertIs(link.send(numbered(1, 100_000)), Sent.YES)  # far more than the system takes
            self.assertIs(link._state, State.OPEN)
        self.assertIs(link._state, State.CLOSED)
        self.assertEqual(budget.waiting, 0)

    def test_whoever_waits_is_told(self) -> None:
        """A thread that waits until a link is drained goes on when another has flushed what it gathered."""
        link = self.make()
        drained: list[bool] = []
        with Gathering() as gathering:
            link.send(numbered(1))
            waits = threading.Thread(target=lambda: drained.append(link.wait_until_drained(PATIENCE)))
            waits.start()
            waits.join(0.05)
            self.assertEqual(drained, [])
            gathering.flush()
            waits.join(PATIENCE / 2)
        self.assertEqual(drained, [True])

    def test_a_queue_that_was_full_and_is_flushed(self) -> None:
        """A link whose full queue was emptied by a flush is not closed for having been full."""
        link = self.make(TIMERS)
        with Gathering():
            link.send(numbered(1))
            with link._lock:
                link._note_full()
        self.assertIsNone(link._full_since)

    def test_held(self) -> None:
        """What a link holds back for the end of a handshake stays where it is, and goes out behind that, at once."""
        link = self.make()
        link.hold()
        with Gathering():
            link.send(numbered(2))
        self.assertTrue(self.nothing_came())
        link.release(numbered(1))
        expected = numbered(1) + numbered(2)
        self.assertEqual(self.received(len(expected)), expected)
        self.assertFalse(link._writer_started)  # which would last as long as the link

    def test_last_words(self) -> None:
        """A link that is finished sends what was gathered before its last frame."""
        link = self.make()
        with Gathering():
            link.send(numbered(1))
            link.finish(numbered(2))
        expected = numbered(1) + numbered(2)
        self.assertEqual(self.received(len(expected)), expected)
        self.assertEqual(self.peer.recv(1), b"")
        self.assertFalse(link._writer_started)  # of which none may be had by now

    def test_last_words_to_nobody(self) -> None:
        """A link whose connection turns out to be broken when it is finished is closed at once."""
        link = self.make()
        with Gathering():
            link.send(numbered(1))
            link.transport.shut()
            link.finish()
            self.assertIs(link._state, State.CLOSED)

    def test_a_connection_that_is_gone(self) -> None:
        """A link whose connection breaks at the flush is closed, and takes nothing any more."""
        link = self.make()
        link.transport.shut()
        with Gathering():
            self.assertIs(link.send(numbered(1)), Sent.YES)
        self.assertIs(link.send(numbered(2)), Sent.CLOSED)


class CommonTest(LinkCase):
    """What goes to many links at once; the test is the peer of one of them."""

    def other(self) -> Any:
        """Return a link that tells what it was sent."""
        return mock.create_autospec(Outflow, instance=True)

    def test_joined_once(self) -> None:
        """Frames for many are joined once, and each link is given the very same bytes."""
        hearers = [self.other(), self.other()]
        frames = [numbered(number) for number in range(3)]
        with Gathering():
            for frame in frames:
                send_to_all(list(hearers), frame)
            for hearer in hearers:
                hearer.send_joined.assert_not_called()
        ((joined, given), _), ((again, _), _) = (hearer.send_joined.call_args for hearer in hearers)
        self.assertEqual((joined, given), (b"".join(frames), frames))
        self.assertIs(joined, again)
        for hearer in hearers:
            hearer.send_joined.assert_called_once()

    def test_without_a_gathering(self) -> None:
        """A thread that does not gather sends at once."""
        link = self.make()
        send_to_all([link], numbered(1))
        self.assertEqual(self.received(len(numbered(1))), numbered(1))

    def test_others_who_hear(self) -> None:
        """What goes to others than before is not joined with that, and each gets its own, in order."""
        one, other = self.other(), self.other()
        with Gathering():
            for number, hearers in enumerate(([one], [one], [one, other], [other], [one, other])):
                send_to_all(hearers, numbered(number))
        for hearer, numbers in ((one, ([0, 1], [2], [4])), (other, ([2], [3], [4]))):
            sent = [list(call.args[1]) for call in hearer.send_joined.call_args_list]
            self.assertEqual(sent, [list(map(numbered, together)) for together in numbers])

    def test_order(self) -> None:
        """Among what goes to one link alone, what goes to many keeps its place, whatever goes to others."""
        link, other = self.make(), self.other()
        chance = random.Random(1)
        expected = b""
        with Gathering() as gathering:
            for number in range(500):
                match chance.randrange(8):
                    case 0 | 1 | 2:
                        send_to_all([link, other], numbered(number))
                    case 3 | 4:
                        link.send(numbered(number))
                    case 5:
                        send_to_all([other], numbered(number))
                        continue
                    case 6:
                        gathering.make_way(other)
                        continue
                    case _:
                        gathering.flush_if_due()
                        continue
                expected += numbered(number)
        self.assertEqual(self.received(len(expected)), expected)

    def test_last_words(self) -> None:
        """A link that is finished sends what was gathered for many before its last frame."""
        link, other = self.make(), self.other()
        with Gathering():
            send_to_all([link, other], numbered(1))
            link.finish(numbered(2))
            other.send_joined.assert_called_once()
        expected = numbered(1) + numbered(2)
        self.assertEqual(self.received(len(expected)), expected)

    def test_not_for_long(self) -> None:
        """What goes to many is due after the same moment, also where nothing else waits."""
        link = self.make()
        with Gathering() as gathering, mock.patch("gathering._MOMENT", -1.0):
            send_to_all([link], numbered(1))
            gathering.flush_if_due()
            self.assertEqual(self.received(len(numbered(1))), numbered(1))

    def test_not_too_much(self) -> None:
        """No more is gathered for many than a few reads hold."""
        other = self.other()
        hearers = [other]
        with Gathering():
            for _ in range(50):
                send_to_all(hearers, numbered(1, 10_000))
            self.assertTrue(other.send_joined.called)
            for call in other.send_joined.call_args_list:
                self.assertLess(len(call.args[0]), 300_000)

    def test_a_queue_with_room_for_some(self) -> None:
        """Of frames that do not fit a queue together, those that do are sent, and the others dropped."""
        link = self.make(LONG, Limits(queue=2500))
        link.hold()
        frames = [numbered(number, 1000) for number in range(5)]
        with Gathering():
            for frame in frames:
                send_to_all([link], frame)
        link.release(numbered(9))
        expected = numbered(9) + frames[0] + frames[1]
        self.assertEqual(self.received(len(expected)), expected)
        link.finish()
        self.assertEqual(self.peer.recv(1), b"")

    def test_a_link_that_is_gone(self) -> None:
        """A link that was closed meanwhile, or whose connection breaks, does not keep others from what they hear."""
        gone, broken, other = self.make(), self.make(), self.other()
        broken.transport.shut()
        with Gathering():
            send_to_all([gone, broken, other], numbered(1))
            gone.abort()
        other.send_joined.assert_called_once()
        self.assertIs(broken._state, State.CLOSED)

    def test_budget(self) -> None:
        """What a link for many leaves waiting counts among what waits at all, and who has too much is closed."""
        budget = Budget(1_000_000)
        link = self.make(LONG, budget=budget)
        with self.assertLogs("socp.budget", "WARNING"), Gathering():
            for _ in range(500):
                send_to_all([link], numbered(1, 10_000))
        self.assertIs(link._state, State.CLOSED)
        self.assertEqual(budget.waiting, 0)
