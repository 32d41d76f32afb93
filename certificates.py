"""Certificates made from identity keys, and what TLS is to be done with them (PROTOCOL.md section 15).

Nobody vouches for a certificate here: it carries a key into the TLS handshake, which proves that whoever answers has
its private half. Whose key that is, the handshake of section 5 tells.
"""

from __future__ import annotations

import datetime
import functools
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from crypto.encoding import encode_base64url
from crypto.keys import BadKey, KeyPair, PublicKey, read_public_key
from files import replace_file

# No clock matters: nobody looks at these.
_VALID_FROM = datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc)
_VALID_UNTIL = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.timezone.utc)  # RFC 5280: it has no end
_HASH = hashes.SHA256()


def make_certificate(pair: KeyPair) -> bytes:
    """Return a certificate of a key, signed by that key, as PEM. Takes an RSA operation."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, pair.id)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(pair.public.rsa)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_VALID_FROM)
        .not_valid_after(_VALID_UNTIL)
        # PSS, as everything that this key signs: it is used with one padding alone.
        .sign(pair.private, _HASH, rsa_padding=padding.PSS(padding.MGF1(_HASH), padding.PSS.DIGEST_LENGTH))
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def certified_key(der: bytes) -> PublicKey:
    """Return the key in a certificate; whose it is, and that it is its own, is for others to check.

    Args:
        der: the certificate, as the peer has sent it.

    Raises:
        BadKey: this is no certificate, or its key is none that section 4 allows.
    """
    try:
        key = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise BadKey("not a certificate with a public key") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise BadKey("not an RSA key")
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return read_public_key(encode_base64url(spki))


def acceptor_context(pair: KeyPair, key_file: Path, password: str) -> ssl.SSLContext:
    """Return what an acceptor does TLS with. Its certificate is put beside the key, since OpenSSL reads files alone.

    Args:
        pair: its identity.
        key_file: where the private key rests, encrypted if there is a password.
        password: its password, or the empty string.

    Raises:
        OSError: the certificate cannot be written, or OpenSSL does not take one of the two.
    """
    certificate = key_file.with_name("certificate.pem")
    replace_file(certificate, make_certificate(pair))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_COMPRESSION
    context.num_tickets = 0  # there is no resumption: each connection proves the key anew
    # Always with a callback: without one, OpenSSL would ask the terminal for the password of an encrypted key.
    context.load_cert_chain(certificate, key_file, lambda: password)
    return context


@functools.cache
def connector_context() -> ssl.SSLContext:
    """Return what a connector does TLS with: it checks no name and no authority, but the key itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_COMPRESSION
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
