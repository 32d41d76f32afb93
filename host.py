"""What the introducer and the servers have in common: one port, and a thread for each connection to it.

A host accepts, runs the acceptor's side of the handshake, and hands the proved link to the program, in the thread
that will be its reader. It answers each error as section 5 says, and keeps the links so that they can be ended.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import socp
from addresses import Address, listen
from crypto.keys import PublicKey
from framing import FROM_SERVER, FROM_STRANGER, FROM_USER, BodyLimit, decode_frame, encode_frame
from handshake import Acceptor, Connector, HandshakeRefused, Proof
from link import Link
from origin import Origin
from settings import Settings
from socp import ACK, CTRL_CLOSE, ERROR, UNKNOWN_TYPE, USER_HELLO, Envelope, LinkError, ProtocolError
from threads import Alarms, Deadline, Threads
from transport import PlainTransport, Transport, accept_transport, connect_transport

log = logging.getLogger("socp.host")

Handler = Callable[[Envelope], None]


class Host:
    """One identity with a port and its links.

    Args:
        origin: who we are.
        settings: timers and limits.
        check_hello: see handshake.Acceptor.
        last_attachment: see handshake.Acceptor.
        serve: takes over an accepted link, in its reader's thread: sends the Acceptor's `accept` frame and calls
            `dispatch`. The link is closed when it returns.
    """

    def __init__(
        self,
        origin: Origin,
        settings: Settings,
        *,
        check_hello: Callable[[str, PublicKey, Mapping[str, Any]], None],
        last_attachment: Callable[[str], int],
        serve: Callable[[Link, Acceptor, Proof], None],
    ) -> None:
        self.origin = origin
        self.settings = settings
        self.threads = Threads()
        self.alarms = Alarms()
        self.stopping = threading.Event()
        self._check_hello = check_hello
        self._last_attachment = last_attachment
        self._serve = serve
        self._listener: socket.socket | None = None
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._lock = threading.Lock()  # guards _links and _count
        self._links: dict[Link, str] = {}  # to the id of its peer, "*" while that is not proved
        self._count = 0

    # --- accepting ----------------------------------------------------------------------------------------------

    def bind(self, address: Address) -> Address:
        """Take the port, and return the address with its real number.

        Raises:
            OSError: it cannot be had.
        """
        self._listener = listen(address)
        return Address(address.host, self._listener.getsockname()[1])

    def start(self) -> None:
        """Start to keep time and to accept."""
        self.alarms.start()
        self.threads.start("accept", self._accept)

    def _accept(self) -> None:
        assert self._listener is not None
        with contextlib.closing(self._listener) as listener, selectors.DefaultSelector() as selector:
            listener.setblocking(False)
            selector.register(listener, selectors.EVENT_READ)
            selector.register(self._wake_reader, selectors.EVENT_READ)
            while not self.stopping.is_set():
                selector.select()
                try:
                    connection, _ = listener.accept()
                except (BlockingIOError, ConnectionError):
                    continue  # woken to stop, or the peer has given up already
                except OSError as error:
                    # Out of descriptors or memory: the backlog keeps, and some link will end.
                    log.warning("cannot accept a connection: %s", error.strerror)
                    self.stopping.wait(self.settings.timers.retry_first)
                    continue
                self._welcome(connection)

    def _welcome(self, connection: socket.socket) -> None:
        try:
            plain = PlainTransport(connection)
        except OSError:
            connection.close()  # gone before we looked at it
            return
        link = self._new_link(plain, "conn")
        if not self.threads.start(link.name, lambda: self._run_accepted(link, plain)):
            link.abort()
            self._end(link)

    def _new_link(self, transport: Transport, kind: str, limit: BodyLimit = FROM_STRANGER) -> Link:
        with self._lock:
            self._count += 1
            name = f"{kind}-{self._count}"
        link = Link(transport, limit, settings=self.settings, alarms=self.alarms, threads=self.threads, name=name)
        link.expect_handshake(self.settings.timers.handshake)
        with self._lock:
            self._links[link] = socp.EVERYONE
        return link

    def _run_accepted(self, link: Link, plain: PlainTransport) -> None:
        acceptor = Acceptor(self.origin, self._check_hello, self._last_attachment, self.settings.limits.clock_skew)
        try:
            link.transport = accept_transport(plain)
            for frame in link.frames():
                envelope = socp.read_envelope(decode_frame(frame), frame)
                if envelope.type in (ERROR, ACK):
                    return  # never answered by an ERROR
                answer = acceptor.receive(envelope)
                if answer is not None:
                    link.send(answer)
                    continue
                assert acceptor.proof is not None
                self._serve_proved(link, acceptor, acceptor.proof)
                return
        except ProtocolError as error:
            link.finish(self.origin.error(acceptor.peer_id, error, known=False))
            log.info("%s from %s: %s", link.name, link.transport.peer, error)
        except OSError as error:
            log.debug("%s from %s: %s", link.name, link.transport.peer, error)
        finally:
            self._end(link)

    def _serve_proved(self, link: Link, acceptor: Acceptor, proof: Proof) -> None:
        self._note_peer(link, proof.key.id)
        try:
            self._serve(link, acceptor, proof)
        except ProtocolError as error:
            link.finish(self.origin.error(proof.key.id, error, known=True))
            log.info("%s: %s", link.name, error)

    def established(self, link: Link, hello: str) -> None:
        """Apply the limits of a link whose handshake is done."""
        link.handshake_done(FROM_USER if hello == USER_HELLO else FROM_SERVER)

    # --- connecting ---------------------------------------------------------------------------------------------

    def connect(self, address: Address, connector: Connector, serve: Callable[[Link, Envelope], None]) -> None:
        """Connect, shake hands, and let `serve` have the link, in this thread, until it returns.

        Args:
            address: where to.
            connector: our side of the handshake.
            serve: is given the link and the frame that ended the handshake.

        Raises:
            OSError: nobody could be reached there.
            HandshakeRefused: we were refused, or somebody else answers there.
            ProtocolError: the peer broke the rules of section 2.
        """
        link = self._new_link(connect_transport(address, self.settings.timers.connect), "link", FROM_SERVER)
        try:
            welcome = shake_hands(link, connector)
            assert connector.acceptor is not None
            self._note_peer(link, connector.acceptor.id)
            link.handshake_done(FROM_SERVER)
            try:
                serve(link, welcome)
            except ProtocolError as error:
                link.finish(self.origin.error(connector.acceptor.id, error, known=True))
                raise
        finally:
            self._end(link)

    # --- links that are up --------------------------------------------------------------------------------------

    def dispatch(self, link: Link, peer_id: str, handlers: Mapping[str, Handler]) -> None:
        """Read a link to its end, giving each envelope to the handler of its type.

        An error that a handler raises is answered and passed over, unless it is a LinkError.

        Raises:
            LinkError: an error that closes the link.
        """
        for frame in link.frames():
            value = decode_frame(frame)
            try:
                envelope = socp.read_envelope(value, frame)
                _handle(envelope, handlers)
            except LinkError:
                raise
            except ProtocolError as error:
                if value.get("type") in (ERROR, ACK):
                    log.info("%s sent a wrong %s: %s", peer_id, value["type"], error)
                    continue  # never answered by an ERROR
                log.info("%s: %s", peer_id, error)
                link.send(self.origin.error(peer_id, error, known=True))

    def close(self, link: Link, reason: str) -> None:
        """Close a link in an orderly way (section 6.4)."""
        if not link.closing:
            with self._lock:
                peer = self._links.get(link, socp.EVERYONE)
            link.finish(self.origin.frame(CTRL_CLOSE, peer, {"reason": reason}))

    def _note_peer(self, link: Link, peer_id: str) -> None:
        with self._lock:
            self._links[link] = peer_id
        log.debug("%s is %s at %s", link.name, peer_id, link.transport.peer)

    def _end(self, link: Link) -> None:
        link.end()
        with self._lock:
            del self._links[link]

    # --- the end ------------------------------------------------------------------------------------------------

    def stop(self, deadline: Deadline, first: Callable[[], None] = lambda: None) -> None:
        """Stop accepting, close every link with a farewell, and join every thread; harmless when repeated.

        Args:
            deadline: when all of it must be over.
            first: done when nothing more is accepted and the links still stand.
        """
        if self.stopping.is_set():
            return
        self.stopping.set()
        self._wake_writer.send(b"\0")
        first()
        with self._lock:
            links = dict(self._links)
        for link, peer in links.items():
            if peer == socp.EVERYONE:
                link.abort()
            else:
                self.close(link, "shutting down")
        self.threads.join(Deadline(deadline.left() * 0.8))
        with self._lock:
            late = list(self._links)
        for link in late:
            link.abort()
        if left := self.threads.join(deadline):
            log.warning("threads that did not end in time: %s", ", ".join(left))
        self.alarms.stop()
        self._wake_reader.close()
        self._wake_writer.close()


def shake_hands(link: Link, connector: Connector, said_hello: Callable[[], None] = lambda: None) -> Envelope:
    """Run the connector's side of the handshake, and return the frame that ended it.

    Args:
        link: a new one.
        connector: our side.
        said_hello: called when the hello has been sent.

    Raises:
        HandshakeRefused: the acceptor refused us, is not the one expected, or closed.
        ProtocolError: it broke the rules of section 2 or 3.
    """
    link.send(connector.hello())
    said_hello()
    for frame in link.frames():
        answer = connector.receive(socp.read_envelope(decode_frame(frame), frame))
        if answer is not None:
            link.send(answer)
            continue
        assert connector.welcome is not None
        return connector.welcome
    raise HandshakeRefused(socp.TIMEOUT, "the connection was closed in the middle of the handshake")


def send_gossip(envelope: Mapping[str, object], own_id: str, visited: Iterable[str], links: Mapping[str, Link]) -> None:
    """Carry a gossiped envelope on to those that it has not been sent to (section 7.3).

    Args:
        envelope: the six fields.
        own_id: who carries it on.
        visited: the servers that it has been sent to, as far as is known.
        links: to the servers that it could go to, by id.
    """
    been = {*visited, str(envelope["from"]), own_id}
    targets = {server_id: link for server_id, link in links.items() if server_id not in been}
    if not targets:
        return
    try:
        frame = encode_frame({**envelope, "visited": [*been, *targets]})
    except ValueError as error:
        # Somebody has filled it so far that the longer list makes it one that others must refuse, with our link.
        log.info("gossip of %s goes no further: %s", envelope["from"], error)
        return
    for link in targets.values():
        link.send(frame)


def _handle(envelope: Envelope, handlers: Mapping[str, Handler]) -> None:
    handler = handlers.get(envelope.type)
    if handler is None:
        if envelope.type in socp.HELLOS:
            raise LinkError(socp.UNAUTHENTICATED, "a second hello")
        if envelope.type in socp.SHAPES:
            raise ProtocolError(socp.NOT_ALLOWED, f"{envelope.type} is not for you to send here")
        raise ProtocolError(UNKNOWN_TYPE, "no frame of that type is known here")
    socp.check_payload(envelope)
    handler(envelope)
