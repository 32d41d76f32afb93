"""The line that is being typed: what the keys do to it. It knows neither terminal nor chat.

The keys are those of Emacs, as in every shell. The cursor moves by what a person takes for a character.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from cells import clusters
from recall import Recall

LINE_MOST = 32_768  # characters; more than a message may hold


@dataclass(frozen=True)
class Completion:
    """What could stand in the place of what was begun.

    Attributes:
        start: where that begins, in the text before the cursor.
        candidates: what could stand there, each with what is to follow it, such as a space.
    """

    start: int
    candidates: tuple[str, ...]


Completer = Callable[[str], Completion]


@dataclass(frozen=True)
class Submitted:
    """A line is finished."""

    line: str


@dataclass(frozen=True)
class Listed:
    """The person wants to see what could stand here."""

    candidates: tuple[str, ...]


class Wish(enum.Enum):
    """What a key asks of the screen."""

    RING = enum.auto()  # there is nothing that the key could do
    REPAINT = enum.auto()
    WARN = enum.auto()  # the same key again leaves
    INTERRUPT = enum.auto()  # leave, by Ctrl-C
    LEAVE = enum.auto()  # leave, by Ctrl-D


Outcome = Submitted | Listed | Wish | None


def _no_completion(before: str) -> Completion:
    return Completion(len(before), ())


@dataclass
class _Search:
    """A search among the lines typed before: for what, where it stands, and what was being typed before it."""

    query: str
    place: int
    text: str
    cursor: int
    is_vain: bool = False


class Editor:
    """One line, and what the keys do to it. Belongs to one thread.

    Args:
        recall: the lines typed before; who submits one adds it there.
        completer: tells what the text before the cursor could go on with; must not wait.

    Attributes:
        text: the line as it is.
        cursor: how many characters stand before it; always between two clusters.
    """

    def __init__(self, recall: Recall, completer: Completer = _no_completion) -> None:
        self._recall = recall
        self._completer = completer
        self.text = ""
        self.cursor = 0
        self._killed = ""
        self._last = ""  # the key before
        self._is_warned = False  # that Ctrl-C leaves, by the key before
        self._back = 0  # how many lines back in what was typed before; 0 is the line that was begun
        self._begun = ""
        self._search: _Search | None = None
        self._listing = ""  # for what Tab would list the candidates, when it is pressed again
        self._keys = self._bindings()

    def _bindings(self) -> dict[str, Callable[[], Outcome]]:
        """Return what each key does."""
        keys: dict[tuple[str, ...], Callable[[], Outcome]] = {
            ("enter",): self._submit,
            ("tab",): self._complete,
            ("ctrl-c",): self._interrupt,
            ("ctrl-d",): self._delete_or_leave,
            ("ctrl-l",): lambda: Wish.REPAINT,
            ("ctrl-r",): self._begin_search,
            ("alt-enter",): lambda: self.insert("\n"),
            ("up", "ctrl-p"): lambda: self._go_back(1),
            ("down", "ctrl-n"): lambda: self._go_back(-1),
            ("left", "ctrl-b"): lambda: self._move(self._before()),
            ("right", "ctrl-f"): lambda: self._move(self._behind()),
            ("home", "ctrl-a"): lambda: self._move(0),
            ("end", "ctrl-e"): lambda: self._move(len(self.text)),
            ("alt-b", "ctrl-left", "alt-left"): lambda: self._move(self._word_before()),
            ("alt-f", "ctrl-right", "alt-right"): lambda: self._move(self._word_behind()),
            ("backspace",): lambda: self._delete(self._before(), self.cursor),
            ("delete",): lambda: self._delete(self.cursor, self._behind()),
            ("ctrl-k",): lambda: self._kill(self.cursor, len(self.text)),
            ("ctrl-u",): lambda: self._kill(0, self.cursor),
            ("ctrl-w",): lambda: self._kill(self._blank_before(), self.cursor),
            ("alt-d", "ctrl-delete"): lambda: self._kill(self.cursor, self._word_behind()),
            ("alt-backspace", "ctrl-backspace"): lambda: self._kill(self._word_before(), self.cursor),
            ("ctrl-y",): lambda: self.insert(self._killed) if self._killed else Wish.RING,
            ("ctrl-t",): self._transpose,
        }
        return {name: do for names, do in keys.items() for name in names}

    @property
    def searching(self) -> str | None:
        """What is searched for among the lines typed before; None when nothing is."""
        return self._search.query if self._search is not None else None

    @property
    def is_vain(self) -> bool:
        """Whether no line, or no further one, holds what is searched for, so that another one still stands there."""
        return self._search is not None and self._search.is_vain

    def press(self, name: str) -> Outcome:
        """Do what a key does; nothing for one that means nothing here."""
        if self._search is not None and self._press_in_search(name):
            return None
        do = self._keys.get(name)
        outcome = do() if do is not None else None
        self._last = name
        self._is_warned = outcome is Wish.WARN
        if name != "tab":
            self._listing = ""
        return outcome

    def insert(self, text: str) -> Outcome:
        """Put text where the cursor is."""
        if self._search is not None:
            self._look_for(self._search.query + text.replace("\n", " "), 1)
            return None
        self._last, self._listing, self._is_warned = "", "", False
        if len(self.text) + len(text) > LINE_MOST:
            return Wish.RING
        self._put(self.text[: self.cursor] + text + self.text[self.cursor :], self.cursor + len(text))
        return None

    def _put(self, text: str, cursor: int) -> None:
        """Replace the line; a cursor within a cluster, where a mark has found its base, goes behind it."""
        self.text = text
        self.cursor = (
            next(place for place in self._boundaries() if place >= cursor) if cursor < len(text) else len(text)
        )

    def _boundaries(self) -> list[int]:
        return [0, *itertools.accumulate(map(len, clusters(self.text)))]

    # --- moving -------------------------------------------------------------------------------------------------

    def _move(self, place: int) -> Outcome:
        self.cursor = place
        return None

    def _before(self) -> int:
        return max((place for place in self._boundaries() if place < self.cursor), default=0)

    def _behind(self) -> int:
        return min((place for place in self._boundaries() if place > self.cursor), default=len(self.text))

    def _word_before(self) -> int:
        """Return where the word begins that the cursor is in or behind: letters and digits, with their marks."""
        parts = clusters(self.text[: self.cursor])
        while parts and not parts[-1][0].isalnum():
            parts.pop()
        while parts and parts[-1][0].isalnum():
            parts.pop()
        return sum(map(len, parts))

    def _word_behind(self) -> int:
        parts = clusters(self.text[self.cursor :])
        parts.reverse()
        while parts and not parts[-1][0].isalnum():
            parts.pop()
        while parts and parts[-1][0].isalnum():
            parts.pop()
        return len(self.text) - sum(map(len, parts))

    def _blank_before(self) -> int:
        """Return where what stands between blanks begins."""
        before = self.text[: self.cursor].rstrip()
        return next((place + 1 for place in range(len(before) - 1, -1, -1) if before[place].isspace()), 0)

    # --- changing -----------------------------------------------------------------------------------------------

    def _delete(self, begin: int, end: int) -> Outcome:
        self._put(self.text[:begin] + self.text[end:], begin)
        return None

    def _kill(self, begin: int, end: int) -> Outcome:
        """Delete what Ctrl-Y brings back; what is killed by several such keys in a row comes back as one."""
        killed = self.text[begin:end]
        if not killed:
            return None
        before = self._killed if self._last in _KILLING else ""
        self._killed = before + killed if begin == self.cursor else killed + before
        return self._delete(begin, end)

    def _transpose(self) -> Outcome:
        """Exchange the two characters about the cursor; at the end, the two before it."""
        places = self._boundaries()
        number = min(places.index(self.cursor), len(places) - 2)
        if number < 1:
            return Wish.RING
        begin, middle, end = places[number - 1 : number + 2]
        text = self.text
        self._put(text[:begin] + text[middle:end] + text[begin:middle] + text[end:], end)
        return None

    # --- ending -------------------------------------------------------------------------------------------------

    def _clear(self) -> None:
        self.text, self.cursor, self._back, self._begun = "", 0, 0, ""

    def _submit(self) -> Outcome:
        line = self.text
        self._clear()
        return Submitted(line)

    def _interrupt(self) -> Outcome:
        if self.text:
            self._clear()
            return None
        if self._is_warned:
            return Wish.INTERRUPT
        return Wish.WARN

    def _delete_or_leave(self) -> Outcome:
        return self._delete(self.cursor, self._behind()) if self.text else Wish.LEAVE

    # --- what was typed before ----------------------------------------------------------------------------------

    def _go_back(self, count: int) -> Outcome:
        back, lines = self._back + count, self._recall.lines
        if not 0 <= back <= len(lines):
            return Wish.RING
        if not self._back:
            self._begun = self.text
        self._back = back
        line = lines[-back] if back else self._begun
        self._put(line, len(line))
        return None

    def _begin_search(self) -> Outcome:
        self._search = _Search("", 0, self.text, self.cursor)
        return None

    def _press_in_search(self, name: str) -> bool:
        """Do what a key does in a search; False if it ends the search and does what it always does."""
        search = self._search
        assert search is not None
        if name == "ctrl-r":
            self._look_for(search.query, search.place + 1)
        elif name == "backspace":
            self._look_for("".join(clusters(search.query)[:-1]), 1)
        else:
            self._search = None
            if name not in ("ctrl-g", "ctrl-c"):
                return name == "escape"
            self._put(search.text, search.cursor)
        return True

    def _look_for(self, query: str, first: int) -> None:
        """Show the next line typed before that holds what is searched for, from so many lines back."""
        search = self._search
        assert search is not None
        search.query, search.is_vain = query, False
        lines = self._recall.lines
        for place in range(max(first, 1), len(lines) + 1):
            if query and query.casefold() in lines[-place].casefold():
                search.place = place
                self._put(lines[-place], len(lines[-place]))
                return
        search.is_vain = bool(query)

    # --- completing ---------------------------------------------------------------------------------------------

    def _complete(self) -> Outcome:
        before = self.text[: self.cursor]
        completion = self._completer(before)
        begun, found = before[completion.start :], completion.candidates
        if not found:
            return Wish.RING
        common = _common_beginning(found)
        if len(found) > 1 and not (len(common) > len(begun) and common.casefold().startswith(begun.casefold())):
            if self._listing == before and self._last == "tab":
                return Listed(found)
            self._listing = before
            return Wish.RING
        text = before[: completion.start] + common
        if len(text) + len(self.text) - len(before) > LINE_MOST:
            return Wish.RING
        self._put(text + self.text[self.cursor :], len(text))
        return None


def _common_beginning(texts: tuple[str, ...]) -> str:
    """Return what all of some texts begin with."""
    first, last = min(texts), max(texts)
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(character for character, _ in same)


_KILLING = frozenset({"ctrl-k", "ctrl-u", "ctrl-w", "alt-d", "ctrl-delete", "alt-backspace", "ctrl-backspace"})
