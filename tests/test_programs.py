"""What the programs share."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import io
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from addresses import Address
from exits import Exit
from programs import (
    ArgumentParser,
    StartError,
    address_argument,
    load_key,
    own_directory,
    port_argument,
    run_client,
    run_program,
)
from tests.vectors import key


class ArgumentsTest(unittest.TestCase):
    """Values of arguments."""

    def test_ports(self) -> None:
        """Ports are numbers from 0 to 65535."""
        self.assertEqual([port_argument(text) for text in ("0", "65535")], [0, 65535])
        for text in ("", "-1", "65536", "x", "1.0", "\u0661"):
            self.assertRaises(argparse.ArgumentTypeError, port_argument, text)

    def test_addresses(self) -> None:
        """Addresses are host:port, and the error says so."""
        self.assertEqual(address_argument("[::1]:5"), Address("::1", 5))
        with self.assertRaisesRegex(argparse.ArgumentTypeError, "host:port"):
            address_argument("nowhere")

    def test_wrong_arguments(self) -> None:
        """What is repeated of a wrong argument is made visible."""
        parser = ArgumentParser(prog="test.py")
        parser.add_argument("--port", type=port_argument)
        with contextlib.redirect_stderr(io.StringIO()) as stream, self.assertRaises(SystemExit) as ended:
            parser.parse_args(["--port", "1", "\x1b[31m\nforged \u202e"])
        self.assertEqual(ended.exception.code, 2)
        self.assertIn("unrecognized arguments: \\x1b[31m\\nforged \\u202e\n", stream.getvalue())


_ALLOCATING = """
import resource
from programs import prepare_process
prepare_process()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use():
    frames = [bytearray(1_000_000) for _ in range(3)]
use()
before = faults()
for _ in range(100):
    use()
print(faults() - before)
"""


class MemoryTest(unittest.TestCase):
    """What is freed, and needed again at once."""

    def run_python(self, program: str) -> str:
        """Run a program, whose limits and memory are its own; return what it prints."""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        return done.stdout

    @unittest.skipUnless(hasattr(ctypes.CDLL(None), "mallopt"), "this C library knows nothing of that")
    def test_kept(self) -> None:
        """Memory for large frames is not given back to the system and asked for again with each."""
        self.assertLess(int(self.run_python(_ALLOCATING)), 1000)  # of 73,000 pages

    def test_other_libraries(self) -> None:
        """A C library without that call is left alone."""
        without = "import ctypes; ctypes.CDLL = lambda name: object()"
        self.assertTrue(self.run_python(without + _ALLOCATING))

    def test_without_ctypes(self) -> None:
        """A Python that was built without libffi, and so has no ctypes, runs all programs."""
        without = "import sys; sys.modules['_ctypes'] = None; import client, introducer, server"
        self.assertTrue(self.run_python(without + _ALLOCATING))


class DirectoryTest(unittest.TestCase):
    """A data directory for one process at a time."""

    def setUp(self) -> None:
        """Make a place for it."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "a" / "data"

    def test_one_at_a_time(self) -> None:
        """It is made with mode 0700, and kept to whoever has it, until that ends."""
        with own_directory(self.path):
            self.assertEqual(self.path.stat().st_mode & 0o777, 0o700)
            with self.assertRaisesRegex(StartError, "in use"), own_directory(self.path):
                self.fail("two at a time")
        with own_directory(self.path):
            self.assertTrue((self.path / "lock").exists())

    def test_unusable(self) -> None:
        """One that cannot be made is named with the reason."""
        self.path.parent.mkdir()
        self.path.touch()
        with self.assertRaisesRegex(StartError, f"cannot use the directory {self.path}"), own_directory(self.path):
            self.fail("it is a file")

    def test_key(self) -> None:
        """A key is read with the password of its variable, which a wrong one names."""
        file = self.path / "key.pem"
        with mock.patch.dict(os.environ, {"TEST_PASS": "right"}):
            self.path.mkdir(parents=True, mode=0o700)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(descriptor, key("alice").to_pem("right"))
            os.close(descriptor)
            pair, password = load_key(file, "TEST_PASS")
            self.assertEqual((pair.id, password), (key("alice").id, "right"))
            self.assertNotIn("TEST_PASS", os.environ, "whatever is started later would have it")
        with mock.patch.dict(os.environ, {"TEST_PASS": "wrong"}), self.assertRaisesRegex(StartError, r"\$TEST_PASS"):
            load_key(file, "TEST_PASS")
        file.chmod(0o644)
        with self.assertRaisesRegex(StartError, "chmod 600"):
            load_key(file, "TEST_PASS")


class RunTest(unittest.TestCase):
    """From a program's beginning to its end."""

    def test_codes(self) -> None:
        """What stops a program becomes an exit code, and at most one line."""

        def refuse() -> int:
            raise StartError("no \x1b[31m way")

        def interrupt() -> int:
            raise KeyboardInterrupt

        for main, code, said in (
            (lambda: 7, 7, ""),
            (refuse, 1, "[Test] no \\x1b[31m way\n"),
            (interrupt, 130, ""),
        ):
            with contextlib.redirect_stderr(io.StringIO()) as stream:
                self.assertEqual(run_program("Test", main), code)
            self.assertEqual(stream.getvalue(), said)

    def test_client(self) -> None:
        """What stops a client is told as an error and a hint, with a code of its own."""

        def refuse() -> int:
            raise StartError("no \x1b[31m way", "another", Exit.BAD_KEY)

        with contextlib.redirect_stderr(io.StringIO()) as stream:
            self.assertEqual(run_client(refuse), 5)
        self.assertEqual(stream.getvalue(), "socp: error: no \\x1b[31m way\nsocp: hint: another\n")
        self.assertEqual(run_client(lambda: 7), 7)

    def test_told_to_end(self) -> None:
        """Each of the signals that end a program is waited for, by whatever thread it arrives, and ends it in order."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self.assertEqual(self.run_script("", f"os.kill(os.getpid(), {int(number)})"), "stopped\n")

    def test_read_again(self) -> None:
        """SIGHUP has a program that has lists read them again, also below nohup; it ends without any."""
        kill = "os.kill(os.getpid(), 1); os.kill(os.getpid(), 15)"
        for shell in ("", 'trap "" HUP; '):
            said = self.run_script(shell, kill, hold="hangup=True", told=", read_again=lambda: print('read')")
            self.assertEqual(said, "read\nstopped\n")

    def test_end_by_force(self) -> None:
        """A program that hangs in its output, which nobody reads, ends all the same, with the code that it was to."""
        script = (
            "import sys, programs\nprograms.end_by_force(0.1, 7)\nwhile True:\n    sys.stdout.write('x' * 65_536)\n"
        )
        command = [sys.executable, "-c", script]
        with subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE) as process:
            try:
                self.assertEqual(process.wait(30), 7)
            finally:
                process.kill()

    def test_held_up(self) -> None:
        """A program whose end is held up, as by a log that nobody reads, is ended after a while."""
        script = (
            "import os, threading, programs\nprograms._END_MOST = 0.1\nwith programs.hold_signals():\n"
            "    os.kill(os.getpid(), 15)\n    programs.run_until_told(threading.Event().wait)\n"
        )
        command = [sys.executable, "-c", script]
        self.assertEqual(subprocess.run(command, cwd=Path(__file__).parents[1], timeout=30, check=False).returncode, 1)

    def test_ignored_signals_stay_ignored(self) -> None:
        """A signal that the parent has a program ignore, as nohup does, does not end it."""
        kill = "os.kill(os.getpid(), signal.SIGHUP); threading.Timer(0.2, os.kill, (os.getpid(), 15)).start()"
        ignored = "; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
        self.assertEqual(self.run_script('trap "" HUP; ', kill + ignored), "True\nstopped\n")

    def run_script(self, shell: str, kill: str, hold: str = "", told: str = "") -> str:
        """Run a program of its own that kills itself while it holds signals, and return what it prints."""
        script = (
            "import os, signal, threading; from programs import hold_signals, run_until_told\n"
            f"with hold_signals({hold}):\n"
            "    threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
            f"    {kill}\n"
            f"    run_until_told(lambda: print('stopped'){told})\n"
        )
        done = subprocess.run(
            ["sh", "-c", f'{shell}exec "$0" -c "$1"', sys.executable, script],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            text=True,
            timeout=30,
            check=True,
        )
        return done.stdout
