"""Who votes and how many votes choose, as far as the recordings say it."""

from collections.abc import Iterable
from dataclasses import dataclass

from paxosd.core.types import EPOCH_ROUNDS
from paxosd.recorder.event import MEMBER, Event

_PHASE2_BIT = 32
_PHASE_MASK = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Quorum:
    """``voters``: by name; ``phase1``, ``phase2``: how many of them promise, and vote.
    ``recorded``: False if no membership is; then every node that is seen is taken for a voter."""

    voters: tuple[str, ...]
    phase1: int
    phase2: int
    recorded: bool


class Memberships:
    """The memberships of each epoch, from MEMBER events. ``seen``: the names of all nodes that any
    event names, for a recording without them."""

    def __init__(self, events: Iterable[Event], seen: Iterable[str]) -> None:
        self._of: dict[int, dict[str, Event]] = {}
        for event in events:
            if event.kind == MEMBER:
                self._of.setdefault(event.round, {})[event.peer] = event
        self._seen = tuple(sorted(set(seen)))
        self._known: dict[int, Quorum] = {}

    def at(self, round_: int) -> Quorum:
        """That of the epoch of a ballot's round."""
        epoch = round_ // EPOCH_ROUNDS
        if epoch not in self._known:
            self._known[epoch] = self._quorum(epoch)
        return self._known[epoch]

    def _quorum(self, epoch: int) -> Quorum:
        members = self._of.get(epoch)
        if members is None:
            majority = len(self._seen) // 2 + 1
            return Quorum(self._seen, majority, majority, recorded=False)
        voters = tuple(sorted(name for name, event in members.items() if event.code))
        sizes = next(iter(members.values())).y
        majority = len(voters) // 2 + 1
        phase1, phase2 = sizes & _PHASE_MASK, sizes >> _PHASE2_BIT
        return Quorum(voters, phase1 or majority, phase2 or majority, recorded=True)
