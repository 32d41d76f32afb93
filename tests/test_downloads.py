"""Where received files go."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from downloads import Download, safe_name


class NamesTest(unittest.TestCase):
    """Names that senders chose."""

    def test_names(self) -> None:
        """The last component is kept as it is in any script, and what could do harm is replaced."""
        for name, safe in (
            ("report.pdf", "report.pdf"),
            ("\u4e66 b\u00fccher \U0001f600.txt", "\u4e66 b\u00fccher \U0001f600.txt"),
            ("../../etc/passwd", "passwd"),
            ("/etc/passwd", "passwd"),
            ("C:\\Windows\\system.ini", "system.ini"),
            ("a/b/", "b"),
            (".bashrc", "_bashrc"),
            ("-rf", "_rf"),
            ("~root", "_root"),
            ("a\x00b\nc\x1b[0m", "a_b_c_[0m"),
            ("evil\u202etxt.exe", "evil_txt.exe"),
            ("a:b*c?d", "a_b_c_d"),
            ("e\u0301", "\u00e9"),
            ("   x  ", "x"),
        ):
            with self.subTest(name=name):
                self.assertEqual(safe_name(name), safe)

    def test_no_names(self) -> None:
        """What leaves nothing of a name is called `file`."""
        for name in ("", ".", "..", "/", "a/..", "...", "\x00", "\\", "   ", "._. "):
            with self.subTest(name=name):
                self.assertEqual(safe_name(name), "file")

    def test_long_names(self) -> None:
        """A name that is too long is cut in characters, and keeps its extension."""
        for name in ("x" * 300 + ".pdf", "\U0001f600" * 100 + ".pdf", "x" * 300, "x." + "y" * 300):
            safe = safe_name(name)
            self.assertLessEqual(len(safe.encode()), 200)
            self.assertEqual(safe.endswith(".pdf"), name.endswith(".pdf"))
            self.assertTrue(name.startswith(safe.removesuffix(".pdf")))


class DownloadTest(unittest.TestCase):
    """Files that appear whole or not at all."""

    def setUp(self) -> None:
        """Make a place for the directory."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "received"

    def receive(self, data: bytes, name: str) -> Path:
        """Receive a file."""
        download = Download(self.path)
        download.write(data[:2])
        download.write(data[2:])
        self.assertEqual((download.size, download.sha256()), (len(data), hashlib.sha256(data).hexdigest()))
        kept = download.keep(name)
        download.discard()
        return kept

    def names(self) -> list[str]:
        """Return what is in the directory."""
        return sorted(file.name for file in self.path.iterdir())

    def test_kept(self) -> None:
        """A file appears under its name, for its owner alone, with nothing beside it."""
        kept = self.receive(b"content", "a.txt")
        self.assertEqual((kept, kept.read_bytes()), (self.path / "a.txt", b"content"))
        self.assertEqual(stat.S_IMODE(kept.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o700)
        self.assertEqual(self.names(), ["a.txt"])

    def test_never_over_a_file(self) -> None:
        """A name that is taken gets a number, whatever it is taken by."""
        self.receive(b"1", "a.txt")
        (self.path / "a (2).txt").mkdir()
        (self.path / "a (3).txt").symlink_to(self.path / "nowhere")
        self.assertEqual(self.receive(b"4", "a.txt").name, "a (4).txt")
        self.assertEqual((self.path / "a.txt").read_bytes(), b"1")
        self.assertFalse((self.path / "nowhere").exists())
        self.receive(b"", "none")
        self.assertEqual(self.receive(b"", "none").name, "none (2)")

    def test_discarded(self) -> None:
        """What is not kept leaves nothing behind."""
        download = Download(self.path)
        download.write(b"x")
        self.assertEqual(len(self.names()), 1)
        download.discard()
        download.discard()
        self.assertEqual(self.names(), [])

    def test_many_at_once(self) -> None:
        """However many begin at once, none takes another's draft for one that was left."""
        kept: list[Path] = []

        def receive() -> None:
            for _ in range(40):
                download = Download(self.path)
                download.write(b"x")
                kept.append(download.keep("x"))

        threads = [threading.Thread(target=receive) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((len(set(kept)), len(self.names())), (160, 160))

    def test_without_locks(self) -> None:
        """On a file system without locks, files are kept all the same."""
        with mock.patch("fcntl.flock", side_effect=OSError(errno.ENOLCK, "No locks available")):
            self.receive(b"1", "a")
            self.receive(b"2", "b")
        self.assertEqual(self.names(), ["a", "b"])

    def test_left_by_the_killed(self) -> None:
        """What a client left that was killed is removed by the next; what another one still writes is not."""
        alive = Download(self.path)
        dead = self.path / ".receiving-0123"
        dead.write_bytes(b"half a file")
        (self.path / ".receiving-link").symlink_to(self.path / "kept")
        (self.path / "kept").write_bytes(b"kept")
        other = Download(self.path)
        self.assertFalse(dead.exists())
        self.assertTrue((self.path / "kept").exists())
        for download in (alive, other):
            download.write(b"x")
            self.assertTrue(download.keep("file").exists())

    def test_without_hard_links(self) -> None:
        """On a file system without hard links, files are kept all the same, and over nothing."""
        with mock.patch.object(os, "link", side_effect=OSError(errno.EPERM, "Operation not permitted")):
            self.receive(b"1", "a")
            self.assertEqual(self.receive(b"2", "a").name, "a (2)")
        self.assertEqual(self.names(), ["a", "a (2)"])
        self.assertEqual((self.path / "a (2)").read_bytes(), b"2")
        failing = mock.patch.object(Path, "replace", side_effect=OSError(errno.EIO, "Input/output error"))
        with mock.patch.object(os, "link", side_effect=OSError(errno.EPERM, "no")), failing:
            download = Download(self.path)
            self.assertRaises(OSError, download.keep, "a")
            download.discard()
        self.assertEqual(self.names(), ["a", "a (2)"])

    def test_unusable(self) -> None:
        """A directory that cannot be made is an OSError."""
        self.path.touch()
        self.assertRaises(OSError, Download, self.path)
