"""What was typed at a terminal, out of the bytes that it sends: keys, text, and what was pasted.

A terminal sends text as it is, and for most other keys a sequence that begins with an escape. Sequences that are not
known are passed over as a whole, so that nothing of them is taken for text; so is what is not UTF-8.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

PASTE_MOST = 65_536  # characters


@dataclass(frozen=True)
class Key:
    """A key that is not text.

    Attributes:
        name: such as "up", "home", "enter", "ctrl-a", "alt-b", "ctrl-left".
    """

    name: str


@dataclass(frozen=True)
class Text:
    """Characters that were typed, or pasted at a terminal that does not tell."""

    text: str


@dataclass(frozen=True)
class Paste:
    """A text that was pasted; each of its line breaks is one character.

    Attributes:
        text: what it says, without control characters.
        is_cut: it was longer than PASTE_MOST, and this is its beginning.
    """

    text: str
    is_cut: bool = False


Typed = Key | Text | Paste

_ESCAPE = "\x1b"
_PASTE_BEGINS, _PASTE_ENDS = "\x1b[200~", "\x1b[201~"
# Behind an escape: a control sequence (those of the mouse in its oldest form, and of the Linux console's function keys,
# are longer than their ends tell), a key of the keypad, or a string that a terminal answers with.
_SEQUENCE = re.compile(
    r"\x1b(?:\[(?:M...|\[.|(?P<numbers>[0-?]*)[ -/]*(?P<end>[@-~]))"
    r"|O(?P<keypad>[0-9;]*[A-Za-z~])"
    r"|[\]PX^_](?P<string>[^\x07\x1b]*)(?:\x07|\x1b\\))",
    re.DOTALL,
)
_BEGUN = re.compile(
    r"\x1b(?:\[(?:M.{0,2}|\[|[0-?]{0,64}[ -/]{0,8})|O[0-9;]{0,8}|[\]PX^_][^\x07\x1b]{0,4096}\x1b?)?", re.DOTALL
)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNPASTED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_BY_END = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end"}
_BY_NUMBER = {"1": "home", "7": "home", "4": "end", "8": "end", "3": "delete"}
_KEYPAD = {**_BY_END, "a": "ctrl-up", "b": "ctrl-down", "c": "ctrl-right", "d": "ctrl-left", "M": "enter"}
_BY_CONTROL = {"\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace", "\x08": "backspace"}


class Decoder:
    """Turns bytes, as they come in, into what was typed."""

    def __init__(self) -> None:
        self._bytes = codecs.getincrementaldecoder("utf-8")(errors="ignore")
        self._rest = ""  # the beginning of a sequence, or of the end of a paste
        self._pasted: str | None = None  # so far; None outside of a paste
        self._is_cut = False

    @property
    def is_waiting(self) -> bool:
        """Whether an escape has come and the rest of its sequence has not: it may never come, and is then a key."""
        return bool(self._rest) and self._pasted is None

    def feed(self, data: bytes) -> list[Typed]:
        """Return what bytes tell, together with those before them."""
        self._rest += self._bytes.decode(data)
        found: list[Typed] = []
        while self._rest:
            before = self._rest
            typed = self._take_pasted() if self._pasted is not None else self._take()
            if typed is not None:
                found.append(typed)
            elif self._rest == before:
                break
        return found

    def give_up(self) -> list[Typed]:
        """Wait no more for the rest of a sequence: an escape alone was the key of that name."""
        rest, self._rest = self._rest, ""
        return [Key("escape")] if rest == _ESCAPE else []

    def _take(self) -> Typed | None:
        """Take the next of `_rest`; None when that was nothing, or when it is not all there and nothing was taken."""
        rest = self._rest
        if rest[0] == _ESCAPE:
            return self._take_sequence()
        control = _CONTROLS.search(rest)
        end = control.start() if control else len(rest)
        if end:
            self._rest = rest[end:]
            return Text(rest[:end])
        self._rest = rest[1:]
        return _control_key(rest[0])

    def _take_sequence(self) -> Typed | None:
        rest = self._rest
        if rest.startswith(_PASTE_BEGINS):
            self._rest, self._pasted, self._is_cut = rest[len(_PASTE_BEGINS) :], "", False
            return None
        match = _SEQUENCE.match(rest)
        if match:
            self._rest = rest[match.end() :]
            return _sequence_key(match)
        begun = _BEGUN.match(rest)
        assert begun is not None
        if begun.end() == len(rest):
            return None  # the rest is to come
        if begun.end() > 1:
            self._rest = rest[begun.end() :]  # broken off by something that does not belong to it
            return None
        self._rest = rest[2:]
        if rest[1] == _ESCAPE:
            self._rest = rest[1:]
            return None
        if rest[1] in "\r\n":
            return Key("alt-enter")
        if rest[1] in "\x7f\x08":
            return Key("alt-backspace")
        return Key(f"alt-{rest[1].lower()}") if rest[1].isprintable() else None

    def _take_pasted(self) -> Typed | None:
        assert self._pasted is not None
        text, end, behind = self._rest.partition(_PASTE_ENDS)
        if not end:
            # What may be the beginning of the end is kept back.
            kept = next((n for n in range(len(_PASTE_ENDS) - 1, 0, -1) if text.endswith(_PASTE_ENDS[:n])), 0)
            text, behind = text[: len(text) - kept], text[len(text) - kept :]
        self._is_cut = self._is_cut or len(self._pasted) + len(text) > PASTE_MOST
        self._pasted = (self._pasted + text)[:PASTE_MOST]
        self._rest = behind
        if not end:
            return None
        pasted = self._pasted.replace("\r\n", "\n").replace("\r", "\n")
        self._pasted = None
        return Paste(_UNPASTED.sub("", pasted), self._is_cut)


def _control_key(character: str) -> Key | None:
    if character in _BY_CONTROL:
        return Key(_BY_CONTROL[character])
    if "\x01" <= character <= "\x1f":
        return Key(f"ctrl-{chr(ord(character) + 0x40).lower()}")
    return None


def _sequence_key(match: re.Match[str]) -> Key | None:
    """Return the key that a sequence stands for, if it is one that we know."""
    if match["keypad"]:
        name = _KEYPAD.get(match["keypad"])
        return Key(name) if name else None
    if match["end"] is None:
        return None
    number, _, modifiers = match["numbers"].partition(";")
    name = _BY_NUMBER.get(number) if match["end"] == "~" else _BY_END.get(match["end"])
    if name is None:
        return None
    held = int(modifiers) - 1 if modifiers.isdecimal() and len(modifiers) < 4 else 0
    return Key(f"{'ctrl-' if held & 4 else ''}{'alt-' if held & 2 else ''}{name}")
