"""What scripts are told: the contract holds, and nothing in it can harm who shows it."""

from __future__ import annotations

import json
import random
import unicodedata
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import socp
from contacts import Listed
from display import visible
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
    PresenceChanged,
    PublicMessage,
    Stored,
    Unconfirmed,
)
from reports import FIELDS, TYPES, Report, Reporter, as_json, as_text, check_report, fields_of, whoami
from tests.vectors import key

ALICE, BOB = key("alice").id, key("bob").id
SERVER = key("server").id
REF = "ref"

# Version 1, as scripts know it. A type or a field may be added here; none may be changed or taken away.
PERSON = ["name", "nick", "verified", "label"]
CONTRACT = {
    "message": ["from", "to", *PERSON, "text"],
    "public": ["from", "to", *PERSON, "text"],
    "sent": ["from", "to", *PERSON, "number", "msg_ref"],
    "stored": ["from", "to", *PERSON, "number", "msg_ref"],
    "delivered": ["from", "to", *PERSON, "number", "msg_ref"],
    "failed": ["from", "to", *PERSON, "number", "msg_ref", "code", "reason"],
    "unconfirmed": ["from", "to", *PERSON, "number", "msg_ref"],
    "user": ["id", *PERSON, "server", "you", "blocked"],
    "whoami": ["id", "name", "profile"],
    "file-offered": ["from", "to", *PERSON, "incoming", "file_id", "file_name"],
    "file-rejected": ["from", "to", *PERSON, "incoming", "file_id", "file_name", "reason"],
    "file-started": ["from", "to", *PERSON, "incoming", "file_id", "file_name", "size"],
    "file-interrupted": ["from", "to", *PERSON, "incoming", "file_id", "file_name", "reason"],
    "file-resumed": ["from", "to", *PERSON, "incoming", "file_id", "file_name"],
    "file-done": ["from", "to", *PERSON, "incoming", "file_id", "file_name", "size", "path"],
    "file-failed": ["from", "to", *PERSON, "incoming", "file_id", "file_name", "reason"],
    "connected": ["server", "address"],
    "disconnected": ["reason", "final"],
    "notice": ["text"],
}


def make_reporter(nick: str = "", name: str = "bob") -> Reporter:
    """Return alice's, for whom bob may be a contact, and goes by a name."""
    contacts = mock.Mock()
    contacts.name_of.return_value = name
    contacts.label.side_effect = lambda user_id, called, *, quoted: f"{nick or called} · {user_id[:8]}"
    contacts.nick.side_effect = lambda user_id: nick if user_id == BOB else ""
    contacts.is_verified.side_effect = lambda user_id: bool(nick) and user_id == BOB
    return Reporter(ALICE, contacts)


def make_events(text: str) -> list[Event]:
    """Return one event of each kind, with a text wherever one comes from outside."""
    return [
        Message(BOB, text, text, 5),
        PublicMessage(BOB, text, text, 5),
        Delivered(REF, BOB, 1),
        Stored(REF, BOB, 1),
        Unconfirmed(REF, BOB, 1),
        Failed(REF, BOB, text, text, 1),
        Failed(REF, socp.PUBLIC, text, text),
        FileOffered("id", BOB, text, 1_000, 1, text),
        FileNotTaken("id", BOB, text, 1_000, text),
        FileStarted("id", BOB, text, 1_000, incoming=True),
        FileInterrupted("id", BOB, text, incoming=False, reason=text),
        FileResumed("id", BOB, text, incoming=True),
        FileDone("id", BOB, text, 1_000, incoming=True, path=Path("files") / "menu"),
        FileDone("id", BOB, text, 1_000, incoming=False, path=Path("menu")),
        FileFailed("id", BOB, text, incoming=False, reason=text),
        Notice(text),
        Disconnected(text, final=False),
        Connected("127.0.0.1:9001", SERVER),
    ]


def make_reports(text: str) -> list[Report]:
    """Return a report of each kind, with a text wherever one comes from outside."""
    reporter = make_reporter(name=text)
    reports = [reporter.of_event(event) for event in make_events(text)]
    return [
        *(report for report in reports if report is not None),
        reporter.sent(BOB, 1, REF),
        reporter.sent(socp.PUBLIC, None, REF),
        reporter.offered(BOB, "id", Path("menu")),
        reporter.user(Listed(BOB, text, SERVER), blocked=True),
        reporter.user(Listed(ALICE, text, ""), blocked=False),
        whoami(ALICE, text, "default"),
    ]


class ContractTest(unittest.TestCase):
    """What scripts rely on."""

    def test_types(self) -> None:
        """Each type has the fields that it had when version 1 was written, and those that came since."""
        for report_type, fields in CONTRACT.items():
            with self.subTest(report_type):
                self.assertEqual(fields_of(report_type), ("v", "ts", "type", *fields))
        self.assertEqual(list(TYPES), list(CONTRACT))
        self.assertEqual({name for fields in CONTRACT.values() for name in fields} | {"v", "ts", "type"}, set(FIELDS))

    def test_all_made(self) -> None:
        """Every type is made, with all its fields, each of the kind that it is to be."""
        made = set()
        for report in make_reports("x"):
            with self.subTest(report["type"]):
                self.assertEqual(tuple(report), fields_of(str(report["type"])))
                self.assertEqual(check_report(dict(report)), report)
                made.add(report["type"])
        self.assertEqual(made, set(TYPES))
        self.assertIsNone(make_reporter().of_event(PresenceChanged((), ())))

    def test_message(self) -> None:
        """A message of a verified contact, in full."""
        report = make_reporter("ben").of_event(Message(BOB, "Ben J.", "Lunch?", 1_700_000_000_000))
        assert report is not None
        self.assertEqual(
            json.loads(as_json(report)),
            {
                "v": 1,
                "ts": 1_700_000_000_000,
                "type": "message",
                "from": BOB,
                "to": ALICE,
                "name": "Ben J.",
                "nick": "ben",
                "verified": True,
                "label": f"ben · {BOB[:8]}",
                "text": "Lunch?",
            },
        )

    def test_of_others(self) -> None:
        """What another program says is taken only with every field as it should be, and without any more."""
        [report] = [dict(report) for report in make_reports("x") if report["type"] == "whoami"]
        self.assertEqual(check_report({**report, "more": 1}), report)
        wrong: list[Any] = [None, [], {}, {**report, "type": "nonsense"}, {**report, "type": []}]
        others: list[Any] = [None, [], True]
        wrong += [{**report, name: other} for name in report for other in others]
        wrong += [{name: report[name] for name in report if name != left} for left in report]
        for value in wrong:
            with self.subTest(value), self.assertRaises(ValueError):
                check_report(value)

    def test_documented(self) -> None:
        """README.md names every type with its meaning and its fields, and every field with its meaning."""
        lines = set((Path(__file__).resolve().parent.parent / "README.md").read_text("utf-8").splitlines())
        rows = [
            f"| `{name}` | {report_type.meaning} | {' '.join(f'`{field}`' for field in report_type.fields)} |"
            for name, report_type in TYPES.items()
        ]
        rows += [f"| `{name}` | {field.meaning} |" for name, field in FIELDS.items()]
        missing = [row for row in rows if row not in lines]
        self.assertFalse(missing, "\n".join(missing))


class ShownTest(unittest.TestCase):
    """What is printed."""

    def test_text(self) -> None:
        """In text, each is a line that says what it says before people, as the client does in a pipe."""
        bob = f"x · {BOB[:8]}"
        self.assertEqual(
            [as_text(report) for report in make_reports("x")],
            [
                f"[DM from {bob}] x",
                f"[All] {bob}: x",
                f"[DM to {bob}] delivered (#1)",
                f"[DM to {bob}] stored until the user is back (#1)",
                f"[DM to {bob}] not confirmed after 7 days (#1)",
                f"[DM to {bob}] failed: x: x (#1)",
                "[All] failed: x: x",
                f"[File from {bob}] x offered",
                f"[File from {bob}] x not taken: x",
                f"[File from {bob}] receiving x (1,000 bytes)",
                f"[File to {bob}] x interrupted: x",
                f"[File from {bob}] x goes on",
                f"[File from {bob}] saved files/menu (1,000 bytes)",
                f"[File to {bob}] x delivered (1,000 bytes)",
                f"[File to {bob}] x failed: x",
                "x",
                "connection lost: x",
                f"connected again: 127.0.0.1:9001 ({SERVER})",
                f"[DM to {bob}] sent (#1)",
                "[All] sent",
                f"[File to {bob}] menu offered",
                f"{BOB}  {SERVER}  blocked  {bob}",
                f"{ALICE}  -  you  x · {ALICE[:8]}",
                f"{ALICE}  default  x",
            ],
        )

    def test_hostile(self) -> None:
        """Whatever a text holds, JSON is printable ASCII and holds it, too; and text is one line without controls."""
        chance = random.Random(5)
        alphabet = [*map(chr, range(0xA0)), *"{}%\u202e\u2028\u200b\ufeff\ufffe\U000e0041\U0001f600", '"', "\\"]
        for _ in range(150):
            text = "".join(chance.choices(alphabet, k=20))
            for report in make_reports(text):
                line = as_json(report)
                self.assertTrue(line.isascii() and line.isprintable(), line)
                self.assertEqual(json.loads(line), report)
                shown = visible(as_text(report))
                self.assertFalse([each for each in shown if unicodedata.category(each) in ("Cc", "Cf", "Zl")], shown)

    def test_long(self) -> None:
        """What servers say and name is cut; messages never are."""
        for report in make_reports("x" * 20_000):
            most = 23_000 if report["type"] in ("message", "public") else 5_000
            self.assertLess(len(as_json(report)), most)
        [message] = [report for report in make_reports("x" * 20_000) if report["type"] == "message"]
        self.assertEqual(message["text"], "x" * 20_000)

    def test_path(self) -> None:
        """A path that is not UTF-8 is written so that JSON can hold it."""
        report = make_reporter().of_event(FileDone("id", BOB, "x", 1, incoming=True, path=Path("a\udcffb")))
        assert report is not None
        self.assertEqual(report["path"], "a\\xffb")
