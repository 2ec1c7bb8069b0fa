"""The nouns of the protocol: who, which attempt, which place in the log.

Source: Lamport, "Paxos Made Simple" (2001), section 2: proposals carry totally ordered,
never repeated numbers, here a :class:`Ballot`; section 3: one instance per place in the
log, here a :data:`Slot`, counted from 1.
"""

from typing import NamedTuple

NodeId = str
"""A daemon's name, for example ``n1``. Unique in its cluster."""

Slot = int
"""A place in the log, counted from 1. Slot 0 stands for "before the first"."""


EPOCH_ROUNDS = 1_000_000_000
"""Rounds of one membership epoch: those of epoch e begin at e times this."""


class Ballot(NamedTuple):
    """The number of one attempt to lead: ordered by round, ties broken by node name.

    Invariant: a node persists a promise of its own ballot before first use, so that no
    restart can ever reuse one. Each ballot belongs to one epoch of the membership, and every
    ballot of a later epoch is higher (``membership.py``): round 3_000_000_012 is the twelfth of
    epoch 3, and the rounds of a cluster that never changed are 1, 2, 3, …
    """

    round: int
    node: NodeId

    @property
    def epoch(self) -> int:
        """The membership whose leader this is a ballot of."""
        return self.round // EPOCH_ROUNDS

    def shown(self) -> str:
        """The one notation for people and programs, in tables, JSON and logs: ``12.n1``, and
        ``3:12.n1`` for the twelfth round of epoch 3; "-" for none."""
        if self.round == 0:
            return "-"
        epoch, attempt = divmod(self.round, EPOCH_ROUNDS)
        return f"{epoch}:{attempt}.{self.node}" if epoch else f"{attempt}.{self.node}"

    @classmethod
    def of_text(cls, text: str) -> "Ballot":
        """The other way round. Raises ValueError for anything that :meth:`shown` does not give."""
        if text == "-":
            return NULL_BALLOT
        number, _, node = text.partition(".")
        epoch, _, attempt = number.rpartition(":")
        return cls(int(epoch or 0) * EPOCH_ROUNDS + int(attempt), node)


class Mark(NamedTuple):
    """The number of the last durable group of a log, heard from the data directory that has it."""

    directory_id: int
    group: int


NULL_BALLOT = Ballot(0, "")
"""Below every real ballot. Compare with this, never with ``None``."""

UNKNOWN_BALLOT = Ballot(1 << 63, "")
"""Above every real ballot: "chosen at some ballot", so that no accepted value will do."""

NOOP = b""
"""The value that fills a hole in the log: no commands. Every other value is non-empty."""
