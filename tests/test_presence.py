"""What of presence needs no network: see e2e/test_server_rules.py for the rest."""

from __future__ import annotations

import json
import unittest
from dataclasses import replace

import socp
from crypto.signing import KeySigner
from framing import decode_frame, encode_frame
from origin import Origin
from presence import _batches, _notices
from tests.vectors import key
from users import Attachment, User


def users(count: int, *, name: str = "") -> list[User]:
    """Return so many users, every other of them away."""
    return [
        User(f"{number:08x}-0000-4000-8000-000000000000", key("server").id, key("alice").public.text,
             {"display_name": name}, (), Attachment("n" * 43, number + 1, "s" * 683), online=number % 2 == 0)
        for number in range(count)
    ]  # fmt: skip


class BatchesTest(unittest.TestCase):
    """USER_SYNC in frames of a bounded size."""

    def test_size(self) -> None:
        """Each frame is at most as large as it may be, and together they hold every user once, in order."""
        origin = Origin(KeySigner(key("server")))
        everyone = users(700, name="\u00e9" * 64)
        batches = list(_batches(everyone, 512 * 1024))
        self.assertGreater(len(batches), 1)
        for part, batch in enumerate(batches, start=1):
            payload = {"server_id": origin.id, "users": batch, "part": part, "parts": len(batches)}
            frame = encode_frame(origin.signed(socp.USER_SYNC, key("server2").id, payload))
            self.assertLessEqual(len(frame), 512 * 1024)
        listed = [entry["user_id"] for batch in batches for entry in batch]
        self.assertEqual(listed, [user.user_id for user in everyone])

    def test_separators(self) -> None:
        """Users whose meta is all separators are cut into frames that can be read."""
        meta = {"x": [0] * 2_000}
        everyone = [replace(user, meta=meta) for user in users(100)]
        batches = list(_batches(everyone, 512 * 1024))
        self.assertEqual(sum(map(len, batches)), 100)
        for batch in batches:
            decode_frame(encode_frame({"type": "x", "payload": {"users": batch, "part": 1, "parts": 1}}))

    def test_none(self) -> None:
        """A server without users says so in one frame."""
        self.assertEqual(list(_batches([], 512 * 1024)), [[]])

    def test_entries(self) -> None:
        """An entry says whether the user is online."""
        (batch,) = _batches(users(2), 512 * 1024)
        self.assertEqual([entry["online"] for entry in batch], [True, False])
        for entry in batch:
            self.assertEqual(set(entry), {"user_id", "pubkey", "meta", "caps", "attach", "online"})


class NoticesTest(unittest.TestCase):
    """PRESENCE in frames of a bounded size."""

    def test_as_it_is(self) -> None:
        """Users who are online have joined, the others have left, and no frame holds too many."""
        everyone = users(2500, name="x" * 64)
        notices = list(_notices(everyone))
        joined = [entry["user_id"] for notice in notices for entry in notice["joined"]]  # type: ignore[attr-defined]
        left = [user_id for notice in notices for user_id in notice["left"]]  # type: ignore[attr-defined]
        self.assertEqual(joined, [user.user_id for user in everyone if user.online])
        self.assertEqual(left, [user.user_id for user in everyone if not user.online])
        for notice in notices:
            self.assertLess(len(json.dumps(notice)), 1_000_000)
        self.assertEqual(list(_notices([])), [])
