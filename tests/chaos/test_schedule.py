"""Tests of the schedule: it is decided by its seed, and stays within bounds."""

from __future__ import annotations

import unittest

from tests.chaos.schedule import LINK_KINDS, SERVER_KINDS, WEIGHTS, Fault, Shape, make_schedule

SHAPE = Shape()


class ScheduleTest(unittest.TestCase):
    """Schedules of some seeds."""

    def test_a_seed_decides(self) -> None:
        """The same seed gives the same schedule, and another one another."""
        self.assertEqual(make_schedule(7, 600, SHAPE, 5), make_schedule(7, 600, SHAPE, 5))
        self.assertNotEqual(make_schedule(7, 600, SHAPE, 5), make_schedule(8, 600, SHAPE, 5))

    def test_a_fault_every_few_seconds(self) -> None:
        """Nearly every interval has its fault, every kind comes, and all is over at the end."""
        for seed in range(5):
            faults = make_schedule(seed, 3600, SHAPE, 5)
            self.assertGreater(len(faults), 0.85 * 720)
            self.assertEqual({fault.kind for fault in faults}, set(WEIGHTS))
            self.assertLessEqual(max(fault.end for fault in faults), 3600)
            self.assertEqual(faults, sorted(faults, key=lambda fault: fault.at))

    def test_the_network_is_never_all_in_trouble(self) -> None:
        """At most two of five servers are in trouble at a time, and nothing has two faults at once."""
        faults = make_schedule(3, 3600, SHAPE, 5)
        for fault in faults:
            active = [other for other in faults if other.at <= fault.at < other.end]
            self.assertLessEqual(len(active), 6)
            self.assertLessEqual(sum(other.kind in SERVER_KINDS for other in active), 2)
            self.assertEqual(len({other.claim for other in active}), len(active))

    def test_some_silences_outlast_the_timer(self) -> None:
        """Some programs are stopped, and some links are black, for longer than a link may be silent."""
        faults = make_schedule(3, 3600, SHAPE, 5)
        self.assertGreater(sum(fault.lasts > 45 for fault in faults), 20)
        scaled = make_schedule(3, 360, Shape(factor=0.1), 0.5)
        self.assertLess(max(fault.lasts for fault in scaled), 7)

    def test_small_networks(self) -> None:
        """One server alone is left alone, and so is what needs two."""
        kinds = {fault.kind for fault in make_schedule(1, 3600, Shape(servers=1, clients=2), 5)}
        self.assertFalse(kinds & {*SERVER_KINDS, "cut-servers", "slow-servers", "lose-servers"})
        self.assertTrue(kinds & set(LINK_KINDS))

    def test_it_reads_well(self) -> None:
        """A fault says when, what, to whom and how long."""
        fault = Fault(12.34, "slow-servers", ("s1", "s2"), 5, 0.5)
        self.assertEqual(str(fault), "   12.3 s  slow-servers s1 s2 for 5.0 s, 0.50 s slower")
