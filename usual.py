"""Frames in the very form in which clients write them, read and written without JSON's parser (PROTOCOL.md section 3).

Most frames that a server reads are messages and receipts, and the values in them, as clients write them, are of
base64url's alphabet alone, but for a broadcast's text. To see that takes a fraction of the time of parsing. What is
read here is what the full way would have read, and what is written here is what it would have written, byte for byte;
for every other frame, also one that is merely spelt otherwise, the answer is None, and it goes the full way.

All but broadcasts rest on one argument: a form's own words make up its punctuation. If that alone is left of a body
once the 64 characters of base64url are taken out, then no value in it has any other character: no quote that ends it
early, no escape, no white space, nothing beyond ASCII; and so each value stands exactly where the form has it.
"""

from __future__ import annotations

import re
from typing import Final

from crypto.encoding import ALPHABET, has_one_spelling
from framing import BODY_MOST, HEADER_BYTES
from mail import Mail
from socp import ACK, BROADCAST_MOST, MSG_DIRECT, MSG_PUBLIC_CHANNEL, PUBLIC, Envelope

_ID: Final = r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
# Of 13 digits, a `ts` is one of the years 2001 to 2286.
_TO: Final = rf'","from":"{_ID}","to":"{_ID}","ts":([1-9][0-9]{{12}}),"payload":\{{'
# Of which characters a value is, and where it ends, is for the punctuation to say: to count to a length is several
# times as fast as to look at each character (with DOTALL, not even for ends of lines). What is sealed in one block has
# 683, as a signature has; a key has 734.
_MESSAGE: Final = re.compile(
    r'\{"type":"MSG_DIRECT' + _TO + r'"ciphertext":"(.{683}|[^"]*)","sender_pub":"(.{734})","content_sig":"(.{683})"'
    r'\},"sig":""\}',
    re.DOTALL,
)
_RECEIPT: Final = re.compile(
    r'\{"type":"ACK' + _TO + r'"msg_ref":"(.{43})","status":"([a-z]{1,16})","content_sig":"(.{683})"\},"sig":""\}',
    re.DOTALL,
)
_BEGINNINGS: Final = (b'{"type":"MSG_DIRECT"', b'{"type":"ACK"')
# A broadcast's text has other characters, and is looked at one by one. It is not longer than one may be: in a body, a
# comma counts wherever it stands.
_TEXT: Final = rf"([ !#-\[\]-~]{{0,{BROADCAST_MOST}}})"
_BROADCAST: Final = re.compile(
    r'\{"type":"MSG_PUBLIC_CHANNEL","from":"' + _ID + r'","to":"public","ts":([1-9][0-9]{12}),"payload":\{'
    r'"text":"' + _TEXT + r'","sender_pub":"(.{734})","content_sig":"(.{683})"\},"sig":""\}',
    re.DOTALL,
)
_BROADCAST_BEGINNING: Final = b'{"type":"MSG_PUBLIC_CHANNEL"'
# The punctuation of a body with so many texts in its payload.
_THREE_TEXTS: Final = b'{"":"","":"","":"","":,"":{"":"","":"","":""},"":""}'
_FOUR_TEXTS: Final = b'{"":"","":"","":"","":,"":{"":"","":"","":"","":""},"":""}'


def read_usual(frame: bytes) -> Envelope | None:
    """Read a direct message, a receipt or a broadcast in its usual form.

    Args:
        frame: a whole one, not longer than its link allows.

    Returns:
        What decode_frame, read_envelope and check_payload would have made of it; None for them to look at it.
    """
    if not frame.startswith(_BEGINNINGS, HEADER_BYTES):
        return _read_broadcast(frame) if frame.startswith(_BROADCAST_BEGINNING, HEADER_BYTES) else None
    body = frame[HEADER_BYTES:]
    if body.translate(None, ALPHABET) != _THREE_TEXTS:
        return None
    text = str(body, "ascii")
    found = _MESSAGE.fullmatch(text)
    if found is not None:
        sender, to, ts, ciphertext, sender_pub, content_sig = found.groups()
        if not has_one_spelling(ciphertext.encode("ascii")):
            return None
        payload = {"ciphertext": ciphertext, "sender_pub": sender_pub, "content_sig": content_sig}
        return Envelope(MSG_DIRECT, sender, to, int(ts), payload, "", (), frame)
    found = _RECEIPT.fullmatch(text)
    if found is not None:
        sender, to, ts, msg_ref, status, content_sig = found.groups()
        payload = {"msg_ref": msg_ref, "status": status, "content_sig": content_sig}
        return Envelope(ACK, sender, to, int(ts), payload, "", (), frame)
    return None


def _read_broadcast(frame: bytes) -> Envelope | None:
    body = frame[HEADER_BYTES:]
    found = _BROADCAST.fullmatch(str(body, "ascii")) if body.isascii() else None
    if found is None:
        return None
    sender, ts, text, sender_pub, content_sig = found.groups()
    if (sender_pub + content_sig).encode("ascii").translate(None, ALPHABET):
        return None
    payload = {"text": text, "sender_pub": sender_pub, "content_sig": content_sig}
    return Envelope(MSG_PUBLIC_CHANNEL, sender, PUBLIC, int(ts), payload, "", (), frame)


def write_delivery(server_id: str, mail: Mail) -> bytes | None:
    """Return the frame of a USER_DELIVER without signature, which is what goes over TLS.

    Args:
        server_id: of the server that it is from.
        mail: the message.

    Returns:
        What encode_frame would have written; None when that has to, since a value needs escapes.
    """
    text = (
        f'{{"type":"USER_DELIVER","from":"{server_id}","to":"{mail.recipient}","ts":{mail.ts},'
        f'"payload":{{"ciphertext":"{mail.ciphertext}","sender":"{mail.sender}","sender_pub":"{mail.sender_pub}",'
        f'"content_sig":"{mail.content_sig}"}},"sig":""}}'
    )
    body = text.encode("ascii", "replace")  # by a question mark, which is no punctuation of ours
    if body.translate(None, ALPHABET) != _FOUR_TEXTS or len(body) > BODY_MOST:
        return None
    return len(body).to_bytes(HEADER_BYTES, "big") + body
