"""Thousands of distinct keys in little time: every two of some hundred primes make one.

The primes of the vectors' keys are enough for the first few hundred. The others are made once, which takes a minute or
two, and kept in the user's cache directory.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from crypto.keys import PUBLIC_EXPONENT, KeyPair
from crypto.moduli import MODULUS_BITS
from tests.chaos.keys import combined_key, key_of_primes

_CACHE_HOME = os.environ.get("XDG_CACHE_HOME", "")
_CACHE = Path(_CACHE_HOME or Path.home() / ".cache") / "socp" / "benchmark-primes.json"
_PRIMES = 150
_FROM_VECTORS = 480  # keys that tests.chaos.keys makes

# Who has which numbers.
INTRODUCER = 0
SERVERS = 1
USERS = 20


def _new_primes(_: int) -> tuple[int, int]:
    numbers = rsa.generate_private_key(PUBLIC_EXPONENT, MODULUS_BITS).private_numbers()
    return numbers.p, numbers.q


@functools.cache
def _pairs() -> list[tuple[int, int]]:
    """Return every two of the primes."""
    if not _CACHE.exists():
        with ThreadPoolExecutor() as pool:
            primes = [prime for pair in pool.map(_new_primes, range(_PRIMES // 2)) for prime in pair]
        _CACHE.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = _CACHE.with_suffix(".partial")
        partial.write_text(json.dumps([f"{prime:x}" for prime in primes]), "ascii")
        partial.replace(_CACHE)
    primes = [int(prime, 16) for prime in json.loads(_CACHE.read_text("ascii"))]
    return list(itertools.combinations(primes, 2))


def prepare(count: int) -> None:
    """Make what so many keys need, before a process that is to be quick needs it."""
    if count > _FROM_VECTORS:
        _pairs()


@functools.cache
def pair(number: int) -> KeyPair:
    """Return the key pair of this number, from 0 to some 11,000."""
    if number < _FROM_VECTORS:
        return combined_key(number)
    return key_of_primes(*_pairs()[number - _FROM_VECTORS])
