"""The client at a real terminal: its questions, and the keys that end it."""

from __future__ import annotations

import os

from addresses import Address
from moments import day_and_time
from profiles import open_profile
from tests.e2e.harness import NetworkTest, put_key
from tests.e2e.terminal import Terminal
from tests.vectors import key

CTRL_C, CTRL_D = "\x03", "\x04"


class TerminalTest(NetworkTest):
    """One client at a terminal, on a server that no introducer answers."""

    def setUp(self) -> None:
        """Start the server."""
        super().setUp()
        (self.directory / "introducer.b64u").write_text(key("introducer").public.text, "ascii")
        _, self.port = self.server("server", 1, registered=False)
        self.key_file = self.directory / "profiles" / "a" / "key.pem"

    def terminal(self) -> Terminal:
        """Start a client that is asked for everything but its profile."""
        return Terminal(self, self.directory, "--profile", "a", "--data-dir", str(self.directory / "profiles"))

    def test_first_time(self) -> None:
        """The port is asked for until it is one, a new password twice and unseen; Ctrl-D leaves."""
        client = self.terminal()
        client.expect("Server port: ")
        client.type("9" * 5_000 + "\n")  # more than a terminal holds
        client.expect("is not host:port")
        client.expect("Server port: ")
        client.type("nonsense\n")
        client.expect("is not host:port")
        client.expect("Server port: ")
        client.type(f"{self.port}\n")
        client.expect(r"Key password \(empty for none\): ")
        client.type("a secret\n")
        client.expect("The same again: ")
        client.type("a secret\n")
        client.expect(r"\[Hello\] Sent USER_HELLO \(pubkey attached\)\r\n\[Me\] user_id = ")
        client.type("/list\n")
        client.expect(r"\[List\] 1 online")
        client.type(CTRL_D)
        self.assertEqual(client.code(), 0)
        self.assertNotIn("a secret", client.shown)
        self.assertIn(b"ENCRYPTED", self.key_file.read_bytes())

    def test_passwords(self) -> None:
        """Two passwords that differ make no key; a wrong one is said to be that."""
        client = self.terminal()
        client.expect("Server port: ")
        client.type(f"{self.port}\n")
        for question, answer in (("Key password", "one\n"), ("The same again", "two\n")):
            client.expect(question)
            client.type(answer)
        client.expect("the two passwords differ; nothing was changed")
        self.assertEqual(client.code(), 1)
        self.assertFalse(self.key_file.exists())
        descriptor = os.open(self.key_file, os.O_WRONLY | os.O_CREAT, 0o600)
        with open(descriptor, "wb") as stream:
            stream.write(key("alice").to_pem("right"))
        client = self.terminal()
        client.expect("Server port: ")
        client.type(f"{self.port}\n")
        client.expect("Key password")
        client.type("wrong\n")
        client.expect("wrong key password")
        self.assertEqual(client.code(), 5)

    def test_ctrl_c(self) -> None:
        """Ctrl-C ends each of the questions; in the chat, where it clears the line, it leaves when pressed twice."""
        put_key(self.key_file, "alice")
        steps = (("Server port: ", f"{self.port}\n"), ("Key password", "\n"), (r"\n> ", ""))
        for count, (last, answer_to_it) in enumerate(steps):
            with self.subTest(steps=count + 1):
                client = self.terminal()
                for question, answer in steps[:count]:
                    client.expect(question)
                    client.type(answer)
                client.expect(last)
                if answer_to_it:
                    self.assertEqual(client.interrupt(), 130)
                else:
                    client.type(2 * CTRL_C)  # which are keys there, and no signals
                    self.assertEqual(client.code(), 130)
                self.assertNotIn("Traceback", client.shown)

    def test_another_server(self) -> None:
        """Another server than before is shown with both ids, and trusted when its whole id is typed alone."""
        put_key(self.key_file, "alice")
        address = Address("127.0.0.1", self.port)
        with open_profile("a", self.directory / "profiles") as profile:
            profile.set_pin(address, key("server2").id)
            seen = day_and_time(profile.pinned_at(address))
        question = "Type the new id in full to trust it from now on, or nothing to leave: "
        found = key("server").id
        for answers, code in ((("y", "yes", found[:8]), 5), (("",), 5), ((CTRL_C,), 130), (("yes", found), 0)):
            with self.subTest(answers=answers):
                client = self.terminal()
                client.expect("Server port: ")
                client.type(f"{self.port}\n")
                client.expect("Key password")
                client.type("\n")
                client.expect("This is not the server that was here before")
                client.expect(f"before: {key('server2').id}")
                client.expect(f"first seen {seen}")
                client.expect(f"now: +{found}")
                for answer in answers:
                    client.expect(question)
                    if answer != CTRL_C:
                        client.type(f"{answer}\n")
                if code == 0:
                    client.expect(r"\[Me\] user_id = ")
                    client.type("/quit\n")
                elif code == 5:
                    client.expect(f"socp: hint: .*--trust-server {found}")
                self.assertEqual(client.interrupt() if code == 130 else client.code(), code)
        with open_profile("a", self.directory / "profiles") as profile:
            self.assertEqual(profile.pin(address), found)
