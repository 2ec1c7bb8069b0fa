"""Plain TCP connections for tools that may wait, with one deadline for the name and the rest."""

import socket
import time

from paxosd.net.endpoints import Endpoint
from paxosd.net.resolver import ResolveError, resolve, unresolved_words


def open_tcp(endpoint: str, timeout_s: float) -> tuple[socket.socket, str]:
    """Connect to the first address of the endpoint that can be reached; returns the connection and
    the numeric endpoint. Raises ResolveError for a name without an address, OSError as
    ``connect`` does, ValueError for what is no endpoint."""
    parsed = Endpoint.parse(endpoint)
    until_s = time.monotonic() + timeout_s
    try:
        addresses = resolve(parsed.host, timeout_s)
    except ResolveError as error:
        raise ResolveError(unresolved_words(parsed.host, str(error))) from None
    failure: OSError = TimeoutError("timed out")
    for place, address in enumerate(addresses):
        left_s = max(0.001, until_s - time.monotonic()) / (len(addresses) - place)
        try:
            made = socket.create_connection((address, parsed.port), left_s)
            return made, str(parsed.on_host(address))
        except OSError as error:
            failure = error
    raise failure


def numeric(endpoint: str, timeout_s: float) -> str:
    """The endpoint with an address for its name: one that can be reached. Raises as
    :func:`open_tcp`; an endpoint with an address is its own."""
    if Endpoint.parse(endpoint).is_address:
        return endpoint
    made, found = open_tcp(endpoint, timeout_s)
    made.close()
    return found
