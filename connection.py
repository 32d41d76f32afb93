"""A client's link to one of its servers, and the thread that reads it and connects again when it is gone.

PROTOCOL.md sections 5.1 and 6.4. What the frames say is for others: this knows of a CTRL_CLOSE alone that it is one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import socp
from addresses import Address
from backoff import Backoff
from channels import connect_transport
from crypto.keys import PublicKey
from crypto.signing import Signer
from errors import AttachRefused, NotConnected, ServerChanged
from framing import FROM_SERVER, encode_chunk, encode_frame
from handshake import Connector, HandshakeRefused
from host import shake_hands
from link import Link
from outflow import Sent
from profiles import Profile, ProfileError
from settings import Settings
from socp import ProtocolError
from threads import Alarms, Deadline, Threads

log = logging.getLogger("socp.connection")

CLIENT = "socp-cli/1.0"


class Send(Protocol):
    """Sends a frame of ours, waiting while the server takes no more; raises ChatError when it cannot be."""

    def __call__(self, frame_type: str, to: str, payload: dict[str, object], ts: int | None = None) -> None:
        """Send it; `ts` is in Unix ms, now if None."""


class SendBinary(Protocol):
    """Sends as Send does, with fields of base64url in the payload besides; see framing.encode_chunk."""

    def __call__(
        self,
        frame_type: str,
        to: str,
        payload: dict[str, object],
        ts: int | None = None,
        binary: Mapping[str, bytes] | None = None,
    ) -> None:
        """Send it; `ts` is in Unix ms, now if None."""


@dataclass(frozen=True)
class LinkStatus:
    """A link that is up.

    Attributes:
        address: where its server was found.
        server_id: the server's.
        secure: whether it is over TLS.
        since: when it came up, Unix seconds.
    """

    address: Address
    server_id: str
    secure: bool
    since: float


@dataclass(frozen=True)
class Watcher:
    """Whoever is told of a connection's life, in its thread but for the first `up`.

    Attributes:
        frame: takes a frame; returns why the server closes, if it says so in it.
        up: there is a link to the server at that address; the second argument tells whether there was one before.
        down: it is gone, for that reason; the second argument tells whether that is the end.
        notice: something that the user should know.
    """

    frame: Callable[[bytes], str | None]
    up: Callable[[Address, bool], None]
    down: Callable[[str, bool], None]
    notice: Callable[[str], None]


class Connection:
    """The connection of one client.

    Args:
        signer: the user.
        caps: see PROTOCOL.md section 5.1.
        profile: where servers are pinned, and the display name is kept.
        settings: timers and limits.
        alarms: keeps its heartbeat.
        threads: where its thread is registered.
        watcher: told what happens.
    """

    def __init__(
        self,
        signer: Signer,
        caps: Sequence[str],
        profile: Profile,
        *,
        settings: Settings,
        alarms: Alarms,
        threads: Threads,
        watcher: Watcher,
    ) -> None:
        self._signer = signer
        self._caps = list(caps)
        self._profile = profile
        self._settings = settings
        self._timers = settings.timers
        self._alarms = alarms
        self._threads = threads
        self._watcher = watcher
        self._trusted = ""
        self._backoff = Backoff(self._timers.retry_first, self._timers.retry_client)
        self._hurried = False  # a server was left at once, and no link has stood since
        self._attached_at = 0  # Unix ms, as it was signed
        self._leaving = threading.Event()
        self.ended = threading.Event()  # it is gone, and will not come back by itself
        self._changed = threading.Condition()  # guards all below
        self._addresses: list[Address] = []  # in the order in which they are tried
        self._link: Link | None = None  # the newest, also while its handshake lasts
        self._server: PublicKey | None = None  # at the end of the link that is up; None while there is none
        self._status: LinkStatus | None = None  # of the newest that was up

    @property
    def server(self) -> PublicKey | None:
        """The key of the server that we are attached to, None while we are not."""
        with self._changed:
            return self._server

    @property
    def status(self) -> LinkStatus | None:
        """What is known of the link that is up, None while there is none."""
        with self._changed:
            return self._status if self._server is not None else None

    @property
    def secure(self) -> bool:
        """Whether the link is over TLS."""
        with self._changed:
            return self._link is not None and self._link.secure

    def wait_attached(self, seconds: float) -> bool:
        """Wait until there is a link; False when that took longer, or there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._server is not None or self._over(), seconds)
            return self._server is not None and not self._over()

    def _over(self) -> bool:
        return self._leaving.is_set() or self.ended.is_set()

    # --- attaching ----------------------------------------------------------------------------------------------

    def open(self, addresses: Sequence[Address], trusted: str, said_hello: Callable[[], None]) -> None:
        """Attach to the first server that takes us in, and stay attached from then on; see Chat.attach."""
        self.ended.clear()
        self._trusted = trusted
        with self._changed:
            self._addresses = list(dict.fromkeys(addresses))
        address, link = self._attach_to_any(said_hello)
        if not self._threads.start("connection", partial(self._run, address, link)):
            link.abort()
            link.end()
            raise NotConnected("this client is leaving")

    def _attach_to_any(self, said_hello: Callable[[], None]) -> tuple[Address, Link]:
        failure: NotConnected | AttachRefused | None = None
        for address in list(self._addresses):
            try:
                return address, self._attach(address, said_hello)
            except NotConnected as error:
                failure = failure or error
            except AttachRefused as error:
                # Another server may let us in. TIMEOUT is what it comes to that a crowded one closes without a word.
                if error.code not in (socp.NOT_ALLOWED, socp.SERVER_BUSY, socp.TIMEOUT):
                    raise
                failure = error
        raise failure or NotConnected("no server was named")

    def _attach(self, address: Address, said_hello: Callable[[], None] = lambda: None) -> Link:
        """Connect to a server and prove who we are.

        Raises:
            NotConnected, ServerChanged, AttachRefused, ProfileError: see Chat.attach.
        """
        try:
            transport = connect_transport(address, self._timers.connect, self._settings.tls)
        except OSError as error:
            raise NotConnected(f"cannot reach a server at {address}: {error.strerror or error}") from error
        link = Link(
            transport, FROM_SERVER, settings=self._settings, alarms=self._alarms, threads=self._threads, name="server"
        )
        with self._changed:
            self._link = link
        link.expect_handshake(self._timers.handshake)
        name = self._profile.display_name
        connector = Connector(
            self._signer,
            socp.USER_HELLO,
            {"client": CLIENT, "meta": {"display_name": name} if name else {}, "caps": self._caps},
            partial(self._check_pin, address),
            socp.EVERYONE,
            self._settings.limits.clock_skew,
            # Later than our last attachment also where the server has not heard of that, and our clock has gone back.
            lambda: max(socp.now_ms(), self._attached_at + 1),
        )
        attached = False
        try:
            if self._leaving.is_set():
                raise NotConnected("this client is leaving")
            shake_hands(link, connector, said_hello)
            assert connector.acceptor is not None
            # Only now: whoever shows somebody's public key has not proved before the end to be its owner.
            self._pin(address, connector.acceptor.id)
            attached = True
        except (HandshakeRefused, ProtocolError) as error:
            raise AttachRefused(error.code, error.detail) from error
        except OSError as error:
            raise NotConnected(f"cannot talk to a server at {address}: {error.strerror or error}") from error
        finally:
            if not attached:
                link.abort()
                link.end()
        link.handshake_done(FROM_SERVER)
        self._attached_at = connector.attached_at
        with self._changed:
            self._server = connector.acceptor
            self._status = LinkStatus(address, connector.acceptor.id, link.secure, time.time())
            self._changed.notify_all()
        self._beat(link)
        return link

    def _check_pin(self, address: Address, found: PublicKey) -> None:
        pinned = self._profile.pin(address)
        if pinned is not None and found.id not in (pinned, self._trusted):
            raise ServerChanged(str(address), pinned, found.id, self._profile.pinned_at(address))

    def _pin(self, address: Address, server_id: str) -> None:
        if self._profile.pin(address) != server_id:
            self._profile.set_pin(address, server_id)
            self._watcher.notice(f"the server at {address} is {server_id}; pinned in this profile")

    # --- the link -----------------------------------------------------------------------------------------------

    def _run(self, address: Address, link: Link) -> None:
        again = told_end = False
        try:
            while True:
                self._watcher.up(address, again)
                began = time.monotonic()
                reason, told = self._read(link)
                with self._changed:
                    self._server = None
                final = told and reason == socp.ATTACHED_ELSEWHERE
                told_end = final or self._leaving.is_set()
                self._lose(f"the server says: {reason}" if told else reason, final, told_end)
                if told_end:
                    return
                stood = time.monotonic() - began >= self._timers.stood
                found = self._attach_again(address, told, stood)
                if found is None:
                    told_end = True
                    if not self._leaving.is_set():
                        self._lose("no server is left to go to", True, True)
                    return
                address, link = found
                again = True
        finally:
            with self._changed:
                self._server = None
            if not told_end:
                self._lose("a fault of this client", True, True)  # a bug of ours, which the log tells of
            self._end()

    def _lose(self, reason: str, final: bool, end: bool) -> None:
        """Tell that there is no link, once it can be seen, where it is so, that there will be none again."""
        if end:
            self._end()
        self._watcher.down(reason, final)

    def _end(self) -> None:
        with self._changed:
            self.ended.set()
            self._changed.notify_all()

    def _read(self, link: Link) -> tuple[str, bool]:
        """Read a link to its end; return why it ended, and whether the server has said so."""
        farewell: str | None = None
        reason = "the server closed the connection"
        try:
            for frame in link.frames():
                farewell = self._watcher.frame(frame)
                if farewell is not None:
                    link.finish()
        except ProtocolError as error:
            reason = f"the server broke the protocol: {error}"
        finally:
            link.finish()
            link.end()
        return (reason, False) if farewell is None else (farewell, True)

    def _attach_again(self, address: Address, told: bool, stood: bool) -> tuple[Address, Link] | None:
        """Attach to one of the servers again, whenever that is possible; None if it never will be.

        Args:
            address: of the one that is gone.
            told: whether it has said so: then it is gone for some time, and the others are tried first.
            stood: whether its link has lasted. Servers that let us in and go, one after the other, must not keep us
                running round.
        """
        if stood:
            self._backoff.reset()
            self._hurried = False
        with self._changed:
            place = self._addresses.index(address) + told
            self._addresses = self._addresses[place:] + self._addresses[:place]
            hurry = len(self._addresses) > 1 and not self._hurried
        self._hurried = True
        wait = 0.0 if hurry else self._backoff.next()
        said: set[str] = set()
        while not self._leaving.wait(wait):
            for candidate in list(self._addresses):
                if self._leaving.is_set():
                    return None
                try:
                    return candidate, self._attach(candidate)
                except ServerChanged as error:
                    # Nobody is here to say that the one that is there now is right.
                    self._leave_out(
                        candidate,
                        f"refused: {error}. Somebody may be in the middle. If you know that it was replaced, start "
                        f"again with --trust-server {error.found}",
                    )
                except NotConnected as error:
                    log.info("%s", error)
                except AttachRefused as error:
                    if error.code == socp.NOT_ALLOWED:  # which will be the same the next time, and every time after
                        self._leave_out(candidate, f"the server at {candidate} does not let this user in: {error}")
                    else:
                        self._say_once(said, f"cannot attach at {candidate}: {error}; trying again")
                except ProfileError as error:
                    self._say_once(said, f"cannot attach at {candidate}: {error}; trying again")
            if not self._addresses:
                return None
            wait = self._backoff.next()
        return None

    def _leave_out(self, address: Address, reason: str) -> None:
        """Go on without a server, for good."""
        with self._changed:
            self._addresses.remove(address)
        self._watcher.notice(reason)

    def _say_once(self, said: set[str], text: str) -> None:
        if text not in said:
            said.add(text)
            self._watcher.notice(text)

    def _beat(self, link: Link) -> None:
        if not link.closing:
            link.send(self.frame(socp.HEARTBEAT, socp.EVERYONE, {}))
            self._alarms.after(self._timers.heartbeat, partial(self._beat, link))

    # --- sending ------------------------------------------------------------------------------------------------

    def frame(
        self,
        frame_type: str,
        to: str,
        payload: dict[str, object],
        ts: int | None = None,
        binary: Mapping[str, bytes] | None = None,
    ) -> bytes:
        """Return a frame of ours; see SendBinary."""
        ts = socp.now_ms() if ts is None else ts
        envelope = socp.make_envelope(frame_type, self._signer.public.id, to, ts, payload)
        return encode_frame(envelope) if binary is None else encode_chunk(envelope, binary)

    def send(
        self,
        frame_type: str,
        to: str,
        payload: dict[str, object],
        ts: int | None = None,
        binary: Mapping[str, bytes] | None = None,
    ) -> None:
        """Send a frame of ours, waiting while the server takes no more; see SendBinary.

        Raises:
            NotConnected: it cannot be sent.
        """
        with self._changed:
            link = self._link if self._server is not None else None
        if link is None:
            raise NotConnected("not connected to a server")
        frame = self.frame(frame_type, to, payload, ts, binary)
        while (sent := link.send(frame)) is Sent.FULL:
            if not link.wait_until_drained(self._timers.silence):
                raise NotConnected("the server takes nothing any more")
        if sent is Sent.CLOSED:
            raise NotConnected("not connected to a server any more")

    def answer_probe(self, server_id: str) -> None:
        """Show a server that asks for it that this client lives."""
        with self._changed:
            link = self._link
        if link is not None:
            link.send(self.frame(socp.HEARTBEAT, server_id, {}))  # never waits: the reader's thread is here

    def leave(self) -> None:
        """Connect to no server again, and let nobody wait for one; a link that is up stays."""
        with self._changed:
            self._leaving.set()
            self._changed.notify_all()

    def close(self, deadline: Deadline) -> None:
        """Say goodbye to the server, and connect to none again. Harmless when repeated."""
        self.leave()
        with self._changed:
            attached = self._server is not None
            link = self._link
        if link is None:
            return
        if attached:
            link.finish(self.frame(socp.CTRL_CLOSE, socp.EVERYONE, {"reason": "leaving"}))
            self.ended.wait(deadline.left())
        else:
            link.abort()
