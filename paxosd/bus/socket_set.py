"""The sockets of one bus: made alike, closed together.

No socket, of a node or of a client, sends ZMTP heartbeats, or makes the other end answer any.
libzmq 4.3.5 aborts the whole process when it has to send or to answer one on a connection that has
ended while its queue was full (libzmq issue 4841). So a node that publishes faster than a watcher
reads, and is killed, would end the watcher's process; a client that sends faster than the loop
reads, and goes away, would end the node. (A foreign program that sends heartbeats can still end a
node in this way: no option of libzmq keeps it from answering. Clients of 0.x versions before this
one do send them. Where keys are wanted, only holders of keys get that far.)
"""

import zmq

from paxosd.bus.curve import MESSAGE_OVERHEAD_BYTES, PLAIN, NodeKeys
from paxosd.net.keepalive import KERNEL_FINDS_DEAD_ENDS

LINGER_MS = 200
"""On close: long enough for a last message to a live peer."""
HANDSHAKE_IVL_MS = 3000
CONNECT_TIMEOUT_MS = 2000
RECONNECT_IVL_MS = 50
RECONNECT_IVL_MAX_MS = 1000
BACKLOG = 512

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]


class SocketSet:
    """Makes sockets. ``keys``: of this node; None: it has none."""

    def __init__(self, context: Context, keys: NodeKeys | None = None) -> None:
        self._context = context
        self.keys = keys
        self.all: list[Socket] = []
        """Those that are open, monitors included."""

    def make(self, kind: int, bytes_max: int, send_max: int, receive_max: int) -> Socket:
        """A socket of a kind of ZeroMQ's; the largest frame it takes in bytes, and how many
        messages of one connection wait, on their way out and in."""
        socket = self._context.socket(kind)
        self.all.append(socket)
        options = {
            zmq.LINGER: LINGER_MS,
            zmq.SNDHWM: send_max,
            zmq.RCVHWM: receive_max,
            zmq.MAXMSGSIZE: bytes_max + (MESSAGE_OVERHEAD_BYTES if self.keys is not None else 0),
            zmq.HANDSHAKE_IVL: HANDSHAKE_IVL_MS,
            zmq.CONNECT_TIMEOUT: CONNECT_TIMEOUT_MS,
            zmq.RECONNECT_IVL: RECONNECT_IVL_MS,
            zmq.RECONNECT_IVL_MAX: RECONNECT_IVL_MAX_MS,
            zmq.BACKLOG: BACKLOG,
        } | KERNEL_FINDS_DEAD_ENDS
        for option, value in options.items():
            socket.setsockopt(option, value)
        # What is sent without a copy is reported then, however small it is (send_tracker.py).
        socket.copy_threshold = 0
        return socket

    def make_guarded(
        self, what: str, kind: int, bytes_max: int, send_max: int, receive_max: int
    ) -> Socket:
        """One that is to be bound. ``what``: peer, client or events."""
        socket = self.make(kind, bytes_max, send_max, receive_max)
        if self.keys is not None:
            self.keys.listen(socket, what)
        return socket

    def monitor(self, socket: Socket, events: int) -> Socket:
        """What is readable when one of these events happened to a socket's connections."""
        monitor = socket.get_monitor_socket(events)
        self.all.append(monitor)
        return monitor

    def connect(self, socket: Socket, endpoint: str, expected: bytes = PLAIN) -> str:
        """Connect, to an end that proves itself by the key ``expected``; returns what is wrong
        with the endpoint, or "". A wrong endpoint may have come from the replicated log, so it must
        not stop the process."""
        if self.keys is not None:
            self.keys.aim(socket, expected)
        # Not always on: a kernel without IPv6 reaches no IPv4 address then.
        socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            return str(error)
        return ""

    def drop(self, *sockets: Socket, linger_ms: int | None = None) -> None:
        """Close these; what was sent has ``linger_ms`` (None: LINGER_MS) to leave."""
        for socket in sockets:
            self.all.remove(socket)
            socket.close(linger_ms)

    def close(self, linger_ms: int | None = None) -> None:
        """Close all; what was sent has ``linger_ms`` (None: LINGER_MS) to leave."""
        for socket in self.all:
            socket.disable_monitor()
        for socket in self.all:
            socket.close(linger_ms)
        self.all.clear()
