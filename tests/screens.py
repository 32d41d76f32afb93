"""Screens for tests of what a client shows: one that keeps what it is given, and a client that is not connected."""

from __future__ import annotations

from collections.abc import Mapping
from unittest import mock

from chat import Chat
from contacts import Listed
from display import visible
from screen import Line, Screen, Shown, plain_line


class FakeScreen(Screen):
    """A screen that keeps what it is given.

    Args:
        typed: what is typed, line by line.
        interactive: whether it passes for a terminal.
        reach: how many lines back one can still be changed.

    Attributes:
        lines: what stands there.
        statuses: the rows above the input.
        said_before: the prompts, oldest first.
        rung: how often the bell was rung.
    """

    def __init__(self, *typed: str, interactive: bool = False, reach: int = 1_000) -> None:
        self.interactive = self.is_terminal = interactive
        self.lines: list[str] = []
        self.statuses: dict[str, str] = {}
        self.prompts: list[str] = []
        self.rung = self.woken = 0
        self.closed = False
        self._typed = list(typed)
        self._reach = reach

    def show(self, line: Line) -> Shown:
        """See Screen."""
        self.lines.append(visible(plain_line(line)))
        return _FakeShown(self, len(self.lines) - 1)

    def change(self, place: int, line: Line) -> bool:
        """Change a line that is still in reach."""
        if not self.interactive or place < len(self.lines) - self._reach:
            return False
        self.lines[place] = visible(plain_line(line))
        return True

    def status(self, name: str, line: Line | None) -> None:
        """See Screen."""
        self.statuses.pop(name, None)
        if line is not None and self.interactive:
            self.statuses[name] = visible(plain_line(line))

    def prompt(self, text: str) -> None:
        """See Screen."""
        self.prompts.append(text)

    def ring(self) -> None:
        """See Screen."""
        self.rung += 1

    def next(self) -> str | None:
        """See Screen."""
        return self._typed.pop(0) if self._typed else None

    def wake(self) -> None:
        """See Screen."""
        self.woken += 1

    def wait_woken(self) -> None:
        """See Screen."""

    def close(self) -> None:
        """See Screen."""
        self.closed = True


class _FakeShown:
    """A line on a FakeScreen."""

    def __init__(self, screen: FakeScreen, place: int) -> None:
        self._screen = screen
        self._place = place

    def change(self, line: Line, /) -> bool:
        """See screen.Shown."""
        return self._screen.change(self._place, line)


def fake_chat(user_id: str, names: Mapping[str, str], *, online: list[Listed] | None = None) -> mock.Mock:
    """Return what passes for a Chat that is connected to nobody.

    Args:
        user_id: its own.
        names: of the users that it knows, by id; they are found by these, and labelled by them.
        online: who is listed.
    """
    chat: mock.Mock = mock.create_autospec(Chat, instance=True)
    chat.user_id, chat.profile_name, chat.server_id = user_id, "default", ""
    chat.lost = False
    chat.undelivered = chat.unsent_files = 0
    chat.link_status = None
    chat.users.return_value = online or []
    chat.contacts = mock.Mock()
    chat.contacts.known.side_effect = lambda: list(names.items())
    chat.contacts.name_of.side_effect = lambda who: names.get(who, "")
    chat.contacts.known_name.side_effect = lambda who: names.get(who, "")
    chat.contacts.label.side_effect = lambda who, name: f"{name} · {who[:8]}" if name else who[:8]
    chat.contacts.listed_name.side_effect = lambda listed: listed.name
    chat.contacts.is_contact.side_effect = lambda who: who in names
    chat.contacts.find.side_effect = lambda called: next(who for who, name in names.items() if called in (who, name))
    chat.blocking = mock.MagicMock()
    chat.blocking.__contains__.return_value = False
    chat.blocking.names = {}
    return chat
