"""The replicated state machine: a deterministic function of the decided log.

    chosen batches in slot order ──► apply ──► results, one list per entry
                                       │
      Store (kv.py) · Sessions (sessions.py) · Leases (leases.py) · History (history.py) ·
      Checksums (checksum.py)

Rules:

- Slots are applied one after the other without gaps. The same log gives the same results, chain,
  checksums and sessions on every node: no clock, no randomness, no limits of one node alone (the
  session limits are replicated settings). What a decided batch may contain is not trusted: every
  node answers a malformed command with MALFORMED.
- Sessions and leases expire by log time (``log_clock.py``), before the batch is applied.
- OPEN, FENCE, CHECKSUM, MEMBERS, CLUSTER and RIGHTS belong in entries of session 0, and every other
  command needs a session. In the wrong place the former are answered MALFORMED, the latter
  SESSION_UNKNOWN.
- A change by CLUSTER or RIGHTS is in force from the next slot on, not for the rest of its own slot.
- Rights are checked by the table in force (``rights_check.py``), if it requires them.
- A CHECKSUM is of the state at the end of its slot.
- Result lists are kept as cached replies: a caller must not change them.
"""

import struct
from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple
from zlib import crc32

from paxosd.core.cluster_settings import LEVEL_SHARES, ClusterSettings
from paxosd.core.commands import (
    CHECKSUM,
    CLUSTER,
    FENCE,
    MEMBERS,
    RIGHTS,
    Batch,
    Change,
    Command,
    KeysChanged,
    Result,
    Status,
)
from paxosd.core.disposal import Disposal
from paxosd.core.state.chain import MARK_SLOTS, Trail
from paxosd.core.state.checksum import Checksums, RestSum
from paxosd.core.state.control_commands import (
    change_members,
    change_rights,
    change_settings,
    check_level,
    is_formed,
    opening_of,
)
from paxosd.core.state.derivation import Skipped, derive_changes
from paxosd.core.state.entry_form import is_formed_entry, leave_rest, refuse_all, refuse_sessionless
from paxosd.core.state.history import History
from paxosd.core.state.kv import MALFORMED_RESULT, Store
from paxosd.core.state.late_renewals import refuse_renewals
from paxosd.core.state.lease_commands import expire_leases
from paxosd.core.state.lease_walk import lease_pieces
from paxosd.core.state.leases import Leases
from paxosd.core.state.log_clock import LogClock
from paxosd.core.state.machine_reads import MachineReads
from paxosd.core.state.queries import Queries
from paxosd.core.state.rights_check import RightsGuard
from paxosd.core.state.session_commands import apply_session_command
from paxosd.core.state.session_walk import fingerprint_pieces
from paxosd.core.state.sessions import (
    SESSION_UNKNOWN_RESULT,
    WINDOW_RESULT,
    Session,
    SessionLimits,
    Sessions,
)
from paxosd.core.state.slot_allowance import SlotAllowance
from paxosd.core.state.start import EMPTY, Start
from paxosd.core.state.undo_log import HistoryLimits
from paxosd.core.state.undo_pieces import undo_fingerprint
from paxosd.core.state.walk import preserve
from paxosd.core.transactions import is_transaction_at, without_reads
from paxosd.core.types import Slot
from paxosd.core.work import Work

_OK = int(Status.OK)
_CONTROL = (CHECKSUM, MEMBERS, CLUSTER, RIGHTS, FENCE)
_SUMMARY = struct.Struct("<QQQQ")

CHECKSUM_SLOTS = 4096
"""At feature level 1 all nodes sum up their states at the slots that this number divides, or that
``Machine.checksum_spacing`` divides, if that is more."""
CHECKSUM_ROWS_SHIFT = 2
"""Such a checksum comes at most once per a fourth (two bits) of as many slots as there are rows, so
that each slot has four rows to hash at most, some 6 us."""


class MachineLimits(NamedTuple):
    """``sessions``: in force as long as the log has no settings; the same on every node of a
    cluster."""

    sessions: SessionLimits = SessionLimits()
    history_exceptions_max: int = 200_000
    """How many exceptions the history keeps (see ``history.py``). Local: nodes may differ."""


DEFAULT_LIMITS = MachineLimits()


class Machine(MachineReads):
    """The state after slot ``applied``.

    ``chain``: see ``chain.py``; it covers every slot's effects, and at feature level 1 also the
    value that the log holds for the slot. While ``collect_changes`` is set, ``apply`` appends to
    ``recent_changes``; the shell empties it. While ``checksums_enabled`` is not set (during
    replay), CHECKSUM commands start no computation.
    """

    __slots__ = ("_allowance", "_checksum_asked", "_guard", "applied", "at_sum", "chain",
                 "checksum_runs", "checksum_slots", "checksums_enabled", "clock",
                 "collect_changes", "disposal", "history", "leases", "limits", "membership",
                 "queries", "recent_changes", "rights", "sessions", "settings", "store", "trail",
                 "work")  # fmt: skip

    def __init__(self, limits: MachineLimits = DEFAULT_LIMITS, start: Start = EMPTY) -> None:
        self.limits = limits
        self.applied: Slot = start.slot
        self.clock = LogClock(start.log_time_ms, start.reign)
        self.chain = start.chain
        self.trail = Trail()
        self.work = Work()
        """What was done here; see ``core/work.py``."""
        self.disposal = Disposal()
        """What was replaced or forgotten, and is to be freed little by little."""
        self.membership = start.membership
        """As the log has it; UNKNOWN at epoch 0, when the configuration says who is a member."""
        own_settings = ClusterSettings()._replace(**limits.sessions._asdict())
        self.settings = start.settings or own_settings
        """As the log has them after ``applied``; of version 0 if it holds none."""
        self.rights = start.rights
        """The rights table, as the log has it after ``applied``."""
        self._guard = RightsGuard(start.rights)
        self.store = Store(self.work, self.disposal, start.revision, self.settings.quota_bytes)
        self.store.undo.limit(HistoryLimits.of(self.settings))
        self.queries = Queries(self.store)
        session_limits = SessionLimits.of(self.settings)
        self.sessions = Sessions(session_limits, self.disposal, start.next_session, start.slot)
        self.leases = Leases(start.next_lease)
        self.history = History(
            limits.history_exceptions_max, self.disposal, start.slot, start.revision
        )
        self.checksum_runs = Checksums(self.store)
        self.checksums_enabled = True
        self.checksum_slots = CHECKSUM_SLOTS
        self.at_sum: Callable[[], object] | None = None
        """Called once, at the end of the next slot after which all nodes sum up their states: a
        snapshot of that slot can be compared with what the others have."""
        self.collect_changes = False
        self.recent_changes: list[Change | KeysChanged] = []
        self._checksum_asked = False
        self._allowance: SlotAllowance | None = None

    # ---- the log

    def apply(self, slot: Slot, batch: Batch | None, value: bytes = b"") -> list[list[Result]]:
        """Apply the next slot (None: a NOOP); returns one list of results per entry.

        ``value``: its bytes in the log, which the chain covers. Raises UnknownLevelError, and then
        nothing of the slot was applied."""
        assert slot == self.applied + 1
        if batch is None:
            self._apply_noop(slot, value)
            return []
        check_level(batch, self.settings, self.membership.epoch)
        self.applied, self._allowance = slot, None
        store, sessions, guard = self.store, self.sessions, self._guard
        before, base, checked, has_control = store.revision, 0, guard.required, False
        skipped: list[Skipped] = []
        self._begin_slot(slot, batch, skipped)
        now_ms, is_late = self.clock.now_ms, self.clock.is_past(batch)
        window_max = sessions.limits.session_window_max
        answers: list[list[Result]] = []
        for entry in batch.entries:
            session_id, first_seq, acked, commands = entry
            if not is_formed_entry(session_id, first_seq, acked, commands):
                results = refuse_all(MALFORMED_RESULT, entry, base, skipped)
            elif is_late and (late := refuse_renewals(entry, self.settings, base, skipped)):
                results = late
            elif session_id == 0:
                has_control = True
                results = [
                    self._apply_sessionless(slot, command, first_seq + index)
                    for index, command in enumerate(commands)
                ]
            elif checked and (refusal := guard.refusal(sessions.table.get(session_id))):
                results = refuse_all(refusal, entry, base, skipped)
            else:
                if checked:
                    commands = guard.allowed(commands)
                session = sessions.use(session_id, acked, now_ms)
                if session is None:
                    results = refuse_all(SESSION_UNKNOWN_RESULT, entry, base, skipped)
                elif (  # the usual case: nothing of it was seen before
                    first_seq > session.max_seq
                    and first_seq + len(commands) - session.acked <= window_max + 1
                ):
                    kept = results = []
                    if not store.run(commands, results, skipped, base):
                        done = self._run_rest(session_id, commands, results, skipped, base)
                        kept = session.within_bounds(results[:done])
                    if kept:
                        session.keep(first_seq, slot, kept)
                else:
                    parts = commands, first_seq, skipped, base
                    results = self._apply_mixed(slot, session_id, session, *parts)
            answers.append(results)
            base += len(results)
        self._finish_slot(slot, batch, before, answers, skipped, has_control)
        if self.settings.level:
            self._chain_value(slot, value)
        if self._checksum_asked:
            self._start_checksum(slot)
        return answers

    def _begin_slot(self, slot: Slot, batch: Batch, skipped: list[Skipped]) -> None:
        """What happens before the commands: time goes on, and what is due by that ends."""
        self.clock.advance(batch, self.settings.level)
        now_ms = self.clock.now_ms
        self.sessions.expire(now_ms, slot)
        if self.store.walks:
            preserve(self.store, batch.entries)
        self.chain = expire_leases(now_ms, self.store, self.leases, skipped, self.chain)

    def _apply_noop(self, slot: Slot, value: bytes) -> None:
        self.applied = slot
        self.chain = crc32(b"noop", self.chain)
        if self.settings.level:
            self._chain_value(slot, value)
            if self._checksum_asked:
                self._start_checksum(slot)
        self.history.record(slot, self.store.revision, [])

    @property
    def checksum_spacing(self) -> int:
        """At feature level 1 all nodes sum up their states at the slots that this divides."""
        rows = len(self.store) + len(self.sessions.table) + len(self.leases)
        rows += self.store.undo.records
        share = 1 << rows.bit_length() >> CHECKSUM_ROWS_SHIFT
        return max(self.checksum_slots, share)

    def _chain_value(self, slot: Slot, value: bytes) -> None:
        """Add the value in the log to the chain: a different value is noticed even where revisions
        and results are the same."""
        self.chain = crc32(value, self.chain)
        self.trail.append(self.chain)
        if not slot & (MARK_SLOTS - 1):
            self.trail.trim()
            if not slot % self.checksum_spacing:
                self._checksum_asked = True

    def _finish_slot(
        self,
        slot: Slot,
        batch: Batch,
        before: int,
        answers: list[list[Result]],
        skipped: list[Skipped],
        has_control: bool,
    ) -> None:
        commands = sum(map(len, answers))
        self.work.units += commands
        self.store.settle(commands)
        self.store.undo.end_slot(slot, self.store.revision, self.clock.now_ms)
        revision = self.store.revision
        summary = _SUMMARY.pack(slot, revision, self.log_time_ms, len(self.sessions.table))
        self.chain = crc32(summary, self.chain)
        if has_control:
            self.store.quota.change(self.settings.quota_bytes)
            self.store.undo.limit(HistoryLimits.of(self.settings))
            limits = SessionLimits.of(self.settings)
            if limits != self.sessions.limits:
                self.sessions.limit(limits)
            control = self.membership.to_json() + self.settings.to_json() + self.rights.digest
            self.chain = crc32(control, self.chain)
            if self.rights is not self._guard.table:
                self._guard = RightsGuard(self.rights)
        if skipped or has_control:
            others = [
                without_reads(each)
                for results in answers
                for each in results
                if type(each) is not int
            ]
            self.chain = crc32(repr(others).encode(), self.chain)
        self.history.record(slot, revision, skipped)
        if self.collect_changes and revision != before:
            self.recent_changes += derive_changes(slot, batch, before, skipped)

    def _start_checksum(self, slot: Slot) -> None:
        self._checksum_asked = False
        if self.checksums_enabled:
            self.checksum_runs.start(slot, self._rest)
            at_sum, self.at_sum = self.at_sum, None
            if at_sum is not None:
                at_sum()

    def _rest(self) -> Iterator[bytes]:
        """The present state besides the keys, for a checksum, in pieces."""
        last = repr(tuple(self.clock.reign)).encode() if self.settings.level else b""
        last += self.rights.digest
        first = b"%d %d " % (self.log_time_ms, self.chain)
        sessions, leases = fingerprint_pieces(self.sessions), lease_pieces(self.leases)
        return chain((first,), sessions, leases, (last,), undo_fingerprint(self.store.undo))

    def sum_up(self) -> None:
        """Start a checksum of the present state, unless one of this slot was started."""
        slot = self.applied
        if slot not in self.checksums and not self.checksum_pending(slot):
            self.checksum_runs.start(slot, self._rest)

    def rest_sum(self) -> RestSum:
        """The first part of the checksum of the present state, to be computed step by step."""
        store = self.store
        return RestSum(self.applied, store.revision, len(store), self._rest())

    def _run_rest(
        self,
        session_id: int,
        commands: list[Command],
        results: list[Result],
        skipped: list[Skipped],
        base: int,
    ) -> int:
        """Go on where the store came to a command that is not a data command. Returns how many of
        the results are to be kept: those behind them are of commands that are to come again."""
        settings, done = self.settings, False
        self._allowance = allowance = self._allowance or SlotAllowance(settings.value_bytes_max)
        parts = session_id, self.sessions, self.store, self.leases, settings, self.log_time_ms
        while not done:
            outcome = apply_session_command(commands[len(results)], *parts, allowance, self._guard)
            if outcome is None:
                return leave_rest(commands, results, skipped, base, closed=False)
            result, changed = outcome
            if type(result) is not int:
                skipped.append((base + len(results), 1, changed))
            results.append(result)
            if session_id not in self.sessions.table:
                return leave_rest(commands, results, skipped, base, closed=True)
            goes_on = is_transaction_at(commands, len(results))
            done = not goes_on and self.store.run(commands, results, skipped, base)
        return len(results)

    def _apply_mixed(
        self,
        slot: Slot,
        session_id: int,
        session: Session,
        commands: list[Command],
        first_seq: int,
        skipped: list[Skipped],
        base: int,
    ) -> list[Result]:
        """An entry of which some seqs may have been seen, fenced, or lie outside the window."""
        results: list[Result] = []
        sessions, is_over = self.sessions, False
        for seq, command in enumerate(commands, first_seq):
            index = seq - first_seq
            if sessions.table.get(session_id) is not session:  # closed on the way
                known: Result | None = SESSION_UNKNOWN_RESULT
            else:
                kept = session.find(seq)
                known = sessions.refuse(session, seq) or (kept and kept[1])
                if known is None and is_over:
                    known = WINDOW_RESULT
            if known is not None:
                skipped.append((base + index, 1, ()))
                results.append(known)
                continue
            one: list[Result] = []
            is_over = not self.store.run([command], one, skipped, base + index) and not (
                self._run_rest(session_id, [command], one, skipped, base + index)
            )
            if not is_over:
                session.keep_late(seq, slot, session.within_bounds(one)[0])
            results.append(one[0])
        return results

    def _apply_sessionless(self, slot: Slot, command: Command, number: int) -> Result:
        """A command in an entry of session 0: it changes no data and keeps no reply. ``number``:
        its place in the entry, counted from first_seq."""
        level = self.settings.level
        opening = opening_of(command, number, level)
        is_known = opening is not None or any(is_formed(command, op, level) for op in _CONTROL)
        if is_known and (refusal := self._guard.control_refusal(command, self.sessions.table)):
            return refusal
        if opening is not None:
            return self.sessions.open(self.log_time_ms, *opening, shared=level >= LEVEL_SHARES)
        if is_formed(command, CHECKSUM):
            self._checksum_asked = True
            return (_OK, 0, slot)
        if is_formed(command, MEMBERS, level):
            self.membership, result = change_members(self.membership, slot, command)
            return result
        if is_formed(command, CLUSTER, level):
            self.settings, result = change_settings(
                self.settings, self.membership.epoch, slot, command
            )
            return result
        if is_formed(command, RIGHTS, level):
            self.rights, result = change_rights(self.rights, slot, command)
            return result
        if is_formed(command, FENCE, level):
            _, session_id, seq = command[:3]
            if type(session_id) is int and type(seq) is int and seq > 0:
                return self.sessions.fence(slot, session_id, seq)
        return refuse_sessionless(command, self.settings)

    # ---- snapshots

    def adopt(self, other: "Machine") -> None:
        """Become ``other``, the same cluster's state at a later slot; do not use ``other`` after
        that. Changes in between are not collected, and running checksums end."""
        assert other.applied > self.applied or self.applied == 0
        self.applied = other.applied
        self.chain = other.chain
        self.trail.restart(other.chain if other.settings.level else None)
        self.clock = other.clock
        self.disposal.add(self.store.give_up())
        self.disposal.add(self.history.give_up())
        self.store = other.store
        self.queries = other.queries
        self.store.join(self.work, self.disposal)
        self.disposal.add(self.sessions.give_up())
        self.disposal.add(self.leases.give_up())
        self.leases = other.leases
        self.sessions = other.sessions
        self.sessions.join(self.disposal)
        self.membership = other.membership
        self.settings = other.settings
        self.rights = other.rights
        self._guard = other._guard
        self.history = other.history
        self.history.join(self.disposal)
        other.checksum_runs.take_results(self.checksum_runs)
        self.checksum_runs = other.checksum_runs

    def release(self, first: Slot) -> None:
        """The log begins at slot ``first`` now: forget what only earlier slots refer to."""
        self.history.release(first)
        self.sessions.former.release(first)

    def reset(self) -> None:
        """Become empty again."""
        self.applied = 0
        self.adopt(Machine(self.limits))
