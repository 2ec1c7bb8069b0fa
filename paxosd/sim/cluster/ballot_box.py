"""Which node promised and voted for what, and what is chosen by that.

    promises of a majority ──► a node may lead with that ballot
    votes of a majority    ──► the value is chosen, for ever: to propose another value for that slot
                               at a higher ballot, or to choose another one, breaks Paxos

Only what a node has sent counts: that is durable, or the node would have broken another rule.
Majorities are counted independently of the product's own quorums. Each membership counts for the
ballots of its epoch, from its slot on: a vote for a slot after a change of the membership chooses
nothing if its ballot is of the epoch before the change.
"""

from collections.abc import Iterable
from typing import NamedTuple

from paxosd.core.membership import Membership
from paxosd.core.types import Ballot, NodeId, Slot


class _Voters(NamedTuple):
    """The voters of one epoch, in force from ``slot`` on, and how many are a quorum."""

    slot: Slot
    mask: int
    phase1: int
    phase2: int


class BallotBox:
    """Counts for the voters ``names`` of epoch 0. Without names nothing is counted, and everything
    is taken for won and chosen.

    ``chosen``: slot → the lowest ballot known to have won it, and the value.
    """

    __slots__ = ("_bits", "_epochs", "_promises", "_values", "_votes", "chosen")

    def __init__(self, names: Iterable[NodeId]) -> None:
        self._bits: dict[NodeId, int] = {}
        first = list(names)
        majority = len(first) // 2 + 1
        self._epochs = {0: _Voters(0, self._mask(first), majority, majority)} if first else {}
        self._promises: dict[Ballot, int] = {}
        self._votes: dict[tuple[Slot, Ballot], int] = {}
        self._values: dict[tuple[Slot, Ballot], bytes] = {}
        self.chosen: dict[Slot, tuple[Ballot, bytes]] = {}

    def _mask(self, names: Iterable[NodeId]) -> int:
        mask = 0
        for name in names:
            mask |= self._bits.setdefault(name, 1 << len(self._bits))
        return mask

    def change(self, membership: Membership) -> None:
        """A node has applied the change that this membership comes from."""
        epoch = membership.epoch
        if not self._epochs or epoch in self._epochs:
            return
        voters = [name for name, member in membership.members.items() if member.voter]
        majority = len(voters) // 2 + 1
        self._epochs[epoch] = _Voters(
            membership.slot,
            self._mask(voters),
            membership.phase1 or majority,
            membership.phase2 or majority,
        )
        for slot in [slot for slot in self.chosen if slot >= membership.slot]:
            if self.chosen[slot][0].epoch < epoch:
                del self.chosen[slot]

    def propose(self, slot: Slot, ballot: Ballot, value: bytes) -> str:
        """A node accepts a proposal. Returns what is wrong with it, "" if nothing is."""
        if self._values.setdefault((slot, ballot), value) != value:
            return f"two values for slot {slot} under ballot {tuple(ballot)}"
        won = self.chosen.get(slot)
        if won is not None and ballot > won[0] and value != won[1]:
            return (
                f"slot {slot} was chosen at {tuple(won[0])}, but another value is proposed "
                f"for it at {tuple(ballot)}"
            )
        return ""

    def promise(self, name: NodeId, ballot: Ballot) -> None:
        """A node has sent a promise."""
        self._promises[ballot] = self._promises.get(ballot, 0) | self._mask([name])

    def is_won(self, ballot: Ballot) -> bool:
        """Whether a majority has promised this very ballot."""
        if not self._epochs:
            return True
        voters = self._epochs.get(ballot.epoch)
        promised = self._promises.get(ballot, 0)
        return voters is not None and (promised & voters.mask).bit_count() >= voters.phase1

    def vote(self, name: NodeId, ballot: Ballot, slot: Slot) -> str:
        """A node has sent a vote. Returns what is wrong with what is chosen now, or ""."""
        key = (slot, ballot)
        before = self._votes.get(key, 0)
        now = before | self._mask([name])
        if now == before or not self._epochs:
            return ""
        self._votes[key] = now
        voters = self._epochs.get(ballot.epoch)
        if voters is None:
            return f"{name} votes for {tuple(ballot)}, of an epoch that no node has reached"
        if (now & voters.mask).bit_count() != voters.phase2 or not now & ~before & voters.mask:
            return ""
        after = self._epochs.get(ballot.epoch + 1)
        if after is not None and slot >= after.slot:
            return ""  # behind the end of its epoch
        value = self._values.get(key)
        if value is None:
            return f"{name} votes for {tuple(ballot)} in slot {slot}, which nobody proposed"
        won = self.chosen.get(slot)
        if won is None or ballot < won[0]:
            self.chosen[slot] = (ballot, value)
        if won is not None and won[1] != value:
            return f"slot {slot} was chosen with two values, at {tuple(won[0])} and {tuple(ballot)}"
        return ""

    def has_chosen(self, slot: Slot, value: bytes) -> bool:
        """Whether a majority has voted for this value in this slot."""
        if not self._epochs:
            return True
        won = self.chosen.get(slot)
        return won is not None and won[1] == value
