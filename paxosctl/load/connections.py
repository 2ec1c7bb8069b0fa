"""Many DEALER sockets of one thread, and which of them can be read.

ZeroMQ's own poller asks every socket in turn, which for a thousand of them takes longer than what a
load measures. This one waits with epoll on the descriptor of each. It becomes readable when the
socket has heard of *something*, and any call on the socket may take that news in: so a socket that
was written to is asked itself before the next wait.
"""

import contextlib
import errno
import resource
import select
from collections.abc import Iterable

import zmq

from paxosctl.client.credentials import Credentials
from paxosctl.client.errors import NotSubmittedError
from paxosctl.client.own_sockets import Socket
from paxosctl.client.reach import numeric
from paxosctl.client.transport import SOCKETS_MAX, Transport
from paxosd.host import descriptors

DESCRIPTORS_A_CONNECTION = 2
"""Its TCP connection, and the one by which ZeroMQ's threads wake the socket."""
DESCRIPTORS_BESIDE = 64
CONNECTIONS_MAX = SOCKETS_MAX - 64
"""Of one process; beside them there are the monitors."""
FINE_S = 0.02
"""Shorter waits than this end to the microsecond, and not to the millisecond of epoll."""


class Connection:
    """A socket to one node: a DEALER, or a SUB."""

    __slots__ = ("_pool", "endpoint", "socket")

    def __init__(self, pool: "ConnectionPool", socket: Socket, endpoint: str) -> None:
        self._pool = pool
        self.socket = socket
        self.endpoint = endpoint

    def send(self, frame: bytes) -> None:
        """Queue a frame; it leaves as soon as the connection takes it."""
        self.socket.send(frame)
        self._pool.touched.add(self)

    def receive(self) -> bytes | None:
        """A frame that has arrived, or None. After a :meth:`ConnectionPool.wait` call it until it
        says None."""
        try:
            return self.socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def receive_parts(self) -> list[bytes] | None:
        """The same, of a SUB socket: topic and payload."""
        try:
            return self.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None


class ConnectionPool:
    """``timeout_s``: for the look-up of a node's name. ``credentials``: of a client that has talked
    to the nodes before."""

    def __init__(self, timeout_s: float, credentials: Credentials | None = None) -> None:
        self._timeout_s = timeout_s
        # Before all sockets: select() takes descriptors below 1024 alone.
        self._epoll = select.epoll()
        self._transport = Transport(credentials)
        self._by_fd: dict[int, Connection] = {}
        self._monitors: dict[int, tuple[Socket, str]] = {}
        self._addresses: dict[str, str] = {}
        self.touched: set[Connection] = set()
        """Those that were written to since they were last asked whether they can be read."""
        self.lost: set[str] = set()
        """The endpoints to which a connection was lost; whoever has heard of it clears it."""

    def open(self, endpoint: str) -> Connection:
        """A connection of its own; it is being made when this returns. Raises NotSubmittedError if
        the name has no address, or this process may have no more files open."""
        return self._guarded(endpoint, zmq.DEALER, ())

    def subscribe(self, endpoint: str, topics: Iterable[bytes]) -> Connection:
        """The same with a SUB socket, to an endpoint for events."""
        return self._guarded(endpoint, zmq.SUB, topics)

    def _guarded(self, endpoint: str, kind: int, topics: Iterable[bytes]) -> Connection:
        try:
            return self._open(endpoint, kind, topics)
        except zmq.ZMQError as error:
            if error.errno != errno.EMFILE:
                raise
            raise NotSubmittedError("too_many_files", _few_files_words()) from None

    def _open(self, endpoint: str, kind: int, topics: Iterable[bytes]) -> Connection:
        address = self._addresses.get(endpoint)
        is_first = address is None
        if address is None:
            try:
                address = self._addresses[endpoint] = numeric(endpoint, self._timeout_s)
            except OSError as error:
                raise NotSubmittedError("unreachable", f"{endpoint}: {error}") from None
        socket = self._transport.socket(kind)
        # What is under way is bounded by the load. A full queue would stop the whole thread.
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.IPV6, int("[" in address))
        if is_first:
            # The others lead to the same node: what breaks this connection breaks them.
            monitor = self._transport.monitor(socket, zmq.EVENT_DISCONNECTED)
            monitor_fd = int(monitor.getsockopt(zmq.FD))
            self._monitors[monitor_fd] = (monitor, endpoint)
            self._epoll.register(monitor_fd, select.EPOLLIN)
            # A socket that was never read does not wake anybody.
            self._read_monitor(monitor, endpoint)
        for topic in topics:
            socket.setsockopt(zmq.SUBSCRIBE, topic)
        if self._transport.credentials is not None:
            self._transport.credentials.secure(socket, endpoint)
        socket.connect(address)
        made = Connection(self, socket, endpoint)
        fd = int(socket.getsockopt(zmq.FD))
        self._by_fd[fd] = made
        self._epoll.register(fd, select.EPOLLIN)
        self.touched.add(made)
        return made

    def wait(self, timeout_s: float) -> set[Connection]:
        """Those that may have something to read, once there are any or the time is over."""
        touched, self.touched = self.touched, set()
        ready = {each for each in touched if _can_be_read(each.socket)}
        if ready:
            timeout_s = 0.0
        elif 0 < timeout_s < FINE_S:
            select.select([self._epoll.fileno()], [], [], timeout_s)
            timeout_s = 0.0
        for fd, _ in self._epoll.poll(max(0.0, timeout_s)):
            found = self._by_fd.get(fd)
            if found is not None:
                ready.add(found)
            else:
                self._read_monitor(*self._monitors[fd])
        return ready

    def _read_monitor(self, monitor: Socket, endpoint: str) -> None:
        with contextlib.suppress(zmq.Again):
            while True:
                monitor.recv_multipart(zmq.NOBLOCK)
                self.lost.add(endpoint)

    def check_owner(self) -> None:
        """Raises RuntimeError in any other thread or process than that which made it."""
        self._transport.owner.check()

    def close(self) -> None:
        """Close every connection at once."""
        self._epoll.close()
        self._transport.close()


def make_room(connections: int) -> None:
    """See that this process may have so many connections: raises its limit of open files, as far as
    the system allows. Raises NotSubmittedError where that is not enough."""
    if connections > CONNECTIONS_MAX:
        words = f"one process has at most {CONNECTIONS_MAX} connections: use more --processes"
        raise NotSubmittedError("too_many_connections", words)
    needed = connections * DESCRIPTORS_A_CONNECTION + DESCRIPTORS_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise NotSubmittedError("too_many_files", _few_files_words())
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _can_be_read(socket: Socket) -> bool:
    events = socket.getsockopt(zmq.EVENTS)
    assert isinstance(events, int)
    return bool(events & zmq.POLLIN)


def _few_files_words() -> str:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return (
        f"too many open files: a process may have {hard} here, and a connection takes "
        f"{DESCRIPTORS_A_CONNECTION}; use fewer --connections, more --processes, or "
        f"{descriptors.ADVICE}"
    )
