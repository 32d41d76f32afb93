"""A program of ours whose signatures and verifications are counted: `python -m benchmarks.counted server.py ARGUMENTS`.

The hooks are put in here, before the program is imported, and are no part of it. To each line of its standard input it
answers with both counts as JSON.
"""

from __future__ import annotations

import json
import runpy
import signal
import sys
import threading
from collections.abc import Mapping

import crypto.signing
from crypto.keys import PublicKey
from crypto.signing import KeySigner

_lock = threading.Lock()  # guards _counts
_counts = {"signed": 0, "verified": 0}


def _count(what: str) -> None:
    with _lock:
        _counts[what] += 1


def put_in_hooks() -> None:
    """Count from here on whatever this process signs and verifies."""
    sign, verify = KeySigner.sign, crypto.signing.verify

    def counted_sign(self: KeySigner, value: Mapping[str, object]) -> str:
        _count("signed")
        return sign(self, value)

    def counted_verify(key: PublicKey, value: Mapping[str, object], signature: str) -> bool:
        _count("verified")
        return verify(key, value, signature)

    KeySigner.sign = counted_sign  # type: ignore[method-assign]
    crypto.signing.verify = counted_verify


def counts() -> dict[str, int]:
    """Return both counts."""
    with _lock:
        return dict(_counts)


def _answer() -> None:
    for _ in sys.stdin:
        print(json.dumps(counts()), flush=True)


def main() -> None:
    """Run the program."""
    put_in_hooks()
    sys.argv = sys.argv[1:]
    sys.path.insert(0, "")
    # The program waits for these in its main thread, and no other may take them.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    threading.Thread(target=_answer, name="counts", daemon=True).start()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
