"""What is read of the state: answers to queries, earlier changes, checksums.

The other half of :class:`paxosd.core.state.machine.Machine`, which applies the log. Nothing here
changes the state.
"""

from typing import Any

from paxosd.core.commands import PUT, Batch, Change, Entry, KeysChanged, KeyValue, Reign
from paxosd.core.state.chain import Trail
from paxosd.core.state.checksum import Checksums
from paxosd.core.state.entries import unpacked
from paxosd.core.state.history import History
from paxosd.core.state.kv import Store
from paxosd.core.state.leases import Leases
from paxosd.core.state.log_clock import LogClock
from paxosd.core.state.queries import Queries
from paxosd.core.state.sessions import Sessions
from paxosd.core.types import Slot


class MachineReads:
    """Its attributes are those of the machine."""

    __slots__ = ()

    applied: Slot
    checksum_runs: Checksums
    clock: LogClock
    history: History
    leases: Leases
    queries: Queries
    sessions: Sessions
    store: Store
    trail: Trail

    # ---- reads

    @property
    def log_time_ms(self) -> int:
        """The time by which sessions expire; see ``log_clock.py``."""
        return self.clock.now_ms

    @property
    def latest_reign(self) -> Reign:
        """As the last batch of the latest reign in the log has it."""
        return self.clock.reign

    @property
    def revision(self) -> int:
        """The store's revision."""
        return self.store.revision

    def is_over_quota(self, entry: Entry) -> bool:
        """Whether the store has no room for any of these commands, so that they need not go into
        the log to be refused. Those of which one was applied before have answers there."""
        session = self.sessions.table.get(entry.session)
        if not self.store.quota.limit_bytes or session is None:
            return False
        has_room_for = self.store.has_room_for
        return entry.first_seq > session.max_seq and all(
            command[0] == PUT and not has_room_for([(command[1], command[2])])
            for command in entry.commands
        )

    def prepare(self, queries: list[list[Any]], part: int = 1) -> bool:
        """As :meth:`Queries.prepare`."""
        return self.queries.prepare(queries, part)

    def query(self, queries: list[list[Any]], bytes_max: int, part: int = 1) -> list[Any]:
        """As :meth:`Queries.answer`."""
        return self.queries.answer(queries, bytes_max, self.leases, self.log_time_ms, part)

    # ---- history

    @property
    def history_floor_revision(self) -> int:
        """The oldest revision whose changes can be derived from the log of this node."""
        return self.history.floor_revision

    def slot_of_revision(self, revision: int) -> Slot:
        """The slot that made ``revision``; ``applied + 1`` for one that is still to come."""
        return self.history.slot_of_revision(revision)

    def changes_of(self, slot: Slot, batch: Batch | None) -> list[Change | KeysChanged]:
        """The changes that the applied slot ``slot`` made, derived from its ``batch``, in order.
        What one revision did to several keys is one of them. Raises HistoryCompactedError."""
        assert 1 <= slot <= self.applied
        return self.history.changes(slot, batch)

    @property
    def kept_from_revision(self) -> int:
        """The oldest revision that can be read, on every node alike; the changes above it are
        known."""
        return self.store.undo.floor

    def kept_changes(self, first: int, last: int) -> list[Change | KeysChanged]:
        """As :meth:`UndoLog.changes`."""
        return self.store.undo.changes(first, last)

    def key_before(self, revision: int, key: bytes) -> KeyValue | None:
        """A key as it was before a kept revision that changed it."""
        packed = self.store.undo.before(revision, key)
        return KeyValue(key, *unpacked(packed)) if packed else None

    # ---- checksums

    def chain_at(self, slot: Slot) -> int | None:
        """The chain after ``slot``; None if it is no longer or not yet known, or had feature level
        0."""
        return self.trail.before_last(self.applied - slot)

    @property
    def checksums(self) -> dict[Slot, str]:
        """Slot → checksum in hex, the last few."""
        return self.checksum_runs.finished

    def checksum_pending(self, slot: Slot) -> bool:
        """Whether the checksum of ``slot`` is being computed."""
        return self.checksum_runs.is_pending(slot)

    def checksum_left(self, slot: Slot) -> int:
        """How many keys have yet to be visited before the checksum of ``slot`` is finished."""
        return self.checksum_runs.left(slot)

    def advance_checksum(self, keys_max: int) -> bool:
        """Visit about ``keys_max`` keys (some µs each) for checksums; True if all are finished."""
        return self.checksum_runs.advance(keys_max)
