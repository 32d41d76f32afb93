"""Whose files are taken, and whose are asked about."""

from __future__ import annotations

import unittest

from offers import OfferPolicy
from optiontable import ALL, CONTACTS, NONE
from receiving import Verdict


class PolicyTest(unittest.TestCase):
    """Offers of a contact, and of somebody else."""

    def test_all(self) -> None:
        """Each setting decides for contacts and others, with a person to ask and without."""
        accept, ask, reject = Verdict.ACCEPT, Verdict.ASK, Verdict.REJECT
        for accept_from, can_ask, expected in (
            (ALL, True, (accept, accept)),
            (ALL, False, (accept, accept)),
            (CONTACTS, True, (accept, ask)),
            (CONTACTS, False, (accept, reject)),
            (NONE, True, (ask, ask)),
            (NONE, False, (reject, reject)),
        ):
            with self.subTest(accept_from=accept_from, can_ask=can_ask):
                policy = OfferPolicy(accept_from, lambda user: user == "contact", can_ask=can_ask)
                self.assertEqual(tuple(policy(sender, "x", 5) for sender in ("contact", "stranger")), expected)
