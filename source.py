"""A file that is sent: where it is read, and how it is hashed, cut into chunks and sealed (PROTOCOL.md section 10).

All of this is done in the file's own thread, but for the sealing by RSA, which takes all cores.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections import deque
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ciphers import Cipher, seal_chunk
from contacts import Contact
from crypto.sealing import chunk_label
from errors import FileRefused
from messages import Manifest
from outgoing import Outgoing
from settings import Settings
from underway import State, TransferFailed, UnderWay
from workers import CORES, Task, Workers

_HASHED_AT_ONCE = 1024 * 1024
_AHEAD = CORES + 1  # chunks that are sealed before their turn, where that takes all cores


def chunk_of(cipher: Cipher, settings: Settings) -> int:
    """Return how many plain bytes of a file we send in one frame."""
    return settings.limits.chunk_hybrid if cipher is Cipher.HYBRID else settings.limits.chunk


class Source(Outgoing):
    """A file that we send: how far it has come, where it is read, and to whom it goes."""

    def __init__(
        self, manifest: Manifest, number: int, recipient: Contact, path: Path, file: BinaryIO, settings: Settings
    ) -> None:
        self._chunk = chunk_of(manifest.cipher, settings)
        window = max(1, settings.limits.transfer_window // manifest.cipher.sealed_length(self._chunk))
        super().__init__(manifest, window, settings.timers, settings.limits)
        self.recipient = recipient
        self.path = path
        self._number = number
        self._began = time.monotonic()
        # Of the file's own thread alone, but that others read `_hashed`:
        self._file = file
        self._written = _written(file)
        self._hashed = 0  # bytes
        self._ahead: deque[tuple[int, Task[dict[str, bytes]]]] = deque()  # the next chunks, in their order

    def under_way(self) -> UnderWay:
        """Return how it stands."""
        manifest, state = self.manifest, self.state
        sent = min(self.acknowledged * self._chunk, manifest.size)
        return UnderWay(
            manifest.file_id,
            self._number,
            manifest.peer,
            manifest.name,
            manifest.size,
            incoming=False,
            state=state,
            done=self._hashed if state is State.HASHING else sent,
            began=self._began,
            progressed=self.progress,
        )

    def hash(self) -> None:
        """Read the whole file, and note its hash in the manifest.

        Raises:
            TransferFailed: it is not what it was when it was opened, or the transfer has ended meanwhile.
        """
        hasher, size = hashlib.sha256(), 0
        while data := self._file.read(_HASHED_AT_ONCE):
            hasher.update(data)
            size += len(data)
            self._hashed = size
            self._check_unchanged("read")  # now: one that grows as fast as it is read has no end
            if self.final is not None:
                raise TransferFailed(self.reason)
        if size != self.manifest.size:
            # As those of /proc do, which have no size.
            raise TransferFailed("the file has other bytes than its size says")
        self.manifest = replace(self.manifest, sha256=hasher.hexdigest())

    def sealed(self, index: int, sender: str, workers: Workers) -> dict[str, bytes]:
        """Return what a FILE_CHUNK holds of a chunk, as seal_chunk does.

        Args:
            index: the chunk's.
            sender: our id.
            workers: seal those that come next meanwhile, where that is worth it.

        Raises:
            TransferFailed: the file was changed.
        """
        if self.manifest.cipher is Cipher.HYBRID:
            return self._sealing(index, sender).result()  # of which RSA has the least part
        if self._ahead and self._ahead[0][0] != index:
            self._drop()  # the recipient has us go on from elsewhere
        for later in range(index + len(self._ahead), min(index + _AHEAD, self.manifest.chunks)):
            task = self._sealing(later, sender)
            self._ahead.append((later, task))
            workers.give(task.run)
        return self._ahead.popleft()[1].result()

    def _sealing(self, index: int, sender: str) -> Task[dict[str, bytes]]:
        """Read a chunk, and return the task of sealing it."""
        manifest = self.manifest
        self._file.seek(index * self._chunk)
        plain = self._file.read(self._chunk)
        self._check_unchanged("sent")
        label = chunk_label(manifest.file_id, sender, index, manifest.peer)
        return Task(partial(seal_chunk, manifest.cipher, self.recipient.key, plain, label))

    def _check_unchanged(self, doing: str) -> None:
        """Make sure that the file is what was there when it was opened: its recipient would refuse anything else.

        Raises:
            TransferFailed: it is not.
        """
        if _written(self._file) != self._written:
            raise TransferFailed(f"the file was changed while it was {doing}")

    def _drop(self) -> None:
        """Have nobody seal what was to come next."""
        for _, task in self._ahead:
            task.drop()
        self._ahead.clear()

    def close(self) -> None:
        """Read no more of it."""
        self._drop()
        self._file.close()


def _written(file: BinaryIO) -> tuple[int, int]:
    """Return what changes when a file is written to: its size, and when that was."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        FileRefused: it is not there, cannot be read, or is something else.
    """
    try:
        # O_NONBLOCK: a FIFO must be refused, not waited for. A symbolic link is followed: it is the person's own.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FileRefused(f"cannot read {path}: {reason}") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise FileRefused(f"cannot send {path}: it is {what}")
    return open(descriptor, "rb")
