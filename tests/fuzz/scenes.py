"""Scenes: several frames that belong together, right or nearly so, and what happens to a program in between.

Single frames, however they are changed, do not come far into what takes several: mail that is handed out, confirmed
and stored, and files of several chunks. What happens next in a scene is drawn anew each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from typing import TYPE_CHECKING

import socp
from ciphers import Cipher
from crypto.encoding import encode_base64url
from crypto.sealing import chunk_label, message_label
from crypto.signing import BROADCAST, FILE_RESULT, MANIFEST, MESSAGE, message_reference
from errors import ChatError
from outflow import Sent
from tests.fuzz.grammar import NOW, SERVER, USER, Grammar, Wire, chunk_fixed, seal_fixed
from tests.vectors import key

if TYPE_CHECKING:
    from tests.fuzz.client_world import ClientWorld
    from tests.fuzz.worlds import IntroducerWorld, ServerWorld

_STEPS = 25


class MailScene:
    """Messages between alice, bob and users who are away, with answers, receipts, and links that come and go.

    Args:
        world: where.
    """

    def __init__(self, world: ServerWorld) -> None:
        self._world = world
        self._rng = world.rng
        self._sent: list[tuple[str, str, str]] = []  # sender, recipient and msg_ref

    def play(self) -> None:
        """Play it."""
        often = (self._tell, self._tell, self._confirm)
        steps = (
            *(*often, *often, self._hand_over, self._repeat, self._answer, self._broadcast, self._file),
            *(self._link_of_bob, self._place, self._turn, self._beat, self._sync, self._announce),
        )
        self._world.open_links()
        for _ in range(_STEPS):
            self._rng.choice(steps)()
        self._world.open_links()
        self._turn()

    def _turn(self) -> None:
        self._world.turn()

    def _wire(self, frame_type: str, sender: str, to: str, payload: Wire, ts: int = NOW) -> Wire:
        return {"type": frame_type, "from": key(sender).id, "to": to, "ts": ts, "payload": payload, "sig": ""}

    def _message(self, sender: str, to: str) -> tuple[Wire, int]:
        """Return a message; servers cannot tell whether it is sealed, nor whether its signature is right."""
        day = 24 * 60 * 60 * 1000
        ts = NOW - self._rng.choice((0, 0, 0, self._rng.randrange(1000), 2 * day, -10 * 60_000))
        text = "A" * self._rng.choice((4, 40, 1_500, 1_500, 43_692))
        signature = encode_base64url(self._rng.randbytes(12)) if self._rng.random() < 0.98 else "A" * 1025
        self._sent.append((sender, to, message_reference(signature)))
        return {"ciphertext": text, "sender_pub": key(sender).public.text, "content_sig": signature}, ts

    def _tell(self) -> None:
        to = self._rng.choice(("bob", "bob", "bob", "erin", "dave", "carol", "heidi"))
        payload, ts = self._message("alice", to)
        self._last = self._wire(socp.MSG_DIRECT, "alice", key(to).id, payload, ts)
        if self._rng.random() < 0.03:
            self._last["to"] = socp.EVERYONE
        self._world.say_user("alice", self._last)

    def _hand_over(self) -> None:
        sender, to = self._rng.choice((("carol", "bob"), ("grace", "erin"), ("carol", "alice"), ("grace", "heidi")))
        name = self._rng.choice(("server2", "server3"))
        payload, ts = self._message(sender, to)
        values = {"ciphertext": payload["ciphertext"], "from": key(sender).id, "to": key(to).id, "ts": ts}
        if self._rng.random() < 0.9:
            payload["content_sig"] = self._world.grammar.signer(sender).sign(MESSAGE.object_of(values))
            self._sent[-1] = (sender, to, message_reference(payload["content_sig"]))
        payload |= {"user_id": key(to).id, "sender": key(sender).id}
        payload |= self._rng.choice(({}, {"store": True}, {"forwarded": True}))
        if self._rng.random() < 0.1:
            payload["sender_pub"] = key("mallory").public.text
        wire = self._wire(socp.SERVER_DELIVER, name, key("server").id, payload, ts)
        self._world.say_server(name, self._world.grammar.sign_again(wire, name))

    def _repeat(self) -> None:
        last = getattr(self, "_last", None)
        if last is not None:
            self._world.say_user("alice", last)

    def _confirm(self) -> None:
        """Have bob confirm a message, or say something of it that means nothing."""
        for_bob = [(sender, reference) for sender, to, reference in self._sent if to == "bob"]
        if not for_bob:
            return
        sender, reference = self._rng.choice(for_bob)
        status = self._rng.choice(("delivered", "delivered", "failed", "read"))
        receipt = {"msg_ref": reference, "status": status, "content_sig": "x"}
        self._world.say_user("bob", self._wire(socp.ACK, "bob", key(sender).id, receipt))

    def _answer(self) -> None:
        """Have a server say something of a message."""
        sender, _, reference = self._rng.choice(self._sent or [("alice", "bob", "x")])
        what = self._rng.randrange(4)
        payload: Wire = {"msg_ref": reference, "user_id": key(sender).id}
        payload |= {"status": self._rng.choice(("stored", "read"))} if what < 2 else {"code": "NEW", "detail": "\x1b"}
        if what == 3:
            payload = {"code": "NEW"}
        wire = self._wire(socp.ACK if what < 2 else socp.ERROR, "server2", key("server").id, payload)
        self._world.say_server("server2", self._world.grammar.sign_again(wire, "server2"))

    def _broadcast(self) -> None:
        wire = self._world.grammar.make(socp.MSG_PUBLIC_CHANNEL, USER)
        what = self._rng.randrange(5)
        if what == 0:
            wire["ts"] -= 6 * 60_000
        elif what == 1:
            wire["payload"]["extra"] = "x" * socp.BROADCAST_FRAME_MOST
        elif what == 2:
            wire["payload"]["text"] = "x" * (socp.BROADCAST_MOST + 1)
        elif what == 3:
            wire["to"] = key("bob").id
        self._world.say_user("alice", wire)
        if what == 4:
            self._world.say_server("server2", self._world.grammar.make(socp.MSG_PUBLIC_CHANNEL, SERVER))

    def _file(self) -> None:
        payload: Wire = {"file_id": "00000000-0000-4000-8000-000000000000", "name": "n", "size": 1, "sha256": "0" * 64}
        payload |= {"mode": self._rng.choice(("dm", "public")), "chunks": 1, "sender_pub": key("alice").public.text}
        to = self._rng.choice((key("bob").id, key("carol").id, key("dave").id, socp.EVERYONE))
        self._world.say_user("alice", self._wire(socp.FILE_START, "alice", to, {**payload, "content_sig": "x"}))
        payload["sender_pub"] = key("carol").public.text
        wire = self._wire(socp.FILE_START, "carol", to, {**payload, "content_sig": "x"})
        self._world.say_server(self._rng.choice(("server2", "server3")), wire)

    def _link_of_bob(self) -> None:
        what = self._rng.randrange(6)
        if what == 0:
            self._world.leave("bob")
        elif what == 1:
            self._world.attach("bob")
        else:
            self._world.users["bob"][1].taking = self._rng.choice((Sent.YES, Sent.YES, Sent.FULL, Sent.CLOSED))

    def _place(self) -> None:
        """Have a user attach somewhere, or leave."""
        name = self._rng.choice(("carol", "erin", "grace", "frank", "heidi"))
        server = self._rng.choice(("server2", "server2", "server3", "server", "server4"))
        said = self._world.grammar.known(name, server)
        if self._rng.random() < 0.3:
            payload: Wire = {"user_id": key(name).id, "attach_ts": said["attach"]["ts"]}
            frame_type = socp.USER_REMOVE
        else:
            payload, frame_type = said, socp.USER_ADVERTISE
        wire = self._wire(frame_type, server, socp.EVERYONE, {**payload, "server_id": key(server).id})
        self._world.say_server("server2", self._world.grammar.sign_again(wire, server))

    def _beat(self) -> None:
        """Have a server say who is there, rightly or not, twice."""
        present = self._rng.choice((self._world.node.table.present(key("server2").id), "x"))
        for _ in range(2):
            wire = self._wire(socp.HEARTBEAT, "server2", key("server").id, {"present": present})
            self._world.say_server("server2", self._world.grammar.sign_again(wire, "server2"))

    def _sync(self) -> None:
        """Have a server list its users, in parts that come in order or not, and ask for ours."""
        asked = self._wire(socp.USER_SYNC_REQUEST, "server2", key("server").id, {})
        for _ in range(self._rng.choice((0, 0, 12))):
            self._world.say_server("server2", self._world.grammar.sign_again(asked, "server2"))
        names = ("carol", "dave", "grace", "heidi")
        parts = self._rng.choice((1, 2, 2))
        for part in self._rng.choice(((1, 2), (1, 1, 2), (2,), (1,))):
            chosen = self._rng.sample(names, self._rng.randrange(3))
            users = [{**self._world.grammar.known(name, "server2"), "online": bool(part % 2)} for name in chosen]
            if self._rng.random() < 0.2:
                users.append({**self._world.grammar.known("bob", "server3"), "online": True})
            payload = {"server_id": key("server2").id, "users": users, "part": part, "parts": parts}
            if self._rng.random() < 0.1:
                payload["server_id"] = key("server3").id
            wire = self._wire(socp.USER_SYNC, "server2", key("server").id, payload)
            self._world.say_server("server2", self._world.grammar.sign_again(wire, "server2"))
            if self._rng.random() < 0.3:
                self._place()

    def _announce(self) -> None:
        self._world.say_server("server2", announce(self._world.grammar, self._rng))


def announce(grammar: Grammar, rng: random.Random) -> Wire:
    """Return a SERVER_ANNOUNCE that is right, or has one thing wrong with it."""
    name = rng.choice(("server2", "server3", "server4", "server"))
    statement = grammar.membership(name, issued=NOW - rng.randrange(1, 5000))
    payload = {name: statement[name] for name in ("host", "port", "pubkey")} | {"membership": statement}
    what = rng.randrange(8)
    if what == 0:
        payload["port"] = 1
    elif what == 1:
        payload["pubkey"] = key("mallory").public.text
    elif what == 2:
        payload["membership"] = grammar.membership("server3")
    ts = NOW - (6 * 60_000 if what == 3 else rng.randrange(1000))
    sender = key(name if what != 4 else "mallory").id
    wire: Wire = {"type": socp.SERVER_ANNOUNCE, "from": sender, "to": socp.EVERYONE, "ts": ts, "payload": payload}
    return grammar.sign_again({**wire, "sig": "", "visited": [sender]}, name)


class JoinScene:
    """Servers that join an introducer, join again, and are announced.

    Args:
        world: where.
    """

    def __init__(self, world: IntroducerWorld) -> None:
        self._world = world

    def play(self) -> None:
        """Play it."""
        rng = self._world.rng
        for _ in range(6):
            name = rng.choice(("server2", "server3", "server4"))
            if rng.random() < 0.5:
                self._world.join(name, announce(self._world.grammar, rng))
            else:
                wire = announce(self._world.grammar, rng)
                for _ in range(rng.choice((1, 2))):
                    self._world.say("server2", wire)


class ClientScene:
    """Files that go to and come from alice's client, and messages for it, as they should be and otherwise.

    Args:
        world: where.
    """

    def __init__(self, world: ClientWorld) -> None:
        self._world = world
        self._rng = world.rng

    def play(self) -> None:
        """Play it."""
        self._world.open_links()
        self._rng.choice((self._receive, self._receive, self._send, self._messages))()
        self._world.open_links()

    # --- to the client ------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        rng, file_id = self._rng, f"{self._rng.randrange(1 << 32):08x}-0000-4000-8000-{self._rng.randrange(9):012x}"
        parts = [rng.randbytes(6) for _ in range(rng.choice((0, 1, 2, 3)))]
        if parts and rng.random() < 0.2:
            parts[rng.randrange(len(parts))] = rng.randbytes(rng.choice((0, 3, 9)))
        content = b"".join(parts)
        manifest: Wire = {
            "file_id": file_id,
            "name": rng.choice(("a file", "x" * 256, "nul\0", "../..")) if rng.random() < 0.2 else "a file",
            "size": len(content) + (rng.choice((-1, 1, 10**12)) if rng.random() < 0.15 and content else 0),
            "sha256": hashlib.sha256(content if rng.random() < 0.9 else b"").hexdigest(),
            "mode": "dm" if rng.random() < 0.95 else "public",
            "chunks": len(parts) + (rng.random() < 0.1),
        }
        hybrid = rng.random() < 0.3
        if hybrid:
            manifest |= Cipher.HYBRID.manifest_fields
        if rng.random() < 0.05:
            manifest["alg"] = "new"
        if rng.random() < 0.15:  # too many at once
            for number in range(rng.choice((2, 20, 80))):
                self._offer({**manifest, "file_id": f"{number:08x}-0000-4000-8000-00000000000f"})
        self._offer(manifest)
        for index, part in enumerate(parts):
            if rng.random() < 0.1:
                continue
            for _ in range(rng.choice((1, 1, 1, 2))):
                self._chunk(file_id, index, part, hybrid=hybrid is (rng.random() < 0.97))
            self._in_between(manifest)
        if rng.random() < 0.1:
            self._world.chat._transfers.stop()
        if rng.random() < 0.9:
            self._world.say_user(socp.FILE_END, {"file_id": file_id})
        self._in_between(manifest)
        self._world.run_threads()
        if rng.random() < 0.5:
            self._offer({**manifest, "name": "another"} if rng.random() < 0.3 else manifest)
            self._world.run_threads()

    def _offer(self, manifest: Wire) -> None:
        payload = {**manifest, "sender_pub": key("bob").public.text}
        ts = NOW if self._rng.random() < 0.95 else NOW - 6 * 60_000
        values = {**payload, "from": key("bob").id, "to": self._world.chat.user_id, "ts": ts}
        payload["content_sig"] = self._world.grammar.signer("bob").sign(MANIFEST.object_of(values))
        if self._rng.random() < 0.05:
            payload["content_sig"] = "junk"
        self._world.say_user(socp.FILE_START, payload, ts=ts)
        self._world.run_teller()  # as it is done before the answer goes out that chunks wait for

    def _chunk(self, file_id: str, index: int, part: bytes, *, hybrid: bool) -> None:
        label = chunk_label(file_id, key("bob").id, index, self._world.chat.user_id)
        sealed = chunk_fixed("alice", part, label) if hybrid else {"ciphertext": seal_fixed("alice", part, label)}
        if self._rng.random() < 0.05:
            name = self._rng.choice(list(sealed))
            sealed[name] = self._rng.choice((sealed[name][:-4], "", sealed[name] * 2))
        self._world.say_user(socp.FILE_CHUNK, {"file_id": file_id, "index": index, **sealed})

    def _in_between(self, manifest: Wire) -> None:
        what = self._rng.randrange(20)
        if what in (0, 8, 9):
            self._world.run_threads()
        elif what == 1:
            self._world.lose()
        elif what == 2:
            self._offer(manifest)
        elif what == 3:
            self._world.disturb()
        elif what == 4:
            self._world.online = not self._world.online
        elif what == 5:
            self._world.threads.dry = not self._world.threads.dry
        elif what == 6:
            self._world.say_user(
                socp.FILE_CHUNK, {"file_id": manifest["file_id"], "index": 0, "ciphertext": "A" * 4000}
            )
        self._world.threads.dry = self._world.threads.dry and what != 7

    def _messages(self) -> None:
        """Have messages and broadcasts come, while they can be written down and while they cannot."""
        for _ in range(8):
            if self._rng.random() < 0.1:
                self._world.block("bob")
            if self._rng.random() < 0.3:
                self._world.fill_disk(full=self._rng.random() < 0.5)
            (self._public if self._rng.random() < 0.3 else self._message)()
            self._world.run_teller()
            if self._rng.random() < 0.3:
                self._world.alarms.ring()
                self._world.run_teller()

    def _message(self) -> None:
        rng, me = self._rng, self._world.chat.user_id
        plain = rng.choice((b"text", b"\xff")) + str(rng.random()).encode()
        ciphertext = seal_fixed("alice", plain, message_label(key("bob").id, me))
        ts = NOW - rng.choice((0, 0, 0, 9 * 24 * 60 * 60 * 1000))
        values = {"ciphertext": ciphertext, "from": key("bob").id, "to": me, "ts": ts}
        payload: Wire = {"ciphertext": ciphertext, "sender": key("bob").id, "sender_pub": key("bob").public.text}
        payload["content_sig"] = self._world.grammar.signer("bob").sign(MESSAGE.object_of(values))
        payload |= rng.choice(({}, {}, {}, {"content_sig": "x"}, {"sender_pub": "x"}))
        for _ in range(rng.choice((1, 1, 2))):
            self._world.say_server(socp.USER_DELIVER, payload, ts=ts)

    def _public(self) -> None:
        ts = NOW - self._rng.choice((0, 0, 6 * 60_000))
        values = {"text": str(self._rng.random()), "from": key("bob").id, "ts": ts}
        payload: Wire = {"text": values["text"], "sender_pub": key("bob").public.text}
        payload["content_sig"] = self._world.grammar.signer("bob").sign(BROADCAST.object_of(values))
        for _ in range(2):
            self._world.say_user(socp.MSG_PUBLIC_CHANNEL, payload, ts=ts, to=self._rng.choice((socp.PUBLIC, "*")))

    # --- from the client ----------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Have it send a file, and hear of that whatever bob and the servers say."""
        with contextlib.suppress(ChatError):
            file_id = self._world.chat.send_file(key("bob").id, self._world.file)
            self._world.answers = [self._answer(file_id) for _ in range(self._rng.randrange(12))]
            self._world.run_threads()
        self._world.answers = []

    def _answer(self, file_id: str) -> tuple[str, Wire]:
        rng = self._rng
        what = rng.randrange(10)
        if what == 0:
            code = rng.choice((socp.SERVER_BUSY, socp.SERVER_BUSY, socp.USER_NOT_FOUND, socp.USER_NOT_FOUND, "NEW"))
            return socp.ERROR, {"code": code, "detail": rng.choice(("", "why")), "file_id": file_id}
        payload: Wire = {"file_id": file_id, "next_index": rng.choice((0, 0, 1, 1, 2, 99)), "status": "receiving"}
        if what == 1:
            payload["status"] = rng.choice(("complete", "failed", "rejected", "?"))
            payload |= rng.choice(({}, {"detail": "why"}))
            values = {**payload, "from": key("bob").id, "to": self._world.chat.user_id, "ts": NOW}
            signature = self._world.grammar.signer("bob").sign(FILE_RESULT.object_of(values))
            payload["content_sig"] = signature if rng.random() < 0.8 else "junk"
        return socp.FILE_ACK, payload
