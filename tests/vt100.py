"""A terminal for tests, as far as clients need one: it fails on a sequence that it does not know."""

from __future__ import annotations

import codecs
import re
import unicodedata

_SEQUENCE = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])")
_BEGUN = re.compile(r"\x1b(\[\??[0-9;]*)?")
_ZWJ, _EMOJI_SELECTOR = "\u200d", "\ufe0f"


class UnknownSequence(AssertionError):
    """Raised for what this terminal does not know."""


class Vt100:
    """A screen of cells, what has scrolled off it, and a cursor.

    Args:
        columns: how wide.
        rows: how high.
        joins: emoji that are joined take the cells of the first; where that is not known, those of each.
        ambiguous: cells that a character of ambiguous width takes.

    Attributes:
        cursor: its column and its row.
        gone: the rows that have scrolled off, oldest first.
        bells: how often the bell was rung.
        modes: the private modes that are set.
    """

    def __init__(self, columns: int, rows: int, *, joins: bool = True, ambiguous: int = 1) -> None:
        self.columns, self.rows = columns, rows
        self.cursor = (0, 0)
        self.gone: list[str] = []
        self.bells = 0
        self.modes = {7}
        self._joins = joins
        self._ambiguous = ambiguous
        self._look = ""
        # A cell holds a character with its marks; nothing where a wide one begins in the cell before.
        self._cells = [self._empty_row() for _ in range(rows)]
        self._looks = [[""] * columns for _ in range(rows)]
        self._wraps = False  # the last column has been written, and the next character begins a row
        self._bytes = codecs.getincrementaldecoder("utf-8")()
        self._rest = ""

    def _empty_row(self) -> list[str]:
        return [" "] * self.columns

    @property
    def shown(self) -> list[str]:
        """The rows of the screen, without blanks at their ends."""
        return ["".join(row).rstrip() for row in self._cells]

    @property
    def text(self) -> str:
        """The rows of the screen down to the last that holds something."""
        return "\n".join(self.shown).rstrip("\n")

    @property
    def line(self) -> str:
        """The row of the cursor."""
        return self.shown[self.cursor[1]]

    @property
    def before(self) -> str:
        """What stands before the cursor in its row."""
        return "".join(self._cells[self.cursor[1]][: self.cursor[0]])

    def look(self, text: str) -> str:
        """Return the numbers of the look of the first character of a text that is shown."""
        row = next(number for number, shown in enumerate(self.shown) if text in shown)
        place = "".join(self._cells[row]).index(text)
        column = next(number for number in range(self.columns) if len("".join(self._cells[row][:number])) == place)
        return self._looks[row][column]

    def feed(self, data: bytes) -> None:
        """Take in what is written.

        Raises:
            UnknownSequence: it holds what this terminal does not know.
        """
        text = self._rest + self._bytes.decode(data)
        place = 0
        while place < len(text):
            if text[place] != "\x1b":
                self._put(text[place])
                place += 1
                continue
            match = _SEQUENCE.match(text, place)
            if match is None:
                if _BEGUN.fullmatch(text, place):
                    break
                raise UnknownSequence(ascii(text[place : place + 20]))
            self._do(match[1], match[2])
            place = match.end()
        self._rest = text[place:]

    def resize(self, columns: int, rows: int) -> None:
        """Have another size, without breaking rows again."""
        column, row = self.cursor
        while row >= rows:
            self._scroll()
            row -= 1
        for lines, blank in ((self._cells, " "), (self._looks, "")):
            lines[:] = [(line + [blank] * columns)[:columns] for line in lines[:rows]]
            lines += [[blank] * columns for _ in range(rows - len(lines))]
        self.columns, self.rows = columns, rows
        self.cursor, self._wraps = (min(column, columns - 1), row), False

    # --- characters ---------------------------------------------------------------------------------------------

    def _put(self, character: str) -> None:
        column, row = self.cursor
        if character == "\r":
            self.cursor, self._wraps = (0, row), False
        elif character == "\n":
            self._feed_line()
        elif character == "\b":
            self.cursor, self._wraps = (max(0, column - 1), row), False
        elif character == "\a":
            self.bells += 1
        elif unicodedata.category(character) in ("Cc", "Cn", "Cs"):
            raise UnknownSequence(ascii(character))
        elif not self._join(character):
            self._write(character, self._width(character))

    def _width(self, character: str) -> int:
        width = unicodedata.east_asian_width(character)
        return 2 if width in "WF" else self._ambiguous if width == "A" else 1

    def _join(self, character: str) -> bool:
        """Put a character that takes no cell into the cell before it; False for others."""
        before = self._before_cursor()
        is_joined = self._joins and before is not None and self._cells[before[1]][before[0]].endswith(_ZWJ)
        if unicodedata.category(character) not in ("Mn", "Me", "Cf") and not is_joined:
            return False
        if before is not None:
            self._cells[before[1]][before[0]] += character
        return True

    def _before_cursor(self) -> tuple[int, int] | None:
        """Return the cell that was written last, if it is in the cursor's row."""
        column, row = self.cursor
        column -= not self._wraps
        while column > 0 and not self._cells[row][column]:
            column -= 1
        return (column, row) if column >= 0 else None

    def _write(self, character: str, width: int) -> None:
        if self._wraps:
            self._next_row()
        column, row = self.cursor
        if column + width > self.columns:
            if 7 not in self.modes or width > self.columns:
                return  # there is no room for it
            self._next_row()
            column, row = self.cursor
        self._clear(row, column, column + width)
        self._cells[row][column : column + width] = [character, ""][:width]
        self._looks[row][column : column + width] = [self._look] * width
        self._wraps = column + width == self.columns and 7 in self.modes
        self.cursor = (min(column + width, self.columns - 1), row)

    def _clear(self, row: int, begin: int, end: int) -> None:
        """Empty cells, and with half of a wide character its other half."""
        cells = self._cells[row]
        if begin and not cells[begin]:
            cells[begin - 1] = " "
        if end < self.columns and not cells[end]:
            cells[end] = " "
        cells[begin:end] = [" "] * (end - begin)
        self._looks[row][begin:end] = [""] * (end - begin)

    def _next_row(self) -> None:
        self.cursor, self._wraps = (0, self.cursor[1]), False
        self._feed_line()

    def _feed_line(self) -> None:
        column, row = self.cursor
        if row == self.rows - 1:
            self._scroll()
        else:
            row += 1
        self.cursor, self._wraps = (column, row), False

    def _scroll(self) -> None:
        self.gone.append(self.shown[0])
        self._cells = [*self._cells[1:], self._empty_row()]
        self._looks = [*self._looks[1:], [""] * self.columns]

    # --- sequences ----------------------------------------------------------------------------------------------

    def _do(self, numbers: str, kind: str) -> None:
        column, row = self.cursor
        count = int(numbers) if numbers.isdecimal() else 1
        if kind == "A":
            self.cursor = (column, max(0, row - count))
        elif kind == "B":
            self.cursor = (column, min(self.rows - 1, row + count))
        elif kind == "H" and not numbers:
            self.cursor = (0, 0)
        elif kind == "J" and not numbers:
            self._clear(row, column, self.columns)
            for later in range(row + 1, self.rows):
                self._clear(later, 0, self.columns)
        elif kind == "K" and numbers in ("", "2"):
            self._clear(row, 0 if numbers else column, self.columns)
        elif kind == "m" and numbers:
            self._look = "" if numbers == "0" else numbers
        elif kind in "hl" and numbers in ("?7", "?2004"):
            self.modes = self.modes - {int(numbers[1:])} | ({int(numbers[1:])} if kind == "h" else set())
        else:
            raise UnknownSequence(f"{numbers}{kind}")
        self._wraps = self._wraps and kind in "mhl"
