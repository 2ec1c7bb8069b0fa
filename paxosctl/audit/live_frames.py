"""What a node publishes and what it answers to ``status``, as the live audit reads it.

    accepted/NODE  [2, cluster, 7, node, run_id, genesis, epoch, log_mark, ballot, ranges, seq]
    learned/       [1, cluster, 66, slot, ballot, value]
    kv/KEY         [1, cluster, 67, node, boot_count, revision, slot, key, value, places]
    progress/P     [1, cluster, 65, node, boot_count, revision, seq, last_revision, age_ms]

Source: docs/PROTOCOL.md. Kinds that are not known are passed over, as that page asks for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

from msgpack import unpackb

from paxosctl.audit.membership import EPOCH_ROUNDS, Membership, make

_ACCEPTED, _PROGRESS, _LEARNED, _CHANGE = 7, 65, 66, 67
_ADMIN, _ADMIN_ANSWER = 35, 51
_RANGE_SLOTS_MAX = 65_536
_ERRORS = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)

Ballot = tuple[int, str]
NO_BALLOT: Ballot = (0, "")


class FrameError(Exception):
    """A message is not as the protocol has it; the text says how."""


class Votes(NamedTuple):
    """A node voted at a ballot in ranges of slots; ``seq`` counts the messages of its run."""

    node: str
    run_id: int
    ballot: Ballot
    ranges: tuple[tuple[int, int], ...]
    seq: int


class Applied(NamedTuple):
    """A node applied a slot, which it holds for chosen."""

    slot: int
    ballot: Ballot
    digest: bytes


class Change(NamedTuple):
    """What a command changed: change number ``ordinal`` of ``revision``."""

    node: str
    revision: int
    ordinal: int
    digest: bytes


class Progress(NamedTuple):
    """Everything that the node published before this message was sent before it."""

    node: str
    prefix: bytes


Said = Votes | Applied | Change | Progress


@dataclass(frozen=True, slots=True)
class Standing:
    """What a node says of itself. ``frontier``: the highest slot that it knows to be proposed or
    chosen; ``difference``: how its state, or that of another, differs, "" if it does not."""

    node: str
    cluster: str
    run_id: int
    directory: int
    promised: Ballot
    frontier: int
    syncs: int
    membership: Membership | None
    difference: str
    clients: Mapping[str, str] = field(default_factory=dict)
    events: Mapping[str, str] = field(default_factory=dict)


def digest_of(*parts: bytes) -> bytes:
    """Of a value: two values with one digest are one."""
    return blake2b(b"".join(parts), digest_size=16).digest()


def shown(ballot: Ballot) -> str:
    """A ballot as logs show it: ``3:12.n1`` with the epoch in front, if there is one."""
    epoch, round_ = divmod(ballot[0], EPOCH_ROUNDS)
    return f"{epoch}:{round_}.{ballot[1]}" if epoch else f"{round_}.{ballot[1]}"


def decode(topic: bytes, payload: bytes) -> tuple[str, Said | None]:
    """(cluster, what was said); None: of a kind that the audit does not look at. Raises
    FrameError."""
    try:
        frame = unpackb(payload, use_list=False)
        version, cluster, kind, *fields = frame
        if kind == _ACCEPTED and version in (1, 2):
            return str(cluster), _votes(topic, version, fields)
        if version != 1:
            raise FrameError(f"the version {version} of a frame is not known")
        if kind == _LEARNED:
            slot, ballot, value = fields
            return str(cluster), Applied(_slot(slot), _ballot(ballot), digest_of(value))
        if kind == _CHANGE:
            return str(cluster), _change(fields)
        if kind == _PROGRESS:
            return str(cluster), Progress(str(fields[0]), topic.removeprefix(b"progress/"))
        return str(cluster), None
    except FrameError:
        raise
    except _ERRORS as error:
        raise FrameError(f"a message of {len(payload)} bytes cannot be read: {error}") from error


def _votes(topic: bytes, version: int, fields: list[Any]) -> Votes:
    node, run_id = str(fields[0]), int(fields[1])
    ballot, ranges, seq = fields[5:] if version == 2 else fields[2:]
    if topic != b"accepted/" + node.encode():
        raise FrameError(f"votes of {node} came behind the topic {topic!r}")
    pairs = tuple((_slot(first), _slot(last)) for first, last in ranges)
    if any(first > last for first, last in pairs) or (
        sum(last - first + 1 for first, last in pairs) > _RANGE_SLOTS_MAX
    ):
        raise FrameError("the slots of votes are out of their range")
    return Votes(node, run_id, _ballot(ballot), pairs, int(seq))


def _change(fields: list[Any]) -> Change | None:
    node, _, revision, slot, key, value, places = fields
    for length, _, ordinal, _ in places:
        if length == 0:
            marked = b"\1" + value if value is not None else b"\0"
            digest = digest_of(b"%d/%d/" % (slot, len(key)), key, marked)
            return Change(str(node), int(revision), int(ordinal), digest)
    return None


def _slot(value: Any) -> int:
    if type(value) is not int or not 0 < value < 1 << 63:
        raise FrameError(f"{value!r} is no slot")
    return value


def _ballot(value: Any) -> Ballot:
    round_, node = value
    if type(round_) is not int or type(node) is not str:
        raise FrameError(f"{value!r} is no ballot")
    return round_, node


# -- questions


def encode_question(request_id: int) -> bytes:
    """A request for ``status``."""
    from msgpack import packb  # noqa: PLC0415 -- beside the only place that writes

    data: bytes = packb([1, "", _ADMIN, request_id, "status", {}])
    return data


def decode_answer(payload: bytes) -> tuple[int, Standing] | None:
    """(request id, what the node says of itself); None: no such answer. Raises FrameError."""
    try:
        version, cluster, kind, request_id, *fields = unpackb(payload)
        if version != 1 or kind != _ADMIN_ANSWER:
            return None
        return request_id, _standing(str(cluster), fields[0])
    except FrameError:
        raise
    except _ERRORS as error:
        raise FrameError(f"an answer to status cannot be read: {error}") from error


def _standing(cluster: str, body: dict[str, Any]) -> Standing:
    reached = body.get("members", {})
    return Standing(
        node=str(body["node"]),
        cluster=cluster,
        run_id=int(body.get("run_id", 0)),
        directory=int(body.get("directory", 0)),
        promised=_ballot(body.get("promised", NO_BALLOT)),
        frontier=max(int(body.get(key, 0)) for key in ("proposed", "known_commit", "commit")),
        syncs=int(body.get("disk", {}).get("syncs", 0)),
        membership=_membership(body.get("membership") or {}),
        difference=_difference(body),
        clients={str(name): str(each.get("client", "")) for name, each in reached.items()},
        events={str(name): str(each.get("events", "")) for name, each in reached.items()},
    )


def _membership(document: dict[str, Any]) -> Membership | None:
    members = document.get("members") or {}
    voters = {
        str(name): int(row.get("directory", 0))
        for name, row in members.items()
        if row.get("voter") is True
    }
    if not voters:
        return None
    return make(
        int(document.get("epoch", 0)), int(document.get("slot", 0)), voters,
        int(document.get("phase1", 0)), int(document.get("phase2", 0)),
    )  # fmt: skip


def _difference(body: dict[str, Any]) -> str:
    node = body.get("node")
    found = body.get("state_difference")
    if found:
        others = ", ".join(map(str, found.get("members", ())))
        return (
            f"{node} says that after slot {found.get('slot')} the sum of its {found.get('sum')} is "
            f"{found.get('own')}, and that of {others or 'others'} {found.get('others')}"
        )
    for name, odd in (body.get("state_odd") or {}).items():
        return (
            f"{node} says that after slot {odd.get('slot')} the sum of the {odd.get('sum')} of "
            f"{name} is {odd.get('others')}, and its own {odd.get('own')}"
        )
    return ""
