"""What a client does with the messages it receives: check, show once, confirm (PROTOCOL.md sections 8.1 and 11)."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable

import socp
from connection import Send
from crypto.encoding import EncodingError, decode_base64url
from crypto.keys import KeyPair, PublicKey
from crypto.sealing import OpenError, message_label, open_sealed
from crypto.signing import MESSAGE, RECEIPT, KeySigner, message_reference, sign_content, verify_content
from database import DatabaseError
from errors import ChatError, NotShown
from events import Event, Message, Notice, PublicMessage
from memory import Showing, Shown
from messages import check_broadcast
from origin import key_of
from settings import Limits
from socp import Envelope, ProtocolError

log = logging.getLogger("socp.inbox")


class Inbox:
    """Direct messages and broadcasts for one user; one thread alone may call it.

    Args:
        pair: the user's key.
        limits: ages.
        shown: remembers the direct messages that were shown …
        shown_public: … and the broadcasts.
        blocked: tells whether a user is blocked.
        name_of: returns the display name that a user has signed.
        show: shows an event; a message is confirmed when this has returned.
        send: sends a frame of ours.
        later: has `retry` called after a while, in the one thread.
    """

    def __init__(
        self,
        pair: KeyPair,
        limits: Limits,
        shown: Shown,
        shown_public: Shown,
        *,
        blocked: Callable[[str], bool],
        name_of: Callable[[str], str],
        show: Callable[[Event], None],
        send: Send,
        later: Callable[[], None],
    ) -> None:
        self._pair = pair
        self._signer = KeySigner(pair)
        self._limits = limits
        self._blocked = blocked
        self._name_of = name_of
        self._show = show
        self._send = send
        self._shown = shown
        self._shown_public = shown_public
        self._later = later
        self._unwritten: OrderedDict[str, Envelope] = OrderedDict()
        self._said_full = False

    def take_message(self, envelope: Envelope) -> None:
        """Take USER_DELIVER: show it once, and sign for it each time.

        Raises:
            ChatError: the receipt cannot be sent, or the message could not be shown.
        """
        payload, sender = envelope.payload, envelope.payload["sender"]
        msg_ref = message_reference(payload["content_sig"])
        try:
            key = key_of(payload["sender_pub"], sender)
        except ProtocolError:
            # Answered like every other: what is not, servers hold, and hand out nothing behind so many of them.
            log.warning("a message whose key is not its sender's was passed over")
            self._confirm(sender, msg_ref, "failed")
            return
        showing = self._shown.of(msg_ref)
        if showing is Showing.DONE:
            self._confirm(sender, msg_ref, "delivered")
            return
        if self._blocked(sender):
            # Answered, or servers would hold it, and what others send behind it; and not as if it had been shown. It is
            # not remembered: who is blocked could push what others have sent out of this memory.
            self._confirm(sender, msg_ref, "failed")
            return
        text = self._open(envelope, key) if showing is Showing.NEW else None
        if text is None:
            log.warning("a message from %s cannot be verified or opened, or may have been shown before", sender)
            self._confirm(sender, msg_ref, "failed")
        else:
            # First, since it may ask the server: a client that dies before the message is shown, and after it is said
            # that it will be, has to report it as failed.
            name = self._name_of(sender)
            if self._blocked(sender):  # while the server was asked
                self._confirm(sender, msg_ref, "failed")
            elif self._begin(msg_ref, envelope):
                written = self._show_message(Message(sender, name, text, envelope.ts), msg_ref)
                self._confirm(sender, msg_ref, "delivered", after=written)

    def _begin(self, msg_ref: str, envelope: Envelope) -> bool:
        """Write down that a message is about to be shown; without that it is not, and waits."""
        try:
            self._shown.begin(msg_ref)
        except DatabaseError as error:
            log.info("a message waits, since it cannot be written down that it was shown: %s", error)
            if not self._said_full:
                self._said_full = True
                self._show(Notice(f"{error}; until it can be written to, messages wait"))
            if not self._unwritten:
                self._later()
            if len(self._unwritten) < self._limits.unwritten:  # the others wait at the servers
                self._unwritten[msg_ref] = envelope
            return False
        self._said_full = False
        return True

    def retry(self) -> None:
        """Take the messages again that could not be shown, up to the first that still cannot."""
        waiting, self._unwritten = self._unwritten, OrderedDict()
        while waiting and not self._unwritten:
            _, envelope = waiting.popitem(last=False)
            self.take_message(envelope)
        self._unwritten.update(waiting)

    def _show_message(self, message: Message, msg_ref: str) -> threading.Event:
        try:
            self._show(message)
        except NotShown:
            self._shown.undo(msg_ref)
            raise
        except ChatError as error:
            # It was shown: what its reader could not do about it does not make that untrue.
            log.warning("after a message from %s: %s", message.sender, error)
        return self._shown.done(msg_ref)

    def _open(self, envelope: Envelope, key: PublicKey) -> str | None:
        payload, sender = envelope.payload, envelope.payload["sender"]
        if socp.now_ms() - envelope.ts > self._limits.shown_age:
            return None
        values = {**payload, "from": sender, "to": self._pair.id, "ts": envelope.ts}
        if not verify_content(key, MESSAGE, values, payload["content_sig"]):
            return None
        try:
            sealed = decode_base64url(payload["ciphertext"])
            return open_sealed(self._pair, sealed, message_label(sender, self._pair.id)).decode("utf-8")
        except (EncodingError, OpenError, UnicodeDecodeError):
            return None

    def _confirm(self, to: str, msg_ref: str, status: str, *, after: threading.Event | None = None) -> None:
        ts = socp.now_ms()
        values = {"msg_ref": msg_ref, "status": status, "from": self._pair.id, "to": to, "ts": ts}
        content_sig = sign_content(self._signer, RECEIPT, values)
        if after is not None:
            # Else a client that is killed now would say "failed" of a message that it has said to be delivered. The
            # disk had the time of the signature.
            after.wait()
        self._send(socp.ACK, to, {"msg_ref": msg_ref, "status": status, "content_sig": content_sig}, ts)

    def take_broadcast(self, envelope: Envelope) -> None:
        """Take MSG_PUBLIC_CHANNEL: show it once."""
        msg_ref = message_reference(envelope.payload["content_sig"])
        fresh = abs(envelope.ts - socp.now_ms()) <= self._limits.clock_skew
        known = self._shown_public.of(msg_ref) is not Showing.NEW
        if envelope.to != socp.PUBLIC or not fresh or known or envelope.sender == self._pair.id:
            return
        if self._blocked(envelope.sender):
            return
        try:
            check_broadcast(envelope)
        except ProtocolError as error:
            log.warning("a broadcast was passed over: %s", error)
            return
        self._shown_public.done(msg_ref)
        name = self._name_of(envelope.sender)
        if self._blocked(envelope.sender):  # while the server was asked
            return
        self._show(PublicMessage(envelope.sender, name, envelope.payload["text"], envelope.ts))
