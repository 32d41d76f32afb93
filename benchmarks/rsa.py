"""What one operation of RSA-4096 takes on this machine: the ceiling of whatever must sign, verify, seal or open.

Both times of an operation count: by the wall clock, which gives a rate to compare rates with, and of the processor,
which gives a price to compare a server's with. On all cores at once, an operation may take more of both than alone.
"""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tests.vectors import key
from workers import CORES

_HASH = hashes.SHA256()
_PSS = padding.PSS(mgf=padding.MGF1(_HASH), salt_length=padding.PSS.MAX_LENGTH)
_OAEP = padding.OAEP(mgf=padding.MGF1(_HASH), algorithm=_HASH, label=None)
_TEXT = b"x" * 100


@dataclass(frozen=True)
class Rate:
    """How fast something goes, by `threads` threads.

    Attributes:
        per_second: operations a second by the wall clock, of all threads together.
        cpu: seconds of the processor for one operation.
    """

    threads: int
    per_second: float
    cpu: float


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(operation: Callable[[], object], threads: int, seconds: float) -> Rate:
    """Repeat an operation for so many seconds in each of so many threads."""
    counts = [0] * threads

    def work(place: int) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            operation()
            counts[place] += 1

    workers = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
    began, cpu = time.perf_counter(), _own_cpu()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    taken, cpu = time.perf_counter() - began, _own_cpu() - cpu
    return Rate(threads, sum(counts) / taken, cpu / sum(counts))


def operations() -> dict[str, Callable[[], object]]:
    """Return the four operations by name."""
    pair = key("server")
    private, public = pair.private, pair.public.rsa
    signature, ciphertext = private.sign(_TEXT, _PSS, _HASH), public.encrypt(_TEXT, _OAEP)
    return {
        "sign": lambda: private.sign(_TEXT, _PSS, _HASH),
        "verify": lambda: public.verify(signature, _TEXT, _PSS, _HASH),
        "encrypt": lambda: public.encrypt(_TEXT, _OAEP),
        "decrypt": lambda: private.decrypt(ciphertext, _OAEP),
    }


def ceiling(name: str, seconds: float) -> Rate:
    """Measure one of the operations on all cores."""
    return measure(operations()[name], CORES, seconds)
