"""What the Tab key puts in: names of commands, of users, and of files."""

from __future__ import annotations

import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from commands import Command, Commands, Kind
from completing import Completer
from session import Session

ANN, BEN, DEE = (
    "a11c5d7e-0000-4000-8000-000000000001",
    "b22c5d7e-0000-4000-8000-000000000002",
    "d33c5d7e-0000-4000-8000-000000000003",
)


def _nothing(_session: Session, _rest: str) -> None:
    return


def command(name: str, *completes: Kind) -> Command:
    """Return a command that takes these."""
    return Command(name, name, "", "", _nothing, completes)


class CompleterTest(unittest.TestCase):
    """Some commands, and some people."""

    def setUp(self) -> None:
        """Make them."""
        commands = Commands(
            [
                command("/tell", Kind.USER, Kind.TEXT),
                command("/to", Kind.USER),
                command("/file", Kind.USER, Kind.PATH),
                command("/help", Kind.COMMAND),
                command("/info"),
            ]
        )
        self.people = [(ANN, "Ann Lee"), (BEN, "ben"), (DEE, "")]
        self.completer = Completer(commands, lambda: self.people)

    def complete(self, before: str) -> list[str]:
        """Return the lines up to the cursor that could come of what stands before it."""
        completion = self.completer(before)
        return [before[: completion.start] + candidate for candidate in completion.candidates]

    def test_commands(self) -> None:
        """The beginning of a command becomes the command; that of a plain line becomes nothing."""
        self.assertEqual(self.complete("/t"), ["/tell ", "/to "])
        self.assertEqual(self.complete("/in"), ["/info "])
        self.assertEqual(self.complete("/x"), [])
        self.assertEqual(self.complete("t"), [])
        self.assertEqual(self.complete(""), [])
        self.assertEqual(self.complete("/help fi"), ["/help file"])
        self.assertEqual(self.complete("/info x"), [])

    def test_users(self) -> None:
        """A user is completed by name, in quotes where it has spaces, whatever the case; by id where no name fits."""
        self.assertEqual(self.complete("/tell b"), ["/tell ben "])
        self.assertEqual(self.complete("/tell B"), ["/tell ben "])
        self.assertEqual(self.complete("/tell an"), ['/tell "Ann Lee" '])
        self.assertEqual(self.complete('/tell "an'), ['/tell "Ann Lee" '])
        self.assertEqual(self.complete("/tell b22"), [f"/tell {BEN} "])
        self.assertEqual(self.complete("/tell d33"), [f"/tell {DEE} "])
        self.assertEqual(self.complete("/tell "), ['/tell "Ann Lee" ', "/tell ben "])
        self.assertEqual(self.complete("/tell ben h"), [])

    def test_names_like_ids(self) -> None:
        """A name that could be the beginning of an id is not put in, as it would be taken for one."""
        self.people = [(ANN, "b22c")]
        self.assertEqual(self.complete("/tell b2"), [])
        self.assertEqual(self.complete("/tell a1"), [f"/tell {ANN} "])

    def test_names_are_made_plain(self) -> None:
        """What others call themselves gets into the line only as it would be shown."""
        self.people = [(ANN, "ann\x1b[2J\n/all secret")]
        self.assertEqual(self.complete("/tell ann"), ['/tell "ann.(2J./all secret" '])

    def test_paths(self) -> None:
        """A path is completed, directories with a slash; what is hidden only when it was begun so."""
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            (root / "menu one.pdf").touch()
            (root / "music").mkdir()
            (root / ".hidden").touch()
            (root / "bad\nname").touch()
            self.assertEqual(
                self.complete(f"/file ben {root}/m"), [f"/file ben {root}/menu one.pdf", f"/file ben {root}/music/"]
            )
            self.assertEqual(self.complete(f'/file "Ann Lee" {root}/menu o'), [f'/file "Ann Lee" {root}/menu one.pdf'])
            self.assertEqual(self.complete(f"/file ben {root}/."), [f"/file ben {root}/.hidden"])
            self.assertEqual(self.complete(f"/file ben {root}/b"), [])
            self.assertEqual(self.complete(f"/file ben {root}/nowhere/"), [])
            self.assertEqual(self.complete("/file ben ~nobody-is-called-so/"), [])
            with mock.patch.dict(os.environ, {"HOME": directory}):
                self.assertEqual(self.complete("/file ben ~/mu"), ["/file ben ~/music/"])
