"""The terminal client's commands and flags; what it prints and how it ends is tested from outside, in e2e/."""

from __future__ import annotations

import contextlib
import io
import unittest

from addresses import Address
from client import _arguments, _split


class ArgumentsTest(unittest.TestCase):
    """Commands and flags."""

    def test_split(self) -> None:
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
                self.assertEqual(_split(rest), expected)

    def test_server(self) -> None:
        """Servers are host:port, or a port of this machine; nonsense ends with code 2."""
        one, other = Address("127.0.0.1", 9001), Address("::1", 1)
        self.assertEqual(_arguments(["--server", "9001"]).server, [one])
        self.assertEqual(_arguments(["--server", "9001", "--server", "[::1]:1"]).server, [one, other])
        self.assertIsNone(_arguments([]).server)
        with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit) as caught:
            _arguments(["--server", "0"])
        self.assertEqual(caught.exception.code, 2)
