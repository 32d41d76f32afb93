"""Idle and dripping connections against a server with the real times, while an honest user attaches again and again.

    python -m tests.hostile.idle --connections 500 --seconds 60

Every second connection says nothing; the others send a byte of a hello every second. One that the server closes is
replaced after a second. Exit code 1 if a connection was closed late, or if the user once took more than 2 s.
"""

from __future__ import annotations

import argparse
import contextlib
import selectors
import socket
import statistics
import sys
import threading
import time
from collections import Counter

from settings import Timers
from tests.e2e.harness import Network
from tests.hostile.arena import attacker_address
from tests.peer import Peer
from tests.vectors import key

_ADDRESSES = 125
_PAUSE = 1.0  # seconds: before a closed connection is replaced, between two bytes of a drip, and two attachments
# Section 2, what a closing link lingers, and a second for a busy machine.
_LATE = Timers().handshake + Timers().linger + 1.0
_ATTACHED_WITHIN = 2.0  # seconds


class Attackers:
    """The connections, and what has become of them."""

    def __init__(self, port: int, count: int) -> None:
        self.closed: Counter[str] = Counter()
        self.late = 0
        self.longest = 0.0
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._began: dict[socket.socket, float] = {}
        self._dripping: dict[socket.socket, int] = {}
        self._due = [(0.0, number) for number in range(count)]
        self._next_drip = 0.0

    def run(self, until: threading.Event) -> None:
        """Attack until told to stop."""
        while not until.is_set():
            now = time.monotonic()
            due, self._due = self._due, []
            for when, number in due:
                if when > now:
                    self._due.append((when, number))
                else:
                    self._connect(number)
            for entry, _ in self._selector.select(0.05):
                assert isinstance(entry.fileobj, socket.socket)
                self._look(entry.fileobj, entry.data)
            if now >= self._next_drip:
                self._next_drip = now + _PAUSE
                self._drip()
        now = time.monotonic()
        self.late += sum(now - began > _LATE for began in self._began.values())
        for connection in self._began:
            connection.close()

    def _connect(self, number: int) -> None:
        connection = socket.socket()
        connection.bind((attacker_address(2 + number % _ADDRESSES), 0))
        connection.connect(("127.0.0.1", self._port))
        connection.setblocking(False)
        self._began[connection] = time.monotonic()
        self._selector.register(connection, selectors.EVENT_READ, number)
        if number % 2:
            self._dripping[connection] = 0

    def _look(self, connection: socket.socket, number: int) -> None:
        """See whether a connection was closed, and have it replaced."""
        with contextlib.suppress(ConnectionError):
            if connection.recv(4096):
                return  # an ERROR, which the end follows
        self._selector.unregister(connection)
        self._dripping.pop(connection, None)
        lasted = time.monotonic() - self._began.pop(connection)
        connection.close()
        self.longest = max(self.longest, lasted)
        self.late += lasted > _LATE
        self.closed["in time" if lasted > Timers().handshake / 2 else "to make room, or at accept"] += 1
        self._due.append((time.monotonic() + _PAUSE, number))

    def _drip(self) -> None:
        hello = b"\0\0\x10\0{" + b" " * 4000
        for connection, sent in self._dripping.items():
            with contextlib.suppress(OSError):
                connection.send(hello[sent : sent + 1])
            self._dripping[connection] = sent + 1


def _attach_often(port: int, seconds: float) -> list[float]:
    """Have an honest user attach and leave until the time is over; return what each attachment took, in seconds."""
    taken = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        with Peer(port, "dave") as peer:
            peer.attach_user()
            taken.append(time.monotonic() - began)
            peer.leave()
        threading.Event().wait(_PAUSE)
    return taken


def main() -> int:
    """Carry out the attack, and print its figures."""
    parser = argparse.ArgumentParser(description="Hold many idle connections to a server.")
    parser.add_argument("--connections", type=int, default=500, help="how many (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long (default: %(default)s)")
    parser.add_argument("--penalties", action="store_true", help="let the server refuse addresses that fail often")
    arguments = parser.parse_args()
    network = Network()
    try:
        (network.directory / "introducer.b64u").write_text(key("introducer").public.text, "ascii")
        flags = () if arguments.penalties else ("--no-penalties",)
        _, port = network.server("server", 1, *flags, registered=False)
        attackers, over = Attackers(port, arguments.connections), threading.Event()
        thread = threading.Thread(target=attackers.run, args=(over,), name="attackers")
        thread.start()
        try:
            taken = _attach_often(port, arguments.seconds)
        finally:
            over.set()
            thread.join()
    finally:
        network.end()
    print(f"connections closed: {dict(attackers.closed)}; the longest lasted {attackers.longest:.1f} s")
    print(f"connections closed late (after {_LATE:.0f} s): {attackers.late}")
    print(f"attachments: {len(taken)}; median {statistics.median(taken):.3f} s, slowest {max(taken):.3f} s")
    return int(attackers.late > 0 or max(taken) > _ATTACHED_WITHIN)


if __name__ == "__main__":
    sys.exit(main())
