"""The observer of a lesson, who sees every disk at once, as no node can.

A value is chosen when a majority of disks holds it under one ballot (Lamport, "Paxos Made Simple",
section 2.2), whether any node knows that or not.
"""

from paxosd.core.effects import AcceptRecord, DecisionRecord, PromiseRecord, Record
from paxosd.core.types import NULL_BALLOT, Ballot, NodeId, Slot
from paxosd.sim.teach.happenings import Recorder


class Observer:
    """``quorum``: how many votes choose a value."""

    def __init__(self, names: tuple[NodeId, ...], quorum: int, recorder: Recorder) -> None:
        self.chosen: dict[Slot, tuple[Ballot, bytes]] = {}
        """What was chosen first in each slot."""
        self.conflicts: list[tuple[Slot, bytes, bytes]] = []
        """Slots for which a second value was chosen: must stay empty."""
        self.breach = ""
        """What no node may ever do, if one did it."""
        self._quorum = quorum
        self._recorder = recorder
        self._durable: dict[NodeId, list[Record]] = {name: [] for name in names}
        self._promised = dict.fromkeys(names, NULL_BALLOT)
        self._accepted: dict[tuple[Slot, Ballot], list[NodeId]] = {}

    def promised(self, name: NodeId, ballot: Ballot) -> None:
        """A node has promised this; it may not be on disk yet."""
        if ballot < self._promised[name]:
            self.breach = f"the promise of {name} went down"
        self._promised[name] = ballot

    def synced(self, name: NodeId, records: list[Record]) -> None:
        """These records are on the disk of a node from now on."""
        self._durable[name].extend(records)
        for record in records:
            if isinstance(record, AcceptRecord):
                self._count(name, record)

    def crashed(self, name: NodeId) -> None:
        """A node holds from now on what its disk holds."""
        self._promised[name] = self.promised_at(name)

    def wiped(self, name: NodeId) -> None:
        """The disk of a node is empty."""
        self._durable[name] = []
        self._promised[name] = NULL_BALLOT

    def accepted_at(self, name: NodeId, slot: Slot) -> tuple[Ballot, bytes] | None:
        """What a node's disk holds as accepted in a slot, also while the node is down."""
        return self._held(name, slot, AcceptRecord)

    def learned_at(self, name: NodeId, slot: Slot) -> tuple[Ballot, bytes] | None:
        """What a node's disk holds as chosen in a slot without its own vote for it there."""
        return self._held(name, slot, DecisionRecord)

    def promised_at(self, name: NodeId) -> Ballot:
        """The highest promise on a node's disk, also while the node is down. A node that accepts
        under a ballot has promised it, too."""
        return max((record.ballot for record in self._durable[name]
                    if isinstance(record, PromiseRecord | AcceptRecord)),
                   default=NULL_BALLOT)  # fmt: skip

    def _held(
        self, name: NodeId, slot: Slot, kind: type[AcceptRecord | DecisionRecord]
    ) -> tuple[Ballot, bytes] | None:
        for record in reversed(self._durable[name]):
            if isinstance(record, kind) and record.slot == slot:
                return record.ballot, record.value
        return None

    def _count(self, name: NodeId, record: AcceptRecord) -> None:
        names = self._accepted.setdefault((record.slot, record.ballot), [])
        if name not in names:
            names.append(name)
        if len(names) != self._quorum:
            return
        known = self.chosen.setdefault(record.slot, (record.ballot, record.value))
        if known[1] != record.value:
            self.conflicts.append((record.slot, known[1], record.value))
            self._recorder.note("conflict", name, body=record, names=tuple(names), before=known)
        elif known[0] == record.ballot:
            self._recorder.note("chosen", name, body=record, names=tuple(names))
