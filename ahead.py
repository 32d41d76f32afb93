"""What a reader has read and not handled yet, while the signatures that it will take are made on all cores.

A reader handles one frame after the other, each in full. Where that takes signatures, it takes further frames out of
what it has read already, and workers sign for them until it is their turn. Nothing but RSA is done ahead, which has no
effect: all else happens in the reader, in the order of the frames, as if nothing had been done ahead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from link import Link
from socp import Envelope, LinkError
from workers import CORES, Task, Workers

Handler = Callable[[Envelope], None]

# Frames that wait for their turn at one reader: for each core one that is being signed, and one to go on with.
MOST = 2 * CORES


@dataclass(slots=True)
class Step:
    """What can be done of a frame before its turn, and what is left.

    Attributes:
        work: makes what is to be sent, by RSA and without any effect, in whatever thread. If it raises anything, the
            frame is handled as if there was no step: what is wrong comes out at its turn.
        then: hands it on, in the reader's thread and at the frame's turn; raises what a handler may.
    """

    work: Callable[[], bytes]
    then: Callable[[bytes], None]

    def after(self, check: Callable[[], object]) -> Step:
        """Return the same step with a check before its work, which raises what is wrong."""

        def work() -> bytes:
            check()
            return self.work()

        return Step(work, self.then)


Begin = Callable[[Envelope], Step | None]


@dataclass(slots=True)
class Stepwise:
    """A handler of frames of which RSA can be done ahead.

    Attributes:
        whole: does everything at the frame's turn.
        begin: returns the step of a frame, or None where nothing can be done ahead. It has no effect, takes no RSA
            operation, and raises nothing.
    """

    whole: Handler
    begin: Begin

    def __call__(self, envelope: Envelope) -> None:
        """Handle a frame whole."""
        self.whole(envelope)


@dataclass(slots=True)
class _Turn:
    envelope: Envelope
    handler: Handler
    then: Callable[[bytes], None] | None = None
    task: Task[bytes | None] | None = None


class Signers:
    """Those who sign: the readers that have frames waiting, and workers, while there are fewer readers than cores.

    As many readers as there are cores sign for themselves: nobody is woken for nothing then, and no sender has more
    than its share.

    Args:
        workers: one fewer than there are cores.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._lock = threading.Lock()  # guards the one below
        self._readers = 0

    def enter(self) -> None:
        """Count one more reader."""
        with self._lock:
            self._readers += 1

    def leave(self) -> None:
        """Count one fewer."""
        with self._lock:
            self._readers -= 1

    def give(self, work: Callable[[], None]) -> None:
        """Have a worker do what a reader will need, if a core is left for it; else it is done by that reader."""
        with self._lock:
            left = self._readers < CORES
        if left:
            self._workers.give(work)

    def stop(self) -> None:
        """Let the workers end; from now on readers sign for themselves."""
        self._workers.stop()


class Ahead:
    """The frames of one link that wait for their turn; for its reader alone. What one read holds bounds their bytes.

    Args:
        link: once it is closing, nothing more of it is handled.
        signers: sign.
        handle: has a handler take a frame, and answers its errors; raises those that end the link.
    """

    __slots__ = ("_entered", "_handle", "_link", "_signers", "_turns")

    def __init__(self, link: Link, signers: Signers, handle: Callable[[Envelope, Handler], None]) -> None:
        self._link = link
        self._signers = signers
        self._entered = False  # whether we count among them
        self._handle = handle
        self._turns: list[_Turn] = []  # few: a deque takes more memory at each of many links that are idle

    def put(self, envelope: Envelope, handler: Handler) -> None:
        """Have a frame handled: now, if nothing can be done ahead for it and nothing waits before it; else in its turn.

        Raises:
            LinkError: an error that closes the link, in this frame or one that waited.
        """
        step = handler.begin(envelope) if isinstance(handler, Stepwise) else None
        if step is None:
            if not self._turns:
                self._handle(envelope, handler)
                return
            self._turns.append(_Turn(envelope, handler))
        else:
            task = Task(partial(_attempt, step.work))
            if not self._entered:
                self._signers.enter()
                self._entered = True  # and the first is for us: one that comes alone waits for nobody
            else:
                self._signers.give(task.run)
            self._turns.append(_Turn(envelope, handler, step.then, task))
        if len(self._turns) >= MOST:
            self._take_first()

    def settle(self) -> bool:
        """Handle all that waits; False when the link is closing since, so that what comes behind is not to be handled.

        Raises:
            LinkError: an error that closes the link.
        """
        if not self._turns:
            return True
        while self._turns and not self._link.closing:
            self._take_first()
        self.close()
        return not self._link.closing

    def close(self) -> None:
        """Forget what waits: it came behind what ended the link."""
        if not self._entered:
            return
        for turn in self._turns:
            if turn.task is not None:
                turn.task.drop()
        self._turns.clear()
        self._entered = False
        self._signers.leave()

    def _take_first(self) -> None:
        first = self._turns[0]
        made = self._made(first.task) if first.task is not None else None
        del self._turns[0]
        handler = first.handler
        if made is not None and first.then is not None:
            handler = partial(_go_on, first.then, made)
        try:
            self._handle(first.envelope, handler)
        except LinkError:
            self.close()  # nothing behind it is handled
            raise

    def _made(self, task: Task[bytes | None]) -> bytes | None:
        """Return what the task of the first has made. While a worker is at it, the reader does what none has begun."""
        for turn in self._turns:
            if task.done:
                break
            if turn.task is not None:
                turn.task.run()
        return task.result()


def _attempt(work: Callable[[], bytes]) -> bytes | None:
    try:
        return work()
    except Exception:  # noqa: BLE001 - whatever it is, it is met again by the handler, at the frame's turn
        return None


def _go_on(then: Callable[[bytes], None], made: bytes, _envelope: Envelope) -> None:
    then(made)
