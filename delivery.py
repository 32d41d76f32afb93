"""The way of a frame from a user to a user, and what a user may ask its server (PROTOCOL.md sections 8 and 10 to 12).

Everything here runs in the thread that reads the link a frame came in on, and hands frames to other links without
ever waiting for them.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import socp
from ahead import Step
from answers import Answer, Answers
from bucket import Bucket
from carrier import Carrier
from crypto.signing import MESSAGE, message_reference, verify_content
from display import visible
from forwarding import Forwarder
from gathering import send_to_all
from host import Host
from link import Link
from mail import Mail, read_mail
from mesh import Mesh, Peer
from messages import broadcast_key, check_broadcast
from origin import key_of
from outflow import Sent
from routing import Route, RoutingTable, Where
from socp import (
    BAD_TIMESTAMP,
    ERROR,
    FILE_ACK,
    FILE_START,
    INVALID_SIG,
    MSG_PUBLIC_CHANNEL,
    NOT_ALLOWED,
    SERVER_BUSY,
    SERVER_DELIVER,
    TOO_LARGE,
    USER_KEY,
    USER_LIST,
    USER_NOT_FOUND,
    Envelope,
    ProtocolError,
)
from users import User

log = logging.getLogger("socp.delivery")


class Overflow(enum.Enum):
    """What happens to a frame whose receiver's queue is full (section 14). Direct messages are stored."""

    DROP = enum.auto()  # nobody is told: it is repeated by itself, or loses its sense
    REFUSE = enum.auto()  # its sender is told SERVER_BUSY


OVERFLOW: Mapping[str, Overflow] = {
    socp.FILE_START: Overflow.REFUSE,
    socp.FILE_CHUNK: Overflow.REFUSE,
    socp.FILE_END: Overflow.REFUSE,
    FILE_ACK: Overflow.DROP,
    socp.ACK: Overflow.DROP,
    MSG_PUBLIC_CHANNEL: Overflow.DROP,
}


@dataclass(slots=True)
class _Signed:
    """A message's frame that was signed ahead.

    Attributes:
        frame: good for any link that is not TLS.
        home: the server that it is made for; empty where that is the recipient itself, whose id may be a server's too.
    """

    frame: bytes
    home: str = ""


class Delivery:
    """Routes what users send.

    Args:
        host: signs.
        table: who is where.
        mesh: the links to servers.
        carrier: takes messages for users here, and all that must be stored.
        forwarder: hands over what is stored for users elsewhere, and hears whether it was taken.
    """

    def __init__(
        self, host: Host, table: RoutingTable, mesh: Callable[[], Mesh], carrier: Carrier, forwarder: Forwarder
    ) -> None:
        self._origin = host.origin
        self._limits = host.settings.limits
        self._timers = host.settings.timers
        self._table = table
        self._mesh = mesh
        self._carrier = carrier
        self._forwarder = forwarder
        self._answers = Answers(host.origin, table)

    # --- direct messages ----------------------------------------------------------------------------------------

    def take_direct(self, sender: User, envelope: Envelope) -> None:
        """Take a direct message from a user of ours, and send it on its way (section 8.1).

        Raises:
            ProtocolError: INVALID_SIG, BAD_TIMESTAMP, TOO_LARGE or USER_NOT_FOUND, with its msg_ref.
        """
        mail = self._read_direct(sender, envelope)
        self._deliver(mail, self._answers.to_sender(mail))

    def begin_direct(self, sender: User, envelope: Envelope) -> Step | None:
        """Return what of `take_direct` can be done ahead; see ahead.Stepwise."""
        route = self._table.route(envelope.to)
        local = route.where is Where.LOCAL
        link = route.link if local else route.server_link
        if route.user is None or link is None or link.secure:  # looked at first: over TLS it is as good as all
            return None
        try:
            mail = self._read_direct(sender, envelope)
        except ProtocolError:
            return None
        home = "" if local else route.user.home
        work = self._carrier.signing(mail, link) if local else partial(self._to_home, mail, home, link)
        if work is None:
            return None

        def then(frame: bytes) -> None:
            self._deliver(mail, self._answers.to_sender(mail), signed=_Signed(frame, home))

        return Step(work, then)

    def _read_direct(self, sender: User, envelope: Envelope) -> Mail:
        """Return a message of a user of ours; see `take_direct`."""
        mail = read_mail(envelope, sender.user_id, envelope.to)
        check_sender(sender, envelope, msg_ref=mail.msg_ref)
        age = socp.now_ms() - envelope.ts
        if not -self._limits.clock_skew <= age <= self._limits.message_age:
            raise ProtocolError(
                BAD_TIMESTAMP,
                f"sent at {envelope.ts}, the time here is {envelope.ts + age} (Unix ms)",
                msg_ref=mail.msg_ref,
            )
        if not socp.is_id(envelope.to):
            raise ProtocolError(USER_NOT_FOUND, "a direct message goes to the id of a user", msg_ref=mail.msg_ref)
        return mail

    def _slow_down(self, link: Link) -> None:
        """Wait a moment before a user's next frame is read, if a lot waits for the server that this one went to.

        Else what one user sends faster than that server works it off would keep everybody's waiting behind it.
        """
        link.wait_below(self._limits.crowded, self._timers.pause)

    def take_deliver(self, peer: Peer, envelope: Envelope) -> None:
        """Take a direct message from another server, and route it by the same rule (section 8.1)."""
        payload = envelope.payload
        store = payload.get("store", False)
        try:
            mail = read_mail(envelope, payload["sender"], payload["user_id"])
            if store:
                self._take_over(mail, peer)
            else:
                self._deliver_from(peer, mail, forwarded=payload.get("forwarded", False))
        except ProtocolError as error:
            if store:  # that server has the message still, and its sender knows that it is stored
                about = {"code": error.code, "detail": error.detail, **error.refs, "user_id": payload["sender"]}
                peer.link.send(self._origin.link_frame(peer.link, ERROR, peer.id, about))
            else:
                self._answers.refuse(payload["sender"], error, peer)

    def begin_deliver(self, peer: Peer, envelope: Envelope) -> Step | None:
        """Return what of `take_deliver` can be done ahead, of a message for a user of ours; see ahead.Stepwise."""
        payload = envelope.payload
        link = self._table.local_link(payload["user_id"])
        if link is None or link.secure or payload.get("store", False):
            return None
        try:
            mail = read_mail(envelope, payload["sender"], payload["user_id"])
        except ProtocolError:
            return None
        sign = self._carrier.signing(mail, link)
        if sign is None:
            return None

        def work() -> bytes:
            _check_signature(mail)  # first: what nobody has signed is not to have us sign
            return sign()

        def then(frame: bytes) -> None:
            signed = _Signed(frame)
            try:
                self._deliver_from(peer, mail, forwarded=payload.get("forwarded", False), signed=signed)
            except ProtocolError as error:
                self._answers.refuse(mail.sender, error, peer)

        return Step(work, then)

    def _deliver_from(self, peer: Peer, mail: Mail, *, forwarded: bool, signed: _Signed | None = None) -> None:
        answer = self._answers.to_sender(mail, peer)
        self._deliver(mail, answer, came_from=peer.id, forwarded=forwarded, signed=signed)

    def _take_over(self, mail: Mail, peer: Peer) -> None:
        """Store what another server hands over (section 9); if its recipient is here, it is delivered from there."""
        route = self._table.route(mail.recipient)
        if route.user is None:
            raise ProtocolError(USER_NOT_FOUND, "no user with this id was ever seen here", msg_ref=mail.msg_ref)
        if route.user.home == peer.id:
            # Else two servers that know different homes would hand it to each other, with a commit each time.
            detail = "the user is not where this server knows it to be"
            raise ProtocolError(USER_NOT_FOUND, detail, msg_ref=mail.msg_ref)
        _check_signature(mail)
        self._carrier.store(mail, self._answers.to_server(mail, peer))

    def _deliver(
        self,
        mail: Mail,
        answer: Answer,
        *,
        came_from: str = "",
        forwarded: bool = False,
        signed: _Signed | None = None,
    ) -> None:
        route = self._table.route(mail.recipient)
        if route.user is None:
            raise ProtocolError(USER_NOT_FOUND, "no user with this id was ever seen here", msg_ref=mail.msg_ref)
        if came_from and signed is None:  # what was signed ahead was checked before
            _check_signature(mail)  # a user of ours could only cheat itself of its own share
        home = route.user.home
        if route.where is Where.LOCAL:
            self._carrier.deliver(mail, answer, signed.frame if signed is not None and not signed.home else None)
        elif (
            route.server_link is None
            or forwarded
            or home == came_from  # the user is just moving, and one of us two does not know it yet
            or not self._pass_to_home(mail, home, route.server_link, forwarded=bool(came_from), signed=signed)
        ):
            self._carrier.store(mail, answer)

    def _pass_to_home(self, mail: Mail, home: str, link: Link, *, forwarded: bool, signed: _Signed | None) -> bool:
        if signed is not None and signed.home == home and not link.secure:
            frame = signed.frame
        else:
            frame = self._to_home(mail, home, link, forwarded=forwarded)
        sent = link.send(frame)
        if not forwarded:
            self._slow_down(link)
        return sent is Sent.YES

    def _to_home(self, mail: Mail, home: str, link: Link, *, forwarded: bool = False) -> bytes:
        """Return the frame that passes a message on to its recipient's home."""
        flags = {"forwarded": True} if forwarded else {}
        return self._origin.link_frame(link, SERVER_DELIVER, home, mail.to_server(**flags), mail.ts)

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
            self._answers.refuse(envelope.sender, error, peer)

    def _pass_on(self, envelope: Envelope, refs: dict[str, str], *, local_only: bool = False) -> None:
        route = self._table.route(envelope.to) if socp.is_id(envelope.to) else Route(Where.UNKNOWN)
        if route.link is not None and not (local_only and route.where is Where.REMOTE):
            self._hand_over(route.link, envelope.raw, envelope.type, refs)
            if route.where is Where.REMOTE:
                self._slow_down(route.link)
        elif OVERFLOW[envelope.type] is not Overflow.DROP:
            raise ProtocolError(USER_NOT_FOUND, "the user is not online", **refs)

    # --- what servers say about messages and frames of our users -------------------------------------------------

    def take_error(self, peer: Peer, envelope: Envelope) -> None:
        """Pass a server's ERROR about a frame of a user of ours on to that user, as one of our own."""
        if self._forwarder.take_answer(peer, envelope):
            return
        payload = envelope.payload
        user_id = payload.get("user_id")
        link = self._table.local_link(user_id) if user_id is not None else None
        refs: dict[str, object] = {name: payload[name] for name in ("msg_ref", "file_id") if name in payload}
        # One about nothing that the user has sent would pass for our own word about a question, or about the link.
        if user_id is None or link is None or not refs:
            log.info("%s answered %s: %s", peer.id, payload["code"], payload.get("detail", ""))
            return
        about: dict[str, object] = {
            "code": payload["code"][: socp.TYPE_MOST],
            "detail": visible(payload.get("detail", "")[: socp.DETAIL_MOST]),
            **refs,
        }
        link.send(self._origin.link_frame(link, ERROR, user_id, about))

    def take_ack(self, peer: Peer, envelope: Envelope) -> None:
        """Pass a server's ACK about a message of a user of ours on to that user, as one of our own (section 8.2)."""
        if self._forwarder.take_answer(peer, envelope):
            return
        payload = envelope.payload
        user_id, status = payload.get("user_id"), payload.get("status")
        link = self._table.local_link(user_id) if user_id is not None else None
        if user_id is None or link is None or status != "stored":
            log.info("%s sent an ACK that is for nobody here", peer.id)
            return
        about = {"msg_ref": payload["msg_ref"], "status": status}
        link.send(self._origin.link_frame(link, socp.ACK, user_id, about))

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
        if len(envelope.raw) > socp.BROADCAST_GOSSIP_MOST:
            # A whole MiB to each of our users would fill all queues together, and have honest users' links closed.
            detail = f"a broadcast's frame has at most {socp.BROADCAST_GOSSIP_MOST} bytes between servers"
            raise ProtocolError(TOO_LARGE, detail)
        self._publish(envelope, envelope.visited)

    def _publish(self, envelope: Envelope, visited: tuple[str, ...]) -> None:
        mesh = self._mesh()
        seen = mesh.fresh(envelope, broadcast_key(envelope))
        if seen is None or envelope.to != socp.PUBLIC:
            return
        check_broadcast(envelope)
        if not mesh.remember(seen):
            return
        # To our own users as the bytes that came in. Whoever has no room for them goes without.
        send_to_all(self._table.local_links(but=envelope.sender), envelope.raw)
        mesh.spread(envelope.to_wire(), visited)

    # --- questions ----------------------------------------------------------------------------------------------

    def take_list_request(self, link: Link, sender: User, bucket: Bucket, envelope: Envelope) -> None:
        """Answer USER_LIST_REQUEST.

        Args:
            link: of the user who asks.
            sender: the user.
            bucket: has a token for each question that the user may ask now.
            envelope: the question.

        Raises:
            ProtocolError: INVALID_SIG or SERVER_BUSY.
        """
        check_sender(sender, envelope)
        _check_rate(bucket)
        users, total = self._table.online_page(envelope.payload["after"], envelope.payload["limit"])
        entries = [user.to_listing() for user in users]
        page = {"users": entries, "total": total}
        link.send(self._origin.link_frame(link, USER_LIST, sender.user_id, page))

    def take_key_request(self, link: Link, sender: User, bucket: Bucket, envelope: Envelope) -> None:
        """Answer USER_KEY_REQUEST; see `take_list_request`.

        Raises:
            ProtocolError: INVALID_SIG, or SERVER_BUSY or USER_NOT_FOUND with the user_id.
        """
        check_sender(sender, envelope)
        user_id = envelope.payload["user_id"]
        _check_rate(bucket, user_id=user_id)
        user = self._table.user(user_id)
        if user is None:
            raise ProtocolError(USER_NOT_FOUND, "no user with this id was ever seen here", user_id=user_id)
        payload = {**user.to_wire(), "server_id": user.home, "online": user.online}
        link.send(self._origin.link_frame(link, USER_KEY, sender.user_id, payload))


def _check_rate(bucket: Bucket, **refs: str) -> None:
    if not bucket.take():
        raise ProtocolError(SERVER_BUSY, "too many questions; ask again later", **refs)


def check_sender(user: User, envelope: Envelope, **refs: str) -> None:
    """Refuse a frame that does not come from the user whom its link belongs to.

    Raises:
        ProtocolError: INVALID_SIG.
    """
    if envelope.sender != user.user_id or envelope.payload.get("sender_pub", user.pubkey) != user.pubkey:
        raise ProtocolError(INVALID_SIG, "from and sender_pub must be those of this link's user", **refs)


def _check_signature(mail: Mail) -> None:
    """Refuse a message that its sender has not signed, before it takes a place among those that are kept for it.

    No recipient would show it. Without this, a server could fill the share of another's user in a mailbox.

    Raises:
        ProtocolError: BAD_KEY or INVALID_SIG, with its msg_ref.
    """
    try:
        key = key_of(mail.sender_pub, mail.sender)
    except ProtocolError as error:
        raise ProtocolError(error.code, error.detail, msg_ref=mail.msg_ref) from error
    if not verify_content(key, MESSAGE, mail.signed_values(), mail.content_sig):
        raise ProtocolError(INVALID_SIG, "its sender has not signed this message", msg_ref=mail.msg_ref)


def _refs(envelope: Envelope) -> dict[str, str]:
    file_id = envelope.payload.get("file_id")
    return {"file_id": file_id} if file_id is not None else {}
