"""What the introducer and the servers have in common: one port, and a thread for each connection to it.

A host accepts, runs the acceptor's side of the handshake, and hands the proved link to the program, in the thread
that will be its reader. It answers each error as section 5 says, and keeps the links so that they can be ended.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import socp
from addresses import Address, listen, source_of
from ahead import MOST, Ahead, Handler, Signers
from aside import Aside
from budget import Budget
from channels import accept_transport, connect_transport
from crypto.keys import PublicKey
from framing import BodyLimit, decode_frame
from gate import Gate, most_links
from gathering import Gathering
from handshake import Acceptor, Connector, HandshakeRefused, Proof
from link import Link
from origin import Origin
from settings import Settings
from socp import (
    ACK,
    BAD_FRAME,
    CTRL_CLOSE,
    ERROR,
    TOO_LARGE,
    UNKNOWN_TYPE,
    USER_HELLO,
    Envelope,
    LinkError,
    ProtocolError,
)
from threads import Alarms, Deadline, Threads
from tls import TlsError
from transport import PlainTransport, Transport
from usual import read_usual
from workers import Workers

log = logging.getLogger("socp.host")

# Bytes of a frame that may take long, as users of a server do, each of whom is verified: what was gathered goes first.
_LONG = 32 * 1024


def _never(_frame: bytes, _peer_id: str) -> bool:
    return False


class Handlers(Protocol):
    """What to do with each type of frame: a mapping, or what looks like one."""

    def get(self, frame_type: str, /) -> Handler | None:
        """Return the handler of a type; None when no such frame is taken here."""


class Host:
    """One identity with a port and its links.

    Args:
        origin: who we are.
        settings: timers and limits.
        context: what TLS is done with on our port.
        check_hello: see handshake.Acceptor.
        last_attachment: see handshake.Acceptor.
        serve: takes over an accepted link, in its reader's thread: sends the Acceptor's `accept` frame and calls
            `dispatch`, or returns what does so, so that the proof is kept no longer than that. The link is closed when
            it returns, or what it returns does.
    """

    def __init__(
        self,
        origin: Origin,
        settings: Settings,
        *,
        context: ssl.SSLContext,
        check_hello: Callable[[str, PublicKey, Mapping[str, Any]], None],
        last_attachment: Callable[[str], int],
        serve: Callable[[Link, Acceptor, Proof], Callable[[], None] | None],
    ) -> None:
        self.origin = origin
        self.settings = settings
        self.threads = Threads()
        self.alarms = Alarms()
        self.aside = Aside(self.threads)
        # One core is for the reader that it is done for. What may wait is what one reader gives.
        self.signers = Signers(Workers(self.threads, settings.timers.idle, spared=1, most=MOST))
        self.stopping = threading.Event()
        self._context = context
        self._check_hello = check_hello
        self._last_attachment = last_attachment
        self._serve = serve
        self._listener: socket.socket | None = None
        self._deaf = threading.Event()  # while nothing is accepted
        self._deaf.set()
        self._wake_reader, self._wake_writer = socket.socketpair()
        limits = settings.limits
        self._from_stranger = BodyLimit(limits.frame_stranger, BAD_FRAME)
        self._from_user = BodyLimit(limits.frame_user, TOO_LARGE)
        self._from_server = BodyLimit(limits.frame_server, BAD_FRAME)
        self._gate = Gate(settings)
        self._budget = Budget(limits.queues)
        self._most_links = most_links()
        self._changed = threading.Condition()  # guards the three below
        self._links: dict[Link, str] = {}  # to the id of its peer, "*" while that is not proved
        self._count = 0
        self._ended = 0  # links, so far

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
        self.aside.start()
        self._deaf.clear()
        if not self.threads.start("accept", self._accept):
            self._deaf.set()

    def _accept(self) -> None:
        try:
            self._accept_until_stopped()
        finally:
            self._deaf.set()

    def _accept_until_stopped(self) -> None:
        assert self._listener is not None
        with contextlib.closing(self._listener) as listener, selectors.DefaultSelector() as selector:
            listener.setblocking(False)
            selector.register(listener, selectors.EVENT_READ)
            selector.register(self._wake_reader, selectors.EVENT_READ)
            while self._wait_for_room():
                selector.select()
                try:
                    connection, address = listener.accept()
                except (BlockingIOError, ConnectionError):
                    continue  # woken to stop, or the peer has given up already
                except OSError as error:
                    self._pause(str(error.strerror))
                    continue
                source = source_of(address[0])
                if not self._gate.admits(source):
                    connection.close()
                elif not self._welcome(connection, source):
                    self._pause("there is no thread for one")

    def _wait_for_room(self) -> bool:
        """Wait while there are as many links as descriptors allow; False when the host stops.

        The backlog keeps those who come meanwhile, and what is connected goes on.
        """
        with self._changed:
            if len(self._links) >= self._most_links:
                log.warning("%d links are all that this process has descriptors for", len(self._links))
            self._changed.wait_for(lambda: self.stopping.is_set() or len(self._links) < self._most_links)
            return not self.stopping.is_set()

    def _pause(self, why: str) -> None:
        """Wait until a link has ended; not for ever, since others on this machine may have taken what we lack."""
        log.warning("no more connections can be accepted now: %s", why)
        with self._changed:
            ended = self._ended
            self._changed.wait_for(
                lambda: self.stopping.is_set() or self._ended != ended, self.settings.timers.retry_first
            )

    def _welcome(self, connection: socket.socket, source: str) -> bool:
        """Begin to read a connection; False when there is no thread for it."""
        try:
            plain = PlainTransport(connection)
        except OSError:
            connection.close()  # gone before we looked at it
            return True
        link = self._new_link(plain, "conn", self._from_stranger)
        link.source = source
        self._gate.enter(link, source)
        if self.threads.start(link.name, lambda: self._run_accepted(link, plain, source)):
            return True
        link.abort()
        self._end(link)
        return False

    def _new_link(self, transport: Transport, kind: str, limit: BodyLimit) -> Link:
        with self._changed:
            self._count += 1
            name = f"{kind}-{self._count}"
        link = Link(
            transport,
            limit,
            settings=self.settings,
            alarms=self.alarms,
            threads=self.threads,
            name=name,
            budget=self._budget,
        )
        link.expect_handshake(self.settings.timers.handshake)
        with self._changed:
            self._links[link] = socp.EVERYONE
        return link

    def _run_accepted(self, link: Link, plain: PlainTransport, source: str) -> None:
        acceptor = Acceptor(self.origin, self._check_newcomer, self._last_attachment, self.settings.limits.clock_skew)
        code: str | None = None
        try:
            link.transport = accept_transport(plain, self._context, self.settings.tls)
            link.begin()
            acceptor.secure = link.secure
            for frame in link.frames():
                answer = self.aside.do(partial(_take_of_stranger, link, acceptor, frame))
                del frame
                if answer is None:
                    break
                self._gate.greet(link)
                link.send(answer)
            if acceptor.proof is not None:
                go_on = self._serve_proved(link, acceptor, acceptor.proof)
                if go_on is not None:
                    go_on()
        except ProtocolError as error:
            code = error.code
            link.finish(self.origin.error(acceptor.peer_id, error, link if acceptor.proved else None))
            log.info("%s from %s: %s", link.name, link.transport.peer, error)
        except OSError as error:
            level = logging.INFO if isinstance(error, TlsError) else logging.DEBUG
            log.log(level, "%s from %s: %s", link.name, link.transport.peer, error)
        finally:
            self._end(link)
            if not self.stopping.is_set():
                self._gate.note_failure(source, code, proved=acceptor.proved)

    def _check_newcomer(self, hello: str, key: PublicKey, payload: Mapping[str, Any]) -> None:
        self._gate.check_room(hello)
        self._check_hello(hello, key, payload)

    def _serve_proved(self, link: Link, acceptor: Acceptor, proof: Proof) -> Callable[[], None] | None:
        self._note_peer(link, proof.key.id)
        self._gate.prove(link, proof.hello)
        return self._serve(link, acceptor, proof)

    def established(self, link: Link, hello: str) -> None:
        """Apply the limits of a link whose handshake is done."""
        link.handshake_done(self._from_user if hello == USER_HELLO else self._from_server)

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
        transport = connect_transport(address, self.settings.timers.connect, self.settings.tls)
        link = self._new_link(transport, "link", self._from_server)
        try:
            welcome = shake_hands(link, connector)
            assert connector.acceptor is not None
            self._note_peer(link, connector.acceptor.id)
            link.handshake_done(self._from_server)
            try:
                serve(link, welcome)
            except ProtocolError as error:
                link.finish(self.origin.error(connector.acceptor.id, error, link))
                raise
        finally:
            self._end(link)

    # --- links that are up --------------------------------------------------------------------------------------

    def dispatch(
        self, link: Link, peer_id: str, handlers: Handlers, asks_nothing: Callable[[bytes, str], bool] = _never
    ) -> None:
        """Read a link to its end, giving each envelope to the handler of its type.

        An error that a handler raises is answered and passed over, unless it is a LinkError.

        Args:
            link: what is read.
            peer_id: whose it is.
            handlers: by type.
            asks_nothing: tells of a frame and the peer whether it is one that is right and has no effect.

        Raises:
            LinkError: an error that closes the link.
        """
        ahead = Ahead(link, self.signers, partial(self._handle, link, peer_id))
        with Gathering() as gathering, contextlib.closing(ahead):

            def settle() -> None:
                ahead.settle()
                gathering.flush()

            try:
                for frame in link.frames(settle):
                    if len(frame) > _LONG:
                        if not ahead.settle():
                            break
                        gathering.flush()
                    if not asks_nothing(frame, peer_id):
                        self._take(link, peer_id, frame, handlers, ahead)
                    del frame  # a large one, and what was read from it, are not kept while the next is waited for
                    gathering.flush_if_due()
            except LinkError:
                ahead.settle()  # what came before it counts still; if that is what has raised it, nothing waits
                raise

    def _take(self, link: Link, peer_id: str, frame: bytes, handlers: Handlers, ahead: Ahead) -> None:
        envelope = read_usual(frame)
        value = decode_frame(frame) if envelope is None else {}
        frame_type = value.get("type") if envelope is None else envelope.type
        try:
            if envelope is None:
                envelope = socp.read_envelope(value, frame)
                handler = _handler_of(envelope, handlers)
                socp.check_payload(envelope)
            else:
                handler = _handler_of(envelope, handlers)  # its payload has been checked
        except LinkError:
            raise
        except ProtocolError as error:
            if ahead.settle():
                self._answer(link, peer_id, frame_type, error)
        else:
            ahead.put(envelope, handler)

    def _handle(self, link: Link, peer_id: str, envelope: Envelope, handler: Handler) -> None:
        try:
            handler(envelope)
        except LinkError:
            raise
        except ProtocolError as error:
            self._answer(link, peer_id, envelope.type, error)

    def _answer(self, link: Link, peer_id: str, frame_type: object, error: ProtocolError) -> None:
        """Tell a peer what is wrong with a frame."""
        if frame_type in (ERROR, ACK):
            log.info("%s sent a wrong %s: %s", peer_id, frame_type, error)
            return  # never answered by an ERROR
        log.info("%s: %s", peer_id, error)
        link.send(self.origin.error(peer_id, error, link))

    def close(self, link: Link, reason: str) -> None:
        """Close a link in an orderly way (section 6.4)."""
        if not link.closing:
            with self._changed:
                peer = self._links.get(link, socp.EVERYONE)
            link.finish(self.origin.link_frame(link, CTRL_CLOSE, peer, {"reason": reason}))

    def refuse(self, link: Link, error: LinkError) -> None:
        """Tell a peer whose handshake is done why its link is closed, and close it."""
        if not link.closing:
            with self._changed:
                peer = self._links.get(link, socp.EVERYONE)
            link.finish(self.origin.error(peer, error, link))

    def _note_peer(self, link: Link, peer_id: str) -> None:
        with self._changed:
            self._links[link] = peer_id
        log.debug("%s is %s (%s)", link.name, peer_id, link.where)

    def _end(self, link: Link) -> None:
        link.end()
        self._gate.leave(link)
        with self._changed:
            del self._links[link]
            self._ended += 1
            self._changed.notify_all()

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
        with self._changed:
            self._changed.notify_all()
        self._deaf.wait(deadline.left() * 0.2)  # else who comes now would be cut off without a word
        first()
        with self._changed:
            links = dict(self._links)
        for link, peer in links.items():
            if peer == socp.EVERYONE:
                link.abort()
            else:
                self.close(link, "shutting down")
        self.aside.stop()
        self.signers.stop()
        self.threads.join(Deadline(deadline.left() * 0.8))
        with self._changed:
            late = list(self._links)
        for link in late:
            link.abort()
        if left := self.threads.join(deadline):
            log.warning("threads that did not end in time: %s", ", ".join(left))
        self.alarms.stop()
        self._wake_reader.close()
        self._wake_writer.close()


def _take_of_stranger(link: Link, acceptor: Acceptor, frame: bytes) -> bytes | None:
    """Take a frame of a handshake; return what to answer, None if nothing.

    Raises:
        ProtocolError: see Acceptor.receive.
    """
    if link.closing:
        return None  # it had to give way: only who has a place may have others wait for what is done for it
    envelope = socp.read_envelope(decode_frame(frame), frame)
    if envelope.type in (ERROR, ACK):
        return None  # never answered by an ERROR
    return acceptor.receive(envelope)


def shake_hands(link: Link, connector: Connector, said_hello: Callable[[], None] = lambda: None) -> Envelope:
    """Run the connector's side of the handshake, and return the frame that ended it.

    Args:
        link: a new one.
        connector: our side.
        said_hello: called when the hello has been sent.

    Raises:
        OSError: TLS could not be set up.
        HandshakeRefused: the acceptor refused us, is not the one expected, or closed.
        ProtocolError: it broke the rules of section 2 or 3.
    """
    link.begin()
    link.send(connector.hello(link.transport.channel_key))
    said_hello()
    for frame in link.frames():
        answer = connector.receive(socp.read_envelope(decode_frame(frame), frame))
        if answer is not None:
            link.send(answer)
            continue
        assert connector.welcome is not None
        return connector.welcome
    raise HandshakeRefused(socp.TIMEOUT, "the connection was closed in the middle of the handshake")


def _handler_of(envelope: Envelope, handlers: Handlers) -> Handler:
    """Return what takes a frame of that type.

    Raises:
        ProtocolError: it is not for this peer to send, or nobody knows it.
    """
    handler = handlers.get(envelope.type)
    if handler is None:
        if envelope.type in socp.HELLOS:
            raise LinkError(socp.UNAUTHENTICATED, "a second hello")
        if envelope.type in socp.SHAPES:
            raise ProtocolError(socp.NOT_ALLOWED, f"{envelope.type} is not for you to send here")
        raise ProtocolError(UNKNOWN_TYPE, "no frame of that type is known here")
    return handler
