"""From a disk to a node with its memory: the same for the daemon and for a simulated member.

log: open, recover               (what was promised and accepted)
state machine: snapshot, replay  (what was applied)
node: the roles, with that memory

The data directory's identity (``identity.py``) was checked before; a node is heard after.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from paxosd import identity
from paxosd.core.commands import Batch
from paxosd.core.machine import Machine
from paxosd.core.node import Node
from paxosd.core.options import NodeOptions
from paxosd.core.types import NOOP, NodeId, Slot
from paxosd.disk import Disk
from paxosd.replica import Log
from paxosd.snapshot_recovery import Kept, restore_state
from paxosd.wal import Recovered, Wal, WalOptions
from paxosd.wire import WireError, decode_batch, encode_batch

REPLAY_SLOTS_PER_REPORT = 5000

Progress = Callable[[Slot, Slot], object]
"""``progress(slot, commit)``: called now and then during a replay."""


class WireCodec:
    """The core's codec: the wire's batches, with errors as the core knows them."""

    def encode_batch(self, stamp_ms: int, entries: list[bytes]) -> bytes:
        return encode_batch(stamp_ms, entries)

    def decode_batch(self, value: bytes) -> Batch:
        try:
            return decode_batch(value)
        except WireError as error:
            raise ValueError(str(error)) from error


@dataclass(slots=True)
class Memory:
    """What a member remembers: its log, what the log held, the state that follows from it and
    from the snapshots that it kept."""

    wal: Wal
    recovered: Recovered
    machine: Machine
    codec: WireCodec
    kept: Kept


def recover(
    home: Disk,
    log_disk: Disk,
    *,
    cluster: str,
    node: NodeId,
    wal_options: WalOptions,
    log: Log,
    now_ms: Callable[[], float],
    progress: Progress = lambda slot, commit: None,
    machine: Machine | None = None,
) -> Memory:
    """Open the log, restore the newest snapshot, apply what was chosen after it again. ``home``
    holds the mark of a log, ``log_disk`` log and snapshots. ``machine``: an empty one to use.
    Raises StorageError, OSError."""
    wal, recovered = Wal.open(
        log_disk,
        cluster_id=cluster,
        node_id=node,
        options=wal_options,
        create=not identity.log_created(home),
    )
    identity.mark_log_created(home)
    machine = machine if machine is not None else Machine()
    started_ms = now_ms()
    recovered, kept = restore_state(
        log_disk,
        wal,
        recovered,
        machine,
        cluster=cluster,
        log=log,
        progress=lambda: progress(0, recovered.commit),
    )
    memory = Memory(wal, recovered, machine, WireCodec(), kept)
    _replay(memory, log, now_ms, started_ms, progress)
    return memory


def make_node(
    memory: Memory,
    options: NodeOptions,
    peers: list[NodeId],
    rng: random.Random,
    *,
    incarnation: int,
    now_ms: float,
    wall_ms: int,
    kind: type[Node] = Node,
    arriving: bool = True,
) -> Node:
    """The roles with this memory. ``kind``: a subclass that watches. ``arriving``: whether it
    asks its peers how they know it, as it must (``core/arrival.py``)."""
    recovered = memory.recovered
    return kind(
        options,
        peers,
        memory.machine,
        memory.codec,
        rng,
        incarnation=incarnation,
        promised=recovered.promised,
        accepted=recovered.accepted,
        commit=recovered.commit,
        now_ms=now_ms,
        wall_ms=wall_ms,
        arriving=arriving,
    )


def _replay(
    memory: Memory,
    log: Log,
    now_ms: Callable[[], float],
    started_ms: float,
    progress: Progress,
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
        machine.apply(slot, batch)
        if slot % REPLAY_SLOTS_PER_REPORT == 0:
            progress(slot, recovered.commit)
    machine.checksums_enabled = True
    log.info(
        "node.recovered",
        commit=recovered.commit,
        snapshot=snapshot_slot,
        open_slots=len(recovered.accepted),
        promised=list(recovered.promised),
        revision=machine.revision,
        dur_ms=round(now_ms() - started_ms, 1),
    )
