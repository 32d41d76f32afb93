"""A network that loses programs, links and frames, and becomes right again by itself (PROTOCOL.md sections 6 and 7)."""

from __future__ import annotations

import itertools
import re
import shutil
import signal
import threading
import unittest
from collections.abc import Iterable
from typing import ClassVar

from socp import ERROR, USER_ADVERTISE, USER_KEY, USER_KEY_REQUEST, USER_REMOVE
from tests.e2e.harness import FAST, PATIENCE, Network, NetworkTest, Program
from tests.e2e.proxy import FINE, HOLE, Proxy, Weather
from tests.peer import Peer
from tests.vectors import key
from threads import Deadline

# Of a tenth, these would be most of what the tests take. What a busy machine needs time for stays at a tenth;
# but of the time that a server has to end, that would be too little.
SILENCE = 2.0
TIMERS = f"heartbeat=0.5 silence={SILENCE} lost_after=1 retry_most=1 stop=5"
SERVERS = ("server", "server2", "server3")
HOMES = {"alice": "server", "bob": "server2", "carol": "server3"}


def expect_home(port: int, user: str, home: str) -> None:
    """Wait until the server at a port says that the home of a user who is away is that server of the vectors."""
    asker = Peer(port, "erin")
    try:
        asker.attach_user()
        deadline = Deadline(PATIENCE)
        while True:
            asker.send(USER_KEY_REQUEST, {"user_id": key(user).id})
            while (answer := asker.read()) is not None and answer.type not in (USER_KEY, ERROR):
                continue
            assert answer is not None, "the connection was closed"
            if (answer.payload.get("server_id"), answer.payload.get("online")) == (key(home).id, False):
                return
            assert deadline.left(), f"of {user} it is said: {answer.payload}"
            threading.Event().wait(0.1)  # the answer is all that tells
    finally:
        asker.leave()


class HealingTest(unittest.TestCase):
    """Three servers with a user each, for all tests here; the introducer that they met through is gone.

    They reach each other through proxies, and their users reach them without.
    """

    network: ClassVar[Network]
    intro_port: ClassVar[int]
    proxies: ClassVar[dict[str, Proxy]]
    ports: ClassVar[dict[str, int]]
    servers: ClassVar[dict[str, Program]]
    clients: ClassVar[dict[str, Program]]

    @classmethod
    def setUpClass(cls) -> None:
        """Start the network, and end the introducer."""
        cls.network = Network(FAST, environment={"TEST_TIMERS": TIMERS})
        cls.addClassCleanup(cls.network.end)
        introducer, cls.intro_port = cls.network.introducer()
        cls.proxies, cls.ports, cls.servers = {}, {}, {}
        for name in SERVERS:
            cls.proxies[name] = Proxy(record=False, whole=True)
            cls.addClassCleanup(cls.proxies[name].close)
        cls.start_servers(*SERVERS)
        for name in SERVERS:
            cls.servers[name].expect(r"\[Server\] Registered with introducer")
        cls.expect_links(SERVERS, dict.fromkeys(SERVERS, 0))
        cls.clients = {name: cls.network.client(name, cls.ports[home], attached=False) for name, home in HOMES.items()}
        introducer.kill()

    @classmethod
    def start_servers(cls, *names: str) -> None:
        """Start servers at the ports that they had before, one beside the other."""
        for name in names:
            cls.servers[name], cls.ports[name] = cls.network.server(
                name,
                cls.intro_port,
                "--advertise",
                f"127.0.0.1:{cls.proxies[name].port}",
                port=cls.ports.get(name, 0),
                registered=False,
            )
            cls.proxies[name].target = cls.ports[name]

    @classmethod
    def expect_links(cls, names: Iterable[str], marks: dict[str, int]) -> None:
        """Wait until each of these servers has a link to each of the others; `marks` are of their logs."""
        for name, other in itertools.permutations(names, 2):
            cls.servers[name].expect_error(f"link to server {key(other).id} is up", after=marks[name])

    def setUp(self) -> None:
        """See that all is right before."""
        self.expect_places(HOMES)

    def marks(self) -> dict[str, int]:
        """Return how long the servers' logs are."""
        return {name: len(server.errors) for name, server in self.servers.items()}

    def expect_places(self, places: dict[str, str]) -> None:
        """Wait until all three lists say that these users are at these servers, and nobody else is anywhere."""
        for name in HOMES:
            self.network.wait_placed(self.clients[name], places)

    def mover(self, *servers: str, environment: dict[str, str] | None = None) -> Program:
        """Start dave, whom the tests do things to, with these servers; he is gone for all at the end."""
        ports = [self.ports[server] for server in servers]
        return self.leaving(self.network.client("dave", ports, environment=environment))

    def leaving(self, program: Program) -> Program:
        """Have a program end with the test."""
        self.addCleanup(program.clean_up)
        return program

    def chat(self, sender: Program, recipient: Program, text: str) -> None:
        """Have one user send a message to another, and see it arrive and be confirmed."""
        mark = sender.mark()
        sender.type(f"/tell {key(recipient.name).id} {text}")
        recipient.expect(rf"\[DM from {sender.name} · {key(sender.name).id[:8]}\] {re.escape(text)}$")
        sender.expect(rf"\[DM to {recipient.name} · .*\] delivered", after=mark)

    def set_weather(self, weather: Weather, name: str, *others: str) -> None:
        """Change what happens between a server and others, whoever of them has dialled."""
        for other in others:
            self.proxies[name].set_weather(weather, key(other).id)
            self.proxies[other].set_weather(weather, key(name).id)

    def test_lost_gossip(self) -> None:
        """That a user has come, or left, is learned from a digest where the gossip about it was lost."""
        self.set_weather(Weather(lost=frozenset({USER_ADVERTISE, USER_REMOVE})), "server", "server2")
        self.addCleanup(self.set_weather, FINE, "server", "server2")
        asking = f"what is known of the users at {key('server').id} is off; asking it"
        mark = len(self.servers["server2"].errors)
        dave = self.mover("server")
        self.expect_places({**HOMES, "dave": "server"})
        self.servers["server2"].expect_error(asking, after=mark)
        mark = len(self.servers["server2"].errors)
        dave.type("/quit")
        self.expect_places(HOMES)
        self.servers["server2"].expect_error(asking, after=mark)

    def test_split(self) -> None:
        """A server that the others are cut off from, without a word, is right again with them once it is not.

        Meanwhile each side chats on, and knows of nobody on the other; and a user who has moved across, leaving a
        client behind, is told so there.
        """
        dave = self.mover("server")
        self.expect_places({**HOMES, "dave": "server"})
        marks = self.marks()
        self.set_weather(HOLE, "server", "server2", "server3")
        for other in ("server2", "server3"):
            for here, there in (("server", other), (other, "server")):
                down = f"link to server {key(there).id} is down"
                self.servers[here].expect_error(down, after=marks[here], seconds=5 * SILENCE)
        self.network.wait_placed(self.clients["alice"], {"alice": "server", "dave": "server"})
        beyond = {"bob": "server2", "carol": "server3"}
        for name in beyond:
            self.network.wait_placed(self.clients[name], beyond)
        self.chat(self.clients["alice"], dave, "are you there?")
        self.chat(self.clients["bob"], self.clients["carol"], "so are we")
        profiles = self.network.directory / "profiles moved"
        but = shutil.ignore_patterns("control")  # a socket
        shutil.copytree(self.network.directory / "profiles" / "dave", profiles / "dave", ignore=but)
        moved = self.leaving(self.network.client("dave", self.ports["server2"], "--data-dir", profiles))
        for name in beyond:
            self.network.wait_placed(self.clients[name], {**beyond, "dave": "server2"})
        marks = self.marks()
        self.set_weather(FINE, "server", "server2", "server3")
        dave.expect(r"\[Server\] connection lost: the server says: attached elsewhere$")
        self.assertEqual(dave.wait(), 3)
        for other in ("server2", "server3"):
            self.expect_links(("server", other), marks)
        self.expect_places({**HOMES, "dave": "server2"})
        self.chat(self.clients["alice"], moved, "found you")
        self.chat(moved, self.clients["alice"], "and I you")

    def test_all_killed(self) -> None:
        """Servers that were all killed link again without an introducer, and their users are where they were.

        An introducer that comes back later, with its key alone, is joined by all of them, and tells a newcomer of them.
        """
        for server in self.servers.values():
            server.process.kill()
        for server in self.servers.values():
            server.wait()
        marks = {name: client.mark() for name, client in self.clients.items()}
        self.start_servers(*SERVERS)
        self.expect_links(SERVERS, dict.fromkeys(SERVERS, 0))
        for name, home in HOMES.items():
            again = rf"\[Server\] connected again: 127\.0\.0\.1:{self.ports[home]} \({key(home).id}\)$"
            self.clients[name].expect(again, after=marks[name])
        self.expect_places(HOMES)
        for sender, recipient in itertools.permutations(self.clients.values(), 2):
            self.chat(sender, recipient, f"{sender.name} after all were killed")
        introducer = self.leaving(self.network.introducer(port=self.intro_port)[0])
        for name in SERVERS:
            self.servers[name].expect(rf"\[Server\] Registered with introducer as {key(name).id}$")
            introducer.expect_error(f"server {key(name).id} joined")
        newcomer = self.leaving(self.network.server("server4", self.intro_port)[0])
        for name in SERVERS:
            newcomer.expect_error(f"link to server {key(name).id} is up")
            self.servers[name].expect_error(f"link to server {key('server4').id} is up")

    def test_user_with_two_servers(self) -> None:
        """A user whose server is gone is at the other at once, and found there by all; by those who come back, too."""
        # Were he to wait before he goes to the other, he would not be there in time.
        dave = self.mover("server", "server2", environment={"TEST_TIMERS": f"{TIMERS} retry_first=600"})
        self.expect_places({**HOMES, "dave": "server"})
        self.end_server("server", signal.SIGKILL, dave, "the server closed the connection", "server2")
        self.start_again("server")
        self.expect_places({**HOMES, "dave": "server2"})
        self.chat(self.clients["alice"], dave, "so am I")
        self.end_server("server2", signal.SIGTERM, dave, "the server says: shutting down", "server")
        dave.type("/quit")
        self.assertEqual(dave.wait(), 0)
        self.start_again("server2")
        self.expect_places(HOMES)
        for name in SERVERS:
            expect_home(self.ports[name], "dave", "server")

    def end_server(self, name: str, how: signal.Signals, dave: Program, reason: str, other: str) -> None:
        """End the server that dave is at, and see that he goes to the other."""
        mark = dave.mark()
        self.servers[name].signal(how)
        self.assertEqual(self.servers[name].wait(), 0 if how == signal.SIGTERM else -how)
        dave.expect(rf"\[Server\] connection lost: {reason}$", after=mark)
        again = rf"\[Server\] connected again: 127\.0\.0\.1:{self.ports[other]} \({key(other).id}\)$"
        dave.expect(again, after=mark)
        here = {user: home for user, home in HOMES.items() if home != name}
        for user in here:
            self.network.wait_placed(self.clients[user], {**here, "dave": other})
        self.chat(self.clients["carol"], dave, f"so you are at {other}")

    def start_again(self, name: str) -> None:
        """Start a server again, and wait for the user who has no other."""
        user = next(self.clients[user] for user, home in HOMES.items() if home == name)
        last = max(number for number, line in enumerate(user.lines) if "connection lost" in line)
        self.start_servers(name)
        user.expect(r"\[Server\] connected again", after=last)


class IntroducersTest(NetworkTest):
    """Servers that know two introducers."""

    factor = FAST

    def join(self, name: str, ports: list[int]) -> tuple[Program, int]:
        """Start a server that joins through both, and return it with its port."""
        pins = ("introducer", "introducer2")
        return self.server(name, ports[0], "--introducer", f"127.0.0.1:{ports[1]}", pins=pins)

    def expect_links(self, servers: dict[str, Program]) -> None:
        """Wait until each of these has a link to each of the others."""
        for name, other in itertools.permutations(servers, 2):
            servers[name].expect_error(f"link to server {key(other).id} is up")

    def test_either_down(self) -> None:
        """With either of two introducers down, a server gets in, links to all, and learns from them who lives where.

        No link depends on an introducer.
        """
        first, first_port = self.introducer("introducer")
        second, second_port = self.introducer("introducer2")
        ports = [first_port, second_port]
        second.kill()
        server, home = self.join("server", ports)
        servers = {"server": server, "server2": self.join("server2", ports)[0]}
        self.expect_links(servers)
        marks = {name: server.mark() for name, server in servers.items()}
        self.introducer("introducer2", port=second_port)
        for name, server in servers.items():
            server.expect(r"\[Server\] Registered with introducer", after=marks[name])
        first.kill()
        dave = Peer(home, "dave")
        dave.attach_user()
        dave.leave()
        servers["server3"], newcomer = self.join("server3", ports)
        self.expect_links(servers)
        expect_home(newcomer, "dave", "server")
        logged = [line for server in servers.values() for line in server.errors]
        self.assertEqual([line for line in logged if re.search("link to server .* is down", line)], [])
