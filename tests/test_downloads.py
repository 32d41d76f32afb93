"""Where received files go."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from downloads import Download, check_room, clear_up, safe_name

ROOT = Path(__file__).resolve().parent.parent


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
            ("\\\\server\\share\\x", "x"),
            ("C:x", "C_x"),
            ("x::$DATA", "x__$DATA"),
            ("x.txt. . ", "x.txt"),
            ("x..", "x"),
            ("invoice.pdf" + " " * 90 + ".exe", "invoice.pdf.exe"),
            ("prn .txt", "_prn.txt"),
            ("a\u3000b\u00a0c", "a b c"),
            ("a\u200bb\ufeffc", "a_b_c"),
            ("a\u200db\u200cc\ufe0f\u3164", "abc"),
            ("a\ud800b", "a_b"),
            ("a\u2028b\u2029c\x85d", "a_b_c_d"),
        ):
            with self.subTest(name=name):
                self.assertEqual(safe_name(name), safe)

    def test_devices(self) -> None:
        """What Windows takes for a device gets another name, whatever its extension; what only looks so does not."""
        for name in ("CON", "nul", "Com1", "lpt9.txt", "AUX.tar.gz", "prn.txt", "CONIN$", "com\u00b9.x", "NUL. ."):
            with self.subTest(name=name):
                self.assertEqual(safe_name(name), "_" + name.rstrip(". "))
        for name in ("console", "com", "com10", "null.txt", "a.con"):
            with self.subTest(name=name):
                self.assertEqual(safe_name(name), name)

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
        self.assertEqual(safe_name("x" * 150 + " " + "." * 100 + "y" * 20), "x" * 150)


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
        (self.path / "a (1).txt").mkdir()
        (self.path / "a (2).txt").symlink_to(self.path / "nowhere")
        self.assertEqual(self.receive(b"4", "a.txt").name, "a (3).txt")
        self.assertEqual((self.path / "a.txt").read_bytes(), b"1")
        self.assertFalse((self.path / "nowhere").exists())
        self.receive(b"", "none")
        self.assertEqual(self.receive(b"", "none").name, "none (1)")

    def test_names_that_differ_little(self) -> None:
        """A name that differs from one that is there in case or normalisation alone counts as taken."""
        self.receive(b"1", "Stra\u00dfe.TXT")
        self.assertEqual(self.receive(b"2", "STRASSE.txt").name, "STRASSE (1).txt")
        (self.path / "e\u0301").write_bytes(b"decomposed")
        self.assertEqual(self.receive(b"3", "\u00c9").name, "\u00c9 (1)")

    def test_directory_replaced(self) -> None:
        """A directory that is moved away while a file is received keeps nothing, nor does what takes its place."""
        elsewhere = self.path.with_name("elsewhere")
        elsewhere.mkdir()
        replacements: list[Callable[[], None]] = [
            lambda: None,
            lambda: self.path.symlink_to(elsewhere),
            self.path.mkdir,
        ]
        for put in replacements:
            download = Download(self.path)
            download.write(b"x")
            moved = self.path.rename(self.path.with_name("moved"))
            put()
            with self.assertRaisesRegex(OSError, "moved away"):
                download.keep("x")
            download.discard()
            self.assertEqual((list(moved.iterdir()), list(elsewhere.iterdir())), ([], []))
            moved.rmdir()
            if self.path.is_symlink():
                self.path.unlink()

    def test_directory_removed(self) -> None:
        """One that is removed is an OSError."""
        download = Download(self.path)
        shutil.rmtree(self.path)
        self.assertRaises(OSError, download.keep, "x")
        download.discard()
        self.assertFalse(self.path.exists())

    def test_draft_replaced(self) -> None:
        """What somebody puts in the draft's place, a symbolic link say, is not taken for what was received."""
        secret = self.path.with_name("secret")
        secret.write_bytes(b"secret")
        download = Download(self.path)
        [draft] = self.path.iterdir()
        draft.unlink()
        draft.symlink_to(secret)
        with self.assertRaisesRegex(OSError, "replaced"):
            download.keep("x")
        download.discard()
        self.assertEqual((self.names(), secret.read_bytes()), ([], b"secret"))

    def test_directory_is_a_link(self) -> None:
        """A symbolic link to a directory is followed: it was put there by whoever the directory belongs to."""
        real = self.path.with_name("real")
        real.mkdir()
        self.path.symlink_to(real)
        self.assertEqual(self.receive(b"1", "a"), self.path / "a")
        self.assertEqual((real / "a").read_bytes(), b"1")

    def test_disk_is_full(self) -> None:
        """A disk that takes no more is an OSError, wherever it is noticed, and leaves nothing behind."""
        code = (
            "import resource; from pathlib import Path; from downloads import Download\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
            "for sizes in ([2000], [100_000, 1]):\n"
            f"    download = Download(Path({str(self.path)!r}))\n"
            "    try:\n"
            "        for size in sizes: download.write(b'x' * size)\n"
            "        download.keep('x')\n"
            "    except OSError as error: print(error.strerror)\n"
            "    download.discard()\n"
        )
        printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
        self.assertEqual(printed.stdout, "File too large\n" * 2)
        self.assertEqual(self.names(), [])

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
                clear_up(self.path)

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
        dead = self.path / f".receiving-{'0' * 16}"
        dead.write_bytes(b"half a file")
        (self.path / "kept").write_bytes(b"kept")
        (self.path / f".receiving-{'1' * 16}").symlink_to(self.path / "kept")
        (self.path / f".receiving-{'2' * 16}").mkdir()
        os.mkfifo(self.path / f".receiving-{'3' * 16}")
        (self.path / ".receiving-notes").write_bytes(b"somebody's own")
        clear_up(self.path)
        clear_up(self.path / "missing")
        clear_up(self.path / "kept")
        self.assertFalse(dead.exists())
        self.assertEqual(len(self.names()), 6)
        other = Download(self.path)
        for download in (alive, other):
            download.write(b"x")
            self.assertTrue(download.keep("file").exists())

    def test_without_hard_links(self) -> None:
        """On a file system without hard links, files are kept all the same, and over nothing."""
        with mock.patch.object(os, "link", side_effect=OSError(errno.EPERM, "Operation not permitted")):
            self.receive(b"1", "a")
            self.assertEqual(self.receive(b"2", "a").name, "a (1)")
        self.assertEqual(self.names(), ["a", "a (1)"])
        self.assertEqual((self.path / "a (1)").read_bytes(), b"2")
        failing = mock.patch.object(os, "replace", side_effect=OSError(errno.EIO, "Input/output error"))
        with mock.patch.object(os, "link", side_effect=OSError(errno.EPERM, "no")), failing:
            download = Download(self.path)
            self.assertRaises(OSError, download.keep, "a")
            download.discard()
        self.assertEqual(self.names(), ["a", "a (1)"])

    def test_room(self) -> None:
        """Whether a file fits, and can be written, is told before it is there, and nothing is made for that."""
        deep = self.path / "not" / "yet"
        check_room(deep, 1000, 1000)
        self.assertFalse(self.path.exists())
        with self.assertRaisesRegex(OSError, "bytes are free there, and .* are needed"):
            check_room(deep, 2**62, 0)
        with self.assertRaisesRegex(OSError, "are needed"):
            check_room(deep, 0, 2**62)
        unknown = mock.Mock(f_bavail=0, f_frsize=0, f_blocks=0)
        with mock.patch.object(os, "statvfs", return_value=unknown):
            check_room(deep, 2**62, 0)
        with mock.patch.object(os, "access", return_value=False):  # root may write everywhere
            self.assertRaises(PermissionError, check_room, deep, 1, 0)
        self.path.touch()
        self.assertRaises(NotADirectoryError, check_room, self.path, 1, 0)
        self.assertRaises(NotADirectoryError, check_room, deep, 1, 0)
        self.path.unlink()
        self.path.symlink_to("nowhere")
        self.assertRaises(FileNotFoundError, check_room, self.path, 1, 0)

    def test_unusable(self) -> None:
        """What is no directory is an OSError at once, whatever it is: nothing is waited for, and no link is filled."""
        self.path.touch()
        self.assertRaises(OSError, Download, self.path)
        self.path.unlink()
        os.mkfifo(self.path)
        self.assertRaises(OSError, Download, self.path)
        self.path.unlink()
        self.path.symlink_to(self.path.with_name("nowhere"))
        self.assertRaises(OSError, Download, self.path)
        self.assertFalse(self.path.with_name("nowhere").exists())

    def test_not_writable(self) -> None:
        """A directory in which nothing can be made is an OSError, and is not kept open."""
        opened: list[int] = []
        open_it = os.open

        def refuse(*arguments: Any, **named: Any) -> int:
            if "dir_fd" in named:
                raise PermissionError(errno.EACCES, "Permission denied")  # which nobody tells root
            opened.append(open_it(*arguments, **named))
            return opened[0]

        with mock.patch.object(os, "open", refuse):
            self.assertRaises(PermissionError, Download, self.path)
        [directory] = opened
        self.assertRaises(OSError, os.fstat, directory)
