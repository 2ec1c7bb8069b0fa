"""Rights are checked again where commands are applied: by the table in force at that slot.

    entry ──► RightsGuard.refusal(session)    by whose key it was opened, and whether that is known
          ──► RightsGuard.allowed(commands)   those that its holder may not do are DENIED in place
    control command ──► control_refusal       by the key that the command names

A node admits requests by the table that it has applied, which may be an old one, and what was
admitted may wait in the log for long. So what counts is decided here, alike on all nodes: what a
key asks is done only in a slot at which it has the right.

Rules, while the table has ``required``; otherwise nothing is checked:

- The commands of a session need the rights of the principal that has the session's key *now*. A key
  that is revoked or unknown gets nothing, not even the answers that are kept. A session that was
  opened without a key is unknown: its client opens another one.
- GET, and a compare: ``read`` covers the key, or the whole range. A write: ``write`` does. What
  depends on a value and changes it (CAS, ADD) needs both. A transaction may do all that stands in
  it, in either branch, or nothing of it.
- A grant needs some prefix to write. A lease is its owner's, the principal that it was granted to:
  who else may write everything, too, may renew and end it and put keys on it; one that has no owner
  (of before) is theirs who may write all its keys.
- FENCE is for the key that opened the session. OPEN is for whoever has a principal that is no peer.
  MEMBERS needs an operator, CLUSTER and RIGHTS an admin, unless a node vouches for the command.
- What is not known to be allowed is denied.

A command that is denied is answered FORBIDDEN_RESULT and changes nothing; the others of its entry
are done.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from paxosd.core.commands import (
    CAS_REVISION,
    CAS_VALUE,
    CLOSE,
    CLUSTER,
    DELETE,
    DELETE_RANGE,
    FENCE,
    GRANT,
    KEEPALIVE,
    MEMBERS,
    OPEN,
    PUT,
    REVOKE,
    RIGHTS,
    TXN,
    Command,
    Result,
    Status,
    requester_of,
)
from paxosd.core.rights import PEER, Principal, RightsTable, covers
from paxosd.core.state.sessions import SESSION_UNKNOWN_RESULT, Session
from paxosd.core.transactions import ADD, GET_KEY, GET_RANGE, is_transaction

FORBIDDEN_RESULT: Result = (int(Status.MALFORMED), 0, int(Status.FORBIDDEN))
"""The result of a command that the rights in force do not allow."""
DENIED: Command = [0]
"""Stands in the place of a command that may not be done. No store takes it for its own."""


class Owned(Protocol):
    """A lease, as far as its owner counts; for :class:`paxosd.core.state.leases.Lease`."""

    owner: str
    keys: dict[bytes, int]


class RightsGuard:
    """Decides by one table, that in force."""

    __slots__ = ("holder", "required", "table")

    def __init__(self, table: RightsTable) -> None:
        self.table = table
        self.required = table.required
        """Whether anything is to be checked at all."""
        self.holder: Principal | None = None
        """Whose the session is whose commands are applied now; None: nothing is checked."""

    def refusal(self, session: Session | None) -> Result | None:
        """The answer to every command of this session; None: its holder's rights decide, and
        :attr:`holder` is set. Only while rights are required."""
        if session is None or not session.key:
            return SESSION_UNKNOWN_RESULT
        self.holder = self.table.by_key.get(session.key)
        return FORBIDDEN_RESULT if self.holder is None or self.holder.role == PEER else None

    def allowed(self, commands: list[Command]) -> list[Command]:
        """These commands, DENIED for those that the holder may not do."""
        holder = self.holder
        assert holder is not None
        if holder.writes_all and holder.reads_all:
            return commands
        return [each if may_do(holder, each) else DENIED for each in commands]

    def owner_name(self, key: bytes) -> str:
        """Who owns what is granted to a session with this key; "": nobody."""
        holder = self.table.by_key.get(key)
        return holder.name if holder is not None else ""

    def control_refusal(self, command: Command, sessions: Mapping[int, Session]) -> Result | None:
        """The answer to a well-formed command of session 0 that may not be done; None: it may."""
        if not self.required:
            return None
        op, key = command[0], requester_of(command)
        holder = self.table.by_key.get(key)
        if op == OPEN:
            may = holder is not None and holder.role != PEER
        elif op == FENCE:
            session = sessions.get(command[1]) if type(command[1]) is int else None
            if session is not None and not session.key:
                return SESSION_UNKNOWN_RESULT
            may = session is None or (holder is not None and session.key == key)
        elif not key:
            may = True  # a node vouches for it
        elif op == MEMBERS:
            may = holder is not None and holder.is_operator
        else:
            may = op not in (CLUSTER, RIGHTS) or (holder is not None and holder.is_admin)
        return None if may else FORBIDDEN_RESULT


def may_use_lease(holder: Principal | None, lease: Owned) -> bool:
    """Whether somebody (None: nothing is checked) may renew and end a lease, and put keys on it."""
    if holder is None or holder.writes_all:
        return True
    if lease.owner:
        return lease.owner == holder.name
    return all(key.startswith(holder.write) for key in lease.keys)


def may_do(holder: Principal, command: Command) -> bool:
    """Whether the prefixes of somebody cover what a session's command reads and writes, whatever
    its form. Of leases only what does not depend on their owner."""
    if type(command) not in (list, tuple) or not command:
        return False
    # 1.0 and true are equal to PUT, and so they are to the store.
    if type(command[0]) not in (int, bool, float):
        return False
    check = _CHECKS.get(command[0])
    return check is not None and check(holder, command)


def _one_key(holder: Principal, command: Command) -> bool:
    return (
        len(command) > 1
        and type(command[1]) is bytes
        and bool(holder.write)
        and command[1].startswith(holder.write)
    )


def _swap(holder: Principal, command: Command) -> bool:
    return _one_key(holder, command) and command[1].startswith(holder.read)


def _range(holder: Principal, command: Command) -> bool:
    return (
        len(command) > 2
        and type(command[1]) is bytes
        and type(command[2]) is bytes
        and covers(holder.write, command[1], command[2])
    )


def _transaction(holder: Principal, command: Command) -> bool:
    return is_transaction(command) and _may_run(holder, command)


def _may_run(holder: Principal, transaction: Command) -> bool:
    _, compares, then, otherwise = transaction
    for compare in compares:
        end = compare[4] if len(compare) > 4 else None
        if not _may_read(holder, compare[2], end):
            return False
    return all(_may_operate(holder, each) for branch in (then, otherwise) for each in branch)


def _may_operate(holder: Principal, operation: list[Any]) -> bool:
    op = operation[0]
    if op == TXN:
        return _may_run(holder, operation)
    if op == GET_KEY:
        return _may_read(holder, operation[1], None)
    if op == GET_RANGE:
        return _may_read(holder, operation[1], operation[2])
    if op == ADD:
        return _swap(holder, operation)
    if op == DELETE_RANGE:
        return _range(holder, operation)
    return op in (PUT, DELETE) and _one_key(holder, operation)


def _may_read(holder: Principal, start: bytes, end: bytes | None) -> bool:
    """Whether it may read a key, or with an ``end`` (b"": there is none) all from it on."""
    if end is None:
        return start.startswith(holder.read)
    return covers(holder.read, start, end)


_CHECKS: dict[Any, Callable[[Principal, Command], bool]] = {
    PUT: _one_key,
    DELETE: _one_key,
    DELETE_RANGE: _range,
    CAS_VALUE: _swap,
    CAS_REVISION: _swap,
    GRANT: lambda holder, _: bool(holder.write),
    KEEPALIVE: lambda _holder, _: True,
    REVOKE: lambda _holder, _: True,
    CLOSE: lambda _holder, _: True,
    TXN: _transaction,
}
