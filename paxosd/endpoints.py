"""``tcp://HOST:PORT``: the only form of endpoint that a cluster uses.

HOST is a name, an IPv4 address, or an IPv6 address in brackets; PORT is 1 … 65535.
"""

import re
from ipaddress import ip_address
from typing import NamedTuple, Self

_FORM = re.compile(r"tcp://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


class Endpoint(NamedTuple):
    """``host`` is without brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError with words for people."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(f'"{text}" is not an endpoint, which reads tcp://HOST:PORT')
        host, port = match[1], int(match[2])
        if not 1 <= port <= 65_535:
            raise ValueError(f'"{text}": port {port} is outside 1 … 65535')
        if host.startswith("["):
            host = host[1:-1]
            try:
                ip_address(host)
            except ValueError:
                raise ValueError(f'"{text}": {host} is not an IPv6 address') from None
        return cls(host, port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"

    def on_host(self, host: str) -> "Endpoint":
        """The same port on another host; brackets around an IPv6 address may be there or not."""
        return Endpoint(host.strip("[]"), self.port)

    @property
    def is_address(self) -> bool:
        """Whether ZeroMQ can bind to the host: an address or localhost, not a DNS name."""
        if self.host == "localhost":
            return True
        try:
            ip_address(self.host)
        except ValueError:
            return False
        return True

    @property
    def is_wildcard(self) -> bool:
        """Whether the host means "every interface", to which nobody can connect."""
        return self.is_address and self.host != "localhost" and ip_address(self.host).is_unspecified
