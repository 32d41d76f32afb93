"""The client's config.ini: where it is, and what stands in it. What its values mean, the options tell."""

from __future__ import annotations

import configparser
import difflib
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from optiontable import UsageError

SECTION = "client"
_MOST = 64 * 1024  # bytes


def config_path(environ: Mapping[str, str]) -> Path | None:
    """Return where config.ini is looked for; None if there is no home directory to look in."""
    base = environ.get("XDG_CONFIG_HOME", "")
    if base.startswith("/"):  # the specification of these directories has relative ones ignored
        return Path(base) / "socp" / "config.ini"
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path raises where there is none
    return Path(home) / ".config" / "socp" / "config.ini" if home.startswith("/") else None


def read_config(path: Path, known: Iterable[str]) -> dict[str, str]:
    """Return the texts of config.ini by their keys; none if there is no such file.

    Args:
        path: its path.
        known: the keys that there are.

    Raises:
        UsageError: it cannot be read or trusted, or is not what it should be; says where.
    """
    text = _text_of(path)
    parser = configparser.RawConfigParser(delimiters=("=",), default_section="", empty_lines_in_values=False)
    try:
        parser.read_string(text)
    except configparser.MissingSectionHeaderError as error:
        raise UsageError(
            f"{path}, line {error.lineno}: it stands before any section", f"begin the file with [{SECTION}]"
        ) from error
    except configparser.DuplicateOptionError as error:
        raise UsageError(f"{path}, line {error.lineno}: {error.option} is there twice", "keep one of them") from error
    except configparser.DuplicateSectionError as error:
        raise UsageError(
            f"{path}, line {error.lineno}: [{error.section}] is there twice", "put all keys into the first"
        ) from error
    except configparser.ParsingError as error:
        line = error.errors[0][0] if error.errors else 0
        raise UsageError(f"{path}, line {line}: this is no setting", "write one a line: history = on") from error
    for section in parser.sections():
        if section != SECTION:
            raise UsageError(f"{path}: there is no section [{section}]", f"put all keys into [{SECTION}]")
    found = dict(parser.items(SECTION)) if parser.has_section(SECTION) else {}
    names = list(known)
    for key in found:
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(names)}"
            raise UsageError(f"{path}: there is no setting {key!r}", hint)
    return found


def _text_of(path: Path) -> str:
    """Return what is in the file, after checking that nobody else could have set what is in it."""
    try:
        # O_NONBLOCK: a FIFO in its place must not hang us.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path} is not a regular file", "move it away")
        if status.st_uid not in (0, os.geteuid()):
            raise UsageError(f"{path} belongs to another user, who could set anything there", "write one of your own")
        if status.st_mode & stat.S_IWOTH:
            raise UsageError(f"{path} can be written by everybody", "mend it with: chmod o-w")
        if status.st_size > _MOST:
            raise UsageError(
                f"{path} has {status.st_size:,} bytes, and is no config.ini", f"at most {_MOST:,} are read"
            )
        return os.read(descriptor, _MOST).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text in UTF-8") from error
    finally:
        os.close(descriptor)
