"""Which branches of some functions were taken, found and watched with the standard library alone.

A branch is a condition in the source that a jump of the byte code hangs on, and has two outcomes: it is true, or it is
not; or, of a loop over something, there is more, or there is not. Where Python has written a condition down twice, as
for the first and each further turn of a loop, it is one (but for Python 3.10, which does not tell). Not counted are
those that nobody decides: of an `assert`, of whether an `except` fits, and of whether a `with` swallows.
"""

from __future__ import annotations

import dis
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

_JUMPS = re.compile(r"(POP_)?JUMP_.*IF_.*|FOR_ITER.*")
_NOT_COUNTED_AFTER = ("CHECK_EXC_MATCH", "CHECK_EG_MATCH", "WITH_EXCEPT_START")
_ASSERTION = ("LOAD_ASSERTION_ERROR", "LOAD_COMMON_CONSTANT")
_IN_BETWEEN = ("TO_BOOL", "CACHE", "NOT_TAKEN", "EXTENDED_ARG", "NOP")

# Where a condition stands in the source, or in the byte code if that is not known.
Place = tuple[int | None, ...]
# A condition, and what it was.
Outcome = tuple[Place, bool]


@dataclass(frozen=True)
class _Jump:
    """A conditional jump.

    Attributes:
        start, offset: where it begins, prefixes included, and where it stands.
        next: where it goes on if it does not jump.
        on_if: what its condition is then.
        place: of its condition.
        line: of that, for people.
    """

    start: int
    offset: int
    next: int
    on_if: bool
    place: Place
    line: int


def _jumps(code: CodeType) -> list[_Jump]:
    """Return each conditional jump of a function."""
    found = []
    start: int | None = None  # of the prefixes of a long jump, at which Python says to be while it jumps
    line = code.co_firstlineno
    instructions = list(dis.get_instructions(code))
    for place, instruction in enumerate(instructions[:-1]):
        starts: Any = instruction.starts_line  # a number up to 3.12, and a bool with `line_number` after that
        if starts:
            line = int(getattr(instruction, "line_number", None) or starts)
        start = instruction.offset if start is None else start
        if instruction.opname == "EXTENDED_ARG":
            continue
        began, start = start, None
        if not _JUMPS.fullmatch(instruction.opname) or "NOT_EXC_MATCH" in instruction.opname:
            continue
        before = _solid(instructions[:place][::-1])
        behind = _solid(instructions[place + 1 :])
        if before not in _NOT_COUNTED_AFTER and behind not in _ASSERTION:
            on_if = not re.search("IF_TRUE|IF_NOT_NONE", instruction.opname)
            positions = getattr(instruction, "positions", None)
            source: Place = (
                instruction.opname.startswith("FOR_ITER"),
                *(positions if positions is not None else (instruction.offset,)),
            )
            found.append(_Jump(began, instruction.offset, instructions[place + 1].offset, on_if, source, line))
    return found


def _solid(instructions: Iterable[dis.Instruction]) -> str:
    return next((one.opname for one in instructions if one.opname not in _IN_BETWEEN), "")


def _functions(code: CodeType, prefix: str = "") -> Iterator[tuple[str, CodeType]]:
    """Yield every function in a piece of code, by its qualified name; what is inside one goes by its name."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = constant.co_name.startswith("<") or prefix.endswith("()")
            name = prefix if inner else f"{prefix}{'.' if prefix else ''}{constant.co_name}"
            is_class = not constant.co_flags & 0x2  # CO_NEWLOCALS: a function has locals of its own
            if not is_class:
                yield name.removesuffix("()"), constant
            yield from _functions(constant, name if is_class else f"{name.removesuffix('()')}()")


class Branches:
    """The branches of some functions.

    Args:
        watched: for each module, the qualified names of its functions as a regular expression.
    """

    def __init__(self, watched: Mapping[ModuleType, str]) -> None:
        self._names: dict[CodeType, str] = {}
        self._jumps: dict[CodeType, list[_Jump]] = {}
        self._places: dict[CodeType, dict[int, _Jump]] = {}  # by every offset that stands for it
        self._taken: dict[CodeType, set[Outcome]] = {}
        self._outcomes: dict[CodeType, int] = {}
        self._known: dict[int, CodeType | None] = {}
        for module, names in watched.items():
            assert module.__file__ is not None
            source = Path(module.__file__).read_text("utf-8")
            for name, code in _functions(compile(source, module.__file__, "exec", dont_inherit=True)):
                if re.fullmatch(names, name):
                    self._names[code] = f"{module.__name__}.{name}"
                    self._jumps[code] = _jumps(code)
                    self._places[code] = {
                        place: jump for jump in self._jumps[code] for place in (jump.start, jump.offset)
                    }
                    self._taken[code] = set()
                    self._outcomes[code] = 2 * len({jump.place for jump in self._jumps[code]})
        self._files = {module.__file__ for module in watched}

    def __enter__(self) -> Branches:
        sys._getframe().f_trace_opcodes = True  # Python 3.12 tells of no instruction unless somebody asked before
        threading.settrace(self._trace)
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        threading.settrace(None)

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        code = frame.f_code
        if code.co_filename not in self._files:
            return None
        if id(code) not in self._known:  # to compare code takes long
            self._known[id(code)] = next((known for known in self._names if known == code), None)
        known = self._known[id(code)]
        if known is None or len(self._taken[known]) == self._outcomes[known]:
            return None  # there is nothing to learn of it
        frame.f_trace = _Frame(self._places[known], self._taken[known]).trace
        frame.f_trace_opcodes = True  # behind f_trace, or Python 3.13 does not hear it
        frame.f_trace_lines = False
        return frame.f_trace

    # --- what was found -----------------------------------------------------------------------------------------

    @property
    def outcomes(self) -> int:
        """How many there are."""
        return sum(self._outcomes.values())

    @property
    def taken(self) -> int:
        """How many of them were taken."""
        return sum(map(len, self._taken.values()))

    @property
    def share(self) -> float:
        """Which part of them that is."""
        return self.taken / self.outcomes if self.outcomes else 1.0

    def by_module(self) -> dict[str, tuple[int, int]]:
        """Return how many outcomes were taken in each module, and how many there are."""
        found: dict[str, tuple[int, int]] = {}
        for code, name in self._names.items():
            module = name.partition(".")[0]
            taken, all_of_them = found.get(module, (0, 0))
            found[module] = (taken + len(self._taken[code]), all_of_them + self._outcomes[code])
        return found

    def missing(self) -> list[str]:
        """Return the outcomes that were not taken, each with its function and its line."""
        found = set()
        for code, name in self._names.items():
            for jump in self._jumps[code]:
                for outcome in (True, False):
                    if (jump.place, outcome) not in self._taken[code]:
                        found.add((name, jump.line, outcome, jump.place))
        return [f"{name}, line {line}: never {str(outcome).lower()}" for name, line, outcome, _ in sorted(found)]


class _Frame:
    """Watches one call: what follows on a conditional jump tells its outcome."""

    __slots__ = ("_jump", "_places", "_taken")

    def __init__(self, places: dict[int, _Jump], taken: set[Outcome]) -> None:
        self._places = places
        self._taken = taken
        self._jump: _Jump | None = None

    def trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        """Note the instruction that is about to be executed."""
        if event == "opcode":
            here, jump = frame.f_lasti, self._jump
            if jump is not None and here != jump.offset:
                self._taken.add((jump.place, (here == jump.next) == jump.on_if))
            self._jump = self._places.get(here)
        elif event == "exception":
            self._jump = None  # it was none: what it looked at has failed
        return self.trace
