"""What a daemon publishes for watchers and auditors: topics and payloads of the PUB stream.

Two frames per message, ``[topic, payload]``. The topic is what a ZeroMQ subscription matches by
prefix, so that a subscription is a key prefix; the payload is one msgpack array:

    kv/KEY         [VERSION, cluster, 64, node, incarnation, revision, slot, key, value|nil, chain]
    progress/P     [VERSION, cluster, 65, node, incarnation, revision, seq, last_revision, age_ms]
    learned/       [VERSION, cluster, 66, slot, [round, node], value]

``chain`` is ``[[length, seq], …]``: for each watched prefix P of the key, of which only the
length is sent, the number of this message among those published for P. Numbers of one P only
grow in an incarnation and none is used twice. See ``events.py`` for what the fields promise and
``paxosctl/watch_state.py`` for what a watcher makes of them.

Decoding takes nothing on trust: sizes, types and ranges are checked, and whatever is wrong
raises :class:`~paxosd.wire_base.WireError`, nothing else.
"""

from typing import Any, NamedTuple

import msgpack

from paxosd.core.types import Ballot, NodeId, Slot
from paxosd.wire_base import (
    VERSION,
    WireError,
    ballot,
    data,
    data_or_none,
    fields_of,
    name,
    number,
    number_or_minus_one,
    open_envelope,
    record_of,
    shorten,
    tuple_of,
    unpack,
)

KIND_CHANGE = 64
KIND_PROGRESS = 65
KIND_LEARNED = 66

TOPIC_KV = b"kv/"
TOPIC_PROGRESS = b"progress/"
TOPIC_LEARNED = b"learned/"

_ENVELOPE_FIELDS = 3
_CHAIN_MAX = 65_536


class ChangeEvent(NamedTuple):
    """One applied change of one key; ``value`` is None for a removal.

    ``chain``: pairs ``(length of P, seq)``, ascending by length, for each watched P.
    """

    node: NodeId
    incarnation: int
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

    ``seq``: of the last message of ``prefix``. ``last_revision``: no change of ``prefix`` in
    ``last_revision < … <= revision`` exists, and every one above ``last_revision`` will be
    numbered from ``seq + 1`` on. ``age_ms``: ``revision`` holds all that was acknowledged so many
    ms before (-1: the node never knew since its start, for a first watcher perhaps).
    """

    node: NodeId
    incarnation: int
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


class EventEncoder:
    """Makes the frames of one node's events; the parts that never change are packed once."""

    def __init__(self, cluster: str, node: NodeId, incarnation: int) -> None:
        self._packer = msgpack.Packer(use_bin_type=True)
        pack = self._packer.pack
        tail = pack(node) + pack(incarnation)
        self._change = b"\x9a" + pack(VERSION) + pack(cluster) + pack(KIND_CHANGE) + tail
        self._progress = b"\x99" + pack(VERSION) + pack(cluster) + pack(KIND_PROGRESS) + tail
        self._learned = b"\x96" + pack(VERSION) + pack(cluster) + pack(KIND_LEARNED)

    def change(
        self,
        revision: int,
        slot: Slot,
        key: bytes,
        value: bytes | None,
        chain: list[tuple[int, int]],
    ) -> tuple[bytes, bytes]:
        """``(topic, payload)`` of one change."""
        pack = self._packer.pack
        fields = pack(revision), pack(slot), pack(key), pack(value), pack(chain)
        return TOPIC_KV + key, self._change + b"".join(fields)

    def progress(
        self, prefix: bytes, revision: int, seq: int, last_revision: int, age_ms: int
    ) -> tuple[bytes, bytes]:
        """``(topic, payload)`` of one progress message."""
        pack = self._packer.pack
        fields = pack(revision), pack(seq), pack(last_revision), pack(age_ms)
        return TOPIC_PROGRESS + prefix, self._progress + b"".join(fields)

    def learned(self, slot: Slot, ballot: Ballot, value: bytes) -> tuple[bytes, bytes]:
        """``(topic, payload)`` of one chosen value."""
        pack = self._packer.pack
        return TOPIC_LEARNED, self._learned + pack(slot) + pack(ballot) + pack(value)


def decode_event(
    topic: bytes, payload: bytes
) -> tuple[str, ChangeEvent | ProgressEvent | LearnedEvent]:
    """The cluster id and the event of one message; raises WireError for anything else.

    That the cluster is the right one is the caller's to check: a watcher may not know it before.
    """
    fields = unpack(payload, array_max=_CHAIN_MAX)
    kind = open_envelope(fields, _ENVELOPE_FIELDS, "")
    cluster = name(fields[1])
    if kind == KIND_CHANGE:
        change: ChangeEvent = _CHANGE(fields)
        if topic != TOPIC_KV + change.key:
            raise WireError("field", "the topic does not name the key of the change")
        _check_chain(change)
        return cluster, change
    if kind == KIND_PROGRESS:
        if not topic.startswith(TOPIC_PROGRESS):
            raise WireError("field", "a progress message on another topic")
        progress: ProgressEvent = _PROGRESS(fields)
        if progress.last_revision > progress.revision:
            raise WireError("field", "last_revision lies above revision")
        return cluster, progress._replace(prefix=topic[len(TOPIC_PROGRESS) :])
    if kind == KIND_LEARNED:
        if topic != TOPIC_LEARNED:
            raise WireError("field", "a learned value on another topic")
        learned: LearnedEvent = _LEARNED(fields)
        return cluster, learned
    raise WireError("kind", f"no event has kind {shorten(kind)}")


def _check_chain(change: ChangeEvent) -> None:
    above = -1
    for length, _ in change.chain:
        if not above < length <= len(change.key):
            raise WireError("field", "chain lengths must ascend and fit the key")
        above = length


def _progress(node: str, incarnation: int, *rest: Any) -> ProgressEvent:
    return ProgressEvent(node, incarnation, b"", *rest)


def _pair(length: int, seq: int) -> tuple[int, int]:
    return length, seq


_CHANGE = fields_of(
    "ChangeEvent",
    ChangeEvent,
    _ENVELOPE_FIELDS,
    name,
    number,
    number,
    number,
    data,
    data_or_none,
    tuple_of(record_of(_pair, number, number), _CHAIN_MAX),
)
_PROGRESS = fields_of(
    "ProgressEvent",
    _progress,
    _ENVELOPE_FIELDS,
    name,
    number,
    number,
    number,
    number,
    number_or_minus_one,
)
_LEARNED = fields_of("LearnedEvent", LearnedEvent, _ENVELOPE_FIELDS, number, ballot, data)
