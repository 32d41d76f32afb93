"""The screen of a client: all that it shows goes through one, and all that is typed comes out of it.

It knows nothing of chat. There are two: PipeScreen here, line by line, for pipes, files and scripts; and the one of
terminal.py, where a line can be edited while others appear, and what has been shown can change.
"""

from __future__ import annotations

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from console import say
from lines import Lines


class Style(enum.Enum):
    """How a piece of a line is to look, where a terminal can do it."""

    PLAIN = enum.auto()
    DIM = enum.auto()
    STRONG = enum.auto()
    GOOD = enum.auto()
    BAD = enum.auto()
    PERSON = enum.auto()  # in the colour of one person
    BREAK = (
        enum.auto()
    )  # no text, but the end of a row: what follows is indented, so that it passes for no line of ours


@dataclass(frozen=True)
class Span:
    """A piece of a line.

    Attributes:
        text: raw; the screen makes it visible.
        style: how it looks.
        person: whose colour it has, by user id, for Style.PERSON.
    """

    text: str
    style: Style = Style.PLAIN
    person: str = ""


Line = Sequence[Span]


def plain_line(line: Line) -> str:
    """Return what a line says, without its looks; a break in it is a line break, which `visible` escapes."""
    return "".join("\n" if span.style is Style.BREAK else span.text for span in line)


def with_breaks(text: str) -> Line:
    """Return a text as a line that has a row for each of the text's."""
    rows = text.replace("\r\n", "\n").split("\n")
    return [span for number, row in enumerate(rows) for span in ([Span("", Style.BREAK)] * (number > 0) + [Span(row)])]


class Shown(Protocol):
    """A line that was shown."""

    def change(self, line: Line, /) -> bool:
        """Put another line in its place; False where that is not possible any more, so that it is to be shown anew."""


class _Printed:
    """A line that was shown where nothing can change any more."""

    def change(self, _line: Line, /) -> bool:
        """See Shown."""
        return False


class Screen(ABC):
    """What a person, or a program in its place, sees and types.

    Every method may be called in any thread, but for `next` and `wait_woken`, which are the main thread's.

    Attributes:
        interactive: whether what is shown is for a person at a terminal, and not for a program.
        is_terminal: whether a person types.
        is_interrupted: whether the person has left by Ctrl-C.
        begun: when the first word was typed of the line that `next` has returned last, by time.monotonic: a person
            knows then what the line is to be. Infinite where that is not known. The main thread's.
    """

    interactive: bool = False
    is_terminal: bool = False
    is_interrupted: bool = False
    begun: float = math.inf

    @abstractmethod
    def show(self, line: Line) -> Shown:
        """Show a line, made visible, at once.

        Raises:
            BrokenPipeError: nobody reads it.
        """

    @abstractmethod
    def status(self, name: str, line: Line | None) -> None:
        """Keep a row above the input that shows something that goes on, or take it away; nothing in a pipe."""

    @abstractmethod
    def prompt(self, text: str) -> None:
        """Change what stands before the input; nothing in a pipe."""

    @abstractmethod
    def ring(self) -> None:
        """Ring the bell; nothing in a pipe."""

    @abstractmethod
    def next(self) -> str | None:
        """Return the next line that was typed, which may hold line breaks where many were pasted; None at the end.

        Raises:
            InterruptedError: `wake` was called.
            lines.LineCut: the line was longer than the terminal can hold.
        """

    @abstractmethod
    def wake(self) -> None:
        """End the wait of `next` or `wait_woken`, now or when it is next called."""

    @abstractmethod
    def wait_woken(self) -> None:
        """Wait for `wake` alone."""

    @abstractmethod
    def close(self) -> None:
        """Give the terminal back as it was; harmless when repeated. Nothing else must be called any more."""


class PipeScreen(Screen):
    """Standard input and output, line by line.

    Args:
        lines: standard input.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.is_terminal = lines.is_terminal

    def show(self, line: Line) -> Shown:
        """See Screen."""
        say(plain_line(line))
        return _Printed()

    def status(self, name: str, line: Line | None) -> None:
        """See Screen."""

    def prompt(self, text: str) -> None:
        """See Screen."""

    def ring(self) -> None:
        """See Screen."""

    def next(self) -> str | None:
        """See Screen."""
        return self._lines.next()

    def wake(self) -> None:
        """See Screen."""
        self._lines.wake()

    def wait_woken(self) -> None:
        """See Screen."""
        self._lines.wait_woken()

    def close(self) -> None:
        """See Screen."""
        self._lines.close()
