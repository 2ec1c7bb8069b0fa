"""What a daemon publishes for watchers and auditors: topics and payloads of the PUB stream.

Two frames per message, ``[topic, payload]``. The topic is what a ZeroMQ subscription matches by
prefix, so that a subscription is a key prefix; the payload is one msgpack array:

    kv/KEY         [VERSION, cluster, 67, node, boot_count, revision, slot, key, value|nil, places]
    progress/P     [VERSION, cluster, 65, node, boot_count, revision, seq, last_revision, age_ms]
    learned/       [VERSION, cluster, 66, slot, [round, node], value]
    members/       [VERSION, cluster, 68, epoch]

The last one says that from now on another membership is in force: a watcher that goes on for long
asks the node for its members then, and need not ask again and again. Version 0.1 publishes none.

``places`` is ``[[length, previous, ordinal, total], …]``: for each watched prefix P of the key, of
which only the length is sent, where this change stands among the changes of P. No change of P
lies between the revisions ``previous`` and ``revision``; and of the ``total`` changes of P that
``revision`` made this is the one with the number ``ordinal``, from 0. ``previous`` is the revision
of the change of P before this one. Where the node does not know that one (it took in a snapshot,
or nobody watched P before), it is the highest that it can be. All of it follows from the log
alone, and so it means the same on every node and in every run of one.

    kv/KEY         [VERSION, cluster, 64, node, boot_count, revision, slot, key, value|nil, chain]

is how nodes of version 0.1 publish a change: ``chain`` is ``[[length, seq], …]``, the number of
the message among those that this node published for P; numbers of one P only grow during one run of
a node, and none is used twice. It is still decoded, but not written any more. A watcher of version
0.1 does not know kind 67 and drops it. By the ``seq`` of the progress messages, which have not
changed, it sees at most 200 ms later that it missed changes, and pulls them: late, but all of them.

See ``replica/watch_publisher.py`` for what the fields promise and ``core/client/watch.py`` for
what a watcher makes of them.

Decoding checks sizes, types and ranges, and raises :class:`~paxosd.wire.fields.WireError` and
nothing else.
"""

from typing import Any

import msgpack

from paxosd.core.events import (
    ChangeEvent,
    Event,
    LearnedEvent,
    MembersEvent,
    NumberedChangeEvent,
    Place,
    ProgressEvent,
)
from paxosd.core.types import Ballot, NodeId, Slot
from paxosd.wire.fields import (
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

KIND_NUMBERED_CHANGE = 64
KIND_PROGRESS = 65
KIND_LEARNED = 66
KIND_CHANGE = 67
KIND_MEMBERS = 68

TOPIC_KV = b"kv/"
TOPIC_PROGRESS = b"progress/"
TOPIC_LEARNED = b"learned/"
TOPIC_MEMBERS = b"members/"

_ENVELOPE_FIELDS = 3
_PLACES_MAX = 65_536


class EventEncoder:
    """Makes the frames of one node's events; the parts that never change are packed once."""

    def __init__(self, cluster: str, node: NodeId, boot_count: int) -> None:
        self._packer = msgpack.Packer(use_bin_type=True)
        pack = self._packer.pack
        tail = pack(node) + pack(boot_count)
        self._change = b"\x9a" + pack(VERSION) + pack(cluster) + pack(KIND_CHANGE) + tail
        self._progress = b"\x99" + pack(VERSION) + pack(cluster) + pack(KIND_PROGRESS) + tail
        self._learned = b"\x96" + pack(VERSION) + pack(cluster) + pack(KIND_LEARNED)
        self._members = b"\x94" + pack(VERSION) + pack(cluster) + pack(KIND_MEMBERS)

    def change(
        self,
        revision: int,
        slot: Slot,
        key: bytes,
        value: bytes | None,
        places: list[tuple[int, int, int, int]],
    ) -> tuple[bytes, bytes]:
        """``(topic, payload)`` of one change; ``places`` as in :class:`ChangeEvent`."""
        pack = self._packer.pack
        fields = pack(revision), pack(slot), pack(key), pack(value), pack(places)
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

    def members(self, epoch: int) -> tuple[bytes, bytes]:
        """``(topic, payload)`` of the message that another membership is in force."""
        return TOPIC_MEMBERS, self._members + self._packer.pack(epoch)


def decode_event(topic: bytes, payload: bytes) -> tuple[str, Event]:
    """The cluster id and the event of one message; raises WireError for anything else.

    That the cluster is the right one is the caller's to check: a watcher may not know it before.
    """
    fields = unpack(payload, array_max=_PLACES_MAX)
    kind = open_envelope(fields, _ENVELOPE_FIELDS, "")
    cluster = name(fields[1])
    if kind == KIND_CHANGE:
        change: ChangeEvent = _CHANGE(fields)
        _check_change(topic, change.key, [place.length for place in change.places])
        for _, previous, ordinal, total in change.places:
            if previous >= change.revision or ordinal >= total:
                raise WireError("field", "a change stands where none can stand")
        return cluster, change
    if kind == KIND_NUMBERED_CHANGE:
        numbered: NumberedChangeEvent = _NUMBERED_CHANGE(fields)
        _check_change(topic, numbered.key, [length for length, _ in numbered.chain])
        return cluster, numbered
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
    if kind == KIND_MEMBERS:
        if topic != TOPIC_MEMBERS:
            raise WireError("field", "news of the members on another topic")
        members: MembersEvent = _MEMBERS(fields)
        return cluster, members
    raise WireError("kind", f"no event has kind {shorten(kind)}")


def _check_change(topic: bytes, key: bytes, lengths: list[int]) -> None:
    if topic != TOPIC_KV + key:
        raise WireError("field", "the topic does not name the key of the change")
    above = -1
    for length in lengths:
        if not above < length <= len(key):
            raise WireError("field", "lengths of prefixes must ascend and fit the key")
        above = length


def _progress(node: str, boot_count: int, *rest: Any) -> ProgressEvent:
    return ProgressEvent(node, boot_count, b"", *rest)


def _pair(length: int, seq: int) -> tuple[int, int]:
    return length, seq


_CHANGE_CHECKS = (name, number, number, number, data, data_or_none)
_CHANGE = fields_of(
    "ChangeEvent",
    ChangeEvent,
    _ENVELOPE_FIELDS,
    *_CHANGE_CHECKS,
    tuple_of(record_of(Place, number, number, number, number), _PLACES_MAX),
)
_NUMBERED_CHANGE = fields_of(
    "NumberedChangeEvent",
    NumberedChangeEvent,
    _ENVELOPE_FIELDS,
    *_CHANGE_CHECKS,
    tuple_of(record_of(_pair, number, number), _PLACES_MAX),
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
_MEMBERS = fields_of("MembersEvent", MembersEvent, _ENVELOPE_FIELDS, number)
