"""Links: reading, their deadlines, and their ends."""

from __future__ import annotations

import socket
import threading
import unittest
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from budget import Budget
from framing import FROM_SERVER, FROM_STRANGER, FROM_USER, decode_frame, encode_frame
from link import Link
from outflow import Sent
from settings import Limits, Settings, Timers
from socp import BAD_FRAME, TIMEOUT, TOO_LARGE, LinkError
from tests.sockets import tcp_pair
from tests.tls import context_of
from threads import Alarms, Deadline, Threads
from tls import TlsTransport
from transport import PlainTransport, Transport

PATIENCE = 10.0
# Short, and far enough from each other that each test sees its own.
TIMERS = replace(Timers(), linger=0.3, full=0.2, frame=0.1, silence=0.1)
LONG = replace(Timers(), linger=PATIENCE)


def numbered(number: int, size: int = 0) -> bytes:
    """Return a frame with a number in it."""
    return encode_frame({"n": number, "x": "x" * size})


class LinkCase(unittest.TestCase):
    """A link over a pair of sockets; the test is the peer."""

    def make(self, timers: Timers = LONG, limits: Limits | None = None, budget: Budget | None = None) -> Link:
        """Return a link; the peer's end is `peer`."""
        ours, self.peer = tcp_pair()
        self.peer.settimeout(PATIENCE)
        self.threads, alarms = Threads(), Alarms()
        alarms.start()
        settings = Settings(timers, limits if limits is not None else Limits())
        link = Link(
            PlainTransport(ours),
            FROM_SERVER,
            settings=settings,
            alarms=alarms,
            threads=self.threads,
            name="test",
            budget=budget,
        )
        self.addCleanup(self.peer.close)
        threads = self.threads
        self.addCleanup(alarms.stop)
        self.addCleanup(lambda: self.assertEqual(threads.join(Deadline(PATIENCE)), []))
        self.addCleanup(link.end)
        self.addCleanup(link.abort)
        return link

    def read_in_thread(self, link: Link, each: Callable[[bytes], None] = lambda _: None) -> threading.Thread:
        """Have a thread be the link's reader; what ends it is in `ended_by`."""
        self.ended_by: LinkError | None = None

        def read() -> None:
            try:
                for frame in link.frames():
                    each(frame)
            except LinkError as error:
                self.ended_by = error
                link.finish()
            link.end()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    def received(self, size: int) -> bytes:
        """Return so many bytes that the peer has received."""
        data = b""
        while len(data) < size:
            more = self.peer.recv(65_536)
            self.assertTrue(more, "the link was closed too early")
            data += more
        return data

    def fill(self, link: Link, until: Callable[[], bool] = lambda: False) -> None:
        """Send until the link takes no more, or something is so."""
        for _ in range(2_000):
            if link.send(numbered(1, 10_000)) is not Sent.YES or until():
                return
        self.fail("the link took 20 MB that nobody reads")


class LinkTest(LinkCase):
    """What a link reads, and how it ends."""

    # --- reading ------------------------------------------------------------------------------------------------

    def test_frames(self) -> None:
        """Frames are yielded as they come, until the peer closes."""
        link = self.make()
        self.peer.sendall(numbered(1) + numbered(2) + numbered(3)[:5])
        self.peer.shutdown(socket.SHUT_WR)
        self.assertEqual(list(link.frames()), [numbered(1), numbered(2)])

    def test_errors(self) -> None:
        """A frame over the limit in force ends the reading with its error."""
        link = self.make()
        link.handshake_done(FROM_USER)
        self.peer.sendall(numbered(1) + (FROM_USER.most + 1).to_bytes(4, "big"))
        frames = link.frames()
        self.assertEqual(next(frames), numbered(1))
        with self.assertRaises(LinkError) as caught:
            next(frames)
        self.assertEqual(caught.exception.code, TOO_LARGE)

    def test_limit_of_strangers(self) -> None:
        """Before the handshake the limit of strangers holds, where that is what the link was made with."""
        link = self.make()
        link._buffer.limit = FROM_STRANGER
        self.peer.sendall((FROM_STRANGER.most + 1).to_bytes(4, "big"))
        with self.assertRaises(LinkError) as caught:
            next(link.frames())
        self.assertEqual(caught.exception.code, BAD_FRAME)

    def times_out(self, prepare: Callable[[Link], None], detail: str) -> None:
        """Have a link end with TIMEOUT, and its peer be told what is sent last all the same."""
        link = self.make(TIMERS)
        prepare(link)
        with self.assertRaises(LinkError) as caught:
            for _ in link.frames():
                continue
        self.assertEqual(caught.exception.code, TIMEOUT)
        self.assertIn(detail, caught.exception.detail)
        link.finish(numbered(9))
        self.assertEqual(self.received(len(numbered(9))), numbered(9))

    def test_handshake_too_slow(self) -> None:
        """A handshake that is not done in time is TIMEOUT."""
        self.times_out(lambda link: link.expect_handshake(0.05), "handshake")

    def test_frame_too_slow(self) -> None:
        """A frame that has begun and is not complete in time is TIMEOUT."""
        self.times_out(lambda _: self.peer.sendall(numbered(1) + numbered(2)[:-1]), "frame")

    def test_silence(self) -> None:
        """An established link on which nothing is heard is TIMEOUT."""
        self.times_out(lambda link: link.handshake_done(FROM_SERVER), "nothing was heard")

    def test_alarms_that_do_not_ring(self) -> None:
        """A handshake that was done, and frames that come in time, end nothing."""
        link = self.make(replace(TIMERS, silence=1.0, frame=0.8))
        link.expect_handshake(0.3)
        link.handshake_done(FROM_SERVER)
        seen = threading.Semaphore(0)
        thread = self.read_in_thread(link, lambda _: seen.release())
        for number in range(30):
            frame = numbered(number)
            self.peer.sendall(frame[:3])
            threading.Event().wait(0.04)
            self.peer.sendall(frame[3:])
            self.assertTrue(seen.acquire(timeout=PATIENCE))
        self.assertFalse(link.closing)
        self.peer.close()
        thread.join(PATIENCE)
        self.assertIsNone(self.ended_by)

    def test_sign_of_life(self) -> None:
        """A probe tells a link whose peer answers from one whose peer does not, or that ends meanwhile."""
        link = self.make()
        thread = self.read_in_thread(link)
        self.assertFalse(link.alive_within(0.05, asked_by=numbered(1)))
        self.assertEqual(self.received(len(numbered(1))), numbered(1))
        answers: list[bool] = []
        asking = threading.Thread(target=lambda: answers.append(link.alive_within(PATIENCE, asked_by=numbered(2))))
        asking.start()
        self.received(len(numbered(2)))
        self.peer.sendall(numbered(3))
        asking.join(PATIENCE)
        self.assertEqual(answers, [True])
        asking = threading.Thread(target=lambda: answers.append(link.alive_within(PATIENCE, asked_by=numbered(4))))
        asking.start()
        self.received(len(numbered(4)))
        self.peer.close()
        thread.join(PATIENCE)
        asking.join(PATIENCE)
        self.assertEqual(answers, [True, False])

    def test_nothing_kept(self) -> None:
        """A link that has ended is kept by nothing, not by the alarms that it had, and so neither is what it read."""
        link = self.make()
        link.expect_handshake(PATIENCE)
        thread = self.read_in_thread(link)
        self.peer.sendall(numbered(1)[:-1])
        self.peer.shutdown(socket.SHUT_WR)
        thread.join(PATIENCE)
        link.handshake_done(FROM_SERVER)  # also of a peer that leaves just then
        link.end()
        self.assertEqual(self.alarms_of(link), [])

    def alarms_of(self, link: Link) -> list[object]:
        """Return what alarms would call of a link."""
        callbacks = [alarm.callback for _, _, alarm in link._alarms._heap]
        return [callback for callback in callbacks if callback.__name__ != "_nothing"]

    # --- closing ------------------------------------------------------------------------------------------------

    def test_finish(self) -> None:
        """What waits and the last frame go out, and then the end, also to a peer that is slow to read."""
        link = self.make()
        thread = self.read_in_thread(link)
        frames = [numbered(number, 10_000) for number in range(100)]
        for frame in frames:
            link.send(frame)
        link.finish(numbered(100))
        link.finish(numbered(101))
        self.assertIs(link.send(numbered(102)), Sent.CLOSED)
        expected = b"".join(frames) + numbered(100)
        self.assertEqual(self.received(len(expected)), expected)
        self.assertEqual(self.peer.recv(1), b"")
        self.peer.close()
        thread.join(PATIENCE)
        self.assertFalse(thread.is_alive())

    def test_finish_does_not_reset(self) -> None:
        """The last frame arrives though the peer was still sending: its bytes are read, and not acted on."""
        link = self.make()
        seen: list[bytes] = []
        thread = self.read_in_thread(link, seen.append)
        link.finish(numbered(1))
        for number in range(100):
            self.peer.sendall(numbered(number, 10_000))
        self.assertEqual(self.received(len(numbered(1))), numbered(1))
        self.peer.close()
        thread.join(PATIENCE)
        self.assertEqual(seen, [])

    def test_linger_ends(self) -> None:
        """A peer that neither reads nor closes is not waited for longer than `linger`."""
        link = self.make(TIMERS)
        thread = self.read_in_thread(link)
        for number in range(100):
            link.send(numbered(number, 10_000))
        link.finish(numbered(100))
        thread.join(PATIENCE)
        self.assertFalse(thread.is_alive())

    def test_abort(self) -> None:
        """Closing at once wakes the reader, whatever waits to be sent, and is harmless when repeated."""
        link = self.make()
        thread = self.read_in_thread(link)
        for number in range(100):
            link.send(numbered(number, 10_000))
        link.abort()
        link.abort()
        thread.join(PATIENCE)
        self.assertFalse(thread.is_alive())
        self.assertIs(link.send(numbered(1)), Sent.CLOSED)

    def test_frames_behind_a_farewell(self) -> None:
        """Of frames that came in one piece, those behind the one that closed the link are not handed out."""
        link = self.make()
        self.peer.sendall(numbered(1) + numbered(2))
        frames = link.frames()
        next(frames)
        link.finish()
        self.assertEqual(list(frames), [])


class TlsLinkTest(unittest.TestCase):
    """Links over TLS."""

    def setUp(self) -> None:
        """Make what links need."""
        self.threads, self.alarms = Threads(), Alarms()
        self.alarms.start()
        self.addCleanup(self.alarms.stop)
        self.addCleanup(lambda: self.assertEqual(self.threads.join(Deadline(PATIENCE)), []))

    def link(self, transport: Transport) -> Link:
        """Return a link, which is ended with the test."""
        link = Link(
            transport, FROM_SERVER, settings=Settings(LONG), alarms=self.alarms, threads=self.threads, name="test"
        )
        self.addCleanup(link.end)
        self.addCleanup(link.abort)
        return link

    def test_frames(self) -> None:
        """What several threads send, also while the peer falls behind, arrives whole and in the order of each."""
        ends = [PlainTransport(end) for end in tcp_pair()]
        acceptor, connector = self.link(TlsTransport(ends[0], context_of("server"))), self.link(TlsTransport(ends[1]))
        self.threads.start("begin", acceptor.begin)
        connector.begin()
        self.assertTrue(acceptor.secure and connector.where.endswith("TLS"))
        counts = range(60)

        def send(sender: int) -> None:
            for number in counts:
                frame = encode_frame({"n": number, "s": sender, "x": "x" * (number * 977 * (sender + 1) % 90_000)})
                while connector.send(frame) is Sent.FULL:
                    connector.wait_until_drained(PATIENCE)

        for sender in range(3):
            self.threads.start("sender", partial(send, sender))
        heard: dict[int, list[int]] = {sender: [] for sender in range(3)}
        for frame in acceptor.frames():
            value = decode_frame(frame)
            heard[value["s"]].append(value["n"])
            if sum(map(len, heard.values())) == 3 * len(counts):
                connector.finish(encode_frame({"s": 0, "n": -1}))
        self.assertEqual(heard, {0: [*counts, -1], 1: [*counts], 2: [*counts]})

    def test_silent_peer(self) -> None:
        """A TLS handshake that is not done in time is TIMEOUT, at either side."""
        for context in (None, context_of("server")):
            ours, theirs = tcp_pair()
            self.addCleanup(theirs.close)
            link = self.link(TlsTransport(PlainTransport(ours), context))
            link.expect_handshake(0.05)
            with self.assertRaises(LinkError) as caught:
                link.begin()
            self.assertEqual(caught.exception.code, TIMEOUT)
            link.finish(numbered(1))  # which is not said in the clear
            theirs.settimeout(PATIENCE)
            self.assertNotIn(b'{"n":1', theirs.recv(65_536))
