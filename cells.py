"""How many cells of a terminal a text takes, what in it moves as one, and where its rows break.

Terminals differ in what they make of emoji, of marks and of characters that the Unicode tables call ambiguous. What is
told here is the most that they take, but for the ambiguous ones, among them Greek and Cyrillic letters: those are wide
in some terminals of East Asia alone, so that the locale decides. Where a row that breaks too late would do harm, there
is `wary`, for which all that may be wide is wide.
"""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Iterator, Sequence

INDENT = "    "  # before what goes on in a further row
_CLUSTER_MOST = 16  # characters; a family of emoji takes eleven
_ZWNJ, _ZWJ = "\u200c", "\u200d"
_NOTHING = frozenset(f"{_ZWNJ}{_ZWJ}\u180e\u200b")  # what display lets through of characters that take no cell
_EMOJI_SELECTOR = "\ufe0f"
_MARKS = ("Mn", "Me", "Mc")
_EAST_ASIA = ("ja", "ko", "zh")


def clusters(text: str) -> list[str]:
    """Cut a text into what a person takes for one character each: with its marks, or an emoji of several."""
    if text.isascii():
        return list(text)
    found: list[str] = []
    for character in text:
        if found and _joins(found[-1], character):
            found[-1] += character
        else:
            found.append(character)
    return found


def _joins(cluster: str, character: str) -> bool:
    """Tell whether a character belongs to the cluster before it."""
    if character.isascii() or cluster[0] < " " or len(cluster) >= _CLUSTER_MOST:
        return False
    if _is_extending(character):
        return True
    last = cluster[-1]
    if last == _ZWJ:
        return unicodedata.category(cluster[0]) == "So" and unicodedata.category(character) in ("So", "Sm")
    if _is_regional(character):
        return len(cluster) == 1 and _is_regional(cluster)
    return _is_later_jamo(character) and _is_hangul(last)


@functools.lru_cache(4096)
def _is_extending(character: str) -> bool:
    if unicodedata.category(character) in _MARKS or character in (_ZWNJ, _ZWJ):
        return True
    return "\U0001f3fb" <= character <= "\U0001f3ff" or "\U000e0020" <= character <= "\U000e007f"


def _is_regional(character: str) -> bool:
    """Tell whether a character is one of the two letters that make a flag."""
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _is_later_jamo(character: str) -> bool:
    """Tell whether a character is a vowel or a final consonant of Hangul, which are written into their syllable."""
    return "\u1160" <= character <= "\u11ff" or "\ud7b0" <= character <= "\ud7fb"


def _is_hangul(character: str) -> bool:
    return "\u1100" <= character <= "\u11ff" or "\ua960" <= character <= "\ua97c" or "\uac00" <= character <= "\ud7fb"


def width(text: str, *, wary: bool = False) -> int:
    """Return how many cells a text takes."""
    if text.isascii():
        return len(text)
    return sum(_cluster_width(cluster, wary) for cluster in clusters(text))


@functools.lru_cache(4096)
def _cluster_width(cluster: str, wary: bool) -> int:
    cells = sum(_character_width(character, wary) for character in cluster)
    if _EMOJI_SELECTOR in cluster:  # widens what stands before it, where it is known
        return cells + 1 if wary else max(cells, 2)
    return cells


def _character_width(character: str, wary: bool) -> int:
    if character.isascii():
        return 1
    category, east_asian = unicodedata.category(character), unicodedata.east_asian_width(character)
    if category in ("Mn", "Me"):
        return 0
    if east_asian in "WF" or _is_regional(character):
        return 2
    if wary:
        return 2 if east_asian == "A" or category == "So" else 1
    if character in _NOTHING or _is_later_jamo(character) or "\U000e0020" <= character <= "\U000e007f":
        return 0
    return _ambiguous() if east_asian == "A" else 1


@functools.lru_cache(1)
def _ambiguous() -> int:
    """Return the width of the characters whose width depends on where one is."""
    locale = next((value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := os.environ.get(name))), "")
    return 2 if locale.startswith(_EAST_ASIA) else 1


def cut(text: str, columns: int) -> str:
    """Return as much of a text as fits in so many columns; it ends with an ellipsis where something is missing."""
    if width(text) <= columns:
        return text
    kept, room = "", columns - width("…")
    for cluster in clusters(text):
        room -= width(cluster)
        if room < 0:
            break
        kept += cluster
    return kept + "…" if columns > 0 else ""


def rows(
    parts: Sequence[str], columns: int, *, indented: bool = False, words: bool = True, wary: bool = False
) -> Iterator[tuple[int, int]]:
    """Tell where the rows of a text begin and end, of which all but the first have room for the indentation.

    Args:
        parts: the clusters of the text.
        columns: of the terminal; where there are fewer than twice the indentation, rows are longer than it is wide.
        indented: the first row is indented too.
        words: break behind words, if they are not too long for that; a space that does not fit is left out.
        wary: see above.
    """
    later = max(columns, 2 * len(INDENT)) - len(INDENT)
    begin, room = 0, later if indented else later + len(INDENT)
    space = 0  # behind the last space
    for place, part in enumerate(parts):
        cells = width(part, wary=wary)
        if cells > room and place > begin:
            if words and part == " ":
                yield begin, place
                begin, space, room = place + 1, place + 1, later
                continue
            moved = sum(width(other, wary=wary) for other in parts[space:place]) if words and space > begin else later
            if 2 * moved > later:
                space, moved = place, 0  # no space, or far behind
            yield begin, space
            begin, room = space, later - moved
        room -= cells
        if part == " ":
            space = place + 1
    yield begin, len(parts)


def wrapped(text: str, columns: int) -> Iterator[str]:
    """Cut a line into those that a terminal shows of it; all but the first are indented.

    Where terminals may differ, it breaks too early: what a terminal itself breaks goes on at the first column.
    """
    parts = clusters(text)
    for begin, end in rows(parts, columns, words=False, wary=True):
        yield (INDENT if begin else "") + "".join(parts[begin:end])
