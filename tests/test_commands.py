"""Commands: which one is meant, and how their arguments are cut."""

from __future__ import annotations

import unittest

from commands import Command, Commands, split_user
from session import Session


def _nothing(_session: Session, _rest: str) -> None:
    return


class CommandsTest(unittest.TestCase):
    """The table, and arguments."""

    def testsplit_user(self) -> None:
        """A user is one word, or stands in quotes; the rest is the text as it was typed."""
        for rest, expected in (
            ("bob hello  there", ("bob", "hello  there")),
            ('"bob b" hello', ("bob b", "hello")),
            ('"bob', ('"bob', "")),
            ('"" x', ("", "x")),
            ("bob", ("bob", "")),
            ("", ("", "")),
        ):
            with self.subTest(rest):
                self.assertEqual(split_user(rest), expected)

    def test_get(self) -> None:
        """A command is found by its name with or without the slash; one that is nearly right has the near one named."""
        commands = Commands(Command(name, name, "", "", _nothing) for name in ("/tell", "/all", "/list"))
        for word, near in (("/tel", "/tell"), ("/TELL", "/tell"), ("/lst", "/list"), ("/zzz", "")):
            with self.subTest(word):
                self.assertIsNone(commands.get(word))
                self.assertEqual(commands.near(word), near)
        for word in ("/tell", "tell"):
            found = commands.get(word)
            assert found is not None
            self.assertEqual(found.name, "/tell")
