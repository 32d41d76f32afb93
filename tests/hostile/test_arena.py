"""The arena itself: attackers have addresses of their own, and a conversation that breaks off is noticed."""

from __future__ import annotations

from tests.hostile.arena import Conversation, HostileTest
from tests.vectors import key


class ArenaTest(HostileTest):
    """Nobody is attacked here."""

    def test_attacker(self) -> None:
        """An attacker attaches from an address of its own, and the conversation goes on beside it."""
        peer = self.attackers_user("mallory", 2)
        peer.tell("alice", "from elsewhere")
        self.alice.expect(rf"\[DM from {key('mallory').id[:8]}.*\] from elsewhere$")
        self.conversation.wait_more(2)

    def test_breaking_off(self) -> None:
        """A conversation that cannot go on fails, and is not waited for until the end of time."""
        self.conversation.wait_more()
        other = Conversation(self.alice, self.bob)
        other._exchange = self._fail  # type: ignore[assignment, method-assign]
        other.start()
        with self.assertRaisesRegex(AssertionError, "broke off: as told"):
            other.stop()

    def _fail(self, *_: object) -> None:
        raise AssertionError("as told")
