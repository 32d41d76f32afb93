"""The client's config.ini: found where such files are, and refused when it is not what it should be."""

from __future__ import annotations

import os
import stat
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from configfile import config_path, read_config
from optiontable import UsageError

KNOWN = ("server", "history", "accept-from")


class ConfigFileTest(unittest.TestCase):
    """One file."""

    def setUp(self) -> None:
        """Make a place for it."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "config.ini"

    def read(self, content: str | bytes) -> dict[str, str]:
        """Return what is read of a content."""
        self.path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_config(self.path, KNOWN)

    def test_where(self) -> None:
        """It is in $XDG_CONFIG_HOME/socp, or else below ~/.config; a relative directory is ignored, as specified."""
        for environ, expected in (
            ({"XDG_CONFIG_HOME": "/etc/mine", "HOME": "/home/ann"}, "/etc/mine/socp/config.ini"),
            ({"XDG_CONFIG_HOME": "mine", "HOME": "/home/ann"}, "/home/ann/.config/socp/config.ini"),
            ({"HOME": "/home/ann"}, "/home/ann/.config/socp/config.ini"),
        ):
            self.assertEqual(config_path(environ), Path(expected))
        with mock.patch("os.path.expanduser", return_value="~"):
            self.assertIsNone(config_path({}))

    def test_none(self) -> None:
        """No file, no directory for it and an empty file are no error."""
        self.assertEqual(read_config(self.path, KNOWN), {})
        self.assertEqual(self.read(""), {})
        self.assertEqual(read_config(self.path / "below", KNOWN), {})

    def test_read(self) -> None:
        """Keys are any case; values are as they stand, with equals signs, colons and percent signs; # is a comment."""
        found = self.read("\ufeff# mine\n[client]\nServer = [::1]:9001,\n  9002\nhistory=on\naccept-from = a=b%(x)s\n")
        self.assertEqual(found, {"server": "[::1]:9001,\n9002", "history": "on", "accept-from": "a=b%(x)s"})

    def test_wrong(self) -> None:
        """What is wrong is named with its file and line, and what would be right."""
        for text, error, hint in (
            ("history = on\n", "line 1: it stands before any section", "begin the file with [client]"),
            ("[client]\nhistory\n", "line 2: this is no setting", "one a line"),
            ("[client]\nhistory = on\nhistory = off\n", "line 3: history is there twice", "keep one"),
            ("[client]\n[client]\n", "line 2: [client] is there twice", "first"),
            ("[DEFAULT]\nhistory = on\n", "there is no section [DEFAULT]", "[client]"),
            ("[client]\naccept_from = all\n", "there is no setting 'accept_from'", "did you mean accept-from?"),
            ("[client]\nxyzzy = all\n", "there is no setting 'xyzzy'", "the keys are server, history, accept-from"),
        ):
            with self.subTest(text), self.assertRaises(UsageError) as caught:
                self.read(text)
            self.assertIn(f"{self.path}", str(caught.exception))
            self.assertIn(error, str(caught.exception))
            self.assertIn(hint, caught.exception.hint)
        for content, error in ((b"\xff", "not text in UTF-8"), (b"#" * 70_000, "no config.ini")):
            with self.assertRaisesRegex(UsageError, error):
                self.read(content)

    def test_of_others(self) -> None:
        """A file that others could have written sets nothing: it decides whose files are taken."""
        self.read("")
        self.path.chmod(0o646)
        with self.assertRaisesRegex(UsageError, "can be written by everybody"):
            read_config(self.path, KNOWN)
        self.path.chmod(0o664)
        self.assertEqual(read_config(self.path, KNOWN), {}, "a group of one's own is usual")
        status = list(self.path.stat())
        status[stat.ST_UID] = os.geteuid() + 1
        other = mock.patch("os.fstat", return_value=os.stat_result(status))
        with other, self.assertRaisesRegex(UsageError, "belongs to another user"):
            read_config(self.path, KNOWN)

    def test_no_file(self) -> None:
        """A FIFO or a directory in its place is said to be that, and does not hang."""
        os.mkfifo(self.path)
        with self.assertRaisesRegex(UsageError, "not a regular file"):
            read_config(self.path, KNOWN)
