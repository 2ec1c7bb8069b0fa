"""A socket's connection to one endpoint, by address: names are resolved beside it, never in it.

    Dial ── Route (which address) ── Resolver (a thread a name)
      └──── socket.connect(tcp://ADDRESS:PORT)

ZeroMQ's I/O thread would resolve names itself, one after another, with no deadline.
"""

from collections.abc import Callable
from typing import Protocol

import zmq

from paxosd.net.resolver import SILENT, Resolver, unresolved_words
from paxosd.net.routes import Route

PATIENCE_MS = 250
"""How long an address of a name that has several may take to be connected to before the next is
tried: less than a client waits for an endpoint."""

Socket = zmq.Socket[bytes]


class Network(Protocol):
    """What of :class:`paxosctl.client.transport.Transport` this needs."""

    @property
    def resolver(self) -> Resolver:
        """Finds the addresses of all of a client's names."""
        ...

    def mind(self, each: "Dial", *, on: bool) -> None:
        """Begin, or cease, to call the dial's ``tick`` often."""
        ...


class Dial:
    """Connects ``socket``, which stays its owner's, to ``endpoint``; the owner reports what becomes
    of it. ``on_unresolved(words)``: the name server was asked, and has no address. ``renew()``:
    another socket in the place of this one, which is closed: it is to go to another address. (To
    disconnect one is not safe with libzmq 4.3.5: a SUB aborts the process if a message of there is
    half read, and a DEALER can go on dialling.) Raises ValueError for an endpoint that is none."""

    def __init__(
        self,
        network: Network,
        socket: Socket,
        endpoint: str,
        *,
        on_unresolved: Callable[[str], None],
        renew: Callable[[], Socket],
        patience_ms: int = PATIENCE_MS,
    ) -> None:
        self._route = Route(endpoint, lambda: network.resolver, patience_ms=patience_ms)
        self._network = network
        self._socket = socket
        self._on_unresolved = on_unresolved
        self._renew = renew
        self._dialled = ""
        self._reported = ""
        """Why the name has no address, as it was last reported."""
        self._redial()
        self._mind()

    @property
    def unresolved(self) -> str:
        """Why there is no address to connect to, in words; "" if there is one."""
        name = self._route.name
        if name is None or name.addresses:
            return ""
        return unresolved_words(name.host, name.error or SILENT)

    @property
    def target(self) -> str:
        """The numeric endpoint that is connected to, "" while there is none."""
        return self._dialled

    @property
    def host(self) -> str:
        """The address that is connected to, "" while there is none."""
        return self._route.address

    def prefer(self, address: str, now_ms: int) -> None:
        """Of the name's addresses this one is known to work."""
        if self._route.prefer(address, now_ms):
            self._redial()

    def tick(self, now_ms: int) -> None:
        """Follow the name, while the connection does not stand."""
        name = self._route.name
        if self._route.tick(now_ms):
            self._redial()
        elif name is not None and self.unresolved and name.error not in ("", self._reported):
            self._reported = name.error
            self._on_unresolved(self.unresolved)

    def on_up(self) -> None:
        """The connection stands."""
        self._route.on_up()
        self._mind()

    def on_down(self, now_ms: int, *, refused: bool = False) -> bool:
        """The connection broke or was refused; whether no other address is left to try first."""
        self._route.on_down(now_ms, refused=refused)
        self._mind()
        return not refused or self._route.exhausted

    def close(self) -> None:
        """Cease to follow the name; the owner of the socket closes it."""
        self._network.mind(self, on=False)

    def _mind(self) -> None:
        self._network.mind(self, on=self._route.name is not None and not self._route.up)

    def _redial(self) -> None:
        target = self._route.target
        if self._dialled:
            self._socket = self._renew()
            self._dialled = ""
        socket = self._socket
        if target:
            socket.setsockopt(zmq.IPV6, int("[" in target))
            socket.connect(target)
            self._dialled = target
