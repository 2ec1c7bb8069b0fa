"""The names that programs see: from what a daemon answers to what ``-o json`` shows.

Each thing has one name over all verbs and in the logs (docs/JSON.md lists the answer of every
verb); the fields of :class:`paxosd.core.status.NodeStatus` have these names, too. A daemon's
answers keep the names of the wire protocol, because older programs read them:

    the wire                          -o json
    [3000000012, "n1"]                "3:12.n1"           a ballot; null: none yet
    "incarnation"                     boot_count          how often the directory was started
    run_id, a number                  run_id, in hex      this process: boot count and random bits
    directory, a number               directory_id, hex   null: not known
    leader, leader_endpoint: ""       leader, leader_client: null
    client_endpoint                   client
    fault_tolerance: -1               survives: null      nothing can be written now
    level, level_lagging              feature_level, feature_level_lagging
    faults, a number                  fault_count
    heard_ms_ago: -1                  heard_ms_ago: null  never
    unconfirmed_ms: -1                unconfirmed_ms: null  it may act
"""

from collections.abc import Mapping
from typing import Any

from paxosctl.cli.health import role_of, survives
from paxosctl.client.errors import ClientError
from paxosd.core.status import NodeStatus
from paxosd.core.types import Ballot
from paxosd.wire.status import as_table

_RENAMED = {"directory": "directory_id", "level": "feature_level"}
_BALLOTS = frozenset({"ballot", "promised"})
_IDENTITIES = frozenset({"directory_id", "run_id"})
_NULL_IF_EMPTY = frozenset({"leader", "leader_client", "genesis", "fetching"})
_NULL_IF_NEGATIVE = frozenset({"heard_ms_ago", "age_ms", "last_ms_ago", "unconfirmed_ms"})
_TABLES = frozenset({"membership", "settings", "founding", "snapshot", "scrub"})
_MAPS_OF_NODES = frozenset({"members", "departed", "peers", "file_members"})


def ballot_text(value: Any) -> str | None:
    """``3:12.n1``, the notation of tables and logs; None for no ballot."""
    ballot = Ballot(*value)
    return ballot.shown() if ballot.round else None


def identity_text(number: int) -> str | None:
    """16 hexadecimal digits: a number of 64 bits does not survive most readers of JSON."""
    return f"{number:016x}" if number else None


def node_status(status: NodeStatus) -> dict[str, Any]:
    """What a node says of itself, under the names above."""
    table = _renamed(as_table(status, {}))
    if status.log is not None:
        table["log"] = log_fields(as_table(status.log, {}))
    table["survives"] = survives(status)
    del table["fault_tolerance"]
    return table | {"role": role_of(status)}


def log_fields(log: Mapping[str, Any]) -> dict[str, Any]:
    """How much a node logs: ``level`` means the feature level elsewhere."""
    return {"log_level" if name == "level" else name: value for name, value in log.items()}


def settings_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """The replicated settings."""
    return _renamed(table)


def member_fields(member: Mapping[str, Any]) -> dict[str, Any]:
    """A member as the membership has it."""
    return _renamed(member)


def trouble(error: ClientError | None) -> dict[str, Any]:
    """Why there is no answer: a code for programs, and words."""
    if error is None:
        return {"error": None, "message": ""}
    return {"error": error.code, "message": str(error)}


def _renamed(table: Mapping[str, Any]) -> dict[str, Any]:
    named = ((_RENAMED.get(key, key), value) for key, value in table.items())
    return {key: _value(key, value) for key, value in named}


def _value(key: str, value: Any) -> Any:
    if key in _BALLOTS and isinstance(value, list | tuple):
        return ballot_text(value)
    if key in _IDENTITIES and type(value) is int:
        return identity_text(value)
    if key in _NULL_IF_EMPTY and value == "":
        return None
    if key in _NULL_IF_NEGATIVE and isinstance(value, int | float) and value < 0:
        return None
    if key in _MAPS_OF_NODES and isinstance(value, dict):
        return {name: _renamed(each) for name, each in value.items()}
    if key in _TABLES and isinstance(value, dict):
        return _renamed(value)
    return value
