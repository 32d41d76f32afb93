"""The client at a real terminal: its questions, and the keys that end it."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import time

from addresses import Address
from profiles import open_profile
from tests.e2e.harness import PATIENCE, ROOT, NetworkTest, put_key
from tests.vectors import key

# A terminal becomes a process's own, with Ctrl-C and all, when the leader of a session asks for it.
_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
CTRL_C, CTRL_D = "\x03", "\x04"


class Terminal:
    """A terminal with a client in it."""

    def __init__(self, test: NetworkTest, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "tests.e2e.launch", "1", "client", *arguments]
        environment = {name: value for name, value in os.environ.items() if name != "CHAT_KEY_PASSWORD"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *command],
            cwd=test.directory,
            env={**environment, "PYTHONPATH": str(ROOT), "HOME": str(test.directory), "TERM": "dumb"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        test.addCleanup(self._clean_up)
        self.shown = ""
        self._from = 0

    def _clean_up(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def _read(self, seconds: float) -> bool:
        """Read what is shown; False when nothing more will be, or came in time."""
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        with contextlib.suppress(OSError):  # the end of a terminal is an error on Linux
            data = os.read(self._ours, 65_536)
            self.shown += data.decode("utf-8")
            return bool(data)
        return False

    def expect(self, pattern: str) -> None:
        """Wait until something is shown, behind what was waited for before."""
        end = time.monotonic() + PATIENCE
        while (match := re.compile(pattern).search(self.shown, self._from)) is None:
            left = end - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(f"{pattern!r} was not shown:\n{self.shown}")
        self._from = match.end()

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def code(self) -> int:
        """Wait for the end, and return the exit code."""
        while self._read(PATIENCE):
            continue
        return self.process.wait(PATIENCE)


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
        return Terminal(self, "--profile", "a", "--data-dir", str(self.directory / "profiles"))

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
        client.expect("the two passwords differ; no key was made")
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
        self.assertEqual(client.code(), 1)

    def test_ctrl_c(self) -> None:
        """Ctrl-C ends each of the questions, and the chat."""
        put_key(self.key_file, "alice")
        steps = (("Server port: ", f"{self.port}\n"), ("Key password", "\n"), (r"\[Me\] user_id", ""))
        for count in range(1, len(steps) + 1):
            with self.subTest(steps=count):
                client = self.terminal()
                for number, (question, answer) in enumerate(steps[:count], start=1):
                    client.expect(question)
                    client.type(answer if number < count else CTRL_C)
                self.assertEqual(client.code(), 130)
                self.assertNotIn("Traceback", client.shown)

    def test_another_server(self) -> None:
        """Another server than before is shown with both ids, and trusted by a whole "yes" alone."""
        put_key(self.key_file, "alice")
        address = Address("127.0.0.1", self.port)
        with open_profile("a", self.directory / "profiles") as profile:
            profile.set_pin(address, key("server2").id)
        for answer, code in (("y\n", 1), ("\n", 1), (CTRL_C, 130), ("yes\n", 0)):
            with self.subTest(answer=answer):
                client = self.terminal()
                client.expect("Server port: ")
                client.type(f"{self.port}\n")
                client.expect("Key password")
                client.type("\n")
                client.expect("This is not the server that was here before!")
                client.expect(f"before: {key('server2').id}")
                client.expect(f"now: +{key('server').id}")
                client.expect('Type "yes" to trust the new one from now on: ')
                client.type(answer)
                if not code:
                    client.expect(r"\[Me\] user_id = ")
                    client.type("/quit\n")
                self.assertEqual(client.code(), code)
        with open_profile("a", self.directory / "profiles") as profile:
            self.assertEqual(profile.pin(address), key("server").id)
