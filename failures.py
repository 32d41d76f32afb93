"""What an error means for whoever started a client: the exit code, and what would help."""

from __future__ import annotations

import socp
from crypto.keys import KeyProblem, WrongPassword
from errors import (
    AttachRefused,
    ChatError,
    HistoryLocked,
    NameTaken,
    NoAnswer,
    NotConnected,
    ServerBusy,
    ServerChanged,
    UserAmbiguous,
    UserUnknown,
)
from exits import Exit
from profiles import NoProfileName, ProfileError
from programs import StartError

Failure = ChatError | ProfileError | KeyProblem

_CODES: dict[type[Failure], Exit] = {
    NotConnected: Exit.NO_CONNECTION,
    AttachRefused: Exit.NO_CONNECTION,
    ServerChanged: Exit.BAD_KEY,
    NoAnswer: Exit.TIMED_OUT,
    ServerBusy: Exit.TIMED_OUT,
    UserUnknown: Exit.NO_SUCH_USER,
    UserAmbiguous: Exit.NO_SUCH_USER,
    NameTaken: Exit.BAD_KEY,
    KeyProblem: Exit.BAD_KEY,
    HistoryLocked: Exit.BAD_KEY,
    NoProfileName: Exit.USAGE,
}
_WIRE_CODES = {
    socp.USER_NOT_FOUND: Exit.NO_SUCH_USER,
    socp.INVALID_SIG: Exit.BAD_KEY,
    socp.BAD_KEY: Exit.BAD_KEY,
    socp.TIMEOUT: Exit.TIMED_OUT,
}


def code_of(error: Failure) -> Exit:
    """Return the exit code for an error."""
    if isinstance(error, AttachRefused) and error.code in (socp.INVALID_SIG, socp.BAD_KEY):
        return Exit.BAD_KEY
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), Exit.FAILURE)


def code_of_wire(code: str) -> Exit:
    """Return the exit code for an error code of PROTOCOL.md section 13, with which a message or a file has failed."""
    return _WIRE_CODES.get(code, Exit.FAILURE)


def hint_for(error: Failure) -> str:
    """Return what would help against an error, or the empty string where its message says that."""
    if isinstance(error, WrongPassword):
        return "the password of the key is taken from $CHAT_KEY_PASSWORD, or asked for at a terminal"
    if isinstance(error, ServerChanged):
        return (
            "somebody may be in the middle; if you know that the server was replaced, go on with "
            f"--trust-server {error.found}"
        )
    return str(getattr(error, "hint", ""))


def start_error(error: Failure) -> StartError:
    """Return what ends a client because of an error, with its code and a hint."""
    return StartError(str(error), hint_for(error), code_of(error))
