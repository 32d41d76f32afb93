r"""What of a text from outside may be shown as it is: by `visible` on a terminal, by `logged` in a log.

Whatever moves the cursor, recolours, reorders or hides text, or breaks a line, comes out as an escape, such as `\x1b`
or `\u202e`. Text in every script stays as it is. Some of what cannot be seen is needed for that, and is let through
where it is: joiners within words of the scripts that join, and within emoji; variation selectors behind what has
variants; tags in flags. Blank spaces of every width are one ordinary space.

What a character is, Python's tables say: those of an older Python know fewer, and show the newest as escapes.
"""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Of the category Cf, but to be seen: signs that stand over or under the numbers that follow.
_SEEN = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
# Not of these categories, and yet not to be seen: fillers, a grapheme joiner, vowels that are never written.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
_BLANK = "\u2800"  # a pattern of Braille without a dot
_IDEOGRAPHIC_SPACE = "\u3000"
_ZWNJ, _ZWJ = "\u200c", "\u200d"
_BREAK = "\u200b"  # a place where a line may break
# Scripts without spaces between words, where keyboards have that in the space's place: Thai, Lao, Burmese, Khmer, Tai.
_SPACELESS = (
    ("\u0e00", "\u0eff"),
    ("\u1000", "\u109f"),
    ("\u1780", "\u17ff"),
    ("\u1950", "\u19df"),
    ("\u1a20", "\u1aaf"),
)
# Blocks of the scripts whose letters join: from Arabic to Burmese, from Hanunoo to Vedic signs, and others further on.
_JOINING = (
    *(("\u0600", "\u109f"), ("\u1700", "\u1cff"), ("\ua800", "\uabff")),
    *(("\U00010a00", "\U00011fff"), ("\U0001e900", "\U0001e95f")),
)
_MONGOLIAN_SEPARATOR = "\u180e"
_BLACK_FLAG = "\U0001f3f4"
_FLAG = re.compile("\U0001f3f4[\U000e0061-\U000e007a]{2}[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,3}\U000e007f")
_TAGS_END = "\U000e007f"
_KEYCAP = "\u20e3"
# On one base. Tibetan and pointed Hebrew take five; more would grow into the lines above and below.
_MARKS_MOST = 6
_VIRAMA = 9  # the combining class of the signs that join consonants

# Of one field of a log's line: whoever sends a megabyte shall not have it kept; and of a line as a whole.
_FIELD_MOST = 300
_LINE_MOST = 4_000
# A word, or a list of some: what follows a field in our lines begins otherwise.
_WORD = r"[A-Za-z0-9_.:/@%+#*\[\]-]+"
_WORDS = re.compile(f"{_WORD}(, {_WORD})*")


def visible(text: str) -> str:
    """Return a text on one line, with whatever could harm or hide made visible."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_Shown(text).all(None))


def replaced(text: str, substitute: str) -> str:
    """Return a text as `visible` does, with a substitute for each character that it would escape."""
    return "".join(_Shown(text).all(substitute))


def visible_parts(text: str) -> list[str]:
    """Return what `visible` makes of each character of a text."""
    return _Shown(text).all(None)


def logged(line: str) -> str:
    """Return a line of a log: made visible, and cut where it is longer than any that we mean to write."""
    return _cut(visible(_cut(line, _LINE_MOST)), _LINE_MOST)


def logged_field(value: object) -> object:
    """Return what stands in a log's line for a value: numbers as they are, and texts cut.

    A text that is neither a word nor a list of some stands in quotation marks, which it cannot end: it cannot pass for
    the field that follows. Errors, whose words are ours, go without.
    """
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str):
        return _cut(str(value), 2 * _FIELD_MOST)
    if _WORDS.fullmatch(value) and len(value) <= _FIELD_MOST:
        return value
    escaped = value[:_FIELD_MOST].replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"{_more(len(value) - _FIELD_MOST)}'


def _cut(text: str, most: int) -> str:
    return text[:most] + _more(len(text) - most)


def _more(count: int) -> str:
    return f"… (+{count:,})" if count > 0 else ""


class _Shown:
    """One text on its way to be shown, character by character.

    What stands before a character is looked at as it is shown, what stands behind it as it comes.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._marks = _MARKS_MOST  # that the last base has; a text that begins with one has no base for it

    def all(self, substitute: str | None) -> list[str]:
        """Return the text in pieces, with a substitute for what is not shown; None for its escape."""
        shown: list[str] = []
        before, flag_end = "", 0
        for place, character in enumerate(self._text):
            if character == _BLACK_FLAG and (match := _FLAG.match(self._text, place)):
                flag_end = match.end()
            piece = character if place < flag_end else self._shown(before, character, self._text[place + 1 : place + 2])
            if not piece:
                piece = _escape(character) if substitute is None else substitute
            shown.append(piece)
            before = piece[-1:]
        return shown

    def _shown(self, before: str, character: str, behind: str) -> str:
        """Return what a character is shown as; nothing if it must not be."""
        if " " <= character <= "~":
            self._marks = 0
            return character
        category = unicodedata.category(character)
        if category in ("Mn", "Me"):
            return character if self._is_needed_mark(before, character, behind) else ""
        if character in (_ZWNJ, _ZWJ, _MONGOLIAN_SEPARATOR, _BREAK):
            return character if self._joins(before, character, behind) else ""
        if category == "Zs" or character == _BLANK:
            self._marks = 0
            return character if character == _IDEOGRAPHIC_SPACE else " "
        is_seen = category == "Cf" and character in _SEEN  # a Python that does not know such a sign hides it
        if character in _UNSEEN or (category in _HIDDEN and not is_seen):
            return ""
        self._marks = 0
        return character

    def _is_needed_mark(self, before: str, mark: str, behind: str) -> bool:
        if mark in _UNSEEN:
            return False
        if "\ufe00" <= mark <= "\ufe0f":
            return _has_variants(before, mark, behind)
        if "\u180b" <= mark <= "\u180f":
            return _is_mongolian(before)
        if "\U000e0100" <= mark <= "\U000e01ef":
            return _is_ideograph(before)
        self._marks += 1
        return self._marks <= _MARKS_MOST

    def _joins(self, before: str, joiner: str, behind: str) -> bool:
        if joiner == _MONGOLIAN_SEPARATOR:
            return _is_mongolian(before) and _is_mongolian(behind)
        if joiner == _BREAK:
            return _is_spaceless(before) and _is_spaceless(behind)
        if before and unicodedata.combining(before) == _VIRAMA:
            return True  # at the end of a word too: so were the final consonants of Malayalam written
        if joiner == _ZWJ and _is_emoji_part(before):
            return bool(behind) and (unicodedata.category(behind) == "So" or behind == "\u2194")
        if joiner == _ZWJ and "\u0620" <= before <= "\u077f" and unicodedata.category(before) == "Lo":
            return True  # gives the letter its joined form: so are abbreviations written, as that of the Hijri years
        return _is_joining(before) and self._is_joining_behind(behind)

    def _is_joining_behind(self, behind: str) -> bool:
        if behind and unicodedata.combining(behind) == _VIRAMA:
            return self._marks < _MARKS_MOST
        return _is_joining(behind) and unicodedata.category(behind).startswith("L")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _is_joining(character: str) -> bool:
    """Tell whether a character is of a script whose letters join, or change with their neighbours."""
    if character in _UNSEEN or not any(first <= character <= last for first, last in _JOINING):
        return False
    return unicodedata.category(character)[0] in "LM"


def _is_spaceless(character: str) -> bool:
    if not any(first <= character <= last for first, last in _SPACELESS):
        return False
    return unicodedata.category(character)[0] in "LMNP"


def _is_mongolian(character: str) -> bool:
    return "\u1820" <= character <= "\u18aa"


def _is_ideograph(character: str) -> bool:
    return bool(character) and unicodedata.name(character, "").startswith("CJK ")


def _is_emoji_part(character: str) -> bool:
    if character in ("", _BLANK):
        return False
    is_modifier = "\U0001f3fb" <= character <= "\U0001f3ff"
    return is_modifier or character in ("\ufe0f", _TAGS_END) or unicodedata.category(character) == "So"


def _has_variants(before: str, selector: str, behind: str) -> bool:
    """Tell whether a character has a variant of that number: the last two ask for a symbol as text, or as an emoji."""
    if not before:
        return False
    if before in "0123456789#*":
        return selector == "\ufe0f" and behind == _KEYCAP
    if before == "\u2139" or before in "\u203c\u2049\u3030\u303d":  # letters and punctuation that are emoji too
        return selector in "\ufe0e\ufe0f"
    category = unicodedata.category(before)
    return category in ("So", "Sm") if selector in "\ufe0e\ufe0f" else category in ("Lo", "Sm")
