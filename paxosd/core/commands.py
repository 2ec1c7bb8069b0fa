"""What clients ask the replicated state machine to do, and what it answers.

A *command* is a list ``[op, ...]`` of plain values, so that a C decoder makes it and no
object is built per command. An *entry* is what one client frame carries: a run of commands
of one session with consecutive sequence numbers. A *batch*, the value of one slot, is a time
(``core/state/log_clock.py``) and the entries that were waiting when the leader proposed.

    slot value ── Batch(stamp_ms, [Entry, …]) ── Entry(session, first_seq, acked, [command, …])

Commands (keys and values are bytes; numbers are non-negative ints):

    [PUT, key, value]                     set
    [DELETE, key]                         remove one key
    [DELETE_RANGE, start, end]            remove start <= key < end; end b"" means "to the end"
    [CAS_VALUE, key, expect|None, value]  set if the current value equals expect (None: no key)
    [CAS_REVISION, key, revision, value]  set if the modify revision equals (0: no key)
    [FENCE, session, seq]                 answer what became of (session, seq), and if it was
                                          not applied, forbid it for ever
    [OPEN]                                make a session; its id is in the answer
    [OPEN, name]                          the same; ``name``: the client's, see client_name.py
    [CLOSE]                               end the session that the entry names
    [TXN, compares, then, otherwise]      if all compares hold, do ``then``, else ``otherwise``, in
                                          one revision; from level 4 on; see transactions.py
    [CHECKSUM]                            every node computes its state checksum at this slot
    [MEMBERS, epoch, document]            if the membership is that of ``epoch``, the next one is
                                          what the document says; see membership.py
    [CLUSTER, version, epoch, document]   if the replicated settings are of ``version``, and the
                                          membership of ``epoch``, the next ones are what the
                                          document says; see cluster_settings.py
    [RIGHTS, version, document, key]      if the rights table is of ``version``, the next one is
                                          what the document says; from level 5 on; see rights.py

From level 5 on OPEN, FENCE, MEMBERS and CLUSTER may have one more field at the end, as RIGHTS
always has it: the public key of who asked (32 bytes), as the node that took the request in put it
there. Without it, or with b"", that node vouches for the command. An OPEN with a key has a name as
well, "": none.

Commands of leases (``core/state/leases.py``), from feature level 4 on:

    [GRANT, ttl_ms, wanted]               make a lease; its id, ``wanted`` unless that is 0, is in
                                          the answer
    [KEEPALIVE, [id, …]]                  renew leases
    [REVOKE, id]                          end a lease; its keys go, in one revision
    [PUT, key, value, lease]              set, and attach the key to the lease

OPEN, FENCE, CHECKSUM, MEMBERS, CLUSTER and RIGHTS travel in entries of session 0, which keeps no
replies: doing them twice does no harm. All others need a session.

A *result* is an int, the revision, where a write took effect, or else a tuple
``(status, revision, detail)``; see :class:`Status`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import Any, NamedTuple

PUT = 1
DELETE = 2
DELETE_RANGE = 3
CAS_VALUE = 4
CAS_REVISION = 5
FENCE = 6
OPEN = 7
OPENED_BY_MIN = 1 << 32
"""An OPEN in an entry whose first_seq is at least this names it as the client's own number."""
CLOSE = 8
CHECKSUM = 9
MEMBERS = 10
CLUSTER = 11
GRANT = 12
KEEPALIVE = 13
REVOKE = 14
TXN = 15
RIGHTS = 16

Command = list[Any]
Result = int | tuple[int, int, Any]


class Status(IntEnum):
    """The first member of a result tuple; an int result stands for a plain success."""

    OK = 0
    """Done. OPEN: detail is the session id. GRANT: detail is the lease's id. DELETE_RANGE, REVOKE:
    detail is how many keys went. KEEPALIVE: detail has a number for each lease: the ms that it has
    from now on, 0: it is unknown.
    CHECKSUM: revision is unused, detail is the slot. MEMBERS: revision is the new epoch, detail the
    slot from which on it is in force. CLUSTER, RIGHTS: the same with the new version."""
    NOT_FOUND = 1
    """DELETE, DELETE_RANGE: there was nothing to remove; the revision did not move."""
    CAS_MISS = 2
    """The expectation did not hold; revision is the key's modify revision (0: no such key), for
    MEMBERS the present epoch; for CLUSTER the present version, and detail the present epoch; for
    RIGHTS the present version. GRANT:
    the wanted id, which is in detail, is taken."""
    SESSION_UNKNOWN = 3
    """The session was never opened, was closed, or expired. The command was not applied now."""
    FENCED = 4
    """(session, seq) was fenced before it was applied: it can never commit."""
    COMMITTED = 5
    """FENCE only: it was applied; detail is ``(slot, result)``."""
    FORGOTTEN = 6
    """The client itself acknowledged this seq's reply, so it is no longer kept."""
    WINDOW = 7
    """More unacknowledged commands than a session may have, or what is to be done later (see
    ``late_renewals.py``, ``slot_allowance.py``); not applied: it may come again."""
    SESSIONS_FULL = 8
    """OPEN: every place in the session table is taken by an active session."""
    TXN_REFUSED = 11
    """A TXN met a limit or a value that is no number, and did nothing; detail is the reason, see
    transactions.py. (A TXN that was done: OK, the revision after it, and the pair of its
    results.)"""
    MALFORMED = 9
    """The command has an unknown op, a wrong form, or stands in the wrong kind of session. It
    changed nothing. Admission refuses such commands; this is what every node answers alike if
    one is decided nevertheless. With the detail QUOTA it is well-formed, and the quota refuses
    it; with the detail FORBIDDEN, the rights table does."""
    LEASE_UNKNOWN = 10
    """REVOKE, PUT with a lease: the lease was never granted, was revoked, or expired."""
    QUOTA = 12
    """As the detail of MALFORMED: the write would make the store larger than its quota, and changed
    nothing (``core/state/quota.py`` says why it is no status by itself)."""
    FORBIDDEN = 13
    """As the detail of MALFORMED: by the rights in force, whoever asks may not do this; it changed
    nothing (``core/state/rights_check.py``)."""
    LEASES_FULL = 14
    """GRANT: there are as many leases as the settings allow. PUT with a lease: as many keys as it
    can have are attached to it."""


class Entry(NamedTuple):
    """A run of one session's commands, seqs ``first_seq .. first_seq + len(commands) - 1``.

    ``acked``: the client has every reply up to and including this seq and will never ask for
    them again. Sequence numbers start at 1.
    """

    session: int
    first_seq: int
    acked: int
    commands: list[Command]


class Reign(NamedTuple):
    """What the leader's stopwatch showed when it proposed: the ballot that it led with, and how
    long it had led, by a clock that never jumps."""

    round: int
    node: str
    elapsed_ms: int


class Batch(NamedTuple):
    """The decoded value of a slot. ``stamp_ms``: the leader's wall clock; with a ``reign`` it is
    for people only, without one it is what log time goes by at level 0."""

    stamp_ms: int
    entries: list[Entry]
    reign: Reign | None = None


def changes_members(entry: Entry) -> bool:
    """Whether a command of this entry may change the membership."""
    return _has(entry, MEMBERS)


def changes_settings(entry: Entry) -> bool:
    """Whether a command of this entry may change the replicated settings."""
    return _has(entry, CLUSTER)


def changes_rights(entry: Entry) -> bool:
    """Whether a command of this entry may change the rights table."""
    return _has(entry, RIGHTS)


_KEYED_ARITY = {OPEN: 3, FENCE: 4, MEMBERS: 4, CLUSTER: 5, RIGHTS: 4}
"""Command → how many fields it has with the requester's key, which is the last."""


def requester_of(command: Command) -> bytes:
    """The key that a well-formed command of session 0 names; b"": none."""
    return command[-1] if len(command) == _KEYED_ARITY.get(command[0], 0) else b""


def with_requester(entry: Entry, key: bytes) -> Entry:
    """An entry of session 0 whose commands name ``key`` as that of who asks, whatever they named
    before; b"": the node that takes it in vouches for it. Commands of another form stay."""
    return entry._replace(commands=[_with_requester(each, key) for each in entry.commands])


def _with_requester(command: Command, key: bytes) -> Command:
    op = command[0] if type(command) is list and command and type(command[0]) is int else 0
    arity = _KEYED_ARITY.get(op, 0)
    if len(command) == arity:
        command = command[:-1]
    if len(command) == arity - 1 and (key or op == RIGHTS):
        return [*command, key]
    if op == OPEN:
        if len(command) == arity - 1 and not command[1]:  # no name
            return [OPEN]
        if len(command) == 1 and key:
            return [OPEN, "", key]
    return command


def _has(entry: Entry, op: int) -> bool:
    return (
        entry.session == 0
        and type(entry.commands) is list
        and any(type(c) in (list, tuple) and bool(c) and c[0] == op for c in entry.commands)
    )


class Change(NamedTuple):
    """One applied change to one key, as watchers see it. ``value`` is None for a removal."""

    revision: int
    slot: int
    key: bytes
    value: bytes | None


class ChangeOf(NamedTuple):
    """A :class:`Change`, and the key as it was before; None: it did not exist."""

    revision: int
    slot: int
    key: bytes
    value: bytes | None
    previous: "KeyValue | None"


AnyChange = Change | ChangeOf

NO_VALUES: Mapping[bytes, bytes] = MappingProxyType({})
LEASE_EXPIRED = "lease expired"


class KeysChanged(NamedTuple):
    """Changes of ``keys``, which ascend, all in one revision: what a DELETE_RANGE or a TXN did, or
    what happened by no command at the begin of a slot.

    A key has the value that ``values`` gives for it; one that is not in there was removed.
    ``reason``: why, in words, if no command did it. It stands for as many changes, and is not made
    into them before somebody needs each."""

    revision: int
    slot: int
    keys: Sequence[bytes]
    values: Mapping[bytes, bytes] = NO_VALUES
    reason: str = ""


def each_change(changes: Iterable[Change | KeysChanged]) -> Iterator[Change]:
    """One by one."""
    for change in changes:
        if type(change) is KeysChanged:
            for key in change.keys:
                yield Change(change.revision, change.slot, key, change.values.get(key))
        else:
            yield change  # type: ignore[misc]  # type() does not narrow


class KeyValue(NamedTuple):
    """One key as a read returns it. ``version`` counts the writes since it was created."""

    key: bytes
    value: bytes
    create_revision: int
    modify_revision: int
    version: int


def prefix_end(prefix: bytes) -> bytes:
    """The smallest key above every key with this prefix; b"" where there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else b""
