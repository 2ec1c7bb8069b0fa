"""The sockets of a client: one DEALER per endpoint, each with a monitor of its state.

A link never queues for a daemon that is not there: a request is handed to a connection that
stands, or not at all, so that "never sent" and "sent, and no answer" can be distinguished.

A :class:`Transport` belongs to one thread of one process at a time (``owner.py``).
"""

import warnings
import weakref
from collections.abc import Callable
from typing import Any

import zmq

from paxosctl.client.credentials import NO_HANDSHAKE, Credentials, Failure
from paxosctl.client.dial import Dial
from paxosctl.client.dialled import DialledSocket, Ticks
from paxosctl.client.own_sockets import OwnSockets, Socket
from paxosctl.client.owner import Owner
from paxosctl.client.waker import Waker
from paxosd.host.clock import clock_ms
from paxosd.net.keepalive import KERNEL_FINDS_DEAD_ENDS
from paxosd.net.resolver import Resolver
from paxosd.net.silence import ALIVE, Silence, Verdict, traffic_of
from paxosd.wire import encode_client

MIB = 1 << 20
MESSAGE_BYTES_MAX = 256 * MIB
"""Larger than any answer; another program on the port cannot fill the memory with a larger one."""
HANDSHAKE_IVL_MS = 3000
"""A connection that was accepted and then is silent (a black hole, a stopped daemon) is given up
after this; :meth:`Link.look` finds a connection that becomes silent later."""
RECONNECT_IVL_MS = 50
RECONNECT_IVL_MAX_MS = 500
CONNECT_TIMEOUT_MS = 2000
SOCKETS_MAX = 4096
NAMES_MS = 50
"""How often the connections that wait for a name, or to be made anew, are looked at."""
RECEIVES_MAX = 200
"""Frames taken from one socket before the others get a turn."""

REFUSED = "the connection was refused"
LOST = "the connection was lost"
SILENT = "nothing came from it any more"

_ALIVE = encode_client(ALIVE, "")

_EVENTS = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
)


class Transport:
    """Sockets, each with a handler that is called when it can be read. Only the thread that owns it
    may use it; any other gets a RuntimeError (see :class:`~paxosctl.client.owner.Owner`).

    ``waker``: ends a :meth:`poll` from another thread. ``credentials``: by which all of its sockets
    dial; None: without keys."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        self.credentials = credentials
        self.owner = Owner()
        self.waker = Waker()
        self._sockets = OwnSockets(SOCKETS_MAX)
        self._poller = zmq.Poller()
        self._handlers: dict[Any, Callable[[], None]] = {}
        # The finalizer keeps context and sockets alive. Collected together with this, the context
        # would no longer find its sockets, and wait for ever for them to be closed.
        self._finalizer = weakref.finalize(self, _abandon, self.owner, self._sockets, self.waker)
        self._finalizer.atexit = False  # the process ends, and its sockets with it
        self._resolver: Resolver | None = None
        self._ticking: dict[Ticks, None] = {}
        """What has to be looked at now and then: above all the dials that follow a name, without a
        connection that stands."""
        self._poller.register(self.waker.fd, zmq.POLLIN)
        self._handlers[self.waker.fd] = self.waker.drain
        self.registrations = 0
        """Changes whenever :meth:`descriptors` would return others."""

    def descriptors(self) -> dict[Any, int]:
        """What is polled → the descriptor that becomes readable before :meth:`poll` has something
        to do, or without a reason. Those of sockets report new events only: poll until nothing is
        left."""
        return {
            each: each if isinstance(each, int) else int(each.getsockopt(zmq.FD))
            for each, _ in self._poller.sockets
        }

    @property
    def follows_names(self) -> bool:
        """Whether it has to be polled every ``NAMES_MS``, whatever can be read."""
        return bool(self._ticking)

    @property
    def resolver(self) -> Resolver:
        """Finds the addresses of names; made when it is first needed."""
        if self._resolver is None:
            self._resolver = Resolver()
            self._poller.register(self._resolver.wake_fd, zmq.POLLIN)
            self.registrations += 1
        return self._resolver

    def mind(self, each: Ticks, *, on: bool) -> None:
        """Begin, or cease, to call its ``tick`` every ``NAMES_MS``."""
        if on:
            self._ticking[each] = None
        else:
            self._ticking.pop(each, None)

    def socket(self, kind: int) -> Socket:
        """A socket with the options that all of them share, not connected yet."""
        self.owner.check()
        made = self._sockets.make(kind)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX),
            (zmq.HANDSHAKE_IVL, HANDSHAKE_IVL_MS),
            (zmq.RECONNECT_IVL, RECONNECT_IVL_MS),
            (zmq.RECONNECT_IVL_MAX, RECONNECT_IVL_MAX_MS),
            (zmq.CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS),
            *KERNEL_FINDS_DEAD_ENDS.items(),
        ):
            made.setsockopt(option, value)
        return made

    def monitor(self, socket: Socket, events: int) -> Socket:
        """The socket on which ZeroMQ reports these events of ``socket``, one for each of them."""
        self.owner.check()
        return self._sockets.monitor(socket, events)

    def end_monitor(self, socket: Socket) -> None:
        """End the reports about ``socket``; to be called before it is closed."""
        self._sockets.end_monitor(socket)

    def register(self, socket: Socket | int, handler: Callable[[], None]) -> None:
        """Call ``handler`` from :meth:`poll` when ``socket``, or a descriptor, can be read."""
        self._poller.register(socket, zmq.POLLIN)
        self._handlers[socket] = handler
        self.registrations += 1

    def unregister(self, socket: Socket | int) -> None:
        """The end of :meth:`register`."""
        self._poller.unregister(socket)
        del self._handlers[socket]
        self.registrations += 1

    def poll(self, timeout_ms: int) -> bool:
        """Wait for sockets to read and let their handlers do so; whether there were any."""
        self.owner.check()
        ready = self._poller.poll(min(timeout_ms, NAMES_MS) if self._ticking else timeout_ms)
        handlers = self._handlers
        for socket, _ in ready:
            handler = handlers.get(socket)  # an earlier handler may have closed it
            if handler is not None:
                handler()
        if self._resolver is not None:
            self._resolver.poll()
        for each in list(self._ticking):
            if each in self._ticking:  # an earlier one's owner may have closed it
                each.tick(clock_ms())
        return bool(ready)

    def close(self) -> None:
        """Close every socket; waits no longer than the longest linger."""
        self.owner.check()
        self._finalizer.detach()
        self._sockets.close()
        self.waker.close()
        if self._resolver is not None:
            self._resolver.close()


def _abandon(owner: Owner, sockets: OwnSockets, waker: Waker) -> None:
    """The end of a transport that nobody closed, in whichever thread collects it: nobody else can
    be using it any more. In a forked child ZeroMQ's own objects know that they are the parent's."""
    if owner.is_forked:
        return
    sockets.close(0)
    waker.close()
    warnings.warn("a client of paxosd was not closed", ResourceWarning, stacklevel=1)


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
        on_refused: Callable[[Failure], None] | None = None,
    ) -> None:
        """``on_refused``: the handshake failed for a reason that hardly passes by itself; without
        it that is an ``on_down``."""
        self.endpoint = endpoint
        self._transport = transport
        self._on_frame = on_frame
        self._on_up = on_up
        self._on_down = on_down
        self._state = "connecting"
        self._descriptor = -1
        """Of the connection, which is ZeroMQ's."""
        self._silence = Silence()
        self._address = ""
        """The numeric endpoint that ``_state`` is about."""
        self._dialled = DialledSocket(
            transport,
            zmq.DEALER,
            endpoint,
            _EVENTS,
            prepare=lambda dealer: dealer.setsockopt(zmq.IMMEDIATE, 1),
            on_read=self._read,
            on_event=self._on_event,
            on_failed=on_refused or (lambda failure: on_down(failure.message)),
            on_unresolved=on_down,
        )

    @property
    def unresolved(self) -> str:
        """Why its name has no address, in words; "" if it has one, or needs none."""
        return self._dialled.unresolved

    @property
    def host(self) -> str:
        """The address that it is connected to, "" while its name has none."""
        return self._dialled.host

    @property
    def is_encrypted(self) -> bool:
        """Whether what it brings is from a node that has proved who it is."""
        return self._dialled.is_encrypted

    def send(self, frame: bytes) -> bool:
        """Hand a frame that will be answered to the connection; False if there is none, or it is
        full."""
        self._transport.owner.check()
        taken = self._hand_over(frame)
        if taken and not self._silence.is_watching:
            self._silence.sent(clock_ms())
        return taken

    def _hand_over(self, frame: bytes) -> bool:
        dealer = self._dialled.socket
        if dealer is None:
            return False
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

    @property
    def is_watched(self) -> bool:
        """Whether an answer is waited for, so that :meth:`look` is to be called."""
        return self._state == "up" and self._silence.is_watching

    def look(self, *, waiting: bool = False) -> bool:
        """Whether the connection is dead, though it stands: its owner is to close this link, and
        to make another. To be called every ``silence.LOOK_MS`` while :attr:`is_watched`, when all
        that has come was read. ``waiting``: whether an answer is waited for, however old the
        request is."""
        if self._state != "up":
            return False
        verdict = self._silence.look(clock_ms(), traffic_of(self._descriptor), waiting=waiting)
        if verdict is Verdict.ASK:
            self._hand_over(_ALIVE)
        return verdict is Verdict.DEAD

    def close(self, linger_ms: int = 0) -> None:
        """Close the sockets; what was handed over last has ``linger_ms`` to leave."""
        self._transport.owner.check()
        self._dialled.close(linger_ms)

    def _read(self) -> None:
        dealer = self._dialled.socket
        if dealer is None:
            return
        receive = dealer.recv
        on_frame = self._on_frame
        try:
            for _ in range(RECEIVES_MAX):
                frame = receive(zmq.NOBLOCK)
                self._silence.heard()
                on_frame(frame)
        except zmq.Again:
            pass
        except zmq.ZMQError:
            if not dealer.closed:  # else a frame made its reader close the link
                raise

    def _on_event(self, dial: Dial, event: int, value: int) -> None:
        if dial.target != self._address:
            self._address, self._state = dial.target, "connecting"
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._state = "up"
            dial.on_up()
            self._on_up()
        elif event == zmq.EVENT_CONNECTED:
            self._state = "accepted"
            self._descriptor, self._silence = value, Silence()
        elif event == zmq.EVENT_DISCONNECTED:
            reason = LOST if self._state == "up" else NO_HANDSHAKE
            self._state, self._descriptor = "lost", -1
            self._read()  # what the daemon said before it went still counts
            dial.on_down(clock_ms())
            self._on_down(reason)
        elif event == zmq.EVENT_CLOSED and self._state == "lost":
            self._state = "connecting"  # tried again, and refused: CONNECT_RETRIED follows
        elif event == zmq.EVENT_CONNECT_RETRIED and self._state == "connecting":
            refused = dial.on_down(clock_ms(), refused=True)
            if refused:  # by each address that its name has
                self._on_down(REFUSED)
