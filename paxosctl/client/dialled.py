"""One socket to one endpoint, made anew where ZeroMQ itself would not try again, or not rightly.

    dialled ── connected ── handshake succeeded ── up ── broke ──► ZeroMQ dials again by itself
                  └── handshake failed ──► another form (key) to try: a new socket, at once
                        none is left       └── a new socket after a pause, which doubles

After a handshake that was refused libzmq (4.3.5) dials no more; after one that broke it dials for
ever, even when it is asked to disconnect. So in both cases the socket is closed.
"""

import contextlib
import struct
from collections.abc import Callable
from typing import Protocol

import zmq

from paxosctl.client.credentials import HANDSHAKE_FAILURES, Credentials, Failure, Handshakes
from paxosctl.client.dial import PATIENCE_MS, Dial
from paxosctl.client.greeting import GreetingLook
from paxosctl.client.own_sockets import Socket
from paxosd.core.client.endpoints import OTHER_KEY, UNREACHABLE
from paxosd.host.clock import clock_ms
from paxosd.net.endpoints import same_endpoint
from paxosd.net.resolver import Resolver

PAUSE_MS = 250
"""After a handshake that failed in every form, the next try comes after this; then twice, …"""
PAUSE_MAX_MS = 2000
SLOW_MS = 1000
"""What breaks a handshake so long after its beginning is silence, and no wrong key."""
_OWN_EVENTS = zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED
_EVENT = struct.Struct("=HI")


class Ticks(Protocol):
    """What has to be looked at now and then."""

    def tick(self, now_ms: int) -> None:
        """Look."""
        ...


class Sockets(Protocol):
    """What of :class:`paxosctl.client.transport.Transport` this needs."""

    @property
    def credentials(self) -> Credentials | None: ...
    @property
    def resolver(self) -> Resolver: ...
    def mind(self, each: Ticks, *, on: bool) -> None: ...
    def socket(self, kind: int) -> Socket: ...
    def monitor(self, socket: Socket, events: int) -> Socket: ...
    def end_monitor(self, socket: Socket) -> None: ...
    def register(self, socket: Socket | int, handler: Callable[[], None]) -> None: ...
    def unregister(self, socket: Socket | int) -> None: ...


class DialledSocket:
    """``prepare(socket)``: sets what else the socket needs before it connects. ``on_event(dial,
    event, value)``: of the monitor, for the address that is connected to now. ``on_failed``: the
    handshake failed for good; it is tried again after a pause. Raises ValueError for an endpoint
    that is none."""

    def __init__(
        self,
        sockets: Sockets,
        kind: int,
        endpoint: str,
        events: int,
        *,
        prepare: Callable[[Socket], None],
        on_read: Callable[[], None],
        on_event: Callable[[Dial, int, int], None],
        on_failed: Callable[[Failure], None],
        on_unresolved: Callable[[str], None],
        patience_ms: int = PATIENCE_MS,
    ) -> None:
        self.socket: Socket | None = None
        """None: it is to be made anew."""
        self._sockets = sockets
        self._kind = kind
        self._endpoint = endpoint
        self._events = events | _OWN_EVENTS | HANDSHAKE_FAILURES
        self._prepare = prepare
        self._on_read = on_read
        self._on_event = on_event
        self._on_failed = on_failed
        self._on_unresolved = on_unresolved
        self._patience_ms = patience_ms
        self._handshakes = Handshakes(sockets.credentials, endpoint)
        self._dial: Dial | None = None
        self._monitor: Socket | None = None
        self._is_reading = True
        self._pause_ms = PAUSE_MS
        self._again_ms = 0
        self._connected_ms = 0
        self._look: GreetingLook | None = None
        self._look_due_ms = 0
        try:
            self._open()
        except Exception:  # not Ctrl-C, which may have left the poller by half: see OwnSockets
            self.close()
            raise

    @property
    def unresolved(self) -> str:
        """Why its name has no address, in words; "" if it has one, or needs none."""
        return self._dial.unresolved if self._dial is not None else ""

    @property
    def host(self) -> str:
        """The address that it is connected to, "" while its name has none."""
        return self._dial.host if self._dial is not None else ""

    @property
    def is_encrypted(self) -> bool:
        """Whether the node has to prove who it is by the form that is dialled now."""
        return self._handshakes.form.is_curve

    def prefer(self, address: str) -> None:
        """Of the name's addresses this one is known to work."""
        if self._dial is not None:
            self._dial.prefer(address, clock_ms())

    def heard(self) -> None:
        """Something came over it."""
        if self._dial is not None:
            self._dial.on_up()

    def read(self, *, on: bool) -> None:
        """Whether ``on_read`` is to be called when there is something to read; it is at first."""
        if self.socket is not None and on != self._is_reading:
            if on:
                self._sockets.register(self.socket, self._on_read)
            else:
                self._sockets.unregister(self.socket)
        self._is_reading = on

    def tick(self, now_ms: int) -> None:
        """Make it anew, if the pause is over."""
        if now_ms >= self._again_ms:
            self._sockets.mind(self, on=False)
            self._shut()
            self._handshakes.restart()
            self._reopen()

    def close(self, linger_ms: int = 0) -> None:
        """Close it for good; what was handed over last has ``linger_ms`` to leave."""
        self._sockets.mind(self, on=False)
        if self._look is not None:
            self._look.close()
        self._shut(linger_ms)

    def _open(self) -> None:
        made = self._make()
        try:
            self._dial = Dial(
                self._sockets,
                made,
                self._endpoint,
                on_unresolved=self._on_unresolved,
                renew=self._renew,
                patience_ms=self._patience_ms,
            )
        except (ValueError, zmq.ZMQError) as error:
            raise ValueError(f'"{self._endpoint}" is not an endpoint: {error}') from None

    def _make(self) -> Socket:
        """Raises zmq.ZMQError: the process has no descriptors left."""
        sockets = self._sockets
        made = sockets.socket(self._kind)
        try:
            self._prepare(made)
            self._handshakes.prepare(made)
            monitor = sockets.monitor(made, self._events)
        except Exception:
            sockets.end_monitor(made)
            made.close(0)
            raise
        self.socket, self._monitor = made, monitor
        if self._is_reading:
            sockets.register(made, self._on_read)
        sockets.register(monitor, lambda: self._read_monitor(monitor))
        return made

    def _reopen(self) -> None:
        """Open it, or after a pause, if the process has no descriptors left."""
        try:
            self._open()
        except zmq.ZMQError as error:
            self._shut()
            self._go_on(Failure(UNREACHABLE, f"no socket could be made: {error}"))

    def _renew(self) -> Socket:
        self._shut_socket()
        self._sockets.mind(self, on=True)  # it is tried again, if there is none now
        made = self._make()
        self._sockets.mind(self, on=False)
        return made

    def _shut(self, linger_ms: int = 0) -> None:
        if self._dial is not None:
            self._dial.close()
            self._dial = None
        self._shut_socket(linger_ms)

    def _shut_socket(self, linger_ms: int = 0) -> None:
        if self.socket is not None:
            assert self._monitor is not None
            if self._is_reading:
                self._sockets.unregister(self.socket)
            self._sockets.unregister(self._monitor)
            self._sockets.end_monitor(self.socket)
            self.socket.close(linger_ms)
            self.socket = self._monitor = None

    def _read_monitor(self, monitor: Socket) -> None:
        with contextlib.suppress(zmq.Again):
            while not monitor.closed:  # an event can make its reader close this
                head, endpoint = monitor.recv_multipart(zmq.NOBLOCK)
                event, value = _EVENT.unpack(head)
                dial = self._dial
                if dial is None or not same_endpoint(
                    endpoint.decode("ascii", "replace"), dial.target
                ):
                    continue  # of an address that was given up
                if event & HANDSHAKE_FAILURES:
                    self._failed(event, value)
                    continue
                if event == zmq.EVENT_CONNECTED:
                    self._connected_ms = clock_ms()
                elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    self._pause_ms = PAUSE_MS
                    self._handshakes.succeeded()
                self._on_event(dial, event, value)

    def _failed(self, event: int, value: int) -> None:
        target = self._dial.target if self._dial is not None else ""
        if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            if clock_ms() - self._connected_ms >= SLOW_MS:
                return  # DISCONNECTED follows, and ZeroMQ dials again
            if not self.is_encrypted:
                self._look_beside(target)
                return
        failure = self._handshakes.failed(event, value)
        self._shut()
        if failure is not None and failure.code == OTHER_KEY:
            # Or the other side had no key, or was just ending.
            self._look_at(target, lambda said: self._go_on(self._handshakes.greeted(said)))
        else:
            self._go_on(failure)

    def _look_at(self, target: str, on_end: Callable[[str], None]) -> None:
        if self._look is not None:
            self._look.close()
        self._look = GreetingLook(self._sockets, target, on_end)

    def _look_beside(self, target: str) -> None:
        """ZeroMQ dials again; meanwhile it is looked whether the node wants a key, now and then."""
        now_ms = clock_ms()
        if now_ms < self._look_due_ms:
            return
        self._look_due_ms = now_ms + PAUSE_MS

        def on_end(said: str) -> None:
            if said == "CURVE" and self.socket is not None and not self.is_encrypted:
                failure = self._handshakes.greeted(said)
                self._shut()
                self._go_on(failure)

        self._look_at(target, on_end)

    def _go_on(self, failure: Failure | None) -> None:
        if failure is None:
            self._reopen()
            return
        self._again_ms = clock_ms() + self._pause_ms
        self._pause_ms = min(PAUSE_MAX_MS, 2 * self._pause_ms)
        self._sockets.mind(self, on=True)
        self._on_failed(failure)
