"""The flags of limits: each sets its own, says its default, and refuses what it does not allow."""

from __future__ import annotations

import argparse
import contextlib
import io
import unittest
from dataclasses import asdict, replace
from pathlib import Path

import socp
from flags import FLAGS, User, add_flags, default, with_flags
from framing import USER_BODY_MOST, encode_frame
from handshake import new_nonce
from quantities import Unit, written
from settings import Limits, Settings, Timers
from tests.peer import membership
from tests.vectors import key

README = (Path(__file__).resolve().parents[1] / "README.md").read_text("utf-8")


def parse(*words: str, user: User = User.SERVER, settings: Settings | None = None) -> Settings:
    """Return what a program is run with that is given these words."""
    parser = argparse.ArgumentParser(prog="test", allow_abbrev=False)
    add_flags(parser, user)
    return with_flags(settings or Settings(), parser.parse_args(words))


def all_of(settings: Settings) -> dict[str, object]:
    """Return every limit, and every timer in brackets, by its name."""
    return {**asdict(settings.limits), **{f"({name})": value for name, value in asdict(settings.timers).items()}}


class FlagsTest(unittest.TestCase):
    """The table, and what is made of it."""

    def test_none_given(self) -> None:
        """Without a flag, a program runs with what it was given, and else with the defaults."""
        own = Settings(replace(Timers(), frame=0.1), replace(Limits(), seen=3), penalties=False)
        self.assertEqual(parse(settings=own), own)
        self.assertEqual(parse(), Settings())

    def test_each(self) -> None:
        """Each flag changes its own limit or time and no other, whatever the settings say."""
        for flag in FLAGS:
            user = User.SERVER if User.SERVER in flag.users else User.INTRODUCER
            found = all_of(parse(f"--{flag.name}", written(flag.unit, flag.least), user=user))
            changed = {name: value for name, value in found.items() if value != all_of(Settings())[name]}
            field = f"({flag.field})" if flag.unit is Unit.TIME else flag.field
            self.assertEqual(changed, {field: flag.least}, flag.name)

    def test_defaults_are_allowed(self) -> None:
        """What holds without a flag can be given with it."""
        for flag in FLAGS:
            value = written(flag.unit, default(flag))
            user = User.SERVER if User.SERVER in flag.users else User.INTRODUCER
            self.assertEqual(parse(f"--{flag.name}", value, user=user), Settings(), flag.name)

    def test_penalties(self) -> None:
        """--no-penalties does what it says."""
        self.assertTrue(parse().penalties)
        self.assertFalse(parse("--no-penalties").penalties)

    def test_introducer(self) -> None:
        """An introducer has the flags of links, and none of users."""
        self.assertEqual(parse("--max-handshakes", "3", user=User.INTRODUCER).limits.handshakes, 3)
        self.assertIn("unrecognized arguments", self.refused("--max-users", "3", user=User.INTRODUCER))

    def test_values(self) -> None:
        """Sizes have suffixes, times have fractions."""
        self.assertEqual(parse("--max-queue", "3M").limits.queue, 3 * 1024**2)
        self.assertEqual(parse("--max-mail-size", "2G").limits.mailboxes_bytes, 2 * 1024**3)
        self.assertEqual(parse("--max-user-frame", "200000").limits.frame_user, 200_000)
        self.assertEqual(parse("--frame-time", "2.5").timers.frame, 2.5)

    def test_room_for_honest_frames(self) -> None:
        """However small an operator makes frames, what honest peers send at least passes."""
        least = {flag.field: flag.least for flag in FLAGS}
        hello = {"pubkey": key("alice").public.text, "nonce": new_nonce(), "client": "x", "meta": {"x": "x" * 4000}}
        link = {"pubkey": key("server").public.text, "nonce": new_nonce(), "memberships": [membership("server")] * 3}
        for payload in (hello, link):
            frame = encode_frame(socp.make_envelope("A_HELLO", key("alice").id, "*", socp.now_ms(), payload))
            self.assertLess(len(frame), least["frame_stranger"])
        self.assertLess(max(socp.BROADCAST_FRAME_MOST, 2 * socp.SEALED_TEXT_MOST), least["frame_user"])
        self.assertLessEqual(max(USER_BODY_MOST, Limits().sync_bytes), least["frame_server"])

    def test_wrong_values(self) -> None:
        """What is not allowed is refused with what is."""
        for name, value, allowed in (
            ("max-users", "many", "'many' is not a whole number, from 0 to 1000000000"),
            ("max-users", "-1", "'-1' is not a whole number"),
            ("max-users", "5k", "'5k' is not a whole number"),
            ("max-handshakes", "0", "from 1 to 1000000000"),
            ("max-handshakes", "٣", "is not a whole number"),
            ("max-frame", "2M", "'2M' is not a number of bytes, as 500k, from 768k to 1M"),
            ("max-queue", "1.5M", "is not a number of bytes"),
            ("frame-time", "0.5", "'0.5' is not seconds, as 2.5, from 1 to 86400"),
            ("frame-time", "nan", "is not seconds"),
            ("frame-time", "1e3", "is not seconds"),
        ):
            with self.subTest(name=name, value=value):
                self.assertIn(allowed, self.refused(f"--{name}={value}"))

    def refused(self, *words: str, user: User = User.SERVER) -> str:
        """Return what is said about words that are refused."""
        said = io.StringIO()
        with self.assertRaises(SystemExit) as caught, contextlib.redirect_stderr(said):
            parse(*words, user=user)
        self.assertEqual(caught.exception.code, 2)
        return said.getvalue()

    def test_readme(self) -> None:
        """The README tells each flag with its default."""
        for flag in FLAGS:
            value = written(flag.unit, default(flag)) + (" s" if flag.unit is Unit.TIME else "")
            self.assertRegex(README, rf"(?m)^\| `--{flag.name} {flag.unit.value}` \| `?{value}`? \|")
        self.assertIn("| `--no-penalties` |", README)
