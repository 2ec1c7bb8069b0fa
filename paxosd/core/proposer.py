"""The Proposer: phase 1 once over all open slots, then phase 2 only, many slots in flight.

    IDLE ── start(ballot) ──► PREPARING ── promises of a phase-1 quorum ──► LEADING
      ▲                            │                                           │
      └──────── stop(): nack, no quorum, a higher ballot, hand-over ◄──────────┘

Rules it keeps:
- For every slot that a promise reports, it proposes the value of the highest ballot reported
  (Lamport, "Paxos Made Simple", section 2.2, P2c); holes below the highest are filled with
  NOOP (section 3). Slots that a promiser calls chosen are learned, not proposed; nor does a hole
  get a NOOP that is known to be chosen: a quorum that reports nothing for it has lost votes.
- It proposes in slots above all that were known to be chosen when the reign began. A leader that
  learns of a chosen slot at or above ``next_slot`` steps down (``Node.tick``): no acceptor that has
  applied the slot votes in it, so its own proposal there would stay open for ever.
- At one ballot it proposes one value per slot, ever.
- Behind an entry that may change the membership it proposes nothing until that entry is applied:
  before that, the quorum of the next slot is not known (``membership.py``).
- Client entries wait in a bounded queue (``fair_queue.py``). All that wait when a slot is free
  make one batch, up to the batch limits.
"""

from collections.abc import Callable, Collection
from enum import Enum
from typing import Any

from paxosd.core.commands import Batch, changes_members
from paxosd.core.fair_queue import FairQueue, Waiting
from paxosd.core.messages import Promise
from paxosd.core.options import NodeOptions
from paxosd.core.types import NOOP, NULL_BALLOT, Ballot, NodeId, Slot


class ProposerState(Enum):
    IDLE = "idle"
    PREPARING = "preparing"
    LEADING = "leading"


class Proposal:
    """One slot in flight."""

    __slots__ = ("answered", "batch", "sendings", "sent_ms", "slot", "tokens", "value")

    def __init__(
        self, slot: Slot, value: bytes, batch: Batch | None, tokens: list[Any], sent_ms: float
    ) -> None:
        self.slot = slot
        self.value = value
        self.batch = batch
        """The decoded value where this node made it; None for an adopted value or a NOOP."""
        self.tokens = tokens
        """The clients to answer: one token per entry of the batch."""
        self.sent_ms = sent_ms
        """When it was sent last …"""
        self.sendings = 1
        """… how often …"""
        self.answered = False
        """… and whether another node has voted for it."""


class Proposer:
    """One node's attempts to lead. It decides what to propose; the node sends."""

    __slots__ = (
        "_adopted",
        "_complete",
        "_contested",
        "_options",
        "_reporters",
        "ballot",
        "barrier",
        "batch_bytes_max",
        "cut",
        "floor",
        "held",
        "leading",
        "next_slot",
        "open",
        "open_bytes",
        "prepared_from",
        "queue",
        "quorums",
        "reign_start",
        "renewing",
        "reported",
        "started_ms",
        "state",
    )  # fmt: skip

    def __init__(self, options: NodeOptions) -> None:
        self._options = options
        self.quorums = options.quorums
        self.batch_bytes_max = options.batch_bytes_max
        """What every member takes (``peer_limits.py``)."""
        self.barrier: Slot = 0
        """The slot in flight that may change the membership; 0: there is none."""
        self.cut = False
        """Whether reported proposals behind the barrier wait for another phase 1."""
        self.held = False
        """Whether leadership is being handed over: queued entries wait for the outcome."""
        self.renewing = False
        """Whether this campaign goes on from a reign that a change of the membership ended."""
        self._enter(ProposerState.IDLE)
        self.ballot = NULL_BALLOT
        self.prepared_from: Slot = 1
        self.started_ms = 0.0
        self._adopted: dict[Slot, tuple[Ballot, bytes]] = {}
        self._reporters: dict[Slot, dict[NodeId, bytes]] = {}
        """Which voter reported which value at the ballot that is adopted."""
        self._contested: set[Slot] = set()
        """The slots of which voters reported different values."""
        self._complete = 0
        self.floor: Slot = 0
        """Slots up to this one are chosen, as the promises of a quorum reported."""
        self.reported: Slot = 0
        """The highest slot that the promises of a quorum reported as chosen or accepted."""
        self.next_slot: Slot = 1
        self.reign_start: Slot = 0
        """The highest slot that an earlier leader may have had chosen: reads wait for it."""
        self.open: dict[Slot, Proposal] = {}
        self.open_bytes = 0
        self.queue = FairQueue(options.queue_commands_max, options.queue_bytes_max)

    def _enter(self, state: ProposerState) -> None:
        self.state = state
        self.leading = state is ProposerState.LEADING
        """The same as ``state``, for a fast look several times a turn."""

    # -- phase 1

    def start(self, ballot: Ballot, from_slot: Slot, now_ms: float) -> None:
        """Begin phase 1 at a ballot never used before, over all slots from ``from_slot`` on."""
        assert ballot > self.ballot, "a ballot is used once"
        assert not self.open
        self._enter(ProposerState.PREPARING)
        self.ballot = ballot
        self.prepared_from = from_slot
        self.started_ms = now_ms
        self._adopted = {}
        self._reporters = {}
        self._contested = set()
        self._complete = 0
        self.floor = from_slot - 1

    def receive_promise(self, sender: NodeId, promise: Promise) -> Slot:
        """Take a promise of this ballot: returns the slot to ask the sender for next, or 0.

        The sender counts toward the quorum only once its report is complete.
        """
        if self.state is not ProposerState.PREPARING or promise.ballot != self.ballot:
            return 0
        self.floor = max(self.floor, promise.commit)
        for slot, ballot, value in promise.accepted:
            held = self._adopted.get(slot)
            if held is None or held[0] < ballot:
                self._adopted[slot] = (ballot, value)
                self._reporters[slot] = {sender: value}
                self._contested.discard(slot)
            elif held[0] == ballot:
                self._reporters[slot][sender] = value
                if held[1] != value:
                    self._contested.add(slot)
        if promise.until_slot:
            return promise.until_slot + 1
        self._complete |= self.quorums.bit.get(sender, 0)
        return 0

    def promised_by(self, sender: NodeId) -> bool:
        return bool(self._complete & self.quorums.bit.get(sender, 0))

    @property
    def prepared(self) -> bool:
        """Whether a phase-1 quorum has promised and reported in full, and no slot is open of which
        different values are reported at one ballot."""
        met = self.state is ProposerState.PREPARING and self.quorums.phase1_met(self._complete)
        return met and not any(self._is_open(slot) for slot, _ in self.contradicted())

    def contradicted(self) -> list[tuple[Slot, Ballot]]:
        """The slots of which voters report different values at the highest ballot that is reported,
        and that ballot, in order."""
        return [(slot, self._adopted[slot][0]) for slot in sorted(self._contested)]

    def _is_open(self, slot: Slot) -> bool:
        """Whether no majority of the voters reports the same value, which is then adopted: at that
        ballot no other can have been chosen. (Memories that are damaged aside a ballot has one
        value for a slot: Lamport, "Paxos Made Simple", section 2.2.)"""
        values = list(self._reporters[slot].values())
        for value in values:
            if 2 * values.count(value) > len(self.quorums.voters):
                self._adopted[slot] = self._adopted[slot][0], value
                return False
        return True

    def take_lead(
        self,
        commit: Slot,
        now_ms: float,
        changes_members: Callable[[bytes], bool],
        known: Slot = 0,
        chosen: Collection[Slot] = (),
    ) -> list[Proposal]:
        """Phase 1 is won: the proposals that finish what earlier ballots began, up to the first
        that may change the membership: the rest is for the reign after that.

        ``commit``: this node's commit index, which may have moved on since the campaign began;
        what it has applied is not proposed again, for nothing would ever close that slot.
        ``known``, ``chosen``: every slot up to the one, and each of the others, is known to be
        chosen. A quorum whose memory is whole reports all of them, unless they were chosen at a
        ballot above this one.
        """
        assert self.prepared
        self._enter(ProposerState.LEADING)
        self.renewing = False
        self.floor = max(self.floor, commit)
        self.reported = max([self.floor, *self._adopted])
        top = max([self.reported, known, *chosen])
        proposals = []
        for slot in range(self.floor + 1, top + 1):
            held = self._adopted.get(slot)
            if held is None and (slot <= known or slot in chosen):
                continue
            value = held[1] if held is not None else NOOP
            proposals.append(self._open(slot, value, None, [], now_ms))
            if held is not None and changes_members(value):
                self.barrier, self.cut = slot, slot < top
                break
        self._adopted = {}
        self._reporters = {}
        self._contested = set()
        self.reign_start = top
        self.next_slot = (self.barrier or top) + 1
        return proposals

    # -- phase 2

    def _open(
        self, slot: Slot, value: bytes, batch: Batch | None, tokens: list[Any], now_ms: float
    ) -> Proposal:
        proposal = Proposal(slot, value, batch, tokens, now_ms)
        self.open[slot] = proposal
        self.open_bytes += len(value)
        return proposal

    def enqueue(self, waiting: Waiting) -> bool:
        """Queue a client's entry; false if the queue is full and nothing was taken."""
        return self.queue.put(waiting)

    def may_propose(self) -> bool:
        """Whether something waits and the window, in slots and in bytes, has room."""
        options = self._options
        return (
            self.queue.bytes > 0
            and self.state is ProposerState.LEADING
            and not self.barrier
            and not self.held
            and len(self.open) < options.window_slots_max
            and self.open_bytes < options.window_bytes_max
            and (
                len(self.open) < options.eager_slots_max
                or self.queue.bytes >= options.eager_batch_bytes
            )
        )

    def next_entries(self) -> list[Waiting]:
        """Take the entries of the next batch off the queue, at least one."""
        return self.queue.take(self._options.batch_commands_max, self.batch_bytes_max)

    def propose(self, value: bytes, batch: Batch, tokens: list[Any], now_ms: float) -> Proposal:
        """Put a batch in the next slot."""
        assert self.state is ProposerState.LEADING
        slot = self.next_slot
        self.next_slot = slot + 1
        if batch.entries and changes_members(batch.entries[-1]):
            self.barrier = slot
        return self._open(slot, value, batch, tokens, now_ms)

    def close(self, slot: Slot) -> Proposal | None:
        """The slot was chosen: it is no longer in flight."""
        proposal = self.open.pop(slot, None)
        if proposal is not None:
            self.open_bytes -= len(proposal.value)
        return proposal

    # -- the end of a reign

    def stop(self) -> tuple[list[Waiting], list[Any]]:
        """Lead no more: returns what was queued (never sent) and the tokens of what was in
        flight (may or may not be chosen)."""
        queued = self.queue.clear()
        in_flight = self.pause()
        self.renewing = False
        return queued, in_flight

    def pause(self) -> list[Any]:
        """As :meth:`stop`, but what was queued waits for the next reign of this node."""
        in_flight = [token for proposal in self.open.values() for token in proposal.tokens]
        self.open.clear()
        self.open_bytes = 0
        self.barrier, self.cut = 0, False
        self.held = False
        self._adopted = {}
        self._reporters = {}
        self._contested = set()
        self._complete = 0
        self._enter(ProposerState.IDLE)
        return in_flight
