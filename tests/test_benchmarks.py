"""Benchmarks run, each as small as can be, so that they do not rot; what they measure is not looked at."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock
from xml.parsers import expat

from benchmarks import broadcasts, direct, rsa
from benchmarks.__main__ import main
from benchmarks.bench import Bench, median_row
from benchmarks.chart import Panel, draw
from benchmarks.frames import message_and_receipt, split
from benchmarks.load import TAKES, Line, User
from benchmarks.machine import BenchmarkError, cpu_of, resident_of, seconds_of
from benchmarks.network import Network, running_relay, running_servers
from benchmarks.report import Row, table
from benchmarks.scenarios import SCENARIOS


class ScenarioTest(unittest.TestCase):
    """One server and one relay, for all of these tests."""

    server: Network
    relay: Network
    bench: Bench

    @classmethod
    def setUpClass(cls) -> None:
        """Start both."""
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        cls.server = stack.enter_context(running_servers(1))
        cls.relay = stack.enter_context(running_relay())
        cls.bench = Bench(Path(stack.enter_context(tempfile.TemporaryDirectory())), quick=True, repetitions=1)

    def _see(self, cost: direct.Cost) -> None:
        self.assertGreater(cost.cpu, 0)
        self.assertGreater(cost.rate, 0)

    def test_messages_go_over_plain_links(self) -> None:
        """Messages and receipts go from one user to another and back, and what came was what was sent."""
        self._see(direct.talk(self.bench, self.server, 1, 2))

    def test_messages_go_over_tls(self) -> None:
        """The same over TLS."""
        self._see(direct.talk(self.bench, self.server, 1, 2, tls=True))

    def test_the_relay_passes_on_what_a_server_does(self) -> None:
        """The relay that servers are compared with carries the same frames, and broadcasts."""
        self._see(direct.talk(self.bench, self.relay, 1, 2, relay=True))
        self._see(broadcasts.broadcast(self.bench, self.relay, 2, 2, relay=True))

    def test_broadcasts_reach_everybody(self) -> None:
        """Each of two listeners hears each broadcast."""
        self._see(broadcasts.broadcast(self.bench, self.server, 2, 2, relay=False))


class MachineTest(unittest.TestCase):
    """What is measured of this machine and its processes."""

    def test_rsa(self) -> None:
        """Each operation has a rate and a price."""
        for name, operation in rsa.operations().items():
            with self.subTest(name):
                rate = rsa.measure(operation, 2, 0.001)
                self.assertGreater(rate.per_second, 0)
                self.assertGreater(rate.cpu, 0)

    def test_own_processor_time(self) -> None:
        """A process that works is seen to use the processor, and to have memory."""
        before = cpu_of(os.getpid())
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
        self.assertGreaterEqual(cpu_of(os.getpid()) - before, 0.04)
        self.assertGreater(resident_of(os.getpid()), 1024 * 1024)

    def test_what_ps_calls_a_time(self) -> None:
        """Times are read as `ps` writes them, with days and with fractions."""
        for text, seconds in (("0:01.25", 1.25), ("1:02:03", 3723.0), ("2-00:00:01", 172_801.0)):
            with self.subTest(text):
                self.assertEqual(seconds_of(text), seconds)


class LoadTest(unittest.TestCase):
    """What a load makes of what comes."""

    def _user(self) -> User:
        one, other = socket.socketpair()
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        one.setblocking(False)
        user = User(Line(TAKES, 0, 0), one, b'"type":"MSG_DIRECT"', keeps=True)
        made = [message_and_receipt(0, 1) for _ in range(2)]
        self.messages = [message for message, _ in made]
        user.frames = [receipt for _, receipt in made]
        user.begin(0, 2)
        self.other = other
        return user

    def test_frames_are_counted_however_they_are_cut(self) -> None:
        """A marker that comes in two pieces counts once."""
        user = self._user()
        for data in (self.messages[0][:15], self.messages[0][15:] + self.messages[1]):
            self.other.sendall(data)
            user.receive()
        self.assertEqual(user.seen, 2)
        user.check()

    def test_another_order_is_noticed(self) -> None:
        """Messages that come in another order than their receipts are in fail the benchmark."""
        user = self._user()
        self.other.sendall(self.messages[1] + self.messages[0])
        user.receive()
        with self.assertRaisesRegex(BenchmarkError, "in that order"):
            user.check()

    def test_a_closed_link_is_noticed(self) -> None:
        """A server that closes a link fails the benchmark."""
        user = self._user()
        self.other.close()
        with self.assertRaisesRegex(BenchmarkError, "was closed"):
            user.receive()

    def test_frames_of_a_file(self) -> None:
        """Frames that stand one behind the other are told apart."""
        self._user()
        self.assertEqual(list(split(b"".join(self.messages))), self.messages)


class ReportTest(unittest.TestCase):
    """Rows, their table, and the program around them."""

    _ROWS = (
        Row("a", "cost", 2.0, "ms", 1.2, "one", 1.1, at_most=True),
        Row("a", "rate", 1234.5, "/s", 0.9, "one", 0.8),
        Row("b", "memory", 0.5, "MiB"),
    )

    def test_targets(self) -> None:
        """A target is an upper or a lower bound, or there is none."""
        self.assertEqual([row.met for row in self._ROWS], [False, True, None])

    def test_table(self) -> None:
        """The table has a line for each row, and says what is not met."""
        lines = table(self._ROWS).splitlines()
        self.assertEqual(len(lines), 2 + len(self._ROWS))
        self.assertEqual(len({len(line) for line in lines}), 1)
        self.assertIn("NO", lines[2])
        self.assertIn("1,234", lines[3])

    def test_median(self) -> None:
        """The median is taken of values and of ratios, each for itself."""
        rows = [Row("a", "cost", value, "ms", ratio, "one") for value, ratio in ((1, 9), (3, 7), (2, 8))]
        self.assertEqual(median_row(rows), Row("a", "cost", 2, "ms", 8, "one"))

    def test_picture(self) -> None:
        """A picture is well-formed, and has a point for each figure."""
        picture = draw("a < b", "ms", [Panel("users", [(10, 1.0), (100, 1.1)]), Panel("servers", [(2, 1.0)])], 1.2)
        elements: list[str] = []
        parser = expat.ParserCreate()
        parser.StartElementHandler = lambda name, _attributes: elements.append(name)
        parser.Parse(picture, True)
        self.assertEqual(elements.count("circle"), 3)

    def _run(self, *arguments: str) -> tuple[int, str]:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return main([*arguments]), said.getvalue()

    def test_what_was_measured_is_told_and_written(self) -> None:
        """The table is printed and written as JSON, also when one scenario could not be measured."""

        def fails(_: Bench) -> list[Row]:
            raise BenchmarkError("no server")

        scenarios = {"good": lambda _: [self._ROWS[0]], "bad": fails}
        with tempfile.TemporaryDirectory() as directory, mock.patch.dict(SCENARIOS, scenarios, clear=True):
            path = Path(directory) / "results.json"
            code, said = self._run("--quick", "--json", str(path))
            self.assertEqual(code, 1)
            self.assertIn("bad could not be measured: no server", said)
            self.assertIn("| cost ", said)
            rows = json.loads(path.read_text("utf-8"))["rows"]
        self.assertEqual([(row["what"], row["met"]) for row in rows], [("cost", False)])

    def test_unknown_scenarios_are_refused(self) -> None:
        """A scenario that there is not ends the program, with the names of those that there are."""
        with self.assertRaises(SystemExit) as ended, contextlib.redirect_stderr(io.StringIO()) as said:
            main(["nothing"])
        self.assertEqual(ended.exception.code, 2)
        self.assertIn("one-to-one", said.getvalue())
