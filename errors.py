"""What can go wrong with what a client is asked to do.

ChatError
 +- NotConnected      there is no link to a server, or it broke meanwhile
 +- AttachRefused     the server refused us, or broke the handshake
 +- ServerChanged     another server than the pinned one answers at an address
 +- NoAnswer          the server did not answer a question in time
 +- ServerBusy        the server takes no more questions, for as long as we wait
 +- UserUnknown       nobody is meant
 +- UserAmbiguous     several may be meant
 +- UserBlocked       a user is blocked, is not, or cannot be
 +- NameTaken         a name is another user's now than the one it was bound to, or not signed by who claims it
 +- NotShown          a handler of events could not show a message
 +- TextRefused       a text that cannot be sent
 +- FileRefused       a file that cannot be sent
 +- TransferUnknown   no file is offered, or under way, that is called so
 +- NotRemembered     what must outlive the program could not be written or read
     +- HistoryLocked the message history cannot be opened with this password
"""

from __future__ import annotations

from moments import day_and_time


class ChatError(Exception):
    """Base of the tree above; the message is for people, and to be shown with `visible`."""


class NotConnected(ChatError):
    """Raised when there is no link to a server, or it broke meanwhile."""


class AttachRefused(ChatError):
    """Raised when a server refuses us, or breaks the handshake; `code` is of PROTOCOL.md section 13."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code


class ServerChanged(ChatError):
    """Raised when another server than the pinned one answers at an address.

    Attributes:
        address: where.
        pinned, found: the ids of the server that was there before, and of the one that is there now.
        seen: when the one before was seen there first, Unix ms; 0 if nobody knows.
    """

    def __init__(self, address: str, pinned: str, found: str, seen: int = 0) -> None:
        since = f" (the one before was first seen {day_and_time(seen)})" if seen else ""
        super().__init__(f"the server at {address} was {pinned} before, and is {found} now{since}")
        self.address = address
        self.pinned = pinned
        self.found = found
        self.seen = seen


class NoAnswer(ChatError):
    """Raised when the server did not answer a question in time."""


class ServerBusy(ChatError):
    """Raised when the server takes no more questions, for longer than we wait."""


class UserUnknown(ChatError):
    """Raised when nobody is known by what a user was called."""


class UserAmbiguous(ChatError):
    """Raised when several users are known by what a user was called."""


class UserBlocked(ChatError):
    """Raised when a user is blocked, or is not, and what was asked for needs the opposite; or cannot be blocked."""


class NameTaken(ChatError):
    """Raised when a display name is not, or not any more, the name of the user it stands for."""


class NotShown(ChatError):
    """Raised by a handler of events for a message that it could not show: its sender is not told that it was."""


class TextRefused(ChatError):
    """Raised for a text that cannot be sent; nothing of it was."""


class FileRefused(ChatError):
    """Raised for a file that cannot be sent; nothing of it was."""


class TransferUnknown(ChatError):
    """Raised when no file is offered, or under way, that could be meant."""


class NotRemembered(ChatError):
    """Raised when what must outlive the program could not be written or read."""


class HistoryLocked(NotRemembered):
    """Raised when the message history cannot be opened with a password, or not without one; `hint` says what to do."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.hint = hint
