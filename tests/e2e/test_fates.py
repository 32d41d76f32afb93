"""What becomes of the messages of real clients, whatever is killed, full or away."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import sys
import unittest
from contextlib import closing
from pathlib import Path

import socp
from socp import ACK, MSG_DIRECT
from tests.e2e.harness import FAST, NetworkTest, Program
from tests.peer import Peer
from tests.vectors import key


class FatesTest(NetworkTest):
    """One server that no introducer answers, with alice and bob."""

    factor = FAST

    def setUp(self) -> None:
        """Start the server."""
        super().setUp()
        (self.directory / "introducer.b64u").write_text(key("introducer").public.text, "ascii")
        self.start_server()

    def start_server(self, port: int = 0) -> None:
        """Start the server, at the port that it had before."""
        self.program, self.port = self.server("server", 1, port=port, registered=False)

    def tell(self, sender: Program, text: str, to: str = "bob") -> None:
        """Have a client take a message."""
        mark = sender.mark()
        sender.type(f"/tell {key(to).id} {text}")
        sender.expect(r"\[DM to .*\] sent \(#\d+\)$", after=mark)

    def shown(self, program: Program, text: str) -> int:
        """Return how often a client has shown a message."""
        return sum(line.endswith(f"] {text}") for line in program.lines)

    def test_sender_is_killed(self) -> None:
        """What was taken when there was no server is sent by the next client of the profile, and numbers go on."""
        alice, bob = self.client("alice", self.port), self.client("bob", self.port)
        self.tell(alice, "one")
        alice.expect(r"\[DM to bob · .*\] delivered \(#1\)$")
        self.program.kill()
        alice.expect(r"\[Server\] connection lost")
        self.tell(alice, "two")
        alice.kill()
        self.start_server(self.port)
        bob.expect(r"\[Server\] connected again")
        alice = self.client("alice", self.port)
        alice.expect(r"\[Note\] 1 message\(s\) of before are not confirmed yet; they are sent again$")
        bob.expect(r"\[DM from alice · .*\] two$")
        alice.expect(r"\[DM to bob · .*\] delivered \(#2\)$")
        self.tell(alice, "three")
        alice.expect(r"\[DM to bob · .*\] delivered \(#3\)$")
        bob.expect(r"\[DM from alice · .*\] three$")  # it was printed: this process may not have read it yet
        self.assertEqual([self.shown(bob, text) for text in ("one", "two", "three")], [1, 1, 1])

    def test_away(self) -> None:
        """What is written to somebody who is away is stored, shown in order when they come, and confirmed then."""
        bob = self.client("bob", self.port)
        bob.signal(signal.SIGTERM)
        bob.wait()
        alice = self.client("alice", self.port)
        for number in range(5):
            self.tell(alice, f"number {number}")
            alice.expect(rf"\[DM to bob · .*\] stored until the user is back \(#{number + 1}\)$")
        alice.end_input()
        self.assertEqual(alice.wait(), 0)  # a server has taken charge of all
        self.program.kill()
        self.start_server(self.port)
        bob = self.client("bob", self.port)
        bob.expect(r"\[DM from alice · .*\] number 4$")
        self.assertEqual([line[-1] for line in bob.lines if "] number " in line], list("01234"))
        alice = self.client("alice", self.port)  # was away when the receipts came
        for number in range(5):
            alice.expect(rf"\[DM to bob · .*\] delivered \(#{number + 1}\)$")
        self.assertEqual([self.shown(bob, f"number {number}") for number in range(5)], [1] * 5)

    def test_never_twice(self) -> None:
        """A message that comes again to a client that was killed and started anew is confirmed, and not shown."""
        bob = self.client("bob", self.port)
        with Peer(self.port, "dave") as dave:
            dave.attach_user()
            ts = socp.now_ms()
            payload = dave.message("bob", "only once", ts)
            for count in range(2):
                dave.send(MSG_DIRECT, payload, to=key("bob").id, ts=ts)
                self.assertEqual(dave.expect(ACK).payload["status"], "delivered")
                if count == 0:
                    bob.expect(r"\] only once$")
                self.assertEqual(self.shown(bob, "only once"), 1 - count)
                bob.kill()
                bob = self.client("bob", self.port)

    def test_file_goes_on(self) -> None:
        """A file begins anew after its recipient was killed, goes on after its server was, and leaves no part."""
        alice, bob = self.client("alice", self.port), self.client("bob", self.port)
        path = self.directory / "large"
        path.write_bytes(os.urandom(48 * 1024 * 1024))
        alice.type(f"/file {key('bob').id} {path}")
        bob.expect(r"\[File from alice · .*\] receiving large")
        bob.kill()
        alice.expect(r"\[File to bob · .*\] large interrupted: the recipient is not online$")
        bob = self.client("bob", self.port)
        alice.expect(r"\[File to bob · .*\] large goes on$")
        bob.expect(r"\[File from alice · .*\] receiving large")
        mark = alice.mark()
        self.program.kill()
        alice.expect(r"\[File to bob · .*\] large interrupted: (the connection was lost|not connected)", after=mark)
        self.start_server(self.port)
        alice.expect(r"\[File to bob · .*\] large goes on$", after=mark)
        saved = bob.expect(r"\[File from alice · .*\] saved (.*/large) \(50,331,648 bytes\)$")
        alice.expect(r"\[File to bob · .*\] large delivered")
        self.assertEqual(Path(saved[1]).read_bytes(), path.read_bytes())
        self.assertEqual([file.name for file in (self.directory / "bob-files").iterdir()], ["large"])
        self.assertEqual(len([line for line in bob.lines if "receiving large" in line]), 1)  # it did not begin anew

    @unittest.skipUnless(hasattr(resource, "prlimit"), "limits of another process can be set on Linux alone")
    def test_full_disk(self) -> None:
        """With a full disk nothing is taken and nothing shown, which is said; what waits arrives when there is room."""
        alice, bob = self.client("alice", self.port), self.client("bob", self.port)
        self.tell(alice, "before")
        bob.expect("before$")
        fill(alice)
        alice.type(f"/tell {key('bob').id} not taken")
        alice.expect(r"\[Error\] cannot write to .*messages\.sqlite3: .*; nothing was sent$")
        free(alice)
        fill(bob)
        self.tell(alice, "waits")
        bob.expect(r"\[Note\] cannot write to .*; until it can be written to, messages wait$")
        free(bob)
        bob.expect("] waits$")  # alice's client sends it again
        alice.expect(r"\[DM to bob · .*\] delivered \(#2\)$")
        self.assertEqual([self.shown(bob, text) for text in ("before", "not taken", "waits")], [1, 0, 1])

    def test_databases_of_no_use(self) -> None:
        """A profile whose database is damaged, newer or cannot be made is refused, with the reason."""
        profile = self.directory / "profiles" / "alice"
        alice = self.client("alice", self.port)
        alice.signal(signal.SIGTERM)
        alice.wait()
        file = profile / "messages.sqlite3"
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA user_version = 9")
        arguments = ("--server", self.port, "--profile", "alice", "--data-dir", profile.parent)
        newer = self.start("alice", "client", *arguments)
        newer.expect_error(r"^socp: error: .*messages\.sqlite3 was written by a newer version of this program$")
        self.assertEqual(newer.wait(), 1)
        file.write_bytes(b"not a database, but as long as the header of one, which is a hundred bytes" * 4)
        damaged = self.start("alice", "client", *arguments)
        damaged.expect_error(r"^socp: error: cannot use the database .*messages\.sqlite3: file is not a database$")
        self.assertEqual(damaged.wait(), 1)
        file.unlink()
        file.mkdir()
        no_file = self.start("alice", "client", *arguments)
        no_file.expect_error(
            r"^socp: error: cannot use the database .*messages\.sqlite3: unable to open database file$"
        )
        self.assertEqual(no_file.wait(), 1)


def fill(program: Program) -> None:
    """Let a program write nothing more to any file."""
    limit_files(program, 0)


def free(program: Program) -> None:
    """Let it write again."""
    limit_files(program, resource.RLIM_INFINITY)


def limit_files(program: Program, size: int) -> None:
    """Set how long a program's files may become, in bytes."""
    assert sys.platform == "linux"
    resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
