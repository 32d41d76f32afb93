"""TLS 1.3 under a link (PROTOCOL.md section 15): the same bytes, encrypted.

OpenSSL works on memory here, never on the socket: one lock guards it, and is held by nobody who waits for the network.
(An SSLSocket that two threads use at once is not safe.) Ciphertext leaves in the order in which it was made: what the
socket does not take is kept, and goes out before anything else.
"""

from __future__ import annotations

import contextlib
import ssl
import threading

from certificates import certified_key, connector_context
from crypto.keys import BadKey, PublicKey
from display import visible
from transport import READ_BYTES, PlainTransport

_HANDSHAKE_READ = 4096  # bytes in one go: all that strangers make us keep must be little
# What is encrypted and sent in one go: four full records. Each call lets go of the interpreter's lock, and has to get
# it back. Of what the socket does not take, the link's queue goes on to count the plaintext.
_BATCH_BYTES = 4 * 16_384
# A peer can have TLS answer it (to a key update), and then not read the answers: beyond this, it is closed.
_UNSENT_MOST = 4 * _BATCH_BYTES


class TlsError(OSError):
    """Raised when a connection is no TLS 1.3 as section 15 wants it; the message is fit for people."""


class TlsTransport:
    """A connection inside TLS; see transport.Transport.

    Args:
        plain: what it goes over.
        context: of an acceptor; None for a connector.
    """

    secure = True

    def __init__(self, plain: PlainTransport, context: ssl.SSLContext | None = None) -> None:
        self._plain = plain
        self._accepts = context is not None
        self._key: PublicKey | None = None
        self._ended = False  # of the reader alone: nothing comes any more
        self._stopped = False  # nothing is to be read any more
        self._lock = threading.Lock()  # guards all below; never held over a call that waits
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = (context or connector_context()).wrap_bio(self._incoming, self._outgoing, self._accepts)
        self._begun = False
        self._unsent = b""  # ciphertext that the socket has not taken
        self._ahead = 0  # bytes of plaintext that `send_now` has encrypted, and has not said to be sent
        self._sending = False  # `send` has ciphertext in its hands, which nothing must overtake
        self._left = True  # TLS may have decrypted more than the last read had room for

    @property
    def peer(self) -> str:
        """The other end's address, for the log."""
        return self._plain.peer

    @property
    def channel_key(self) -> PublicKey | None:
        """The key that the acceptor has proved in TLS; None at the acceptor itself."""
        return self._key

    # --- the TLS handshake --------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Shake hands.

        Raises:
            TlsError: the peer does not speak TLS 1.3, closed, or has a key that section 4 does not allow.
        """
        while not self._shake_hands():
            if not self._wait_more(_HANDSHAKE_READ):
                raise TlsError("the connection was closed in the middle of the TLS handshake")
        if not self._accepts:
            try:
                self._key = certified_key(self._tls.getpeercert(binary_form=True) or b"")
            except BadKey as error:
                raise TlsError(f"the certificate of the other side is of no use: {error}") from error

    def _shake_hands(self) -> bool:
        """Go on with the handshake as far as what has come allows; True when it is done."""
        with self._lock:
            try:
                self._tls.do_handshake()
                self._begun = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                raise _explained(error, "no TLS 1.3 could be set up") from error
            finally:
                self._flush()
            return self._begun

    # --- reading ------------------------------------------------------------------------------------------------

    def receive(self, most: int = READ_BYTES) -> bytes:
        """Return up to `most` bytes, as soon as there are any; b"" at the end, be it announced or not.

        Whoever can cut the connection can do so between two frames or within one; section 2 treats them alike.
        """
        while not (self._ended or self._stopped):
            with self._lock:
                data = self._read(most)
            if data or self._ended:
                return data
            self._ended = not self._wait_more(most)
        return b""

    def _wait_more(self, most: int) -> bool:
        """Wait for ciphertext, and take it in; False at the end.

        Whether any is wanted is asked here, too: a peer could send what is of use to TLS alone, for ever, and that
        goes on to come in.
        """
        ciphertext = self._plain.receive(most)
        if self._stopped:
            return False
        with self._lock:
            self._incoming.write(ciphertext)
        return bool(ciphertext)

    def _read(self, room: int) -> bytes:
        """Return up to `room` bytes of what can be decrypted, and send what that gives rise to. `_lock` is held."""
        parts: list[bytes] = []
        try:
            # To ask TLS for what cannot be there costs as much as what is.
            while room and (self._left or self._incoming.pending):
                self._left = False
                part = self._tls.read(room)
                if not part:
                    self._ended = True  # the peer has announced it
                    break
                parts.append(part)
                room -= len(part)
            self._left = not room
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._ended = True  # so it is told once we have announced ours, too
        except ssl.SSLError as error:
            raise _explained(error, "TLS was broken") from error
        finally:
            self._flush()
        if len(self._unsent) + self._outgoing.pending > _UNSENT_MOST:
            raise TlsError("the peer has TLS say more than it reads")
        return b"".join(parts)

    # --- sending ------------------------------------------------------------------------------------------------

    def send_now(self, data: bytes | memoryview) -> int:
        """Send what the socket takes; of the rest, a part may be encrypted already."""
        view = memoryview(data)
        sent = 0
        with self._lock:
            while self._flush():
                sent += self._take_ahead(len(view) - sent)
                if sent == len(view):
                    break
                self._ahead = self._encrypt(view[sent : sent + _BATCH_BYTES])
        return sent

    def send(self, data: bytes | memoryview) -> None:
        """Send everything."""
        rest = memoryview(data)
        with self._lock:
            self._sending = True
            rest = rest[self._take_ahead(len(rest)) :]
        while True:
            with self._lock:
                while rest and self._outgoing.pending < _BATCH_BYTES:
                    rest = rest[self._encrypt(rest[:_BATCH_BYTES]) :]
                ciphertext = self._take_unsent()
                if not ciphertext:
                    # In the same moment in which nothing is left: else what the reader has to say would be left lying.
                    self._sending = False
                    return
            self._plain.send(ciphertext)

    def _take_ahead(self, most: int) -> int:
        """Return how many bytes of what is to be sent were encrypted before; several sends may have to tell of them."""
        taken = min(self._ahead, most)
        self._ahead -= taken
        return taken

    def _encrypt(self, data: memoryview) -> int:
        try:
            return self._tls.write(data)
        except ssl.SSLError as error:
            raise _explained(error, "TLS was broken") from error

    def _take_unsent(self) -> bytes:
        """Return all ciphertext that waits. `_lock` is held."""
        taken, self._unsent = self._unsent + self._outgoing.read(), b""
        return taken

    def _flush(self) -> bool:
        """Send ciphertext as far as the socket takes it; True when none is left. `_lock` is held."""
        if self._sending:
            return False
        if self._outgoing.pending:
            self._unsent += self._outgoing.read()
        while self._unsent:
            sent = self._plain.send_now(self._unsent)
            if not sent:
                return False
            self._unsent = self._unsent[sent:]
        return True

    # --- the end ------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Send a close_notify, if the socket takes it, and close our direction."""
        with self._lock:
            if self._begun and not self._sending:
                with contextlib.suppress(ssl.SSLError):  # ours is written; that the peer's has not come is no failure
                    self._tls.unwrap()
                self._flush()
        self._plain.finish()

    def stop_reading(self) -> None:
        """Close the peer's direction alone, which wakes a blocked recv, of the TLS handshake's too."""
        self._stopped = True
        self._plain.stop_reading()

    def shut(self) -> None:
        """Close both directions, which wakes a blocked recv or send."""
        self._plain.shut()

    def close(self) -> None:
        """Close the socket."""
        self._plain.close()


def _explained(error: ssl.SSLError, what: str) -> TlsError:
    # Of the error, OpenSSL's own name for it alone, such as WRONG_VERSION_NUMBER.
    reason = (error.reason or type(error).__name__).replace("_", " ").lower()
    return TlsError(f"{what}: {visible(reason)}")
