"""Hands mail to users who are here (PROTOCOL.md sections 8.1 and 9).

A message goes straight to its recipient's link when nothing waits before it. What is stored is handed out by a thread
of that user's, which runs while there is something to hand out and the user confirms what it was given.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import socp
from answers import Answer
from boxes import Entry
from database import DatabaseError
from host import Host
from link import Link
from mail import Mail
from mailboxes import Mailboxes
from outflow import Sent
from socp import USER_DELIVER, Envelope
from usual import write_delivery

log = logging.getLogger("socp.carrier")


class Carrier:
    """Stands between the mailbox and the links of our users."""

    def __init__(self, host: Host, mail: Mailboxes) -> None:
        self._host = host
        self._timers = host.settings.timers
        self._mail = mail

    def start(self) -> None:
        """Begin to look for mail that has lain for too long, now and every hour."""
        self._host.threads.start("mail check", self._check_age)

    def _check_age(self) -> None:
        for user_id in self._mail.expire(socp.now_ms()):
            self.kick(user_id)
        self._host.alarms.after(self._timers.mail_check, self.start)

    # --- users' links -------------------------------------------------------------------------------------------

    def begin(self, user_id: str, link: Link) -> None:
        """Hand a user's mail to its link, from now on and until `end`."""
        self._mail.attach(user_id, link)
        self.kick(user_id)

    def end(self, user_id: str, link: Link) -> None:
        """Store what a link has not confirmed; harmless when it is not the user's link any more."""
        self._mail.detach(user_id, link)

    def take_receipt(self, user_id: str, envelope: Envelope) -> None:
        """Be done with the message that a user of ours confirms."""
        if envelope.payload.get("status") not in ("delivered", "failed"):
            return
        if self._mail.confirm(user_id, (envelope.to, envelope.payload["msg_ref"])):
            self.kick(user_id)

    # --- new messages -------------------------------------------------------------------------------------------

    def signing(self, mail: Mail, link: Link) -> Callable[[], bytes] | None:
        """Return what makes the frame that `deliver` would send now; None if it would send none.

        Args:
            mail: the message.
            link: its recipient's, not TLS.
        """
        return partial(self._frame, link, mail) if self._mail.goes_straight(mail) else None

    def deliver(self, mail: Mail, answer: Answer, signed: bytes | None = None) -> None:
        """Give a message to a user who is here, or store it for when the user takes it.

        Args:
            mail: the message.
            answer: told if it is stored, or can be neither handed over nor stored.
            signed: its frame, if that was made ahead; good for every link to its recipient that is not TLS.
        """
        handed = self._mail.hand(mail, answer)
        if handed is None:
            self._mail.store(mail, answer)
            return
        frame = signed if signed is not None and not handed.link.secure else self._frame(handed.link, mail)
        sent = handed.link.send(frame)
        if handed.stored:
            answer(None)  # it is as safe as it was when that was said first
        if sent is not Sent.YES and not handed.repeated:
            self._mail.store(mail, answer, refused_by=handed.link)

    def store(self, mail: Mail, answer: Answer) -> None:
        """Store a message, wherever its recipient is; see `deliver`."""
        self._mail.store(mail, answer)

    def _frame(self, link: Link, mail: Mail) -> bytes:
        frame = write_delivery(self._host.origin.id, mail) if link.secure else None
        if frame is not None:
            return frame
        return self._host.origin.link_frame(link, USER_DELIVER, mail.recipient, mail.to_user(), mail.ts)

    # --- stored messages ----------------------------------------------------------------------------------------

    def kick(self, user_id: str) -> None:
        """See to it that a user's stored mail is handed out, if the user is here and there is any."""
        pump = self._mail.begin_pump(user_id)
        if pump is not None and not self._host.threads.start(f"mail of {user_id}", partial(self._run, user_id, pump)):
            self._mail.end_pump(user_id, pump)
            self._later(user_id)

    def _later(self, user_id: str) -> None:
        self._host.alarms.after(self._timers.disk_retry, partial(self.kick, user_id))

    def _run(self, user_id: str, pump: object) -> None:
        try:
            while (batch := self._mail.next_for_user(user_id, pump)) is not None:
                link, entries = batch
                if not self._hand_out(user_id, link, entries) and self._mail.end_pump(user_id, pump, link):
                    return
        finally:
            self._mail.end_pump(user_id, pump)

    def _hand_out(self, user_id: str, link: Link, entries: list[Entry]) -> bool:
        """Send stored messages; False when the link does not take them, or they cannot be read now."""
        try:
            mails = self._mail.read(entries)
        except DatabaseError as error:
            log.error("%s; will try again to hand out what is stored", error)
            self._mail.give_back(entries, link)
            self._later(user_id)
            return False
        for count, (_, mail) in enumerate(mails):
            frame = self._frame(link, mail)
            while (sent := link.send(frame)) is Sent.FULL and link.wait_until_drained(self._timers.full):
                continue
            if sent is not Sent.YES:
                self._mail.give_back([entry for entry, _ in mails[count:]], link)
                return False
        return True
