"""The Learner: it counts the acceptors' votes itself and finds what it has missed.

    Accepted(b, s) from a phase-2 quorum            → (s, b) is chosen
    a leader of b says "chosen up to c"             → every s <= c is chosen, at or below b
    Decisions                                       → chosen, with the values

A slot known to be chosen at ballot b has its value at hand if this node accepted a proposal
for it at b *or above*: by P2b of "Paxos Made Simple" (section 2.2) every proposal above the
chosen one carries the chosen value. Below b it may be another value, so it must be pulled.

Only votes under ballots of the epoch in force at the next slot count (``membership.py``). Whether a
slot behind a change of the membership is chosen, the new voters decide.

``commit`` is the top of the contiguous chosen prefix whose values are known; slots are handed
out in order, once each. Source of the learner's job: "Paxos Made Simple", section 2.3.
"""

from paxosd.core.messages import Decisions
from paxosd.core.quorum import Quorums
from paxosd.core.types import EPOCH_ROUNDS, NULL_BALLOT, Ballot, NodeId, Slot


class Stream:
    """What was received of one publisher's votes. A gap in the numbers shows a lost message."""

    __slots__ = ("announced", "run_id", "seen")

    def __init__(self) -> None:
        self.run_id = -1
        self.seen = 0
        """Every message up to this number was received, or its votes were repeated."""
        self.announced = 0
        """The publisher's last number as its previous heartbeat gave it."""


class Learner:
    """Votes in, the chosen log out."""

    __slots__ = ("_quorums", "_streams", "_votes", "ahead_bytes_max", "ahead_slots_max", "chosen",
                 "commit", "decided", "decided_bytes", "epoch", "known_ballot", "known_commit",
                 "news", "proposed", "proposed_bytes", "top_chosen", "unlogged")  # fmt: skip

    def __init__(self, quorums: Quorums, commit: Slot = 0, ahead_slots_max: int = 4096) -> None:
        self._quorums = quorums
        self.epoch = 0
        self.commit = commit
        """Every slot up to this is chosen and was handed out."""
        self.ahead_slots_max = ahead_slots_max
        self._votes: dict[Slot, dict[Ballot, int]] = {}
        self.chosen: dict[Slot, Ballot] = {}
        """Slots above commit known to be chosen, and a ballot at which they were."""
        self.decided: dict[Slot, tuple[Ballot, bytes]] = {}
        """Pulled values of chosen slots above commit."""
        self.decided_bytes = 0
        self.ahead_bytes_max = 256 << 20
        self.known_commit: Slot = commit
        """The highest slot of which some leader said that all up to it are chosen …"""
        self.known_ballot = NULL_BALLOT
        """… at or below this ballot."""
        self.top_chosen: Slot = commit
        """The highest slot that is known to be chosen."""
        self.news = 0
        """How many votes and chosen values were new; only grows."""
        self._streams: dict[NodeId, Stream] = {}
        self.proposed: dict[Slot, tuple[Ballot, bytes]] = {}
        """In a node without a vote: the highest-ballot proposal heard for each slot above commit.
        For learning it is as good as a proposal accepted here."""
        self.proposed_bytes = 0
        self.unlogged = False
        """Whether this node's log has no record yet of the value that was handed out last."""

    # -- a change of the membership

    def reconfigure(self, quorums: Quorums, epoch: int) -> None:
        """Other voters decide from the next slot on: drop the votes that were counted so far. What
        other nodes reported as chosen still is."""
        self._quorums = quorums
        self.epoch = epoch
        self._votes.clear()
        self.chosen = {slot: ballot for slot, (ballot, _) in self.decided.items()}
        self.top_chosen = max([self.commit, self.known_commit, *self.chosen])

    # -- learning that a slot is chosen

    def receive_votes(self, voter: NodeId, ballot: Ballot, first: Slot, last: Slot) -> bool:
        """Count a voter's votes for a run of slots; true if a slot became chosen.

        Votes outside the window just above the commit index are not kept: memory stays
        bounded, and a heartbeat's commit index makes up for them.
        """
        bit = self._quorums.bit.get(voter)
        if bit is None or ballot.round // EPOCH_ROUNDS != self.epoch:
            return False
        news = False
        top = min(last, self.commit + self.ahead_slots_max)
        for slot in range(max(first, self.commit + 1), top + 1):
            if slot in self.chosen:
                continue
            tally = self._votes.get(slot)
            if tally is None:
                tally = self._votes[slot] = {}
            before = tally.get(ballot, 0)
            mask = tally[ballot] = before | bit
            self.news += mask != before
            if self._quorums.phase2_met(mask):
                self.chosen[slot] = ballot
                del self._votes[slot]
                self.top_chosen = max(self.top_chosen, slot)
                news = True
        return news

    def receive_commit(self, ballot: Ballot, upto: Slot) -> bool:
        """The leader of ``ballot`` says that every slot up to ``upto`` is chosen."""
        if upto <= self.known_commit:
            return False
        self.known_commit = upto
        self.known_ballot = ballot
        self.top_chosen = max(self.top_chosen, upto)
        return True

    def receive_decisions(self, message: Decisions) -> list[tuple[Slot, Ballot, bytes]]:
        """Take pulled values; returns those that are new, for the node to persist."""
        fresh = []
        slot = message.first_slot
        for ballot, value in message.values:
            if self.commit < slot <= self.commit + self.ahead_slots_max + len(message.values):
                if slot not in self.decided:
                    size = self.decided_bytes + len(value)
                    if size > self.ahead_bytes_max and slot != self.commit + 1:
                        break  # the next slot always fits, else nothing could go on
                    self.decided_bytes = size
                    self.decided[slot] = (ballot, value)
                    fresh.append((slot, ballot, value))
                    self.news += 1
                self.chosen[slot] = ballot
                self.top_chosen = max(self.top_chosen, slot)
                self._votes.pop(slot, None)
            slot += 1
        return fresh

    def hear_proposal(self, slot: Slot, ballot: Ballot, value: bytes, bytes_max: int) -> None:
        """Keep a proposal that this node does not vote on, so that it need not pull the value."""
        if not self.commit < slot <= self.commit + self.ahead_slots_max:
            return
        held = self.proposed.get(slot)
        if held is not None and held[0] >= ballot:
            return
        size = self.proposed_bytes + len(value) - (len(held[1]) if held is not None else 0)
        if size <= bytes_max:
            self.proposed[slot] = (ballot, value)
            self.proposed_bytes = size

    def _forget_proposal(self, slot: Slot) -> None:
        held = self.proposed.pop(slot, None)
        if held is not None:
            self.proposed_bytes -= len(held[1])

    # -- handing out the chosen prefix

    def next_chosen(
        self, accepted: dict[Slot, tuple[Ballot, bytes]]
    ) -> tuple[Slot, Ballot, bytes] | None:
        """The next slot of the prefix with its value; None: it is not known yet.

        ``accepted``: what this node's own acceptor holds. Advances ``commit``.
        """
        slot = self.commit + 1
        held = self._value_of(slot, accepted)
        if held is None:
            return None
        if self.decided.pop(slot, None) is not None:
            self.decided_bytes -= len(held[1])
        if self.proposed:
            self._forget_proposal(slot)
        self.commit = slot
        self.chosen.pop(slot, None)
        self._votes.pop(slot, None)
        return slot, held[0], held[1]

    def has_next(self, accepted: dict[Slot, tuple[Ballot, bytes]]) -> bool:
        """Whether :meth:`next_chosen` would hand one out."""
        return self._value_of(self.commit + 1, accepted) is not None

    def _value_of(
        self, slot: Slot, accepted: dict[Slot, tuple[Ballot, bytes]]
    ) -> tuple[Ballot, bytes] | None:
        """The value of a slot, if it is known to be chosen and its value is at hand."""
        self.unlogged = False
        held = self.decided.get(slot)
        if held is not None:
            return held
        ballot = self.chosen.get(slot)
        if ballot is None:
            if slot > self.known_commit:
                return None
            ballot = self.known_ballot
        held = accepted.get(slot)
        if held is not None and held[0] >= ballot:
            return held
        self.unlogged = True
        held = self.proposed.get(slot)
        return held if held is not None and held[0] >= ballot else None

    def install(self, slot: Slot) -> None:
        """Every slot up to ``slot`` is chosen and in a snapshot: nothing is left to learn of
        them."""
        self.commit = slot
        self.top_chosen = max(self.top_chosen, slot)
        for each in [each for each in self.proposed if each <= slot]:
            self._forget_proposal(each)
        for known in (self._votes, self.chosen, self.decided):
            for each in [each for each in known if each <= slot]:
                del known[each]
        self.decided_bytes = sum([len(value) for _, value in self.decided.values()])

    def missing(self) -> tuple[Slot, Slot] | None:
        """The slots above commit up to the highest one known to be chosen; None: there are none."""
        top = self.top_chosen
        return (self.commit + 1, top) if top > self.commit else None

    def voted(self, slot: Slot, ballot: Ballot) -> int:
        """The set of voters whose votes for (slot, ballot) were counted."""
        return self._votes.get(slot, {}).get(ballot, 0)

    # -- gaps in the vote streams

    def _stream(self, voter: NodeId, run_id: int) -> Stream | None:
        """The stream of this run of a voter; None: the run is over."""
        stream = self._streams.get(voter)
        if stream is None:
            stream = self._streams[voter] = Stream()
        if stream.run_id != run_id:
            if run_id < stream.run_id:
                return None
            stream.run_id = run_id
            # What was published before counts as missed, so that it is asked for once.
            stream.seen = 0
            stream.announced = 0
        return stream

    def stream_gap(self, voter: NodeId, run_id: int, seq: int) -> bool:
        """Note message number ``seq`` of a voter's stream; true if one before it is missing."""
        stream = self._stream(voter, run_id)
        if stream is None:
            return False
        if seq == stream.seen + 1:
            stream.seen = seq
            return False
        return seq > stream.seen

    def stream_lost_tail(self, voter: NodeId, run_id: int, seq: int) -> bool:
        """A heartbeat says the voter published up to ``seq``; true if what an *earlier*
        heartbeat announced has not come (the stream and heartbeats race each other)."""
        stream = self._stream(voter, run_id)
        if stream is None:
            return False
        lost = stream.seen < stream.announced
        stream.announced = max(stream.announced, seq)
        return lost

    def stream_repaired(self, voter: NodeId, run_id: int, seq: int) -> None:
        """All votes up to message ``seq`` were repeated over DEALER."""
        stream = self._stream(voter, run_id)
        if stream is not None:
            stream.seen = max(stream.seen, seq)
