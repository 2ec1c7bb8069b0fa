"""From a disk to the memory that a node starts with: the same for the daemon and the simulator.

log: open, recover               (what was promised and accepted)
state machine: snapshot, replay  (what was applied)
node: the roles, with that memory

If log or snapshots turn out to be damaged, the log is set aside (``replica/quarantine.py``) and
the memory is what the snapshots hold: that of another identity, which has promised nothing. If the
state had diverged from that of the others, both are, and there is no memory.

The data directory's identity (``storage/identity.py``) was checked before; a node is heard after.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from paxosd.core.commands import Batch, Entry, Reign
from paxosd.core.genesis import Record
from paxosd.core.restart import Restart
from paxosd.core.state.machine import Machine
from paxosd.core.types import NOOP, NodeId
from paxosd.host.log import Log
from paxosd.host.progress import PhaseProgress
from paxosd.replica import quarantine
from paxosd.snapshot.restore import KeptSnapshots, restore_state
from paxosd.storage import identity
from paxosd.storage.disk import CorruptionError, Disk
from paxosd.storage.wal import Recovered, Wal, WalOptions
from paxosd.storage.wal_open import open_wal
from paxosd.wire import WireError, decode_batch, encode_batch, encode_entry

REPLAY_SLOTS_PER_REPORT = 100
"""A slot holds up to ``protocol.batch_bytes_max``, so that 100 take some seconds at most."""


class WireCodec:
    """The core's codec: the wire's batches, with errors as the core knows them."""

    def encode_batch(
        self, stamp_ms: int, entries: list[bytes], reign: Reign | None = None
    ) -> bytes:
        return encode_batch(stamp_ms, entries, reign)

    def encode_entry(self, entry: Entry) -> bytes:
        return encode_entry(entry)

    def decode_batch(self, value: bytes) -> Batch:
        try:
            return decode_batch(value)
        except WireError as error:
            raise ValueError(str(error)) from error


@dataclass(slots=True)
class Memory:
    """What a member remembers: its log, what the log held, the state that follows from it and
    from the snapshots that it kept.

    ``lost``: the log was found damaged now, or an earlier start could not end setting it aside.
    Then ``directory_id`` is the identity that the data directory has from now on; its earlier one
    does not count any more (see :func:`make_restart`)."""

    wal: Wal
    recovered: Recovered
    machine: Machine
    codec: WireCodec
    kept: KeptSnapshots
    lost: bool = False
    directory_id: int = 0
    repaired: bool = True
    """Of a lost memory: whether the node may ask by itself to vote again."""


@dataclass(frozen=True, slots=True)
class _Place:
    """The disks that a memory is recovered from, and what is needed for that."""

    home: Disk
    log_disk: Disk
    cluster: str
    node: NodeId
    wal_options: WalOptions
    log: Log
    now_ms: Callable[[], float]
    progress: PhaseProgress


def recover(
    home: Disk,
    log_disk: Disk,
    *,
    cluster: str,
    node: NodeId,
    wal_options: WalOptions,
    log: Log,
    now_ms: Callable[[], float],
    progress: PhaseProgress = lambda what, done, total: None,
    machine: Machine | None = None,
    random_bits: Callable[[int], int] = secrets.randbits,
) -> Memory:
    """Open the log, restore the newest snapshot, apply what was chosen after it again; or, if
    that is damaged, begin anew with what the snapshots hold. ``home`` holds the mark of a log,
    ``log_disk`` log and snapshots. ``machine``: an empty one to use. ``random_bits``: for a new
    identity. ``progress`` may end it by an error. Raises StorageError, OSError: then nothing was
    set aside, or not all, and the next start goes on with it."""
    place = _Place(home, log_disk, cluster, node, wal_options, log, now_ms, progress)
    machine = machine if machine is not None else Machine()
    diverged = identity.diverged(home)
    if not diverged and not quarantine.begun(home):
        try:
            return _remember(place, machine)
        except CorruptionError as error:
            where = {"segment": error.segment, "offset": error.offset}
            log.error("storage.corrupt", message=str(error), **where)
    machine.reset()
    directory_id = quarantine.set_aside(home, log_disk, random_bits)
    memory = _remember(place, machine)
    advice = quarantine.ADVICE
    if diverged:
        advice = quarantine.DIVERGED_ADVICE.replace("NAME", node)
    log.error("node.memory_lost", commit=memory.recovered.commit, advice=advice)
    return replace(memory, lost=True, directory_id=directory_id, repaired=not diverged)


def _remember(place: _Place, machine: Machine) -> Memory:
    """The whole memory, if nothing is damaged. Raises CorruptionError; the log is closed then."""
    wal, recovered = open_wal(
        place.log_disk,
        cluster_id=place.cluster,
        node_id=place.node,
        options=place.wal_options,
        create=not identity.log_created(place.home),
        progress=partial(place.progress, "reading the log"),
    )
    try:
        identity.mark_log_created(place.home)
        started_ms = place.now_ms()
        recovered, kept = restore_state(
            place.log_disk,
            wal,
            recovered,
            machine,
            cluster=place.cluster,
            log=place.log,
            progress=partial(place.progress, "reading the snapshot"),
        )
        memory = Memory(wal, recovered, machine, WireCodec(), kept)
        _replay(memory, place.log, place.now_ms, started_ms, place.progress)
    except BaseException:
        wal.close()
        raise
    return memory


def make_restart(
    memory: Memory,
    *,
    run_id: int,
    now_ms: float,
    wall_ms: int,
    arriving: bool = True,
    directory_id: int = 0,
    lost: bool = False,
    repaired: bool = False,
    blank: bool = False,
    record: Record | None = None,
    genesis: int = 0,
    start_mark: int = 0,
) -> Restart:
    """What a node starts with: this memory, and what its data directory says of itself
    (``storage/identity.py``; see :class:`Restart` for each field). ``blank``: the node has never
    acted, so that nothing that it lost matters. ``start_mark``: the mark of the log now."""
    recovered = memory.recovered
    if memory.lost:
        directory_id, lost, repaired = memory.directory_id, True, memory.repaired
    if blank:
        lost = repaired = False
    return Restart(
        machine=memory.machine,
        commit=recovered.commit,
        promised=recovered.promised,
        accepted=recovered.accepted,
        start_mark=start_mark,
        run_id=run_id,
        directory_id=directory_id,
        arriving=arriving,
        lost=lost,
        repaired=repaired,
        record=record,
        genesis=genesis,
        now_ms=now_ms,
        wall_ms=wall_ms,
    )


def _replay(
    memory: Memory,
    log: Log,
    now_ms: Callable[[], float],
    started_ms: float,
    progress: PhaseProgress,
) -> None:
    """Apply the chosen log again, slot by slot, from where the snapshot ends."""
    wal, recovered, machine = memory.wal, memory.recovered, memory.machine
    for warning in recovered.warnings:
        log.warning("storage.truncated", warning=warning)
    if recovered.truncated_bytes:
        log.warning("storage.truncated", bytes=recovered.truncated_bytes)
    snapshot_slot = machine.applied
    machine.checksums_enabled = False  # of slots long past: nobody waits for them
    for slot in range(snapshot_slot + 1, recovered.commit + 1):
        value = wal.read(slot)[1]
        batch: Batch | None = None
        if value != NOOP:
            try:
                batch = memory.codec.decode_batch(value)
            except ValueError as error:
                log.error("storage.bad_value", slot=slot, error=str(error))
        machine.apply(slot, batch, value)
        if slot % REPLAY_SLOTS_PER_REPORT == 0:
            progress("applying the log", slot - snapshot_slot, recovered.commit - snapshot_slot)
    machine.checksums_enabled = True
    log.info(
        "node.recovered",
        commit=recovered.commit,
        snapshot=snapshot_slot,
        open_slots=len(recovered.accepted),
        promised=recovered.promised.shown(),
        revision=machine.revision,
        dur_ms=round(now_ms() - started_ms, 1),
    )
