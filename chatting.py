"""The chat itself, from its first question to its last goodbye: at a terminal, or line by line in a pipe.

It is what `client.py` does when no command is named (PROTOCOL.md sections 5.1 and 16).
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from functools import partial

from addresses import Address, AddressError, read_address
from asking import KEY_VARIABLE, ask, at_terminal, take_variable
from channels import with_tls
from chat import Chat
from completing import Completer
from console import say
from control import ControlServer
from conversation import Conversation
from crypto.keys import KeyProblem
from errors import ChatError, ServerChanged
from exits import Exit
from failures import start_error
from helping import welcome
from journal import FILE_NAME, Journal
from lines import LineCut, Lines
from offers import OfferPolicy
from options import Options
from past import Recorder
from profiles import DEFAULT_PROFILE, Profile, ProfileError, open_profile
from programs import StartError, end_by_force
from progress import Progress
from recall import Recall
from screen import PipeScreen
from session import Session
from settings import Settings
from terminal import TerminalScreen, is_usable
from threads import Alarms, Deadline
from trust import is_trusted

_FORCE = 2.0  # seconds beyond those that an orderly end may take
_TYPED = "typed"


class Told(BaseException):
    """Raised in the main thread when a signal tells the program to end; its argument is the exit code."""


class Chatting:
    """One run of the chat.

    Args:
        options: what the person has set.
        settings: timers and limits; how TLS is used comes from the options.
    """

    def __init__(self, options: Options, settings: Settings) -> None:
        self._options = options
        self._settings = with_tls(settings, options.tls)
        self._lines = Lines()
        self._session = Session(PipeScreen(self._lines), options, self._settings)
        self._password = ""
        self._control: ControlServer | None = None
        self._is_for_people = is_usable()
        self._drawing = Alarms()  # of the rows that show how files come on

    def run(self) -> int:
        """Chat, and return the exit code.

        Raises:
            StartError: it could not begin.
        """
        try:
            addresses = self._options.servers or (self._ask_address(),)
            with open_profile(self._options.profile, self._options.data_dir) as profile:
                return self._run_with(profile, addresses)
        except (ProfileError, ChatError, KeyProblem) as error:
            raise start_error(error) from error
        finally:
            self._lines.close()

    def _run_with(self, profile: Profile, addresses: tuple[Address, ...]) -> int:
        session = self._session
        if self._options.profile is None and profile.name != DEFAULT_PROFILE:
            say(f"[Profile] {DEFAULT_PROFILE} is in use by another client; this one is {profile.name}")
        if self._options.name is not None:
            profile.set_display_name(self._options.name)
        is_new = not profile.has_key
        session.chat = Chat(
            profile,
            session.handle,
            password=self._ask_password,
            caps=["presence"] if self._is_for_people else [],
            downloads=self._options.downloads,
            accept_files=OfferPolicy(self._options.accept_from, self._is_contact, can_ask=self._is_for_people),
            max_file=self._options.max_file,
            settings=self._settings,
        )
        code = int(Exit.FAILURE)
        try:
            try:
                self._open_history(profile)
                self._attach(session.chat, addresses)
                conversation = Conversation(session)
                self._open_screen(profile, conversation, is_new=is_new)
                self._let_scripts_in(profile)
            finally:
                session.begin()
            code = conversation.run()
        except Told as told:
            code = int(told.args[0])
        finally:
            self._close(code)
        return code

    def _is_contact(self, user_id: str) -> bool:
        return self._session.chat.contacts.is_contact(user_id)

    def _close(self, code: int) -> None:
        # What was told to end is ending: nothing more can hurry it.
        for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(ending, signal.SIG_IGN)
        end_by_force(self._settings.timers.stop + _FORCE, code)
        self._session.chat.close()
        self._drawing.stop()
        if self._control is not None:
            self._control.close(self._settings.timers.stop)
        self._session.screen.close()
        if self._session.journal is not None:
            self._session.journal.close(Deadline(self._settings.timers.stop))

    # --- beginning ----------------------------------------------------------------------------------------------

    def _ask_address(self) -> Address:
        while True:
            answer = self._ask("Server port: ")
            if answer is None:
                hint = "give its port here, or --server host:port, $SOCP_SERVER, or a line `server = …` in config.ini"
                raise StartError("no server was named", hint, Exit.USAGE)
            try:
                return read_address(answer, "127.0.0.1")
            except AddressError as error:
                if not self._lines.is_terminal:
                    raise StartError(str(error), code=Exit.USAGE) from error
                say(str(error))

    def _ask(self, question: str) -> str | None:
        say(question, end="" if self._lines.is_terminal else "\n")
        try:
            return self._lines.next()
        except LineCut:
            return ""  # far too long to be an answer

    def _ask_password(self, new: bool) -> str:
        if at_terminal():
            self._password = ask("Key password (empty for none)", KEY_VARIABLE, new=new)
        else:
            self._password = take_variable(KEY_VARIABLE) or ""
        return self._password

    def _open_history(self, profile: Profile) -> None:
        if not self._options.history:
            return
        journal = Journal(profile.path / FILE_NAME, self._password)
        self._password = ""
        self._session.journal = journal
        self._session.subscribe(Recorder(self._session, journal).take)

    def _attach(self, chat: Chat, addresses: Sequence[Address]) -> None:
        said_hello = partial(say, "[Hello] Sent USER_HELLO (pubkey attached)")
        try:
            chat.attach(*addresses, trusted=self._options.trust_server or "", said_hello=said_hello)
        except ServerChanged as error:
            # Asked now, with the connection closed: a server does not wait for a person in mid-handshake.
            if not at_terminal() or not is_trusted(error, say, self._ask):
                raise
            chat.attach(*addresses, trusted=error.found, said_hello=said_hello)
        say(f"[Me] user_id = {chat.user_id}")
        if chat.undelivered:
            say(f"[Note] {chat.undelivered} message(s) of before are not confirmed yet; they are sent again")

    def _open_screen(self, profile: Profile, conversation: Conversation, *, is_new: bool) -> None:
        session = self._session
        if self._is_for_people:
            keeps_all = self._options.recall_tells
            recall = Recall(profile.path / _TYPED, lambda line: keeps_all or not conversation.is_private(line))
            completer = Completer(conversation.commands, session.chat.contacts.known)
            session.use_screen(TerminalScreen(recall, completer, colours=self._options.colour != "never"))
            self._drawing.start()
            session.subscribe(Progress(session.screen, session.chat.files, self._drawing).handle)
        if is_new and session.screen.is_terminal:
            welcome(session)

    def _let_scripts_in(self, profile: Profile) -> None:
        control = ControlServer(self._session, profile)
        try:
            control.start()
        except OSError as error:
            self._session.note(f"scripts cannot use this client: {error.strerror or error}")
            control.close(0)
        else:
            self._control = control
