"""A proxy before a program: it records what passes, and does to connections what bad networks do to them."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from framing import FROM_STRANGER, FrameBuffer, decode_frame
from socp import LinkError

_CONNECT = 5.0  # seconds: a program that is stopped does not accept, once its backlog is full


@dataclass(frozen=True)
class Weather:
    """What happens to a connection.

    Bytes that were swallowed are missed for ever: from then on that direction of the connection is dead, whatever the
    weather, for TCP never goes on behind a gap.
    """

    refuse: bool = False  # connections are cut, and new ones too
    swallow_in: bool = False  # what whoever connected sends goes nowhere
    swallow_out: bool = False  # what the program answers goes nowhere
    delay: float = 0.0  # seconds that everything takes longer
    lost: frozenset[str] = frozenset()  # frames of these types go nowhere; for a proxy that passes whole frames


FINE = Weather()
CUT = Weather(refuse=True)
HOLE = Weather(swallow_in=True, swallow_out=True)
MUTE = Weather(swallow_in=True)


class _Frames:
    """What has come of a frame that is not whole yet."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each frame that is whole by now."""
        self._rest += data
        while len(self._rest) >= (end := 4 + int.from_bytes(self._rest[:4], "big")):
            frame, self._rest = self._rest[:end], self._rest[end:]
            yield frame


class _Connection:
    """Two sockets, and what was swallowed between them."""

    def __init__(self, inside: socket.socket, outside: socket.socket) -> None:
        self.inside = inside
        self.outside = outside
        self.who = ""
        self.dead_in = False
        self.dead_out = False
        self.frames_in = _Frames()
        self.frames_out = _Frames()
        self.passing = 2  # threads

    def cut(self) -> None:
        """Wake both threads, of which the last closes the sockets."""
        for end in (self.inside, self.outside):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Listens at a free port of 127.0.0.1, and passes connections on to another.

    Give `port` to the server as what it advertises, and the server's own port to `target` before anybody connects.

    Args:
        record: whether to keep all that passes.
        whole: whether to pass on whole frames alone, so that the weather can lose some of them.
        sources: the ids of who connects, by the addresses that they come from; None to find them in the hellos, which
            are plain then.
    """

    def __init__(self, *, record: bool = True, whole: bool = False, sources: Mapping[str, str] | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.target = 0
        self._record = record
        self._whole = whole
        self._sources = sources
        self._lock = threading.Lock()  # guards all below, and what connections hold
        self._closed = False
        self._open: list[_Connection] = []
        self._recorded: list[bytes] = []
        self._weather: dict[str | None, Weather] = {}  # None: for whoever has none of its own
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def recorded(self) -> bytes:
        """All that has passed so far, in either direction."""
        with self._lock:
            return b"".join(self._recorded)

    def set_weather(self, weather: Weather, who: str | None = None) -> None:
        """Change what happens to connections, those that stand and those to come.

        Args:
            weather: what happens.
            who: the id of whoever connected; None for everybody.
        """
        with self._lock:
            self._weather[who] = weather
            if weather == FINE:
                del self._weather[who]
            cut = [connection for connection in self._open if weather.refuse and who in (None, connection.who)]
        for connection in cut:
            connection.cut()

    def _accept(self) -> None:
        while True:
            try:
                inside, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(inside,), daemon=True).start()

    def _connect(self, inside: socket.socket) -> None:
        try:
            outside = socket.create_connection(("127.0.0.1", self.target), _CONNECT)
        except OSError:
            inside.close()
            return
        outside.settimeout(None)
        connection = _Connection(inside, outside)
        with self._lock:
            if self._closed:
                inside.close()
                outside.close()
                return
            self._open.append(connection)
        threading.Thread(target=self._pass_out, args=(connection,), daemon=True).start()
        self._pass_in(connection)

    def _pass_in(self, connection: _Connection) -> None:
        with contextlib.suppress(OSError):
            data, who = self._begin(connection.inside)
            with self._lock:
                connection.who = who
            while data and self._send_in(connection, data):
                data = connection.inside.recv(65_536)
        self._end(connection, connection.outside, inwards=True)

    def _begin(self, inside: socket.socket) -> tuple[bytes, str]:
        """Return what a connection begins with, and whose it is."""
        if self._sources is None:
            return _read_hello(inside)
        return inside.recv(65_536), self._sources[inside.getpeername()[0]]

    def _send_in(self, connection: _Connection, data: bytes) -> bool:
        """Send to the program; False when this connection is to be cut."""
        weather = self._weather_for(connection)
        if weather.refuse:
            connection.cut()
            return False
        if not connection.dead_in:
            self._send(connection.outside, self._keep(connection.frames_in, data, weather), weather.delay)
        return True

    def _pass_out(self, connection: _Connection) -> None:
        with contextlib.suppress(OSError):
            while data := connection.outside.recv(65_536):
                weather = self._weather_for(connection)
                if not connection.dead_out:
                    self._send(connection.inside, self._keep(connection.frames_out, data, weather), weather.delay)
        self._end(connection, connection.inside, inwards=False)

    def _keep(self, frames: _Frames, data: bytes, weather: Weather) -> bytes:
        """Return what goes on of what has come."""
        if not self._whole:
            return data
        return b"".join(
            frame
            for frame in frames.feed(data)
            if not weather.lost or json.loads(frame[4:])["type"] not in weather.lost
        )

    def _send(self, sink: socket.socket, data: bytes, delay: float) -> None:
        if delay:
            threading.Event().wait(delay)  # the time that the bytes are on their way
        if self._record:
            with self._lock:
                self._recorded.append(data)
        sink.sendall(data)

    def _weather_for(self, connection: _Connection) -> Weather:
        with self._lock:
            weather = self._weather.get(connection.who) or self._weather.get(None) or FINE
            connection.dead_in |= weather.swallow_in
            connection.dead_out |= weather.swallow_out
            return weather

    def _end(self, connection: _Connection, sink: socket.socket, *, inwards: bool) -> None:
        """Pass on the end of what one side sends, unless that is swallowed too."""
        self._weather_for(connection)
        if not (connection.dead_in if inwards else connection.dead_out):
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
        with self._lock:
            connection.passing -= 1
            if connection.passing:
                return
            self._open.remove(connection)
        connection.inside.close()
        connection.outside.close()

    def cut(self) -> None:
        """Cut all connections, as a network does that fails."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            connection.cut()

    def close(self) -> None:
        """Cut everything, and stop listening."""
        with self._lock:
            self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()


def _read_hello(source: socket.socket) -> tuple[bytes, str]:
    """Read the first frame; return all that was read, and whose hello it is: the empty string if that is none."""
    buffer = FrameBuffer(FROM_STRANGER)
    read = b""
    try:
        while (frame := buffer.next_frame()) is None:
            data = source.recv(65_536)
            if not data:
                return read, ""
            read += data
            buffer.feed(data)
        return read, str(decode_frame(frame).get("from", ""))
    except LinkError:
        return read, ""
