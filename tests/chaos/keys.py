"""As many keys as a test wants, made of the primes of the vectors' keys in no time."""

from __future__ import annotations

import functools
import itertools

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from crypto.keys import PUBLIC_EXPONENT, KeyPair
from tests.vectors import load


@functools.lru_cache
def _primes() -> list[int]:
    primes = []
    for entry in load("keys")["keys"].values():
        # Checking the numbers of a key takes 0.2 s, and these are known to be good.
        private = serialization.load_pem_private_key(
            entry["private_pem"].encode(), None, unsafe_skip_rsa_key_validation=True
        )
        assert isinstance(private, rsa.RSAPrivateKey)
        numbers = private.private_numbers()
        primes += [numbers.p, numbers.q]
    return primes


@functools.lru_cache
def _pairs() -> list[tuple[int, int]]:
    """Return every two of the primes that are not a key of the vectors together."""
    primes = _primes()
    return [
        (primes[one], primes[other])
        for one, other in itertools.combinations(range(len(primes)), 2)
        if one // 2 != other // 2
    ]


def key_of_primes(p: int, q: int) -> KeyPair:
    """Return the key of two primes."""
    secret = pow(PUBLIC_EXPONENT, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=secret,
        dmp1=rsa.rsa_crt_dmp1(secret, p),
        dmq1=rsa.rsa_crt_dmq1(secret, q),
        iqmp=rsa.rsa_crt_iqmp(p, q),
        public_numbers=rsa.RSAPublicNumbers(PUBLIC_EXPONENT, p * q),
    )
    return KeyPair(numbers.private_key(unsafe_skip_rsa_key_validation=True))


@functools.cache
def combined_key(number: int) -> KeyPair:
    """Return the key of this number, from 0 to 479; its primes are those of other keys too, and all else is right."""
    return key_of_primes(*_pairs()[number])


# Who takes which numbers, by the first letter of the name.
_FIRST = {"i": 0, "s": 20, "c": 120}


def key_of(name: str) -> KeyPair:
    """Return the key of an introducer, a server or a client by its name: i1, s1, c01."""
    return combined_key(_FIRST[name[0]] + int(name[1:]))
