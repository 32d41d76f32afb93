"""Users of a benchmark: how one attaches to a server or to the relay, over a plain socket that the caller then has."""

from __future__ import annotations

import json
import resource
import socket

import socp
from certificates import certified_key, connector_context
from crypto.keys import KeyPair, PublicKey
from crypto.signing import KeySigner
from framing import HEADER_BYTES, decode_frame, encode_frame
from handshake import Connector

_SKEW = 300_000


def attach(port: int, pair: KeyPair, *, tls: bool = False, relay: bool = False) -> socket.socket:
    """Connect a user, and return its socket, which blocks.

    Args:
        port: at 127.0.0.1.
        pair: the user's.
        tls: whether to speak TLS.
        relay: whether it is the relay that listens there, which wants to know a user's id alone.
    """
    link = socket.create_connection(("127.0.0.1", port), timeout=60.0)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if relay:
        body = json.dumps({"from": pair.id}).encode()
        link.sendall(len(body).to_bytes(HEADER_BYTES, "big") + body)
        return link
    channel_key: PublicKey | None = None
    if tls:
        wrapped = connector_context().wrap_socket(link)
        channel_key = certified_key(wrapped.getpeercert(binary_form=True) or b"")
        link = wrapped
    hello = {"client": "bench", "meta": {}, "caps": []}
    connector = Connector(KeySigner(pair), socp.USER_HELLO, hello, lambda _: None, socp.EVERYONE, _SKEW)
    link.sendall(connector.hello(channel_key))
    while connector.welcome is None:
        answer = connector.receive(socp.read_envelope(decode_frame(read_frame(link))))
        if answer is not None:
            link.sendall(answer)
    return link


def read_frame(link: socket.socket) -> bytes:
    """Read one frame and nothing behind it.

    Raises:
        ConnectionError: the other side has closed.
    """
    header = _read(link, HEADER_BYTES)
    return header + _read(link, int.from_bytes(header, "big"))


def _read(link: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = link.recv(size - len(data))
        if not part:
            raise ConnectionError("the server closed")
        data += part
    return bytes(data)


def heartbeat(user_id: str) -> bytes:
    """Return what tells a server that a user lives."""
    return encode_frame(socp.make_envelope(socp.HEARTBEAT, user_id, socp.EVERYONE, socp.now_ms(), {}))


def online_count(link: socket.socket, user_id: str) -> int:
    """Ask a server how many users it knows to be online."""
    payload = {"after": "", "limit": 1}
    link.sendall(
        encode_frame(socp.make_envelope(socp.USER_LIST_REQUEST, user_id, socp.EVERYONE, socp.now_ms(), payload))
    )
    while (answer := decode_frame(read_frame(link)))["type"] != socp.USER_LIST:
        continue
    return int(answer["payload"]["total"])


def raise_descriptor_limit() -> None:
    """Let this process have as many descriptors as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS says "unlimited" and takes no more than this.
    wanted = hard if hard != resource.RLIM_INFINITY else max(soft, 10_240)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
