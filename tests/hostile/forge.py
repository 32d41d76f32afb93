"""Forged and replayed frames: `python -m tests.hostile.forge --frames 10000`.

A whole conversation is recorded as it passes: messages, receipts, a broadcast, a file, handshakes, and what servers say
to each other. Then each frame of it is sent again, as it was or with something changed, by another user, another
server, a stranger, and by whoever sits in the middle of a link; half of it after a server and a client have been killed
and started anew. What counts as accepted is what somebody could notice: a message or a file that is shown, a receipt
that is believed, a handshake that succeeds, a list of users that changes.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import itertools
import random
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import socp
from crypto.encoding import encode_base64url
from crypto.sealing import message_label, seal
from crypto.signing import BROADCAST, FILE_RESULT, MANIFEST, MESSAGE, RECEIPT, KeySigner, Purpose, message_reference
from framing import FROM_SERVER, FrameBuffer, decode_frame, encode_frame
from origin import Origin
from tests.e2e.harness import Network, Program
from tests.e2e.proxy import Proxy
from tests.hostile.arena import attacker_address
from tests.peer import Peer
from tests.vectors import key

Wire = dict[str, Any]

_MARK = "FORGED"  # in every text of an attacker's own
_USERS = ("alice", "bob", "carol")
_SAID = re.compile(r"^\[(DM from|All\]|File from)")
_DELIVERED = re.compile(r"^\[DM to .*\] delivered")

# What a content signature covers, and where the signer's id and the recipient's stand.
_CONTENT: dict[str, Purpose] = {
    socp.MSG_DIRECT: MESSAGE,
    socp.USER_DELIVER: MESSAGE,
    socp.SERVER_DELIVER: MESSAGE,
    socp.MSG_PUBLIC_CHANNEL: BROADCAST,
    socp.FILE_START: MANIFEST,
    socp.ACK: RECEIPT,
    socp.FILE_ACK: FILE_RESULT,
}
# What a server may say of itself, and is no forgery when it does.
_OWN = (socp.HEARTBEAT, socp.CTRL_CLOSE, socp.USER_SYNC_REQUEST, socp.ERROR, socp.ACK)
# Whoever sits in the middle of a link can close it in simpler ways.
_CLOSING = (*socp.HELLOS, socp.CTRL_CLOSE)


@dataclass
class Tally:
    """What became of the frames, each counted by its type.

    Attributes:
        wrong: what was noticed that should not have been, for people.
    """

    sent: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)  # with an ERROR, or by the end of the connection
    accepted: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    shown_twice: int = 0
    wrong: list[str] = field(default_factory=list)

    def note(self, frame_type: str, way: str, *, refused: bool) -> None:
        """Count a frame."""
        self.sent[frame_type] += 1
        self.ways[way] += 1
        self.refused[frame_type] += refused


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


class World:
    """The programs, with somebody in the middle of every link, who records."""

    def __init__(self) -> None:
        self.network = Network()
        self._arguments = ("--log-level", "WARNING", "--no-penalties")
        self.proxies = {name: Proxy(whole=True) for name in ("introducer", "server", "server2")}
        _, self.proxies["introducer"].target = self.network.introducer("introducer", "--no-penalties")
        self.servers = {name: self._server(name) for name in ("server", "server2")}
        self.clients = {name: self._client(name) for name in (*_USERS, "dave")}
        self._earlier: dict[str, list[str]] = {name: [] for name in self.clients}
        self.network.wait_listed(self.clients["alice"], {*_USERS, "dave"})
        self._number = 0

    def _server(self, name: str, port: int = 0) -> Program:
        proxy = self.proxies[name]
        own = ("--advertise", f"127.0.0.1:{proxy.port}")
        program, proxy.target = self.network.server(
            name, self.proxies["introducer"].port, *self._arguments, *own, port=port
        )
        return program

    def _client(self, name: str) -> Program:
        return self.network.client(name, self.proxies["server2" if name == "bob" else "server"].port)

    def port(self, name: str) -> int:
        """Return where a program listens, without anybody in the middle."""
        return self.proxies[name].target

    # --- the honest ---------------------------------------------------------------------------------------------

    def converse(self) -> None:
        """Have the users do everything; what alice tells dave at last, who has left, nobody can confirm."""
        alice, bob, carol, dave = self.clients.values()
        for number in range(5):
            self._tell(alice, bob, f"to bob {number}")
            self._tell(bob, alice, f"to alice {number}")
            self._tell(carol, alice, f"to alice by carol {number}")
        heard = [bob.mark(), carol.mark()]
        alice.type("/all to everybody")
        for client, mark in zip((bob, carol), heard, strict=True):
            client.expect("to everybody", after=mark)
        path = self.network.directory / "a-file"
        path.write_bytes(b"what is in it" * 3000)
        mark = alice.mark()
        alice.type(f"/file {key('bob').id} {path}")
        alice.expect(r"\[File to .*delivered", after=mark)
        self._do_the_rest()
        dave.end_input()
        dave.wait()
        mark = alice.mark()
        alice.type(f"/tell {key('dave').id} nobody has read this")
        alice.expect(r"\[DM to .*\] stored", after=mark)
        self._honest = {name: Counter(self.said(name)) for name in _USERS}

    def _do_the_rest(self) -> None:
        """Have frames come that these clients and servers have had no reason to send."""
        port = self.proxies["server"].port
        with Peer(port, "erin") as erin, Peer(port, "frank") as frank, Peer(port, "server3") as server3:
            erin.attach_user(caps=[socp.CAP_PRESENCE])
            frank.attach_user()
            erin.expect(socp.PRESENCE)
            frank.send(socp.USER_KEY_REQUEST, {"user_id": key("stranger").id})
            frank.expect_error(socp.USER_NOT_FOUND)
            server3.link_server("server3")
            server3.expect(socp.USER_SYNC)
            server3.send_signed(socp.USER_SYNC_REQUEST, {})
            server3.expect(socp.USER_SYNC)
            for peer in (erin, frank, server3):
                peer.leave()
        self.wait_list("dave")

    def _tell(self, sender: Program, to: Program, text: str) -> None:
        mark, heard = sender.mark(), to.mark()
        sender.type(f"/tell {key(to.name).id} {text}")
        to.expect(rf"{text}$", after=heard)
        sender.expect(r"\[DM to .*\] delivered", after=mark)

    def go_on(self) -> None:
        """Have the users talk: what has arrived before has been handled then."""
        self._number += 1
        for sender, to in itertools.pairwise((*_USERS, "alice")):
            self._tell(self.clients[sender], self.clients[to], f"all is well {self._number}")

    def restart(self) -> None:
        """Kill a server and a client, and start them again."""
        marks = {name: self.clients[name].mark() for name in ("alice", "carol")}
        for program in (self.servers["server"], self.clients["bob"]):
            program.kill()
        self._earlier["bob"] = self.said("bob")
        self.servers["server"] = self._server("server", self.port("server"))
        self.clients["bob"] = self._client("bob")
        for name, mark in marks.items():
            self.clients[name].expect("connected again", after=mark)
        self.wait_list()

    def wait_list(self, *more: str) -> None:
        """Wait until alice is told that exactly the right users are there."""
        self.network.wait_listed(self.clients["alice"], {*_USERS, *more})

    # --- what can be noticed ------------------------------------------------------------------------------------

    def said(self, name: str) -> list[str]:
        """Return all that a client has shown of what others say."""
        return self._earlier[name] + [line for line in self.clients[name].lines if _SAID.match(line)]

    def notice(self, tally: Tally) -> None:
        """Note what was shown that should not have been."""
        for name in _USERS:
            tally.shown_twice += sum(
                count - max(1, self._honest[name][line]) for line, count in Counter(self.said(name)).items()
            )
            new = [line for line in self.said(name) if line not in self._honest[name] and "all is well" not in line]
            tally.wrong += [f"{name} was shown: {line}" for line in new]
            for line in new:
                tally.accepted[(re.findall(rf"{_MARK} (\w+)", line) or ["?"])[0]] += 1
        believed = [line for line in self.clients["alice"].lines if _DELIVERED.match(line)]
        doubled = [line for line, count in Counter(believed).items() if count > 1 or "dave" in line]
        tally.accepted[socp.ACK] += len(doubled)
        tally.wrong += [f"alice was told: {line}" for line in doubled]

    def recorded(self) -> list[Wire]:
        """Return every frame that has passed, once."""
        frames: dict[bytes, None] = {}
        for proxy in self.proxies.values():
            buffer = FrameBuffer(FROM_SERVER)
            buffer.feed(proxy.recorded)
            while (frame := buffer.next_frame()) is not None:
                frames[frame] = None
        return [decode_frame(frame) for frame in frames]

    def end(self) -> list[str]:
        """End everything; return what was wrong with how it ran."""
        for proxy in self.proxies.values():
            proxy.close()
        try:
            self.network.end()
        except AssertionError as error:
            return [str(error)[-5_000:]]
        return []


# --- changes ----------------------------------------------------------------------------------------------------


def forge(rng: random.Random, wire: Wire, name: str, to_server: str = "") -> tuple[Wire, str]:
    """Change a recorded frame as somebody would who has but his own key.

    Args:
        rng: decides how.
        wire: what was recorded.
        name: whose key he has.
        to_server: the id of the server that is told so, if he is one himself: then his own word stands around it.

    Returns:
        The frame, and how it was changed.
    """
    forged = copy.deepcopy(wire)
    way = rng.choice(("as it was", "now", "to another", "from another", "own content", "own signature"))
    payload = forged["payload"]
    if way == "now":
        forged["ts"] = socp.now_ms()
    elif way == "to another":
        forged["to"] = key(rng.choice(_USERS)).id
    elif way == "from another":
        forged["from"] = key(rng.choice((*_USERS, "server", "server2", "dave"))).id
    elif way == "own content" and forged["type"] in _CONTENT:
        _write_content(rng, forged, name)
    elif way == "own signature":
        _sign_content(forged, name)
    if forged["sig"] and to_server and rng.random() < 0.7:
        forged |= {"from": key(name).id, "to": to_server if forged["to"] != socp.EVERYONE else socp.EVERYONE}
        if "server_id" in payload and rng.random() < 0.7:
            payload["server_id"] = key(name).id
        way = f"{way}, in an envelope of its own"
    if forged["from"] == key(name).id or (forged["sig"] and rng.random() < 0.5):
        signed = Origin(KeySigner(key(name))).signed(forged["type"], forged["to"], _without_hdr(payload), forged["ts"])
        forged |= {"payload": signed["payload"], "sig": signed["sig"]}
    return forged, way


def _without_hdr(payload: Wire) -> Wire:
    return {name: value for name, value in payload.items() if name != "hdr"}


def _write_content(rng: random.Random, forged: Wire, name: str) -> None:
    """Put in a text of one's own, in another's name."""
    payload, text = forged["payload"], f"{_MARK} {forged['type']} {rng.random()}"
    forged["ts"] = socp.now_ms()
    if "ciphertext" in payload:
        to = payload.get("user_id", forged["to"])
        recipient = next((other for other in _USERS if key(other).id == to), "bob")
        label = message_label(payload.get("sender", forged["from"]), key(recipient).id)
        payload["ciphertext"] = encode_base64url(seal(key(recipient).public, text.encode(), label))
    elif "text" in payload:
        payload["text"] = text
    elif "name" in payload:
        payload |= {"name": text, "file_id": f"{rng.randrange(1 << 32):08x}-0000-4000-8000-000000000000"}
    if rng.random() < 0.7:
        _sign_content(forged, name)


def _sign_content(forged: Wire, name: str) -> None:
    """Sign what is in a frame with a key that is not its sender's."""
    payload = forged["payload"]
    purpose = _CONTENT.get(forged["type"])
    if purpose is None or "content_sig" not in payload:
        return
    sender, to = payload.get("sender", forged["from"]), payload.get("user_id", forged["to"])
    values = {**payload, "from": sender, "to": to, "ts": forged["ts"]}
    with contextlib.suppress(KeyError):  # an ACK of a server has no status
        payload["content_sig"] = KeySigner(key(name)).sign(purpose.object_of(values))


def receipts_for(recorded: list[Wire]) -> list[Wire]:
    """Return receipts of dave's for what was sent to him; nobody of those who can send them has his key."""
    return [
        {
            "type": socp.ACK,
            "from": key("dave").id,
            "to": wire["from"],
            "ts": wire["ts"],
            "payload": {
                "msg_ref": message_reference(wire["payload"]["content_sig"]),
                "status": "delivered",
                "content_sig": wire["payload"]["content_sig"],
            },
            "sig": "",
        }
        for wire in recorded
        if wire["type"] == socp.MSG_DIRECT and wire["to"] == key("dave").id
    ]


# --- those who send them ----------------------------------------------------------------------------------------


class Attack:
    """Sends recorded frames, forged or not, in every way there is.

    Args:
        world: where.
        rng: decides what is done to which.
        tally: is added to.
    """

    def __init__(self, world: World, rng: random.Random, tally: Tally) -> None:
        self._world = world
        self._rng = rng
        self._tally = tally
        recorded = world.recorded()
        by_type: dict[str, list[Wire]] = {}
        for wire in (*recorded, *receipts_for(recorded) * 5):
            by_type.setdefault(wire["type"], []).append(wire)
        self._by_type = by_type

    def types(self) -> set[str]:
        """Return the types that were recorded."""
        return set(self._by_type)

    def pick(self) -> Wire:
        """Return a recorded frame; each type as often as every other."""
        return self._rng.choice(self._by_type[self._rng.choice(sorted(self._by_type))])

    def take_part(self, number: int, frames: int) -> None:
        """Send a share of so many frames, in one of the four ways."""
        if number == 0:
            self.by_peer(frames * 35 // 100, "mallory", server=False)
        elif number == 1:
            self.by_peer(frames * 35 // 100, "server4", server=True)
        elif number == 2:
            self.by_stranger(frames // 10)
        else:
            self.in_the_middle(frames * 30 // 100)

    def by_peer(self, count: int, name: str, *, server: bool) -> None:
        """Send frames as another user or another server that has proved who it is, and hear what is answered."""
        peer: Peer | None = None
        place = "server"
        for _ in range(count):
            if peer is None:
                place = self._rng.choice(("server", "server2"))
                peer = Peer(self._world.port(place), name, source=attacker_address(2))
                peer.link_server(name) if server else peer.attach_user()
            wire, way = forge(self._rng, self.pick(), name, key(place).id if server else "")
            own = server and wire["from"] == key(name).id and wire["type"] in _OWN
            if own:
                continue
            refused = True
            try:
                peer.send_bytes(encode_frame(wire))
                answers = peer.read_until_answer()
                refused = any(answer.type == socp.ERROR for answer in answers)
                if any(answer.type == socp.ACK and self._is_news(answer.payload["msg_ref"]) for answer in answers):
                    self._note_accepted(wire, f"{place} took charge of it")
            except (OSError, AssertionError):
                peer.close()
                peer = None
            self._tally.note(wire["type"], f"by another {'server' if server else 'user'}, {way}", refused=refused)
        if peer is not None:
            peer.leave()

    def _is_news(self, reference: str) -> bool:
        """Tell whether a server has taken charge of anything that was not the honest users' own."""
        honest = (wire for frame_type in _CONTENT for wire in self._by_type.get(frame_type, ()))
        signatures = (str(wire["payload"].get("content_sig", "")) for wire in honest)
        return reference not in map(message_reference, signatures)

    def _note_accepted(self, wire: Wire, how: str) -> None:
        self._tally.accepted[wire["type"]] += 1
        self._tally.wrong.append(f"{how}: {str(wire)[:500]}")

    def by_stranger(self, count: int) -> None:
        """Send frames, handshakes that were recorded among them, as somebody who has proved nothing."""
        for _ in range(count):
            place = self._rng.choice(("server", "server2", "introducer"))
            first, way = forge(self._rng, self.pick(), "mallory")
            hello = first["type"] in socp.HELLOS
            second, _ = forge(self._rng, self._rng.choice(self._by_type[socp.AUTH_RESPONSE]), "mallory")
            with Peer(self._world.port(place), "mallory", source=attacker_address(3)) as peer:
                for wire in (first, second) if hello else (first,):
                    self._tally.note(wire["type"], f"by a stranger, {way}", refused=True)
                    with contextlib.suppress(OSError):
                        peer.send_bytes(encode_frame(wire))
                while (answer := peer.read()) is not None:
                    if answer.type in (socp.ACK, socp.SERVER_WELCOME):
                        self._note_accepted(second, f"{place} has let in a stranger")
                        break

    def in_the_middle(self, count: int) -> None:
        """Replay frames on the links that they were recorded from, in either direction, or on others."""
        for _ in range(count):
            wire = self.pick()
            if wire["type"] in _CLOSING:
                continue
            proxy = self._world.proxies[self._rng.choice(("server", "server2"))]
            with proxy._lock:
                connections = [connection for connection in proxy._open if connection.who in self._ids()]
            if not connections:
                self._world.wait_list()
                continue
            connection = self._rng.choice(connections)
            inwards = wire["from"] == connection.who
            with contextlib.suppress(OSError):
                (connection.outside if inwards else connection.inside).sendall(encode_frame(wire))
            self._tally.note(wire["type"], "in the middle, as it was", refused=False)

    @staticmethod
    def _ids() -> set[str]:
        return {key(name).id for name in _USERS}


def run(frames: int, seed: int) -> Tally:
    """Record a conversation, and send so many frames made of it, half of them after a restart."""
    tally, rng = Tally(), random.Random(seed)
    world = World()
    try:
        world.converse()
        for number in range(2):
            attack = Attack(world, rng, tally)
            if number == 0:
                say(f"recorded: {', '.join(sorted(attack.types()))}")
            share = frames // 2
            for part in range(4):
                attack.take_part(part, share)
                world.wait_list()
                world.go_on()
                say(f"  {sum(tally.sent.values()):,} frames sent")
            if number == 0:
                world.restart()
                say("a server and a client were killed and started again")
                world.go_on()
        world.notice(tally)
    finally:
        tally.wrong += world.end()
    return tally


def main() -> int:
    """Run, and return 0 if nothing was accepted and nothing shown twice."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.forge", description=__doc__, allow_abbrev=False)
    parser.add_argument("--frames", type=int, default=10_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="decides which, and what is changed (default: by the clock)")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else int(time.time())
    say(f"seed {seed}")
    tally = run(arguments.frames, seed)
    say(f"{'type':<20} {'sent':>7} {'refused':>8} {'passed over':>12} {'accepted':>9}")
    for name in sorted(tally.sent):
        over = tally.sent[name] - tally.refused[name] - tally.accepted[name]
        say(f"{name:<20} {tally.sent[name]:>7,} {tally.refused[name]:>8,} {over:>12,} {tally.accepted[name]:>9}")
    for way, count in sorted(tally.ways.items()):
        say(f"  {way}: {count:,}")
    total, accepted = sum(tally.sent.values()), sum(tally.accepted.values())
    for line in tally.wrong[:50]:
        say(f"WRONG: {line}")
    say(f"{total:,} frames forged or replayed: {accepted} accepted, {tally.shown_twice} shown twice")
    return 1 if accepted or tally.shown_twice or tally.wrong or total < arguments.frames * 0.9 else 0


if __name__ == "__main__":
    sys.exit(main())
