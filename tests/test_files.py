"""Files that are written whole or not at all."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from unittest import mock

from files import create_file, replace_file


class ReplaceTest(unittest.TestCase):
    """Putting a file in another's place."""

    def test_replaced(self) -> None:
        """A new content takes the place of an old one, and a failure leaves the old one and nothing else."""
        with tempfile.TemporaryDirectory(prefix="socp-test-") as directory:
            path = Path(directory) / "a file"
            for content in (b"old", b"new"):
                replace_file(path, content)
                self.assertEqual(path.read_bytes(), content)
            with mock.patch.object(Path, "replace", side_effect=OSError), self.assertRaises(OSError):
                replace_file(path, b"newer")
            with self.assertRaises(OSError):
                replace_file(Path(directory) / "nowhere" / "a file", b"x")
            self.assertEqual(
                {entry.name: entry.read_bytes() for entry in Path(directory).iterdir()}, {"a file": b"new"}
            )


class CreateTest(unittest.TestCase):
    """Making a file where there is none."""

    def test_created(self) -> None:
        """A file is its owner's alone, goes over nothing that is there, and is gone again if it cannot be written."""
        with tempfile.TemporaryDirectory(prefix="socp-test-") as directory:
            path = Path(directory) / "a file"
            create_file(path, b"new")
            self.assertEqual((path.read_bytes(), path.stat().st_mode & 0o777), (b"new", 0o600))
            (Path(directory) / "link").symlink_to("elsewhere")
            for there in (path, Path(directory) / "link"):
                self.assertRaises(FileExistsError, create_file, there, b"newer")
            with mock.patch("files.os.fsync", side_effect=OSError), self.assertRaises(OSError):
                create_file(Path(directory) / "other", b"x")
            self.assertEqual({entry.name for entry in Path(directory).iterdir()}, {"a file", "link"})
            self.assertEqual(path.read_bytes(), b"new")
