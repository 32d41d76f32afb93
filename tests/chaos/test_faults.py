"""Tests of faults, of a network that is small: what a schedule asks for happens, and is made good again."""

from __future__ import annotations

import contextlib
import resource
import signal
import unittest
from typing import ClassVar

from tests.chaos.faults import KINDS, can_fill_disks
from tests.chaos.ledger import Ledger
from tests.chaos.schedule import WEIGHTS, Fault, Shape
from tests.chaos.world import World
from tests.e2e.harness import FAST, PATIENCE


class FaultsTest(unittest.TestCase):
    """One server and one client."""

    world: ClassVar[World]

    @classmethod
    def setUpClass(cls) -> None:
        """Start them."""
        cls.world = World(Shape(1, 1, 1, FAST), Ledger(), lambda _: None)
        cls.addClassCleanup(lambda: cls.world.close(keep=False))
        cls.world.start()

    def happening(self, kind: str, *whom: str) -> contextlib.AbstractContextManager[None]:
        """Have a fault happen, for as long as this lasts."""
        return KINDS[kind](self.world, Fault(0, kind, whom, 0))

    def test_every_kind_can_happen(self) -> None:
        """Whatever a schedule may ask for is there."""
        self.assertEqual(set(KINDS), set(WEIGHTS))

    def test_killed_and_begun_again(self) -> None:
        """Programs are ended, by force or in order, and run again."""
        for kind, name in (("kill-client", "c01"), ("kill-introducers", "i1"), ("restart-server", "s1")):
            with self.subTest(kind):
                before = self.world.parts[name].program
                assert before is not None
                with self.happening(kind, name):
                    self.assertIsNone(self.world.parts[name].program)
                self.assertIsNotNone(before.process.poll())
                after = self.world.parts[name].program
                assert after is not None
                self.assertIsNone(after.process.poll())
        self.assertIsNotNone(self.world.wait_ready("c01", PATIENCE))
        self.assertEqual(self.world.problems, [])

    @unittest.skipUnless(can_fill_disks(), "this system does not let one process limit the files of another")
    def test_disk_broken_and_mended(self) -> None:
        """A server can write nothing for a while, and then as much as before."""
        program = self.world.parts["s1"].program
        assert program is not None

        def limit() -> int:
            return resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE)[0]

        before = limit()
        with self.happening("break-disk", "s1"):
            self.assertEqual(limit(), 0)
        self.assertEqual(limit(), before)

    def test_client_cut_and_connected_again(self) -> None:
        """A client whose links are cut says so, and is back when they are healed."""
        program = self.world.wait_ready("c01", PATIENCE)
        assert program is not None
        mark = program.mark()
        with self.happening("cut-client", "c01", "*"):
            program.expect(r"\[Server\] connection lost", after=mark)
        program.expect(r"\[Server\] connected again", after=mark)

    def test_an_end_of_its_own(self) -> None:
        """A program that ends by itself is a problem, and is started again."""
        program = self.world.wait_ready("c01", PATIENCE)
        assert program is not None
        program.signal(signal.SIGKILL)
        program.wait()
        part = self.world.parts["c01"]
        with part.changed:
            begun = part.changed.wait_for(lambda: part.program not in (None, program) and part.ready, PATIENCE)
        self.assertTrue(begun)
        self.assertIn("c01 ended by itself with -9", self.world.problems.pop())
