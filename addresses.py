"""Addresses as people write them: host:port, with IPv4, IPv6 in brackets, and names."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

# What resolvers read as a number, and so as an address: 127.1 and 0x0 are addresses to them.
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*", re.ASCII)
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", re.ASCII)
_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_SCOPED = re.compile(r"([0-9A-Fa-f:.]+)%[A-Za-z0-9._-]{1,32}", re.ASCII)  # fe80::1%eth0


class AddressError(ValueError):
    """Raised for a text that is not an address; says what one looks like."""


@dataclass(frozen=True, order=True)
class Address:
    """A host (an IP address without brackets, or a name) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_wildcard(self) -> bool:
        """Whether the host stands for every address of the machine, which nobody can connect to."""
        return is_wildcard(self.host)


def is_wildcard(host: str) -> bool:
    """Tell whether a host is 0.0.0.0, :: or another spelling of them."""
    if not host:
        return True
    try:
        address = ipaddress.ip_address(_without_scope(host))
    except ValueError:
        return host in ("*", "0")
    return _unmapped(address).is_unspecified


def is_loopback(host: str) -> bool:
    """Tell whether an IP address is one of this machine's own, which no network lies before."""
    try:
        return _unmapped(ipaddress.ip_address(_without_scope(host))).is_loopback
    except ValueError:
        return False


def _unmapped(address: _IPAddress) -> _IPAddress:
    """Return the IPv4 address that an IPv6 one stands for, or else the same."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _without_scope(host: str) -> str:
    """Return an address without the interface that it holds for; nothing, if what stands there cannot be one."""
    scoped = _SCOPED.fullmatch(host)
    if scoped is not None:
        return scoped[1]
    return host if "%" not in host else ""


def is_host(host: str) -> bool:
    """Tell whether a text is an IP address or a well-formed name."""
    try:
        ipaddress.ip_address(_without_scope(host))
    except ValueError:
        name = host.removesuffix(".")
        labels = name.split(".")
        return 0 < len(name) <= 253 and all(map(_LABEL.fullmatch, labels)) and not _NUMBER.fullmatch(labels[-1])
    return True


def read_address(text: str, host: str | None = None, *, any_port: bool = False) -> Address:
    """Read `host:port`.

    Args:
        text: what somebody wrote; an IPv6 address in brackets.
        host: taken when the text is a port alone; None requires a host.
        any_port: allow port 0, which stands for a free one.

    Raises:
        AddressError: it is not an address.
    """
    text = text.strip()
    name, colon, number = text.rpartition(":")
    if not colon and host is not None and text.isdigit():
        name, number = host, text
    elif name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
        if ":" not in name:
            raise AddressError(f"{text!r}: only an IPv6 address stands in brackets")
    elif not colon or ":" in name:
        raise AddressError(f"{text!r} is not host:port, such as 127.0.0.1:8000 or [::1]:8000")
    if not is_host(name):
        raise AddressError(f"{name!r} is not a host")
    if not (number.isascii() and number.isdigit() and len(number) <= 5):
        raise AddressError(f"{number!r} is not a port")
    port = int(number)
    if not (0 if any_port else 1) <= port <= 65535:
        raise AddressError(f"{port} is not a port: use {0 if any_port else 1} to 65535")
    return Address(name, port)


def source_of(host: str) -> str:
    """Return what limits count a peer's IP address by (section 14): IPv4 as it is, IPv6 by the /64 of one customer.

    An IPv4 address that came through an IPv6 socket is the IPv4 address, and ::1 stands for itself.
    """
    try:
        address = ipaddress.ip_address(_without_scope(host))
    except ValueError:
        return host  # no address at all, as of a socket that is not TCP
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address) if address.is_loopback else str(ipaddress.ip_network((int(address), 64), strict=False))


def listen(address: Address) -> socket.socket:
    """Return a listening TCP socket; port 0 takes a free one.

    Raises:
        OSError: the host cannot be resolved, or the address cannot be bound.
    """
    family, kind, protocol, _, where = socket.getaddrinfo(
        address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(512)
    except OSError:
        listener.close()
        raise
    return listener
