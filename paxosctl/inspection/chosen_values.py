"""What was chosen in each slot, as far as the write-ahead logs of some nodes prove it.

    records of each node ──► its newest value per slot, and how far it knew all to be chosen
                         ──► slots up to there, and decisions: chosen; the others: votes to count

A node whose commit index has reached a slot has the chosen value in its newest record of it: its
vote, if that was for this value, or else a decision that it wrote behind the vote. What another
node voted for in that slot says nothing. Above the commit indexes a value is chosen if the votes of
a quorum at one ballot are there; the logs alone do not say who votes: the state does (``replay``).
A group of records that is not whole was never durable, and does not count.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from paxosctl.inspection.wal_entries import read_segments
from paxosd.core.quorum import Quorums
from paxosd.core.types import Ballot, Slot
from paxosd.storage.wal_format import (
    ACCEPT,
    COMMIT,
    DECISION,
    GROUP_END,
    HEADER_BYTES,
    RELEASE,
    STATE,
    RawRecord,
    SegmentHeader,
    check_record,
    decode_commit,
    decode_release,
    decode_state,
    decode_value,
)

Value = tuple[Ballot, bytes]


@dataclass(slots=True)
class ChosenValues:
    """``chosen``: by slot, at the ballot of the record. ``votes``: of slots of which no log says
    that they are: by ballot, who voted. ``nodes``: whose logs were read; ``cluster``: its id."""

    chosen: dict[Slot, Value] = field(default_factory=dict)
    votes: dict[Slot, dict[Ballot, tuple[bytes, set[str]]]] = field(default_factory=dict)
    nodes: list[str] = field(default_factory=list)
    cluster: str = ""

    @property
    def first(self) -> Slot:
        """The lowest slot of which there is something; 0: of none."""
        return min((*self.chosen, *self.votes), default=0)

    @property
    def last(self) -> Slot:
        """The highest one."""
        return max((*self.chosen, *self.votes), default=0)

    def find(self, slot: Slot, quorums: Quorums) -> Value | None:
        """What was chosen in this slot: as a log says, or by the votes of a quorum. ``quorums``:
        those in force for the slot."""
        found = self.chosen.get(slot)
        if found is not None:
            return found
        for ballot, (value, by) in self.votes.get(slot, {}).items():
            if quorums.phase2_met(sum(quorums.bit.get(name, 0) for name in by)):
                return ballot, value
        return None


def read_chosen(wals: Iterable[Path], problems: list[str]) -> ChosenValues:
    """Read the logs. A sentence is added to ``problems`` for what is not used. Raises OSError."""
    found = ChosenValues()
    for wal in wals:
        log = _NodeLog()
        for header, data, record in _records(wal, problems):
            if found.cluster and header.cluster_id != found.cluster:
                problems.append(f"{wal}: it is of cluster {header.cluster_id}, not of "
                                f"{found.cluster}")  # fmt: skip
                break
            found.cluster = header.cluster_id
            log.take(header.node_id, data, record)
        if log.node:
            log.add_to(found)
    return found


class _NodeLog:
    """The log of one node."""

    def __init__(self) -> None:
        self.node = ""
        self.commit = 0
        self.newest: dict[Slot, Value] = {}
        self.decided: set[Slot] = set()

    def take(self, node: str, data: memoryview, record: RawRecord) -> None:
        self.node = node
        if record.kind in (ACCEPT, DECISION):
            slot, ballot, value = decode_value(data, record)
            self.newest[slot] = (ballot, bytes(value))
            if record.kind == DECISION:
                self.decided.add(slot)
        elif record.kind == COMMIT:
            self.commit = max(self.commit, decode_commit(data, record))
        elif record.kind == STATE:
            self.commit = max(self.commit, decode_state(data, record)[1].commit)
        elif record.kind == RELEASE:
            self.commit = max(self.commit, decode_release(data, record).commit)

    def add_to(self, found: ChosenValues) -> None:
        if self.node not in found.nodes:
            found.nodes.append(self.node)
        for slot, (ballot, value) in self.newest.items():
            if slot <= self.commit or slot in self.decided:
                held = found.chosen.get(slot)
                if held is None or ballot > held[0]:
                    found.chosen[slot] = (ballot, value)
                found.votes.pop(slot, None)
            elif slot not in found.chosen:
                votes = found.votes.setdefault(slot, {})
                votes.setdefault(ballot, (value, set()))[1].add(self.node)


def _records(
    wal: Path, problems: list[str]
) -> Iterator[tuple[SegmentHeader, memoryview, RawRecord]]:
    """The records of all whole groups, in the order of the disk."""
    for header, view in read_segments(wal, problems):
        offset = HEADER_BYTES
        group: list[RawRecord] = []
        while (record := check_record(view, offset, header)) is not None:
            offset = record.end
            if record.kind == GROUP_END:
                yield from ((header, view, each) for each in group)
                group.clear()
            else:
                group.append(record)
