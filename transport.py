"""The bytes under a link: plain TCP here, and TLS in tls.py, which keeps to the same few methods."""

from __future__ import annotations

import socket
from typing import Protocol

from addresses import Address
from crypto.keys import PublicKey

READ_BYTES = 65_536
# What the system may hold of a connection in each direction, at each end. Left to itself, it takes many times as much
# from whoever sends fast, and all of that is before what is sent later, where nobody can bound or count it.
_SYSTEM_BYTES = 256 * 1024


class Transport(Protocol):
    """A connection that one thread reads and another may write.

    `begin`, `receive`, `send` and `close` may block. Every method may raise OSError when the connection is gone.
    """

    @property
    def secure(self) -> bool:
        """Whether this is TLS, which keeps others from reading and from changing what passes (section 15)."""

    @property
    def channel_key(self) -> PublicKey | None:
        """The key that the acceptor has proved in TLS; None on a plain connection, and at the acceptor itself."""

    @property
    def peer(self) -> str:
        """The other end's address, for the log."""

    def begin(self) -> None:
        """Do what must be done before anything passes. The reader calls this, first."""

    def receive(self, most: int = READ_BYTES) -> bytes:
        """Return up to `most` bytes, as soon as there are any; b"" when the peer has closed its side."""

    def send_now(self, data: bytes | memoryview) -> int:
        """Send what the connection takes without waiting, and return how many bytes that was.

        Whatever is sent next, by this or by `send`, must begin with the bytes that were not taken: some of them may
        have been encrypted already. Nothing may be sent so while `send` runs.
        """

    def send(self, data: bytes | memoryview) -> None:
        """Send everything, waiting for as long as it takes. For one thread at a time."""

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

    secure = False
    channel_key = None

    def __init__(self, connection: socket.socket) -> None:
        # Blocking for good: settimeout would act on reader and writer alike, and make send_now wait.
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            connection.setsockopt(socket.SOL_SOCKET, buffer, _SYSTEM_BYTES)
        self._socket = connection
        name = connection.getpeername()
        self._peer_host: str = name[0] if isinstance(name, tuple) and name else ""
        self._peer = str(Address(name[0], name[1])) if self._peer_host else "local"

    @property
    def peer(self) -> str:
        """The other end's address, for the log."""
        return self._peer

    def begin(self) -> None:
        """Do nothing: bytes can pass at once."""

    @property
    def peer_host(self) -> str:
        """The IP address of the other end."""
        return self._peer_host

    def peek(self) -> bytes:
        """Wait for the first byte and return it without taking it; b"" at the end."""
        return self._socket.recv(1, socket.MSG_PEEK)

    def receive(self, most: int = READ_BYTES) -> bytes:
        """Return up to `most` bytes, as soon as there are any; b"" at the end."""
        return self._socket.recv(most)

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
