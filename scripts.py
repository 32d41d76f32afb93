"""The commands of scripts: `client.py tell`, `all`, `list`, `send`, `listen` and `whoami`, each done and gone.

Where the profile is free, a script is a client of its own for as long as it takes; where a running client has it, that
client does the errand (control.py). Either way standard output holds reports alone, and standard error the rest.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from asking import KEY_VARIABLE, ask, at_terminal, take_variable
from channels import with_tls
from chat import Chat
from console import complain, say
from control import ControlClient, ControlServer, Gone, NoClient
from crypto.keys import KeyProblem
from errands import Desk, Ending, Errand, Request, Said, ending_of, make_errand
from errors import ChatError, NotShown
from events import Event, Message, PublicMessage
from exits import Exit, explain
from failures import code_of, hint_for
from offers import OfferPolicy
from options import Options
from optiontable import NONE
from profiles import DEFAULT_PROFILE, Profile, ProfileError, ProfileInUse, open_profile, profile_path, when_free
from programs import StartError, end_by_force, forget_output
from reports import NOTES, Report, as_json, as_text, whoami
from settings import Settings
from subscribers import Handler, Subscribers
from threads import Deadline
from waking import Waker

COMMANDS: Final = ("tell", "all", "list", "send", "listen", "whoami")

_FORCE: Final = 2.0  # seconds beyond those that an orderly end may take
_CONFIRMED: Final = 2.0  # seconds for a receipt to be on its way
_INPUT_MOST: Final = 64 * 1024  # bytes; no message may have half of that


def run_script(options: Options, settings: Settings) -> int:
    """Do what a script asks for, and return its exit code; what goes wrong is said on standard error.

    To be called in the main thread; what a handler of signals raises there ends the script.

    Args:
        options: whose `command` is one of COMMANDS.
        settings: timers and limits; how TLS is used comes from the options.
    """
    if sys.stdout is None:
        explain("standard output is closed", "give it somewhere to go, if only /dev/null")
        return int(Exit.FAILURE)
    output = Output(as_json=options.json)
    with Waker() as waker:
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        try:
            ending = Script(options, settings, output, waker, _hurry).run()
        finally:
            signal.set_wakeup_fd(-1)
            if output.failed:
                forget_output()
    if ending.error:
        explain(ending.error, ending.hint)
    return int(ending.code)


def _hurry(seconds: float) -> None:
    """Have this process end in so many seconds, whatever holds it up; until then, nothing can hurry it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end_by_force(seconds, Exit.FAILURE)


class Output:
    """Where reports go: to standard output, one a line; in text, what was not asked for goes to standard error.

    Args:
        as_json: whether reports are JSON objects there.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.failed = False  # nobody reads what is printed, or it cannot be written

    def report(self, report: Report) -> None:
        """Print a report.

        Raises:
            NotShown: it was not taken.
        """
        if not self._as_json and report["type"] in NOTES:
            self.note(as_text(report))
            return
        if self.failed:
            raise NotShown("standard output has ended")
        try:
            say(as_json(report) if self._as_json else as_text(report))
        except OSError as error:
            self.failed = True
            raise NotShown(f"standard output takes nothing: {error.strerror or error}") from error

    @staticmethod
    def note(text: str) -> None:
        """Print a note for people, where somebody reads it."""
        with contextlib.suppress(OSError):
            complain(f"socp: note: {text}")


class Patience:
    """How long a script waits, and for what.

    A file may take as long as it gets on, once its recipient has accepted it: it has timers of its own.
    """

    def __init__(self, request: Request, seconds: float | None) -> None:
        self._request = request
        self._seconds = seconds
        self._sent: Report | None = None
        self._deadline = Deadline(seconds or 0.0)

    def begin_anew(self) -> None:
        """Have the time begin now."""
        self._deadline = Deadline(self._seconds or 0.0)

    def note(self, report: Report) -> None:
        """Note how far the errand is."""
        if report["type"] == "sent":
            self._sent = report
        elif report["type"] == "file-started":
            self._seconds = None

    def left(self) -> float | None:
        """Return how many seconds are left; None if there is no end."""
        return None if self._seconds is None else self._deadline.left()

    @property
    def over(self) -> bool:
        """Whether nothing is to be waited for any more."""
        return self._seconds is not None and not self._deadline.left()

    def ending(self, who_goes_on: str) -> Ending:
        """Return how a script ends whose time is over.

        Args:
            who_goes_on: what becomes of a message that nothing is known of.
        """
        request = self._request
        if request.do == "listen":
            return Ending(Exit.TIMED_OUT, f"fewer than {request.count} came") if request.count else Ending(Exit.DONE)
        if request.do == "tell" and self._sent is not None:
            what = f"message #{self._sent['number']} to {self._sent['label']}"
            return Ending(
                Exit.TIMED_OUT, f"nothing is known yet of {what}", f"it is kept in the profile; {who_goes_on}"
            )
        if request.do == "send":
            return Ending(Exit.TIMED_OUT, "the file was not accepted in time", "give more with --timeout seconds")
        return Ending(Exit.TIMED_OUT, "it took too long", "give more with --timeout seconds")


class Script:
    """One run of a script.

    Args:
        options: what is to be done, and how.
        settings: timers and limits.
        output: where reports go.
        waker: ends the wait for what happens.
        hurry: told that all is done but for leaving, and how many seconds that may take.
    """

    def __init__(
        self,
        options: Options,
        settings: Settings,
        output: Output,
        waker: Waker,
        hurry: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self._options = options
        self._settings = _settings_of(options, settings)
        self._output = output
        self._waker = waker
        self._hurry = hurry
        self._name = options.profile or DEFAULT_PROFILE  # of several clients of one person, scripts mean the first

    def run(self) -> Ending:
        """Do it, and return how it ended."""
        options = self._options
        try:
            request = _request_of(options)
            patience = Patience(request, options.arguments.seconds if request.do == "listen" else options.timeout)
            path = profile_path(self._name, options.data_dir)
            if request.do == "whoami" and not os.path.lexists(path / "key.pem"):
                hint = f"make one: client.py key new --profile {self._name}; or connect to a server"
                return Ending(Exit.BAD_KEY, f"the profile {self._name} has no key yet", hint)
            return self._do_or_have_done(path, request, patience)
        except StartError as error:
            return Ending(Exit(error.code), str(error), error.hint)
        except (ProfileError, KeyProblem) as error:
            return Ending(code_of(error), str(error), hint_for(error))
        except ChatError as error:
            return ending_of(error)

    def _do_or_have_done(self, path: Path, request: Request, patience: Patience) -> Ending:
        # Other scripts have the profile for a moment, and a client that begins or ends lets nobody in.
        deadline = Deadline(self._settings.timers.stop)
        while True:
            with contextlib.suppress(ProfileInUse), open_profile(self._name, self._options.data_dir) as profile:
                return self._do(profile, request, patience)
            try:
                door = ControlClient(path, self._waker)
            except NoClient as error:
                if not self._wait_until_free(path, deadline):
                    return Ending(
                        Exit.FAILURE,
                        f"the profile {self._name} is in use by another program, and that takes no scripts ({error})",
                        "try again when it has ended, or name another profile with --profile",
                    )
            else:
                with contextlib.closing(door):
                    return self._have_done(door, request, patience)

    def _wait_until_free(self, path: Path, deadline: Deadline) -> bool:
        """Wait until nobody has the profile; False when that took too long."""
        is_free = threading.Event()

        def note() -> None:
            is_free.set()
            self._waker.wake()

        when_free(path, note)
        while not is_free.is_set() and deadline.left():
            self._waker.wait(deadline.left())
        return is_free.is_set() and deadline.left() > 0

    # --- with a client of its own -------------------------------------------------------------------------------

    def _do(self, profile: Profile, request: Request, patience: Patience) -> Ending:
        options = self._options
        if options.name is not None:
            profile.set_display_name(options.name)
        if request.do == "whoami":
            user_id = profile.key_pair(_password).id
            self._output.report(whoami(user_id, profile.display_name, profile.name))
            return Ending(Exit.DONE)
        if not options.servers:
            hint = "name one: --server host:port, $SOCP_SERVER, or a line `server = host:port` in config.ini"
            return Ending(Exit.USAGE, "no server was named", hint)
        doing = _Doing(self._output, patience, self._waker)
        chat = Chat(
            profile,
            doing.take,
            password=_password,
            downloads=options.downloads,
            accept_files=_policy(options, profile),
            max_file=options.max_file,
            settings=self._settings,
        )
        try:
            doing.prepare(make_errand(Desk(chat, profile), request), chat)
            chat.attach(*options.servers, trusted=options.trust_server or "")
            if request.do == "listen":
                patience.begin_anew()
                doing.open_door(profile)
            return doing.do()
        finally:
            self._hurry(self._settings.timers.stop + _FORCE)
            chat.close()
            doing.close(self._settings.timers.stop)

    # --- through the running client -----------------------------------------------------------------------------

    def _have_done(self, door: ControlClient, request: Request, patience: Patience) -> Ending:
        try:
            door.ask(request)
            while not patience.over:
                said = door.next(patience.left())
                if isinstance(said, Ending):
                    return said
                if said is not None:
                    patience.note(said)
                    self._output.report(said)
        except Gone as error:
            return Ending(Exit.FAILURE, f"the running client of the profile {self._name} is gone: {error}")
        return patience.ending("the running client goes on sending it")


class _Doing:
    """An errand that this process does itself; for other scripts, it is a running client meanwhile.

    Args:
        output: where reports go.
        patience: how long it may take.
        waker: ends the main thread's wait.
    """

    chat: Chat

    def __init__(self, output: Output, patience: Patience, waker: Waker) -> None:
        self._output = output
        self._patience = patience
        self._waker = waker
        self._errand: Errand | None = None
        self._door: ControlServer | None = None
        self._subscribers = Subscribers()
        self._lock = threading.Lock()  # guards the one below
        self._ending: Ending | None = None

    def prepare(self, errand: Errand, chat: Chat) -> None:
        """Set what is to be done, and with what; before anything happens there."""
        self._errand = errand
        self.chat = chat

    def do(self) -> Ending:
        """Do it, and return how it ended.

        Raises:
            ChatError: that was the end of it.
        """
        assert self._errand is not None
        for said in self._errand.begin():
            self._take(said)
        while not self._patience.over:
            with self._lock:
                if self._ending is not None:
                    break
            self._waker.wait(self._patience.left())
        else:
            return self._patience.ending("it is sent again when the profile is used next")
        if self._ending.code == Exit.DONE and self._errand.takes_messages:
            self.chat.wait_heard(_CONFIRMED)  # until the last one is confirmed, too
        return self._ending

    def take(self, event: Event) -> None:
        """Take an event, in Chat's thread.

        Raises:
            NotShown: for a message that was not printed: it waits for whoever listens.
        """
        assert self._errand is not None
        if isinstance(event, Message | PublicMessage) and (self._is_over() or not self._errand.takes_messages):
            raise NotShown("nobody listens")
        heard = self._errand.hear(event)
        for said in heard or ():
            self._take(said)
        if heard is None:
            self._note(event)
        self._subscribers.tell(event)

    def _is_over(self) -> bool:
        with self._lock:
            return self._ending is not None

    def _take(self, said: Said) -> None:
        if isinstance(said, Ending):
            self._end(said)
            return
        self._patience.note(said)
        try:
            self._output.report(said)
        except NotShown as error:
            broken = isinstance(error.__cause__, BrokenPipeError)  # whoever has read it has had enough
            self._end(Ending(Exit.FAILURE, "" if broken else str(error)))
            raise

    def _end(self, ending: Ending) -> None:
        with self._lock:
            if self._ending is None:
                self._ending = ending
        self._waker.wake()

    def _note(self, event: Event) -> None:
        """Say on standard error what happened besides what was asked for."""
        assert self._errand is not None
        report = self._errand.reporter.of_event(event)
        if report is not None:
            self._output.note(as_text(report))

    # --- what other scripts may use (control.Client) ------------------------------------------------------------

    def open_door(self, profile: Profile) -> None:
        """Let other scripts of this profile in: this one may run for long."""
        door = ControlServer(self, profile)
        try:
            door.start()
        except OSError as error:
            self.note(f"other scripts cannot use this profile meanwhile: {error.strerror or error}")
            return
        self._door = door

    def close(self, seconds: float) -> None:
        """Send those scripts away."""
        if self._door is not None:
            self._door.close(seconds)

    def subscribe(self, handler: Handler) -> Callable[[], None]:
        """See control.Client."""
        return self._subscribers.add(handler)

    def note(self, text: str) -> None:
        """See errands.Witness."""
        self._output.note(text)

    def sent(self, to: str, number: int, text: str) -> None:
        """See errands.Witness."""
        label = self.chat.contacts.label(to, self.chat.contacts.name_of(to))
        self.note(f"a script has told {label} (#{number}): {text}")

    def sent_to_all(self, _msg_ref: str, text: str) -> None:
        """See errands.Witness."""
        self.note(f"a script has told everybody: {text}")


def _policy(options: Options, profile: Profile) -> OfferPolicy:
    """Return whose files are taken: nobody is here to be asked, and only who listens expects any."""
    whose = options.accept_from if options.command == "listen" else NONE
    return OfferPolicy(whose, lambda user_id: user_id in profile.contacts, can_ask=False)


def _settings_of(options: Options, settings: Settings) -> Settings:
    """Return settings with what the options say; no single step takes longer than all of it may."""
    timers = settings.timers
    if options.command != "listen":
        steps = {name: min(getattr(timers, name), options.timeout) for name in ("connect", "handshake", "request")}
        timers = replace(timers, **steps)
    return with_tls(replace(settings, timers=timers), options.tls)


def _request_of(options: Options) -> Request:
    """Return what the command line asks for.

    Raises:
        StartError: it cannot be asked for.
    """
    do, given = options.command, options.arguments
    if do in ("tell", "all"):
        text = _read_input() if given.text == "-" else _checked(given.text, "the text")
        return Request(do, _checked(given.user, "the user") if do == "tell" else "", text)
    if do == "send":
        return Request(
            do, _checked(given.user, "the user"), path=_checked(str(Path(given.path).absolute()), "the path")
        )
    return Request(do, count=(given.count or 0) if do == "listen" else 0)


def _checked(text: str, what: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise StartError(f"{what} is not text in UTF-8") from error
    return text


def _read_input() -> str:
    """Return what stands on standard input, without the line break at its end.

    Raises:
        StartError: it is no text, or longer than any message.
    """
    data = sys.stdin.buffer.read(_INPUT_MOST + 1) if sys.stdin is not None else b""
    if len(data) > _INPUT_MOST:
        raise StartError("standard input is too long for a message", "send it as a file: client.py send <user> <path>")
    try:
        return data.decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError as error:
        raise StartError(
            "standard input is not text in UTF-8", "send it as a file: client.py send <user> <path>"
        ) from error


def _password(new: bool) -> str:
    """Return the password of the key; only a terminal is asked for it."""
    given = take_variable(KEY_VARIABLE)
    if given is not None or not at_terminal():
        return given or ""
    return ask("Key password (empty for none)", KEY_VARIABLE, new=new)
