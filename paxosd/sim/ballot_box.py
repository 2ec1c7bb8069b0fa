"""Who promised and who voted for what: the truth about what is chosen, whatever the nodes think.

    promise ──► who may lead with a ballot              vote ──► what a majority has voted for
    a reign without a majority of promises              = chosen, for ever; a proposal of another
    was not won                                           value for that slot at a higher ballot,
                                                          or another choice, breaks Paxos

Only what a node has told others counts: that is durable, or it would have broken another rule.
Majorities are counted here anew, not with the product's own quorums.
"""

from collections.abc import Iterable

from paxosd.core.types import Ballot, NodeId, Slot


class BallotBox:
    """Counts for the voters ``names``; without names nothing is counted and all is granted.

    ``chosen``: slot → the lowest ballot known to have won it, and the value.
    """

    __slots__ = ("_bits", "_majority", "_promises", "_values", "_votes", "chosen")

    def __init__(self, names: Iterable[NodeId]) -> None:
        self._bits = {name: 1 << place for place, name in enumerate(names)}
        self._majority = len(self._bits) // 2 + 1
        self._promises: dict[Ballot, int] = {}
        self._votes: dict[tuple[Slot, Ballot], int] = {}
        self._values: dict[tuple[Slot, Ballot], bytes] = {}
        self.chosen: dict[Slot, tuple[Ballot, bytes]] = {}

    def propose(self, slot: Slot, ballot: Ballot, value: bytes) -> str:
        """A node accepts a proposal; what is wrong with it, "" if nothing is."""
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
        """A node has told of its promise."""
        self._promises[ballot] = self._promises.get(ballot, 0) | self._bits.get(name, 0)

    def is_won(self, ballot: Ballot) -> bool:
        """Whether a majority has promised this very ballot."""
        return not self._bits or self._promises.get(ballot, 0).bit_count() >= self._majority

    def vote(self, name: NodeId, ballot: Ballot, slot: Slot) -> str:
        """A node has told of its vote; what is wrong with what is chosen now, "" if nothing."""
        key = (slot, ballot)
        before = self._votes.get(key, 0)
        now = before | self._bits.get(name, 0)
        if now == before:
            return ""
        self._votes[key] = now
        if now.bit_count() != self._majority:
            return ""
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
        if not self._bits:
            return True
        won = self.chosen.get(slot)
        return won is not None and won[1] == value
