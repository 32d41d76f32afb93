"""Where received files go: safe names, and files that appear whole or not at all.

Nothing that a sender chooses can make a write land outside the download directory, or over a file that is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import os
import secrets
import unicodedata
from pathlib import Path
from typing import BinaryIO

from console import visible

# Bytes; file systems take 255, and a number may have to go in.
_NAME_MOST = 200
_DRAFT = ".receiving-"  # what the names of files begin with that are being received
_NOT_IN_NAMES = frozenset('/\\:*?"<>|')


def safe_name(name: str) -> str:
    """Return a file name made from what a sender wrote: its last component, without anything that could do harm.

    Names in any script stay as they are; control characters and bidi overrides become `_`, and so does a leading
    dot, which would hide the file.
    """
    base = unicodedata.normalize("NFC", name.replace("\\", "/")).rstrip("/").rpartition("/")[2]
    kept = "".join("_" if char in _NOT_IN_NAMES or visible(char) != char else char for char in base).strip()
    kept = "_" + kept[1:] if kept.startswith((".", "-", "~")) else kept
    if not kept.strip("._ "):
        return "file"
    stem, suffix = _split(kept)
    room = _NAME_MOST - len(suffix.encode())
    return stem.encode()[:room].decode("utf-8", errors="ignore") + suffix


def _split(name: str) -> tuple[str, str]:
    """Cut a name before its extension, if that is short enough to be one."""
    stem, dot, extension = name.rpartition(".")
    if stem and dot and len(extension.encode()) <= 16:
        return stem, dot + extension
    return name, ""


def _clear_up(directory: Path) -> None:
    """Remove what clients left that were killed while they received: drafts that no process holds any more."""
    for draft in directory.glob(f"{_DRAFT}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(draft, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                draft.unlink()
            finally:
                os.close(descriptor)


def _new_draft(directory: Path) -> tuple[Path, BinaryIO]:
    """Make a new file, and lock it: the lock goes with the process, and so tells whether that has died."""
    while True:
        draft = directory / f"{_DRAFT}{secrets.token_hex(8)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = draft.exists()
        except OSError as error:
            # A file system without locks: nobody can take it for one that was left there.
            ours = not isinstance(error, BlockingIOError)
        if ours:
            return draft, open(descriptor, "wb")
        os.close(descriptor)  # somebody who clears up came between the two


class Download:
    """A file that is being received: written beside its target under a name of ours.

    Args:
        directory: where it will be; made if it is not there.

    Raises:
        OSError: it cannot be written there.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _clear_up(directory)
        self._directory = directory
        self._draft, self._file = _new_draft(directory)
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Add bytes."""
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def sha256(self) -> str:
        """Return the hash of all that was written, in hex."""
        return self._hash.hexdigest()

    def keep(self, name: str) -> Path:
        """Make the file visible under a new, unused name, and return its path.

        Args:
            name: as `safe_name` returns it.

        Raises:
            OSError: it cannot be written.
        """
        self._file.flush()
        os.fsync(self._file.fileno())
        stem, suffix = _split(name)
        for number in itertools.count(1):
            target = self._directory / (name if number == 1 else f"{stem} ({number}){suffix}")
            try:
                self._place(target)
            except FileExistsError:
                continue
            self._file.close()  # not before: without its lock, the draft would be anybody's to clear up
            return target
        raise AssertionError("unreachable")

    def _place(self, target: Path) -> None:
        """Give the draft the name `target`, which nobody must have."""
        try:
            os.link(self._draft, target)
        except FileExistsError:
            raise
        except OSError:
            # A file system without hard links: take the name first, then move over what is ours.
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            try:
                self._draft.replace(target)
            except OSError:
                target.unlink(missing_ok=True)
                raise
            return
        self._draft.unlink()

    def discard(self) -> None:
        """Leave nothing behind; harmless after `keep`, which has left no draft."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._draft.unlink(missing_ok=True)
