"""Processes of a benchmark: started, spoken to line by line, ended, and asked what they have used."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 120.0  # seconds for what should take a few, on a machine that is busy


class BenchmarkError(Exception):
    """Raised when something could not be measured."""


class Process:
    """A process of Python in this repository.

    Args:
        name: what errors call it.
        arguments: for Python.
        cwd: where it runs.
        silent: whether what it logs is thrown away.
    """

    def __init__(self, name: str, *arguments: object, cwd: Path = ROOT, silent: bool = False) -> None:
        self.name = name
        clean = {variable: value for variable, value in os.environ.items() if not variable.startswith("SOCP_")}
        self._process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=cwd,
            env=clean | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if silent else None,
            text=True,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name=f"output of {name}")
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def line(self, seconds: float = PATIENCE) -> str:
        """Return the next line that it prints.

        Raises:
            BenchmarkError: there is none.
        """
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise BenchmarkError(f"{self.name} says nothing") from None
        if line is None:
            raise BenchmarkError(f"{self.name} has ended")
        return line

    def expect(self, words: str, seconds: float = PATIENCE) -> str:
        """Return the next line that holds these words."""
        while words not in (line := self.line(seconds)):
            continue
        return line

    def say(self, text: str) -> None:
        """Write to its standard input.

        Raises:
            BenchmarkError: it has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise BenchmarkError(f"{self.name} has ended") from None

    @property
    def pid(self) -> int:
        """The number that the system knows it by."""
        return self._process.pid

    def cpu(self) -> float:
        """Return the seconds of the processor that it has used so far, its own and the system's for it."""
        return cpu_of(self._process.pid)

    def end(self) -> None:
        """End it; harmless when repeated."""
        self._process.terminate()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                continue  # what it was not told any more, it needs not know


def cpu_of(pid: int) -> float:
    """Return the seconds of the processor that a running process has used, in all its threads, ended ones too."""
    if sys.platform == "linux":
        # The clock that clock_getcpuclockid(3) names. /proc/PID/stat tells the same in hundredths of a second.
        return time.clock_gettime(~pid << 3 | 2)
    return seconds_of(_ps(pid, "time"))


def resident_of(pid: int) -> int:
    """Return how many bytes of memory a running process has."""
    status = Path(f"/proc/{pid}/statm")
    if status.exists():
        return int(status.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return int(_ps(pid, "rss")) * 1024


def _ps(pid: int, column: str) -> str:
    command = ["ps", "-o", f"{column}=", "-p", str(pid)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def seconds_of(text: str) -> float:
    """Read what `ps` calls a time: [[days-]hours:]minutes:seconds, with a fraction on macOS."""
    days, _, clock = text.rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds + int(days or 0) * 86_400
