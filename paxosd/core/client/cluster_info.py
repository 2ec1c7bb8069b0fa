"""What a client learns of its cluster from the status of one of its nodes: who is a member, which
limits are in force, and which history this is.

    client ── AdminRequest("status") ──► any node ── AdminAnswer ──► ClusterInfo.of_status

A status is written by another program, perhaps of another version, so each field is looked at, and
what is missing or malformed is left out. A limit that is not known is not checked.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from paxosd.core.commands import CAS_REVISION, CAS_VALUE, DELETE, DELETE_RANGE, PUT
from paxosd.core.requests import GET

ITEM_BYTES = 9
"""What the encoding adds to a text, a number or a list, at most."""
NO_LIMIT = 1 << 62

_PLACES: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {
    PUT: ((1,), (2,)),
    DELETE: ((1,), ()),
    DELETE_RANGE: ((1, 2), ()),
    CAS_VALUE: ((1,), (2, 3)),
    CAS_REVISION: ((1,), (3,)),
}
"""Op → where a command holds keys, and where values."""


class Limits(NamedTuple):
    """Of keys, values, requests, sessions and messages; NO_LIMIT: not known. The names are those of
    the replicated settings, and of ``[limits]`` in a node's configuration."""

    key_bytes_max: int = NO_LIMIT
    value_bytes_max: int = NO_LIMIT
    commands_per_request_max: int = NO_LIMIT
    session_window_max: int = NO_LIMIT
    message_bytes_max: int = NO_LIMIT

    def refusal(self, request: Any) -> str:
        """Which of these a request (a command or a question) breaks, in the words that a node
        would use; "" if none."""
        if type(request) is list:
            keys, values = _PLACES.get(request[0], ((), ()))
            words = self._check("key", "key_bytes_max", [request[place] for place in keys])
            words = words or self._check(
                "value", "value_bytes_max", [request[place] for place in values]
            )
        else:
            queries = getattr(request, "queries", ())
            asked = [query[1] for query in queries if query[0] == GET]
            words = self._check("key", "key_bytes_max", asked)
        return words or self._check_message(request)

    def is_too_large(self, request: Any) -> bool:
        """Whether no connection would carry it."""
        return bool(self._check_message(request))

    def _check(self, what: str, name: str, parts: Sequence[bytes | None]) -> str:
        most: int = getattr(self, name)
        for part in parts:
            if part is not None and len(part) > most:
                return f"{what} is {len(part)} bytes; the limit is {most} (limits.{name})"
        return ""

    def _check_message(self, request: Any) -> str:
        if self.message_bytes_max == NO_LIMIT:
            return ""
        size = weight(request)
        if size <= self.message_bytes_max:
            return ""
        return (
            f"the request is {size} bytes; the limit is {self.message_bytes_max} "
            "(limits.message_bytes_max)"
        )

    @classmethod
    def of_status(cls, status: Mapping[str, Any]) -> "Limits":
        """Those of the log, or, before the log has some, those of the node's own file."""
        settings = _table(status.get("settings"))
        from_file = {} if settings.get("level") else _table(status.get("file_settings"))
        found = {**settings, **from_file, **_table(status.get("message_room"))}
        least = status.get("message_bytes_least")  # of any member: it may lead one day
        if type(least) is int and least > 0:
            found["message_bytes_max"] = min(least, found.get("message_bytes_max") or least)
        numbers = {name: found.get(name) for name in cls._fields}
        return cls(**{k: n for k, n in numbers.items() if type(n) is int and n > 0})


class Reached(NamedTuple):
    """Where a member is reached: by requests, and for what it publishes."""

    client: str
    events: str


class ClusterInfo(NamedTuple):
    """As ``node`` tells it. ``history``: the number of the cluster's founding in hex, which no
    other history has; "" if the node does not know it, None if its program is of a time before
    there was one. ``origin``: which snapshot it began with, in words; "": none. ``members``: as of
    ``epoch``; {}: not known."""

    cluster: str
    node: str
    leads: bool
    history: str | None
    origin: str
    epoch: int
    members: dict[str, Reached]
    limits: Limits

    @classmethod
    def of_status(cls, status: Mapping[str, Any]) -> "ClusterInfo":
        """Of the body of an answer; never raises for what it holds."""
        node = _text(status.get("node"))
        epoch = status.get("epoch")
        members = {
            name: Reached(_text(fields.get("client")), _text(fields.get("events")))
            for name, fields in _table(status.get("members")).items()
            if isinstance(fields, Mapping)
        }
        return cls(
            _text(status.get("cluster")),
            node,
            bool(node) and status.get("leader") == node,
            _text(status["genesis"]) if "genesis" in status else None,
            _origin(_table(status.get("restored_from"))),
            epoch if type(epoch) is int else 0,
            {name: each for name, each in members.items() if each.client},
            Limits.of_status(status),
        )


def weight(value: Any) -> int:
    """The bytes that a request takes, at most: keys, values and what the encoding adds."""
    kind = type(value)
    if kind is bytes:
        return len(value) + ITEM_BYTES
    if kind is str:
        # Texts are short, but for those that a person gave.
        return len(value.encode(errors="replace")) + ITEM_BYTES
    if isinstance(value, Mapping):
        return ITEM_BYTES + sum([weight(key) + weight(item) for key, item in value.items()])
    if isinstance(value, list | tuple):
        return ITEM_BYTES + sum([weight(item) for item in value])
    return ITEM_BYTES


def _origin(restored: Mapping[str, Any]) -> str:
    cluster, revision = restored.get("cluster"), restored.get("revision")
    if type(cluster) is not str or type(revision) is not int:
        return ""
    return f"restored from a snapshot of cluster {cluster!r} as of revision {revision}"


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if type(value) is str else ""
