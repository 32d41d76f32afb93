"""What is remembered of transfers while the program runs."""

from __future__ import annotations

import unittest

from finished import RecentTransfers


class RecentTransfersTest(unittest.TestCase):
    """The memory that goes with the program."""

    def test_remembered(self) -> None:
        """A transfer is known by its sender and its file_id."""
        recent = RecentTransfers(2)
        recent.add("alice", "1", "complete", "aa")
        self.assertEqual(recent.get("alice", "1"), ("complete", "aa"))
        self.assertIsNone(recent.get("bob", "1"))
        self.assertIsNone(recent.get("alice", "2"))

    def test_bounded(self) -> None:
        """The oldest is forgotten first."""
        recent = RecentTransfers(2)
        for file_id in "123":
            recent.add("alice", file_id, "failed", "aa")
        self.assertEqual([recent.get("alice", file_id) is None for file_id in "123"], [True, False, False])
