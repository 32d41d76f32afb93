"""Runs one of the programs with its timers scaled or its clock off, which no flag of the programs does.

python -m tests.e2e.launch FACTOR PROGRAM [ARGUMENT …]

$TEST_TIMERS holds timers that are set to a value of their own, whatever the factor: "silence=2 lost_after=1".
$TEST_CLOCK_OFF holds milliseconds by which the program's clock is ahead; $TEST_SOURCE the address that it connects
from; $TEST_DESCRIPTORS how many descriptors it may have, if not 0; $TEST_SABOTAGE breaks it, see
tests/chaos/sabotage.py.
"""

from __future__ import annotations

import importlib
import os
import resource
import socket
import sys
from dataclasses import replace
from functools import partial

from cryptography.hazmat.primitives import serialization

import socp
from settings import Settings, Timers

# Seconds. An orderly end waits for the disk, which takes no less time for a factor: it can be busy for half a second.
_STOP_LEAST = 2.0


def main() -> int:
    """Run the program that the arguments name."""
    factor, program, *arguments = sys.argv[1:]
    sys.argv[0] = f"{program}.py"
    ahead = int(os.environ.get("TEST_CLOCK_OFF", "0"))
    if ahead:
        right = socp.now_ms
        socp.now_ms = lambda: right() + ahead
    if descriptors := int(os.environ.get("TEST_DESCRIPTORS", "0")):
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    # Checking the numbers of a key takes 0.3 s each time, and those of the vectors are known to be good.
    serialization.load_pem_private_key = partial(
        serialization.load_pem_private_key, unsafe_skip_rsa_key_validation=True
    )
    if source := os.environ.get("TEST_SOURCE"):
        socket.create_connection = partial(socket.create_connection, source_address=(source, 0))
    if what := os.environ.get("TEST_SABOTAGE"):
        importlib.import_module("tests.chaos.sabotage").sabotage(what)
    own = (timer.split("=") for timer in os.environ.get("TEST_TIMERS", "").split())
    timers = Timers().scaled(float(factor))
    timers = replace(timers, stop=max(timers.stop, _STOP_LEAST))
    settings = Settings(timers=replace(timers, **{timer: float(seconds) for timer, seconds in own}))
    code: int = importlib.import_module(program).main(arguments, settings)
    return code


if __name__ == "__main__":
    sys.exit(main())
