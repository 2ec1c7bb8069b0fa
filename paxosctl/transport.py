"""The sockets of a client: one DEALER per endpoint, each with a monitor that tells how it fares.

A link never queues for a daemon that is not there: a request is handed to a connection that
stands, or not at all, so that "never sent" can be told from "sent, and no answer". Everything
runs in the thread that calls :meth:`Transport.poll`.
"""

import contextlib
import struct
import time
from collections.abc import Callable
from typing import Any

import zmq

MIB = 1 << 20
MESSAGE_BYTES_MAX = 256 * MIB
"""Above every answer; keeps a stranger on the port from filling the memory."""
HEARTBEAT_IVL_MS = 1000
HEARTBEAT_TIMEOUT_MS = 3000
HANDSHAKE_IVL_MS = 3000
"""A connection that was accepted and then is silent (a black hole, a stopped daemon) is given up
after this; heartbeats begin only when the handshake is over."""
RECONNECT_IVL_MS = 50
RECONNECT_IVL_MAX_MS = 500
CONNECT_TIMEOUT_MS = 2000
SOCKETS_MAX = 4096
RECEIVES_MAX = 200
"""Frames taken from one socket before the others get a turn."""

REFUSED = "the connection was refused"
LOST = "the connection was lost"
NO_HANDSHAKE = "something takes connections there, but no ZeroMQ handshake came about"

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]

_EVENTS = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
)


def clock_ms() -> int:
    """Milliseconds on the clock that all of a client's deadlines use."""
    return time.monotonic_ns() // 1_000_000


def clock_ns() -> int:
    """The same clock, for measuring."""
    return time.monotonic_ns()


class Transport:
    """Sockets and who wants to know when they can be read."""

    def __init__(self) -> None:
        self._context: Context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, SOCKETS_MAX)
        self._poller = zmq.Poller()
        self._handlers: dict[Any, Callable[[], None]] = {}

    def socket(self, kind: int) -> Socket:
        """A socket with the options that all of them share, not connected yet."""
        made = self._context.socket(kind)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX),
            (zmq.HEARTBEAT_IVL, HEARTBEAT_IVL_MS),
            (zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS),
            (zmq.HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS),
            (zmq.HANDSHAKE_IVL, HANDSHAKE_IVL_MS),
            (zmq.RECONNECT_IVL, RECONNECT_IVL_MS),
            (zmq.RECONNECT_IVL_MAX, RECONNECT_IVL_MAX_MS),
            (zmq.CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS),
        ):
            made.setsockopt(option, value)
        return made

    def register(self, socket: Socket, handler: Callable[[], None]) -> None:
        """Call ``handler`` from :meth:`poll` when ``socket`` can be read."""
        self._poller.register(socket, zmq.POLLIN)
        self._handlers[socket] = handler

    def unregister(self, socket: Socket) -> None:
        """The end of :meth:`register`."""
        self._poller.unregister(socket)
        del self._handlers[socket]

    def poll(self, timeout_ms: int) -> bool:
        """Wait for sockets to read and let their handlers do so; whether there were any."""
        ready = self._poller.poll(timeout_ms)
        handlers = self._handlers
        for socket, _ in ready:
            handler = handlers.get(socket)  # an earlier handler may have closed it
            if handler is not None:
                handler()
        return bool(ready)

    def close(self) -> None:
        """Close every socket; waits no longer than the longest linger."""
        self._context.destroy()


class Link:
    """A DEALER to one endpoint. Calls ``on_up()`` and ``on_down(reason)`` as the connection
    comes and goes, ``on_frame(frame)`` for whatever arrives. Never raises for a bad network;
    raises ValueError for an endpoint that is none."""

    def __init__(
        self,
        transport: Transport,
        endpoint: str,
        *,
        on_frame: Callable[[bytes], None],
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
    ) -> None:
        self.endpoint = endpoint
        self._transport = transport
        self._on_frame = on_frame
        self._on_up = on_up
        self._on_down = on_down
        self._state = "connecting"
        self._dealer = transport.socket(zmq.DEALER)
        self._dealer.setsockopt(zmq.IMMEDIATE, 1)
        self._monitor: Socket = self._dealer.get_monitor_socket(_EVENTS)
        transport.register(self._dealer, self._read)
        transport.register(self._monitor, self._read_monitor)
        try:
            self._dealer.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise ValueError(f'"{endpoint}" is not an endpoint: {error}') from None

    def send(self, frame: bytes) -> bool:
        """Hand a frame to the connection; False if there is none, or it is full."""
        dealer = self._dealer
        try:
            dealer.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            pass
        else:
            return True
        # The connection can be so young that the socket has not heard of it: make it listen.
        dealer.getsockopt(zmq.EVENTS)
        try:
            dealer.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self, linger_ms: int = 0) -> None:
        """Close the sockets; what was handed over last has ``linger_ms`` to leave."""
        self._transport.unregister(self._dealer)
        self._transport.unregister(self._monitor)
        self._dealer.disable_monitor()
        self._monitor.close(0)
        self._dealer.close(linger_ms)

    def _read(self) -> None:
        receive = self._dealer.recv
        on_frame = self._on_frame
        try:
            for _ in range(RECEIVES_MAX):
                on_frame(receive(zmq.NOBLOCK))
        except zmq.Again:
            pass
        except zmq.ZMQError:
            if not self._dealer.closed:  # else a frame made its reader close the link
                raise

    def _read_monitor(self) -> None:
        monitor = self._monitor
        with contextlib.suppress(zmq.Again):
            while not monitor.closed:  # an event can make its reader close the link
                head = monitor.recv_multipart(zmq.NOBLOCK)[0]
                (event,) = struct.unpack_from("=H", head)
                self._on_monitor(event)

    def _on_monitor(self, event: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._state = "up"
            self._on_up()
        elif event == zmq.EVENT_CONNECTED:
            self._state = "accepted"
        elif event == zmq.EVENT_DISCONNECTED:
            reason = LOST if self._state == "up" else NO_HANDSHAKE
            self._state = "lost"
            self._read()  # what the daemon said before it went still counts
            self._on_down(reason)
        elif event == zmq.EVENT_CLOSED and self._state == "lost":
            self._state = "connecting"  # tried again, and refused: CONNECT_RETRIED follows
        elif event == zmq.EVENT_CONNECT_RETRIED and self._state == "connecting":
            self._on_down(REFUSED)
