"""The context and the sockets of one client, which end without waiting, whatever interrupted it.

ZeroMQ ends a context only when each of its sockets is closed, and waits for that for ever. Ctrl-C
can come between any two lines: also when a socket was made, and nobody knows of it yet but the
traceback of the exception, which lives as long as it is handled. So it is counted here how many
sockets were begun and how many are known: if one is missing, nobody waits for the context. It ends
by itself, in a thread of its own, once the traceback has gone and the socket with it.

libzmq's one I/O thread waits for ever, too, where it reports an event and nobody can take it: the
monitor is full (a client that is idle for long, while its node refuses connections), or was closed
before the reports were ended. It holds a lock then that the closing of the socket needs. So a
monitor is read empty, then the reports are ended, and only then anything is closed.
"""

import contextlib
import threading
from collections.abc import Callable

import zmq

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]


class OwnSockets:
    """Makes sockets, and closes all of them. For one thread."""

    def __init__(self, sockets_max: int) -> None:
        self._context: Context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, sockets_max)
        self._sockets: list[Socket] = []
        self._monitors: dict[Socket, Socket] = {}
        """The sockets that are monitored → the monitor of each."""
        self._begun = 0
        self._known = 0

    def make(self, kind: int) -> Socket:
        """A new socket. Raises zmq.ZMQError."""
        return self._keep(lambda: self._context.socket(kind))

    def monitor(self, socket: Socket, events: int) -> Socket:
        """The socket on which ZeroMQ reports these events of ``socket``, one for each of them."""
        monitor = self._keep(lambda: socket.get_monitor_socket(events))
        self._monitors[socket] = monitor
        return monitor

    def end_monitor(self, socket: Socket) -> None:
        """End the reports about ``socket``, if there are any; to be called before it is closed."""
        monitor = self._monitors.get(socket)
        if monitor is not None and not monitor.closed:
            with contextlib.suppress(zmq.Again):
                while True:
                    monitor.recv_multipart(zmq.NOBLOCK)
        if not socket.closed:
            socket.disable_monitor()
        if monitor is not None:
            monitor.close(0)
            del self._monitors[socket]

    def _keep(self, make: Callable[[], Socket]) -> Socket:
        self._sockets[:] = [each for each in self._sockets if not each.closed]
        self._begun += 1
        made = make()
        self._sockets.append(made)
        self._known += 1
        return made

    def close(self, linger_ms: int | None = None) -> None:
        """Close all; what was sent has ``linger_ms``, None: as long as each socket gives it."""
        # By this list and not by the context's own: a socket leaves that one before it is closed.
        for socket in self._sockets:
            if not socket.closed:
                self.end_monitor(socket)
        for socket in self._sockets:
            socket.close(linger_ms)
        if self._begun == self._known:
            self._context.term()
        else:
            name = "paxosd-context-end"
            threading.Thread(target=self._context.term, name=name, daemon=True).start()
