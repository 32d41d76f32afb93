"""What frames can make a server take: memory for a connection, and for all that have proved nothing."""

from __future__ import annotations

import sys
import unittest
from collections.abc import Callable

import socp
from framing import BODY_MOST, HANDSHAKE_BODY_MOST, SEPARATORS_MOST, USER_BODY_MOST, encode_frame
from handshake import new_nonce
from socp import BAD_FRAME, ERROR, UNKNOWN_TYPE, USER_HELLO, USER_NOT_FOUND
from tests.hostile import measure
from tests.hostile.arena import HostileTest
from tests.peer import Peer
from tests.vectors import key

FOR_ONE = 8 * measure.MIB
FOR_STRANGERS = 16 * measure.MIB
# What the process takes meanwhile for the conversation that goes on, and for what it does the first time.
NOISE = 2 * measure.MIB


def framed(body: bytes) -> bytes:
    """Return a body with its length."""
    return len(body).to_bytes(4, "big") + body


@unittest.skipUnless(sys.platform == "linux", "nothing else tells how much memory a process has had")
class MemoryTest(HostileTest):
    """Frames made to grow."""

    def grown(self, attack: Callable[[], None]) -> int:
        """Return by how much more memory the server has had, at the worst moment, than before the attack."""
        pid = self.program.process.pid
        measure.forget_peak(pid)
        before = measure.resident(pid)
        attack()
        return measure.peak(pid) - before

    def bounded(self, most: int, attack: Callable[[], None]) -> None:
        """Carry out an attack, which must not take more memory than so much, and see the conversation go on."""
        self.assertLessEqual(self.grown(attack), most + NOISE)
        self.conversation.wait_more()

    def body(self, peer: Peer, inside: bytes) -> bytes:
        """Return a body with something in its payload."""
        head = f'{{"type":"TEST","from":"{peer.id}","to":"*","ts":{socp.now_ms()},"sig":"","payload":'.encode()
        return head + b'{"x":' + inside + b"}}"

    def test_user(self) -> None:
        """No frame of a user takes 8 MiB, nor do many after each other."""
        room, many = USER_BODY_MOST - 200, SEPARATORS_MOST // 2 - 10
        peer = self.attackers_user("mallory")
        for what, inside in (
            ("empty objects", b"[" + b",".join([b"{}"] * many) + b"]"),
            ("objects", b"[" + b",".join([b'{"a":1}'] * many) + b"]"),
            ("integers", b"[" + b",".join([b"1234567890"] * (SEPARATORS_MOST - 10)) + b"]"),
            ("one wide character", b'"' + b"x" * (room - 10) + "\U0001f600".encode() + b'"'),
            ("escapes", b'["' + b"[" * 20 + b'\\"' * (room // 2 - 20) + b'"]'),
        ):
            frame = framed(self.body(peer, inside))

            def attack(frame: bytes = frame) -> None:
                for _ in range(3):
                    peer.send_bytes(frame)
                    peer.expect_error(UNKNOWN_TYPE)

            with self.subTest(what):
                self.bounded(FOR_ONE, attack)

    def test_refused(self) -> None:
        """Frames that section 2 forbids are refused before they take anything."""
        room = USER_BODY_MOST - 100
        for what, inside in (
            ("{}, 349,525 times", b"[" + b"{}," * (room // 3) + b"0]"),
            ("nesting", b"[" * room),
            ("digits", b"1" * room),
        ):
            peer = self.attackers_user("mallory")

            def attack(peer: Peer = peer, inside: bytes = inside) -> None:
                peer.send_bytes(framed(b'{"a":' + inside + b"}"))
                peer.expect_refusal(BAD_FRAME)

            with self.subTest(what):
                self.bounded(FOR_ONE, attack)

    def test_server(self) -> None:
        """No frame of a server takes more either; a wide character in a whole MiB of them takes 9."""
        peer = self.attackers_server("server2")
        wide = b'"' + b"x" * (BODY_MOST - 300) + "\U0001f600".encode() + b'"'
        escaped = b'["' + b"[" * 20 + b'\\"' * (BODY_MOST // 2 - 200) + b'"]'
        for inside, most in ((escaped, FOR_ONE), (wide, FOR_ONE + measure.MIB)):

            def attack(inside: bytes = inside) -> None:
                peer.send_bytes(framed(self.body(peer, inside)))
                peer.expect_error(UNKNOWN_TYPE)

            self.bounded(most, attack)

    def test_keys(self) -> None:
        """Of many frames with as many keys as there may be, from several users at once, one at a time is read."""
        pairs = b",".join(b'"%06d":1' % number for number in range(SEPARATORS_MOST - 20))
        peers = [self.attackers_user(name) for name in ("mallory", "dave", "erin", "frank")]
        frames = [framed(self.body(peer, b"{" + pairs + b"}")) for peer in peers]

        def attack() -> None:
            for peer, frame in zip(peers, frames, strict=True):
                peer.send_bytes(frame)
            for peer in peers:
                peer.expect_error(UNKNOWN_TYPE)

        # 17 MiB for the one that is being read, and 7 for each of the others.
        self.bounded(38 * measure.MIB, attack)

    def test_tiny_segments(self) -> None:
        """A largest frame in small pieces, the last of them single bytes, takes no more than in one."""
        peer = self.attackers_user("mallory")
        frame = framed(self.body(peer, b'"' + b"x" * (USER_BODY_MOST - 200) + b'"'))

        def attack() -> None:
            for start in range(0, len(frame) - 5_000, 500):
                peer.send_bytes(frame[start : min(start + 500, len(frame) - 5_000)])
            for place in range(len(frame) - 5_000, len(frame)):
                peer.send_bytes(frame[place : place + 1])
            peer.expect_error(UNKNOWN_TYPE)

        self.bounded(FOR_ONE, attack)

    def test_coalesced(self) -> None:
        """A MiB of tiny frames in one write, and large ones back to back, are taken one after the other."""
        peer = self.attackers_user("mallory")
        tiny = encode_frame(socp.make_envelope(ERROR, peer.id, socp.EVERYONE, 1, {"code": "X"}))
        chunk = {"file_id": peer.id, "index": 0, "ciphertext": "A" * 700_000}
        large = encode_frame(socp.make_envelope(socp.FILE_CHUNK, peer.id, key("grace").id, 1, chunk))

        def attack() -> None:
            peer.send_bytes(tiny * (measure.MIB // len(tiny)))
            peer.expect_alive()
            peer.send_bytes(large * 10)
            for _ in range(10):
                peer.expect_error(USER_NOT_FOUND)

        self.bounded(FOR_ONE, attack)

    def test_strangers(self) -> None:
        """As many hellos as there are places, each as large as it may be and made to grow, take 16 MiB in all."""
        self.bounded(FOR_STRANGERS, lambda: self.flood_with_hellos(70, tls=False))

    def test_strangers_in_tls(self) -> None:
        """So it is when all of them speak TLS."""
        self.bounded(FOR_STRANGERS, lambda: self.flood_with_hellos(80, tls=True))

    def flood_with_hellos(self, first: int, *, tls: bool) -> None:
        """Take all places, from this address and the next three, with hellos made to grow and a frame that begins."""
        peers = [self.attacker("mallory", first + number // 16, tls=tls) for number in range(64)]
        payload: dict[str, object] = {
            "client": "x",
            "pubkey": peers[0].pair.public.text,
            "nonce": new_nonce(),
            "caps": [],
        }
        payload |= {"meta": {"a": [{}] * 1_350}}
        empty = encode_frame(socp.make_envelope(USER_HELLO, peers[0].id, "*", socp.now_ms(), {**payload, "x": []}))
        payload["x"] = [{} for _ in range((HANDSHAKE_BODY_MOST - len(empty)) // 3)]
        hello = encode_frame(socp.make_envelope(USER_HELLO, peers[0].id, "*", socp.now_ms(), payload))
        begun = framed(b"x" * HANDSHAKE_BODY_MOST)[:-1]

        for peer in peers:
            peer.send_bytes(hello)
        for peer in peers:
            peer.expect(socp.AUTH_CHALLENGE)
            peer.send_bytes(begun)
