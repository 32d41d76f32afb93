"""What is asked about another server than before."""

from __future__ import annotations

import unittest

from errors import ServerChanged
from moments import day_and_time
from tests.vectors import key
from trust import is_trusted

OLD, NEW = key("server").id, key("server2").id
SEEN = 1_795_568_700_000


class TrustTest(unittest.TestCase):
    """A person who answers in some way."""

    def setUp(self) -> None:
        """Begin with nothing shown."""
        self.said: list[str] = []
        self.questions: list[str] = []

    def answers(self, *answers: str | None, seen: int = SEEN) -> bool:
        """Return what comes of such answers."""
        left = iter(answers)

        def ask(question: str) -> str | None:
            self.questions.append(question)
            return next(left)

        trusted = is_trusted(ServerChanged("h:1", OLD, NEW, seen), self.said.append, ask)
        self.assertEqual(list(left), [])
        return trusted

    def test_whole_id(self) -> None:
        """The new id in full is trusted, also with spaces around it or in capitals."""
        for answer in (NEW, f"  {NEW}\n", NEW.upper()):
            self.assertTrue(self.answers(answer))

    def test_anything_else(self) -> None:
        """Nothing else is: no yes, no part of the id, not the old one, no end of the input."""
        for answer in ("y", "yes", "Yes", NEW[:-1], NEW[:8], f"{NEW} {NEW}", OLD, f"--trust-server {NEW}"):
            with self.subTest(answer):
                self.assertFalse(self.answers(answer, ""))
                self.assertIn("not the new id", self.said[-1])
        self.assertFalse(self.answers(None))
        self.assertFalse(self.answers("y", "y", "y"))

    def test_fits(self) -> None:
        """Nothing of it is broken in a word by a terminal of 80 columns; the question has room for an answer's end."""
        self.assertFalse(self.answers("y", ""))
        self.assertEqual([line for line in self.said + self.questions if len(line) > 80], [])

    def test_second_try(self) -> None:
        """Who has mistyped it may try again."""
        self.assertTrue(self.answers("yes", NEW[1:], NEW))

    def test_shown(self) -> None:
        """Both ids are shown before the question, and since when the old one was known, if that is."""
        self.answers("")
        shown = "\n".join(self.said)
        for text in ("h:1", f"before: {OLD}\n", f" first seen {day_and_time(SEEN)}\n", f"now:    {NEW}"):
            self.assertIn(text, shown)
        self.answers("", seen=0)
        self.assertIn(" first seen nobody knows when\n", "\n".join(self.said))

    def test_error(self) -> None:
        """The error says all that too, for where nobody can be asked."""
        text = f"the server at h:1 was {OLD} before, and is {NEW} now"
        self.assertEqual(str(ServerChanged("h:1", OLD, NEW)), text)
        since = f"{text} (the one before was first seen {day_and_time(SEEN)})"
        self.assertEqual(str(ServerChanged("h:1", OLD, NEW, SEEN)), since)
