"""The settings that a node was started with, as plain values in a trace and back again.

Only the classes listed here are made from what a file says; a setting that this version does not
know is an error in words, for a replay without it would be another run.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from paxosd.bus.peers import PeerEndpoints
from paxosd.core.cluster_settings import ClusterSettings
from paxosd.core.membership import UNKNOWN, Member, Membership
from paxosd.core.message_room import MessageRoom
from paxosd.core.options import NodeOptions
from paxosd.core.quorum import NOBODY, Quorums
from paxosd.replica.ports import ReplicaOptions
from paxosd.snapshot.keeper import SnapshotOptions
from paxosd.trace.blocks import TraceError
from paxosd.wire import EntryLimits

_KIND = "@"
_PLAIN: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        ClusterSettings,
        EntryLimits,
        Member,
        MessageRoom,
        NodeOptions,
        PeerEndpoints,
        ReplicaOptions,
        SnapshotOptions,
    )
}


def encode_settings(value: Any) -> Any:
    """Plain values that msgpack takes. Raises TypeError for a class that is not listed."""
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, Quorums):
        sizes = {"phase1": value.phase1, "phase2": value.phase2}
        return {_KIND: "Quorums", "voters": list(value.voters), **sizes}
    if isinstance(value, Membership):
        return {
            _KIND: "Membership",
            "members": encode_settings(value.members),
            "departed": encode_settings(value.departed),
            "epoch": value.epoch,
            "slot": value.slot,
            "phase1": value.phase1,
            "phase2": value.phase2,
        }
    name = type(value).__name__
    if name in _PLAIN:
        names = [f.name for f in fields(value)] if is_dataclass(value) else value._fields
        return {_KIND: name, **{n: encode_settings(getattr(value, n)) for n in names}}
    if isinstance(value, Mapping):
        return {str(key): encode_settings(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [encode_settings(each) for each in value]
    raise TypeError(f"a trace cannot hold a {name}")


def decode_settings(value: Any) -> Any:
    """The other way round. Raises TraceError for what this version does not know."""
    if isinstance(value, list):
        return [decode_settings(each) for each in value]
    if not isinstance(value, dict):
        return value
    decoded = {key: decode_settings(each) for key, each in value.items() if key != _KIND}
    if _KIND not in value:
        return decoded
    name = value[_KIND]
    if name == "Quorums":
        return Quorums(**decoded) if decoded["voters"] else NOBODY
    if name == "Membership":
        return Membership(**decoded) if decoded["members"] else UNKNOWN
    kind = _PLAIN.get(name)
    if kind is None:
        raise TraceError(f"the trace has settings of a kind that this version lacks: {name}")
    known = {f.name for f in fields(kind)} if is_dataclass(kind) else set(kind._fields)  # type: ignore[attr-defined]  # a NamedTuple
    if strange := sorted(decoded.keys() - known):
        raise TraceError(
            f"the trace was recorded with {', '.join(strange)}, which this version of paxosd does "
            "not know: replay it with the version that recorded it"
        )
    return kind(**decoded)
