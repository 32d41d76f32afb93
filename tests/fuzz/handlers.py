"""What counts as a handler: every function that takes what a peer has said, from its bytes to what is done about it.

Left out are what a program does of its own accord (to dial, to beat, to keep time, to sweep), what it says first (to
write a message, to offer a file, to be asked by a person), and what stands beneath: links, threads and the disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Final

import ahead
import answers
import carrier
import chat
import ciphers
import delivery
import forwarding
import framing
import gossip
import handshake
import host
import inbox
import incoming
import introducer
import mail
import mailboxes
import membership
import mesh
import messages
import node
import origin
import outbox
import outgoing
import presence
import questions
import receiving
import results
import routing
import saving
import sending
import shares
import socp
import transfers
import users

_ALL = ".*"


def _class(name: str, *methods: str) -> str:
    return rf"{name}\.({'|'.join(methods)})"


# By module, the qualified names of its handlers as a regular expression; see branches.Branches.
HANDLERS: Final[Mapping[ModuleType, str]] = {
    # From bytes to an envelope of the right shape.
    framing: r"FrameBuffer\..*|decode_.*|_check_structure|_unique|_integer|_no_number|_count_openings",
    socp: r"read_envelope|check_.*|is_.*|_.*",
    ciphers: r"Cipher\.of_manifest|open_chunk",
    # The handshake, and which frame goes to which handler.
    handshake: _ALL,
    host: _class(
        "Host",
        "_run_accepted",
        "_check_newcomer",
        "_serve_proved",
        "dispatch",
        "_take",
        "_handle",
        "_answer",
        "connect",
    )
    + "|shake_hands|_take_.*|_handler_of",
    gossip: _ALL,
    ahead: _class("Ahead", "put", "settle", "_take_first"),
    node: _class("Node", "_check_.*", "_last_attachment", "_serve", "_serve_user", "_take_.*", "_let_go", ".*_handlers")
    + r"|_UserHandlers\..*",
    introducer: _class("Introducer", "_check_.*", "_serve", "_handlers", "_take_.*"),
    # A server's, for users and for servers.
    delivery: _ALL,
    presence: _class("Presence", "attach", "detach", "publish", "take_.*", "_check_gossip", "_note_.*", "_read_entry"),
    mesh: _class(
        "Mesh",
        "own",
        "_begin_own",
        "fresh",
        "take_.*",
        "answer_.*",
        "check_.*",
        "_learn",
        "serve",
        "_serve_.*",
        "expect_link",
    ),
    forwarding: _class("Forwarder", "take_answer"),
    carrier: _class(
        "Carrier", "begin", "end", "take_receipt", "signing", "deliver", "store", "kick", "_run", "_hand_out"
    ),
    mailboxes: _class(
        "Mailboxes",
        "hand",
        "goes_straight",
        "_goes_straight",
        "_may_keep",
        "store",
        "_begin_to_store",
        "_refusal",
        "attach",
        "detach",
        "_take_back",
        "confirm",
    ),
    answers: r"Answers?\..*",
    routing: r"RoutingTable\.(?!__init__|lose_server).*|SeenCache\..*",
    # What anybody reads of what somebody has signed.
    origin: r"check_.*|key_of",
    users: r"read_user|attachment_object",
    membership: r"read_membership|check_.*|newest",
    messages: _ALL,
    mail: _ALL,
    # A client's.
    chat: _class("Chat", "_take", "_sort", "_sort_users", "_take_.*"),
    shares: _class("Shares", "give"),
    inbox: _ALL,
    questions: _class("Questions", "answer", "refuse"),
    transfers: _class("Transfers", "take.*"),
    receiving: r"(?!FileReceiver\.(active|under_way|accept|deny|cancel)).*",
    incoming: r"(?!Incoming\.under_way).*",
    saving: _ALL,
    results: _ALL,
    sending: _class("FileSender", "take_.*"),
    outgoing: _class("Outgoing", "take_.*", "_take_.*", "_go_on_from", "_end"),
    outbox: _class("Outbox", "take_.*", "_recipient", "_forget"),
}
