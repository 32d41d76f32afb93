"""`client.py key`, in process: what it does to a profile, and what it refuses to do."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import tempfile
import unittest
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest import mock

from cryptography.hazmat.primitives import serialization

import journal
from addresses import Address
from crypto import passwords
from crypto.keys import read_key_file, write_key_file
from errors import HistoryLocked
from exits import Exit
from journal import Entry, Journal
from keytool import run_key
from options import parse_options
from profiles import open_profile
from programs import StartError
from tests.vectors import key
from threads import Deadline

BOB = key("bob").id
_READ = partial(serialization.load_pem_private_key, unsafe_skip_rsa_key_validation=True)


class KeyToolTest(unittest.TestCase):
    """Profiles in a directory of their own, without a terminal."""

    def setUp(self) -> None:
        """Make the directory."""
        for patch in (
            mock.patch.multiple(passwords, WORK=4, WORK_LEAST=4),
            # Checking the numbers of a key takes 0.2 s; these are known to be good.
            mock.patch("crypto.keys.serialization.load_pem_private_key", _READ),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.profile = self.directory / "default"
        self.key_file = self.profile / "key.pem"

    def put_key(self, name: str, password: str = "") -> None:
        """Give the profile a key."""
        self.profile.mkdir(mode=0o700, exist_ok=True)
        self.key_file.unlink(missing_ok=True)
        write_key_file(self.key_file, key(name), password)

    def run_key(self, *argv: str, generate: str = "alice", **environ: str) -> dict[str, str]:
        """Run a command, and return what it prints, by name."""
        options = parse_options(["key", *argv, "--data-dir", str(self.directory)], {})
        variables = {name: value for name, value in os.environ.items() if "PASSWORD" not in name}
        with (
            mock.patch.dict(os.environ, {**variables, **environ}, clear=True),
            mock.patch("sys.stdin", io.StringIO()),
            contextlib.redirect_stdout(io.StringIO()) as shown,
        ):
            self.assertEqual(run_key(options, lambda: key(generate)), 0)
            self.assertFalse(
                [name for name in environ if name in os.environ], "whatever is started later would have it"
            )
        if "--json" in argv:
            return dict(json.loads(shown.getvalue()))
        return {
            name: value.strip() for name, _, value in (line.partition(":") for line in shown.getvalue().splitlines())
        }

    def refused(self, *argv: str, code: object = Exit.FAILURE, **environ: str) -> str:
        """Return the error and the hint of a command that fails with a code."""
        before = self.state()
        with self.assertRaises(StartError) as caught:
            self.run_key(*argv, **environ)
        self.assertEqual(caught.exception.code, code, caught.exception)
        self.assertEqual(self.state(), before, "nothing was changed")
        return f"{caught.exception} | {caught.exception.hint}"

    def state(self) -> dict[str, bytes]:
        """Return what is in all profiles, but for their locks."""
        files = (path for path in self.directory.rglob("*") if path.is_file() and path.name != "lock")
        return {str(path): path.read_bytes() for path in files}

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Have a client use the profile."""
        with open_profile("default", self.directory):
            yield


class ShowTest(KeyToolTest):
    """Telling of a key."""

    def test_shown(self) -> None:
        """The id, the file, whether a password protects it and the public key are told, beside a running client."""
        for password, protected in (("", "no"), ("right", "yes")):
            self.put_key("alice", password)
            environ = {"CHAT_KEY_PASSWORD": password} if password else {}
            with self.in_use():
                self.assertEqual(
                    self.run_key("show", **environ),
                    {
                        "id": key("alice").id,
                        "path": str(self.key_file),
                        "protected": protected,
                        "public_key": key("alice").public.text,
                    },
                )

    def test_json(self) -> None:
        """A script gets the same as an object."""
        self.put_key("alice")
        found = self.run_key("show", "--json")
        self.assertEqual((found["v"], found["type"], found["action"]), (1, "key", "show"))
        self.assertEqual((found["id"], found["protected"]), (key("alice").id, False))

    def test_refused(self) -> None:
        """A missing key, and a missing or wrong password, are said with what helps; no profile is made for it."""
        self.assertIn("has no key | make one with key new", self.refused("show", code=Exit.BAD_KEY))
        self.assertFalse(self.profile.exists())
        self.put_key("alice", "right")
        self.assertIn("$CHAT_KEY_PASSWORD", self.refused("show", code=Exit.BAD_KEY))
        self.assertIn("wrong key password", self.refused("show", code=Exit.BAD_KEY, CHAT_KEY_PASSWORD="wrong"))
        self.assertIn("is not a profile's name", self.refused("show", "--profile", "../x", code=Exit.USAGE))


class NewTest(KeyToolTest):
    """Making a key."""

    def test_made(self) -> None:
        """A key is made with a password or none, readable by its owner alone, and never over another."""
        self.assertEqual(self.run_key("new", CHAT_KEY_PASSWORD="right")["protected"], "yes")
        self.assertEqual(read_key_file(self.key_file, "right").id, key("alice").id)
        self.assertEqual(stat.S_IMODE(self.key_file.stat().st_mode), 0o600)
        self.assertIn("has a key already", self.refused("new", CHAT_KEY_PASSWORD="right"))
        self.assertIn(f"mv -- {self.key_file}", self.refused("new", CHAT_KEY_PASSWORD="right"))
        self.assertEqual(self.run_key("new", "--profile", "b", CHAT_KEY_PASSWORD="")["protected"], "no")

    def test_refused(self) -> None:
        """Nobody is asked without a terminal; a profile that is in use is left alone."""
        self.assertIn("put it into $CHAT_KEY_PASSWORD", self.refused("new", code=Exit.USAGE))
        with self.in_use():
            self.assertIn("in use", self.refused("new", CHAT_KEY_PASSWORD=""))

    def test_asked(self) -> None:
        """At a terminal, a new password is asked for twice, and the two must be the same."""
        for answers, error in ((["a", "b"], "the two passwords differ"), ([EOFError], "no password was given")):
            with (
                mock.patch("asking.at_terminal", return_value=True),
                mock.patch("getpass.getpass", side_effect=answers),
            ):
                self.assertIn(error, self.refused("new"))
        with (
            mock.patch("asking.at_terminal", return_value=True),
            mock.patch("getpass.getpass", side_effect=["right", "right"]),
        ):
            self.assertEqual(self.run_key("new")["protected"], "yes")


class PasswordTest(KeyToolTest):
    """Changing a key's password, and that of the history with it."""

    def write_history(self, password: str) -> None:
        """Keep a message."""
        history = Journal(self.profile / journal.FILE_NAME, password)
        history.record(Entry(BOB, "ben", "hello", 1_700_000_000_000))
        history.close(Deadline(10.0))

    def read_history(self, password: str) -> list[str]:
        """Return what is kept."""
        history = Journal(self.profile / journal.FILE_NAME, password)
        try:
            return [entry.text for entry in history.last(10)]
        finally:
            history.close(Deadline(10.0))

    def test_changed(self) -> None:
        """A password is set, changed and removed; the file stays its owner's alone, and nothing is left beside it."""
        self.put_key("alice")
        for old, new in (("", "one"), ("one", "two"), ("two", "")):
            environ = {"CHAT_KEY_PASSWORD": old} if old else {}
            self.assertEqual(self.run_key("password", SOCP_NEW_PASSWORD=new, **environ)["id"], key("alice").id)
            self.assertEqual(read_key_file(self.key_file, new).id, key("alice").id)
            self.assertEqual(b"ENCRYPTED" in self.key_file.read_bytes(), bool(new))
            self.assertEqual(stat.S_IMODE(self.key_file.stat().st_mode), 0o600)
            self.assertEqual({path.name for path in self.profile.iterdir()}, {"key.pem", "lock"})

    def test_asked(self) -> None:
        """At a terminal, the old password is asked for if there is one, and then the new one, twice."""
        self.put_key("alice", "old")
        with (
            mock.patch("asking.at_terminal", return_value=True),
            mock.patch("getpass.getpass", side_effect=["old", "new", "new"]) as asked,
        ):
            self.run_key("password")
        self.assertEqual(
            [call.args[0] for call in asked.call_args_list],
            ["Key password: ", "New key password (empty for none): ", "The same again: "],
        )
        self.assertEqual(read_key_file(self.key_file, "new").id, key("alice").id)

    def test_refused(self) -> None:
        """Wrong, missing and impossible passwords change nothing; nor is anything done beside a running client."""
        self.assertIn("has no key", self.refused("password", code=Exit.BAD_KEY, SOCP_NEW_PASSWORD="new"))
        self.assertFalse(self.profile.exists())
        self.put_key("alice", "old")
        old = {"CHAT_KEY_PASSWORD": "old"}
        self.assertIn(
            "wrong key password",
            self.refused("password", code=Exit.BAD_KEY, CHAT_KEY_PASSWORD="x", SOCP_NEW_PASSWORD="new"),
        )
        self.assertIn("$SOCP_NEW_PASSWORD", self.refused("password", code=Exit.USAGE, **old))
        for impossible in ("x" * 1024, "\udcff"):
            self.refused("password", code=Exit.BAD_KEY, SOCP_NEW_PASSWORD=impossible, **old)
        with self.in_use():
            self.assertIn("in use", self.refused("password", SOCP_NEW_PASSWORD="new", **old))

    def test_history(self) -> None:
        """The history opens with the new password, too; while there is one, the key's cannot be taken away."""
        self.put_key("alice", "old")
        self.write_history("old")
        self.run_key("password", CHAT_KEY_PASSWORD="old", SOCP_NEW_PASSWORD="new")
        self.assertEqual(self.read_history("new"), ["hello"])
        with self.assertRaises(HistoryLocked):
            self.read_history("old")
        with self.assertRaisesRegex(StartError, "cannot be taken away"):
            self.run_key("password", CHAT_KEY_PASSWORD="new", SOCP_NEW_PASSWORD="")
        self.assertEqual(read_key_file(self.key_file, "new").id, key("alice").id)

    def test_killed_in_between(self) -> None:
        """Killed between history and key, all opens with the old or the new one, and the same again mends it."""
        self.put_key("alice", "old")
        self.write_history("old")

        def killed(*_: object) -> None:
            raise KeyboardInterrupt  # as abrupt as it can be within a process

        with mock.patch("crypto.keys.os.replace", killed), self.assertRaises(KeyboardInterrupt):
            self.run_key("password", CHAT_KEY_PASSWORD="old", SOCP_NEW_PASSWORD="new")
        self.assertEqual(read_key_file(self.key_file, "old").id, key("alice").id)
        (self.profile / ".key.pem.0123").write_text("left by a kill", "utf-8")
        with self.assertRaises(StartError) as caught:
            self.run_key("password", CHAT_KEY_PASSWORD="old", SOCP_NEW_PASSWORD="newer")
        self.assertEqual(caught.exception.code, Exit.BAD_KEY)
        self.assertIn("do it again with the same new password", caught.exception.hint)
        self.run_key("password", CHAT_KEY_PASSWORD="old", SOCP_NEW_PASSWORD="new")
        self.assertEqual(read_key_file(self.key_file, "new").id, key("alice").id)
        self.assertEqual(self.read_history("new"), ["hello"])
        self.assertFalse(list(self.profile.glob(".key.pem.*")), "a draft was left")

    def test_disk(self) -> None:
        """A key that cannot be written leaves the old one, and the history with the old password."""
        self.put_key("alice", "old")
        self.write_history("old")
        with (
            mock.patch("crypto.keys.os.fsync", side_effect=OSError(28, "No space left on device")),
            self.assertRaisesRegex(StartError, "No space left"),
        ):
            self.run_key("password", CHAT_KEY_PASSWORD="old", SOCP_NEW_PASSWORD="new")
        self.assertEqual(read_key_file(self.key_file, "old").id, key("alice").id)
        self.assertEqual(self.read_history("old"), ["hello"])


class BackupTest(KeyToolTest):
    """Taking an identity elsewhere."""

    def setUp(self) -> None:
        """Make an identity."""
        super().setUp()
        self.file = self.directory.parent / f"{self.directory.name}.socp"
        self.addCleanup(self.file.unlink, missing_ok=True)
        self.put_key("alice", "old")
        with open_profile("default", self.directory) as profile:
            profile.set_pin(Address("h", 1), key("server").id)
            profile.bind("bob", BOB)
            profile.block(key("carol").id, "carol")
            profile.set_display_name("Zo\u00eb")

    def export(self) -> dict[str, str]:
        """Make a backup."""
        return self.run_key("export", str(self.file), CHAT_KEY_PASSWORD="old", SOCP_BACKUP_PASSWORD="safe")

    def import_(self, *argv: str, **environ: str) -> dict[str, str]:
        """Take it into a profile."""
        given = {"SOCP_BACKUP_PASSWORD": "safe", "CHAT_KEY_PASSWORD": "other", **environ}
        return self.run_key("import", str(self.file), "--profile", "b", *argv, **given)

    def import_refused(self, code: object, **environ: str) -> str:
        """Return the error of an import into a profile."""
        given = {"SOCP_BACKUP_PASSWORD": "safe", "CHAT_KEY_PASSWORD": "other", **environ}
        return self.refused("import", str(self.file), "--profile", "b", code=code, **given)

    def test_there_and_back(self) -> None:
        """An identity has the same id elsewhere, with pins, names and blocked users, and a new key password there."""
        with self.in_use():
            said = self.export()
        self.assertEqual(said, {"id": key("alice").id, "path": str(self.file), "protected": "yes"})
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        found = self.import_()
        self.assertEqual((found["id"], found["protected"]), (key("alice").id, "yes"))
        self.assertEqual(read_key_file(self.directory / "b" / "key.pem", "other").id, key("alice").id)
        with open_profile("b", self.directory) as profile:
            self.assertEqual(profile.pin(Address("h", 1)), key("server").id)
            self.assertEqual(profile.bound_to("bob"), BOB)
            self.assertEqual(dict(profile.blocked), {key("carol").id: "carol"})
            self.assertEqual(profile.display_name, "Zo\u00eb")
            self.assertEqual({path.name for path in profile.path.iterdir()}, {"key.pem", "lock", "profile.json"})
            for path in profile.path.iterdir():
                self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path)

    def test_key_alone(self) -> None:
        """A profile that remembers nothing yet is backed up all the same."""
        (self.profile / "profile.json").unlink()
        self.export()
        self.assertEqual(self.import_()["id"], key("alice").id)

    def test_export_refused(self) -> None:
        """A backup goes over no file, needs both passwords, and leaves nothing where it cannot be written."""
        both = {"CHAT_KEY_PASSWORD": "old", "SOCP_BACKUP_PASSWORD": "safe"}
        file = str(self.file)
        self.assertIn("wrong key password", self.refused("export", file, code=5, **{**both, "CHAT_KEY_PASSWORD": "x"}))
        self.assertIn("$SOCP_BACKUP_PASSWORD", self.refused("export", file, code=2, CHAT_KEY_PASSWORD="old"))
        self.assertIn("needs a password", self.refused("export", file, code=5, **{**both, "SOCP_BACKUP_PASSWORD": ""}))
        with mock.patch("files.os.fsync", side_effect=OSError(28, "No space left on device")):
            self.assertIn("No space left", self.refused("export", file, **both))
        self.assertFalse(self.file.exists())
        self.file.write_text("mine", "utf-8")
        self.assertIn("is there already", self.refused("export", file, code=2, **both))
        self.assertEqual(self.file.read_text("utf-8"), "mine")
        self.assertIn("cannot write", self.refused("export", f"{file}/below", **both))

    def test_import_refused(self) -> None:
        """An identity goes into an empty profile alone, with the right password; otherwise nothing is changed."""
        self.assertIn("cannot read", self.import_refused(1))
        self.file.write_text("no backup", "utf-8")
        self.assertIn("not a backup", self.import_refused(5))
        self.file.unlink()
        self.export()
        self.assertIn("not the backup's", self.import_refused(5, SOCP_BACKUP_PASSWORD="wrong"))
        self.assertIn("at most 1,023 bytes", self.import_refused(5, CHAT_KEY_PASSWORD="x" * 1024))
        with open_profile("b", self.directory):
            self.assertIn("in use", self.import_refused(1))
        with open_profile("b", self.directory) as profile:
            profile.set_display_name("somebody else")
        self.assertIn("profile.json is in it | choose another profile", self.import_refused(1))
        (self.directory / "b" / "profile.json").unlink()
        (self.directory / "b" / "outbox.sqlite3").touch()
        self.assertIn("outbox.sqlite3 is in it", self.import_refused(1))
        (self.directory / "b" / "outbox.sqlite3").unlink()
        self.import_()
        self.assertIn("has a key already", self.import_refused(1))

    def test_no_terminal(self) -> None:
        """Nobody is asked without a terminal: each error names the variable."""
        self.export()
        command = ("import", str(self.file), "--profile", "b")
        self.assertIn("$SOCP_BACKUP_PASSWORD", self.refused(*command, code=Exit.USAGE))
        self.assertIn("$CHAT_KEY_PASSWORD", self.refused(*command, code=Exit.USAGE, SOCP_BACKUP_PASSWORD="safe"))

    def test_damaged_profile(self) -> None:
        """A backup whose profile is not as it should be is refused as a whole."""
        with mock.patch("keytool.KeyTool._memory", return_value={"pins": {"h:1": "no id"}}):
            self.export()
        self.assertIn("a profile that is damaged", self.import_refused(Exit.BAD_KEY))

    def test_killed_in_between(self) -> None:
        """An import that was killed leaves no key, and can be done again."""
        self.export()
        with mock.patch("keytool.write_key_file", side_effect=KeyboardInterrupt), self.assertRaises(KeyboardInterrupt):
            self.import_()
        profile = self.directory / "b"
        (profile / ".import-0123").mkdir()
        (profile / ".key.pem.0123").touch()
        self.assertFalse((profile / "key.pem").exists())
        self.assertEqual(self.import_()["id"], key("alice").id)
        self.assertEqual({path.name for path in profile.iterdir()}, {"key.pem", "lock", "profile.json"})
