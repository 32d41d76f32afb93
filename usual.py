"""Frames in the very form in which clients write them, read and written without JSON's parser (PROTOCOL.md section 3).

Most frames that a server reads are direct messages and receipts, and the values in them, as clients write them, are of
base64url's alphabet alone. To see that takes a fraction of the time of parsing. What is read here is what the full way
would have read, and what is written here is what it would have written, byte for byte; for every other frame, also one
that is merely spelt otherwise, the answer is None, and it goes the full way.

Both rest on one argument: a form's own words make up its punctuation. If that alone is left of a body once the 64
characters of base64url are taken out, then no value in it has any other character: no quote that ends it early, no
escape, no white space, nothing beyond ASCII; and so each value stands exactly where the form has it.
"""

from __future__ import annotations

import re
from typing import Final

from crypto.encoding import ALPHABET, has_one_spelling
from framing import BODY_MOST, HEADER_BYTES
from mail import Mail
from socp import ACK, MSG_DIRECT, Envelope

_ID: Final = rb"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_KEY_CHARACTERS: Final = 734
_SIGNATURE_CHARACTERS: Final = 683
_REFERENCE_CHARACTERS: Final = 43

# What a value is made of is for the punctuation to say. A `ts` of 13 digits is one of the years 2001 to 2286.
_TO: Final = rb'","from":"' + _ID + rb'","to":"' + _ID + rb'","ts":([1-9][0-9]{12}),"payload":\{'
_MESSAGE: Final = re.compile(
    rb'\{"type":"MSG_DIRECT%s"ciphertext":"([^"]*)","sender_pub":"(.{%d})","content_sig":"(.{%d})"\},"sig":""\}'
    % (_TO, _KEY_CHARACTERS, _SIGNATURE_CHARACTERS),
    re.DOTALL,
)
_RECEIPT: Final = re.compile(
    rb'\{"type":"ACK%s"msg_ref":"(.{%d})","status":"([a-z]{1,16})","content_sig":"(.{%d})"\},"sig":""\}'
    % (_TO, _REFERENCE_CHARACTERS, _SIGNATURE_CHARACTERS),
    re.DOTALL,
)
# The punctuation of a body with so many texts in its payload.
_THREE_TEXTS: Final = b'{"":"","":"","":"","":,"":{"":"","":"","":""},"":""}'
_FOUR_TEXTS: Final = b'{"":"","":"","":"","":,"":{"":"","":"","":"","":""},"":""}'


def read_usual(frame: bytes) -> Envelope | None:
    """Read a direct message or a receipt in its usual form.

    Args:
        frame: a whole one, not longer than its link allows.

    Returns:
        What decode_frame, read_envelope and check_payload would have made of it; None for them to look at it.
    """
    body = frame[HEADER_BYTES:]
    found = _MESSAGE.fullmatch(body)
    if found is not None:
        if body.translate(None, ALPHABET) != _THREE_TEXTS:
            return None
        sender, to, ts, ciphertext, sender_pub, content_sig = found.groups()
        if not has_one_spelling(ciphertext):
            return None
        payload = {"ciphertext": str(ciphertext, "ascii"), "sender_pub": str(sender_pub, "ascii")}
        frame_type = MSG_DIRECT
    else:
        found = _RECEIPT.fullmatch(body)
        if found is None or body.translate(None, ALPHABET) != _THREE_TEXTS:
            return None
        sender, to, ts, msg_ref, status, content_sig = found.groups()
        payload = {"msg_ref": str(msg_ref, "ascii"), "status": str(status, "ascii")}
        frame_type = ACK
    payload["content_sig"] = str(content_sig, "ascii")
    return Envelope(frame_type, str(sender, "ascii"), str(to, "ascii"), int(ts), payload, "", (), frame)


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
