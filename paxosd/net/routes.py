"""Which address of an endpoint its socket is to be connected to.

    literal:  tcp://192.0.2.1:7411 ──────────────────────────► that, for ever
    name:     tcp://db1.example:7411 ── resolver.py ──► no target ──► 1st address ──► 2nd … ──► 1st
                       └── up: it stays, as long as the name has that address

Rules: while the connection stands, its name is looked up every CHECK_MS, and the address is given
up only if the name does not have it any more. While it does not stand, the name is looked up again
and again, and each of its addresses is tried in turn: the next one at once if this one refused,
after PATIENCE_MS if it is silent, and then after twice as long, for the way may be long. A lookup
that fails changes nothing. No sockets here: the owner of a socket reports what becomes of it, and
connects it to :attr:`Route.target`.
"""

from collections.abc import Callable

from paxosd.net.endpoints import Endpoint
from paxosd.net.resolver import Name, Resolver

CHECK_MS = 30_000
PATIENCE_MS = 1000
PATIENCE_MS_MAX = 4000


class Route:
    """The way to one endpoint. ``target``: its numeric form to be connected to now; "" while no
    address is known. Raises ValueError for what is no endpoint."""

    def __init__(
        self, endpoint: str, resolver: Callable[[], Resolver], *, patience_ms: int = PATIENCE_MS
    ) -> None:
        """``resolver`` is called for a name alone: an address needs none."""
        parsed = Endpoint.parse(endpoint)
        self.endpoint = endpoint
        self.up = False
        self.target = ""
        self._parsed = parsed
        self._patience_min_ms = self._patience_ms = patience_ms
        self._address = ""
        self._next_due_ms = 0
        self._refused = 0
        """How many addresses have refused since the last connection that stood …"""
        self._refused_here = False
        """… and whether this one has."""
        self.name: Name | None = None
        if parsed.is_address:
            self.target = str(parsed)
        else:
            self._resolver = resolver()
            self.name = self._resolver.name(parsed.host)

    def tick(self, now_ms: int) -> bool:
        """Call often, after the resolver's ``poll``; whether the target is another now."""
        name = self.name
        if name is None:
            return False
        self._resolver.refresh(name, age_ms=CHECK_MS if self.up else 0)
        addresses = name.addresses
        if not addresses:
            return False
        if self._address not in addresses:
            return self._move(addresses[0], now_ms)
        if self.up or len(addresses) == 1:
            return False
        at_once = self._refused_here and self._refused < len(addresses)
        if not at_once and now_ms < self._next_due_ms:
            return False
        if not self._refused_here:
            self._patience_ms = min(2 * self._patience_ms, PATIENCE_MS_MAX)
        place = addresses.index(self._address)
        return self._move(addresses[(place + 1) % len(addresses)], now_ms)

    def on_up(self) -> None:
        """The connection to the target stands, handshake included."""
        self.up = True
        self._patience_ms = self._patience_min_ms
        self._refused = 0
        self._refused_here = False

    def on_down(self, now_ms: int, *, refused: bool = False) -> None:
        """The connection to the target broke, or was refused."""
        if self.up:
            self._next_due_ms = now_ms + self._patience_ms
            if self.name is not None:
                self._resolver.hasten(self.name)
        self.up = False
        if refused and not self._refused_here:
            self._refused_here = True
            self._refused += 1
            self._next_due_ms = min(self._next_due_ms, now_ms + self._patience_min_ms)

    @property
    def address(self) -> str:
        """The address of the target, without a port; "" while none is known."""
        return self._parsed.host if self.name is None else self._address

    def prefer(self, address: str, now_ms: int) -> bool:
        """Try this address first, if the name has it; whether the target is another now."""
        known = self.name is not None and address in self.name.addresses
        if self.up or not known or address == self._address:
            return False
        return self._move(address, now_ms)

    @property
    def exhausted(self) -> bool:
        """Whether every address has refused since the last connection that stood."""
        return self._refused >= max(1, len(self.name.addresses) if self.name is not None else 1)

    def _move(self, address: str, now_ms: int) -> bool:
        self._address = address
        self._next_due_ms = now_ms + self._patience_ms
        self.up = False
        self._refused_here = False
        self.target = str(self._parsed.on_host(address))
        return True
