"""What servers tell the senders of messages: that one is stored, or why it is not (PROTOCOL.md sections 8 and 9).

A sender here is told on its link. Another server's user is told by its own server, which gets the same with the user's
id (section 8.2).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import socp
from mail import Mail
from mesh import Peer
from origin import Origin
from routing import RoutingTable
from socp import ProtocolError

log = logging.getLogger("socp.answers")


class Answer:
    """What is to be said about one message, once it is known: `None` when called says that it is stored.

    Args:
        origin: who says it.
        table: where the links are.
        to: the user here, or the server, that it is said to.
        user_id: the sender, when it is said to a server.
        msg_ref: the message's.
    """

    def __init__(self, origin: Origin, table: RoutingTable, to: str, user_id: str | None, msg_ref: str) -> None:
        self.to = to
        self._origin = origin
        self._table = table
        self._user_id = user_id
        self._msg_ref = msg_ref
        self._stored: bytes | None = None

    def prepare(self) -> None:
        """Make the frame that says "stored" now, by an RSA operation that whoever waits for the commit is spared."""
        if self._stored is None:
            payload = {"msg_ref": self._msg_ref, "status": "stored"}
            self._stored = self._origin.frame(socp.ACK, self.to, self._named(payload))

    def __call__(self, error: ProtocolError | None) -> None:
        """Say that the message is stored, or why it is not; nobody hears it who is not here any more."""
        link = self._table.local_link(self.to) if self._user_id is None else self._table.server_link(self.to)
        if link is None or link.closing:
            return  # the sender's client sends the message again, and is answered then
        if error is None:
            self.prepare()
            assert self._stored is not None
            link.send(self._stored)
        else:
            payload = {"code": error.code, "detail": error.detail, "msg_ref": self._msg_ref}
            link.send(self._origin.frame(socp.ERROR, self.to, self._named(payload)))

    def _named(self, payload: Mapping[str, str]) -> Mapping[str, str]:
        return payload if self._user_id is None else {**payload, "user_id": self._user_id}


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
            link.send(self._origin.frame(socp.ERROR, server_id, payload))

    def _server_of(self, user_id: str, peer: Peer) -> str:
        """Return the server that passes on what is for a user who is not ours."""
        route = self._table.route(user_id)
        return route.user.home if route.user is not None and route.server_link is not None else peer.id
