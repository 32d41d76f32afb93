"""A client without a terminal: attach, ask, send and receive; events come out. A bot is built on this alone.

Four kinds of threads run here. The connection's takes the server's frames, answers questions that wait for them, and
connects again. The outbox's sends messages. The teller's does what takes time or asks questions itself (opening
messages, calling `on_event`), one thing after the other, so that `on_event` may call every method of Chat. Each file
has a thread of its own (see transfers.py).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import memory
import outbox
import socp
from addresses import Address
from blocking import Blocking
from connection import Connection, LinkStatus, Watcher
from contacts import Contact, Contacts, Listed
from crypto.encoding import encode_base64url
from crypto.keys import KeyPair
from crypto.sealing import SEAL_MOST, message_label, seal
from crypto.signing import BROADCAST, MESSAGE, KeySigner, Purpose, message_reference, sign_content
from database import Database, DatabaseError
from errors import ChatError, NotShown, TextRefused
from events import Connected, Disconnected, Event, Notice, PresenceChanged
from filecalls import FileCalls
from framing import decode_frame
from inbox import Inbox
from lookups import Lookups
from memory import Concluded, Shown
from origin import check_link_frame
from outbox import Outbox
from profiles import Profile, ProfileError
from questions import Questions
from receiving import Judge, Taking, accept_all
from sending import Owner
from settings import Settings
from shares import Shares
from socp import Envelope, ProtocolError
from teller import Teller
from threads import Alarm, Alarms, Deadline, Threads
from transfers import Transfers

log = logging.getLogger("socp.chat")

_SCHEMA = outbox.SCHEMA + memory.SCHEMA


class Chat(FileCalls):
    """One user's connection to the network.

    Args:
        profile: whose key, pins and names are used, and where messages are kept that are not confirmed yet.
        on_event: called with each event, one after the other, in a thread of Chat's.
        password: of the profile's key; or a function that asks for it and is told whether it is a new one.
        caps: what the server may send besides; see PROTOCOL.md section 5.1.
        downloads: where received files are put.
        accept_files: asked, with a sender's id and the name and size of a file, whether it is taken; it must wait for
            nothing. All that keep to section 10 are, if it is not given.
        max_file: bytes of a file that is taken.
        hybrid: whether files go by AES-256-GCM with a key that RSA seals (section 10.1), where the other end can do so
            too; else by RSA alone.
        settings: timers and limits.

    Raises:
        KeyFileError: the profile's key cannot be used.
        ProfileError: its database cannot be used.
    """

    def __init__(
        self,
        profile: Profile,
        on_event: Callable[[Event], None],
        *,
        password: str | Callable[[bool], str] = "",
        caps: Sequence[str] = (),
        downloads: Path = Path("received_files"),
        accept_files: Judge = accept_all,
        max_file: int | None = None,
        hybrid: bool = True,
        settings: Settings | None = None,
    ) -> None:
        self._settings = settings if settings is not None else Settings()
        self._timers = self._settings.timers
        self._on_event = on_event
        self._pair: KeyPair = profile.key_pair(password)
        self._signer = KeySigner(self._pair)
        self.user_id = self._pair.id
        self.public_key = self._pair.public
        self.profile_name = profile.name
        self._threads = Threads()
        self._alarms = Alarms()
        self._leaving = False
        self._settled = threading.Condition()  # guards _last_ts; told when less is outstanding
        self._last_ts = 0
        watcher = Watcher(self._take, self._note_up, self._note_down, lambda text: self._emit(Notice(text)))
        self._connection = Connection(
            self._signer,
            [*caps, socp.CAP_HYBRID] if hybrid else caps,
            profile,
            settings=self._settings,
            alarms=self._alarms,
            threads=self._threads,
            watcher=watcher,
        )
        self._questions = Questions(self._note_question, self._timers.busy)
        self._teller = Teller(self._threads, self._settings.limits.inbox, self._questions.pending)
        self._shares = Shares(self._teller, self._settings.limits, self._questions.pending)
        self._lookups = Lookups(self._ask, self._settings)
        self.contacts = Contacts(profile, self._lookups.contact, self.users, lambda text: self._emit(Notice(text)))
        self.blocking = Blocking(profile, self.contacts, self.user_id, self._end_files_from)
        self._open_database(profile.path / "messages.sqlite3")
        owner = Owner(
            self._pair,
            self._settings,
            self._threads,
            send=self._connection.send,
            emit=self._emit,
            settled=self._note_settled,
            connected=self._connection.wait_attached,
            online=lambda user_id: self._lookups.contact(user_id).user.online,
            finished=self._concluded,
            blocked=self.blocking.__contains__,
            after=self._do_after,
            hybrid=hybrid,
        )
        self._transfers = Transfers(owner, Taking(downloads, accept_files, max_file))
        self._alarms.start()
        self._threads.start("outbox", self._outbox.run)

    def _open_database(self, path: Path) -> None:
        try:
            self._database = Database(path, (_SCHEMA,), self._timers.disk_retry)
            self._outbox = Outbox(
                self._database,
                self._pair.public.text,
                self._settings,
                contact=self.contacts.get,
                send=self._connection.send,
                emit=self._emit_then,
                settled=self._note_settled,
                later=self._later,
            )
            limits = self._settings.limits
            self._shown = Shown(self._database, "shown", limits.shown_age, limits.shown)
            self._shown_public = Shown(self._database, "shown_public", 2 * limits.clock_skew, limits.shown_public)
            self._inbox = Inbox(
                self._pair,
                limits,
                self._shown,
                self._shown_public,
                blocked=self.blocking.__contains__,
                name_of=self.contacts.name_of,
                show=self._on_event,
                send=self._connection.send,
                later=lambda: self._later(lambda: self._teller.add(self._inbox.retry)),
            )
            self._concluded = Concluded(self._database, self._settings.limits)
            self._database.start()
        except DatabaseError as error:
            self._teller.stop()
            raise ProfileError(str(error)) from error

    def __enter__(self) -> Chat:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- the connection -----------------------------------------------------------------------------------------

    def attach(self, *addresses: Address, trusted: str = "", said_hello: Callable[[], None] = lambda: None) -> None:
        """Connect to a server and prove who we are (PROTOCOL.md section 5.1).

        From then on a connection that is lost comes back by itself, to this server or another of those named; it does
        not when the user has attached elsewhere.

        Args:
            addresses: where servers are; the first is taken that can be reached and lets us in.
            trusted: the id of a server to go on with, though another one is pinned.
            said_hello: called when USER_HELLO has been sent.

        Raises:
            NotConnected: nobody could be reached there.
            ServerChanged: it is not the server that is pinned for the address.
            AttachRefused: the server refused us, or broke the protocol.
            ProfileError: its pin cannot be written.
        """
        self._connection.open(addresses, trusted, said_hello)

    @property
    def server_id(self) -> str:
        """The id of the server we are attached to, or the empty string."""
        server = self._connection.server
        return server.id if server is not None else ""

    @property
    def link_status(self) -> LinkStatus | None:
        """What is known of the link to the server, None while there is none."""
        return self._connection.status

    def _later(self, callback: Callable[[], None]) -> None:
        self._alarms.after(self._timers.disk_retry, callback)

    def _do_after(self, seconds: float, job: Callable[[], None]) -> Alarm:
        """Have a job done in so many seconds, in the teller's thread: alarms must not be held up."""
        return self._alarms.after(seconds, lambda: self._teller.add(job))

    def _note_up(self, address: Address, again: bool) -> None:
        if again:
            self._emit(Connected(str(address), self.server_id))
        else:
            for remembered in (self._shown, self._shown_public, self._concluded):
                remembered.forget_old()  # now that a server has agreed to our clock
        self._outbox.connected()
        self._transfers.connected()

    def _note_down(self, reason: str, final: bool) -> None:
        self._outbox.disconnected()
        self._transfers.disconnected()
        self._questions.give_up(reason)
        if not self._leaving:
            self._emit(Disconnected(reason, final))
        self._note_settled()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the connection is gone for good; False when that took longer."""
        return self._connection.ended.wait(seconds)

    def close(self) -> None:
        """Say goodbye to the server, and end every thread; what is not confirmed is kept. Harmless when repeated."""
        self._leaving = True
        deadline = Deadline(self._timers.stop)
        self._connection.leave()
        self._transfers.stop()
        with self._settled:  # what ends in the middle still tells its other end so
            self._settled.wait_for(lambda: not self._transfers.active, deadline.left() / 2)
        self._outbox.stop()
        self._questions.close("this client is leaving")  # the teller may wait for an answer
        self._connection.close(deadline)
        self._shares.stop()
        self._teller.stop()
        if left := self._threads.join(deadline):
            log.warning("threads that did not end in time: %s", ", ".join(left))
        self._database.close(deadline)
        self._alarms.stop()

    # --- what is asked of us ------------------------------------------------------------------------------------

    def users(self) -> list[Listed]:
        """Return all users online, by id.

        Raises:
            ChatError: the server does not answer.
        """
        listed = self._lookups.users()
        self.contacts.note_listing(listed)
        return listed

    def tell(self, to: str, text: str, taken: Callable[[str, int], None] = lambda _user_id, _number: None) -> str:
        """Send a direct message, sealed for its recipient alone.

        It is on the disk when this returns, and sent until it is known what became of it: also when there is no
        connection now, and by the next process that uses this profile.

        Args:
            to: as Contacts.find takes it.
            text: at most 28,544 bytes of UTF-8.
            taken: told, here and before any event about the message, the recipient's id and the number of the message
                in this profile.

        Returns:
            The message's msg_ref, by which later events call it.

        Raises:
            ChatError: it was not sent; says why.
        """
        plain = _encode(text, SEAL_MOST, "a direct message")
        recipient = self._recipient(to)
        user_id = recipient.user.user_id
        sealed = seal(recipient.key, plain, message_label(self.user_id, user_id))
        ciphertext = encode_base64url(sealed)
        ts, content_sig = self._sign({"ciphertext": ciphertext, "to": user_id}, MESSAGE)
        return self._outbox.add(user_id, ts, ciphertext, content_sig, partial(taken, user_id))

    def tell_all(self, text: str) -> str:
        """Send a broadcast: signed, and readable by everyone, servers included.

        Args:
            text: at most 16 kB of UTF-8.

        Returns:
            Its msg_ref. Nobody confirms a broadcast; an event says if the server refused it.

        Raises:
            ChatError: it was not sent; says why.
        """
        _encode(text, socp.BROADCAST_MOST, "a broadcast")
        ts, content_sig = self._sign({"text": text}, BROADCAST)
        msg_ref = message_reference(content_sig)
        self._outbox.add_broadcast(msg_ref)
        payload: dict[str, object] = {
            "text": text,
            "sender_pub": self._pair.public.text,
            "content_sig": content_sig,
        }
        self._connection.send(socp.MSG_PUBLIC_CHANNEL, socp.PUBLIC, payload, ts)
        return msg_ref

    def _recipient(self, to: str, *, latest: bool = False) -> Contact:
        user_id = self.contacts.find(to)
        self.blocking.check(user_id)
        return self.contacts.latest(user_id) if latest else self.contacts.get(user_id)

    def _end_files_from(self, user_id: str) -> None:
        self._transfers.end_from(user_id)

    @property
    def outstanding(self) -> int:
        """How many messages nobody has taken charge of, and transfers are under way in either direction."""
        return len(self._outbox) + self._transfers.active

    @property
    def undelivered(self) -> int:
        """How many messages of ours their recipients have not confirmed; they outlive this process."""
        return self._outbox.unconfirmed

    @property
    def lost(self) -> bool:
        """Whether the connection is gone for good, and not by `close`."""
        return self._connection.ended.is_set() and not self._leaving

    def wait_settled(self, seconds: float) -> bool:
        """Wait until nothing is outstanding and every event has been handled; False when that took longer."""
        deadline = Deadline(seconds)
        while True:
            with self._settled:
                if not self._settled.wait_for(
                    lambda: not self.outstanding or self._connection.ended.is_set(),
                    deadline.left(),
                ):
                    return False
            if not self._shares.wait_idle(deadline.left()):
                return False
            if not self.outstanding or self._connection.ended.is_set():
                return not self.outstanding

    def wait_heard(self, seconds: float) -> bool:
        """Wait until all that has come has been handled, and messages confirmed; False when that took longer."""
        return self._shares.wait_idle(seconds)

    def tell_when_settled(self, seconds: float, told: Callable[[bool], None]) -> None:
        """Have `told` called, in a thread of Chat's, with what `wait_settled` returns."""
        if not self._threads.start("settling", lambda: told(self.wait_settled(seconds))):
            told(False)

    def _sign(self, values: dict[str, object], purpose: Purpose) -> tuple[int, str]:
        """Sign what we say now; return its time, Unix ms, and the signature."""
        with self._settled:
            # No two of a sender's messages have the same time: their order is the order they were sent in.
            self._last_ts = ts = max(socp.now_ms(), self._last_ts + 1)
        return ts, sign_content(self._signer, purpose, {**values, "from": self.user_id, "ts": ts})

    # --- questions ----------------------------------------------------------------------------------------------

    def _ask(self, frame_type: str, payload: dict[str, object], expects: str, about: str) -> Envelope:
        send = partial(self._connection.send, frame_type, self.server_id or socp.EVERYONE, payload)
        return self._questions.ask(send, expects, about, self._timers.request)

    # --- what the server sends ----------------------------------------------------------------------------------

    def _take(self, frame: bytes) -> str | None:
        """Take one frame, in the connection's thread; what is wrong with it is logged, and harms nothing.

        Returns:
            Why the server closes, if it says so.
        """
        try:
            envelope = socp.read_envelope(decode_frame(frame), frame)
            if envelope.type not in socp.SHAPES:
                log.info("the server sent a frame of an unknown type; passed over")
                return None
            socp.check_payload(envelope)
            return self._sort(envelope)
        except socp.LinkError:
            raise
        except ProtocolError as error:
            log.warning("a wrong frame was passed over: %s", error)
            return None

    def _sort(self, envelope: Envelope) -> str | None:
        server = self._connection.server
        assert server is not None
        if envelope.sender != server.id:
            self._sort_users(envelope)
            return None
        if envelope.to not in (self.user_id, socp.EVERYONE):
            raise ProtocolError(socp.NOT_ALLOWED, "a frame for somebody else")
        check_link_frame(envelope, server, self._connection)
        payload = envelope.payload
        if envelope.type == socp.USER_DELIVER:
            self._shares.give(payload["sender"], partial(self._take_message, envelope), len(envelope.raw))
        elif envelope.type == socp.USER_LIST:
            self._questions.answer(envelope)
        elif envelope.type == socp.USER_KEY:
            self._questions.answer(envelope, payload["user_id"])
        elif envelope.type == socp.HEARTBEAT and payload.get("probe"):
            self._connection.answer_probe(server.id)
        elif envelope.type == socp.ERROR:
            self._take_error(envelope)
        elif envelope.type == socp.ACK and payload.get("status") == "stored":
            self._outbox.take_stored(payload["msg_ref"])
        elif envelope.type == socp.PRESENCE:
            joined = tuple(entry["user_id"] for entry in payload["joined"] if socp.is_id(entry.get("user_id")))
            self._emit(PresenceChanged(joined, tuple(filter(socp.is_id, payload["left"]))))
        elif envelope.type == socp.CTRL_CLOSE:
            return str(payload["reason"])
        return None

    def _take_message(self, envelope: Envelope) -> None:
        """Take a message, in the teller's thread; what is not shown before we leave waits at the server."""
        if not self._leaving:
            self._inbox.take_message(envelope)

    def _sort_users(self, envelope: Envelope) -> None:
        give = partial(self._shares.give, envelope.sender)
        if envelope.type == socp.MSG_PUBLIC_CHANNEL:
            give(partial(self._inbox.take_broadcast, envelope), len(envelope.raw))
        elif envelope.to != self.user_id:
            raise ProtocolError(socp.NOT_ALLOWED, "a frame for somebody else")
        elif envelope.type == socp.ACK:
            give(partial(self._outbox.take_receipt, envelope), len(envelope.raw))
        elif envelope.type == socp.FILE_START:
            give(partial(self._transfers.take_start, envelope), len(envelope.raw), offer=True)
        elif envelope.type in socp.FILE_FRAMES:
            if not self._transfers.take(envelope) and envelope.type == socp.FILE_END:
                give(partial(self._transfers.take_late, envelope), len(envelope.raw))  # its offer may stand in line yet
        else:
            raise ProtocolError(socp.NOT_ALLOWED, f"{envelope.type} from somebody who is not our server")

    def _take_error(self, envelope: Envelope) -> None:
        payload = envelope.payload
        code, detail = payload["code"], str(payload.get("detail", ""))
        if "file_id" in payload:
            self._transfers.take_error(payload["file_id"], code, detail)
        elif "msg_ref" in payload:
            self._outbox.take_error(payload["msg_ref"], code, detail)
        elif not self._questions.refuse(code, detail, payload.get("user_id", "")):
            self._emit(Notice(f"the server answered {code}: {detail}"))

    def _note_settled(self) -> None:
        with self._settled:
            self._settled.notify_all()

    def _note_question(self) -> None:
        self._teller.let_through()
        self._shares.let_through()

    def _emit(self, event: Event) -> None:
        self._emit_then(event, lambda: None)

    def _emit_then(self, event: Event, then: Callable[[], None]) -> None:
        """Have an event handled, and do something when it has been."""

        def handle() -> None:
            try:
                self._on_event(event)
            except NotShown:
                raise
            except ChatError as error:
                log.info("%s", error)  # it was handled: what its handler could not do about it is another matter
            then()

        if self._teller.is_this_thread():
            handle()  # to queue it could mean to wait for ourselves
        else:
            self._teller.give(handle)


def _encode(text: str, most: int, what: str) -> bytes:
    if not text:
        raise TextRefused("there is no text to send")
    try:
        plain = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TextRefused("that is not text in UTF-8") from error
    if len(plain) > most:
        raise TextRefused(f"{len(plain):,} bytes are too long: {what} holds at most {most:,}; nothing was sent")
    return plain
