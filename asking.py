"""Where a client's passwords come from: a variable, or a person at a terminal; never from a command line."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from crypto.keys import KeyPair, WrongPassword, read_key_file
from exits import Exit
from programs import StartError

KEY_VARIABLE = "CHAT_KEY_PASSWORD"
NEW_VARIABLE = "SOCP_NEW_PASSWORD"
BACKUP_VARIABLE = "SOCP_BACKUP_PASSWORD"


def at_terminal() -> bool:
    """Tell whether somebody can be asked: getpass would find a terminal where none is meant to be used."""
    return sys.stdin is not None and sys.stdin.isatty()


def take_variable(variable: str) -> str | None:
    """Return what a variable holds, and forget it, so that nothing that is started or printed later has it."""
    return os.environ.pop(variable, None)


def ask(question: str, variable: str, *, new: bool = False) -> str:
    """Return a password.

    Args:
        question: for a person.
        variable: of the environment, that holds it if nobody is to be asked.
        new: ask twice.

    Raises:
        StartError: there is none, or the two differ.
    """
    given = take_variable(variable)
    if given is not None:
        return given
    if not at_terminal():
        raise StartError(
            "a password is needed, and there is no terminal to ask for it at", f"put it into ${variable}", Exit.USAGE
        )
    try:
        password = getpass.getpass(f"{question}: ")
        if new and password and getpass.getpass("The same again: ") != password:
            raise StartError("the two passwords differ; nothing was changed", "do it again")
    except EOFError as error:
        raise StartError("no password was given") from error
    except UnicodeDecodeError as error:
        raise StartError("the password is not text in UTF-8") from error
    return password


def open_key(path: Path) -> tuple[KeyPair, str]:
    """Return the private key at `path` and its password, which is asked for only if the key has one.

    Raises:
        FileNotFoundError: there is no such file.
        KeyFileError: the key cannot or must not be used, or has another password.
        StartError: no password was given.
    """
    given = take_variable(KEY_VARIABLE)
    if given is not None:
        return read_key_file(path, given), given
    try:
        return read_key_file(path), ""
    except WrongPassword:
        if not at_terminal():
            raise
    password = ask("Key password", KEY_VARIABLE)
    return read_key_file(path, password), password
