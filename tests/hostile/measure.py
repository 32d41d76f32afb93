"""What a running process takes: memory, threads and descriptors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MIB = 1024 * 1024


def resident(pid: int) -> int:
    """Return how many bytes of memory a process has."""
    if sys.platform == "linux":
        return _status(pid, "VmRSS") * 1024
    printed = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], check=True, capture_output=True, text=True).stdout
    return int(printed) * 1024


def peak(pid: int) -> int:
    """Return the most bytes of memory that a process has had since `forget_peak`; on Linux alone."""
    return _status(pid, "VmHWM") * 1024


def forget_peak(pid: int) -> None:
    """Have `peak` count from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", "ascii")


def threads(pid: int) -> int:
    """Return how many threads a process has; on Linux alone."""
    return _status(pid, "Threads")


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open; on Linux alone."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise LookupError(name)
