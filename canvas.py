"""What stands on a terminal: lines that scroll, below them rows that change in place, and last the row of the input.

It is drawn in the ordinary screen, so that what was shown can be scrolled back to. All breaking of rows is done here. A
terminal that knows no control sequences gets printable characters and returns alone, and nothing changes in place.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from cells import cut, width
from painting import InputPainter, InputRow, Painter
from screen import Line, Shown

_SHOWN_MOST = 1_000  # lines that are remembered, to be shown anew
_COLUMNS, _ROWS = 80, 24  # of a terminal that does not say
# At the end of each row: behind the last cell, terminals differ in where a mark goes, and whether a row has ended.
_FREE = 1
_NOTHING = InputRow("", "", 0)


@dataclass(frozen=True)
class Input:
    """What is being typed.

    Attributes:
        text: the line.
        cursor: how many characters stand before it.
        prompt: what stands before the line in the place of what always does.
        hint: what stands behind it.
    """

    text: str = ""
    cursor: int = 0
    prompt: str | None = None
    hint: str = ""


class _Entry:
    """A line that was shown, and how many rows it takes."""

    def __init__(self, canvas: Canvas, line: Line) -> None:
        self._canvas = canvas
        self.line = line
        self.rows = 0

    def change(self, line: Line, /) -> bool:
        """See Shown."""
        return self._canvas.change(self, line)


class Canvas:
    """What is drawn on one terminal, between `take` and `give_away`. Every method may be called in any thread.

    Args:
        output: its descriptor.
        painter: makes rows of lines.
        encoding: what text is written in.
        is_dumb: it knows no control sequences.
        gone: called when it turns out that the terminal is not there any more.
    """

    def __init__(
        self, output: int, painter: Painter, encoding: str, *, is_dumb: bool, gone: Callable[[], None]
    ) -> None:
        self._output = output
        self._painter = painter
        self._encoding = encoding
        self._is_dumb = is_dumb
        self._gone = gone
        # Guards the output and all below: the one lock that is held over what may block, since of what two threads
        # write at once a terminal would make neither.
        self._lock = threading.Lock()
        self._shown: deque[_Entry] = deque(maxlen=_SHOWN_MOST)
        self._status: dict[str, Line] = {}
        self._status_rows = 0  # as drawn
        self._empty_rows = 0  # at most, below the input
        self._prompt = "> "
        self._input = Input()
        self._input_painter = InputPainter(painter)
        self._input_row = _NOTHING  # as drawn
        self._is_ours = False
        self._is_shared = True  # rows of others may stand above ours on the screen
        self._size = self._measure()

    def take(self) -> None:
        """Begin to draw, below what stands there."""
        with self._lock:
            self._is_ours = True
            self._draw([])

    def take_back(self) -> None:
        """Begin to draw again, on an empty screen: what others have left on it can be scrolled back to."""
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._is_ours = True
            self._set_apart()
            self._repaint()

    def repaint(self) -> None:
        """Draw everything anew: others may have made anything of it."""
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._repaint()

    def give_away(self) -> None:
        """Take away what stands below what was shown, and draw nothing more."""
        with self._lock, contextlib.suppress(BrokenPipeError):
            if self._is_ours:
                self._write("\n" if self._is_dumb else _up(self._status_rows) + "\x1b[J")
            self._is_ours = False
            self._status_rows, self._input_row = 0, _NOTHING

    def show(self, line: Line) -> Shown:
        """Show a line below all others.

        Raises:
            BrokenPipeError: the terminal is gone.
        """
        entry = _Entry(self, line)
        with self._lock:
            self._shown.append(entry)
            self._draw([entry])
        return entry

    def change(self, entry: _Entry, line: Line) -> bool:
        """Put another line in the place of one that was shown; see Shown."""
        with self._lock:
            self._keep_up()
            later = self._reachable_from(entry)
            if later:
                entry.line = line
                with contextlib.suppress(BrokenPipeError):  # whoever shows the next line is told
                    self._draw(later)
            return bool(later)

    def _reachable_from(self, entry: _Entry) -> list[_Entry]:
        """Return a line and those below it; none if its first row may have left the screen."""
        later: list[_Entry] = []
        rows = self._status_rows
        for other in () if self._is_dumb else reversed(self._shown):
            rows += other.rows
            later.append(other)
            if rows > self._size[1] - 1 - self._empty_rows:
                break
            if other is entry:
                later.reverse()
                return later
        return []

    def status(self, name: str, line: Line | None) -> None:
        """Keep a row above the input, or take it away."""
        with self._lock, contextlib.suppress(BrokenPipeError):
            if self._is_dumb or self._status.get(name) == line:
                return
            if line is not None:
                self._status[name] = line
            else:
                del self._status[name]
            self._draw([])

    def prompt(self, text: str) -> None:
        """Change what stands before the input."""
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._prompt = text
            self._draw_input()

    def type(self, what: Input) -> None:
        """Show what is being typed."""
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._input = what
            self._draw_input()

    def finish(self, line: str) -> None:
        """End a line that was typed, where it cannot be taken away and stays."""
        with self._lock, contextlib.suppress(BrokenPipeError):
            if self._is_dumb and self._is_ours:
                self._input = Input(line, len(line))
                self._draw_input()
                self._write("\n")
                self._input_row = _NOTHING

    def ring(self) -> None:
        """Ring the bell."""
        with self._lock, contextlib.suppress(BrokenPipeError):
            if self._is_ours:
                self._write("\a")

    def resize(self) -> None:
        """Draw everything anew, if the terminal has another size."""
        with self._lock:
            self._keep_up()

    # --- drawing; `_lock` is held ----------------------------------------------------------------------------

    def _measure(self) -> tuple[int, int]:
        """Return how many columns and rows there are."""
        try:
            columns, rows = os.get_terminal_size(self._output)
        except OSError:
            columns, rows = 0, 0
        return columns or _COLUMNS, rows or _ROWS

    def _keep_up(self) -> None:
        """Draw everything anew, if the terminal has another size."""
        if self._measure() != self._size:
            with contextlib.suppress(BrokenPipeError):  # whoever shows the next line is told
                self._repaint()

    def _draw(self, entries: list[_Entry]) -> None:
        """Draw lines where they stand, or below all others if they are new, and all that is below them."""
        if not self._is_ours:
            return
        size = self._measure()
        if size != self._size and not self._is_dumb:
            self._repaint()
            return
        self._size = size
        columns = size[0] - _FREE
        above = self._status_rows + sum(entry.rows for entry in entries)
        rows: list[str] = []
        for entry in entries:
            painted = self._painter.rows(entry.line, columns)
            entry.rows = len(painted)
            rows += painted
        if self._is_dumb:
            cells = self._input_row.cells
            self._write((f"\r{' ' * cells}\r" if cells else "") + "".join(f"{row}\n" for row in rows))
            self._input_row = _NOTHING
            self._draw_input()
            return
        status = self._status_painted()
        rows += status
        self._status_rows = len(status)
        self._empty_rows = max(0, self._empty_rows + above - len(rows))
        self._write_frame(_up(above), rows)

    def _status_painted(self) -> list[str]:
        columns, rows = self._size
        return [self._painter.one_row(line, columns - _FREE) for line in list(self._status.values())[: (rows - 1) // 2]]

    def _repaint(self) -> None:
        """Draw all that fits on the screen, from its top."""
        if not self._is_ours:
            return
        self._size = columns, rows = self._measure()
        if self._is_dumb:
            self._draw_input()
            return
        if self._is_shared and sum(entry.rows for entry in self._shown) < rows:
            self._write(_up(self._status_rows) + "\x1b[J")  # what is below our lines is not to be seen twice
            self._set_apart()
        status = self._status_painted()
        room = rows - 1 - len(status)
        painted: list[str] = []
        for entry in reversed(self._shown):
            if len(painted) >= room:
                break
            lines = self._painter.rows(entry.line, columns - _FREE)
            entry.rows = len(lines)
            painted = lines + painted
        painted = [*painted[max(0, len(painted) - room) :], *status]
        self._status_rows, self._empty_rows = len(status), 0
        self._write_frame("\x1b[H", painted)

    def _set_apart(self) -> None:
        """Have what stands on the screen scroll off, so that what others have left there can be scrolled back to."""
        if not self._is_dumb:
            rows = self._measure()[1]
            self._write(f"\x1b[{rows}B" + "\n" * rows)
        self._is_shared = False

    def _write_frame(self, start: str, rows: list[str]) -> None:
        """Write rows and the input below them, with the terminal breaking none of them itself.

        Each row is erased for itself, and whole: terminals keep a screen that is emptied at once, to be scrolled back
        to, and remember of a row that is erased in part that it went on in the next.
        """
        row = self._input_row = self._paint_input()
        above = "".join(f"\x1b[2K{painted}\n" for painted in rows)
        self._write(f"\x1b[?7l{start}{above}\x1b[2K{row.whole}\x1b[J\r{row.before}\x1b[?7h")

    def _paint_input(self) -> InputRow:
        columns = self._size[0]
        typed = self._input
        prompt = self._prompt if typed.prompt is None else typed.prompt
        row = self._input_painter.row(prompt, typed.text, typed.cursor, columns)
        hint = cut(typed.hint, columns - 1 - row.cells)
        return InputRow(row.whole + hint, row.before, row.cells + width(hint))

    def _draw_input(self) -> None:
        """Draw the input where it stands."""
        if not self._is_ours:
            return
        old, row = self._input_row, self._paint_input()
        self._input_row = row
        if row.whole == row.before and old.whole == old.before and row.whole.startswith(old.whole):
            self._write(row.whole[len(old.whole) :])  # typed at the end: nothing flickers, or is read out twice
        elif self._is_dumb:
            self._write(f"\r{row.whole}{' ' * (old.cells - row.cells)}\r{row.before}")
        else:
            self._write(f"\x1b[?7l\r{row.whole}\x1b[K\r{row.before}\x1b[?7h")

    def _write(self, text: str) -> None:
        """Write all of a text.

        Raises:
            BrokenPipeError: the terminal is gone.
        """
        data = text.encode(self._encoding, "backslashreplace")
        while data:
            try:
                data = data[os.write(self._output, data) :]
            except BlockingIOError:  # another program has set that, for all that have it open
                select.select([], [self._output], [])
            except OSError as error:
                self._is_ours = False
                self._gone()
                raise BrokenPipeError(*error.args) from error


def _up(rows: int) -> str:
    """Return what goes to the beginning of a row so many rows above."""
    return f"\r\x1b[{rows}A" if rows else "\r"
