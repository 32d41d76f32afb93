"""Two people at real terminals: what they type and see, on screens that are rebuilt from what the clients write."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.harness import NetworkTest, put_key
from tests.e2e.terminal import Terminal
from tests.vectors import key
from tests.vt100 import Vt100

CTRL_A, CTRL_D, CTRL_U, LEFT, TAB = "\x01", "\x04", "\x15", "\x1b[D", "\t"
ALICE, BOB = (key(name).id for name in ("alice", "bob"))


def _groups(vt: Vt100) -> list[str]:
    """Return the groups of five digits of a number that stands there."""
    return [group for row in vt.shown if re.fullmatch(r" +(\d{5} ?)+", row) for group in row.split()]


class ScreensTest(NetworkTest):
    """Alice and bob on one server."""

    def setUp(self) -> None:
        """Start the server and both clients."""
        super().setUp()
        (self.directory / "introducer.b64u").write_text(key("introducer").public.text, "ascii")
        self.server_process, self.port = self.server("server", 1, registered=False)
        self.alice = self.person("alice")
        self.bob = self.person("bob")
        self.alice.see(r"\[Here\] .*bob.*: here now")

    def person(self, name: str, *arguments: str, columns: int = 80, display: str = "") -> Terminal:
        """Start a client at a terminal, and wait until it can be typed to."""
        profiles = self.directory / "profiles"
        if not (profiles / name / "key.pem").exists():
            put_key(profiles / name / "key.pem", name)
        terminal = Terminal(
            self, self.directory, "--server", str(self.port), "--profile", name, "--data-dir", str(profiles),
            "--name", display or name, "--downloads", str(self.directory / f"{name}-files"), "--joins", "all",
            *arguments,
            kind="xterm-256color", columns=columns, timers="glance=0",
        )  # fmt: skip
        terminal.see("Key password")
        terminal.type("\n")
        terminal.see("^> ?$")
        return terminal

    def test_conversation(self) -> None:
        """Text arrives above a line that is half typed; what becomes of a message is seen at the message."""
        alice, bob = self.alice, self.bob
        bob.type("half a 漢字 li" + 3 * LEFT)
        bob.wait_for(lambda vt: vt.before == "> half a 漢字")
        alice.type("/tell bob Lunch at noon? é 👍\n")
        bob.see(rf'\d\d:\d\d e2e    "alice" · {ALICE[:8]}: Lunch at noon\? é 👍$')
        bob.wait_for(lambda vt: (vt.line, vt.before) == ("> half a 漢字 li", "> half a 漢字"))
        bob.wait_for(lambda vt: vt.bells == 1)
        alice.see(rf'e2e    → "bob" · {BOB[:8]}: Lunch at noon\? é 👍  ✓✓$')
        bob.type(CTRL_A + "/r \x05ne\n")
        alice.see(r'"bob" · .*: half a 漢字 line$')
        alice.type("/all Hello\n")
        bob.see(r'public "alice" · .*: Hello$')
        alice.type("\x1b[200~/tell bob one\ntwo\x1b[201~")
        alice.see("^> /tell bob one↵two$")
        alice.type("\n")
        bob.see(r'"alice" · .*: one$')
        bob.see("^    two$")

    def test_nobody_chosen(self) -> None:
        """A line goes to nobody until somebody is chosen, who then stands before the input; Tab completes."""
        alice, bob = self.alice, self.bob
        alice.type("to whom?\n")
        alice.see(r"\[Error\] nothing was sent")
        alice.type("/to b" + TAB)
        alice.see("^> /to bob ?$")
        alice.type("\n")
        alice.see(rf'^→ "bob" · {BOB[:8]} > ?$')
        alice.type("to you\n")
        bob.see(r'"alice" · .*: to you$')
        alice.type("/file b" + TAB + str(self.directory / "introd") + TAB)
        alice.see(r"introducer\.b64u$")

    def test_contacts(self) -> None:
        """A nickname replaces a claim; whoever looks alike is pointed out; both sides see one number to compare."""
        alice, bob = self.alice, self.bob
        alice.type("/name bob Robert\n")
        alice.see("Robert")
        bob.type("/tell alice hello\n")
        alice.see(rf"e2e    Robert · {BOB[:8]}: hello$")
        carol = self.person("carol", display="R\u043ebert")  # with a Cyrillic letter
        carol.type("/tell alice it is me\n")
        alice.see(rf'"R\u043ebert" · {key("carol").id[:8]}.*not.*Robert.*: it is me')
        numbers = []
        for person, other in ((alice, "Robert"), (bob, "alice")):
            person.type(f"/verify {other}\n")
            person.wait_for(lambda vt: len(_groups(vt)) == 12)
            numbers.append(_groups(person.vt))
        self.assertEqual(numbers[0], numbers[1])
        alice.type("/verified Robert\n")
        alice.type("/whois Robert\n")
        alice.see("verified")
        alice.see(BOB)

    def test_what_was_typed(self) -> None:
        """What was typed comes back with the arrow keys, also later; but what was for one alone is not on the disk."""
        alice, bob = self.alice, self.bob
        for line in ("/all Hello", "/tell bob a secret", "/to bob", "another secret", "/r a third secret", "/list"):
            alice.type(f"{line}\n")
        alice.see(r"\[List\] 2 online")
        alice.type("\x1b[A\x1b[A\x1b[A")
        alice.see("another secret$")
        alice.type(CTRL_U + "/quit\n")
        self.assertEqual(alice.code(), 0)
        typed = self.directory / "profiles" / "alice" / "typed"
        self.assertEqual(typed.stat().st_mode & 0o777, 0o600)
        self.assertNotIn("secret", typed.read_text("utf-8"))
        again = self.person("alice")
        again.type("\x1b[A\x1b[A\x1b[A\x1b[A")
        again.see("^> /all Hello$")
        bob.see("another secret$")

    def test_files(self) -> None:
        """Who is no contact has files asked about; accepted ones arrive, denied ones are said to be on both sides."""
        alice, bob = self.alice, self.bob
        path = self.directory / "menu.txt"
        path.write_bytes(b"soup" * 20_000)
        alice.type(f"/file bob {path}\n")
        bob.see(r"menu\.txt.*/accept")
        bob.type("/accept\n")
        bob.see(r"saved( |$)")
        alice.see(r"menu\.txt delivered")
        self.assertEqual((self.directory / "bob-files" / "menu.txt").read_bytes(), path.read_bytes())
        alice.type(f"/file bob {path}\n")
        bob.see(r"/accept\s+2")
        bob.type("/deny 2\n")
        alice.see(r"menu\.txt failed: rejected by the recipient")
        self.assertEqual([found.name for found in Path(self.directory / "bob-files").iterdir()], ["menu.txt"])

    def test_finding_out(self) -> None:
        """Help has examples and suggests; /info names the server; a lost and a regained connection are a line each."""
        alice, bob = self.alice, self.bob
        alice.type("/help tell\n")
        alice.see("/tell ben Lunch at noon")
        alice.type("/lsit\n")
        alice.see(r"/lsit is no command; did you mean /list\?")
        alice.type("/info\n")
        alice.see(key("server").id)
        bob.type(CTRL_D)
        self.assertEqual(bob.code(), 0)
        alice.see(r"\[Here\] .*bob.*: gone")
        alice.type("typing")
        self.server_process.clean_up()
        alice.see(r"\[Server\] connection lost")
        self.server("server", 1, port=self.port, registered=False)
        alice.see(r"\[Server\] connected again")
        alice.wait_for(lambda vt: vt.line == "> typing")
        alice.type(CTRL_U + "/quit\n")
        self.assertEqual(alice.code(), 0)
