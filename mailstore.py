"""Stored mail on disk (PROTOCOL.md section 9): the statements, and nothing of when they are executed."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import socp
from database import Database
from mail import Mail

log = logging.getLogger("socp.mailstore")

# What is long comes last: reading the columns before it then leaves the rest of a row on the disk.
SCHEMA = """
CREATE TABLE mailbox (
    seq INTEGER PRIMARY KEY,
    recipient TEXT NOT NULL,
    sender TEXT NOT NULL,
    msg_ref TEXT NOT NULL,
    size INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    sender_pub TEXT NOT NULL,
    content_sig TEXT NOT NULL,
    ciphertext TEXT NOT NULL,
    UNIQUE (recipient, sender, msg_ref)
);
"""

# In place of a row that is to be deleted and could not be yet.
_INSERT = """
INSERT OR REPLACE INTO mailbox
    (seq, recipient, sender, msg_ref, size, ts, stored_at, sender_pub, content_sig, ciphertext)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


@dataclass(frozen=True)
class IndexRow:
    """What is known of a stored message without reading what is in it.

    Attributes:
        stored_at: Unix ms; what its age counts from.
    """

    seq: int
    recipient: str
    sender: str
    msg_ref: str
    size: int
    stored_at: int


def read_index(database: Database) -> list[IndexRow]:
    """Return what is stored, oldest first.

    Raises:
        DatabaseError: it cannot be read.
    """
    with database.reading() as connection:
        rows = connection.execute(
            "SELECT seq, recipient, sender, msg_ref, size, stored_at FROM mailbox ORDER BY seq"
        ).fetchall()
    index = []
    for seq, recipient, sender, msg_ref, size, stored_at in rows:
        numbers = type(size) is int and size >= 0 and type(stored_at) is int
        if not (numbers and socp.is_id(recipient) and socp.is_id(sender) and isinstance(msg_ref, str)):
            log.error("%s: the row of message %d is damaged and passed over", database.path, seq)
            continue
        index.append(IndexRow(seq, recipient, sender, msg_ref, size, stored_at))
    return index


def read_mail(database: Database, seqs: Sequence[int]) -> dict[int, Mail]:
    """Return stored messages by their number; what is gone or damaged is not among them.

    Raises:
        DatabaseError: they cannot be read.
    """
    query = "SELECT seq, recipient, sender, sender_pub, ciphertext, content_sig, ts FROM mailbox WHERE seq = ?"
    with database.reading() as connection:
        rows = [row for seq in seqs for row in connection.execute(query, (seq,))]
    found = {}
    for seq, recipient, sender, sender_pub, ciphertext, content_sig, ts in rows:
        texts = (recipient, sender, sender_pub, ciphertext, content_sig)
        if all(isinstance(text, str) for text in texts) and socp.is_ts(ts):
            found[seq] = Mail(recipient, sender, sender_pub, ciphertext, content_sig, ts)
        else:
            log.error("%s: message %d is damaged and passed over", database.path, seq)
    return found


def insert(connection: sqlite3.Connection, seq: int, mail: Mail, stored_at: int) -> None:
    """Store a message."""
    connection.execute(
        _INSERT,
        (
            *(seq, mail.recipient, mail.sender, mail.msg_ref, mail.size, mail.ts, stored_at),
            *(mail.sender_pub, mail.content_sig, mail.ciphertext),
        ),
    )


def delete(connection: sqlite3.Connection, seqs: Iterable[int]) -> None:
    """Delete messages; those that are not there are passed over."""
    connection.executemany("DELETE FROM mailbox WHERE seq = ?", [(seq,) for seq in seqs])
