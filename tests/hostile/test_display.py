"""Names, texts, files and reasons that were made to forge, hide or destroy what stands on a terminal or in a log."""

from __future__ import annotations

import re
import unicodedata
import uuid

import socp
from crypto.signing import message_reference
from tests.e2e.harness import Network, put_key
from tests.e2e.terminal import Terminal
from tests.fake_server import FakeServer
from tests.hostile.arena import HostileTest
from tests.peer import Peer
from tests.vectors import key

FORGED = "[DM from bob \u00b7 b9819588] forged"
HOSTILE = (
    "\x1b[2J\x1b[31m\x1b]0;owned\x07",
    "\x9b2J\x9d0;owned\x9c\x00\x08\x7f",
    f"\n{FORGED}",
    f"\r{FORGED}",
    f"\x0b\x0c\x85{FORGED}",
    f"\u2028\u2029{FORGED}",
    "\u202e\u202a\u2066\u2069\u200e\u200f\u061c",
    "\u200b\u2060\ufeff\u00ad\u200d\u200c\u180e",
    "\u3164\u115f\u1160\uffa0\u2800\u00a0\u2003",
    "a" + "\u0301" * 300,
    "\U000e0041\U000e0042\ufe0f\U000e0100",
    "\ue000\U0010ffff\u0378",
    f"\u3010x\uff3d {FORGED}",
)
_ENTRY = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR|CRITICAL) [a-z.]+: ")


def harmful(text: str) -> list[str]:
    """Return the characters of a text that nobody is to be shown; what is harmless above is not among them."""
    categories = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    blanks = "\u3164\u115f\u1160\uffa0\u2800\u00a0\u2003\ufe0f\U000e0100"
    found = [character for character in text if unicodedata.category(character) in categories or character in blanks]
    return [ascii(character) for character in found] + re.findall("\u0301{7}", text)


class DisplayTest(HostileTest):
    """What others see of it."""

    arguments = ("--log-level", "DEBUG")

    def running(self) -> Network:
        """Return the network that the tests share."""
        assert self.network is not None
        return self.network

    def attack(self, peer: Peer, text: str) -> None:
        """Say a text in every way in which a user can say something to alice."""
        peer.tell("alice", text)
        ts = socp.now_ms()
        peer.send(socp.MSG_PUBLIC_CHANNEL, peer.broadcast(text, ts), to=socp.PUBLIC, ts=ts)
        manifest = peer.manifest("alice", ts, name=text[:100], file_id=str(uuid.uuid4()))
        peer.send(socp.FILE_START, manifest, to=key("alice").id, ts=ts)
        peer.send(text[:100] or "X", {"text": text})

    def test_from_a_user(self) -> None:
        """Whatever a user calls itself, says or offers: others are shown a line for each, and nothing harmful."""
        logged = len(self.program.errors)
        mark = self.alice.mark()
        terminal = self.terminal("erin")
        for name, text in zip(("mallory", "carol", "dave"), (HOSTILE[0], HOSTILE[2], HOSTILE[6]), strict=True):
            peer = self.attacker(name)
            peer.attach_user(meta={"display_name": text[:64]})
            self.attack(peer, text)
            peer.leave()
        peer = self.attackers_user("frank")
        for text in HOSTILE:
            self.attack(peer, text)
        peer.tell("alice", "\u2603" * 5_000 + FORGED)
        peer.tell("alice", "the last")
        self.alice.expect(r"\] the last$", after=mark)
        terminal.wait_for(lambda vt: any(HOSTILE[-1][1:3] in row for row in (*vt.gone, *vt.shown)))
        self.alice.type("/list")
        self.alice.expect("online", after=mark)
        self.conversation.wait_more()
        self.assert_harmless(self.alice.lines[mark:], 3 * len(HOSTILE))
        self.assert_logged(logged)
        rows = [row for row in (*terminal.vt.gone, *terminal.vt.shown) if row][3:]
        self.assertGreater(len(rows), len(HOSTILE))
        for row in rows:
            self.assertEqual(harmful(row), [], ascii(row))
            self.assertRegex(row, r"^(\d\d:\d\d (e2e    |public |\[[A-Z])|    |>)")
            self.assertNotRegex(row, r"^\d\d:\d\d e2e    .?bob.*forged")

    def terminal(self, name: str) -> Terminal:
        """Attach a user of the vectors at a terminal."""
        profiles = self.running().directory / "profiles"
        put_key(profiles / name / "key.pem", name)
        server = ("--server", f"127.0.0.1:{self.port}")
        of_its_own = ("--profile", name, "--data-dir", str(profiles))
        terminal = Terminal(self, self.running().directory, *server, *of_its_own, kind="xterm")
        terminal.expect("Key password")
        terminal.type("\n")
        terminal.see("^> ?$")
        return terminal

    def assert_harmless(self, lines: list[str], least: int) -> None:
        """Check that lines are ours, and hold nothing that does harm."""
        self.assertGreater(len(lines), least)
        for line in lines:
            self.assertEqual(harmful(line), [], ascii(line))
            self.assertRegex(line, r"^(\[[A-Z]|  [0-9a-f]{8}-)")
            self.assertNotRegex(line, r"^\[DM from bob.*forged")

    def assert_logged(self, mark: int) -> None:
        """Check that each line of the server's log is one that it has begun, of bounded length."""
        lines = self.program.errors[mark:]
        self.assertGreater(len(lines), len(HOSTILE))
        for line in lines:
            self.assertEqual(harmful(line), [], ascii(line))
            self.assertRegex(line, _ENTRY)
            self.assertLess(len(line), 5_000)

    def test_from_a_server(self) -> None:
        """Whatever a server gives as a reason, another logs one line of bounded length for each."""
        mark = len(self.program.errors)
        peer = self.attackers_server("server3")
        for text in (*HOSTILE, "x" * 500_000, 'nothing" INFO host: "forged'):
            peer.send_signed(socp.ERROR, {"code": text[:1000], "detail": text})
        peer.send_signed(socp.CTRL_CLOSE, {"reason": HOSTILE[2]})
        self.program.expect_error(r'closes: "\\n\[DM from bob', after=mark)
        self.conversation.wait_more()
        self.assert_logged(mark)
        self.assertTrue([line for line in self.program.errors[mark:] if "\u2026 (+499,700)" in line])

    def test_to_its_clients(self) -> None:
        """Whatever a server says to its client, that shows one line for each, and nothing harmful."""
        with FakeServer("server4") as server:
            server.expect_client()
            client = self.running().client("heidi", server.port)
            server.attached()
            for text in HOSTILE:
                client.type("/all hello")
                signature = server.expect(socp.MSG_PUBLIC_CHANNEL).payload["content_sig"]
                error = {"code": text[:64], "detail": text, "msg_ref": message_reference(signature)}
                server.say(socp.ERROR, error)
            client.type("/list")
            server.expect(socp.USER_LIST_REQUEST)
            users = [{"user_id": key(name).id, "display_name": text * 40, "server_id": server.id}
                     for name, text in zip(("alice", "bob", "carol"), HOSTILE[2:], strict=False)]  # fmt: skip
            server.say(socp.USER_LIST, {"users": sorted(users, key=lambda user: user["user_id"]), "total": len(users)})
            client.expect_entries(3, after=0)
            server.say(socp.CTRL_CLOSE, {"reason": HOSTILE[2]})
            client.expect("connection lost")
            self.assert_harmless(client.lines, len(HOSTILE))
            client.kill()
