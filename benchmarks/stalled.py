"""One user in twenty reads nothing, while another broadcasts: what do the others notice?

    python -m benchmarks.stalled

In one run: broadcasts to twenty readers; the same, when one of them has stopped to read; what becomes of that one, and
of the direct messages that it was sent meanwhile; and broadcasts to all of them again, since machines are noisy. Exit
code 1 if the others' 99th percentile is over twice what it is without the stalled one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time

import socp
from benchmarks.peer import Peer, running_server
from framing import decode_frame
from tests.chaos.keys import combined_key

_READERS = 20
_TEXT = 15_000  # bytes of a broadcast: a queue of 8 MiB is full within seconds
_STALLED_TIME = 10.0  # seconds; section 14
_MESSAGES = 5
_WORSE_AT_MOST = 2.0


class Reader:
    """A user that notes how long broadcasts were on their way."""

    def __init__(self, number: int, port: int) -> None:
        self.peer = Peer(combined_key(number), port)
        self.taken: list[float] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        wanted = b'"type":"MSG_PUBLIC_CHANNEL"'
        try:
            while True:
                frame = self.peer.frame()
                if b'"type":"HEARTBEAT"' in frame[:60]:
                    self.peer.send(self.peer.heartbeat())
                elif wanted in frame[:60]:
                    self.taken.append(time.monotonic() - _sent_at[_number(frame)])
        except (ConnectionError, OSError):
            return

    def close(self) -> None:
        """Leave."""
        self.peer.close()
        self._thread.join()


_sent_at: dict[int, float] = {}


def _number(frame: bytes) -> int:
    text: str = decode_frame(frame)["payload"]["text"]
    return int(text.split()[1].rstrip("."))


def _broadcast(sender: Peer, rate: float, seconds: float) -> None:
    """Broadcast so many times a second."""
    began = time.monotonic()
    for count in range(int(rate * seconds)):
        threading.Event().wait(max(0.0, began + count / rate - time.monotonic()))
        number = len(_sent_at)
        frame = sender.broadcast(number, _TEXT)
        _sent_at[number] = time.monotonic()
        sender.send(frame)


def _taken(readers: list[Reader]) -> list[float]:
    """Return what broadcasts have been on their way since this was asked last, in ms."""
    taken = [seconds * 1000 for reader in readers for seconds in reader.taken]
    for reader in readers:
        reader.taken = []
    return taken


def _report(what: str, taken: list[float]) -> float:
    """Print and return the 99th percentile."""
    percentile = statistics.quantiles(taken, n=100)[98]
    print(
        f"{what:24} median {statistics.median(taken):7.2f} ms   p99 {percentile:7.2f} ms   ({len(taken):,} deliveries)"
    )
    return percentile


def _measure(port: int, rate: float, seconds: float) -> bool:
    sender = Peer(combined_key(0), port)
    threading.Thread(target=sender.drain, daemon=True).start()
    readers = [Reader(number, port) for number in range(1, _READERS)]
    last = Reader(_READERS, port)
    _broadcast(sender, rate, 2.0)  # to warm up
    _taken(readers)
    _broadcast(sender, rate, seconds)
    without = _taken(readers)
    last.close()
    lazy = Peer(combined_key(_READERS), port)  # and reads nothing from here on
    half = max(seconds, 2 * _STALLED_TIME + 10.0) / 2
    _broadcast(sender, rate, half)
    for _ in range(_MESSAGES):
        sender.send(sender.message(lazy.pair.public))
    _broadcast(sender, rate, half)
    with_one = _taken(readers)
    lazy.drain()
    print("the stalled one was closed")
    back = Peer(combined_key(_READERS), port)
    back.receive(socp.USER_DELIVER, _MESSAGES)
    back.close()
    print(f"its {_MESSAGES} direct messages came on its return")
    last = Reader(_READERS, port)
    _broadcast(sender, rate, seconds)
    without += _taken(readers)
    ratio = _report("one of twenty stalled", with_one) / _report("twenty readers", without)
    print(f"p99 with the stalled one / without: {ratio:.2f}")
    for reader in (*readers, last):
        reader.close()
    sender.close()
    return ratio <= _WORSE_AT_MOST


def main() -> int:
    """Start a server, and measure."""
    parser = argparse.ArgumentParser(description="Measure what one stalled reader costs the others.")
    parser.add_argument("--rate", type=float, default=50.0, help="broadcasts a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="for how long (default: %(default)s)")
    arguments = parser.parse_args()
    with running_server() as port:
        return int(not _measure(port, arguments.rate, arguments.seconds))


if __name__ == "__main__":
    sys.exit(main())
