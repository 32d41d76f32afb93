"""What goes wrong, when, to whom and for how long: all of it decided by a seed before anything starts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

# How often each kind comes, compared with the others.
SERVER_KINDS = {"kill-server": 4, "stop-server": 2, "restart-server": 2, "fill-disk": 2, "break-disk": 1}
CLIENT_KINDS = {"kill-client": 4, "stop-client": 2, "break-client-disk": 1}
PAIR_KINDS = {"cut-servers": 2, "slow-servers": 1, "lose-servers": 2}
LINK_KINDS = {"cut-client": 2, "slow-client": 1, "lose-client": 2, "mute-client": 1}
WEIGHTS = {**SERVER_KINDS, **CLIENT_KINDS, **PAIR_KINDS, **LINK_KINDS, "kill-introducers": 1}
# Those of which some outlast the time after which a silent link is dead.
_SILENT = {"stop-server", "stop-client", "lose-servers", "lose-client", "mute-client"}
_SILENCE = 45.0
EVERYWHERE = "*"


@dataclass(frozen=True)
class Shape:
    """How large a network is, and how its timers are scaled."""

    servers: int = 5
    clients: int = 20
    introducers: int = 2
    factor: float = 1.0

    @property
    def server_names(self) -> list[str]:
        """The servers: s1, s2 ..."""
        return [f"s{number + 1}" for number in range(self.servers)]

    @property
    def client_names(self) -> list[str]:
        """The clients: c01, c02 ..."""
        return [f"c{number + 1:02}" for number in range(self.clients)]

    @property
    def introducer_names(self) -> list[str]:
        """The introducers: i1, i2 ..."""
        return [f"i{number + 1}" for number in range(self.introducers)]

    def servers_of(self, client: str, count: int) -> list[str]:
        """Return the first servers that a client is told of, its own first."""
        names = self.server_names
        home = int(client[1:]) - 1
        return [names[(home + step) % len(names)] for step in range(min(count, len(names)))]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, and is made good again.

    Args:
        at: seconds from the beginning.
        kind: a key of WEIGHTS.
        whom: a server, a client, two servers, a client and its server (or EVERYWHERE), or the introducers.
        lasts: seconds.
        delay: seconds that a slow link takes longer.
    """

    at: float
    kind: str
    whom: tuple[str, ...]
    lasts: float
    delay: float = 0.0

    @property
    def claim(self) -> str:
        """What nothing else happens to meanwhile: a program, a link between servers, or all links of a client."""
        if self.kind in LINK_KINDS:
            return f"{self.whom[0]} links"
        return " ".join(self.whom)

    @property
    def end(self) -> float:
        """When it is over."""
        return self.at + self.lasts

    def __str__(self) -> str:
        slowly = f", {self.delay:.2f} s slower" if self.delay else ""
        return f"{self.at:7.1f} s  {self.kind} {' '.join(self.whom)} for {self.lasts:.1f} s{slowly}"


def make_schedule(seed: int, seconds: float, shape: Shape, every: float) -> list[Fault]:
    """Return the faults of a run, the same ones for the same arguments.

    Fewer than half of the servers are in trouble at a time, and only so many faults last at once.

    Args:
        seed: what decides.
        seconds: when everything is over.
        shape: the network.
        every: seconds between two faults.
    """
    rng = random.Random(seed)
    most = max(3, (shape.servers + shape.clients) // 4)
    faults: list[Fault] = []
    for number in range(int(seconds / every)):
        at = (number + rng.uniform(0.25, 0.75)) * every
        active = [fault for fault in faults if fault.end > at]
        if len(active) >= most:
            continue
        for kind in _shuffled(rng):
            fault = _make(rng, kind, at, shape, active)
            if fault is not None:
                lasts = min(fault.lasts, seconds - at)
                faults.append(Fault(fault.at, fault.kind, fault.whom, lasts, fault.delay))
                break
    return faults


def _shuffled(rng: random.Random) -> Iterator[str]:
    """Return all kinds, those that weigh more rather earlier."""
    left = dict(WEIGHTS)
    while left:
        kind = rng.choices(list(left), list(left.values()))[0]
        del left[kind]
        yield kind


def _make(rng: random.Random, kind: str, at: float, shape: Shape, active: list[Fault]) -> Fault | None:
    """Return a fault of one kind, or None when there is nobody left whom it could happen to."""
    whom = _choose(rng, kind, shape)
    lasts = max(0.2, _duration(rng, kind) * shape.factor)
    delay = rng.uniform(0.05, 2.0) * max(shape.factor, 0.1) if kind.startswith("slow") else 0.0
    if whom is None:
        return None
    fault = Fault(at, kind, whom, lasts, delay)
    if any(fault.claim == other.claim for other in active):
        return None
    troubled = sum(other.kind in SERVER_KINDS for other in active)
    if kind in SERVER_KINDS and troubled >= (shape.servers - 1) // 2:
        return None
    return fault


def _choose(rng: random.Random, kind: str, shape: Shape) -> tuple[str, ...] | None:
    servers, clients = shape.server_names, shape.client_names
    if kind in SERVER_KINDS:
        return (rng.choice(servers),)
    if kind in CLIENT_KINDS:
        return (rng.choice(clients),)
    if kind in PAIR_KINDS:
        return tuple(sorted(rng.sample(servers, 2))) if len(servers) > 1 else None
    if kind in LINK_KINDS:
        client = rng.choice(clients)
        # Where it mostly is, where it goes then, or wherever it may be.
        return client, rng.choice([*shape.servers_of(client, 2), EVERYWHERE])
    return tuple(shape.introducer_names)


def _duration(rng: random.Random, kind: str) -> float:
    if kind in _SILENT and rng.random() < 0.25:
        return rng.uniform(1.1, 1.5) * _SILENCE
    return rng.uniform(0.5, 20.0)
