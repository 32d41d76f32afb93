"""Every line that a client can print, each with what others say in it: names, texts, files, reasons, the past.

A site is one way to have lines printed. Sites of events are made from the classes of events, sites of commands from the
table of commands: whoever adds one of those is asked for nothing here, or told what is missing.
"""

from __future__ import annotations

import ast
import dataclasses
import itertools
import re
import tempfile
import time
import typing
import unittest
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast
from unittest import mock

import fingerprint
import socp
from addresses import Address
from blocking import Blocking
from chat import Chat
from connection import LinkStatus
from console import say
from contacts import Contact, Contacts, Listed
from conversation import Conversation
from downloads import safe_name
from errors import AttachRefused, ChatError, HistoryLocked, NotConnected, ServerChanged
from events import Delivered, Event, Failed, Stored, Unconfirmed
from exits import explain
from failures import start_error
from helping import greet
from journal import Entry, Fate, Journal
from profiles import Named, Profile, open_profile
from progress import Progress
from reports import TYPES, as_json, as_text, make_report
from screen import Screen, Span
from scripts import Output
from session import Session
from settings import Settings, Timers
from tests.vectors import key
from threads import Alarms
from underway import State, UnderWay
from users import Attachment, User
from views import TerminalView

ALICE, BOB, CAROL, DAVE, SERVER = (key(name).id for name in ("alice", "bob", "carol", "dave", "server"))
FILE = "0b7c2d9e-5a3f-4c1d-8e6b-2f4a6c8e0d1b"

Site = Callable[[], object]


@dataclass
class Said:
    """What others say: in their names, in file names, and everywhere else."""

    text: str
    name: str
    file: str


BENIGN = Said("Qtext", "Qname", "Qfile")


_THEIRS = object()  # stands for what `Stage._value` says


class FakeChat:
    """What passes for a Chat, in which everything that others can choose is theirs."""

    user_id, profile_name, server_id = ALICE, "default", SERVER
    public_key = key("alice").public
    lost = False
    undelivered = unsent_files = 1
    # Since long ago: what it says of that is the same for as long as a test may take.
    link_status = LinkStatus(Address("host.example", 9001), SERVER, secure=True, since=time.time() - 86_400)

    def __init__(self, said: Said, profile: Profile) -> None:
        self.said = said
        self.failing = False
        self.contacts = Contacts(profile, self._contact, self.users, lambda _text: None)
        self.blocking = Blocking(profile, self.contacts, ALICE, lambda _user_id: None)

    def _contact(self, user_id: str) -> Contact:
        meta = {"display_name": self.said.name}
        return Contact(User(user_id, SERVER, "k", meta, (), Attachment("n", 1, "s"), online=True), key("bob").public)

    def _check(self) -> None:
        if self.failing:
            raise ChatError(f"CODE: {self.said.text}")

    def users(self) -> list[Listed]:
        """See Chat."""
        self._check()
        return [Listed(BOB, self.said.name, SERVER), Listed(CAROL, "carol", SERVER)]

    def tell(self, _to: str, _text: str, taken: Callable[[str, int], None]) -> str:
        """See Chat."""
        self._check()
        taken(BOB, 7)
        return "ref"

    def tell_all(self, _text: str) -> str:
        """See Chat."""
        self._check()
        return "ref"

    def send_file(self, _to: str, _path: Path) -> str:
        """See Chat."""
        self._check()
        return FILE

    def files(self) -> list[UnderWay]:
        """See Chat."""
        now = time.monotonic()
        return [
            UnderWay(FILE, number, BOB, self.said.file, 1234, incoming, state, 617, now - 10, now)
            for number, (state, incoming) in enumerate(itertools.product(State, (True, False)), 1)
        ]

    def accept_file(self, _file_id: str, _peer: str) -> bool:
        """See Chat."""
        self._check()
        return True

    def deny_file(self, _file_id: str, _peer: str) -> None:
        """See Chat."""
        self._check()

    cancel_file = deny_file


class FakeJournal:
    """A history in which everything that others can choose is theirs."""

    def __init__(self, said: Said) -> None:
        self.said = said

    def last(self, _most: int, _user_id: str = "") -> list[Entry]:
        """See Journal."""
        text, name = self.said.text, self.said.name
        return [
            Entry(BOB, name, text, 1),
            Entry(CAROL, name, text, 1, public=True),
            Entry(BOB, name, text, 1, outgoing=True, fate=Fate.FAILED, reason=text),
            Entry(ALICE, name, text, 1, outgoing=True, public=True, fate=Fate.SENT),
        ]

    search = last

    def record(self, _entry: Entry, _reference: str = "") -> None:
        """See Journal."""

    def set_fate(self, _reference: str, _fate: Fate, _reason: str = "") -> None:
        """See Journal."""

    def peers(self, _wanted: object) -> set[str]:
        """See Journal."""
        return {BOB}

    def forget(self, _user_id: str) -> int:
        """See Journal."""
        return 4


class Stage:
    """A client at a screen, and all the ways in which it prints what others say.

    Args:
        test: at whose end it is taken down.
        screen: where it prints.
        at_screen: there is nothing but the screen; else what programs print without one is printed too.
    """

    def __init__(self, test: unittest.TestCase, screen: Screen, *, at_screen: bool) -> None:
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        test.addCleanup(directory.cleanup)
        profile = open_profile("a", Path(directory.name))
        test.addCleanup(profile.close)
        for patch in (
            mock.patch.object(Profile, "_replace"),  # nothing is written, or remembered
            mock.patch.object(fingerprint, "_ROUNDS", 1),
        ):
            patch.start()
            test.addCleanup(patch.stop)
        self._profile, self._as_it_was = profile, dict(vars(profile))
        self.said = dataclasses.replace(BENIGN)
        self.chat = FakeChat(self.said, profile)
        self.session = Session(screen, cast(Any, SimpleNamespace(bell=True, joins="all")), Settings(Timers(glance=0)))
        self.session.chat = cast(Chat, self.chat)
        self.session.journal = cast(Journal, FakeJournal(self.said))
        self.session.begin()
        self.conversation = Conversation(self.session)
        sites = [self._events(), self._commands(), self._others()]
        self.sites = dict(itertools.chain(*sites, *([] if at_screen else [self._reports(), self._errors()])))
        # What these print depends on the text, or is cut.
        self.loose = {site for site in self.sites if "pasted" in site or site.startswith("/verified")}
        self.loose |= {"progress", "prompt"}

    def say(self, said: Said) -> None:
        """Have others say something, everywhere, from now on."""
        self.said.text, self.said.name, self.said.file = said.text, said.name, said.file
        for user_id in (BOB, DAVE):
            self.chat.contacts.refresh(user_id)

    def print(self, site: str) -> None:
        """Have the lines of a site printed; what was bound, blocked or chosen before is not any more, but for dave."""
        contacts = {CAROL: Named("carol", 1, 0)}
        vars(self._profile).update(self._as_it_was, blocked={DAVE: self.said.name}, contacts=contacts)
        self.session.chosen = ""
        if isinstance(view := self.session._view, TerminalView):
            view._own.clear()  # nothing that was printed before is changed
        self.sites[site]()

    # --- the sites ----------------------------------------------------------------------------------------------

    def _events(self) -> Iterator[tuple[str, Site]]:
        for kind in typing.get_args(Event):
            choices = [_CHOICES.get(field.name, (_THEIRS,)) for field in dataclasses.fields(kind)]
            for number, chosen in enumerate(itertools.product(*choices)):
                yield f"{kind.__name__} {number}", self._event(kind, chosen)

    def _make(self, kind: Any, chosen: tuple[object, ...]) -> Event:
        names = [field.name for field in dataclasses.fields(kind)]
        is_file = "file_id" in names
        values = {
            name: self._value("file" if is_file and name == "name" else name) if choice is _THEIRS else choice
            for name, choice in zip(names, chosen, strict=True)
        }
        return cast(Event, kind(**values))

    def _value(self, name: str) -> object:
        """Return what an event or a report has in a field: who adds one says here whether it is another's choice."""
        if name in _OURS:
            return _OURS[name]
        values: dict[str, Callable[[], object]] = {
            **dict.fromkeys(("text", "reason", "code", "trouble"), lambda: self.said.text),
            **dict.fromkeys(("file", "file_name"), lambda: self.said.file),
            "name": lambda: self.said.name,
            "label": lambda: self.session.label(BOB),
            "path": lambda: Path("received_files") / safe_name(self.said.file),
            "ts": socp.now_ms,
        }
        return values[name]()

    def _event(self, kind: Any, chosen: tuple[object, ...]) -> Site:
        return lambda: self.session.handle(self._make(kind, chosen))

    def _reports(self) -> Iterator[tuple[str, Site]]:
        for name in TYPES:
            for incoming in (True, False):
                yield f"report {name} {incoming}", partial(self._write_report, name, incoming)

    def _write_report(self, name: str, incoming: bool) -> None:
        values = {field: self._value(field) for field in TYPES[name].fields}
        for field in values.keys() & {"path", "incoming"}:
            values[field] = str(values[field]) if field == "path" else incoming
        report = make_report(name, values)
        for line in (as_text(report), as_json(report)):
            say(line)

    def _errors(self) -> Iterator[tuple[str, Site]]:
        """Yield what is printed by a client that cannot begin, or not go on, and what scripts print besides."""
        said = self.said
        yield "refused", lambda: self._explain(AttachRefused(said.text, said.text))
        yield "not connected", lambda: self._explain(NotConnected(said.text))
        yield "another server", lambda: self._explain(ServerChanged("host.example:9001", SERVER, BOB))
        yield "locked", lambda: self._explain(HistoryLocked(said.text, said.text))
        yield "a note of a script", lambda: Output.note(said.text)

    def _explain(self, error: ChatError) -> None:
        found = start_error(error)
        explain(str(found), found.hint)

    def _commands(self) -> Iterator[tuple[str, Site]]:
        """Yield each command alone, about bob, with what was pasted, and with errors that hold what others say."""
        for command in self.conversation.commands:
            for rest in ("", " bob", " 2", f" {BOB}", f" {DAVE}", f" {BOB} x", f" {BOB} -", f" {CAROL} -"):
                yield f"{command.name}{rest}", self._typed(command.name + rest)
                yield f"{command.name}{rest}, failing", self._failing(command.name + rest)
            yield f"{command.name} pasted", partial(self._paste, command.name)
            yield f"{command.name} bob pasted", partial(self._paste, f"{command.name} {BOB}")

    def _paste(self, beginning: str) -> None:
        self._do(f"{beginning} {self.said.text}")

    def _do(self, line: str) -> None:
        self.conversation._do(line)

    def _typed(self, line: str) -> Site:
        return lambda: self._do(line)

    def _failing(self, line: str) -> Site:
        def fail() -> None:
            self.chat.failing = True
            try:
                self._do(line)
            finally:
                self.chat.failing = False

        return fail

    def _others(self) -> Iterator[tuple[str, Site]]:
        session, said, view = self.session, self.said, self.session._view
        yield "sent", lambda: view.sent(BOB, 7, said.text)
        yield "sent to all", lambda: view.sent_to_all("ref", said.text)
        yield "a line of ours", lambda: session.say("Note", said.text)
        yield "a row of ours", lambda: session.row("a ", Span(said.text), " b")
        yield "pasted", lambda: self._do(said.text)
        yield "pasted command", lambda: self._do(f"/{said.text}")
        yield "progress", self._show_progress
        yield "prompt", self._show_prompt
        yield "greeting", lambda: greet(session)
        yield "sent by a script", lambda: session.sent(BOB, 7, said.text)
        yield "sent to all by a script", lambda: session.sent_to_all("ref", said.text)
        for fate in (Stored, Delivered, Unconfirmed):
            yield f"sent, {fate.__name__}", partial(self._send, fate("ref", BOB, 7))
        yield "sent, failed", lambda: self._send(Failed("ref", BOB, said.text, said.text, 7))

    def _show_progress(self) -> None:
        screen = self.session.screen
        for files in (self.chat.files(), *([file] for file in self.chat.files())):
            Progress(screen, lambda files=files: files, cast(Alarms, mock.Mock()))._draw()  # type: ignore[misc]
            for name in ("files", *(f"file {file.number}" for file in files)):
                screen.status(name, None)

    def _show_prompt(self) -> None:
        self.session.screen.prompt(f"→ {self.session.label(BOB)} > ")

    def _send(self, fate: Event) -> None:
        self.session._view.sent(BOB, 7, self.said.text)
        self.session.handle(fate)


# Fields of events and reports that nobody else can choose.
_OURS: dict[str, object] = {
    **dict.fromkeys(("sender", "peer", "from", "to", "id"), BOB),
    **dict.fromkeys(("joined", "left"), (BOB,)),
    **dict.fromkeys(("server", "server_id"), SERVER),
    **dict.fromkeys(("verified", "you", "blocked", "final", "incoming"), False),
    "address": "host.example:9001",
    "file_id": FILE,
    "msg_ref": "ref",
    "nick": "",
    "number": 7,
    "profile": "default",
    "size": 1234,
}
# Fields of events that make another line: each event is shown with each of these.
_CHOICES: dict[str, tuple[object, ...]] = {
    "incoming": (True, False),
    "final": (True, False),
    "number": (7, None),
    "to": (BOB, socp.PUBLIC),
}


# What a name may hold: nothing of what stands around it in our lines.
_NAME = r"[^\[\]:·\x22→]*"


def template(line: str) -> str:
    """Return the pattern of a line whatever others say, from what it looks like when they say BENIGN."""
    if line.startswith("{"):  # JSON, where everything is escaped
        return r'\{"v": 1, [ -~]*\}'
    pattern = re.escape(line)
    pattern = re.sub(r"(?<![\w-])\d+(?![\w-])", r"\\d+", pattern)  # times and counts
    # A user, who may have no name that can be shown, or one that is somebody else's.
    pattern = re.sub(
        rf'"?{BENIGN.name}"?(?:\\ )+·(?:\\ )+([0-9a-f]{{8}})',
        lambda found: rf"(?:\x22?{_NAME}\x22? · )?{found[1]}(?: · {_NAME})?",
        pattern,
    )
    pattern = pattern.replace(BENIGN.text, ".*").replace(BENIGN.file, r"[^/\x22]*")
    pattern = pattern.replace(f'"{BENIGN.name}"', rf"(?:\x22{_NAME}\x22(?:, but is not .*)?|nothing|-)")
    return pattern.replace(BENIGN.name, f"(?:{_NAME}|-)")


def holds_theirs(line: str) -> bool:
    """Tell whether a line has something in it that others say."""
    return any(word in line for word in (BENIGN.text, BENIGN.name, BENIGN.file))


# What prints a line.
_PRINTING = frozenset({"say", "row", "note", "complain", "show", "status", "prompt", "explain"})


def printing_functions(*modules: ModuleType) -> Iterator[tuple[str, str]]:
    """Yield the functions of some modules that print what is not the same each time: the file, and the name."""
    for module in modules:
        path = str(module.__file__)
        for function in ast.walk(ast.parse(Path(path).read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef) and any(map(_prints, ast.walk(function))):
                yield path, function.name


def _prints(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in _PRINTING and not all(isinstance(argument, ast.Constant) for argument in node.args)
