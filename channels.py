"""What a connection speaks, plain SOCP or SOCP inside TLS: who decides that, and how (PROTOCOL.md section 15)."""

from __future__ import annotations

import argparse
import socket
import ssl
from dataclasses import replace

from addresses import Address, is_loopback
from settings import Settings, TlsPolicy
from socp import NOT_ALLOWED, LinkError
from tls import TlsTransport
from transport import PlainTransport, Transport

_PLAIN_FIRST = b"\x00"  # of a length under 2^24
_TLS_FIRST = b"\x16"  # of a handshake record


def add_tls_flags(parser: argparse.ArgumentParser, *, connects: bool = True) -> None:
    """Give a program the flags that say when TLS is used.

    Args:
        parser: the program's.
        connects: whether it connects to anybody; else there is nothing for two of the flags to decide.
    """
    nothing = "" if connects else "; changes nothing here, since an introducer connects to nobody"
    parser.add_argument("--tls", action="store_true", help=f"connect by TLS on this machine itself, too{nothing}")
    parser.add_argument("--plain", action="store_true", help=f"connect without TLS, wherever to{nothing}")
    parser.add_argument("--require-tls", action="store_true", help="take no connection without TLS, and make none")


def check_tls_flags(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """End the program if the flags contradict each other."""
    if arguments.plain and (arguments.tls or arguments.require_tls):
        parser.error("--plain says to use no TLS, and --tls or --require-tls says to use it: give one of them")


def with_tls_flags(settings: Settings, arguments: argparse.Namespace) -> Settings:
    """Return settings that say what the flags do."""
    dial = arguments.tls if arguments.tls or arguments.plain else None
    return replace(settings, tls=TlsPolicy(dial, arguments.require_tls))


def with_tls(settings: Settings, word: str) -> Settings:
    """Return settings that say what a client's option does: auto, always or never."""
    return replace(settings, tls=TlsPolicy({"auto": None, "always": True, "never": False}[word]))


def accept_transport(plain: PlainTransport, context: ssl.SSLContext, policy: TlsPolicy) -> Transport:
    """Choose what an accepted connection speaks by its first byte, which stays unread.

    What begins neither way goes on as plain, and fails there as BAD_FRAME.

    Args:
        plain: the connection.
        context: what TLS is done with.
        policy: whether plain connections are taken.

    Raises:
        OSError: the connection failed before it said anything.
        LinkError: NOT_ALLOWED, to a plain connection where TLS is required.
    """
    first = plain.peek()
    if first == _TLS_FIRST:
        return TlsTransport(plain, context)
    if policy.required and first == _PLAIN_FIRST:
        raise LinkError(NOT_ALLOWED, "connections without TLS are not taken here; use --tls")
    return plain


def connect_transport(address: Address, seconds: float, policy: TlsPolicy) -> Transport:
    """Connect to an address, trying each that its name resolves to. There is no falling back from TLS to plain.

    Args:
        address: where to.
        seconds: how long one attempt may take.
        policy: whether to use TLS, once it is known which IP address the peer has.

    Raises:
        OSError: nobody could be reached there.
    """
    plain = PlainTransport(socket.create_connection((address.host, address.port), timeout=seconds))
    wanted = policy.dial if policy.dial is not None else not is_loopback(plain.peer_host)
    return TlsTransport(plain) if wanted or policy.required else plain
