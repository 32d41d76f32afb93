"""The load: for each client, one who types messages to the others, and waits for the answer to each."""

from __future__ import annotations

import random
import threading
import time

from tests.chaos.world import World

# Seconds: a client may be stopped for longer than a link may be silent, and the machine is busy.
_ANSWER = 60.0
_STOPPED = 70.0
# Of what a client could not type while it was away, so much is made good, and the rest is not.
_BEHIND = 30.0
# A server that is busy with everybody's questions may answer one too late for scaled timers.
_TRIES = 5
_PADDED = 0.2  # the share of messages that are longer
_PADDING = 400


class Talker:
    """Types for one client.

    Args:
        world: the network.
        name: the client.
        rate: messages a second.
        seed: of the choice of recipients.
    """

    def __init__(self, world: World, name: str, rate: float, seed: int) -> None:
        self._world = world
        self._name = name
        self._interval = 1 / rate
        self._random = random.Random(f"{seed} {name}")
        self._others = [other for other in world.shape.client_names if other != name]
        self._sequence = 0
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._stopped = threading.Event()

    def meet(self) -> bool:
        """Send everybody a message, so that later ones can be sent while disconnected; False if that cannot be."""
        return all(any(self._tell(other) for _ in range(_TRIES)) for other in self._others)

    def start(self) -> None:
        """Begin to type."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end after the message that it is at."""
        self._stopped.set()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()

    def _talk(self) -> None:
        due = time.monotonic() + self._random.uniform(0, self._interval)
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            if self._world.wait_ready(self._name, 1.0) is not None:
                self._tell(self._random.choice(self._others))
                due = max(due + self._interval, time.monotonic() - _BEHIND)

    def _tell(self, recipient: str) -> bool:
        """Type a message and wait for the answer; False when it was not taken."""
        program = self._world.wait_ready(self._name, _ANSWER)
        if program is None:
            return False
        self._sequence += 1
        padding = self._random.randrange(_PADDING) if self._random.random() < _PADDED else 0
        ledger = self._world.ledger
        entry = ledger.typing(self._name, self._sequence, recipient, padding)
        try:
            program.type(f"/tell {self._world.parts[recipient].id} {entry.text}")
        except (OSError, ValueError):  # it was killed in this moment; ValueError: its input is closed already
            ledger.cut(entry)
        ledger.wait_answer(entry, _ANSWER + _STOPPED * self._world.shape.factor)
        return entry.number is not None


class Load:
    """A talker for each client of a network, or for some.

    Args:
        world: the network.
        rate: messages a second of each.
        seed: of all choices.
        names: who talks; without it, everybody.
    """

    def __init__(self, world: World, rate: float, seed: int, names: list[str] | None = None) -> None:
        self.talkers = [Talker(world, name, rate, seed) for name in names or world.shape.client_names]

    def meet(self) -> None:
        """Have everybody send everybody a message.

        Raises:
            AssertionError: somebody could not.
        """
        met: list[bool] = []
        threads = [
            threading.Thread(target=lambda one=talker: met.append(one.meet()), daemon=True) for talker in self.talkers
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(met), "not everybody could send everybody a message before anything went wrong"

    def start(self) -> None:
        """Have everybody begin to talk."""
        for talker in self.talkers:
            talker.start()

    def stop(self) -> None:
        """Have everybody end, and wait for that."""
        for talker in self.talkers:
            talker.stop()
        for talker in self.talkers:
            talker.join()
