"""Where received files go: safe names, and files that appear whole or not at all.

Nothing that a sender chooses can make a write land outside the download directory, or over a file that is there. The
directory is held open while a file is received: whatever is put in its place meanwhile is not written to.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import itertools
import os
import re
import secrets
import stat
import unicodedata
from pathlib import Path
from typing import BinaryIO

from display import replaced
from names import UNSEEN

# Bytes; file systems take 255, and a number may have to go in.
_NAME_MOST = 200
_EXTENSION_MOST = 16  # bytes
_DRAFT = re.compile(r"\.receiving-[0-9a-f]{16}", re.ASCII)  # what files are called while they are received
_JOINERS = str.maketrans("", "", "\u200c\u200d")
_NOT_IN_NAMES = frozenset('/\\:*?"<>|')
# Windows takes these for devices, whatever extension they have: a name must do no harm wherever the file is copied to.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\xb9\xb2\xb3]) *(\..*)?", re.IGNORECASE)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def safe_name(name: str) -> str:
    """Return a file name made from what a sender wrote: its last component, without anything that could do harm.

    Names in any script stay as they are. Control characters and bidi overrides become `_`, and so do a leading dot,
    which would hide the file, and a leading dash, which programs take for an option. What cannot be seen is left out,
    and so are spaces beyond one, and dots and spaces at the end: some systems do not tell such names apart.
    """
    composed = unicodedata.normalize("NFC", UNSEEN.sub("", name).translate(_JOINERS))
    base = composed.replace("\\", "/").rstrip("/").rpartition("/")[2]
    kept = "".join(map(_kept, replaced(base, "_")))
    kept = " ".join(kept.split()).rstrip(". ")
    kept = "_" + kept[1:] if kept.startswith((".", "-", "~")) else kept
    if not kept.strip("._ "):
        return "file"
    if _DEVICE.fullmatch(kept):
        kept = "_" + kept
    stem, suffix = _split(kept)
    room = _NAME_MOST - len(suffix.encode())
    return stem.encode()[:room].decode("utf-8", errors="ignore").rstrip(". ") + suffix


def _kept(character: str) -> str:
    if character in _NOT_IN_NAMES:
        return "_"
    return "" if unicodedata.category(character) == "Cf" else character


def _split(name: str) -> tuple[str, str]:
    """Cut a name before its extension, if that is short enough to be one."""
    stem, dot, extension = name.rpartition(".")
    if stem and dot and len(extension.encode()) <= _EXTENSION_MOST:
        return stem, dot + extension
    return name, ""


def _folded(name: str) -> str:
    """Return what names have in common that are one and the same to a file system that ignores case, as APFS does."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _open_directory(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _names(at: int) -> list[str]:
    with os.scandir(at) as entries:
        return [entry.name for entry in entries]


def clear_up(directory: Path) -> None:
    """Remove what clients left that were killed while they received: drafts that no process holds any more."""
    with contextlib.suppress(OSError):
        at = _open_directory(directory)
        try:
            for name in filter(_DRAFT.fullmatch, _names(at)):
                _clear(at, name)
        finally:
            os.close(at)


def _clear(at: int, name: str) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name, dir_fd=at)
        finally:
            os.close(descriptor)


def check_room(directory: Path, size: int, spare: int) -> None:
    """Make sure, as far as can be told without writing anything, that a file can be received into a directory.

    Args:
        directory: need not be there yet.
        size: bytes that it is to take.
        spare: bytes that are to be left free.

    Raises:
        OSError: it cannot; its `strerror` is for people.
    """
    place = directory.absolute()
    while not os.path.lexists(place):  # not `exists`: a link to nowhere stays in the way of what would be made here
        place = place.parent
    if not stat.S_ISDIR(place.stat().st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    if disk.f_blocks and free < size + spare:  # some file systems do not say how large they are
        raise OSError(errno.ENOSPC, f"{free:,} bytes are free there, and {size + spare:,} are needed")


def _new_draft(at: int) -> tuple[str, BinaryIO]:
    """Make a new file, and lock it: the lock goes with the process, and so tells whether that has died."""
    while True:
        draft = f".receiving-{secrets.token_hex(8)}"
        descriptor = os.open(draft, _NEW, 0o600, dir_fd=at)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = _is(at, draft, descriptor)
        except OSError as error:
            # A file system without locks: nobody can take it for one that was left there.
            ours = not isinstance(error, BlockingIOError)
        if ours:
            return draft, open(descriptor, "wb")
        os.close(descriptor)  # somebody who clears up came between the two


def _is(at: int, name: str, descriptor: int) -> bool:
    """Tell whether a name in a directory is that of an open file."""
    try:
        return os.path.samestat(os.stat(name, dir_fd=at, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


class Download:
    """A file that is being received: written beside its target under a name of ours.

    Args:
        directory: where it will be; made if it is not there. A symbolic link to a directory is its owner's choice.

    Raises:
        OSError: it cannot be written there.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        with contextlib.ExitStack() as stack:
            self._at = _open_directory(directory)
            stack.callback(os.close, self._at)
            self._draft, self._file = _new_draft(self._at)
            stack.pop_all()
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
        # The file system has the last word; this is for one that tells names apart that the next one will not.
        taken = set(map(_folded, _names(self._at)))
        stem, suffix = _split(name)
        for number in itertools.count():
            target = name if not number else f"{stem} ({number}){suffix}"
            if _folded(target) in taken:
                continue
            try:
                self._place(target)
            except FileExistsError:
                continue
            self._check_placed(target)
            self.discard()  # not before: without its lock, the draft would be anybody's to clear up
            return self._directory / target
        raise AssertionError("unreachable")

    def _place(self, target: str) -> None:
        """Give the draft the name `target`, which nobody must have."""
        try:
            os.link(self._draft, target, src_dir_fd=self._at, dst_dir_fd=self._at, follow_symlinks=False)
        except FileExistsError:
            raise
        except OSError:
            # A file system without hard links: take the name first, then move over what is ours.
            os.close(os.open(target, _NEW, 0o600, dir_fd=self._at))
            try:
                os.replace(self._draft, target, src_dir_fd=self._at, dst_dir_fd=self._at)
            except OSError:
                os.unlink(target, dir_fd=self._at)
                raise

    def _check_placed(self, target: str) -> None:
        """Take a file away again that is not what was received, or not where its path says.

        Raises:
            OSError: it was one of those.
        """
        why = ""
        if not _is(self._at, target, self._file.fileno()):
            why = "the file was replaced while it was received"
        elif not self._is_there():
            why = "the directory was moved away, or another one put in its place"
        if why:
            os.unlink(target, dir_fd=self._at)
            raise OSError(errno.ESTALE, why)

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(self._directory.stat(), os.fstat(self._at))
        except OSError:
            return False

    def discard(self) -> None:
        """Leave nothing behind; harmless after `keep`, and when repeated."""
        if self._at < 0:
            return
        with contextlib.suppress(OSError):
            os.unlink(self._draft, dir_fd=self._at)
        with contextlib.suppress(OSError):
            self._file.close()
        os.close(self._at)
        self._at = -1
