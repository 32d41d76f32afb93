"""What a client is to do and how: flags come before SOCP_* variables, those before config.ini, then come defaults.

Nothing here imports anything heavy: `client.py --help` is to be there at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from addresses import Address
from arguments import CommandLine, Given, read_arguments
from configfile import config_path, read_config
from exits import Exit, explain
from optiontable import OPTIONS, Option, UsageError, value_of


@dataclass(frozen=True)
class Options:
    """All options of a client; optiontable.OPTIONS says what each is.

    Attributes:
        command: the name of the command, such as "tell"; empty for the chat.
        arguments: the command's own arguments; see arguments.py.
    """

    command: str
    arguments: argparse.Namespace
    servers: tuple[Address, ...] | None
    profile: str | None
    data_dir: Path | None
    name: str | None
    downloads: Path
    trust_server: str | None
    tls: str
    accept_from: str
    max_file: int
    history: bool
    recall_tells: bool
    bell: bool
    joins: str
    colour: str
    json: bool
    timeout: float


def read_options(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> Options:
    """Read the options of a client. What is wrong with them is said on standard error.

    Args:
        argv: the command line, without the program's name; that of the process if None.
        environ: the environment; that of the process if None.

    Raises:
        SystemExit: something is wrong (code 2), or --help or --version was given (code 0).
    """
    try:
        return parse_options(sys.argv[1:] if argv is None else argv, os.environ if environ is None else environ)
    except UsageError as error:
        explain(str(error), error.hint)
        raise SystemExit(int(Exit.USAGE)) from error


def parse_options(argv: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Read the options of a client; see read_options.

    Raises:
        UsageError: something is wrong with them.
        SystemExit: --help or --version was given.
    """
    line = read_arguments(list(argv))
    path = config_path(environ)
    keys = [option.name for option in OPTIONS if not option.flag_only]
    config = read_config(path, keys) if path is not None else {}
    values: dict[str, Any] = {option.field: _value(option, line, environ, config, path) for option in OPTIONS}
    return Options(line.command, line.arguments, **values)


def _value(
    option: Option, line: CommandLine, environ: Mapping[str, str], config: Mapping[str, str], path: Path | None
) -> object:
    """Return the value that comes first; those behind it must be right all the same."""
    values = [*_of_flags(option, line), *_of_variable(option, environ), *_of_config(option, config, path)]
    if values:
        return values[0]
    return option.read(option.default) if option.default is not None else None


def _of_flags(option: Option, line: CommandLine) -> Iterator[object]:
    given = line.given[option.name]
    if not given:
        return
    if option.repeats:
        given = [Given(given[0].flag, " ".join(entry.text for entry in given))]
    values = [value_of(option, entry.text, entry.flag, option.flag_example) for entry in given]
    if option.exclusive and any(value != values[0] for value in values):
        flags = sorted({entry.flag for entry in given})
        raise UsageError(f"{' and '.join(flags)} contradict each other", "give one of them")
    # A later flag comes before an earlier one: an alias of the shell can hold flags, and be overruled.
    yield values[-1]


def _of_variable(option: Option, environ: Mapping[str, str]) -> Iterator[object]:
    text = environ.get(option.variable, "")
    if text and not option.flag_only:
        yield value_of(option, text, f"${option.variable}", f"{option.variable}={option.example}")


def _of_config(option: Option, config: Mapping[str, str], path: Path | None) -> Iterator[object]:
    text = config.get(option.name)
    if text is None:
        return
    source, example = f"{path}: {option.name}", f"{option.name} = {option.example}"
    if "\n" in text and not option.repeats:
        raise UsageError(f"{source}: the value goes on over several lines", "begin each line without a space")
    if option.is_path and not text.startswith(("/", "~")):
        raise UsageError(
            f"{source}: {text!r} depends on where the client is started",
            f"give a path that is absolute or begins with ~; for example: {example}",
        )
    yield value_of(option, text, source, example)
