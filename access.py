"""Who may come in: lists of ids in files, which people keep, and have read again while a program runs."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

from socp import is_id

log = logging.getLogger("socp.access")

_SHOWN = 64  # characters of a bad line


class ListError(Exception):
    """Raised when a list cannot be read; says which, and why."""


class Access:
    """Two lists: of those who alone may come in, and of those who may not.

    Args:
        kind: what the ids are of, for people: "user" or "server".
        only: the file of the first; None lets everybody in …
        but: … save those in this file, if there is one.

    Raises:
        ListError: one cannot be read.
    """

    def __init__(self, kind: str, only: Path | None = None, but: Path | None = None) -> None:
        self._kind = kind
        self._only = only
        self._but = but
        self._lists = self._read()  # replaced as a whole: whoever asks in another thread sees the old pair or the new

    @property
    def is_limited(self) -> bool:
        """Whether there is any list, and so anything to be read again."""
        return self._only is not None or self._but is not None

    def allows(self, peer_id: str) -> bool:
        """Tell whether somebody may come in."""
        only, but = self._lists
        return peer_id not in but and (only is None or peer_id in only)

    def read_again(self) -> bool:
        """Read the lists again; when one cannot be read, both stay as they were, which is logged.

        Returns:
            Whether they have been read.
        """
        try:
            self._lists = self._read()
        except ListError as error:
            log.error("%s; who may come in stays as it was", error)
            return False
        log.info("the lists of who may come in have been read again")
        return True

    def _read(self) -> tuple[frozenset[str] | None, frozenset[str]]:
        only = read_ids(self._only, self._kind) if self._only is not None else None
        return only, read_ids(self._but, self._kind) if self._but is not None else frozenset()


def read_ids(path: Path, kind: str) -> frozenset[str]:
    """Read a list of ids: one a line, `#` for comments.

    Args:
        path: its file.
        kind: see Access.

    Raises:
        ListError: it cannot be read, or a line is not an id.
    """
    try:
        # A pipe that nobody writes to would hold up the thread that ends this program when it is told to.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ListError(f"cannot read the list of {kind}s {path}: not a regular file")
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ListError(f"cannot read the list of {kind}s {path}: {reason}") from error
    ids = set()
    for number, line in enumerate(lines, start=1):
        entry = line.partition("#")[0].strip()
        if entry and not is_id(entry):
            raise ListError(f"{path}, line {number}: {entry[:_SHOWN]!r} is not a {kind} id")
        ids |= {entry} if entry else set()
    return frozenset(ids)
