"""A client's profile: a directory with its key, the servers it has pinned, and the names it has bound to users."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import socp
from addresses import Address
from crypto.keys import KeyPair, open_key_file
from names import name_key

DEFAULT_PROFILE = "default"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", re.ASCII)
_MEMORY_MOST = 4 * 1024 * 1024  # bytes


class ProfileError(Exception):
    """Raised when a profile cannot be used; says which, and what to do."""


def default_directory() -> Path:
    """Return where profiles are kept: $XDG_DATA_HOME/socp/profiles, or below ~/.local/share."""
    base = os.environ.get("XDG_DATA_HOME", "")
    # The specification of these directories has relative ones ignored.
    root = Path(base) if base.startswith("/") else Path.home() / ".local" / "share"
    return root / "socp" / "profiles"


class Profile:
    """A profile in use by this process. Use `open_profile`; end with `close`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.name = path.name
        self._lock_file = lock
        self._lock = threading.Lock()  # guards _memory and its file
        self._memory = self._read()

    def _read(self) -> dict[str, Any]:
        file = self.path / "profile.json"
        try:
            with file.open("rb") as stream:
                memory = json.loads(stream.read(_MEMORY_MOST))
        except FileNotFoundError:
            memory = {}
        except OSError as error:
            raise ProfileError(f"cannot read {file}: {error.strerror}") from error
        except ValueError as error:
            raise ProfileError(f"{file} is damaged ({error}); mend it, or move it away to forget its pins") from error
        memory = {"pins": {}, "names": {}, "display_name": "", **(memory if isinstance(memory, dict) else {})}
        for part in ("pins", "names"):
            entries = memory[part]
            if not (isinstance(entries, dict) and all(socp.is_id(value) for value in entries.values())):
                raise ProfileError(f"{file} is damaged ({part}); mend it, or move it away to forget its pins")
        return memory

    def _remember(self, part: str, key: str, value: str) -> None:
        """Replace the file, whole or not at all, and what we know with it.

        `_lock` is held: this is the one lock over a disk, and a client's.
        """
        memory = {**self._memory, part: {**self._memory[part], key: value} if key else value}
        draft = self.path / f".profile.json.{secrets.token_hex(8)}"
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with open(descriptor, "w", encoding="utf-8") as stream:
                    json.dump(memory, stream, indent=1, sort_keys=True)
                    stream.flush()
                    os.fsync(descriptor)
                draft.replace(self.path / "profile.json")
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            raise ProfileError(f"cannot write {self.path / 'profile.json'}: {error.strerror}") from error
        self._memory = memory

    def key_pair(self, password: str | Callable[[bool], str] = "") -> KeyPair:
        """Return the profile's key, made if there is none; see crypto.keys.open_key_file for what is raised."""
        return open_key_file(self.path / "key.pem", password)

    def pin(self, address: Address) -> str | None:
        """Return the id of the server that answered at an address the first time."""
        with self._lock:
            pin = self._memory["pins"].get(str(address))
            return str(pin) if pin is not None else None

    def set_pin(self, address: Address, server_id: str) -> None:
        """Pin the server at an address.

        Raises:
            ProfileError: it cannot be written.
        """
        with self._lock:
            self._remember("pins", str(address), server_id)

    def bound_to(self, name: str) -> str | None:
        """Return the user id that a display name is bound to."""
        with self._lock:
            bound = self._memory["names"].get(name_key(name))
            return str(bound) if bound is not None else None

    def bind(self, name: str, user_id: str) -> None:
        """Bind a display name to a user, for good.

        Raises:
            ProfileError: it cannot be written.
        """
        with self._lock:
            if name_key(name) not in self._memory["names"]:
                self._remember("names", name_key(name), user_id)

    def bound_ids(self) -> set[str]:
        """Return all user ids that a name is bound to."""
        with self._lock:
            return set(self._memory["names"].values())

    @property
    def display_name(self) -> str:
        """The name that this profile's user goes by, or the empty string."""
        with self._lock:
            return str(self._memory["display_name"])

    def set_display_name(self, name: str) -> None:
        """Change the name that this profile's user goes by.

        Raises:
            ProfileError: it is too long, or cannot be written.
        """
        if len(name) > socp.DISPLAY_NAME_MOST:
            raise ProfileError(f"a display name has at most {socp.DISPLAY_NAME_MOST} characters")
        try:
            name.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ProfileError("the display name is not text") from error
        with self._lock:
            if self._memory["display_name"] != name:
                self._remember("display_name", "", name)

    def close(self) -> None:
        """Let another process have it."""
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    def __enter__(self) -> Profile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_profile(name: str | None = None, directory: Path | None = None) -> Profile:
    """Take a profile for this process alone.

    Args:
        name: which; None takes `default`, or the next of `default-2`, `default-3` … that no client is using.
        directory: where profiles are kept.

    Raises:
        ProfileError: the named one is in use, or it cannot be made or read.
    """
    root = directory if directory is not None else default_directory()
    if name is not None:
        if not _NAME.fullmatch(name):
            raise ProfileError(f"{name!r} is not a profile's name: use letters, digits, '.', '_' and '-'")
        profile = _take(root / name)
        if profile is None:
            raise ProfileError(f"the profile {name} is in use by another client; name another with --profile")
        return profile
    number = 1
    while (profile := _take(root / (DEFAULT_PROFILE if number == 1 else f"{DEFAULT_PROFILE}-{number}"))) is None:
        number += 1
    return profile


def _take(path: Path) -> Profile | None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Never unlinked: a lock on a file that another process can no longer find would keep nobody out.
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ProfileError(f"cannot use the profile {path}: {error.strerror}") from error
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        profile = Profile(path, lock)
        stack.pop_all()
        return profile
