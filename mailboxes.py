"""Every user's mail at this server (PROTOCOL.md sections 8.1 and 9): what is stored, what is handed out, what is done.

The index of it is in memory, so that limits, repeats and the order are known without the disk; what is in a message is
read when it is handed out. A message that goes straight to a user who is here is kept in memory until the user confirms
it, and is stored if the user's link ends before.

    on disk:  NO ── store ──▶ WRITING ── committed ──▶ YES          held by:  nobody, while it waits;
              ▲                  │                                            the user's link, until the ACK;
              └──── failed ──────┘ (gone, if nobody holds it)                 the link to a server that it is lent to
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import mailstore
import socp
from answers import Answer
from boxes import Box, Entry, OnDisk, order
from database import Database, DatabaseError
from link import Link
from mail import Key, Mail
from settings import Limits
from socp import MAILBOX_FULL, SERVER_BUSY, ProtocolError

log = logging.getLogger("socp.mailboxes")


@dataclass(slots=True)
class Handed:
    """A message that is to be sent to a user's link now.

    Attributes:
        repeated: it was before.
        stored: it is on disk as well.
    """

    link: Link
    repeated: bool
    stored: bool


# What has to be done once the lock is let go: messages to be written, and those that are refused, with why.
_Work = tuple[list[Entry], list[tuple[Entry, ProtocolError]]]
Say = Callable[[Answer, ProtocolError | None], None]


class Mailboxes:
    """The mail of all users.

    Args:
        database: where it is stored.
        limits: how much of it.
        later: has something done after `disk_retry` seconds.
        say: gives an answer, and makes no signature for it in the thread that it is called in.

    Raises:
        DatabaseError: what is stored cannot be read.
    """

    def __init__(
        self, database: Database, limits: Limits, later: Callable[[Callable[[], None]], None], say: Say
    ) -> None:
        self._database = database
        self._limits = limits
        self._later = later
        self._say = say
        self._ready: Callable[[str], None] = _nobody
        self._lock = threading.Lock()  # guards all below, and every box and entry
        self._boxes: dict[str, Box] = {}  # of users who are here, or have mail, which limits bound
        self._stored_bytes = 0  # these three over all boxes
        self._writing_bytes = 0
        self._kept_bytes = 0
        self._doomed: set[int] = set()  # done with, and on disk still
        self._deleting = False
        self._failing = False  # the last write failed
        self._next_seq = 1
        for row in mailstore.read_index(database):
            entry = Entry(row.seq, row.recipient, (row.sender, row.msg_ref), row.size, OnDisk.YES, row.stored_at)
            self._boxes.setdefault(row.recipient, Box()).add(entry)
            self._stored_bytes += entry.size
            self._next_seq = row.seq + 1

    def watch(self, ready: Callable[[str], None]) -> None:
        """Have `ready` called with the id of a user whose stored mail can be handed out, in the writer's thread."""
        self._ready = ready

    # --- what arrives -------------------------------------------------------------------------------------------

    def hand(self, mail: Mail, answer: Answer) -> Handed | None:
        """Note that a message goes straight to its recipient's link.

        Returns:
            None when it must not: the user is not here, or others wait before it, or too much is unconfirmed.
        """
        with self._lock:
            box = self._boxes.get(mail.recipient)
            if box is None or box.link is None:
                return None
            entry = box.entries.get(mail.key)
            if not self._goes_straight(box, entry, mail):
                return None
            if entry is not None:
                if entry.on_disk is not OnDisk.YES:
                    entry.tell(answer)
                return Handed(box.link, repeated=True, stored=entry.on_disk is OnDisk.YES)
            self._add(box, mail, box.link, (answer,))
            return Handed(box.link, repeated=False, stored=False)

    def goes_straight(self, mail: Mail) -> bool:
        """Tell whether `hand` would have a message go to its recipient's link now."""
        with self._lock:
            box = self._boxes.get(mail.recipient)
            if box is None or box.link is None:
                return False
            return self._goes_straight(box, box.entries.get(mail.key), mail)

    def _goes_straight(self, box: Box, entry: Entry | None, mail: Mail) -> bool:
        """Tell the same of a message that has `entry` already, if any, for a user who is here. `_lock` is held."""
        if entry is not None:
            return entry.holder is box.link
        return box.pump is None and self._may_keep(box, mail.size)

    def _may_keep(self, box: Box, size: int) -> bool:
        """Tell whether one more message may go out and be kept in memory. `_lock` is held."""
        return (
            not box.waits()
            and box.kept < self._limits.kept
            and box.kept_bytes + size <= self._limits.kept_bytes
            and self._kept_bytes + size <= self._limits.all_kept_bytes
        )

    def store(self, mail: Mail, answer: Answer, refused_by: Link | None = None) -> None:
        """Store a message, and say so once it is committed, or why it is not; a repeat is answered as its original.

        Args:
            mail: the message.
            answer: told.
            refused_by: the link that it was handed to, and that does not take it.
        """
        answer.prepare()
        work: _Work = ([], [])
        stored = False
        with self._lock:
            box = self._boxes.setdefault(mail.recipient, Box())
            entry = box.entries.get(mail.key)
            if entry is None:
                entry = self._add(box, mail)
            elif refused_by is not None and entry.holder is refused_by:
                box.give(entry, None)
            if entry.on_disk is OnDisk.YES:
                stored = True
            else:
                entry.tell(answer)
                if entry.on_disk is OnDisk.NO:
                    self._begin_to_store(box, entry, work)
        if stored:
            answer(None)
        self._carry_out(work, _say_at_once)  # that takes its time from the sender alone

    def _add(self, box: Box, mail: Mail, holder: Link | None = None, answers: tuple[Answer, ...] = ()) -> Entry:
        """Give a message its place. `_lock` is held."""
        seq, self._next_seq = self._next_seq, self._next_seq + 1
        # Of its sender's time, so that its age is not forgotten at each server that it comes to.
        since = min(socp.now_ms(), mail.ts)
        entry = Entry(seq, mail.recipient, mail.key, mail.size, OnDisk.NO, since, holder, mail, answers)
        box.add(entry)
        self._kept_bytes += entry.size
        return entry

    def _begin_to_store(self, box: Box, entry: Entry, work: _Work, *, admitted: bool = False) -> None:
        """Count a message as stored, if the limits allow it; see `_refusal`. `_lock` is held."""
        writes, refusals = work
        refusal = self._refusal(box, entry, admitted=admitted)
        if refusal is not None:
            refusals.append((entry, refusal))
            if entry.holder is None:
                self._remove(box, entry)
            return
        box.move(entry, OnDisk.WRITING)
        self._kept_bytes -= entry.size
        self._stored_bytes += entry.size
        self._writing_bytes += entry.size
        writes.append(entry)

    def _refusal(self, box: Box, new: Entry, *, admitted: bool) -> ProtocolError | None:
        """Return why one more message cannot be stored. `_lock` is held.

        Args:
            box: its recipient's.
            new: the message.
            admitted: it was handed to its recipient, who is likely to be back in a moment: it does not fail for there
                being many of its sender's on the way.
        """
        most, msg_ref = self._limits, new.msg_ref
        of_one, of_one_bytes = box.of_one(new.sender)
        too_many = of_one >= most.mailbox_of_one or of_one_bytes + new.size > most.mailbox_of_one_bytes
        if too_many and not admitted:
            return ProtocolError(MAILBOX_FULL, "no more of your messages are stored for this user", msg_ref=msg_ref)
        if box.stored >= most.mailbox or box.stored_bytes + new.size > most.mailbox_bytes:
            return ProtocolError(MAILBOX_FULL, "no more messages are stored for this user", msg_ref=msg_ref)
        if self._stored_bytes + new.size > most.mailboxes_bytes:
            return ProtocolError(MAILBOX_FULL, "the server has no more room for messages", msg_ref=msg_ref)
        if self._writing_bytes + new.size > most.mail_writing:
            return ProtocolError(SERVER_BUSY, "too much waits to be stored; try again later", msg_ref=msg_ref)
        return None

    def _carry_out(self, work: _Work, say: Say) -> None:
        writes, refusals = work
        for entry, refusal in refusals:
            for answer in entry.answers:
                say(answer, refusal)
        for entry in sorted(writes, key=order):
            assert entry.mail is not None
            write = partial(mailstore.insert, seq=entry.seq, mail=entry.mail, stored_at=entry.stored_at)
            self._database.write(write, partial(self._written, entry))

    def _written(self, entry: Entry, error: DatabaseError | None) -> None:
        with self._lock:
            began_to_fail = error is not None and not self._failing
            self._failing = error is not None
            answers = entry.answers
            box = self._boxes.get(entry.recipient)
            doomed = box is None or box.entries.get(entry.key) is not entry  # confirmed meanwhile
            if box is not None and not doomed:
                self._end_writing(box, entry, failed=error is not None)
        if began_to_fail:
            log.error("messages cannot be stored: %s", error)
        refusal: ProtocolError | None = None
        if error is not None:
            detail = "it could not be stored here; try again later"
            refusal = ProtocolError(SERVER_BUSY, detail, msg_ref=entry.msg_ref)
        for answer in answers:
            self._say(answer, refusal)
        if doomed and error is None:
            self._doom([entry.seq])
        self._ready(entry.recipient)  # also after a failure: others may have waited behind it

    def _end_writing(self, box: Box, entry: Entry, *, failed: bool) -> None:
        """Note the end of a write. `_lock` is held."""
        self._writing_bytes -= entry.size
        if not failed:
            box.move(entry, OnDisk.YES)
            entry.mail, entry.answers = None, ()
            return
        box.move(entry, OnDisk.NO)
        self._stored_bytes -= entry.size
        self._kept_bytes += entry.size
        if entry.holder is None:
            self._remove(box, entry)

    # --- users' links -------------------------------------------------------------------------------------------

    def attach(self, user_id: str, link: Link) -> None:
        """Note the link of a user who is here now, in place of an older one."""
        with self._lock:
            box = self._boxes.setdefault(user_id, Box())
            work = self._take_back(box)
            box.link = link
        self._carry_out(work, self._say)

    def detach(self, user_id: str, link: Link) -> None:
        """Note that a user's link has ended, and store what it has not confirmed; harmless when repeated."""
        with self._lock:
            box = self._boxes.get(user_id)
            if box is None or box.link is not link:
                return
            work = self._take_back(box)
            box.link = None
            self._forget_if_empty(user_id, box)
        self._carry_out(work, self._say)

    def _take_back(self, box: Box) -> _Work:
        """Let all that a user's link holds wait again, or be stored. `_lock` is held."""
        work: _Work = ([], [])
        for entry in sorted(box.held(), key=order):
            box.give(entry, None)
            if entry.on_disk is OnDisk.NO:
                self._begin_to_store(box, entry, work, admitted=True)
        return work

    def confirm(self, user_id: str, key: Key) -> bool:
        """End a message that its recipient has confirmed; tell whether others wait that may be handed out now."""
        with self._lock:
            box = self._boxes.get(user_id)
            entry = box.entries.get(key) if box is not None else None
            if box is None or entry is None:
                return False
            self._finish(box, entry)
            waits = box.waits()
        if entry.on_disk is not OnDisk.NO:  # as most that are confirmed never were
            self._doom_if_stored([entry])
        return waits

    def begin_pump(self, user_id: str) -> object | None:
        """Return what stands for a thread that is to hand out a user's mail; None when there is no need of one."""
        with self._lock:
            box = self._boxes.get(user_id)
            if box is None or box.link is None or box.pump is not None or not self._next_for_link(box):
                return None
            box.pump = object()
            return box.pump

    def next_for_user(self, user_id: str, pump: object) -> tuple[Link, list[Entry]] | None:
        """Return what is to be handed to a user's link now, which holds it from now on; None ends the pump."""
        with self._lock:
            box = self._boxes.get(user_id)
            if box is None or box.pump is not pump:
                return None
            entries = self._next_for_link(box)
            if box.link is None or not entries:
                box.pump = None
                return None
            for entry in entries:
                box.give(entry, box.link)
            return box.link, entries

    def _next_for_link(self, box: Box) -> list[Entry]:
        """Return what fits the window of a user's link. `_lock` is held."""
        return box.next_waiting(max(0, self._limits.unacknowledged - box.held_count()))

    def end_pump(self, user_id: str, pump: object, link: Link | None = None) -> bool:
        """End a pump; False when the user has another link by now, so that it is to go on."""
        with self._lock:
            box = self._boxes.get(user_id)
            if box is None or box.pump is not pump:
                return True
            if link is not None and box.link is not None and box.link is not link:
                return False
            box.pump = None
            return True

    # --- what is stored -----------------------------------------------------------------------------------------

    def recipients(self) -> list[str]:
        """Return the ids of all users with mail."""
        with self._lock:
            return [user_id for user_id, box in self._boxes.items() if box.entries]

    def has_any(self, user_id: str) -> bool:
        """Tell whether there is mail for a user, whoever has it in hand."""
        with self._lock:
            box = self._boxes.get(user_id)
            return box is not None and bool(box.entries)

    def has_waiting(self, user_id: str) -> bool:
        """Tell whether a user has mail that can be handed out."""
        with self._lock:
            box = self._boxes.get(user_id)
            return box is not None and bool(box.next_waiting(1))

    def lend(self, user_id: str, link: Link, most: int, but: Collection[str]) -> list[Entry]:
        """Return a user's mail for another server, whose link holds it from now on.

        Args:
            user_id: the user.
            link: to the server.
            most: how many messages.
            but: the msg_refs of messages that must not be among them. No two that are have the same.
        """
        lent: dict[str, Entry] = {}
        with self._lock:
            box = self._boxes.get(user_id)
            if box is None:
                return []
            for entry in box.next_waiting(most):
                if entry.msg_ref not in but and entry.msg_ref not in lent:
                    box.give(entry, link)
                    lent[entry.msg_ref] = entry
        return list(lent.values())

    def give_back(self, entries: Iterable[Entry], link: Link) -> None:
        """Let stored messages wait again that a link has not taken; those that it does not hold are passed over."""
        with self._lock:
            for entry in entries:
                if entry.holder is link and self._is_current(entry):
                    self._boxes[entry.recipient].give(entry, None)

    def read(self, entries: Sequence[Entry]) -> list[tuple[Entry, Mail]]:
        """Return what is in stored messages. One that is not on the disk any more, or is damaged, is given up.

        Raises:
            DatabaseError: it cannot be read.
        """
        mails = mailstore.read_mail(self._database, [entry.seq for entry in entries])
        lost = [entry for entry in entries if entry.seq not in mails]
        if lost:
            log.error("%d stored messages cannot be read and are given up", len(lost))
            self.end(lost)
        return [(entry, mails[entry.seq]) for entry in entries if entry.seq in mails]

    def end(self, entries: Iterable[Entry]) -> None:
        """Delete messages that are done with."""
        with self._lock:
            ended = [entry for entry in entries if self._is_current(entry)]
            for entry in ended:
                self._finish(self._boxes[entry.recipient], entry)
        self._doom_if_stored(ended)

    def expire(self, now: int) -> set[str]:
        """Delete what is stored and too old, also what somebody holds, who may never be done with it.

        Args:
            now: Unix ms.

        Returns:
            The ids of the users whose mail it was; there may be room in their links' windows now.
        """
        oldest = now - self._limits.mail_age
        with self._lock:
            expired = [
                entry
                for box in self._boxes.values()
                for entry in box.entries.values()
                if entry.on_disk is OnDisk.YES and entry.stored_at < oldest
            ]
        if expired:
            log.info("%d messages are too old, and are deleted", len(expired))
            self.end(expired)
        return {entry.recipient for entry in expired}

    def _is_current(self, entry: Entry) -> bool:
        """Tell whether a message is in the index still. `_lock` is held."""
        box = self._boxes.get(entry.recipient)
        return box is not None and box.entries.get(entry.key) is entry

    def _finish(self, box: Box, entry: Entry) -> None:
        """Take out a message that is done with, so that nobody need be told of it any more. `_lock` is held."""
        entry.answers = ()
        self._remove(box, entry)

    def _remove(self, box: Box, entry: Entry) -> None:
        """Take a message out of the index. `_lock` is held."""
        box.remove(entry)
        if entry.on_disk is OnDisk.NO:
            self._kept_bytes -= entry.size
        else:
            self._stored_bytes -= entry.size
        if entry.on_disk is OnDisk.WRITING:
            self._writing_bytes -= entry.size
        self._forget_if_empty(entry.recipient, box)

    def _forget_if_empty(self, user_id: str, box: Box) -> None:
        """Let go of a box with nothing in it. `_lock` is held."""
        if box.link is None and not box.entries:
            del self._boxes[user_id]

    # --- deleting -----------------------------------------------------------------------------------------------

    def _doom_if_stored(self, entries: Iterable[Entry]) -> None:
        # What is being written is doomed when it has been: before, there is nothing to delete.
        if seqs := [entry.seq for entry in entries if entry.on_disk is OnDisk.YES]:
            self._doom(seqs)

    def _doom(self, seqs: Collection[int]) -> None:
        """Have rows deleted, soon."""
        with self._lock:
            self._doomed.update(seqs)
            begin = bool(self._doomed) and not self._deleting
            self._deleting = self._deleting or begin
        if begin:
            self._delete()

    def _delete(self) -> None:
        """Delete what is doomed. Nobody else does: `_deleting` is set."""
        with self._lock:
            seqs = tuple(self._doomed)
        self._database.write(partial(mailstore.delete, seqs=seqs), partial(self._deleted, seqs))

    def _deleted(self, seqs: tuple[int, ...], error: DatabaseError | None) -> None:
        with self._lock:
            if error is None:
                self._doomed.difference_update(seqs)
            self._deleting = bool(self._doomed)
            left = len(self._doomed)
        if error is not None:
            log.error("%s; will try again to delete what is delivered (%d messages)", error, left)
            self._later(self._delete)
        elif left:
            self._delete()


def _say_at_once(answer: Answer, error: ProtocolError | None) -> None:
    answer(error)


def _nobody(_user_id: str) -> None:
    """Tell nobody."""
