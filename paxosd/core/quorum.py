"""Who must answer, and how many: quorums and the bit sets that count them.

Rule: every phase-1 quorum meets every phase-2 quorum. Source: Lamport, "Paxos Made Simple",
section 2.2 (majorities); Howard, Malkhi, Spiegelman, "Flexible Paxos" (2016), section 3
(only quorums of different phases need to meet).
"""

from collections.abc import Iterable

from paxosd.core.types import NodeId


class Quorums:
    """The voters of a configuration and its two quorum sizes.

    Voters are numbered in name order; a set of voters is an int with one bit each, so that a
    tally is an ``or`` and counting is :meth:`int.bit_count`.

    Raises ValueError for no voters, too many, a repeated name, or quorums that need not meet.
    """

    __slots__ = ("bit", "phase1", "phase2", "voters")

    VOTERS_MAX = 7

    def __init__(self, voters: Iterable[NodeId], phase1: int = 0, phase2: int = 0) -> None:
        self.voters: tuple[NodeId, ...] = tuple(sorted(voters))
        n = len(self.voters)
        if not 1 <= n <= self.VOTERS_MAX:
            raise ValueError(f"a cluster has 1 to {self.VOTERS_MAX} voters, not {n}")
        if len(set(self.voters)) != n:
            raise ValueError(f"a voter is named twice: {', '.join(self.voters)}")
        majority = n // 2 + 1
        self.phase1 = phase1 or majority
        self.phase2 = phase2 or majority
        if self.phase1 + self.phase2 <= n or not (self.phase1 <= n and self.phase2 <= n):
            raise ValueError(
                f"quorums of {self.phase1} (phase 1) and {self.phase2} (phase 2) "
                f"of {n} voters need not meet: together they must be more than {n}, and each at "
                f"most {n}"
            )
        self.bit: dict[NodeId, int] = {name: 1 << i for i, name in enumerate(self.voters)}

    @classmethod
    def nobody(cls) -> "Quorums":
        """Of a node that does not know who votes: no set of voters is ever a quorum."""
        made = cls.__new__(cls)
        made.voters, made.bit = (), {}
        made.phase1 = made.phase2 = cls.VOTERS_MAX + 1
        return made

    def is_voter(self, name: NodeId) -> bool:
        return name in self.bit

    def phase1_met(self, mask: int) -> bool:
        """Whether the voters in ``mask`` are enough to take over."""
        return mask.bit_count() >= self.phase1

    def phase2_met(self, mask: int) -> bool:
        """Whether the voters in ``mask`` are enough to choose a value."""
        return mask.bit_count() >= self.phase2

    def contact_met(self, mask: int) -> bool:
        """Whether a leader in touch with ``mask`` can both choose and confirm a read.

        A confirmation must meet every phase-1 quorum (nobody can have taken over), as a
        phase-2 quorum does.
        """
        return self.phase2_met(mask)

    def contact_lacks(self, mask: int) -> int:
        """How many voters are missing in ``mask`` for that."""
        return max(0, self.phase2 - mask.bit_count())

    def tolerance(self, reachable: int) -> int:
        """How many more of ``reachable`` voters may fail before writing stops (-1: stopped)."""
        need = max(self.phase1, self.phase2)
        return reachable - need if reachable >= need else -1


NOBODY = Quorums.nobody()
