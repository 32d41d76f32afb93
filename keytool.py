"""`client.py key`: shows, makes, protects, backs up and restores the key of a profile.

What changes something needs the profile for itself; what only reads goes beside a running client, too.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import journal
import socp
from asking import BACKUP_VARIABLE, KEY_VARIABLE, NEW_VARIABLE, ask, open_key
from backup import FILE_MOST, BackupError, open_backup, read_armour, seal_backup
from console import say
from crypto.keys import (
    KeyPair,
    KeyProblem,
    open_key_file,
    remove_drafts,
    replacing_key_file,
    write_key_file,
)
from errors import ChatError, HistoryLocked
from exits import Exit
from failures import start_error
from files import create_file
from options import Options
from profiles import DEFAULT_PROFILE, Profile, ProfileError, open_profile, profile_path
from programs import StartError, hold_signals

_NEW_PASSWORD = "New key password (empty for none)"  # noqa: S105 - a question
_STAGE = ".import-"


def run_key(options: Options, generate: Callable[[], KeyPair] = KeyPair.generate) -> int:
    """Do what `client.py key` was told to; returns the exit code.

    Args:
        options: of the command line.
        generate: makes a new key; tests pass one that they have already.

    Raises:
        StartError: it could not be done.
    """
    action: str = options.arguments.action
    try:
        tool = KeyTool(options.profile or DEFAULT_PROFILE, options.data_dir, generate)
        if action == "show":
            found = tool.show()
        elif action == "new":
            found = tool.new()
        elif action == "password":
            found = tool.change_password()
        elif action == "export":
            found = tool.export_to(_path(options.arguments.file))
        else:
            found = tool.import_from(_path(options.arguments.file))
    except (ProfileError, KeyProblem, ChatError) as error:
        raise start_error(error) from error
    if options.json:
        say(json.dumps({"v": 1, "ts": socp.now_ms(), "type": "key", "action": action, **found}))
    else:
        for name, value in found.items():
            say(f"{name + ':':12}{'yes' if value is True else 'no' if value is False else value}")
    return Exit.DONE


class KeyTool:
    """What can be done with the key of one profile. Each method returns what there is to tell, by name.

    Args:
        name: the profile's.
        directory: where profiles are kept; None for where they are usually.
        generate: makes a new key.
    """

    def __init__(self, name: str, directory: Path | None, generate: Callable[[], KeyPair] = KeyPair.generate) -> None:
        self._name = name
        self._directory = directory
        self._generate = generate
        self._path = profile_path(name, directory)
        self._key_file = self._path / "key.pem"

    def show(self) -> Mapping[str, object]:
        """Tell of the key that is there."""
        pair, password = self._open()
        return {**self._told(pair, password), "public_key": pair.public.text}

    def new(self) -> Mapping[str, object]:
        """Make a key where there is none."""
        with open_profile(self._name, self._directory) as profile:
            if profile.has_key:
                raise StartError(
                    f"the profile {self._name} has a key already, and nothing would bring it back",
                    f"choose another profile with --profile, or move it away: {self._move_away()}",
                )
            remove_drafts(self._key_file)
            password = ask(_NEW_PASSWORD, KEY_VARIABLE, new=True)
            return self._told(open_key_file(self._key_file, password, self._generate), password)

    def change_password(self) -> Mapping[str, object]:
        """Protect the key by another password, or by none any more; and the history by it."""
        if not self._path.exists():
            raise self._no_key()
        with open_profile(self._name, self._directory):
            remove_drafts(self._key_file)
            pair, old = self._open()
            new = ask(_NEW_PASSWORD, NEW_VARIABLE, new=True)
            # What comes between the two, such as a power cut, leaves the history with the new password and the key
            # with the old one: the same command again, with the same passwords, ends what was begun.
            with hold_signals(), replacing_key_file(self._key_file, pair, new):
                self._change_history(old, new)
            return self._told(pair, new)

    def _change_history(self, old: str, new: str) -> None:
        try:
            journal.change_password(self._path / journal.FILE_NAME, old, new)
        except HistoryLocked as error:
            again = "if a change of the password was interrupted, do it again with the same new password"
            raise StartError(str(error), f"{again}; else {error.hint}" if new else error.hint, Exit.BAD_KEY) from error

    def export_to(self, file: Path) -> Mapping[str, object]:
        """Write the whole identity to a new file, encrypted."""
        if os.path.lexists(file):
            raise StartError(f"{file} is there already", "name a file that is not", Exit.USAGE)
        pair, _ = self._open()
        text = seal_backup(pair, self._memory(), ask("Password of the backup", BACKUP_VARIABLE, new=True))
        try:
            create_file(file, text)
        except OSError as error:
            raise StartError(f"cannot write {file}: {error.strerror}") from error
        return {"id": pair.id, "path": str(file), "protected": True}

    def import_from(self, file: Path) -> Mapping[str, object]:
        """Take an identity from a file into a profile in which nothing is yet."""
        armour = read_armour(_content(file))
        with open_profile(self._name, self._directory) as profile:
            if profile.has_key:
                raise StartError(f"the profile {self._name} has a key already", "choose another profile with --profile")
            self._remove_stages()
            pair, memory = open_backup(armour, ask("Password of the backup", BACKUP_VARIABLE))
            self._check_fresh(memory)
            password = ask(_NEW_PASSWORD, KEY_VARIABLE, new=True)
            pair.to_pem(password)  # nothing is written for an impossible one
            with hold_signals():
                self._install(pair, memory, password)
            return self._told(pair, password)

    # --- the profile --------------------------------------------------------------------------------------------

    def _open(self) -> tuple[KeyPair, str]:
        try:
            return open_key(self._key_file)
        except FileNotFoundError as error:
            raise self._no_key() from error

    def _no_key(self) -> StartError:
        return StartError(
            f"the profile {self._name} has no key",
            "make one with key new, or take one from a backup with key import",
            Exit.BAD_KEY,
        )

    def _told(self, pair: KeyPair, password: str) -> dict[str, object]:
        return {"id": pair.id, "path": str(self._key_file), "protected": bool(password)}

    def _move_away(self) -> str:
        quoted = shlex.quote(str(self._key_file))
        return f"mv -- {quoted} {quoted}.old"

    def _memory(self) -> dict[str, Any]:
        """Return what the profile remembers, checked, beside whoever has it."""
        try:
            Profile(self._path, -1)
            found = json.loads((self._path / "profile.json").read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StartError(f"cannot read {self._path / 'profile.json'}: {error.strerror}") from error
        return found if isinstance(found, dict) else {}

    def _remove_stages(self) -> None:
        """Remove what an import that was killed has left, and drafts of its key."""
        remove_drafts(self._key_file)
        for stage in self._path.glob(f"{_STAGE}*"):
            shutil.rmtree(stage)

    def _check_fresh(self, memory: dict[str, Any]) -> None:
        """See that nothing is in the profile, but for what an import of the same backup has left that was killed."""
        others = sorted(entry.name for entry in self._path.iterdir() if entry.name not in ("lock", "profile.json"))
        if others or self._memory() not in ({}, memory):
            raise StartError(
                f"the profile {self._name} has been used: {', '.join(others) or 'profile.json'} is in it",
                "choose another profile with --profile",
            )

    def _install(self, pair: KeyPair, memory: dict[str, Any], password: str) -> None:
        """Put an identity into the profile, its key at last: without that, it counts as empty."""
        try:
            with tempfile.TemporaryDirectory(prefix=_STAGE, dir=self._path) as name:
                stage = Path(name)
                create_file(stage / "profile.json", json.dumps(memory, indent=1, sort_keys=True).encode("ascii"))
                _check_memory(stage)
                (stage / "profile.json").replace(self._path / "profile.json")
            write_key_file(self._key_file, pair, password)
        except OSError as error:
            raise StartError(f"cannot write to {self._path}: {error.strerror}") from error


def _check_memory(stage: Path) -> None:
    try:
        Profile(stage, -1)
    except ProfileError as error:
        raise BackupError("the backup holds a profile that is damaged") from error


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except (RuntimeError, ValueError) as error:
        raise StartError(f"{text} cannot be a file", "there is no such user", Exit.USAGE) from error


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(FILE_MOST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no file can have that name"
        raise StartError(f"cannot read {file}: {reason}") from error
