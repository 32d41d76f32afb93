"""What may wait on all links together."""

from __future__ import annotations

import unittest

from budget import Budget


class Link:
    """Something that can be closed, and then has nothing waiting any more."""

    def __init__(self, budget: Budget, name: str, size: int) -> None:
        self.name = name
        self.closed = False
        self._budget = budget
        budget.note(self, size)

    def abort(self) -> None:
        """Close it."""
        self.closed = True
        self._budget.note(self, 0)


class BudgetTest(unittest.TestCase):
    """Links that have something waiting."""

    def test_fullest(self) -> None:
        """When all have too much together, the fullest is closed, and only as many as must be."""
        budget = Budget(100)
        links = [Link(budget, str(size), size) for size in (20, 50, 30)]
        budget.keep()
        self.assertEqual([link.closed for link in links], [False, False, False])
        budget.note(links[2], 31)
        with self.assertLogs("socp.budget", "WARNING"):
            budget.keep()
        budget.keep()
        self.assertEqual([link.closed for link in links], [False, True, False])
        budget.note(links[0], 70)
        with self.assertLogs("socp.budget", "WARNING"):
            budget.keep()
        self.assertEqual([link.closed for link in links], [True, True, False])
