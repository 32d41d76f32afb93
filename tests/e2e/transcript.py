"""A chat of two people at real terminals, as their screens show it, for README.md: `make transcript`.

    python -m tests.e2e.transcript            have the chat, and put it into README.md, between the two marks there
    python -m tests.e2e.transcript --print    print it

Two servers and two clients run for it, with the keys of the vectors, so that the ids are the same each time. Times and
ports, which are not, are replaced.
"""

from __future__ import annotations

import os
import re
import sys
import unittest
from unittest import mock

from addresses import Address
from files import replace_file
from profiles import open_profile
from tests import terminals
from tests.e2e import nursery
from tests.e2e.harness import PATIENCE, ROOT, Network, put_key
from tests.terminals import Terminal
from tests.vectors import key

BEGIN, END = "<!-- make transcript: begin -->", "<!-- make transcript: end -->"
COLUMNS, ROWS = 100, 40
_ANN, _BEN = key("alice").id, key("bob").id
_PASSWORD = "to be seen nowhere"
_DAY = re.compile(r"^  \d{4}-\d\d-\d\d \d\d:\d\d ", re.MULTILINE)
_TIME = re.compile(r"^\d\d:\d\d ", re.MULTILINE)
_MENU = b"%PDF-1.7\n" + b"Soup, and cake.\n" * 3_000


class Person:
    """Somebody at a terminal.

    Args:
        test: at whose end the terminal is closed.
        network: where the servers are.
        name: what the person is called.
        key_name: of the person's key.
        server: the name of the server's key, and its port.
        arguments: of the client, besides.
    """

    def __init__(
        self,
        test: unittest.TestCase,
        network: Network,
        name: str,
        key_name: str,
        server: tuple[str, int],
        *arguments: str,
    ) -> None:
        profiles = network.directory / "profiles"
        put_key(profiles / name / "key.pem", key_name, password=_PASSWORD)
        with open_profile(name, profiles) as profile:  # which has been here before
            profile.set_pin(Address("127.0.0.1", server[1]), key(server[0]).id)
        self.terminal = Terminal(test, COLUMNS, ROWS)
        flags = ["--server", str(server[1]), "--profile", name, "--data-dir", str(profiles), "--name", name]
        flags += ["--downloads", str(network.directory / name), *arguments]
        clean = {variable: value for variable, value in os.environ.items() if variable in ("PATH", "LANG", "LC_ALL")}
        own = {"HOME": str(network.directory), "TERM": "xterm", "CHAT_KEY_PASSWORD": _PASSWORD, "PYTHONPATH": str(ROOT)}
        own |= {"TEST_TIMERS": "glance=0"}  # an answer is typed at once here
        self._process = nursery.start(
            "tests.e2e.launch",
            ["1", "client", *flags],
            cwd=network.directory,
            environment={**clean, **own},
            terminal=self.terminal.theirs,
        )
        self.terminal.let_go()
        self.sees("^>$")

    def types(self, line: str) -> None:
        """Type a line."""
        self.terminal.type(f"{line}\r")

    def sees(self, pattern: str) -> None:
        """Wait until something stands on the screen."""
        self.terminal.wait_for(lambda vt: re.search(pattern, vt.text, re.MULTILINE))

    def leave(self) -> None:
        """Leave, by Ctrl-D."""
        self.terminal.type("\x04")
        self._process.wait(PATIENCE)

    @property
    def screen(self) -> str:
        """All that the screen has shown."""
        vt = self.terminal.vt
        return "\n".join([*vt.gone, vt.text])


def record() -> str:
    """Have the chat, and return it as Markdown."""
    test = unittest.TestCase()
    network = Network()
    test.addCleanup(network.end)
    try:
        with mock.patch.object(terminals, "PATIENCE", PATIENCE):
            return _chat(test, network)
    finally:
        test.doCleanups()


def _chat(test: unittest.TestCase, network: Network) -> str:
    _, port = network.introducer()
    servers = [(name, network.server(name, port)[1]) for name in ("server", "server2")]
    ben = Person(test, network, "ben", "bob", servers[1])
    ann = Person(test, network, "ann", "alice", servers[0], "--history")
    _talk(ann, ben)
    _send_file(network, ann, ben)
    ben.types("/all Lunch at noon is at my place, everybody!")
    ann.sees("public .*everybody!")
    ben.leave()
    ann.sees("ben .*: gone$")
    ann.types("/tell ben Shall I bring a cake?")
    ann.sees("cake\\?  ✓$")
    ann.types("/search noon")
    ann.sees("that was before")
    screens = [("Ann's terminal", ann.screen), ("Ben's terminal", ben.screen)]
    ann.leave()
    text = "\n\n".join(f"{title}:\n\n{_indented(screen)}" for title, screen in screens)
    for number, (_, port) in enumerate(servers, 9001):
        text = text.replace(f":{port}", f":{number}")
    return text.replace(str(network.directory), "~")


def _talk(ann: Person, ben: Person) -> None:
    ann.types("/list")
    ann.sees("2 online(.*\\n){3}")
    ben.types(f"/tell {_ANN[:4]} Lunch at noon?")
    ann.sees("Lunch at noon\\?")
    ben.sees("noon\\?  ✓✓")
    ann.types("/r Gladly. Is there a menu?")
    ben.sees("a menu\\?")
    ann.sees("a menu\\?  ✓✓")


def _send_file(network: Network, ann: Person, ben: Person) -> None:
    menu = network.directory / "menu.pdf"
    menu.write_bytes(_MENU)
    ben.types(f"/file {_ANN[:4]} {menu}")
    ben.sees("menu.pdf offered")  # which his terminal shows on its own, perhaps after hers has asked
    ann.sees("/accept 1 or /deny 1")
    ann.types("/accept 1")
    ann.sees("saved .*menu.pdf")
    ben.sees("menu.pdf delivered")
    ann.types(f"/name {_BEN[:4]} ben")
    ann.sees("ben is .*from now on")


def _indented(screen: str) -> str:
    """Return a screen as a block of Markdown, with times that are always the same."""
    rows = _DAY.sub("  2026-11-25 12:04 ", _TIME.sub("12:04 ", screen)).split("\n")
    return "\n".join(f"    {row}".rstrip() for row in rows)


def put_into(text: str, transcript: str) -> str:
    """Return a text with a transcript between its two marks, in the place of what is there.

    Raises:
        ValueError: it does not have them.
    """
    before, begin, rest = text.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    if not (begin and end):
        raise ValueError(f"there are no lines {BEGIN} and {END}")
    return f"{before}{begin}\n{transcript}\n\n{end}{after}"


def main() -> int:
    """Do what the arguments say; returns the exit code."""
    transcript = record()
    if sys.argv[1:] == ["--print"]:
        print(transcript)
        return 0
    readme = ROOT / "README.md"
    try:
        replace_file(readme, put_into(readme.read_text("utf-8"), transcript).encode())
    except ValueError as error:
        print(f"{readme}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
