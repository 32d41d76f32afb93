"""Names that look alike, though they are not the same: the skeleton of a name, in the manner of Unicode's UTS 39.

Two names look alike if they have a skeleton in common. What a skeleton leaves out or makes one:

- letters of other scripts, or further ones of Latin, that look like a Latin letter, by the table below: of Greek,
  Cyrillic, Armenian, Cherokee, Coptic and Lisu, and some of others;
- accents, hooks, strokes and tails, but no vowel signs: those make another name;
- 0, O and o; 1, l, I and i; rn and m; vv and w;
- wide, narrow, italic and enclosed forms of letters and digits; spaces and punctuation.

A letter that looks otherwise when it is small is compared in both forms: the Greek capital eta looks like H, the small
one like n. The table is our own, and holds what a reader of Latin script would be deceived by. Not covered: what looks
alike within another script (two letters of Arabic, two ideographs), what does so in some fonts alone (cl and d, 5 and
S), and a name within a longer one (`ben` in `ben smith`).
"""

from __future__ import annotations

import re
import unicodedata

from names import plain_name

_ALIKE = {
    "a": "\u0251\u0391\u03b1\u0410\u0430\u13aa\u15c5\ua4ee",
    "b": "\u0184\u0185\u0392\u03b2\u0412\u042c\u0432\u044c\u13cf\u13f4\ua4d0",
    "c": "\u03c2\u0421\u0441\u13df\u1455\ua4da",
    "d": "\u00d0\u00f0\u0189\u0500\u0501\u13a0\u13e7\ua4d3",
    "e": "\u025b\u0395\u03b5\u0404\u0415\u0435\u0454\u04bd\u13ac\u212e\ua4f0",
    "f": "\u03dc\u0584\ua4dd",
    "g": "\u0261\u050c\u050d\u0581\u13c0\u13f3\ua4d6",
    "h": "\u0397\u040b\u041d\u043d\u0452\u045b\u04ba\u04bb\u0570\u13bb\u13c2\ua4e7",
    "i": "\u0131\u0269\u03b9\u0456\u13a5",
    "j": "\u0237\u037f\u03f3\u0408\u0458\u0575\u13ab\ua4d9",
    "k": "\u0138\u039a\u03ba\u041a\u043a\u13e6\ua4d7",
    "l": "1I\u01c0\u0399\u0406\u04c0\u04cf\u053c\u13de\ua4e1\ua4f2",
    "m": "\u039c\u03fa\u03fb\u041c\u043c\u13b7\ua4df",
    "n": "\u014a\u014b\u039d\u03b7\u03c0\u043f\u0578\u057c\ua4e0",
    "o": (
        "0\u039f\u03bf\u03c3\u041e\u043e\u04e8\u04e9\u0555\u0585\u05e1\u0966\u09e6\u0a66\u0ae6\u0b66\u0be6\u0c66"
        "\u0ce6\u0d66\u0e50\u0ed0\u101d\u1040\u10ff\u12d0\u2c9e\u2c9f\u3007\ua4f3\ua9f0"
    ),
    "p": "\u00de\u00fe\u03a1\u03c1\u0420\u0440\u13e2\ua4d1",
    "q": "\u051a\u051b\u0563\u0566",
    "r": "\u0393\u0413\u0433\u13a1\u13d2\u1d26\ua4e3",
    "s": "\u01bd\u0405\u0455\u054f\u13d5\u13da\ua4e2",
    "t": "\u03a4\u03c4\u0422\u0442\u13a2\ua4d4",
    "u": "\u028a\u03bc\u03c5\u054d\u057d\ua4f4",
    "v": "\u03bd\u0474\u0475\u13d9\ua4e6",
    "w": "\u026f\u03c9\u0428\u0448\u0460\u0461\u051c\u051d\u0561\u13b3\u13d4\ua4ea",
    "x": "\u03a7\u03c7\u0425\u0445\ua4eb",
    "y": "\u0263\u03a5\u03b3\u0423\u0443\u04ae\u04af\u10e7\u13bd\ua4ec",
    "z": "\u0396\u03b6\u13c3\ua4dc",
    "2": "\u01a7\u01a8",
    "3": "\u01b7\u021c\u021d\u0292\u0417\u0437\u04e0\u04e1",
    "4": "\u13ce",
    "5": "\u01bc",
    "6": "\u0411\u0431\u13ee",
    "8": "\u0222\u0223",
    "ae": "\u00c6\u00e6\u04d4\u04d5",
    "oe": "\u0152\u0153",
    "bl": "\u042b\u044b",
    "lo": "\u042e\u044e",
}
_PROTOTYPES = {alike: latin for latin, several in _ALIKE.items() for alike in several}
# Of `rn` and `m`, the longer stands for both: `rrn` and the like would be read in one way or another otherwise.
_WIDE = {"m": "rn", "w": "vv"}
_ASCII = {
    code: _WIDE.get(letter, letter) if letter.isalnum() else ""
    for code in range(128)
    for letter in [_PROTOTYPES.get(chr(code), chr(code).lower())]
}
_VARIANT = re.compile(r"LATIN (?:SMALL|CAPITAL) LETTER ([A-Z]) WITH .*|LATIN LETTER SMALL CAPITAL ([A-Z])")
# Accents of every script, points of Hebrew and Arabic. Marks of other blocks are vowels, or part of the letter.
_ACCENT = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u064b-\u065f\u0670\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
)


def skeletons(name: str) -> frozenset[str]:
    """Return what names have in common that look like this one: as it stands, in small letters, and in capitals.

    A name without a letter, digit or symbol looks like nothing, and has none.
    """
    shown = plain_name(name)
    return frozenset(map(_skeleton, (shown, shown.casefold(), shown.upper()))) - {""}


def _skeleton(text: str) -> str:
    if text.isascii():  # most names are, and a list of users has thousands
        return text.translate(_ASCII)
    bare = _ACCENT.sub("", unicodedata.normalize("NFKD", text))
    return "".join(map(_prototype, bare)).translate(_ASCII)


def _prototype(character: str) -> str:
    """Return the small Latin letters, or the digit, that a character looks like; itself if that is nothing of these."""
    if character in _PROTOTYPES:
        return _PROTOTYPES[character]
    if character.isascii():
        return character
    if unicodedata.category(character)[0] in "PZ":
        return ""
    variant = _VARIANT.fullmatch(unicodedata.name(character, ""))
    return (variant[1] or variant[2]).lower() if variant else character.lower()
