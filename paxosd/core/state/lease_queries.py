"""The queries of leases: one lease with its keys, and all leases page by page."""

from typing import Any

from paxosd.core.requests import LEASE, LEASES, LEASES_PER_PAGE_MAX, LeaseInfo, LeasePage
from paxosd.core.state.kv import Store
from paxosd.core.state.lease_commands import attached_keys
from paxosd.core.state.leases import Lease, Leases

LEASE_QUERIES = frozenset((LEASE, LEASES))
_LEASES_PER_UNIT = 4


def answer_lease_query(
    query: list[Any], store: Store, leases: Leases, now_ms: int
) -> LeaseInfo | LeasePage | None:
    """The answer to one of :data:`LEASE_QUERIES`, at this log time."""
    if query[0] == LEASE:
        lease = leases.table.get(query[1])
        if lease is None:
            return None
        store.work.units += len(lease.keys)
        return _described(lease, now_ms, attached_keys(lease, store) if query[2] else [])
    _, after, limit = query
    limit = min(limit or LEASES_PER_PAGE_MAX, LEASES_PER_PAGE_MAX)
    ids = leases.ids_after(after, limit + 1)
    rows = [_described(leases.table[id_], now_ms, []) for id_ in ids[:limit]]
    store.work.units += len(rows) // _LEASES_PER_UNIT
    return LeasePage(rows, ids[limit - 1] if len(ids) > limit else 0, len(leases))


def _described(lease: Lease, now_ms: int, keys: list[bytes]) -> LeaseInfo:
    return LeaseInfo(
        lease.id, lease.ttl_ms, lease.remaining_ms(now_ms), lease.session, lease.name, keys
    )
