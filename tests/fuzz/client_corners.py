"""Corners of a client: short scripts of frames that reach what scenes drawn at random hardly ever do.

What is random in them is which one is played; each says one thing that a server or another user can do.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest import mock

import socp
from crypto.sealing import SEAL_MOST, chunk_label, message_label
from crypto.signing import BROADCAST, FILE_RESULT, MANIFEST, MESSAGE, RECEIPT, message_reference
from errors import ChatError
from receiving import Verdict
from settings import Limits, Settings
from tests.fuzz.grammar import NOW, Wire, seal_fixed
from tests.fuzz.world import CORNERS_AT_ONCE
from tests.vectors import key

if TYPE_CHECKING:
    from tests.fuzz.client_world import ClientWorld

_PARTS = (b"abcd", b"efgh", b"ij")
# Files that are not what was said: their chunks, what the size is off by, and whether their hash is right.
_SPOILED: tuple[tuple[tuple[bytes, ...], int, bool], ...] = (
    ((b"abcd", b"ef", b"ghij"), 0, True),
    ((b"ab", b"cde"), 0, True),
    ((b"abcd", b"", b"ef"), 0, True),
    ((b"abcd", b"efgh"), -1, True),
    ((b"abcd", b"efgh"), 1, True),
    ((b"abcd", b"efgh"), 0, False),
)
_CHUNKS = 3  # of the file that is sent
_ENOUGH = 5.0  # seconds, which nothing here waits for: everything is answered at once

Answers = Callable[[socp.Envelope], list[tuple[str, Wire]]]


class ClientCorners:
    """Files, messages and answers that come when they are not looked for.

    Args:
        world: where.
    """

    def __init__(self, world: ClientWorld) -> None:
        self._world = world
        self._rng = world.rng
        self._receiver: Any = world.chat._transfers._receiver
        self._sender: Any = world.chat._transfers._sender

    def play(self) -> None:
        """Play some."""
        for corner in self._rng.sample(self.all, CORNERS_AT_ONCE):
            self.play_one(corner)

    @property
    def all(self) -> tuple[Callable[[], None], ...]:
        """All there are."""
        return (
            *(self._spoiled, self._blocked, self._make_room, self._leave, self._left_alone, self._stirs),
            *(self._odd_offers, self._lost_chunks, self._asked_again, self._begun_anew, self._not_found),
            *(self._interrupted, self._receipts, self._meanwhile, self._shown_before, self._too_many_offers),
            *(self._asked, self._turned_away),
        )

    def play_one(self, corner: Callable[[], None]) -> None:
        """Play one, in a client that is well before it and behind it."""
        self._world.open_links()
        self._world.script = self._answer
        with contextlib.suppress(ChatError):
            corner()
        self._world.run_threads()
        self._world.script = None
        self._world.open_links()

    def _answer(self, envelope: socp.Envelope) -> None:
        """Answer questions as a server does."""
        if envelope.type == socp.USER_KEY_REQUEST:
            self._world.answer_key(envelope.payload["user_id"])

    # --- files that come ----------------------------------------------------------------------------------------

    def _manifest(self, parts: tuple[bytes, ...] = _PARTS, size: int = 0, *, right: bool = True) -> Wire:
        content = b"".join(parts)
        return {
            "file_id": f"{self._rng.randrange(1 << 32):08x}-0000-4000-8000-000000000000",
            "name": "a file",
            "size": len(content) + size,
            "sha256": hashlib.sha256(content if right else b"").hexdigest(),
            "mode": "dm",
            "chunks": len(parts),
        }

    def _offer(self, manifest: Wire, sender: str = "bob", ts: int = NOW, *, forged: bool = False) -> None:
        payload = {**manifest, "sender_pub": key(sender).public.text}
        values = {**payload, "from": key(sender).id, "to": self._world.chat.user_id, "ts": ts}
        signer = self._world.grammar.signer("mallory" if forged else sender)
        payload["content_sig"] = signer.sign(MANIFEST.object_of(values))
        self._world.say_user(socp.FILE_START, payload, ts=ts, sender=sender)

    def _offered(self, parts: tuple[bytes, ...] = _PARTS, sender: str = "bob") -> Wire:
        manifest = self._manifest(parts)
        self._offer(manifest, sender)
        self._world.run_teller()
        return manifest

    def _chunk(self, manifest: Wire, index: int, part: bytes) -> None:
        label = chunk_label(manifest["file_id"], key("bob").id, index, self._world.chat.user_id)
        payload = {"file_id": manifest["file_id"], "index": index, "ciphertext": seal_fixed("alice", part, label)}
        self._world.say_user(socp.FILE_CHUNK, payload)

    def _end(self, manifest: Wire) -> None:
        self._world.say_user(socp.FILE_END, {"file_id": manifest["file_id"]})

    def _spoiled(self) -> None:
        """Have a file come that is not what was said, or that ends early."""
        with self._roomy():
            for parts, size, right in _SPOILED:
                manifest = self._manifest(parts, size, right=right)
                self._offer(manifest)
                self._world.run_teller()
                for index, part in enumerate(parts):
                    self._chunk(manifest, index, part)
                self._end(manifest)
                self._world.run_threads()
            manifest = self._offered()
            self._chunk(manifest, 0, _PARTS[0])
            self._end(manifest)

    def _roomy(self) -> AbstractContextManager[Any]:
        """Have files be received as people's are, whatever the limits of this round are."""
        return mock.patch.object(self._receiver, "_limits", Limits())

    def _interrupted(self) -> None:
        """Have the link be lost in the midst of files, some of which wait, and a chunk never arrive."""
        with self._roomy():
            several = [self._offered() for _ in range(3)]
            for manifest in several:
                self._chunk(manifest, 0, _PARTS[0])
            self._world.lose()
            self._world.script = self._answer
            for manifest in several:
                self._offer(manifest)
                self._chunk(manifest, 2, _PARTS[2])
                self._end(manifest)
            self._world.run_threads()
            self._world.threads.dry = True
            self._offered()
            self._world.threads.dry = False

    def _blocked(self) -> None:
        """Have files of somebody come who is blocked when some of them have begun, and others wait."""
        self._offered(sender=self._rng.choice(("carol", "bob")))
        for _ in range(4):
            self._offered()
        self._world.block("bob")
        self._offered()

    def _make_room(self) -> None:
        """Have one who has many files waiting make room for another."""
        limits = replace(self._world.settings.limits, transfers=1, transfers_waiting=3, transfers_of_one=3)
        with mock.patch.object(self._receiver, "_limits", limits):
            for sender in ("bob", "bob", "bob", "carol", "grace"):
                self._offered(sender=sender)
            self._world.run_threads()

    def _leave(self) -> None:
        """Have its user leave while files are under way and wait."""
        self._offered(sender="carol")
        for _ in range(3):
            self._offered()
        self._world.chat._transfers.stop()

    def _left_alone(self) -> None:
        """Have nothing come of a file while there is no server."""
        self._offered()
        self._world.chat._connection._server = None
        self._world.run_threads()
        self._world.lose()

    def _stirs(self) -> None:
        """Have the rest of a file come while the server is asked whether its sender is there."""
        manifest = self._offered(_PARTS[:1])

        def answer(envelope: socp.Envelope) -> None:
            if envelope.type == socp.USER_KEY_REQUEST:
                self._chunk(manifest, 0, _PARTS[0])
                self._end(manifest)
            self._answer(envelope)

        self._world.script = answer
        self._world.run_threads()

    def _odd_offers(self) -> None:
        """Have offers of what cannot be opened, and of what is known already, too late; and chunks before others."""
        self._offer({**self._manifest(), self._rng.choice(("alg", "enc")): "new"})
        self._offer(self._manifest(), forged=True)
        manifest = self._offered()
        self._offer(manifest, ts=NOW - 6 * 60_000)
        self._offer({**manifest, "name": "another"})
        self._offer(manifest, forged=True)
        for index in (2, 1, 0, 0, 1, 2):
            self._chunk(manifest, index, _PARTS[index])
        self._end(manifest)
        self._offer(manifest)

    def _asked(self) -> None:
        """Have a person be asked about files, and take, turn down and cancel some, while others are withdrawn."""
        with self._roomy(), mock.patch.object(self._world, "verdict", Verdict.ASK):
            taken, denied, cancelled, withdrawn, again, *_ = several = [self._offered() for _ in range(7)]
            chat = self._world.chat
            for manifest in (taken, several[-1]):
                with mock.patch.object(self._receiver, "_trouble", return_value="no room" * (manifest is not taken)):
                    chat.accept_file(manifest["file_id"])
            chat.deny_file(denied["file_id"])
            chat.cancel_file(cancelled["file_id"])
            self._end(withdrawn)
            for manifest in (again, taken, denied):
                self._offer(manifest)
                self._world.run_teller()
            self._world.alarms.ring()
            for index, part in enumerate(_PARTS):
                self._chunk(taken, index, part)
            chat.cancel_file(taken["file_id"])
            self._world.run_threads()
            self._world.block("bob")

    def _turned_away(self) -> None:
        """Have files come of somebody whose files are not taken, and too many that a person is asked about."""
        with mock.patch.object(self._world, "verdict", Verdict.REJECT):
            self._offered()
        limits = replace(self._world.settings.limits, transfers=1, transfers_waiting=2, transfers_of_one=3)
        with (
            mock.patch.object(self._receiver, "_limits", limits),
            mock.patch.object(self._receiver, "_trouble", return_value=""),
        ):
            with mock.patch.object(self._world, "verdict", Verdict.ASK):
                for sender in ("bob", "bob", "bob", "carol"):
                    self._offered(sender=sender)
            self._offered(sender="grace")
        self._world.chat._transfers.stop()

    # --- files that are sent ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _patient(self, *, ask: float) -> Iterator[None]:
        """Have files be sent as people's are, with time to answer, whatever the limits of this round are."""
        timers = replace(self._world.settings.timers, stall=_ENOUGH, resume=_ENOUGH, offer=_ENOUGH, ask=ask)
        settings = Settings(timers, replace(Limits(), transfer_restarts=1))
        with (
            mock.patch.object(self._sender, "_owner", replace(self._sender._owner, settings=settings)),
            mock.patch.object(self._sender, "_timers", timers),
            mock.patch.object(self._sender, "_limits", settings.limits),
        ):
            yield

    def _send(self, answers: Answers, *, ask: float = 1000.0) -> None:
        """Send a file, and say of each of its frames what is answered to it."""
        self._world.file.write_bytes(b"x" * (SEAL_MOST * (_CHUNKS - 1) + 1))

        def answer(envelope: socp.Envelope) -> None:
            if envelope.type not in socp.FILE_FRAMES and envelope.type != socp.FILE_START:
                self._answer(envelope)
                return
            for frame_type, payload in answers(envelope):
                said = {**payload, "file_id": envelope.payload["file_id"]}
                if frame_type == socp.ERROR:
                    self._world.say_server(frame_type, said)
                else:
                    self._world.say_user(frame_type, self._signed(said))

        self._world.script = answer
        try:
            with self._patient(ask=ask):
                self._world.chat.send_file(key("bob").id, self._world.file)
                self._world.run_threads()
        finally:
            self._world.file.write_bytes(b"what alice sends")

    def _signed(self, payload: Wire) -> Wire:
        values = {**payload, "from": key("bob").id, "to": self._world.chat.user_id, "ts": NOW}
        return {**payload, "content_sig": self._world.grammar.signer("bob").sign(FILE_RESULT.object_of(values))}

    def _script(self, *steps: list[tuple[str, Wire]]) -> Answers:
        """Return answers that come one step after each frame, and "complete" after the last of them."""
        waiting = list(steps)
        return lambda _: waiting.pop(0) if waiting else [_report(0, "complete")] * 2

    def _lost_chunks(self) -> None:
        """Say again and again where we are, and what makes no sense."""
        self._send(
            self._script(
                [_report(0)],
                [_report(99), _report(0), _report(0)],
                [_report(0), _report(1), _report(0)],
                [_report(2)],
                [_report(_CHUNKS)],
            )
        )

    def _asked_again(self) -> None:
        """Say where we are when we are asked."""
        asked = 0

        def answers(envelope: socp.Envelope) -> list[tuple[str, Wire]]:
            nonlocal asked
            if envelope.type == socp.FILE_END:
                return [_report(_CHUNKS, "complete")]
            asked += envelope.type == socp.FILE_START
            if envelope.type == socp.FILE_START:
                return [_report({1: 0, 2: 1}.get(asked, _CHUNKS))]
            return [_report(1)] if envelope.payload["index"] == 0 else []

        self._send(answers, ask=0.0)

    def _begun_anew(self) -> None:
        """Begin anew whenever we are asked."""

        def answers(envelope: socp.Envelope) -> list[tuple[str, Wire]]:
            if envelope.type == socp.FILE_START:
                return [_report(0)]
            return [_report(1)] if envelope.payload.get("index") == 0 else []

        self._send(answers, ask=0.0)

    def _not_found(self) -> None:
        """Be there, and not, while a file is offered and sent; and have a third one speak of it."""
        busy, gone = ((socp.ERROR, {"code": code, "detail": ""}) for code in (socp.SERVER_BUSY, socp.USER_NOT_FOUND))
        self._send(self._script([busy], [gone], [gone, _report(0)], [_report(0)], [gone], [_report(1)]))
        self._send(self._script([gone]))

        def answers(envelope: socp.Envelope) -> list[tuple[str, Wire]]:
            said = self._signed({"file_id": envelope.payload["file_id"], "next_index": 0, "status": "complete"})
            self._world.say_user(socp.FILE_ACK, said, sender="carol")
            self._world.say_user(socp.FILE_ACK, {**said, "content_sig": "x"})
            return [_report(0, "?"), _report(0, "rejected")]

        self._send(answers)

    # --- messages -----------------------------------------------------------------------------------------------

    def _receipt(self, msg_ref: str, sender: str = "bob", signer: str = "bob") -> None:
        payload: Wire = {"msg_ref": msg_ref, "status": "delivered"}
        values = {**payload, "from": key(sender).id, "to": self._world.chat.user_id, "ts": NOW}
        payload["content_sig"] = self._world.grammar.signer(signer).sign(RECEIPT.object_of(values))
        self._world.say_user(socp.ACK, payload, sender=sender)
        self._world.run_teller()

    def _receipts(self) -> None:
        """Confirm a message, and what nobody has sent; in somebody else's name; and more than once."""
        chat = self._world.chat
        msg_ref = chat.tell(key("bob").id, "to bob")
        for _ in range(2):
            self._world.say_server(socp.ACK, {"msg_ref": msg_ref, "status": "stored"})
        refused = {"code": socp.SERVER_BUSY, "detail": ""}
        self._world.say_server(socp.ERROR, {**refused, "msg_ref": msg_ref})
        self._receipt("x")
        self._receipt(msg_ref, sender="carol")
        self._receipt(msg_ref, signer="carol")
        self._receipt(msg_ref)
        self._receipt(msg_ref)
        self._world.say_server(socp.ERROR, {**refused, "msg_ref": chat.tell_all("to all")})
        self._world.say_server(socp.ERROR, {**refused, "msg_ref": "x"})

    def _say(self, sender: str, *, public: bool = False) -> str:
        """Have a message or a broadcast come, and return its msg_ref."""
        me, text = self._world.chat.user_id, str(self._rng.random())
        ciphertext = seal_fixed("alice", text.encode(), message_label(key(sender).id, me))
        values: Wire = {"text": text, "ciphertext": ciphertext, "from": key(sender).id, "to": me, "ts": NOW}
        signature = self._world.grammar.signer(sender).sign((BROADCAST if public else MESSAGE).object_of(values))
        payload: Wire = {"sender_pub": key(sender).public.text, "content_sig": signature}
        if public:
            payload["text"] = text
            self._world.say_user(socp.MSG_PUBLIC_CHANNEL, payload, to=socp.PUBLIC, sender=sender)
        else:
            payload |= {"ciphertext": ciphertext, "sender": key(sender).id}
            self._world.say_server(socp.USER_DELIVER, payload)
        return message_reference(signature)

    def _meanwhile(self) -> None:
        """Have a sender be blocked while its name is asked for, and others be spoken of."""
        name = self._rng.choice(("grace", "mallory", "carol", "heidi", "frank", "erin"))

        def answer(envelope: socp.Envelope) -> None:
            other = self._world.grammar.known("dave", "server2")
            self._world.say_server(socp.USER_KEY, {**other, "server_id": key("server2").id, "online": True})
            error = {"code": socp.USER_NOT_FOUND, "detail": "", "user_id": key("dave").id}
            self._world.say_server(socp.ERROR, error)
            with contextlib.suppress(ChatError):
                self._world.profile.block(key(name).id, name)
            self._answer(envelope)

        self._world.script = answer
        self._say(name, public=self._rng.random() < 0.5)
        self._world.run_teller()

    def _shown_before(self) -> None:
        """Have a message come that was about to be shown when we died, another when we leave, and one of our own."""
        chat = self._world.chat
        with mock.patch.object(chat._inbox, "_blocked", lambda _: False):
            msg_ref = self._say("bob")
            chat._inbox._shown.begin(msg_ref)
            self._world.run_teller()
        self._say("bob")
        with mock.patch.object(chat, "_leaving", True):
            self._world.run_teller()
        self._say("alice", public=True)

    def _too_many_offers(self) -> None:
        """Have more offers come than one sender may have wait."""
        limits = replace(self._world.settings.limits, inbox_of_one=1, offers_of_one=1)
        with mock.patch.object(self._world.chat._shares, "_limits", limits):
            for _ in range(4):
                self._offer(self._manifest())
            self._world.run_teller()


def _report(index: int, status: str = "receiving") -> tuple[str, Wire]:
    return socp.FILE_ACK, {"next_index": index, "status": status}
