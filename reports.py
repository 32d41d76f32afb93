"""What scripts are told: reports, each of one type, and as one JSON object or one line of text.

TYPES and FIELDS are the contract with scripts, and README.md shows them: what stands here keeps its name and meaning
for as long as VERSION stays; types and fields may be added. Texts in a report are raw, as whoever sent them wrote them.
In JSON they are escaped, so that not even a terminal that shows it as it is takes harm; in text they are made visible.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import socp
from contacts import Contacts, Listed
from display import visible
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
from names import plain_name

VERSION: Final = 1

Report = Mapping[str, object]


@dataclass(frozen=True)
class Field:
    """One field of a report.

    Attributes:
        kinds: of Python, that a value may have.
        meaning: for README.md.
    """

    kinds: tuple[type, ...]
    meaning: str


FIELDS: Final[Mapping[str, Field]] = {
    "v": Field((int,), "1: the version of all this"),
    "ts": Field((int,), "when, in Unix ms; of a message, as its sender's clock had it"),
    "type": Field((str,), "what this is about: one of the types"),
    "from": Field((str,), "the id of who sends"),
    "to": Field((str,), 'the id of who is to get it, or "public"'),
    "id": Field((str,), "the id of the user"),
    "name": Field((str,), "the display name of the other one (in whoami: yours), which anybody may choose; or empty"),
    "nick": Field((str,), "your own name for the other one, which nobody else can take; or empty"),
    "verified": Field((bool,), "whether you have compared numbers with the other one (/verify)"),
    "label": Field((str,), "how the client calls the other one before people; safe to show"),
    "text": Field((str,), "what is said, with whatever is in it"),
    "number": Field((int, type(None)), "what people call the message by, in this profile; null for a broadcast"),
    "msg_ref": Field((str,), "what programs call the message by"),
    "code": Field((str,), 'an error code of PROTOCOL.md section 13, or "failed" if the recipient says so'),
    "reason": Field((str,), "why, for people"),
    "file_id": Field((str,), "what programs call the transfer by"),
    "file_name": Field((str,), "the file's name, as its sender calls it"),
    "size": Field((int,), "bytes"),
    "incoming": Field((bool,), "whether the file comes to you"),
    "path": Field((str,), "where the file is; a byte of it that is not UTF-8 is written as \\xNN"),
    "server": Field((str,), "the id of a server; empty where it is not known"),
    "address": Field((str,), "host:port"),
    "you": Field((bool,), "whether it is this profile's user"),
    "blocked": Field((bool,), "whether you have blocked the user"),
    "profile": Field((str,), "the profile's name"),
    "final": Field((bool,), "whether it will not come back by itself"),
}

_TEXT_MOST = 1_000  # characters of what is no message: servers can make some as long as a frame

_ALL = ("v", "ts", "type")
_PERSON = ("name", "nick", "verified", "label")  # about the other one, whoever sends
_SAID = ("from", "to", *_PERSON, "text")
_OURS = ("from", "to", *_PERSON, "number", "msg_ref")
_FILE = ("from", "to", *_PERSON, "incoming", "file_id", "file_name")


@dataclass(frozen=True)
class ReportType:
    """A type of reports: what it says, and its fields besides v, ts and type, all of which are always there."""

    meaning: str
    fields: tuple[str, ...]


TYPES: Final[Mapping[str, ReportType]] = {
    "message": ReportType("a direct message was received, and its sender verified", _SAID),
    "public": ReportType("a broadcast was received, and its sender verified", _SAID),
    "sent": ReportType("a message of yours was taken, and is on the disk; a broadcast: is on its way", _OURS),
    "stored": ReportType("a server keeps a message of yours until its recipient comes back", _OURS),
    "delivered": ReportType("the recipient has signed that a message of yours was shown", _OURS),
    "failed": ReportType("a message of yours was not delivered", (*_OURS, "code", "reason")),
    "unconfirmed": ReportType("a message of yours was stored, and nothing was heard of it for 7 days", _OURS),
    "user": ReportType("somebody is online", ("id", *_PERSON, "server", "you", "blocked")),
    "whoami": ReportType("who you are", ("id", "name", "profile")),
    "file-offered": ReportType("a file is offered: one of yours, or one to you that waits for /accept", _FILE),
    "file-rejected": ReportType("a file that was offered to you was not taken, or is withdrawn", (*_FILE, "reason")),
    "file-started": ReportType("a file begins to come, or the recipient has accepted yours", (*_FILE, "size")),
    "file-interrupted": ReportType("a file waits until both ends are connected again", (*_FILE, "reason")),
    "file-resumed": ReportType("a file that was interrupted goes on", _FILE),
    "file-done": ReportType("a file has arrived whole, and is right", (*_FILE, "size", "path")),
    "file-failed": ReportType("a file was not transferred, and nothing is left of it", (*_FILE, "reason")),
    "connected": ReportType("there is a connection to a server again", ("server", "address")),
    "disconnected": ReportType("the connection to the server is gone", ("reason", "final")),
    "notice": ReportType("something that you should know", ("text",)),
}

# In text, these go to standard error: they are not what the script has asked for.
NOTES: Final = frozenset({"connected", "disconnected", "notice"})

_FATES: Final[Mapping[type, str]] = {Delivered: "delivered", Stored: "stored", Unconfirmed: "unconfirmed"}


def fields_of(report_type: str) -> tuple[str, ...]:
    """Return all fields of a type of reports, in the order in which they are written."""
    return (*_ALL, *TYPES[report_type].fields)


def make_report(report_type: str, values: Mapping[str, object], ts: int | None = None) -> Report:
    """Return a report with all the fields of its type.

    Args:
        report_type: of TYPES.
        values: those of the type's own fields, and no others.
        ts: Unix ms; now if None.
    """
    report: dict[str, object] = {"v": VERSION, "ts": socp.now_ms() if ts is None else ts, "type": report_type}
    report |= {name: _cut(name, values[name]) for name in TYPES[report_type].fields}
    assert len(report) == len(values) + len(_ALL), f"{report_type} has other fields than {sorted(values)}"
    return report


def _cut(name: str, value: object) -> object:
    if isinstance(value, str) and name not in ("text", "path") and len(value) > _TEXT_MOST:
        return value[:_TEXT_MOST] + "…"
    return value


def check_report(value: object) -> Report:
    """Return a report that another program has made; what it has besides the fields of its type is left out.

    Raises:
        ValueError: it is none that we know.
    """
    if not isinstance(value, dict) or not isinstance(value.get("type"), str) or value["type"] not in TYPES:
        raise ValueError("no report")
    report = {name: value.get(name) for name in fields_of(value["type"])}
    for name, found in report.items():
        if type(found) not in FIELDS[name].kinds:
            raise ValueError(f"a report of the type {value['type']} with another {name}")
    return report


def whoami(user_id: str, name: str, profile: str) -> Report:
    """Return the report of who a user is."""
    return make_report("whoami", {"id": user_id, "name": name, "profile": profile})


class Reporter:
    """Makes reports for one user.

    Args:
        user_id: whose.
        contacts: what is known of others.
    """

    def __init__(self, user_id: str, contacts: Contacts) -> None:
        self._user_id = user_id
        self._contacts = contacts

    def of_event(self, event: Event) -> Report | None:
        """Return the report of an event; None for one that scripts are not told of."""
        if isinstance(event, Message | PublicMessage):
            public = isinstance(event, PublicMessage)
            said = {"from": event.sender, "to": socp.PUBLIC if public else self._user_id, "text": event.text}
            person = self._person(event.sender, event.name)
            return make_report("public" if public else "message", {**said, **person}, event.ts)
        if isinstance(event, Delivered | Stored | Unconfirmed):
            return make_report(_FATES[type(event)], self._ours(event.to, event.number, event.msg_ref))
        if isinstance(event, Failed):
            ours = self._ours(event.to, event.number, event.msg_ref)
            return make_report("failed", {**ours, "code": event.code, "reason": event.reason})
        if isinstance(event, Notice):
            return make_report("notice", {"text": event.text[:_TEXT_MOST]})
        if isinstance(event, Disconnected):
            return make_report("disconnected", {"reason": event.reason, "final": event.final})
        if isinstance(event, Connected):
            return make_report("connected", {"server": event.server_id, "address": event.address})
        if isinstance(event, FileOffered | FileNotTaken):
            file = self._file(event.peer, event.file_id, event.name, incoming=True)
            if isinstance(event, FileOffered):
                return make_report("file-offered", file)
            return make_report("file-rejected", {**file, "reason": event.reason})
        if isinstance(event, FileStarted | FileInterrupted | FileResumed | FileDone | FileFailed):
            return self._of_progress(event)
        return None

    def _of_progress(self, event: FileStarted | FileInterrupted | FileResumed | FileDone | FileFailed) -> Report:
        file = self._file(event.peer, event.file_id, event.name, incoming=event.incoming)
        if isinstance(event, FileStarted):
            return make_report("file-started", {**file, "size": event.size})
        if isinstance(event, FileDone):
            return make_report("file-done", {**file, "size": event.size, "path": _path(event.path)})
        if isinstance(event, FileResumed):
            return make_report("file-resumed", file)
        kind = "file-interrupted" if isinstance(event, FileInterrupted) else "file-failed"
        return make_report(kind, {**file, "reason": event.reason})

    def sent(self, to: str, number: int | None, msg_ref: str) -> Report:
        """Return the report of a message that was taken; `to` is "public" for a broadcast, which has no number."""
        return make_report("sent", self._ours(to, number, msg_ref))

    def offered(self, to: str, file_id: str, path: Path) -> Report:
        """Return the report of a file that was offered."""
        return make_report("file-offered", self._file(to, file_id, path.name, incoming=False))

    def user(self, listed: Listed, *, blocked: bool) -> Report:
        """Return the report of a user who is online; the name is the server's word alone."""
        place = {"id": listed.user_id, "server": listed.server_id}
        marks = {"you": listed.user_id == self._user_id, "blocked": blocked}
        return make_report("user", {**place, **marks, **self._person(listed.user_id, listed.name)})

    def label(self, user_id: str) -> str:
        """Return how a user is called before a person; see `_label`."""
        return self._label(user_id, self._contacts.name_of(user_id))

    def _label(self, user_id: str, name: str) -> str:
        """Return what a script calls a user: the same beside a client at a terminal, where names have quotes."""
        return self._contacts.label(user_id, name, quoted=False)

    def _person(self, user_id: str, name: str) -> dict[str, object]:
        return {
            "name": name,
            "nick": self._contacts.nick(user_id),
            "verified": self._contacts.is_verified(user_id),
            "label": visible(self._label(user_id, name)),
        }

    def _ours(self, to: str, number: int | None, msg_ref: str) -> dict[str, object]:
        person = (
            {"name": "", "nick": "", "verified": False, "label": "everybody"}
            if to == socp.PUBLIC
            else self._person(to, self._contacts.name_of(to))
        )
        return {"from": self._user_id, "to": to, **person, "number": number, "msg_ref": msg_ref}

    def _file(self, peer: str, file_id: str, name: str, *, incoming: bool) -> dict[str, object]:
        ends = {"from": peer, "to": self._user_id} if incoming else {"from": self._user_id, "to": peer}
        person = self._person(peer, self._contacts.name_of(peer))
        return {**ends, **person, "incoming": incoming, "file_id": file_id, "file_name": name}


def _path(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def as_json(report: Mapping[str, object]) -> str:
    """Return a report, or whatever else has a form in JSON, as one line of printable ASCII."""
    return json.dumps(report, ensure_ascii=True, allow_nan=False)


def as_text(report: Report) -> str:
    """Return a report as a line for people; what shows it makes it visible."""
    of, label = str(report["type"]), str(report.get("label", ""))
    if of == "message":
        return f"[DM from {label}] {report['text']}"
    if of == "public":
        return f"[All] {label}: {report['text']}"
    if of in _OWN_TEXTS:
        said = _OWN_TEXTS[of].format_map(report)
        return f"[All] {said}" if report["number"] is None else f"[DM to {label}] {said} (#{report['number']})"
    if of in _FILE_TEXTS:
        name = safe_name(str(report["file_name"]))
        said = _file_text(report, name)
        return f"[File {'from' if report['incoming'] else 'to'} {label}] {said}"
    if of == "user":
        # The name stands last, so that it can pass for nothing else.
        mark = "you" if report["you"] else "blocked" if report["blocked"] else "-"
        return f"{report['id']}  {report['server'] or '-'}  {mark}  {label}"
    if of == "whoami":
        return f"{report['id']}  {report['profile']}  {plain_name(str(report['name'])) or '-'}"
    if of == "connected":
        return f"connected again: {report['address']} ({report['server']})"
    if of == "disconnected":
        return f"connection lost: {report['reason']}"
    return str(report["text"])


# Templates of ours; what they take of a report stands behind "failed", where it can pass for nothing else.
_OWN_TEXTS: Final[Mapping[str, str]] = {
    "sent": "sent",
    "stored": "stored until the user is back",
    "delivered": "delivered",
    "unconfirmed": "not confirmed after 7 days",
    "failed": "failed: {code}: {reason}",
}
_FILE_TEXTS: Final = frozenset(name for name in TYPES if name.startswith("file-"))


def _file_text(report: Report, name: str) -> str:
    of = report["type"]
    if of == "file-started":
        return f"{'receiving' if report['incoming'] else 'sending'} {name} ({report['size']:,} bytes)"
    if of == "file-done":
        what = f"saved {report['path']}" if report["incoming"] else f"{name} delivered"
        return f"{what} ({report['size']:,} bytes)"
    if of == "file-offered":
        return f"{name} offered"
    if of == "file-resumed":
        return f"{name} goes on"
    what = {"file-rejected": "not taken", "file-interrupted": "interrupted"}.get(str(of), "failed")
    return f"{name} {what}: {report['reason']}"
