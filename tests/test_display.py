"""What of a text from outside is shown as it is, and what is not."""
# ruff: noqa: RUF001 - letters of every script are what is tested

from __future__ import annotations

import functools
import random
import sys
import unicodedata
import unittest

from display import logged, logged_field, replaced, visible

# Real words and sentences; each of them needs something that a careless sanitiser would take away.
SCRIPTS = {
    "Latin": "Zażółć gęślą jaźń, naïve café — “quoted” … £5 ½ ﬁn",
    "Greek": "Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία",
    "Cyrillic": "Съешь ещё этих мягких французских булок",
    "Arabic with tatweel and vowels": "السَّلَامُ عَلَيْكُمْ مرحبـــــا",
    "Persian with ZWNJ": "می\u200cخواهم کتاب\u200cها را بخوانم، نمی\u200cدانم",
    "Arabic number sign": "\u0600\u0661\u0662\u0663",
    "Urdu": "میں کانچ کھا سکتا ہوں",
    "Hebrew with points": "בְּרֵאשִׁ֖ית בָּרָ֣א אֱלֹהִ֑ים",
    "Syriac": "ܫܠܡܐ \u070fܝܗ",
    "Hindi with ZWJ and ZWNJ": "क्\u200dष और क्\u200cष, मैं काँच खा सकता हूँ",
    "Bengali with ZWJ": "র\u200d্যাব, ত্\u200d, আমি কাঁচ খেতে পারি",
    "Tamil": "நான் கண்ணாடி சாப்பிடுவேன்",
    "Malayalam with old final consonants": "അവന്\u200d അവള്\u200d",
    "Sinhala with ZWJ": "ශ්\u200dරී ලංකාව",
    "Thai": "ฉันกินกระจกได้ แต่มันไม่ทำให้ฉันเจ็บ น้ำ",
    "Tibetan": "ཤེལ་སྒོ་ཟ་ནས་ང་ན་གི་མ་རེད། བསྒྲུབས",
    "Khmer": "ខ្ញុំអាចញុំកញ្ចក់បាន ដោយគ្មានបញ្ហា",
    "Burmese": "ကျွန်တော် ကျွန်မ မှန်စားနိုင်တယ်",
    "Korean": "나는 유리를 먹을 수 있어요",
    "Korean in letters": unicodedata.normalize("NFD", "나는 유리를 먹을 수 있어요"),
    "Chinese": "我能吞下玻璃而不伤身体。",
    "Japanese": "私はガラスを食べられます。\u3000それは私を傷つけません。 葛\U000e0100城市 ｶﾞﾗｽ",
    "Vietnamese in marks": unicodedata.normalize("NFD", "Tôi có thể ăn thủy tinh mà không hại gì, ưỡn ngực"),
    "Georgian": "მინას ვჭამ და არა მტკივა",
    "Armenian": "Կրնամ ապակի ուտել և ինծի անհանգիստ չըներ",
    "Amharic": "ሰማይ አይታረስ ንጉሥ አይከሰስ።",
    "Mongolian": "ᠪᠢ ᠰᠢᠯᠢ ᠢᠳᠡᠶᠦ ᠴᠢᠳᠠᠨᠠ ᠭᠠᠵᠠᠷ\u180eᠠ ᠠ\u180b",
    "Cherokee": "ᎣᏏᏲ",
    "Khmer with breaks": "ខ្ញុំ\u200bអាច\u200bញ៉ាំ\u200bកញ្ចក់",
    "Thai with breaks": "ฉัน\u200bกิน\u200bกระจก",
    "a year of the Hijra": "١٤٤٥ ه\u200d.",
    "Mathematics": "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, a⃗ ≠ 0, 𝔸 ⊨ φ",
    "emoji": "😀 ❤️ ☎︎ ‼️ ↔️ ©️ 👍🏽 👩🏽\u200d🚀 🏳️\u200d🌈 🏴\u200d☠️ 👨\u200d👩\u200d👧\u200d👦",
    "more emoji": "🙂\u200d↔️ ❤️\u200d🔥 🧑\u200d⚕️",
    "flags and keycaps": "🇩🇪 🇰🇷 🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f 1️⃣ #️⃣ *⃣",
}
_FORBIDDEN = frozenset({"Cc", "Cs", "Co", "Cn", "Zl", "Zp"})
_ALWAYS_HIDDEN = "\u061c\u2060\ufeff\u3164\u115f\u1160\uffa0\u2800\u034f"
_CONDITIONAL = frozenset("\u200b\u200c\u200d\u180e")


class VisibleTest(unittest.TestCase):
    """Text on a terminal."""

    def test_scripts(self) -> None:
        """Text in every script, and emoji of every kind, come out as they went in."""
        self.assertGreater(len(SCRIPTS), 15)
        for script, text in SCRIPTS.items():
            with self.subTest(script):
                self.assertEqual(visible(text), text)
                self.assertEqual(replaced(text, "_"), text)

    def test_hidden_is_shown(self) -> None:
        """Whatever moves the cursor, recolours, reorders or hides text is shown as an escape."""
        for text, shown in (
            ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
            ("\x9b2J\x9d0;t\x9c", r"\x9b2J\x9d0;t\x9c"),
            ("a\nb\r\tc\x00\x0b\x0c\x85", r"a\nb\r\tc\x00\x0b\x0c\x85"),
            ("\u2028\u2029", r"\u2028\u2029"),
            ("\u202a\u202e\u2066\u2069\u200e\u200f\u061c", r"\u202a\u202e\u2066\u2069\u200e\u200f\u061c"),
            ("\ufeff\u200b\u2060\u2064\u00ad\u034f", r"\ufeff\u200b\u2060\u2064\xad\u034f"),
            ("a\u115fb\u1160c\u3164d\uffa0e\u17b4", r"a\u115fb\u1160c\u3164d\uffa0e\u17b4"),
            ("\ud800 \ue000 \ufffe \U0010ffff", r"\ud800 \ue000 \ufffe \U0010ffff"),
            ("\ufff9a\ufffab\ufffb", r"\ufff9a\ufffab\ufffb"),
        ):
            with self.subTest(shown):
                self.assertEqual(visible(text), shown)

    def test_only_where_needed(self) -> None:
        """Joiners, variation selectors and tags that no script and no emoji needs there are shown as escapes."""
        for text, shown in (
            ("a\u200db", r"a\u200db"),
            ("\u200cann\u200d", r"\u200cann\u200d"),
            ("\u0645\u200c", "\u0645\\u200c"),
            ("\u200c\u0645", "\\u200c\u0645"),
            ("\u0645\u200c\u200c\u0645", "\u0645\\u200c\\u200c\u0645"),
            ("\u0645\u200cb", "\u0645\\u200cb"),
            ("\u0e01\u200b", "\u0e01\\u200b"),
            ("\u0e01\u200b\u200b\u0e01", "\u0e01\\u200b\\u200b\u0e01"),
            ("\u0e01\u200bb", "\u0e01\\u200bb"),
            ("\u0647\u200d\u200d", "\u0647\u200d\\u200d"),
            ("\u4e66\u200d\u4e66", "\u4e66\\u200d\u4e66"),
            ("\U0001f468\u200d", "\U0001f468\\u200d"),
            ("\U0001f468\u200d\u200d\U0001f469", "\U0001f468\\u200d\\u200d\U0001f469"),
            ("a\ufe0f", r"a\ufe0f"),
            ("1\ufe0f", r"1\ufe0f"),
            ("\u2764\ufe0f\ufe0f", "\u2764\ufe0f\\ufe0f"),
            ("a\U000e0100 \u0645\U000e0100", "a\\U000e0100 \u0645\\U000e0100"),
            ("a\u180b a\u180eb", r"a\u180b a\u180eb"),
            ("\U000e0041\U000e007f", r"\U000e0041\U000e007f"),
            ("\U0001f3f4\U000e0067", "\U0001f3f4\\U000e0067"),
            ("\U0001f600\U000e0067\U000e0062\U000e007f", "\U0001f600\\U000e0067\\U000e0062\\U000e007f"),
        ):
            with self.subTest(shown):
                self.assertEqual(visible(text), shown)

    def test_spaces(self) -> None:
        """Blanks of every width are ordinary spaces, but for the one that Japanese is written with."""
        blanks = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Zs"]
        self.assertGreater(len(blanks), 15)
        for blank in [*blanks, "\u2800"]:
            self.assertEqual(visible(f"a{blank}b"), f"a{blank if blank == chr(0x3000) else ' '}b")

    def test_floods_of_marks(self) -> None:
        """Marks beyond a few on one base are escaped, and so is one without a base."""
        self.assertEqual(visible("a" + "\u0301" * 6 + "b"), "a" + "\u0301" * 6 + "b")
        self.assertEqual(visible("a" + "\u0301" * 1000).count("\u0301"), 6)
        self.assertEqual(visible("\u0301a"), "\\u0301a")
        self.assertEqual(visible("a" + "\u0301\u200b" * 9).count("\u0301"), 6)


@functools.cache
def _texts() -> list[str]:
    """Return thousands of texts from all of Unicode and from its worst corners, the same ones each time."""
    numbers = random.Random(4)
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    worst = [character for character in every if unicodedata.category(character) in ("Cf", "Cc", "Zs", "Zl", "Zp")]
    worst += [*"\u094d\u0915\u0645\u1820\U0001f3f4\U0001f468\u2764\ufe0f\u20e31#\u0301\u05b0\u200d\u200c", *"a \\"]
    pools = (every, worst, worst, every[:0x3000])
    return ["".join(numbers.choices(numbers.choice(pools), k=numbers.randrange(1, 24))) for _ in range(2_000)]


def _wrong(shown: str) -> list[str]:
    """Return the characters that must not be shown, by their names where they are allowed in other places."""
    wrong = []
    for before, character, behind in zip(" " + shown, shown, shown[1:] + " ", strict=False):
        category = unicodedata.category(character)
        if character in _CONDITIONAL:
            if before.isascii() or (character != "\u200d" and behind in _CONDITIONAL):
                wrong.append(unicodedata.name(character))
        elif category in _FORBIDDEN or character in _ALWAYS_HIDDEN or (category == "Zs" and character not in " \u3000"):
            wrong.append(ascii(character))
    return wrong


class RandomTest(unittest.TestCase):
    """Thousands of texts."""

    def test_nothing_forbidden(self) -> None:
        """What comes out holds nothing that is forbidden, is one line, and is shown again as it is."""
        for text in _texts():
            for shown in (visible(text), logged(text)):
                self.assertEqual((_wrong(shown), len(shown.splitlines())), ([], 1), ascii(text))
                self.assertEqual((visible(shown), logged(shown)), (shown, shown), ascii(text))

    def test_replaced(self) -> None:
        """What is replaced is what would be escaped, one character for one."""
        for text in _texts()[:300]:
            self.assertEqual(len(replaced(text, "_")), len(text))
            self.assertEqual("_" in replaced(text, "_"), "\\" in visible(text.replace("\\", "/")) or "_" in text)


class LoggedTest(unittest.TestCase):
    """What a log holds of a stranger's text."""

    def test_fields(self) -> None:
        """A word stays as it is; anything else stands in quotation marks that it cannot end."""
        for value, shown in (
            ("3f0c1b9e-8a44", "3f0c1b9e-8a44"),
            ("[::1]:80", "[::1]:80"),
            ("127.0.0.1:80, TLS", "127.0.0.1:80, TLS"),
            ("a: b", '"a: b"'),
            ("a (b)", '"a (b)"'),
            ('no" INFO host: "x', r'"no\" INFO host: \"x"'),
            ("\\", r'"\\"'),
            ("", '""'),
            (5, 5),
            (ValueError("not a port"), "not a port"),
        ):
            with self.subTest(value=value):
                self.assertEqual(logged_field(value), shown)

    def test_cut(self) -> None:
        """Of what a stranger can make a megabyte long, a line of the log holds the beginning."""
        self.assertEqual(logged_field("x" * 1_000_000), '"' + "x" * 300 + '"… (+999,700)')
        self.assertLess(len(str(logged_field(ValueError("x" * 1_000_000)))), 700)
        self.assertLess(len(logged("\U000e0041" * 1_000_000)), 4_100)
