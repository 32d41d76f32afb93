"""The one door through which text from outside reaches a terminal or a log."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
import unicodedata
from collections.abc import Iterator
from typing import TextIO

# Shown as escapes: whatever moves the cursor, recolours, reorders or hides text. `Cf` holds the bidi overrides;
# the few of its characters that scripts and emoji cannot be written without are let through.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_NEEDED = frozenset("\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u08e2")


def visible(text: str) -> str:
    r"""Return `text` with each control character and bidi override made visible, as `\x1b` or `\u202e`.

    A line break is one of them: without that, a message could forge the line of another sender below its own.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN or character in _NEEDED:
        return character
    return character.encode("unicode_escape").decode("ascii")


class VisibleFormatter(logging.Formatter):
    """Formats a log record on one line, with everything in it made visible."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one safe line."""
        return visible(super().format(record))

    def formatException(self, ei: object) -> str:  # noqa: N802 - the name is logging's
        """Return the exception alone: no traceback reaches a user, and `visible` keeps it on the line."""
        error = ei[1] if isinstance(ei, tuple) else None
        where = error.__traceback__ if isinstance(error, BaseException) else None
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f" at {where.tb_frame.f_code.co_name}:{where.tb_lineno}" if where is not None else ""
        return f"{type(error).__name__}: {error}{place}"


def start_logging(level: str) -> None:
    """Send the log to standard error.

    Args:
        level: a name of logging's, such as INFO.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(VisibleFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)


def speak_utf8() -> None:
    """Let text that the terminal's encoding lacks come out escaped rather than as an error."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


_INDENT = "    "
_COLUMNS = 80  # of a terminal that does not say


def wrapped(text: str, columns: int) -> Iterator[str]:
    """Cut a line into those that a terminal shows of it; all but the first are indented.

    A character counts as wide where terminals may differ: that breaks too early.
    """
    line, room = "", max(columns, 2 * len(_INDENT))
    for character in text:
        width = _width(character)
        if width > room:
            yield line
            line, room = _INDENT, max(columns, 2 * len(_INDENT)) - len(_INDENT)
        line += character
        room -= width
    yield line


def _is_bracket(character: str) -> bool:
    return character not in "({" and unicodedata.category(character) == "Ps"


def _width(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    wide = unicodedata.east_asian_width(character) in "WFA" or unicodedata.category(character) == "So"
    return 2 if wide else 1


def _write(stream: TextIO, text: str, end: str) -> None:
    shown = visible(text)
    # Left to the terminal, a line breaks at the margin and goes on at the first column, where somebody could have put
    # what looks like a line of its own. Our lines begin with a bracket: without a second one there is no such danger,
    # and a line that the terminal itself has broken is copied as one.
    if stream.isatty() and any(map(_is_bracket, shown[1:])):
        shown = "\n".join(wrapped(shown, shutil.get_terminal_size().columns or _COLUMNS))
    stream.write(shown + end)
    stream.flush()


_speaking = threading.Lock()  # guards standard output: a line of one thread never stands inside another's


def say(text: str, end: str = "\n") -> None:
    """Print a line, made visible, at once."""
    with _speaking:
        _write(sys.stdout, text, end)


def complain(text: str) -> None:
    """Print an error on standard error, made visible."""
    _write(sys.stderr, text, "\n")
