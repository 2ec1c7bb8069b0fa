"""The chain: a running checksum by which nodes find out that their histories differ.

    chain after slot s = crc32(what slot s did, chain after slot s - 1)

Equal logs have equal chains, so two nodes whose chains differ at one slot have diverged at or
before it. Nodes compare chains at the slots that MARK_SLOTS divides (``core/comparison.py``).
"""

from array import array
from collections.abc import Sequence

from paxosd.core.types import Slot

CHAIN_VERSION = 2
"""The version of the chain at feature level 1 and above. Version 1, below it, covers no values."""
MARK_SLOTS = 64
"""A power of two: nodes compare their chains at every slot that it divides."""
TRAIL_SLOTS = 256 * MARK_SLOTS
"""The chain after each of at least this many of the last slots is kept for comparison."""


class Trail:
    """The chain after each of the last slots of feature level 1, up to the last one applied."""

    __slots__ = ("_chains",)

    def __init__(self) -> None:
        self._chains = array("I")

    def append(self, chain: int) -> None:
        """Add the chain after the next slot."""
        self._chains.append(chain)

    def trim(self) -> None:
        """Drop the oldest once there are twice as many as needed, so that it is seldom done."""
        if len(self._chains) >= 2 * TRAIL_SLOTS:
            del self._chains[:-TRAIL_SLOTS]

    def restart(self, chain: int | None) -> None:
        """Forget all; ``chain`` is the one after the last slot applied, if it has level 1."""
        self._chains = array("I", [] if chain is None else [chain])

    def before_last(self, slots: Slot) -> int | None:
        """The chain ``slots`` slots before the last one; None if it is not known."""
        return self._chains[-1 - slots] if 0 <= slots < len(self._chains) else None

    def run(self, slots: Slot, count: int) -> Sequence[int]:
        """The chains of ``count`` slots that follow one another, the first of them ``slots`` slots
        before the last one; 0: it is not known."""
        chains = self._chains
        first = len(chains) - 1 - slots
        if first >= 0 and count <= slots + 1:
            return chains[first : first + count]
        return [self.before_last(each) or 0 for each in range(slots, slots - count, -1)]
