"""RSA-4096 keys, the identifiers made from them, and the files that private keys rest in.

PROTOCOL.md section 4 (keys) and 4.1 (identifiers). An identifier certifies its own key: whoever holds an id can
tell the right key from a substitute, and no server needs to be believed.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import secrets
import shlex
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from crypto.encoding import EncodingError, decode_base64url, encode_base64url
from crypto.moduli import MODULUS_BITS, fault

PUBLIC_EXPONENT = 65537
# The one encoding of such a key is always as long: a stranger's bytes of another length reach no parser.
_TEXT_LENGTH = 734
# A parsed key takes about 8 kB: this is 32 MiB at most, and covers every user of a busy server.
PARSED_KEYS_KEPT = 4096
# A PKCS#8 PEM of an RSA-4096 key is 3.3 kB; anything much larger is not one.
_KEY_FILE_MOST = 64 * 1024
_PASSWORD_MOST = 1023  # bytes; what OpenSSL takes


class KeyProblem(Exception):
    """Base of what can be wrong with a key.

    KeyProblem
     +- BadKey          a public key that section 4 does not allow
     +- KeyFileError    a private key's file that cannot or must not be used; says what mends it
         +- WrongPassword   the file is sound, the password is not its own
    """


class BadKey(KeyProblem):
    """Raised for a key that is not RSA-4096 with exponent 65537 and a modulus without a fault, in its one encoding."""


class KeyFileError(KeyProblem):
    """Raised when a private key's file cannot be read, written or trusted."""


class WrongPassword(KeyFileError):
    """Raised when the password does not open the key file."""


class PublicKey:
    """A public key that has passed section 4: its DER, its text on the wire, and its identifier.

    Raises:
        BadKey: it does not pass; see crypto.moduli.
    """

    __slots__ = ("der", "id", "rsa", "text")

    def __init__(self, key: rsa.RSAPublicKey) -> None:
        numbers = key.public_numbers()
        if numbers.e != PUBLIC_EXPONENT:
            raise BadKey(f"not an RSA key of {MODULUS_BITS} bits with exponent {PUBLIC_EXPONENT}: of another exponent")
        if wrong := fault(numbers.n):
            raise BadKey(f"not an RSA key of {MODULUS_BITS} bits with exponent {PUBLIC_EXPONENT}: {wrong}")
        self.rsa = key
        self.der: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.text: str = encode_base64url(self.der)
        self.id: str = identifier(self.der)


def identifier(der: bytes) -> str:
    """Return the identifier of a key (section 4.1).

    Args:
        der: the key as DER SubjectPublicKeyInfo.
    """
    return str(uuid.UUID(bytes=hashlib.sha256(der).digest()[:16], version=4))


def parse_public_key(text: str) -> PublicKey:
    """Parse a public key from its text on the wire, base64url(DER).

    Raises:
        BadKey: anything but the one DER encoding of an RSA key of 4,096 bits with exponent 65537, or a modulus with a
            fault (crypto.moduli).
    """
    if len(text) != _TEXT_LENGTH:
        raise BadKey(f"not a public key in DER: it has {len(text):,} characters, not {_TEXT_LENGTH}")
    try:
        der = decode_base64url(text)
        key = serialization.load_der_public_key(der)
    except (EncodingError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKey("not a public key in DER") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise BadKey("not an RSA key")
    public = PublicKey(key)
    if public.der != der:
        raise BadKey("not the one DER encoding of the key")
    return public


@functools.lru_cache(maxsize=PARSED_KEYS_KEPT)
def read_public_key(text: str) -> PublicKey:
    """Do the same, and keep what has been parsed, since most keys are needed again.

    Raises:
        BadKey: as there.
    """
    return parse_public_key(text)


class KeyPair:
    """A private key with its public half: the identity of a user, a server or an introducer."""

    __slots__ = ("private", "public")

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        self.private = private
        self.public = PublicKey(private.public_key())

    @property
    def id(self) -> str:
        """The identifier that the key certifies."""
        return self.public.id

    @classmethod
    def generate(cls) -> KeyPair:
        """Make a new key; this takes about a second."""
        return cls(rsa.generate_private_key(PUBLIC_EXPONENT, MODULUS_BITS))

    @classmethod
    def from_pem(cls, pem: bytes, password: str = "") -> KeyPair:
        """Read a PKCS#8 PEM; this checks the key's numbers, and takes about 0.2 s.

        Raises:
            WrongPassword: the password is not the one it was written with, or one is missing or too many.
            KeyFileError: these bytes are not such a key.
        """
        secret = _password_bytes(password)
        encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in pem
        if not encrypted and b"-----BEGIN PRIVATE KEY-----" not in pem:
            raise KeyFileError("not a private key in PKCS#8 PEM")
        if encrypted and not secret:
            raise WrongPassword("the key is protected by a password, and none was given")
        if secret and not encrypted:
            # Whoever gives a password believes that the key is protected. Do not leave them in that belief.
            raise WrongPassword("a password was given, but the key is not protected by one")
        try:
            private = serialization.load_pem_private_key(pem, secret)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            if encrypted and isinstance(error, ValueError):
                # One wrong password in 256 decrypts to what looks whole, and is no key: nobody can tell the two apart.
                raise WrongPassword("wrong key password (or a damaged key)") from error
            raise KeyFileError("not a private key in PKCS#8 PEM") from error
        if not isinstance(private, rsa.RSAPrivateKey):
            raise KeyFileError("not an RSA key")
        try:
            return cls(private)
        except BadKey as error:
            raise KeyFileError(str(error)) from error

    def to_pem(self, password: str = "") -> bytes:
        """Return the key as PKCS#8 PEM, encrypted when there is a password.

        Raises:
            WrongPassword: nothing can be encrypted with that.
        """
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if secret := _password_bytes(password):
            encryption = serialization.BestAvailableEncryption(secret)
        return self.private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _password_bytes(password: str) -> bytes | None:
    """Return a password as bytes, as it was typed; None for none.

    Two spellings of an accent (NFC and NFD) are two passwords: to make them one now would lock out whoever has a key.
    """
    try:
        secret = password.encode("utf-8")
    except UnicodeEncodeError as error:
        raise WrongPassword("the password is not text in UTF-8") from error
    if len(secret) > _PASSWORD_MOST:
        raise WrongPassword(f"a password has at most {_PASSWORD_MOST:,} bytes, this one {len(secret):,}")
    return secret or None


def read_key_file(path: Path, password: str = "") -> KeyPair:
    """Read a private key, after checking that nobody else could have read or placed it.

    Raises:
        FileNotFoundError: there is no such file.
        WrongPassword: see KeyPair.from_pem.
        KeyFileError: a symbolic link, not a regular file, another user's, readable by others, unreadable, or not a key.
    """
    quoted = shlex.quote(str(path))
    try:
        # O_NONBLOCK: a FIFO in the key's place must not hang us.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise KeyFileError(
                f"{path} is a symbolic link, which could lead anywhere; put the key itself there: "
                f'mv -- "$(readlink -f {quoted})" {quoted}'
            ) from error
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path} is not a regular file; move it away: mv -- {quoted} {quoted}.old")
        if status.st_uid != os.geteuid():
            raise KeyFileError(f"{path} belongs to another user, who may know the key; if not: chown $(id -u) {quoted}")
        if status.st_mode & 0o077:
            raise KeyFileError(f"{path} can be read or written by others; mend it with: chmod 600 {quoted}")
        if not 0 < status.st_size <= _KEY_FILE_MOST:
            raise KeyFileError(f"{path}: not a private key in PKCS#8 PEM: it has {status.st_size:,} bytes")
        pem = os.read(descriptor, _KEY_FILE_MOST)
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from error
    finally:
        os.close(descriptor)
    try:
        return KeyPair.from_pem(pem, password)
    except WrongPassword as error:
        raise WrongPassword(f"{path}: {error}") from error
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error}") from error


def _check_directory(directory: Path) -> None:
    """See that nobody else can take a key out of its directory, and so have a new identity made in its place."""
    status = directory.stat()
    if status.st_uid not in (0, os.geteuid()):
        raise KeyFileError(f"{directory} belongs to another user, and is no place for a key; choose another")
    # In a directory with the sticky bit, as /tmp has, nobody can rename or remove what is another's.
    if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
        quoted = shlex.quote(str(directory))
        raise KeyFileError(f"{directory} can be written by others, who could remove the key; chmod go-w {quoted}")


def write_key_file(path: Path, pair: KeyPair, password: str = "") -> None:
    """Write a private key to a new file of mode 0600, whole or not at all.

    Raises:
        WrongPassword: nothing can be encrypted with that.
        KeyFileError: the file exists already, or cannot be written.
    """
    with _draft(path, pair, password) as draft:
        os.link(draft, path)


@contextlib.contextmanager
def replacing_key_file(path: Path, pair: KeyPair, password: str = "") -> Iterator[None]:
    """Put a private key in the place of the file that is there, once what is done inside has worked out.

    All that can fail of it is done before that, but for the change of a name.

    Raises:
        WrongPassword: nothing can be encrypted with that.
        KeyFileError: the file cannot be written.
    """
    with _draft(path, pair, password) as draft:
        yield
        os.replace(draft, path)
        _flush_directory(path.parent)


@contextlib.contextmanager
def _draft(path: Path, pair: KeyPair, password: str) -> Iterator[Path]:
    """Write a private key to a file of mode 0600 beside `path`, which is gone at the end.

    The file is created with its mode, never changed to it: there is no moment at which others could open it.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    pem = pair.to_pem(password)
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(descriptor)
            yield draft
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}") from error


def remove_drafts(path: Path) -> None:
    """Remove what a program that was killed while it wrote a key has left beside it.

    Raises:
        KeyFileError: it cannot be removed.
    """
    try:
        for draft in path.parent.glob(f".{path.name}.*"):
            draft.unlink()
    except OSError as error:
        raise KeyFileError(f"cannot remove a draft of {path}: {error.strerror}") from error


def _flush_directory(directory: Path) -> None:
    """Have a change of names survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_key_file(
    path: Path, password: str | Callable[[bool], str] = "", generate: Callable[[], KeyPair] = KeyPair.generate
) -> KeyPair:
    """Read the private key at `path`, or make one there, in a directory of mode 0700.

    Args:
        path: the key's file.
        password: the password, or a function that asks for it and is told whether it is a new one.
        generate: makes the new key; tests pass one that they have already.

    Raises:
        WrongPassword: the password does not open the key that is there.
        KeyFileError: the file or its directory cannot or must not be used.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeyFileError(f"cannot make the directory {path.parent}: {error.strerror}") from error
    _check_directory(path.parent)
    known = os.path.lexists(path)
    secret = password if isinstance(password, str) else password(not known)
    if known:
        return read_key_file(path, secret)
    _password_bytes(secret)  # before the key is made, which takes a while
    pair = generate()
    write_key_file(path, pair, secret)
    return pair
