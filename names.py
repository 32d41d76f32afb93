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
# Characters that are there and cannot be seen (Unicode's default ignorables that are not of the category Cf).
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)


def plain_name(name: str) -> str:
    """Return a display name as it may stand within a line: letters, digits, symbols and harmless punctuation."""
    seen = _UNSEEN.sub("", unicodedata.normalize("NFKC", name))
    return " ".join("".join(map(_plain, seen)).split())


def _plain(character: str) -> str:
    category = unicodedata.category(character)
    if category[0] in "LMN" or category == "So" or character in _HARMLESS:
        return character
    if category == "Cf":
        return ""  # unseen too: joiners, marks of direction
    if category == "Zs":
        return " "
    return {"Ps": "(", "Pe": ")"}.get(category, ".")


def name_key(name: str) -> str:
    """Return what two display names have in common that a reader would take for the same."""
    return plain_name(name).casefold()
