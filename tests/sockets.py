"""Sockets for tests, and envelopes read from them."""

from __future__ import annotations

import ipaddress
import socket
import time

from framing import FrameBuffer, decode_frame
from socp import Envelope, read_envelope

EVERYWHERE = str(ipaddress.IPv4Address(0))  # stands for every address of a machine


class NothingCameError(AssertionError):
    """Raised when a frame was waited for, and none came in time."""


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a TCP connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    return one, other


def receive_envelope(connection: socket.socket, buffer: FrameBuffer, seconds: float) -> Envelope | None:
    """Return the next envelope; None when the other side has closed.

    Raises:
        NothingCameError: there was none in time.
    """
    end = time.monotonic() + seconds
    while (frame := buffer.next_frame()) is None:
        left = end - time.monotonic()
        if left <= 0:
            raise NothingCameError(f"nothing came within {seconds} s")
        connection.settimeout(left)
        try:
            data = connection.recv(65_536)
        except ConnectionResetError:
            return None
        except TimeoutError:
            continue
        if not data:
            return None
        buffer.feed(data)
    return read_envelope(decode_frame(frame), frame)
