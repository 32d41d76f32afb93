"""The lines that were typed before, of this run and of those before it, to be taken up again.

They are kept in a file for their owner alone, one JSON string a line; what must not be written down is recalled until
the program ends. Several programs may share the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

log = logging.getLogger("socp.recall")

LINES_MOST = 1_000
_BYTES_MOST = 256 * 1024  # of the file
_LINE_MOST = 8 * 1024  # bytes in the file; what is longer was pasted, and is not written down


class Recall:
    """Lines typed before. Belongs to one thread.

    Args:
        path: the file; None to keep nothing.
        keep: tells of a line whether it may be written down.
    """

    def __init__(self, path: Path | None = None, keep: Callable[[str], bool] = lambda _line: True) -> None:
        self._path = path
        self._keep = keep
        self._lines: deque[str] = deque(maxlen=LINES_MOST)
        if path is not None:
            try:
                self._lines.extend(_read(path))
            except OSError as error:
                self._give_up(path, error)

    @property
    def lines(self) -> Sequence[str]:
        """The lines, the oldest first."""
        return self._lines

    def add(self, line: str) -> None:
        """Remember a line, if it is not the last one again."""
        if not line.strip() or (self._lines and self._lines[-1] == line):
            return
        self._lines.append(line)
        if self._path is not None and self._keep(line):
            try:
                _append(self._path, line)
            except OSError as error:
                self._give_up(self._path, error)

    def _give_up(self, path: Path, error: OSError) -> None:
        """Go on without the file: what is typed must not depend on it, and one warning is enough."""
        self._path = None
        log.warning("what is typed is not kept in %s: %s", str(path), error.strerror or error)


def _read(path: Path) -> list[str]:
    """Return the lines of the file, whatever is in it: a line that is damaged is passed over."""
    try:
        # Not through a link that somebody else could have put there, and without waiting if it is a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    with open(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is no file")
        stream.seek(max(0, status.st_size - _BYTES_MOST))
        written = stream.read(_BYTES_MOST).decode("utf-8", errors="replace").split("\n")
    return list(_understood(written))[-LINES_MOST:]


def _understood(written: list[str]) -> Iterator[str]:
    for text in written:
        if len(text) > _LINE_MOST or not text.startswith('"'):
            continue
        with contextlib.suppress(ValueError):
            line = json.loads(text)
            line.encode()  # an escape may stand for half a character
            yield line


def _append(path: Path, line: str) -> None:
    """Add a line to the file, which others may change too; a reader finds it with the line or without."""
    text = json.dumps(line, ensure_ascii=False)
    if len(text.encode()) > _LINE_MOST:
        return
    # Never unlinked: a lock on a file that another process can no longer find would keep nobody out.
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = [json.dumps(other, ensure_ascii=False) for other in _read(path)][-LINES_MOST + 1 :]
        _replace(path, _last([*kept, text]))
    finally:
        os.close(lock)


def _last(texts: list[str]) -> bytes:
    """Return the last of some lines, as many as the file may hold."""
    content, size = [], 0
    for text in reversed(texts):
        data = text.encode() + b"\n"
        size += len(data)
        if size > _BYTES_MOST:
            break
        content.append(data)
    return b"".join(reversed(content))


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
