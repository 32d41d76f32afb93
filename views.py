"""How what happens to a client looks: a line for each event in a pipe; with times, colours and marks on a terminal."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import socp
from downloads import safe_name
from events import (
    Connected,
    Delivered,
    Disconnected,
    Event,
    Failed,
    FileDone,
    FileFailed,
    FileInterrupted,
    FileNotTaken,
    FileOffered,
    FileResumed,
    FileStarted,
    Message,
    Notice,
    PublicMessage,
    Stored,
    Unconfirmed,
)
from screen import Line, Screen, Shown, Span, Style, with_breaks

_FATES: dict[type, str] = {
    Stored: "stored until the user is back",
    Delivered: "delivered",
    Unconfirmed: "not confirmed after 7 days",
}
_FileEvent = FileStarted | FileInterrupted | FileResumed | FileDone | FileFailed
# How a user is called: by id, and by the name that it has signed, None where that is to be looked up.
Label = Callable[[str, str | None], str]

# Of our own messages whose lines may still change; what is further up is out of reach anyway.
_CHANGING_MOST = 200
_EXCERPT_MOST = 32  # characters


class PipeView:
    """Shows each event as one line that programs can read as well.

    Args:
        screen: where.
        label: how users are called.
    """

    def __init__(self, screen: Screen, label: Label) -> None:
        self._screen = screen
        self._label = label

    def say(self, tag: str, text: str) -> None:
        """Show a line of ours."""
        self._screen.show([Span(f"[{tag}] ", Style.BAD if tag == "Error" else Style.DIM), Span(text)])

    def sent(self, to: str, number: int, _text: str, /) -> None:
        """Show that a direct message of ours, and what it says, is taken."""
        self.say(f"DM to {self._label(to, None)}", f"sent (#{number})")

    def sent_to_all(self, _msg_ref: str, _text: str, /) -> None:
        """Show a broadcast of ours, where what was typed does not stay to be seen."""

    def show(self, event: Event) -> None:
        """Show an event.

        Raises:
            BrokenPipeError: nobody reads it.
        """
        if isinstance(event, Message):
            self._screen.show([Span(f"[DM from {self._label(event.sender, event.name)}] {event.text}")])
        elif isinstance(event, PublicMessage):
            self._screen.show([Span(f"[All] {self._label(event.sender, event.name)}: {event.text}")])
        elif isinstance(event, Delivered | Stored | Unconfirmed):
            self.say(f"DM to {self._label(event.to, None)}", f"{_FATES[type(event)]} (#{event.number})")
        elif isinstance(event, Failed):
            self._show_failed(event)
        elif isinstance(event, Notice):
            self.say("Note", event.text)
        elif isinstance(event, Disconnected):
            self.say("Server", f"connection lost: {event.reason}")
        elif isinstance(event, Connected):
            self.say("Server", f"connected again: {event.address} ({event.server_id})")
        elif isinstance(event, FileOffered | FileNotTaken):
            self._show_offer(event)
        elif isinstance(event, _FileEvent):
            self._show_file(event)

    def _show_failed(self, event: Failed) -> None:
        if event.number is None:
            self.say("All", f"failed: {event.code}: {event.reason}")
        else:
            self.say(f"DM to {self._label(event.to, None)}", f"failed: {event.code}: {event.reason} (#{event.number})")

    def _show_offer(self, event: FileOffered | FileNotTaken) -> None:
        file = f"{safe_name(event.name)} ({event.size:,} bytes)"
        if isinstance(event, FileNotTaken):
            what = f"{file} not taken: {event.reason}"
        else:
            trouble = f"; it would not be saved now: {event.trouble}" if event.trouble else ""
            what = f"offers {file}: /accept {event.number} or /deny {event.number}{trouble}"
        self.say(f"File from {self._label(event.peer, None)}", what)

    def _show_file(self, event: _FileEvent) -> None:
        name = safe_name(event.name)
        if isinstance(event, FileStarted):
            what = f"{'receiving' if event.incoming else 'sending'} {name} ({event.size:,} bytes)"
        elif isinstance(event, FileDone):
            what = f"saved {event.path}" if event.incoming else f"{name} delivered"
            what += f" ({event.size:,} bytes)"
        elif isinstance(event, FileInterrupted):
            what = f"{name} interrupted: {event.reason}"
        elif isinstance(event, FileResumed):
            what = f"{name} goes on"
        else:
            what = f"{name} failed: {event.reason}"
        self.say(f"File {'from' if event.incoming else 'to'} {self._label(event.peer, None)}", what)


@dataclass(frozen=True)
class _Own:
    """A message of ours on the screen.

    Attributes:
        line: without its fate.
        shown: where it stands.
        to: how its recipient is called.
        excerpt: the beginning of what it says.
    """

    line: tuple[Span, ...]
    shown: Shown
    to: str
    excerpt: str


class TerminalView(PipeView):
    """Shows events to a person; what becomes of a message is shown at the message, as long as that can be seen.

    Nothing is told of a message before it is shown as sent.

    Args:
        screen: where.
        label: how users are called.
        bell: whether a direct message rings.
        now: the time, in Unix seconds.
    """

    def __init__(self, screen: Screen, label: Label, *, bell: bool, now: Callable[[], float] = time.time) -> None:
        super().__init__(screen, label)
        self._bell = bell
        self._now = now
        self._lock = threading.Lock()  # guards _own
        self._own: OrderedDict[object, _Own] = OrderedDict()  # by number; broadcasts by msg_ref

    def say(self, tag: str, text: str) -> None:
        """Show a line of ours."""
        style = {"Error": Style.BAD, "Server": Style.STRONG}.get(tag, Style.DIM)
        self._screen.show([self._time(socp.now_ms()), Span(f"[{tag}] ", style), Span(text)])

    def sent(self, to: str, number: int, text: str, /) -> None:
        """See PipeView."""
        label = self._label(to, None)
        self._show_own(number, (Span("e2e    ", Style.GOOD), *_to(label, to)), label, text)

    def sent_to_all(self, msg_ref: str, text: str, /) -> None:
        """See PipeView."""
        self._show_own(msg_ref, (Span("public ", Style.DIM), *_to("everybody", "")), "everybody", text)

    def _show_own(self, key: object, head: Line, to: str, text: str) -> None:
        line = (self._time(socp.now_ms()), *head, *with_breaks(text))
        mark = [Span("  …", Style.DIM)] if isinstance(key, int) else []  # nobody confirms a broadcast
        own = _Own(line, self._screen.show([*line, *mark]), to, _excerpt(text))
        with self._lock:
            self._own[key] = own
            while len(self._own) > _CHANGING_MOST:
                self._own.popitem(last=False)

    def show(self, event: Event) -> None:
        """See PipeView."""
        if isinstance(event, Message):
            self._show_message(event, Span("e2e    ", Style.GOOD))
            if self._bell:
                self._screen.ring()
        elif isinstance(event, PublicMessage):
            self._show_message(event, Span("public ", Style.DIM))
        elif isinstance(event, Stored):
            self._mark(event.number, event.to, Span("✓", Style.DIM), "stored until they are back", final=False)
        elif isinstance(event, Delivered):
            self._mark(event.number, event.to, Span("✓✓", Style.GOOD), "delivered")
        elif isinstance(event, Unconfirmed):
            self._mark(event.number, event.to, Span("?", Style.BAD), "not confirmed after 7 days")
        elif isinstance(event, Failed):
            reason = f"failed: {event.reason}" if event.reason else f"failed: {event.code}"
            self._mark(event.number or event.msg_ref, event.to, Span("✗", Style.BAD), reason)
        else:
            super().show(event)

    def _show_message(self, event: Message | PublicMessage, mark: Span) -> None:
        who = Span(self._label(event.sender, event.name), Style.PERSON, event.sender)
        self._screen.show([self._time(event.ts), mark, who, Span(": "), *with_breaks(event.text)])

    def _mark(self, key: object, to: str, mark: Span, says: str, *, final: bool = True) -> None:
        """Show what has become of a message of ours: at the message, if that can still be seen, else below.

        Args:
            key: its number, or the msg_ref of a broadcast.
            to: the recipient's id.
            mark: what stands for it.
            says: what it means.
            final: whether nothing else will become of it.
        """
        with self._lock:
            own = self._own.pop(key, None) if final else self._own.get(key)
        bad = mark.style is Style.BAD
        if own is not None and own.shown.change([*own.line, Span("  "), mark, *([Span(f" {says}")] if bad else [])]):
            return
        about = own.excerpt if own is not None else f"#{key}, of before" if isinstance(key, int) else "a broadcast"
        label = own.to if own is not None else self._label(to, None) if socp.is_id(to) else "everybody"
        line = [self._time(socp.now_ms()), mark, Span(f" → {label}: {says}"), Span(f"  ({about})", Style.DIM)]
        self._screen.show(line)

    def _time(self, ts: int) -> Span:
        """Return a time of ours or of a sender, in Unix ms, with its day if that is not today."""
        then, now = time.localtime(ts / 1000), time.localtime(self._now())
        day = "" if then[:3] == now[:3] else time.strftime("%b %d ", then)
        return Span(day + time.strftime("%H:%M ", then), Style.DIM)


def _to(label: str, user_id: str) -> Line:
    return [Span("→ "), Span(label, Style.PERSON if user_id else Style.STRONG, user_id), Span(": ")]


def _excerpt(text: str) -> str:
    first = text.split("\n", 1)[0]
    return first if len(text) <= _EXCERPT_MOST else f"{first[:_EXCERPT_MOST]}…"
