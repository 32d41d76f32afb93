"""Runs one of the programs with its timers scaled, which no flag of the programs does.

python -m tests.e2e.launch FACTOR PROGRAM [ARGUMENT …]
"""

from __future__ import annotations

import importlib
import sys

from settings import Settings, Timers


def main() -> int:
    """Run the program that the arguments name."""
    factor, program, *arguments = sys.argv[1:]
    sys.argv[0] = f"{program}.py"
    settings = Settings(timers=Timers().scaled(float(factor)))
    code: int = importlib.import_module(program).main(arguments, settings)
    return code


if __name__ == "__main__":
    sys.exit(main())
