"""What the recordings and logs of all nodes say together: the memory that the rules share.

Names of nodes are ranked in their order, so that a ballot is one number, ``round << 8 | rank``,
and greater ballots are greater numbers. A *where* is one number as well: a run and the place of an
event in it, or a segment and an offset. Digests are kept plus one: that of the empty value is 0.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from paxosctl.audit.findings import Evidence
from paxosctl.audit.membership import EPOCH_ROUNDS, Epochs, Membership
from paxosctl.audit.recorder_file import Block
from paxosctl.audit.slots import SlotMap
from paxosctl.audit.sources import DataDirectory
from paxosctl.audit.wal_file import Segment

RANK_BITS = 8
_PLACE_BITS = 40
PLACE_MASK = (1 << _PLACE_BITS) - 1
"""The number of an event in a where."""
_LOG_BIT = 1 << 63
_DIGEST_EDGE_BYTES = 2048


def digest_of(value: bytes | memoryview) -> int:
    """The digest that the recorder has of a value: its length, and the crc of both its ends."""
    size = len(value)
    if size <= 2 * _DIGEST_EDGE_BYTES:
        return size << 32 | crc32(value)
    return size << 32 | crc32(value[-_DIGEST_EDGE_BYTES:], crc32(value[:_DIGEST_EDGE_BYTES]))


@dataclass(slots=True)
class RunBlocks:
    """One run of a node: where its events stand. ``number`` counts the runs of all nodes; ``rank``:
    of the node; ``whole``: no event from its first on is missing."""

    number: int
    node: str
    rank: int
    boot_count: int
    run_id: int
    directory: int
    blocks: list[Block]
    whole: bool = True


@dataclass(slots=True)
class LogFacts:
    """What is known of one node's log. ``first``: slots from there on have all records of this
    directory; ``promised``: the highest ballot promised or voted under; ``commit``: slots up to it
    are chosen. ``usable``: it belongs to a directory whose memory is whole; ``complete``: and that
    is the only one that the node was seen to have."""

    home: DataDirectory
    rank: int
    first: int = 1
    promised: int = 0
    commit: int = 0
    usable: bool = True
    complete: bool = True
    last_group: int = 0
    """The last whole group."""


@dataclass(slots=True)
class Votes:
    """Of one ballot: ``values``: slot → digest + 1; ``places``: slot → where that was seen first;
    ``said``: slot → the bits of the nodes that voted, as they said or as their logs have it."""

    values: SlotMap = field(default_factory=SlotMap)
    places: SlotMap = field(default_factory=SlotMap)
    said: SlotMap = field(default_factory=SlotMap)


class Facts:
    """See the head of this module."""

    def __init__(self, names: Iterable[str], epochs: Epochs) -> None:
        self.names = ["", *sorted(set(names) - {""})]
        self.rank = {name: number for number, name in enumerate(self.names)}
        self.strangers: set[str] = set()
        """Names in ballots that were not known: whoever reads logs begins anew with them."""
        self.epochs = epochs
        self.runs: list[RunBlocks] = []
        self.segments: list[Segment] = []
        self.ballots: dict[int, Votes] = {}
        self.logged: dict[int, SlotMap] = {}
        """Ballot → slot → the bits of the nodes whose logs have that vote."""
        self.applied = SlotMap()
        """Slot → digest + 1 of what was applied, or stands in a log as decided …"""
        self.applied_at = SlotMap()
        """… and where that was seen first."""
        self.chosen = SlotMap()
        """1 for each slot in which the votes that were seen chose a value."""
        self.acked = SlotMap()
        """Slot → where a write in it was answered well."""
        self.logs: dict[int, LogFacts] = {}
        """By the rank of the node; a node with several directories has none here."""
        self._masks: dict[int, tuple[Membership, tuple[int, int, int]]] = {}

    # -- ballots and members

    def ballot(self, round_: int, voter: str) -> int:
        """A ballot as one number."""
        rank = self.rank.get(voter)
        if rank is None:
            self.strangers.add(voter)
            rank = 0
        return round_ << RANK_BITS | rank

    def shown(self, ballot: int) -> str:
        """A ballot for people: ``3:12.n1``."""
        round_, node = ballot >> RANK_BITS, self.names[ballot & 0xFF]
        epoch, attempt = divmod(round_, EPOCH_ROUNDS)
        if not round_:
            return "-"
        return f"{epoch}:{attempt}.{node}" if epoch else f"{attempt}.{node}"

    def membership(self, ballot: int) -> Membership | None:
        """Of the ballot's epoch."""
        return self.epochs.of_ballot(ballot >> RANK_BITS)

    def quorum(self, ballot: int) -> tuple[int, int, int] | None:
        """(bits of the voters, phase 1, phase 2) of the ballot's epoch; None: not known."""
        membership = self.membership(ballot)
        if membership is None:
            return None
        found = self._masks.get(membership.epoch)
        if found is None or found[0] is not membership:
            bits = sum(1 << self.rank[name] for name in membership.voters if name in self.rank)
            found = membership, (bits, membership.phase1, membership.phase2)
            self._masks[membership.epoch] = found
        return found[1]

    def named(self, bits: int) -> str:
        """The names of the nodes with these bits."""
        return ", ".join(n for rank, n in enumerate(self.names) if bits >> rank & 1) or "nobody"

    # -- values and votes

    def votes(self, ballot: int) -> Votes:
        """Those of a ballot."""
        found = self.ballots.get(ballot)
        if found is None:
            found = self.ballots[ballot] = Votes()
        return found

    def has_vote(self, rank: int, ballot: int, slot: int) -> bool:
        """Whether the node's vote was seen, by whoever saw it."""
        votes = self.ballots.get(ballot)
        return votes is not None and bool(votes.said.get(slot) >> rank & 1)

    def covers(self, rank: int, slot: int) -> bool:
        """Whether every vote of the node in this slot is known."""
        log = self.logs.get(rank)
        return log is not None and log.complete and slot >= log.first

    # -- evidence

    def add_run(self, run: RunBlocks) -> int:
        """A run's number."""
        self.runs.append(run)
        return len(self.runs) - 1

    def evidence(self, where: int) -> Evidence:
        """The place that a where stands for."""
        number = (where & ~_LOG_BIT) >> _PLACE_BITS
        place = where & PLACE_MASK
        if where & _LOG_BIT:
            segment = self.segments[number]
            return Evidence(segment.node, "", str(segment.path), place)
        run = self.runs[number]
        blocks = run.blocks
        at = bisect_right(blocks, place, key=lambda block: block.first_seq) - 1
        path, offset = (blocks[at].path, blocks[at].offset) if at >= 0 else (Path(), 0)
        return Evidence(run.node, f"{run.node}/{run.boot_count}:{place}", str(path), offset)

    def in_log(self, segment: int, offset: int) -> int:
        """A where in a log."""
        return _LOG_BIT | segment << _PLACE_BITS | offset


def in_run(number: int, seq: int) -> int:
    """A where in a recording."""
    return number << _PLACE_BITS | seq
