"""What each way to change a frame does, and that a seed decides all of it."""

from __future__ import annotations

import json
import random
import unittest
from collections.abc import Callable

import socp
from framing import FROM_USER, FrameBuffer, decode_body, decode_frame, encode_frame
from socp import LinkError, ProtocolError
from tests.fuzz.grammar import CLIENT, ROLES, SERVER, USER, Grammar, Wire
from tests.fuzz.inputs import Inputs, passes_framing
from tests.fuzz.mutators import KINDS, ON_ENVELOPE, ON_FRAME, ON_TEXT, Choices, framed, write
from tests.vectors import key

_TIMES = 12  # so often each is tried: most choose where, and some what

# What is to be found in the text of a frame at least once, where that tells what was done.
_FOUND: dict[str, str] = {
    "0": r"0",
    "-1": r"-1",
    "2^53 - 1": str(2**53 - 1),
    "2^53": str(2**53),
    "2^53 + 1": str(2**53 + 1),
    "16 digits": "9999999999999999",
    "17 digits": "10000000000000000",
    "a float": ".",
    "not a number": "N",
    "an empty text": '""',
    "a text of 64": '"' + "x" * 64 + '"',
    "a text of 65": '"' + "x" * 65 + '"',
    "a long text": "x" * 255,
    "control characters": r"\u001b[2J",
    "NUL": r"\u0000",
    "bidi": "\u202e",
    "half a surrogate pair": r"\ud800",
    "an id in capitals": "-4",
    "an id in braces": '"{',
    "an id in other digits": "\uff10",
    "another id": key("mallory").id,
    "padded base64": '="',
    "the other base64 alphabet": '"+/',
    "another key": key("mallory").public.text[50:100],
    "a list of servers visited": '"visited":',
}


class MutatorsTest(unittest.TestCase):
    """Each kind, some times."""

    def setUp(self) -> None:
        """Make the frames."""
        rng = random.Random(1)
        self.grammar = Grammar(rng)
        self.choices = Choices(rng, self.grammar.make(socp.USER_ADVERTISE, SERVER))

    def wire(self) -> Wire:
        """Return a frame in which there is something of everything."""
        return self.grammar.make(socp.USER_SYNC, SERVER) | {"visited": [key("server2").id]}

    def changed(self, change: Callable[[Choices, Wire], None]) -> list[str]:
        """Return the text of a frame that was changed in one way, some times."""
        texts = []
        for _ in range(_TIMES):
            wire = self.grammar.make(self.choices.rng.choice((socp.MSG_DIRECT, socp.USER_ADVERTISE)), SERVER)
            before = write(wire)
            change(self.choices, wire)
            after = write(wire)
            texts += [after.decode("utf-8")] if after != before else []
        return texts

    def test_envelopes(self) -> None:
        """Each changes an envelope, and does what its name says."""
        for kind, change in ON_ENVELOPE.items():
            with self.subTest(kind):
                texts = self.changed(change)
                self.assertGreater(len(texts), 0)
                self.assertTrue(any(_FOUND.get(kind, "{") in text for text in texts), texts[0][:300])

    def test_depth(self) -> None:
        """Nested 16 deep is read, and 17 deep is not."""
        for kind, readable in (("nested 16 deep", True), ("nested 17 deep", False)):
            for text in self.changed(ON_ENVELOPE[kind]):
                self.assertEqual(passes_framing(framed(text.encode())), readable)

    def test_texts(self) -> None:
        """Each changes the JSON of a frame; all but white space and escapes make it one that is refused."""
        body = write(self.grammar.make(socp.MSG_DIRECT, USER))
        for kind, change in ON_TEXT.items():
            with self.subTest(kind):
                changed = [change(self.choices, body) for _ in range(_TIMES)]
                self.assertNotIn(body, changed)
                refused = sum(not passes_framing(framed(text)) for text in changed)
                self.assertTrue(refused or kind == "escaped names")
        self.assertEqual(decode_body(ON_TEXT["escaped names"](self.choices, body)), json.loads(body))

    def test_frames(self) -> None:
        """Each changes the bytes of a frame."""
        frame = encode_frame(self.grammar.make(socp.HEARTBEAT, USER))
        for kind, change in ON_FRAME.items():
            with self.subTest(kind):
                self.assertTrue(any(change(self.choices, frame) != frame for _ in range(_TIMES)))
        self.assertEqual(ON_FRAME["frames together"](self.choices, frame)[: 2 * len(frame)], 2 * frame)

    def test_enough_kinds(self) -> None:
        """There are at least 40 ways."""
        self.assertGreaterEqual(len(KINDS), 40)


class GrammarTest(unittest.TestCase):
    """The valid frames."""

    def test_valid(self) -> None:
        """Every peer has a valid frame of every type."""
        grammar = Grammar(random.Random(2))
        for role in ROLES:
            for frame_type in socp.SHAPES:
                with self.subTest(role=role.name, type=frame_type):
                    frame = encode_frame(grammar.make(frame_type, role))
                    buffer = FrameBuffer(FROM_USER)
                    buffer.feed(frame)
                    self.assertEqual(buffer.next_frame(), frame)
                    socp.check_payload(socp.read_envelope(decode_frame(frame)))


class InputsTest(unittest.TestCase):
    """What comes of a seed."""

    def test_seed(self) -> None:
        """The same seed gives the same inputs, and another gives others."""
        sources = [Inputs(seed, ROLES) for seed in (1, 1, 2)]
        one, same, other = ([source.next() for _ in range(60)] for source in sources)
        self.assertEqual(one, same)
        self.assertNotEqual(one, other)
        self.assertEqual(sources[0].count, 60)

    def test_most_are_frames(self) -> None:
        """More than half pass framing, and are counted; some are refused for their shape, and some are not."""
        inputs = Inputs(3, (USER, CLIENT))
        refused = passed = 0
        for _ in range(200):
            made = inputs.next()
            if not passes_framing(made.data):
                continue
            passed += 1
            try:
                buffer = FrameBuffer(FROM_USER)
                buffer.feed(made.data)
                socp.read_envelope(decode_frame(buffer.next_frame() or b""))
            except (LinkError, ProtocolError):
                refused += 1
        self.assertEqual(inputs.whole, passed)
        self.assertGreater(passed, 100)
        self.assertTrue(0 < refused < passed)
        self.assertIn("input 199", str(made))
