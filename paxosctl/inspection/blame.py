"""Who changed a key: each change that the log has of it, with its revision and its author."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paxosctl.inspection.chosen_values import ChosenValues, read_chosen
from paxosctl.inspection.replayed_log import Replay, Results, replay
from paxosctl.inspection.wal_entries import LoggedCommand, may_hold, ranges_of
from paxosd.core.commands import (
    DELETE_RANGE,
    LEASE_EXPIRED,
    Batch,
    Change,
    Command,
    KeyValue,
    Status,
    each_change,
    prefix_end,
)
from paxosd.core.state.machine import Machine
from paxosd.core.types import Ballot, Slot
from paxosd.storage import restored_from
from paxosd.wire import WireError
from paxosd.wire.entry import decode_batch


@dataclass(frozen=True, slots=True)
class BlamedChange:
    """``change``: what it did to one key; its revision is 0 where that is not known: then it is not
    known either whether the command took effect. ``leader``: who proposed it; another one may have
    proposed it again, at the ballot that the log has. ``client``: as it named itself. ``key``: the
    public key that it proved to have, b"": none; None: not known. ``principal``: whose key that
    was; "": nobody's in the rights tables that were read."""

    change: Change
    command: LoggedCommand
    leader: str
    client: str | None
    why_nameless: str
    key: bytes | None = None
    principal: str = ""

    @property
    def op(self) -> str:
        """What it was, such as ``put`` or ``delete prefix``."""
        command = self.command.command
        if command[0] == DELETE_RANGE and prefix_end(command[1]) == command[2]:
            return "delete prefix"
        return self.command.op


@dataclass(slots=True)
class Blame:
    """``first``, ``last``: the slots that were read; ``first_ms``: the time of the first, 0: not
    known; ``replayed``: what was applied of them, and so is known for certain. ``present``: the
    keys that were there before, with their last revision."""

    prefix: bool
    key: bytes
    changes: list[BlamedChange] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    first: Slot = 0
    last: Slot = 0
    first_ms: int = 0
    last_ms: int = 0
    replayed: Replay = field(default_factory=Replay)
    present: dict[bytes, int] = field(default_factory=dict)
    restored: Mapping[str, Any] = field(default_factory=dict)
    """The snapshot that the cluster was restored from: cluster, slot, revision; {}: none is."""

    def takes(self, key: bytes) -> bool:
        """Whether this key is asked for."""
        return key.startswith(self.key) if self.prefix else key == self.key


Found = tuple[Change, LoggedCommand, str, str]
"""The last two: who proposed it, and the principal that it was done for, "": not known."""


def blame(wals: list[Path], key: bytes, problems: list[str], *, prefix: bool = False) -> Blame:
    """Read the logs and snapshots of data directories. Raises OSError."""
    values = read_chosen(wals, problems)
    found = Blame(prefix, key, nodes=sorted(values.nodes), first=values.first)
    found.restored = next(filter(None, (restored_from.read(wal.parent) for wal in wals)), {})
    collector = _Collector(found)
    found.replayed = done = replay(
        values, wals, problems,
        begin=collector.begin, before=collector.before, visit=collector.visit,
    )  # fmt: skip
    found.last = done.last or max(values.chosen, default=0)
    below = _unapplied(found, values)
    found.changes = [_blamed(done, each) for each in (*below, *collector.changes)]
    found.first_ms = _time_of(values, sorted(values.chosen))
    found.last_ms = _time_of(values, sorted(values.chosen, reverse=True))
    return found


def _blamed(done: Replay, found: Found) -> BlamedChange:
    change, command, proposer, holder = found
    session = command.session
    key = done.keys.get(session)
    return BlamedChange(
        change,
        command,
        proposer or command.ballot.node,
        done.client(session),
        done.why_nameless(session),
        key,
        holder or done.holders.get(key or b"", ""),
    )


class _Collector:
    """What the replay came upon."""

    def __init__(self, found: Blame) -> None:
        self._found = found
        self._before = 0
        self._owners: dict[bytes, int] = {}
        self.changes: list[Found] = []

    def begin(self, machine: Machine) -> None:
        found = self._found
        if found.prefix:
            store = machine.store
            keys = list(store.scan_keys(found.key, prefix_end(found.key), reverse=False))
            self._add_present([row for key in keys if (row := store.get(key)) is not None])
        elif (row := machine.store.get(found.key)) is not None:
            self._add_present([row])

    def _add_present(self, rows: Iterable[KeyValue]) -> None:
        for row in rows:
            self._found.present.setdefault(row.key, row.modify_revision)

    def before(self, machine: Machine, value: bytes) -> None:
        self._owners = self._owners_of_leased(machine)
        machine.collect_changes = may_hold(value, self._found.key) or bool(self._owners)
        self._before = machine.revision

    def _owners_of_leased(self, machine: Machine) -> dict[bytes, int]:
        """The keys that are asked for and have a lease, whose end no command need name; and the
        session that it was granted to."""
        by_key, table = machine.leases.by_key, machine.leases.table
        if not by_key:
            return {}
        found = self._found
        keys = by_key if found.prefix else {found.key} & by_key.keys()
        return {key: table[by_key[key]].session for key in keys if found.takes(key)}

    def visit(
        self, slot: Slot, ballot: Ballot, batch: Batch, results: Results, machine: Machine
    ) -> None:
        if not machine.collect_changes:
            return
        recent, machine.recent_changes = machine.recent_changes, []
        changes = [each for each in each_change(recent) if self._found.takes(each.key)]
        if not changes:
            return
        made = {}
        for entry, answers in zip(batch.entries, results, strict=True):
            if not entry.session:
                continue
            for place, (command, result) in enumerate(zip(entry.commands, answers, strict=True)):
                revision = result if isinstance(result, int) else result[1]
                done = isinstance(result, int) or result[0] == Status.OK
                if done and revision > self._before:  # else it was done before
                    made[revision] = (entry.session, entry.first_seq + place, command)
        for change in changes:
            expired = self._owners.get(change.key, 0), 0, [LEASE_EXPIRED]
            session, seq, command = made.get(change.revision, expired)
            logged = LoggedCommand(slot, ballot, batch.stamp_ms, session, seq, command)
            opened = machine.sessions.table.get(session)
            holder = machine.rights.by_key.get(opened.key) if opened is not None else None
            whose = holder.name if holder is not None else ""
            self.changes.append((change, logged, _proposer(batch), whose))


def _unapplied(found: Blame, values: ChosenValues) -> list[Found]:
    """Commands in slots below the state from which on the log was applied: which of them took
    effect is not known."""
    base = found.replayed.base if found.replayed.last else max(values.chosen, default=0)
    below: list[Found] = []
    for slot in sorted(slot for slot in values.chosen if slot <= base):
        ballot, value = values.chosen[slot]
        if not value or not may_hold(value, found.key):
            continue
        try:
            batch = decode_batch(value)
        except WireError:
            continue
        for entry in batch.entries:
            for place, command in enumerate(entry.commands if entry.session else ()):
                logged = LoggedCommand(slot, ballot, batch.stamp_ms, entry.session,
                                       entry.first_seq + place, command)  # fmt: skip
                for key in _keys_below(found, command):
                    change = Change(0, slot, key, logged.value)
                    below.append((change, logged, _proposer(batch), ""))
    return below


def _keys_below(found: Blame, command: Command) -> list[bytes]:
    """The keys, or the beginnings of ranges of them, that a command asks to change, of those that
    are asked for."""
    if not isinstance(command, list) or not command:
        return []
    stop = prefix_end(found.key)
    keys = []
    for start, end in ranges_of(command):
        if end is None:
            keys += [start] if found.takes(start) else []
        elif found.prefix:
            meets = (not end or found.key < end) and (not stop or start < stop)
            keys += [start] if meets else []
        elif start <= found.key and (not end or found.key < end):
            keys.append(found.key)
    return list(dict.fromkeys(keys))


def _proposer(batch: Batch) -> str:
    return batch.reign.node if batch.reign is not None else ""


def _time_of(values: ChosenValues, slots: list[Slot]) -> int:
    """The leader's clock in the first of these slots that has one."""
    for slot in slots:
        value = values.chosen[slot][1]
        if value:
            try:
                return decode_batch(value).stamp_ms
            except WireError:
                continue
    return 0
