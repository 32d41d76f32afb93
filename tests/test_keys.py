"""What was typed, out of the bytes that terminals send."""

from __future__ import annotations

import random
import unittest

from keys import PASTE_MOST, Decoder, Key, Paste, Text, Typed

KEYS = {
    "up": (b"\x1b[A", b"\x1bOA"),
    "down": (b"\x1b[B", b"\x1bOB", b"\x1b[1;2B"),
    "right": (b"\x1b[C",),
    "left": (b"\x1b[D", b"\x1bOD"),
    "home": (b"\x1b[H", b"\x1bOH", b"\x1b[1~", b"\x1b[7~"),
    "end": (b"\x1b[F", b"\x1bOF", b"\x1b[4~", b"\x1b[8~"),
    "delete": (b"\x1b[3~",),
    "ctrl-left": (b"\x1b[1;5D", b"\x1bOd"),
    "ctrl-right": (b"\x1b[1;5C", b"\x1bOc"),
    "alt-left": (b"\x1b[1;3D",),
    "ctrl-alt-right": (b"\x1b[1;7C",),
    "ctrl-delete": (b"\x1b[3;5~",),
    "alt-b": (b"\x1bb", b"\x1bB"),
    "alt-d": (b"\x1bd",),
    "alt-backspace": (b"\x1b\x7f", b"\x1b\x08"),
    "alt-enter": (b"\x1b\r",),
    "enter": (b"\r", b"\n", b"\x1bOM"),
    "backspace": (b"\x7f", b"\x08"),
    "tab": (b"\t",),
    "ctrl-a": (b"\x01",),
    "ctrl-z": (b"\x1a",),
    "ctrl-\\": (b"\x1c",),
}
# Function keys, a mouse in three forms, answers of a terminal, focus, keys of newer protocols, and broken ones.
UNKNOWN = (
    *(
        b"\x1b[15~",
        b"\x1bOP",
        b"\x1b[[A",
        b"\x1b[200",
        b"\x1b[M !!",
        b"\x1b[<0;10;20M",
        b"\x1b[32;1;1M",
        b"\x1b[24;80R",
    ),
    *(
        b"\x1b[?62;4c",
        b"\x1b]10;rgb:ff/ff/ff\x07",
        b"\x1b]52;c;AAAA\x1b\\",
        b"\x1bP1$r0m\x1b\\",
        b"\x1b[I",
        b"\x1b[97;5u",
    ),
    *(b"\x1b[1;5;9!p", b"\x00", b"\x1b[5~", b"\x1bOx", b"\x1b[1;99999999A"),
)


class DecoderTest(unittest.TestCase):
    """Bytes to keys."""

    def test_keys(self) -> None:
        """Keys are known by the sequences of several terminals, also when these come byte by byte."""
        for name, sequences in KEYS.items():
            for sequence in sequences:
                with self.subTest(sequence):
                    self.assertEqual(Decoder().feed(sequence + b"x"), [Key(name), Text("x")])
                    decoder = Decoder()
                    found = [typed for byte in sequence for typed in decoder.feed(bytes([byte]))]
                    self.assertEqual(found, [Key(name)])
                    self.assertFalse(decoder.is_waiting)

    def test_text(self) -> None:
        """Text comes out as it was typed, in whatever pieces its bytes come; what is not UTF-8 is passed over."""
        decoder = Decoder()
        self.assertEqual(decoder.feed("héllo 日本 🚀".encode()), [Text("héllo 日本 🚀")])
        pieces = [decoder.feed(bytes([byte])) for byte in "é日🚀".encode()]
        self.assertEqual([typed for piece in pieces for typed in piece], [Text("é"), Text("日"), Text("🚀")])
        self.assertEqual(decoder.feed(b"a\xffb\xc3\x28\x9b2J\xed\xa0\x80c\xc2\x9bd"), [Text("ab(2Jc"), Text("d")])

    def test_unknown(self) -> None:
        """Of a sequence that is not known, nothing is taken for text."""
        for sequence in UNKNOWN:
            with self.subTest(sequence):
                decoder = Decoder()
                found = decoder.feed(sequence) + decoder.give_up() + decoder.feed(b"x")
                self.assertEqual(found[-1], Text("x"))
                self.assertFalse([typed for typed in found[:-1] if not isinstance(typed, Key)])

    def test_broken_off(self) -> None:
        """What does not belong to a sequence ends it, and is not lost."""
        self.assertEqual(Decoder().feed(b"\x1b[1;\rx"), [Key("enter"), Text("x")])
        self.assertEqual(Decoder().feed(b"\x1b[\x1b[A"), [Key("up")])
        self.assertEqual(Decoder().feed(b"\x1b\x1b[A"), [Key("up")])

    def test_escape_alone(self) -> None:
        """An escape that nothing follows is a key; of a sequence that is never finished nothing remains."""
        decoder = Decoder()
        self.assertEqual(decoder.feed(b"a\x1b"), [Text("a")])
        self.assertTrue(decoder.is_waiting)
        self.assertEqual(decoder.give_up(), [Key("escape")])
        self.assertEqual(decoder.feed(b"b\x1b[1;"), [Text("b")])
        self.assertEqual(decoder.give_up(), [])
        self.assertEqual(decoder.feed(b"5D"), [Text("5D")])

    def test_paste(self) -> None:
        """What is pasted is one text, whatever keys it looks like and however it is cut up."""
        data = b"\x1b[200~one\r\ntwo\x1b[A\x03\rthr\xc3\xa9e\t\x1b[201\x1b[201~\rx"
        expected = [Paste("one\ntwo[A\nthrée\t[201"), Key("enter"), Text("x")]
        self.assertEqual(Decoder().feed(data), expected)
        decoder = Decoder()
        self.assertEqual([typed for byte in data for typed in decoder.feed(bytes([byte]))], expected)
        self.assertEqual(decoder.feed(b"\x1b[200~un"), [])
        self.assertFalse(decoder.is_waiting)

    def test_huge_paste(self) -> None:
        """Of a paste without end, no more than a beginning is kept; what is typed behind it is not lost."""
        decoder = Decoder()
        decoder.feed(b"\x1b[200~")
        for _ in range(20):
            self.assertEqual(decoder.feed(b"x" * 10_000), [])
        self.assertEqual(decoder.feed(b"\x1b[201~y"), [Paste("x" * PASTE_MOST, is_cut=True), Text("y")])

    def test_anything(self) -> None:
        """Random bytes lead to no error, and no control character comes out as text."""
        chance = random.Random(5)
        alphabet = [
            b"\x1b",
            b"[",
            b"O",
            b"M",
            b"2",
            b";",
            b"~",
            b"A",
            b"\x1b[200~",
            b"\x1b[201~",
            b"\xff",
            b"\x9b",
            b"]",
            b"\x07",
        ]
        decoder = Decoder()
        found: list[Typed] = []
        for _ in range(3_000):
            found += decoder.feed(b"".join(chance.choices(alphabet, k=chance.randrange(5))))
            if chance.random() < 0.1:
                found += decoder.give_up()
        texts = "".join(typed.text for typed in found if isinstance(typed, Text | Paste))
        self.assertTrue(texts.isprintable())
