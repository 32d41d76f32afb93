"""What servers tell the senders of messages: that one is stored, or why it is not (PROTOCOL.md sections 8 and 9).

A sender here is told on its link. Another server's user is told by its own server, which gets the same with the user's
id (section 8.2).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping

import socp
from host import Host
from link import Link
from mail import Mail
from mesh import Peer
from origin import Origin
from routing import RoutingTable
from socp import ProtocolError

log = logging.getLogger("socp.answers")

# Answers that may wait to be signed, some seconds of it: a message that is sent again should not be overtaken by the
# answer to what was sent before.
_WAITING_MOST = 1_000


class Answer:
    """What is to be said about one message, once it is known: `None` when called says that it is stored.

    Args:
        origin: who says it.
        table: where the links are.
        to: the user here, or the server, that it is said to.
        user_id: the sender, when it is said to a server.
        msg_ref: the message's.
    """

    __slots__ = ("_frames_of_stored", "_msg_ref", "_origin", "_signed", "_table", "_user_id", "to")

    def __init__(self, origin: Origin, table: RoutingTable, to: str, user_id: str | None, msg_ref: str) -> None:
        self.to = to
        self._origin = origin
        self._table = table
        self._user_id = user_id
        self._msg_ref = msg_ref
        self._frames_of_stored: Callable[[Link], bytes] | None = None  # most answers are never given
        self._signed = False  # whether that has made the frame that takes a signature

    def prepare(self) -> None:
        """Make the frame that says "stored" now, by an RSA operation that whoever waits for the commit is spared."""
        link = self._link()
        if link is not None and not self.prepared:
            self._stored(link)
            self._signed = not link.secure

    @property
    def prepared(self) -> bool:
        """Whether it takes no RSA operation any more to say "stored"."""
        link = self._link()
        return link is None or link.secure or self._signed

    def __call__(self, error: ProtocolError | None) -> None:
        """Say that the message is stored, or why it is not; nobody hears it who is not here any more."""
        link = self._link()
        if link is None or link.closing:
            return  # the sender's client sends the message again, and is answered then
        if error is None:
            link.send(self._stored(link))
        else:
            payload = {"code": error.code, "detail": error.detail, "msg_ref": self._msg_ref}
            link.send(self._origin.link_frame(link, socp.ERROR, self.to, self._named(payload)))

    def _stored(self, link: Link) -> bytes:
        """Return the frame that says "stored", signed at most once."""
        if self._frames_of_stored is None:
            payload = self._named({"msg_ref": self._msg_ref, "status": "stored"})
            self._frames_of_stored = self._origin.frames(socp.ACK, self.to, payload)
        return self._frames_of_stored(link)

    def _link(self) -> Link | None:
        return self._table.local_link(self.to) if self._user_id is None else self._table.server_link(self.to)

    def _named(self, payload: Mapping[str, str]) -> Mapping[str, str]:
        return payload if self._user_id is None else {**payload, "user_id": self._user_id}


class Speaker:
    """Says answers for threads that must not make signatures, which others wait for.

    One thread does it, while there is anything to say. What is too much, or comes when the program ends, is not said:
    senders' clients send again what they have heard nothing of.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._lock = threading.Lock()  # guards the two below
        self._waiting: deque[tuple[Answer, ProtocolError | None]] = deque()
        self._running = False

    def say(self, answer: Answer, error: ProtocolError | None) -> None:
        """Give an answer: at once if that takes no signature, else soon."""
        if error is None and answer.prepared:
            answer(None)
            return
        with self._lock:
            if len(self._waiting) >= _WAITING_MOST or self._host.stopping.is_set():
                return
            self._waiting.append((answer, error))
            begin, self._running = not self._running, True
        if begin and not self._host.threads.start("answers", self._run):
            with self._lock:
                self._waiting.clear()
                self._running = False

    def _run(self) -> None:
        while (waiting := self._next()) is not None:
            answer, error = waiting
            try:
                answer(error)
            except Exception:
                # A bug of ours: the others must be told all the same.
                log.critical("an answer was not given", exc_info=True)

    def _next(self) -> tuple[Answer, ProtocolError | None] | None:
        """Return what is to be said next; None ends the thread."""
        with self._lock:
            if self._host.stopping.is_set():
                self._waiting.clear()
            if not self._waiting:
                self._running = False
                return None
            return self._waiting.popleft()


class Answers:
    """Finds the way to the senders of messages."""

    def __init__(self, origin: Origin, table: RoutingTable) -> None:
        self._origin = origin
        self._table = table

    def to_sender(self, mail: Mail, peer: Peer | None = None) -> Answer:
        """Return the answer for a sender.

        Args:
            mail: its message.
            peer: the server that the message came from; None when the sender is ours.
        """
        if peer is None or self._table.local_link(mail.sender) is not None:
            return Answer(self._origin, self._table, mail.sender, None, mail.msg_ref)
        return Answer(self._origin, self._table, self._server_of(mail.sender, peer), mail.sender, mail.msg_ref)

    def to_server(self, mail: Mail, peer: Peer) -> Answer:
        """Return the answer for a server that hands a stored message over."""
        return Answer(self._origin, self._table, peer.id, mail.sender, mail.msg_ref)

    def refuse(self, user_id: str, error: ProtocolError, peer: Peer) -> None:
        """Tell another server's user of an error in what it sent.

        Args:
            user_id: the user.
            error: what is wrong.
            peer: the server that it came from, which is told when the user's own cannot be.
        """
        server_id = self._server_of(user_id, peer)
        payload = {"code": error.code, "detail": error.detail, **error.refs, "user_id": user_id}
        link = peer.link if server_id == peer.id else self._table.server_link(server_id)
        if link is not None:
            link.send(self._origin.link_frame(link, socp.ERROR, server_id, payload))

    def _server_of(self, user_id: str, peer: Peer) -> str:
        """Return the server that passes on what is for a user who is not ours."""
        route = self._table.route(user_id)
        return route.user.home if route.user is not None and route.server_link is not None else peer.id
