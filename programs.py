"""What the programs share: how they read their arguments' values, end in order, and say what went wrong."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from addresses import Address, AddressError, read_address
from console import complain
from crypto.keys import KeyFileError, KeyPair, WrongPassword, open_key_file
from host import Host
from threads import STACK_BYTES


class StartError(Exception):
    """Raised when a program cannot start; the message says what to do about it."""


def address_argument(text: str) -> Address:
    """Read host:port for argparse."""
    try:
        return read_address(text)
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def port_argument(text: str) -> int:
    """Read a port for argparse; 0 stands for a free one."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: use 0 to 65535")
    return int(text)


def prepare_process() -> None:
    """Make room for many links: small stacks, and as many open files as we may have."""
    threading.stack_size(STACK_BYTES)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS says "unlimited" and takes no more than this.
    wanted = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 10_240
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def own_directory(path: Path) -> Iterator[None]:
    """Keep a data directory to one process at a time, for as long as this lasts.

    Raises:
        StartError: it cannot be made or used, or another process has it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Never unlinked: a lock on a file that another process can no longer find would keep nobody out.
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StartError(f"cannot use the directory {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise StartError(f"the directory {path} is in use by another running program") from error
    finally:
        os.close(descriptor)


def load_key(path: Path, variable: str) -> KeyPair:
    """Return the private key at `path`, made if there is none.

    Args:
        path: its file.
        variable: the name of the environment variable that holds its password.

    Raises:
        StartError: it cannot or must not be used.
    """
    try:
        return open_key_file(path, os.environ.get(variable, ""))
    except WrongPassword as error:
        raise StartError(f"{error} (it is taken from ${variable})") from error
    except KeyFileError as error:
        raise StartError(str(error)) from error


def bind(host: Host, wanted: Address) -> Address:
    """Take a host's port, and return the address with its real number.

    Raises:
        StartError: it cannot be had.
    """
    try:
        return host.bind(wanted)
    except OSError as error:
        raise StartError(
            f"cannot listen on {wanted}: {error.strerror}; choose another with --host and --port"
        ) from error


def run_until_told(stop: Callable[[], None]) -> None:
    """Wait for SIGTERM, SIGINT or SIGHUP, and call `stop`.

    `hold_signals` must have been entered before any thread was started.
    """
    signal.sigwait(_endings())
    stop()


def _endings() -> list[signal.Signals]:
    """Return the signals that end a program; not those that its parent had it ignore, as nohup does."""
    endings = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    return [ending for ending in endings if signal.getsignal(ending) is not signal.SIG_IGN]


@contextlib.contextmanager
def hold_signals() -> Iterator[None]:
    """Keep the signals that end a program from everybody but `run_until_told`.

    Blocked and waited for, a signal interrupts nothing half-way and needs no handler that could find a lock taken.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _endings())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_program(name: str, main: Callable[[], int]) -> int:
    """Run a program's main function, and turn what stops it into one line and an exit code."""
    try:
        return main()
    except StartError as error:
        complain(f"[{name}] {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        forget_output()
        return 1


def forget_output() -> None:
    """Go on without standard output, whose reader has left; Python would complain of it while it flushes at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
