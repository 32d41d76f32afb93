"""The client's options: where they come from, and what is said of wrong ones."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import socp
from addresses import Address
from arguments import help_text
from options import Options, parse_options, read_options
from optiontable import FILE_MOST, NAME_MOST, OPTIONS, UsageError, value_of
from scripts import COMMANDS
from settings import Limits
from version import VERSION

ROOT = Path(__file__).resolve().parents[1]


class OptionsTestCase(unittest.TestCase):
    """Has a directory with a config.ini."""

    def setUp(self) -> None:
        """Make the directory."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.config = Path(directory.name) / "socp" / "config.ini"
        self.config.parent.mkdir()

    def read(self, *argv: str, config: str = "", **environ: str) -> Options:
        """Return the options of a command line, a config.ini and variables."""
        self.config.write_text(f"[client]\n{config}", "utf-8")
        return parse_options(argv, {"XDG_CONFIG_HOME": str(self.config.parents[1]), **environ})

    def refused(self, *argv: str, config: str = "", **environ: str) -> UsageError:
        """Return the error of a wrong option."""
        with self.assertRaises(UsageError) as caught:
            self.read(*argv, config=config, **environ)
        return caught.exception


class OptionsTest(OptionsTestCase):
    """From all four places."""

    def test_defaults(self) -> None:
        """Without anything given, each option has its default."""
        found = self.read()
        self.assertEqual((found.command, found.servers, found.profile, found.name), ("", None, None, None))
        self.assertEqual((found.downloads, found.max_file, found.tls), (Path("received_files"), 1 << 30, "auto"))
        self.assertEqual((found.accept_from, found.joins, found.colour), ("contacts", "contacts", "auto"))
        self.assertEqual((found.bell, found.history, found.recall_tells, found.json), (True, False, False, False))

    def test_precedence(self) -> None:
        """For every option, a flag comes before its variable, that before config.ini, and that before the default."""
        texts = {
            "server": ("h:1", "h:2", "h:3"), "profile": ("a", "b", "c"), "data-dir": ("/a", "/b", "/c"),
            "name": ("a", "b", "c"), "downloads": ("/a", "/b", "/c"), "max-file": ("1k", "2k", "3k"),
            "tls": ("always", "never", "auto"), "accept-from": ("all", "none", "contacts"),
            "joins": ("all", "none", "contacts"), "colour": ("never", "auto", "never"), "timeout": ("1", "2", "3"),
        }  # fmt: skip
        for option in OPTIONS:
            if option.flag_only:
                continue
            first, second, third = texts.get(option.name, ("on", "off", "on"))
            flags = [flag for flag, text in option.switches.items() if text == first] or [f"--{option.name}", first]
            flag = flags[:1] if option.switches else flags
            with self.subTest(option.name):
                for argv, environ, config, expected in (
                    (flag, second, third, first),
                    ([], second, third, second),
                    ([], "", third, third),
                ):
                    found = self.read(*argv, config=f"{option.name} = {config}", **{option.variable: environ})
                    self.assertEqual(getattr(found, option.field), option.read(expected))

    def test_servers(self) -> None:
        """Servers are named by several flags, before a command and after it; or in one text, by spaces and commas."""
        one, two, three = Address("127.0.0.1", 1), Address("h", 2), Address("::1", 3)
        found = self.read("--server", "1", "list", "--server", "h:2", "--server", "[::1]:3")
        self.assertEqual(found.servers, (one, two, three))
        self.assertEqual(self.read(SOCP_SERVER="1,h:2 [::1]:3").servers, (one, two, three))
        self.assertEqual(self.read(config="server = 1\n  h:2,\n  [::1]:3").servers, (one, two, three))

    def test_paths(self) -> None:
        """A path may begin with ~ wherever it stands; in config.ini it depends on no current directory."""
        self.assertEqual(self.read("--downloads=~/x").downloads, Path.home() / "x")
        self.assertEqual(self.read(config="downloads = ~/x").downloads, Path.home() / "x")
        self.assertEqual(self.read(SOCP_DOWNLOADS="x").downloads, Path("x"))
        self.assertIn("depends on where the client is started", str(self.refused(config="downloads = x")))

    def test_wrong_values(self) -> None:
        """A wrong value is named with where it stands, and what would be right, as it is written there."""
        for name, text, right in (
            ("server", "h:x", "chat.example.org:9001"), ("profile", "", "work"), ("max-file", "5x", "20M"),
            ("max-file", "2G", "20M"), ("max-file", "0", "20M"), ("history", "yes", "on"), ("bell", "1", "off"),
            ("tls", "maybe", "always"), ("accept-from", "friends", "all"), ("timeout", "0", "10"),
            ("timeout", "nan", "10"), ("name", "x" * 65, "ann"), ("data-dir", "~nobody-at-all/x", "~/chat"),
        ):  # fmt: skip
            variable = f"SOCP_{name.upper().replace('-', '_')}"
            with self.subTest(name=name, text=text):
                error = self.refused(config=f"{name} = {text}")
                self.assertIn(f"{self.config}: {name}: ", str(error) if text else f"{self.config}: {name}: ")
                self.assertIn(f"{name} = {right}", error.hint)
                if text:  # an empty variable is none
                    error = self.refused(**{variable: text})
                    self.assertIn(f"${variable}: ", str(error))
                    self.assertIn(f"{variable}={right}", error.hint)
                if name not in {"history", "bell", "tls"}:
                    error = self.refused(f"--{name}={text}")
                    self.assertIn(f"--{name}: ", str(error))
                    self.assertIn(f"--{name} {right}", error.hint)

    def test_behind(self) -> None:
        """What is wrong in config.ini is said, also where a flag comes before it."""
        self.assertIn("max-file", str(self.refused("--max-file", "1k", config="max-file = x")))

    def test_lines(self) -> None:
        """A line that is indented by mistake becomes no part of the value before it."""
        self.assertIn("over several lines", str(self.refused(config="name = ann\n  downloads = /x")))

    def test_flag_only(self) -> None:
        """A server is trusted by a flag alone, and by its whole id."""
        server = "8e4be5b1-9a8d-4a95-b367-6bf9a8dbc5d7"
        self.assertEqual(self.read("--trust-server", server).trust_server, server)
        self.assertIsNone(self.read(SOCP_TRUST_SERVER=server).trust_server)
        self.assertIn("no setting 'trust-server'", str(self.refused(config=f"trust-server = {server}")))
        self.assertIn("is not an id", str(self.refused("--trust-server", "y")))

    def test_switches(self) -> None:
        """The last of contrary flags holds, but for TLS, where they are an error."""
        self.assertTrue(self.read("--no-bell", "--bell").bell)
        self.assertFalse(self.read("--bell", "whoami", "--no-bell").bell)
        self.assertEqual(self.read("--tls", "--require-tls").tls, "always")
        self.assertEqual(self.read("--plain", config="tls = always").tls, "never")
        self.assertIn("--plain and --tls contradict", str(self.refused("--plain", "--tls")))

    def test_ends(self) -> None:
        """A wrong option ends the program with code 2 and two lines; what is repeated of it is made visible."""
        with contextlib.redirect_stderr(io.StringIO()) as errors, self.assertRaises(SystemExit) as caught:
            read_options(["--max-file", "\x1b[31m\n"], {"XDG_CONFIG_HOME": "/nowhere"})
        self.assertEqual(caught.exception.code, 2)
        self.assertRegex(errors.getvalue(), r"\Asocp: error: --max-file: .*31m.*\nsocp: hint: give .*\n\Z")
        self.assertNotIn("\x1b", errors.getvalue())

    def test_same(self) -> None:
        """What is not imported from the protocol's words, since that takes long, is the same all the same."""
        self.assertEqual((NAME_MOST, FILE_MOST), (socp.DISPLAY_NAME_MOST, Limits().file_bytes))
        trust = next(option for option in OPTIONS if option.name == "trust-server")
        whole = trust.example
        for text in (whole, whole.upper(), whole[1:], whole + "0", whole.replace("-", ""), "\u0661" + whole[1:], ""):
            try:
                value_of(trust, text, "", "")
                taken = True
            except UsageError:
                taken = False
            self.assertEqual(taken, socp.is_id(text), text)

    def test_light(self) -> None:
        """What reads the options imports nothing that takes long: `--help` is there at once."""
        script = (
            "import sys, options\n"
            "heavy = ('cryptography', 'sqlite', 'socp', 'settings')\n"
            "print([name for name in sys.modules if name.startswith(heavy)])"
        )
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout, "[]\n")


class CommandsTest(OptionsTestCase):
    """Commands, and their own arguments."""

    def test_commands(self) -> None:
        """Each command has its arguments, and flags may stand before it and after it."""
        for argv, expected in (
            (["tell", "ben", "Lunch", "at noon?"], {"user": "ben", "text": "Lunch at noon?"}),
            (["tell", "ben", "-"], {"user": "ben", "text": "-"}),
            (["tell", "ben", "--", "--json"], {"user": "ben", "text": "--json"}),
            (["all", "hello"], {"text": "hello"}),
            (["list"], {}),
            (["send", "ben", "menu.pdf"], {"user": "ben", "path": "menu.pdf"}),
            (["listen"], {"count": None, "seconds": None}),
            (["listen", "--count", "2", "--for", "1.5"], {"count": 2, "seconds": 1.5}),
            (["whoami"], {}),
            (["key", "show"], {"action": "show"}),
            (["key", "export", "f"], {"action": "export", "file": "f"}),
        ):
            with self.subTest(argv):
                found = self.read("--profile", "a", argv[0], "--json", *argv[1:])
                self.assertEqual((found.command, vars(found.arguments)), (argv[0], expected))
                self.assertEqual((found.profile, found.json), ("a", True))
        self.assertEqual(self.read("--no-json", "key", "--json", "show", "--profile", "b").profile, "b")

    def test_wrong(self) -> None:
        """Unknown commands and flags suggest the near one; missing and wrong arguments are named."""
        for argv, error, hint in (
            (["tel", "ben"], "there is no command 'tel'", "did you mean tell?"),
            (["xyzzy"], "there is no command 'xyzzy'", "see client.py --help"),
            (["key", "pasword"], "there is no command 'pasword'", "did you mean password?"),
            (["key"], "show|new|password|export|import", "see client.py key --help"),
            (["--histroy"], "--histroy", "did you mean --history?"),
            (["tell", "--max-fil=1", "a", "b"], "--max-fil=1", "did you mean --max-file?"),
            (["--prof", "a"], "--prof", "did you mean --profile?"),
            (["tell"], "user, text", "see client.py tell --help"),
            (["send", "ben"], "path", "see client.py send --help"),
            (["listen", "--count", "0"], "'0' is not a number of messages", "see client.py listen --help"),
            (["listen", "--for", "x"], "'x' is not a number of seconds", "see client.py listen --help"),
            (["--server"], "expected one argument", "see client.py --help"),
        ):
            with self.subTest(argv):
                found = self.refused(*argv)
                self.assertIn(error, str(found))
                self.assertIn(hint, found.hint)


class HelpTest(OptionsTestCase):
    """What is said of all of them."""

    def shown(self, *argv: str) -> str:
        """Return what is printed by a flag that ends the program."""
        with contextlib.redirect_stdout(io.StringIO()) as stream, self.assertRaises(SystemExit) as caught:
            self.read(*argv)
        self.assertEqual(caught.exception.code, 0)
        return stream.getvalue()

    def test_help(self) -> None:
        """Every flag is there with its variable, key, default and an example that can be read; in 80 columns."""
        text = self.shown("--help")
        self.assertEqual(text, help_text())
        self.assertLessEqual(max(map(len, text.splitlines())), 80)
        flat = " ".join(text.split())
        for option in OPTIONS:
            with self.subTest(option.name):
                for flag in option.flags:
                    self.assertIn(flag, flat)
                self.assertIn(" ".join(f"default: {option.said_default or option.default}".split()), flat)
                self.assertIn(f"example: {option.flag_example}", flat)
                self.read(*option.flag_example.split())
                if not option.flag_only:
                    self.assertIn(f"${option.variable}; config.ini: {option.name};", flat)
                    self.read(config=f"{option.name} = {option.example}")

    def test_help_of_commands(self) -> None:
        """Each command has a help with an example, in 80 columns."""
        keys = [["key", action] for action in ("show", "new", "password", "export", "import")]
        for argv in (*([command] for command in COMMANDS), ["key"], *keys):
            with self.subTest(argv):
                text = self.shown(*argv, "--help")
                self.assertIn(f"example:\n  client.py {' '.join(argv[:2])}", text)
                self.assertLessEqual(max(map(len, text.splitlines())), 80)

    def test_version(self) -> None:
        """The version is told with that of the protocol."""
        self.assertEqual(self.shown("--version"), f"socp {VERSION} (SOCP v1.3)\n")
