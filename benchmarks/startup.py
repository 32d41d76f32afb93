"""How long a person waits for `python client.py --help`, beside an interpreter that imports argparse alone."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.bench import Bench
from benchmarks.machine import ROOT
from benchmarks.report import Row

_NAME = "startup"
_ABOVE_MOST = 0.15  # seconds


def _seconds(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def help_of_client(bench: Bench) -> list[Row]:
    """Run both in turn, many times, and compare the medians."""
    helps, imports = [], []
    for _ in range(bench.size(25, 3)):
        imports.append(_seconds("-c", "import argparse"))
        helps.append(_seconds("client.py", "--help"))
    above = statistics.median(helps) - statistics.median(imports)
    return [
        Row(_NAME, "client.py --help", statistics.median(helps), "s"),
        Row(_NAME, "import argparse", statistics.median(imports), "s"),
        Row(_NAME, "--help above argparse", above, "s", above / _ABOVE_MOST, f"{_ABOVE_MOST} s", 1.0, at_most=True),
    ]
