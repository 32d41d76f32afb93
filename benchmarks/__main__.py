"""Runs the scenarios, prints what was measured as a table, and writes the same as JSON; see NOTES.md.

python -m benchmarks                    # all of them
python -m benchmarks direct tls         # some
python -m benchmarks --quick            # all, so small that the figures mean little
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import sys
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.backends.openssl import backend

from benchmarks.bench import Bench
from benchmarks.machine import BenchmarkError
from benchmarks.report import Row, table, write_json
from benchmarks.scenarios import SCENARIOS
from workers import CORES

_HERE = Path(__file__).parent


def _about() -> dict[str, object]:
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "openssl": backend.openssl_version_text(),
        "cores": CORES,
    }


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks", description="Measure what the servers cost, and how fast they are."
    )
    names = ", ".join(SCENARIOS)
    parser.add_argument("only", nargs="*", metavar="SCENARIO", help=f"measure these alone; there are: {names}")
    parser.add_argument("--quick", action="store_true", help="once, with small sizes, to see that everything works")
    parser.add_argument("--repetitions", type=int, default=5, help="of which the median counts (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=_HERE / "results.json", help="where to write the same as JSON")
    parser.add_argument("--pictures", type=Path, help="where to put pictures (default: here, and nowhere if --quick)")
    arguments = parser.parse_args(argv)
    if unknown := [name for name in arguments.only if name not in SCENARIOS]:
        parser.error(f"there is no scenario {unknown[0]}; there are: {names}")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Measure; returns the exit code: 0 unless something could not be measured."""
    arguments = _arguments(argv)
    about, rows, failed = _about(), list[Row](), False
    with tempfile.TemporaryDirectory(prefix="socp-bench-") as directory:
        bench = Bench(
            Path(directory),
            quick=arguments.quick,
            repetitions=1 if arguments.quick else arguments.repetitions,
            beside=0.1 if arguments.quick else 0.5,
            pictures=arguments.pictures or (Path(directory) if arguments.quick else _HERE),
        )
        with contextlib.suppress(KeyboardInterrupt):  # what was measured so far is told all the same
            for name in arguments.only or SCENARIOS:
                bench.say(f"{name} …")
                try:
                    rows += SCENARIOS[name](bench)
                except BenchmarkError as error:
                    bench.say(f"{name} could not be measured: {error}")
                    failed = True
    print(" · ".join(f"{name} {value}" for name, value in about.items()))
    print(table(rows))
    write_json(arguments.json, rows, about)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
