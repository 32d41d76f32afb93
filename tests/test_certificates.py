"""Certificates made from identity keys, and what TLS is done with them."""

from __future__ import annotations

import datetime
import ssl
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from certificates import acceptor_context, certified_key, connector_context, make_certificate
from crypto.keys import BadKey, write_key_file
from tests.vectors import key


def der_of(pem: bytes) -> bytes:
    """Return a certificate as a peer sends it."""
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


class CertificateTest(unittest.TestCase):
    """What is in one."""

    def test_contents(self) -> None:
        """It carries the key, names its id, is signed by the key itself, and is valid whatever the time is."""
        certificate = x509.load_pem_x509_certificate(make_certificate(key("server")))
        self.assertEqual(certificate.subject.rfc4514_string(), f"CN={key('server').id}")
        self.assertEqual(certificate.issuer, certificate.subject)
        certificate.verify_directly_issued_by(certificate)
        now = datetime.datetime.now(datetime.timezone.utc)
        self.assertLess(certificate.not_valid_before_utc, now - datetime.timedelta(days=20 * 365))
        self.assertGreater(certificate.not_valid_after_utc, now + datetime.timedelta(days=1_000 * 365))
        read = certified_key(der_of(make_certificate(key("server"))))
        self.assertEqual((read.id, read.der), (key("server").id, key("server").public.der))

    def test_other_keys(self) -> None:
        """What is no certificate, and a certificate of a key that section 4 does not allow, are bad keys."""
        good = der_of(make_certificate(key("server")))
        for der in (b"", b"junk", good[:-300], good[:20] + b"\xff" * 20 + good[40:]):
            self.assertRaises(BadKey, certified_key, der)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
        numbers = key("server").public.rsa.public_numbers()
        others = (
            ed25519.Ed25519PrivateKey.generate().public_key(),
            ec.generate_private_key(ec.SECP256R1()).public_key(),
            rsa.RSAPublicNumbers(3, numbers.n).public_key(),
            rsa.RSAPublicNumbers(65537, numbers.n >> 2048 | 1).public_key(),
        )
        for other in others:
            day = datetime.datetime(2000, 1, 1)
            builder = x509.CertificateBuilder(name, name, other, 1, day, day)
            certificate = builder.sign(key("mallory").private, hashes.SHA256())
            with self.assertRaises(BadKey):
                certified_key(certificate.public_bytes(serialization.Encoding.DER))


class ContextTest(unittest.TestCase):
    """What TLS is done with."""

    def setUp(self) -> None:
        """Make a directory."""
        directory = tempfile.TemporaryDirectory(prefix="socp-test-")
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "key.pem"

    def test_nothing_older(self) -> None:
        """Both sides speak TLS 1.3 and nothing older, and a session is never taken up again."""
        write_key_file(self.path, key("server"))
        for context in (acceptor_context(key("server"), self.path, ""), connector_context()):
            self.assertEqual(context.minimum_version, ssl.TLSVersion.TLSv1_3)
            self.assertIn(context.maximum_version, (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.MAXIMUM_SUPPORTED))
            self.assertTrue(context.options & ssl.OP_NO_COMPRESSION)
        self.assertEqual(acceptor_context(key("server"), self.path, "").num_tickets, 0)
        self.assertIs(connector_context(), connector_context())

    def test_password(self) -> None:
        """A key with a password stays so: what is written beside it holds neither the password nor the key."""
        write_key_file(self.path, key("server"), "p\u00e4ssword \u2713")
        acceptor_context(key("server"), self.path, "p\u00e4ssword \u2713")
        written = {path.name: path.read_bytes() for path in self.path.parent.iterdir()}
        self.assertEqual(set(written), {"key.pem", "certificate.pem"})
        for content in written.values():
            self.assertNotIn("p\u00e4ssword".encode(), content)
            self.assertNotIn(b"BEGIN PRIVATE KEY", content)
            self.assertNotIn(b"BEGIN RSA PRIVATE KEY", content)

    def test_wrong_password(self) -> None:
        """A wrong password, or none, is an error and no question that the terminal is asked."""
        write_key_file(self.path, key("server"), "right")
        with mock.patch("builtins.input", side_effect=AssertionError):
            for password in ("", "wrong"):
                self.assertRaises(OSError, acceptor_context, key("server"), self.path, password)

    def test_another_key(self) -> None:
        """A key file that was exchanged since it was read is refused."""
        write_key_file(self.path, key("server2"))
        self.assertRaises(OSError, acceptor_context, key("server"), self.path, "")

    def test_written_anew(self) -> None:
        """What lies in the certificate's place is replaced, and a link there is not followed."""
        write_key_file(self.path, key("server"))
        target = self.path.with_name("elsewhere")
        target.write_text("not to be touched")
        self.path.with_name("certificate.pem").symlink_to(target)
        acceptor_context(key("server"), self.path, "")
        self.assertFalse(self.path.with_name("certificate.pem").is_symlink())
        self.assertEqual(target.read_text(), "not to be touched")
