"""The line that is being typed."""

from __future__ import annotations

import random
import unittest
from itertools import accumulate

from cells import clusters
from editor import LINE_MOST, Completion, Editor, Listed, Submitted, Wish
from recall import Recall


def editor(text: str = "", *before: str) -> Editor:
    """Return an editor with what was typed; "|" stands for the cursor."""
    recall = Recall()
    for line in before:
        recall.add(line)
    made = Editor(recall)
    made.insert(text.replace("|", ""))
    if "|" in text:
        made.cursor = text.index("|")
    return made


def state(made: Editor) -> str:
    """Return the line with its cursor."""
    return f"{made.text[: made.cursor]}|{made.text[made.cursor :]}"


class KeysTest(unittest.TestCase):
    """What keys do to a line."""

    def test_keys(self) -> None:
        """Each key does what it does in every shell, and does no harm where it can do nothing."""
        for before, keys, after in (
            ("one two|", "ctrl-a", "|one two"),
            ("|one two", "ctrl-e", "one two|"),
            ("one| two", "home", "|one two"),
            ("one| two", "end", "one two|"),
            ("a日e\u0301b|", "left left", "a日|e\u0301b"),
            ("a日e\u0301b|", "ctrl-b ctrl-b ctrl-b", "a|日e\u0301b"),
            ("|🇫🇷👩\u200d🚀x", "right", "🇫🇷|👩\u200d🚀x"),
            ("|🇫🇷👩\u200d🚀x", "ctrl-f ctrl-f", "🇫🇷👩\u200d🚀|x"),
            ("|ab", "left", "|ab"),
            ("ab|", "right", "ab|"),
            ("a👩\u200d🚀|b", "backspace", "a|b"),
            ("|ab", "backspace", "|ab"),
            ("a|e\u0301b", "delete", "a|b"),
            ("a|b", "ctrl-d", "a|"),
            ("ab|", "delete", "ab|"),
            ("one two-three  |", "alt-b", "one two-|three  "),
            ("one two|", "ctrl-left alt-left", "|one two"),
            ("|one two", "alt-f", "one| two"),
            ("one| two!", "ctrl-right", "one two|!"),
            ("cafe\u0301| x", "alt-b", "|cafe\u0301 x"),
            ("|a b", "alt-d", "| b"),
            ("a b|", "alt-backspace", "a |"),
            ("a b-c d|", "ctrl-w ctrl-w", "a |"),
            ("a b  |", "ctrl-w", "a |"),
            ("one| two", "ctrl-k", "one|"),
            ("one| two", "ctrl-u", "| two"),
            ("one| two", "ctrl-u ctrl-e ctrl-y", " twoone|"),
            ("a b c|", "ctrl-w ctrl-w ctrl-y", "a b c|"),
            ("a |b c", "alt-d alt-d ctrl-a ctrl-y", "b c|a "),
            ("ab|", "ctrl-k ctrl-y", "ab|"),
            ("a|b", "ctrl-k left ctrl-k ctrl-y", "a|"),
            ("ab|", "ctrl-t", "ba|"),
            ("a|bc", "ctrl-t", "ba|c"),
            ("e\u0301日|", "ctrl-t", "日e\u0301|"),
            ("|ab", "ctrl-t", "|ab"),
            ("a|", "ctrl-t", "a|"),
            ("|", "backspace ctrl-w ctrl-k alt-f alt-b ctrl-t f1 escape ctrl-g", "|"),
            ("a|b", "alt-enter", "a\n|b"),
            ("a|b", "ctrl-c", "|"),
        ):
            with self.subTest(before=before, keys=keys):
                made = editor(before)
                for key in keys.split():
                    made.press(key)
                self.assertEqual(state(made), after)

    def test_marks(self) -> None:
        """A mark goes with what it is typed behind, and the cursor is never between the two."""
        made = editor("|x")
        made.insert("e")
        made.insert("\u0301")
        self.assertEqual(state(made), "e\u0301|x")
        made = editor("|\u0301x")
        made.insert("e")
        self.assertEqual(state(made), "e\u0301|x")

    def test_bounded(self) -> None:
        """A line does not grow without end: what does not fit is not taken at all."""
        made = editor("x" * LINE_MOST)
        self.assertIs(made.insert("y"), Wish.RING)
        self.assertEqual(len(made.text), LINE_MOST)
        made.press("ctrl-u")
        made.press("ctrl-y")
        self.assertIs(made.press("ctrl-y"), Wish.RING)

    def test_anything(self) -> None:
        """Whatever keys come in whatever order, the cursor is between two clusters, and the line is bounded."""
        chance = random.Random(7)
        made = editor("", "one two", "日本 e\u0301 🇫🇷", "x")
        keys = sorted(made._keys)
        for _ in range(3_000):
            if chance.random() < 0.4:
                made.insert("".join(chance.choices(("a", " ", "日", "\u0301", "\u200d", "👩", "🚀", "🇫", "\n"), k=3)))
            else:
                made.press(chance.choice(keys))
            places = {0, *accumulate(map(len, clusters(made.text)))}
            self.assertIn(made.cursor, places)

    def test_ends(self) -> None:
        """Enter hands the line over; Ctrl-D and Ctrl-C leave where it is empty, the latter when pressed twice."""
        made = editor("one\ntwo")
        self.assertEqual(made.press("enter"), Submitted("one\ntwo"))
        self.assertEqual(state(made), "|")
        self.assertEqual(made.press("enter"), Submitted(""))
        self.assertIs(made.press("ctrl-c"), Wish.WARN)
        made.press("left")
        self.assertIs(made.press("ctrl-c"), Wish.WARN)
        made.insert("x")
        self.assertIsNone(made.press("ctrl-c"))
        self.assertIs(made.press("ctrl-c"), Wish.WARN)
        self.assertIs(made.press("ctrl-c"), Wish.INTERRUPT)
        self.assertIs(made.press("ctrl-d"), Wish.LEAVE)
        self.assertIs(made.press("ctrl-l"), Wish.REPAINT)


class HistoryTest(unittest.TestCase):
    """Lines typed before."""

    def test_up_and_down(self) -> None:
        """Up brings back lines typed before, Down the one that was begun."""
        made = editor("half", "one", "two")
        for key, expected in (
            ("up", "two"), ("ctrl-p", "one"), ("up", "one"), ("down", "two"), ("ctrl-n", "half"), ("down", "half"),
        ):  # fmt: skip
            outcome = made.press(key)
            self.assertEqual(state(made), f"{expected}|")
        self.assertIs(outcome, Wish.RING)
        made.press("up")
        made.insert("!")
        self.assertEqual(made.press("enter"), Submitted("two!"))
        made.press("up")
        self.assertEqual(state(made), "two|")

    def test_search(self) -> None:
        """Ctrl-R finds a line typed before by any part of it, and the next when it is pressed again."""
        made = editor("half|", "/tell ann one", "/list", "/tell ann two")
        made.press("ctrl-r")
        self.assertEqual((made.searching, state(made)), ("", "half|"))
        made.insert("ANN")
        self.assertEqual((made.searching, state(made)), ("ANN", "/tell ann two|"))
        made.press("ctrl-r")
        self.assertEqual((made.is_vain, state(made)), (False, "/tell ann one|"))
        made.press("ctrl-r")
        self.assertEqual((made.is_vain, state(made)), (True, "/tell ann one|"))
        made.insert("?")
        self.assertTrue(made.is_vain)
        made.press("backspace")
        self.assertEqual((made.is_vain, made.searching, state(made)), (False, "ANN", "/tell ann two|"))
        made.press("ctrl-g")
        self.assertEqual((made.searching, state(made)), (None, "half|"))

    def test_end_of_a_search(self) -> None:
        """Escape keeps what was found, and every other key does what it always does to it."""
        for key, text, outcome in (("escape", "/list", None), ("ctrl-a", "/list", None), ("ctrl-c", "half", None)):
            made = editor("half|", "/list")
            made.press("ctrl-r")
            made.insert("li")
            self.assertEqual(made.press(key), outcome)
            self.assertEqual((made.searching, made.text), (None, text))
        made = editor("", "/list")
        made.press("ctrl-r")
        made.insert("li")
        self.assertEqual(made.press("enter"), Submitted("/list"))
        self.assertIsNone(made.searching)


class CompletionTest(unittest.TestCase):
    """Tab."""

    words = ("/tell ", "/telling ", "/list ", "ben ", "Benno ", "日本 ", "日光 ")

    def editor(self, text: str) -> Editor:
        """Return an editor that completes the last word."""

        def complete(before: str) -> Completion:
            start = before.rfind(" ") + 1
            begun = before[start:].casefold()
            return Completion(start, tuple(word for word in self.words if word.casefold().startswith(begun)))

        made = Editor(Recall(), complete)
        made.insert(text.replace("|", ""))
        made.cursor = text.index("|")
        return made

    def test_completed(self) -> None:
        """The only candidate takes the place of what was begun, of several what they have in common."""
        for before, after in (
            ("/li|", "/list |"),
            ("/t|", "/tell|"),
            ("x /li| y", "x /list | y"),
            ("BENN|", "Benno |"),
            ("日|", "日|"),
            ("日本|", "日本 |"),
            ("B|", "B|"),
            ("nobody|", "nobody|"),
        ):
            with self.subTest(before):
                made = self.editor(before)
                made.press("tab")
                self.assertEqual(state(made), after)

    def test_listed(self) -> None:
        """Pressed again where there is nothing more in common, it lists the candidates."""
        made = self.editor("/t|")
        self.assertIsNone(made.press("tab"))
        self.assertIs(made.press("tab"), Wish.RING)
        self.assertEqual(made.press("tab"), Listed(("/tell ", "/telling ")))
        self.assertEqual(made.press("tab"), Listed(("/tell ", "/telling ")))
        made.insert("i")
        made.press("backspace")
        self.assertIs(made.press("tab"), Wish.RING)

    def test_without(self) -> None:
        """Without anybody who completes, it rings."""
        self.assertIs(editor("x").press("tab"), Wish.RING)
