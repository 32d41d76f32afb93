"""Display names: how they are shown, and when two of them are the same to a reader.

A user may call itself anything. What is shown of that must not be able to forge what stands around it, and must not
look like somebody else's name without being treated as that name.
"""

from __future__ import annotations

import re
import unicodedata

# Punctuation that cannot end what a name stands in. Brackets, colons and whatever looks like the dot between a name
# and an id can: with them a name could pretend to be the beginning of another line.
_HARMLESS = frozenset(" -_.,'!?&+@#()/")
# Characters that are there and cannot be seen (Unicode's default ignorables that are not of the category Cf), and one
# symbol that is blank.
UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
_BLANK = "\u2800"
# Letters that look like that dot, like a colon, or like a quotation mark.
_LOOK_ALIKES = frozenset("\ua78f\u02d0\u02ba\u02ee")
# So do these, which are needed behind a letter of their own script, and nowhere else.
_OF_OTHERS = frozenset("\u0903\u0983\u0a83\u0b83\u119e\u1427\u17c7\ua4fa\ua4fd")
# Of a signed name PROTOCOL.md section 5.1 allows as many. One that is listed may be longer, and some characters
# become many here.
_NAME_MOST = 64


def plain_name(name: str) -> str:
    """Return a display name as it may stand within a line: letters, digits, symbols and harmless punctuation."""
    name = name[: 16 * _NAME_MOST]
    seen = unicodedata.normalize("NFKC", UNSEEN.sub("", unicodedata.normalize("NFKC", name)))
    shown = unicodedata.normalize("NFKC", "".join(map(_plain, " " + seen, seen)))
    return " ".join(" ".join(shown.split())[:_NAME_MOST].split())


def _plain(before: str, character: str) -> str:
    category = unicodedata.category(character)
    if character in _LOOK_ALIKES or (character in _OF_OTHERS and _script(before) != _script(character)):
        return "."
    if category == "Zs" or character == _BLANK:
        return " "
    if category[0] in "LMN" or category == "So" or character in _HARMLESS:
        return character
    if category == "Cf":
        return ""  # unseen too: joiners, marks of direction
    return {"Ps": "(", "Pe": ")"}.get(category, ".")


def _script(character: str) -> str:
    return unicodedata.name(character, "").partition(" ")[0]


def name_key(name: str) -> str:
    """Return what two display names have in common that a reader would take for the same."""
    folded = plain_name(name).casefold()
    # Some capitals fold to what another form is preferred for, and that may have a capital of its own.
    return plain_name(folded).casefold()
