"""`make demo`, `make chat` and `make client` as a person runs them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

from tests.e2e.harness import PATIENCE, ROOT, NetworkTest
from threads import Deadline


def running(directory: str) -> int:
    """Return how many programs of a network run that name a directory in their arguments."""
    listing = subprocess.run(["ps", "-axww", "-o", "args"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return sum("network.py run" in line and directory in line for line in listing.splitlines())


class DemoTest(unittest.TestCase):
    """The demo of network.py, with new keys and real timers."""

    def setUp(self) -> None:
        """Make a directory for what the demo leaves when it is killed."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def start(self) -> subprocess.Popen[str]:
        """Start the demo without a terminal."""
        return subprocess.Popen(
            [sys.executable, ROOT / "network.py", "demo"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": self.directory},
            start_new_session=True,
        )

    def test_demo(self) -> None:
        """The demo shows the list, messages in both directions, a broadcast and a file, and exits with 0."""
        with self.start() as demo:
            output, _ = demo.communicate(timeout=4 * PATIENCE)
        self.assertEqual(demo.returncode, 0, output)
        for expected in (
            r"alice \| \[List\] 3 online",
            r"bob \| \[DM from alice · [0-9a-f]{8}\] Hello Bob",
            r"alice \| \[DM from bob · [0-9a-f]{8}\] Nobody else",
            r"alice \| \[DM to bob · [0-9a-f]{8}\] delivered",
            r"bob \| \[All\] carol · [0-9a-f]{8}: Good morning",
            r"carol \| \[File to alice · [0-9a-f]{8}\] holiday\.bin delivered \(102,400 bytes\)",
        ):
            self.assertRegex(output, expected)
        hashes = [line.split()[-1] for line in output.splitlines() if line.startswith("SHA-256 of what was")]
        self.assertEqual(len(hashes), 2)
        self.assertEqual(hashes[0], hashes[1])
        self.assertNotIn("Traceback", output)

    def test_killed(self) -> None:
        """A demo that is killed with SIGKILL leaves no process behind."""
        with self.start() as demo:
            assert demo.stdout is not None
            while "Three clients" not in (line := demo.stdout.readline()):
                self.assertTrue(line, "the demo has ended too early")
            self.assertGreaterEqual(self.left(), 4)
            demo.kill()
        deadline = Deadline(PATIENCE)
        while self.left() and deadline.left():
            threading.Event().wait(0.1)  # they are not our children: nothing tells us when they end
        self.assertEqual(self.left(), 0)

    def left(self) -> int:
        """Return how many programs of the demo run: all name its directory in their arguments."""
        return running(self.directory)


class ChatTest(NetworkTest):
    """A network with a person in it, from a copy of the project: what it notes down is the copy's own."""

    def test_chat_and_client(self) -> None:
        """One who starts a network and one who joins it talk to each other; when the first leaves, it is over."""
        copy = self.directory / "a copy"
        shutil.copytree(ROOT / "crypto", copy / "crypto", ignore=shutil.ignore_patterns("__pycache__"))
        for source in ROOT.glob("*.py"):
            shutil.copy(source, copy)
        alone = self.start_script("alone", copy / "network.py", "client")
        self.assertEqual(alone.wait(), 1)
        alone.expect_error("no network runs; start one with `make chat` in another terminal")
        ann = self.start_script("ann", copy / "network.py", "chat", "--name", "ann")
        ann.expect("The network runs")
        ann.expect(r"\[Me\] user_id = ")
        ben = self.start_script("ben", copy / "network.py", "client", "--name", "ben")
        ben.expect(r"\[Me\] user_id = ")
        self.wait_listed(ann, {"ann", "ben"})
        ann.type("/tell ben hello")
        ben.expect(r"\[DM from ann · .*\] hello$")
        ben.type("/tell ann hello yourself")
        ann.expect(r"\[DM from ben · .*\] hello yourself$")
        ann.signal(signal.SIGTERM)  # as a terminal that is closed; /quit is the client's own end
        self.assertIn(ann.wait(), (0, 1, 130, 143))
        ben.expect(r"\[Server\] connection lost")
        ben.end_input()
        self.assertEqual(ben.wait(), 0)
        self.assertFalse((copy / "data" / "chat-network.json").exists())
        self.assertEqual(running(str(copy)), 0)
