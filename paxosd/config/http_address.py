"""Where the daemon listens for HTTP: ``ADDRESS:PORT``, the address of one interface, no name."""

from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

FORM = 'this must read ADDRESS:PORT, as "127.0.0.1:9410" or "[::1]:9410"'


class HttpAddress(NamedTuple):
    """``host``: an IP address in the form of the system."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "HttpAddress":
        """Raises ValueError, with words for people."""
        host, colon, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not colon or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
            raise ValueError(f'"{text}": {FORM}, with a port from 1 to 65535')
        try:
            address = ip_address(host[1:-1] if bracketed else host)
        except ValueError:
            raise ValueError(f'"{text}": {FORM}') from None
        if bracketed != isinstance(address, IPv6Address):
            raise ValueError(f'"{text}": {FORM}')
        return cls(str(address), int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether no other machine reaches it."""
        return ip_address(self.host).is_loopback
