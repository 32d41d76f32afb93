"""The settings, against the times and limits that PROTOCOL.md names."""

from __future__ import annotations

import unittest
from dataclasses import fields

from settings import Limits, Settings, Timers


class SettingsTest(unittest.TestCase):
    """Defaults, and shrinking them."""

    def test_times_of_the_protocol(self) -> None:
        """The defaults are those of PROTOCOL.md, in seconds."""
        timers = Settings().timers
        self.assertEqual((timers.handshake, timers.frame, timers.probe), (10, 30, 3))
        self.assertEqual((timers.heartbeat, timers.silence, timers.lost_after), (15, 45, 45))
        self.assertEqual((timers.retry_first, timers.retry_most, timers.dial_grace), (1, 60, 10))
        self.assertEqual((timers.presence, timers.seen, timers.full), (1, 600, 10))
        self.assertEqual((timers.offer, timers.stall, timers.resume), (600, 60, 600))

    def test_limits_of_the_protocol(self) -> None:
        """The defaults are those of PROTOCOL.md, in bytes, milliseconds and counts."""
        limits, day = Limits(), 24 * 60 * 60 * 1000
        self.assertEqual((limits.clock_skew, limits.message_age), (5 * 60 * 1000, day))
        self.assertEqual((limits.shown_age, limits.membership), (8 * day, 7 * day))
        self.assertEqual((limits.queue, limits.sync_bytes), (8 * 1024**2, 512 * 1024))
        self.assertEqual((limits.file_bytes, limits.transfer_window, limits.transfer_ack), (1024**3, 1024**2, 2**18))
        self.assertEqual(limits.transfers, 4)
        self.assertEqual((limits.mailbox, limits.mailbox_bytes, limits.mail_age), (1000, 16 * 1024**2, 7 * day))
        self.assertEqual((limits.mailbox_of_one, limits.mailbox_of_one_bytes), (100, 2 * 1024**2))
        self.assertEqual(limits.unacknowledged, 64)

    def test_scaled(self) -> None:
        """Every time is multiplied, and no other changes."""
        half = Timers().scaled(0.5)
        for entry in fields(Timers):
            self.assertEqual(getattr(half, entry.name), getattr(Timers(), entry.name) / 2)
