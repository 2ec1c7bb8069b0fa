"""What ZeroMQ reports of a socket's connections, on the monitor of that socket."""

import struct
from collections.abc import Iterator

import zmq

from paxosd.net.routes import Route

# Plain ints: an enum member costs more to combine than the question about the socket.
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)
BROKE = int(zmq.EVENT_DISCONNECTED)
STANDS = int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
"""The connection was made, and the other end speaks ZMTP."""
REFUSED = int(zmq.EVENT_CONNECT_RETRIED)
CONNECTED = int(zmq.EVENT_CONNECTED)
"""TCP has made the connection; the value is its descriptor."""
LISTENING = int(zmq.EVENT_LISTENING)
"""The value is the descriptor of the listening socket."""
_EVENT = struct.Struct("=HI")

Socket = zmq.Socket[bytes]


def read_events(monitor: Socket) -> Iterator[tuple[int, int, str]]:
    """The events that wait on a monitor: the event, its value, and the endpoint of it."""
    while int(monitor.get(_EVENTS)) & _POLLIN:
        head, endpoint = monitor.recv_multipart(zmq.NOBLOCK)
        event, value = _EVENT.unpack(head)
        yield event, value, endpoint.decode("ascii", "replace")


def report(route: Route, event: int, now_ms: int) -> None:
    """Report an event of the connection to a route's target to that route."""
    if event == STANDS:
        route.on_up()
    elif event in (BROKE, REFUSED):
        route.on_down(now_ms, refused=event == REFUSED)
