"""Binding a socket to an endpoint, and words for an operator where that fails."""

from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL, ENODEV

import zmq

from paxosd.bus.repeating import accepting_to_repeat_soon
from paxosd.net.endpoints import EVERYWHERE, OPEN_WORDS, is_loopback, zone_fault
from paxosd.net.resolver import ResolveError, resolve, unresolved_words

BIND_NAME_S = 10.0
"""How long the start waits for the addresses of a name that is to be bound."""

Socket = zmq.Socket[bytes]


class BindError(Exception):
    """A socket cannot listen where it should. ``what``: peer, client or events."""

    def __init__(self, what: str, endpoint: str, reason: str) -> None:
        super().__init__(f"cannot bind the {what} socket to {endpoint}: {reason}")
        self.what = what
        self.endpoint = endpoint
        self.reason = reason


_BIND_REASONS = {
    EADDRINUSE: "the port is in use; stop the process that has it, or configure another port",
    EADDRNOTAVAIL: "this machine has no such address; set node.bind_host to one it has",
    ENODEV: "this machine has no such address; set node.bind_host to one it has",
    EACCES: "this user may not use that port; choose one above 1023",
}

_NOT_HERE = {EADDRNOTAVAIL, ENODEV}


def bind(what: str, socket: Socket, endpoint: str, *, loopback_only: bool = False) -> str:
    """Bind a socket; returns the endpoint that is bound, with the real port. The host ``*`` stands
    for every address of the machine, IPv4 and IPv6; a name for each of its addresses that this
    machine has. ``what``: peer, client or events. ``loopback_only``: other machines must not reach
    it. Raises BindError."""
    if what == "client":
        # Clients keep to the kernel's times. With shorter ones here alone, on a machine with far
        # too little processor time, some needed seconds to connect.
        return _bind(what, socket, endpoint, loopback_only)
    with accepting_to_repeat_soon(socket, small=what == "events"):
        return _bind(what, socket, endpoint, loopback_only)


def _bind(what: str, socket: Socket, endpoint: str, loopback_only: bool) -> str:
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    host = host.strip("[]")
    reason, first = "", ""
    for address in _addresses(what, endpoint, host):
        if loopback_only and not is_loopback(address):
            words = f"{address} is reached from other machines; {OPEN_WORDS}"
            raise BindError(what, endpoint, words)
        both = ":" in address or address == EVERYWHERE
        socket.setsockopt(zmq.IPV6, int(both))
        try:
            socket.bind(f"tcp://{f'[{address}]' if ':' in address else address}:{port}")
        except zmq.ZMQError as error:
            reason = zone_fault(address) or _BIND_REASONS.get(error.errno or 0, str(error))
            if error.errno not in _NOT_HERE:
                raise BindError(what, endpoint, reason) from None
            continue
        bound = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        port = bound.rpartition(":")[2]  # for the other addresses, if any was free to choose
        first = first or bound
    if not first:
        raise BindError(what, endpoint, reason)
    return first


def _addresses(what: str, endpoint: str, host: str) -> tuple[str, ...]:
    if host == EVERYWHERE:
        return (EVERYWHERE,)
    try:
        return resolve(host, BIND_NAME_S)
    except ResolveError as error:
        words = unresolved_words(host, str(error))
        advice = "repair that, or set node.bind_host to an address of this machine"
        raise BindError(what, endpoint, f"{words}; {advice}") from None
