"""The client in process: everything that a server can say to it goes through the modules that a client has."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import socp
from addresses import Address
from chat import Chat
from connection import Connection
from crypto.signing import FILE_RESULT, RECEIPT
from errors import AttachRefused, ChatError, NotShown
from events import Event
from outflow import Sent
from profiles import Profile, ProfileError, open_profile
from receiving import Verdict
from settings import Settings
from socp import LinkError
from tests.fuzz.client_corners import ClientCorners
from tests.fuzz.grammar import CLIENT, GREETING, NOW, Grammar, Role, Wire
from tests.fuzz.inputs import Input
from tests.fuzz.scenes import ClientScene
from tests.fuzz.stage import Disk, Pipe, StageLink, read
from tests.fuzz.world import CORNERS_SHARE, World, greeting
from tests.vectors import key
from threads import Deadline

_SENT_MOST = 20


class ClientWorld(World):
    """Alice's client, attached to a server, with messages and files of its own on their way to bob and carol.

    Args:
        grammar, rng, settings: see World.
        directory: where its profile and its files are put.
    """

    def __init__(self, grammar: Grammar, rng: random.Random, directory: Path, settings: Settings) -> None:
        super().__init__(grammar, rng)
        self.settings = settings
        self.profile = open_profile("alice", directory / f"{rng.random()}")
        self.file = directory / "a file"
        self.file.write_bytes(b"what alice sends")
        self.verdict = Verdict.ACCEPT  # about files that are offered
        downloads = directory / "files"
        if rng.random() < 0.3:
            downloads.write_text("not a directory", "ascii")  # so that no file can be kept
        with mock.patch.object(Profile, "key_pair", lambda *_: key("alice")):
            self.chat = Chat(
                self.profile, self._show, downloads=downloads, settings=settings, accept_files=lambda *_: self.verdict
            )
        self.threads, self.alarms = self.chat._threads, self.chat._alarms  # type: ignore[assignment]
        # What it says and shows when may hang on how fast this machine is, and what comes to it must not.
        self._reacting = random.Random(rng.random())
        self.online = True  # whether its server says that others are
        self.answers: list[tuple[str, Wire]] = []  # to the frames of a file that it sends, if there are any
        self.script: Callable[[socp.Envelope], None] | None = None  # what answers in place of all that is below
        self._told: list[str] = []  # the msg_refs of what was sent
        self._offered: list[str] = []  # the file_ids
        self._link = self._attach()

    def roles(self) -> tuple[Role, ...]:
        """Return who it hears."""
        return CLIENT, CLIENT, CLIENT, GREETING

    @property
    def _connection(self) -> Connection:
        return self.chat._connection

    def _attach(self) -> StageLink:
        link = self.link("server")
        link.heard = self._hear
        self._connection._link = link
        self._connection._server = key("server").public
        self.chat._note_up(Address("127.0.0.1", 1), self.rng.random() < 0.5)
        return link

    def _show(self, event: Event) -> None:
        """Handle an event as people's terminals and bots do: well, or not."""
        chance = self._reacting.random()
        if chance < 0.02:
            raise NotShown("the terminal is gone")
        if chance < 0.04:
            raise ChatError("what a bot answered was refused")

    # --- what its server and its friends answer ------------------------------------------------------------------

    def _hear(self, frame: bytes) -> None:
        """Answer what the client sends, as its server and its peers do, in some other way, or not at all."""
        envelope = read(frame)
        if self.script is not None:
            self.script(envelope)
            return
        if self._reacting.random() < 0.15:
            return
        if envelope.type == socp.USER_KEY_REQUEST:
            self.answer_key(envelope.payload["user_id"])
        elif envelope.type == socp.USER_LIST_REQUEST:
            self.say_server(socp.USER_LIST, {"users": [{"user_id": key("bob").id, "display_name": "bob"}], "total": 1})
        elif envelope.type in (socp.FILE_START, socp.FILE_CHUNK, socp.FILE_END):
            self._answer_file(envelope)

    def answer_key(self, user_id: str) -> None:
        """Say who a user is, or that nobody knows."""
        name = next((name for name in ("bob", "carol", "grace", "mallory") if key(name).id == user_id), "")
        if not name or self._reacting.random() < 0.1:
            self.say_server(socp.ERROR, {"code": socp.USER_NOT_FOUND, "detail": "", "user_id": user_id})
            return
        known = self.grammar.known(name, "server2", NOW - self._reacting.choice((1, 1000, 60_000)))
        if self._reacting.random() < 0.1:
            known["meta"] = {"display_name": "somebody else"}
        online = self.online and self._reacting.random() < 0.9
        self.say_server(socp.USER_KEY, {**known, "server_id": key("server2").id, "online": online})

    def _answer_file(self, envelope: socp.Envelope) -> None:
        if self.answers:
            frame_type, said = self.answers.pop(0)
            (self.say_server if frame_type == socp.ERROR else self.say_user)(frame_type, said)
            return
        index = envelope.payload.get("index", -1) + 1
        status = "complete" if envelope.type == socp.FILE_END else "receiving"
        chance = self._reacting.random()
        if chance < 0.1:
            error = {
                "code": self._reacting.choice((socp.SERVER_BUSY, socp.USER_NOT_FOUND, socp.NOT_ALLOWED)),
                "detail": "",
            }
            self.say_server(socp.ERROR, {**error, "file_id": envelope.payload["file_id"]})
            return
        if chance < 0.2:
            status = self._reacting.choice(("failed", "rejected"))
        payload: Wire = {"file_id": envelope.payload["file_id"], "next_index": index, "status": status}
        values = {**payload, "from": key("bob").id, "to": self.chat.user_id, "ts": NOW}
        payload["content_sig"] = self.grammar.signer("bob").sign(FILE_RESULT.object_of(values))
        self.say_user(socp.FILE_ACK, payload)

    def say_server(self, frame_type: str, payload: Wire, ts: int = NOW) -> None:
        """Have its server say something."""
        wire: Wire = {"type": frame_type, "from": key("server").id, "to": self.chat.user_id, "ts": ts}
        self._take(self.grammar.sign_again({**wire, "payload": payload, "sig": ""}, "server"))

    def say_user(self, frame_type: str, payload: Wire, ts: int = NOW, to: str = "", sender: str = "bob") -> None:
        """Have its server pass on what a user says."""
        wire: Wire = {"type": frame_type, "from": key(sender).id, "to": to or self.chat.user_id, "ts": ts}
        self._take({**wire, "payload": payload, "sig": ""})

    def _take(self, wire: Wire) -> None:
        from framing import encode_frame  # noqa: PLC0415

        self.chat._take(encode_frame(wire))

    # --- inputs -------------------------------------------------------------------------------------------------

    def give(self, made: Input) -> None:
        """Have it take an input."""
        if made.role is GREETING:
            self._greet(made)
            return
        assert isinstance(self._link.transport, Pipe)
        self._link.transport.feed(*made.chunks)
        told = False
        try:
            for frame in self._link.frames():
                told = self.chat._take(frame) is not None or told
        except LinkError:
            told = True
        if told or self._link._buffer.begun:
            self.lose()
        self.run_teller()

    def lose(self) -> None:
        """Have it lose its link, and get another."""
        self._link.abort()
        self._connection._server = None
        self.chat._note_down("the fuzzer", False)
        self.run_teller()
        self._link = self._attach()

    def _greet(self, made: Input) -> None:
        """Have it connect to somebody who says this."""
        pipe = Pipe()
        pipe.feed(*greeting(self.grammar, made))
        with (
            mock.patch("connection.connect_transport", lambda *_, **__: pipe),
            contextlib.suppress(ChatError, AttachRefused, ProfileError),
        ):
            link = self._connection._attach(Address("127.0.0.1", 1))
            link.abort()
            link.end()
        self._connection._link = self._link
        self._connection._server = key("server").public
        self.run_teller()

    def run_teller(self) -> None:
        """Do the teller's jobs, as its thread does."""
        teller = self.chat._teller
        while teller._jobs:
            job = teller._next()
            assert job is not None
            with contextlib.suppress(ChatError):
                job()

    def turn(self) -> None:
        """Let all run that waits for its turn; files not each time, so that several of their frames come first."""
        self.run_teller()
        if self.rng.random() < 0.2:
            self.run_threads()
        database = self.chat._database
        assert isinstance(database, Disk)
        database.turn()
        self.run_teller()

    def run_threads(self) -> None:
        """Let its files go on."""
        self.run_teller()
        self.threads.turn()
        self.run_teller()

    def scene(self) -> None:
        """Have several frames come that belong together."""
        (ClientCorners(self) if self.rng.random() < CORNERS_SHARE else ClientScene(self)).play()

    def open_links(self) -> None:
        """Have everything be taken again, and written."""
        self.fill_disk(full=False)
        self.threads.dry = False
        for user_id in list(self.chat.blocking.names):
            self.profile.unblock(user_id)
        self._link.taking = Sent.YES
        self.online = True

    def block(self, name: str) -> None:
        """Have its user block somebody; `open_links` ends that."""
        with contextlib.suppress(ChatError):
            self.chat.blocking.block(key(name).id)

    def fill_disk(self, *, full: bool) -> None:
        """Have nothing be written any more, or everything."""
        database = self.chat._database
        assert isinstance(database, Disk)
        database.full = full

    def disturb(self) -> None:
        """Have it send something, hear of what it sent, lose its link, or find its disk full."""
        what = self.rng.randrange(8)
        if what == 0:
            self.fill_disk(full=self.rng.random() < 0.5)
        elif what == 1:
            self._link.taking = self.rng.choice((Sent.YES, Sent.YES, Sent.FULL, Sent.CLOSED))
        elif what == 2:
            self.alarms.ring()
        elif what == 3:
            self.lose()
        elif what in (4, 5):
            self._send()
        else:
            self._answer_message()

    def _send(self) -> None:
        with contextlib.suppress(ChatError):
            if self.rng.random() < 0.4 and not self.chat.unsent_files:
                self._offered.append(self.chat.send_file(key("bob").id, self.file))
            elif self.rng.random() < 0.3:
                self._told.append(self.chat.tell_all("to all"))
            elif len(self._told) < _SENT_MOST:
                self._told.append(self.chat.tell(key("bob").id, "to bob"))

    def _answer_message(self) -> None:
        """Have a message or a file of ours answered."""
        reference = self.rng.choice(self._told or ["x"])
        what = self.rng.randrange(5)
        if what == 0:
            self.say_server(socp.ACK, {"msg_ref": reference, "status": "stored"})
        elif what == 1:
            self.say_server(socp.ERROR, {"code": socp.SERVER_BUSY, "detail": "", "msg_ref": reference})
        elif what == 2 and self._offered:
            payload: Wire = {
                "file_id": self._offered[-1],
                "next_index": self.rng.choice((0, 1, 9)),
                "status": "receiving",
            }
            self.say_user(socp.FILE_ACK, payload)
        else:
            status = self.rng.choice(("delivered", "failed"))
            payload = {"msg_ref": reference, "status": status}
            signer = self.rng.choice(("bob", "bob", "carol"))
            values = {**payload, "from": key("bob").id, "to": self.chat.user_id, "ts": NOW}
            payload["content_sig"] = self.grammar.signer(signer).sign(RECEIPT.object_of(values))
            self.say_user(socp.ACK, payload)
        if what != 0:
            self._told = [told for told in self._told if told != reference]

    def check(self) -> None:
        """Fail if it has kept more than it may."""
        limits = self.settings.limits
        receiver: Any = self.chat._transfers._receiver
        kept = {
            "files": (len(receiver._incoming), limits.transfers + limits.transfers_waiting),
            "messages that wait to be shown": (len(self.chat._inbox._unwritten), limits.unwritten),
            "jobs": (len(self.chat._teller._jobs), 0),
            "questions": (len(self.chat._questions._waiting), 0),
        }
        for what, (count, most) in kept.items():
            assert count <= most, f"{count} {what} are kept, of at most {most}"

    def close(self) -> None:
        """End it."""
        self._link.taking = Sent.CLOSED
        self.chat._transfers.stop()
        self.threads.turn()
        self.chat._database.close(Deadline(1))
        self.profile.close()
