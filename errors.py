"""What can go wrong with what a client is asked to do.

ChatError
 +- NotConnected      there is no link to a server, or it broke meanwhile
 +- AttachRefused     the server refused us, or broke the handshake
 +- ServerChanged     another server than the pinned one answers at an address
 +- NoAnswer          the server did not answer a question in time
 +- UserUnknown       nobody is meant
 +- UserAmbiguous     several may be meant
 +- NameTaken         a name is another user's now than the one it was bound to, or not signed by who claims it
 +- NotShown          a handler of events could not show a message
 +- TextRefused       a text that cannot be sent
 +- FileRefused       a file that cannot be sent
 +- NotRemembered     what must outlive the program could not be written or read
"""

from __future__ import annotations


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
    """Raised when another server than the pinned one answers at an address; both are ids."""

    def __init__(self, address: str, pinned: str, found: str) -> None:
        super().__init__(f"the server at {address} was {pinned} before, and is {found} now")
        self.pinned = pinned
        self.found = found


class NoAnswer(ChatError):
    """Raised when the server did not answer a question in time."""


class UserUnknown(ChatError):
    """Raised when nobody is known by what a user was called."""


class UserAmbiguous(ChatError):
    """Raised when several users are known by what a user was called."""


class NameTaken(ChatError):
    """Raised when a display name is not, or not any more, the name of the user it stands for."""


class NotShown(ChatError):
    """Raised by a handler of events for a message that it could not show: its sender is not told that it was."""


class TextRefused(ChatError):
    """Raised for a text that cannot be sent; nothing of it was."""


class FileRefused(ChatError):
    """Raised for a file that cannot be sent; nothing of it was."""


class NotRemembered(ChatError):
    """Raised when what must outlive the program could not be written or read."""
