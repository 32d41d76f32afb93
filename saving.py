"""Saving a file that arrives (PROTOCOL.md section 10): chunks opened in order, and a file shown only when it is right.

Each file has a thread of its own, which waits for what the reader's thread hands in.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ciphers import open_chunk
from crypto.sealing import chunk_label
from downloads import Download, safe_name
from errors import ChatError, NotConnected
from events import Event, FileDone, FileFailed, FileInterrupted, FileResumed, FileStarted
from incoming import Arrived, Came, Incoming
from messages import Manifest
from results import NOT_SAVED, Results
from sending import Owner
from socp import FILE_ACK
from underway import TransferFailed

log = logging.getLogger("socp.saving")


def cannot_write(downloads: Path, error: OSError | ValueError) -> str:
    """Return what a person is told of a file that cannot be written; a ValueError is a name that no system can."""
    said = error.strerror if isinstance(error, OSError) else error
    return f"cannot write to {downloads}: {said}"


class Saver:
    """Receives files whose turn has come.

    Args:
        owner: the client.
        downloads: where they are put.
        results: told how they end.
    """

    def __init__(self, owner: Owner, downloads: Path, results: Results) -> None:
        self._owner = owner
        self._downloads = downloads
        self._results = results
        self._timers = owner.settings.timers
        self._limits = owner.settings.limits

    def receive(self, receiving: Incoming) -> None:
        """Receive a file, in its own thread, and tell both ends what has become of it."""
        manifest = receiving.manifest
        event: Event
        try:
            path = self._save(receiving)
        except (TransferFailed, ChatError) as error:
            event = self._failed(manifest, str(error))
            self._results.conclude(manifest, str(error))
        except (OSError, ValueError) as error:
            event = self._failed(manifest, cannot_write(self._downloads, error))
            self._results.conclude(manifest, NOT_SAVED)
        else:
            event = FileDone(manifest.file_id, manifest.peer, manifest.name, manifest.size, incoming=True, path=path)
            self._results.conclude(manifest)
        self._owner.emit(event)

    @staticmethod
    def _failed(manifest: Manifest, reason: str) -> FileFailed:
        return FileFailed(manifest.file_id, manifest.peer, manifest.name, incoming=True, reason=reason)

    def _save(self, receiving: Incoming) -> Path:
        """Receive a file, and return where it is; nothing is left of it when anything is raised."""
        manifest = receiving.manifest
        if time.monotonic() - receiving.heard > self._timers.offer:
            raise TransferFailed("its sender has waited too long")
        download = Download(self._downloads)
        try:
            self._report(receiving)
            self._owner.emit(FileStarted(manifest.file_id, manifest.peer, manifest.name, manifest.size, incoming=True))
            self._receive_chunks(receiving, download)
            # Before the file is there: a client that is killed in this moment does not take it a second time.
            self._results.remember_failed(manifest)
            return download.keep(safe_name(manifest.name))
        finally:
            receiving.drop()
            download.discard()

    def _receive_chunks(self, receiving: Incoming, download: Download) -> None:
        manifest = receiving.manifest
        unreported = 0
        length = 0  # of every chunk but the last
        self._note_progress(receiving, 0)
        while (opening := (arrived := self._next_frame(receiving)).opening) is not None:
            plain = opening.result()
            if plain is None:
                raise TransferFailed("a chunk does not open")
            length = length or len(plain)
            last = receiving.next_index == manifest.chunks - 1
            if not plain or (len(plain) > length if last else len(plain) != length):
                raise TransferFailed("the chunks are not of one size")
            if download.size + len(plain) > manifest.size:
                raise TransferFailed("it is longer than was said")
            download.write(plain)
            receiving.next_index += 1
            self._note_progress(receiving, download.size)
            unreported += arrived.sealed
            late = time.monotonic() >= receiving.reported_at + self._timers.report
            if unreported + arrived.sealed > self._limits.transfer_ack or last or late:  # with the next one
                unreported = 0
                self._report(receiving)
        if download.size != manifest.size:
            raise TransferFailed("its size is not the one that was said")
        if download.sha256() != manifest.sha256:
            raise TransferFailed("its SHA-256 is not the one that was said")

    def _note_progress(self, receiving: Incoming, received: int) -> None:
        manifest = receiving.manifest
        resumed = receiving.note_progress(received)
        receiving.until = receiving.progress + self._timers.stall
        if resumed:
            self._owner.emit(FileResumed(manifest.file_id, manifest.peer, manifest.name, incoming=True))

    def _interrupt(self, receiving: Incoming, reason: str) -> None:
        manifest = receiving.manifest
        if receiving.note_interruption():
            event = FileInterrupted(manifest.file_id, manifest.peer, manifest.name, incoming=True, reason=reason)
            self._owner.emit(event)

    def _next_frame(self, receiving: Incoming) -> Arrived:
        """Wait for the next chunk or the end, as long as it may yet come.

        Raises:
            TransferFailed: it may not.
        """
        while not isinstance(came := receiving.next(), Arrived):
            if time.monotonic() >= receiving.progress + self._timers.resume:
                raise TransferFailed("it was interrupted for too long")
            if came is Came.LOSS:
                self._interrupt(receiving, "the connection was lost")
            elif came is Came.QUESTION:
                if receiving.reported != receiving.next_index:
                    self._report(receiving)
                # Only what is said twice tells a sender that what it has sent since is lost.
                self._report(receiving)
                self._prolong(receiving)
            elif not self._owner.connected(0):
                self._interrupt(receiving, "not connected to a server")
                self._prolong(receiving)
            elif not self._owner.is_online(receiving.manifest.peer):
                self._interrupt(receiving, "the sender is not online")
                self._prolong(receiving)
            elif receiving.silent:  # while the question was out
                raise TransferFailed("nothing was heard from the sender for too long")
        return came

    def _prolong(self, receiving: Incoming) -> None:
        """Give it time to go on, but none beyond that after which an interrupted transfer has failed."""
        end = receiving.progress + self._timers.resume
        receiving.until = min(time.monotonic() + self._timers.stall, end)

    def open_chunk(self, manifest: Manifest, payload: Mapping[str, Any]) -> bytes | None:
        """Return what a FILE_CHUNK holds, in whatever thread; None if it is not what its sender is to have sealed."""
        label = chunk_label(manifest.file_id, manifest.peer, payload["index"], self._owner.pair.id)
        return open_chunk(manifest.cipher, self._owner.pair, payload, label)

    def _report(self, receiving: Incoming) -> None:
        manifest, index = receiving.manifest, receiving.next_index
        payload: dict[str, object] = {"file_id": manifest.file_id, "next_index": index, "status": "receiving"}
        try:
            self._owner.send(FILE_ACK, manifest.peer, payload)
        except NotConnected as error:
            log.info("the sender of a file is told how far it has come once we are connected again: %s", error)
        else:
            receiving.reported, receiving.reported_at = index, time.monotonic()
