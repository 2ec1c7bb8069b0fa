"""What a node publishes for watchers and auditors, as values; their bytes: ``wire/events.py``."""

from typing import NamedTuple

from paxosd.core.types import Ballot, NodeId, Slot


class Place(NamedTuple):
    """Where a change stands among those of the prefix P of ``length`` bytes.

    No change of P lies between ``previous`` and the revision of this one, exclusive.
    ``ordinal`` and ``total``: which of P's changes of the same revision this one is, from 0, and
    of how many.
    """

    length: int
    previous: int
    ordinal: int
    total: int


class ChangeEvent(NamedTuple):
    """One applied change of one key; ``value`` is None for a removal.

    ``places``: one for each watched P, ascending by length.
    """

    node: NodeId
    boot_count: int
    revision: int
    slot: Slot
    key: bytes
    value: bytes | None
    places: tuple[Place, ...]

    def place_of(self, prefix: bytes) -> Place | None:
        """Where it stands among the changes of ``prefix``; None if that is not said."""
        if self.key.startswith(prefix):
            length = len(prefix)
            for place in self.places:
                if place.length == length:
                    return place
        return None


class NumberedChangeEvent(NamedTuple):
    """A change as nodes of version 0.1 publish it.

    ``chain``: pairs ``(length of P, seq)``, ascending by length, for each watched P.
    """

    node: NodeId
    boot_count: int
    revision: int
    slot: Slot
    key: bytes
    value: bytes | None
    chain: tuple[tuple[int, int], ...]

    def seq_of(self, prefix: bytes) -> int | None:
        """The number of this message in the stream of ``prefix``; None if it has none there."""
        if self.key.startswith(prefix):
            length = len(prefix)
            for at, seq in self.chain:
                if at == length:
                    return seq
        return None


class ProgressEvent(NamedTuple):
    """Everything that the node applied up to ``revision`` has been published before this.

    ``last_revision``: no change of ``prefix`` in ``last_revision < … <= revision`` exists.
    ``seq`` counts the changes of ``prefix`` that were published: every one above
    ``last_revision`` will be numbered from ``seq + 1`` on. ``age_ms``: ``revision`` holds all
    that was acknowledged so many ms before (-1: the node never knew since its start, for a first
    watcher perhaps).
    """

    node: NodeId
    boot_count: int
    prefix: bytes
    revision: int
    seq: int
    last_revision: int
    age_ms: int


class LearnedEvent(NamedTuple):
    """A chosen value, and the ballot under which the publisher holds it. Slots come in order;
    a subscriber that sees one skipped missed it."""

    slot: Slot
    ballot: Ballot
    value: bytes


class MembersEvent(NamedTuple):
    """The membership of ``epoch`` is in force at the publisher. One that is missed is missed."""

    epoch: int


Event = ChangeEvent | NumberedChangeEvent | ProgressEvent | LearnedEvent | MembersEvent
