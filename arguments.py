"""The client's command line: its flags, its commands, and what --help says of them."""

from __future__ import annotations

import argparse
import difflib
import functools
import re
import textwrap
from dataclasses import dataclass
from typing import NoReturn

from exits import EXIT_MEANINGS
from optiontable import OPTIONS, Option, UsageError
from version import VERSION

PROGRAM = "client.py"
_COLUMNS = 80
_DEEPEST = 3  # parsers one inside the other: `client.py`, `key`, `show`

_COMMANDS = {
    "tell": "Send a message that one user alone can read.",
    "all": "Send a message that everyone can read.",
    "list": "Print who is online.",
    "send": "Send a file that one user alone can read.",
    "listen": "Print what comes.",
    "whoami": "Print the id and the display name of the profile.",
    "key": "Show, make, protect, back up or restore the profile's key.",
}
_KEY_COMMANDS = {
    "show": "Print the profile's id and public key, and whether a password protects the key.",
    "new": "Make a key, in a profile that has none.",
    "password": "Change the password of the key, or set or remove one.",
    "export": "Write key, contacts, pins, name and blocked users to one encrypted file.",
    "import": "Take an identity from such a file, into a profile without a key.",
}
_EXAMPLES = {
    "tell": "tell ben Lunch at noon?\n  echo 'Lunch at noon?' | client.py tell ben -",
    "all": "all Lunch at noon, everybody!",
    "list": "list --json",
    "send": "send ben ~/menu.pdf",
    "listen": "listen --count 1 --for 600 --json",
    "whoami": "whoami --profile work",
    "key": "key export ~/identity.socp\n  client.py key export --help",
    "show": "key show",
    "new": "key new --profile work",
    "password": "key password\n  CHAT_KEY_PASSWORD=old SOCP_NEW_PASSWORD=new client.py key password",
    "export": "key export ~/identity.socp",
    "import": "key import ~/identity.socp",
}


@dataclass(frozen=True)
class Given:
    """The text that a flag has given an option, and that flag."""

    flag: str
    text: str


@dataclass(frozen=True)
class CommandLine:
    """What stands on a command line.

    Attributes:
        command: the name of the command; empty for the chat.
        arguments: the command's own.
        given: for each option, by its name, what its flags have given it.
    """

    command: str
    arguments: argparse.Namespace
    given: dict[str, list[Given]]


class _Parser(argparse.ArgumentParser):
    """A parser that leaves it to others to say what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError in place of ending the program; argparse's words name the wrong one."""
        if unknown := re.search(r"invalid choice: '([^']*)'", message):
            words = _KEY_COMMANDS if self.prog.endswith(" key") else _COMMANDS
            raise UsageError(f"there is no command {unknown[1]!r}", _suggestion(unknown[1], list(words), self.prog))
        if unknown := re.fullmatch(r"unrecognized arguments: ((-[^\s=]*)?.*)", message, re.DOTALL):
            flags = [flag for option in OPTIONS for flag in option.flags]
            raise UsageError(message, _suggestion(unknown[2] or "", flags, PROGRAM))
        raise UsageError(message, f"see {self.prog} --help")


class _TopParser(_Parser):
    """The parser of the whole command line, with a help of its own."""

    def format_help(self) -> str:
        """Return what --help prints."""
        return help_text()


def _suggestion(word: str, words: list[str], program: str) -> str:
    near = difflib.get_close_matches(word, words, 1)
    return f"did you mean {near[0]}?" if near else f"see {program} --help"


def read_arguments(argv: list[str]) -> CommandLine:
    """Read a command line; --help and --version end the program.

    Raises:
        UsageError: it is wrong.
    """
    _check_first_flags(argv)
    found = vars(_parser().parse_args(argv))
    given = {
        option.name: [entry for level in range(_DEEPEST) for entry in found.pop(f"{option.name} {level}", None) or []]
        for option in OPTIONS
    }
    command: str = found.pop("command") or ""
    if "text" in found:
        found["text"] = " ".join(found["text"])
    return CommandLine(command, argparse.Namespace(**found), given)


def _check_first_flags(argv: list[str]) -> None:
    """See that there are the flags before the command: the value of another could be taken for a command."""
    takes_value = {flag: not option.switches for option in OPTIONS for flag in option.flags}
    words = iter(argv)
    for word in words:
        flag, equals, _ = word.partition("=")
        if not flag.startswith("--") or word == "--":
            return
        if flag not in (*takes_value, "--help", "--version"):
            raise UsageError(f"there is no flag {flag}", _suggestion(flag, list(takes_value), PROGRAM))
        if takes_value.get(flag) and not equals:
            next(words, None)


def _given(option: Option) -> type[argparse.Action]:
    class Give(argparse.Action):
        """Notes what a flag gives an option."""

        def __call__(
            self,
            parser: argparse.ArgumentParser,  # noqa: ARG002
            namespace: argparse.Namespace,
            values: object,
            option_string: str | None = None,
        ) -> None:
            flag = option_string or ""
            text = option.switches[flag] if option.switches else str(values)
            before = getattr(namespace, self.dest) or []
            setattr(namespace, self.dest, [*before, Given(flag, text)])

    return Give


def _add_flags(parser: argparse.ArgumentParser, level: int) -> None:
    """Give a parser all flags: they may stand before a command and after it, and are noted apart for each."""
    for option in OPTIONS:
        # Parsers inside another overwrite what it has read, unless they call it something else.
        parser.add_argument(
            *option.flags,
            dest=f"{option.name} {level}",
            action=_given(option),
            nargs=0 if option.switches else None,
            metavar=None if option.switches else option.metavar,
            help=argparse.SUPPRESS,
        )


@functools.cache
def _parser() -> argparse.ArgumentParser:
    parser = _TopParser(prog=PROGRAM, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"socp {VERSION} (SOCP v1.3)")
    _add_flags(parser, 0)
    commands = parser.add_subparsers(dest="command", prog=PROGRAM, parser_class=_Parser)
    made = {name: _add_command(commands, name, summary, 1) for name, summary in _COMMANDS.items()}
    made["tell"].add_argument("user", help="an id, a beginning of one, a nickname or a display name")
    for name in ("tell", "all"):
        made[name].add_argument(
            "text", nargs="+", help="what to say; - reads it from standard input; behind --, it may begin with a hyphen"
        )
    made["send"].add_argument("user", help="an id, a beginning of one, a nickname or a display name")
    made["send"].add_argument("path", help="the file")
    made["listen"].add_argument("--count", metavar="N", type=_count, help="end after so many messages")
    made["listen"].add_argument(
        "--for", dest="seconds", metavar="SECONDS", type=_period, help="end after so many seconds"
    )
    keys = made["key"].add_subparsers(
        dest="action", prog=f"{PROGRAM} key", parser_class=_Parser, required=True, metavar="|".join(_KEY_COMMANDS)
    )
    made_keys = {name: _add_command(keys, name, summary, 2) for name, summary in _KEY_COMMANDS.items()}
    for name in ("export", "import"):
        made_keys[name].add_argument("file", help="the encrypted file")
    return parser


def _add_command(
    commands: argparse._SubParsersAction[_Parser], name: str, summary: str, level: int
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n  {PROGRAM} {_EXAMPLES[name]}\n\nAll flags of {PROGRAM} --help may stand here, too.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_flags(parser, level)
    return parser


def _count(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,8}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of messages, such as 1")
    return int(text)


def _period(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, such as 60")
    return float(text)


# --- help -----------------------------------------------------------------------------------------------------------


def help_text() -> str:
    """Return what --help prints, for a terminal of 80 columns."""
    parts = [
        f"usage: {PROGRAM} [flags] [command]",
        "Chat through a SOCP server. Without a command, a chat in the terminal begins.",
        "\n".join(["commands:", *(f"  {name:8} {summary}" for name, summary in _COMMANDS.items())]),
        _paragraph(f"{PROGRAM} COMMAND --help says more of each. Flags may stand before a command and after it."),
        "flags:",
        *map(_option_help, OPTIONS),
        "  --help, --version\n      Print this, or the version, and end.",
        _paragraph(
            "Each flag but those said to be flags only can be set by an environment variable, too, and by a line "
            "in $XDG_CONFIG_HOME/socp/config.ini (else ~/.config/socp/config.ini), below a first line [client], "
            "such as: accept-from = all. Flags come before variables, and variables before config.ini. A path in "
            "config.ini is absolute or begins with ~."
        ),
        _paragraph(
            "Passwords come from $CHAT_KEY_PASSWORD (of the key), $SOCP_NEW_PASSWORD (key password: the next one) and "
            "$SOCP_BACKUP_PASSWORD (key export, key import), or are asked for at a terminal; never from a flag."
        ),
        "\n".join(["exit codes:", *(f"  {code:3} {meaning}" for code, meaning in EXIT_MEANINGS.items())]),
    ]
    return "\n\n".join(parts) + "\n"


def _option_help(option: Option) -> str:
    flags = ", ".join(option.flags) + (f" {option.metavar}" if option.metavar else "")
    places = "a flag only" if option.flag_only else f"${option.variable}; config.ini: {option.name}"
    default = option.said_default or option.default
    return "\n".join(
        [
            f"  {flags}",
            _paragraph(option.help, 6),
            _paragraph(f"{places}; default: {default}", 6),
            f"      example: {option.flag_example}",
        ]
    )


def _paragraph(text: str, indent: int = 0) -> str:
    return textwrap.fill(
        text, _COLUMNS, initial_indent=" " * indent, subsequent_indent=" " * indent, break_on_hyphens=False
    )
