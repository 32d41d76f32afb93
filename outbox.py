"""The direct messages that a client has sent, on disk until it is known what became of each (PROTOCOL.md section 8.1).

    add ── committed ──▶ SENT ── a server's "stored" ──▶ STORED
                          │                               │
                          ├── a receipt, or an ERROR ─────┤──▶ forgotten, and an event says how it ended
                          └── 24 hours ──▶ failed         └── 7 days ──▶ not confirmed

One thread sends: what is new, what is due again, and after each reconnect everything, in the order in which it was
written. What is sent again is the identical frame, so that its recipient can tell, and shows it once. So many are on
their way at a time that servers which are slow are not given more than they answer: else what is sent again would take
the time that they need for what was sent first.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import socp
from connection import Send
from contacts import Contact
from crypto.signing import RECEIPT, message_reference, verify_content
from database import Database, DatabaseError
from errors import ChatError, NotConnected, TextRefused
from events import Delivered, Event, Failed, Stored, Unconfirmed
from settings import Settings
from socp import MSG_DIRECT, TIMEOUT, Envelope

log = logging.getLogger("socp.outbox")

SCHEMA = """
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    msg_ref TEXT NOT NULL UNIQUE,
    recipient TEXT NOT NULL,
    ts INTEGER NOT NULL,
    ciphertext TEXT NOT NULL,
    content_sig TEXT NOT NULL,
    stored INTEGER NOT NULL DEFAULT 0
);
"""

_BROADCASTS_KEPT = 1000  # of which a server's ERROR may still come


@dataclass
class _Pending:
    """A message whose fate is not known.

    Attributes:
        number: what the user knows it by.
        ts: Unix ms, as it was signed.
        stored: a server has said that it keeps it.
        due: when it is looked at again, on the monotonic clock; never, while it waits for its turn to be sent.
        wait: seconds from there to the next time.
        flying: it was sent, and nothing was heard of it yet.
        sealed: its ciphertext and content_sig, until it has been sent; later they are read from the disk.
    """

    number: int
    to: str
    ts: int
    stored: bool
    due: float
    wait: float
    flying: bool = False
    sealed: tuple[str, str] | None = field(default=None, repr=False)


class Outbox:
    """The messages of one user without a known fate.

    Args:
        database: the client's.
        sender_pub: the user's public key.
        settings: timers and limits.
        contact: returns a user's verified key.
        send: sends a frame.
        emit: told each event, in the thread that brings the news, and what to do when it has been handled: what the
            user has not been told of yet stays on the disk.
        settled: told when less is outstanding, after its event.
        later: has something done after a while.

    Raises:
        DatabaseError: what is there from before cannot be read.
    """

    def __init__(
        self,
        database: Database,
        sender_pub: str,
        settings: Settings,
        *,
        contact: Callable[[str], Contact],
        send: Send,
        emit: Callable[[Event, Callable[[], None]], None],
        settled: Callable[[], None],
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        self._database = database
        self._sender_pub = sender_pub
        self._timers = settings.timers
        self._limits = settings.limits
        self._contact = contact
        self._send = send
        self._emit = emit
        self._settled = settled
        self._later = later
        self._changed = threading.Condition()  # guards all below
        self._pending: dict[str, _Pending] = {}  # by msg_ref, in the order of their numbers
        self._queue: deque[str] = deque()  # to be sent as soon as not too many are flying
        self._broadcasts: deque[str] = deque(maxlen=_BROADCASTS_KEPT)
        self._connected = False
        self._links = 0  # so many there have been, with this one
        self._stopped = False
        self._done: set[str] = set()  # told of, and on the disk still
        self._deleting = False
        with database.reading() as connection:
            rows = connection.execute("SELECT msg_ref, number, recipient, ts, stored FROM outbox ORDER BY number")
            for msg_ref, number, to, ts, stored in rows:
                self._pending[msg_ref] = _Pending(
                    number, to, ts, bool(stored), time.monotonic(), self._first_wait(stored)
                )

    def __len__(self) -> int:
        """Return how many messages nobody has taken charge of: neither delivered nor stored."""
        with self._changed:
            return sum(not pending.stored for pending in self._pending.values())

    @property
    def unconfirmed(self) -> int:
        """How many messages their recipients have not confirmed, those that servers keep among them."""
        with self._changed:
            return len(self._pending)

    # --- what is sent -------------------------------------------------------------------------------------------

    def add(self, to: str, ts: int, ciphertext: str, content_sig: str, taken: Callable[[int], None]) -> str:
        """Take a message: from now on it is sent until its fate is known, whatever happens to this process.

        Args:
            to: the recipient's id.
            ts: Unix ms.
            ciphertext: base64url.
            content_sig: base64url.
            taken: told the message's number when it is on the disk, and before it is sent.

        Returns:
            Its msg_ref.

        Raises:
            TextRefused: it cannot be written down, or too many wait; it was not taken.
        """
        msg_ref = message_reference(content_sig)
        with self._changed:
            # A script that writes faster than servers take is held up here.
            if not self._changed.wait_for(self._has_room, self._timers.request):
                raise TextRefused(f"{len(self._pending):,} messages are not confirmed yet; nothing was sent")
        numbers: list[int] = []

        def write(connection: sqlite3.Connection) -> None:
            row = connection.execute(
                "INSERT INTO outbox (msg_ref, recipient, ts, ciphertext, content_sig) VALUES (?, ?, ?, ?, ?)",
                (msg_ref, to, ts, ciphertext, content_sig),
            )
            numbers.append(row.lastrowid or 0)

        try:
            self._database.commit(write)
        except DatabaseError as error:
            raise TextRefused(f"{error}; nothing was sent") from error
        taken(numbers[-1])
        wait = self._first_wait(stored=False)
        due = time.monotonic() + wait
        with self._changed:
            pending = _Pending(numbers[-1], to, ts, False, due, wait)
            self._pending[msg_ref] = pending
            if self._connected:
                pending.due = math.inf
                pending.sealed = (ciphertext, content_sig)
                self._queue.append(msg_ref)
            self._changed.notify_all()
        return msg_ref

    def _has_room(self) -> bool:
        return len(self._pending) < self._limits.outbox

    def add_broadcast(self, msg_ref: str) -> None:
        """Note a broadcast that is about to be sent; nobody confirms those."""
        with self._changed:
            self._broadcasts.append(msg_ref)

    def connected(self) -> None:
        """Send everything again: there is a new link to a server."""
        with self._changed:
            self._connected = True
            self._links += 1
            for pending in self._pending.values():
                pending.wait, pending.due, pending.flying = self._first_wait(pending.stored), math.inf, False
            self._queue = deque(self._pending)
            self._changed.notify_all()

    def disconnected(self) -> None:
        """Send nothing until `connected`."""
        with self._changed:
            self._connected = False
            self._queue.clear()
            for pending in self._pending.values():
                pending.sealed = None  # many can be written while there is no link, and all of them are on the disk
                pending.due = min(pending.due, time.monotonic() + pending.wait)
            self._changed.notify_all()

    def stop(self) -> None:
        """End `run`."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def run(self) -> None:
        """Send what is to be sent, until `stop`; the body of one thread."""
        while found := self._next():
            self._send_all(*found)

    def _next(self) -> tuple[list[str], int] | None:
        """Wait for messages to be sent, or looked at, and say for which link; None when it is time to end."""
        with self._changed:
            while not self._stopped:
                flying = sum(pending.flying for pending in self._pending.values()) if self._queue else 0
                if self._queue and flying < self._limits.flying:
                    return self._take_queued(self._limits.flying - flying), self._links
                now = time.monotonic()
                first = min((pending.due for pending in self._pending.values()), default=math.inf)
                if first <= now:
                    return self._take_due(now), self._links
                self._changed.wait(None if first == math.inf else first - now)
            return None

    def _take_queued(self, most: int) -> list[str]:
        """Return what is to be sent next, which flies from now on. `_changed` is held."""
        taken = [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
        for msg_ref in taken:
            if msg_ref in self._pending:
                self._pending[msg_ref].flying = True
        return taken

    def _take_due(self, now: float) -> list[str]:
        """Return what nothing was heard of: it does not keep others from flying any more. `_changed` is held."""
        due = [msg_ref for msg_ref, pending in self._pending.items() if pending.due <= now]
        for msg_ref in due:
            self._pending[msg_ref].flying = False
        return due

    def _send_all(self, msg_refs: list[str], link: int) -> None:
        with contextlib.ExitStack() as stack:
            reading: list[sqlite3.Connection] = []
            for msg_ref in msg_refs:
                if link != self._links:
                    return  # there is another by now, for which all of this is queued again, in its order
                pending = self._note_attempt(msg_ref)
                if pending is None:
                    continue
                age = socp.now_ms() - pending.ts
                try:
                    # Before servers refuse it, whose clocks may be ahead of ours.
                    if age > self._limits.message_age - self._limits.clock_skew:
                        self._land(pending)
                        if link:  # a server has agreed to our clock since we began
                            self._give_up(msg_ref, pending, age)
                    elif self._connected:
                        self._transmit(msg_ref, pending, stack, reading)
                except (ChatError, DatabaseError, sqlite3.Error) as error:
                    # It stays, and is sent when it is due again, or when there is a link again.
                    self._land(pending)
                    level = logging.DEBUG if isinstance(error, NotConnected) else logging.WARNING
                    log.log(level, "message %d was not sent now: %s", pending.number, error)

    def _land(self, pending: _Pending) -> None:
        """Note that no answer about a message is to be waited for any more."""
        with self._changed:
            pending.flying = False
            self._changed.notify_all()

    def _note_attempt(self, msg_ref: str) -> _Pending | None:
        """Set when a message is looked at next; None if its fate is known by now."""
        with self._changed:
            pending = self._pending.get(msg_ref)
            if pending is not None:
                pending.due = time.monotonic() + pending.wait
                pending.wait = min(2 * pending.wait, self._timers.resend_most)
            return pending

    def _transmit(
        self, msg_ref: str, pending: _Pending, stack: contextlib.ExitStack, reading: list[sqlite3.Connection]
    ) -> None:
        sealed = pending.sealed
        if sealed is None:
            if not reading:
                reading.append(stack.enter_context(self._database.reading()))
            sealed = _read_sealed(reading[0], msg_ref)
        payload: dict[str, object] = {
            "ciphertext": sealed[0],
            "sender_pub": self._sender_pub,
            "content_sig": sealed[1],
        }
        self._send(MSG_DIRECT, pending.to, payload, pending.ts)
        pending.sealed = None

    def _first_wait(self, stored: bool) -> float:
        return self._timers.resend_most if stored else self._timers.resend_first

    def _give_up(self, msg_ref: str, pending: _Pending, age: int) -> None:
        """Report a message that no server takes any more; one that is stored may still arrive, for a time."""
        if pending.stored and age <= self._limits.mail_age:
            return
        if self._forget(msg_ref) is None:
            return
        if pending.stored:
            self._tell(Unconfirmed(msg_ref, pending.to, pending.number))
        else:
            reason = "no server has taken charge of it within 24 hours"
            self._tell(Failed(msg_ref, pending.to, TIMEOUT, reason, pending.number))

    # --- what becomes of it -------------------------------------------------------------------------------------

    def _recipient(self, msg_ref: str) -> str | None:
        with self._changed:
            pending = self._pending.get(msg_ref)
            return pending.to if pending is not None else None

    def _forget(self, msg_ref: str) -> _Pending | None:
        """Note that the fate of a message is known; None if it was before."""
        with self._changed:
            pending = self._pending.pop(msg_ref, None)
            self._changed.notify_all()
            return pending

    def _tell(self, event: Delivered | Failed | Unconfirmed) -> None:
        """Say what became of a message, and only then let go of it on the disk: until then, nobody knows."""
        self._emit(event, partial(self._delete, event.msg_ref))
        self._settled()

    def _delete(self, *msg_refs: str) -> None:
        """Delete messages, soon; what cannot be deleted now is tried again."""
        with self._changed:
            self._done.update(msg_refs)
            if self._deleting or not self._done:
                return
            self._deleting = True
            doomed = [(msg_ref,) for msg_ref in self._done]
        self._database.write(
            lambda connection: connection.executemany("DELETE FROM outbox WHERE msg_ref = ?", doomed),
            partial(self._deleted, doomed),
        )

    def _deleted(self, doomed: list[tuple[str]], error: DatabaseError | None) -> None:
        with self._changed:
            self._deleting = False
            if error is None:
                self._done.difference_update(msg_ref for (msg_ref,) in doomed)
        if error is None:
            self._delete()
        else:
            log.warning("%s; will try again", error)
            self._later(self._delete)

    def take_receipt(self, envelope: Envelope) -> None:
        """Take a recipient's ACK, and believe it only with the recipient's signature: no server can forge one.

        Raises:
            ChatError: the recipient's key is not known any more, and cannot be had.
        """
        payload = envelope.payload
        msg_ref = payload["msg_ref"]
        to = self._recipient(msg_ref)
        if to is None or to != envelope.sender:
            return
        signature = str(payload.get("content_sig", ""))
        if not verify_content(self._contact(to).key, RECEIPT, envelope.signed_values(), signature):
            log.warning("a receipt that %s has not signed was passed over", to)
            return
        pending = self._forget(msg_ref)
        if pending is None:
            return
        if payload.get("status") == "delivered":
            self._tell(Delivered(msg_ref, to, pending.number))
        else:
            reason = "the recipient could not open it, or not tell whether it was shown"
            self._tell(Failed(msg_ref, to, "failed", reason, pending.number))

    def take_stored(self, msg_ref: str) -> None:
        """Take a server's word that it keeps a message."""
        with self._changed:
            pending = self._pending.get(msg_ref)
            if pending is None:
                return
            pending.flying = False
            self._changed.notify_all()
            if pending.stored:
                return
            pending.stored = True
            # A receipt may get lost: it is asked for again from time to time.
            pending.wait = self._timers.resend_most
            pending.due = time.monotonic() + pending.wait
        # If this is lost, it is only found out again.
        self._database.write_soon("UPDATE outbox SET stored = 1 WHERE msg_ref = ?", msg_ref)
        self._emit(Stored(msg_ref, pending.to, pending.number), _nothing)
        self._settled()

    def take_error(self, msg_ref: str, code: str, detail: str) -> None:
        """Take a server's ERROR about a message or a broadcast; one about any other is passed over.

        So is one about a message that is stored: it is about a repeat, which some other server does not take.
        """
        with self._changed:
            is_broadcast = msg_ref in self._broadcasts
            pending = self._pending.get(msg_ref)
            if pending is not None and pending.stored:
                pending.flying = False
                self._changed.notify_all()
                log.info("%s about message %d, which is stored: %s", code, pending.number, detail)
                return
        if is_broadcast:
            self._emit(Failed(msg_ref, socp.PUBLIC, code, detail), _nothing)
        elif (pending := self._forget(msg_ref)) is not None:
            self._tell(Failed(msg_ref, pending.to, code, detail, pending.number))
        else:
            log.info("%s about a message that nothing is waited for of: %s", code, detail)


def _read_sealed(connection: sqlite3.Connection, msg_ref: str) -> tuple[str, str]:
    row = connection.execute("SELECT ciphertext, content_sig FROM outbox WHERE msg_ref = ?", (msg_ref,)).fetchone()
    if row is None:
        raise DatabaseError("it is not in the database any more")
    return row[0], row[1]


def _nothing() -> None:
    """Do nothing."""
