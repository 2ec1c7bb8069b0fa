"""When a node takes a snapshot, and which part of the log it gives back after that.

    the log grew enough ──► walk the state, a little each turn ──► write, sync, rename (helper)
                                                                            │
    log released up to the older of the two kept, less a margin ◄───────────┘

- "Enough" is ``slots_max`` slots, or ``log_bytes_max`` bytes but never fewer than the last
  snapshot's own: so what snapshots write is at most what the log writes, however large the state.
- All nodes apply the same slots, so they would all take theirs at the same moment: ``spread``,
  another on each node, draws that apart.
- The walk is the main thread's: 2 to 5 us a key, in steps of ``KEYS_PER_STEP``. A fork would
  copy every page that a reference count touches; a helper thread or a persistent map would cost
  each write more than the walk costs all in all.
- The log goes back to the *older* of the two snapshots kept, so that a bad newest one can be
  made good. At least ``margin_slots`` below the commit index stay for nodes that lag behind,
  unless that is more than LOG_SHARE times what brings a snapshot about.
- A snapshot that cannot be written is no reason to stop: it is said, and tried again later.
"""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

from paxosd.core.state.machine import Machine
from paxosd.core.state.snapshot import SnapshotWalk
from paxosd.core.state.snapshot_head import Members, head_has_sum
from paxosd.core.status import SnapshotStatus
from paxosd.core.types import NodeId, Slot
from paxosd.host.histogram import Histogram
from paxosd.host.log import Log
from paxosd.snapshot.file import (
    BLOCK_BYTES,
    HEAD,
    HISTORY,
    LEASES,
    NAMES,
    ROWS,
    SESSIONS,
    SnapshotInfo,
    SnapshotWriter,
    encode_head,
    encode_history,
    encode_leases,
    encode_names,
    encode_rows,
    encode_sessions,
    set_aside,
    snapshot_name,
)
from paxosd.snapshot.jobs import Job, Jobs, finish, no_matter
from paxosd.snapshot.restore import KeptSnapshots
from paxosd.storage.disk import Disk
from paxosd.storage.wal import Wal

KEYS_PER_STEP = 500
"""How many keys of the walk one step takes: 1 to 2.5 ms, the more the larger the state."""
STEP_MS = 2.0
"""The shortest time between two steps: without it an idle loop would use the whole processor."""
UNWRITTEN_BYTES_MAX = 4 << 20
"""The walk waits while more than this waits to be written."""
WRITE_BYTES = 1 << 20
"""Blocks are handed to the helper in runs of about this."""
READ_BYTES = 256 << 10
"""What one answer about a file holds."""
RETRY_MS = 60_000.0
LOG_SHARE = 2
WAIT_SHARE = 1.25
"""A snapshot that is due waits for a slot at which states are compared, until the log has grown to
this many times what brings one about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOptions:
    """``cluster`` and ``members`` go into each snapshot; the rest see the module."""

    cluster: str
    members: Members
    slots_max: int = 200_000
    log_bytes_max: int = 256 << 20
    margin_slots: int = 10_000
    spread: float = 1.0
    """At least 1: this many times slots_max and log_bytes_max bring a snapshot about here."""
    send_bytes_per_s: int = 32 << 20
    """What a donor sends, to all laggards together."""
    chunk_bytes: int = 256 << 10
    """What one message of a transfer holds."""
    scrub_bytes_per_s: int = 0
    """How fast log and snapshots are read again, in search of damage (``scrub.py``); 0: never."""
    scrub_interval_ms: float = 86_400_000
    """From the end of one such pass to the next."""


@dataclass(slots=True)
class _SnapshotInProgress:
    """A snapshot that is being taken. ``blocks`` wait to be written."""

    walk: SnapshotWalk
    writer: SnapshotWriter
    started_ms: float
    blocks: list[tuple[int, bytes]]
    waiting_bytes: int = 0
    step_due_ms: float = 0.0
    writing: bool = False
    finishing: bool = False

    def add(self, kind: int, payload: bytes) -> None:
        self.blocks.append((kind, payload))
        self.waiting_bytes += len(payload)


class Snapshots:
    """One node's own snapshots. ``newest`` is the one that is there, ``taken`` counts."""

    def __init__(
        self,
        options: SnapshotOptions,
        *,
        machine: Machine,
        wal: Wal,
        disk: Disk,
        jobs: Jobs,
        kept: KeptSnapshots,
        log: Log,
    ) -> None:
        self.options = options
        self.newest: SnapshotInfo | None = kept.newest
        self.taken = 0
        self.times = Histogram()
        """How long each of them took."""
        self.fetches: dict[NodeId, tuple[Slot, float]] = {}
        """Per peer that fetches a snapshot: its slot, and when the peer asked last (ms). Maintained
        by :class:`paxosd.snapshot.donor.Donor`. They are kept, and the log above them."""
        self._machine = machine
        self.wal = wal
        self.disk = disk
        self.jobs = jobs
        self._log = log
        # Without a digest: known by its name alone, since an earlier start.
        self._older = [SnapshotInfo(slot, 0, b"", 0) for slot in kept.older]
        self._taking: _SnapshotInProgress | None = None
        self._begun: SnapshotWalk | None = None
        """The walk of a slot that has just been applied, for the snapshot that is taken next."""
        self._now_ms = 0.0
        self._not_before_ms = 0.0
        self._asked = False

    # -- what others ask

    @property
    def active(self) -> bool:
        """Whether one is being taken, or was asked for."""
        return self._taking is not None or self._begun is not None or self._asked

    @property
    def running(self) -> bool:
        """Whether one is being taken."""
        return self._taking is not None

    def ask(self) -> dict[str, Any]:
        """Take one soon, whether the log has grown or not."""
        self._asked = True
        self._not_before_ms = 0.0
        slot = self.newest.slot if self.newest else 0
        return {"applied": self._machine.applied, "slot": slot, "running": self.running}

    def read(self, slot: Slot, offset: int) -> dict[str, Any]:
        """A piece of the file of a snapshot, 0: of the newest. Raises LookupError, OSError."""
        info = self.newest if slot == 0 else self.find(slot)
        if info is None:
            raise LookupError(f"there is no snapshot of slot {slot} here any more")
        slot = info.slot
        file = self.disk.open(snapshot_name(slot))
        try:
            data = file.pread(READ_BYTES, offset)
            return {"slot": slot, "offset": offset, "total": file.size(), "data": data}
        finally:
            file.close()

    def find(self, slot: Slot) -> SnapshotInfo | None:
        """The snapshot of this slot, if it is there; an old one may have no digest."""
        return next((info for info in self.kept if info.slot == slot), None)

    @property
    def kept(self) -> list[SnapshotInfo]:
        """Those that are there, the oldest first; an old one may have no digest."""
        return [*self._older, *([self.newest] if self.newest is not None else [])]

    def status(self, wall_ms: int) -> SnapshotStatus:
        """What this node's own snapshots are like; slot 0: there is none."""
        newest = self.newest
        return SnapshotStatus(
            slot=newest.slot if newest else 0,
            age_ms=max(0, wall_ms - newest.created_ms) if newest else -1,
            bytes=newest.size_bytes if newest else 0,
            older_slots=tuple(info.slot for info in self._older),
            running=self.running,
            taken=self.taken,
        )

    def next_due_ms(self, now_ms: float) -> float:
        """When the next turn is due."""
        if self._taking is None or self._blocked():
            return float("inf")
        return max(now_ms, self._taking.step_due_ms)

    # -- the turn

    def turn(self, now_ms: float, wall_ms: int) -> None:
        """Do a little of the work. Raises StorageError, of the log alone."""
        self._now_ms = now_ms
        self.jobs.turn()
        taking = self._taking
        if taking is not None:
            if now_ms >= taking.step_due_ms and not self._blocked():
                taking.step_due_ms = now_ms + STEP_MS
                self._step(taking)
            self._hand_over(taking)
        elif self._begun is not None:
            walk, self._begun = self._begun, None
            self._start(walk, now_ms, wall_ms)
        elif self._due(now_ms) and not self._waits():
            self._machine.at_sum = None
            self._start(SnapshotWalk(self._machine, self.options.members), now_ms, wall_ms)

    def _blocked(self) -> bool:
        taking = self._taking
        assert taking is not None
        return taking.walk.done or taking.waiting_bytes >= UNWRITTEN_BYTES_MAX

    def _due(self, now_ms: float) -> bool:
        if now_ms < self._not_before_ms:
            return False
        applied = self._machine.applied
        slot = self.newest.slot if self.newest else 0
        if applied <= slot:
            self._asked = False
            return False
        return (
            self._asked
            or applied - slot >= self.options.slots_max * self.options.spread
            or self.wal.bytes_after(slot) >= self._enough_bytes() * self.options.spread
        )

    def _waits(self) -> bool:
        """Whether to wait for the next slot at which all nodes sum up their states: what is in a
        snapshot of that slot can be compared. Not if somebody asked for it, nor for long."""
        machine, options = self._machine, self.options
        if self._asked or not machine.settings.level:
            return False
        slot = self.newest.slot if self.newest else 0
        spacing = machine.checksum_spacing
        if (
            spacing > options.slots_max
            or machine.applied - slot >= options.slots_max * options.spread + spacing
            or self.wal.bytes_after(slot) >= WAIT_SHARE * self._enough_bytes() * options.spread
        ):
            return False
        machine.at_sum = self._begin_at_sum
        return True

    def _begin_at_sum(self) -> None:
        """All nodes sum up what the machine holds now."""
        if self._taking is None:
            self._begun = SnapshotWalk(self._machine, self.options.members)

    def _start(self, walk: SnapshotWalk, now_ms: float, wall_ms: int) -> None:
        options = self.options
        wall_ms = max(0, wall_ms)  # a file of before 1970 would count as damaged
        if walk.head.slot == self._machine.applied:
            self._asked = False  # else it is of before somebody asked, and another one follows
            if head_has_sum(walk.head):
                self._machine.sum_up()
        writer = SnapshotWriter(self.disk, walk.head.slot, wall_ms)
        self._taking = _SnapshotInProgress(walk, writer, now_ms, [])
        self._taking.add(HEAD, encode_head(options.cluster, wall_ms, walk.head))
        self._log.info("snapshot.started", slot=walk.head.slot, keys=walk.head.keys)

    def _step(self, taking: _SnapshotInProgress) -> None:
        sessions = taking.walk.sessions()
        if sessions:
            taking.add(SESSIONS, encode_sessions(sessions))
            return
        names = taking.walk.names()
        if names:
            taking.add(NAMES, encode_names(names))
            return
        leases = taking.walk.leases()
        if leases:
            taking.add(LEASES, encode_leases(leases))
            return
        history = taking.walk.history()
        if history:
            taking.add(HISTORY, encode_history(history))
            return
        rows = taking.walk.rows(KEYS_PER_STEP, BLOCK_BYTES)
        if rows:
            taking.add(ROWS, encode_rows(rows))

    def _hand_over(self, taking: _SnapshotInProgress) -> None:
        """Have the blocks that are ready written."""
        if taking.writing:
            return
        done = taking.walk.done
        writer = taking.writer
        if taking.blocks and (done or taking.waiting_bytes >= WRITE_BYTES):
            blocks, taking.blocks, taking.waiting_bytes = taking.blocks, [], 0
            taking.writing = True
            self.jobs.run(lambda: writer.write(blocks), lambda job: self._wrote(taking, job))
        elif done and not self._machine.checksum_pending(taking.walk.head.slot):
            taking.walk.close()
            total = ""  # below feature level 1 an older program may read it
            if head_has_sum(taking.walk.head):
                total = self._machine.checksums.get(taking.walk.head.slot, "")
            taking.writing = taking.finishing = True
            kept = self._in_use()
            if self.newest is None and self._older:
                kept |= {self._older[-1].slot}  # a bad one was set aside: there are no two yet
            surplus = tuple(info.slot for info in self._older if info.slot not in kept)
            self.jobs.run(
                lambda: finish(writer, total, self.disk, surplus),
                lambda job: self._finished(taking, surplus, job),
            )

    def _wrote(self, taking: _SnapshotInProgress, job: Job) -> None:
        taking.writing = False
        if job.error is not None:
            self._fail(taking, job.error)

    def _finished(self, taking: _SnapshotInProgress, surplus: tuple[Slot, ...], job: Job) -> None:
        if job.error is not None:
            self._fail(taking, job.error)
            return
        info: SnapshotInfo = job.result
        self._taking = None
        self.taken += 1
        self.times.note(int((self._now_ms - taking.started_ms) * 1000))
        self._log.info(
            "snapshot.finished",
            slot=info.slot,
            bytes=info.size_bytes,
            dur_ms=round(self._now_ms - taking.started_ms, 1),
        )
        self._older = [old for old in self._older if old.slot not in surplus]
        self.adopt(info)

    def _fail(self, taking: _SnapshotInProgress, error: Exception) -> None:
        if self._taking is not taking:
            return
        self._not_before_ms = self._now_ms + RETRY_MS
        self._log.warning("snapshot.failed", slot=taking.walk.head.slot, reason=str(error))
        self._drop(taking)

    def abort(self) -> None:
        """Take the one under way no further, unless it is all but finished."""
        self._machine.at_sum = None
        if self._begun is not None:
            self._begun.close()
            self._begun = None
        if self._taking is not None and not self._taking.finishing:
            self._drop(self._taking)

    def _drop(self, taking: _SnapshotInProgress) -> None:
        taking.walk.close()
        self._taking = None
        self.jobs.run(taking.writer.abandon, no_matter)

    def adopt(self, info: SnapshotInfo) -> None:
        """Another snapshot is durable: give back the log that is not needed any more."""
        self._machine.at_sum = None  # none is due now
        newest = self.newest
        if newest is not None and newest.slot > info.slot:
            self._older.append(info)  # a peer's, installed meanwhile, is newer
            return
        if newest is not None and newest.slot < info.slot:
            self._older.append(newest)
        self.newest = info
        self.release()

    def _in_use(self) -> set[Slot]:
        return {slot for slot, _ in self.fetches.values()}

    def release(self) -> None:
        """Give back the log up to the older snapshot, less the margin."""
        if not self._older:
            return
        needed = min(self._older[-1].slot, self.wal.commit, *self._in_use()) + 1
        first = min(needed, max(self._margin_slot(), self._fitting_slot(needed)))
        if first > self.wal.first_slot:
            self.wal.release(first)
            self._machine.release(first)

    def release_through(self, slot: Slot) -> None:
        """Give back the log up to ``slot``, which the newest snapshot holds, for it is damaged:
        a node that lags behind there gets that snapshot, and the older one is not of use any
        more."""
        assert self.newest is not None
        assert slot <= min(self.newest.slot, self.wal.commit)
        first = max(slot + 1, self.wal.first_slot)
        self.wal.release(first)
        self._machine.release(first)

    def discard(self, slot: Slot) -> None:
        """The snapshot of this slot is bad: it is not used any more, and another one taken."""
        self._older = [info for info in self._older if info.slot != slot]
        if self.newest is not None and self.newest.slot == slot:
            self.newest = None
        self.jobs.run(lambda: set_aside(self.disk, slot), no_matter)
        self.ask()

    def _margin_slot(self) -> Slot:
        return self._machine.applied + 1 - self.options.margin_slots

    def _fitting_slot(self, most: Slot) -> Slot:
        """The first slot from which on the log is not too large, at most ``most``."""
        limit_bytes = LOG_SHARE * self._enough_bytes()
        slots = range(self.wal.first_slot, most)
        return slots.start + bisect_left(
            slots, True, key=lambda slot: self.wal.bytes_after(slot - 1) <= limit_bytes
        )

    def _enough_bytes(self) -> int:
        """How many bytes of log are the reason for a snapshot."""
        size_bytes = self.newest.size_bytes if self.newest else 0
        return max(self.options.log_bytes_max, size_bytes)
