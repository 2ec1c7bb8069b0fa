"""The status of a node as the admin verb ``status`` answers it, and back.

    NodeStatus ── encode_status ──► {"node": "n1", …} ── decode_status ──► NodeStatus

The keys are those that programs of all versions read; :mod:`paxosd.core.status` has clearer names
for some of them (``_KEYS``). Decoding never raises for what a node sent: a field that an older
version leaves out, or that is malformed, has its default; what a newer version sends beyond the
known keys is kept in :attr:`NodeStatus.more`.
"""

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from paxosd.core.membership import UNKNOWN, Member, Membership, MembershipError
from paxosd.core.status import FounderStatus, NodeStatus, PeerStatus
from paxosd.core.types import Ballot

Keys = Mapping[type, Mapping[str, str]]
"""Record → field → the key that stands for it in a table; a field that is not there keeps its
name."""

_KEYS: Keys = {
    NodeStatus: {
        "boot_count": "incarnation",
        "directory_id": "directory",
        "leader_client": "leader_endpoint",
        "feature_level": "level",
        "feature_level_lagging": "level_lagging",
        "fault_count": "faults",
    },
    PeerStatus: {"feature_level": "level", "client": "client_endpoint"},
    FounderStatus: {"directory_id": "directory"},
}
_NONE: Mapping[str, Any] = {
    "snapshot": {},
    "founding": {},
    "restored_from": {},
    "state_difference": None,
    "skew_ms": None,
    "version": None,
}
"""What stands for None in a table; any other field that is None is left out."""

_MALFORMED = object()


def encode_status(status: NodeStatus) -> dict[str, Any]:
    """As the answer to the admin verb has it: plain values under the wire's keys."""
    return as_table(status, _KEYS)


def as_table(record: Any, keys: Keys) -> dict[str, Any]:
    """A record of :mod:`paxosd.core.status` in plain values, under ``keys``. What a newer version
    sent (``more``) comes last, as it was sent."""
    named = keys.get(type(record), {})
    table: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if field.name == "more":
            continue
        if value is not None:
            table[named.get(field.name, field.name)] = _plain(value, keys)
        elif field.name in _NONE:
            table[named.get(field.name, field.name)] = _NONE[field.name]
    if isinstance(record, NodeStatus):
        table["file_members"] = {n: _contact(m) for n, m in record.file_members.items()}
        return table | dict(record.more)
    return table


def _plain(value: Any, keys: Keys) -> Any:
    if is_dataclass(value):
        return as_table(value, keys)
    if isinstance(value, Membership):
        return {"epoch": value.epoch, "slot": value.slot, **value.document()}
    if isinstance(value, Mapping):
        return {name: _plain(each, keys) for name, each in value.items()}
    if hasattr(value, "_asdict") and not isinstance(value, Ballot):
        return value._asdict()
    if isinstance(value, tuple | list):
        return [_plain(each, keys) for each in value]
    return value


def _contact(member: Member) -> dict[str, Any]:
    """A member as a configuration file has it: the file knows of no data directory."""
    return {"peer": member.peer, "client": member.client, "events": member.events,
            "voter": member.voter}  # fmt: skip


# -- decoding


def decode_status(body: Mapping[str, Any]) -> NodeStatus:
    """What a node answered; never raises, see above."""
    known = {_KEYS[NodeStatus].get(name, name) for name in _kinds(NodeStatus)}
    more = {key: value for key, value in body.items() if key not in known}
    status: NodeStatus = _record(NodeStatus, {**body, "more": more})
    return status


def _record(kind: type, table: Mapping[str, Any]) -> Any:
    """A dataclass or a named tuple of the fields that are there and well-formed."""
    named = _KEYS.get(kind, {})
    found = {}
    for name, wanted in _kinds(kind).items():
        key = named.get(name, name)
        if key in table:
            value = _value(wanted, table[key])
            if value is not _MALFORMED:
                found[name] = value
    return kind(**found)


@cache
def _kinds(kind: type) -> dict[str, Any]:
    """Field → its type, of a dataclass or a named tuple."""
    return typing.get_type_hints(kind)


def _value(wanted: Any, value: Any) -> Any:
    """``value`` as the type ``wanted``, or _MALFORMED."""
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (types.UnionType, typing.Union):
        (wanted,) = (each for each in inner if each is not type(None))
        if value is None or value == {}:
            return None
        return _value(wanted, value)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return _MALFORMED
        found = [_value(inner[0], each) for each in value]
        return tuple(each for each in found if each is not _MALFORMED)
    if wanted is Any:
        return value
    if wanted is Ballot:
        return _ballot(value)
    if wanted in (int, str, bool):
        return value if type(value) is wanted else _MALFORMED
    if wanted is float:
        return value if type(value) in (int, float) else _MALFORMED
    if not isinstance(value, Mapping):
        return _MALFORMED
    if wanted is Membership:
        return _membership(value)
    if origin is not None:
        found_in = {name: _value(inner[1], each) for name, each in value.items()}
        return {name: each for name, each in found_in.items() if each is not _MALFORMED}
    try:
        return _record(wanted, value)
    except TypeError:
        return _MALFORMED  # a named tuple that lacks a field without a default


def _ballot(value: Any) -> Any:
    if not isinstance(value, list | tuple) or [type(each) for each in value] != [int, str]:
        return _MALFORMED
    return Ballot(*value)


def _membership(document: Mapping[str, Any]) -> Any:
    """UNKNOWN of a node that knows no member."""
    if not document.get("members"):
        return UNKNOWN
    try:
        members, departed = (
            {str(name): Member.from_document(each) for name, each in document[part].items()}
            for part in ("members", "departed")
        )
        return Membership(
            members,
            epoch=document["epoch"],
            slot=document["slot"],
            phase1=document["phase1"],
            phase2=document["phase2"],
            departed=departed,
        )
    except (KeyError, AttributeError, TypeError, MembershipError):
        return _MALFORMED
