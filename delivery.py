"""The way of a frame from a user to a user, and what a user may ask its server (PROTOCOL.md sections 8 and 10 to 12).

Everything here runs in the thread that reads the link a frame came in on, and hands frames to other links without
ever waiting for them.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Mapping

import socp
from console import visible
from crypto.signing import message_reference
from host import Host
from link import Link, Sent
from mesh import Mesh, Peer
from messages import check_broadcast
from routing import Route, RoutingTable, Where
from socp import (
    BAD_TIMESTAMP,
    ERROR,
    FILE_ACK,
    FILE_START,
    INVALID_SIG,
    MSG_DIRECT,
    MSG_PUBLIC_CHANNEL,
    NOT_ALLOWED,
    SERVER_BUSY,
    SERVER_DELIVER,
    TOO_LARGE,
    USER_DELIVER,
    USER_KEY,
    USER_LIST,
    USER_NOT_FOUND,
    Envelope,
    ProtocolError,
)
from users import User

log = logging.getLogger("socp.delivery")


class Overflow(enum.Enum):
    """What happens to a frame whose receiver's queue is full (section 14)."""

    DROP = enum.auto()  # nobody is told: it is repeated by itself, or loses its sense
    REFUSE = enum.auto()  # its sender is told SERVER_BUSY


OVERFLOW: Mapping[str, Overflow] = {
    MSG_DIRECT: Overflow.REFUSE,
    SERVER_DELIVER: Overflow.REFUSE,
    socp.FILE_START: Overflow.REFUSE,
    socp.FILE_CHUNK: Overflow.REFUSE,
    socp.FILE_END: Overflow.REFUSE,
    FILE_ACK: Overflow.DROP,
    socp.ACK: Overflow.DROP,
    MSG_PUBLIC_CHANNEL: Overflow.DROP,
}


class Delivery:
    """Routes what users send."""

    def __init__(self, host: Host, table: RoutingTable, mesh: Callable[[], Mesh]) -> None:
        self._origin = host.origin
        self._limits = host.settings.limits
        self._table = table
        self._mesh = mesh

    # --- direct messages ----------------------------------------------------------------------------------------

    def take_direct(self, sender: User, envelope: Envelope) -> None:
        """Take a direct message from a user of ours, and send it on its way (section 8.1).

        Raises:
            ProtocolError: INVALID_SIG, BAD_TIMESTAMP, TOO_LARGE, USER_NOT_FOUND or SERVER_BUSY, with its msg_ref.
        """
        payload = envelope.payload
        refs = {"msg_ref": message_reference(payload["content_sig"])}
        check_sender(sender, envelope, **refs)
        age = socp.now_ms() - envelope.ts
        if not -self._limits.clock_skew <= age <= self._limits.message_age:
            raise ProtocolError(
                BAD_TIMESTAMP, f"sent at {envelope.ts}, the time here is {envelope.ts + age} (Unix ms)", **refs
            )
        if not socp.is_id(envelope.to):
            raise ProtocolError(USER_NOT_FOUND, "a direct message goes to the id of a user", **refs)
        deliver = {
            "ciphertext": payload["ciphertext"],
            "sender": sender.user_id,
            "sender_pub": payload["sender_pub"],
            "content_sig": payload["content_sig"],
        }
        self._deliver(envelope.to, deliver, envelope.ts, refs)

    def take_deliver(self, peer: Peer, envelope: Envelope) -> None:
        """Take a direct message from another server, and route it by the same rule (section 8.1)."""
        payload = envelope.payload
        refs = {"msg_ref": message_reference(payload["content_sig"])}
        deliver = {name: payload[name] for name in ("ciphertext", "sender", "sender_pub", "content_sig")}
        try:
            self._deliver(
                payload["user_id"],
                deliver,
                envelope.ts,
                refs,
                came_from=peer.id,
                forwarded=payload.get("forwarded", False),
            )
        except ProtocolError as error:
            self._tell_elsewhere(payload["sender"], error, peer)

    def _deliver(
        self,
        recipient: str,
        deliver: dict[str, object],
        ts: int,
        refs: dict[str, str],
        *,
        came_from: str = "",
        forwarded: bool = False,
    ) -> None:
        if len(str(deliver["ciphertext"])) > socp.SEALED_TEXT_MOST:
            raise ProtocolError(TOO_LARGE, "over 64 sealed blocks", **refs)
        route = self._table.route(recipient)
        if route.where is Where.UNKNOWN:
            raise ProtocolError(USER_NOT_FOUND, "no user with this id was ever seen here", **refs)
        if route.where is Where.LOCAL:
            frame = self._origin.frame(USER_DELIVER, recipient, deliver, ts)
        elif route.where is Where.REMOTE and not forwarded:
            assert route.user is not None
            if route.user.home == came_from:
                raise ProtocolError(USER_NOT_FOUND, "the user is not where this server knows it to be", **refs)
            extra = {"user_id": recipient, **({"forwarded": True} if came_from else {})}
            frame = self._origin.frame(SERVER_DELIVER, route.user.home, {**deliver, **extra}, ts)
        else:
            raise ProtocolError(USER_NOT_FOUND, "the user is away", **refs)
        assert route.link is not None
        self._hand_over(route.link, frame, MSG_DIRECT, refs)

    def _hand_over(self, link: Link, frame: bytes, frame_type: str, refs: dict[str, str]) -> None:
        """Send a frame, and do what its type says when that cannot be.

        Raises:
            ProtocolError: SERVER_BUSY or USER_NOT_FOUND, for the types whose senders are told.
        """
        sent = link.send(frame)
        if sent is Sent.YES or OVERFLOW[frame_type] is Overflow.DROP:
            return
        if sent is Sent.FULL:
            raise ProtocolError(SERVER_BUSY, "the receiver takes nothing now; try again later", **refs)
        raise ProtocolError(USER_NOT_FOUND, "the user has just left", **refs)

    # --- frames that go unchanged -------------------------------------------------------------------------------

    def relay(self, sender: User, envelope: Envelope) -> None:
        """Pass a FILE_* frame or a receipt of a user of ours to the user it is for (section 8.2).

        Raises:
            ProtocolError: INVALID_SIG, NOT_ALLOWED, USER_NOT_FOUND or SERVER_BUSY, with the file_id.
        """
        refs = _refs(envelope)
        check_sender(sender, envelope, **refs)
        if envelope.type == FILE_START and envelope.payload["mode"] != "dm":
            raise ProtocolError(NOT_ALLOWED, 'files are sent with mode "dm" alone', **refs)
        self._pass_on(envelope, refs)

    def take_relayed(self, peer: Peer, envelope: Envelope) -> None:
        """Take a frame of another server's user, for a user of ours."""
        if not self._table.is_behind(envelope.sender, peer.id):
            log.info("%s passed on a %s of a user who is not there; dropped", peer.id, envelope.type)
            return
        try:
            self._pass_on(envelope, _refs(envelope), local_only=True)
        except ProtocolError as error:
            self._tell_elsewhere(envelope.sender, error, peer)

    def _pass_on(self, envelope: Envelope, refs: dict[str, str], *, local_only: bool = False) -> None:
        route = self._table.route(envelope.to) if socp.is_id(envelope.to) else Route(Where.UNKNOWN)
        if route.link is not None and not (local_only and route.where is Where.REMOTE):
            self._hand_over(route.link, envelope.raw, envelope.type, refs)
        elif OVERFLOW[envelope.type] is not Overflow.DROP:
            raise ProtocolError(USER_NOT_FOUND, "the user is not online", **refs)

    # --- errors about what other servers' users sent ------------------------------------------------------------

    def _tell_elsewhere(self, user_id: str, error: ProtocolError, peer: Peer) -> None:
        """Send an ERROR to the server of a user who is not ours, for that server to pass on (section 8.2)."""
        route = self._table.route(user_id)
        link, server_id = peer.link, peer.id
        if route.where is Where.REMOTE and route.user is not None and route.link is not None:
            link, server_id = route.link, route.user.home
        payload = {"code": error.code, "detail": error.detail, **error.refs, "user_id": user_id}
        link.send(self._origin.frame(ERROR, server_id, payload))

    def take_error(self, peer: Peer, envelope: Envelope) -> None:
        """Pass a server's ERROR about a frame of a user of ours on to that user, as one of our own."""
        payload = envelope.payload
        user_id = payload.get("user_id")
        link = self._table.local_link(user_id) if user_id is not None else None
        if user_id is None or link is None:
            log.info("%s answered %s: %s", peer.id, payload["code"], payload.get("detail", ""))
            return
        refs: dict[str, object] = {name: payload[name] for name in ("msg_ref", "file_id") if name in payload}
        about: dict[str, object] = {
            "code": payload["code"][: socp.TYPE_MOST],
            "detail": visible(payload.get("detail", "")[: socp.DETAIL_MOST]),
            **refs,
        }
        link.send(self._origin.frame(ERROR, user_id, about))

    def take_ack(self, peer: Peer, envelope: Envelope) -> None:
        """Pass a server's ACK about a message of a user of ours on to that user, as one of our own (section 8.2)."""
        payload = envelope.payload
        user_id, status = payload.get("user_id"), payload.get("status")
        link = self._table.local_link(user_id) if user_id is not None else None
        if user_id is None or link is None or status != "stored":
            log.info("%s sent an ACK that is for nobody here", peer.id)
            return
        link.send(self._origin.frame(socp.ACK, user_id, {"msg_ref": payload["msg_ref"], "status": status}))

    # --- broadcasts ---------------------------------------------------------------------------------------------

    def take_broadcast(self, sender: User, envelope: Envelope) -> None:
        """Take a broadcast from a user of ours (section 11).

        Raises:
            ProtocolError: INVALID_SIG, TOO_LARGE, BAD_TIMESTAMP or NOT_ALLOWED.
        """
        refs = {"msg_ref": message_reference(envelope.payload["content_sig"])}
        check_sender(sender, envelope, **refs)
        if envelope.to != socp.PUBLIC:
            raise ProtocolError(NOT_ALLOWED, 'a broadcast goes to "public"', **refs)
        if abs(envelope.ts - socp.now_ms()) > self._limits.clock_skew:
            raise ProtocolError(
                BAD_TIMESTAMP, f"sent at {envelope.ts}, the time here is {socp.now_ms()} (Unix ms)", **refs
            )
        if len(envelope.raw) > socp.BROADCAST_FRAME_MOST:
            raise ProtocolError(TOO_LARGE, f"a broadcast's frame has at most {socp.BROADCAST_FRAME_MOST} bytes", **refs)
        try:
            self._publish(envelope, ())  # where it has been is not for its sender to say
        except ProtocolError as error:
            raise ProtocolError(error.code, error.detail, **refs) from error

    def take_gossiped(self, envelope: Envelope) -> None:
        """Take a broadcast from another server.

        Raises:
            ProtocolError: INVALID_SIG, BAD_KEY or TOO_LARGE, which its last hop should have noticed.
        """
        self._publish(envelope, envelope.visited)

    def _publish(self, envelope: Envelope, visited: tuple[str, ...]) -> None:
        mesh = self._mesh()
        seen = mesh.fresh(envelope)
        if seen is None or envelope.to != socp.PUBLIC:
            return
        check_broadcast(envelope)
        if not mesh.remember(seen):
            return
        # To our own users as the bytes that came in.
        for link in self._table.local_links(but=envelope.sender):
            self._hand_over(link, envelope.raw, MSG_PUBLIC_CHANNEL, {})
        mesh.spread(envelope.to_wire(), visited)

    # --- questions ----------------------------------------------------------------------------------------------

    def take_list_request(self, link: Link, sender: User, envelope: Envelope) -> None:
        """Answer USER_LIST_REQUEST.

        Raises:
            ProtocolError: INVALID_SIG.
        """
        check_sender(sender, envelope)
        users, total = self._table.online_page(envelope.payload["after"], envelope.payload["limit"])
        entries = [user.to_listing() for user in users]
        link.send(self._origin.frame(USER_LIST, sender.user_id, {"users": entries, "total": total}))

    def take_key_request(self, link: Link, sender: User, envelope: Envelope) -> None:
        """Answer USER_KEY_REQUEST.

        Raises:
            ProtocolError: INVALID_SIG or USER_NOT_FOUND, with the user_id.
        """
        check_sender(sender, envelope)
        user_id = envelope.payload["user_id"]
        user = self._table.user(user_id)
        if user is None:
            raise ProtocolError(USER_NOT_FOUND, "no user with this id was ever seen here", user_id=user_id)
        payload = {**user.to_wire(), "server_id": user.home, "online": user.online}
        link.send(self._origin.frame(USER_KEY, sender.user_id, payload))


def check_sender(user: User, envelope: Envelope, **refs: str) -> None:
    """Refuse a frame that does not come from the user whom its link belongs to.

    Raises:
        ProtocolError: INVALID_SIG.
    """
    if envelope.sender != user.user_id or envelope.payload.get("sender_pub", user.pubkey) != user.pubkey:
        raise ProtocolError(INVALID_SIG, "from and sender_pub must be those of this link's user", **refs)


def _refs(envelope: Envelope) -> dict[str, str]:
    file_id = envelope.payload.get("file_id")
    return {"file_id": file_id} if file_id is not None else {}
