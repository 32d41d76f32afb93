"""Sending files: recipients and servers that do not do what they should."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import socp
from crypto.signing import MANIFEST, verify_content
from errors import FileRefused
from events import FileStarted
from settings import Limits, Settings, Timers
from socp import FILE_ACK, FILE_CHUNK, FILE_END, FILE_START, SERVER_BUSY, USER_NOT_FOUND, Envelope
from tests.vectors import key
from tests.wire import CHUNK, CHUNK_SEALED, PATIENCE, WireTest, changed


class ManifestTest(WireTest):
    """What is sent when nothing goes wrong."""

    settings = Settings(replace(Timers(), busy=PATIENCE))

    def test_manifest(self) -> None:
        """The offer says name, size, hash and chunks, and is signed; the chunks are sealed and numbered."""
        content = os.urandom(CHUNK + 5)
        file_id = self.offer(content)
        self.assertEqual(self.assert_done(self.alice).file_id, file_id)
        start = self.alice.sent[0]
        self.assertTrue(
            verify_content(key("alice").public, MANIFEST, start.signed_values(), start.payload["content_sig"])
        )
        self.assertEqual((start.payload["size"], start.payload["chunks"]), (len(content), 2))
        self.assertEqual(start.payload["sha256"], hashlib.sha256(content).hexdigest())
        self.assertEqual((start.payload["mode"], start.payload["name"]), ("dm", "a file.bin"))
        types = [envelope.type for envelope in self.alice.sent]
        self.assertEqual(types, [FILE_START, FILE_CHUNK, FILE_CHUNK, FILE_END])
        self.assertEqual([chunk.payload["index"] for chunk in self.alice.sent[1:3]], [0, 1])
        self.wait_settled(self.alice)


class SendTest(WireTest):
    """Files that arrive."""

    settings = Settings(replace(Timers(), busy=0.1, ask=0.3))

    def test_empty(self) -> None:
        """An empty file has no chunks."""
        self.offer(b"")
        self.assert_done(self.alice)
        self.assertEqual([envelope.type for envelope in self.alice.sent], [FILE_START, FILE_END])

    def test_last_chunk_thrown_away(self) -> None:
        """A server that throws the last chunk away and lets the end pass does not end the transfer."""
        refused: list[Envelope] = []

        def alter(envelope: Envelope) -> Envelope | None:
            if envelope.type == FILE_CHUNK and len(refused) < 3:
                refused.append(envelope)
                self.alice.refuse(envelope, SERVER_BUSY)
                return None
            return envelope

        self.alice.alter = alter
        self.offer(b"x")
        self.assertEqual(self.assert_done(self.bob).path.read_bytes(), b"x")
        self.assertEqual([envelope.type for envelope in self.alice.sent].count(FILE_END), 1)

    def test_silent_recipient(self) -> None:
        """A recipient that does not say that it has every chunk is sent the end all the same."""
        self.bob.alter = lambda envelope: (
            None if envelope.payload["next_index"] and "content_sig" not in (envelope.payload) else envelope
        )
        self.offer(b"x")
        self.assert_done(self.bob)
        self.assert_done(self.alice)

    def test_busy(self) -> None:
        """What a server had no room for is sent again, from where the recipient stands."""
        refused: set[tuple[str, int]] = set()

        def alter(envelope: Envelope) -> Envelope | None:
            place = (envelope.type, envelope.payload.get("index", -1))
            if place in {(FILE_START, -1), (FILE_CHUNK, 0), (FILE_CHUNK, 2), (FILE_END, -1)} - refused:
                refused.add(place)
                self.alice.refuse(envelope, SERVER_BUSY)
                return None
            return envelope

        self.alice.alter = alter
        content = os.urandom(3 * CHUNK)
        self.offer(content)
        self.assertEqual(self.assert_done(self.bob).path.read_bytes(), content)
        self.assert_done(self.alice)
        self.assertEqual(len(refused), 4)

    def test_refused_files(self) -> None:
        """What is no regular file, or too large, is refused before anything is sent."""
        os.mkfifo(self.directory / "fifo")
        (self.directory / "loop").symlink_to("loop")
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(str(self.directory / "socket"))
        large = self.directory / "large"
        with large.open("wb") as stream:
            stream.truncate(Limits().file_bytes + 1)
        for path, error in (
            (self.directory / "missing", "No such file"),
            (self.directory, "it is a directory"),
            (Path("/dev/zero"), "not a regular file"),
            (Path("/dev/tty"), "cannot (read|send) /dev/tty"),
            (self.directory / "socket", "cannot (read|send) .*socket"),
            (self.directory / "loop", "symbolic links"),
            (self.directory / "fifo", "not a regular file"),
            (Path("a\x00b"), "null"),
            (large, "at most"),
        ):
            with self.subTest(path=path), self.assertRaisesRegex(FileRefused, error):
                self.alice.transfers.offer(self.bob.contact, path)
        self.assertEqual((self.alice.sent, self.alice.transfers.active), ([], 0))

    def test_unreadable(self) -> None:
        """A file that may not be read is refused with the system's words."""
        with mock.patch.object(os, "open", side_effect=PermissionError(errno.EACCES, "Permission denied")):
            path = self.file(b"x")  # root may read everything
            self.assertRaisesRegex(FileRefused, "denied", self.alice.transfers.offer, self.bob.contact, path)

    def test_link(self) -> None:
        """A symbolic link of the person's own is followed, and the file goes by the link's name."""
        link = self.directory / "link"
        link.symlink_to(self.file(b"content"))
        self.alice.transfers.offer(self.bob.contact, link)
        done = self.assert_done(self.bob)
        self.assertEqual((done.path.name, done.path.read_bytes()), ("link", b"content"))

    def test_file_without_size(self) -> None:
        """A file that says that it is empty, and is not, as those of /proc, fails before it is offered."""
        status = mock.Mock(st_size=0, st_mtime_ns=1, st_mode=stat.S_IFREG)
        with mock.patch.object(os, "fstat", return_value=status):
            self.offer(b"x")
            self.assert_failed(self.alice, "other bytes than its size says")

    def test_odd_names(self) -> None:
        """A name that is not UTF-8 is sent as near to it as can be."""
        path = Path(os.fsdecode(os.fsencode(self.directory) + b"/a\xffb"))
        try:
            path.write_bytes(b"x")
        except OSError:
            return  # macOS has no such names
        self.alice.transfers.offer(self.bob.contact, path)
        self.assert_done(self.alice)
        self.assertEqual(self.alice.sent[0].payload["name"], "a?b")


class RecipientTest(WireTest):
    """Recipients that answer wrongly, or not at all."""

    settings = Settings(
        replace(Timers(), stall=0.6, offer=0.6, busy=0.01, resume=1.5, retry_first=0.02),
        replace(Limits(), transfer_window=8 * CHUNK_SEALED),
    )

    def test_no_answer(self) -> None:
        """An offer that nobody answers fails in time."""
        self.alice.alter = lambda _: None
        self.offer(b"x")
        self.assert_failed(self.alice, "did not answer the offer")

    def test_no_chunk_before_it_is_asked_for(self) -> None:
        """Nothing of the file is sent before the recipient has taken it."""
        self.bob.alter = lambda _: None
        self.offer(b"x")
        self.assert_failed(self.alice, "did not answer the offer")
        self.assertEqual([envelope.type for envelope in self.alice.sent], [FILE_START, FILE_END])

    def test_stalled(self) -> None:
        """A recipient that falls silent fails the transfer, and is told that it has ended."""
        self.bob.alter = lambda envelope: envelope if envelope.payload["next_index"] == 0 else None
        self.offer(b"x" * CHUNK * 20)
        self.assert_failed(self.alice, "nothing was heard from the recipient")
        self.assertEqual(self.alice.sent[-1].type, FILE_END)

    def test_asked_for_ever(self) -> None:
        """A recipient that asks for the same chunk for ever fails the transfer in time, though it is online."""

        def alter(envelope: Envelope) -> Envelope | None:
            if envelope.type == FILE_CHUNK:
                payload = {"file_id": envelope.payload["file_id"], "next_index": 0, "status": "receiving"}
                wire = socp.make_envelope(FILE_ACK, self.bob.id, self.alice.id, 1, payload)
                self.alice.take(socp.read_envelope(wire))
                return None
            return envelope

        self.alice.alter = alter
        self.bob.says_online = lambda: False  # it has patience
        self.offer(b"x" * CHUNK * 20)
        self.assert_failed(self.alice, "nothing was heard from the recipient")
        self.assertEqual(self.alice.asked_online, 1)

    def test_asked_for_ever_between_interruptions(self) -> None:
        """So does one that comes and goes without ever having more of the file, after a while."""

        def alter(envelope: Envelope) -> Envelope | None:
            if envelope.type == FILE_CHUNK:
                self.alice.refuse(envelope, USER_NOT_FOUND)
                return None
            return envelope

        self.alice.alter = alter
        self.bob.says_online = lambda: False  # it has patience
        self.offer(b"x" * CHUNK * 20)
        self.assert_failed(self.alice, "interrupted for too long")
        starts = [envelope for envelope in self.alice.sent if envelope.type == FILE_START]
        self.assertLess(len(starts), 20)

    def test_busy_for_ever(self) -> None:
        """A server that is busy for ever fails the transfer in time."""

        def alter(envelope: Envelope) -> Envelope | None:
            if envelope.type == FILE_CHUNK:
                self.alice.refuse(envelope, SERVER_BUSY)
                return None
            return envelope

        self.alice.alter = alter
        self.offer(b"x")
        self.assert_failed(self.alice, "nothing was heard")

    def test_window(self) -> None:
        """No more ciphertext than the window is on its way that the recipient has not acknowledged."""
        self.bob.alter = lambda envelope: envelope if envelope.payload["next_index"] == 0 else None
        self.offer(b"x" * CHUNK * 20)
        self.assert_failed(self.alice, "nothing was heard")
        chunks = [envelope for envelope in self.alice.sent if envelope.type == FILE_CHUNK]
        self.assertEqual(len(chunks), 8)

    def test_forged_end(self) -> None:
        """An end that the recipient has not signed is passed over."""

        def alter(envelope: Envelope) -> Envelope | None:
            return envelope if envelope.payload["status"] == "receiving" else changed(envelope, content_sig="AA")

        with self.assertLogs("socp.sending", "WARNING"):
            self.bob.alter = alter
            self.offer(b"")
            self.assert_failed(self.alice, "nothing was heard from the recipient")

    def test_acks_of_others(self) -> None:
        """What somebody else says of a transfer is passed over."""
        self.bob.alter = lambda _: None
        file_id = self.offer(b"x")
        for status in ("receiving", "complete", "rejected"):
            payload = {"file_id": file_id, "next_index": 0, "status": status}
            envelope = socp.make_envelope(FILE_ACK, key("mallory").id, self.alice.id, 1, payload)
            self.alice.transfers.take(socp.read_envelope(envelope))
        self.assert_failed(self.alice, "did not answer the offer")

    def test_numbers_that_make_no_sense(self) -> None:
        """An acknowledgement beyond the end, or of a status that nobody knows, moves nothing."""
        self.bob.alter = lambda envelope: changed(envelope, next_index=10**9)
        self.offer(b"x" * CHUNK * 20)
        self.assert_failed(self.alice, "nothing was heard")
        chunks = [envelope for envelope in self.alice.sent if envelope.type == FILE_CHUNK]
        self.assertEqual(len(chunks), 8)

    def test_rejected(self) -> None:
        """A rejection is told with the recipient's reason."""

        def alter(envelope: Envelope) -> Envelope:
            return changed(envelope, name="another") if envelope.type == FILE_START else envelope

        self.alice.alter = alter
        with self.assertLogs("socp.receiving", "WARNING"):
            self.offer(b"x")
            self.assert_failed(self.alice, "rejected by the recipient: its sender has not signed it so")


class EndsTest(WireTest):
    """Transfers that end in the middle."""

    settings = Settings(replace(Timers(), busy=0.01))

    def test_user_not_found(self) -> None:
        """An offer to somebody who is not online fails at once, with the server's words."""
        self.bob.cut()
        self.offer(b"x")
        self.assert_failed(self.alice, "USER_NOT_FOUND: by the test")
        self.assertEqual([envelope.type for envelope in self.alice.sent], [FILE_START])

    def test_file_changes(self) -> None:
        """A file that is cut short while it is sent fails, and leaves nothing at the recipient."""
        path = self.file(b"x" * CHUNK * 8)

        def alter(envelope: Envelope) -> Envelope | None:
            if envelope.type == FILE_START:
                os.truncate(path, CHUNK * 2)
            return envelope

        self.alice.alter = alter
        self.alice.transfers.offer(self.bob.contact, path)
        self.assert_failed(self.alice, "^the file was changed while it was sent$")
        self.assert_failed(self.bob, "ended it before its last chunk")
        self.assert_nothing_left()

    def change_while_sent(self, change: Callable[[Path], object]) -> None:
        """Have alice send a file that changes once it is hashed."""
        path = self.file(b"x" * 10)
        os.utime(path, (1, 1))  # a change in the very moment in which it was written has the same time

        def alter(envelope: Envelope) -> Envelope | None:
            if envelope.type == FILE_START:
                change(path)
            return envelope

        self.alice.alter = alter
        self.alice.transfers.offer(self.bob.contact, path)

    def test_file_is_changed_in_place(self) -> None:
        """A file that is written to or grows while it is sent fails at once, whatever its size is then."""

        def append(path: Path) -> None:
            with path.open("ab") as stream:
                stream.write(b"more")

        changes: list[Callable[[Path], object]] = [append, lambda path: path.write_bytes(b"y" * 10)]
        for change in changes:
            self.change_while_sent(change)
            self.assert_failed(self.alice, "^the file was changed while it was sent$")
            self.assert_failed(self.bob, "ended it before its last chunk")
            self.assert_nothing_left()

    def test_file_is_changed_in_secret(self) -> None:
        """One whose time is set back, so that its sender does not notice, is refused by its hash."""

        def change(path: Path) -> None:
            path.write_bytes(b"y" * 10)
            os.utime(path, (1, 1))

        self.change_while_sent(change)
        self.assert_failed(self.alice, "failed at the recipient: its SHA-256")
        self.assert_failed(self.bob, "its SHA-256 is not the one")
        self.assert_nothing_left()

    def test_file_is_replaced(self) -> None:
        """A file that another one takes the place of is sent as it was when it was offered."""

        def replace_it(path: Path) -> None:
            path.unlink()
            path.symlink_to("/dev/zero")

        self.change_while_sent(replace_it)
        self.assertEqual(self.assert_done(self.bob).path.read_bytes(), b"x" * 10)

    def test_file_grows_for_ever(self) -> None:
        """A file that grows as fast as it is hashed fails, and is not read for ever; nobody hears of it."""
        path = self.file(b"")

        def grow(hasher: mock.Mock) -> None:
            with path.open("ab") as stream:
                stream.write(b"more")

        path.write_bytes(b"x")
        with mock.patch("hashlib.sha256") as sha256:
            sha256.return_value.update.side_effect = grow
            self.alice.transfers.offer(self.bob.contact, path)
            self.assert_failed(self.alice, "^the file was changed while it was read$")
        self.assertEqual(self.alice.sent, [])

    def test_leaving(self) -> None:
        """A sender that leaves tells the recipient at once."""

        def alter(envelope: Envelope) -> Envelope | None:
            if envelope.payload.get("index") == 1:
                self.alice.transfers.stop()
            return envelope

        self.alice.alter = alter
        self.offer(b"x" * CHUNK * 40)
        self.assert_failed(self.alice, "this client is leaving")
        self.assert_failed(self.bob, "ended it before its last chunk")
        self.assert_nothing_left()

    def test_started(self) -> None:
        """Both ends are told when a file begins."""
        self.offer(b"x")
        for end, incoming in ((self.alice, False), (self.bob, True)):
            event = end.events.get(timeout=20)
            assert isinstance(event, FileStarted)
            self.assertEqual((event.incoming, event.size, event.name), (incoming, 1, "a file.bin"))
