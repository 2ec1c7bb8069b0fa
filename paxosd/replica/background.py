"""The work of a turn that may wait: a piece at a time, so that no turn becomes long.

Publishing what a removed range held and taking it out of the store; a piece of a snapshot or of a
running checksum; the index of keys for scans, when it is quiet.
"""

from paxosd.core.node import Node
from paxosd.core.state.machine import Machine
from paxosd.replica.watch_publisher import EventPublisher
from paxosd.snapshot.exchange import SnapshotExchange

KEYS_PER_TURN = 1000
"""How many keys background work (checksums, removed ranges, the scan index) takes at a time."""
KEYS_BUSY = 250
"""The same in a turn that has done much already: a little, for the work must end some time."""
QUIET_MS = 50.0
"""After so long without a request or a new slot the scan index is brought up to date."""


class BackgroundWork:
    """The background work of one replica."""

    def __init__(
        self,
        node: Node,
        machine: Machine,
        events: EventPublisher,
        exchange: SnapshotExchange | None,
    ) -> None:
        self._node = node
        self._machine = machine
        self._events = events
        self._exchange = exchange
        self._quiet_from_ms = 0.0
        self._applied = 0
        self._rest_first = False
        self._pauses = False
        """Whether nothing is applied now: what was applied has yet to be published."""

    @property
    def is_due(self) -> bool:
        """Whether there is work for the next turn, at once."""
        machine, store = self._machine, self._machine.store
        return bool(
            machine.checksum_runs.running
            or machine.disposal.rest
            or self._events.backlog
            or machine.sessions.expired
            or (store.removals and store.can_remove)
        )

    def index_due_ms(self, now_ms: float) -> float | None:
        """When the scan index is to be worked on; None: it is up to date."""
        store = self._machine.store
        if store.added or store.removed:
            return max(self._quiet_from_ms, now_ms + 1.0)
        return None

    def turn(self, now_ms: float, wall_ms: int, *, requests: int, stands_still: bool) -> None:
        """Do a piece. ``requests``: how many came in this turn. ``stands_still``: the state has
        diverged, so that no snapshot of it is taken or sent."""
        if requests or self._node.applied != self._applied:
            self._applied = self._node.applied
            self._quiet_from_ms = now_ms + QUIET_MS
        machine = self._machine
        store = machine.store
        if self._events.backlog or self._pauses:
            self._events.pump()
            self._pauses = self._node.pausing = self._events.lags
        keys_max = max(KEYS_BUSY, KEYS_PER_TURN - machine.work.units)
        busy = keys_max == KEYS_BUSY
        # A piece of a snapshot is as large in any turn: in a busy one it takes turns with the rest.
        self._rest_first = busy and not self._rest_first
        if self._exchange is not None and not stands_still and not self._rest_first:
            self._exchange.turn(now_ms, wall_ms)
            if busy:
                return
        if store.removals:
            store.advance_removal(keys_max)
        if machine.sessions.expired:
            machine.sessions.advance(keys_max)
        elif machine.disposal.rest:
            machine.disposal.advance(keys_max)
        if machine.checksum_runs.running:
            machine.advance_checksum(keys_max)
        elif now_ms >= self._quiet_from_ms and (store.added or store.removed):
            store.advance_index(keys_max)
