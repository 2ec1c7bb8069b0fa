"""The commands of leases, and what their end does to the store.

    GRANT, KEEPALIVE, REVOKE, PUT with a lease ──► LeaseDesk ──► Leases, Store
    the begin of a slot ──► LeaseDesk.expire ──► the keys of the leases that end are removed

All keys of a lease go in one revision. The commands are well-formed from feature level 4 on
(:data:`~paxosd.core.cluster_settings.LEVEL_COORDINATION`); below it they are MALFORMED, as they are
to programs that do not know them.
"""

from collections.abc import Sequence
from typing import Any, TypeGuard
from zlib import crc32

from paxosd.core.cluster_settings import LEVEL_COORDINATION, LEVEL_SHARES, ClusterSettings
from paxosd.core.commands import (
    GRANT,
    KEEPALIVE,
    LEASE_EXPIRED,
    PUT,
    REVOKE,
    Command,
    Result,
    Status,
)
from paxosd.core.lease_bounds import (
    FIRST_ID,
    IDS_PER_KEEPALIVE_MAX,
    TTL_MS_MAX,
    TTL_MS_MIN,
)
from paxosd.core.rights import Principal
from paxosd.core.state.derivation import BEFORE_COMMANDS, Skipped
from paxosd.core.state.kv import MALFORMED_RESULT, Store
from paxosd.core.state.leases import (
    LEASE_UNKNOWN_RESULT,
    LEASES_FULL_RESULT,
    Lease,
    Leases,
)
from paxosd.core.state.log_clock import NUMBER_MAX
from paxosd.core.state.rights_check import FORBIDDEN_RESULT, may_use_lease

LEASE_OPS = frozenset((GRANT, KEEPALIVE, REVOKE))
_IDS_PER_UNIT = 4
_NONE: frozenset[bytes] = frozenset()


def is_lease_command(command: Command, settings: ClusterSettings) -> bool:
    """Whether it is one of the commands of leases, well-formed or not, at this level."""
    if settings.level < LEVEL_COORDINATION or type(command) not in (list, tuple) or not command:
        return False
    op = command[0]
    return type(op) is int and (op in LEASE_OPS or (op == PUT and len(command) == 4))


def apply_lease_command(
    command: Command,
    store: Store,
    leases: Leases,
    settings: ClusterSettings,
    now_ms: int,
    client: tuple[int, str],
    owner: str = "",
    holder: Principal | None = None,
) -> tuple[Result, list[bytes]]:
    """The result of such a command, and the keys that it removed, ascending. ``client``: session
    and name. ``owner``: whose a lease becomes that is granted. ``holder``: by whose rights it is
    done, None: nothing is checked. A PUT that took effect has an int as its result, its
    revision."""
    op = command[0]
    if op == PUT:
        return _put(command, store, leases, holder), []
    if op == GRANT:
        _, ttl_ms, wanted = command if len(command) == 3 else (0, 0, 0)
        if _is_in(ttl_ms, TTL_MS_MIN, TTL_MS_MAX) and _is_in(wanted, 0, FIRST_ID - 1):
            most, shared = settings.leases_max, settings.level >= LEVEL_SHARES
            result = leases.grant(now_ms, ttl_ms, wanted, *client, most, owner, shared=shared)
            return result, []
    elif op == KEEPALIVE:
        ids = command[1] if len(command) == 2 else None
        if _are_ids(ids):
            store.work.units += len(ids) // _IDS_PER_UNIT
            if holder is not None and not _may_use(holder, leases, ids):
                return FORBIDDEN_RESULT, []
            return leases.keep_alive(now_ms, ids), []
    elif len(command) == 2 and _is_in(command[1], 1, NUMBER_MAX):
        if not _may_use(holder, leases, command[1:]):
            return FORBIDDEN_RESULT, []
        lease = leases.take(command[1])
        if lease is None:
            return LEASE_UNKNOWN_RESULT, []
        removed = remove_keys(lease, store)
        return (int(Status.OK), store.revision, len(removed)), removed
    return MALFORMED_RESULT, []


def _may_use(holder: Principal | None, leases: Leases, ids: Sequence[int]) -> bool:
    """Whether ``holder`` may use those of these leases that there are."""
    known = [leases.table[id_] for id_ in ids if id_ in leases.table]
    return all(may_use_lease(holder, lease) for lease in known)


def _put(command: Command, store: Store, leases: Leases, holder: Principal | None) -> Result:
    _, key, value, id_ = command
    if type(key) is not bytes or type(value) is not bytes or not _is_in(id_, 1, NUMBER_MAX):
        return MALFORMED_RESULT
    lease = leases.table.get(id_)
    if lease is None:
        return LEASE_UNKNOWN_RESULT
    if not may_use_lease(holder, lease):
        return FORBIDDEN_RESULT
    if not leases.has_room(lease, key, store.modify_revision):
        return LEASES_FULL_RESULT
    result = store.put(key, value)
    if type(result) is int:  # the quota may refuse it
        leases.attach(lease, key, result)
    return result


def attached_keys(lease: Lease, store: Store) -> list[bytes]:
    """The keys that are attached to it, ascending."""
    modified = store.modify_revision
    return sorted([key for key, revision in lease.keys.items() if modified(key) == revision])


def remove_keys(lease: Lease, store: Store, reason: str = "") -> list[bytes]:
    """Remove, in one revision, the keys of a lease that has ended; returns them, ascending.
    ``reason``: why, if no command does it."""
    keys = attached_keys(lease, store)
    store.work.units += len(lease.keys)
    if keys:
        store.change_keys([(key, None) for key in keys], _NONE, reason)
    return keys


def expire_leases(
    now_ms: int, store: Store, leases: Leases, skipped: list[Skipped], chain: int
) -> int:
    """End the leases that are due at the begin of a slot. What goes with them is reported to
    ``skipped``. Returns ``chain`` with their ids added to it."""
    if not leases.table:
        return chain
    ended: list[int] = []
    for lease in leases.expire(now_ms):
        ended.append(lease.id)
        keys = remove_keys(lease, store, LEASE_EXPIRED)
        if keys:
            skipped.append((BEFORE_COMMANDS, 1, keys))
    store.work.units += len(ended)
    return crc32(repr(ended).encode(), chain) if ended else chain


def _are_ids(value: Any) -> TypeGuard[list[int]]:
    return (
        type(value) in (list, tuple)
        and 1 <= len(value) <= IDS_PER_KEEPALIVE_MAX
        and all(_is_in(each, 1, NUMBER_MAX) for each in value)
    )


def _is_in(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most
