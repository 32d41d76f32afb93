"""A relay of the plainest kind, to compare servers with: it passes frames on, and checks, signs and encrypts nothing.

It is written as most servers in Python are, with asyncio and its streams. It reads each frame's JSON to find out where
it goes, as anybody must, and passes on the bytes that came. A connection's first frame names its user.

    python -m benchmarks.relay        # prints the port that it has taken
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal

HEADER_BYTES = 4


class Relay:
    """The users who are connected, by id."""

    def __init__(self) -> None:
        self._users: dict[str, asyncio.StreamWriter] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read a connection to its end."""
        user_id = ""
        try:
            user_id = json.loads((await _read_frame(reader))[HEADER_BYTES:])["from"]
            self._users[user_id] = writer
            while True:
                self._pass_on(await _read_frame(reader), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._users.pop(user_id, None)
            writer.close()

    def _pass_on(self, frame: bytes, came_from: asyncio.StreamWriter) -> None:
        to = json.loads(frame[HEADER_BYTES:])["to"]
        if to == "public":
            for writer in self._users.values():
                if writer is not came_from:
                    writer.write(frame)
        elif to in self._users:
            self._users[to].write(frame)


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    header = await reader.readexactly(HEADER_BYTES)
    return header + await reader.readexactly(int.from_bytes(header, "big"))


async def run() -> None:
    """Serve until told to stop."""
    relay = Relay()
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())
