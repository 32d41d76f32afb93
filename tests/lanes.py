"""Runs the tests of many modules on all cores, by processes each of which takes one module after the other.

What `python -m unittest discover` finds is run so; tests that are named on the command line are not. The processes
tell what became of each test, and it is told again here, so that the runner prints and counts it like any other. Most
of the time goes into RSA operations and into starting programs, one after the other.
"""

# ruff: noqa: N802 - the names of these methods are unittest's
from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import traceback
import unittest
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, TextIO

_ROOT = Path(__file__).resolve().parents[1]
# One process more than there are cores, since tests also wait; the tests of timers do not get better by being crowded.
_LANES_MORE = 1
_LANES_MOST = 4
# Long ones first: else one lane would work on the longest while the others have nothing left.
_FIRST = (
    "tests.e2e.test_network",
    "tests.e2e.",
    "tests.chaos.",
    "tests.hostile.",
    "tests.test_receiving",
    "tests.fuzz.",
)
_DONE = "done"

_Error = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class Told(unittest.TestCase):
    """A test that was run in another process, and does here what it did there."""

    def __init__(self, name: str, line: str, outcome: str, text: str) -> None:
        super().__init__()
        self.told_name = name
        self.told_line = line
        self.told_outcome = outcome
        self.told_text = text

    def id(self) -> str:
        """Return the name of the test itself."""
        return self.told_name

    def __str__(self) -> str:
        return self.told_name

    def shortDescription(self) -> str:
        """Return what the test shows."""
        return self.told_line

    def runTest(self) -> None:
        """Pass, skip or fail."""
        if self.told_outcome == "skipped":
            self.skipTest(self.told_text)
        if self.told_outcome == "failed":
            self.fail(f"in a process of its own:\n{self.told_text}")


class Lanes(unittest.TestSuite):
    """Tests that are run by several processes, module by module.

    Args:
        modules: their names.
        others: tests that belong to no module, such as those that could not be loaded.
        count: how many processes.
    """

    def __init__(self, modules: list[str], others: list[unittest.TestCase], count: int) -> None:
        super().__init__(others)
        self._changed = threading.Condition()  # guards the two below
        self._waiting = deque(sorted(modules, key=_turn))
        self._told: deque[Told | None] = deque()  # None for a lane that has come to its end
        self._count = count

    def run(self, result: unittest.TestResult, debug: bool = False) -> unittest.TestResult:
        """Run all of them."""
        super().run(result, debug)
        for number in range(self._count):
            threading.Thread(target=self._drive, name=f"lane {number}", daemon=True).start()
        running = self._count
        while running:
            with self._changed:
                self._changed.wait_for(lambda: self._told)
                told = self._told.popleft()
            if told is None:
                running -= 1
            else:
                told(result)
            if result.shouldStop:
                with self._changed:
                    self._waiting.clear()
        return result

    def _tell(self, told: Told | None) -> None:
        with self._changed:
            self._told.append(told)
            self._changed.notify()

    def _next(self) -> str | None:
        with self._changed:
            return self._waiting.popleft() if self._waiting else None

    def _drive(self) -> None:
        try:
            while (module := self._next()) is not None:
                with subprocess.Popen(
                    [sys.executable, "-c", "from tests.lanes import main; main()"],
                    cwd=_ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                ) as lane:
                    assert lane.stdin is not None
                    assert lane.stdout is not None
                    while module is not None and self._run_module(module, lane.stdin, lane.stdout):
                        module = self._next()
        finally:
            self._tell(None)

    def _run_module(self, module: str, typing: IO[str], printed: IO[str]) -> bool:
        """Have a lane run a module; False if its process has died of that."""
        print(module, file=typing, flush=True)
        for line in printed:
            said = json.loads(line)
            if said == _DONE:
                return True
            self._tell(Told(*said))
        self._tell(Told(module, "", "failed", "the process has died; see above for what it printed"))
        return False


class _Teller(unittest.TestResult):
    """Tells what becomes of each test as a line of JSON."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def _say(self, test: unittest.TestCase, outcome: str, text: str = "") -> None:
        print(json.dumps((test.id(), test.shortDescription() or "", outcome, text)), file=self._stream, flush=True)

    def _fail(self, test: unittest.TestCase, error: _Error) -> None:
        if error[0] is not None:
            self._say(test, "failed", "".join(traceback.format_exception(*error)))

    def addSuccess(self, test: unittest.TestCase) -> None:
        """Tell that a test has passed."""
        self._say(test, "ok")

    def addError(self, test: unittest.TestCase, err: _Error) -> None:
        """Tell of an error."""
        self._fail(test, err)

    def addFailure(self, test: unittest.TestCase, err: _Error) -> None:
        """Tell of a failure."""
        self._fail(test, err)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: _Error | None) -> None:
        """Tell of a part that has failed."""
        if err is not None:
            self._fail(subtest, err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        """Tell why a test was left out."""
        self._say(test, "skipped", reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: _Error) -> None:
        """Tell that a test has failed as it should."""
        self._say(test, "ok")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        """Tell that a test has passed that should not."""
        self._say(test, "failed", "an unexpected success")


def in_lanes(suite: unittest.TestSuite) -> unittest.TestSuite:
    """Return tests so that they are run on all cores, where there are several and nobody measures this process."""
    cores = os.cpu_count() or 1
    count = min(cores + _LANES_MORE, _LANES_MOST)
    if cores < 2 or "coverage" in sys.modules:
        return suite
    modules: dict[str, None] = {}
    others: list[unittest.TestCase] = []
    for test in _tests(suite):
        module = type(test).__module__
        if module.startswith("tests."):
            modules[module] = None
        else:
            others.append(test)
    return Lanes(list(modules), others, count)


def _turn(module: str) -> int:
    turns = [turn for turn, beginning in enumerate(_FIRST) if module.startswith(beginning)]
    return min(turns, default=len(_FIRST))


def _tests(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            yield from _tests(part)
        else:
            yield part


def main() -> None:
    """Be one of these processes: names of modules on standard input, outcomes on standard output."""
    # What tests print must not be taken for an outcome.
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        unittest.defaultTestLoader.loadTestsFromName(line.strip()).run(_Teller(stream))
        print(json.dumps(_DONE), file=stream, flush=True)
