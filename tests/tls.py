"""What tests do TLS with: the keys of the vectors as acceptors have them, and ways to be less strict than they are."""

from __future__ import annotations

import datetime
import functools
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certificates import acceptor_context
from crypto.keys import write_key_file
from tests.vectors import key


@functools.cache
def context_of(name: str) -> ssl.SSLContext:
    """Return what an acceptor with a key of the vectors does TLS with."""
    with tempfile.TemporaryDirectory(prefix="socp-test-") as directory:
        path = Path(directory) / "key.pem"
        write_key_file(path, key(name))
        return acceptor_context(key(name), path, "")


def lax_context() -> ssl.SSLContext:
    """Return what a client does TLS with that takes any version, and checks nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def context_of_another_kind() -> ssl.SSLContext:
    """Return what an acceptor does TLS with whose key is none of ours: on an elliptic curve."""
    private, name, day = ec.generate_private_key(ec.SECP256R1()), x509.Name([]), datetime.datetime(2000, 1, 1)
    certificate = x509.CertificateBuilder(name, name, private.public_key(), 1, day, day).sign(private, hashes.SHA256())
    pem = serialization.Encoding.PEM
    key_pem = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory(prefix="socp-test-") as directory:
        path = Path(directory) / "both.pem"
        path.write_bytes(certificate.public_bytes(pem) + key_pem)
        context.load_cert_chain(path, password=lambda: "")
    return context
