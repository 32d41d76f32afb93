"""The commands for the people one knows."""

from __future__ import annotations

import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

import fingerprint
import people
from blocking import Blocking
from chat import Chat
from commands import UsageError
from contacts import Contact, Contacts, Listed
from conversation import Conversation
from errors import ChatError, NameTaken, NotConnected, UserUnknown
from events import Message
from moments import day_and_time
from profiles import open_profile
from tests.screens import FakeScreen
from tests.terminals import Terminal, open_screen
from tests.test_session import ALICE, BOB, CAROL, make_session
from tests.vectors import key
from users import Attachment, User

SERVER = key("server").id
ATTACHED = 1_795_568_700_000
CYRILLIC_BEN = "b\u0435n"
LEFT, ENTER = "\x1b[D", "\r"
COMMANDS = {command.name: command for command in people.COMMANDS}


class PeopleTest(unittest.TestCase):
    """Alice at a screen, with a profile; bob is called ben by himself, and carol nothing."""

    def setUp(self) -> None:
        """Give her contacts, and nobody to ask for them but this test."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.profile = open_profile("a", Path(directory.name))
        self.addCleanup(self.profile.close)
        self.signed = {ALICE: "alice", BOB: "ben", CAROL: ""}
        self.screen = FakeScreen()
        self.session = make_session(self.screen)
        chat = self.session.chat
        chat.contacts = Contacts(self.profile, self.ask, self.listing, self.session.note)
        chat.blocking = Blocking(self.profile, chat.contacts, ALICE, lambda _user_id: None)
        chat.public_key = key("alice").public
        self.nicknames = chat.contacts.nicknames
        self.session.begin()
        self.connected = True

    def ask(self, user_id: str) -> Contact:
        """Answer as a server does."""
        if not self.connected:
            raise NotConnected("not connected to a server")
        if user_id not in self.signed:
            raise UserUnknown("USER_NOT_FOUND")
        name = next(name for name in ("alice", "bob", "carol") if key(name).id == user_id)
        meta = {"display_name": self.signed[user_id]}
        attach = Attachment("n", ATTACHED, "s")
        return Contact(User(user_id, SERVER, "k", meta, (), attach, online=user_id != CAROL), key(name).public)

    def listing(self) -> list[Listed]:
        """List everybody."""
        if not self.connected:
            raise NotConnected("not connected to a server")
        return [Listed(user_id, name, SERVER) for user_id, name in self.signed.items()]

    def run_command(self, line: str) -> list[str]:
        """Carry a line out, and return what it shows."""
        before = len(self.screen.lines)
        name, _, rest = line.partition(" ")
        COMMANDS[name].run(self.session, rest)
        return self.screen.lines[before:]

    def test_name(self) -> None:
        """A nickname is given, shown, changed, listed and taken away; spaces need no quotes, and may have them."""
        said = f"[Name] ben s is {BOB} from now on, in this profile"
        self.assertEqual(self.run_command("/name ben ben s"), [said])
        self.assertEqual(self.run_command('/name "ben s" "ben  s"'), [said])
        self.assertEqual(self.run_command('/name "BEN S"'), [f"[Name] ben s is your nickname for {BOB}"])
        self.nicknames.mark(BOB, verified=True)
        self.run_command(f"/name {CAROL} caro")
        listed = ["[Name] 2 with a nickname", f"  {BOB}  ben s  (verified)", f"  {CAROL}  caro"]
        self.assertEqual(self.run_command("/name"), listed)
        gone = f"[Name] ben \u00b7 {BOB[:8]} has no nickname any more, and is not verified"
        self.assertEqual(self.run_command('/name "ben s" -'), [gone])
        self.assertEqual(self.run_command("/name ben"), [f"[Name] ben \u00b7 {BOB[:8]} has no nickname"])
        self.assertRaisesRegex(ChatError, "has no nickname", self.run_command, "/name ben -")
        self.assertEqual(self.profile.bound_ids(), set())

    def test_name_taken(self) -> None:
        """A name that is bound is freed by taking it away a second time, and not before."""
        self.profile.bind("carol", BOB)
        self.assertRaisesRegex(NameTaken, f"/name {BOB[:8]} -", self.run_command, f"/name {CAROL} Carol")
        self.run_command(f"/name {BOB} bob")
        (said,) = self.run_command("/name bob -")
        self.assertIn(f"It is still meant by carol; /name {BOB[:8]} - once more changes that", said)
        self.assertRaises(NameTaken, self.run_command, f"/name {CAROL} Carol")
        (said,) = self.run_command(f"/name {BOB[:8]} -")
        self.assertEqual(said, f"[Name] {BOB[:8]} is not meant by carol any more, and whoever is called so may be")
        self.run_command(f"/name {CAROL} Carol")
        self.assertEqual(self.nicknames.find("carol"), CAROL)

    def test_prompt(self) -> None:
        """The prompt of who is chosen says the new name."""
        self.session.choose(BOB)
        self.run_command(f"/name {BOB} benny")
        self.run_command(f"/name {CAROL} caro")
        self.assertEqual(self.screen.prompts[1:], [f"\u2192 benny \u00b7 {BOB[:8]} > "])

    def test_oneself(self) -> None:
        """Nobody is a contact of their own, or verifies themselves."""
        for line in (f"/name {ALICE} me", f"/name {ALICE}", "/name alice -", "/verify alice", "/verified alice"):
            with self.subTest(line), self.assertRaisesRegex(ChatError, "that is you"):
                self.run_command(line)

    def test_usage(self) -> None:
        """Commands that lack something, or have too much, say how they are used."""
        for line in (
            "/whois",
            "/whois ben x",
            "/verify",
            "/verify ben x",
            "/verified",
            "/verified ben yes",
            "/unblock",
        ):
            with self.subTest(line), self.assertRaises(UsageError):
                self.run_command(line)

    def test_whois(self) -> None:
        """All that is known of a user is shown, and no name is bound by that."""
        self.assertEqual(
            self.run_command("/whois ben"),
            [
                f"[Whois] {BOB}",
                f"  nickname       none; /name {BOB[:8]} <nickname> gives one",
                '  calls itself   "ben"',
                f"  verified       no; /verify {BOB[:8]} shows what to compare",
                f"  online         yes, attached last on {day_and_time(ATTACHED)}",
                f"  server         {SERVER}",
                "  blocked        no",
            ],
        )
        self.assertEqual(self.profile.bound_ids(), set())
        self.profile.bind("Robert", BOB)
        self.profile.block(BOB, "ben")
        with mock.patch("socp.now_ms", return_value=ATTACHED):
            self.run_command(f"/name {BOB} benny")
            self.run_command("/verified benny")
        self.assertEqual(
            self.run_command("/whois benny"),
            [
                f"[Whois] {BOB}",
                f"  nickname       benny, since {day_and_time(ATTACHED)}",
                '  calls itself   "ben"',
                f"  verified       yes, since {day_and_time(ATTACHED)}",
                f"  online         yes, attached last on {day_and_time(ATTACHED)}",
                f"  server         {SERVER}",
                "  blocked        yes",
                "  written to as  robert",
            ],
        )
        self.assertIn(f"[Whois] {ALICE}  (you)", self.run_command("/whois alice"))

    def test_whois_of_strangers(self) -> None:
        """Who bears a name like a contact's is told apart; who is away, or calls itself nothing, is shown as that."""
        self.run_command(f"/name {BOB} caro")
        self.signed[CAROL] = "c\u0430ro"
        rows = self.run_command(f"/whois {CAROL}")
        self.assertIn(f'  calls itself   "c\u0430ro", but is not your caro, who is {BOB}', rows)
        self.assertIn(f"  online         no, attached last on {day_and_time(ATTACHED)}", rows)
        self.signed[CAROL] = "\u200b"
        self.assertIn("  calls itself   nothing", self.run_command(f"/whois {CAROL}"))

    def test_whois_offline(self) -> None:
        """Without a connection, what this profile knows is shown, and why the rest is not."""
        self.run_command(f"/name {BOB} benny")
        self.connected = False
        rows = self.run_command("/whois benny")
        self.assertIn("  calls itself   not known: not connected to a server", rows)
        self.assertTrue(any(row.startswith("  nickname       benny") for row in rows))

    def test_verify(self) -> None:
        """The number is shown in three lines, the same to both, with what to do with it."""
        lines = self.run_command("/verify ben")
        number = fingerprint.lines(fingerprint.fingerprint(key("bob").public, key("alice").public))
        self.assertEqual(
            lines[:4], [f"[Verify] the number of you and ben \u00b7 {BOB[:8]}:", *(f"      {n}" for n in number)]
        )
        how = " ".join(lines[4:])
        self.assertIn(f"/verify {ALICE[:8]}", how)
        self.assertIn(f"/verified {BOB[:8]}", how)
        self.assertFalse(self.nicknames.named)

    def test_verified(self) -> None:
        """Who is verified is a contact by its signed name, if that is free, or by the nickname it has."""
        said = f"[Verify] ben \u00b7 {BOB[:8]} is verified from now on, in this profile"
        self.assertEqual(self.run_command("/verified ben"), [said])
        self.assertTrue(self.session.chat.contacts.is_verified(BOB))
        self.run_command("/name ben benny")
        self.assertTrue(self.session.chat.contacts.is_verified(BOB))
        said = f"[Verify] benny \u00b7 {BOB[:8]} is not verified any more, in this profile"
        self.assertEqual(self.run_command("/verified benny no"), [said])
        self.assertFalse(self.session.chat.contacts.is_verified(BOB))
        self.assertEqual(self.nicknames.of(BOB), "benny")
        self.run_command(f"/verified {BOB[:8]}")
        self.assertEqual(self.nicknames.of(BOB), "benny")

    def test_verified_needs_a_name(self) -> None:
        """Who has no name, or one like a contact's, needs a nickname first."""
        self.assertRaisesRegex(ChatError, f"/name {CAROL[:8]} <nickname>", self.run_command, f"/verified {CAROL}")
        self.run_command(f"/name {BOB} ben")
        self.signed[CAROL] = "b\u0435n"
        self.session.chat.contacts.refresh(CAROL)
        with self.assertRaisesRegex(ChatError, f"looks like ben, .*/name {CAROL[:8]} <nickname>"):
            self.run_command(f"/verified {CAROL}")
        self.assertRaises(UserUnknown, self.run_command, f"/verified {CAROL} no")
        self.assertEqual(set(self.nicknames.named), {BOB})

    def test_block(self) -> None:
        """Who is blocked is listed by the name of then, found by its nickname, and unblocked."""
        self.assertEqual(self.run_command("/block"), ["[Block] 0 blocked"])
        self.run_command(f"/name {BOB} benny")
        said = f"[Block] benny \u00b7 {BOB[:8]} is blocked from now on, in this profile"
        self.assertEqual(self.run_command("/block benny"), [said])
        self.assertEqual(self.run_command("/block"), ["[Block] 1 blocked", f"  {BOB}  ben"])
        said = f"[Block] benny \u00b7 {BOB[:8]} is not blocked any more"
        self.assertEqual(self.run_command("/unblock benny"), [said])

    def test_strangers(self) -> None:
        """At a terminal, who is no contact any more is a stranger again, in quotes."""
        terminal = FakeScreen(interactive=True)
        self.session.use_screen(terminal)
        self.session.begin()
        self.run_command("/name ben benny")
        COMMANDS["/name"].run(self.session, "benny -")
        self.assertIn(f'"ben" \u00b7 {BOB[:8]} has no nickname any more', terminal.lines[-1])
        self.assertIn(time.strftime("%H:"), terminal.lines[-1])


class AtTerminalTest(unittest.TestCase):
    """Alice at a terminal; bob is her ben, and carol would like to be."""

    def at(self, columns: int) -> None:
        """Have a terminal of some width."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        profile = open_profile("a", Path(directory.name))
        self.addCleanup(profile.close)
        self.terminal = Terminal(self, columns, 24)
        self.session = make_session(FakeScreen())
        chat: Chat = self.session.chat
        chat.contacts = Contacts(profile, self.ask, lambda: [Listed(BOB, "ben", SERVER)], self.session.note)
        chat.blocking = Blocking(profile, chat.contacts, ALICE, lambda _user_id: None)
        chat.public_key = key("alice").public
        self.session.use_screen(open_screen(self, self.terminal))
        self.conversation = Conversation(self.session)
        self.terminal.wait_for(lambda vt: vt.line == ">")

    def ask(self, user_id: str) -> Contact:
        """Answer as a server does, for bob alone."""
        if user_id != BOB:
            raise UserUnknown("USER_NOT_FOUND")
        user = User(BOB, SERVER, "k", {"display_name": "ben"}, (), Attachment("n", 1, "s"), online=True)
        return Contact(user, key("bob").public)

    def run_command(self, line: str) -> None:
        """Type a line, and have it carried out."""
        self.terminal.type(line + ENTER)
        typed = self.session.screen.next()
        self.assertEqual(typed, line)
        self.conversation._do(line)

    def said(self) -> str:
        """Return what stands on the terminal, with the rows of a line put together."""
        return " ".join(self.terminal.vt.text.split())

    def test_strangers_and_contacts(self) -> None:
        """A stranger who looks like a contact is told from them, while a line is being edited, which stays as it is."""
        for columns in (40, 200):
            with self.subTest(columns=columns):
                self.at(columns)
                self.session.handle(Message(BOB, "ben", "It is me.", 1))
                self.run_command("/name ben ben")
                self.terminal.type("one two" + LEFT * 3)
                self.terminal.wait_for(lambda vt: vt.before == "> one ")
                self.session.handle(Message(CAROL, CYRILLIC_BEN, "Send me money.", 2))
                self.session.handle(Message(BOB, "ben", "Do not.", 3))
                self.terminal.wait_for(lambda _vt: "Do not." in self.said())
                for said in (
                    f'"ben" \u00b7 {BOB[:8]}: It is me.',
                    f'"{CYRILLIC_BEN}" \u00b7 {CAROL[:8]}, not your ben: Send me money.',
                    f" ben \u00b7 {BOB[:8]}: Do not.",
                ):
                    self.assertIn(said, self.said())
                self.assertEqual((self.terminal.vt.line, self.terminal.vt.before), ("> one two", "> one "))

    def test_number(self) -> None:
        """The number stands in three rows of its own, however narrow the terminal is."""
        self.at(40)
        self.run_command("/verify ben")
        self.terminal.wait_for(lambda _vt: "matters." in self.said())
        rows = [row.strip() for row in self.terminal.vt.text.split("\n")]
        number = fingerprint.lines(fingerprint.fingerprint(key("bob").public, key("alice").public))
        start = rows.index(number[0])
        self.assertEqual(rows[start : start + 3], number)
