"""A SOCP server: hosts users, links to the other servers, and routes what users send (PROTOCOL.md section 1).

python server.py --port N --introducer host:port
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from access import Access, ListError
from addresses import Address
from channels import add_tls_flags, check_tls_flags, with_tls_flags
from console import say, speak_utf8, start_logging
from crypto.keys import BadKey, PublicKey, read_public_key
from crypto.signing import KeySigner
from database import Database, DatabaseError
from flags import User, add_flags, with_flags
from membership import Membership
from node import SCHEMAS, Node
from programs import (
    ArgumentParser,
    StartError,
    address_argument,
    bind,
    forget_output,
    hold_signals,
    load_key,
    own_directory,
    port_argument,
    prepare_process,
    prepare_tls,
    run_program,
    run_until_told,
)
from settings import Settings

DEFAULT_INTRODUCER = Address("127.0.0.1", 8000)
DEFAULT_PIN = Path("introducer_pub.b64u")
_PIN_MOST = 4096  # bytes; a public key takes 734


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description="Run a SOCP server.", allow_abbrev=False)
    parser.add_argument("--port", type=port_argument, required=True, help="port to listen on; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--introducer",
        type=address_argument,
        action="append",
        metavar="HOST:PORT",
        help=f"where an introducer is (default: {DEFAULT_INTRODUCER}); may be repeated",
    )
    parser.add_argument(
        "--introducer-pub",
        action="append",
        metavar="FILE|B64U",
        help="an introducer's public key, or the file it exported; may be repeated "
        f"(default: $INTRODUCER_PUB_B64U, else ./{DEFAULT_PIN})",
    )
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="keys and database (default: data/server-N)")
    parser.add_argument(
        "--advertise",
        type=address_argument,
        metavar="HOST:PORT",
        help="where other servers and clients reach this one, if not where it listens",
    )
    parser.add_argument(
        "--users",
        type=Path,
        metavar="FILE",
        help="let these user ids alone attach here: one a line, # for comments; read again on SIGHUP",
    )
    parser.add_argument(
        "--deny", type=Path, metavar="FILE", help="let these user ids not attach here; a list like that of --users"
    )
    parser.add_argument(
        "--log-level",
        default="INFO",
        type=str.upper,
        choices=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
        metavar="L",
        help="DEBUG, INFO, WARNING, ERROR or CRITICAL (default: %(default)s)",
    )
    add_flags(parser, User.SERVER)
    add_tls_flags(parser)
    arguments = parser.parse_args(argv)
    check_tls_flags(parser, arguments)
    return arguments


def read_pins(given: Sequence[str] | None) -> dict[str, PublicKey]:
    """Return the pinned introducers' keys by id.

    Args:
        given: the values of --introducer-pub.

    Raises:
        StartError: there is none, or one is not a public key.
    """
    sources = list(given or ())
    if not sources and (variable := os.environ.get("INTRODUCER_PUB_B64U")):
        sources = variable.split()
    if not sources and DEFAULT_PIN.exists():
        sources = [str(DEFAULT_PIN)]
    if not sources:
        raise StartError(
            "no introducer is pinned, and this server believes no key that it was not given. Copy the file "
            f"{DEFAULT_PIN} that the introducer has exported here, or name it with --introducer-pub FILE, or put "
            "the key into $INTRODUCER_PUB_B64U."
        )
    pins = [_read_pin(source) for source in sources]
    return {key.id: key for key in pins}


def _read_pin(source: str) -> PublicKey:
    text, path = source, Path(source)
    # A key is 734 characters in one piece: longer than a file's name can be, and never one.
    if len(source) < 256:
        try:
            with path.open("rb") as file:
                text = file.read(_PIN_MOST).decode("ascii")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise StartError(f"cannot read the introducer's public key from {path}: {reason}") from error
    try:
        return read_public_key(text.strip())
    except BadKey as error:
        where = path if len(source) < 256 else "--introducer-pub or $INTRODUCER_PUB_B64U"
        raise StartError(f"{where}: {error}; get introducer_pub.b64u from the introducer again") from error


def _reachable(arguments: argparse.Namespace, bound: Address) -> Address:
    advertised: Address | None = arguments.advertise
    if advertised is None and not bound.is_wildcard:
        return bound
    if advertised is None or advertised.is_wildcard:
        raise StartError(
            f"{bound.host} stands for every address of this machine, and nobody can connect to that: "
            "say where others reach this server with --advertise host:port"
        )
    return advertised


def _registered(membership: Membership) -> None:
    try:
        say(f"[Server] Registered with introducer as {membership.server_id}")
    except BrokenPipeError:
        forget_output()  # nobody reads that any more, which is no reason not to serve


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    pins = read_pins(arguments.introducer_pub)
    _reachable(arguments, Address(arguments.host, arguments.port))
    try:
        access = Access("user", only=arguments.users, but=arguments.deny)
    except ListError as error:
        raise StartError(str(error)) from error
    data: Path = arguments.data_dir or Path("data") / f"server-{arguments.port}"
    with contextlib.ExitStack() as stack:
        stack.enter_context(own_directory(data))
        pair, password = load_key(data / "server_key.pem", "SERVER_KEY_PASS")
        context = prepare_tls(pair, data / "server_key.pem", password)
        try:
            database = Database(data / "directory.sqlite3", SCHEMAS, settings.timers.disk_retry)
            stack.enter_context(hold_signals(hangup=access.is_limited))
            node = Node(
                KeySigner(pair),
                settings,
                database,
                context=context,
                pins=pins,
                introducers=arguments.introducer or [DEFAULT_INTRODUCER],
                registered=_registered,
                access=access,
            )
            bound = bind(node.host, Address(arguments.host, arguments.port))
            node.start(_reachable(arguments, bound))
        except DatabaseError as error:
            raise StartError(str(error)) from error
        say(f"[Server] Server running on {bound}")
        run_until_told(node.stop, node.read_again if access.is_limited else None)
        say("[Server] Stopped")
    return 0


def main(argv: Sequence[str] | None = None, settings: Settings | None = None) -> int:
    """Run a server until it is told to stop; returns the exit code."""
    arguments = _arguments(argv)
    speak_utf8()
    start_logging(arguments.log_level)
    prepare_process()
    settings = with_tls_flags(with_flags(settings or Settings(), arguments), arguments)
    return run_program("Server", lambda: _run(arguments, settings))


if __name__ == "__main__":
    sys.exit(main())
