"""What people get wrong, or find broken: each gets an exact error, and harms nobody else."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from tests.e2e.harness import FAST, NetworkTest, Program, put_key
from tests.sockets import EVERYWHERE
from tests.vectors import key


class StartingTest(NetworkTest):
    """Programs that cannot start, or cannot join."""

    factor = FAST

    def refused(self, program: Program, error: str) -> None:
        """Have a program end with code 1 and one line that says why."""
        self.assertEqual(program.wait(), 1, program.report())
        program_errors = [line for line in program.errors if line.startswith("[")]
        self.assertEqual(len(program_errors), 1, program.report())
        self.assertRegex(program_errors[0], error)

    def bare_server(self, *arguments: object, environment: dict[str, str] | None = None) -> Program:
        """Start a server that need not succeed."""
        if not (self.directory / "server" / "server_key.pem").exists():
            put_key(self.directory / "server" / "server_key.pem", "server")
        return self.start(
            "server", "server", "--data-dir", self.directory / "server", *arguments, environment=environment
        )

    def pin(self, name: str = "introducer") -> Path:
        """Write an introducer's public key to a file."""
        path = self.directory / f"{name}.b64u"
        path.write_text(key(name).public.text + "\n", "ascii")
        return path

    def test_port_in_use(self) -> None:
        """A port that is taken is named, with the flags that choose another."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            server = self.bare_server("--port", port, "--introducer-pub", self.pin())
            self.refused(server, rf"cannot listen on 127\.0\.0\.1:{port}: .*use; choose another with --host and --port")
            introducer = self.start("introducer", "introducer", "--port", port, "--data-dir", self.directory / "intro")
            self.refused(introducer, rf"cannot listen on 127\.0\.0\.1:{port}")

    def test_pin_missing(self) -> None:
        """Without a pinned key a server ends, and says three ways to give it one."""
        server = self.bare_server("--port", 0)
        self.refused(server, r"introducer_pub\.b64u .*--introducer-pub FILE.*INTRODUCER_PUB_B64U")

    def test_pin_unreadable(self) -> None:
        """A pin that is no key, or no file, is named."""
        missing = self.bare_server("--port", 0, "--introducer-pub", self.directory / "nowhere")
        self.refused(missing, r"cannot read the introducer's public key from .*nowhere: No such file")
        junk = self.directory / "junk"
        junk.write_bytes(b"\xff\x00junk")
        self.refused(self.bare_server("--port", 0, "--introducer-pub", junk), "not text")
        junk.write_text("junk", "ascii")
        self.refused(self.bare_server("--port", 0, "--introducer-pub", junk), "junk: not a public key")
        self.refused(
            self.bare_server("--port", 0, environment={"INTRODUCER_PUB_B64U": "A" * 700}), "INTRODUCER_PUB_B64U: not a"
        )

    def test_pin_does_not_match(self) -> None:
        """A server does not join through an introducer that is not the pinned one, and says which it found."""
        introducer, port = self.introducer("introducer2")
        server = self.bare_server("--port", 0, "--introducer", f"127.0.0.1:{port}", "--introducer-pub", self.pin())
        server.expect_error(rf"{key('introducer2').id}, which is not pinned here \(pinned: {key('introducer').id}\)")
        self.assertFalse([line for line in server.lines if "Registered" in line])
        self.assertIsNone(introducer.process.poll())

    def test_pins_by_environment_and_default_file(self) -> None:
        """A pin is taken from the environment, else from the file of the default name."""
        introducer, port = self.introducer()
        text = key("introducer").public.text
        server = self.bare_server(
            "--port", 0, "--introducer", f"127.0.0.1:{port}", environment={"INTRODUCER_PUB_B64U": text}
        )
        server.expect("Registered with introducer as")
        server.clean_up()
        (self.directory / "introducer_pub.b64u").write_text(text, "ascii")
        self.bare_server("--port", 0, "--introducer", f"127.0.0.1:{port}").expect("Registered with introducer as")
        self.assertIsNone(introducer.process.poll())

    def test_introducer_unreachable(self) -> None:
        """A server serves its users while no introducer answers, says so once, and joins when one does."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.pin()
        server, server_port = self.server("server", port, registered=False)
        server.expect_error(rf"cannot join through the introducer at 127\.0\.0\.1:{port}: \".*refused\"; trying again")
        alice, bob = self.client("alice", server_port), self.client("bob", server_port)
        alice.type("/tell bob without an introducer")
        bob.expect(r"\[DM from alice · .*\] without an introducer")
        self.introducer(port=port)
        server.expect("Registered with introducer as")

    def test_wildcard_without_advertise(self) -> None:
        """A server that listens everywhere must say where others reach it."""
        for host in (EVERYWHERE, "::", "0"):
            with self.subTest(host=host):
                server = self.bare_server("--port", 0, "--host", host, "--introducer-pub", self.pin())
                self.refused(server, "--advertise host:port")

    def test_wrong_password(self) -> None:
        """A wrong key password is said to be that, at every program."""
        for program, file, variable in (
            ("server", "server_key.pem", "SERVER_KEY_PASS"),
            ("introducer", "introducer_key.pem", "INTRODUCER_KEY_PASS"),
        ):
            with self.subTest(program=program):
                data = self.directory / f"locked-{program}"
                data.mkdir(mode=0o700)
                descriptor = os.open(data / file, os.O_WRONLY | os.O_CREAT, 0o600)
                with open(descriptor, "wb") as stream:
                    stream.write(key("server").to_pem("right"))
                arguments = ["--port", "0", "--data-dir", str(data)]
                if program == "server":
                    arguments += ["--introducer-pub", str(self.pin())]
                wrong = self.start(program, program, *arguments, environment={variable: "wrong"})
                self.refused(wrong, rf"wrong key password .*\${variable}")
                none = self.start(program, program, *arguments)
                self.refused(none, rf"protected by a password, and none was given .*\${variable}")
                right = self.start(program, program, *arguments, environment={variable: "right"})
                right.expect(r"[Rr]unning on")

    def test_key_file_for_others(self) -> None:
        """A key that others can read, or a symbolic link in its place, is refused with the command that mends it."""
        server_key = self.directory / "server" / "server_key.pem"
        put_key(server_key, "server")
        server_key.chmod(0o644)
        self.refused(self.bare_server("--port", 0, "--introducer-pub", self.pin()), "chmod 600 .*server_key.pem")
        server_key.chmod(0o600)
        server_key.rename(server_key.with_name("elsewhere.pem"))
        server_key.symlink_to("elsewhere.pem")
        self.refused(self.bare_server("--port", 0, "--introducer-pub", self.pin()), r"symbolic link.*mv -- ")

    def test_data_directory(self) -> None:
        """A data directory that cannot be used, or is in use, is named."""
        (self.directory / "file").write_text("")
        server = self.start(
            "server", "server", "--port", 0, "--introducer-pub", self.pin(), "--data-dir", self.directory / "file"
        )
        self.refused(server, "cannot use the directory .*file")
        self.bare_server("--port", 0, "--introducer-pub", self.pin()).expect("running on")
        self.refused(self.bare_server("--port", 0, "--introducer-pub", self.pin()), "in use by another running program")

    def test_damaged_database(self) -> None:
        """A database that is none is named, and left as it is."""
        database = self.directory / "server" / "directory.sqlite3"
        database.parent.mkdir(mode=0o700)
        database.write_bytes(b"not a database, and long enough to be looked at" * 100)
        before = database.read_bytes()
        self.refused(self.bare_server("--port", 0, "--introducer-pub", self.pin()), "cannot use the database .*sqlite3")
        self.assertEqual(database.read_bytes(), before)

    def test_allow_list(self) -> None:
        """A list of admitted servers that cannot be read names the line; a server that is not on it is told."""
        allow = self.directory / "allow"
        allow.write_text(f"# ours\n{key('server2').id}  # the second\nnot-an-id\n", "utf-8")
        program = self.start(
            "introducer", "introducer", "--port", 0, "--data-dir", self.directory / "intro", "--allow", allow
        )
        self.refused(program, r"allow, line 3: 'not-an-id' is not a server id")
        allow.write_text(f"# ours\n\n{key('server2').id}  # the second\n", "utf-8")
        _, port = self.introducer("introducer", "--allow", allow)
        self.server("server2", port)
        stranger, _ = self.server("server3", port, registered=False)
        stranger.expect_error("NOT_ALLOWED: .* is not on this introducer's list of admitted servers")

    def test_lists_of_users(self) -> None:
        """A list of users that cannot be read, or has a line that is no id, is named before a server starts."""
        users = self.directory / "users"
        users.write_text(f"{key('alice').id}\nalice\n", "utf-8")
        pinned = ("--port", 0, "--introducer-pub", self.pin())
        self.refused(self.bare_server(*pinned, "--users", users), r"users, line 2: 'alice' is not a user id")
        self.refused(
            self.bare_server(*pinned, "--deny", self.directory / "no"), "cannot read the list of users .*no: No"
        )

    def test_arguments(self) -> None:
        """Arguments that make no sense are refused by code 2, and a usage line or an error that says what is wrong."""
        for arguments in (
            ["server"],
            ["server", "--port", "65536"],
            ["server", "--port", "1", "--introducer", "nowhere"],
            ["introducer", "--port", "x"],
            ["client", "--server", "a b:1"],
            ["client", "--serv", "127.0.0.1:1"],
        ):
            with self.subTest(arguments=arguments):
                program = self.start(arguments[0], *arguments)
                self.assertEqual(program.wait(), 2)
                self.assertTrue(program.errors[0].startswith(("usage: ", "socp: error: ")))


class ClientTest(NetworkTest):
    """A client whose server is not what it was, or whose clock or key is wrong."""

    factor = FAST

    def attempt(self, port: int, *arguments: object, environment: dict[str, str] | None = None) -> Program:
        """Start alice's client; it need not succeed."""
        profiles = self.directory / "profiles"
        if not (profiles / "alice" / "key.pem").exists():
            put_key(profiles / "alice" / "key.pem", "alice")
        return self.start(
            "alice", "client", "--server", f"127.0.0.1:{port}", "--profile", "alice", "--data-dir", profiles,
            *arguments, environment=environment,
        )  # fmt: skip

    def lone_server(self, name: str, port: int = 0) -> tuple[Program, int]:
        """Start a server that no introducer answers."""
        (self.directory / "introducer.b64u").write_text(key("introducer").public.text, "ascii")
        return self.server(name, 1, port=port, registered=False)

    def test_nobody_there(self) -> None:
        """A port where nobody listens is said."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        client = self.attempt(port)
        self.assertEqual(client.wait(), 3)
        self.assertIn(f"socp: error: cannot reach a server at 127.0.0.1:{port}: Connection refused", client.errors)

    def test_introducer_is_no_server(self) -> None:
        """A client that is sent to an introducer is told."""
        _, port = self.introducer()
        client = self.attempt(port)
        self.assertEqual(client.wait(), 3)
        client.expect_error("NOT_ALLOWED: this is an introducer")

    def test_another_server(self) -> None:
        """Another server at a pinned address stops the client, which shows both ids, and goes on when told to."""
        first, port = self.lone_server("server")
        client = self.attempt(port)
        client.expect("pinned in this profile")
        client.end_input()
        self.assertEqual(client.wait(), 0)
        first.clean_up()
        second, _ = self.lone_server("server2", port)
        found = key("server2").id
        client = self.attempt(port)
        self.assertEqual(client.wait(), 5)
        client.expect_error(f"was {key('server').id} before, and is {found} now")
        client.expect_error(f"socp: hint: .*--trust-server {found}")
        wrong = self.attempt(port, "--trust-server", key("server3").id)
        self.assertEqual(wrong.wait(), 5)
        told = self.attempt(port, "--trust-server", found)
        told.expect(rf"is {found}; pinned")
        told.end_input()
        self.assertEqual(told.wait(), 0)
        self.attempt(port).expect(r"\[Me\]")
        self.assertIsNone(second.process.poll())

    def test_clock(self) -> None:
        """A client whose clock is off by more than five minutes is refused, and told both times."""
        _, port = self.lone_server("server")
        for minutes in (6, -6):
            with self.subTest(minutes=minutes):
                client = self.attempt(port, environment={"TEST_CLOCK_OFF": str(minutes * 60_000)})
                self.assertEqual(client.wait(), 3)
                client.expect_error(r"BAD_TIMESTAMP: your time is \d+, the time here is \d+")
        self.attempt(port, environment={"TEST_CLOCK_OFF": str(4 * 60_000)}).expect(r"\[Me\]")

    def test_last_attachment_in_the_future(self) -> None:
        """A client that attached when its clock was ahead says that a clock is off, and signs nothing then."""
        server, port = self.lone_server("server")
        ahead = self.attempt(port, environment={"TEST_CLOCK_OFF": str(4 * 60_000)})
        ahead.expect(r"\[Me\]")
        ahead.end_input()
        self.assertEqual(ahead.wait(), 0)
        behind = self.attempt(port, environment={"TEST_CLOCK_OFF": str(-2 * 60_000)})
        self.assertEqual(behind.wait(), 3)
        behind.expect_error("one of the two clocks is off")
        self.assertIsNone(server.process.poll())

    def test_wrong_password(self) -> None:
        """A wrong password of a profile's key is said to be that."""
        profile = self.directory / "profiles" / "alice"
        profile.mkdir(mode=0o700, parents=True)
        descriptor = os.open(profile / "key.pem", os.O_WRONLY | os.O_CREAT, 0o600)
        with open(descriptor, "wb") as stream:
            stream.write(key("alice").to_pem("right"))
        client = self.attempt(1, environment={"CHAT_KEY_PASSWORD": "wrong"})
        self.assertEqual(client.wait(), 5)
        client.expect_error(r"socp: error: .*key\.pem: wrong key password")
        client.expect_error(r"socp: hint: .*\$CHAT_KEY_PASSWORD")
        for password, error in (("\udcff", "not text in UTF-8"), ("x" * 1024, "at most 1,023 bytes")):
            client = self.attempt(1, environment={"CHAT_KEY_PASSWORD": password})
            self.assertEqual(client.wait(), 5)
            client.expect_error(f"socp: error: .*{error}")

    def test_profile_in_use(self) -> None:
        """A profile that was named and is in use is refused."""
        _, port = self.lone_server("server")
        self.attempt(port).expect(r"\[Me\]")
        second = self.attempt(port)
        self.assertEqual(second.wait(), 1)
        second.expect_error("the profile alice is in use by another client")

    def test_bad_port(self) -> None:
        """What is no port is refused, and a pipe that says nothing is told what was wanted."""
        for text, error in (("nonsense\n", "is not host:port"), ("", "no server was named")):
            with self.subTest(text=text):
                client = self.start("client", "client", "--data-dir", self.directory / "profiles")
                client.expect("Server port: ")
                if text:
                    client.type(text.strip())
                client.end_input()
                self.assertEqual(client.wait(), 2)
                client.expect_error(error)


class CommandTest(NetworkTest):
    """Commands that cannot be done."""

    factor = FAST

    def setUp(self) -> None:
        """Start a server and two clients."""
        super().setUp()
        _, introducer_port = self.introducer()
        self.server_program, self.port = self.server("server", introducer_port)
        self.alice, self.bob = self.client("alice", self.port), self.client("bob", self.port)

    def errs(self, command: str, error: str) -> None:
        """Have alice type a command, and be told an error."""
        mark = self.alice.mark()
        self.alice.type(command)
        self.alice.expect(r"\[(Error|File to .*)\] .*" + error, after=mark)

    def test_users(self) -> None:
        """Users that are unknown or could be several are refused, and the exit code says that something failed."""
        self.errs("/tell nobody hello", "nobody: nobody online is called so")
        self.errs("/tell beef hello", "beef: nobody known has an id that begins so")
        self.errs(f"/tell {key('carol').id} hello", "USER_NOT_FOUND")
        # Two keys of the vectors whose ids begin alike do not exist, but two users may go by one name.
        twin = self.client("carol", self.port, "--name", "bob")
        self.errs("/tell bob hello", f"could be any of .*{key('bob').id}.*{key('carol').id}")
        self.errs("/tell b9 hello", "b9: nobody online is called so")
        self.alice.type(f"/tell {key('bob').id[:4]} by a beginning")
        self.bob.expect("by a beginning")
        twin.end_input()
        self.assertEqual(twin.wait(), 0)
        self.alice.type("/tell bob by the name")
        self.alice.expect(f"bob is {key('bob').id} from now on")
        self.client("carol", self.port, "--name", "bob")
        self.bob.end_input()
        self.assertEqual(self.bob.wait(), 0)
        self.errs("/tell bob hello", f"refused: bob is {key('bob').id} .* used by {key('carol').id}")
        self.alice.end_input()
        self.assertEqual(self.alice.wait(), 1)

    def test_texts(self) -> None:
        """Texts that are too long are refused before anything is sent; the longest that fits arrives."""
        self.errs("/tell bob " + "x" * 28_545, r"28,545 bytes are too long.*28,544; nothing was sent")
        self.errs("/all " + "é" * 8_193, r"16,386 bytes are too long")
        self.errs("/tell bob", "usage: /tell <user> <message>")
        self.errs("/all", "usage: /all <message>")
        self.errs("hello", "nothing was sent: it is not said to whom")
        self.errs("/al hello", "/al is no command; did you mean /all")
        self.alice.type("/tell bob " + "y" * 28_544)
        self.bob.expect(r"\[DM from alice · .*\] y{28544}$")

    def test_files(self) -> None:
        """Files that are missing, a directory or a FIFO are refused with the path and the reason."""
        os.mkfifo(self.directory / "fifo")
        self.errs(f"/file bob {self.directory}/missing", "cannot read .*/missing: No such file")
        self.errs(f"/file bob {self.directory}", "it is a directory")
        self.errs(f"/file bob {self.directory}/fifo", "it is not a regular file")
        self.errs("/file bob", "usage: /file <user> <path>")
        self.errs("/file bob ~nosuchuser/x", "cannot read ~nosuchuser/x: there is no such user")
        self.errs("/file bob ~\0x", r"cannot read ~\\x00x: there is no such user")
        if os.geteuid() != 0:
            (self.directory / "secret").touch(mode=0)
            self.errs(f"/file bob {self.directory}/secret", "cannot read .*/secret: Permission denied")

    def test_sender_leaves_in_mid_file(self) -> None:
        """A sender that leaves in the middle of a file fails the transfer, and nothing of it stays."""
        path = self.directory / "large"
        path.write_bytes(bytes(64 * 1024 * 1024))
        self.alice.type(f"/file bob {path}")
        self.bob.expect("receiving large")
        self.alice.type("/quit")
        self.assertEqual(self.alice.wait(), 0)
        self.bob.expect(r"\[File from alice · .*\] large failed: ")
        self.assertEqual(list((self.directory / "bob-files").iterdir()), [])
