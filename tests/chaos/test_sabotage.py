"""Shows that the checker notices: programs that are broken on purpose turn a run red, and whole ones do not."""

from __future__ import annotations

import unittest

from tests.chaos import ledger
from tests.chaos.run import Outcome, Plan, run
from tests.chaos.sabotage import sabotage
from tests.chaos.schedule import EVERYWHERE, Fault, Shape

SHAPE = Shape(servers=1, clients=2, introducers=1, factor=0.05)


class SabotageTest(unittest.TestCase):
    """Short runs of real processes."""

    def run_with(self, what: str, faults: list[Fault]) -> tuple[Outcome, set[str]]:
        """Return what came of a run, and under which headings something is wrong."""
        environment = {"TEST_SABOTAGE": what} if what else {}
        plan = Plan(1, 4.0, SHAPE, faults, rate=8.0, environment=environment, drain=30.0, keep=False)
        outcome = run(plan, lambda _: None)
        self.assertGreater(outcome.account.counts["shown"], 10)
        return outcome, {heading for heading, pieces in outcome.account.bad.items() if pieces}

    # What the recipient sends is lost, receipts too: the sender sends again, after 1.5 s and when it comes back.
    MUTED = Fault(0.5, "mute-client", ("c01", EVERYWHERE), 2.0)

    def test_nothing_is_broken(self) -> None:
        """Whole programs pass, though receipts are lost."""
        outcome, _ = self.run_with("", [self.MUTED])
        self.assertTrue(outcome.green, "\n".join(outcome.report()))

    def test_a_message_that_is_confirmed_and_not_shown(self) -> None:
        """A client that drops what it confirms is noticed, by that alone."""
        outcome, bad = self.run_with("drop:5", [])
        self.assertEqual(bad, {ledger.UNSEEN}, "\n".join(outcome.report()))

    def test_a_client_that_forgets_what_it_has_shown(self) -> None:
        """A client that shows again what is sent again is noticed, by that alone."""
        outcome, bad = self.run_with("forget", [self.MUTED])
        self.assertEqual(bad, {ledger.TWICE}, "\n".join(outcome.report()))

    def test_sabotage_that_breaks_nothing(self) -> None:
        """A sabotage that does not exist is an error, and does not pass for one that nobody notices."""
        with self.assertRaises(ValueError):
            sabotage("nothing")
