"""What a linked server may send, and what it gets for anything else (sections 6.3, 7 and 8)."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable
from typing import Any

import socp
from crypto.encoding import digest, encode_base64url
from crypto.signing import ATTACHMENT, KeySigner, message_reference, sign_content
from framing import SEPARATORS_MOST, count_separators, encode_frame
from handshake import new_nonce
from origin import Origin, check_origin
from socp import (
    BAD_ENVELOPE,
    BAD_KEY,
    BAD_TIMESTAMP,
    CTRL_CLOSE,
    ERROR,
    FILE_ACK,
    FILE_CHUNK,
    FILE_START,
    HEARTBEAT,
    INVALID_SIG,
    MSG_PUBLIC_CHANNEL,
    NOT_ALLOWED,
    SERVER_ANNOUNCE,
    SERVER_DELIVER,
    USER_ADVERTISE,
    USER_DELIVER,
    USER_KEY,
    USER_KEY_REQUEST,
    USER_LIST,
    USER_LIST_REQUEST,
    USER_NOT_FOUND,
    USER_REMOVE,
    USER_SYNC,
    USER_SYNC_REQUEST,
)
from tests.e2e.harness import FAST, NetworkTest
from tests.e2e.rules import RulesTest
from tests.peer import NOWHERE, PATIENCE, Peer, membership
from tests.vectors import key
from threads import Deadline

MINUTE = 60 * 1000
FILE_ID = "3f0c1b9e-8a44-4d0e-9a5e-6f6f2f9f1c11"
Entry = dict[str, Any]


def attachment(user: str, server: str, ts: int | None = None, **signed: Any) -> Entry:
    """Return what a server says of a user of the vectors who has attached to it; `signed` is not as it is shown."""
    ts = socp.now_ms() if ts is None else ts
    nonce = new_nonce()
    values = {
        "user_id": key(user).id,
        "server_id": key(server).id,
        "nonce": nonce,
        "ts": ts,
        "meta": {"display_name": user},
        "caps": ["presence"],
        **signed,
    }
    return {
        "user_id": key(user).id,
        "server_id": key(server).id,
        "pubkey": key(user).public.text,
        "meta": {"display_name": user},
        "caps": ["presence"],
        "attach": {"nonce": nonce, "ts": ts, "content_sig": sign_content(KeySigner(key(user)), ATTACHMENT, values)},
    }


class ServersTest(RulesTest):
    """Two servers that are linked to the one under test, and a user of it who looks."""

    def setUp(self) -> None:
        """Link the servers and attach the user."""
        self.looker = self.attached("heidi")
        self.second, self.third = self.linked("server2"), self.linked("server3")
        for server in (self.second, self.third):
            server.expect(USER_SYNC)
            server.send_signed(
                USER_SYNC, {"server_id": server.id, "users": [], "part": 1, "parts": 1}, to=self.server_id
            )
            server.expect_silence()

    def online(self) -> dict[str, str]:
        """Return where the server says that each user of the vectors is."""
        self.looker.send(USER_LIST_REQUEST, {"after": "", "limit": 1000})
        return {user["user_id"]: user["server_id"] for user in self.looker.expect(USER_LIST).payload["users"]}

    def advertise(self, entry: Entry, by: Peer | None = None) -> None:
        """Have a server say that a user has attached, as if it had said so to the other too; wait until it was read."""
        server = self.second if by is None else by
        visited = [self.second.id, self.third.id]
        server.send_signed(USER_ADVERTISE, entry, to=socp.EVERYONE, visited=visited)
        server.expect_silence()

    def assert_at(self, user: str, server: str) -> None:
        """Check where a user is; the empty string is nowhere."""
        self.assertEqual(self.online().get(key(user).id), key(server).id if server else None)


class PresenceTest(ServersTest):
    """USER_ADVERTISE and USER_REMOVE."""

    def test_advertise(self) -> None:
        """A user whose attachment is proved is listed, and its key is what the user signed."""
        entry = attachment("dave", "server2")
        self.advertise(entry)
        self.assert_at("dave", "server2")
        self.looker.send(USER_KEY_REQUEST, {"user_id": key("dave").id})
        answer = self.looker.expect(USER_KEY).payload
        self.assertEqual({name: answer[name] for name in entry}, entry)

    def test_advertise_refused(self) -> None:
        """An attachment to another server, with other caps, of another key and so on gets its error; nobody moves."""
        good = attachment("dave", "server2")
        future = socp.now_ms() + 6 * MINUTE
        refusals: Iterable[tuple[str, Entry]] = (
            (INVALID_SIG, {**attachment("dave", "server3"), "server_id": self.second.id}),
            (INVALID_SIG, attachment("dave", "server3")),
            (INVALID_SIG, {**good, "caps": []}),
            (INVALID_SIG, {**good, "meta": {"display_name": "alice"}}),
            (INVALID_SIG, {**good, "attach": {**good["attach"], "nonce": new_nonce()}}),
            (INVALID_SIG, {**good, "attach": {**good["attach"], "ts": good["attach"]["ts"] + 1}}),
            (INVALID_SIG, attachment("dave", "server2", user_id=key("alice").id)),
            (BAD_KEY, {**good, "user_id": key("alice").id}),
            (BAD_KEY, {**good, "pubkey": key("alice").public.text}),
            (BAD_KEY, {**good, "pubkey": "junk"}),
            (BAD_TIMESTAMP, attachment("dave", "server2", ts=future)),
            (BAD_ENVELOPE, {**good, "attach": {}}),
            (BAD_ENVELOPE, {**good, "caps": ["x"] * 17}),
        )
        for code, entry in refusals:
            with self.subTest(code=code, entry=entry):
                self.second.send_signed(USER_ADVERTISE, entry, to=socp.EVERYONE)
                self.second.expect_error(code)
        self.assert_at("dave", "")
        self.assert_at("alice", "server")
        self.third.expect_silence()

    def test_server_signature(self) -> None:
        """Without its hdr, with another envelope or another's signature, a frame of a server is INVALID_SIG."""
        origin = self.second.origin
        envelope = origin.signed(USER_ADVERTISE, socp.EVERYONE, attachment("dave", "server2"))
        payload = dict(envelope["payload"])  # type: ignore[call-overload]
        headless = {name: value for name, value in payload.items() if name != "hdr"}
        for change in (
            {"ts": envelope["ts"] + 1},  # type: ignore[operator]
            {"to": self.server_id},
            {"sig": ""},
            {"sig": "A" * 683},
            {"payload": headless, "sig": self.second.signer.sign(headless)},
            {"payload": {**payload, "caps": []}},
            {"sig": KeySigner(key("server3")).sign(payload)},
        ):
            with self.subTest(change=change):
                self.second.send_bytes(encode_frame({**envelope, **change}))
                self.second.expect_error(INVALID_SIG)
        self.assert_at("dave", "")
        self.second.send_bytes(encode_frame(envelope))
        self.second.expect_silence()
        self.assert_at("dave", "server2")

    def test_users_of_another(self) -> None:
        """A server can neither take over another's user with what that user signed, nor say that it has left."""
        self.looker.send(USER_KEY_REQUEST, {"user_id": key("alice").id})
        alice = self.looker.expect(USER_KEY).payload
        stolen = {name: alice[name] for name in ("user_id", "pubkey", "meta", "caps", "attach")}
        self.second.send_signed(USER_ADVERTISE, {**stolen, "server_id": self.second.id}, to=socp.EVERYONE)
        self.second.expect_error(INVALID_SIG)
        remove = {"user_id": key("alice").id, "attach_ts": alice["attach"]["ts"]}
        self.second.send_signed(USER_REMOVE, {**remove, "server_id": self.server_id}, to=socp.EVERYONE)
        self.second.expect_error(INVALID_SIG)
        self.second.send_signed(USER_REMOVE, {**remove, "server_id": self.second.id}, to=socp.EVERYONE)
        self.second.expect_silence()
        self.assert_at("alice", "server")

    def test_greatest_attachment_wins(self) -> None:
        """Of several attachments the newest counts, in whichever order they are heard of; a tie the greater id."""
        now = socp.now_ms()
        self.advertise(attachment("dave", "server2", ts=now), self.second)
        self.advertise(attachment("dave", "server3", ts=now - 1), self.third)
        self.assert_at("dave", "server2")
        self.advertise(attachment("dave", "server3", ts=now + 1), self.third)
        self.assert_at("dave", "server3")
        greater, lesser = sorted((self.second, self.third), key=lambda server: server.id, reverse=True)
        names = {self.second.id: "server2", self.third.id: "server3"}
        for server in (greater, lesser):
            self.advertise(attachment("dave", names[server.id], ts=now + 2), server)
        self.assert_at("dave", names[greater.id])

    def test_attached_elsewhere(self) -> None:
        """A local user who has attached elsewhere since is told so and closed; an older attachment changes nothing."""
        dave = self.attached("dave")
        self.advertise(attachment("dave", "server2", ts=dave.attached_at - 1))
        dave.expect_alive()
        self.advertise(attachment("dave", "server2", ts=dave.attached_at + 1))
        self.assertEqual(dave.expect(CTRL_CLOSE).payload["reason"], "attached elsewhere")
        dave.expect_closed()
        self.assert_at("dave", "server2")

    def test_remove(self) -> None:
        """Only the removal of its last attachment makes a user away, and only a newer one brings it back."""
        entry = attachment("dave", "server2")
        ts = entry["attach"]["ts"]
        self.advertise(entry)
        for attach_ts, online in ((ts - 1, "server2"), (ts, "")):
            self.remove(attach_ts)
            self.assert_at("dave", online)
        self.advertise(entry)  # signed anew by the server: no repeat, and still of no use
        self.sync([{**entry, "online": True}])
        self.assert_at("dave", "")
        self.advertise(attachment("dave", "server2", ts=ts + 1))
        self.assert_at("dave", "server2")

    def remove(self, attach_ts: int) -> None:
        """Have the second server say that dave has left."""
        payload = {"user_id": key("dave").id, "server_id": self.second.id, "attach_ts": attach_ts}
        self.second.send_signed(USER_REMOVE, payload, to=socp.EVERYONE)
        self.second.expect_silence()

    def sync(self, entries: list[Entry], part: int = 1, parts: int = 1) -> None:
        """Have the second server send a part of a USER_SYNC."""
        payload = {"server_id": self.second.id, "users": entries, "part": part, "parts": parts}
        self.second.send_signed(USER_SYNC, payload)
        self.second.expect_silence()

    def test_gossip_goes_on(self) -> None:
        """Gossip goes on to the servers that have not seen it, once, as it was signed, with more in `visited`."""
        envelope = self.second.origin.signed(USER_ADVERTISE, socp.EVERYONE, attachment("dave", "server2"))
        frame = encode_frame({**envelope, "visited": [self.second.id], "more": 1})
        self.second.send_bytes(frame * 2)
        passed_on = self.third.expect(USER_ADVERTISE)
        check_origin(passed_on, key("server2").public)
        self.assertEqual(set(passed_on.visited), {self.second.id, self.third.id, self.server_id})
        self.third.expect_silence()
        visited = [self.second.id, self.third.id]
        seen = self.second.origin.signed(USER_ADVERTISE, socp.EVERYONE, attachment("erin", "server2"))
        self.second.send_bytes(encode_frame({**seen, "visited": visited}))
        self.second.expect_silence()
        self.third.expect_silence()

    def test_gossip_out_of_time(self) -> None:
        """Gossip of more than five minutes ago or ahead is dropped silently."""
        for minutes in (-6, 6):
            ts = socp.now_ms() + minutes * MINUTE
            envelope = self.second.origin.signed(USER_ADVERTISE, "*", attachment("dave", "server2"), ts)
            self.second.send_bytes(encode_frame(envelope))
        self.second.expect_silence()
        self.assert_at("dave", "")

    def test_unknown_origin(self) -> None:
        """Gossip of a server that nobody has heard of is dropped silently."""
        stranger = Origin(KeySigner(key("stranger")))
        payload = attachment("dave", "stranger")
        self.second.send_bytes(encode_frame(stranger.signed(USER_ADVERTISE, socp.EVERYONE, payload)))
        self.second.expect_silence()
        self.assert_at("dave", "")

    def test_users_are_told_on(self) -> None:
        """A user of the server under test is gossiped to the others when it comes and when it goes."""
        dave = self.attached("dave")
        for server in (self.second, self.third):
            told = server.expect(USER_ADVERTISE)
            check_origin(told, key("server").public)
            self.assertEqual((told.payload["user_id"], told.payload["attach"]), (dave.id, dave.attach))
            self.assertEqual(set(told.visited), {self.server_id, self.second.id, self.third.id})
        dave.close()
        for server in (self.second, self.third):
            gone = server.expect(USER_REMOVE).payload
            self.assertEqual((gone["user_id"], gone["attach_ts"]), (dave.id, dave.attached_at))


class SyncTest(ServersTest):
    """USER_SYNC, and the digest that shows when it is needed."""

    def sync(self, entries: list[Entry], part: int = 1, parts: int = 1, **change: Any) -> None:
        """Have the second server send a part of a USER_SYNC."""
        payload = {"server_id": self.second.id, "users": entries, "part": part, "parts": parts, **change}
        self.second.send_signed(USER_SYNC, payload)

    def test_on_request(self) -> None:
        """A server that asks is sent all users whose home the other is, online and away, as they signed it."""
        away = self.attached("dave")
        away.close()
        self.second.expect(USER_REMOVE)
        self.second.send_signed(USER_SYNC_REQUEST, {})
        sync = self.second.expect(USER_SYNC)
        check_origin(sync, key("server").public)
        self.assertEqual((sync.payload["part"], sync.payload["parts"]), (1, 1))
        entries = {entry["user_id"]: entry for entry in sync.payload["users"]}
        self.assertIs(entries[key("alice").id]["online"], True)
        self.assertIs(entries[away.id]["online"], False)
        self.assertEqual(entries[away.id]["attach"], away.attach)
        self.assertNotIn(self.second.id, entries)

    def test_replaces(self) -> None:
        """The last part replaces all that was known of the users behind a server."""
        self.advertise(attachment("dave", "server2"))
        self.advertise(attachment("erin", "server2"))
        frank, grace = (attachment(name, "server2") for name in ("frank", "grace"))
        self.sync([{**frank, "online": True}], 1, 2)
        self.second.expect_silence()
        self.assert_at("dave", "server2")
        self.assert_at("frank", "server2")
        self.sync([{**grace, "online": False}], 2, 2)
        self.second.expect_silence()
        for name, server in (("dave", ""), ("erin", ""), ("frank", "server2"), ("grace", "")):
            self.assert_at(name, server)

    def test_begun_again(self) -> None:
        """A USER_SYNC that is broken off and begun again counts from its new beginning."""
        self.advertise(attachment("dave", "server2"))
        erin = {**attachment("erin", "server2"), "online": True}
        self.sync([], 1, 2)
        self.sync([erin], 1, 1)
        self.second.expect_silence()
        self.assert_at("dave", "")
        self.assert_at("erin", "server2")

    def test_refused(self) -> None:
        """An entry that does not prove itself is refused; the others count."""
        self.advertise(attachment("dave", "server2"))
        good = {**attachment("erin", "server2"), "online": True}
        refusals: Iterable[tuple[str, Entry]] = (
            (INVALID_SIG, {**good, "caps": []}),
            (INVALID_SIG, {**attachment("erin", "server3"), "online": True}),
            (BAD_KEY, {**good, "pubkey": key("alice").public.text}),
            (BAD_ENVELOPE, {**good, "online": None}),
            (BAD_ENVELOPE, {}),
        )
        dave = {**attachment("dave", "server2"), "online": True}
        frank = {**attachment("frank", "server2"), "online": True}
        for code, entry in refusals:
            with self.subTest(code=code):
                self.sync([dave, entry, frank])
                self.second.expect_error(code)
                self.assert_at("dave", "server2")
                self.assert_at("frank", "server2")  # one bad entry hides none behind it
        self.sync([good], server_id=self.third.id)
        self.second.expect_error(INVALID_SIG)
        self.assert_at("dave", "server2")
        self.assert_at("erin", "")

    def test_attached_meanwhile(self) -> None:
        """A user who attaches between the parts of a USER_SYNC is not taken away by its last."""
        self.sync([{**attachment("dave", "server2"), "online": True}], 1, 2)
        self.advertise(attachment("erin", "server2"))
        self.sync([{**attachment("frank", "server2"), "online": True}], 2, 2)
        self.second.expect_silence()
        for name in ("dave", "erin", "frank"):
            self.assert_at(name, "server2")

    def test_meta_of_any_shape(self) -> None:
        """Users whose meta is as deep, or as full of separators, as may be are synchronised like others."""
        deep: object = 0
        for _ in range(11):
            deep = [deep]
        for name, meta in (("dave", {"x": deep}), ("erin", {"x": [0] * 1_900})):
            peer = self.connect(name)
            peer.attach_user(meta=meta)
        self.second.send_signed(USER_SYNC_REQUEST, {})
        listed = {entry["user_id"] for entry in self.second.expect(USER_SYNC).payload["users"]}
        self.assertLess({key("dave").id, key("erin").id}, listed)

    def test_loses_to_newer(self) -> None:
        """An entry that lost to a newer attachment elsewhere stays lost."""
        now = socp.now_ms()
        self.advertise(attachment("dave", "server3", ts=now), self.third)
        self.sync([{**attachment("dave", "server2", ts=now - 1), "online": True}])
        self.second.expect_silence()
        self.assert_at("dave", "server3")

    def test_digest(self) -> None:
        """A digest that is off twice in a row is answered by USER_SYNC_REQUEST; one that is right never is."""
        entry = attachment("dave", "server2")
        self.advertise(entry)
        users = [[entry["user_id"], entry["attach"]["ts"]]]
        right, wrong = (encode_base64url(digest({"users": known})) for known in (users, []))
        for present in (right, wrong, right, wrong, right):
            self.second.send_signed(HEARTBEAT, {"present": present})
        self.second.expect_silence()
        for _ in range(2):
            self.second.send_signed(HEARTBEAT, {"present": wrong})
        check_origin(self.second.expect(USER_SYNC_REQUEST), key("server").public)
        self.sync([])
        self.second.expect_silence()
        self.assert_at("dave", "")


class AnnounceTest(ServersTest):
    """SERVER_ANNOUNCE."""

    def announcement(self, name: str, **change: Any) -> Entry:
        """Return the payload of an announcement by a server of the vectors."""
        return {
            "host": NOWHERE.host,
            "port": NOWHERE.port,
            "pubkey": key(name).public.text,
            "membership": membership(name),
            **change,
        }

    def test_newcomer(self) -> None:
        """A newcomer that another server passes on is known from then on, and passed on."""
        newcomer = Origin(KeySigner(key("server4")))
        announcement = newcomer.signed(SERVER_ANNOUNCE, socp.EVERYONE, self.announcement("server4"))
        self.second.send_bytes(encode_frame({**announcement, "visited": [newcomer.id, self.second.id]}))
        check_origin(self.third.expect(SERVER_ANNOUNCE), newcomer.public)
        entry = attachment("dave", "server4")
        advertisement = newcomer.signed(USER_ADVERTISE, socp.EVERYONE, entry)
        self.second.send_bytes(encode_frame({**advertisement, "visited": [self.second.id]}))
        self.second.expect_silence()
        self.assertEqual(self.online()[key("dave").id], newcomer.id)

    def test_refused(self) -> None:
        """An announcement that does not prove itself gets its error, and goes nowhere."""
        for code, change in (
            (NOT_ALLOWED, {"membership": membership("server2", by="introducer2")}),
            (NOT_ALLOWED, {"membership": membership("server3")}),
            (BAD_KEY, {"pubkey": key("server3").public.text}),
            (BAD_ENVELOPE, {"port": 2}),
            (BAD_ENVELOPE, {"host": None}),
        ):
            with self.subTest(change=change):
                payload = self.announcement("server2", **change)
                self.second.send_signed(SERVER_ANNOUNCE, payload, to=socp.EVERYONE)
                self.second.expect_error(code)
        self.second.send_signed(SERVER_ANNOUNCE, self.announcement("server2"), to=socp.EVERYONE, sig="AA")
        self.second.expect_error(INVALID_SIG)
        self.third.expect_silence()


class DeliverTest(ServersTest):
    """SERVER_DELIVER, and errors about it."""

    def deliver(self, recipient: str, text: str = "hello", *, sender: str = "frank", **extra: Any) -> Entry:
        """Return the payload of a SERVER_DELIVER, and leave its time in `ts`."""
        self.ts = socp.now_ms()
        user = Peer(self.port, sender)
        user.close()
        payload = user.message(recipient, text, self.ts)
        return {**payload, "user_id": key(recipient).id, "sender": user.id, **extra}

    def send(self, payload: Entry, by: Peer | None = None, **change: Any) -> None:
        """Have a server send a SERVER_DELIVER at the message's time."""
        server = self.second if by is None else by
        envelope = server.origin.signed(SERVER_DELIVER, self.server_id, payload, self.ts)
        server.send_bytes(encode_frame({**envelope, **change}))

    def test_to_a_local_user(self) -> None:
        """A message for a local user is handed to it, with the sender's time."""
        dave = self.attached("dave")
        self.send(self.deliver("dave", store=True, later=1))
        delivered = dave.expect(USER_DELIVER)
        check_origin(delivered, key("server").public)
        self.assertEqual(delivered.ts, self.ts)
        self.assertEqual(set(delivered.payload), {"ciphertext", "sender", "sender_pub", "content_sig", "hdr"})

    def test_signature(self) -> None:
        """A message that its server has not signed so is INVALID_SIG, and is not delivered."""
        dave = self.attached("dave")
        payload = self.deliver("dave")
        for change in ({"sig": "AA"}, {"ts": self.ts + 1}, {"sig": ""}):
            self.send(payload, **change)
            self.second.expect_error(INVALID_SIG)
        self.send({**payload, "user_id": "x"})
        self.second.expect_error(BAD_ENVELOPE)
        dave.expect_silence()

    def test_all_at_once(self) -> None:
        """What a server sends in one go is delivered in its order, but what is not signed by it, or by its sender."""
        dave, frames, texts = self.attached("dave"), list[bytes](), list[str]()
        for number in range(12):
            payload, change = self.deliver("dave", str(number)), {}
            if number == 3:
                payload["content_sig"] = self.deliver("dave", "another")["content_sig"]
            elif number == 7:
                change = {"sig": "AA"}
            else:
                texts.append(payload["ciphertext"])
            envelope = self.second.origin.signed(SERVER_DELIVER, self.server_id, payload, self.ts)
            frames.append(encode_frame({**envelope, **change}))
        self.second.send_bytes(b"".join(frames))
        for user in (key("frank").id, None):  # of whom, when that is known to be so
            error = self.second.expect_error(INVALID_SIG)
            self.assertEqual(error.payload.get("user_id"), user)
        self.assertEqual([dave.expect(USER_DELIVER).payload["ciphertext"] for _ in texts], texts)
        dave.expect_silence()

    def test_size(self) -> None:
        """A message of more than 64 blocks is TOO_LARGE from a server too."""
        payload = self.deliver("dave")
        self.send({**payload, "ciphertext": "A" * 900_000})
        self.second.expect_error(socp.TOO_LARGE)

    def test_errors_name_the_user(self) -> None:
        """A message for nobody is answered by an ERROR that says whose message it was."""
        payload = self.deliver("dave")
        self.send({**payload, "user_id": str(uuid.uuid4())})
        error = self.second.expect_error(USER_NOT_FOUND)
        self.assertEqual(error.payload["user_id"], key("frank").id)
        self.assertEqual(error.payload["msg_ref"], message_reference(payload["content_sig"]))

    def test_forwarded_once(self) -> None:
        """A message for a user at a third server goes there marked as forwarded; one so marked is stored first."""
        self.advertise(attachment("dave", "server3"), self.third)
        payload = self.deliver("dave")
        self.send(payload)
        forwarded = self.third.expect(SERVER_DELIVER)
        check_origin(forwarded, key("server").public)
        self.assertIs(forwarded.payload["forwarded"], True)
        self.assertEqual(forwarded.ts, self.ts)
        msg_ref = message_reference(payload["content_sig"])
        self.send({**payload, "forwarded": True})
        stored = self.second.expect(socp.ACK).payload
        self.assertEqual((stored["msg_ref"], stored["status"], stored["user_id"]), (msg_ref, "stored", key("frank").id))
        handed_over = self.third.expect(SERVER_DELIVER).payload
        self.assertIs(handed_over["store"], True)
        self.assertNotIn("forwarded", handed_over)
        self.third.send_signed(socp.ACK, {"msg_ref": msg_ref, "status": "stored", "user_id": key("frank").id})
        self.third.expect_silence()

    def test_from_a_local_user(self) -> None:
        """A message for a user at another server goes there, and that server's ERROR comes back to the sender."""
        self.advertise(attachment("erin", "server2"))
        dave = self.attached("dave")
        msg_ref = dave.tell("erin", "hello")
        delivered = self.second.expect(SERVER_DELIVER)
        check_origin(delivered, key("server").public)
        self.assertNotIn("forwarded", delivered.payload)
        self.assertEqual(delivered.payload["user_id"], key("erin").id)
        about = {"code": USER_NOT_FOUND, "detail": "gone \x1b[31m", "msg_ref": msg_ref, "user_id": dave.id}
        self.second.send_signed(ERROR, about)
        error = dave.expect_error(USER_NOT_FOUND)
        self.assertEqual((error.payload["msg_ref"], error.sender), (msg_ref, self.server_id))
        self.assertEqual(error.payload["detail"], r"gone \x1b[31m")
        self.assertNotIn("user_id", error.payload)

    def test_stored(self) -> None:
        """That another server keeps a message is passed on to its sender, as an ACK of the sender's own server."""
        dave = self.attached("dave")
        about = {"msg_ref": "m" * 43, "status": "stored", "user_id": dave.id}
        self.second.send_signed(socp.ACK, {**about, "user_id": str(uuid.uuid4())})
        self.second.send_signed(socp.ACK, {**about, "status": "delivered"})
        self.second.send_signed(socp.ACK, about, sig="AA")
        self.second.send_signed(socp.ACK, about)
        ack = dave.expect(socp.ACK)
        check_origin(ack, key("server").public)
        self.assertEqual((ack.payload["msg_ref"], ack.payload["status"]), ("m" * 43, "stored"))
        dave.expect_silence()

    def test_errors_about_nothing(self) -> None:
        """An ERROR about no message and no file of a user is passed over: it would pass for one of its own server."""
        self.second.send_signed(ERROR, {"code": NOT_ALLOWED, "detail": "go away", "user_id": self.looker.id})
        self.second.expect_silence()
        self.looker.expect_silence()

    def test_errors_about_nobody(self) -> None:
        """An ERROR about a user who is not here, or about no user, is passed over."""
        self.second.send_signed(ERROR, {"code": "X", "user_id": str(uuid.uuid4())})
        self.second.send_signed(ERROR, {"code": "\x1b[2J"})
        self.second.send_signed(ERROR, {})
        self.second.expect_silence()


class RelayTest(ServersTest):
    """Frames of users that another server passes on."""

    def setUp(self) -> None:
        """Have frank at the second server, grace at the third, and dave at the one under test."""
        super().setUp()
        self.advertise(attachment("frank", "server2"))
        self.advertise(attachment("grace", "server3"), self.third)
        self.dave = self.attached("dave")

    def frame(self, frame_type: str, sender: str, to: str, payload: Entry) -> bytes:
        """Return a frame of a user."""
        envelope = socp.make_envelope(frame_type, key(sender).id, key(to).id, socp.now_ms(), payload)
        return encode_frame({**envelope, "extra": 1})

    def test_relayed(self) -> None:
        """A frame of a user who is behind the server that passes it on reaches a local user as its bytes."""
        for frame_type, payload in (
            (FILE_ACK, {"file_id": FILE_ID, "next_index": 0, "status": "receiving"}),
            (socp.ACK, {"msg_ref": "x"}),
            (FILE_CHUNK, {"file_id": FILE_ID, "index": 0, "ciphertext": "AA"}),
        ):
            frame = self.frame(frame_type, "frank", "dave", payload)
            self.second.send_bytes(frame)
            self.assertEqual(self.dave.expect(frame_type).raw, frame)

    def test_not_behind(self) -> None:
        """A frame of a user who is elsewhere, here, or unknown is dropped."""
        for sender in ("grace", "alice", "mallory"):
            self.second.send_bytes(self.frame(socp.FILE_END, sender, "dave", {"file_id": FILE_ID}))
        self.second.expect_silence()
        self.dave.expect_silence()

    def test_frames_in_a_servers_name(self) -> None:
        """A frame of a third server that is not gossip is dropped, and one for somebody else is NOT_ALLOWED."""
        third = Origin(KeySigner(key("server3")))
        self.second.send_bytes(encode_frame(third.signed(USER_SYNC, self.server_id, self.empty_sync(self.third.id))))
        self.second.expect_silence()
        self.assert_at("grace", "server3")
        self.second.send_signed(HEARTBEAT, {"probe": True}, to=self.third.id)
        self.second.expect_error(NOT_ALLOWED)

    def empty_sync(self, server_id: str) -> Entry:
        """Return a USER_SYNC of no users."""
        return {"server_id": server_id, "users": [], "part": 1, "parts": 1}

    def test_not_through(self) -> None:
        """A frame for a user at a third server is not passed through; FILE_CHUNK is answered, FILE_ACK is not."""
        chunk = {"file_id": FILE_ID, "index": 0, "ciphertext": "AA"}
        self.second.send_bytes(self.frame(FILE_CHUNK, "frank", "grace", chunk))
        error = self.second.expect_error(USER_NOT_FOUND)
        self.assertEqual((error.payload["user_id"], error.payload["file_id"]), (key("frank").id, FILE_ID))
        ack = {"file_id": FILE_ID, "next_index": 0, "status": "receiving"}
        self.second.send_bytes(self.frame(FILE_ACK, "frank", "grace", ack))
        self.second.expect_silence()
        self.third.expect_silence()

    def test_to_another_server(self) -> None:
        """A frame of a local user for one at another server goes there as its bytes; of nobody's, it is an ERROR."""
        frame = self.frame(socp.FILE_END, "dave", "frank", {"file_id": FILE_ID})
        self.dave.send_bytes(frame)
        self.assertEqual(self.second.expect(socp.FILE_END).raw, frame)
        self.second.send_signed(ERROR, {"code": USER_NOT_FOUND, "file_id": FILE_ID, "user_id": self.dave.id})
        self.assertEqual(self.dave.expect_error(USER_NOT_FOUND).payload["file_id"], FILE_ID)

    def test_not_for_servers(self) -> None:
        """What only users send to their own server is NOT_ALLOWED from a server."""
        for frame_type in (socp.MSG_DIRECT, USER_LIST_REQUEST, USER_KEY_REQUEST, USER_DELIVER, socp.PRESENCE):
            self.second.send_signed(frame_type, {})
            self.second.expect_error(NOT_ALLOWED)
        self.second.send_signed("NONSENSE", {})
        self.second.expect_error(socp.UNKNOWN_TYPE)

    def test_broadcast(self) -> None:
        """A broadcast from another server reaches local users as its bytes, and the others' servers once."""
        frank = Peer(self.port, "frank")
        frank.close()
        ts = socp.now_ms()
        envelope = socp.make_envelope(MSG_PUBLIC_CHANNEL, frank.id, "public", ts, frank.broadcast("hi there", ts))
        bad = {**envelope, "payload": frank.broadcast("hi there", ts - 1)}
        self.second.send_bytes(encode_frame(bad))
        self.second.expect_error(INVALID_SIG)
        frame = encode_frame({**envelope, "visited": [self.second.id]})
        self.second.send_bytes(frame * 2)
        self.assertEqual(self.dave.expect(MSG_PUBLIC_CHANNEL).raw, frame)
        self.assertEqual(self.third.expect(MSG_PUBLIC_CHANNEL).payload, envelope["payload"])
        self.third.send_bytes(frame)
        for peer in (self.second, self.third, self.dave):
            peer.expect_silence()
        self.alice.expect(r"\[All\] .*: hi there$")

    def test_visited_of_a_user(self) -> None:
        """Which servers a broadcast goes to is not for its sender to say."""
        ts = socp.now_ms()
        envelope = socp.make_envelope(MSG_PUBLIC_CHANNEL, self.dave.id, "public", ts, self.dave.broadcast("hi", ts))
        self.dave.send_bytes(encode_frame({**envelope, "visited": [self.second.id, self.third.id]}))
        for server in (self.second, self.third):
            self.assertEqual(server.expect(MSG_PUBLIC_CHANNEL).payload["text"], "hi")

    def test_gossip_that_fills_a_frame(self) -> None:
        """Gossip that could not be carried on harms no link."""
        envelope, payload = self.stuffed_broadcast()
        payload["x"] = [0] * (SEPARATORS_MOST - count_separators(encode_frame(envelope)[4:]) + 1)
        self.second.send_bytes(encode_frame(envelope))
        self.second.expect_silence()
        self.third.expect_silence()

    def test_broadcast_that_fills_a_frame(self) -> None:
        """A broadcast that another server has stuffed goes to nobody: it would be as much for each user here."""
        for too_large in (False, True):
            envelope, payload = self.stuffed_broadcast()
            payload["x"] = "x" * (socp.BROADCAST_GOSSIP_MOST - len(encode_frame(envelope)) + 1 + too_large)
            self.second.send_bytes(encode_frame(envelope))
            if too_large:
                self.second.expect_error(socp.TOO_LARGE)
                self.dave.expect_silence()
                self.third.expect_silence()
            else:
                for peer in (self.dave, self.third):
                    self.assertEqual(peer.expect(MSG_PUBLIC_CHANNEL).payload, payload)

    def stuffed_broadcast(self) -> tuple[Entry, Entry]:
        """Return a broadcast of frank's that his server passes on, and its payload, with room in `x` for anything."""
        frank = Peer(self.port, "frank")
        frank.close()
        ts = socp.now_ms()
        payload: Entry = {**frank.broadcast("full", ts), "x": [0]}
        envelope = socp.make_envelope(MSG_PUBLIC_CHANNEL, frank.id, "public", ts, payload)
        envelope |= {"visited": [self.second.id], "payload": payload}
        return envelope, payload

    def test_manifest(self) -> None:
        """The offer of a file in the name of a local user, by another server, is dropped."""
        ts = socp.now_ms()
        self.second.send_bytes(self.frame(FILE_START, "alice", "dave", self.dave.manifest("dave", ts)))
        self.second.expect_silence()
        self.dave.expect_silence()


class UnlinkedTest(NetworkTest):
    """Servers that are heard of through others alone, with timers shrunk to a tenth."""

    factor = FAST

    def test_users_without_a_link(self) -> None:
        """The users of a server to which no link comes about are away in the end, as if a link had been lost."""
        (self.directory / "introducer.b64u").write_text(key("introducer").public.text, "ascii")
        _, port = self.server("server", 1, registered=False)
        looker, second = Peer(port, "heidi"), Peer(port, "server2")
        for peer in (looker, second):
            self.addCleanup(peer.leave)
        looker.attach_user()
        second.link_server("server2")
        newcomer = Origin(KeySigner(key("server4")))
        announcement = {
            "host": NOWHERE.host,
            "port": NOWHERE.port,
            "pubkey": newcomer.public.text,
            "membership": membership("server4"),
        }
        for frame_type, payload in (
            (SERVER_ANNOUNCE, announcement),
            (USER_ADVERTISE, attachment("dave", "server4")),
        ):
            envelope = newcomer.signed(frame_type, socp.EVERYONE, payload)
            second.send_bytes(encode_frame({**envelope, "visited": [second.id]}))
        second.expect_silence()
        self.assertEqual(self.online(looker), {looker.id, key("dave").id})
        deadline = Deadline(PATIENCE)
        while key("dave").id in self.online(looker):
            self.assertTrue(deadline.left(), "dave is online for ever")
            threading.Event().wait(0.2)  # the list is all that tells

    def online(self, looker: Peer) -> set[str]:
        """Return who is online."""
        looker.send(USER_LIST_REQUEST, {"after": "", "limit": 1000})
        return {user["user_id"] for user in looker.expect(USER_LIST).payload["users"]}
