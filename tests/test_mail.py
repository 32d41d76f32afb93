"""Messages on their way."""

from __future__ import annotations

import unittest
from typing import Any

import socp
from crypto.signing import message_reference
from mail import Mail, read_mail
from socp import TOO_LARGE, ProtocolError
from tests.vectors import key

ALICE, BOB = (key(name).id for name in ("alice", "bob"))
PAYLOAD = {"ciphertext": "AAAA", "sender_pub": "key", "content_sig": "signature"}


class MailTest(unittest.TestCase):
    """What servers take from the frames of messages, and put into them."""

    def read(self, **change: Any) -> Mail:
        """Return a message of bob's for alice."""
        wire = socp.make_envelope(socp.MSG_DIRECT, BOB, ALICE, 5, {**PAYLOAD, **change})
        return read_mail(socp.read_envelope(wire), BOB, ALICE)

    def test_frames(self) -> None:
        """What came in goes out: to a user without saying for whom, to a server with what is to be done with it."""
        mail = self.read(junk=1)
        self.assertEqual(mail.ts, 5)
        self.assertEqual(mail.to_user(), {**PAYLOAD, "sender": BOB})
        self.assertEqual(mail.to_server(store=True), {**PAYLOAD, "sender": BOB, "user_id": ALICE, "store": True})

    def test_key(self) -> None:
        """It is known by its sender and msg_ref, so that nobody's copy of its signature can pass for it."""
        self.assertEqual(self.read().key, (BOB, message_reference("signature")))

    def test_size(self) -> None:
        """More than 64 sealed blocks, or a key or signature longer than any is, is TOO_LARGE; the rest counts."""
        self.assertEqual(self.read().size, 4 + 3 + 9)
        self.read(ciphertext="A" * socp.SEALED_TEXT_MOST, sender_pub="k" * 1024, content_sig="s" * 1024)
        for change in (
            {"ciphertext": "A" * (socp.SEALED_TEXT_MOST + 1)},
            {"sender_pub": "k" * 1025},
            {"content_sig": "s" * 1025},
        ):
            with self.assertRaises(ProtocolError) as caught:
                self.read(**change)
            self.assertEqual(caught.exception.code, TOO_LARGE)
            self.assertEqual(set(caught.exception.refs), {"msg_ref"})
