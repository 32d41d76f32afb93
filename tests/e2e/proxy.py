"""A proxy before a server: it records what passes, and cuts connections when a test wants it to."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Listens at a free port of 127.0.0.1, and passes connections on to another.

    Give `port` to the server as what it advertises, and the server's own port to `target` before anybody connects.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.target = 0
        self._lock = threading.Lock()  # guards the three below
        self._closed = False
        self._open: list[socket.socket] = []
        self._recorded: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def recorded(self) -> bytes:
        """All that has passed so far, in either direction."""
        with self._lock:
            return b"".join(self._recorded)

    def _accept(self) -> None:
        while True:
            try:
                inside, _ = self._listener.accept()
            except OSError:
                return
            try:
                outside = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                inside.close()
                continue
            with self._lock:
                closed = self._closed
                if not closed:
                    self._open += [inside, outside]
            if closed:
                inside.close()
                outside.close()
                return
            for source, sink in ((inside, outside), (outside, inside)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                with self._lock:
                    self._recorded.append(data)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Cut all connections, as a network does that fails."""
        with self._lock:
            connections, self._open = self._open, []
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def close(self) -> None:
        """Cut everything, and stop listening."""
        with self._lock:
            self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
