"""Every limit and timer of PROTOCOL.md that a program acts on, with its default and reason, and when TLS is used.

All are plain frozen data, so that tests give a program shorter times and smaller limits without touching it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass(frozen=True)
class Timers:
    """Times in seconds."""

    handshake: float = 10.0  # section 2: from accept to the end of the handshake
    frame: float = 30.0  # section 2: from the first byte of a frame to its last
    heartbeat: float = 15.0  # section 6.4: three fit in the time after which a link is dead
    silence: float = 45.0  # section 6.4: no frame for so long, and the link is dead
    linger: float = 2.0  # a closing link waits so long for its peer to take the last frames
    pause: float = 0.1  # section 14: by which a user's reader slows down, at each frame for a server that is crowded
    full: float = 10.0  # section 14: an outgoing queue that stays full for so long closes its link
    connect: float = 4.0  # one attempt to connect; less than `stop`, so that none outlives the program
    retry_first: float = 1.0  # section 6.1: back-off, doubling …
    retry_most: float = 60.0  # … up to this …
    retry_client: float = 30.0  # … or to this, where a person waits
    stood: float = 1.0  # a client's link that lasted for so long was none that only lets in and goes
    dial_grace: float = 10.0  # section 6.3: how long the greater id waits to be dialled
    lost_after: float = 45.0  # section 7.1: a server without a link for so long has no users online
    probe: float = 3.0  # section 5.1: what an old link has to prove that it lives
    presence: float = 1.0  # section 7.2: PRESENCE at most so often
    seen: float = 600.0  # section 7.3: how long a gossiped frame is remembered
    stop: float = 5.0  # an orderly end, all told
    resend_first: float = 30.0  # section 8.1: a message that nothing is heard of is sent again, doubling …
    resend_most: float = 600.0  # … up to this
    request: float = 10.0  # a client's wait for its server's answer
    offer: float = 600.0  # section 10: a person may take so long to accept a file
    remind: float = 60.0  # an offer without an answer is made again, to a client that was started again meanwhile
    report: float = 2.0  # a recipient says so often how far a file is, so that one that is slow is seen to move
    stall: float = 60.0  # section 10: a transfer without a frame for so long has failed
    ask: float = 15.0  # without progress for so long, a sender asks its recipient: three times before `stall`
    resume: float = 600.0  # section 10: an interrupted transfer may go on for so long after its last progress
    idle: float = 1.0  # a thread that seals or opens chunks ends when it has nothing to do for so long
    busy: float = 1.0  # a sender's pause after SERVER_BUSY
    glance: float = 2.0  # a person who types sees nothing of what has come in so short a time
    farewell: float = 60.0  # at the end of input, a client waits so long for receipts and transfers
    disk_retry: float = 5.0  # between two attempts to write what could not be written
    mail_check: float = 3600.0  # section 9: between two looks for mail that has lain for too long
    refuse_first: float = 15.0  # section 14: how long an address is refused after repeated failures, doubling …
    refuse_most: float = 600.0  # … up to this; and after so long without one, it begins anew

    def scaled(self, factor: float) -> Timers:
        """Return the same times, each multiplied by `factor`."""
        return Timers(**{entry.name: getattr(self, entry.name) * factor for entry in fields(self)})


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, ages in milliseconds, and counts. flags.py makes flags of many of them."""

    users: int = 10_000  # section 14: links of users: a thread each, and some 40 kB
    handshakes: int = 64  # section 14: unfinished ones: what they take must be little, for anybody can begin one …
    handshakes_of_one: int = 16  # … and of one address, so that no single one takes all
    sources: int = 65_536  # addresses whose failures, and whose new users, are remembered: some 20 MB
    frame_stranger: int = 16 * 1024  # section 2: a body before the handshake is done; a hello with memberships fits …
    frame_user: int = 768 * 1024  # … from a user: a chunk of a file, and room for the envelope that carries it on …
    frame_server: int = 1024 * 1024  # … and from a server
    crowded: int = 256 * 1024  # section 14: what waits for a server when its users' readers are to slow down
    queue: int = 8 * 1024 * 1024  # section 14: what one link may have waiting …
    queues: int = 256 * 1024 * 1024  # … and all of them together: beyond, the fullest is closed
    clock_skew: int = 5 * 60 * 1000  # sections 5, 7, 10, 11: how far a clock may be off
    message_age: int = 24 * 60 * 60 * 1000  # section 8.1: what a sender's server still takes
    shown_age: int = 8 * 24 * 60 * 60 * 1000  # section 8.1: what a recipient shows and remembers
    membership: int = 7 * 24 * 60 * 60 * 1000  # section 6.2
    servers: int = 1024  # that a server takes in: each has a thread that dials it; and that an introducer has links to
    known_users: int = 50_000  # that a server remembers, whether they are here or not: some 4 kB each
    identities: int = 1_000  # users that nobody knew, and one address brings in an hour
    questions: int = (
        100  # section 12: of one user at once: a client that looks up whom it meets, or turns a few pages …
    )
    questions_per_second: int = 20  # … and after that: each costs a signature, and up to 1,000 entries
    seen: int = 100_000  # gossiped frames remembered: 160 a second for ten minutes, about 20 MB
    sync_bytes: int = 512 * 1024  # section 7.1: a USER_SYNC frame
    mailbox: int = 1_000  # section 9: messages stored for one user …
    mailbox_bytes: int = 16 * 1024 * 1024  # … and what is in them …
    mailbox_of_one: int = 100  # … of which so many may be of one sender …
    mailbox_of_one_bytes: int = 2 * 1024 * 1024  # … so that none fills another's mailbox alone …
    # … but with what its recipient had been handed: that is stored when the recipient's link ends, up to `mailbox`
    mailboxes_bytes: int = 1024**3  # stored for all users: what a server has disk for, and 200 MB of memory to index
    mail_age: int = 7 * 24 * 60 * 60 * 1000  # section 9: how old a message that is stored gets
    mail_writing: int = 64 * 1024 * 1024  # that waits to be committed; beyond, its senders are to slow down
    unacknowledged: int = 64  # section 9: of what is stored, handed to a user or a server before it is confirmed
    kept: int = 1_000  # messages handed to one user and not confirmed yet, kept in memory …
    kept_bytes: int = 16 * 1024 * 1024  # … as many as could be stored if its link died …
    all_kept_bytes: int = 64 * 1024 * 1024  # … and this for all users: beyond either, messages are stored at once
    file_bytes: int = 1024**3  # section 10: a file
    disk_spare: int = 32 * 1024 * 1024  # what a file that is received must leave free on the disk
    chunk: int = 64 * 446  # section 10: plain bytes of a file in one frame, by RSA alone …
    chunk_hybrid: int = 255 * 1024  # … and by AES-256-GCM: four of them fit into the window
    transfer_window: int = 1024 * 1024  # section 10: ciphertext unacknowledged
    transfer_ack: int = 256 * 1024  # section 10: ciphertext between two FILE_ACKs
    transfers: int = 4  # section 10: that a recipient takes at a time …
    transfers_running_of_one: int = 2  # … of one sender: one that is slow on purpose leaves the others for others …
    transfers_waiting: int = 64  # … and that may wait for their turn …
    transfers_of_one: int = 16  # … of which so many may be of one sender, who makes room for others when all are taken
    transfer_restarts: int = 8  # a recipient may begin a file anew so often: each time it costs us all of it
    shown: int = 100_000  # messages that a client remembers to have shown: 43 bytes each, and what holds them
    shown_public: int = 10_000  # broadcasts; they are fresh for a few minutes alone
    unwritten: int = 64  # messages that wait until it can be written down that they are shown
    inbox: int = 1_000  # frames that wait to be shown …
    inbox_of_one: int = 8  # … of which so many of one sender stand before those of others, …
    offers_of_one: int = 32  # … and so many that wait may be offers of files: twice what a recipient takes
    flying: int = (
        64  # messages of ours that are sent and not answered: a server's window for its users has the same size
    )
    outbox: int = 10_000  # messages of ours that are not confirmed; their texts are on the disk


@dataclass(frozen=True)
class TlsPolicy:
    """When TLS is used (section 15).

    Attributes:
        dial: whether to connect by TLS; None for by it, but to what is on this machine itself.
        required: take no connection without TLS, and make none.
    """

    dial: bool | None = None
    required: bool = False


@dataclass(frozen=True)
class Settings:
    """What a program is run with.

    Attributes:
        penalties: whether an address is refused for some time after repeated failures (section 14).
    """

    timers: Timers = field(default_factory=Timers)
    limits: Limits = field(default_factory=Limits)
    tls: TlsPolicy = field(default_factory=TlsPolicy)
    penalties: bool = True
