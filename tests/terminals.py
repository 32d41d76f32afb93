"""A pseudo-terminal for tests, with a screen that is rebuilt out of what is written to it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import socket
import struct
import termios
import threading
import unittest
from collections.abc import Callable, Mapping
from types import MappingProxyType
from unittest import mock

from editor import Completer
from recall import Recall
from terminal import TerminalScreen
from tests.vt100 import UnknownSequence, Vt100

PATIENCE = 20.0
_SIZE = struct.Struct("HHHH")


class Terminal:
    """A pseudo-terminal.

    Args:
        test: at whose end it is closed.
        columns: how wide.
        rows: how high.
        joins, ambiguous: see Vt100.

    Attributes:
        theirs: the descriptor of whoever reads what is typed.
        vt: what it shows.
        written: all that was written to it.
    """

    def __init__(
        self, test: unittest.TestCase, columns: int, rows: int, *, joins: bool = True, ambiguous: int = 1
    ) -> None:
        self.ours, self.theirs = pty.openpty()
        self.vt = Vt100(columns, rows, joins=joins, ambiguous=ambiguous)
        self.written = b""
        self._error: UnknownSequence | None = None
        self._changed = threading.Condition()  # guards the three above
        self._is_theirs_open = True
        self._set_size(columns, rows)
        self._stopped, self._stop = socket.socketpair()
        self._reader = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._reader.start()
        test.addCleanup(self.close)

    def close(self) -> None:
        """End it; harmless when repeated."""
        self.let_go()
        self.hang_up()

    def hang_up(self) -> None:
        """Go away, as a terminal whose window is closed."""
        if self.ours >= 0:
            self._stop.close()
            self._reader.join(PATIENCE)
            self._stopped.close()
            os.close(self.ours)
            self.ours = -1

    def let_go(self) -> None:
        """Leave it to those who have it open."""
        if self._is_theirs_open:
            os.close(self.theirs)
            self._is_theirs_open = False

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # nobody has it open any more, which is an error on Linux
            sources: list[int | socket.socket] = [self.ours, self._stopped]
            while self._stopped not in select.select(sources, [], [])[0]:
                data = os.read(self.ours, 65_536)
                if not data:
                    return
                with self._changed:
                    self.written += data
                    try:
                        self.vt.feed(data)
                    except UnknownSequence as error:
                        self._error = error
                    self._changed.notify_all()

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, _SIZE.pack(rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        """Have another size; who runs in it as its controlling terminal gets a signal."""
        with self._changed:
            self.vt.resize(columns, rows)
        self._set_size(columns, rows)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.ours, text.encode())

    def write(self, text: str) -> None:
        """Write to it, as another program may."""
        os.write(self.theirs, text.encode())

    def wait_for(self, condition: Callable[[Vt100], object]) -> None:
        """Wait until what is shown is as it should be."""
        with self._changed:
            self._changed.wait_for(lambda: self._error or condition(self.vt), PATIENCE)
            if self._error is not None:
                raise self._error
            if not condition(self.vt):
                raise AssertionError(f"not shown; cursor at {self.vt.cursor} of\n{self.vt.text}")

    def expect(self, *rows: str) -> None:
        """Wait until these are the last rows that hold something."""
        self.wait_for(lambda vt: tuple(vt.text.split("\n")[-len(rows) :]) == rows)

    def expect_input(self, line: str, before: str) -> None:
        """Wait until this stands in the cursor's row, and this before the cursor."""
        self.wait_for(lambda vt: (vt.line, vt.before) == (line, before))

    def is_raw(self) -> bool:
        """Tell whether the terminal hands on every key at once."""
        return not termios.tcgetattr(self.theirs)[3] & termios.ICANON


def open_screen(
    test: unittest.TestCase,
    terminal: Terminal,
    recall: Recall | None = None,
    completer: Completer | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> TerminalScreen:
    """Return the screen of a terminal, which is closed before that at the end of the test."""
    with mock.patch.dict(os.environ, {"TERM": "xterm", **environment}):
        if "NO_COLOR" not in environment:
            os.environ.pop("NO_COLOR", None)
        screen = TerminalScreen(recall, completer, keys=terminal.theirs, output=terminal.theirs)
    test.addCleanup(screen.close)
    return screen
