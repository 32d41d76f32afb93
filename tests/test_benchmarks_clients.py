"""The benchmarks of clients, files and attachments run, each as small as can be; what they measure is not looked at."""

from __future__ import annotations

import contextlib
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from benchmarks import attaching, files, footprint, idle, startup, wormhole
from benchmarks.bench import Bench
from benchmarks.keys import USERS
from benchmarks.machine import BenchmarkError
from benchmarks.network import Network, running_servers
from benchmarks.person import Person, running_people


class ClientsTest(unittest.TestCase):
    """One server whose signatures are counted, and two real clients, for all of these tests."""

    network: Network
    alice: Person
    bob: Person
    directory: Path

    @classmethod
    def setUpClass(cls) -> None:
        """Start all three."""
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        cls.directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cls.network = stack.enter_context(running_servers(1, program=attaching.COUNTED))
        port = cls.network.ports[0]
        plans = ((USERS + 10, port, "--tls"), (USERS + 11, port, ""))
        cls.alice, cls.bob = stack.enter_context(running_people(cls.directory, *plans))

    def test_messages_are_confirmed(self) -> None:
        """Each message takes its time until the receipt for it is verified."""
        seconds = self.alice.tell(self.bob, "hello", 2)
        self.assertEqual([each > 0 for each in seconds], [True, True])

    def test_files_arrive(self) -> None:
        """A file is sent, compared, and its time and the servers' are told."""
        rate, cpu = files.send(self.network, self.alice, self.bob, files.random_file(self.directory / "file", 3000))
        self.assertGreater(rate, 0)
        self.assertGreater(cpu, 0)

    def test_what_goes_wrong_is_told(self) -> None:
        """A client that cannot do what it is told fails the benchmark."""
        with self.assertRaisesRegex(BenchmarkError, "nowhere"):
            self.alice.send_file(self.bob, self.directory / "nowhere")

    def test_attachments_are_counted(self) -> None:
        """A server signs twice for a user who attaches: what it answers, and what it would tell other servers."""
        rows = {row.what: row.value for row in attaching.count(self.network, 2)}
        self.assertGreaterEqual(rows["signatures at the origin"], 1)
        self.assertGreaterEqual(rows["verifications at the origin"], 1)

    def test_idle_users_stay(self) -> None:
        """Users attach and stay while others are looked at."""
        with idle.idle_users(self.network, 1):
            self.assertGreater(self.network.cpu(), 0)

    def test_memory_is_watched(self) -> None:
        """The most that a process has taken is kept."""
        with footprint.watching({"server": self.network.processes[0]}) as most:
            pass
        self.assertGreaterEqual(most["server"], 0)


class StartupTest(unittest.TestCase):
    """How fast the client says what it can do."""

    def test_both_are_run(self) -> None:
        """The client and an interpreter are run, and compared."""
        bench = mock.Mock(spec=Bench)
        bench.size.return_value = 1
        rows = startup.help_of_client(bench)
        self.assertAlmostEqual(rows[0].value - rows[1].value, rows[2].value)


class WormholeTest(unittest.TestCase):
    """What our files are compared with, where it is."""

    def test_not_installed(self) -> None:
        """Where magic-wormhole is not found, that is known."""
        with mock.patch("shutil.which", return_value=None):
            self.assertFalse(wormhole.installed())


if __name__ == "__main__":
    unittest.main()
