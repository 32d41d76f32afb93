"""A backup of an identity: its key and its profile's memory, in one encrypted text.

    -----BEGIN SOCP BACKUP 1-----
    scrypt <work> <salt> <nonce>
    <base64url, 72 characters a line>
    -----END SOCP BACKUP-----

What is encrypted is {"key": <PKCS#8 PEM without a password>, "profile": <what profile.json holds>}. Its key is made by
scrypt of a password that is the backup's own. The cipher is AES-256-GCM: nothing opens of a file that was changed
anywhere, in its first lines either. A backup may come from anybody: it is bounded before it is believed.
"""

from __future__ import annotations

import json
import re
from typing import Any

from crypto.encoding import EncodingError, decode_base64url, encode_base64url
from crypto.keys import KeyPair, KeyProblem
from crypto.passwords import NotUnwrapped, Wrapped, unwrap, wrap

FILE_MOST = 32 * 1024 * 1024  # bytes; the largest profile.json there can be takes 22 MiB
_LABEL = b"socp backup 1"
_BEGIN = "-----BEGIN SOCP BACKUP 1-----"
_BEGIN_ANY = re.compile("-----BEGIN SOCP BACKUP ([0-9]{1,4})-----", re.ASCII)
_END = "-----END SOCP BACKUP-----"
_PARAMETERS = re.compile("scrypt ([1-9][0-9]?) ([A-Za-z0-9_-]{22}) ([A-Za-z0-9_-]{16})", re.ASCII)
_COLUMNS = 72


class BackupError(KeyProblem):
    """Raised for a backup that cannot be made, is none, or does not open."""


def seal_backup(pair: KeyPair, memory: dict[str, Any], password: str) -> bytes:
    """Return a backup.

    Args:
        pair: the key.
        memory: what the profile remembers.
        password: of the backup.

    Raises:
        BackupError: the password is empty or not text, or there is more than a backup can hold.
    """
    if not password:
        raise BackupError("a backup needs a password: whoever finds the file would have the identity")
    content = json.dumps({"key": pair.to_pem().decode("ascii"), "profile": memory}).encode("ascii")
    try:
        wrapped = wrap(content, password, _LABEL)
    except UnicodeEncodeError as error:
        raise BackupError("the password is not text in UTF-8") from error
    salt, nonce, sealed = map(encode_base64url, (wrapped.salt, wrapped.nonce, wrapped.sealed))
    body = [sealed[start : start + _COLUMNS] for start in range(0, len(sealed), _COLUMNS)]
    text = "\n".join([_BEGIN, f"scrypt {wrapped.work} {salt} {nonce}", *body, _END, ""]).encode("ascii")
    if len(text) > FILE_MOST:
        raise BackupError(f"the backup would have {len(text):,} bytes, and at most {FILE_MOST:,} can be read again")
    return text


def read_armour(text: bytes) -> Wrapped:
    """Return what a backup holds, still encrypted.

    Raises:
        BackupError: it is not one, in its one spelling.
    """
    if len(text) > FILE_MOST:
        raise BackupError("not a backup of an identity: it is too large")
    try:
        lines = text.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise BackupError("not a backup of an identity") from error
    version = _BEGIN_ANY.fullmatch(lines[0])
    if version is None:
        raise BackupError("not a backup of an identity")
    if lines[0] != _BEGIN:
        raise BackupError(f"a backup of version {version[1]}, which this program is too old for")
    if len(lines) < 5 or lines[-2:] != [_END, ""]:
        raise BackupError("the backup is cut off, or something stands behind it")
    parameters, body = _PARAMETERS.fullmatch(lines[1]), lines[2:-2]
    if parameters is None or {len(line) for line in body[:-1]} - {_COLUMNS} or len(body[-1]) > _COLUMNS:
        raise BackupError("the backup is damaged")
    try:
        salt, nonce, sealed = map(decode_base64url, (parameters[2], parameters[3], "".join(body)))
    except EncodingError as error:
        raise BackupError("the backup is damaged") from error
    return Wrapped(int(parameters[1]), salt, nonce, sealed)


def open_backup(wrapped: Wrapped, password: str) -> tuple[KeyPair, dict[str, Any]]:
    """Return the key and the profile's memory, which is still to be checked as any profile.json is.

    Raises:
        BackupError: the password is another one, or the backup was changed.
        KeyFileError: there is no sound key in it.
    """
    try:
        content = json.loads(unwrap(wrapped, password, _LABEL).decode("ascii"))
    except NotUnwrapped as error:
        raise BackupError("the password is not the backup's, or the backup was changed") from error
    except (ValueError, RecursionError) as error:
        raise BackupError("the backup holds no identity") from error
    pem, memory = (content.get("key"), content.get("profile")) if isinstance(content, dict) else (None, None)
    if not (isinstance(pem, str) and isinstance(memory, dict)):
        raise BackupError("the backup holds no identity")
    return KeyPair.from_pem(pem.encode("utf-8", "replace")), memory
