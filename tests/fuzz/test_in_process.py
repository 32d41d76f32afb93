"""The fuzzer in process: that it finds what is planted, says how to have it again, and finds nothing else."""

from __future__ import annotations

import logging
import threading
import unittest
from collections.abc import Callable
from unittest import mock

from delivery import Delivery
from inbox import Inbox
from mesh import Mesh
from routing import RoutingTable
from tests.fuzz import in_process
from tests.fuzz.client_corners import ClientCorners
from tests.fuzz.client_world import ClientWorld
from tests.fuzz.in_process import Found, Tally, run_round
from tests.fuzz.server_corners import ServerCorners
from tests.fuzz.stage import Blocked, BugNoticed, Turns, no_bugs
from tests.fuzz.world import World
from tests.fuzz.worlds import ServerWorld

_SEED = 3


class RoundTest(unittest.TestCase):
    """One round, of few inputs."""

    def test_nothing_found(self) -> None:
        """A round of each size of limits ends well, with no thread left, and is counted."""
        before = threading.active_count()
        tally = in_process.run(_SEED, rounds=range(2), size=90)
        self.assertEqual((tally.inputs, tally.rounds), (180, 2))
        self.assertGreater(tally.whole, 90)
        self.assertEqual(threading.active_count(), before)

    def test_again(self) -> None:
        """A round by itself does the same as after others."""
        tallies = [Tally(), Tally()]
        for tally in tallies:
            run_round(_SEED, 1, 60, tally)
        self.assertEqual(*tallies)

    def test_corners(self) -> None:
        """Every script of frames can be played at any time: nothing is found, and inputs are taken behind it."""
        tally = Tally()

        def play(world: World) -> None:
            if isinstance(world, ServerWorld):
                server = ServerCorners(world)
                for corner in server.all:
                    server.play_one(corner)
            elif isinstance(world, ClientWorld):
                client = ClientCorners(world)
                for corner in client.all:
                    client.play_one(corner)
            world.check()

        for number in range(2):
            run_round(_SEED, number, 30, tally, spoil=play)
        self.assertEqual(tally.rounds, 2)

    def found(self, target: object, name: str, bug: Callable[..., object]) -> str:
        """Have a method misbehave, and return what the fuzzer says of that."""
        with mock.patch.object(target, name, bug), self.assertRaises(Found) as caught:
            in_process.run(_SEED, rounds=range(2), size=150)
        self.assertRegex(str(caught.exception), rf"seed {_SEED}, round \d+, input \d+, [A-Z_]+ of a .*: b")
        return str(caught.exception)

    def test_planted(self) -> None:
        """An exception of any handler is found: a server's for users, for servers, and a client's."""
        for target, name in ((Delivery, "take_direct"), (Mesh, "take_announce"), (Inbox, "take_broadcast")):
            with self.subTest(name):
                self.assertIn("KeyError: 'planted'", self.found(target, name, _raise_key_error))

    def test_kept(self) -> None:
        """A table that grows over its limit is found."""

        def spoil(world: World) -> None:
            if isinstance(world, ServerWorld):
                world.mesh._known.update(dict.fromkeys(map(str, range(2000))))  # type: ignore[arg-type]

        with self.assertRaisesRegex(Found, "2000 servers are kept|200. servers are kept"):
            run_round(_SEED, 1, 30, Tally(), spoil=spoil)

    def test_blocked(self) -> None:
        """A handler that does not come back is found."""
        with mock.patch.object(in_process, "_PATIENCE", 0.2):
            said = self.found(RoutingTable, "route", lambda *_: threading.Event().wait())
        self.assertIn("nothing has come of it for 0.2 s", said)


def _raise_key_error(*_: object) -> None:
    raise KeyError("planted")


class StageTest(unittest.TestCase):
    """What stands under the programs."""

    def test_threads_without_end(self) -> None:
        """Threads that start each other for ever are noticed."""
        turns = Turns()

        def again() -> None:
            turns.start("again", again)

        again()
        self.assertRaises(Blocked, turns.turn)

    def test_caught_bug(self) -> None:
        """A bug that a program has caught itself, and says in its log, is one all the same."""
        with self.assertRaisesRegex(BugNoticed, "an alarm failed"), no_bugs():
            logging.getLogger("socp.threads").critical("an alarm failed")
