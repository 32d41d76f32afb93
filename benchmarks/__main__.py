"""Measures what a server routes, against what RSA costs in the same run.

Senders and receivers are threads of this process that speak the protocol over real sockets; the server is a process
of its own. Machines are noisy: compare the ratios, which are to one signature by one thread, and not the rates.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import socp
from addresses import Address
from crypto.encoding import encode_base64url
from crypto.keys import write_key_file
from crypto.sealing import message_label, seal
from crypto.signing import BROADCAST, MESSAGE, KeySigner, sign_content
from framing import FROM_SERVER, FrameBuffer, decode_frame, encode_frame
from handshake import Connector
from origin import Origin
from tests.vectors import key
from transport import connect_transport

_ROOT = Path(__file__).resolve().parents[1]
_SENDERS = ("alice", "bob", "carol", "dave")
_RECEIVERS = ("erin", "frank", "grace", "heidi")


class Peer:
    """A user that speaks the protocol as fast as it can, and checks nothing on the way."""

    def __init__(self, name: str, port: int) -> None:
        self.pair = key(name)
        self._transport = connect_transport(Address("127.0.0.1", port), 5.0)
        self._buffer = FrameBuffer(FROM_SERVER)
        connector = Connector(
            KeySigner(self.pair),
            socp.USER_HELLO,
            {"client": "bench", "meta": {}, "caps": []},
            lambda _: None,
            socp.EVERYONE,
            300_000,
        )
        self.send(connector.hello())
        while connector.welcome is None:
            answer = connector.receive(socp.read_envelope(decode_frame(self.frame())))
            if answer is not None:
                self.send(answer)

    def send(self, data: bytes) -> None:
        """Send frames."""
        self._transport.send(data)

    def frame(self) -> bytes:
        """Return the next frame."""
        while (frame := self._buffer.next_frame()) is None:
            data = self._transport.receive()
            if not data:
                raise ConnectionError("the server closed")
            self._buffer.feed(data)
        return frame

    def message(self, to: str) -> bytes:
        """Return a direct message of 100 bytes."""
        ts = socp.now_ms()
        sealed = seal(key(to).public, b"x" * 100, message_label(self.pair.id, key(to).id))
        payload = {"ciphertext": encode_base64url(sealed), "sender_pub": self.pair.public.text}
        return self._signed(socp.MSG_DIRECT, key(to).id, ts, payload)

    def broadcast(self, number: int) -> bytes:
        """Return a broadcast."""
        payload = {"text": f"number {number}", "sender_pub": self.pair.public.text}
        return self._signed(socp.MSG_PUBLIC_CHANNEL, socp.PUBLIC, socp.now_ms(), payload)

    def chunk(self, to: str) -> bytes:
        """Return a file chunk of full size; its content is nobody's."""
        payload = {
            "file_id": "3f0c1b9e-8a44-4d0e-9a5e-6f6f2f9f1c11",
            "index": 0,
            "ciphertext": encode_base64url(os.urandom(32_768)),
        }
        envelope = socp.make_envelope(socp.FILE_CHUNK, self.pair.id, key(to).id, socp.now_ms(), payload)
        return encode_frame(envelope)

    def _signed(self, frame_type: str, to: str, ts: int, payload: dict[str, str]) -> bytes:
        purpose = MESSAGE if frame_type == socp.MSG_DIRECT else BROADCAST
        values = {**payload, "from": self.pair.id, "to": to, "ts": ts}
        signed = {**payload, "content_sig": sign_content(KeySigner(self.pair), purpose, values)}
        return encode_frame(socp.make_envelope(frame_type, self.pair.id, to, ts, signed))

    def receive(self, frame_type: str, count: int) -> None:
        """Read until so many frames of a type have come."""
        wanted = f'"type":"{frame_type}"'.encode()
        while count:
            count -= wanted in self.frame()[:60]


def _timed(jobs: list[Callable[[], None]]) -> float:
    threads = [threading.Thread(target=job) for job in jobs]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def _signatures(seconds: float) -> float:
    origin, count = Origin(KeySigner(key("server"))), 0
    began = time.perf_counter()
    while (taken := time.perf_counter() - began) < seconds:
        origin.frame(socp.HEARTBEAT, socp.EVERYONE, {})
        count += 1
    return count / taken


def _relay(senders: list[Peer], receivers: list[Peer], frames: list[list[bytes]], frame_type: str) -> float:
    """Return how many frames a second go from each sender to the receiver of the same place."""
    jobs: list[Callable[[], None]] = []
    for sender, receiver, batch in zip(senders, receivers, frames, strict=True):
        jobs += [partial(sender.send, b"".join(batch)), partial(receiver.receive, frame_type, len(batch))]
    return sum(map(len, frames)) / _timed(jobs)


def _measure(port: int, count: int) -> None:
    senders, receivers = [Peer(name, port) for name in _SENDERS], [Peer(name, port) for name in _RECEIVERS]
    signing = _signatures(2.0)
    print(f"{'signatures of server frames, one thread':46} {signing:9,.0f}/s    1.00")

    def report(what: str, rate: float) -> None:
        print(f"{what:46} {rate:9,.0f}/s {rate / signing:7.2f}")

    pairs = list(zip(senders, _RECEIVERS, strict=True))
    one = [[senders[0].message("erin") for _ in range(count)]]
    report("direct messages, 1 to 1", _relay(senders[:1], receivers[:1], one, socp.USER_DELIVER))
    each = [[sender.message(to) for _ in range(count)] for sender, to in pairs]
    report("direct messages, 4 to 4", _relay(senders, receivers, each, socp.USER_DELIVER))
    chunks = [[sender.chunk(to)] * count for sender, to in pairs]
    rate = _relay(senders, receivers, chunks, socp.FILE_CHUNK)
    report(f"file chunks relayed, 4 to 4 ({rate * 32 / 1024:,.0f} MiB/s)", rate)
    texts = [senders[0].broadcast(number) for number in range(count)]
    listeners = [*senders[1:], *receivers]
    jobs: list[Callable[[], None]] = [partial(senders[0].send, b"".join(texts))]
    jobs += [partial(peer.receive, socp.MSG_PUBLIC_CHANNEL, count) for peer in listeners]
    report("broadcasts, deliveries to 7", count * len(listeners) / _timed(jobs))


def main() -> None:
    """Start a server, and measure it."""
    parser = argparse.ArgumentParser(description="Measure what a server routes.")
    parser.add_argument("--count", type=int, default=1000, help="frames a sender (default: %(default)s)")
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory(prefix="socp-bench-") as directory:
        data = Path(directory)
        write_key_file(data / "server_key.pem", key("server"))
        pin = key("introducer").public.text
        command = [sys.executable, "server.py", "--port", "0", "--data-dir", directory, "--introducer-pub", pin]
        with subprocess.Popen(
            [*command, "--log-level", "ERROR"], cwd=_ROOT, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline().rpartition(":")[2])
            try:
                _measure(port, count)
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
