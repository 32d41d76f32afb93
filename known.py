"""The users that a server knows, at most so many: whoever was online longest ago is forgotten for a newcomer.

A key costs nothing, and each that attaches would else leave a row in memory and on disk for good. What is forgotten
with a user is its home, so that messages to it are USER_NOT_FOUND until it is heard of again, and the `ts` of its last
attachment, so that an older one could be taken for its last again. That is harmless:

- Only the server that the user signed the old attachment for can say so, since USER_ADVERTISE and USER_SYNC are that
  server's own and signed. Any server that has never heard of the user has to believe it as well; all that is gained by
  it is mail that can be kept back, but not read.
- The user signs at least its clock's time whenever it attaches, and what is forgotten lies back further than what is
  remembered: the next real attachment is newer, and wins here and everywhere.
- Repeated gossip is not taken from anybody else: it is dropped when it is more than five minutes old, or was seen.
- The key is not lost: an id certifies it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator

from users import User

_LOOKS = 100  # at users with mail, for one newcomer, while others wait: the next search goes on behind them


class KnownUsers:
    """Users by their ids. Guarded by the lock of whoever has it.

    Args:
        users: known from before.
        most: how many are known at most.
        keeps: tells that a user must not be forgotten, since there is mail for it here. Called with that lock held.
    """

    def __init__(
        self, users: Iterable[User] = (), most: int = 50_000, keeps: Callable[[str], bool] = lambda _: False
    ) -> None:
        self._most = most
        self._keeps = keeps
        self._users = {user.user_id: user for user in users}
        self._away: list[tuple[int, str]] = []  # a heap of those who can be forgotten; some are back by now
        self._kept: list[tuple[int, str]] = []  # those who could not be, to be looked at again
        self._gather_away()

    def __len__(self) -> int:
        return len(self._users)

    def __iter__(self) -> Iterator[User]:
        return iter(self._users.values())

    def __getitem__(self, user_id: str) -> User:
        return self._users[user_id]

    def get(self, user_id: str) -> User | None:
        """Return what is known of a user."""
        return self._users.get(user_id)

    def put(self, user: User) -> None:
        """Write a user's record; for one that is new, `make_room` has been called."""
        self._users[user.user_id] = user
        if not user.online:
            heapq.heappush(self._away, (user.attach.ts, user.user_id))
            if len(self._away) + len(self._kept) > 2 * len(self._users) + _LOOKS:
                self._gather_away()  # who comes and goes leaves an entry each time

    def make_room(self, *, ours: bool) -> tuple[tuple[str, ...], bool]:
        """Forget users until there is room for one more.

        Args:
            ours: it attaches here. A quarter of the room is for such users alone: a server that makes up users, who are
                all online, would else keep newcomers from attaching here.

        Returns:
            The ids of those who are forgotten; and whether there is room.
        """
        crowded = not ours and len(self._users) >= self._most - self._most // 4
        excess = max(len(self._users) - self._most + 1, int(crowded))
        forgotten: list[str] = []
        looks = 0
        if excess > 0 and not self._away:
            self._away, self._kept = self._kept, []
            heapq.heapify(self._away)
        while len(forgotten) < excess and self._away and looks < _LOOKS:
            ts, user_id = heapq.heappop(self._away)
            user = self._users.get(user_id)
            if user is None or user.online or user.attach.ts != ts:
                continue
            if self._keeps(user_id):
                self._kept.append((ts, user_id))
                looks += 1
            else:
                del self._users[user_id]
                forgotten.append(user_id)
        return tuple(forgotten), len(forgotten) >= excess

    def _gather_away(self) -> None:
        self._away = [(user.attach.ts, user.user_id) for user in self._users.values() if not user.online]
        self._kept.clear()
        heapq.heapify(self._away)
