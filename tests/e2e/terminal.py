"""A real terminal, for what a client shows and asks at one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
import unittest
from collections.abc import Callable
from pathlib import Path

from tests.e2e import nursery
from tests.e2e.harness import PATIENCE, clean_environment
from tests.vt100 import Vt100

_ROWS = 24


class Terminal:
    """A terminal with a client in it.

    Args:
        test: at whose end it is ended.
        directory: where the client runs, and finds its home.
        arguments: the client's.
        kind: what the client takes it for.
        columns: how wide; it has 24 rows.
        timers: see launch.py.

    Attributes:
        shown: all that was written to it.
        vt: what stands there, if it is not dumb.
    """

    def __init__(
        self,
        test: unittest.TestCase,
        directory: Path,
        *arguments: str,
        kind: str = "dumb",
        columns: int = 80,
        timers: str = "",
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
        self.vt = Vt100(columns, _ROWS)
        self._is_dumb = kind == "dumb"
        self.process = nursery.start(
            "tests.e2e.launch",
            ["1", "client", *arguments],
            cwd=directory,
            environment={**clean_environment(), "HOME": str(directory), "TERM": kind, "TEST_TIMERS": timers},
            terminal=theirs,
        )
        os.close(theirs)
        test.addCleanup(self._clean_up)
        self.shown = ""
        self._from = 0

    def _clean_up(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def _read(self, seconds: float) -> bool:
        """Read what is shown; False when nothing more will be, or came in time."""
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        with contextlib.suppress(OSError):  # the end of a terminal is an error on Linux
            data = os.read(self._ours, 65_536)
            self.shown += data.decode("utf-8", errors="replace")
            if not self._is_dumb:
                self.vt.feed(data)
            return bool(data)
        return False

    def expect(self, pattern: str) -> None:
        """Wait until something is shown, behind what was waited for before."""
        end = time.monotonic() + PATIENCE
        while (match := re.compile(pattern).search(self.shown, self._from)) is None:
            left = end - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(f"{pattern!r} was not shown:\n{self.shown}")
        self._from = match.end()

    def wait_for(self, condition: Callable[[Vt100], object]) -> None:
        """Wait until what stands there is as it should be."""
        end = time.monotonic() + PATIENCE
        while not condition(self.vt):
            left = end - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(f"not shown; cursor at {self.vt.cursor} of\n{self.vt.text}")

    def see(self, pattern: str) -> re.Match[str]:
        """Wait until a row stands there, and return its match."""

        def find(vt: Vt100) -> re.Match[str] | None:
            return next(filter(None, (re.search(pattern, row) for row in reversed(vt.shown))), None)

        self.wait_for(find)
        found = find(self.vt)
        assert found is not None
        return found

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def interrupt(self) -> int:
        """Press Ctrl-C at a question until that has ended the client, and return the exit code.

        As a person does: a signal that comes between Python's last look for one and its call of read() is lost on it
        until the next.
        """
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.type("\x03")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
                break
        return self.code()

    def code(self) -> int:
        """Wait for the end, and return the exit code."""
        while self._read(PATIENCE):
            continue
        return self.process.wait(PATIENCE)
