"""magic-wormhole through its own relay on this machine, where it is installed: what our files are compared with.

`wormhole` and `twist` must be found, with its mailbox server and its transit relay installed beside them; all else is
told to speak to those alone, and to nobody directly.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.machine import PATIENCE, BenchmarkError

_CODE = "1-benchmark-loopback"
_TRY_EVERY = 0.1  # seconds: a program that is being started does not tell when it listens


def installed() -> bool:
    """Whether magic-wormhole and what runs its relays are found."""
    return shutil.which("wormhole") is not None and shutil.which("twist") is not None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def _running(directory: Path, plugin: str, port: int, *arguments: str) -> Iterator[None]:
    """Run one of its relays until it listens."""
    log = directory / f"{plugin}.log"
    command = ["twist", f"--log-file={log}", plugin, f"--port=tcp:{port}:interface=127.0.0.1", *arguments]
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_listening(plugin, port, process)
            yield
        finally:
            process.terminate()


def _wait_listening(plugin: str, port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(_TRY_EVERY)
    raise BenchmarkError(f"{plugin} of magic-wormhole does not start")


def send(directory: Path, path: Path) -> float:
    """Send a file through its relay, and return the seconds from the first of its bytes to the last, at the recipient.

    Raises:
        BenchmarkError: it did not arrive.
    """
    mailbox, transit = _free_port(), _free_port()
    timing, received = directory / "timing.json", directory / "received"
    received.unlink(missing_ok=True)
    where = ["wormhole", f"--relay-url=ws://127.0.0.1:{mailbox}/v1", f"--transit-helper=tcp:127.0.0.1:{transit}"]
    quiet = ["--hide-progress", "--no-listen"]
    with (
        _running(directory, "wormhole-mailbox", mailbox, f"--channel-db={directory / 'mailbox.sqlite'}"),
        _running(directory, "transitrelay", transit),
        subprocess.Popen(
            [*where, "send", *quiet, "--code", _CODE, str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as sender,
    ):
        try:
            taking = [*where, f"--dump-timing={timing}", "receive", *quiet, "--accept-file", "-o", str(received), _CODE]
            subprocess.run(taking, check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            sender.wait(PATIENCE)
        except subprocess.SubprocessError as error:
            raise BenchmarkError(f"magic-wormhole: {error}") from None
        finally:
            sender.kill()
    if received.stat().st_size != path.stat().st_size:
        raise BenchmarkError("magic-wormhole did not bring the whole file")
    (event,) = (event for event in json.loads(timing.read_text("utf-8")) if event["name"] == "rx file")
    return float(event["stop"]) - float(event["start"])
