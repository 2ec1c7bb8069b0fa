"""What the data directory of one stopped node still has of the state, and how sure that is.

    newest good snapshot ──► chosen slots of the log ──► votes behind them ──► the last good record
      what it says is so        chosen for sure            may be chosen         may be gone: all
                                                           elsewhere             that came later

The directory is only read. Votes of this node for slots that it does not know to be chosen are
taken, as far as they go on without a gap: a write that was acknowledged with this node's vote is
there, though the word that it was chosen never came. The other side of it: if a later leader had
another value decided there without this node, the wrong one is taken. Nothing that this node has
can rule that out; whoever restores from it must know (``unproven``).
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from paxosd.core.cluster_settings import UnknownLevelError
from paxosd.core.state.machine import Machine
from paxosd.core.state.snapshot_head import SnapshotError
from paxosd.core.types import NOOP, NULL_BALLOT, Ballot, Slot
from paxosd.host.progress import PhaseProgress
from paxosd.snapshot.file import SnapshotReader, load, snapshot_name, snapshot_slot
from paxosd.storage.disk import CorruptionError, RealDisk, RealFile, StorageError
from paxosd.storage.identity import read_genesis
from paxosd.storage.node_directory import LOG_DIRECTORY
from paxosd.storage.wal_format import (
    HEADER_BYTES,
    FormatError,
    decode_header,
    segment_number,
)
from paxosd.storage.wal_mark import read_note
from paxosd.storage.wal_recovery import Scan, close_all, scan
from paxosd.storage.wal_table import SegmentTable
from paxosd.wire import WireError
from paxosd.wire.entry import decode_batch

LOCK = "LOCK"
IDENTITY = "identity"
STEP_SLOTS = 100


class SurvivorError(Exception):
    """Nothing can be had from this directory; the text says why and what to do."""


@dataclass(slots=True)
class Survivor:
    """What was found. Slots are 0 where there is none."""

    path: Path
    cluster: str = ""
    node: str = ""
    machine: Machine = field(default_factory=Machine)
    """The state after ``slot``."""
    voters: tuple[str, ...] = ()
    """Who voted, by the last membership that is there; (): not known."""
    slot: Slot = 0
    proven_slot: Slot = 0
    """Every slot up to this one is known to be chosen."""
    snapshot_slot: Slot = 0
    """That of the snapshot that it begins with."""
    unproven: tuple[Slot, ...] = ()
    """The slots above ``proven_slot`` that are taken though only this node's vote speaks for
    them."""
    beyond: tuple[Slot, ...] = ()
    """Slots of votes that were left out."""
    newest_slot: Slot = 0
    """The highest slot that anything is known of."""
    ballot: Ballot = NULL_BALLOT
    """Under which the last slot was voted for or decided."""
    stamp_ms: int = 0
    """When its leader proposed the last write that is there, by that leader's clock since 1970; 0:
    not known."""
    problems: list[str] = field(default_factory=list)
    """What is wrong with the directory, a sentence each."""


class _ReadOnlyDisk(RealDisk):
    """A directory that is only read, perhaps by a user who may do no more."""

    def open(self, name: str, create: bool = False) -> RealFile:
        assert not create
        return RealFile(os.open(self.path / name, os.O_RDONLY | os.O_CLOEXEC))


def read_survivor(
    data_dir: Path, progress: PhaseProgress, *, take_unproven: bool = True
) -> Survivor:
    """Read all of it. ``take_unproven``: whether votes behind the chosen slots are taken. Raises
    SurvivorError, PermissionError, OSError."""
    with _stopped(data_dir):
        found = Survivor(data_dir)
        disk = _ReadOnlyDisk(data_dir / LOG_DIRECTORY)
        try:
            _read(found, disk, progress, take_unproven=take_unproven)
        finally:
            disk.close()
    return found


@contextmanager
def _stopped(data_dir: Path) -> Iterator[None]:
    """While no daemon uses the directory. Raises SurvivorError, PermissionError."""
    if not (data_dir / LOG_DIRECTORY).is_dir():
        raise SurvivorError(
            f"{data_dir} is no data directory of a node: it has no {LOG_DIRECTORY}/ (it is the "
            "node.data_dir of its configuration)"
        )
    with suppress(FileNotFoundError):
        lock = os.open(data_dir / LOCK, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SurvivorError(
                f"a daemon runs with {data_dir}: stop it first, or have it take a snapshot itself, "
                "paxosctl snapshot save --endpoint ENDPOINT FILE (which has no votes behind the "
                "slots that it knows to be chosen)"
            ) from None
        else:
            yield
            return
        finally:
            os.close(lock)
    yield


def _read(found: Survivor, disk: RealDisk, progress: PhaseProgress, *, take_unproven: bool) -> None:
    _identify(found, disk)
    read: Scan | None = None
    try:
        read = scan(
            disk,
            found.cluster,
            found.node,
            partial(progress, "reading the log"),
            damaged=lambda damage: found.problems.append(
                f"its log is damaged, and was taken up to there: {damage}"
            ),
        )
    except (CorruptionError, StorageError) as error:
        found.problems.append(f"its log cannot be used, only its snapshots: {error}")
    try:
        _load_snapshot(found, disk, progress)
        if read is not None:
            _check_end(found, disk, read)
            _apply_log(found, disk, read, progress, take_unproven=take_unproven)
    finally:
        if read is not None:
            close_all(read)
    found.voters = tuple(found.machine.membership.voters) or _founders(found.path)
    if not found.slot:
        why = "; ".join(found.problems) or "it has neither a snapshot nor a slot in its log"
        raise SurvivorError(f"{found.path} has no state: {why}")


def _identify(found: Survivor, disk: RealDisk) -> None:
    """Whose directory it is: by its log, or else by its snapshots. Raises SurvivorError."""
    for name in sorted(disk.list()):
        if segment_number(name) is not None:
            with suppress(FormatError), open(disk.path / name, "rb") as file:
                header = decode_header(file.read(HEADER_BYTES))
                found.cluster, found.node = header.cluster_id, header.node_id
                break
    try:
        says = json.loads((found.path / IDENTITY).read_bytes())
    except (OSError, ValueError, RecursionError):
        says = {}
    says = says if isinstance(says, dict) else {}
    found.cluster = found.cluster or str(says.get("cluster") or "")
    found.node = found.node or str(says.get("node") or "?")
    for field_name, words in (
        ("lost", "this node had lost its memory: votes of its earlier life are not in it"),
        ("diverged", "the state of this node was not the one that was decided"),
        ("removed", "this node had been removed from the cluster: it is of before that"),
    ):
        if says.get(field_name):
            found.problems.append(words)


def _founders(data_dir: Path) -> tuple[str, ...]:
    """Who voted at first; () if there is no record that can be read."""
    home = _ReadOnlyDisk(data_dir)
    try:
        record = read_genesis(home)
    except (StorageError, OSError):
        return ()
    finally:
        home.close()
    members = record.members if record is not None else {}
    return tuple(name for name, founder in members.items() if founder.voter)


def _load_snapshot(found: Survivor, disk: RealDisk, progress: PhaseProgress) -> None:
    """The newest good one, if there is any."""
    slots = sorted((s for n in disk.list() if (s := snapshot_slot(n)) is not None), reverse=True)
    for slot in slots:
        file = disk.open(snapshot_name(slot))
        try:
            found.cluster = found.cluster or SnapshotReader(file).cluster
            machine, _ = load(
                file, found.cluster, progress=partial(progress, "reading the snapshot")
            )
        except SnapshotError as error:
            found.problems.append(f"{snapshot_name(slot)} is not good: {error}")
            continue
        finally:
            file.close()
        found.machine = machine
        found.slot = found.snapshot_slot = found.proven_slot = found.newest_slot = slot
        return


def _check_end(found: Survivor, disk: RealDisk, read: Scan) -> None:
    """Whether the log still has its end."""
    note = read_note(disk)
    nonces = {segment.header.number: segment.header.nonce for segment in read.segments}
    if note is not None and nonces.get(note.segment) == note.nonce:
        missing = note.group - read.last_group
        if missing > 0:
            found.problems.append(
                f"the end of its log is gone: {missing} group commits that were on its disk"
            )


def _apply_log(
    found: Survivor, disk: RealDisk, read: Scan, progress: PhaseProgress, *, take_unproven: bool
) -> None:
    table = SegmentTable(disk, 1)
    for segment in read.segments:
        table.add(segment.header, top=segment.top, end=segment.end)
        table.keep_open(segment.header.number, segment.file)
    votes = set(read.ballots) | read.decided
    found.newest_slot = max([found.newest_slot, read.commit, *votes])
    machine, began = found.machine, found.slot
    machine.checksums_enabled = False
    if read.commit > began and read.index.first > began + 1:
        found.problems.append(f"its log begins at slot {read.index.first} only")
        return
    unproven: list[Slot] = []
    try:
        while True:
            slot = machine.applied + 1
            proven = slot <= read.commit or (slot in read.decided and not unproven)
            if not proven and (slot not in votes or not take_unproven):
                break
            _apply(found, slot, *table.read(slot, _location(read, slot)))
            if proven:
                found.proven_slot = slot
            else:
                unproven.append(slot)
            if slot % STEP_SLOTS == 0:
                progress("applying the log", slot - began, found.newest_slot - began)
    except (CorruptionError, OSError, UnknownLevelError) as error:
        found.problems.append(f"slot {machine.applied + 1} cannot be read or applied: {error}")
    found.slot = machine.applied
    found.unproven = tuple(unproven)
    found.beyond = tuple(sorted(slot for slot in votes if slot > found.slot))


def _location(read: Scan, slot: Slot) -> int:
    """Where its value is: for a slot without a decision, that of the vote of the highest ballot."""
    if slot > read.commit and slot not in read.decided:
        return read.ballots[slot][1]
    return read.index.get(slot)


def _apply(found: Survivor, slot: Slot, ballot: Ballot, value: bytes) -> None:
    batch = None
    if value != NOOP:
        try:
            batch = decode_batch(value)
        except WireError as error:
            found.problems.append(f"slot {slot} holds no batch, and counts as empty: {error}")
    found.machine.apply(slot, batch, value)
    found.ballot = ballot
    if batch is not None and batch.entries:
        found.stamp_ms = batch.stamp_ms
