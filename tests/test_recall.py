"""Lines typed before."""

from __future__ import annotations

import os
import stat
import tempfile
import threading
import unittest
from pathlib import Path

from recall import LINES_MOST, Recall


class RecallTest(unittest.TestCase):
    """One file of lines."""

    def setUp(self) -> None:
        """Make a directory."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "typed"

    def test_kept(self) -> None:
        """Lines are there again in the next run, in a file for their owner alone; the last again is not kept twice."""
        recall = Recall(self.path)
        for line in ("one", "two", "two", " ", "three\nrows", "日本 \u2028 \x1b"):
            recall.add(line)
        self.assertEqual(list(Recall(self.path).lines), ["one", "two", "three\nrows", "日本 \u2028 \x1b"])
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_left_out(self) -> None:
        """What must not be written down is recalled in this run alone."""
        recall = Recall(self.path, keep=lambda line: not line.startswith("/tell"))
        recall.add("/tell ann secret")
        recall.add("/list")
        self.assertEqual(list(recall.lines), ["/tell ann secret", "/list"])
        self.assertEqual(list(Recall(self.path).lines), ["/list"])
        self.assertNotIn(b"secret", self.path.read_bytes())

    def test_without_a_file(self) -> None:
        """Without a file, lines are recalled in this run."""
        recall = Recall()
        recall.add("one")
        self.assertEqual(list(recall.lines), ["one"])

    def test_bounded(self) -> None:
        """Neither the lines nor the bytes grow without end: the oldest go; and what is long was pasted."""
        self.path.write_text("".join(f'"{number}"\n' for number in range(3 * LINES_MOST)), "utf-8")
        recall = Recall(self.path)
        recall.add("last")
        self.assertEqual(len(recall.lines), LINES_MOST)
        self.assertEqual(Recall(self.path).lines[0], str(2 * LINES_MOST + 1))
        recall.add("x" * 10_000)
        for number in range(3):
            recall.add(f"{number}" * 8_000)
        self.assertEqual(Recall(self.path).lines[-1][:3], "222")
        self.assertNotIn(b"xxx", self.path.read_bytes())
        self.path.write_text(f'"{"y" * 8_000}"\n' * 100, "utf-8")
        recall.add("end")
        self.assertLess(self.path.stat().st_size, 257 * 1024)

    def test_damaged(self) -> None:
        """Whatever is in the file, the lines that can be read are there, and new ones can be added."""
        self.path.write_bytes(b'"one"\n\xff\xfe\n{"a": 1}\n"unfinished\n[1]\n"\\ud800"\n\n"two"\n' + b"[" * 10_000)
        recall = Recall(self.path)
        self.assertEqual(list(recall.lines), ["one", "two"])
        recall.add("three")
        self.assertEqual(list(Recall(self.path).lines), ["one", "two", "three"])

    def test_no_file(self) -> None:
        """A link is not followed, a pipe not waited for, and a file that cannot be is said once; the run goes on."""
        target = self.path.with_name("target")
        target.write_text('"theirs"\n', "utf-8")
        link, pipe = self.path.with_name("link"), self.path.with_name("pipe")
        link.symlink_to(target)
        os.mkfifo(pipe)
        for path in (link, pipe, self.path / "nowhere" / "at all"):
            with self.subTest(path=path.name):
                with self.assertLogs("socp.recall", "WARNING") as logged:
                    recall = Recall(path)
                    recall.add("one")
                    recall.add("two")
                self.assertEqual(list(recall.lines), ["one", "two"])
                self.assertEqual(len(logged.output), 1)
        self.assertEqual(target.read_text("utf-8"), '"theirs"\n')

    def test_several(self) -> None:
        """Several programs may add lines at once, and none is lost."""

        def add(name: str) -> None:
            recall = Recall(self.path)
            for number in range(20):
                recall.add(f"{name}{number}")

        threads = [threading.Thread(target=add, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = list(Recall(self.path).lines)
        self.assertEqual(sorted(lines), sorted(f"{name}{number}" for name in "abcd" for number in range(20)))
        self.assertEqual([path.name for path in self.path.parent.iterdir() if "typed." in path.name], [".typed.lock"])
