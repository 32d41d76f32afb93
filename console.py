"""The one door through which text reaches a terminal or a log; what of it may be shown, the module display tells."""

from __future__ import annotations

import copy
import logging
import shutil
import sys
import threading
import unicodedata
from functools import partial
from types import TracebackType
from typing import Protocol, TextIO

from cells import wrapped
from display import logged, logged_field, visible
from seldom import Seldom

log = logging.getLogger("socp.console")


class VisibleFormatter(logging.Formatter):
    """Formats a log record on one line, with everything in it made visible and each of its fields kept apart."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one safe line."""
        apart = copy.copy(record)  # other handlers get the record as it was
        if isinstance(apart.args, tuple):
            apart.args = tuple(map(logged_field, apart.args))
        return logged(super().format(apart))

    def formatException(self, ei: object) -> str:  # noqa: N802 - the name is logging's
        """Return the exception alone: no traceback reaches a user, and `logged` keeps it on the line."""
        error = ei[1] if isinstance(ei, tuple) else None
        where = error.__traceback__ if isinstance(error, BaseException) else None
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f" at {where.tb_frame.f_code.co_name}:{where.tb_lineno}" if where is not None else ""
        return f"{type(error).__name__}: {error}{place}"


def start_logging(level: str) -> None:
    """Send the log to standard error, and with it the warnings and last words of Python itself.

    Args:
        level: a name of logging's, such as INFO.
    """
    handler = logging.StreamHandler(_LogStream(sys.stderr))
    handler.addFilter(Seldom())
    handler.setFormatter(VisibleFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = partial(_log_uncaught, "the program was ended by a bug")
    threading.excepthook = lambda told: _log_uncaught("a thread was ended by a bug", *told[:3])
    sys.unraisablehook = lambda told: _log_uncaught(
        "an error had nobody to go to", told.exc_type, told.exc_value, told.exc_traceback
    )


def _log_uncaught(
    what: str, kind: type[BaseException], error: BaseException | None, where: TracebackType | None
) -> None:
    """Log what nobody caught: what Python itself prints of it could hold anything, line breaks included."""
    log.critical(what, exc_info=(kind, error if error is not None else kind(), where))


def speak_utf8() -> None:
    """Let text that the terminal's encoding lacks come out escaped rather than as an error."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


_COLUMNS = 80  # of a terminal that does not say


class Owner(Protocol):
    """Who shows everything on the terminal, for as long as a line is edited there."""

    def is_on(self, stream: TextIO) -> bool:
        """Tell whether what is written to a stream would come out on that terminal."""

    def say(self, text: str) -> None:
        """Show a line, made visible."""

    def note(self, text: str) -> None:
        """Show a line soon; never waits, whatever the thread that calls is in the middle of."""

    def restore(self) -> None:
        """Give the terminal back as it was, at once."""


_owner: Owner | None = None


def own_terminal(owner: Owner | None) -> None:
    """Have everything that goes to the terminal go to its owner; None when it has none any more."""
    global _owner  # noqa: PLW0603 - a process has one terminal
    _owner = owner


def restore_terminal() -> None:
    """Give the terminal back as it was, before the process ends without any further ado."""
    if _owner is not None:
        _owner.restore()


def _owner_of(stream: TextIO) -> Owner | None:
    """Return who shows what is written to a stream; None if it is to be written."""
    owner = _owner  # read once: it may cease to be one
    return owner if owner is not None and owner.is_on(stream) else None


class _LogStream:
    """A stream for the lines of the log, which the terminal's owner shows where there is one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write lines that are visible."""
        owner = _owner_of(self._stream)
        if owner is not None:
            owner.note(text.removesuffix("\n"))
        else:
            self._stream.write(text)

    def flush(self) -> None:
        """Have nothing wait to be written."""
        self._stream.flush()


def _is_bracket(character: str) -> bool:
    return character not in "({" and unicodedata.category(character) == "Ps"


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
    owner = _owner_of(sys.stdout)
    if owner is not None:
        owner.say(text)
        return
    with _speaking:
        _write(sys.stdout, text, end)


def complain(text: str) -> None:
    """Print an error on standard error, made visible."""
    owner = _owner_of(sys.stderr)
    if owner is not None:
        owner.say(text)
        return
    _write(sys.stderr, text, "\n")
