"""Fuzzing from the command line: `python -m tests.fuzz --seed 7 --seconds 60`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.fuzz import in_process, live
from tests.fuzz.branches import Branches
from tests.fuzz.handlers import HANDLERS
from tests.fuzz.in_process import Found, Tally
from tests.fuzz.mutators import KINDS

_COVERED_LEAST = 0.9  # of the outcomes of the handlers' branches
_COVERED_ENOUGH = 0.935  # of the outcomes: then no more inputs are traced
_KINDS_LEAST = 40
_WHOLE_LEAST = 0.5  # of the inputs
_TRACED_SEED = 1  # the inputs that are traced are always the same ones: what they reach is to be comparable
_TRACED_ROUNDS = 40
_TRACED_SIZE = 240  # inputs: what comes first in a round reaches most
_TRACED_SCENES = 0.2
_ROOM = 5.0  # seconds that each part has at least


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def trace() -> tuple[Branches, Tally]:
    """Run inputs that reach the handlers' branches, until enough of them are covered; some 10 s on one core."""
    branches, tally = Branches(HANDLERS), Tally()
    for number in range(_TRACED_ROUNDS):
        if branches.share >= _COVERED_ENOUGH:
            break
        rounds = range(number, number + 1)
        with branches:
            in_process.run(_TRACED_SEED, rounds=rounds, size=_TRACED_SIZE, scenes=_TRACED_SCENES, tally=tally)
    return branches, tally


def _say_kinds(kinds: Counter[str]) -> None:
    say(f"{len(kinds)} of {len(KINDS)} kinds: " + ", ".join(f"{kind} {kinds[kind]}" for kind in KINDS if kinds[kind]))


def _judge(what: str, value: float, least: float) -> list[str]:
    return [f"{what}: {value:.3g}, and at least {least:g} are wanted"] if value < least else []


def fuzz_in_process(seed: int, seconds: float, frames: int | None, *, show: bool) -> list[str]:
    """Fuzz in process, and return what is wrong."""
    end = time.monotonic() + seconds
    branches, traced = trace()
    size = in_process.ROUND
    rounds = range(-(-frames // size)) if frames is not None else None
    tally = in_process.run(seed, rounds=rounds, seconds=max(_ROOM, end - time.monotonic()))
    inputs = tally.inputs + traced.inputs
    whole = (tally.whole + traced.whole) / inputs
    say(f"in process: {inputs:,} inputs, {traced.inputs:,} of them traced; {whole:.0%} pass framing")
    kinds = tally.kinds + traced.kinds
    _say_kinds(kinds)
    for module, (taken, outcomes) in sorted(branches.by_module().items()):
        say(f"  {module:<12} {taken:>4} of {outcomes:>4} outcomes  {taken / max(1, outcomes):>5.0%}")
    say(f"branches of the handlers: {branches.taken} of {branches.outcomes} outcomes, {branches.share:.1%}")
    if show:
        for line in branches.missing():
            say(f"  {line}")
    wrong = _judge("branches covered", branches.share, _COVERED_LEAST)
    wrong += _judge("inputs that pass framing", whole, _WHOLE_LEAST)
    return wrong + _judge("kinds", len(kinds), _KINDS_LEAST)


def fuzz_live(seed: int, arguments: argparse.Namespace, seconds: float) -> list[str]:
    """Fuzz running programs, and return what is wrong."""
    outcome = live.run(
        seed,
        seconds=seconds,
        frames=arguments.frames,
        honest=arguments.honest,
        attackers=arguments.attackers,
        tls=arguments.tls,
    )
    whole = outcome.whole / max(1, outcome.sent)
    say(
        f"live: {outcome.sent:,} frames over {outcome.connections:,} connections in {outcome.seconds:.0f} s; "
        f"{whole:.0%} pass framing"
    )
    _say_kinds(outcome.frames)
    say("  " + ", ".join(f"{state}: {count:,}" for state, count in sorted(outcome.states.items())))
    say(f"honest messages: {outcome.delivered} of {outcome.honest} shown exactly once and confirmed")
    wrong = outcome.wrong + _judge("frames that pass framing", whole, _WHOLE_LEAST)
    if arguments.frames is not None:
        wrong += _judge("frames sent", outcome.sent, arguments.frames)
    return wrong


def main() -> int:
    """Fuzz, and return 0 if all was as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__, allow_abbrev=False)
    parser.add_argument("--seed", type=int, help="what decides everything (default: by the clock)")
    parser.add_argument("--seconds", type=float, help="all told (default: 60; 3600 if --frames is given)")
    parser.add_argument("--frames", type=int, help="how many; as many as there is time for if not given")
    parser.add_argument("--only", choices=("in-process", "live"), help="one of the two halves")
    parser.add_argument("--honest", type=int, default=20, help="messages that honest users send (default: 20)")
    parser.add_argument("--attackers", type=int, default=4, help="that connect at a time (default: 4)")
    parser.add_argument("--tls", action="store_true", help="have servers and attackers speak TLS")
    parser.add_argument("--missing", action="store_true", help="name each outcome of a branch that was not taken")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else int(time.time())
    seconds = arguments.seconds or (60.0 if arguments.frames is None else 3600.0)
    say(f"seed {seed}: {seconds:g} s")
    wrong: list[str] = []
    began = time.monotonic()
    try:
        if arguments.only != "live":
            share = 1.0 if arguments.only else 0.7
            wrong += fuzz_in_process(seed, seconds * share, arguments.frames, show=arguments.missing)
        if arguments.only != "in-process":
            wrong += fuzz_live(seed, arguments, max(2 * _ROOM, seconds - (time.monotonic() - began)))
    except Found as error:
        wrong.append(str(error))
    for line in wrong:
        say(f"WRONG: {line}")
    say(f"seed {seed}: {'found something' if wrong else 'nothing was found'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
