"""The server's arguments; what it does is tested from outside, in e2e/."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from addresses import Address
from programs import StartError
from server import _arguments, _reachable, read_pins
from tests.badkeys import bad_keys
from tests.sockets import EVERYWHERE
from tests.vectors import key


class PinsTest(unittest.TestCase):
    """Which introducers a server believes."""

    def setUp(self) -> None:
        """Work in an empty directory."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        before = Path.cwd()
        os.chdir(self.directory)
        self.addCleanup(os.chdir, before)
        environment = mock.patch.dict(os.environ)
        environment.start()
        self.addCleanup(environment.stop)
        os.environ.pop("INTRODUCER_PUB_B64U", None)
        self.first, self.second = key("introducer").public, key("introducer2").public

    def test_order(self) -> None:
        """Arguments come before the variable, which comes before the file of the default name."""
        (self.directory / "introducer_pub.b64u").write_text(self.first.text + "\n", "ascii")
        self.assertEqual(set(read_pins(None)), {self.first.id})
        os.environ["INTRODUCER_PUB_B64U"] = f"{self.second.text} {self.first.text}"
        self.assertEqual(set(read_pins(None)), {self.first.id, self.second.id})
        (self.directory / "other").write_text(self.second.text, "ascii")
        self.assertEqual(set(read_pins(["other"])), {self.second.id})
        self.assertEqual(set(read_pins([self.first.text, "other"])), {self.first.id, self.second.id})

    def test_refused(self) -> None:
        """Without a pin, or with one that is none, a server does not start."""
        for given in (None, [], ["missing"], [str(self.directory)], ["A" * 700]):
            with self.subTest(given=given), self.assertRaises(StartError):
                read_pins(given)
        os.environ["INTRODUCER_PUB_B64U"] = "  "
        self.assertRaises(StartError, read_pins, None)

    def test_bad_keys(self) -> None:
        """A key that is none is no pin, however it is given; white space around one in a file does not count."""
        for why, text in bad_keys().items():
            if len(text) > 255 and text.split() == [text]:
                with self.subTest(why):
                    self.assertRaisesRegex(StartError, "not ", read_pins, [text])
                    (self.directory / "pin").write_text(text)
                    self.assertRaisesRegex(StartError, "pin: not ", read_pins, ["pin"])
                    os.environ["INTRODUCER_PUB_B64U"] = f"{self.first.text} {text}"
                    self.assertRaisesRegex(StartError, "INTRODUCER_PUB_B64U: not ", read_pins, None)


class ArgumentsTest(unittest.TestCase):
    """The command line."""

    def test_defaults(self) -> None:
        """A port is all that must be given."""
        arguments = _arguments(["--port", "0"])
        self.assertEqual((arguments.host, arguments.introducer, arguments.log_level), ("127.0.0.1", None, "INFO"))
        arguments = _arguments(["--port=1", "--introducer=a:1", "--introducer=[::1]:2", "--log-level=debug"])
        self.assertEqual(arguments.introducer, [Address("a", 1), Address("::1", 2)])
        self.assertEqual(arguments.log_level, "DEBUG")

    def test_refused(self) -> None:
        """What makes no sense ends with a usage line and code 2."""
        for argv in ([], ["--port", "x"], ["--port", "1", "--introducer", "x"], ["--port", "1", "--log-level", "x"]):
            with contextlib.redirect_stderr(io.StringIO()) as stream, self.assertRaises(SystemExit) as caught:
                _arguments(argv)
            self.assertEqual(caught.exception.code, 2)
            self.assertTrue(stream.getvalue().startswith("usage: "))

    def test_reachable(self) -> None:
        """Others are told what was advertised, or where we listen, and never a wildcard address."""
        plain = _arguments(["--port", "1"])
        told = _arguments(["--port", "1", "--advertise", "example.org:9"])
        wrong = _arguments(["--port", "1", "--advertise", f"{EVERYWHERE}:9"])
        self.assertEqual(_reachable(plain, Address("127.0.0.1", 5)), Address("127.0.0.1", 5))
        self.assertEqual(_reachable(told, Address(EVERYWHERE, 5)), Address("example.org", 9))
        for arguments in (plain, wrong):
            with self.assertRaisesRegex(StartError, "--advertise"):
                _reachable(arguments, Address("::", 5))
