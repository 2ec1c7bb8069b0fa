"""Do the states of the nodes agree? Their samples, and the verdict.

    own samples ──────────┐
                          ├── judge(voters) ──► AGREED, DIVERGED or DISPUTED
    samples of peers ─────┘

A *sample* is a sum over what a node had after one slot: its chain (``core/state/chain.py``), or
a checksum of its whole state (``core/state/checksum.py``). Samples are compared if kind, version
and slot are equal.

- DIVERGED: a majority of the voters has the same sum after a slot, and this node has another. Its
  state is not the decided one, and it cannot find out by itself what else is wrong. This is final.
- DISPUTED: the sums of voters differ, and no majority is known for any of them. What is
  acknowledged now may turn out to be wrong. This ends once a majority is known.

A majority that agrees with this node's chain after one slot settles all slots before it. A
difference is disputed only after some time: the sample that decides it may be on its way.

Samples of a node that has no vote, has lost its memory or has diverged are compared, but count for
no majority. Pure: no time, no messages; ``comparison.py`` has the node's side.
"""

from collections.abc import Collection, Iterable
from enum import Enum
from typing import NamedTuple

from paxosd.core.messages import SAMPLES_MAX, Sample
from paxosd.core.types import NodeId, Slot

CHAIN = 1
"""A sample of this kind is the chain after its slot."""
STATE = 2
"""A sample of this kind is the checksum of the whole state after its slot."""
VALUE = 3
"""No sample: the value of one slot itself, if two nodes hold different ones at one ballot."""
OWN_MAX = 512
"""How many samples of its own a node keeps …"""
HEARD_MAX = SAMPLES_MAX
"""… and of each peer: more, for a peer may be ahead of this node."""


Key = tuple[int, int, Slot]
"""Kind, version and slot."""


class Verdict(Enum):
    """What the comparison has come to."""

    AGREED = "agreed"
    """Nothing speaks against it."""
    DIVERGED = "diverged"
    DISPUTED = "disputed"


class Difference(NamedTuple):
    """The first known slot after which a node's sum differs from other nodes' sum."""

    kind: int
    slot: Slot
    own: int
    others: int
    members: tuple[NodeId, ...]
    """The nodes with the sum ``others``."""


class Agreement:
    """The comparison at one node. ``difference``: how this node has diverged; None: it has not.
    ``disputes``: the differences among the voters that no majority has decided yet, each with the
    time when it was found. ``odd``: the peers that differ from a majority that includes this
    node."""

    __slots__ = ("_heard", "_own", "_sound", "_touched", "agreed", "difference", "disputes", "odd")

    def __init__(self) -> None:
        self._own: dict[Key, int] = {}
        self._heard: dict[NodeId, dict[Key, int]] = {}
        self._sound: dict[NodeId, bool] = {}
        self._touched: set[Key] = set()
        self.difference: Difference | None = None
        self.disputes: dict[Key, tuple[Difference, float]] = {}
        self.odd: dict[NodeId, Difference] = {}
        self.agreed: dict[int, Slot] = {}
        """By kind: the highest slot at which a majority agrees with this node."""

    # -- what is said

    def note(self, sample: Sample) -> None:
        """This node's own."""
        key = sample[:3]
        self._own[key] = sample.sum
        self._touched.add(key)
        if len(self._own) > OWN_MAX:
            oldest = next(iter(self._own))
            del self._own[oldest]
            self.disputes.pop(oldest, None)

    def has(self, key: Key) -> bool:
        """Whether this node's own is there."""
        return key in self._own

    def own(self) -> list[Sample]:
        """This node's own samples, the oldest first."""
        return [Sample(*key, total) for key, total in self._own.items()]

    def hear(self, member: NodeId, samples: Iterable[Sample], *, sound: bool) -> None:
        """Samples of ``member``. ``sound``: whether they count, as ``member`` itself says."""
        if self._sound.get(member) is not sound:
            self._sound[member] = sound
            self.review()
        self.hear_more(member, samples)

    def hear_more(self, member: NodeId, samples: Iterable[Sample]) -> None:
        """Samples of ``member``; whether they count is known from before."""
        heard = self._heard.setdefault(member, {})
        for sample in samples:
            key = sample[:3]
            if heard.pop(key, None) != sample.sum:
                self._touched.add(key)  # most is repeated, and changes nothing
            heard[key] = sample.sum  # last: the order is that of the last word
        while len(heard) > HEARD_MAX:
            del heard[next(iter(heard))]

    def forget(self, member: NodeId) -> None:
        """``member`` has another memory now: drop its samples."""
        self._heard.pop(member, None)
        self._sound.pop(member, None)
        self.odd.pop(member, None)
        self.review()

    def believe_others(self) -> None:
        """If all other nodes differ from this node after a slot, it has diverged: the voters that
        it knows of are not the ones that decide any more."""
        for key in sorted(self._own):
            own, words = self._own[key], self._others(key)
            if words and own not in words.values():
                member, other = min(words.items())
                self._note_own(Difference(key[0], key[2], own, other, (member,)))
                return

    def _others(self, key: Key) -> dict[NodeId, int]:
        return {name: heard[key] for name, heard in self._heard.items() if key in heard}

    def review(self) -> None:
        """The voters, or the nodes that count, have changed: judge everything again."""
        self._touched.update(self._own)

    def objectors(self, sample: Sample, voters: Collection[NodeId]) -> list[NodeId]:
        """The voters that count and have another sum than ``sample``, a sample of a state that this
        node may take over; none if a majority of the voters has the same sum."""
        key = sample[:3]
        said = {
            name: self._heard[name][key]
            for name in voters
            if self._sound.get(name) and key in self._heard.get(name, {})
        }
        same = sum(total == sample.sum for total in said.values())
        if same > len(voters) // 2:
            return []
        return sorted(name for name, total in said.items() if total != sample.sum)

    # -- what follows

    def judge(
        self, voters: Collection[NodeId], me: NodeId, now_ms: float, grace_ms: float, *, sound: bool
    ) -> Verdict:
        """The verdict by the samples of ``voters`` (with or without this node, ``me``). ``sound``:
        whether this node's samples count. A difference is disputed after ``grace_ms``."""
        if self._touched:
            touched, self._touched = self._touched, set()
            for key in sorted(touched & self._own.keys()):
                self._judge(key, voters, me if sound else "", now_ms)
            self._settle(voters)
        if self.difference is not None:
            return Verdict.DIVERGED
        if any(now_ms - since_ms >= grace_ms for _, since_ms in self.disputes.values()):
            return Verdict.DISPUTED
        return Verdict.AGREED

    def _judge(self, key: Key, voters: Collection[NodeId], me: NodeId, now_ms: float) -> None:
        own = self._own[key]
        words = self._words(key, voters, me)
        majority = len(voters) // 2 + 1
        for total, members in words.items():
            if len(members) < majority:
                continue
            if total == own:
                kind, _, slot = key
                self.agreed[kind] = max(slot, self.agreed.get(kind, 0))
                self._note_odd(key, own)
            else:
                self._note_own(self._first(key, members))
            self.disputes.pop(key, None)
            return
        if len(words) < 2:
            self.disputes.pop(key, None)
            return
        total, members = max(
            ((total, members) for total, members in words.items() if total != own),
            key=lambda item: len(item[1]),
        )
        difference = Difference(key[0], key[2], own, total, tuple(members))
        since_ms = self.disputes[key][1] if key in self.disputes else now_ms
        self.disputes[key] = difference, since_ms

    def _note_own(self, first: Difference) -> None:
        """This node has diverged. A later sample may show that it diverged at an earlier slot."""
        known = self.difference
        if known is None or (known.kind == first.kind and first.slot < known.slot):
            self.difference = first

    def _words(self, key: Key, voters: Collection[NodeId], me: NodeId) -> dict[int, list[NodeId]]:
        """Sum → the voters that have it, of those that count, sorted by name."""
        words: dict[int, list[NodeId]] = {}
        for name in sorted(voters):
            if name == me:
                words.setdefault(self._own[key], []).append(name)
            elif self._sound.get(name):
                total = self._heard[name].get(key)
                if total is not None:
                    words.setdefault(total, []).append(name)
        return words

    def _first(self, key: Key, members: list[NodeId]) -> Difference:
        """The difference at the lowest slot at which one of ``members`` differs from this node."""
        kind, version, slot = key
        others = next(self._heard[name][key] for name in members)
        first = Difference(kind, slot, self._own[key], others, tuple(members))
        for each in sorted(k for k in self._own if k[:2] == (kind, version) and k[2] < slot):
            for name in members:
                total = self._heard[name].get(each)
                if total is not None and total != self._own[each]:
                    return Difference(kind, each[2], self._own[each], total, tuple(members))
        return first

    def _note_odd(self, key: Key, own: int) -> None:
        """A majority agrees with this node: remember the nodes that do not."""
        kind, _, slot = key
        for name, heard in self._heard.items():
            total = heard.get(key)
            known = self.odd.get(name)
            if total is None:
                continue
            if total != own and (known is None or slot < known.slot):
                self.odd[name] = Difference(kind, slot, own, total, (name,))
            elif total == own and known is not None and known.kind == kind and slot > known.slot:
                del self.odd[name]  # it was made good

    def _settle(self, voters: Collection[NodeId]) -> None:
        """Agreement of a majority at a slot settles the disputes of earlier slots."""
        for key in [k for k in self.disputes if k[2] <= self.agreed.get(k[0], 0)]:
            del self.disputes[key]
