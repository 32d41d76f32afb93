"""A client's profile: its key, the servers it has pinned, its contacts, the names it has bound, whom it has blocked.

What it remembers is in `profile.json`, which is written anew, whole, with each change. A part that a file of an older
version lacks is empty; one that is not as it should be makes the file damaged, and nothing of it is used.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import socp
from addresses import Address
from crypto.keys import KeyPair, open_key_file
from names import name_key, plain_name

DEFAULT_PROFILE = "default"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", re.ASCII)
_MEMORY_MOST = 16 * 1024 * 1024  # bytes
BLOCKED_MOST = 10_000
CONTACTS_MOST = 5_000


class ProfileError(Exception):
    """Raised when a profile cannot be used; says which, and what to do."""


@dataclass(frozen=True)
class Named:
    """A contact: a user to whom this profile's user has given a nickname.

    Attributes:
        nick: the nickname.
        since: when it was given a nickname first, Unix ms.
        verified: when its number was found to be the same on both sides (see fingerprint.py), Unix ms; 0 for not yet.
    """

    nick: str
    since: int = 0
    verified: int = 0


class ProfileInUse(ProfileError):
    """Raised when another process has a profile."""


class NoProfileName(ProfileError):
    """Raised for what cannot be the name of a profile."""


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
        # Replaced and never changed: each frame and name is looked up in them, and must not wait for the disk.
        self.blocked: Mapping[str, str] = self._memory["blocked"]
        self.bound: Mapping[str, str] = self._memory["names"]  # by name_key
        self.contacts: Mapping[str, Named] = {
            user_id: Named(entry["nick"], entry.get("since", 0), entry["verified"])
            for user_id, entry in self._memory["contacts"].items()
        }

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
        memory = {**{part: {} for part in _SOUND}, "display_name": "", **(memory if isinstance(memory, dict) else {})}
        damaged = [part for part, is_sound in _SOUND.items() if not _is_part(memory[part], is_sound)]
        if not _is_display_name(memory["display_name"]):
            damaged.append("display_name")
        if damaged:
            raise ProfileError(f"{file} is damaged ({damaged[0]}); mend it, or move it away to forget its pins")
        return memory

    def _replace(self, **parts: object) -> None:
        """Replace the file, whole or not at all, and what we know with it.

        `_lock` is held: this is the one lock over a disk, and a client's.
        """
        memory = {**self._memory, **parts}
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

    @property
    def has_key(self) -> bool:
        """Whether there is a key: else `key_pair` makes one."""
        return os.path.lexists(self.path / "key.pem")

    def key_pair(self, password: str | Callable[[bool], str] = "") -> KeyPair:
        """Return the profile's key, made if there is none; see crypto.keys.open_key_file for what is raised."""
        return open_key_file(self.path / "key.pem", password)

    def pin(self, address: Address) -> str | None:
        """Return the id of the server that answered at an address the first time."""
        with self._lock:
            pin = self._memory["pins"].get(str(address))
            return str(pin) if pin is not None else None

    def pinned_at(self, address: Address) -> int:
        """Return when the server of `pin` answered there first, Unix ms; 0 if that was not written down."""
        with self._lock:
            return int(self._memory["pins_seen"].get(str(address), 0))

    def set_pin(self, address: Address, server_id: str) -> None:
        """Pin the server at an address, as seen there first now unless it is pinned already.

        Raises:
            ProfileError: it cannot be written.
        """
        with self._lock:
            pins, seen = self._memory["pins"], self._memory["pins_seen"]
            if pins.get(str(address)) != server_id:
                self._replace(pins={**pins, str(address): server_id}, pins_seen={**seen, str(address): socp.now_ms()})

    def bound_to(self, name: str) -> str | None:
        """Return the user id that a display name is bound to."""
        return self.bound.get(name_key(name))

    def bind(self, name: str, user_id: str) -> None:
        """Bind a display name to a user, until `unbind`.

        Raises:
            ProfileError: it cannot be written.
        """
        with self._lock:
            if name_key(name) not in self.bound:
                self._set_bound({**self.bound, name_key(name): user_id})

    def unbind(self, user_id: str) -> None:
        """Free the display names that are bound to a user.

        Raises:
            ProfileError: it cannot be written.
        """
        with self._lock:
            self._set_bound({name: other for name, other in self.bound.items() if other != user_id})

    def _set_bound(self, bound: dict[str, str]) -> None:
        self._replace(names=bound)
        self.bound = bound

    def bound_ids(self) -> set[str]:
        """Return all user ids that a name is bound to."""
        return set(self.bound.values())

    def change_contacts(self, change: Callable[[Mapping[str, Named]], dict[str, Named]]) -> None:
        """Change who is a contact, in one step.

        Args:
            change: returns the contacts that shall be, from those that are; nobody else changes contacts or bound names
                meanwhile. What it raises is passed on, and nothing is changed. It must not call this profile.

        Raises:
            ProfileError: they cannot be written, or there are too many.
        """
        with self._lock:
            contacts = change(self.contacts)
            if len(contacts) > max(CONTACTS_MOST, len(self.contacts)):
                raise ProfileError(f"at most {CONTACTS_MOST:,} users can have a nickname; take it from others first")
            self._replace(contacts={user_id: asdict(named) for user_id, named in contacts.items()})
            self.contacts = contacts

    def block(self, user_id: str, name: str) -> None:
        """Remember that nothing of a user is to be shown.

        Args:
            user_id: which.
            name: that the user goes by now, for who reads the list later.

        Raises:
            ProfileError: it cannot be written, or there are too many.
        """
        with self._lock:
            if len(self.blocked) >= BLOCKED_MOST and user_id not in self.blocked:
                raise ProfileError(f"at most {BLOCKED_MOST:,} users can be blocked; unblock others first")
            self._set_blocked({**self.blocked, user_id: name})

    def unblock(self, user_id: str) -> None:
        """Forget that a user was blocked.

        Raises:
            ProfileError: it cannot be written.
        """
        with self._lock:
            self._set_blocked({other: name for other, name in self.blocked.items() if other != user_id})

    def _set_blocked(self, blocked: dict[str, str]) -> None:
        self._replace(blocked=blocked)
        self.blocked = blocked

    @property
    def display_name(self) -> str:
        """The name that this profile's user goes by, or the empty string."""
        with self._lock:
            name: str = self._memory["display_name"]
            return name

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
                self._replace(display_name=name)

    def close(self) -> None:
        """Let another process have it."""
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    def __enter__(self) -> Profile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_part(value: object, is_sound: Callable[[str, Any], bool]) -> bool:
    return isinstance(value, dict) and all(is_sound(*entry) for entry in value.items())


def _is_display_name(value: object) -> bool:
    """Tell whether a server would take a name; a backup of somebody else's can hold anything."""
    if not (isinstance(value, str) and len(value) <= socp.DISPLAY_NAME_MOST):
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:  # a half of a surrogate pair
        return False
    return True


def _is_contact(value: object) -> bool:
    if not (isinstance(value, dict) and isinstance(value.get("nick"), str) and plain_name(value["nick"])):
        return False
    times = (value.get("verified"), value.get("since", 0))
    return all(socp.is_ts(time) or (time == 0 and type(time) is int) for time in times)


# What each part of a memory is to hold: of a key and its value, whether they are as they should be.
_SOUND: dict[str, Callable[[str, Any], bool]] = {
    "pins": lambda _address, server_id: socp.is_id(server_id),
    "pins_seen": lambda _address, time: socp.is_ts(time),
    "names": lambda _name, user_id: socp.is_id(user_id),
    "contacts": lambda user_id, entry: socp.is_id(user_id) and _is_contact(entry),
    "blocked": lambda user_id, name: socp.is_id(user_id) and isinstance(name, str),
}


def profile_path(name: str, directory: Path | None = None) -> Path:
    """Return where a profile is kept, whether it is there or not.

    Args:
        name: which.
        directory: where profiles are kept.

    Raises:
        NoProfileName: no profile can have that name.
    """
    if not _NAME.fullmatch(name):
        raise NoProfileName(f"{name!r} is not a profile's name: use letters, digits, '.', '_' and '-'")
    return (directory if directory is not None else default_directory()) / name


def open_profile(name: str | None = None, directory: Path | None = None) -> Profile:
    """Take a profile for this process alone.

    Args:
        name: which; None takes `default`, or the next of `default-2`, `default-3` … that no client is using.
        directory: where profiles are kept.

    Raises:
        ProfileInUse: the named one is in use.
        ProfileError: it cannot be made or read.
    """
    root = directory if directory is not None else default_directory()
    if name is not None:
        profile = _take(profile_path(name, root))
        if profile is None:
            raise ProfileInUse(f"the profile {name} is in use by another client; name another with --profile")
        return profile
    number = 1
    while (profile := _take(root / (DEFAULT_PROFILE if number == 1 else f"{DEFAULT_PROFILE}-{number}"))) is None:
        number += 1
    return profile


def when_free(path: Path, then: Callable[[], None]) -> None:
    """Have something called once no process has a profile, or it cannot be told.

    Only the system ends this wait: its thread, in which that is called, is left to the end of this process.
    """

    def wait() -> None:
        with contextlib.suppress(OSError):
            lock = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            finally:
                os.close(lock)
        then()

    threading.Thread(target=wait, name="profile", daemon=True).start()


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
