"""Transfers in both directions at once; their two sides have tests of their own."""

from __future__ import annotations

import os

from sending import CHUNK_PLAIN
from tests.wire import WireTest


class TransfersTest(WireTest):
    """Several files at a time."""

    def test_both_directions(self) -> None:
        """Files that cross each other, of the same name too, all arrive whole."""
        contents = {number: os.urandom(CHUNK_PLAIN * number) for number in range(1, 7)}
        for number, content in contents.items():
            path = self.file(content, f"{number}.bin")
            self.alice.transfers.offer(self.bob.contact, path)
            self.bob.transfers.offer(self.alice.contact, path)
        for end in (self.alice, self.bob):
            for _ in range(2 * len(contents)):
                self.assert_done(end)
            received = {file.name: file.read_bytes() for file in end.files.iterdir()}
            self.assertEqual(received, {f"{number}.bin": content for number, content in contents.items()})

    def test_settled(self) -> None:
        """Whoever waits for transfers is told when none is under way any more."""
        self.offer(b"x")
        for end in (self.alice, self.bob):
            self.assert_done(end)
            self.wait_settled(end)

    def test_stopped(self) -> None:
        """After the end, files are neither sent nor received."""
        self.alice.end()
        with self.assertRaisesRegex(Exception, "this client is leaving"):
            self.offer(b"x")
        self.assertEqual(self.alice.transfers.active, 0)
