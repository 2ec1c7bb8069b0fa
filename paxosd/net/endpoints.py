"""``tcp://HOST:PORT``: the only form of endpoint that a cluster uses.

HOST is a name, an IPv4 address, or an IPv6 address in brackets (``[fe80::1%eth0]`` with its zone,
for a link-local one); PORT is 1 … 65535. Sockets are given addresses alone: what turns a name into
addresses is ``resolver.py``.
"""

import re
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple, Self

_FORM = re.compile(r"tcp://(\[[^\[\]/]+\]|[A-Za-z0-9._-]+):([0-9]{1,20})")
_BARE_IPV6 = re.compile(r"tcp://([0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%[A-Za-z0-9._-]+)?)")
_EVERYWHERE = re.compile(r"tcp://\*(:[0-9]+)?")
_NUMBERS = re.compile(r"[0-9.]+")

EVERYWHERE = "*"
"""The host to bind to for every interface, IPv4 and IPv6."""


class Endpoint(NamedTuple):
    """``host`` is without brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError with words for people."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(
                f'"{text}" is not an endpoint, which reads tcp://HOST:PORT{_hint(text)}'
            )
        host, port = match[1], int(match[2])
        if not 1 <= port <= 65_535:
            raise ValueError(f'"{text}": port {port} is outside 1 … 65535')
        if host.startswith("["):
            host = host[1:-1]
            try:
                IPv6Address(host)
            except ValueError:
                raise ValueError(f'"{text}": {host} is not an IPv6 address') from None
        elif _NUMBERS.fullmatch(host):
            try:
                IPv4Address(host)
            except ValueError:
                raise ValueError(f'"{text}": {host} is not an IPv4 address') from None
        return cls(host, port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"

    def on_host(self, host: str) -> "Endpoint":
        """The same port on another host; brackets around an IPv6 address may be there or not."""
        return Endpoint(host.strip("[]"), self.port)

    @property
    def canonical(self) -> "Endpoint":
        """Equal for two ways to write the same host: a name in lower case without its last dot, an
        address in its shortest form."""
        host = str(ip_address(self.host)) if self.is_address else self.host.lower().rstrip(".")
        return Endpoint(host, self.port)

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address, so that no name has to be resolved."""
        return is_address(self.host)

    @property
    def family(self) -> socket.AddressFamily:
        """The kind of socket for the host, which is an address."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def is_wildcard(self) -> bool:
        """Whether the host means "every interface", to which nobody can connect."""
        return self.is_address and ip_address(self.host).is_unspecified


def parse_contact(text: str) -> Endpoint:
    """An endpoint that other machines can connect to, as a member has three. Raises ValueError
    with words for people: it is none, or names no single host, or not the interface."""
    endpoint = Endpoint.parse(text)
    if endpoint.is_wildcard:
        raise ValueError(
            f"nobody can connect to {endpoint}; name the host here, and set node.bind_host to "
            "listen everywhere"
        )
    if zone_is_missing(endpoint.host):
        raise ValueError(zone_words(endpoint.host))
    return endpoint


def is_address(host: str) -> bool:
    """Whether this is an IP address, without brackets, and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


OPEN_WORDS = (
    "without keys whoever reaches it may do everything: give the node a key (security.key_file, "
    "docs/SECURITY.md), or listen on 127.0.0.1 or [::1], or accept that: security.insecure = true, "
    "--insecure"
)
"""What to do about an address that other machines reach."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches this address, without brackets; a name and ``*``: no."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def zone_is_missing(host: str) -> bool:
    """Whether this is a link-local IPv6 address, with brackets or not, that does not say on which
    interface: every interface has such addresses, and no socket takes it so."""
    try:
        address = IPv6Address(host.strip("[]"))
    except ValueError:
        return False
    return address.is_link_local and not address.scope_id


def zone_words(host: str) -> str:
    """Words for a link-local address without a zone: what is wrong, and what to do."""
    bare = host.strip("[]")
    return (
        f"{bare} is a link-local address, which every interface may have: add the name of its "
        f"interface, as in {bare}%eth0"
    )


def zone_fault(host: str) -> str:
    """Why an address with a zone cannot be of this machine; "": it may be."""
    _, _, zone = host.strip("[]").partition("%")
    names = {name for _, name in socket.if_nameindex()}
    numbers = {str(number) for number, _ in socket.if_nameindex()}
    if not zone or zone in names | numbers:
        return ""
    return f'this machine has no interface "{zone}"; it has {", ".join(sorted(names))}'


def can_bind(host: str) -> bool:
    """Whether this may be a host to listen on: an address, with brackets or not, ``*``, or a
    name."""
    if host == EVERYWHERE or is_address(host):
        return True
    try:
        return bool(Endpoint.parse(f"tcp://{host}:1"))
    except ValueError:
        return False


def plain_address(address: str) -> str:
    """An address as people know it: ``::ffff:192.0.2.1``, as an IPv4 address reads on a socket of
    both families, is ``192.0.2.1``."""
    try:
        mapped = IPv6Address(address).ipv4_mapped
    except ValueError:
        return address
    return str(mapped) if mapped is not None else address


def same_endpoint(one: str, other: str) -> bool:
    """Whether two texts are the same numeric endpoint: ZeroMQ reports one in another form than it
    was given at times."""
    return one == other or _plain(one) == _plain(other)


def _plain(text: str) -> str:
    try:
        endpoint = Endpoint.parse(text)
    except ValueError:
        return text
    return str(endpoint.on_host(plain_address(endpoint.host)).canonical)


def _hint(text: str) -> str:
    """A hint at the usual mistakes in a text that is no endpoint; "": none of them."""
    if bare := _BARE_IPV6.fullmatch(text):
        host, _, port = bare[1].rpartition(":")
        if not (port.isdecimal() and is_address(host)):
            host, port = bare[1], "PORT"
        if ":" in host and is_address(host):
            return f"; an IPv6 address stands in brackets: tcp://[{host}]:{port}"
    if _EVERYWHERE.fullmatch(text):
        return '; name the host that others connect to, and set node.bind_host to "*" to listen ' \
               "on every address"  # fmt: skip
    return ""


def checked_endpoints(names: Iterable[str]) -> list[str]:
    """The same endpoints. Raises ValueError with words for people for none at all, and for one that
    cannot be connected to."""
    found = list(names)
    if not found:
        raise ValueError("at least one endpoint is needed, such as tcp://127.0.0.1:7410")
    for name in found:
        host = Endpoint.parse(name).host
        if zone_is_missing(host):
            raise ValueError(f'"{name}": {zone_words(host)}')
    return found
