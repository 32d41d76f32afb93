"""What is wrong with an RSA modulus, as far as that can be told in a fraction of the time that one use of it takes.

PROTOCOL.md section 4. Whoever shows a weak key harms nobody but itself: its id is made from that very key, so that
there is no other user whom a forger of its signatures could pose as. Such keys are refused all the same: nobody's
software should be made to compute with numbers that it was not written for, and a key of which each stranger can know
the private half is nobody's identity. That a modulus is the product of two large and unlike primes, no test can tell.
"""

from __future__ import annotations

import itertools
import math

MODULUS_BITS = 4096
# The bound of small factors: a larger one would find few more, and take longer for every sound key.
_SMALL = 1024


def _primes(below: int) -> list[int]:
    sieve = bytearray([1]) * below
    sieve[:2] = b"\0\0"
    for number in range(2, math.isqrt(below) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, below, number)))
    return [number for number in range(below) if sieve[number]]


def _residue_tests(primes: list[int]) -> dict[int, list[tuple[int, int]]]:
    """Return two primes q for each exponent k that a power of 4,096 bits can have: {k: [(q, (q - 1) / k), …]}.

    Without small factors, its base is at least _SMALL. To the power of (q - 1) / k, each k-th power is 1 modulo q (or
    0), and of other numbers one in k is.
    """
    known, tests = set(primes), {}
    for exponent in primes:
        if exponent > MODULUS_BITS // (_SMALL.bit_length() - 1):
            break
        found = (prime for prime in range(exponent + 1, primes[-1], exponent) if prime in known)
        tests[exponent] = [(prime, (prime - 1) // exponent) for prime in itertools.islice(found, 2)]
    return tests


_SMALL_PRODUCT = math.prod(_primes(_SMALL))
_RESIDUE_TESTS = _residue_tests(_primes(16 * _SMALL))
_RESIDUE_PRODUCT = math.prod({prime for tests in _RESIDUE_TESTS.values() for prime, _ in tests})


def fault(modulus: int) -> str:
    """Return what is wrong with a modulus: its size, a small factor, or that it is a power; nothing if nothing is.

    This takes about half as long as one verification with the key.
    """
    if modulus.bit_length() != MODULUS_BITS:
        return f"its modulus has {modulus.bit_length()} bits, not {MODULUS_BITS}"
    if math.gcd(modulus, _SMALL_PRODUCT) != 1:
        return "its modulus has a small factor"
    return "its modulus is a power" if _is_power(modulus) else ""


def _is_power(number: int) -> bool:
    rest = number % _RESIDUE_PRODUCT  # shorter, and the same modulo each of them
    for exponent, tests in _RESIDUE_TESTS.items():
        could_be = all(pow(rest % prime, power, prime) <= 1 for prime, power in tests)
        if could_be and _root(number, exponent) ** exponent == number:
            return True
    return False


def _root(number: int, exponent: int) -> int:
    """Return the whole part of a root, by Newton's method from above.

    It begins with the 40 bits of the root that floating point knows: a number that was made to pass all tests of
    residues costs a few steps for each exponent, and no more.
    """
    bits = math.log2(number) / exponent
    shift = max(int(bits) - 40, 0)
    root = (int(2 ** (bits - shift)) + 2 << shift) if shift else int(2**bits) + 1
    while True:
        closer = ((exponent - 1) * root + number // root ** (exponent - 1)) // exponent
        if closer >= root:
            return root
        root = closer
