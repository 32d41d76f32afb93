"""A terminal that hands on every key at once, and is given back as it was, however the program ends."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import termios
from collections.abc import Iterator

_CC = 6  # where termios.tcgetattr has the special characters

_PASTE_ON, _PASTE_OFF = b"\x1b[?2004h", b"\x1b[?2004l"
_AS_BEFORE = _PASTE_OFF + b"\x1b[?7h\x1b[0m"  # and it breaks rows again, and prints in its usual colour


class RawMode:
    """One terminal, between `enter` and `leave`. Every method may be called in any thread, and in a signal's handler.

    Args:
        keys: the descriptor that keys are read from.
        shown: the descriptor that is written to.
        sequences: whether it knows control sequences.

    Raises:
        OSError: it is no terminal.
    """

    def __init__(self, keys: int, shown: int, *, sequences: bool) -> None:
        self._keys = keys
        self._shown = shown
        self._sequences = sequences
        self._is_raw = False
        try:
            self._before = termios.tcgetattr(keys)
        except termios.error as error:
            raise OSError(*error.args) from error
        atexit.register(self.leave)

    def enter(self) -> None:
        """Have every key handed on at once, unechoed; those that make signals too.

        Raises:
            OSError: the terminal is gone.
        """
        try:
            self._enter()
        except termios.error as error:
            raise OSError(*error.args) from error

    def _enter(self) -> None:
        raw = termios.tcgetattr(self._keys)
        raw[0] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR | termios.IXON | termios.ISTRIP | termios.BRKINT)
        raw[1] |= termios.OPOST | termios.ONLCR  # what others print must begin at the first column
        raw[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
        raw[_CC] = list(raw[_CC])
        raw[_CC][termios.VMIN], raw[_CC][termios.VTIME] = 1, 0
        self._is_raw = True
        termios.tcsetattr(self._keys, termios.TCSANOW, raw)
        if self._sequences:
            self._write(_PASTE_ON)

    def leave(self, *, on_new_row: bool = True) -> None:
        """Give the terminal back as it was; harmless when repeated. Never waits.

        Args:
            on_new_row: what is written next begins a row, whatever stands where the cursor is.
        """
        if not self._is_raw:
            return
        self._is_raw = False
        with contextlib.suppress(OSError, termios.error), _unstopped():
            if self._is_in_foreground():
                termios.tcsetattr(self._keys, termios.TCSANOW, self._before)
                self._write((_AS_BEFORE if self._sequences else b"") + (b"\r\n" if on_new_row else b""))

    def _is_in_foreground(self) -> bool:
        """Tell whether the terminal is ours: in the background it is another's, who has set it as they like."""
        try:
            return os.tcgetpgrp(self._keys) == os.getpgrp()
        except OSError:  # it controls no process
            return True

    def close(self) -> None:
        """Leave for good, with the cursor at the beginning of a row."""
        self.leave(on_new_row=False)
        atexit.unregister(self.leave)

    def _write(self, data: bytes) -> None:
        """Write some bytes if the terminal takes any: one that is held must hold up no end."""
        if select.select([], [self._shown], [], 0)[1]:
            with contextlib.suppress(OSError):
                os.write(self._shown, data)


@contextlib.contextmanager
def _unstopped() -> Iterator[None]:
    """Keep the signal away that stops whoever changes a terminal from the background."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
