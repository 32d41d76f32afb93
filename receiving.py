"""Files that others offer (PROTOCOL.md section 10): which are taken, whether a person is asked, and whose turn it is.

A file that is taken waits for its turn, and is then received in a thread of its own (saving.py). Offers are judged in
the teller's thread; what a person decides comes in whatever thread that person's program has.
"""

from __future__ import annotations

import enum
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

import socp
from ciphers import Cipher
from downloads import check_room, clear_up
from errors import NotConnected, NotRemembered, TransferUnknown
from events import FileNotTaken, FileOffered
from incoming import CANCELLED_BY_SENDER, WITHDRAWN, Incoming
from messages import Manifest, read_manifest
from results import NOT_SAVED, NOT_TAKEN, Results
from saving import Saver, cannot_write
from sending import CANCELLED, NAME_MOST, WAITING, Owner
from socp import FILE_ACK, FILE_END, Envelope, ProtocolError
from threads import Alarm
from turns import NoPlace, who_makes_room, whose_turn
from underway import UnderWay
from workers import Workers

log = logging.getLogger("socp.receiving")

_TOO_MANY = "too many files at once"
_NOT_THEIRS = "files of this user are not taken"
_TOO_LATE = "nobody has answered it in time"


class Verdict(enum.Enum):
    """What is done about an offer that keeps to section 10."""

    ACCEPT = enum.auto()
    ASK = enum.auto()  # a person
    REJECT = enum.auto()


Judge = Callable[[str, str, int], Verdict]  # given the sender's id, the name of the file and its size


def accept_all(_sender: str, _name: str, _size: int) -> Verdict:
    """Take every file."""
    return Verdict.ACCEPT


@dataclass(frozen=True)
class Taking:
    """What a client takes of what it is offered.

    Attributes:
        downloads: where files are put.
        judge: asked about each offer; it waits for nothing.
        most: bytes of a file; the protocol's limit holds besides.
    """

    downloads: Path
    judge: Judge = accept_all
    most: int | None = None


class FileReceiver:
    """The files that one client receives, and those that wait.

    Args:
        owner: the client.
        taking: what it takes.
        workers: open chunks.
        numbers: gives each file the number that people call it by.
    """

    def __init__(self, owner: Owner, taking: Taking, workers: Workers, numbers: Iterator[int]) -> None:
        self._owner = owner
        self._taking = taking
        self._workers = workers
        self._numbers = numbers
        self._timers = owner.settings.timers
        self._limits = owner.settings.limits
        self._results = Results(owner)
        self._saver = Saver(owner, taking.downloads, self._results)
        self._lock = Lock()  # guards what is below; taken before that of an Incoming
        self._incoming: OrderedDict[tuple[str, str], Incoming] = OrderedDict()
        self._lapse: Alarm | None = None  # when the oldest question to a person is not answered in time
        clear_up(taking.downloads)

    # --- what its client asks and says --------------------------------------------------------------------------

    @property
    def active(self) -> int:
        """How many files are being received, or wait for their turn; not those that a person is asked about."""
        with self._lock:
            return sum(not receiving.asked for receiving in self._incoming.values())

    def under_way(self) -> list[UnderWay]:
        """Return how each stands, the oldest first."""
        with self._lock:
            return [receiving.under_way() for receiving in self._incoming.values()]

    def end_all(self, reason: str) -> None:
        """End every transfer; senders are told, where they can be."""
        for receiving in self._remove(lambda receiving: receiving.asked):
            self._results.reject(*_place(receiving), reason)
            self._tell(receiving.manifest, reason)
        for receiving in self._all():
            receiving.fail(reason)
        self._start_waiting(at_once=True)

    def end_from(self, sender: str) -> None:
        """End every transfer of one sender, who was blocked; those that have not begun are rejected."""
        with self._lock:
            ending = [receiving for receiving in self._incoming.values() if receiving.sender == sender]
            waiting = [receiving for receiving in ending if not receiving.started]
            for receiving in waiting:  # before others end, which would have these begin
                del self._incoming[_place(receiving)]
        for receiving in ending:
            receiving.fail(NOT_TAKEN)
        for receiving in waiting:
            self._results.reject(*_place(receiving), NOT_TAKEN)
            if _is_told_of(receiving):
                self._tell(receiving.manifest, "its sender is blocked")

    def disconnected(self) -> None:
        """Interrupt every transfer."""
        for receiving in self._all():
            receiving.lose()

    def connected(self) -> None:
        """Have every sender told where we are: what was on its way may be lost."""
        for receiving in self._all():
            receiving.ask()

    def _all(self) -> list[Incoming]:
        with self._lock:
            return list(self._incoming.values())

    def _remove(self, which: Callable[[Incoming], bool]) -> list[Incoming]:
        """Take files off those that wait or are under way, and return them."""
        with self._lock:
            removed = [receiving for receiving in self._incoming.values() if which(receiving)]
            for receiving in removed:
                del self._incoming[_place(receiving)]
        return removed

    def _tell(self, manifest: Manifest, reason: str) -> None:
        self._owner.emit(FileNotTaken(manifest.file_id, manifest.peer, manifest.name, manifest.size, reason))

    # --- what a person decides ----------------------------------------------------------------------------------

    def accept(self, file_id: str, sender: str) -> bool:
        """Take a file that the person was asked about; see Chat.accept_file."""
        with self._lock:
            found = [receiving for receiving in self._incoming.values() if _matches(receiving, file_id, sender)]
        found = [receiving for receiving in found if receiving.asked]
        if not found:
            raise TransferUnknown("that file is not offered, or not any more")
        if len(found) > 1:
            raise TransferUnknown("several users offer a file of that id; say whose is meant")
        [receiving] = found
        trouble = self._trouble(receiving.manifest)
        with self._lock:
            if self._incoming.get(_place(receiving)) is not receiving or not receiving.asked:
                raise TransferUnknown("that file is not offered any more")
            if trouble:
                del self._incoming[_place(receiving)]
            else:
                receiving.asked, receiving.promised = False, True
        if trouble:
            self._results.turn_down(receiving.manifest, NOT_SAVED)
            self._tell(receiving.manifest, trouble)
            return False
        self._start_waiting()
        self._say_taken(receiving)
        return True

    def deny(self, file_id: str, sender: str) -> None:
        """Turn down what the person was asked about; see Chat.deny_file."""
        denied = self._remove(lambda receiving: receiving.asked and _matches(receiving, file_id, sender))
        if not denied:
            raise TransferUnknown("that file is not offered, or not any more")
        for receiving in denied:
            self._results.turn_down(receiving.manifest, NOT_TAKEN)
            self._tell(receiving.manifest, "denied")

    def cancel(self, file_id: str, sender: str) -> bool:
        """End a transfer, wherever it is; False if there is none."""
        waiting = self._remove(lambda receiving: not receiving.started and _matches(receiving, file_id, sender))
        running = [receiving for receiving in self._all() if _matches(receiving, file_id, sender)]
        for receiving in waiting:
            self._results.turn_down(receiving.manifest, CANCELLED)
            self._tell(receiving.manifest, CANCELLED)
        for receiving in running:
            receiving.fail(CANCELLED)
        self._owner.settled()
        return bool(waiting or running)

    def _watch(self) -> None:
        """Have the oldest question that is not answered lapse in time."""
        with self._lock:
            asked = [receiving for receiving in self._incoming.values() if receiving.asked]
            if asked and self._lapse is None:
                left = asked[0].offered + self._timers.offer - time.monotonic()
                self._lapse = self._owner.after(max(0.0, left), self._take_lapse)

    def _take_lapse(self) -> None:
        with self._lock:
            self._lapse = None
        old = time.monotonic() - self._timers.offer
        for receiving in self._remove(lambda receiving: receiving.asked and receiving.offered <= old):
            self._results.turn_down(receiving.manifest, _TOO_LATE)
            self._tell(receiving.manifest, _TOO_LATE)
        self._watch()

    # --- what is offered ----------------------------------------------------------------------------------------

    def take_start(self, envelope: Envelope) -> None:
        """Take the offer of a file: all that keep to section 10 are judged, and a few are received at a time."""
        sender, file_id = place = (envelope.sender, envelope.payload["file_id"])
        if self._owner.blocked(sender):
            self._results.reject(sender, file_id, NOT_TAKEN)
            return
        with self._lock:
            known = self._incoming.get(place)
        try:
            # In this order: a transfer is remembered before it is taken off those under way.
            finished = self._results.find(sender, file_id) if known is None else None
        except NotRemembered as error:
            log.warning("the offer of a file is rejected: %s", error)
            self._results.reject(sender, file_id, "the recipient cannot tell whether it had it before")
            return
        try:
            manifest, _ = read_manifest(envelope)
        except ProtocolError as error:
            log.warning("the offer of a file from %s is not what its sender has signed: %s", sender, error)
            if known is None and finished is None:  # else a server could end a transfer by an offer that it forges
                self._results.reject(sender, file_id, "its sender has not signed it so")
            return
        if known is not None:
            if known.manifest == manifest and self._is_timely(envelope):
                self._take_again(known)
        elif finished is not None:
            status, sha256 = finished
            if sha256 == manifest.sha256:
                self._results.say_again(manifest, status)
            else:
                self._results.reject(sender, file_id, "another file was sent under this id before")
        elif reason := self._why_not(envelope, manifest):
            self._results.reject(sender, file_id, reason)
        else:
            self._judge(manifest)

    def _take_again(self, known: Incoming) -> None:
        """Answer an offer that is made again, of a sender that has reconnected or asks; a person is not asked again."""
        with self._lock:
            known.heard = time.monotonic()
            is_here = self._incoming.get(_place(known)) is known
            if is_here:
                known.ask()  # with the lock: whoever takes it off the list sees that
        if is_here:
            self._say_taken(known)
        else:
            self._say_result(known.manifest)

    def _say_result(self, manifest: Manifest) -> None:
        """Tell the sender of a file that has just ended what has become of it."""
        try:
            finished = self._results.find(manifest.peer, manifest.file_id)
        except NotRemembered as error:
            log.warning("a sender is not told again what has become of a file: %s", error)
            return
        if finished is not None:
            self._results.say_again(manifest, finished[0])

    def _say_taken(self, receiving: Incoming) -> None:
        """Tell a sender whose file waits for its turn that it is taken: so that it waits as well."""
        with self._lock:
            waits = not (receiving.asked or receiving.started)
        if waits:
            payload: dict[str, object] = {"file_id": receiving.manifest.file_id, "next_index": 0, "status": WAITING}
            try:
                self._owner.send(FILE_ACK, receiving.sender, payload)
            except NotConnected as error:
                log.info("the sender of a file learns when it asks again that it is taken: %s", error)

    def _why_not(self, envelope: Envelope, manifest: Manifest) -> str:
        """Return what is wrong with an offer, or the empty string."""
        payload = envelope.payload
        least = -(-manifest.size // manifest.cipher.most)
        if not self._is_timely(envelope):
            return "the offer's time is too far from the recipient's clock"
        if payload["mode"] != "dm":
            return 'the mode is not "dm"'
        if manifest.cipher is Cipher.UNKNOWN or (manifest.cipher is Cipher.HYBRID and not self._owner.hybrid):
            return "the recipient cannot open that cipher"
        if len(manifest.name) > NAME_MOST:
            return f"its name has over {NAME_MOST} characters"
        if manifest.size > self._limits.file_bytes:
            return f"over {self._limits.file_bytes:,} bytes"
        if not least <= manifest.chunks <= manifest.size:
            return "the number of chunks does not match the size"
        return ""

    def _is_timely(self, envelope: Envelope) -> bool:
        return abs(envelope.ts - socp.now_ms()) <= self._limits.clock_skew

    def _judge(self, manifest: Manifest) -> None:
        """Take a file, have a person asked about it, or reject it.

        Whether it fits is told to nobody whom the judge does not know: a stranger could measure the disk by that.
        """
        verdict, most = self._taking.judge(manifest.peer, manifest.name, manifest.size), self._taking.most
        if verdict is Verdict.REJECT:
            self._turn_away(manifest, NOT_TAKEN, _NOT_THEIRS)
        elif most is not None and manifest.size > most:
            self._turn_away(manifest, f"over {most:,} bytes", f"over {most:,} bytes")
        elif verdict is Verdict.ASK:
            self._add(manifest, asked=True)
        elif trouble := self._trouble(manifest):
            self._turn_away(manifest, NOT_SAVED, trouble)
        else:
            self._add(manifest, asked=False)

    def _turn_away(self, manifest: Manifest, said: str, reason: str) -> None:
        self._results.reject(manifest.peer, manifest.file_id, said)
        self._tell(manifest, reason)

    def _trouble(self, manifest: Manifest) -> str:
        """Return why a file cannot be saved, beside all that are taken already, or the empty string."""
        with self._lock:
            taken = sum(receiving.missing for receiving in self._incoming.values() if not receiving.asked)
        try:
            check_room(self._taking.downloads, manifest.size + taken, self._limits.disk_spare)
        except OSError as error:
            return cannot_write(self._taking.downloads, error)
        return ""

    def _add(self, manifest: Manifest, *, asked: bool) -> None:
        """Have a file wait, for its turn or an answer; or reject it, or another one that has to make room for it."""
        try:
            with self._lock:
                if self._owner.blocked(manifest.peer):  # meanwhile, and `end_from` has not seen this one
                    raise NoPlace
                most, opened = 2 * self._limits.transfer_window, partial(self._saver.open_chunk, manifest)
                receiving = Incoming(manifest, next(self._numbers), most, asked=asked, opened=opened)
                leaving = who_makes_room(list(self._incoming.values()), receiving, self._limits)
                if leaving is not None:
                    del self._incoming[_place(leaving)]
                self._incoming[_place(receiving)] = receiving
        except NoPlace:
            self._results.reject(manifest.peer, manifest.file_id, _TOO_MANY)
            return
        if leaving is not None:
            self._results.reject(*_place(leaving), _TOO_MANY)
            if _is_told_of(leaving):
                self._tell(leaving.manifest, _TOO_MANY)
        if asked:
            self._watch()
            place = (manifest.file_id, manifest.peer, manifest.name, manifest.size)
            self._owner.emit(FileOffered(*place, receiving.number, self._trouble(manifest)))
        else:
            self._start_waiting()

    # --- whose turn it is ---------------------------------------------------------------------------------------

    def _start_waiting(self, *, at_once: bool = False) -> None:
        """Begin the transfers whose turn has come; or all of them, when they are to end."""
        starting = []
        with self._lock:
            places = list(self._incoming.values())
            while receiving := whose_turn(places, self._limits):
                receiving.start()
                starting.append(receiving)
            if at_once:
                for receiving in (place for place in places if not (place.started or place.asked)):
                    receiving.start()
                    starting.append(receiving)
        for receiving in starting:
            self._run_incoming(receiving)

    def _run_incoming(self, receiving: Incoming) -> None:
        name = f"receive {receiving.manifest.file_id[:8]}"
        if not self._owner.threads.start(name, partial(self._receive, receiving)):
            with self._lock:
                self._incoming.pop(_place(receiving), None)
            self._turn_away(receiving.manifest, NOT_SAVED, "the system has no more threads")

    def _receive(self, receiving: Incoming) -> None:
        self._saver.receive(receiving)
        with self._lock:
            self._incoming.pop(_place(receiving), None)
        if receiving.unanswered:
            self._say_result(receiving.manifest)
        self._owner.settled()
        self._start_waiting()

    def take(self, envelope: Envelope) -> bool:
        """Take FILE_CHUNK or FILE_END; False if no such file is known."""
        place = (envelope.sender, envelope.payload["file_id"])
        with self._lock:
            receiving = self._incoming.get(place)
            withdrawn = receiving is not None and not receiving.started and envelope.type == FILE_END
            if withdrawn:
                del self._incoming[place]
        if receiving is None:
            return False
        if withdrawn:
            reason = CANCELLED_BY_SENDER if envelope.payload.get("status") == CANCELLED else WITHDRAWN
            self._owner.after(0, partial(self._results.reject, *place, reason))  # this thread does not sign
            self._tell(receiving.manifest, reason)
            self._owner.settled()
        elif (opening := receiving.take(envelope)) is not None:
            self._workers.give(opening.run)
        return True


def _place(receiving: Incoming) -> tuple[str, str]:
    return receiving.sender, receiving.manifest.file_id


def _matches(receiving: Incoming, file_id: str, sender: str) -> bool:
    return receiving.manifest.file_id == file_id and sender in ("", receiving.sender)


def _is_told_of(receiving: Incoming) -> bool:
    """Tell whether a person knows of a file that has not begun."""
    return receiving.asked or receiving.promised
