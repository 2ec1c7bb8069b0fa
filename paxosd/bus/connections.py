"""How many connections each listening socket may have, so that none takes the others' descriptors.

libzmq accepts every connection, has no limit, and loops without end once there is no descriptor
left. But it reports each connection on a monitor, with its descriptor; a thread of its own reads
these reports, and ends the connections that are too many:

    accepted, and there is room      → counted
    accepted, and there is no room   → one that has sent nothing for ``SILENT_MS`` is ended
                                       instead; if there is none, this one
    disconnected                     → counted

So a flood of connections that send nothing keeps nobody out for long, and of too many real clients
those above the limit are disconnected. To end a connection its socket is shut down: for libzmq that
looks as if the other side had closed it. (It may have been closed before, and its descriptor number
given to another file: so only a connection of the same port is touched.) A connection that never
finishes its handshake is closed by libzmq itself (``HANDSHAKE_IVL``), one whose other end vanished
by the kernel (keepalive).
"""

import array
import fcntl
import os
import socket
import struct
import termios
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress

import zmq

from paxosd.core.status import PortStatus

SILENT_MS = 300.0
HANDSHAKE_BYTES = 80
"""A client that sent fewer bytes has not finished the handshake: its two parts are 64 bytes and at
least 27."""
CURVE_HANDSHAKE_BYTES = 500
"""The same where keys are wanted: 64, 202 and at least 259."""
MEMBER_CONNECTIONS = 4
"""So many connections to the peers' port are planned for each member: it has two, and two old ones
may still be there."""
PEERS_SPARE = 8
PEERS_SHARE = 8
CLIENTS_SHARE = 2 / 3
"""The rest is for watchers."""
LEAST = 8
STUCK_MS = 2000.0
"""A watcher that has not read for so long, while much waits, is disconnected."""
UNREAD_BYTES = 64 << 10
"""With so much waiting in the kernel, a subscriber has not merely had a slow moment."""

_TCP_INFO_BYTES = 256
_RECEIVED_AT = 128  # tcpi_bytes_received, since Linux 4.1
_EVENT = struct.Struct("=HI")
_ACCEPTED, _DISCONNECTED = int(zmq.EVENT_ACCEPTED), int(zmq.EVENT_DISCONNECTED)
_STOPPED = int(zmq.EVENT_MONITOR_STOPPED)
_FAILED = int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
_ENDED = int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
_EVENTS, _POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)
_FAILED_MAX = 256
"""So many reports wait for the loop; of more, the oldest are dropped."""

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]


def shares(free: int, members: int) -> dict[str, int]:
    """How many connections peers, clients and watchers may have, of ``free`` descriptors."""
    free = max(0, free - 3 * members)  # what this node opens to the others
    peer = max(PEERS_SPARE + MEMBER_CONNECTIONS * members, free // PEERS_SHARE)
    client = max(LEAST, int((free - peer) * CLIENTS_SHARE))
    return {"peer": peer, "client": client, "events": max(LEAST, free - peer - client)}


class _Port:
    """The connections of one listening socket, by descriptor."""

    def __init__(self, what: str, number: int, most: int, handshake_bytes: int) -> None:
        self.what = what
        self._handshake_bytes = handshake_bytes
        self._addresses: dict[int, str] = {}
        """Each connection → the address that it came from."""
        self._failed_value = 0
        """What is reported of the handshake of the connection that is about to end."""
        self.number = number
        self.most = most
        self.refused = self.silent = 0
        self.waiting: dict[int, float] = {}
        """The connections that may not have finished their handshake: when each was accepted, in
        order."""
        self.settled: set[int] = set()
        self.ending: set[int] = set()
        """The connections that were shut down: their descriptors are free in a moment."""

    @property
    def status(self) -> PortStatus:
        return PortStatus(self.count, self.most, self.refused, self.silent)

    @property
    def count(self) -> int:
        return len(self.waiting) + len(self.settled)

    def accepted(self, descriptor: int, now_ms: float) -> None:
        self.disconnected(descriptor)
        if self.count >= self.most and not self._end_silent(now_ms):
            self.refused += 1
            self._end(descriptor)
        else:
            self.waiting[descriptor] = now_ms
            self._addresses[descriptor] = _address_of(descriptor)

    def failed(self, value: int) -> None:
        """The handshake of the connection failed that is reported to have ended next."""
        self._failed_value = value

    def take_failed(self, descriptor: int) -> tuple[str, str, int] | None:
        """The report about a connection that is reported to have ended, if its handshake failed."""
        value, self._failed_value = self._failed_value, 0
        return (self.what, self._addresses.get(descriptor, "unknown"), value) if value else None

    def disconnected(self, descriptor: int) -> None:
        self._addresses.pop(descriptor, None)
        self.waiting.pop(descriptor, None)
        self.settled.discard(descriptor)
        self.ending.discard(descriptor)

    def unread(self) -> frozenset[int]:
        """The connections whose other end does not take what the kernel has for it."""
        known = {*self.waiting, *self.settled} - self.ending
        return frozenset(each for each in known if _queued_bytes(each) >= UNREAD_BYTES)

    def end(self, descriptors: Iterable[int]) -> None:
        """End these, if they are still there."""
        for descriptor in descriptors:
            if descriptor in self.waiting or descriptor in self.settled:
                self._end(descriptor)

    def end_all(self) -> None:
        """End all that there are."""
        self.end([*self.waiting, *self.settled])

    def _end_silent(self, now_ms: float) -> bool:
        """End one that has been silent for long; whether there was one."""
        for descriptor, since_ms in list(self.waiting.items()):
            if now_ms - since_ms < SILENT_MS:
                return False
            del self.waiting[descriptor]
            if self._has_spoken(descriptor):
                self.settled.add(descriptor)
            else:
                self.silent += 1
                self._end(descriptor)
                return True
        return False

    def _has_spoken(self, descriptor: int) -> bool:
        with suppress(OSError, struct.error):
            connection = socket.socket(fileno=descriptor)
            try:
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
            finally:
                connection.detach()
            return bool(struct.unpack_from("=Q", info, _RECEIVED_AT)[0] >= self._handshake_bytes)
        return True  # not known: leave the connection alone

    def _end(self, descriptor: int) -> None:
        self.ending.add(descriptor)
        with suppress(OSError):
            connection = socket.socket(fileno=descriptor)
            try:
                if connection.getsockname()[1] == self.number:
                    connection.shutdown(socket.SHUT_RDWR)
            finally:
                connection.detach()


def _address_of(descriptor: int) -> str:
    """The IP address that a connection came from."""
    with suppress(OSError):
        connection = socket.socket(fileno=descriptor)
        try:
            return str(connection.getpeername()[0])
        finally:
            connection.detach()
    return "unknown"


def _queued_bytes(descriptor: int) -> int:
    """How many bytes the kernel still holds for the other end."""
    left = array.array("i", [0])
    with suppress(OSError):
        fcntl.ioctl(descriptor, termios.TIOCOUTQ, left)
    return left[0]


class ConnectionGuard:
    """Watches some listening sockets. Make it and :meth:`close` it in the sockets' own thread, the
    latter before they are closed; :attr:`status` in any."""

    def __init__(
        self,
        context: Context,
        listening: Mapping[str, tuple[Socket, str]],
        limits: Mapping[str, int],
        *,
        handshake_bytes: int = HANDSHAKE_BYTES,
    ) -> None:
        """``listening``: what → its socket and the endpoint that is bound; ``limits``: what →
        how many connections; ``handshake_bytes``: who sent fewer has not finished the handshake."""
        self.ended_early = 0
        """How many connections ended within their handshakes, for reasons that libzmq does not say.
        A client without a key may be one, and so is whoever asks whether somebody listens."""
        self._failed: deque[tuple[str, str, int]] = deque(maxlen=_FAILED_MAX)
        self._to_end: deque[_Port] = deque()
        self._listening = [each for each, _ in listening.values()]
        self._ports: dict[Socket, _Port] = {}
        with ExitStack() as opened:
            self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            opened.callback(os.close, self._wake_fd)
            for what, (listener, endpoint) in listening.items():
                address = f"inproc://connections-{what}-{id(self)}"
                monitor = context.socket(zmq.PAIR)
                opened.callback(monitor.close, 0)
                # Without a limit: libzmq's one thread would wait for this one otherwise.
                monitor.setsockopt(zmq.RCVHWM, 0)
                opened.callback(listener.disable_monitor)
                listener.monitor(address, _ACCEPTED | _DISCONNECTED | _FAILED | _ENDED | _STOPPED)
                monitor.setsockopt(zmq.LINGER, 0)
                monitor.connect(address)
                number = int(endpoint.rpartition(":")[2])
                self._ports[monitor] = _Port(what, number, limits[what], handshake_bytes)
            name = "paxosd-connections"
            self._thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._thread.start()
            opened.pop_all()

    @property
    def status(self) -> dict[str, PortStatus]:
        """peer, client or events → the figures of that socket's connections."""
        return {port.what: port.status for port in self._ports.values()}

    def unread(self, what: str) -> frozenset[int]:
        """The connections of that kind whose other end does not read."""
        return self._port(what).unread()

    def end(self, what: str, descriptors: Iterable[int]) -> None:
        """End these connections of that kind."""
        self._port(what).end(descriptors)

    def end_all(self, what: str) -> None:
        """End every connection of that kind that was accepted before this call."""
        self._to_end.append(self._port(what))
        os.eventfd_write(self._wake_fd, 1)

    def take_failed(self) -> list[tuple[str, str, int]]:
        """The connections whose handshakes failed since the last call: peer, client or events, the
        address that it came from, and what libzmq says of it."""
        taken = []
        while self._failed:
            taken.append(self._failed.popleft())
        return taken

    def _port(self, what: str) -> _Port:
        return next(port for port in self._ports.values() if port.what == what)

    def close(self) -> None:
        """Watch no more."""
        for listener in self._listening:
            listener.disable_monitor()  # its last event ends the thread
        self._thread.join()
        os.close(self._wake_fd)

    def _work(self) -> None:
        left = set(self._ports)
        poller = zmq.Poller()
        for monitor in left:
            poller.register(monitor, zmq.POLLIN)
        poller.register(self._wake_fd, zmq.POLLIN)
        with suppress(zmq.ContextTerminated):
            while left:
                for monitor, _ in poller.poll():
                    if monitor == self._wake_fd:
                        os.eventfd_read(self._wake_fd)
                    elif not self._take(monitor):
                        poller.unregister(monitor)
                        left.remove(monitor)
                self._end_ordered(left)
        for monitor in self._ports:
            monitor.close(0)

    def _end_ordered(self, monitors: set[Socket]) -> None:
        """End what :meth:`end_all` asked for. What was accepted before that is reported by now, so
        these reports are read first. ``monitors``: those that may report more."""
        while self._to_end:
            port = self._to_end.popleft()
            for monitor in [each for each in monitors if self._ports[each] is port]:
                while int(monitor.get(_EVENTS)) & _POLLIN:
                    if not self._take(monitor):
                        monitors.discard(monitor)
                        break
            port.end_all()

    def _take(self, monitor: Socket) -> bool:
        """Take in one event; returns whether more may come."""
        event, value = _EVENT.unpack(monitor.recv_multipart()[0])
        port = self._ports[monitor]
        if event == _ACCEPTED:
            port.accepted(value, time.monotonic() * 1000.0)
        elif event == _ENDED:
            self.ended_early += 1
        elif event == _FAILED:
            port.failed(value)
        elif event == _DISCONNECTED:
            if failed := port.take_failed(value):
                self._failed.append(failed)
            port.disconnected(value)
        return bool(event != _STOPPED)


class StuckReaders:
    """Finds and ends connections whose other end has not read for a while."""

    def __init__(self, guard: ConnectionGuard, what: str) -> None:
        self._guard = guard
        self._what = what
        self._since_ms: float | None = None
        self._stuck: frozenset[int] = frozenset()
        """The connections that did not read at any look since then."""

    def look(self, much_waits: bool, now_ms: float) -> int:
        """To be called every now and then; returns the number of connections that were ended."""
        if not much_waits:
            self._since_ms = None
            return 0
        unread = self._guard.unread(self._what)
        if self._since_ms is None:
            self._since_ms, self._stuck = now_ms, unread
            return 0
        self._stuck &= unread
        if now_ms - self._since_ms < STUCK_MS:
            return 0
        self._since_ms = None
        self._guard.end(self._what, self._stuck)
        return len(self._stuck)
