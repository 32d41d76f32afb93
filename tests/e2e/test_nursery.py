"""Programs that are forked for tests behave as those that are started."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

from tests.e2e import nursery
from tests.e2e.harness import PATIENCE, clean_environment


class NurseryTest(unittest.TestCase):
    """One program after the other."""

    def setUp(self) -> None:
        """Make a directory to run in."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name).resolve()

    def client(self, *arguments: str) -> nursery.Child:
        """Start a client, which is ended at the end of the test."""
        environment = {**clean_environment(), "XDG_DATA_HOME": str(self.directory)}
        child = nursery.start(
            "tests.e2e.launch", ["1", "client", *arguments], cwd=self.directory, environment=environment
        )
        for stream in (child.stdin, child.stdout, child.stderr):
            assert stream is not None
            self.addCleanup(stream.close)
        self.addCleanup(child.wait, PATIENCE)
        self.addCleanup(child.kill)
        return child

    def test_output_and_codes(self) -> None:
        """What it prints and the code it ends with come back, and it ends of itself."""
        for argument, code, printed, complained in (
            ("--version", 0, b"socp ", b""),
            ("--no-such-flag", 2, b"", b"socp: error: there is no flag --no-such-flag"),
        ):
            child = self.client(argument)
            assert child.stdout is not None
            assert child.stderr is not None
            with self.subTest(argument):
                self.assertEqual(child.wait(PATIENCE), code)
                self.assertTrue(child.stdout.read().startswith(printed))
                self.assertTrue(child.stderr.read().startswith(complained))

    def test_of_its_own(self) -> None:
        """It has its own session, directory and input, and can be killed."""
        child = self.client()
        assert child.stdout is not None
        self.assertEqual(child.stdout.readline(), b"Server port: \n")
        self.assertIsNone(child.poll())
        self.assertEqual(os.getsid(child.pid), child.pid)
        with self.assertRaises(subprocess.TimeoutExpired):
            child.wait(0)
        child.kill()
        self.assertEqual(child.wait(PATIENCE), -signal.SIGKILL)

    def test_many_at_once(self) -> None:
        """Many that are asked for at once each come back with their own code."""
        codes: list[int] = []
        threads = [
            threading.Thread(target=lambda flag=flag: codes.append(self.client(flag).wait(PATIENCE)))
            for flag in ("--version", "--no-such-flag") * 4
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(sorted(codes), [0] * 4 + [2] * 4)
