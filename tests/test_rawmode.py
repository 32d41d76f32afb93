"""A terminal is given back as it was, however the program in it ends or stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import termios
import unittest
from pathlib import Path

from rawmode import RawMode
from tests.terminals import PATIENCE, Terminal

ROOT = Path(__file__).resolve().parent.parent
CTRL_BACKSLASH, CTRL_Z = "\x1c", "\x1a"

# A program with a screen, which does what is typed.
PROGRAM = """
import sys, threading
from screen import Span
from terminal import TerminalScreen
screen = TerminalScreen()
while (line := screen.next()) is not None:
    if line == "bug":
        raise ValueError("a bug")
    if line == "exit":
        sys.exit(5)
    if line == "force":
        from programs import end_by_force
        end_by_force(0.0, 7)
        threading.Event().wait()
    screen.show([Span(f"typed: {line}")])
screen.close()
"""
# It becomes the leader of the terminal's session, as in a window of its own.
ALONE = f"import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n{PROGRAM}"
# A shell with one job.
SHELL = """
import fcntl, os, signal, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
def begin():
    os.setpgrp()
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
job = subprocess.Popen([sys.executable, "-c", sys.argv[1]], preexec_fn=begin)
_, status = os.waitpid(job.pid, os.WUNTRACED)
os.tcsetpgrp(0, os.getpgrp())
os.write(1, b"stopped\\n" if os.WIFSTOPPED(status) else b"ended\\n")
while input() != "fg":
    pass
os.tcsetpgrp(0, job.pid)
os.kill(job.pid, signal.SIGCONT)
_, status = os.waitpid(job.pid, 0)
os.tcsetpgrp(0, os.getpgrp())
print("ended with", os.waitstatus_to_exitcode(status), flush=True)
"""


class RawModeTest(unittest.TestCase):
    """The modes of a terminal."""

    def test_entered_and_left(self) -> None:
        """Keys come at once while it is entered, and what the terminal was set to comes back."""
        terminal = Terminal(self, 20, 5)
        mode = RawMode(terminal.theirs, terminal.theirs, sequences=True)
        mode.leave()
        self.assertFalse(terminal.is_raw())
        mode.enter()
        self.assertTrue(terminal.is_raw())
        terminal.wait_for(lambda vt: 2004 in vt.modes)
        mode.close()
        mode.close()
        self.assertFalse(terminal.is_raw())
        terminal.wait_for(lambda vt: vt.modes == {7})

    def test_no_terminal(self) -> None:
        """What is no terminal is refused."""
        with open(os.devnull, "rb") as stream:
            self.assertRaises(OSError, RawMode, stream.fileno(), 1, sequences=True)


class ProgramTest(unittest.TestCase):
    """A program in a terminal of its own."""

    def start(self, script: str, *arguments: str) -> tuple[Terminal, subprocess.Popen[bytes]]:
        """Start a program, and wait for its input's row."""
        terminal = Terminal(self, 60, 12)
        process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm"},
            stdin=terminal.theirs,
            stdout=terminal.theirs,
            stderr=terminal.theirs,
            start_new_session=True,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        terminal.wait_for(lambda vt: vt.line == ">")
        self.assertTrue(terminal.is_raw())
        return terminal, process

    def assert_given_back(self, terminal: Terminal, process: subprocess.Popen[bytes], code: int) -> None:
        """Wait for a program's end, and check what it leaves behind."""
        self.assertEqual(process.wait(PATIENCE), code)
        self.assertFalse(terminal.is_raw())
        terminal.wait_for(lambda vt: vt.modes == {7})

    def test_ended(self) -> None:
        """It does not matter whether it ends in order, by a bug, by force, or by a key."""
        for keys, code in (("\x04", 0), ("exit\r", 5), ("bug\r", 1), ("force\r", 7), (CTRL_BACKSLASH, -signal.SIGQUIT)):
            with self.subTest(keys):
                terminal, process = self.start(ALONE)
                terminal.type(keys)
                self.assert_given_back(terminal, process, code)

    def test_killed(self) -> None:
        """Nor by which signal it is told to end."""
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            with self.subTest(number):
                terminal, process = self.start(ALONE)
                process.send_signal(number)
                self.assert_given_back(terminal, process, -number)

    def test_stopped(self) -> None:
        """Ctrl-Z gives the terminal to the shell, and all is there again when that has the program go on."""
        terminal, process = self.start(SHELL, PROGRAM)
        terminal.type("before\rhalf\x1b[D")
        terminal.expect("typed: before", "> half")
        terminal.type(CTRL_Z)
        terminal.wait_for(lambda vt: "stopped" in vt.text)
        self.assertFalse(terminal.is_raw())
        self.assertNotIn("half", terminal.vt.text)
        terminal.resize(30, 6)
        terminal.type("fg\n")
        terminal.wait_for(lambda vt: vt.text == "typed: before\n> half" and vt.before == "> hal")
        self.assertTrue(terminal.is_raw())
        self.assertIn("stopped", terminal.vt.gone)
        terminal.type("\x05\r\x04")
        terminal.wait_for(lambda vt: "ended with 0" in vt.text)
        self.assertIn("typed: half", terminal.vt.text)
        self.assert_given_back(terminal, process, 0)

    def test_stopped_from_outside(self) -> None:
        """Whoever stops the program with a signal may leave the terminal as they like: all is there again."""
        terminal, process = self.start(ALONE)
        terminal.type("half\x1b[D")
        terminal.wait_for(lambda vt: vt.before == "> hal")
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        mode = termios.tcgetattr(terminal.theirs)
        mode[3] |= termios.ICANON | termios.ECHO
        termios.tcsetattr(terminal.theirs, termios.TCSANOW, mode)
        terminal.write("\r\nrubbish")
        terminal.wait_for(lambda vt: vt.line == "rubbish")
        process.send_signal(signal.SIGCONT)
        terminal.wait_for(lambda vt: vt.text == "> half" and vt.before == "> hal")
        self.assertTrue(terminal.is_raw())

    def test_nobody_to_stop_for(self) -> None:
        """Where there is no shell, Ctrl-Z stops nothing."""
        terminal, process = self.start(ALONE)
        terminal.type(CTRL_Z + "going on\r")
        terminal.wait_for(lambda vt: vt.text == "typed: going on\n>")
        terminal.type("\x04")
        self.assert_given_back(terminal, process, 0)

    def test_hung_up(self) -> None:
        """A terminal that goes away ends the input, and the program with it."""
        terminal, process = self.start(f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{ALONE}")
        terminal.let_go()
        terminal.hang_up()
        self.assertEqual(process.wait(PATIENCE), 0)
