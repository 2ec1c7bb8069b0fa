"""What a client learns about its cluster from the status of a node: the members, the limits in
force, and which history it is.

    client ── AdminRequest("status") ──► any node ── AdminAnswer ──► NodeStatus ──► ClusterInfo

A status may come from another version, which does not report everything (``core/status.py``). A
limit that is not known is not checked.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from paxosd.core.commands import CAS_REVISION, CAS_VALUE, DELETE, DELETE_RANGE, PUT
from paxosd.core.requests import GET
from paxosd.core.status import NodeStatus, OriginStatus, Reached

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
    """The limits of keys, values, requests, sessions and messages; NO_LIMIT: not known.

    The names are those of the replicated settings, and of ``[limits]`` in a node's file."""

    key_bytes_max: int = NO_LIMIT
    value_bytes_max: int = NO_LIMIT
    commands_per_request_max: int = NO_LIMIT
    session_window_max: int = NO_LIMIT
    message_bytes_max: int = NO_LIMIT

    def refusal(self, request: Any) -> str:
        """Which of these limits a request (a command or a question) breaks, in the words that a
        node would use; "" if none."""
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
        """Whether it is larger than a message may be."""
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
    def of_status(cls, status: NodeStatus) -> "Limits":
        """The limits in the log; as long as the log has none, those in the node's own file."""
        found: dict[str, Any] = {}
        if status.settings is not None:
            found |= status.settings._asdict()
        if status.settings is None or not status.settings.level:
            found |= status.file_settings
        if status.message_room is not None:
            found |= status.message_room._asdict()
        least = status.message_bytes_least  # of any member, as each may lead one day
        if least > 0:
            found["message_bytes_max"] = min(least, found.get("message_bytes_max") or least)
        return cls(**{name: found[name] for name in cls._fields if found.get(name, 0) > 0})


class ClusterInfo(NamedTuple):
    """A cluster according to ``node``.

    ``history``: the number of the cluster's founding in hex, which no other history has; "" if the
    node does not know it, None if its program is older than this number. ``origin``: the snapshot
    that the history began with, in words; "": none. ``members``: as of ``epoch``; {}: not known.
    """

    cluster: str
    node: str
    leads: bool
    history: str | None
    origin: str
    epoch: int
    members: dict[str, Reached]
    limits: Limits

    @classmethod
    def of_status(cls, status: NodeStatus) -> "ClusterInfo":
        """What the status of a node says about its cluster."""
        return cls(
            status.cluster,
            status.node,
            bool(status.node) and status.leader == status.node,
            status.genesis,
            _origin(status.restored_from),
            status.epoch,
            {name: each for name, each in status.members.items() if each.client},
            Limits.of_status(status),
        )


def weight(value: Any) -> int:
    """An upper bound of the bytes of a request: keys, values and what the encoding adds."""
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


def _origin(restored: OriginStatus | None) -> str:
    if restored is None or not restored.cluster:
        return ""
    return (
        f"restored from a snapshot of cluster {restored.cluster!r} as of revision "
        f"{restored.revision}"
    )
