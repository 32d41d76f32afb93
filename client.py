"""A SOCP client for the terminal: /list, /tell, /all and /file (PROTOCOL.md sections 5.1 and 16).

python client.py
"""

from __future__ import annotations

import argparse
import getpass
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from addresses import Address, AddressError, read_address
from chat import Chat
from console import complain, say, speak_utf8, start_logging
from crypto.keys import KeyFileError, WrongPassword
from downloads import safe_name
from errors import AttachRefused, ChatError, NotConnected, NotShown, ServerChanged
from events import (
    Connected,
    Delivered,
    Disconnected,
    Event,
    Failed,
    FileDone,
    FileFailed,
    FileInterrupted,
    FileResumed,
    FileStarted,
    Message,
    Notice,
    PublicMessage,
    Stored,
    Unconfirmed,
)
from lines import TERMINAL_LINE, LineCut, Lines
from profiles import DEFAULT_PROFILE, Profile, ProfileError, open_profile
from programs import StartError, prepare_process, run_program
from settings import Settings

LOST_CONNECTION = 3  # the exit code

_HELP = """\
/list                     who is online: id, name, server
/tell <user> <message>    a message that <user> alone can read
/all <message>            a message that everyone can read, servers included
/file <user> <path>       a file that <user> alone can read
/help                     this
/quit                     leave
A <user> is an id, a beginning of one (4 characters or more), or a display name ("in quotes" if it has spaces)."""


_FATES: dict[type, str] = {
    Stored: "stored until the user is back",
    Delivered: "delivered",
    Unconfirmed: "not confirmed after 7 days",
}


class Told(BaseException):
    """Raised in the main thread when a signal tells the program to end."""


class Terminal:
    """Turns lines into calls of Chat, and its events into lines."""

    def __init__(self, arguments: argparse.Namespace, settings: Settings) -> None:
        self._arguments = arguments
        self._settings = settings
        self._lines = Lines()
        self._chat: Chat | None = None
        self._failures = 0
        self._introduced = threading.Event()  # what happens is shown below the lines that say who is here

    def run(self) -> int:
        """Run the client from its first question to its end; returns the exit code.

        Raises:
            StartError: it could not begin.
        """
        try:
            addresses: list[Address] = self._arguments.server or [self._ask_address()]
            with open_profile(self._arguments.profile, self._arguments.data_dir) as profile:
                return self._run_with(profile, addresses)
        except ProfileError as error:
            raise StartError(str(error)) from error
        finally:
            self._lines.close()

    def _run_with(self, profile: Profile, addresses: list[Address]) -> int:
        if self._arguments.profile is None and profile.name != DEFAULT_PROFILE:
            say(f"[Profile] {DEFAULT_PROFILE} is in use by another client; this one is {profile.name}")
        if self._arguments.name is not None:
            profile.set_display_name(self._arguments.name)
        try:
            chat = Chat(
                profile,
                self._show,
                password=self._ask_password,
                downloads=self._arguments.downloads,
                settings=self._settings,
            )
        except WrongPassword as error:
            raise StartError(f"{error} (it is taken from $CHAT_KEY_PASSWORD, or asked for)") from error
        except KeyFileError as error:
            raise StartError(str(error)) from error
        self._chat = chat
        try:
            try:
                try:
                    self._attach(chat, addresses)
                finally:
                    self._introduced.set()
                return self._converse(chat)
            except Told as told:
                return int(told.args[0])
        finally:
            # What was told to end is ending: nothing more can hurry it.
            for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(ending, signal.SIG_IGN)
            chat.close()

    # --- beginning ----------------------------------------------------------------------------------------------

    def _ask_address(self) -> Address:
        while True:
            answer = self._ask("Server port: ")
            if answer is None:
                raise StartError("no server was named; give its port here, or --server host:port")
            try:
                return read_address(answer, "127.0.0.1")
            except AddressError as error:
                if not self._lines.is_terminal:
                    raise StartError(str(error)) from error
                say(str(error))

    def _ask(self, question: str) -> str | None:
        say(question, end="" if self._lines.is_terminal else "\n")
        try:
            return self._lines.next()
        except LineCut:
            return ""  # far too long to be an answer

    def _ask_password(self, new: bool) -> str:
        given = os.environ.get("CHAT_KEY_PASSWORD")
        if given is not None or not self._lines.is_terminal:
            return given or ""
        try:
            password = getpass.getpass("Key password (empty for none): ")
            if new and password and getpass.getpass("The same again: ") != password:
                raise StartError("the two passwords differ; no key was made")
        except EOFError as error:
            raise StartError("no password was given") from error
        except UnicodeDecodeError as error:
            raise StartError("the password is not text in UTF-8") from error
        return password

    def _attach(self, chat: Chat, addresses: list[Address]) -> None:
        trusted = self._arguments.trust_server or ""
        said_hello = partial(say, "[Hello] Sent USER_HELLO (pubkey attached)")
        try:
            try:
                chat.attach(*addresses, trusted=trusted, said_hello=said_hello)
            except ServerChanged as error:
                # Asked now, with the connection closed: a server does not wait for a person in mid-handshake.
                if not self._trust(error):
                    raise
                chat.attach(*addresses, trusted=error.found, said_hello=said_hello)
        except ServerChanged as error:
            raise StartError(
                f"refused: {error}. Somebody may be in the middle. If you know that it was replaced, go on with "
                f"--trust-server {error.found}"
            ) from error
        except (AttachRefused, NotConnected) as error:
            raise StartError(str(error)) from error
        say(f"[Me] user_id = {chat.user_id}")
        if chat.undelivered:
            say(f"[Note] {chat.undelivered} message(s) of before are not confirmed yet; they are sent again")

    def _trust(self, error: ServerChanged) -> bool:
        if not self._lines.is_terminal:
            return False
        say("[Server] This is not the server that was here before!")
        say(f"[Server]   before: {error.pinned}")
        say(f"[Server]   now:    {error.found}")
        return (self._ask('Type "yes" to trust the new one from now on: ') or "").strip() == "yes"

    # --- commands -----------------------------------------------------------------------------------------------

    def _converse(self, chat: Chat) -> int:
        commands: dict[str, Callable[[Chat, str], None]] = {
            "/list": self._list,
            "/tell": self._tell,
            "/all": self._tell_all,
            "/file": self._send_file,
            "/help": lambda _chat, _rest: _show_help(),
        }
        if self._lines.is_terminal:
            say("[Help] /list, /tell <user> <message>, /all <message>, /file <user> <path>, /help, /quit")
        try:
            while (line := self._next_line()) is not None:
                word, _, rest = line.strip().partition(" ")
                if word == "/quit":
                    return self._leave(chat)
                if not word:
                    continue
                self._do(chat, commands.get(word), word, rest.lstrip())
        except InterruptedError:
            return LOST_CONNECTION if chat.lost else 1
        if not self._wait_settled(chat) and not chat.lost:
            self._say_unfinished(chat, self._complain, "in time")
        if chat.lost or (self._failures and not chat.server_id):
            return LOST_CONNECTION
        return min(self._failures, 1)

    def _next_line(self) -> str | None:
        while True:
            try:
                return self._lines.next()
            except LineCut:
                self._complain(
                    f"the terminal has cut this line at {TERMINAL_LINE:,} bytes, and nothing was sent: "
                    "put what is longer into a pipe, or send it as a file"
                )

    def _wait_settled(self, chat: Chat) -> bool:
        """Wait for receipts and transfers, without blocking in Chat: here, a signal must always end the wait."""
        settled: list[bool] = []

        def told(how: bool) -> None:
            settled.append(how)
            self._lines.wake()

        chat.tell_when_settled(self._settings.timers.farewell, told)
        self._lines.wait_woken()
        return any(settled)

    def _do(self, chat: Chat, command: Callable[[Chat, str], None] | None, word: str, rest: str) -> None:
        if command is None:
            self._complain(f"{word} is no command; /help shows what there is")
            return
        try:
            command(chat, rest)
        except ChatError as error:
            if not chat.lost:
                self._complain(str(error))

    def _complain(self, text: str) -> None:
        self._failures += 1
        say(f"[Error] {text}")

    def _leave(self, chat: Chat) -> int:
        self._say_unfinished(chat, lambda text: say(f"[Note] {text}"), "yet")
        return LOST_CONNECTION if chat.lost else 0

    def _say_unfinished(self, chat: Chat, say_it: Callable[[str], None], when: str) -> None:
        if chat.undelivered:
            say_it(
                f"{chat.undelivered} message(s) were not confirmed {when}; they are kept in the profile "
                f"{chat.profile_name}, and sent again when it is used next"
            )
        if chat.unsent_files:
            say_it(f"{chat.unsent_files} file(s) were not confirmed {when}")

    def _list(self, chat: Chat, _rest: str) -> None:
        users = chat.users()
        say(f"[List] {len(users)} online")
        for user in users:
            me = "  (you)" if user.user_id == chat.user_id else ""
            say(f"  {user.user_id}  {chat.contacts.listed_name(user) or '-'}  {user.server_id}{me}")

    def _tell(self, chat: Chat, rest: str) -> None:
        user, message = _split(rest)
        if not user or not message:
            self._complain("usage: /tell <user> <message>")
            return
        # Here, and not when its turn comes among what others say: that may be many lines.
        chat.tell(user, message, lambda to, number: say(f"[DM to {self._label(to)}] sent (#{number})"))

    def _tell_all(self, chat: Chat, rest: str) -> None:
        if not rest:
            self._complain("usage: /all <message>")
            return
        chat.tell_all(rest)

    def _send_file(self, chat: Chat, rest: str) -> None:
        user, path = _split(rest)
        if not user or not path:
            self._complain("usage: /file <user> <path>")
            return
        try:
            found = Path(path.strip()).expanduser()
        except RuntimeError:
            self._complain(f"cannot read {path.strip()}: there is no such user")
            return
        chat.send_file(user, found)

    # --- events -------------------------------------------------------------------------------------------------

    def _show(self, event: Event) -> None:
        """Print an event; runs in Chat's thread for that."""
        self._introduced.wait()
        try:
            self._print(event)
        except BrokenPipeError as error:
            self._lines.wake()  # nobody reads what we print: there is no sense in going on
            raise NotShown("nobody reads what is shown") from error

    def _print(self, event: Event) -> None:
        assert self._chat is not None
        if isinstance(event, Message):
            say(f"[DM from {self._chat.contacts.label(event.sender, event.name)}] {event.text}")
        elif isinstance(event, PublicMessage):
            say(f"[All] {self._chat.contacts.label(event.sender, event.name)}: {event.text}")
        elif isinstance(event, Delivered | Stored | Unconfirmed):
            self._failures += isinstance(event, Unconfirmed)
            say(f"[DM to {self._label(event.to)}] {_FATES[type(event)]} (#{event.number})")
        elif isinstance(event, Failed):
            self._failures += 1
            if event.number is None:
                say(f"[All] failed: {event.code}: {event.reason}")
            else:
                say(f"[DM to {self._label(event.to)}] failed: {event.code}: {event.reason} (#{event.number})")
        elif isinstance(event, FileStarted):
            doing = "receiving" if event.incoming else "sending"
            say(f"{self._file(event)} {doing} {safe_name(event.name)} ({event.size:,} bytes)")
        elif isinstance(event, FileDone):
            done = f"saved {event.path}" if event.incoming else f"{safe_name(event.name)} delivered"
            say(f"{self._file(event)} {done} ({event.size:,} bytes)")
        elif isinstance(event, FileInterrupted):
            say(f"{self._file(event)} {safe_name(event.name)} interrupted: {event.reason}")
        elif isinstance(event, FileResumed):
            say(f"{self._file(event)} {safe_name(event.name)} goes on")
        elif isinstance(event, FileFailed):
            self._failures += not event.incoming
            say(f"{self._file(event)} {safe_name(event.name)} failed: {event.reason}")
        elif isinstance(event, Notice):
            say(f"[Note] {event.text}")
        elif isinstance(event, Disconnected):
            say(f"[Server] connection lost: {event.reason}")
            if event.final:
                self._lines.wake()
        elif isinstance(event, Connected):
            say(f"[Server] connected again: {event.address} ({event.server_id})")

    def _label(self, user_id: str) -> str:
        assert self._chat is not None
        return self._chat.contacts.label(user_id, self._chat.contacts.name_of(user_id))

    def _file(self, event: FileStarted | FileInterrupted | FileResumed | FileDone | FileFailed) -> str:
        return f"[File {'from' if event.incoming else 'to'} {self._label(event.peer)}]"


def _split(rest: str) -> tuple[str, str]:
    """Cut a command's rest into the user, who may stand in quotes, and what follows."""
    if rest.startswith('"') and '"' in rest[1:]:
        user, _, text = rest[1:].partition('"')
        return user, text.lstrip()
    user, _, text = rest.partition(" ")
    return user, text.lstrip()


def _show_help() -> None:
    for line in _HELP.splitlines():
        say(line)


def _server_argument(text: str) -> Address:
    try:
        return read_address(text, "127.0.0.1")
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Chat through a SOCP server.", allow_abbrev=False)
    parser.add_argument(
        "--server",
        type=_server_argument,
        action="append",
        metavar="HOST:PORT",
        help="asked for if not given; may be repeated, for others to go to when the first is gone",
    )
    parser.add_argument("--profile", metavar="NAME", help="whose key and pins to use (default: the next free default)")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="where profiles are kept (default: $XDG_DATA_HOME/socp/profiles)"
    )
    parser.add_argument("--name", metavar="DISPLAY", help="the display name to go by; kept in the profile")
    parser.add_argument(
        "--downloads",
        type=Path,
        default=Path("received_files"),
        metavar="DIR",
        help="where received files are put (default: %(default)s)",
    )
    parser.add_argument(
        "--trust-server", metavar="ID", help="go on with this server where another one was pinned before"
    )
    return parser.parse_args(argv)


def _raise_told(code: int, *_: object) -> None:
    raise Told(code)


def main(argv: Sequence[str] | None = None, settings: Settings | None = None) -> int:
    """Run a client; returns the exit code: 0, 1 if something failed, 3 if the connection was lost for good."""
    arguments = _arguments(argv)
    speak_utf8()
    start_logging("WARNING")
    prepare_process()
    for ending, code in ((signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)):
        if signal.getsignal(ending) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(ending, partial(_raise_told, code))
    try:
        return run_program("Client", Terminal(arguments, settings or Settings()).run)
    except Told as told:
        complain("")
        return int(told.args[0])


if __name__ == "__main__":
    sys.exit(main())
