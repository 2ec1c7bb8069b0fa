"""Every message between a client and a daemon: one immutable class each.

Client → daemon (DEALER → ROUTER, one payload frame each) and back. ``request_id`` is the
client's own number, echoed in the answer; a reply is matched by it and by nothing else.

    WriteRequest(request_id, entry)        → WriteAnswer | RefusalAnswer
    ForwardRequest(request_id, entry)      → the same: a node that does not lead passes it on
    VouchedRequest(request_id, entry, key) → the same: what a node passes on, of who has that key
    ReadRequest(request_id, mode, queries) → ReadAnswer  | RefusalAnswer
    HistoryRequest(…)                      → HistoryAnswer | RefusalAnswer
    AdminRequest(request_id, verb, args)   → AdminAnswer | RefusalAnswer

Writes go to the leader; every other request is answered by any node.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from paxosd.core.commands import AnyChange, KeyValue, Result
from paxosd.core.types import Slot

LINEARIZABLE = 0
"""A read that sees every write acknowledged before it began (read-index)."""
STALE = 1
"""A local read: the answer carries the applied slot and its age."""

GET = 1
RANGE = 2
COUNT = 3
LEASE = 4
"""``[LEASE, id, with_keys]``: one lease, a :class:`LeaseRow`, or None; with a fourth item, True, a
:class:`LeaseInfo`, which has its owner, too. Nodes of before refuse that as invalid."""
LEASES = 5
"""``[LEASES, after, limit]``: leases with ids above ``after``, in order, a :class:`LeasePage`; with
a fourth item, True, as for LEASE."""
LEASES_PER_PAGE_MAX = 1000
NEWEST = 6
"""``[NEWEST, start, end, created_below, limit]``: of the keys in ``start <= key < end`` (b"": no
end) that were created before that revision, the ``limit`` (at least 1) newest, newest first: a
:class:`RangePage` without values. Where there is ``more``, each page has the newest of its part:
the newest of all are among those of all pages. Nodes of before refuse it as invalid."""
_FIELDS = {GET: 2, RANGE: 6, COUNT: 3}

SPLIT = 1 << 40
"""Added to ``HistoryRequest.limit_bytes``: a page may end within a revision. A node of before does
not know it and takes it for a large limit, which it cuts."""
PREVIOUS = 1 << 41
"""The same, together with :data:`SPLIT`: each change is a ChangeOf, with the key as it was before.
The changes of a node of before have none."""


def revision_of(query: list[Any]) -> int:
    """The revision that a query reads; 0: the present one."""
    count = _FIELDS.get(query[0], len(query))
    revision: int = query[count] if len(query) > count else 0
    return revision


class WriteRequest(NamedTuple):
    """``entry`` is an encoded :class:`~paxosd.core.commands.Entry`, kept opaque on its way."""

    request_id: int
    entry: bytes


class ForwardRequest(NamedTuple):
    """A write for the leader, of a client that cannot reach the leader. A node that does not lead
    passes it on, once, as a :class:`WriteRequest`. Send it only to a node that offered this
    (NOT_LEADER with detail PASSES_ON): an earlier version does not know it."""

    request_id: int
    entry: bytes


class VouchedRequest(NamedTuple):
    """A write that a node passes on to the leader. ``key``: the public key of the client that it
    came from, as that node has seen it. Taken from nodes only, where there are keys."""

    request_id: int
    entry: bytes
    key: bytes


PASSES_ON = 1
"""The detail of a NOT_LEADER by a node that passes a ForwardRequest on."""


class ReadRequest(NamedTuple):
    """``queries`` is a list of ``[GET, key]``,
    ``[RANGE, start, end, limit, reverse, keys_only]`` (end b"": no end; limit 0: none) and
    ``[COUNT, start, end]``. Each may have one more field, an earlier revision that is read; 0: the
    present one. Nodes of before refuse that field, and COUNT, as invalid."""

    request_id: int
    mode: int
    queries: list[list[Any]]


class HistoryRequest(NamedTuple):
    """Changes of keys in ``start <= key < end`` with revisions from ``from_revision`` on.

    For one key alone, end is ``key + b"\\0"``. With :data:`SPLIT`, a page that ends with a change
    of its own ``next_revision`` has not all of that one: its rest is asked for from the same
    revision on, with the key after the last one (``key + b"\\0"``) as the start. For the keys of
    one revision ascend.
    """

    request_id: int
    start: bytes
    end: bytes
    from_revision: int
    limit_bytes: int


class AdminRequest(NamedTuple):
    """``verb`` is one of the admin verbs (``status``, ``fault_add``, …); args by name."""

    request_id: int
    verb: str
    args: dict[str, Any]


class WriteAnswer(NamedTuple):
    """One result per command of the entry, in order; ``slot`` holds the entry."""

    request_id: int
    slot: Slot
    results: list[Result]


class RangePage(NamedTuple):
    """One page of a scan. ``more`` is the key to start the next page from, None at the end.
    ``count`` is how many rows this page has. With keys_only every value is b""."""

    rows: list[KeyValue]
    more: bytes | None


class LeaseRow(NamedTuple):
    """A lease, for a client that does not ask for its owner; see :class:`LeaseInfo`."""

    id: int
    ttl_ms: int
    remaining_ms: int
    session: int
    name: str
    keys: list[bytes]


class LeaseInfo(NamedTuple):
    """A lease. ``remaining_ms``: what was left of its TTL by log time, as of the last batch in the
    log; 0: it may end at any time. ``session`` and ``name``: of the client that it was granted to,
    as it named itself. ``keys``: those attached to it, if they were asked for. ``owner``: the
    principal by whose key it was granted, "": rights were not required then; None: the node is of a
    version that does not say it."""

    id: int
    ttl_ms: int
    remaining_ms: int
    session: int
    name: str
    keys: list[bytes]
    owner: str | None = None


class LeasePage(NamedTuple):
    """``more``: where the next page goes on (``after``); 0: nothing is left. ``total``: how many
    leases there are."""

    rows: Sequence[LeaseInfo | LeaseRow]
    more: int
    total: int


class ReadAnswer(NamedTuple):
    """One result per query: ``KeyValue | None`` for GET, :class:`RangePage` for RANGE, an int for
    COUNT, ``LeaseInfo | None`` for LEASE, :class:`LeasePage` for LEASES.

    ``applied``: the slot that the answer reflects; ``revision``: the store's there; ``age_ms``:
    for a stale read, whatever was acknowledged so many ms before the request came in is in it
    (-1: never known since this node's start); 0 for a linearizable one.
    """

    request_id: int
    applied: Slot
    revision: int
    age_ms: int
    results: list[Any]


class HistoryAnswer(NamedTuple):
    """Changes in order, complete from the asked revision up to ``next_revision`` (exclusive; but
    see :data:`SPLIT`), where the next page starts. ``revision`` is the node's newest; caught up
    when ``next_revision > revision``."""

    request_id: int
    changes: Sequence[AnyChange]
    next_revision: int
    revision: int


class AdminAnswer(NamedTuple):
    """``body`` holds plain values by name; its shape is documented with each verb."""

    request_id: int
    body: dict[str, Any]


class RefusalAnswer(NamedTuple):
    """``code`` is one of :data:`paxosd.core.effects.REFUSALS`; ``leader`` and its client
    endpoint are "" where unknown; ``detail`` is a number where the code has one (COMPACTED:
    the first revision that is still there; NOT_LEADER: PASSES_ON or 0)."""

    request_id: int
    code: str
    message: str
    leader: str
    leader_endpoint: str
    detail: int


ClientMessage = (
    WriteRequest | ForwardRequest | VouchedRequest | ReadRequest | HistoryRequest | AdminRequest
)
ClientRequest = tuple[bytes, ClientMessage, bytes]
"""Whom to answer; the request; the public key (32 bytes) that its connection was proven by, b"": it
has none."""
ServerMessage = WriteAnswer | ReadAnswer | HistoryAnswer | AdminAnswer | RefusalAnswer
