"""The frames of a load, made beforehand as clients make them: sealed, signed, and each with the receipt for it.

They are written to files, one frame behind the other, for the processes that send them. Messages and receipts of one
conversation are kept for the repetitions that follow; broadcasts are made anew, since they are fresh for minutes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import socp
from benchmarks.keys import pair
from crypto.encoding import encode_base64url
from crypto.sealing import message_label, seal
from crypto.signing import BROADCAST, MESSAGE, RECEIPT, KeySigner, message_reference, sign_content
from framing import HEADER_BYTES, encode_frame
from workers import CORES

_TEXT = b"x" * 100

Made = TypeVar("Made")


class Frames:
    """Makes files of frames in a directory.

    Args:
        directory: where.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._conversations: dict[tuple[int, int, int], tuple[Path, Path]] = {}
        self._files = 0

    def conversation(self, sender: int, recipient: int, count: int) -> tuple[Path, Path]:
        """Return the files of so many messages from one user to another, and of the receipts to them."""
        key = (sender, recipient, count)
        if key not in self._conversations:
            made = _in_parallel(lambda _: message_and_receipt(sender, recipient), range(count))
            messages, receipts = zip(*made, strict=True)
            self._conversations[key] = (self._write(messages), self._write(receipts))
        return self._conversations[key]

    def broadcasts(self, sender: int, count: int) -> Path:
        """Return a file of so many broadcasts."""
        return self._write(_in_parallel(lambda number: broadcast(sender, number), range(count)))

    def _write(self, frames: Iterable[bytes]) -> Path:
        self._files += 1
        path = self._directory / f"frames-{self._files}"
        path.write_bytes(b"".join(frames))
        return path


def _in_parallel(make: Callable[[int], Made], numbers: Iterable[int]) -> list[Made]:
    with ThreadPoolExecutor(CORES) as pool:
        return list(pool.map(make, numbers))


def split(data: bytes) -> Iterator[bytes]:
    """Yield the frames of a file."""
    at = 0
    while at < len(data):
        end = at + HEADER_BYTES + int.from_bytes(data[at : at + HEADER_BYTES], "big")
        yield data[at:end]
        at = end


def message_and_receipt(sender: int, recipient: int) -> tuple[bytes, bytes]:
    """Return a direct message of 100 bytes, and the receipt that its recipient gives for it."""
    one, other, ts = pair(sender), pair(recipient), socp.now_ms()
    sealed = seal(other.public, _TEXT, message_label(one.id, other.id))
    payload = {"ciphertext": encode_base64url(sealed), "sender_pub": one.public.text}
    values = {**payload, "from": one.id, "to": other.id, "ts": ts}
    payload["content_sig"] = sign_content(KeySigner(one), MESSAGE, values)
    about = {"msg_ref": message_reference(payload["content_sig"]), "status": "delivered"}
    confirmed = sign_content(KeySigner(other), RECEIPT, {**about, "from": other.id, "to": one.id, "ts": ts})
    return (
        encode_frame(socp.make_envelope(socp.MSG_DIRECT, one.id, other.id, ts, payload)),
        encode_frame(socp.make_envelope(socp.ACK, other.id, one.id, ts, {**about, "content_sig": confirmed})),
    )


def broadcast(sender: int, number: int) -> bytes:
    """Return a broadcast of 100 bytes."""
    one, ts = pair(sender), socp.now_ms()
    text = f"number {number}".ljust(100, ".")
    signature = sign_content(KeySigner(one), BROADCAST, {"text": text, "from": one.id, "ts": ts})
    payload = {"text": text, "sender_pub": one.public.text, "content_sig": signature}
    return encode_frame(socp.make_envelope(socp.MSG_PUBLIC_CHANNEL, one.id, socp.PUBLIC, ts, payload))
