"""What is known of users."""

from __future__ import annotations

import unittest
from typing import Any

import socp
from crypto.signing import ATTACHMENT, KeySigner, sign_content
from handshake import new_nonce
from socp import BAD_KEY, BAD_TIMESTAMP, INVALID_SIG, TOO_LARGE, ProtocolError
from tests.vectors import key
from users import Attachment, User, attachment_object, read_user

HOME = key("server").id


def make_user(
    name: str = "alice",
    home: str = HOME,
    ts: int = 1000,
    *,
    online: bool = True,
    caps: tuple[str, ...] = ("presence",),
    **meta: Any,
) -> User:
    """Return a user of the vectors who has really signed its attachment."""
    unsigned = Attachment(new_nonce(), ts, "")
    values = attachment_object(key(name).id, home, unsigned, meta, caps)
    attach = Attachment(unsigned.nonce, ts, sign_content(KeySigner(key(name)), ATTACHMENT, values))
    return User(key(name).id, home, key(name).public.text, meta, caps, attach, online=online)


class ReadUserTest(unittest.TestCase):
    """Checking what a server says of a user."""

    def test_round_trip(self) -> None:
        """What a user signed is read as what is known of it."""
        user = make_user(display_name="Alice")
        read, public = read_user(user.to_wire(), HOME, online=True, newest=1000)
        self.assertEqual(read, user)
        self.assertEqual(public.id, user.user_id)
        self.assertEqual(read.display_name, "Alice")
        listing = {"user_id": user.user_id, "server_id": HOME, "display_name": "Alice"}
        self.assertEqual(read.to_listing(), listing)

    def refused(self, code: str, home: str = HOME, newest: int = 1000, **change: Any) -> None:
        """Have an entry refused."""
        with self.assertRaises(ProtocolError) as caught:
            read_user({**make_user().to_wire(), **change}, home, online=True, newest=newest)
        self.assertEqual(caught.exception.code, code)

    def test_refused(self) -> None:
        """Another's key, home, caps or meta, an attachment of the future and a meta too large are refused."""
        attach = make_user().attach.to_wire()
        self.refused(BAD_KEY, pubkey=key("bob").public.text)
        self.refused(BAD_KEY, user_id=key("bob").id)
        self.refused(INVALID_SIG, home=key("server2").id)
        self.refused(INVALID_SIG, caps=[])
        self.refused(INVALID_SIG, meta={"display_name": "bob"})
        self.refused(INVALID_SIG, attach={**attach, "ts": 999})
        self.refused(INVALID_SIG, attach={**attach, "content_sig": "junk"})
        self.refused(BAD_TIMESTAMP, newest=999)
        self.refused(TOO_LARGE, meta={"extras": "x" * socp.META_MOST})

    def test_rank(self) -> None:
        """The later attachment outranks the earlier; of a tie the greater server does."""
        low, high = sorted((HOME, key("server2").id))
        ranks = [make_user(home=high, ts=1).rank, make_user(home=low, ts=2).rank, make_user(home=high, ts=2).rank]
        self.assertEqual(ranks, sorted(ranks))

    def test_odd_names(self) -> None:
        """A display name that is no text counts as none."""
        self.assertEqual(make_user(display_name=5).display_name, "")
        self.assertEqual(make_user().display_name, "")
