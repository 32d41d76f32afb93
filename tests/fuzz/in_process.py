"""Fuzzing in process: each input is read, or raises the documented error, and nothing else happens.

The inputs come in rounds. Each has programs of its own, so that what has failed can be had again by its seed and the
number of its round alone.
"""

from __future__ import annotations

import contextlib
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import socp
from framing import FROM_SERVER, FROM_STRANGER, FROM_USER, BodyLimit, FrameBuffer, decode_frame
from mail import read_mail
from membership import check_announce, read_membership
from messages import check_broadcast, read_manifest
from settings import Settings
from socp import Envelope, ProtocolError
from tests.fuzz.client_world import ClientWorld
from tests.fuzz.grammar import NOW, ROLES
from tests.fuzz.inputs import Input, Inputs
from tests.fuzz.stage import Blocked, no_bugs, stage
from tests.fuzz.world import AMPLE, TIGHT, World
from tests.fuzz.worlds import IntroducerWorld, ServerWorld
from tests.vectors import key
from users import read_user

ROUND = 600  # inputs
_PATIENCE = 20.0  # seconds for one input, which takes some milliseconds
_DISTURBED_SHARE = 0.1
_SCENES_SHARE = 0.15

_PINS = {key("introducer").id: key("introducer").public}


class Found(Exception):
    """Raised for what should not have happened; says of which input, so that it can be had again."""


@dataclass
class Tally:
    """What was done."""

    inputs: int = 0
    whole: int = 0
    rounds: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)


@contextlib.contextmanager
def watched(seed: int, number: int, made: Input) -> Iterator[None]:
    """Have an input that is not taken as it should be told of, with all that it takes to have it again.

    Raises:
        Found: an exception came out, or nothing did for too long.
    """
    in_main = threading.current_thread() is threading.main_thread()
    try:
        if in_main:
            signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
        yield
    except (Exception, Blocked) as error:
        what = f"{type(error).__name__}: {error}"
        raise Found(f"seed {seed}, round {number}, {made}\n{what}") from error
    finally:
        if in_main:
            signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def _alarmed() -> Iterator[None]:
    """Have what takes too long be given up, where that can be: signals come to the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _give_up)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


def _give_up(*_: object) -> None:
    raise Blocked(f"nothing has come of it for {_PATIENCE:g} s")


def run(
    seed: int,
    *,
    rounds: range | None = None,
    seconds: float = 3600.0,
    size: int = ROUND,
    scenes: float = _SCENES_SHARE,
    tally: Tally | None = None,
) -> Tally:
    """Fuzz.

    Args:
        seed: what decides everything.
        rounds: which; as many as there is time for if None.
        seconds: no round is begun after that.
        size: how many inputs a round has.
        scenes: how many scenes are played for each input.
        tally: is added to, if there is one.

    Returns:
        What was done.

    Raises:
        Found: a handler has done what none may.
    """
    tally = tally if tally is not None else Tally()
    end = time.monotonic() + seconds
    before = set(threading.enumerate())
    for number in rounds if rounds is not None else range(1_000_000):
        if time.monotonic() >= end:
            break
        run_round(seed, number, size, tally, scenes)
    left = [thread.name for thread in threading.enumerate() if thread not in before and not thread.daemon]
    if left:
        raise Found(f"seed {seed}: threads were left behind: {', '.join(left)}")
    return tally


def run_round(
    seed: int,
    number: int,
    size: int,
    tally: Tally,
    scenes: float = _SCENES_SHARE,
    spoil: Callable[[World], None] = lambda _: None,
) -> None:
    """Run one round.

    Args:
        seed, size, scenes: see `run`.
        number: of the round.
        tally: is added to.
        spoil: does something to the programs before they are fuzzed, for tests of the fuzzer.

    Raises:
        Found: see `run`.
    """
    inputs = Inputs(seed * 1_000_003 + number, ROLES)
    rng = random.Random(f"{seed} {number}")
    settings = TIGHT if number % 2 else AMPLE
    with tempfile.TemporaryDirectory(prefix="socp-test-") as directory, stage(), no_bugs(), _alarmed():
        for world in _worlds(inputs, rng, Path(directory), settings):
            spoil(world)
            roles = world.roles()
            try:
                for _ in range(size // 3):
                    made = inputs.next(rng.choice(roles))
                    tally.types[made.frame_type] += 1
                    with watched(seed, number, made):
                        read_everything(made.data)
                        world.give(made)
                        if rng.random() < _DISTURBED_SHARE:
                            world.disturb()
                        world.turn()
                        if rng.random() < scenes:
                            world.scene()
                            world.turn()
                        world.check()
            finally:
                world.close()
    tally.inputs += inputs.count
    tally.whole += inputs.whole
    tally.kinds += inputs.kinds
    tally.rounds += 1


def _worlds(inputs: Inputs, rng: random.Random, directory: Path, settings: Settings) -> Iterator[World]:
    yield ServerWorld(inputs.grammar, rng, directory, settings)
    yield IntroducerWorld(inputs.grammar, rng, directory, settings, choosy=settings is TIGHT)
    yield ClientWorld(inputs.grammar, rng, directory, settings)


def read_everything(data: bytes) -> None:
    """Read bytes as frames by every limit, and what is in them as whatever it could be."""
    for limit in (FROM_STRANGER, FROM_USER, FROM_SERVER):
        with contextlib.suppress(ProtocolError):
            _read_frames(data, limit)


def _read_frames(data: bytes, limit: BodyLimit) -> None:
    buffer = FrameBuffer(limit)
    buffer.feed(data)
    while (frame := buffer.next_frame()) is not None:
        value = decode_frame(frame)
        if limit is FROM_SERVER:
            _read_envelope(socp.read_envelope(value, frame))


def _read_envelope(envelope: Envelope) -> None:
    for value in envelope.payload.values():
        with contextlib.suppress(ProtocolError):
            read_membership(value, _PINS, NOW)
    if envelope.type not in socp.SHAPES:
        return
    socp.check_payload(envelope)
    payload = envelope.payload
    if envelope.type == socp.SERVER_ANNOUNCE:
        check_announce(envelope, _PINS)
    elif envelope.type == socp.MSG_PUBLIC_CHANNEL:
        check_broadcast(envelope)
    elif envelope.type == socp.FILE_START:
        read_manifest(envelope)
    elif envelope.type in (socp.MSG_DIRECT, socp.SERVER_DELIVER):
        read_mail(envelope, envelope.sender, envelope.to)
    elif envelope.type in (socp.USER_ADVERTISE, socp.USER_KEY):
        read_user(payload, payload["server_id"], online=True, newest=NOW)
