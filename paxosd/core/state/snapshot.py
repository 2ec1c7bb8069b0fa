"""A snapshot of the state machine: what it holds at the end of one slot, in pieces.

    SnapshotWalk(machine)  ── head ──► sessions … ──► names … ──► leases … ──► history … ──► rows …
    Restore(head)          ◄── sessions … ◄── names … ◄── leases … ◄── history … ◄── rows …
    finish() ──► Machine

The head is taken at once; the sessions (``session_walk.py``), the leases (``lease_walk.py``), the
history (``undo_pieces.py``) and the rows (``walk.py``) come in bounded steps beside later slots.
The names of former sessions (``former_names.py``) are copied at once, and are not part of what is
summed up. A snapshot without history, as of below feature level 4, is of a state whose history
begins with it. The pieces are plain values: ints, bytes, text, lists and tuples. The files:
``snapshot/file.py``.

What :class:`Restore` is given is not trusted: it came from a disk or a peer. Every form, bound
and order is checked, and a snapshot that has too little or too much of anything is refused with
:class:`SnapshotError`. The restored machine equals the original one: chain, revision, every row,
lease and session, and so every later result and checksum.

Every slot up to the snapshot's is chosen, and its effects are in it. It contains nothing about any
slot above, and nothing about what an acceptor promised.
"""

from collections.abc import Sequence
from itertools import islice
from operator import add, le
from typing import Any

from paxosd.core.client_name import client_name_fault
from paxosd.core.cluster_settings import BOUNDS
from paxosd.core.commands import Status
from paxosd.core.lease_bounds import IDS_PER_KEEPALIVE_MAX
from paxosd.core.rights import KEY_BYTES
from paxosd.core.state.checksum import RestSum, sum_of, total_with
from paxosd.core.state.entries import pack_numbers
from paxosd.core.state.former_names import FORMER_MAX, FormerName
from paxosd.core.state.lease_walk import LeaseRow, LeaseWalk, lease_from, row_fault
from paxosd.core.state.log_clock import NO_REIGN, NUMBER_MAX
from paxosd.core.state.machine import DEFAULT_LIMITS, Machine, MachineLimits
from paxosd.core.state.session_walk import SessionRow, SessionWalk
from paxosd.core.state.sessions import Session
from paxosd.core.state.snapshot_head import (
    Members,
    SnapshotError,
    SnapshotHead,
    check_head,
    head_has_sum,
    membership_of,
    reign_of,
    rights_of,
    settings_of,
)
from paxosd.core.state.start import Start
from paxosd.core.state.undo_pieces import Piece, UndoRestore, UndoWalk
from paxosd.core.state.walk import Walk
from paxosd.core.transactions import is_branch_result
from paxosd.core.types import Slot

LEASES_PER_STEP = 200
LEASE_KEYS_PER_STEP = 2000
SESSIONS_PER_STEP = 100
REPLIES_PER_STEP = 5000
NAMES_PER_STEP = 2000
LINKED_PER_STEP = 2000
_ENTRY_FIELDS = 4


class SnapshotWalk:
    """The state of ``machine`` as of now. Close it when it is not needed any more."""

    __slots__ = ("_history", "_leases", "_names", "_rows", "_sessions", "head")

    def __init__(self, machine: Machine, members: Members) -> None:
        self._sessions = SessionWalk(machine.sessions)
        self._names = machine.sessions.former.all()
        for table in machine.sessions.expired:  # not taken apart yet
            ended = islice(table.items(), FORMER_MAX)
            self._names += [FormerName(n, machine.applied, s.name) for n, s in ended if s.name]
        self._names = self._names[: -FORMER_MAX - 1 : -1]
        """The next ones to be handed out are the last."""
        self._leases = LeaseWalk(machine.leases)
        self._history = UndoWalk(machine.store.undo)
        self._rows = Walk(machine.store)
        self.head = SnapshotHead(
            machine.applied,
            machine.revision,
            machine.log_time_ms,
            machine.chain,
            machine.sessions.next_id,
            len(self._sessions),
            len(machine.store),
            members,
            machine.membership.to_json(),
            machine.settings.to_json(),
            () if machine.clock.reign == NO_REIGN else tuple(machine.clock.reign),
            self._leases.next_id,
            len(self._leases),
            machine.rights.to_json(),
        )

    @property
    def done(self) -> bool:
        """Whether everything was handed out."""
        parts = self._sessions, self._leases, self._history, self._rows
        return not self._names and all(part.done for part in parts)

    def sessions(self) -> list[SessionRow]:
        """Some of the sessions, in order of last use; [] once all were handed out, and the rows
        follow."""
        return self._sessions.take(SESSIONS_PER_STEP, REPLIES_PER_STEP)

    def names(self) -> list[FormerName]:
        """Some of the names of former sessions; [] once all were handed out."""
        taken = self._names[-NAMES_PER_STEP:]
        del self._names[-NAMES_PER_STEP:]
        return taken[::-1]

    def leases(self) -> list[LeaseRow]:
        """Some of the leases, in the order of their grants; [] once all were handed out."""
        return self._leases.take(LEASES_PER_STEP, LEASE_KEYS_PER_STEP)

    def history(self) -> Piece | None:
        """The next piece of the history; None once all were handed out."""
        return self._history.take()

    def rows(self, keys_max: int, bytes_max: int) -> list[Any]:
        """Some of the rows, as :meth:`Walk.take`."""
        return self._rows.take(keys_max, bytes_max)

    def close(self) -> None:
        """End the walk; a second call does nothing."""
        self._sessions.close()
        self._leases.close()
        self._history.close()
        self._rows.close()


class Restore:
    """Makes a machine from a snapshot's pieces. Each method raises SnapshotError, and the
    constructor UnknownLevelError."""

    def __init__(self, head: SnapshotHead, limits: MachineLimits = DEFAULT_LIMITS) -> None:
        settings = settings_of(head)
        check_head(head, BOUNDS["sessions_max"][1] if settings.version else limits.sessions[0])
        self.head = head
        self._limits = limits
        self._machine = Machine(
            limits,
            Start(
                slot=head.slot,
                revision=head.revision,
                chain=head.chain,
                log_time_ms=head.log_time_ms,
                reign=reign_of(head),
                next_session=head.next_session,
                membership=membership_of(head),
                settings=settings if settings.version else None,
                next_lease=head.next_lease,
                rights=rights_of(head),
            ),
        )
        store = self._machine.store
        self._history = UndoRestore(store.undo, store.data, head.slot, head.revision)
        self._last_ms = 0
        self._rows_sum = 0
        self._rest: RestSum | None = None

    def sessions(self, rows: list[SessionRow]) -> None:
        """Take the next sessions."""
        sessions = self._machine.sessions
        for row in rows:
            _check_session(row, self.head, self._last_ms)
            if row.session in sessions.table:
                raise SnapshotError(f"session {row.session} is there twice")
            self._last_ms = row.last_ms
            session = Session(
                row.last_ms,
                row.opened_by,
                row.name,
                row.key,
                acked=row.acked,
                max_seq=row.max_seq,
                chunks=row.replies,
            )
            sessions.put(row.session, session)
        if len(sessions.table) > self.head.sessions:
            raise SnapshotError(f"there are more than {self.head.sessions} sessions")

    def names(self, rows: Sequence[FormerName]) -> None:
        """Take the next names of former sessions."""
        former = self._machine.sessions.former
        for row in rows:
            _check_former(row, self.head)
        if len(former) + len(rows) > FORMER_MAX:
            raise SnapshotError(f"there are more than {FORMER_MAX} names of former sessions")
        former.extend(rows)

    def leases(self, rows: Sequence[LeaseRow]) -> None:
        """Take the next leases."""
        head, leases = self.head, self._machine.leases
        for row in rows:
            if fault := row_fault(row, head.next_lease, head.log_time_ms, head.revision):
                raise SnapshotError(fault)
            if row.id in leases.table or any(key in leases.by_key for key, _ in row.keys):
                raise SnapshotError(f"lease {row.id} or a key of it is there twice")
            leases.add(lease_from(row))
        if len(leases) > head.leases:
            raise SnapshotError(f"there are more than {head.leases} leases")

    def history(self, piece: Any) -> None:
        """Take the next piece of the history."""
        try:
            self._history.take(piece)
        except ValueError as error:
            raise SnapshotError(str(error)) from None

    def _link(self, records_max: int) -> bool:
        try:
            return self._history.link(records_max)
        except ValueError as error:
            raise SnapshotError(str(error)) from None

    def rows(self, rows: tuple[Any, ...] | list[Any]) -> None:
        """Take the next rows, as :meth:`SnapshotWalk.rows` made them."""
        keys, entries = rows[::2], rows[1::2]
        if len(keys) != len(entries):
            raise SnapshotError("the last key has no value")
        packed = _pack_entries(keys, entries, self.head.revision)
        store = self._machine.store
        if not store.load(keys, packed):
            raise SnapshotError("a key is there twice")
        if len(store) > self.head.keys:
            raise SnapshotError(f"there are more than {self.head.keys} keys")
        if head_has_sum(self.head):
            self._rows_sum = sum_of(self._rows_sum, keys, packed)

    def sum_up(self) -> bool:
        """After the last rows: go on by a step with the checksum, before :meth:`finish`, which
        would compute it all at once (50 ms with 10,000 sessions). True once nothing is left."""
        if not self._link(LINKED_PER_STEP):
            return False
        if not head_has_sum(self.head):
            return True
        if self._rest is None:
            self._rest = self._machine.rest_sum()
        return self._rest.step()

    @property
    def total(self) -> str:
        """After the last rows: the checksum of this state; "" if its snapshot carries none."""
        if not head_has_sum(self.head):
            return ""
        return total_with(self._rest or self._machine.rest_sum(), self._rows_sum)

    def finish(self, total: str = "") -> Machine:
        """The machine, after the last rows. ``total``: the checksum that it must have; "": any."""
        machine, head = self._machine, self.head
        if len(machine.sessions) != head.sessions:
            raise SnapshotError(f"{head.sessions - len(machine.sessions)} sessions are missing")
        if len(machine.leases) != head.leases:
            raise SnapshotError(f"{head.leases - len(machine.leases)} leases are missing")
        if len(machine.store) != head.keys:
            raise SnapshotError(f"{head.keys - len(machine.store)} keys are missing")
        while not self._link(LINKED_PER_STEP):
            pass
        if total and (found := self.total) and found != total:
            raise SnapshotError(
                f"the state in it comes to {found}, and the one that it was taken of to {total}"
            )
        return machine


def _pack_entries(keys: Sequence[Any], entries: Sequence[Any], revision: int) -> list[bytes]:
    """Check rows and pack their entries, column by column: a loop over the rows in Python would
    take longer than all else that a restore does with them."""
    if not entries:
        return []
    if not (
        _are(bytes, keys) and _are(tuple, entries) and set(map(len, entries)) == {_ENTRY_FIELDS}
    ):
        raise SnapshotError("a row is not a key and (value, create, modify, version)")
    values, creates, modifies, versions = zip(*entries, strict=True)
    if not (
        _are(bytes, values)
        and _are(int, creates)
        and _are(int, modifies)
        and _are(int, versions)
        and min(creates) >= 1
        and all(map(le, creates, modifies))
        and max(modifies) <= revision
        and min(versions) >= 1
        and all(map(le, versions, modifies))
    ):
        raise SnapshotError("a row has impossible revisions")
    return list(map(add, map(pack_numbers, creates, modifies, versions), values))


def _are(kind: type, items: Sequence[Any]) -> bool:
    """Whether each of them, and there is one, is exactly of this type."""
    return set(map(type, items)) == {kind}


def _check_session(row: SessionRow, head: SnapshotHead, last_ms: int) -> None:
    number, used_ms, acked, max_seq, replies, opened_by, name, key = row
    for value in (number, used_ms, acked, max_seq, opened_by):
        if type(value) is not int or not 0 <= value <= NUMBER_MAX:
            raise SnapshotError("a session's number is none")
    if not 1 <= number < head.next_session:
        raise SnapshotError(f"session {number} was never opened")
    if name != "" and (fault := client_name_fault(name)):
        raise SnapshotError(f"session {number}: {fault}")
    if key != b"" and not (type(key) is bytes and len(key) == KEY_BYTES):
        raise SnapshotError(f"session {number} has a key that is none")
    if not last_ms <= used_ms <= head.log_time_ms:
        raise SnapshotError(f"session {number} is not in the order of last use")
    if acked > max_seq:
        raise SnapshotError(f"session {number} acknowledges what it never asked")
    after = 0
    for first_seq, slot, results in replies:
        if type(first_seq) is not int or first_seq <= after or not results:
            raise SnapshotError(f"session {number}: replies are not in order")
        if type(slot) is not int or not 1 <= slot <= head.slot:
            raise SnapshotError(f"session {number}: a reply is of an impossible slot")
        after = first_seq + len(results) - 1
        for result in results:
            if not _is_result(result):
                raise SnapshotError(f"session {number}: a reply is not a result")
    if after > max_seq:
        raise SnapshotError(f"session {number} has a reply above its highest seq")


def _check_former(row: FormerName, head: SnapshotHead) -> None:
    if type(row.session) is not int or not 1 <= row.session < head.next_session:
        raise SnapshotError("a former session was never opened")
    if type(row.slot) is not int or not 1 <= row.slot <= head.slot:
        raise SnapshotError(f"session {row.session} ended at an impossible slot")
    if fault := client_name_fault(row.name):
        raise SnapshotError(f"session {row.session}, which ended: {fault}")


def _is_result(result: Any) -> bool:
    """A revision, or ``(status, revision, detail)`` whose detail is a number, numbers, none, or
    the pair of a transaction: the commands that have others keep no replies."""
    if type(result) is int:
        return 0 <= result <= NUMBER_MAX
    if type(result) is not tuple or len(result) != 3:
        return False
    status, revision, detail = result
    return (
        type(status) is int
        and type(revision) is int
        and 0 <= revision <= NUMBER_MAX
        and 0 <= status <= NUMBER_MAX
        and (
            detail is None
            or _is_number(detail)
            or _are_numbers(detail)
            or (status == Status.OK and is_branch_result(detail))
        )
    )


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value <= NUMBER_MAX


def _are_numbers(value: Any) -> bool:
    """As a KEEPALIVE is answered."""
    return (
        type(value) is tuple
        and 1 <= len(value) <= IDS_PER_KEEPALIVE_MAX
        and all(map(_is_number, value))
    )


def session_of(fields: Any) -> SessionRow:
    """A :class:`SessionRow` from decoded tuples. Raises SnapshotError."""
    count = len(SessionRow._fields)
    if type(fields) is not tuple or not count - 3 <= len(fields) <= count:
        raise SnapshotError("a session has the wrong number of fields")
    number, last_ms, acked, max_seq, replies, *rest = fields
    if type(replies) is not tuple:
        raise SnapshotError("a session's replies are no array")
    kept: list[tuple[int, Slot, list[Any]]] = []
    for reply in replies:
        if type(reply) is not tuple or len(reply) != 3 or type(reply[2]) is not tuple:
            raise SnapshotError("a session's replies have the wrong form")
        kept.append((reply[0], reply[1], list(reply[2])))
    return SessionRow(number, last_ms, acked, max_seq, kept, *rest)


def former_of(fields: Any) -> FormerName:
    """A :class:`FormerName` from decoded tuples. Raises SnapshotError."""
    if type(fields) is not tuple or len(fields) != len(FormerName._fields):
        raise SnapshotError("the name of a former session has the wrong number of fields")
    return FormerName(*fields)


def lease_of(fields: Any) -> LeaseRow:
    """A :class:`LeaseRow` from decoded tuples. Raises SnapshotError."""
    count = len(LeaseRow._fields)
    if type(fields) is not tuple or not count - 1 <= len(fields) <= count:
        raise SnapshotError("a lease has the wrong number of fields")
    return LeaseRow(*fields)
