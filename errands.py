"""What scripts can have a client do: one errand each, from its request to how it ended.

An errand is done by whichever client has the profile: by a script itself, or by one that runs already (control.py).
So it knows neither: what it has to say comes out of `begin`, in the thread that does it, and of `hear`, in the thread
in which Chat tells of events; and the last of that is an Ending.
"""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final, Protocol

import socp
from chat import Chat
from downloads import safe_name
from errors import ChatError
from events import (
    Delivered,
    Disconnected,
    Event,
    Failed,
    FileDone,
    FileFailed,
    FileInterrupted,
    FileResumed,
    FileStarted,
    Stored,
    Unconfirmed,
)
from exits import Exit
from failures import code_of, code_of_wire, hint_for
from profiles import Profile
from reports import Report, Reporter, whoami

_HANDLED: Final = 10.0  # seconds that the events before the last answer may take


@dataclass(frozen=True)
class Request:
    """What a script asks for.

    Attributes:
        do: the name of the errand, of ERRANDS.
        user: whom it is about, as Contacts.find takes it.
        text: what is to be said.
        path: what is to be sent; absolute.
        count: after how many messages to end; 0 for never.
    """

    do: str
    user: str = ""
    text: str = ""
    path: str = ""
    count: int = 0


@dataclass(frozen=True)
class Ending:
    """How an errand ended.

    Attributes:
        code: the script's exit code.
        error: what went wrong, if something did; raw.
        hint: what would help.
    """

    code: Exit
    error: str = ""
    hint: str = ""


Said = Report | Ending


def read_request(value: Mapping[str, object]) -> Request:
    """Return a request that came as JSON.

    Raises:
        ValueError: it is none that we know.
    """
    for field in fields(Request):
        if type(value.get(field.name)) is not (int if field.name == "count" else str):
            raise ValueError(f"a request with another {field.name}")
    request = Request(**{field.name: value[field.name] for field in fields(Request)})  # type: ignore[arg-type]
    if request.do not in ERRANDS or request.count < 0:
        raise ValueError("nothing that we do")
    return request


def request_values(request: Request) -> dict[str, object]:
    """Return what `read_request` takes."""
    return asdict(request)


def ending_of(error: ChatError) -> Ending:
    """Return how something ends that an error has ended."""
    return Ending(code_of(error), str(error), hint_for(error))


class Witness(Protocol):
    """A client that its user watches while a script speaks in the user's name."""

    def note(self, text: str) -> None:
        """Tell the user something."""

    def sent(self, to: str, number: int, text: str) -> None:
        """Show a direct message that is about to be sent; nothing was told of it before."""

    def sent_to_all(self, msg_ref: str, text: str) -> None:
        """Show a broadcast that was sent."""


class Desk:
    """What errands are done with.

    Args:
        chat: whose connection is used.
        profile: whose profile that is.
        witness: whom the user watches meanwhile, if that is not the script itself.
    """

    def __init__(self, chat: Chat, profile: Profile, witness: Witness | None = None) -> None:
        self.chat = chat
        self.profile = profile
        self.reporter = Reporter(chat.user_id, chat.contacts)
        self._witness = witness

    def show(self, what: Callable[[Witness], None]) -> None:
        """Have the witness show something, if there is one."""
        if self._witness is not None:
            with contextlib.suppress(OSError):  # nobody sees what it shows any more
                what(self._witness)


class Errand(ABC):
    """One errand; the base of them all.

    Args:
        desk: what it is done with.
        request: what was asked for.

    Attributes:
        takes_messages: whether it is there for what others say.
    """

    takes_messages = False

    def __init__(self, desk: Desk, request: Request) -> None:
        self.desk = desk
        self.chat = desk.chat
        self.reporter = desk.reporter
        self.request = request

    @abstractmethod
    def begin(self) -> Iterator[Said]:
        """Do what is to be done at the beginning, and say how it goes; this may take time.

        Raises:
            ChatError: that was the end of it.
        """

    def hear(self, event: Event) -> Sequence[Said] | None:
        """Take an event, and say what it means here; None if nothing. It waits only to learn what people are called."""
        return _of_the_end(event)

    def abandon(self) -> None:  # noqa: B027 - of most there is nothing to undo
        """Undo what is not done, where that is possible: the script is gone."""


class Listing(Errand):
    """Who is online."""

    def begin(self) -> Iterator[Said]:
        """See Errand."""
        for listed in self.chat.users():
            yield self.reporter.user(listed, blocked=listed.user_id in self.chat.blocking)
        yield Ending(Exit.DONE)


class Introducing(Errand):
    """Who this profile's user is."""

    def begin(self) -> Iterator[Said]:
        """See Errand."""
        yield whoami(self.chat.user_id, self.desk.profile.display_name, self.desk.profile.name)
        yield Ending(Exit.DONE)


class Broadcasting(Errand):
    """A broadcast. Nobody confirms one; a server may refuse it."""

    def __init__(self, desk: Desk, request: Request) -> None:
        super().__init__(desk, request)
        self._lock = threading.Lock()  # guards the two below
        self._msg_ref = ""
        self._refused: dict[str, Failed] = {}  # broadcasts of others', too; there are few

    def begin(self) -> Iterator[Said]:
        """See Errand."""
        msg_ref = self.chat.tell_all(self.request.text)
        self.desk.show(lambda witness: witness.sent_to_all(msg_ref, self.request.text))
        yield self.reporter.sent(socp.PUBLIC, None, msg_ref)
        # Its answer comes behind what it has to say about the broadcast.
        self.chat.contacts.refresh(self.chat.user_id)
        self.chat.wait_heard(_HANDLED)
        with self._lock:
            failed = self._refused.get(msg_ref)
        if failed is None:
            yield Ending(Exit.DONE)
            return
        report = self.reporter.of_event(failed)
        assert report is not None
        yield report
        yield Ending(code_of_wire(failed.code), f"the broadcast failed: {failed.code}: {failed.reason}")

    def hear(self, event: Event) -> Sequence[Said] | None:
        """See Errand."""
        if isinstance(event, Failed) and event.number is None:
            with self._lock:
                self._refused[event.msg_ref] = event
            return ()
        return _of_the_end(event)


_Fate = Delivered | Stored | Failed | Unconfirmed


class Telling(Errand):
    """A direct message, until it is delivered or stored."""

    def __init__(self, desk: Desk, request: Request) -> None:
        super().__init__(desk, request)
        self._lock = threading.Lock()  # guards _said and _early
        self._said = False
        self._early: list[_Fate] = []  # what became of it before we had said that it was sent; three at most
        self._number: int | None = None  # nothing happens to the message before this is set

    def begin(self) -> Iterator[Said]:
        """See Errand."""
        taken: list[tuple[str, int]] = []

        def note(user_id: str, number: int) -> None:
            taken.append((user_id, number))
            self.desk.show(lambda witness: witness.sent(user_id, number, self.request.text))
            self._number = number

        msg_ref = self.chat.tell(self.request.user, self.request.text, note)
        [(user_id, number)] = taken
        yield self.reporter.sent(user_id, number, msg_ref)
        with self._lock:
            self._said = True
            early = list(self._early)
        for event in early:
            yield from self._judge(event)

    def hear(self, event: Event) -> Sequence[Said] | None:
        """See Errand."""
        if isinstance(event, _Fate) and event.number is not None and event.number == self._number:
            with self._lock:
                if not self._said:
                    self._early.append(event)
                    return ()
            return self._judge(event)
        return _of_the_end(event)

    def _judge(self, event: _Fate) -> Sequence[Said]:
        report = self.reporter.of_event(event)
        assert report is not None
        if isinstance(event, Delivered | Stored):
            return report, Ending(Exit.DONE)
        what = f"message #{event.number} to {report['label']}"
        if isinstance(event, Failed):
            code = code_of_wire(event.code)
            return report, Ending(code, f"{what} failed: {event.code}: {event.reason}")
        return report, Ending(Exit.TIMED_OUT, f"{what} was not confirmed")


_Progress = FileStarted | FileInterrupted | FileResumed | FileDone | FileFailed


class Sending(Errand):
    """A file, until its recipient has it."""

    def __init__(self, desk: Desk, request: Request) -> None:
        super().__init__(desk, request)
        self._sent = ""  # the file's id, for `abandon`, in the same thread: the script can go while it is told of it
        self._lock = threading.Lock()  # guards both below
        self._file_id = ""
        self._early: list[_Progress] = []  # of all files that are sent, until we know which is ours

    def begin(self) -> Iterator[Said]:
        """See Errand."""
        path = Path(self.request.path)
        user_id = self.chat.contacts.find(self.request.user)
        if not self.chat.contacts.refresh(user_id).user.online:
            what = f"{self.reporter.label(user_id)} is offline"
            yield Ending(Exit.NO_SUCH_USER, what, "a file is sent while both ends are connected")
            return
        file_id = self._sent = self.chat.send_file(user_id, path)
        label = self.chat.contacts.label(user_id, self.chat.contacts.name_of(user_id))  # as the witness calls people
        self.desk.show(lambda witness: witness.note(f"a script sends {safe_name(path.name)} to {label}"))
        yield self.reporter.offered(user_id, file_id, path)
        with self._lock:
            self._file_id = file_id
            early = list(self._early)
        for event in early:
            if event.file_id == file_id:
                yield from self._judge(event)

    def hear(self, event: Event) -> Sequence[Said] | None:
        """See Errand."""
        if isinstance(event, _Progress) and not event.incoming:
            with self._lock:
                if not self._file_id:
                    self._early.append(event)
                    return ()
            return self._judge(event) if event.file_id == self._file_id else None
        return _of_the_end(event)

    def abandon(self) -> None:
        """See Errand."""
        if self._sent:
            with contextlib.suppress(ChatError):  # it is over already
                self.chat.cancel_file(self._sent)

    def _judge(self, event: _Progress) -> Sequence[Said]:
        report = self.reporter.of_event(event)
        assert report is not None
        if isinstance(event, FileDone):
            return report, Ending(Exit.DONE)
        if isinstance(event, FileFailed):
            offline = event.reason.startswith(socp.USER_NOT_FOUND)
            code = Exit.NO_SUCH_USER if offline else Exit.FAILURE
            return report, Ending(code, f"the file was not sent: {event.reason}")
        return (report,)


class Listening(Errand):
    """Whatever comes, until so many messages, broadcasts and files have."""

    takes_messages = True

    def __init__(self, desk: Desk, request: Request) -> None:
        super().__init__(desk, request)
        self._heard = 0

    def begin(self) -> Iterator[Said]:
        """See Errand."""
        return iter(())

    def hear(self, event: Event) -> Sequence[Said] | None:
        """See Errand."""
        report = self.reporter.of_event(event)
        if report is None:
            return None
        ends = _of_the_end(event) or ()
        if report["type"] in ("message", "public") or (report["type"] == "file-done" and report["incoming"]):
            self._heard += 1
            if self._heard == self.request.count:
                ends = (Ending(Exit.DONE),)
        return (report, *ends)


def _of_the_end(event: Event) -> Sequence[Ending] | None:
    """Return how every errand ends when the connection does for good."""
    if isinstance(event, Disconnected) and event.final:
        return (Ending(Exit.NO_CONNECTION, f"the connection is lost: {event.reason}"),)
    return None


ERRANDS: Final[Mapping[str, type[Errand]]] = {
    "tell": Telling,
    "all": Broadcasting,
    "list": Listing,
    "send": Sending,
    "listen": Listening,
    "whoami": Introducing,
}


def make_errand(desk: Desk, request: Request) -> Errand:
    """Return the errand that was asked for."""
    return ERRANDS[request.do](desk, request)
