"""Endpoints: what is one, what is none and why, and which are the same."""

import re
import socket

import pytest

from paxosd.net.endpoints import (
    Endpoint,
    can_bind,
    plain_address,
    same_endpoint,
    zone_fault,
    zone_is_missing,
)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("tcp://127.0.0.1:7401", "127.0.0.1", 7401),
        ("tcp://db-1.example:1", "db-1.example", 1),
        ("tcp://localhost:65535", "localhost", 65_535),
        ("tcp://DB_1.Example.:80", "DB_1.Example.", 80),
        ("tcp://10x:80", "10x", 80),
        ("tcp://[::1]:7401", "::1", 7401),
        ("tcp://[2001:db8::7]:7401", "2001:db8::7", 7401),
        ("tcp://[2001:DB8:0:0:0:0:0:7]:7401", "2001:DB8:0:0:0:0:0:7", 7401),
        ("tcp://[::ffff:192.0.2.1]:7401", "::ffff:192.0.2.1", 7401),
        ("tcp://[fe80::1%eth0]:7401", "fe80::1%eth0", 7401),
        ("tcp://0.0.0.0:7401", "0.0.0.0", 7401),
        ("tcp://[::]:7401", "::", 7401),
    ],
)
def test_endpoints(text, host, port):
    endpoint = Endpoint.parse(text)
    assert endpoint == (host, port)
    assert str(endpoint) == text, "it is written as it was read"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "reads tcp://HOST:PORT"),
        ("127.0.0.1:7401", "reads tcp://HOST:PORT"),
        ("udp://127.0.0.1:7401", "reads tcp://HOST:PORT"),
        ("tcp://127.0.0.1", "reads tcp://HOST:PORT"),
        ("tcp://127.0.0.1:", "reads tcp://HOST:PORT"),
        ("tcp://127.0.0.1:x", "reads tcp://HOST:PORT"),
        ("tcp://:7401", "reads tcp://HOST:PORT"),
        ("tcp://a b:7401", "reads tcp://HOST:PORT"),
        ("tcp://a/b:7401", "reads tcp://HOST:PORT"),
        ("tcp://127.0.0.1:7401/", "reads tcp://HOST:PORT"),
        ("tcp://127.0.0.1:7401\n", "reads tcp://HOST:PORT"),
        ("tcp://127.0.0.1:0", "port 0 is outside"),
        ("tcp://[::1]:65536", "port 65536 is outside"),
        ("tcp://127.0.0.1:7000011", "port 7000011 is outside"),
        ("tcp://::1:7401", "an IPv6 address stands in brackets: tcp://[::1]:7401"),
        ("tcp://2001:db8::7:7401", "stands in brackets: tcp://[2001:db8::7]:7401"),
        ("tcp://2001:db8::beef", "stands in brackets: tcp://[2001:db8::beef]:PORT"),
        ("tcp://[::1]", "reads tcp://HOST:PORT"),
        ("tcp://[::1:7401", "reads tcp://HOST:PORT"),
        ("tcp://[]:7401", "reads tcp://HOST:PORT"),
        ("tcp://[::g]:7401", "::g is not an IPv6 address"),
        ("tcp://[127.0.0.1]:7401", "127.0.0.1 is not an IPv6 address"),
        ("tcp://[localhost]:7401", "localhost is not an IPv6 address"),
        ("tcp://256.0.0.1:7401", "256.0.0.1 is not an IPv4 address"),
        ("tcp://127.1:7401", "127.1 is not an IPv4 address"),
        ("tcp://127.0.0.01:7401", "127.0.0.01 is not an IPv4 address"),
        ("tcp://*:7401", 'set node.bind_host to "*"'),
    ],
)
def test_what_is_none(text, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        Endpoint.parse(text)


def test_brackets_are_not_proposed_for_ipv4():
    with pytest.raises(ValueError, match=r"reads tcp://HOST:PORT\Z"):
        Endpoint.parse(f"tcp://127.0.0.1:{'9' * 50}")


@pytest.mark.parametrize(
    ("text", "is_address", "is_wildcard"),
    [
        ("tcp://127.0.0.1:1", True, False),
        ("tcp://[::1]:1", True, False),
        ("tcp://[fe80::1%eth0]:1", True, False),
        ("tcp://localhost:1", False, False),
        ("tcp://db.example:1", False, False),
        ("tcp://0.0.0.0:1", True, True),
        ("tcp://[::]:1", True, True),
        ("tcp://[0:0:0:0:0:0:0:0]:1", True, True),
    ],
)
def test_addresses_and_names(text, is_address, is_wildcard):
    endpoint = Endpoint.parse(text)
    assert endpoint.is_address is is_address
    assert endpoint.is_wildcard is is_wildcard


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("tcp://[::1]:1", "tcp://[0:0:0:0:0:0:0:1]:1", True),
        ("tcp://[2001:DB8::7]:1", "tcp://[2001:db8::7]:1", True),
        ("tcp://[::ffff:127.0.0.1]:1", "tcp://127.0.0.1:1", True),
        ("tcp://[::1]:1", "tcp://[::1]:2", False),
        ("tcp://127.0.0.1:1", "tcp://127.0.0.2:1", False),
        ("", "tcp://127.0.0.2:1", False),
    ],
)
def test_the_same_in_another_form(one, other, same):
    assert same_endpoint(one, other) is same


def test_names_are_the_same_whatever_their_case():
    one, other = Endpoint.parse("tcp://DB.example.:1"), Endpoint.parse("tcp://db.EXAMPLE:1")
    assert one.canonical == other.canonical
    assert one != other


@pytest.mark.parametrize(
    "host", ["*", "0.0.0.0", "::", "[::]", "[::1]", "fe80::1%lo", "db.example"]
)
def test_what_can_be_listened_on(host):
    assert can_bind(host)


@pytest.mark.parametrize("host", ["", "[::1", "::g", "256.1.1.1", "a b", "tcp://x", "*:1"])
def test_what_cannot(host):
    assert not can_bind(host)


def test_the_family_of_an_address():
    assert Endpoint.parse("tcp://[::1]:1").family is socket.AF_INET6
    assert Endpoint.parse("tcp://127.0.0.1:1").family is socket.AF_INET


def test_a_mapped_address_reads_as_people_know_it():
    assert plain_address("::ffff:192.0.2.1") == "192.0.2.1"
    assert plain_address("::1") == "::1"
    assert plain_address("192.0.2.1") == "192.0.2.1"
    assert plain_address("unknown") == "unknown"


@pytest.mark.parametrize(
    ("host", "is_missing"),
    [
        ("fe80::1", True),
        ("[fe80::1]", True),
        ("febf::1", True),
        ("fe80::1%eth0", False),
        ("[fe80::1%2]", False),
        ("fd00::1", False),
        ("::1", False),
        ("169.254.1.1", False),
        ("db.example", False),
        ("*", False),
    ],
)
def test_a_link_local_address_needs_its_zone(host, is_missing):
    assert zone_is_missing(host) is is_missing


def test_a_zone_is_an_interface_of_this_machine():
    number, name = socket.if_nameindex()[0]
    assert zone_fault(f"fe80::1%{name}") == ""
    assert zone_fault(f"[fe80::1%{number}]") == ""
    assert zone_fault("::1") == ""
    words = zone_fault("fe80::1%nope0")
    assert 'no interface "nope0"' in words
    assert name in words
