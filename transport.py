"""The bytes under a link. Plain TCP now; whatever else there will be (TLS) keeps to the same few methods."""

from __future__ import annotations

import socket
from typing import Protocol

from addresses import Address

READ_BYTES = 65_536


class Transport(Protocol):
    """A connection that one thread reads and another may write.

    All but `send_now` and `shut` may block. Every method may raise OSError when the connection is gone.
    """

    @property
    def peer(self) -> str:
        """The other end's address, for the log."""

    def receive(self) -> bytes:
        """Return up to 64 KiB, as soon as there are any; b"" when the peer has closed its side."""

    def send_now(self, data: bytes | memoryview) -> int:
        """Send what the connection takes without waiting, and return how many bytes that was."""

    def send(self, data: bytes | memoryview) -> None:
        """Send everything, waiting for as long as it takes."""

    def finish(self) -> None:
        """Tell the peer that nothing more will be sent. It can be read from still."""

    def stop_reading(self) -> None:
        """Have `receive` return b"" from now on, also where it is blocked. It can be written to still."""

    def shut(self) -> None:
        """Wake whoever is blocked in this connection, for good. Harmless when repeated."""

    def close(self) -> None:
        """Give the connection back to the system. Only its reader calls this, last."""


class PlainTransport:
    """TCP as it is."""

    def __init__(self, connection: socket.socket) -> None:
        # Blocking for good: settimeout would act on reader and writer alike, and make send_now wait.
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        name = connection.getpeername()
        self._peer = str(Address(name[0], name[1])) if isinstance(name, tuple) and name else "local"

    @property
    def peer(self) -> str:
        """The other end's address, for the log."""
        return self._peer

    def peek(self) -> bytes:
        """Wait for the first byte and return it without taking it; b"" at the end."""
        return self._socket.recv(1, socket.MSG_PEEK)

    def receive(self) -> bytes:
        """Return up to 64 KiB, as soon as there are any; b"" at the end."""
        return self._socket.recv(READ_BYTES)

    def send_now(self, data: bytes | memoryview) -> int:
        """Send what fits the socket's buffer."""
        try:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def send(self, data: bytes | memoryview) -> None:
        """Send everything."""
        self._socket.sendall(data)

    def finish(self) -> None:
        """Close our direction alone."""
        self._socket.shutdown(socket.SHUT_WR)

    def stop_reading(self) -> None:
        """Close the peer's direction alone, which wakes a blocked recv."""
        try:
            self._socket.shutdown(socket.SHUT_RD)
        except OSError:
            return  # it was gone already: recv says so by itself

    def shut(self) -> None:
        """Close both directions, which wakes a blocked recv or send."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it was gone already, which is all that was wanted

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def accept_transport(plain: PlainTransport) -> Transport:
    """Choose what an accepted connection speaks by its first byte (section 15), which stays unread.

    So far everything goes on as plain, and what does not begin with a length fails there as BAD_FRAME.

    Raises:
        OSError: the connection failed before it said anything.
    """
    plain.peek()
    return plain


def connect_transport(address: Address, seconds: float) -> Transport:
    """Connect to an address, trying each that its name resolves to.

    Args:
        address: where to.
        seconds: how long one attempt may take.

    Raises:
        OSError: nobody could be reached there.
    """
    return PlainTransport(socket.create_connection((address.host, address.port), timeout=seconds))
