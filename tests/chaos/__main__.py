"""Chaos from the command line: `python -m tests.chaos --seed 7 --seconds 600`."""

from __future__ import annotations

import argparse
import sys
import time

from tests.chaos.run import Plan, run
from tests.chaos.schedule import Shape, make_schedule


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def main() -> int:
    """Run, and return 0 for green and 1 for red."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__, allow_abbrev=False)
    parser.add_argument("--seed", type=int, help="what decides everything (default: by the clock)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of load and faults (default: %(default)s)")
    parser.add_argument("--factor", type=float, default=1.0, help="that all timers are multiplied by")
    parser.add_argument("--servers", type=int, default=5)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--introducers", type=int, default=2)
    parser.add_argument("--every", type=float, help="seconds between two faults (default: 5 times the factor, or 1.5)")
    parser.add_argument("--rate", type=float, default=1.9, help="messages a second of each client")
    parser.add_argument("--sabotage", default="", help="see tests/chaos/sabotage.py: this must turn out red")
    parser.add_argument("--tls", action="store_true", help="have all programs speak TLS, and nothing else")
    parser.add_argument("--keep", action="store_true", help="keep what was printed, even if all is well")
    parser.add_argument("--plan", action="store_true", help="print the schedule alone")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else int(time.time())
    shape = Shape(arguments.servers, arguments.clients, arguments.introducers, arguments.factor)
    every = arguments.every or max(1.5, 5 * arguments.factor)
    faults = make_schedule(seed, arguments.seconds, shape, every)
    say(f"seed {seed}: {arguments.seconds:g} s, timers at {arguments.factor:g}, {len(faults)} faults")
    if arguments.plan:
        for fault in faults:
            say(str(fault))
        return 0
    environment = {"TEST_SABOTAGE": arguments.sabotage} if arguments.sabotage else {}
    keep = arguments.keep or None
    plan = Plan(seed, arguments.seconds, shape, faults, arguments.rate, environment, keep=keep, tls=arguments.tls)
    outcome = run(plan, say)
    for line in outcome.report():
        say(line)
    return 0 if outcome.green else 1


if __name__ == "__main__":
    sys.exit(main())
