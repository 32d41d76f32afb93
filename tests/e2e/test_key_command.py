"""`client.py key` as people and scripts run it."""

from __future__ import annotations

import json
from pathlib import Path

from crypto.keys import read_key_file
from profiles import open_profile
from tests.e2e.harness import NetworkTest, Program, put_key
from tests.e2e.terminal import Terminal
from tests.vectors import key


class KeyCommandTest(NetworkTest):
    """One profile, and no server."""

    def setUp(self) -> None:
        """Give the profile a key."""
        super().setUp()
        self.profiles = self.directory / "profiles"
        self.key_file = self.profiles / "default" / "key.pem"
        put_key(self.key_file, "alice", password="right")

    def run_key(self, *arguments: object, code: object = 0, **environ: str) -> Program:
        """Run a command to its end."""
        program = self.start("key", "client", "--data-dir", self.profiles, "key", *arguments, environment=environ)
        self.assertEqual(program.wait(), code, program.report())
        return program

    def terminal(self, *arguments: str) -> Terminal:
        """Run a command at a terminal."""
        return Terminal(self, self.directory, "--data-dir", str(self.profiles), "key", *arguments)

    def test_another_machine(self) -> None:
        """A backup makes the same identity elsewhere, and neither it nor what is printed tells a password."""
        with open_profile("default", self.profiles) as profile:
            profile.bind("ben", key("bob").id)
        file = self.directory / "alice.socp"
        passwords = {"CHAT_KEY_PASSWORD": "right", "SOCP_BACKUP_PASSWORD": "for-the-safe"}
        exported = self.run_key("export", file, **passwords)
        there = self.directory / "there"
        command = ("client", "key", "import", file, "--data-dir", there, "--profile", "b", "--json")
        imported = self.start("key", *command, environment={**passwords, "CHAT_KEY_PASSWORD": "other"})
        self.assertEqual(imported.wait(), 0, imported.report())
        found = json.loads(imported.lines[0])
        self.assertEqual((found["v"], found["type"], found["id"]), (1, "key", key("alice").id))
        self.assertEqual(read_key_file(Path(found["path"]), "other").id, key("alice").id)
        with open_profile("b", there) as profile:
            self.assertEqual(profile.bound_to("ben"), key("bob").id)
        printed = "\n".join([exported.report(), imported.report(), file.read_text("ascii")])
        for password in ("right", "for-the-safe", "other"):
            self.assertNotIn(password, printed)

    def test_codes(self) -> None:
        """A wrong password is 5, a wrong command 2, and a missing password names its variable; stdout holds nothing."""
        for arguments, code, error, hint, environ in (
            (["show"], 5, "wrong key password", "CHAT_KEY_PASSWORD", {"CHAT_KEY_PASSWORD": "wrong"}),
            (["sow"], 2, "there is no command 'sow'", "did you mean show?", {}),
            (["password", "--password", "x"], 2, "--password", "--help", {}),
            (["password"], 2, "no terminal to ask", r"put it into \$SOCP_NEW_PASSWORD", {"CHAT_KEY_PASSWORD": "right"}),
        ):
            with self.subTest(arguments):
                program = self.run_key(*arguments, code=code, **environ)
                program.expect_error(rf"^socp: error: .*{error}")
                program.expect_error(rf"^socp: hint: .*{hint}")
                self.assertEqual((program.lines, len(program.errors)), ([], 2))

    def test_terminal(self) -> None:
        """At a terminal, the old password is asked for, and the new one twice; none is shown, and Ctrl-C is safe."""
        before = self.key_file.read_bytes()
        client = self.terminal("password")
        client.expect("Key password: ")
        client.type("right\n")
        client.expect(r"New key password \(empty for none\): ")
        self.assertEqual(client.interrupt(), 130)
        self.assertEqual(self.key_file.read_bytes(), before)
        client = self.terminal("password")
        for question, answer in (("Key password: ", "right"), ("New key password", "better"), ("again: ", "better")):
            client.expect(question)
            client.type(f"{answer}\n")
        client.expect("protected: +yes")
        self.assertEqual(client.code(), 0)
        self.assertEqual(read_key_file(self.key_file, "better").id, key("alice").id)
        self.assertNotIn("better", client.shown)
        self.assertNotIn("right", client.shown)
