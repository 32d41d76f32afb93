"""A conversation at a screen: lines that are typed are carried out one after the other, until the end of input."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import filing
import helping
import past
import people
import talking
from commands import Command, Commands, UsageError
from errors import ChatError
from exits import Exit
from helping import Joins, greet, help_command
from lines import TERMINAL_LINE, LineCut
from session import Session
from talking import say_plainly

_PRIVATE = ("/tell", "/r", "/search")


def _quit(_session: Session, _rest: str) -> None:
    """See Conversation.run for /quit alone: with more behind it, it is something else that was meant."""
    raise UsageError


_QUIT = Command("/quit", "/quit", "leave", "Ctrl-D on an empty line does the same.", _quit)


class Conversation:
    """Carries out what is typed.

    Args:
        session: what for.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        joins = Joins(session, session.options.joins)
        session.subscribe(joins.take)
        areas = (talking.COMMANDS, filing.COMMANDS, people.COMMANDS, past.COMMANDS, helping.COMMANDS)
        self.commands = Commands([*chain(*areas), joins.command(), _QUIT])
        self.commands.add(help_command(self.commands))

    def is_private(self, line: str) -> bool:
        """Tell whether a line that was typed may hold what nobody else is to read: so may one that is mistyped."""
        word = line.strip().partition(" ")[0]
        return not word.startswith("/") or word in _PRIVATE or self.commands.get(word) is None

    def run(self) -> int:
        """Carry out lines until there are no more, or it makes no sense to; returns the exit code."""
        session, chat = self._session, self._session.chat
        if session.screen.is_terminal and not session.screen.interactive:
            session.say("Help", "/list, /tell <user> <message>, /all <message>, /file <user> <path>, /help, /quit")
        if session.screen.interactive:
            greet(session)
        try:
            while (line := self._next_line()) is not None:
                if line.strip() == "/quit" or (chat.lost and session.screen.interactive):
                    return self._leave()
                self._do(line)
        except InterruptedError:
            return Exit.NO_CONNECTION if chat.lost else 1
        if session.screen.interactive:  # nobody wants to wait who has pressed Ctrl-D
            return self._leave()
        if not self._wait_settled() and not chat.lost:
            self._say_unfinished(session.complain, "in time")
        if chat.lost or (session.failures and not chat.server_id):
            return Exit.NO_CONNECTION
        return min(session.failures, 1)

    def _leave(self) -> int:
        session = self._session
        self._say_unfinished(session.note, "yet")
        if session.chat.lost:
            return Exit.NO_CONNECTION
        return Exit.INTERRUPTED if session.screen.is_interrupted else Exit.DONE

    def _next_line(self) -> str | None:
        while True:
            try:
                return self._session.screen.next()
            except LineCut:
                self._session.complain(
                    f"the terminal has cut this line at {TERMINAL_LINE:,} bytes, and nothing was sent: "
                    "put what is longer into a pipe, or send it as a file"
                )

    def _wait_settled(self) -> bool:
        """Wait for receipts and transfers, without blocking in Chat: here, a signal must always end the wait."""
        session = self._session
        settled: list[bool] = []

        def told(how: bool) -> None:
            settled.append(how)
            session.screen.wake()

        session.chat.tell_when_settled(session.settings.timers.farewell, told)
        session.screen.wait_woken()
        return any(settled)

    def _do(self, line: str) -> None:
        session, commands = self._session, self.commands
        word, _, rest = line.strip().partition(" ")
        command = commands.get(word) if word.startswith("/") else None
        try:
            if command is not None:
                command.run(session, rest.lstrip())
            elif word.startswith("/") and not word.startswith("//"):
                near = commands.near(word)
                meant = f"did you mean {near}?" if near else "/help shows what there is"
                session.complain(f"{word} is no command; {meant}")
            elif word:
                say_plainly(session, line.strip().removeprefix("/"))
        except UsageError:
            assert command is not None
            session.complain(f"usage: {command.usage}")
        except ChatError as error:
            if not session.chat.lost:
                session.complain(str(error))

    def _say_unfinished(self, say_it: Callable[[str], None], when: str) -> None:
        chat = self._session.chat
        if chat.undelivered:
            say_it(
                f"{chat.undelivered} message(s) were not confirmed {when}; they are kept in the profile "
                f"{chat.profile_name}, and sent again when it is used next"
            )
        if chat.unsent_files:
            say_it(f"{chat.unsent_files} file(s) were not confirmed {when}")
