"""Memberships."""

from __future__ import annotations

import unittest
from dataclasses import replace

import socp
from addresses import Address
from crypto.signing import KeySigner
from membership import check_announce, check_host, issue, newest, read_membership
from origin import Origin
from socp import BAD_ENVELOPE, BAD_KEY, INVALID_SIG, NOT_ALLOWED, ProtocolError
from tests.sockets import EVERYWHERE
from tests.vectors import cases, key, load

NOW = 1_700_000_000_000
MINUTE = 60 * 1000
DAY = 24 * 60 * 60 * 1000
PINS = {key("introducer").id: key("introducer").public}
ADDRESS = Address("127.0.0.1", 9001)


class MembershipTest(unittest.TestCase):
    """What an introducer states, and who believes it."""

    def test_vectors(self) -> None:
        """Each membership of the vectors is accepted, or NOT_ALLOWED."""
        now = load("membership")["now"]
        for case in cases("membership", 7):
            with self.subTest(case["why"]):
                if case["valid"]:
                    self.assertEqual(read_membership(case["membership"], PINS, now).to_wire(), case["membership"])
                else:
                    with self.assertRaises(ProtocolError) as caught:
                        read_membership(case["membership"], PINS, now)
                    self.assertEqual(caught.exception.code, NOT_ALLOWED)

    def test_issue(self) -> None:
        """What an introducer issues is read again as the same, until the millisecond in which it expires."""
        issued = issue(KeySigner(key("introducer")), key("server").public, ADDRESS, NOW, 7 * DAY)
        self.assertEqual(read_membership(issued.to_wire(), PINS, NOW + 7 * DAY - 1).to_wire(), issued.to_wire())
        self.assertEqual(issued.renewal, NOW + 7 * DAY // 2)
        with self.assertRaises(ProtocolError):
            read_membership(issued.to_wire(), PINS, NOW + 7 * DAY)

    def test_beyond_its_time(self) -> None:
        """A membership that was issued in the future, or lasts for longer than any may, is NOT_ALLOWED."""
        for issued, lifetime, good in (
            (NOW + 5 * MINUTE, 7 * DAY, True),
            (NOW + 5 * MINUTE + 1, DAY, False),
            (NOW, 7 * DAY + 1, False),
            (2**52, 2**51, False),
        ):
            value = issue(KeySigner(key("introducer")), key("server").public, ADDRESS, issued, lifetime).to_wire()
            if good:
                read_membership(value, PINS, NOW)
                continue
            with self.assertRaisesRegex(ProtocolError, "NOT_ALLOWED: a membership of the future"):
                read_membership(value, PINS, NOW)

    def test_ill_typed(self) -> None:
        """A membership with a field missing, ill-typed, or a host that nobody can dial is NOT_ALLOWED."""
        good = issue(KeySigner(key("introducer")), key("server").public, ADDRESS, NOW, DAY).to_wire()
        changes: list[dict[str, object]] = [{name: None} for name in good]
        changes += [
            {"host": EVERYWHERE},
            {"host": "a b"},
            {"port": 0},
            {"pubkey": "junk"},
            {"expires": 2**53},
        ]
        for change in changes:
            with self.subTest(change=change), self.assertRaises(ProtocolError) as caught:
                read_membership({**good, **change}, PINS, NOW)
            self.assertEqual(caught.exception.code, NOT_ALLOWED)

    def test_newest(self) -> None:
        """Of several memberships the one issued last counts."""
        first = issue(KeySigner(key("introducer")), key("server").public, ADDRESS, NOW, DAY)
        second = replace(first, issued=NOW + 1)
        self.assertEqual(newest([second, first]), second)
        self.assertIsNone(newest([]))

    def test_hosts(self) -> None:
        """Wildcard addresses and what is no host are refused, as BAD_ENVELOPE."""
        for host in ("127.0.0.1", "::1", "fe80::1%eth0", "example.org", "localhost", "xn--bcher-kva.example"):
            check_host(host)
        for host in ("", EVERYWHERE, "::", "0", "*", "::0", "0:0:0:0:0:0:0:0", "a/b", "a b", "-x.org", "\u00e9.org"):
            with self.subTest(host=host), self.assertRaises(ProtocolError) as caught:
                check_host(host)
            self.assertEqual(caught.exception.code, BAD_ENVELOPE)


class AnnounceTest(unittest.TestCase):
    """SERVER_ANNOUNCE."""

    def announce(self, server: str = "server", **change: object) -> socp.Envelope:
        """Return an announcement, with fields changed before it is signed."""
        membership = issue(KeySigner(key("introducer")), key("server").public, ADDRESS, socp.now_ms(), DAY)
        payload = {
            "host": ADDRESS.host,
            "port": ADDRESS.port,
            "pubkey": key(server).public.text,
            "membership": membership.to_wire(),
            **change,
        }
        origin = Origin(KeySigner(key(server)))
        return socp.read_envelope(origin.signed(socp.SERVER_ANNOUNCE, socp.EVERYONE, payload))

    def refused(self, envelope: socp.Envelope, code: str) -> None:
        """Have an announcement refused."""
        with self.assertRaises(ProtocolError) as caught:
            check_announce(envelope, PINS)
        self.assertEqual(caught.exception.code, code)

    def test_accepted(self) -> None:
        """An announcement that proves itself tells where the server is."""
        self.assertEqual(check_announce(self.announce(), PINS).address, ADDRESS)

    def test_refused(self) -> None:
        """Another's membership, key, address or signature is refused, each by its code."""
        self.refused(self.announce("server2"), NOT_ALLOWED)
        self.refused(self.announce(pubkey=key("server2").public.text), BAD_KEY)
        self.refused(self.announce(port=9002), BAD_ENVELOPE)
        self.refused(self.announce(membership={}), NOT_ALLOWED)
        good = self.announce()
        self.refused(replace(good, ts=good.ts + 1), INVALID_SIG)
        self.refused(replace(good, sig=""), INVALID_SIG)
