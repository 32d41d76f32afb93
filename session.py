"""One conversation: a client, the screen that shows it, and what the person has chosen in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import socp
from chat import Chat
from errors import NotShown
from events import Disconnected, Event, Failed, FileFailed, Message, PublicMessage, Sent, Unconfirmed
from journal import Journal
from names import plain_name
from options import Options
from screen import Line, Screen, Shown, Span
from settings import Settings
from subscribers import Handler, Subscribers
from views import PipeView, TerminalView


@dataclass
class Counts:
    """What was sent and received since the program was started."""

    sent: int = 0
    received: int = 0
    public: int = 0


class Session:
    """What the commands of a client work with.

    Args:
        screen: where everything is shown.
        options: what the person has set.
        settings: timers and limits.

    Attributes:
        chat: the client; set once there is one, and before anything happens.
        chosen: the id of the user that plain lines go to, or the empty string.
        journal: the history, None if it is off; set before `begin`.
    """

    chat: Chat
    journal: Journal | None = None

    def __init__(self, screen: Screen, options: Options, settings: Settings) -> None:
        self.screen = screen
        self.options = options
        self.settings = settings
        self.chosen = ""
        self.counts = Counts()
        self.failures = 0
        self._introduced = threading.Event()  # what happens is shown below the lines that say who is here
        self._subscribers = Subscribers()
        self._lock = threading.Lock()  # guards the two below
        self._last_sender = ""
        self._last_sender_since = 0.0
        self._view = self._make_view(screen)

    def _make_view(self, screen: Screen) -> PipeView:
        if screen.interactive:
            return TerminalView(screen, self.called, bell=self.options.bell)
        return PipeView(screen, self.called)

    def use_screen(self, screen: Screen) -> None:
        """Go on at another screen; before `begin`."""
        self.screen = screen
        self.chat.contacts.quoted = screen.interactive
        self._view = self._make_view(screen)

    def begin(self) -> None:
        """Show from now on what happens."""
        self._introduced.set()

    # --- what is shown ------------------------------------------------------------------------------------------

    def say(self, tag: str, text: str) -> None:
        """Show a line of ours: "[tag] text"."""
        self._view.say(tag, text)

    def row(self, *spans: str | Span) -> Shown:
        """Show a line that belongs to the one before it, indented."""
        line: Line = [span if isinstance(span, Span) else Span(span) for span in spans]
        return self.screen.show([Span("  "), *line])

    def note(self, text: str) -> None:
        """Tell the person something."""
        self.say("Note", text)

    def complain(self, text: str) -> None:
        """Tell the person that something has failed, which a script learns from the exit code."""
        self.failures += 1
        self.say("Error", text)

    def label(self, user_id: str) -> str:
        """Return how a user is called before a person."""
        return self.called(user_id, None)

    def called(self, user_id: str, name: str | None) -> str:
        """Return how a user is called before a person.

        Args:
            user_id: whom.
            name: the display name that the user has signed; None to look that up.
        """
        contacts = self.chat.contacts
        if user_id == self.chat.user_id:  # whose name is no claim of somebody else
            return " · ".join(filter(None, (plain_name(contacts.name_of(user_id)), user_id[:8])))
        return contacts.label(user_id, contacts.name_of(user_id) if name is None else name)

    # --- what happens -------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Show an event, and tell everybody else of it; runs in Chat's thread for that."""
        self._introduced.wait()
        self._count(event)
        try:
            self._view.show(event)
        except BrokenPipeError as error:
            self.screen.wake()  # nobody reads what we print: there is no sense in going on
            raise NotShown("nobody reads what is shown") from error
        if isinstance(event, Disconnected) and event.final:
            self._end_for_good()
        self._subscribers.tell(event)

    def _end_for_good(self) -> None:
        """Have the conversation end, but at a terminal not in mid-line: a shell would get the rest of that."""
        if self.screen.interactive:
            self.note("nothing can be sent any more, as this client does not connect again: Enter leaves")
        else:
            self.screen.wake()

    def _count(self, event: Event) -> None:
        if isinstance(event, Message):
            self.counts.received += 1
            with self._lock:
                if self._last_sender != event.sender:
                    self._last_sender, self._last_sender_since = event.sender, time.monotonic()
        elif isinstance(event, PublicMessage):
            self.counts.public += 1
        elif isinstance(event, Failed | Unconfirmed) or (isinstance(event, FileFailed) and not event.incoming):
            self.failures += 1

    def subscribe(self, handler: Handler) -> Callable[[], None]:
        """Have a function told of every event, once it was shown, in the thread of that; it must not wait.

        Returns:
            What ends that.
        """
        return self._subscribers.add(handler)

    @property
    def last_sender(self) -> tuple[str, float]:
        """Who has sent the last direct message, or nobody; and since when it is them, by time.monotonic."""
        with self._lock:
            return self._last_sender, self._last_sender_since

    def is_unseen(self, since: float) -> bool:
        """Tell whether a person cannot have meant what has come when the line at hand was begun, or just before that.

        Args:
            since: when it has come, by time.monotonic.
        """
        if not self.screen.interactive:
            return False
        return since > self.screen.begun or time.monotonic() - since < self.settings.timers.glance

    # --- what is said -------------------------------------------------------------------------------------------

    def tell(self, user: str, text: str) -> None:
        """Send a direct message, and show it, before anything else about it is.

        Args:
            user: as Contacts.find takes it.
            text: what it says.

        Raises:
            ChatError: it was not sent; says why.
        """
        self.chat.tell(user, text, lambda to, number: self._show_sent(to, number, text))

    def tell_all(self, text: str) -> None:
        """Send a broadcast, and show it.

        Raises:
            ChatError: it was not sent; says why.
        """
        self._show_sent_to_all(self.chat.tell_all(text), text)

    def _show_sent(self, to: str, number: int, text: str) -> None:
        self.counts.sent += 1
        self._view.sent(to, number, text)
        self._subscribers.tell(Sent(to, number, text))

    def _show_sent_to_all(self, msg_ref: str, text: str) -> None:
        self.counts.sent += 1
        self._view.sent_to_all(msg_ref, text)
        self._subscribers.tell(Sent(socp.PUBLIC, None, text, msg_ref))

    def sent(self, to: str, number: int, text: str) -> None:
        """Show a direct message that a script sends through this client; see errands.Witness."""
        self.note("a script sends, in your name:")
        self._show_sent(to, number, text)

    def sent_to_all(self, msg_ref: str, text: str) -> None:
        """Show a broadcast that a script has sent through this client; see errands.Witness."""
        self.note("a script has sent, in your name:")
        self._show_sent_to_all(msg_ref, text)

    def choose(self, user: str) -> str:
        """Have plain lines go to a user from now on; nobody, if `user` is empty. Returns the id.

        Raises:
            ChatError: nobody, or somebody else, was meant.
        """
        user_id = self.chat.contacts.find(user) if user else ""
        if user_id:
            self.chat.blocking.check(user_id)
        self.chosen = user_id
        self.screen.prompt(f"→ {self.label(user_id)} > " if user_id else "> ")
        return user_id
