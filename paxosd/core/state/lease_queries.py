"""The queries of leases: one lease with its keys, and all leases page by page."""

from typing import Any

from paxosd.core.requests import LEASE, LEASES, LEASES_PER_PAGE_MAX, LeaseInfo, LeasePage, LeaseRow
from paxosd.core.state.kv import Store
from paxosd.core.state.lease_commands import attached_keys
from paxosd.core.state.leases import Lease, Leases

LEASE_QUERIES = frozenset((LEASE, LEASES))
_LEASES_PER_UNIT = 4
_FIELDS = 3
"""Of a query that does not ask for owners."""


def answer_lease_query(
    query: list[Any], store: Store, leases: Leases, now_ms: int
) -> LeaseInfo | LeaseRow | LeasePage | None:
    """The answer to one of :data:`LEASE_QUERIES`, at this log time."""
    described = _with_owner if len(query) > _FIELDS else _described
    if query[0] == LEASE:
        lease = leases.table.get(query[1])
        if lease is None:
            return None
        store.work.units += len(lease.keys)
        return described(lease, now_ms, attached_keys(lease, store) if query[2] else [])
    after, limit = query[1:_FIELDS]
    limit = min(limit or LEASES_PER_PAGE_MAX, LEASES_PER_PAGE_MAX)
    ids = leases.ids_after(after, limit + 1)
    rows = [described(leases.table[id_], now_ms, []) for id_ in ids[:limit]]
    store.work.units += len(rows) // _LEASES_PER_UNIT
    return LeasePage(rows, ids[limit - 1] if len(ids) > limit else 0, len(leases))


def _described(lease: Lease, now_ms: int, keys: list[bytes]) -> LeaseRow:
    return LeaseRow(
        lease.id, lease.ttl_ms, lease.remaining_ms(now_ms), lease.session, lease.name, keys
    )


def _with_owner(lease: Lease, now_ms: int, keys: list[bytes]) -> LeaseInfo:
    return LeaseInfo(*_described(lease, now_ms, keys), lease.owner)
