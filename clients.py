"""What a client is run for, and how signals end it, whatever it is."""

from __future__ import annotations

import signal
from functools import partial

from chatting import Chatting, Told
from console import complain, speak_utf8, start_logging
from exits import Exit
from keytool import run_key
from options import Options
from programs import prepare_process, run_client
from scripts import run_script
from settings import Settings


def run(options: Options, settings: Settings | None = None) -> int:
    """Run a client in this process; returns the exit code.

    Args:
        options: what the person or the script has asked for.
        settings: timers and limits, if not those of the protocol.
    """
    speak_utf8()
    start_logging("WARNING")
    prepare_process()
    ended = Exit.FAILURE if options.command else Exit.DONE  # what a script asks for is not done; a chat is over
    for ending, code in ((signal.SIGINT, Exit.INTERRUPTED), (signal.SIGTERM, ended), (signal.SIGHUP, ended)):
        if signal.getsignal(ending) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(ending, partial(_raise_told, code))
    try:
        return run_client(partial(_run, options, settings or Settings()))
    except Told as told:
        complain("")
        return int(told.args[0])


def _run(options: Options, settings: Settings) -> int:
    if options.command == "key":
        return run_key(options)
    if options.command:
        return run_script(options, settings)
    return Chatting(options, settings).run()


def _raise_told(code: int, *_: object) -> None:
    raise Told(code)
