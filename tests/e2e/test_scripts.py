"""The commands of scripts as scripts run them: what stands on which output, and how each run ends."""

from __future__ import annotations

import json
import signal
import unittest
from typing import Any, ClassVar

from exits import Exit
from tests.e2e.harness import FAST, Network, Program, put_key
from tests.vectors import key

BOB = key("bob").id


class ScriptsTest(unittest.TestCase):
    """One server that no introducer answers, and bob, whose client runs; both for all tests."""

    network: ClassVar[Network]
    port: ClassVar[int]
    bob: ClassVar[Program]

    @classmethod
    def setUpClass(cls) -> None:
        """Start both."""
        cls.network = Network(FAST)
        cls.addClassCleanup(cls.network.end)
        (cls.network.directory / "introducer.b64u").write_text(key("introducer").public.text, "ascii")
        _, cls.port = cls.network.server("server", 1, registered=False)
        cls.bob = cls.network.client("bob", cls.port)

    def script(self, name: str, *arguments: str, port: int | None = None, password: str = "") -> Program:
        """Start a script."""
        profiles = self.network.directory / "profiles"
        if not (profiles / name / "key.pem").exists():
            put_key(profiles / name / "key.pem", name, password=password)
        server = ["--server", str(port)] if port is not None else []
        program = self.network.start(
            f"{name}'s script", "client", "--profile", name, "--data-dir", profiles, *arguments, *server
        )
        if "-" not in arguments:
            program.end_input()
        return program

    def ended(self, script: Program, code: Exit, error: str = "") -> list[Any]:
        """Wait for the end of a script, and return the objects that it has printed."""
        self.assertEqual(script.wait(), code, script.report())
        errors = [line for line in script.errors if not line.startswith("socp: note: ")]
        if error:
            self.assertRegex("\n".join(errors), f"^socp: error: .*{error}")
        else:
            self.assertEqual(errors, [])
        return [json.loads(line) for line in script.lines]

    def test_done(self) -> None:
        """A message comes from standard input and is delivered; one to a script is kept for who listens."""
        script = self.script("heidi", "tell", BOB, "-", "--json", "--name", "ann", port=self.port)
        script.type("Lunch at noon?\nOr later?")
        script.end_input()
        sent, delivered = self.ended(script, Exit.DONE)
        self.assertEqual((sent["type"], delivered["type"], delivered["to"]), ("sent", "delivered", BOB))
        self.bob.expect(rf"\[DM from ann · {key('heidi').id[:8]}\] Lunch at noon\?\\nOr later\?$")
        self.bob.type(f"/tell {key('heidi').id} At noon.")
        self.bob.expect(r"\[DM to ann · .*\] stored until the user is back")
        listed = self.ended(self.script("heidi", "list", "--json", port=self.port), Exit.DONE)
        self.assertIn(key("heidi").id, [user["id"] for user in listed if user["you"]])
        [message] = self.ended(self.script("heidi", "listen", "--count", "1", "--json", port=self.port), Exit.DONE)
        self.assertEqual((message["text"], message["label"]), ("At noon.", f"bob · {BOB[:8]}"))
        self.bob.expect(r"\[DM to ann · .*\] delivered")

    def test_not_done(self) -> None:
        """Each way to fail has its code, an error on standard error, and nothing on standard output."""
        runs = [
            (self.script("dave", "tell", BOB, "x"), Exit.USAGE, "no server was named"),
            (self.script("carol", "tell", key("dave").id, "x", port=self.port), Exit.NO_SUCH_USER, "USER_NOT_FOUND"),
            (self.script("heidi", "list", port=1), Exit.NO_CONNECTION, "cannot reach a server"),
            (self.script("erin", "list", port=self.port, password="secret"), Exit.BAD_KEY, "password"),
            (self.script("frank", "listen", "--count", "1", "--for", "0.1", port=self.port), Exit.TIMED_OUT, "fewer"),
        ]
        listening = self.script("grace", "listen", port=self.port)
        for script, code, error in runs:
            self.assertEqual(self.ended(script, code, error), [])
        listening.expect_error("pinned in this profile$")
        path = self.network.directory / "menu.txt"
        path.write_text("soup")
        script = self.script("dave", "send", key("grace").id, str(path), "--json", port=self.port)
        reports = self.ended(script, Exit.FAILURE, "rejected")  # nobody there can be asked about a stranger's
        self.assertEqual([report["type"] for report in reports], ["file-offered", "file-failed"])
        listening.signal(signal.SIGINT)
        self.assertEqual(listening.wait(), Exit.INTERRUPTED)

    def test_beside(self) -> None:
        """Beside a running client, scripts go through it, which shows that; after a kill they go alone again."""
        alice = self.network.client("alice", self.port)
        alice.type("/list")
        alice.expect(r"\[List\] \d+ online")
        listening = self.script("alice", "listen", "--json", "--count", "1")
        reports = self.ended(self.script("alice", "tell", BOB, "Lunch?", "--json"), Exit.DONE)
        self.assertEqual([report["type"] for report in reports], ["sent", "delivered"])
        alice.expect(r"\[Note\] a script sends, in your name:$")
        alice.expect(r"\[DM to bob · .*\] delivered \(#\d+\)$")
        self.bob.expect(r"\[DM from alice · .*\] Lunch\?$")
        self.bob.type(f"/tell {key('alice').id} Gladly.")
        alice.expect(r"\[DM from bob · .*\] Gladly\.$")
        message = self.ended(listening, Exit.DONE)[-1]  # after what became of the one that was sent
        self.assertEqual((message["type"], message["from"], message["text"]), ("message", BOB, "Gladly."))
        alice.kill()
        script = self.script("alice", "whoami")
        self.assertEqual(script.wait(), Exit.DONE, script.report())
        self.assertEqual(script.lines, [f"{key('alice').id}  alice  alice"])
