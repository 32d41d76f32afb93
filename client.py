"""A SOCP client: a chat for people, and commands for scripts and keys (PROTOCOL.md sections 5.1 and 16).

python client.py
python client.py tell ben 'Lunch at noon?'
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from options import read_options

if TYPE_CHECKING:
    from settings import Settings


def main(argv: Sequence[str] | None = None, settings: Settings | None = None) -> int:
    """Run a client; returns the exit code, one of exits.Exit."""
    options = read_options(argv)
    # Not before: what --help says is there at once, and what cryptography takes to be loaded is not.
    from clients import run  # noqa: PLC0415

    return run(options, settings)


if __name__ == "__main__":
    sys.exit(main())
