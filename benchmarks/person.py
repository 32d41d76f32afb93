"""A real client in a process of its own, which does what it is told on its standard input, a line of JSON each.

    {"tell": ID, "text": TEXT, "count": N}     so many messages, each when the receipt for the last one is verified
    {"file": ID, "path": PATH}                 a file
    {"await": ID}                              nothing, until somebody is online

It prints {"id": ID} once it is attached, and then: {"seconds": [...]} of the messages, each from the call to the
verified receipt; {"known": []} when somebody who was awaited is; {"offered": [T]} and {"done": [T]} of a file, at
either end, by the clock of this machine; and {"failed": REASON}.
"""

from __future__ import annotations

import argparse
import json
import queue
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from addresses import Address
from benchmarks.keys import pair
from benchmarks.machine import BenchmarkError, Process
from chat import Chat
from crypto.keys import write_key_file
from errors import ChatError
from events import Delivered, Disconnected, Event, Failed, FileDone, FileFailed, FileNotTaken, Stored
from profiles import open_profile
from programs import prepare_process
from settings import Settings, TlsPolicy

_PATIENCE = 60.0  # seconds for one message
_ASK_EVERY = 0.1  # seconds: a client without the cap "presence" is not told who comes


def _tell(event: dict[str, object]) -> None:
    print(json.dumps(event), flush=True)


class _Person:
    """A client and what it is told to do."""

    def __init__(self) -> None:
        self._answers: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def note(self, event: Event) -> None:
        """Take what the client tells."""
        if isinstance(event, FileDone):
            _tell({"done": [time.monotonic()]})
        elif isinstance(event, (FileFailed, FileNotTaken, Disconnected)):
            _tell({"failed": event.reason})
        elif isinstance(event, (Delivered, Stored, Failed)):
            self._answers.put(event)

    def converse(self, chat: Chat, to: str, text: str, count: int) -> list[float]:
        """Send messages, and return how many seconds each took until the receipt was verified."""
        taken = []
        for _ in range(count):
            began = time.perf_counter()
            chat.tell(to, text)
            answer = self._answers.get(timeout=_PATIENCE)
            taken.append(time.perf_counter() - began)
            if not isinstance(answer, Delivered):
                raise BenchmarkError(f"a message was not delivered: {answer}")
        return taken


def main() -> None:
    """Attach, and do what is said until there is nothing more."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("key", type=int)
    parser.add_argument("port", type=int)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--blocks", action="store_true")
    arguments = parser.parse_args()
    prepare_process()
    person = _Person()
    settings = replace(Settings(), tls=TlsPolicy(required=arguments.tls))
    profile = open_profile(f"bench-{arguments.key}", arguments.directory)
    write_key_file(profile.path / "key.pem", pair(arguments.key))
    downloads = arguments.directory / f"files-{arguments.key}"
    with Chat(profile, person.note, downloads=downloads, hybrid=not arguments.blocks, settings=settings) as chat:
        chat.attach(Address("127.0.0.1", arguments.port))
        _tell({"id": chat.user_id})
        for line in sys.stdin:
            try:
                _do(person, chat, json.loads(line))
            except (ChatError, BenchmarkError) as error:
                _tell({"failed": str(error)})


def _do(person: _Person, chat: Chat, wish: dict[str, Any]) -> None:
    if "tell" in wish:
        _tell({"seconds": person.converse(chat, wish["tell"], wish["text"], wish["count"])})
    elif "await" in wish:
        while wish["await"] not in {listed.user_id for listed in chat.users()}:
            time.sleep(_ASK_EVERY)
        _tell({"known": []})
    else:
        _tell({"offered": [time.monotonic()]})
        chat.send_file(wish["file"], Path(wish["path"]))


class Person:
    """A real client, seen from the process that measures.

    Args:
        directory: for its profile and the files that it receives.
        key: the number of its key.
        port: of its server.
        flags: `--tls` for links by TLS, `--blocks` for files by RSA alone.
    """

    def __init__(self, directory: Path, key: int, port: int, *flags: str) -> None:
        self.process = Process(f"client {key}", "-m", "benchmarks.person", directory, key, port, *flags)
        self.files = directory / f"files-{key}"
        self.id = ""

    def wait_attached(self) -> None:
        """Wait until it is attached."""
        self.id = json.loads(self.process.line())["id"]

    def tell(self, to: Person, text: str, count: int) -> list[float]:
        """Have it send messages one after the other, and return what each took."""
        self.process.say(json.dumps({"tell": to.id, "text": text, "count": count}) + "\n")
        return [float(each) for each in self._answer("seconds")]

    def wait_known(self, other: Person) -> None:
        """Wait until its server knows of another user."""
        self.process.say(json.dumps({"await": other.id}) + "\n")
        self._answer("known")

    def send_file(self, to: Person, path: Path) -> float:
        """Have it send a file, and return the seconds from the offer to when both ends are done with it."""
        self.process.say(json.dumps({"file": to.id, "path": str(path)}) + "\n")
        began = self._moment("offered")
        return max(self._moment("done"), to._moment("done")) - began

    def _moment(self, what: str) -> float:
        return float(*self._answer(what))

    def _answer(self, what: str) -> list[float]:
        """Return the figures that it tells next.

        Raises:
            BenchmarkError: it tells something else.
        """
        told: dict[str, list[float]] = json.loads(self.process.line())
        if what not in told:
            raise BenchmarkError(f"{self.process.name}: {told}")
        return told[what]


@contextmanager
def running_people(directory: Path, *plans: tuple[int, int, str]) -> Iterator[list[Person]]:
    """Run clients.

    Args:
        directory: for what they keep.
        plans: for each, the number of its key, the port of its server, and a flag or the empty string.
    """
    people: list[Person] = []
    try:
        for key, port, flag in plans:
            people.append(Person(directory, key, port, *filter(None, [flag])))
        for person in people:
            person.wait_attached()
        yield people
    finally:
        for person in people:
            person.process.end()


if __name__ == "__main__":
    main()
