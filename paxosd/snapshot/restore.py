"""From snapshots and log to the state: the newest good snapshot, then the log from there.

    snapshot   log begins         → what is done
    good at S  at or below S + 1  → restore; replay from S + 1
    good at S  and ends below S   → restore; the log goes on from S: a snapshot was installed, or
                                    copied here by ``snapshot restore``, and then came a crash
    bad                           → renamed to *.bad; the one before it, and more of the log
    none good  at 1               → replay all of it
    otherwise                     → slots are missing in between: refused

What a crash left of a snapshot that was being written is removed.
"""

from contextlib import suppress
from dataclasses import dataclass, replace

from paxosd.core.state.machine import Machine
from paxosd.core.state.snapshot_head import SnapshotError
from paxosd.core.types import Slot
from paxosd.host.log import Log
from paxosd.host.progress import Progress, no_progress
from paxosd.snapshot.file import (
    OtherVersionError,
    SnapshotInfo,
    is_part,
    load,
    set_aside,
    snapshot_name,
    snapshot_slot,
)
from paxosd.storage.disk import CorruptionError, Disk, NewerVersionError
from paxosd.storage.wal import Recovered, Wal


@dataclass(frozen=True, slots=True)
class KeptSnapshots:
    """The snapshots that are there: the newest, which is good, and the slots of older ones."""

    newest: SnapshotInfo | None = None
    older: tuple[Slot, ...] = ()


def restore_state(
    disk: Disk,
    wal: Wal,
    recovered: Recovered,
    machine: Machine,
    *,
    cluster: str,
    log: Log,
    progress: Progress = no_progress,
) -> tuple[Recovered, KeptSnapshots]:
    """Bring the empty ``machine`` to the newest good snapshot, and ``wal`` to at least there.

    ``progress``: how many bytes of a snapshot were read. Returns what was recovered, seen from
    there. Raises CorruptionError if slots are missing between the snapshot and the log,
    NewerVersionError, StorageError, OSError.
    """
    names = disk.list()
    for name in filter(is_part, names):
        disk.unlink(name)
    slots = sorted(s for name in names if (s := snapshot_slot(name)) is not None)
    bad: list[str] = []
    newest: SnapshotInfo | None = None
    while slots and newest is None:
        slot = slots.pop()
        try:
            newest = _load(disk, slot, cluster, machine, progress)
        except OtherVersionError as error:
            raise NewerVersionError(
                f"{snapshot_name(slot)}: {error}. Nothing was changed; start this node with the "
                "version of paxosd that wrote it, or a later one"
            ) from error
        except SnapshotError as error:
            name = snapshot_name(slot)
            bad.append(f"{name}: {error}")
            log.error("snapshot.bad", file=name, slot=slot, reason=str(error))
            set_aside(disk, slot)
    base = newest.slot if newest is not None else 0
    _check_hole(wal.first_slot, base, bad)
    if base > recovered.commit:
        wal.install(base)
        wal.sync()
        accepted = {slot: held for slot, held in recovered.accepted.items() if slot > base}
        recovered = replace(
            recovered, commit=base, accepted=accepted, first_slot=wal.first_slot,
            last_slot=wal.last_slot,
        )  # fmt: skip
    return recovered, KeptSnapshots(newest, tuple(slots))


def _load(
    disk: Disk, slot: Slot, cluster: str, machine: Machine, progress: Progress
) -> SnapshotInfo:
    file = disk.open(snapshot_name(slot))
    try:
        restored, reader = load(file, cluster, machine.limits, progress)
    finally:
        with suppress(OSError):
            file.close()
    assert reader.info is not None
    if reader.head.slot != slot:
        raise SnapshotError(f"it is of slot {reader.head.slot}, its name says {slot}")
    machine.adopt(restored)
    return reader.info


def _check_hole(first: Slot, base: Slot, bad: list[str]) -> None:
    if first <= base + 1:
        return
    have = f"the newest good snapshot is of slot {base}" if base else "there is no good snapshot"
    why = f" (bad: {'; '.join(bad)})" if bad else ""
    raise CorruptionError(
        f"the log begins at slot {first}, but {have}{why}: the slots between are lost here. This "
        "node must not vote without them: it sets its log aside (lost-*.log), catches up from the "
        "other members and asks to vote again"
    )
