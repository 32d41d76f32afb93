"""Attacks on what a server has only so much of: places, time, queues and descriptors."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable

import socp
from crypto.signing import message_reference
from framing import encode_frame
from socp import BAD_FRAME, SERVER_BUSY, TIMEOUT, USER_DELIVER
from tests.hostile import measure
from tests.hostile.arena import HostileTest
from tests.peer import Peer, membership
from tests.sockets import NothingCameError
from tests.vectors import key

_LARGE = 700_000


class LimitsTest(HostileTest):
    """A server with few places, short times and small queues. Each test attacks from addresses of its own."""

    arguments = (
        *("--max-users", "8", "--max-handshakes", "12", "--max-handshakes-per-address", "4"),
        *("--max-queue", "1M", "--max-queues", "3M", "--max-servers", "1"),
    )
    timers = "handshake=4 frame=3 full=6 refuse_first=2 refuse_most=8 linger=0.5"
    penalties = True

    def chunk(self, sender: Peer, to: str, size: int = _LARGE) -> bytes:
        """Return a chunk of a file that nobody has announced; servers do not know that."""
        payload = {"file_id": sender.id, "index": 0, "ciphertext": "A" * size}
        return encode_frame(socp.make_envelope(socp.FILE_CHUNK, sender.id, key(to).id, socp.now_ms(), payload))

    def stalled(self, name: str, number: int) -> Peer:
        """Attach an attacker who will read nothing more, from a socket with little room."""
        peer = self.attackers_user(name, number)
        peer.shrink()
        return peer

    def fill(self, sender: Peer, to: str) -> None:
        """Send chunks to an attacker who reads nothing, until the server says that it takes no more."""
        chunk = self.chunk(sender, to)
        for _ in range(40):
            sender.send_bytes(chunk)
            came = [envelope.payload["code"] for envelope in sender.read_until_answer() if envelope.type == socp.ERROR]
            if came:
                self.assertEqual(came, [SERVER_BUSY])
                return
        self.fail("28 MB were taken for somebody who reads nothing")

    # --- handshakes ---------------------------------------------------------------------------------------------

    def test_idle(self) -> None:
        """Idle and begun handshakes from many addresses are closed in time, and keep no honest user out meanwhile."""
        idle = []
        for number in range(10, 40):
            peer = self.attacker("mallory", number)
            peer.send_bytes(b"\0\0" * (number % 2))
            idle.append(peer)
            if number % 6 == 0:
                with Peer(self.port, "dave") as honest:
                    honest.attach_user()
                    honest.leave()
        self.conversation.wait_more()
        for peer in idle:
            with contextlib.suppress(ConnectionResetError):
                while (envelope := peer.read()) is not None:
                    self.assertEqual(envelope.payload["code"], TIMEOUT)

    def test_one_address(self) -> None:
        """Whoever has as many unfinished handshakes as an address may have is closed at accept, without a word."""
        first = [self.attacker("mallory", 41) for _ in range(4)]
        for peer in first:
            peer.hello()
            peer.expect(socp.AUTH_CHALLENGE)
        with contextlib.suppress(ConnectionResetError):
            self.assertIsNone(self.attacker("mallory", 41).read())
        self.attackers_user("dave", 42).leave()
        first[0].close()
        self.until(lambda: self.let_in("mallory", 41), "another handshake of that address")

    def let_in(self, name: str, number: int) -> bool:
        """Tell whether an attacker is answered, and leave."""
        with contextlib.suppress(OSError, AssertionError), self.attacker(name, number) as peer:
            peer.hello()
            peer.expect(socp.AUTH_CHALLENGE)
            return True
        return False

    def until(self, happened: Callable[[], bool], what: str) -> None:
        """Try until something has happened: of a server that closes without a word, nothing else can be heard."""
        for _ in range(1000):
            if happened():
                return
            threading.Event().wait(0.02)
        self.fail(f"{what} was waited for in vain:\n{self.program.report()}")

    def test_penalties(self) -> None:
        """An address that breaks the rules again and again is refused for some time, and another is not."""
        mark = len(self.program.errors)
        self.until(self.turned_away, "a penalty")
        self.program.expect_error("127.0.0.43 is refused for 2 s after repeated failures", after=mark)
        for _ in range(5):
            with contextlib.suppress(ConnectionResetError):
                self.assertIsNone(self.attacker("mallory", 43).read())
        self.attackers_user("dave", 44).leave()
        self.until(lambda: self.let_in("mallory", 43), "the end of the penalty")
        told = [line for line in self.program.errors[mark:] if "127.0.0.43 is refused" in line]
        self.assertEqual(len(told), 1, told)

    def turned_away(self) -> bool:
        """Break a rule from 127.0.0.43; tell whether that could not be done any more."""
        with contextlib.suppress(ConnectionError), self.attacker("mallory", 43) as peer:
            peer.send_bytes(b"GET ")
            answer = peer.read()
            if answer is not None:
                self.assertEqual(answer.payload["code"], BAD_FRAME)
                return False
        return True

    def test_users(self) -> None:
        """One user more than there are places for is told SERVER_BUSY after its hello; servers still link."""
        names = ("mallory", "dave", "erin", "frank", "grace", "heidi")  # beside alice and bob
        users = [self.attackers_user(name, 45) for name in names]
        late = self.attacker("carol", 45)
        late.hello()
        late.expect_refusal(SERVER_BUSY)
        late.close()
        self.attackers_server("server2", 45)
        self.conversation.wait_more()
        users[0].leave()
        self.until(lambda: self.let_in("carol", 45), "a place for one more user")

    def test_servers(self) -> None:
        """Of servers that an introducer admits, no more are taken in than there is room for, and kept in mind."""
        self.attackers_server("server2", 55).leave()
        late = self.attacker("server3", 55)
        late.hello(socp.SERVER_HELLO_LINK, memberships=[membership("server3")])
        late.expect_refusal(SERVER_BUSY)
        self.attackers_server("server2", 55).leave()

    # --- frames -------------------------------------------------------------------------------------------------

    def test_dripping(self) -> None:
        """A frame that drips in byte by byte is TIMEOUT in time, though no pause in it is long."""
        peer = self.attackers_user("mallory", 46)
        frame = self.chunk(peer, "dave", 1_000)
        mark = len(self.program.errors)
        for place in range(len(frame)):
            try:
                peer.send_bytes(frame[place : place + 1])
                envelope = peer.read(0.02)
            except NothingCameError:
                continue
            except ConnectionError:
                envelope = None
            if envelope is None or envelope.type == socp.ERROR:
                break
        else:
            self.fail("the whole frame was waited for")
        self.program.expect_error("TIMEOUT: a frame took too long to arrive", after=mark)

    # --- queues -------------------------------------------------------------------------------------------------

    def test_stalled(self) -> None:
        """For whoever reads nothing, frames go the way of their type; he is closed, and finds his mail on return."""
        mark = len(self.program.errors)
        stalled, sender = self.stalled("mallory", 47), self.attackers_user("dave", 48)
        self.fill(sender, "mallory")
        ts, to = socp.now_ms(), key("mallory").id
        # What is answered: SERVER_BUSY …
        ballast = {"x": "x" * 600_000}  # else a frame might still fit
        for frame_type, payload in (
            (socp.FILE_START, sender.manifest("mallory", ts)),
            (socp.FILE_CHUNK, {"file_id": sender.id, "index": 0, "ciphertext": ""}),
            (socp.FILE_END, {"file_id": sender.id}),
        ):
            sender.send(frame_type, {**payload, **ballast}, to=to)
            self.assertEqual(sender.expect_error(SERVER_BUSY).payload["file_id"], payload["file_id"])
        # … and what is lost in silence.
        sender.send(socp.FILE_ACK, {"file_id": sender.id, "next_index": 0, "status": "receiving", **ballast}, to=to)
        sender.send(socp.ACK, {**sender.receipt("mallory", ts, "A" * 43), **ballast}, to=to)
        for number in range(12):  # what one of 90 kB finds room for, twelve do not
            payload = sender.broadcast(f"to all but one {ts} {number}", ts + number)
            sender.send(socp.MSG_PUBLIC_CHANNEL, {**payload, "x": "x" * 90_000}, to=socp.PUBLIC, ts=ts + number)
        sender.expect_silence()
        self.bob.expect(rf"\[All\] .*: to all but one {ts} 11$")
        # Direct messages are stored, those that he was handed too once he is closed.
        refs = [sender.tell("mallory", f"for your return {number}") for number in range(3)]
        self.conversation.wait_more()
        self.program.expect_error("closed, since it took nothing for too long", after=mark)
        self.assertEqual({self.stored_ref(sender) for _ in refs}, set(refs))
        stalled.close()
        back = self.attackers_user("mallory", 47)
        self.assertEqual([self.ref_of(back.expect(USER_DELIVER)) for _ in refs], refs)
        back.leave()
        sender.leave()

    def stored_ref(self, sender: Peer) -> str:
        """Return the msg_ref of the next message that the server says it has stored."""
        answer = sender.expect(socp.ACK)
        self.assertEqual(answer.payload["status"], "stored")
        return str(answer.payload["msg_ref"])

    def ref_of(self, delivered: socp.Envelope) -> str:
        """Return the msg_ref of a message that was delivered."""
        return message_reference(delivered.payload["content_sig"])

    def test_all_queues(self) -> None:
        """When stalled readers have too much waiting together, the fullest is closed at once."""
        mark = len(self.program.errors)
        sender = self.attackers_user("dave", 49)
        names = ("mallory", "erin", "frank", "grace")
        for number, name in enumerate(names):
            self.stalled(name, 50 + number)
        chunk = {name: self.chunk(sender, name, 300_000) for name in names}
        for _ in range(30):
            sender.send_bytes(b"".join(chunk.values()))
            sender.read_until_answer()
            if any("and too many in all" in line for line in self.program.errors[mark:]):
                break
        self.program.expect_error(r"closed, since \d+ bytes wait there, and too many in all", after=mark)
        self.conversation.wait_more()
        sender.close()


def open_descriptors(pid: int) -> int:
    """Return how many descriptors a process has open, 0 where nothing tells."""
    return measure.descriptors(pid) if sys.platform == "linux" else 0


class DescriptorsTest(HostileTest):
    """A server that may have few descriptors."""

    descriptors = 64

    def test_descriptors(self) -> None:
        """When they run out, accepting pauses, and goes on once a link has ended; what is connected goes on."""
        idle: list[Peer] = []
        mark = len(self.program.errors)
        before = open_descriptors(self.program.process.pid)
        for number in range(60):
            idle.append(self.attacker("mallory", 60 + number // 15))
        self.program.expect_error("are all that this process has descriptors for", after=mark)
        honest = Peer(self.port, "dave")
        self.addCleanup(honest.close)
        honest.hello()
        with self.assertRaises(NothingCameError):
            honest.read(0.3)
        self.conversation.wait_more()
        # A quarter is left to other things; alice and bob have two of the rest.
        self.assertLessEqual(open_descriptors(self.program.process.pid), before + 48 - 2)
        for peer in idle:
            peer.close()
        honest.respond()
        honest.finish_handshake()
        honest.leave()
