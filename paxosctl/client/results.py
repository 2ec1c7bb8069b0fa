"""What the calls of a client return, and how a command's result becomes it."""

from numbers import Real
from typing import Any, NamedTuple

from paxosd.core.commands import (
    CAS_REVISION,
    CAS_VALUE,
    DELETE,
    DELETE_RANGE,
    AnyChange,
    KeyValue,
    Result,
    Status,
)
from paxosd.core.lease_bounds import TTL_MS_MAX, TTL_MS_MIN


class CasResult(NamedTuple):
    """``ok``: the expectation held and the value was set, at ``revision``. Otherwise ``revision``
    is the key's present modify revision, 0 if there is no such key."""

    ok: bool
    revision: int


class Removed(NamedTuple):
    """``keys`` were removed, all at ``revision``; if none was, this is the present revision."""

    keys: int
    revision: int


class StaleRead(NamedTuple):
    """What one node has, which may be old: it had applied ``applied`` slots, and nothing is missing
    that was acknowledged, by any node, more than ``age_ms`` before the question (by that node's own
    clock; -1: it never knew since its start).

    A node learns its age from a leader with a quorum, and only while clients ask for it: after a
    quiet time the first answer has an old age, or -1, and those soon after it have the true age."""

    value: KeyValue | None
    applied: int
    revision: int
    age_ms: int


class Progress(NamedTuple):
    """A watch has seen every change up to ``revision``, and given those that it is of."""

    revision: int


class ChangeGroup(NamedTuple):
    """Changes of one revision, in order of their keys. ``is_last``: no more of it follow; a very
    large revision comes in several groups."""

    revision: int
    slot: int
    changes: list[AnyChange]
    is_last: bool


WatchItem = Any
"""What a watch gives depends on what it was asked for: a Change, or with ``prev`` a ChangeOf; with
``groups`` a ChangeGroup; and a Progress now and then, if marks are wanted."""


class Outcome(NamedTuple):
    """What became of a command. ``state``:

    committed        it was applied in ``slot`` with ``result`` (as the call would have had it)
    fenced           it was not, and now never will be
    forgotten        the client has acknowledged its end, so nothing is kept of it
    session_unknown  the session never was, or it was closed or expired
    window           so far ahead of the session that it was not sent, and cannot be ruled out
    """

    state: str
    slot: int
    result: Any


class Health(NamedTuple):
    """A write committed: in how many ms, in which slot."""

    ms: float
    slot: int


class MembersResult(NamedTuple):
    """The answer to a change of the membership. ``status``: a :class:`Status`; OK: ``epoch`` is the
    new one, in force from ``slot`` on; CAS_MISS: ``epoch`` is the present one."""

    status: int
    epoch: int
    slot: int


class SettingsResult(NamedTuple):
    """The answer to a change of the replicated settings. ``status``: a :class:`Status`; OK:
    ``version`` is the new one, in force from ``slot`` on; CAS_MISS: ``version`` and ``epoch``, that
    of the membership, are the present ones."""

    status: int
    version: int
    slot: int
    epoch: int


class RightsResult(NamedTuple):
    """The answer to a change of the rights table. ``status``: a :class:`Status`; OK: ``version`` is
    the new one, in force from ``slot`` on; CAS_MISS: ``version`` is the present one."""

    status: int
    version: int
    slot: int


_STATES: dict[int, str] = {
    Status.COMMITTED: "committed",
    Status.FENCED: "fenced",
    Status.FORGOTTEN: "forgotten",
    Status.SESSION_UNKNOWN: "session_unknown",
    Status.WINDOW: "window",
}


def typed_result(command: list[Any], result: Result) -> Any:
    """PUT: the revision. DELETE: the revision, None if there was no such key. DELETE_RANGE: how
    many keys went. CAS: a CasResult."""
    op = command[0]
    if op in {CAS_VALUE, CAS_REVISION}:
        if isinstance(result, int):
            return CasResult(True, result)
        return CasResult(result[0] == Status.OK, result[1])
    if isinstance(result, int):
        return result
    status, revision, detail = result
    if op == DELETE_RANGE:
        return detail if status == Status.OK else 0
    if op == DELETE and status == Status.NOT_FOUND:
        return None
    return revision


def removed_of(result: Result) -> Removed:
    """Of a DELETE or a DELETE_RANGE."""
    if isinstance(result, int):
        return Removed(1, result)
    status, revision, detail = result
    return Removed(int(detail or 0) if status == Status.OK else 0, revision)


def typed_outcome(result: Result) -> Outcome:
    """The answer to a FENCE."""
    if isinstance(result, int):
        return Outcome("unknown", 0, None)
    status, _, detail = result
    if status == Status.COMMITTED:
        slot, kept = detail
        return Outcome("committed", slot, list(kept) if isinstance(kept, tuple) else kept)
    return Outcome(_STATES.get(status, "unknown"), 0, None)


def as_bytes(value: bytes) -> bytes:
    """A key or a value. Raises TypeError, above all for text."""
    if type(value) is bytes:
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise TypeError(f"keys and values are bytes, not {type(value).__name__}; encode text first")


def as_number(value: int) -> int:
    """A revision, session or seq. Raises TypeError or ValueError."""
    if type(value) is not int:
        raise TypeError(f"a whole number is needed, not {type(value).__name__}")
    if not 0 <= value < 1 << 63:
        raise ValueError(f"{value} is outside 0 … 2^63-1")
    return value


def as_ttl_ms(ttl_s: float) -> int:
    """A TTL of a lease or a lock, in ms. Raises TypeError or ValueError."""
    if not isinstance(ttl_s, Real):
        raise TypeError(f"a TTL is a number of seconds, not {type(ttl_s).__name__}")
    if not TTL_MS_MIN <= ttl_s * 1000 <= TTL_MS_MAX:
        bounds = f"{TTL_MS_MIN // 1000} to {TTL_MS_MAX // 1000} seconds"
        raise ValueError(f"a TTL is {bounds}, not {ttl_s}")
    return round(ttl_s * 1000)


def as_revision(value: int) -> int:
    """A revision that can be read. Raises TypeError or ValueError."""
    if not as_number(value):
        raise ValueError("the first revision is 1")
    return value
