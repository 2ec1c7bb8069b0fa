"""The chosen values applied again: what each command did, at which revision, and by whom.

    snapshots of the nodes ──► the state after some slot ──► the values behind it, applied in order
                           └─► names of clients ◄── OPENs in those values

Only the state says what a command did: whether a delete found a key, whether a cas hit, whether a
command came twice. So the state machine of the daemon applies the log from the earliest snapshot
from which on it has no gap, or from its beginning.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from paxosctl.inspection.chosen_values import ChosenValues
from paxosd.core.cluster_settings import UnknownLevelError
from paxosd.core.commands import OPEN, Batch, Result, Status
from paxosd.core.state.machine import Machine
from paxosd.core.state.snapshot import Restore
from paxosd.core.state.snapshot_head import SnapshotError
from paxosd.core.types import Ballot, Slot
from paxosd.snapshot.file import HISTORY, ROWS, SnapshotReader, load, restore_block, snapshot_slot
from paxosd.storage.disk import RealFile
from paxosd.wire import WireError
from paxosd.wire.entry import decode_batch

Results = list[list[Result]]
Visit = Callable[[Slot, Ballot, Batch, Results, Machine], None]
"""Called with each slot that was applied, no-ops left out."""


@dataclass(slots=True)
class Replay:
    """``base``: the slot of the snapshot that it began with, 0: with nothing; ``first``, ``last``:
    the slots that were applied, 0: none. ``names``: session → client, "": it gave no name;
    ``keys``: session → the public key that opened it, b"": none; ``holders``: that key → the
    principal that had it last."""

    base: Slot = 0
    first: Slot = 0
    last: Slot = 0
    first_revision: int = 0
    last_revision: int = 0
    names: dict[int, str] = field(default_factory=dict)
    keys: dict[int, bytes] = field(default_factory=dict)
    holders: dict[bytes, str] = field(default_factory=dict)
    unproven: int = 0
    """How many slots behind the last one have values that are not known to be chosen."""

    def client(self, session: int) -> str | None:
        """The name of its client; None if it is not known."""
        return self.names.get(session) or None

    def note_rights(self, machine: Machine) -> None:
        """Who has which key in this state."""
        self.holders |= {key: who.name for key, who in machine.rights.by_key.items()}

    def why_nameless(self, session: int) -> str:
        """Why there is no name for it."""
        if session in self.names:
            return "its client gave none, or the cluster was below feature level 3 then"
        return "no log and no snapshot that was read has the OPEN of its session, or its name"


def replay(
    values: ChosenValues,
    wals: Iterable[Path],
    problems: list[str],
    *,
    begin: Callable[[Machine], object] = lambda machine: None,
    before: Callable[[Machine, bytes], object] = lambda machine, value: None,
    visit: Visit = lambda *_: None,
    with_rows: bool = True,
) -> Replay:
    """Apply what was chosen. ``begin`` is called with the state at its start, ``before`` before
    each value is applied. Without rows the sessions are right, and nothing else. Raises OSError."""
    found = Replay()
    snapshots = dict(sorted(_snapshots(wals)))
    for path in snapshots.values():
        _take_names(found, path, values.cluster, problems)
    machine: Machine | None = Machine()
    if values.first != 1:
        machine = _next_start(values, snapshots, values.first - 2, problems, with_rows=with_rows)
    while machine is not None:
        machine.checksums_enabled = False
        if not found.last:
            found.base, found.first_revision = machine.applied, machine.revision + 1
        elif machine.applied > found.last:
            problems.append(f"slots {found.last + 1} to {machine.applied} are in no log that was "
                            "read")  # fmt: skip
        found.note_rights(machine)
        begin(machine)
        _apply(found, values, machine, problems, before, visit)
        found.last, found.last_revision = machine.applied, machine.revision
        machine = _next_start(values, snapshots, machine.applied, problems, with_rows=with_rows)
    found.unproven = sum(1 for slot in values.votes if slot > found.last)
    return found


def _next_start(
    values: ChosenValues,
    snapshots: dict[Slot, Path],
    after: Slot,
    problems: list[str],
    *,
    with_rows: bool,
) -> Machine | None:
    """The state of the first good snapshot of a slot above ``after`` that the log goes on from."""
    for slot, path in snapshots.items():
        if slot > after and (slot + 1 in values.chosen or slot + 1 in values.votes):
            machine = _restore(path, values.cluster, problems, with_rows=with_rows)
            if machine is not None:
                return machine
    return None


def _apply(
    found: Replay,
    values: ChosenValues,
    machine: Machine,
    problems: list[str],
    before: Callable[[Machine, bytes], object],
    visit: Visit,
) -> None:
    while (value := values.find(machine.applied + 1, machine.membership.quorums)) is not None:
        slot, (ballot, data) = machine.applied + 1, value
        before(machine, data)
        rights = machine.rights
        try:
            batch = decode_batch(data) if data else None
            results = machine.apply(slot, batch)
        except (WireError, UnknownLevelError) as error:
            problems.append(f"slot {slot} cannot be applied: {error}")
            return
        found.first = found.first or slot
        if machine.rights is not rights:
            found.note_rights(machine)
        if batch is not None:
            _note_names(found, batch, results)
            visit(slot, ballot, batch, results, machine)


def _note_names(found: Replay, batch: Batch, results: Results) -> None:
    for entry, answers in zip(batch.entries, results, strict=True):
        if entry.session:
            continue
        for command, result in zip(entry.commands, answers, strict=True):
            if command[0] == OPEN and isinstance(result, tuple) and result[0] == Status.OK:
                name = command[1] if len(command) > 1 else ""
                found.names.setdefault(result[2], name)
                found.keys.setdefault(result[2], command[2] if len(command) > 2 else b"")


def _snapshots(wals: Iterable[Path]) -> Iterator[tuple[Slot, Path]]:
    for wal in wals:
        for path in wal.iterdir():
            slot = snapshot_slot(path.name)
            if slot is not None:
                yield slot, path


@contextmanager
def _opened(path: Path) -> Iterator[RealFile]:
    file = RealFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    try:
        yield file
    finally:
        file.close()


def _take_names(found: Replay, path: Path, cluster: str, problems: list[str]) -> None:
    """The names in a snapshot, which stand before its rows."""
    try:
        with _opened(path) as file:
            machine = _without_rows(SnapshotReader(file, cluster))
    except (SnapshotError, UnknownLevelError, FileNotFoundError) as error:
        problems.append(f"{path}: {error}")
        return
    sessions = machine.sessions
    found.names |= {number: session.name for number, session in sessions.table.items()}
    found.names |= {former.session: former.name for former in sessions.former.all()}
    found.keys |= {number: session.key for number, session in sessions.table.items()}
    found.note_rights(machine)


def _without_rows(reader: SnapshotReader) -> Machine:
    restore = Restore(reader.head._replace(keys=0))
    while (block := reader.read()) is not None and block[0] != ROWS:
        if block[0] != HISTORY:  # which leads to the rows
            restore_block(restore, block)
    return restore.finish()


def _restore(path: Path, cluster: str, problems: list[str], *, with_rows: bool) -> Machine | None:
    try:
        with _opened(path) as file:
            if not with_rows:
                return _without_rows(SnapshotReader(file, cluster))
            return load(file, cluster)[0]
    except (SnapshotError, UnknownLevelError, FileNotFoundError) as error:
        problems.append(f"{path}: {error}")
        return None
