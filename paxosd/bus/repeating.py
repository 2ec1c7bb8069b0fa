"""Where a daemon's connections get their times for sending again (``net/retransmission.py``).

    a socket that listens   when it is bound, but for that of clients: what it accepts inherits them
    a socket that connects  when a connection was made

ZeroMQ reports both on a socket's monitor, each with the descriptor.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import zmq

from paxosd.bus.monitors import CONNECTED, LISTENING, read_events
from paxosd.net.retransmission import repeat_soon

Socket = zmq.Socket[bytes]


@contextmanager
def accepting_to_repeat_soon(socket: Socket, *, small: bool) -> Iterator[None]:
    """Bind ``socket`` within this block, before it has another monitor. It listens a moment before
    the report: a connection that comes in between is left as the kernel has it. ``small``: it
    sends small messages alone. Once for each socket: the address of a monitor is not free at once
    when it ends."""
    monitor = socket.get_monitor_socket(LISTENING)
    try:
        yield
        for _, descriptor, _ in read_events(monitor):
            repeat_soon(descriptor, small=small)
    finally:
        socket.disable_monitor()
        monitor.close(0)


def read_connecting(monitor: Socket, *, small: bool = True) -> Iterator[tuple[int, int, str]]:
    """As :func:`~paxosd.bus.monitors.read_events`, for a socket that connects: each connection
    that was made is set to repeat soon. ``small``: it sends small messages alone."""
    for event, value, endpoint in read_events(monitor):
        if event == CONNECTED:
            repeat_soon(value, small=small)
        yield event, value, endpoint
