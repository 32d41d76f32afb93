"""What errors mean for the exit code."""

from __future__ import annotations

import unittest

import errors
import socp
from crypto.keys import BadKey, KeyFileError, WrongPassword
from errors import AttachRefused, ChatError, ServerChanged
from exits import Exit
from failures import Failure, code_of, code_of_wire, start_error
from profiles import NoProfileName, ProfileError


class FailuresTest(unittest.TestCase):
    """Codes and hints."""

    def test_codes(self) -> None:
        """Each error has the code of its kind."""
        expected: list[tuple[Failure, Exit]] = [
            (errors.NotConnected(""), Exit.NO_CONNECTION),
            (AttachRefused(socp.NOT_ALLOWED, ""), Exit.NO_CONNECTION),
            (AttachRefused(socp.INVALID_SIG, ""), Exit.BAD_KEY),
            (AttachRefused(socp.BAD_KEY, ""), Exit.BAD_KEY),
            (ServerChanged("h:1", "old", "new"), Exit.BAD_KEY),
            (errors.NoAnswer(""), Exit.TIMED_OUT),
            (errors.ServerBusy(""), Exit.TIMED_OUT),
            (errors.UserUnknown(""), Exit.NO_SUCH_USER),
            (errors.UserAmbiguous(""), Exit.NO_SUCH_USER),
            (errors.NameTaken(""), Exit.BAD_KEY),
            (errors.HistoryLocked("", ""), Exit.BAD_KEY),
            (errors.UserBlocked(""), Exit.FAILURE),
            (errors.TextRefused(""), Exit.FAILURE),
            (ProfileError(""), Exit.FAILURE),
            (NoProfileName(""), Exit.USAGE),
            (BadKey(""), Exit.BAD_KEY),
            (KeyFileError(""), Exit.BAD_KEY),
            (WrongPassword(""), Exit.BAD_KEY),
            (ChatError(""), Exit.FAILURE),
        ]
        for error, code in expected:
            with self.subTest(type(error).__name__):
                self.assertEqual(code_of(error), code)

    def test_wire_codes(self) -> None:
        """So has each error code of the protocol."""
        codes = (socp.USER_NOT_FOUND, socp.INVALID_SIG, socp.BAD_KEY, socp.TIMEOUT, socp.MAILBOX_FULL, "\x1b")
        self.assertEqual([int(code_of_wire(code)) for code in codes], [4, 5, 5, 6, 1, 1])

    def test_hints(self) -> None:
        """What would help is said beside the error, in the error's own words where it has some."""
        self.assertIn("$CHAT_KEY_PASSWORD", start_error(WrongPassword("wrong")).hint)
        changed = start_error(ServerChanged("h:1", "old", "new-id"))
        self.assertEqual((changed.code, "--trust-server new-id" in changed.hint), (5, True))
        locked = start_error(errors.HistoryLocked("locked", "do this"))
        self.assertEqual((str(locked), locked.hint, locked.code), ("locked", "do this", Exit.BAD_KEY))
        self.assertEqual(start_error(ProfileError("in use")).hint, "")
