"""The next rights table, from the present one: each change by itself, checked as the log will.

    new | set | revoke | rotate | finish | require:  RightsTable, … → RightsTable

Each raises :class:`ChangeError` in words for what cannot be done. Nothing here asks a node.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from paxosd.core.rights import (
    ADMIN,
    KEYS_MAX,
    PEER,
    Principal,
    RightsError,
    RightsTable,
    admin_of,
)


class ChangeError(Exception):
    """The table cannot be changed so; the text says why, and what to do."""


def first_table(
    table: RightsTable, admin: str, key: bytes, peers: Mapping[str, tuple[bytes, ...]]
) -> RightsTable:
    """That of ``auth init``: one admin and the nodes, and rights are required from now on."""
    if table.version:
        raise ChangeError(
            f"the cluster has a rights table already, of version {table.version}: paxosctl auth "
            "list"
        )
    keyless = sorted(name for name, keys in peers.items() if not keys)
    if keyless:
        raise ChangeError(
            f"no key is known of {', '.join(keyless)}: put its public key under [peers] of the "
            "trust file of each node, and start the nodes anew"
        )
    if admin in peers:
        raise ChangeError(f"{admin} is the name of a node: an admin's key has another name")
    principals = [admin_of(admin, (key,))]
    principals += [Principal(name, PEER, keys=keys[:KEYS_MAX]) for name, keys in peers.items()]
    return _next(replace(table, required=True), principals)


def named(table: RightsTable, name: str) -> Principal:
    """The principal of this name."""
    found = table.named(name)
    if found is None:
        raise ChangeError(f"there is no principal {name}: paxosctl auth list")
    return found


def new(table: RightsTable, principal: Principal) -> RightsTable:
    """One more principal."""
    if table.named(principal.name) is not None:
        raise ChangeError(
            f"there is a principal {principal.name} already: paxosctl auth set changes its rights, "
            "auth rotate its key"
        )
    return _next(table, [*table.principals, principal])


def change(table: RightsTable, changed: Principal) -> RightsTable:
    """Another role, or other prefixes, of a principal."""
    before = named(table, changed.name)
    if changed == before:
        return table
    if PEER in (before.role, changed.role) and before.role != changed.role:
        raise ChangeError(f"{changed.name}: a node's key cannot become another's, nor the reverse")
    if changed.role == PEER and (changed.read or changed.write):
        raise ChangeError(f"{changed.name} is a node, whose key reads and writes no keys")
    if before.role == ADMIN and changed.role != ADMIN:
        _leave_an_admin(table, changed.name)
    return _next(table, _with(table, changed))


def revoke(table: RightsTable, name: str, key: bytes | None = None) -> RightsTable:
    """Take a principal away with all its keys, or one of its keys alone."""
    before = named(table, name)
    gone = before.keys if key is None else (key,)
    left = tuple(each for each in before.keys if each not in gone)
    if key is not None and key not in before.keys:
        raise ChangeError(f"{name} has no such key: paxosctl auth show {name}")
    if before.role == ADMIN and not left:
        _leave_an_admin(table, name)
    revoked = table.revoked | frozenset(gone)
    if key is None:
        others = [each for each in table.principals if each.name != name]
        return _next(replace(table, revoked=revoked), others)
    return _next(replace(table, revoked=revoked), _with(table, before._replace(keys=left)))


def rotate(table: RightsTable, name: str, key: bytes) -> RightsTable:
    """A new key beside the old ones."""
    before = named(table, name)
    if key in before.keys:
        return table
    if len(before.keys) >= KEYS_MAX:
        raise ChangeError(
            f"{name} has {KEYS_MAX} keys, as many as it can have: paxosctl auth rotate {name} "
            "--finish takes the old ones away"
        )
    return _next(table, _with(table, before._replace(keys=(key, *before.keys))))


def finish(table: RightsTable, name: str) -> RightsTable:
    """The newest key of a principal is its only one."""
    before = named(table, name)
    if len(before.keys) < 2:
        return table
    revoked = table.revoked | frozenset(before.keys[1:])
    return _next(
        replace(table, revoked=revoked), _with(table, before._replace(keys=before.keys[:1]))
    )


def require(table: RightsTable, *, on: bool, unconfirmed_ms_max: int | None = None) -> RightsTable:
    """Whether requests need rights at all, and for how long a node that is cut off serves."""
    bound_ms = table.unconfirmed_ms_max if unconfirmed_ms_max is None else unconfirmed_ms_max
    changed = replace(table, required=on, unconfirmed_ms_max=bound_ms)
    return table if changed == table else _next(changed, table.principals)


def differences(before: RightsTable, after: RightsTable) -> list[str]:
    """What another table changes, in words; no line: nothing."""
    lines = []
    for name in sorted({each.name for each in (*before.principals, *after.principals)}):
        old, new_one = before.named(name), after.named(name)
        if old is None and new_one is not None:
            lines.append(f"{name} is new: {new_one.role}")
        elif new_one is None:
            lines.append(f"{name} is gone, with its keys")
        elif old is not None and old != new_one:
            lines += [
                f"{name}: {field} changed"
                for field in ("role", "read", "write", "keys")
                if getattr(old, field) != getattr(new_one, field)
            ]
    if before.required != after.required:
        lines.append(f"rights are {'required' if after.required else 'not required any more'}")
    if before.unconfirmed_ms_max != after.unconfirmed_ms_max:
        lines.append(f"a node that is cut off serves for {after.unconfirmed_ms_max} ms")
    count = len(after.revoked - before.revoked)
    if count:
        lines.append(f"{count} key{'s are' if count > 1 else ' is'} revoked")
    return lines


def _leave_an_admin(table: RightsTable, name: str) -> None:
    if not any(each.role == ADMIN and each.keys and each.name != name for each in table.principals):
        raise ChangeError(
            f"{name} is the last admin with a key: nobody could change the rights any more. Make "
            "another one first: paxosctl auth new NAME --role admin"
        )


def _with(table: RightsTable, changed: Principal) -> list[Principal]:
    return [changed if each.name == changed.name else each for each in table.principals]


def _next(table: RightsTable, principals: Iterable[Principal]) -> RightsTable:
    """The table of the next version, as the log will make it."""
    ordered = tuple(sorted(principals, key=lambda each: each.name))
    try:
        return table.follow(replace(table, principals=ordered).to_command())
    except RightsError as error:
        raise ChangeError(str(error)) from None
