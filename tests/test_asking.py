"""Where passwords come from: a variable that is forgotten then, or a person, and nobody where there is no terminal."""

from __future__ import annotations

import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from asking import ask, at_terminal, open_key
from crypto.keys import WrongPassword, write_key_file
from exits import Exit
from programs import StartError
from tests.vectors import key


class AskTest(unittest.TestCase):
    """One question."""

    def ask(self, *answers: object, new: bool = False, terminal: bool = True, **environ: str) -> str:
        """Return the password that comes of answers."""
        variables = {name: value for name, value in os.environ.items() if name != "TEST_PASSWORD"}
        with (
            mock.patch.dict(os.environ, {**variables, **environ}, clear=True),
            mock.patch("asking.at_terminal", return_value=terminal),
            mock.patch("getpass.getpass", side_effect=list(answers)) as asked,
        ):
            found = ask("Password", "TEST_PASSWORD", new=new)
            self.assertEqual(asked.call_count, len(answers))
            self.assertNotIn("TEST_PASSWORD", os.environ)
        return found

    def test_variable(self) -> None:
        """A variable answers for a person, also with nothing in it."""
        self.assertEqual(self.ask(TEST_PASSWORD="secret", new=True), "secret")
        self.assertEqual(self.ask(TEST_PASSWORD="", terminal=False), "")

    def test_person(self) -> None:
        """A person is asked once, or twice for a new password that is not empty."""
        self.assertEqual(self.ask("secret"), "secret")
        self.assertEqual(self.ask("secret", "secret", new=True), "secret")
        self.assertEqual(self.ask("", new=True), "")

    def test_refused(self) -> None:
        """Two that differ, the end of input and what is no text are errors; without a terminal, so is the question."""
        for answers, error in (
            (["one", "two"], "the two passwords differ"),
            ([EOFError], "no password was given"),
            ([UnicodeDecodeError("utf-8", b"", 0, 0, "")], "not text in UTF-8"),
        ):
            with self.assertRaisesRegex(StartError, error):
                self.ask(*answers, new=True)
        with self.assertRaises(StartError) as caught:
            self.ask(terminal=False)
        self.assertEqual((caught.exception.code, caught.exception.hint), (Exit.USAGE, "put it into $TEST_PASSWORD"))

    def test_no_input(self) -> None:
        """A program without a standard input has no terminal."""
        with mock.patch("sys.stdin", None):
            self.assertFalse(at_terminal())


class OpenKeyTest(unittest.TestCase):
    """Asking for the password of a key."""

    def test_asked_if_needed(self) -> None:
        """A person is asked only where the key has a password."""
        with tempfile.TemporaryDirectory(prefix="socp-test-") as directory:
            path = Path(directory) / "key.pem"
            with self.assertRaises(FileNotFoundError):
                open_key(path)
            write_key_file(path, key("alice"), "secret")
            with mock.patch("asking.at_terminal", return_value=True), mock.patch("getpass.getpass", lambda _: "secret"):
                pair, password = open_key(path)
            self.assertEqual((pair.id, password), (key("alice").id, "secret"))
            with mock.patch("asking.at_terminal", return_value=False), self.assertRaises(WrongPassword):
                open_key(path)
            path.unlink()
            write_key_file(path, key("alice"))
            with mock.patch("getpass.getpass", side_effect=AssertionError):
                self.assertEqual(open_key(path)[1], "")
