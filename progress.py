"""The rows that show how transfers of files come on, for a person at a terminal, and the words for sizes and times.

Up to three transfers have a row each; more of them share one. While something is under way the rows are drawn twice a
second, all in one thread, which is the only one that waits for the terminal.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock

from cells import clusters, cut, width
from downloads import safe_name
from events import Event, FileDone, FileFailed, FileInterrupted, FileNotTaken, FileOffered, FileResumed, FileStarted
from screen import Line, Screen, Span, Style
from threads import Alarm, Alarms
from underway import State, UnderWay

_ROWS_MOST = 3
_WINDOW = 5.0  # seconds, over which a rate is measured
_NAME_MOST = 20  # cells
_BAR = 10  # characters
_SHOWN = (State.HASHING, State.RUNNING, State.INTERRUPTED)
_TOGETHER = "files"  # the name of the row that several share
_FILE_EVENTS = (FileOffered, FileNotTaken, FileStarted, FileInterrupted, FileResumed, FileDone, FileFailed)

_Key = tuple[str, str, bool]


def size_text(size: float) -> str:
    """Return a number of bytes as people say it, such as "48.2 kB"."""
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB"):
        size /= 1000
        if round(size, 1) < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} GB"


def time_text(seconds: float) -> str:
    """Return a time as people say it, such as "1:05" or "2:00:00"."""
    whole = round(seconds)
    minutes, hours = whole // 60, whole // 3600
    return f"{hours}:{minutes % 60:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def short_name(name: str) -> str:
    """Return a name as it stands in a row: what a file would be called, its middle left out if it is long."""
    safe = safe_name(name)
    if width(safe) <= _NAME_MOST:
        return safe
    end = ""
    for cluster in reversed(clusters(safe)):
        if width(cluster + end) >= _NAME_MOST // 2:
            break
        end = cluster + end
    return cut(safe, _NAME_MOST // 2 + 1) + end


class _Rate:
    """How fast one transfer has been lately."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def measure(self, now: float, done: int) -> float:
        """Note how far it is, and return bytes a second."""
        if self._samples and done < self._samples[-1][1]:
            self._samples.clear()  # it was hashed before, or has begun anew
        self._samples.append((now, done))
        while now - self._samples[0][0] > _WINDOW:
            self._samples.popleft()
        since, before = self._samples[0]
        return (done - before) / (now - since) if now > since else 0.0


class Progress:
    """Keeps the rows of one screen; nothing is done where that is not for a person.

    Args:
        screen: where they are shown.
        files: how transfers stand: Chat.files.
        alarms: keep the time. Of its own: a terminal that is slow holds them up.
        tick: seconds between two drawings.
        stalled: seconds without progress after which that is said.
    """

    def __init__(
        self,
        screen: Screen,
        files: Callable[[], Sequence[UnderWay]],
        alarms: Alarms,
        *,
        tick: float = 0.5,
        stalled: float = 5.0,
    ) -> None:
        self._screen = screen
        self._files = files
        self._alarms = alarms
        self._tick = tick
        self._stalled = stalled
        # The alarms' thread's alone:
        self._rates: dict[_Key, _Rate] = {}
        self._drawn: dict[str, Line] = {}
        self._lock = Lock()  # guards the rest
        self._alarm: Alarm | None = None
        self._drawing = False
        self._stirred = False  # something has happened since the drawing began
        self._ended: set[_Key] = set()  # whose end has been told, and which may still stand among `files`

    def handle(self, event: Event) -> None:
        """Take an event of Chat's; it waits for nothing."""
        if isinstance(event, FileDone | FileFailed):
            with self._lock:
                self._ended.add((event.file_id, event.peer, event.incoming))
        if isinstance(event, _FILE_EVENTS):
            self.stir()

    def stir(self) -> None:
        """Draw now, and on as long as something is under way."""
        if not self._screen.interactive:
            return
        with self._lock:
            self._stirred = True
            if not self._drawing:
                self._draw_in(0)

    def _draw_in(self, seconds: float) -> None:
        """Draw in so many seconds, and not before. `_lock` is held."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._alarms.after(seconds, self._draw)

    def _draw(self) -> None:
        """Draw what has changed, in the alarms' thread."""
        with self._lock:
            self._drawing, self._stirred, self._alarm = True, False, None
        going = self._going()
        rows = self._rows(going, time.monotonic())
        for name in self._drawn.keys() - rows.keys():
            self._screen.status(name, None)
        for name, line in rows.items():
            if self._drawn.get(name) != line:
                self._screen.status(name, line)
        self._drawn = rows
        with self._lock:
            self._drawing = False
            if self._stirred or going:
                self._draw_in(0 if self._stirred else self._tick)

    def _going(self) -> list[UnderWay]:
        """Return what is under way, and forget the others."""
        files = [file for file in self._files() if file.state in _SHOWN]
        keys = set(map(_key, files))
        with self._lock:
            self._ended &= keys
            ended = set(self._ended)
        for key in self._rates.keys() - keys:
            del self._rates[key]
        return [file for file in files if _key(file) not in ended]

    def _rows(self, files: Sequence[UnderWay], now: float) -> dict[str, Line]:
        rates = [self._rates.setdefault(_key(file), _Rate()).measure(now, file.done) for file in files]
        if len(files) > _ROWS_MOST:
            done, size = sum(file.done for file in files), sum(file.size for file in files)
            return {_TOGETHER: _row(f"{len(files)} files", done, size, _speed(size - done, sum(rates)))}
        names = [("↓ " if file.incoming else "↑ ") + short_name(file.name) for file in files]
        widest = max(map(width, names), default=0)
        return {
            f"file {file.number}": _row(
                name + " " * (widest - width(name)), file.done, file.size, self._doing(file, rate, now)
            )
            for file, name, rate in zip(files, names, rates, strict=True)
        }

    def _doing(self, file: UnderWay, rate: float, now: float) -> Span:
        if file.state is State.INTERRUPTED:
            return Span("interrupted", Style.BAD)
        if file.state is State.HASHING:
            return Span("read first", Style.DIM)
        if now - file.progressed >= self._stalled:
            return Span("stalled", Style.BAD)
        return _speed(file.size - file.done, rate)


def _key(file: UnderWay) -> _Key:
    return file.file_id, file.peer, file.incoming


def _speed(left: int, rate: float) -> Span:
    return Span(f"{size_text(rate)}/s  {time_text(left / rate)} left" if rate else "-")


def _row(name: str, done: int, size: int, doing: Span) -> Line:
    """Return a row: what matters most comes first, as the screen cuts what is too long for it."""
    share = done / size if size else 1.0
    filled = int(share * _BAR)
    return (
        Span(name),
        Span(f" [{'#' * filled}{'-' * (_BAR - filled)}] ", Style.GOOD),
        Span(f"{int(share * 100):3}%  "),
        doing,
        Span(f"  {size_text(done)} of {size_text(size)}", Style.DIM),
    )
