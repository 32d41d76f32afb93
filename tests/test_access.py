"""Lists of who may come in."""

from __future__ import annotations

import os
import tempfile
import unittest
from pathlib import Path

from access import Access, ListError, read_ids
from tests.vectors import key

FIRST, SECOND, THIRD = (key(name).id for name in ("alice", "bob", "carol"))


class ListsTest(unittest.TestCase):
    """Files with ids."""

    def setUp(self) -> None:
        """Make a directory."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.only, self.but = Path(directory.name) / "only", Path(directory.name) / "but"

    def write(self, path: Path, *ids: str) -> None:
        """Write a list."""
        path.write_text("\n".join(ids), "utf-8")

    def allowed(self, access: Access) -> list[str]:
        """Return who of the three may come in."""
        return [peer_id for peer_id in (FIRST, SECOND, THIRD) if access.allows(peer_id)]

    def test_read(self) -> None:
        """A list has an id on a line, comments and blank lines."""
        self.only.write_text(f"# ours\n\n  {FIRST}  # the first\n{SECOND}#\n{FIRST}\n", "utf-8")
        self.assertEqual(read_ids(self.only, "user"), {FIRST, SECOND})

    def test_refused(self) -> None:
        """What is no list is refused with the line, or the reason; a pipe is not waited for."""
        self.assertRaisesRegex(ListError, "list of users .*: No such file", read_ids, self.only, "user")
        for text, error in (
            (b"\xff", "not UTF-8"),
            (b"\n\nx\n", "line 3: 'x' is not a server id"),
            (FIRST.upper().encode(), "line 1: .* is not a server id"),
            (b"x" * 10_000, "line 1: 'x{64}' is not"),
        ):
            self.only.write_bytes(text)
            with self.assertRaisesRegex(ListError, error):
                read_ids(self.only, "server")
        os.mkfifo(self.but)
        self.assertRaisesRegex(ListError, "not a regular file", read_ids, self.but, "user")

    def test_both(self) -> None:
        """Without lists everybody may come in; who is on both may not; an empty list lets nobody in."""
        self.assertEqual(self.allowed(Access("user")), [FIRST, SECOND, THIRD])
        self.assertFalse(Access("user").is_limited)
        self.write(self.but, SECOND)
        self.assertEqual(self.allowed(Access("user", but=self.but)), [FIRST, THIRD])
        self.write(self.only, FIRST, SECOND)
        access = Access("user", self.only, self.but)
        self.assertTrue(access.is_limited)
        self.assertEqual(self.allowed(access), [FIRST])
        self.write(self.only)
        self.assertEqual(self.allowed(Access("user", self.only)), [])

    def test_again(self) -> None:
        """Lists are read again both or neither: one that cannot be read leaves both as they were, in one line."""
        self.write(self.only, FIRST, SECOND)
        self.write(self.but, SECOND)
        access = Access("user", self.only, self.but)
        self.write(self.only, FIRST, SECOND, THIRD)
        self.write(self.but, "not an id")
        with self.assertLogs("socp.access", "ERROR") as logged:
            self.assertFalse(access.read_again())
        self.assertEqual(len(logged.output), 1)
        self.assertIn(f"{self.but}, line 1: 'not an id' is not a user id; who may come in stays", logged.output[0])
        self.assertEqual(self.allowed(access), [FIRST])
        self.write(self.but, THIRD)
        with self.assertLogs("socp.access", "INFO"):
            self.assertTrue(access.read_again())
        self.assertEqual(self.allowed(access), [FIRST, SECOND])
