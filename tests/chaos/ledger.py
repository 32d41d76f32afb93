"""The account of every message, from what was typed and from what the clients print, and from nothing else."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

_SHOWN = re.compile(r"\[DM from .*?\] (chaos (\w+) (\d+) (\w+)( x+)?)")
_SENT = re.compile(r"\[DM to .*\] sent \(#(\d+)\)")
_STATUS = re.compile(
    r"\[DM to .*\] (?:(delivered)|(stored) until the user is back|failed: (\w+): .*|(not confirmed) after .*)"
    r" \(#(\d+)\)"
)
_ERROR = "[Error] "
_DIRECTORY = re.compile(r"/\S*/")

# What must not be. Each is a heading of the verdict.
LOST = "lost in silence"
UNSEEN = "delivered but not shown"
TWICE = "shown twice"
ELSEWHERE = "shown to somebody else"
NEVER_TYPED = "shown but never typed"
REFUSED = "shown though it was refused"
UNANSWERED = "typed and not answered"
NUMBERS = "numbers that cannot be"
RED = (LOST, UNSEEN, TWICE, ELSEWHERE, NEVER_TYPED, REFUSED, UNANSWERED, NUMBERS)


@dataclass
class Entry:
    """A message, and what became of it."""

    sender: str
    sequence: int
    recipient: str
    text: str
    number: int | None = None  # that its client gave it: it was taken
    refused: str = ""  # the error instead
    cut: bool = False  # its client ended before it answered
    unanswered: bool = False
    shown: list[str] = field(default_factory=list)  # by whom, each time
    statuses: list[str] = field(default_factory=list)  # "delivered", "stored", "not confirmed", or a code of failure
    lines: list[str] = field(default_factory=list)  # the evidence

    @property
    def answered(self) -> bool:
        """Whether it is known what the client did with the line."""
        return self.number is not None or bool(self.refused) or self.cut or self.unanswered

    @property
    def delivered(self) -> bool:
        """Whether its sender was told that it was shown."""
        return "delivered" in self.statuses

    @property
    def failed(self) -> list[str]:
        """The failures that its sender was told of."""
        return [status for status in self.statuses if status not in ("delivered", "stored")]

    @property
    def settled(self) -> bool:
        """Whether nothing more is to come from its sender."""
        return self.number is None or self.delivered or bool(self.failed)


@dataclass
class Account:
    """What the messages came to.

    Args:
        counts: by what they are called in the report, in its order.
        bad: for each heading, the evidence of each thing under it.
    """

    counts: dict[str, int]
    bad: dict[str, list[str]]

    def report(self, most: int = 5) -> Iterator[str]:
        """Return the lines to print.

        Args:
            most: pieces of evidence under one heading.
        """
        for name, count in self.counts.items():
            yield f"{count:>8,}  {name}"
        for heading, pieces in self.bad.items():
            if not pieces:
                continue
            yield f"{len(pieces):,} {heading}:"
            for piece in pieces[:most]:
                yield from (f"    {line}" for line in piece.splitlines())
            if len(pieces) > most:
                yield f"    and {len(pieces) - most:,} more"


class Ledger:
    """Every message of a run. Any thread may call it."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._changed = threading.Condition()  # guards all below
        self._entries: dict[str, Entry] = {}  # by text
        self._pending: dict[str, Entry] = {}  # by sender: typed, and not answered yet
        self._numbered: dict[tuple[str, int], Entry] = {}  # by sender and number
        self._early: dict[tuple[str, int], list[tuple[str, str]]] = {}  # what was said of numbers not known yet
        self._unsettled: set[tuple[str, int]] = set()
        self._runs: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._strange: dict[str, list[str]] = {heading: [] for heading in (NEVER_TYPED, NUMBERS)}
        self.said: list[str] = []  # every line, with its time and its client

    # --- what is typed ------------------------------------------------------------------------------------------

    def typing(self, sender: str, sequence: int, recipient: str, padding: int = 0) -> Entry:
        """Note a message that is typed next, one at a time for each sender; its text can be told from all others."""
        text = f"chaos {sender} {sequence} {recipient}" + (f" {'x' * padding}" if padding else "")
        entry = Entry(sender, sequence, recipient, text)
        with self._changed:
            assert sender not in self._pending, "one message at a time"
            assert text not in self._entries, "no text twice"
            self._entries[text] = self._pending[sender] = entry
        return entry

    def cut(self, entry: Entry) -> None:
        """Note that a message's client ended before it could take it, or say so."""
        with self._changed:
            if self._pending.get(entry.sender) is entry:
                del self._pending[entry.sender]
                entry.cut = True
                self._changed.notify_all()

    def wait_answer(self, entry: Entry, seconds: float) -> None:
        """Wait until the client has said what it did with the line, or has ended, or this took too long."""
        with self._changed:
            if not self._changed.wait_for(lambda: entry.answered, seconds):
                entry.unanswered = True
                self._pending.pop(entry.sender, None)

    # --- what is printed ----------------------------------------------------------------------------------------

    def hear(self, client: str, line: str) -> None:
        """Take a line of a client's standard output."""
        with self._changed:
            stamped = f"{time.monotonic() - self._began:9.3f}  {client} (run {self._runs[client] + 1}): {line}"
            self.said.append(stamped)
            if line.startswith("[DM from "):
                self._take_shown(client, line, stamped)
            elif found := _SENT.fullmatch(line):
                self._take_sent(client, int(found[1]), stamped)
            elif found := _STATUS.fullmatch(line):
                status = next(group for group in found.groups()[:4] if group)
                self._take_status(client, int(found[5]), status, stamped)
            elif line.startswith(_ERROR):
                self._take_error(client, line.removeprefix(_ERROR), stamped)
            else:
                return
            self._changed.notify_all()

    def _take_shown(self, client: str, line: str, stamped: str) -> None:
        found = _SHOWN.fullmatch(line)
        entry = self._entries.get(found[1]) if found else None
        if entry is None:
            self._strange[NEVER_TYPED].append(stamped)
            return
        entry.shown.append(client)
        entry.lines.append(stamped)

    def _take_sent(self, client: str, number: int, stamped: str) -> None:
        entry = self._pending.pop(client, None)
        if entry is None:
            self._strange[NUMBERS].append(f"nothing was typed: {stamped}")
            return
        if (client, number) in self._numbered:
            self._strange[NUMBERS].append(f"given before: {stamped}")
        entry.number = number
        entry.lines.append(stamped)
        self._numbered[client, number] = entry
        for status, line in self._early.pop((client, number), []):
            entry.statuses.append(status)
            entry.lines.append(line)
        if not entry.settled:
            self._unsettled.add((client, number))

    def _take_status(self, client: str, number: int, status: str, stamped: str) -> None:
        entry = self._numbered.get((client, number))
        if entry is None:
            self._early.setdefault((client, number), []).append((status, stamped))
            return
        entry.statuses.append(status)
        entry.lines.append(stamped)
        if entry.settled:
            self._unsettled.discard((client, number))

    def _take_error(self, client: str, error: str, stamped: str) -> None:
        self._errors[_DIRECTORY.sub("", error)] += 1  # the same one, whoever has it
        if entry := self._pending.pop(client, None):
            entry.refused = error
            entry.lines.append(stamped)

    def ended(self, client: str) -> None:
        """Note that a run of a client has ended, and that all it has printed was heard."""
        with self._changed:
            self.said.append(f"{time.monotonic() - self._began:9.3f}  {client} (run {self._runs[client] + 1}) ended")
            self._runs[client] += 1
            if entry := self._pending.pop(client, None):
                entry.cut = True
            self._changed.notify_all()

    # --- what it comes to ---------------------------------------------------------------------------------------

    def unsettled(self) -> int:
        """Return how many messages that were taken have no final word yet."""
        with self._changed:
            return len(self._unsettled)

    def wait_settled(self, seconds: float) -> bool:
        """Wait until every message that was taken has its final word; False when that took longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._unsettled, seconds)

    def account(self) -> Account:
        """Return what the messages came to, as of now."""
        with self._changed:
            entries = list(self._entries.values())
            bad: dict[str, list[str]] = {heading: list(self._strange.get(heading, [])) for heading in RED}
            for entry in entries:
                for heading in _faults(entry):
                    bad[heading].append("\n".join([f"{entry.text[:80]!r}", *entry.lines]))
            bad[NUMBERS] += self._wrong_numbers(entries)
            return Account(_count(entries, self._errors), bad)

    def _wrong_numbers(self, entries: list[Entry]) -> list[str]:
        """Find numbers that no message can have: only those that were cut have numbers that nobody was told."""
        cut = Counter(entry.sender for entry in entries if entry.cut or entry.unanswered)
        cut_and_shown = Counter(entry.sender for entry in entries if entry.cut and entry.shown)
        found = []
        for sender in {sender for sender, _ in self._early}:
            said = {number: words for (whose, number), words in self._early.items() if whose == sender}
            delivered = sum(any(status == "delivered" for status, _ in words) for words in said.values())
            evidence = "\n".join(line for words in said.values() for _, line in words)
            if len(said) > cut[sender]:
                found.append(f"{sender}: {len(said)} numbers, and {cut[sender]} without an answer\n{evidence}")
            elif delivered > cut_and_shown[sender]:
                found.append(f"{sender}: {delivered} delivered, and {cut_and_shown[sender]} of them shown\n{evidence}")
        return found


def _faults(entry: Entry) -> Iterator[str]:
    if entry.unanswered:
        yield UNANSWERED
    if entry.refused and entry.shown:
        yield REFUSED
    if len(entry.shown) > 1:
        yield TWICE
    if any(client != entry.recipient for client in entry.shown):
        yield ELSEWHERE
    if entry.number is not None and not entry.shown:
        if entry.delivered:
            yield UNSEEN
        elif not entry.failed:
            yield LOST


def _count(entries: list[Entry], errors: Counter[str]) -> dict[str, int]:
    taken = [entry for entry in entries if entry.number is not None]
    counts = {
        "typed": len(entries),
        "taken": len(taken),
        "refused with an error": sum(bool(entry.refused) for entry in entries),
        "whose client was killed before it said so": sum(entry.cut for entry in entries),
        "... and that were shown": sum(entry.cut and bool(entry.shown) for entry in entries),
        "shown": sum(bool(entry.shown) for entry in entries),
        "delivered": sum(entry.delivered for entry in taken),
        "stored at some time": sum("stored" in entry.statuses for entry in taken),
        "shown and reported": sum(bool(entry.failed and entry.shown) for entry in taken),
        "shown and never confirmed": sum(bool(entry.shown) and not entry.settled for entry in taken),
    }
    for code, count in sorted(Counter(code for entry in taken for code in set(entry.failed)).items()):
        counts[f"failed: {code}"] = count
    for error, count in errors.most_common(5):
        counts[f"errors: {error[:80]}"] = count
    return counts
