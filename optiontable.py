"""The client's options: one table, from which its flags, its SOCP_* variables, its config.ini and its help are made.

Nothing here imports anything heavy: `client.py --help` is to be there at once.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from addresses import Address, AddressError, read_address
from quantities import Unit, read_value, written

# What of others is let through: of contacts, of everybody, or of nobody.
CONTACTS, ALL, NONE = "contacts", "all", "none"
_SWITCH = {"on": True, "off": False}
TLS_WORDS = ("auto", "always", "never")  # see channels.with_tls
# These are socp.DISPLAY_NAME_MOST, Limits.file_bytes and socp.is_id: a test holds them to that. To import them from
# there would take a quarter of the time that `client.py --help` may take.
NAME_MOST = 64  # characters
FILE_MOST = 1024**3  # bytes
_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_TIMEOUT_MOST = 24 * 60 * 60  # seconds


class UsageError(Exception):
    """Raised for a command line, a variable or a config.ini that is wrong; `hint` says what would be right."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Option:
    """One option of the client.

    Attributes:
        name: of the flag, without its hyphens; and the key in config.ini.
        field: of options.Options.
        read: makes a value of a text; raises ValueError with what is wrong with it.
        default: as a text that `read` takes, or None where the field stays None.
        help: what it does.
        example: a value, for the help and for the hint with a wrong one.
        right: what a value must look like; for the hint with a wrong one.
        metavar: what stands for the value in the help; nothing for an option whose flags have none.
        switches: the flags without a value, each with the text that it stands for.
        said_default: what the help says of the default, where that is not its text.
        repeats: whether the flag may be given several times, for several values.
        exclusive: whether flags that differ are wrong; otherwise the last one holds.
        flag_only: whether there is neither a variable nor a key in config.ini.
    """

    name: str
    field: str
    read: Callable[[str], object]
    default: str | None
    help: str
    example: str
    right: str = ""
    metavar: str = ""
    switches: Mapping[str, str] = dataclasses.field(default_factory=dict)
    said_default: str = ""
    repeats: bool = False
    exclusive: bool = False
    flag_only: bool = False

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "SOCP_" + self.name.upper().replace("-", "_")

    @property
    def flags(self) -> Sequence[str]:
        """All flags, with their hyphens."""
        return list(self.switches) or [f"--{self.name}"]

    @property
    def is_path(self) -> bool:
        """Whether its value is a path."""
        return self.metavar == "DIR"

    @property
    def flag_example(self) -> str:
        """The example as it is typed on a command line."""
        return next(
            (flag for flag, text in self.switches.items() if text == self.example), f"--{self.name} {self.example}"
        )


def _servers(text: str) -> tuple[Address, ...]:
    words = re.split(r"[\s,]+", text.strip(" \t\r\n,"))
    try:
        return tuple(read_address(word, "127.0.0.1") for word in words)
    except AddressError as error:
        raise ValueError(str(error)) from error


def _text(text: str) -> str:
    if not text:
        raise ValueError("it is empty")
    return text


def _display_name(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("it is not text in UTF-8") from error
    if len(text) > NAME_MOST:
        raise ValueError(f"it has {len(text):,} characters")
    return text


def _path(text: str) -> Path:
    try:
        return Path(_text(text)).expanduser()
    except RuntimeError as error:  # "~somebody" whom this machine does not know
        raise ValueError(f"{text!r} begins with the home directory of nobody") from error


def _id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError(f"{text!r} is not an id")
    return text


def _size(text: str) -> int:
    value = read_value(Unit.SIZE, text)
    if value is None or not 1 <= value <= FILE_MOST:
        raise ValueError(f"{text!r} is not a size of a file")
    return int(value)


def _seconds(text: str) -> float:
    value = read_value(Unit.TIME, text)
    if value is None or not 0 < value <= _TIMEOUT_MOST:
        raise ValueError(f"{text!r} is not a number of seconds")
    return value


def _either(words: Sequence[str]) -> str:
    """Return words as a choice: contacts, all or none."""
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _one_of(choices: Mapping[str, object]) -> Callable[[str], object]:
    def read(text: str) -> object:
        if text not in choices:
            raise ValueError(f"{text!r} is not {_either(list(choices))}")
        return choices[text]

    return read


def _choice(
    name: str, choices: Sequence[str], default: str, text: str, *, example: str, field_name: str = ""
) -> Option:
    """Return an option whose value is one of some words."""
    return Option(
        name,
        field_name or name.replace("-", "_"),
        _one_of({choice: choice for choice in choices}),
        default,
        text,
        example,
        right=_either(choices),
        metavar="|".join(choices),
    )


def _switch(name: str, default: str, text: str, *, example: str) -> Option:
    """Return an option that is on or off."""
    return Option(
        name,
        name.replace("-", "_"),
        _one_of(_SWITCH),
        default,
        text,
        example,
        right="on or off",
        switches={f"--{name}": "on", f"--no-{name}": "off"},
    )


OPTIONS: tuple[Option, ...] = (
    Option(
        "server",
        "servers",
        _servers,
        None,
        "A server to connect to; a port alone means 127.0.0.1. Repeat it for others to go to when the first is gone; "
        "in the variable and in config.ini, separate them by spaces or commas.",
        "chat.example.org:9001",
        right="host:port or a port, such as chat.example.org:9001",
        metavar="HOST:PORT",
        said_default="asked for",
        repeats=True,
    ),
    Option(
        "profile",
        "profile",
        _text,
        None,
        "Whose key, pins and contacts to use.",
        "work",
        right="a name of letters, digits, '.', '_' and '-'",
        metavar="NAME",
        said_default="default, or the next free of default-2 ...",
    ),
    Option(
        "data-dir",
        "data_dir",
        _path,
        None,
        "Where profiles are kept.",
        "~/chat",
        right="a directory",
        metavar="DIR",
        said_default="$XDG_DATA_HOME/socp/profiles, else ~/.local/share/socp/profiles",
    ),
    Option(
        "name",
        "name",
        _display_name,
        None,
        "The display name to go by; kept in the profile.",
        "ann",
        right=f"at most {NAME_MOST} characters",
        metavar="DISPLAY",
        said_default="as last time",
    ),
    Option(
        "downloads",
        "downloads",
        _path,
        "received_files",
        "Where received files are put.",
        "~/Downloads",
        right="a directory",
        metavar="DIR",
    ),
    Option(
        "trust-server",
        "trust_server",
        _id,
        None,
        "Go on with this server where another one was pinned before. A flag only: set for good, it "
        "would let that server pass wherever one is replaced.",
        "8e4be5b1-9a8d-4a95-b367-6bf9a8dbc5d7",
        right="an id in full, as the refusal has named it",
        metavar="ID",
        said_default="none",
        flag_only=True,
    ),
    Option(
        "tls",
        "tls",
        _one_of({word: word for word in TLS_WORDS}),
        "auto",
        "Connect by TLS everywhere (--tls or --require-tls: always) or nowhere (--plain: never); auto: everywhere but "
        "to this machine itself.",
        "always",
        right=_either(TLS_WORDS),
        switches={"--tls": "always", "--plain": "never", "--require-tls": "always"},
        exclusive=True,
    ),
    _choice(
        "accept-from",
        (CONTACTS, ALL, NONE),
        CONTACTS,
        "Whose files are taken without a question. Without a terminal, all others are rejected.",
        example="all",
    ),
    Option(
        "max-file",
        "max_file",
        _size,
        written(Unit.SIZE, FILE_MOST),
        "The largest file to take; a size may end in k, M or G, for powers of 1,024.",
        "20M",
        right=f"a number of bytes, such as 500k or 20M, from 1 to {written(Unit.SIZE, FILE_MOST)}",
        metavar="BYTES",
    ),
    _switch(
        "history",
        "off",
        "Keep messages in the profile, encrypted; the key must have a password. Read them with /history.",
        example="on",
    ),
    _switch(
        "recall-tells",
        "off",
        "Keep what is sent to one user alone, too, among the typed lines that the arrow keys bring back.",
        example="on",
    ),
    _switch("bell", "on", "Ring the terminal's bell when a message comes that is for you alone.", example="off"),
    _choice(
        "joins",
        (CONTACTS, ALL, NONE),
        CONTACTS,
        "Whose coming and going is shown.",
        example="all",
    ),
    _choice(
        "colour",
        ("auto", "never"),
        "auto",
        "Colours, where a terminal has them; NO_COLOR and TERM=dumb turn them off, too.",
        example="never",
    ),
    _switch("json", "off", "Print one JSON object a line; for the commands of scripts.", example="on"),
    Option(
        "timeout",
        "timeout",
        _seconds,
        "60",
        "How long tell, all, list, send and whoami may take; send, until the file is accepted.",
        "10",
        right=f"seconds, such as 10 or 2.5, up to {_TIMEOUT_MOST:,}",
        metavar="SECONDS",
    ),
)


def value_of(option: Option, text: str, source: str, example: str) -> object:
    """Return the value that a text stands for.

    Args:
        option: whose.
        text: what somebody wrote.
        source: where, for the error.
        example: how a right value is written there.

    Raises:
        UsageError: it stands for none.
    """
    try:
        if "\0" in text:
            raise ValueError("it has a NUL in it")
        return option.read(text)
    except ValueError as error:
        raise UsageError(f"{source}: {error}", f"give {option.right}; for example: {example}") from error
