"""The connections to the listening sockets, for the loop: limits, figures, log lines.

``connections.py`` does the counting, in a thread of its own.
"""

from collections.abc import Callable, Mapping

from paxosd.bus.connections import (
    CURVE_HANDSHAKE_BYTES,
    HANDSHAKE_BYTES,
    ConnectionGuard,
    StuckReaders,
)
from paxosd.bus.refusal_log import RefusalLog
from paxosd.bus.socket_set import Context
from paxosd.bus.sockets import BusSockets
from paxosd.core.status import PortStatus
from paxosd.host.byte_limits import EVENT_BYTES_MAX
from paxosd.host.descriptors import ADVICE


class PortWatch:
    """Watches the sockets that listen: peer, client, events. Nothing is counted, and nothing is
    limited, before :meth:`limit`."""

    def __init__(
        self,
        context: Context,
        sockets: BusSockets,
        refusals: RefusalLog,
        now_ms: Callable[[], int],
        *,
        wants_keys: bool,
    ) -> None:
        """``wants_keys``: whether a connection has to prove a key before it is one."""
        self._wants_keys = wants_keys
        self._context = context
        self._sockets = sockets
        self._refusals = refusals
        self._now_ms = now_ms
        self._guard: ConnectionGuard | None = None
        self._stuck: StuckReaders | None = None
        self._refused_logged: dict[str, int] = {}
        """What listens → the connections refused, when that was logged last."""

    def limit(self, limits: Mapping[str, int]) -> None:
        """From now on the sockets that listen (peer, client, events) take so many connections."""
        sockets = self._sockets
        listening = {"peer": sockets.peer, "client": sockets.client, "events": sockets.events}
        self._guard = ConnectionGuard(
            self._context,
            {what: (socket, sockets.bound[what]) for what, socket in listening.items()},
            limits,
            handshake_bytes=CURVE_HANDSHAKE_BYTES if self._wants_keys else HANDSHAKE_BYTES,
        )
        self._stuck = StuckReaders(self._guard, "events")

    @property
    def status(self) -> dict[str, PortStatus]:
        """What listens → its connections; empty if they are not counted."""
        return {} if self._guard is None else self._guard.status

    def take_failed(self) -> list[tuple[str, str, int]]:
        """The connections whose handshakes failed since the last call: to what listens, from which
        address, and what libzmq says of it."""
        return [] if self._guard is None else self._guard.take_failed()

    @property
    def ended_early(self) -> int:
        """How many connections ended within their handshakes, nobody knows why."""
        return 0 if self._guard is None else self._guard.ended_early

    def end_all(self, what: str) -> None:
        """End every connection to what listens (peer, client, events) that was made before this
        call. Their other ends may connect again, if they are let in."""
        if self._guard is not None:
            self._guard.end_all(what)

    def log_refused(self) -> None:
        """To be called now and then: log that there were more connections than may be."""
        now_ms = self._now_ms()
        for what, port in self.status.items():
            if port.refused != self._refused_logged.get(what, 0):
                self._refused_logged[what] = port.refused
                self._refusals.note(
                    "bus.connections_full",
                    what,
                    "full",
                    now_ms,
                    most=port.most,
                    refused=port.refused,
                    advice=f"find who opens so many, or let this process have more descriptors: "
                    f"{ADVICE}",
                )

    def end_stuck(self, waiting_bytes: int) -> None:
        """To be called now and then: end the connections of subscribers that do not read, once much
        waits for them. They may connect again, and get what they missed from the history.
        ``waiting_bytes``: what is held for all subscribers."""
        now_ms = self._now_ms()
        if self._stuck is not None:
            ended = self._stuck.look(waiting_bytes > EVENT_BYTES_MAX // 2, now_ms)
            if ended:
                fields = {"waiting_bytes": waiting_bytes, "ended": ended}
                self._refusals.note("bus.subscribers_slow", "events", "slow", now_ms, **fields)

    def close(self) -> None:
        """Watch no more; to be called before the sockets are closed."""
        if self._guard is not None:
            self._guard.close()
            self._guard = None
