"""Whether the nodes can listen on their ports: checked before any of them is started, so that one
message can name all ports that are in use."""

import contextlib
import errno
import socket
from collections.abc import Sequence

from paxosd.dev.layout import DevNode
from paxosd.net.endpoints import EVERYWHERE, Endpoint
from paxosd.net.resolver import ResolveError, resolve, unresolved_words

NAME_S = 5.0
"""How long an endpoint's name is looked up."""


class PortsTakenError(Exception):
    """An endpoint of the cluster cannot be listened on (exit code 69)."""


def check_ports(nodes: Sequence[DevNode]) -> None:
    """Raises PortsTakenError, naming every endpoint that cannot be listened on, and what to do."""
    taken = []
    for node in nodes:
        bind_host = node.config.node.bind_host
        for kind in ("client", "peer", "events"):
            endpoint = Endpoint.parse(getattr(node.config.me, kind))
            endpoint = endpoint.on_host(bind_host or endpoint.host)
            reason = _why_not(endpoint)
            if reason:
                taken.append(f"  {endpoint} ({node.name}, {kind}): {reason}")
    if taken:
        raise PortsTakenError(
            "the cluster cannot start, for these endpoints cannot be listened on:\n"
            + "\n".join(taken)
            + "\nStop what uses them (another paxosd dev?), or start a second cluster beside it "
            "with another --data-dir and another --base-port."
        )


def _why_not(endpoint: Endpoint) -> str:
    try:
        addresses = ("0.0.0.0",) if endpoint.host == EVERYWHERE else resolve(endpoint.host, NAME_S)
    except ResolveError as error:
        return unresolved_words(endpoint.host, str(error))
    reasons = [_why_not_address(endpoint.on_host(address)) for address in addresses]
    taken = [reason for reason in reasons if reason == "in use"]
    return "" if "" in reasons and not taken else [*taken, *reasons][0]


def _why_not_address(endpoint: Endpoint) -> str:
    try:
        probe = socket.socket(endpoint.family, socket.SOCK_STREAM)
    except OSError as error:
        return error.strerror or str(error)
    with contextlib.closing(probe):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as ZeroMQ does
        try:
            probe.bind((endpoint.host, endpoint.port))
        except OSError as error:
            return "in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
    return ""
