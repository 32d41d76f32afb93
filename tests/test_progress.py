"""The rows of transfers that are under way, on a screen that only notes what it is to show."""

from __future__ import annotations

import threading
import unittest
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

from events import FileDone, FileFailed, FileStarted, Notice
from progress import Progress, short_name, size_text, time_text
from screen import Line
from tests.screens import FakeScreen
from threads import Alarm, Alarms
from underway import State, UnderWay

PATIENCE = 20.0


class CountingScreen(FakeScreen):
    """A terminal that counts how often a row of it is changed.

    Attributes:
        changed: set whenever one is.
    """

    def __init__(self) -> None:
        super().__init__(interactive=True)
        self.count = 0
        self.changed = threading.Event()

    def status(self, name: str, line: Line | None) -> None:
        """See Screen."""
        super().status(name, line)
        self.count += 1
        self.changed.set()


class HandAlarms(Alarms):
    """Alarms that go off by hand.

    Attributes:
        now: what the clock says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.set: list[Alarm] = []

    def after(self, seconds: float, callback: Callable[[], None]) -> Alarm:
        """Note what is to be done."""
        alarm = Alarm(self.now + seconds, callback)
        self.set.append(alarm)
        return alarm

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and do what is due."""
        self.now += seconds
        due = [alarm for alarm in self.set if alarm.due <= self.now]
        self.set = [alarm for alarm in self.set if alarm.due > self.now]
        for alarm in due:
            alarm.callback()


def transfer(number: int = 1, done: int = 0, **change: object) -> UnderWay:
    """Return a file of 1 MB that is received."""
    file = UnderWay(
        f"id {number}",
        number,
        "bob",
        f"file {number}.txt",
        1_000_000,
        incoming=True,
        state=State.RUNNING,
        done=done,
        began=0.0,
        progressed=100.0,
    )
    return replace(file, **change)  # type: ignore[arg-type]


class ProgressTest(unittest.TestCase):
    """Rows that are drawn when it is time, by a clock of the test's."""

    def setUp(self) -> None:
        """Make the rows of no transfer."""
        self.files: list[UnderWay] = []
        self.screen = CountingScreen()
        self.alarms = HandAlarms()
        patch = mock.patch("progress.time", mock.Mock(monotonic=lambda: self.alarms.now))
        patch.start()
        self.addCleanup(patch.stop)
        self.progress = Progress(self.screen, lambda: self.files, self.alarms)

    def start(self, *files: UnderWay) -> None:
        """Have transfers be under way, and be drawn."""
        self.files = list(files)
        self.progress.handle(FileStarted("id 1", "bob", "file 1.txt", 1_000_000, incoming=True))
        self.alarms.pass_time(0)

    def test_row(self) -> None:
        """Name, bar, percent, bytes, rate and the time that is left stand in one row, until the file is done."""
        self.start(transfer())
        self.assertEqual(self.screen.statuses, {"file 1": "↓ file 1.txt [----------]   0%  -  0 B of 1.0 MB"})
        self.files = [transfer(done=250_000, progressed=100.5)]
        self.alarms.pass_time(0.5)
        self.assertEqual(
            self.screen.statuses["file 1"],
            "↓ file 1.txt [##--------]  25%  500.0 kB/s  0:02 left  250.0 kB of 1.0 MB",
        )
        self.progress.handle(FileDone("id 1", "bob", "file 1.txt", 1_000_000, incoming=True, path=Path("x")))
        self.alarms.pass_time(0)  # though it stands among the files for a moment yet
        self.assertEqual(self.screen.statuses, {})

    def test_time_is_kept_while_there_is_something(self) -> None:
        """With nothing under way no alarm is set; what has not changed is not drawn again."""
        self.progress.handle(Notice("something else"))
        self.assertEqual(self.alarms.set, [])
        self.start(transfer())
        for _ in range(3):
            self.alarms.pass_time(0.5)
        self.assertEqual(self.screen.count, 1)
        self.files = []
        self.alarms.pass_time(0.5)
        self.assertEqual((self.screen.statuses, self.alarms.set), ({}, []))

    def test_rate_is_of_late(self) -> None:
        """A rate is that of the last five seconds; one that has begun anew starts from nothing."""
        self.start(transfer())
        for second in range(1, 11):
            self.files = [transfer(done=10_000 * second + 90_000 * max(0, second - 5), progressed=100.0 + second)]
            self.alarms.pass_time(1)
        self.assertRegex(self.screen.statuses["file 1"], "100.0 kB/s  0:04 left  550.0 kB of 1.0 MB$")
        self.files = [transfer(done=10_000, progressed=110.5)]
        self.alarms.pass_time(0.5)
        self.assertRegex(self.screen.statuses["file 1"], "  -  10.0 kB of 1.0 MB$")

    def test_stalled(self) -> None:
        """A transfer that does not move for five seconds is said to be stalled, until it moves."""
        self.start(transfer(done=10_000))
        self.alarms.pass_time(4.9)
        self.assertNotIn("stalled", self.screen.statuses["file 1"])
        self.alarms.pass_time(0.5)
        self.assertRegex(self.screen.statuses["file 1"], "stalled  10.0 kB of 1.0 MB$")
        self.files = [transfer(done=20_000, progressed=105.5)]
        self.alarms.pass_time(0.5)
        self.assertNotIn("stalled", self.screen.statuses["file 1"])

    def test_states(self) -> None:
        """One that is interrupted or hashed says so; those that wait, or are asked about, have no row."""
        self.start(
            transfer(1, state=State.INTERRUPTED, done=500_000),
            transfer(2, state=State.HASHING, incoming=False, name="a/\x1b[2Jb"),
            transfer(3, state=State.OFFERED),
            transfer(4, state=State.WAITING),
        )
        self.assertEqual(
            self.screen.statuses,
            {
                "file 1": "↓ file 1.txt [#####-----]  50%  interrupted  500.0 kB of 1.0 MB",
                "file 2": "↑ _[2Jb      [----------]   0%  read first  0 B of 1.0 MB",
            },
        )

    def test_several(self) -> None:
        """Three have a row each, and more share one."""
        self.start(*(transfer(number, done=100_000 * number) for number in range(1, 4)))
        self.assertEqual(list(self.screen.statuses), ["file 1", "file 2", "file 3"])
        self.files.append(transfer(4, done=400_000))
        self.alarms.pass_time(0.5)
        self.files = [replace(file, done=file.done + 100_000) for file in self.files]
        self.alarms.pass_time(0.5)
        self.assertEqual(
            self.screen.statuses, {"files": "4 files [###-------]  35%  500.0 kB/s  0:05 left  1.4 MB of 4.0 MB"}
        )
        self.progress.handle(FileFailed("id 4", "bob", "file 4.txt", incoming=True, reason="x"))
        self.alarms.pass_time(0)
        self.assertEqual(sorted(self.screen.statuses), ["file 1", "file 2", "file 3"])

    def test_silent(self) -> None:
        """Where nothing can change in place, nothing is done at all."""
        self.screen.interactive = False
        self.start(transfer())
        self.assertEqual((self.screen.statuses, self.alarms.set), ({}, []))

    def test_empty_file(self) -> None:
        """A file of no bytes is all there."""
        self.start(transfer(size=0))
        self.assertIn("[##########] 100%  -  0 B of 0 B", self.screen.statuses["file 1"])

    def test_real_clock(self) -> None:
        """With real alarms, rows come and go by themselves."""
        alarms = Alarms()
        alarms.start()
        self.addCleanup(alarms.stop)
        self.files = [transfer()]
        progress = Progress(self.screen, lambda: self.files, alarms, tick=0.001)
        progress.stir()
        self.assertTrue(self.screen.changed.wait(PATIENCE))
        self.screen.changed.clear()
        self.files = []
        self.assertTrue(self.screen.changed.wait(PATIENCE))
        self.assertEqual(self.screen.statuses, {})


class WordsTest(unittest.TestCase):
    """Sizes, times and names."""

    def test_sizes(self) -> None:
        """Sizes have one digit behind the point, and never four before it."""
        for size, text in (
            *((0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (48_213, "48.2 kB"), (999_949, "999.9 kB")),
            *((999_950, "1.0 MB"), (19_800_000, "19.8 MB"), (999_999_999, "1.0 GB"), (2**40, "1099.5 GB")),
        ):
            self.assertEqual(size_text(size), text)

    def test_times(self) -> None:
        """Times are minutes and seconds, with hours where there are any."""
        for seconds, text in ((0.4, "0:00"), (59.6, "1:00"), (65, "1:05"), (3599, "59:59"), (7322, "2:02:02")):
            self.assertEqual(time_text(seconds), text)

    def test_names(self) -> None:
        """A long name keeps its beginning and its end."""
        self.assertEqual(short_name("../menu.pdf"), "menu.pdf")
        self.assertEqual(short_name("x" * 20), "x" * 20)
        shown = short_name("a very long name of a file.tar.gz")
        self.assertEqual((shown, len(shown)), ("a very lon…le.tar.gz", 20))
        self.assertEqual(short_name("\u4e2d" * 20 + ".txt"), "\u4e2d" * 5 + "…" + "\u4e2d" * 2 + ".txt")
