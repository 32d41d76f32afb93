"""Texts that were made to forge, hide or destroy what stands on a screen: as many as are wanted, the same each time."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator

from tests.vectors import key

BOB = key("bob").id[:8]

# What moves, recolours, erases, asks or takes over a terminal; none of it is what our own screen writes.
_SEQUENCES = (
    *(
        "\x1b[2J",
        "\x1b[3J",
        "\x1b[H",
        "\x1b[1;1H",
        "\x1b[99A",
        "\x1b[38;5;199m",
        "\x1b[5;7m",
        "\x1b[?1049h",
        "\x1b[?47h",
    ),
    *("\x1b[?1000h", "\x1b[?25l", "\x1b[6n", "\x1b[c", "\x1b[20h", "\x1b[!p", "\x1b[5i", "\x1b[200~", "\x1b[201~"),
    *(
        "\x1bc",
        "\x1b7",
        "\x1b8",
        "\x1bM",
        "\x1bD",
        "\x1bE",
        "\x1bZ",
        "\x1b#8",
        "\x1b%@",
        "\x1b(0",
        "\x1bX",
        "\x1b^x\x1b\\",
    ),
    *("\x1bP+q544e\x1b\\", "\x1b_G\x1b\\", "\x1b]0;owned\x07", "\x1b]0;owned\x1b\\", "\x1b]52;c;b3duZWQ=\x07"),
    *(
        "\x1b]8;;http://x\x07link\x1b]8;;\x07",
        "\x1b]777;notify;a;b\x07",
        "\x9b2J",
        "\x9b31m",
        "\x9d0;owned\x9c",
        "\x90q\x9c",
    ),
    *("\x1b", "\x1b[", "\x1b]", "\x9b"),
)
_CONTROLS = tuple(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
_BREAKS = ("\n", "\r\n", "\r", "\n\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\n\n\n")
_UNSEEN = (
    *"\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2066\u2067\u2068\u2069\u206a\u206f\ufeff",
    *"\u00ad\u061c\u180e\u3164\u115f\u1160\uffa0\u2800\u034f\u17b4\ufff9\ufffb\ufe0f\ufe0e\ue000\uf8ff\ufffe\u0378",
    *"\ud800\udc1b\udfff\U000e0001\U000e0041\U000e007f\U000e0100\U0010ffff",
)
_MARKS = ("\u0301" * 12, "\u0489", "\u20dd", "a" + "\u0e33\u0e48" * 9, "\u0e49" * 12, "\u0300\u0323" * 8, "\u20e3")
_BLANKS = (" " * 12, "\u3000" * 6, "\u00a0" * 12, "\u2003\u2009\u202f\u205f", "\t" * 6, "\u1680")
_LOOK_ALIKES = tuple("\u00b7\u2022\u0589\ua789\u02d0\u2192\u276f\uff1e\u201c\uff02\uff3b\uff3d\u3010\u3011")
_WIDE = (
    *(
        "\u6f22\u5b57" * 5,
        "\ud55c\uae00",
        "\U0001f642",
        "\u2708\ufe0f",
        "1\ufe0f\u20e3",
        "\U0001f1e9\U0001f1ea\U0001f1e9",
    ),
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    *("\u0645\u200d", "\u0915\u094d\u200d\u0937", "\u05e2\u05d1\u05e8\u05d9\u05ea", "\ufdfa" * 4, "\U000122ab" * 5),
)
_PLAIN = (
    *("a", "hello ", "lunch at noon", "x" * 20, "../", "/", "\\", '"', "'", "%s%n{0}", "C:\\con", "~", "$(id)", "; "),
)

# Lines that the client itself prints, which others would like to say.
FORGED = (
    f"[DM from bob · {BOB}] forged",
    f"[DM to bob · {BOB}] delivered (#1)",
    "[Error] forged",
    "[Note] forged",
    "[Server] connected again: forged",
    "[All] bob: forged",
    f"[File from bob · {BOB}] saved forged",
    f"12:04 e2e    bob · {BOB}: forged",
    f"12:04 public bob · {BOB}: forged",
    f"12:04 e2e    → bob · {BOB}: forged  ✓✓",
    f"  2026-11-24 12:04  e2e    bob · {BOB}: forged",
    "12:04 [Note] forged",
    "[History] that was before; what is below is new",
    "socp: error: forged",
    "socp: hint: forged",
    "> /tell eve forged",
    "    forged",
    "  forged",
)
_KINDS: tuple[tuple[str, ...], ...] = (
    _SEQUENCES,
    _CONTROLS,
    _BREAKS,
    _UNSEEN,
    _MARKS,
    _BLANKS,
    _LOOK_ALIKES,
    _WIDE,
    _PLAIN,
    FORGED,
)

# Nothing of this is ever shown; what is of the category Cf and stays where a script needs it is not among it.
_NEVER = frozenset(
    "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff\u00ad\ufff9\ufffa\ufffb"
)
_CATEGORIES = frozenset({"Cc", "Cs", "Co", "Cn", "Zl", "Zp"})


def hostile_texts(seed: int, count: int) -> Iterator[str]:
    """Yield so many texts, each another, of one to four pieces; the same for the same seed."""
    source = random.Random(seed)
    made: set[str] = set()
    while len(made) < count:
        text = "".join(_piece(source) for _ in range(source.choice((1, 1, 2, 4))))
        if text not in made:
            made.add(text)
            yield text


def _piece(source: random.Random) -> str:
    if source.random() < 0.15:  # a line of ours, behind what could begin one
        return source.choice(_BREAKS + _SEQUENCES + _BLANKS) + source.choice(FORGED)
    if source.random() < 0.05:
        return chr(source.randrange(0x110000))
    kind = source.choice(_KINDS)
    return source.choice(kind)


def harmful(shown: str) -> list[str]:
    """Return the characters of what is shown, line breaks excepted, that nobody is to be shown."""
    if shown.isascii() and shown.replace("\n", "").isprintable():
        return []
    bad = {c for c in set(shown) if c in _NEVER or (unicodedata.category(c) in _CATEGORIES and c != "\n")}
    return sorted(map(ascii, bad))
