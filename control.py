"""Scripts beside a running client of the same profile: they have it do their errands, through a Unix socket.

The socket is `control` in the profile's directory, and for its user alone; where that path is too long for a socket,
it is a symbolic link to one elsewhere. A script connects, the client greets it, and the script asks for one errand;
then come reports, and at last how it ended. Each is a JSON object on a line of its own, of limited length:

    client  {"control": 1}
    script  {"do": "tell", "user": "ben", "text": "Lunch at noon?", "path": "", "count": 0}
    client  {"report": {…}}                                        any number of them; see reports.py
    client  {"ending": {"code": 0, "error": "", "hint": ""}}

Each script has a thread of its own at the client. Whatever happens is put into a queue for it there; a script that
does not read is cut off when that is full, and never waited for.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
import struct
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from chat import Chat
from errands import Desk, Ending, Errand, Request, Said, Witness, ending_of, make_errand, read_request, request_values
from errors import ChatError
from events import Event
from exits import Exit
from framing import decode_body
from profiles import Profile
from reports import as_json, check_report
from socp import LinkError
from threads import Deadline, Threads
from waking import Waker

log = logging.getLogger("socp.control")

VERSION: Final = 1
_NAME: Final = "control"
_PATH_MOST: Final = 103  # bytes of a socket's path; macOS has room for one more, Linux for five
LINE_MOST: Final = 256 * 1024  # bytes: the longest text is 28,544, each of which can be escaped as six
_GUESTS_MOST: Final = 32  # scripts at a time
_WAITING_MOST: Final = 256  # that a script has not read yet
_PATIENCE: Final = 10.0  # seconds for what a script or a client does at once, if it is well


class NoClient(Exception):
    """Raised when no running client answers for a profile."""


class Gone(Exception):
    """Raised when the other end of a control connection has closed, is stuck, or talks nonsense."""


class Client(Witness, Protocol):
    """What a running client lets scripts have of it; its methods as a witness run in a thread of the script's."""

    @property
    def chat(self) -> Chat:
        """Its connection."""

    def subscribe(self, handler: Callable[[Event], None]) -> Callable[[], None]:
        """Have all events handled, in the thread in which Chat tells of them; returns what ends that."""


# --- where the socket is ----------------------------------------------------------------------------------------------


def _bind(directory: Path) -> tuple[socket.socket, Path]:
    """Return a socket that listens for the scripts of a profile, which is ours, and where it really is.

    Raises:
        OSError: it cannot be made.
    """
    name = directory / _NAME
    _remove(name)  # what a client has left that was killed
    place = name
    if len(os.fsencode(name)) > _PATH_MOST:
        place = Path(tempfile.mkdtemp(prefix="socp-")) / _NAME
        name.symlink_to(place)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fsencode(place))
        place.chmod(0o600)  # before it listens: until then, nobody gets in
        listener.listen()
    except OSError:
        listener.close()
        _remove(name)
        raise
    return listener, name


def _remove(name: Path) -> None:
    """Remove a socket, where it can be, and what it is elsewhere."""
    with contextlib.suppress(OSError):
        if name.is_symlink():
            place = name.readlink()
            if _is_private(place.parent):
                place.unlink(missing_ok=True)
                place.parent.rmdir()
    with contextlib.suppress(OSError):
        name.unlink(missing_ok=True)


def _is_private(directory: Path) -> bool:
    """Tell whether a directory is for our user alone: in /tmp, anybody can make one of any name that is free."""
    try:
        status = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _connect(directory: Path) -> socket.socket:
    """Return a connection to the running client of a profile.

    Raises:
        NoClient: there is none.
    """
    place = directory / _NAME
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if place.is_symlink():
            place = place.readlink()
            if not _is_private(place.parent):
                raise NoClient(f"{place.parent} is not for this user alone")
        connection.settimeout(_PATIENCE)
        connection.connect(os.fsencode(place))
        if not _is_same_user(connection):
            raise NoClient("another user answers")
    except OSError as error:
        connection.close()
        raise NoClient(error.strerror or str(error)) from error
    except NoClient:
        connection.close()
        raise
    return connection


def _is_same_user(connection: socket.socket) -> bool:
    """Tell whether the other end is of our user; the modes of the files are to see to that, too."""
    try:
        if sys.platform == "linux":
            _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        else:
            # macOS: SOL_LOCAL and LOCAL_PEERCRED; the answer begins with a version and the user.
            _, user = struct.unpack("Ii", connection.getsockopt(0, 1, 76)[:8])
    except OSError:
        return False  # it is gone already
    return bool(user == os.geteuid())


# --- lines ------------------------------------------------------------------------------------------------------------


class _Wire:
    """A connection that JSON objects go over, one a line; one thread alone may use it.

    Args:
        connection: what it goes over.
        waker: what else ends a wait for a line.
    """

    def __init__(self, connection: socket.socket, waker: Waker) -> None:
        self._connection = connection
        self._connection.settimeout(_PATIENCE)
        self._waker = waker
        self._data = bytearray()

    def send(self, value: Mapping[str, object]) -> None:
        """Send an object.

        Raises:
            Gone: it is not taken.
        """
        line = as_json(value).encode("ascii") + b"\n"
        if len(line) > LINE_MOST:
            raise Gone(f"{len(line):,} bytes are too long")
        try:
            self._connection.sendall(line)
        except OSError as error:
            raise Gone(error.strerror or str(error)) from error

    def receive(self, seconds: float | None) -> dict[str, Any] | None:
        """Return the next object; None when there is none in time, or the waker has woken this.

        Raises:
            Gone: there will be none.
        """
        while (end := self._data.find(b"\n")) < 0:
            if not self._waker.wait(seconds, self._connection):
                return None
            self._read()
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        try:
            return decode_body(line)
        except LinkError as error:
            raise Gone(error.detail) from error

    def _read(self) -> None:
        try:
            data = self._connection.recv(65_536)
        except OSError as error:
            raise Gone(error.strerror or str(error)) from error
        if not data:
            raise Gone("the other end has closed")
        self._data += data
        if len(self._data) > 2 * LINE_MOST:
            raise Gone("a line without an end")


# --- at the running client --------------------------------------------------------------------------------------------


class _Guest:
    """One script at the running client."""

    def __init__(self, connection: socket.socket, client: Client, desk: Desk) -> None:
        self._connection = connection
        self._client = client
        self._desk = desk
        self._waker = Waker()
        self._wire = _Wire(connection, self._waker)
        self._lock = threading.Lock()  # guards the two below
        self._waiting: deque[Said] = deque()
        self._full = False

    def run(self) -> None:
        """Do the script's errand; the body of one thread."""
        try:
            self._wire.send({"control": VERSION})
            value = self._wire.receive(_PATIENCE)
            if value is None:
                raise Gone("it asked for nothing")
            try:
                errand = make_errand(self._desk, read_request(value))
            except ValueError as error:
                self._say(Ending(Exit.FAILURE, f"the running client does not understand this script: {error}"))
                return
            self._do(errand)
        except Gone as error:
            log.info("a script is gone: %s", error)
        finally:
            self._close()

    def refuse(self) -> None:
        """Send the script away; this does not wait, since nothing was sent there before."""
        with contextlib.suppress(Gone):
            self._wire.send({"control": VERSION})
            self._say(Ending(Exit.FAILURE, "other scripts use the running client, as many as may", "try again later"))
        self._close()

    def _close(self) -> None:
        self._connection.close()
        self._waker.close()

    def _do(self, errand: Errand) -> None:
        def hear(event: Event) -> None:
            for said in errand.hear(event) or ():
                self._put(said)

        stop = self._client.subscribe(hear)
        try:
            for said in errand.begin():
                if self._tell(said):
                    return
            while not self._tell(self._next()):
                pass
        except ChatError as error:
            self._say(ending_of(error))
        except Gone:
            errand.abandon()
            raise
        finally:
            stop()

    def _tell(self, said: Said) -> bool:
        """Tell the script something; whether that was the end."""
        if isinstance(said, Ending):
            self._say(said)
            return True
        self._wire.send({"report": said})
        return False

    def _say(self, ending: Ending) -> None:
        self._wire.send({"ending": {"code": int(ending.code), "error": ending.error, "hint": ending.hint}})

    def _put(self, said: Said) -> None:
        """Have the script told something, in its turn; in Chat's thread, which waits for no script."""
        with self._lock:
            if len(self._waiting) < _WAITING_MOST:
                self._waiting.append(said)
            else:
                self._full = True
        self._waker.wake()

    def _next(self) -> Said:
        """Wait for what the script is to be told next."""
        while True:
            with self._lock:
                if self._full:
                    return Ending(Exit.FAILURE, "this script does not read what it is told; it was cut off")
                if self._waiting:
                    return self._waiting.popleft()
            if self._wire.receive(None) is not None:
                raise Gone("it asks for more than one errand")

    def end(self) -> None:
        """Have the thread end, wherever it is."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._waker.wake()


class ControlServer:
    """The door of a running client for scripts.

    Args:
        client: whom they may use.
        profile: whose it is.
    """

    def __init__(self, client: Client, profile: Profile) -> None:
        self._client = client
        self._desk = Desk(client.chat, profile, client)
        self._directory = profile.path
        self._threads = Threads()
        self._waker = Waker()
        self._listener: socket.socket | None = None
        self._name: Path | None = None
        self._lock = threading.Lock()  # guards the two below
        self._guests: set[_Guest] = set()
        self._closed = False

    def start(self) -> None:
        """Let scripts in from now on.

        Raises:
            OSError: the socket cannot be made.
        """
        self._listener, self._name = _bind(self._directory)
        self._listener.setblocking(False)
        self._threads.start("control", self._accept)

    def close(self, seconds: float) -> None:
        """Let nobody in any more, and send everybody away; to be called after Chat.close. Harmless when repeated."""
        with self._lock:
            self._closed = True
            guests = list(self._guests)
        self._waker.wake()
        for guest in guests:
            guest.end()
        if left := self._threads.join(Deadline(seconds)):
            log.warning("threads that did not end in time: %s", ", ".join(left))
        if self._name is not None:
            _remove(self._name)
            self._name = None
        self._waker.close()

    def _accept(self) -> None:
        assert self._listener is not None
        with contextlib.closing(self._listener) as listener:
            while True:
                self._waker.wait(None, listener)
                with self._lock:
                    if self._closed:
                        return
                try:
                    connection, _ = listener.accept()
                except (BlockingIOError, ConnectionError):
                    continue
                except OSError as error:
                    log.warning("no script can be let in any more: %s", error.strerror)
                    return
                self._welcome(connection)

    def _welcome(self, connection: socket.socket) -> None:
        connection.setblocking(True)
        if not _is_same_user(connection):
            connection.close()
            return
        guest = _Guest(connection, self._client, self._desk)
        with self._lock:
            is_welcome = not self._closed and len(self._guests) < _GUESTS_MOST
            if is_welcome:
                self._guests.add(guest)
        if not is_welcome or not self._threads.start("script", lambda: self._run(guest)):
            with self._lock:
                self._guests.discard(guest)
            guest.refuse()

    def _run(self, guest: _Guest) -> None:
        try:
            guest.run()
        finally:
            with self._lock:
                self._guests.discard(guest)


# --- at the script ----------------------------------------------------------------------------------------------------


class ControlClient:
    """A script's connection to the running client of its profile.

    Args:
        directory: the profile's.
        waker: what ends a wait besides what comes.

    Raises:
        NoClient: nobody answers there who speaks as we do.
    """

    def __init__(self, directory: Path, waker: Waker) -> None:
        self._connection = _connect(directory)
        self._wire = _Wire(self._connection, waker)
        try:
            greeting = self._wire.receive(_PATIENCE)
        except Gone as error:
            greeting = None
            log.info("the running client says nothing: %s", error)
        if greeting is None or greeting.get("control") != VERSION:
            self._connection.close()
            raise NoClient("it is of another version" if greeting else "it does not answer")

    def ask(self, request: Request) -> None:
        """Ask for an errand.

        Raises:
            Gone: it cannot be asked for.
        """
        self._wire.send(request_values(request))

    def next(self, seconds: float | None) -> Said | None:
        """Return what is said next; None when there is nothing in time, or the waker has woken this.

        Raises:
            Gone: nothing will be said any more, or what makes no sense.
        """
        value = self._wire.receive(seconds)
        if value is None:
            return None
        try:
            return check_report(value["report"]) if "report" in value else _read_ending(value.get("ending"))
        except ValueError as error:
            raise Gone(str(error)) from error

    def close(self) -> None:
        """Go: an errand that can be undone is."""
        self._connection.close()


def _read_ending(value: object) -> Ending:
    if isinstance(value, dict):
        code, error, hint = (value.get(name) for name in ("code", "error", "hint"))
        if isinstance(code, int) and isinstance(error, str) and isinstance(hint, str):
            return Ending(Exit(code), error, hint)
    raise ValueError("neither a report nor an ending")
