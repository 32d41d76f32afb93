"""The commands of scripts, in this process, against a server that does what it likes."""

from __future__ import annotations

import contextlib
import io
import json
import queue
import sys
import tempfile
import threading
import unittest
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import control
import socp
from crypto.encoding import decode_base64url, encode_base64url
from crypto.sealing import message_label, open_sealed, seal
from crypto.signing import BROADCAST, MESSAGE, RECEIPT, KeySigner, message_reference, sign_content
from errands import Ending
from exits import Exit
from options import parse_options
from profiles import Profile, open_profile, when_free
from scripts import Output, Script, run_script
from settings import Settings, Timers
from socp import (
    ACK,
    CTRL_CLOSE,
    ERROR,
    FILE_END,
    FILE_START,
    MSG_DIRECT,
    MSG_PUBLIC_CHANNEL,
    USER_DELIVER,
    USER_KEY,
    USER_KEY_REQUEST,
    USER_LIST,
    USER_LIST_REQUEST,
)
from tests.fake_server import PATIENCE, FakeServer
from tests.test_users import make_user
from tests.vectors import key
from waking import Waker

ALICE, BOB = key("alice").id, key("bob").id


class Run:
    """A script in a thread of its own."""

    def __init__(self, script: Script, waker: Waker) -> None:
        self._ending: queue.Queue[Ending] = queue.Queue()
        self._waker = waker
        self._thread = threading.Thread(target=lambda: self._ending.put(script.run()), daemon=True)
        self._thread.start()

    def ending(self) -> Ending:
        """Wait for its end."""
        try:
            return self._ending.get(timeout=PATIENCE)
        finally:
            self._thread.join(PATIENCE)
            self._waker.close()


class Pipe(io.StringIO):
    """Standard output; what stands in it can be waited for, and it can break."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self._changed = threading.Condition()

    def write(self, text: str) -> int:
        """Take text, unless broken."""
        with self._changed:
            if self.broken:
                raise BrokenPipeError(32, "Broken pipe")
            self._changed.notify_all()
            return super().write(text)

    def lines(self, count: int) -> list[str]:
        """Wait for so many lines."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.getvalue().count("\n") >= count, PATIENCE), self.getvalue()
            return self.getvalue().splitlines()


class ScriptTest(unittest.TestCase):
    """Alice's scripts."""

    settings = Settings(replace(Timers(), linger=0.2, retry_first=0.02, stop=2.0))

    def setUp(self) -> None:
        """Make a server, and stand in for what scripts print to."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.out, self.errors = Pipe(), Pipe()
        for name, stand_in in (("stdout", self.out), ("stderr", self.errors)):
            patch = mock.patch.object(sys, name, stand_in)
            patch.start()
            self.addCleanup(patch.stop)
        reading = mock.patch.object(Profile, "key_pair", lambda *_: key("alice"))  # from its file it takes 0.3 s
        reading.start()
        self.addCleanup(reading.stop)
        self.server = FakeServer()
        self.addCleanup(self.server.close)

    def start(self, *arguments: str, server: bool = True) -> Run:
        """Start a script."""
        waker = Waker()
        argv = ["--profile", "alice", "--data-dir", str(self.directory)]
        argv += ["--downloads", str(self.directory / "files"), *arguments]
        if server:
            argv += ["--server", f"127.0.0.1:{self.server.port}"]
        options = parse_options(argv, {"XDG_CONFIG_HOME": str(self.directory)})
        return Run(Script(options, self.settings, Output(as_json=options.json), waker), waker)

    def attached(self, *arguments: str) -> Run:
        """Start a script, and have it attach."""
        self.server.expect_client()
        run = self.start(*arguments)
        self.server.attached()
        return run

    def reports(self, count: int = 0) -> list[dict[str, Any]]:
        """Return what was printed as JSON, waiting for so many lines."""
        return [json.loads(line) for line in self.out.lines(count)]

    # --- what the server does -----------------------------------------------------------------------------------

    def answer_key(self, name: str, **change: Any) -> None:
        """Answer the question for a user's key."""
        request = self.server.expect(USER_KEY_REQUEST)
        self.assertEqual(request.payload["user_id"], key(name).id)
        user = make_user(name, display_name=name)
        self.server.say(USER_KEY, {**user.to_wire(), "server_id": user.home, "online": True, **change})

    def answer_list(self, *names: str) -> None:
        """Answer the question who is online."""
        self.server.expect(USER_LIST_REQUEST)
        users = [
            {"user_id": key(name).id, "server_id": self.server.id, "display_name": name}
            for name in sorted(names, key=lambda name: key(name).id)
        ]
        self.server.say(USER_LIST, {"users": users, "total": len(users)})

    def told(self) -> str:
        """Take a message to bob, whose key is asked for, and return its msg_ref."""
        self.answer_key("bob")
        return message_reference(self.server.expect(MSG_DIRECT).payload["content_sig"])

    def say_stored(self, msg_ref: str) -> None:
        """Say that a message is stored."""
        self.server.say(ACK, {"msg_ref": msg_ref, "status": "stored"})

    def confirm(self, msg_ref: str) -> None:
        """Have bob say that a message was shown."""
        ts = socp.now_ms()
        values = {"msg_ref": msg_ref, "status": "delivered", "from": BOB, "to": ALICE, "ts": ts}
        signature = sign_content(KeySigner(key("bob")), RECEIPT, values)
        self.server.pass_on(
            ACK, "bob", {"msg_ref": msg_ref, "status": "delivered", "content_sig": signature}, ts, to=ALICE
        )

    def deliver(self, text: str) -> None:
        """Hand a message of bob's over."""
        ts = socp.now_ms()
        sealed = encode_base64url(seal(key("alice").public, text.encode(), message_label(BOB, ALICE)))
        values = {"ciphertext": sealed, "from": BOB, "to": ALICE, "ts": ts}
        payload = {
            "ciphertext": sealed,
            "sender": BOB,
            "sender_pub": key("bob").public.text,
            "content_sig": sign_content(KeySigner(key("bob")), MESSAGE, values),
        }
        self.server.say(USER_DELIVER, payload, ts=ts)

    def broadcast(self, text: str) -> None:
        """Pass a broadcast of bob's on."""
        ts = socp.now_ms()
        signature = sign_content(KeySigner(key("bob")), BROADCAST, {"text": text, "from": BOB, "ts": ts})
        payload = {"text": text, "sender_pub": key("bob").public.text, "content_sig": signature}
        self.server.pass_on(MSG_PUBLIC_CHANNEL, "bob", payload, ts, to=socp.PUBLIC)


class TellTest(ScriptTest):
    """Direct messages."""

    def test_delivered(self) -> None:
        """A message that its recipient confirms is reported as sent and delivered, and the script says goodbye."""
        run = self.attached("tell", BOB, "Lunch at", "noon?", "--json")
        self.confirm(self.told())
        self.assertEqual(run.ending(), Ending(Exit.DONE))
        sent, delivered = self.reports()
        self.assertEqual([report["type"] for report in (sent, delivered)], ["sent", "delivered"])
        self.assertEqual((sent["from"], sent["to"], sent["number"], sent["name"]), (ALICE, BOB, 1, "bob"))
        self.assertEqual(sent["msg_ref"], delivered["msg_ref"])
        self.server.expect(CTRL_CLOSE)

    def test_stored(self) -> None:
        """A message that a server keeps is enough, too; in text, each thing that became of it is a line."""
        run = self.attached("tell", BOB, "Lunch at noon?")
        self.say_stored(self.told())
        self.assertEqual(run.ending(), Ending(Exit.DONE))
        label = f"[DM to bob · {BOB[:8]}]"
        self.assertEqual(self.out.lines(2), [f"{label} sent (#1)", f"{label} stored until the user is back (#1)"])

    def test_standard_input(self) -> None:
        """A text comes from standard input whole, but for one line break at its end; what is no message is refused."""
        self.server.expect_client()
        with self.typed(b"one\ntwo\n\n"):
            run = self.start("tell", BOB, "-", "--json")
            self.server.attached()
            self.answer_key("bob")
            message = self.server.expect(MSG_DIRECT)
            label = message_label(ALICE, BOB)
            sealed = decode_base64url(message.payload["ciphertext"])
            self.assertEqual(open_sealed(key("bob"), sealed, label), b"one\ntwo\n")
        self.server.say(CTRL_CLOSE, {"reason": socp.ATTACHED_ELSEWHERE})
        self.assertEqual(run.ending().code, Exit.NO_CONNECTION)
        for wrong in (b"\xff", b"x" * 70_000):
            with self.typed(wrong):
                ending = self.start("tell", BOB, "-").ending()
            self.assertEqual(ending.code, Exit.FAILURE)
            self.assertIn("standard input", ending.error)

    def typed(self, data: bytes) -> contextlib.AbstractContextManager[Any]:
        """Have something stand on standard input."""
        return mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))

    def test_failed(self) -> None:
        """A message that a server refuses ends the script with the code for that, and says so on both outputs."""
        for code, exit_code in ((socp.USER_NOT_FOUND, Exit.NO_SUCH_USER), (socp.MAILBOX_FULL, Exit.FAILURE)):
            with self.subTest(code):
                run = self.attached("tell", BOB, "Lunch?", "--json")
                self.server.say(ERROR, {"code": code, "detail": "why", "msg_ref": self.told()})
                ending = run.ending()
                self.assertEqual(ending.code, exit_code)
                self.assertIn(f"failed: {code}: why", ending.error)
                failed = self.reports()[-1]
                self.assertEqual((failed["type"], failed["code"], failed["reason"]), ("failed", code, "why"))

    def test_timed_out(self) -> None:
        """When nothing is known in time, the script says so, and the message stays; whoever comes next hears of it."""
        run = self.attached("tell", BOB, "Lunch?", "--timeout", "2", "--json")
        msg_ref = self.told()
        ending = run.ending()
        self.assertEqual(ending.code, Exit.TIMED_OUT)
        self.assertIn(f"message #1 to bob · {BOB[:8]}", ending.error)
        self.assertIn("sent again when the profile is used next", ending.hint)
        listening = self.attached("listen", "--count", "1", "--json")
        self.assertEqual(message_reference(self.server.expect(MSG_DIRECT).payload["content_sig"]), msg_ref)
        self.say_stored(msg_ref)
        self.answer_key("bob")  # for its name
        self.assertEqual([report["type"] for report in self.reports(2)], ["sent", "stored"])
        self.deliver("Yes")
        self.assertEqual(listening.ending(), Ending(Exit.DONE))

    def test_others_talk(self) -> None:
        """What others say while a script does something else is neither printed nor confirmed: it waits."""
        run = self.attached("tell", BOB, "Lunch?", "--json")
        msg_ref = self.told()
        self.deliver("Are you there?")
        self.broadcast("Hello, everybody")
        self.server.expect_silence()
        self.confirm(msg_ref)
        self.assertEqual(run.ending(), Ending(Exit.DONE))
        self.assertEqual([report["type"] for report in self.reports()], ["sent", "delivered"])
        self.assertNotIn("Are you there?", self.errors.getvalue())

    def test_nobody(self) -> None:
        """No server, no connection, nobody of that name and no text each have their code and their error."""
        ending = self.start("tell", BOB, "Lunch?", server=False).ending()
        self.assertEqual((ending.code, ending.error), (Exit.USAGE, "no server was named"))
        self.assertIn("--server", ending.hint)
        run = self.attached("tell", "ben", "Lunch?")
        self.answer_list("bob")
        self.assertEqual(run.ending().code, Exit.NO_SUCH_USER)
        run = self.attached("tell", BOB, "")
        self.assertEqual(run.ending(), Ending(Exit.FAILURE, "there is no text to send"))
        self.server.close()
        self.assertEqual(self.start("tell", BOB, "Lunch?").ending().code, Exit.NO_CONNECTION)
        self.assertEqual(self.out.getvalue(), "")

    def test_not_text(self) -> None:
        """What the command line holds that is not UTF-8 is refused."""
        for arguments in (("tell", "b\udcff", "x"), ("tell", BOB, "x\udcff"), ("send", BOB, "x\udcff")):
            self.assertIn("not text in UTF-8", self.start(*arguments).ending().error)

    def test_another_server(self) -> None:
        """A server in the place of another one is refused, with the flag that would go on."""
        with open_profile("alice", self.directory) as profile:
            profile.set_pin(parse_options(["--server", str(self.server.port)], {}).servers[0], key("server2").id)  # type: ignore[index]
        self.server.expect_client()
        ending = self.start("tell", BOB, "Lunch?").ending()
        self.assertEqual(ending.code, Exit.BAD_KEY)
        self.assertIn(f"--trust-server {self.server.id}", ending.hint)


class OthersTest(ScriptTest):
    """Broadcasts, the list, files and oneself."""

    def test_broadcast(self) -> None:
        """A broadcast is done when the server has read it; if it refuses it, that is known by then."""
        run = self.attached("all", "Hello,", "everybody", "--json")
        self.assertEqual(self.server.expect(MSG_PUBLIC_CHANNEL).payload["text"], "Hello, everybody")
        self.answer_key("alice")
        self.assertEqual(run.ending(), Ending(Exit.DONE))
        [sent] = self.reports()
        self.assertEqual((sent["type"], sent["to"], sent["number"]), ("sent", "public", None))
        run = self.attached("all", "Hello", "--json")
        msg_ref = message_reference(self.server.expect(MSG_PUBLIC_CHANNEL).payload["content_sig"])
        self.server.say(ERROR, {"code": socp.TOO_LARGE, "detail": "too long", "msg_ref": msg_ref})
        self.answer_key("alice")
        self.assertEqual(run.ending(), Ending(Exit.FAILURE, "the broadcast failed: TOO_LARGE: too long"))

    def test_list(self) -> None:
        """Who is online is a report each, the blocked and oneself marked; in text, the name stands last."""
        with open_profile("alice", self.directory) as profile:
            profile.block(key("carol").id, "carol")
        run = self.attached("list", "--json")
        self.answer_list("alice", "bob", "carol")
        self.assertEqual(run.ending(), Ending(Exit.DONE))
        found = {report["name"]: (report["id"], report["you"], report["blocked"]) for report in self.reports()}
        carol = key("carol").id
        expected = {"alice": (ALICE, True, False), "bob": (BOB, False, False), "carol": (carol, False, True)}
        self.assertEqual(found, expected)
        run = self.attached("list")
        self.answer_list("bob")
        run.ending()
        self.assertEqual(self.out.lines(4)[-1], f"{BOB}  {self.server.id}  -  bob · {BOB[:8]}")

    def test_whoami(self) -> None:
        """Who one is needs no server; a profile without a key is not given one for that."""
        ending = self.start("whoami", server=False).ending()
        self.assertEqual((ending.code, ending.error), (Exit.BAD_KEY, "the profile alice has no key yet"))
        self.assertFalse((self.directory / "alice").exists())
        (self.directory / "alice").mkdir(mode=0o700)
        (self.directory / "alice" / "key.pem").touch()
        self.assertEqual(self.start("whoami", "--name", "Ann", server=False).ending(), Ending(Exit.DONE))
        self.assertEqual(self.start("whoami", "--json", server=False).ending(), Ending(Exit.DONE))
        text, report = self.out.lines(2)
        self.assertEqual(text, f"{ALICE}  alice  Ann")
        self.assertEqual({**json.loads(report), "ts": 0}, {
            "v": 1, "ts": 0, "type": "whoami", "id": ALICE, "name": "Ann", "profile": "alice"
        })  # fmt: skip

    def test_file_offline(self) -> None:
        """A file to somebody who is offline is not offered."""
        path = self.directory / "menu.txt"
        path.write_text("soup")
        run = self.attached("send", BOB, str(path))
        self.answer_key("bob", online=False)
        self.assertEqual(run.ending().code, Exit.NO_SUCH_USER)

    def test_file_refused(self) -> None:
        """A file that cannot be read, that nobody accepts in time, or whose recipient goes, is said so."""
        run = self.attached("send", BOB, str(self.directory / "nothing"))
        self.answer_key("bob")
        ending = run.ending()
        self.assertEqual(ending.code, Exit.FAILURE)
        self.assertIn("No such file or directory", ending.error)
        path = self.directory / "menu.txt"
        path.write_text("soup")
        run = self.attached("send", BOB, str(path), "--json")
        self.answer_key("bob")
        file_id = self.server.expect(FILE_START).payload["file_id"]
        self.server.say(ERROR, {"code": socp.USER_NOT_FOUND, "file_id": file_id})
        self.assertEqual(run.ending().code, Exit.NO_SUCH_USER)
        self.assertEqual([report["type"] for report in self.reports()], ["file-offered", "file-failed"])
        run = self.attached("send", BOB, str(path), "--timeout", "2")
        self.answer_key("bob")
        self.server.expect(FILE_START)
        self.assertEqual(run.ending().code, Exit.TIMED_OUT)


class ListenTest(ScriptTest):
    """What comes."""

    def test_count(self) -> None:
        """After so many messages and broadcasts it ends; each of them is confirmed, and what comes behind is not."""
        run = self.attached("listen", "--count", "2", "--json")
        self.broadcast("Hello, everybody")
        self.answer_key("bob")
        self.reports(1)
        self.deliver("one\x1b[31m\x7f\u202e")
        self.deliver("two")
        self.assertEqual(self.server.expect(ACK).payload["status"], "delivered")
        self.assertEqual(run.ending(), Ending(Exit.DONE))
        self.server.expect(CTRL_CLOSE)  # and nothing before it
        public, message = (report for report in self.reports() if report["type"] != "notice")
        self.assertEqual((public["type"], public["from"], public["text"]), ("public", BOB, "Hello, everybody"))
        self.assertEqual((message["type"], message["text"]), ("message", "one\x1b[31m\x7f\u202e"))
        self.assertEqual((message["name"], message["nick"], message["verified"]), ("bob", "", False))
        self.assertTrue(self.out.getvalue().replace("\n", "").isprintable())
        self.assertTrue(self.out.getvalue().isascii())

    def test_text(self) -> None:
        """In text, messages are lines of standard output, made visible, and what else happens stands elsewhere."""
        run = self.attached("listen", "--count", "1")
        self.deliver("one\n[DM from carol] two\x1b[31m")
        self.answer_key("bob")
        self.assertEqual(run.ending(), Ending(Exit.DONE))
        self.assertEqual(self.out.lines(1), [f"[DM from bob · {BOB[:8]}] one\\n[DM from carol] two\\x1b[31m"])
        self.assertIn("socp: note: the server at", self.errors.getvalue())

    def test_time(self) -> None:
        """When the time is over it ends well, unless so many messages were asked for."""
        self.assertEqual(self.attached("listen", "--for", "0.1").ending(), Ending(Exit.DONE))
        ending = self.attached("listen", "--for", "0.1", "--count", "1").ending()
        self.assertEqual(ending, Ending(Exit.TIMED_OUT, "fewer than 1 came"))

    def test_broken_pipe(self) -> None:
        """A message that standard output did not take is not confirmed, and that is the end of the script."""
        run = self.attached("listen")
        self.out.broken = True
        self.deliver("one")
        self.answer_key("bob")
        self.assertEqual(run.ending(), Ending(Exit.FAILURE))
        self.server.expect(CTRL_CLOSE)  # and no ACK before it
        self.out.broken = False
        run = self.attached("listen", "--count", "1")
        self.deliver("two")
        self.answer_key("bob")
        self.server.expect(ACK)
        self.assertEqual(run.ending(), Ending(Exit.DONE))

    def test_no_output(self) -> None:
        """With standard output closed, nothing is begun."""
        options = parse_options(["listen"], {"XDG_CONFIG_HOME": str(self.directory)})
        with mock.patch.object(sys, "stdout", None):
            self.assertEqual(run_script(options, self.settings), Exit.FAILURE)
        self.assertIn("socp: error: standard output is closed", self.errors.getvalue())

    def test_connection(self) -> None:
        """A connection that is lost and comes back is reported; one that does not come back ends the script."""
        run = self.attached("listen", "--json")
        self.server.expect_client()
        self.server.attached()
        lost, back = self.reports(3)[-2:]
        self.assertEqual((lost["type"], lost["final"]), ("disconnected", False))
        self.assertEqual((back["type"], back["server"]), ("connected", self.server.id))
        self.server.say(CTRL_CLOSE, {"reason": socp.ATTACHED_ELSEWHERE})
        self.assertEqual(run.ending().code, Exit.NO_CONNECTION)
        self.assertTrue(self.reports()[-1]["final"])


class BesideTest(ScriptTest):
    """Scripts beside one that listens, which is a running client to them."""

    def setUp(self) -> None:
        """Have the first script listen."""
        super().setUp()
        open_door = control.ControlServer.start
        is_open = threading.Event()

        def start(door: control.ControlServer) -> None:
            open_door(door)
            is_open.set()

        with mock.patch("scripts.ControlServer.start", start):
            self.listening = self.attached("listen", "--json")
            self.assertTrue(is_open.wait(PATIENCE))
        self.addCleanup(self.end)

    def end(self) -> None:
        """End the first script."""
        self.server.say(CTRL_CLOSE, {"reason": socp.ATTACHED_ELSEWHERE})
        self.assertEqual(self.listening.ending().code, Exit.NO_CONNECTION)
        self.assertFalse((self.directory / "alice" / "control").exists())

    def test_tell(self) -> None:
        """A script has the running client send its message, and both say what became of it."""
        run = self.start("tell", BOB, "Lunch?", "--json", server=False)
        msg_ref = self.told()
        self.confirm(msg_ref)
        self.assertEqual(run.ending(), Ending(Exit.DONE))
        kinds = [report["type"] for report in self.reports() if report.get("msg_ref") == msg_ref]
        # Two write. What the script says is in order; what the other says may come before all of it.
        self.assertIn(kinds, (["sent", "delivered", "delivered"], ["delivered", "sent", "delivered"]))
        self.assertIn(f"socp: note: a script has told bob · {BOB[:8]} (#1): Lunch?", self.errors.getvalue())

    def test_everything(self) -> None:
        """Each of the others goes through it as well, without a server of its own."""
        run = self.start("all", "Hello", "--json", server=False)
        self.server.expect(MSG_PUBLIC_CHANNEL)
        self.answer_key("alice")
        self.assertEqual(run.ending(), Ending(Exit.DONE))
        run = self.start("list", "--json", server=False)
        self.answer_list("alice", "bob")
        self.assertEqual(run.ending(), Ending(Exit.DONE))
        (self.directory / "alice" / "key.pem").touch()
        self.assertEqual(self.start("whoami", "--json", server=False).ending(), Ending(Exit.DONE))
        kinds = [report["type"] for report in self.reports() if report["type"] != "notice"]
        self.assertEqual(kinds, ["sent", "user", "user", "whoami"])
        run = self.start("tell", "ben", "Lunch?", server=False)
        self.answer_list("bob")
        self.assertEqual(run.ending().code, Exit.NO_SUCH_USER)
        self.assertEqual(self.start("tell", BOB, "", server=False).ending().error, "there is no text to send")

    def test_listen(self) -> None:
        """A second listener hears the same; and goes when it has heard enough, or its time is over."""
        run = self.start("listen", "--count", "1", server=False)
        self.assertEqual(self.start("listen", "--for", "0.1", server=False).ending(), Ending(Exit.DONE))
        self.deliver("hello")
        self.answer_key("bob")
        self.assertEqual(run.ending(), Ending(Exit.DONE))
        self.assertEqual(self.out.getvalue().count("hello"), 2)

    def test_timed_out(self) -> None:
        """When a message's time is over, the running client goes on with it."""
        run = self.start("tell", BOB, "Lunch?", "--timeout", "2", server=False)
        msg_ref = self.told()
        ending = run.ending()
        self.assertEqual(ending.code, Exit.TIMED_OUT)
        self.assertIn("the running client goes on sending it", ending.hint)
        self.confirm(msg_ref)
        self.server.expect_silence()

    def test_file(self) -> None:
        """A file is sent through it, and not any more when its time is over."""
        path = self.directory / "menu.txt"
        path.write_text("soup")
        run = self.start("send", BOB, str(path), "--json", "--timeout", "2", server=False)
        self.answer_key("bob")
        file_id = self.server.expect(FILE_START).payload["file_id"]
        self.assertEqual(run.ending().code, Exit.TIMED_OUT)
        self.assertEqual(self.server.expect(FILE_END).payload["file_id"], file_id)
        offered = next(report for report in self.reports() if report["type"] == "file-offered")
        self.assertEqual((offered["from"], offered["to"], offered["file_name"]), (ALICE, BOB, "menu.txt"))
        self.assertIn(f"a script sends menu.txt to bob · {BOB[:8]}", self.errors.getvalue())


class LockedTest(ScriptTest):
    """Profiles that others have."""

    settings = replace(ScriptTest.settings, timers=replace(ScriptTest.settings.timers, stop=1.0))

    def test_other_program(self) -> None:
        """A profile that another program has, which lets no script in, is waited for no longer than that ends."""
        with open_profile("alice", self.directory):
            ending = self.start("tell", BOB, "Lunch?").ending()
        self.assertEqual(ending.code, Exit.FAILURE)
        self.assertIn("the profile alice is in use by another program, and that takes no scripts", ending.error)

    def test_other_scripts(self) -> None:
        """Scripts of one profile at the same time wait for each other."""
        waiting = threading.Event()

        def wait(path: Path, then: Callable[[], None]) -> None:
            when_free(path, then)
            waiting.set()

        self.server.expect_client()
        with open_profile("alice", self.directory) as profile, mock.patch("scripts.when_free", wait):
            run = self.start("list")
            self.assertTrue(waiting.wait(PATIENCE))
            profile.close()
            self.server.attached()
            self.answer_list("bob")
            self.assertEqual(run.ending(), Ending(Exit.DONE))
