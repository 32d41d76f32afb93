"""What the programs share: how they read their arguments' values, end in order, and say what went wrong."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import resource
import signal
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from addresses import Address, AddressError, read_address
from certificates import acceptor_context
from console import complain, restore_terminal
from crypto.keys import KeyFileError, KeyPair, WrongPassword, open_key_file
from display import visible
from exits import Exit, explain
from host import Host
from threads import STACK_BYTES

_END_MOST = 15.0  # seconds: three times what an orderly end takes
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
# Freed memory that is kept for each core's threads: what passes while a window of chunks of a file is under way.
_KEPT_BYTES = 4 * 1024 * 1024


class StartError(Exception):
    """Raised when a program cannot start, or not do what it was started for; the message says what is wrong.

    Attributes:
        hint: what would help, where the message does not say that.
        code: the exit code.
    """

    def __init__(self, message: str, hint: str = "", code: int = Exit.FAILURE) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


class ArgumentParser(argparse.ArgumentParser):
    """Reads a program's arguments; what it says of a wrong one, which it repeats, is made visible."""

    def error(self, message: str) -> NoReturn:
        """End the program with code 2, and say what is wrong."""
        super().error(visible(message))


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
    """Make room for many links (small stacks, as many open files as we may have), and leave no core file behind."""
    threading.stack_size(STACK_BYTES)
    _keep_freed_memory()
    # A core file would hold the private key, its password and whatever is being said. Where Linux pipes it to a program
    # (kernel.core_pattern), a limit of one byte alone stops that; and no file is made then either.
    limit = 1 if sys.platform == "linux" and resource.getrlimit(resource.RLIMIT_CORE)[1] != 0 else 0
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS says "unlimited" and takes no more than this.
    wanted = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 10_240
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _keep_freed_memory() -> None:
    """Have glibc keep what a few large frames took, where it would give it back to the system after each of them.

    The system fills each page with zeros when it is asked for again. That was a seventh of all that a file cost.
    """
    try:
        import ctypes  # noqa: PLC0415 - a Python that was built without libffi has none, and is as good otherwise

        mallopt = ctypes.CDLL(None).mallopt
    except (ImportError, AttributeError, OSError):
        return  # another C library, which does as it likes
    for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
        mallopt(parameter, _KEPT_BYTES)


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


def load_key(path: Path, variable: str) -> tuple[KeyPair, str]:
    """Return the private key at `path`, made if there is none, and its password.

    Args:
        path: its file.
        variable: the name of the environment variable that holds its password; it is removed, so that nothing that is
            started or printed later has it.

    Raises:
        StartError: it cannot or must not be used.
    """
    try:
        password = os.environ.pop(variable, "")
        return open_key_file(path, password), password
    except WrongPassword as error:
        raise StartError(f"{error} (it is taken from ${variable})") from error
    except KeyFileError as error:
        raise StartError(str(error)) from error


def prepare_tls(pair: KeyPair, key_file: Path, password: str) -> ssl.SSLContext:
    """Return what TLS is done with on a port, with a key and its password from `load_key`.

    Raises:
        StartError: its certificate cannot be written, or not be used with the key.
    """
    try:
        return acceptor_context(pair, key_file, password)
    except OSError as error:
        raise StartError(f"cannot make a certificate of the key {key_file}: {error.strerror or error}") from error


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


def run_until_told(stop: Callable[[], None], read_again: Callable[[], None] | None = None) -> None:
    """Wait for SIGTERM, SIGINT or SIGHUP, and call `stop`; nothing that holds that up keeps the process for long.

    `hold_signals` must have been entered before any thread was started.

    Args:
        stop: ends the program.
        read_again: called for SIGHUP in its place, by a program that has lists to read again.
    """
    while signal.sigwait(_endings()) == signal.SIGHUP and read_again is not None:
        read_again()
    end_by_force(_END_MOST, 1)
    stop()


def _endings() -> list[signal.Signals]:
    """Return the signals that end a program; not those that its parent had it ignore, as nohup does."""
    endings = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    return [ending for ending in endings if signal.getsignal(ending) is not signal.SIG_IGN]


@contextlib.contextmanager
def hold_signals(*, hangup: bool = False) -> Iterator[None]:
    """Keep the signals that end a program from everybody but `run_until_told`.

    Blocked and waited for, a signal interrupts nothing half-way and needs no handler that could find a lock taken.

    Args:
        hangup: SIGHUP is for `read_again`, and waited for also where the parent has it ignored, as nohup does: it ends
            nothing then.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP, *_endings()] if hangup else _endings())
    if hangup:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_by_force(seconds: float, code: int) -> None:
    """Have the process end in so many seconds, whatever still holds it up then.

    No thread can be taken out of a write to a terminal that takes nothing (Ctrl-S), or to a pager that waits for a key;
    and Python itself waits for that before it ends.

    Args:
        seconds: more than an orderly end takes.
        code: the exit code.
    """
    timer = threading.Timer(seconds, _end, (code,))
    timer.name = "end"
    timer.daemon = True
    timer.start()


def _end(code: int) -> None:
    restore_terminal()
    os._exit(code)


def run_program(name: str, main: Callable[[], int]) -> int:
    """Run the main function of a server or an introducer, and turn what stops it into one line and an exit code."""
    return _run(main, lambda error: complain(f"[{name}] {error}"))


def run_client(main: Callable[[], int]) -> int:
    """Run the main function of a client, and turn what stops it into an error, a hint and an exit code."""
    return _run(main, lambda error: explain(str(error), error.hint))


def _run(main: Callable[[], int], tell: Callable[[StartError], None]) -> int:
    try:
        return main()
    except StartError as error:
        tell(error)
        return int(error.code)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    except BrokenPipeError:
        forget_output()
        return int(Exit.FAILURE)


def forget_output() -> None:
    """Go on without standard output, whose reader has left; Python would complain of it while it flushes at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
