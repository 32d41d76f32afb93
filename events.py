"""What happens to a client: what chat.Chat tells whoever uses it. The text in them is raw: show it with `visible`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Message:
    """A direct message was received, and its sender verified.

    Attributes:
        sender: the id of its sender.
        name: the display name that the sender has signed, or the empty string.
        text: what it says.
        ts: Unix ms, by the sender's clock.
    """

    sender: str
    name: str
    text: str
    ts: int


@dataclass(frozen=True)
class PublicMessage:
    """A broadcast was received, and its sender verified; the fields are those of Message."""

    sender: str
    name: str
    text: str
    ts: int


@dataclass(frozen=True)
class Sent:
    """We have said something ourselves. A Chat does not tell whoever has asked it to; a session tells its others.

    Attributes:
        to: the recipient's id; "public" for a broadcast.
        number: see Delivered; None for a broadcast.
        msg_ref: of a broadcast.
    """

    to: str
    number: int | None
    text: str
    msg_ref: str = ""


@dataclass(frozen=True)
class Delivered:
    """The recipient has signed that a message of ours was shown to it.

    Attributes:
        msg_ref: what servers call it, and Chat.tell has returned.
        to: the recipient's id.
        number: what people call it; see Chat.tell.
    """

    msg_ref: str
    to: str
    number: int


@dataclass(frozen=True)
class Stored:
    """A server keeps a message of ours until its recipient comes back; the fields are those of Delivered."""

    msg_ref: str
    to: str
    number: int


@dataclass(frozen=True)
class Failed:
    """A message of ours was not delivered.

    Attributes:
        to: the recipient's id; "public" for a broadcast.
        code: an error code of PROTOCOL.md section 13, or "failed" if the recipient says so.
        reason: for people.
        number: see Delivered; None for a broadcast.
    """

    msg_ref: str
    to: str
    code: str
    reason: str
    number: int | None = None


@dataclass(frozen=True)
class Unconfirmed:
    """A message of ours was stored, and no server keeps it any longer; whether it was shown is not known.

    The fields are those of Delivered.
    """

    msg_ref: str
    to: str
    number: int


@dataclass(frozen=True)
class FileOffered:
    """A file is offered, and Chat.accept_file or Chat.deny_file is waited for.

    Attributes:
        peer: the id of its sender.
        size: bytes.
        number: what people call it, see underway.UnderWay.
        trouble: why it could not be saved as things are now, or the empty string.
    """

    file_id: str
    peer: str
    name: str
    size: int
    number: int
    trouble: str


@dataclass(frozen=True)
class FileNotTaken:
    """A file that was offered to us is not taken, or not offered any more: nothing of it was received."""

    file_id: str
    peer: str
    name: str
    size: int
    reason: str


@dataclass(frozen=True)
class FileStarted:
    """A file begins to arrive, or the recipient has accepted ours.

    Attributes:
        peer: the id of the other end.
        size: bytes.
    """

    file_id: str
    peer: str
    name: str
    size: int
    incoming: bool


@dataclass(frozen=True)
class FileInterrupted:
    """A transfer waits until both ends are connected again; told once, until it has gone on."""

    file_id: str
    peer: str
    name: str
    incoming: bool
    reason: str


@dataclass(frozen=True)
class FileResumed:
    """A transfer that was interrupted goes on."""

    file_id: str
    peer: str
    name: str
    incoming: bool


@dataclass(frozen=True)
class FileDone:
    """A file has arrived whole, and its hash is right; `path` is where it was saved, or what was sent."""

    file_id: str
    peer: str
    name: str
    size: int
    incoming: bool
    path: Path


@dataclass(frozen=True)
class FileFailed:
    """A file was not transferred. Nothing is left of it at the recipient."""

    file_id: str
    peer: str
    name: str
    incoming: bool
    reason: str


@dataclass(frozen=True)
class PresenceChanged:
    """Users came or went; for clients with the cap "presence" alone.

    Attributes:
        joined: ids of users.
        left: ids of users.
    """

    joined: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(frozen=True)
class Notice:
    """Something that the user should know."""

    text: str


@dataclass(frozen=True)
class Disconnected:
    """The connection to the server is gone, and was not closed by us.

    Attributes:
        reason: for people.
        final: whether that is the end; if not, the client connects again by itself, and says Connected then.
    """

    reason: str
    final: bool


@dataclass(frozen=True)
class Connected:
    """There is a connection again: to the server `server_id` at `address`."""

    address: str
    server_id: str


Event = (
    Message
    | PublicMessage
    | Sent
    | Delivered
    | Stored
    | Failed
    | Unconfirmed
    | FileOffered
    | FileNotTaken
    | FileStarted
    | FileInterrupted
    | FileResumed
    | FileDone
    | FileFailed
    | PresenceChanged
    | Notice
    | Disconnected
    | Connected
)
