"""Damage in the log or a snapshot of a running node is repaired from its memory.

All that a log records is in memory while the node runs: the promise, the votes above the commit
index, the state. So no peer is needed:

    bad segment    no more is written to it; a snapshot is taken that holds every slot with a
                   record in it or before it; then the log is released up to there, and with
                   its segments the damage is gone. A promise is in each later segment's STATE.
                   A vote for a slot that is not chosen yet keeps the segment until it is.
    bad snapshot   set aside; another one is taken

The margin for laggards and the older snapshot's claim on the log give way to that. A node that
dies before the repair is done finds the damage at its start (``replica/quarantine.py``), unless a
later record says already that the segment is released, and it is gone.
"""

from collections.abc import Callable

from paxosd.core.state.machine import Machine
from paxosd.core.types import Slot
from paxosd.host.log import Log
from paxosd.snapshot.file import snapshot_name
from paxosd.snapshot.keeper import RETRY_MS, Snapshots
from paxosd.storage.wal_format import segment_name


class LogRepair:
    """Report damage to it, and call :meth:`turn` once a turn. ``found`` and ``repaired`` count."""

    def __init__(
        self, snapshots: Snapshots, machine: Machine, flush: Callable[[], None], log: Log
    ) -> None:
        """``flush``: have the open group of the log written, though nothing waits for it."""
        self.found = 0
        self.repaired = 0
        self._snapshots = snapshots
        self._wal = snapshots.wal
        self._machine = machine
        self._flush = flush
        self._log = log
        self._segments: set[int] = set()
        self._bad_snapshots: dict[Slot, int] = {}
        """Those set aside, and how many had been taken by then."""
        self._ask_due_ms = 0.0

    @property
    def pending(self) -> bool:
        """Whether there is damage that is not repaired."""
        return bool(self._segments or self._bad_snapshots)

    def bad_segment(self, number: int, offset: int, event: str, reason: str) -> None:
        """A segment is damaged. ``event``: what to call that."""
        if number in self._segments or not self._wal.segments.is_needed(number):
            return
        self._segments.add(number)
        self._report(event, segment_name(number), offset, reason)

    def bad_snapshot(self, slot: Slot, event: str, reason: str) -> None:
        """The snapshot of this slot is damaged."""
        if self._snapshots.find(slot) is None:
            return
        self._bad_snapshots[slot] = self._snapshots.taken
        self._report(event, snapshot_name(slot), -1, reason)
        self._snapshots.discard(slot)

    def _report(self, event: str, name: str, offset: int, reason: str) -> None:
        self.found += 1
        self._log.error(event, segment=name, offset=offset, message=reason)

    def turn(self, now_ms: float) -> None:
        """Go on by a step. Raises StorageError of the log alone."""
        if self._segments:
            self._wal.collect_dropped()
            for number in sorted(self._segments):
                if not self._wal.segments.holds(number):
                    self._segments.remove(number)
                    self._repaired(segment_name(number))
                elif self._wal.segments.is_needed(number):
                    self._mend(number, now_ms)
        for slot, taken in list(self._bad_snapshots.items()):
            if self._snapshots.taken > taken:
                del self._bad_snapshots[slot]
                self._repaired(snapshot_name(slot))

    def _mend(self, number: int, now_ms: float) -> None:
        wal, newest = self._wal, self._snapshots.newest
        if not wal.segments.is_sealed(number):
            wal.seal(number)
            self._flush()
            return
        top = wal.segments.top_through(number)
        if newest is not None and newest.slot >= top:
            if wal.commit >= top:
                self._snapshots.release_through(top)
                self._flush()
        elif self._machine.applied >= top and now_ms >= self._ask_due_ms:
            self._ask_due_ms = now_ms + RETRY_MS
            self._snapshots.ask()

    def _repaired(self, name: str) -> None:
        self.repaired += 1
        self._log.info("storage.repaired", segment=name)
