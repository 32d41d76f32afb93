"""Networks of real processes: several servers with their users, and what they live through."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys

from tests.e2e.harness import FAST, ROOT, NetworkTest, Program, put_key
from tests.e2e.proxy import Proxy
from tests.secrets import private_forms, seen
from tests.vectors import key


class ThreeServersTest(NetworkTest):
    """Three servers, with users on each."""

    factor = FAST

    def setUp(self) -> None:
        """Start the network; the servers reach each other through proxies."""
        super().setUp()
        self.intro, self.intro_port = self.introducer()
        self.names = ("server", "server2", "server3")
        self.proxies: dict[str, Proxy] = {}
        self.ports: dict[str, int] = {}
        self.servers: dict[str, Program] = {}
        for name in self.names:
            proxy = self.proxies[name] = Proxy()
            self.addCleanup(proxy.close)
            self.start_server(name)

    def start_server(self, name: str, *, registered: bool = True) -> None:
        """Start a server, at the port that it had before."""
        advertised = f"127.0.0.1:{self.proxies[name].port}"
        port = self.ports.get(name, 0)
        self.servers[name], self.ports[name] = self.server(
            name, self.intro_port, "--advertise", advertised, port=port, registered=registered
        )
        self.proxies[name].target = self.ports[name]

    def test_every_pair_without_an_introducer(self) -> None:
        """Every pair exchanges messages and a file, with the introducer gone, and after a link was cut."""
        homes = {"alice": "server", "bob": "server2", "carol": "server3", "dave": "server"}
        clients = {name: self.client(name, self.ports[server]) for name, server in homes.items()}
        for client in clients.values():
            self.wait_listed(client, set(homes))
        self.intro.signal(signal.SIGTERM)
        self.assertEqual(self.intro.wait(), 0)
        for sender, recipient in itertools.permutations(clients.values(), 2):
            self.chat(sender, recipient, f"hello {recipient.name}, it is {sender.name} ✓")
            self.send_file(sender, recipient, os.urandom(30_000))
        clients["carol"].type("/all good morning")
        for name in ("alice", "bob", "dave"):
            clients[name].expect(rf"\[All\] carol · {key('carol').id[:8]}: good morning$")
        marks = {name: len(self.servers[name].errors) for name in self.names}
        for proxy in self.proxies.values():
            proxy.cut()
        for name, other in itertools.permutations(self.names, 2):
            self.servers[name].expect_error(f"link to server {key(other).id} is up", after=marks[name])
        for sender, recipient in itertools.permutations((clients[name] for name in ("alice", "bob", "carol")), 2):
            self.chat(sender, recipient, f"{sender.name} again")

    def test_killed_server(self) -> None:
        """The users of a killed server go from every list in time; restarted, it is itself, links, and serves.

        Its users come back by themselves, and what was written to them or by them meanwhile arrives, in order.
        """
        homes = {"alice": "server", "bob": "server2", "carol": "server3"}
        clients = {name: self.client(name, self.ports[server]) for name, server in homes.items()}
        bob, carol = clients["bob"], clients["carol"]
        for client in clients.values():
            self.wait_listed(client, set(homes))
        self.chat(bob, carol, "before")
        self.intro.kill()
        self.servers["server2"].kill()
        bob.expect(r"\[Server\] connection lost")
        for name in ("alice", "carol"):
            self.wait_listed(clients[name], {"alice", "carol"}, seconds=60 * FAST + 2)
            mark = clients[name].mark()
            for number in range(3):
                clients[name].type(f"/tell {key('bob').id} {name} writes {number}")
            clients[name].expect(r"\[DM to bob · .*\] stored until the user is back \(#\d+\)$", after=mark)
        bob.type("/tell carol from far away")
        bob.expect(r"\[DM to carol · .*\] sent \(#2\)$")
        marks = {name: len(self.servers[name].errors) for name in ("server", "server3")}
        self.start_server("server2", registered=False)
        for name, mark in marks.items():
            self.servers[name].expect_error(f"link to server {key('server2').id} is up", after=mark)
        bob.expect(rf"\[Server\] connected again: 127\.0\.0\.1:{self.ports['server2']} \({key('server2').id}\)$")
        carol.expect(r"\[DM from bob · .*\] from far away$")
        bob.expect(r"\[DM to carol · .*\] delivered \(#2\)$")
        for name in ("alice", "carol"):
            clients[name].expect(r"\[DM to bob · .*\] delivered")
            bob.expect(rf"\[DM from {name} · .*\] {name} writes 2$")
            shown = [line for line in bob.lines if f"{name} writes" in line]
            self.assertEqual([line[-1] for line in shown], ["0", "1", "2"])
        for client in clients.values():
            self.wait_listed(client, set(homes))
        self.chat(carol, bob, "after")
        self.chat(bob, clients["alice"], "after, too")

    def test_attached_elsewhere(self) -> None:
        """A user who attaches to another server is closed by the first, and is reached where it is now."""
        alice = self.client("alice", self.ports["server"])
        bob = self.client("bob", self.ports["server2"])
        self.wait_listed(bob, {"alice", "bob"})
        but = shutil.ignore_patterns("control")  # a socket
        shutil.copytree(self.directory / "profiles" / "alice", self.directory / "other" / "alice", ignore=but)
        moved = self.start(
            "alice", "client", "--server", f"127.0.0.1:{self.ports['server3']}",
            "--profile", "alice", "--data-dir", self.directory / "other",
        )  # fmt: skip
        moved.expect(r"\[Me\]")
        alice.expect(r"\[Server\] connection lost: the server says: attached elsewhere")
        self.assertEqual(alice.wait(), 3)
        self.wait_placed(bob, {"alice": "server3", "bob": "server2"})
        self.chat(bob, moved, "found you")

    def test_orderly_end(self) -> None:
        """A server that is told to end says so to its users and to the others, who know at once, and exits with 0."""
        alice = self.client("alice", self.ports["server"])
        bob = self.client("bob", self.ports["server2"])
        self.wait_listed(bob, {"alice", "bob"})
        self.servers["server"].signal(signal.SIGINT)
        self.assertEqual(self.servers["server"].wait(10), 0)
        self.servers["server"].expect(r"\[Server\] Stopped")
        alice.expect(r"\[Server\] connection lost: the server says: shutting down")
        alice.type(f"/tell {key('bob').id} hello")
        alice.type("/list")
        alice.expect(r"\[Error\] not connected to a server$")
        alice.end_input()
        self.assertEqual(alice.wait(), 3)
        # Well before the time after which a lost server's users are gone.
        self.wait_listed(bob, {"bob"}, seconds=45 * FAST - 1)
        self.servers["server2"].expect_error(f'{key("server").id} closes: "shutting down"')
        for program in (self.servers["server2"], self.servers["server3"], self.intro):
            program.signal(signal.SIGTERM)
            self.assertEqual(program.wait(10), 0)


class PlaintextTest(NetworkTest):
    """What a server gets to see."""

    def test_scanner(self) -> None:
        """The scanner (tests.secrets) finds what it looks for, however it is written."""
        secret = 'Größe "42" \U0001f600 of the secret'.encode()
        written = [secret, secret.hex().encode(), json.dumps(secret.decode()).encode()]
        written += [base64.b64encode(b"x" * count + secret + b"yz") for count in range(3)]
        written += [base64.urlsafe_b64encode(b"x" * count + secret + b"yz") for count in range(3)]
        for haystack in written:
            self.assertTrue(seen(secret, [b"..." + haystack + b"..."]), haystack)
        self.assertFalse(seen(secret, [os.urandom(100_000)]))

    def lock_keys(self) -> dict[str, str]:
        """Put keys in place that are protected by passwords, and return these by the keys' names."""
        words = {name: f"Paßwort-of-{name}-{os.urandom(8).hex()}" for name in ("server", "server2", "alice", "bob")}
        for name, password in words.items():
            directory = self.directory if name.startswith("server") else self.directory / "profiles"
            file = "server_key.pem" if name.startswith("server") else "key.pem"
            put_key(directory / name / file, name, password=password)
        return words

    def assert_written_nowhere(self, words: dict[str, str], haystacks: list[bytes]) -> None:
        """Check that no program has written a password, or a piece of a private key, or could leave a core file."""
        names = {"introducer", *words}
        written = ["\n".join(program.lines + program.errors).encode() for program in self.network.programs]
        keys = [file for file in self.directory.rglob("*key.pem") if file.is_file()]
        self.assertEqual(len(keys), len(names))
        for program in self.network.programs:
            if sys.platform == "linux":
                self.assertEqual(resource.prlimit(program.process.pid, resource.RLIMIT_CORE), (1, 1))
        for file in self.directory.rglob("*"):
            if file.is_file() and file not in keys:
                written.append(file.read_bytes())
        everything = b"\n".join([*written, *haystacks])
        self.assertIn(key("alice").id.encode(), everything)
        for name in names:
            self.assertFalse([piece for piece in private_forms(key(name)) if piece in everything], name)
        for password in words.values():
            self.assertFalse(seen(password.encode(), [everything]), password)

    def test_servers_see_no_plaintext(self) -> None:
        """What passes through the servers, and what they keep or log, holds nothing that is nobody else's.

        That is a message's text, a file's content, a password, and any piece of a private key.
        """
        words = self.lock_keys()
        _, intro_port = self.introducer()
        proxies, ports = [], []
        for name in ("server", "server2"):
            proxy = Proxy()
            self.addCleanup(proxy.close)
            _, proxy.target = self.server(
                name, intro_port, "--advertise", f"127.0.0.1:{proxy.port}", "--log-level", "DEBUG",
                environment={"SERVER_KEY_PASS": words[name]},
            )  # fmt: skip
            proxies.append(proxy)
            ports.append(proxy.port)
        alice, bob = (
            self.client(name, port, environment={"CHAT_KEY_PASSWORD": words[name]})
            for name, port in zip(("alice", "bob"), ports, strict=True)
        )
        self.wait_listed(alice, {"alice", "bob"})
        message = 'meet me at the Café "42" \U0001f600 at noon, and tell nobody'
        alice.type(f"/tell bob {message}")
        bob.expect("and tell nobody$")
        alice.expect(r"\[DM to bob .*\] delivered")
        path = self.directory / "file.txt"
        lines = [f"line {number}: {hashlib.sha256(bytes([number])).hexdigest()}" for number in range(200)]
        path.write_text("\n".join(lines), "utf-8")
        bob.type(f"/file alice {path}")
        bob.expect("file.txt delivered")
        public = "this is for everyone, servers included"
        alice.type(f"/all {public}")
        bob.expect(f"{public}$")
        with socket.create_connection(("127.0.0.1", ports[0])) as junk:
            junk.sendall(b"\0\0\0\5junk!")
            junk.recv(1000)
        alice.type(f"/tell {key('carol').id} {message}")
        alice.expect("USER_NOT_FOUND")
        haystacks = [proxy.recorded for proxy in proxies]
        self.assertGreater(min(map(len, haystacks)), 20_000)
        for name in ("server", "server2"):
            files = [file.read_bytes() for file in (self.directory / name).rglob("*") if file.is_file()]
            self.assertGreaterEqual(len(files), 2)
            haystacks += files
        logs = [
            program.errors + program.lines for program in self.network.programs if program.name.startswith("server")
        ]
        self.assertGreater(min(map(len, logs)), 5)
        haystacks += ["\n".join(log).encode() for log in logs]
        self.assertTrue(seen(public.encode(), haystacks))
        for secret in (message.encode(), message[:20].encode(), message[-20:].encode()):
            self.assertFalse(seen(secret, haystacks), secret)
        for line in lines:
            self.assertFalse(seen(line.encode(), haystacks), line)
        self.assert_written_nowhere(words, haystacks)


class ClientsTest(NetworkTest):
    """Clients as people and scripts use them, on one server."""

    def setUp(self) -> None:
        """Start a server that no introducer answers."""
        super().setUp()
        (self.directory / "introducer.b64u").write_text(key("introducer").public.text, "ascii")
        _, self.port = self.server("server", 1, registered=False)

    def test_same_default_profile(self) -> None:
        """Of two clients started the same way, the second takes the next profile and says so; a third the next."""
        arguments = ("client", "--server", f"127.0.0.1:{self.port}")
        profiles = self.directory / ".local" / "share" / "socp" / "profiles"
        clients = []
        for number, name in enumerate(("alice", "bob", "carol"), start=1):
            profile = "default" if number == 1 else f"default-{number}"
            put_key(profiles / profile / "key.pem", name)
            client = self.start(name, *arguments)
            if number > 1:
                client.expect(rf"\[Profile\] default is in use by another client; this one is {profile}$")
            client.expect(rf"\[Me\] user_id = {key(name).id}$")
            clients.append(client)
        clients[0].type(f"/tell {key('carol').id} hello")
        clients[2].expect(rf"\[DM from {key('alice').id[:8]}\] hello$")
        clients[0].end_input()
        self.assertEqual(clients[0].wait(), 0)
        again = self.start("alice", *arguments)
        again.expect(rf"\[Me\] user_id = {key('alice').id}$")

    def test_pipe(self) -> None:
        """Commands from a pipe are done before the end: receipts and transfers are waited for, and the code is 0."""
        bob = self.client("bob", self.port)
        alice = self.client("alice", self.port)
        path = self.directory / "b\u00fccher \u4e66.txt"
        path.write_bytes(b"x" * 100_000)
        for line in ("/tell bob one", "/tell bob two", "/all three", f"/file bob {path}", "/list", "/help"):
            alice.type(line)
        alice.end_input()
        self.assertEqual(alice.wait(), 0)
        for text in ("one", "two"):
            bob.expect(rf"\[DM from alice · .*\] {text}$")
        bob.expect(r"\[All\] alice · .*: three$")
        bob.expect("saved .*b\u00fccher \u4e66.txt")
        self.assertEqual((self.directory / "bob-files" / path.name).read_bytes(), b"x" * 100_000)
        self.assertEqual(len([line for line in alice.lines if "delivered" in line]), 3)

    def test_contacts(self) -> None:
        """Both sides see the same number; a nickname stays, finds its owner, and is nobody else's who is called so."""
        alice, bob = self.client("alice", self.port), self.client("bob", self.port)
        numbers = []
        for client, other in ((alice, "bob"), (bob, "alice")):
            client.type(f"/verify {other}")
            client.expect(r"\[Verify\] the number of you and ")
            client.expect("/verified")
            numbers.append([line for line in client.lines if re.fullmatch(r" +(\d{5} ?){4}", line)])
        self.assertEqual(numbers[0], numbers[1])
        self.assertEqual(len(numbers[0]), 3)
        alice.type(f"/name bob {key('carol').id[:4]}")
        alice.expect(r"\[Error\] .* could be the beginning of an id")
        alice.type("/name bob Carol")
        alice.expect(rf"\[Name\] Carol is {key('bob').id} from now on")
        carol = self.client("carol", self.port)
        carol.type("/all hello")
        short = {name: key(name).id[:8] for name in ("bob", "carol")}
        alice.expect(rf"\[All\] {short['carol']} · calls itself carol, but is not {short['bob']}: hello$")
        alice.end_input()
        alice.wait()
        alice = self.client("alice", self.port)
        alice.type("/tell carol hi")
        alice.expect(rf"\[DM to Carol · {short['bob']}\] sent")
        bob.expect(r"\[DM from .*\] hi$")

    def test_files(self) -> None:
        """Empty files, names that are taken and names that could do harm arrive as files of new names."""
        alice, bob = self.client("alice", self.port), self.client("bob", self.port)
        files = self.directory / "bob-files"
        for number, (name, content) in enumerate(((".profile", b""), (".profile", b"again"), ("-rf \u202egpj", b"1"))):
            folder = self.directory / str(number)
            folder.mkdir()
            (folder / name).write_bytes(content)
            mark = bob.mark()
            alice.type(f"/file bob {folder / name}")
            bob.expect("saved ", after=mark)
        contents = {file.name: file.read_bytes() for file in files.iterdir()}
        self.assertEqual(contents, {"_profile": b"", "_profile (1)": b"again", "_rf _gpj": b"1"})

    def test_hostile_text(self) -> None:
        """Control characters and bidi overrides of others are shown, and never obeyed; names cannot forge lines."""
        mallory = self.client("mallory", self.port, "--name", "x] hi\x1b[2J\u202e[DM from bob")
        alice = self.client("alice", self.port)
        mallory.type(f"/tell {key('alice').id} \x1b]0;title\x07 \u202e ok\rforged")
        line = alice.expect(r"\[DM from .*forged$")[0]
        self.assertIn(r"\x1b]0;title\x07 \u202e ok\rforged", line)
        self.assertEqual(line.count("]"), 2)  # the bracket's own, and the text's
        self.assertNotIn("\x1b", "".join(alice.lines))
        mallory.type("/all \x1b[31mred")
        alice.expect(r"\\x1b\[31mred$")
        alice.type("/list")
        alice.expect(key("mallory").id)
        self.assertNotIn("\x1b", "".join(alice.lines))

    def test_signals(self) -> None:
        """SIGTERM ends a client with 0 and a farewell that the server hears; Ctrl-C with 130."""
        bob = self.client("bob", self.port)
        for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGHUP, 0)):
            with self.subTest(signal=number):
                alice = self.client("alice", self.port)
                alice.signal(number)
                self.assertEqual(alice.wait(10), code)
                self.wait_listed(bob, {"bob"}, seconds=5)

    def test_reader_of_output_is_gone(self) -> None:
        """A client whose output nobody reads any more ends, and confirms nothing that nobody has seen."""
        bob = self.client("bob", self.port)
        put_key(self.directory / "profiles" / "alice" / "key.pem", "alice")
        arguments = ("--server", str(self.port), "--profile", "alice", "--data-dir", self.directory / "profiles")
        with subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.launch", "1", "client", *arguments],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as alice:
            assert alice.stdout is not None
            assert alice.stderr is not None
            while b"[Me]" not in alice.stdout.readline():
                continue
            alice.stdout.close()
            bob.type(f"/tell {key('alice').id} hello")
            self.assertEqual(alice.stderr.read(), b"")
            self.assertEqual(alice.wait(10), 1)
        self.wait_listed(bob, {"bob"})
        self.assertFalse([line for line in bob.lines if "delivered" in line])

    def test_lost_connection(self) -> None:
        """A client that comes to the end of its input without a connection ends with 3; one that is told to, with 0."""
        server = self.network.programs[0]
        clients = [self.client(name, self.port) for name in ("alice", "bob")]
        server.kill()
        for client, last, code in zip(clients, ("/quit", "/list"), (0, 3), strict=True):
            client.expect("connection lost")
            client.type(last)
            client.end_input()
            self.assertEqual(client.wait(), code)
        clients[1].expect(r"\[Error\] not connected to a server$")

    def test_ignored_hangup(self) -> None:
        """A client that was started with nohup goes on when its terminal is closed."""
        put_key(self.directory / "profiles" / "alice" / "key.pem", "alice")
        command = f"""trap '' HUP; exec '{sys.executable}' -m tests.e2e.launch 1 client --server {self.port} \
            --profile alice --data-dir '{self.directory}/profiles'"""
        (self.directory / "start.py").write_text(f"import os\nos.execvp('sh', ['sh', '-c', {command!r}])\n", "utf-8")
        alice = self.start_script("alice", self.directory / "start.py")
        alice.expect(r"\[Me\]")
        alice.signal(signal.SIGHUP)
        alice.type("/list")
        alice.expect(r"\[List\] 1 online")
        alice.end_input()
        self.assertEqual(alice.wait(), 0)

    def test_names_and_families(self) -> None:
        """Servers are reached by IPv6 and by name, and say where they listen."""
        (self.directory / "introducer.b64u").write_text(key("introducer").public.text, "ascii")
        program, port = self.server("server2", 1, "--host", "::1", registered=False)
        program.expect(rf"\[Server\] Server running on \[::1\]:{port}$")
        named, named_port = self.server("server3", 1, "--host", "localhost", registered=False)
        named.expect(rf"running on localhost:{named_port}$")
        for name, address in (("alice", f"[::1]:{port}"), ("bob", f"localhost:{named_port}")):
            put_key(self.directory / "profiles" / name / "key.pem", name)
            arguments = ("--server", address, "--profile", name, "--data-dir", self.directory / "profiles")
            client = self.start(name, "client", *arguments)
            client.expect(rf"the server at {re.escape(address)} is ")

    def test_asks_for_the_port(self) -> None:
        """Without --server the port is asked for, and the console shows what section 16 says."""
        put_key(self.directory / ".local" / "share" / "socp" / "profiles" / "default" / "key.pem", "alice")
        client = self.start("alice", "client")
        client.expect("^Server port: $")
        client.type(str(self.port))
        client.expect(rf"^\[Me\] user_id = {key('alice').id}$")
        self.assertEqual(client.lines[:2], ["Server port: ", "[Hello] Sent USER_HELLO (pubkey attached)"])


class BotTest(NetworkTest):
    """The bot of the README."""

    def test_bot(self) -> None:
        """It answers whoever writes to it, as it stands in the README."""
        code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
        assert code is not None
        (self.directory / "introducer.b64u").write_text(key("introducer").public.text, "ascii")
        _, port = self.server("server", 1, registered=False)
        self.assertIn("127.0.0.1:9001", code[1])
        (self.directory / "bot.py").write_text(code[1].replace("127.0.0.1:9001", f"127.0.0.1:{port}"), "utf-8")
        put_key(self.directory / ".local" / "share" / "socp" / "profiles" / "echo" / "key.pem", "bob")
        alice = self.client("alice", port)
        bot = self.start_script("bot", self.directory / "bot.py")
        self.wait_listed(alice, {"alice", "-"})
        alice.type(f"/tell {key('bob').id[:6]} hello, bot")
        alice.expect(rf"\[DM from {key('bob').id[:8]}\] You said: hello, bot$")
        bot.signal(signal.SIGKILL)
        bot.wait()
