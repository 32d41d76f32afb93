"""The test vectors, and the keys among them that tests use instead of making new ones."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from crypto.keys import KeyPair

_DIRECTORY = Path(__file__).parent / "vectors"
USERS = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")
SERVERS = ("server", "server2", "server3", "server4")
INTRODUCERS = ("introducer", "introducer2")


def load(name: str) -> dict[str, Any]:
    """Return a file of vectors, and fail when there is nothing in it to test."""
    vectors: dict[str, Any] = json.loads((_DIRECTORY / f"{name}.json").read_text("utf-8"))
    assert vectors.get("cases") or vectors.get("keys"), f"{name}.json holds no cases"
    return vectors


def cases(name: str, count: int) -> list[dict[str, Any]]:
    """Return the cases of a file of vectors, and fail when they are not so many as they should be."""
    found: list[dict[str, Any]] = load(name)["cases"]
    assert len(found) == count, f"{name}.json holds {len(found)} cases, not {count}"
    return found


@functools.lru_cache
def key(name: str) -> KeyPair:
    """Return a key pair of keys.json; its numbers, known to be good, are not checked: that would take 0.2 s."""
    pem = load("keys")["keys"][name]["private_pem"].encode()
    private = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(private, rsa.RSAPrivateKey)
    return KeyPair(private)
