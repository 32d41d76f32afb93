"""A SOCP introducer: admits servers to the network, and tells each who is there (PROTOCOL.md section 6.1).

python introducer.py --port 8000
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import secrets
import ssl
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import socp
from access import Access, ListError
from addresses import Address
from ahead import Handler
from channels import add_tls_flags, check_tls_flags, with_tls_flags
from console import say, speak_utf8, start_logging
from crypto.encoding import canonical
from crypto.keys import PublicKey
from crypto.signing import KeySigner, Signer
from files import replace_file
from flags import User, add_flags, with_flags
from gossip import send_gossip
from handshake import Acceptor, Proof
from host import Host
from link import Link
from membership import Membership, check_announce, check_host, issue
from origin import Origin, check_link_frame
from programs import (
    ArgumentParser,
    StartError,
    bind,
    hold_signals,
    load_key,
    own_directory,
    port_argument,
    prepare_process,
    prepare_tls,
    run_program,
    run_until_told,
)
from routing import SeenCache
from settings import Settings
from socp import NOT_ALLOWED, SERVER_BUSY, SERVER_HELLO_JOIN, Envelope, LinkError, ProtocolError
from threads import Deadline

log = logging.getLogger("socp.introducer")

# What the memberships in SERVER_WELCOME may take, so that the whole of it fits a frame.
_SERVERS_BYTES = 900_000


class Introducer:
    """A running introducer.

    Args:
        signer: its identity.
        settings: timers and limits.
        context: what TLS is done with on our port.
        access: which servers may join.
    """

    def __init__(self, signer: Signer, settings: Settings, *, context: ssl.SSLContext, access: Access) -> None:
        self._origin = Origin(signer)
        self._settings = settings
        self._access = access
        self._pins = {signer.public.id: signer.public}
        self._seen = SeenCache(settings.limits.seen, settings.timers.seen)
        self._lock = threading.Lock()  # guards _servers
        self._servers: dict[str, tuple[Link, Membership]] = {}
        self.host = Host(
            self._origin,
            settings,
            context=context,
            check_hello=self._check_hello,
            last_attachment=lambda _: 0,
            serve=self._serve,
        )

    def start(self) -> None:
        """Start to accept. `host.bind` has been called."""
        self.host.threads.start("heartbeat", self._run_heartbeat)
        self.host.start()

    def stop(self) -> None:
        """End everything in an orderly way, within `timers.stop`."""
        self.host.stop(Deadline(self._settings.timers.stop))

    def read_again(self) -> None:
        """Read the list of admitted servers again, and close the links of those that are not on it any more."""
        if not self._access.read_again():
            return
        for server_id, (link, membership) in self._joined().items():
            if not self._access.allows(server_id):
                # Other servers believe what we have signed, and ask nobody.
                expires = datetime.fromtimestamp(membership.expires / 1000, timezone.utc).isoformat(timespec="seconds")
                log.warning("server %s is not admitted any more; its membership lasts until %s", server_id, expires)
                self.host.refuse(link, LinkError(NOT_ALLOWED, "this server is not admitted any more"))

    def _run_heartbeat(self) -> None:
        while not self.host.stopping.wait(self._settings.timers.heartbeat):
            for server_id, link in self._links().items():
                link.send(self._origin.link_frame(link, socp.HEARTBEAT, server_id, {}))

    def _joined(self) -> dict[str, tuple[Link, Membership]]:
        with self._lock:
            return dict(self._servers)

    def _links(self) -> dict[str, Link]:
        return {server_id: link for server_id, (link, _) in self._joined().items()}

    def _check_hello(self, hello: str, key: PublicKey, payload: Mapping[str, Any]) -> None:
        if hello != SERVER_HELLO_JOIN:
            raise ProtocolError(NOT_ALLOWED, "this is an introducer; it takes servers that join, and nobody else")
        self._check_allowed(key.id)
        check_host(payload["host"])

    def _check_allowed(self, server_id: str) -> None:
        if not self._access.allows(server_id):
            raise LinkError(NOT_ALLOWED, f"{server_id} is not on this introducer's list of admitted servers")

    def _serve(self, link: Link, acceptor: Acceptor, proof: Proof) -> None:
        address = Address(proof.payload["host"], proof.payload["port"])
        lifetime = self._settings.limits.membership
        membership = issue(self._origin.signer, proof.key, address, socp.now_ms(), lifetime)
        link.hold()  # an announcement by another server must not overtake the welcome
        with self._lock:
            older = self._servers.get(proof.key.id)
            if older is None and len(self._servers) >= self._settings.limits.servers:
                # Without --allow, anybody can join, with as many keys as they like.
                raise ProtocolError(SERVER_BUSY, "this introducer has no more room for servers")
            others = [other for server_id, (_, other) in self._servers.items() if server_id != proof.key.id]
            self._servers[proof.key.id] = (link, membership)
        try:
            self._check_allowed(proof.key.id)  # the list may have been read again since the hello
            welcome = acceptor.accept(
                assigned_id=proof.key.id,
                introducer_id=self._origin.id,
                membership=membership.to_wire(),
                servers=_as_many_as_fit(others),
                clients=[],
            )
            link.release(welcome)
            self.host.established(link, proof.hello)
            log.info("server %s joined (%s), reached at %s", proof.key.id, link.where, address)
            if older is not None:
                self.host.close(older[0], "replaced by a newer link")
            self.host.dispatch(link, proof.key.id, self._handlers(link, proof.key))
        finally:
            with self._lock:
                if self._servers.get(proof.key.id) == (link, membership):
                    del self._servers[proof.key.id]
            log.info("server %s left", proof.key.id)

    # --- frames -------------------------------------------------------------------------------------------------

    def _handlers(self, link: Link, key: PublicKey) -> dict[str, Handler]:
        own = partial(self._check_own, link, key)
        return {
            socp.HEARTBEAT: lambda envelope: self._take_heartbeat(link, own(envelope)),
            socp.CTRL_CLOSE: lambda envelope: self._take_close(link, own(envelope)),
            socp.SERVER_ANNOUNCE: self._take_announce,
            socp.ERROR: lambda envelope: log.info("%s: %s", key.id, own(envelope).payload["code"]),
            socp.ACK: lambda _: None,
        }

    def _check_own(self, link: Link, key: PublicKey, envelope: Envelope) -> Envelope:
        if envelope.sender != key.id or envelope.to not in (self._origin.id, socp.EVERYONE):
            raise ProtocolError(NOT_ALLOWED, f"{envelope.type} is not yours, or not for this introducer")
        check_link_frame(envelope, key, link)
        return envelope

    def _take_heartbeat(self, link: Link, envelope: Envelope) -> None:
        if envelope.payload.get("probe"):
            link.send(self._origin.link_frame(link, socp.HEARTBEAT, envelope.sender, {}))

    def _take_close(self, link: Link, envelope: Envelope) -> None:
        log.info("server %s closes: %s", envelope.sender, envelope.payload["reason"])
        link.finish()

    def _take_announce(self, envelope: Envelope) -> None:
        """Pass a newcomer's announcement on to the servers that joined before it, so that they can dial it."""
        if abs(envelope.ts - socp.now_ms()) > self._settings.limits.clock_skew:
            return
        seen = SeenCache.key(envelope.ts, envelope.sender, envelope.to, envelope.payload)
        if self._seen.has(seen):
            return
        check_announce(envelope, self._pins)
        if not self._seen.add(seen):
            return
        send_gossip(envelope.to_wire(), self._origin.id, envelope.visited, self._links())


def _as_many_as_fit(memberships: Iterable[Membership]) -> list[dict[str, object]]:
    """Return the memberships that fit a SERVER_WELCOME, a random choice of them if they are too many."""
    chosen: list[dict[str, object]] = []
    room = _SERVERS_BYTES
    shuffled = list(memberships)
    secrets.SystemRandom().shuffle(shuffled)
    for membership in shuffled:
        entry = membership.to_wire()
        room -= len(canonical(entry)) + 1
        if room < 0:
            break
        chosen.append(entry)
    return chosen


def export_key(path: Path, key: PublicKey) -> None:
    """Write the public key where servers can be given it, whole or not at all.

    Raises:
        StartError: it cannot be written.
    """
    try:
        replace_file(path, f"{key.text}\n".encode("ascii"))
    except OSError as error:
        raise StartError(f"cannot export the public key to {path}: {error.strerror}") from error


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description="Run a SOCP introducer.", allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=port_argument, default=8000, help="port to listen on; 0 takes a free one (default: 8000)"
    )
    parser.add_argument(
        "--data-dir", type=Path, default=Path("data/introducer"), metavar="DIR", help="where its key is kept"
    )
    parser.add_argument(
        "--export",
        type=Path,
        default=Path("introducer_pub.b64u"),
        metavar="FILE",
        help="where to write the public key, for servers to pin (default: %(default)s)",
    )
    parser.add_argument(
        "--allow",
        type=Path,
        metavar="FILE",
        help="admit these server ids alone: one a line, # for comments; read again on SIGHUP",
    )
    add_flags(parser, User.INTRODUCER)
    add_tls_flags(parser, connects=False)
    arguments = parser.parse_args(argv)
    check_tls_flags(parser, arguments)
    return arguments


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    try:
        access = Access("server", only=arguments.allow)
    except ListError as error:
        raise StartError(str(error)) from error
    with contextlib.ExitStack() as stack:
        stack.enter_context(own_directory(arguments.data_dir))
        key_file = arguments.data_dir / "introducer_key.pem"
        pair, password = load_key(key_file, "INTRODUCER_KEY_PASS")
        context = prepare_tls(pair, key_file, password)
        stack.enter_context(hold_signals(hangup=access.is_limited))
        introducer = Introducer(KeySigner(pair), settings, context=context, access=access)
        bound = bind(introducer.host, Address(arguments.host, arguments.port))
        export_key(arguments.export, pair.public)
        introducer.start()
        say(f"[Introducer] Public key exported to {arguments.export}")
        say(f"[Introducer] Running on {bound} as {pair.id}")
        run_until_told(introducer.stop, introducer.read_again if access.is_limited else None)
        say("[Introducer] Stopped")
    return 0


def main(argv: Sequence[str] | None = None, settings: Settings | None = None) -> int:
    """Run an introducer until it is told to stop; returns the exit code."""
    arguments = _arguments(argv)
    speak_utf8()
    start_logging("INFO")
    prepare_process()
    settings = with_tls_flags(with_flags(settings or Settings(), arguments), arguments)
    return run_program("Introducer", lambda: _run(arguments, settings))


if __name__ == "__main__":
    sys.exit(main())
