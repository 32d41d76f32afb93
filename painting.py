"""How a line becomes rows of a terminal: what it says made visible, broken, indented and coloured."""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, groupby

from cells import INDENT, clusters, cut, rows, width
from display import visible, visible_parts
from screen import Line, Span, Style, plain_line

# Numbers of the control sequence that changes how text looks.
_LOOKS = {Style.PLAIN: "", Style.DIM: "2", Style.STRONG: "1", Style.GOOD: "32", Style.BAD: "31"}
# Of persons: neither those above, nor what is hard to read on black or on white.
_PALETTE = ("36", "35", "33", "34", "96", "95", "94", "1;36", "1;35", "1;33")
_LINE_BREAK, _TAB = "↵", "⇥"
_ELLIPSIS = "…"


@dataclass(frozen=True)
class InputRow:
    """The row in which a person types.

    Attributes:
        whole: what stands in it.
        before: what of that stands before the cursor.
        cells: how many cells it takes.
    """

    whole: str
    before: str
    cells: int


class Painter:
    """Makes rows of lines.

    Args:
        colours: whether looks are shown at all.
        encoding: of the terminal; what it lacks comes out escaped.
    """

    def __init__(self, *, colours: bool, encoding: str = "utf-8") -> None:
        self._colours = colours
        self._encoding = encoding

    def rows(self, line: Line, columns: int) -> list[str]:
        """Return the rows of a line. All but the first are indented, so that none passes for a line of its own."""
        painted: list[str] = []
        segments: list[list[Span]] = [[]]
        for span in line:
            if span.style is Style.BREAK:
                segments.append([])
            else:
                segments[-1].append(span)
        for segment in segments:
            parts = [(part, self._look(span)) for span in segment for part in clusters(self.known(visible(span.text)))]
            texts = [part for part, _ in parts]
            for begin, end in rows(texts, columns, indented=bool(painted)):
                painted.append((INDENT if painted else "") + _painted(parts[begin:end]))
        return painted

    def one_row(self, line: Line, columns: int) -> str:
        """Return a line on one row, however little of it fits."""
        line = [Span(" ") if span.style is Style.BREAK else span for span in line]
        if width(self.known(visible(plain_line(line)))) <= columns:
            return "".join(self._one_row_of(line))
        return self.known(cut(self.known(visible(plain_line(line))), columns))

    def _one_row_of(self, line: Line) -> Iterator[str]:
        for span in line:
            yield _painted([(self.known(visible(span.text)), self._look(span))])

    def known(self, text: str) -> str:
        """Return a text with what the terminal's encoding lacks escaped."""
        if text.isascii() or self._encoding == "utf-8":
            return text
        return text.encode(self._encoding, "backslashreplace").decode(self._encoding)

    def _look(self, span: Span) -> str:
        if not self._colours:
            return ""
        if span.style is Style.PERSON:
            return _PALETTE[zlib.crc32(span.person.encode()) % len(_PALETTE)]
        return _LOOKS[span.style]


def _painted(parts: list[tuple[str, str]]) -> str:
    painted = ""
    for look, group in groupby(parts, key=lambda part: part[1]):
        text = "".join(part for part, _ in group)
        painted += f"\x1b[{look}m{text}\x1b[0m" if look and text else text
    return painted


class InputPainter:
    """Makes the input's row: so much of the text as fits beside the prompt, with the cursor in sight."""

    def __init__(self, painter: Painter) -> None:
        self._painter = painter
        self._first = 0  # cluster in sight
        self._text = ""
        self._parts: list[tuple[str, int]] = []  # how each cluster of the text is shown, and how wide that is
        self._ends: list[int] = []  # of each cluster, in the text

    def row(self, prompt: str, text: str, cursor: int, columns: int) -> InputRow:
        """Return the row for a text, and where its cursor is; one cell at its end is left free."""
        if text != self._text:
            self._read(text)
        prompt = self._painter.known(visible(prompt))
        if width(prompt) > columns // 2:
            prompt = cut(prompt, columns // 2 - 1) + " "
        room = max(columns - 3 - width(prompt), 1)  # two are for marks where something is missing, and one is free
        at = bisect_left(self._ends, cursor) + 1 if cursor else 0  # the cluster that the cursor is on
        self._first = self._scrolled(at, room)
        before = "".join(part for part, _ in self._parts[self._first : at])
        left = room - sum(cells for _, cells in self._parts[self._first : at])
        behind = ""
        last = at
        while last < len(self._parts) and (left := left - self._parts[last][1]) >= 0:
            behind += self._parts[last][0]
            last += 1
        prompt += "<" if self._first else ""
        whole = prompt + before + behind + (">" if last < len(self._parts) else "")
        return InputRow(whole, prompt + before, width(whole))

    def _scrolled(self, at: int, room: int) -> int:
        """Return the first cluster in sight, so that the cursor is too: it stays where it is, if it can."""
        least = self._reach(at, room)
        if not least:
            return 0
        if self._first < least:
            return self._reach(at, room - room // 3)
        if at <= self._first:
            return self._reach(at, room // 3)
        if self._first >= len(self._parts):
            return least
        return self._first

    def _reach(self, at: int, room: int) -> int:
        """Return the first cluster of those that fit before the cursor."""
        while at and (room := room - self._parts[at - 1][1]) >= 0:
            at -= 1
        return at

    def _read(self, text: str) -> None:
        self._text = text
        if text.isascii() and text.isprintable():
            self._ends = list(range(1, len(text) + 1))
            self._parts = [(character, 1) for character in text]
            return
        shown = visible_parts(text.replace("\n", _LINE_BREAK).replace("\t", _TAB))
        found = clusters(text)
        self._ends = list(accumulate(map(len, found)))
        self._parts = []
        for begin, end in zip([0, *self._ends], self._ends, strict=False):
            part = self._painter.known("".join(shown[begin:end]))
            cells = width(part)
            # A letter with marks without end is an ellipsis: it could be wider than the terminal.
            self._parts.append((part, cells) if cells <= 10 else (_ELLIPSIS, width(_ELLIPSIS)))
