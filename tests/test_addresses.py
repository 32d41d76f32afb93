"""Addresses as people write them."""

from __future__ import annotations

import contextlib
import socket
import unittest

from addresses import Address, AddressError, is_host, is_loopback, is_wildcard, listen, read_address, source_of
from tests.sockets import EVERYWHERE


class AddressTest(unittest.TestCase):
    """host:port."""

    def test_read(self) -> None:
        """IPv4, IPv6 in brackets and names are read, and written the same way."""
        for text, address in (
            ("127.0.0.1:8000", Address("127.0.0.1", 8000)),
            ("[::1]:1", Address("::1", 1)),
            ("[fe80::1%eth0]:65535", Address("fe80::1%eth0", 65535)),
            ("example.org:80", Address("example.org", 80)),
        ):
            with self.subTest(text):
                self.assertEqual(read_address(f" {text}\n"), address)
                self.assertEqual(str(address), text)

    def test_port_alone(self) -> None:
        """A port alone is taken where a host is given to go with it, and nowhere else."""
        self.assertEqual(read_address("9001", "127.0.0.1"), Address("127.0.0.1", 9001))
        self.assertRaises(AddressError, read_address, "9001")

    def test_port_zero(self) -> None:
        """Port 0 is taken only where any port will do."""
        self.assertEqual(read_address("localhost:0", any_port=True).port, 0)
        self.assertRaises(AddressError, read_address, "localhost:0")

    def test_refused(self) -> None:
        """What is no address is refused with what one looks like."""
        for text in (
            *("", ":", "host", "host:", ":80", "::1:80", "[::1]", "[127.0.0.1]:1", "[x]:1", "a b:1", "x:65536"),
            *("x:-1", "x:1e3", "x:\u0661", "x:000001", "-x:1", "x..y:1", "\u00e9:1", "a" * 254 + ":1", "127.1:5"),
        ):
            with self.subTest(text=text), self.assertRaises(AddressError):
                read_address(text, "127.0.0.1" if text else None)

    def test_wildcards(self) -> None:
        """Every spelling of "all addresses" is recognised, and nothing else."""
        for host in (EVERYWHERE, "::", "0:0::0", "0", "*", "", "::%lo", f"::ffff:{EVERYWHERE}"):
            self.assertTrue(is_wildcard(host), host)
        for host in ("127.0.0.1", "::1", "0.example.org"):
            self.assertFalse(is_wildcard(host), host)

    def test_loopback(self) -> None:
        """Addresses of this machine itself are told from all others, and from names."""
        for host in ("127.0.0.1", "127.255.0.9", "::1", "::1%lo", "::ffff:127.0.0.1"):
            self.assertTrue(is_loopback(host), host)
        for host in (EVERYWHERE, "::", "128.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", "localhost", "127.1", ""):
            self.assertFalse(is_loopback(host), host)

    def test_hosts(self) -> None:
        """Names are those that resolvers take for names."""
        for host in ("a", "a-b.c_d.", "x" * 63, "1.example"):
            self.assertTrue(is_host(host), host)
        for host in ("::1%" + "\u00e9" * 5, "::1%", "::1%a b", "::1%" + "x" * 33, "::1%\n", "a%b"):
            self.assertFalse(is_host(host), host)
        for host in ("", ".", "x" * 64, "a.", "1.2.3", "0x7f.1", "0x0", "a.0X1f"):
            self.assertEqual(is_host(host), host == "a.", host)


class SourceTest(unittest.TestCase):
    """What limits count an address by."""

    def test_sources(self) -> None:
        """IPv4 counts as it is, also where it came through IPv6; IPv6 by its /64 network, but for ::1."""
        for host, source in (
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("::1", "::1"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("", ""),
        ):
            with self.subTest(host):
                self.assertEqual(source_of(host), source)


class ListenTest(unittest.TestCase):
    """Listening sockets."""

    def test_families(self) -> None:
        """A free port is taken, over IPv4, IPv6 and by name, and can be connected to."""
        for host in ("127.0.0.1", "::1", "localhost"):
            with self.subTest(host), contextlib.closing(listen(Address(host, 0))) as listener:
                port = listener.getsockname()[1]
                socket.create_connection((host, port), timeout=10).close()

    def test_taken(self) -> None:
        """A port that is taken, and a host that is not ours, are errors."""
        with contextlib.closing(listen(Address("127.0.0.1", 0))) as listener:
            port = listener.getsockname()[1]
            self.assertRaises(OSError, listen, Address("127.0.0.1", port))
        self.assertRaises(OSError, listen, Address("203.0.113.1", 0))
