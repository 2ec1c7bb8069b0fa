"""The replicated state machine: a deterministic function of the decided log.

    chosen batches in slot order ──► apply ──► results, one list per entry
                                       │
              Store (kv.py) · Sessions (sessions.py) · Checksums (checksum.py) · History

Rules:

- Slots are applied one after the other without gaps. The same log gives the same results, chain,
  checksums and sessions on every node: no clock, no randomness, no limits of one node alone (the
  session limits are replicated settings). What a decided batch may contain is not trusted: every
  node answers a malformed command with MALFORMED.
- Sessions expire by log time (``log_clock.py``), before the batch is applied.
- OPEN, FENCE, CHECKSUM, MEMBERS and CLUSTER are for entries of session 0, everything else needs a
  session; in the wrong place the former are MALFORMED, the latter SESSION_UNKNOWN.
- What CLUSTER changes governs the next slot, not the rest of its own.
- A CHECKSUM is of the state at the end of its slot.
- The log is the history: of an applied slot only its last revision is kept (8 bytes), plus what
  its batch alone does not tell, i.e. which commands did not take effect (:class:`History`).
- Result lists are kept as cached replies: whoever gets them must not change them.
"""

import struct
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from typing import Any, NamedTuple
from zlib import crc32

from paxosd.core.cluster_settings import LEVEL_NAMED_OPEN, ClusterSettings, SettingsError
from paxosd.core.commands import (
    CAS_REVISION,
    CAS_VALUE,
    CHECKSUM,
    CLOSE,
    CLUSTER,
    DELETE,
    FENCE,
    MEMBERS,
    OPEN,
    OPENED_BY_MIN,
    PUT,
    Batch,
    Change,
    Command,
    Entry,
    RangeRemoved,
    Result,
    Status,
    changes_settings,
    each_change,
)
from paxosd.core.disposal import Disposal
from paxosd.core.membership import UNKNOWN, Membership, MembershipError
from paxosd.core.requests import GET, RANGE, RangePage
from paxosd.core.state.checksum import Checksums, RestSum, shown, sum_of
from paxosd.core.state.key_index import KeyRun
from paxosd.core.state.kv import MALFORMED_RESULT, PAGE_ROWS_MAX, ROW_OVERHEAD_BYTES, Skipped, Store
from paxosd.core.state.log_clock import LogClock
from paxosd.core.state.sessions import SESSION_UNKNOWN_RESULT, Session, SessionLimits, Sessions
from paxosd.core.state.walk import preserve
from paxosd.core.types import Slot

_OK = int(Status.OK)
_SUMMARY = struct.Struct("<QQQQ")
_ARITY = {OPEN: 1, CLOSE: 1, CHECKSUM: 1, FENCE: 3, MEMBERS: 3, CLUSTER: 4}
_STORE_OPS = frozenset(range(PUT, CAS_REVISION + 1))

CHAIN_VERSION = 2
"""Of the chain at feature level 1 and above. Version 1, below it, holds no values."""
MARK_SLOTS = 64
"""A power of two: at every slot that it divides the nodes compare their chains."""
TRAIL_SLOTS = 256 * MARK_SLOTS
"""The chain after each of the last so many slots, at least, is kept, to be compared."""
CHECKSUM_SLOTS = 4096
"""At feature level 1 the state is summed up at the slots that this number divides, and a share of
the number of keys and sessions, rounded up to powers of two …"""
CHECKSUM_ROWS_SHIFT = 2
"""… namely a fourth: so four rows are hashed for each slot at most, some 6 us."""


class MachineLimits(NamedTuple):
    """``sessions``: as long as the log has no settings; the same on every node of a cluster."""

    sessions: SessionLimits = SessionLimits()
    history_exceptions_max: int = 200_000
    """How much History keeps that the log does not tell. Local: nodes may differ."""


DEFAULT_LIMITS = MachineLimits()


class HistoryCompactedError(LookupError):
    """The changes of a slot can no longer be told from its batch; see ``first_revision``."""

    def __init__(self, slot: Slot, first_revision: int) -> None:
        super().__init__(
            f"the changes of slot {slot} are compacted; the oldest revision still there is "
            f"{first_revision}: read the current state, then watch from its revision on"
        )
        self.first_revision = first_revision


class ReadTooLargeError(ValueError):
    """The values that one read asked for exceed what one answer may hold."""


class History:
    """What is needed to tell an applied slot's changes from its batch.

    ``floor_revision``: every change with this revision or above can be told. ``base``: of
    slots up to this one nothing is kept; the store was at ``base_revision`` after it.
    """

    __slots__ = ("_cost", "_cost_max", "_exceptions", "_revisions", "base", "disposal",
                 "floor_revision")  # fmt: skip

    def __init__(self, exceptions_max: int, base: Slot = 0, base_revision: int = 0) -> None:
        self.base = base
        self._revisions = array("Q", [base_revision])  # by slot - base: the store's after it
        self._exceptions: dict[Slot, tuple[list[Skipped], int]] = {}  # with their cost
        self._cost = 0
        self._cost_max = exceptions_max
        self.disposal = Disposal()
        self.floor_revision = base_revision + 1

    def record(self, slot: Slot, revision: int, skipped: list[Skipped]) -> None:
        """Slot ``slot``, the next one, brought the store to ``revision``."""
        revisions = self._revisions
        if skipped and revision != revisions[-1]:  # a slot without changes needs no exceptions
            # However large a removal is, it is not forgotten before another one came.
            keys_cost = sum(len(keys) for _, _, keys in skipped)
            cost = min(len(skipped) + keys_cost, self._cost_max // 2 or 1)
            self._exceptions[slot] = (skipped, cost)
            self._cost += cost
        revisions.append(revision)
        while self._cost > self._cost_max:
            oldest = next(iter(self._exceptions))
            self._drop(oldest)
            self.floor_revision = revisions[oldest - self.base] + 1

    def release(self, first: Slot) -> None:
        """The log begins at slot ``first`` now (at most the next one to come): give back what
        is kept of earlier ones. Their changes are compacted."""
        count = first - 1 - self.base
        if count <= 0:
            return
        assert count < len(self._revisions)
        self.base = first - 1
        del self._revisions[:count]
        self.floor_revision = max(self.floor_revision, self._revisions[0] + 1)
        for slot in [slot for slot in self._exceptions if slot < first]:
            self._drop(slot)

    def _drop(self, slot: Slot) -> None:
        skipped, cost = self._exceptions.pop(slot)
        self._cost -= cost
        for _, _, keys in skipped:
            if isinstance(keys, KeyRun):
                self.disposal.add(keys.chunks)

    def give_up(self) -> list[Any]:
        """All that is large in it, to be freed little by little; it must not be used any more."""
        runs = [keys for skipped, _ in self._exceptions.values() for _, _, keys in skipped]
        return [chunk for keys in runs if isinstance(keys, KeyRun) for chunk in keys.chunks]

    def slot_of_revision(self, revision: int) -> Slot:
        """The slot that made ``revision`` (one from the floor on); the next slot to come for
        one above the newest."""
        return self.base + bisect_left(self._revisions, max(revision, self._revisions[0] + 1))

    def changes(self, slot: Slot, batch: Batch | None) -> list[Change | RangeRemoved]:
        """As :meth:`Machine.changes_of`."""
        if slot <= self.base:
            raise HistoryCompactedError(slot, self.floor_revision)
        before, after = self._revisions[slot - 1 - self.base], self._revisions[slot - self.base]
        if batch is None or before == after:
            return []
        if after < self.floor_revision:
            raise HistoryCompactedError(slot, self.floor_revision)
        skipped, _ = self._exceptions.get(slot, ((), 0))
        changes = derive_changes(slot, batch, before, skipped)
        assert changes[-1].revision == after  # else it is not the batch of this slot
        return changes


def derive_changes(
    slot: Slot, batch: Batch, revision: int, skipped: list[Skipped] | tuple[()]
) -> list[Change | RangeRemoved]:
    """The changes that ``batch`` made on top of ``revision``, given which commands it skipped."""
    exceptions = {index + offset: keys for index, count, keys in skipped for offset in range(count)}
    changes: list[Change | RangeRemoved] = []
    for index, command in _session_commands(batch):
        if index in exceptions:
            keys = exceptions[index]
            if keys:
                revision += 1
                changes.append(RangeRemoved(revision, slot, keys))
            continue
        revision += 1
        op = command[0]
        if op == PUT:
            value = command[2]
        else:
            assert op in (DELETE, CAS_VALUE, CAS_REVISION)
            value = None if op == DELETE else command[3]
        changes.append(Change(revision, slot, command[1], value))
    return changes


def _session_commands(batch: Batch) -> Iterator[tuple[int, Command]]:
    """Each command that may change data, with its flat position in the batch."""
    base = 0
    for entry in batch.entries:
        if type(entry.commands) is not list:
            continue
        if entry.session != 0:
            yield from enumerate(entry.commands, base)
        base += len(entry.commands)


class Machine:
    """The state after slot ``applied``.

    ``chain`` is a running crc32 over every slot's effects, and at feature level 1 over what the log
    holds for it, too: equal logs have equal chains, so two nodes that differ at one slot have
    diverged at or before it. :meth:`chain_at` knows the last ones of level 1. While
    ``collect_changes`` is set, ``apply`` appends to ``recent_changes``; the shell empties it.
    Cleared ``checksums_enabled`` (during replay) lets CHECKSUM commands start no computation.
    """

    __slots__ = (
        "_checksum_asked",
        "_trail",
        "applied",
        "at_sum",
        "chain",
        "checksum_runs",
        "checksum_slots",
        "checksums_enabled",
        "clock",
        "collect_changes",
        "disposal",
        "history",
        "limits",
        "membership",
        "recent_changes",
        "sessions",
        "settings",
        "store",
        "work",
    )

    def __init__(self, limits: MachineLimits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self.applied: Slot = 0
        self.clock = LogClock()
        self.chain = 0
        self._trail = array("I")
        """The chain after each of the last slots, up to ``applied``."""
        self.store = Store()
        self.sessions = Sessions(limits.sessions)
        self.membership = UNKNOWN
        """As the log has it; unknown at epoch 0, which the configuration tells."""
        self.settings = ClusterSettings()._replace(**limits.sessions._asdict())
        """As the log has them after ``applied``; of version 0 if it holds none."""
        self.disposal = Disposal()
        """What was replaced, or forgotten, and is to be freed little by little."""
        self.history = History(limits.history_exceptions_max)
        self.history.disposal = self.sessions.disposal = self.store.disposal = self.disposal
        self.work = self.store.work
        """What was done here; see work.py."""
        self.checksum_runs = Checksums(self.store)
        self.checksums_enabled = True
        self.checksum_slots = CHECKSUM_SLOTS
        self.at_sum: Callable[[], object] | None = None
        """Called, once, at the end of the next slot after which all nodes sum up their states: a
        snapshot of that slot can be compared with what the others have."""
        self.collect_changes = False
        self.recent_changes: list[Change | RangeRemoved] = []
        self._checksum_asked = False

    # ---- the log

    def apply(self, slot: Slot, batch: Batch | None, value: bytes = b"") -> list[list[Result]]:
        """Apply the next slot (None: a NOOP); returns one list of results per entry. ``value``:
        its bytes in the log, for the chain; whoever compares chains has to give them.

        Raises UnknownLevelError, and then nothing of the slot was applied."""
        assert slot == self.applied + 1
        if batch is not None:
            self._check_level(batch)
        self.applied = slot
        store = self.store
        if batch is None:
            self.chain = crc32(b"noop", self.chain)
            if self.settings.level:
                self._chain_value(slot, value)
                if self._checksum_asked:
                    self._start_checksum(slot)
            self.history.record(slot, store.revision, [])
            return []
        self.clock.advance(batch, self.settings.level)
        now_ms = self.clock.now_ms
        sessions = self.sessions
        sessions.expire(now_ms)
        if store.walks:
            preserve(store, batch.entries)
        before = store.revision
        window_max = sessions.limits.session_window_max
        skipped: list[Skipped] = []
        answers: list[list[Result]] = []
        base = 0
        odd = False
        for entry in batch.entries:
            session_id, first_seq, acked, commands = entry
            if not (
                type(commands) is list
                and type(first_seq) is int
                and type(acked) is int
                and type(session_id) is int
                and first_seq > 0
            ):
                results = _refuse_all(MALFORMED_RESULT, entry, base, skipped)
            elif session_id == 0:
                odd = True
                results = [
                    self._apply_sessionless(slot, command, first_seq + index)
                    for index, command in enumerate(commands)
                ]
            else:
                session = sessions.use(session_id, acked, now_ms)
                if session is None:
                    results = _refuse_all(SESSION_UNKNOWN_RESULT, entry, base, skipped)
                elif (
                    first_seq > session.max_seq
                    and first_seq + len(commands) - session.acked <= window_max + 1
                ):
                    # The usual case: nothing of it was seen before.
                    results = []
                    if not store.run(commands, results, skipped, base):
                        self._run_rest(session_id, commands, results, skipped, base)
                    if results:
                        session.keep(first_seq, slot, results)
                else:
                    results = self._apply_mixed(slot, session, entry, skipped, base)
            answers.append(results)
            base += len(results)
        self._finish_slot(slot, batch, before, answers, skipped, odd)
        if self.settings.level:
            self._chain_value(slot, value)
        if self._checksum_asked:
            self._start_checksum(slot)
        return answers

    @property
    def checksum_spacing(self) -> int:
        """At the slots that it divides all nodes sum up their states, at feature level 1."""
        rows = len(self.store) + len(self.sessions.table)
        share = 1 << rows.bit_length() >> CHECKSUM_ROWS_SHIFT
        return max(self.checksum_slots, share)

    def _chain_value(self, slot: Slot, value: bytes) -> None:
        """What the log holds is part of the chain: another value is noticed even where revisions
        and results are the same."""
        self.chain = crc32(value, self.chain)
        self._trail.append(self.chain)
        if not slot & (MARK_SLOTS - 1):
            if len(self._trail) >= 2 * TRAIL_SLOTS:
                del self._trail[:-TRAIL_SLOTS]
            if not slot % self.checksum_spacing:
                self._checksum_asked = True

    def _finish_slot(
        self,
        slot: Slot,
        batch: Batch,
        before: int,
        answers: list[list[Result]],
        skipped: list[Skipped],
        odd: bool,
    ) -> None:
        commands = sum(map(len, answers))
        self.work.units += commands
        self.store.settle(commands)
        settings = self.settings
        revision = self.store.revision
        summary = _SUMMARY.pack(slot, revision, self.log_time_ms, len(self.sessions.table))
        self.chain = crc32(summary, self.chain)
        if odd:
            limits = SessionLimits.of(settings)
            if limits != self.sessions.limits:
                self.sessions.limit(limits)
            self.chain = crc32(self.membership.to_json() + settings.to_json(), self.chain)
        if skipped or odd:
            told = [answer for results in answers for answer in results if type(answer) is not int]
            self.chain = crc32(repr(told).encode(), self.chain)
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
        """What there is now besides the keys, for a checksum, in pieces."""
        last = repr(tuple(self.clock.reign)).encode() if self.settings.level else b""
        first = b"%d %d " % (self.log_time_ms, self.chain)
        return chain((first,), self.sessions.fingerprint_pieces(), (last,))

    def sum_up(self) -> None:
        """Begin a checksum of the state as it is now, if none of this slot was begun."""
        slot = self.applied
        if slot not in self.checksums and not self.checksum_pending(slot):
            self.checksum_runs.start(slot, self._rest)

    def rest_sum(self) -> RestSum:
        """What the checksum of the present state begins with, to be worked out step by step."""
        store = self.store
        return RestSum(self.applied, store.revision, len(store), self._rest())

    def sum_with(self, rows_sum: int) -> str:
        """The checksum of the present state, whose rows come to ``rows_sum``."""
        return sum_with(self.rest_sum(), rows_sum)

    def _run_rest(
        self,
        session_id: int,
        commands: list[Command],
        results: list[Result],
        skipped: list[Skipped],
        base: int,
    ) -> None:
        """Go on where the store met a command that is not its own."""
        done = False
        while not done:
            result = MALFORMED_RESULT
            if _is_formed(commands[len(results)], CLOSE):
                result = self.sessions.close(session_id)
            skipped.append((base + len(results), 1, ()))
            results.append(result)
            if session_id not in self.sessions.table:
                left = len(commands) - len(results)
                if left:
                    skipped.append((base + len(results), left, ()))
                    results.extend([SESSION_UNKNOWN_RESULT] * left)
                return
            done = self.store.run(commands, results, skipped, base)

    def _apply_mixed(
        self, slot: Slot, session: Session, entry: Entry, skipped: list[Skipped], base: int
    ) -> list[Result]:
        """An entry of which some seqs may have been seen, fenced, or lie outside the window."""
        results: list[Result] = []
        sessions = self.sessions
        for index, command in enumerate(entry.commands):
            seq = entry.first_seq + index
            if sessions.table.get(entry.session) is not session:  # closed on the way
                known: Result | None = SESSION_UNKNOWN_RESULT
            else:
                known = sessions.refuse(session, seq)
                if known is None:
                    kept = session.find(seq)
                    known = kept[1] if kept is not None else None
            if known is not None:
                skipped.append((base + index, 1, ()))
                results.append(known)
                continue
            one: list[Result] = []
            if not self.store.run([command], one, skipped, base + index):
                self._run_rest(entry.session, [command], one, skipped, base + index)
            session.keep_late(seq, slot, one[0])
            results.append(one[0])
        return results

    def _apply_sessionless(self, slot: Slot, command: Command, number: int) -> Result:
        """A command in an entry of session 0: it changes no data and keeps no reply. ``number``:
        its place in the entry, counted from first_seq."""
        if _is_formed(command, OPEN):
            named = self.settings.level >= LEVEL_NAMED_OPEN and number >= OPENED_BY_MIN
            return self.sessions.open(self.log_time_ms, number if named else 0)
        if _is_formed(command, CHECKSUM):
            self._checksum_asked = True
            return (_OK, 0, slot)
        if _is_formed(command, MEMBERS):
            return self._change_members(slot, *command[1:])
        if _is_formed(command, CLUSTER):
            return self._change_settings(slot, *command[1:])
        if _is_formed(command, FENCE):
            _, session_id, seq = command
            if type(session_id) is int and type(seq) is int and seq > 0:
                return self.sessions.fence(slot, session_id, seq)
            return MALFORMED_RESULT
        if type(command) in (list, tuple) and command and type(command[0]) is int:
            op = command[0]
            if op in _STORE_OPS or _is_formed(command, CLOSE):
                return SESSION_UNKNOWN_RESULT
        return MALFORMED_RESULT

    def _change_members(self, slot: Slot, epoch: Any, document: Any) -> Result:
        """The next membership, if ``epoch`` is the present one."""
        present = self.membership.epoch
        if type(epoch) is not int or epoch != present:
            return (int(Status.CAS_MISS), present, None)
        try:
            self.membership = Membership.from_command(document, present + 1, slot + 1)
        except MembershipError:
            return MALFORMED_RESULT
        return (_OK, present + 1, slot + 1)

    def _change_settings(self, slot: Slot, version: Any, epoch: Any, document: Any) -> Result:
        """The next settings, if ``version`` and ``epoch`` are the present ones."""
        if not self._is_due(version, epoch):
            return (int(Status.CAS_MISS), self.settings.version, self.membership.epoch)
        try:
            self.settings = self.settings.follow(document)
        except SettingsError:
            return MALFORMED_RESULT
        return (_OK, self.settings.version, slot + 1)

    def _check_level(self, batch: Batch) -> None:
        """Raises UnknownLevelError if this batch may raise the feature level too high: looked for
        before anything of it is applied, and rather once too often than guessed."""
        for entry in batch.entries:
            if entry.session != 0 or not changes_settings(entry):
                continue
            for command in entry.commands:
                if not _is_formed(command, CLUSTER):
                    continue
                _, version, epoch, document = command
                later = type(version) is int and version > self.settings.version
                if later or self._is_due(version, epoch):
                    with suppress(SettingsError):
                        self.settings.follow(document)

    def _is_due(self, version: Any, epoch: Any) -> bool:
        """Whether a change of the settings follows the present ones."""
        return (
            type(version) is int
            and version == self.settings.version
            and type(epoch) is int
            and epoch == self.membership.epoch
        )

    # ---- snapshots

    def adopt(self, other: "Machine") -> None:
        """Become ``other``, the same cluster's state at a later slot; ``other`` must not be
        used any more. Changes in between are not collected, and running checksums end."""
        assert other.applied > self.applied or self.applied == 0
        self.applied = other.applied
        self.chain = other.chain
        self._trail = array("I", [other.chain] if other.settings.level else [])
        self.clock = other.clock
        self.disposal.add(self.store.give_up())
        self.disposal.add(self.history.give_up())
        self.store = other.store
        self.store.work = self.work
        self.store.disposal = self.disposal
        self.disposal.add(self.sessions.give_up())
        self.sessions = other.sessions
        self.sessions.disposal = self.disposal
        self.membership = other.membership
        self.settings = other.settings
        self.history = other.history
        self.history.disposal = self.disposal
        finished = self.checksum_runs.finished
        self.checksum_runs = other.checksum_runs
        self.checksum_runs.finished = finished

    def reset(self) -> None:
        """Be empty again."""
        self.applied = 0
        self.adopt(Machine(self.limits))

    # ---- reads

    @property
    def log_time_ms(self) -> int:
        """What sessions go by; see log_clock.py."""
        return self.clock.now_ms

    @property
    def revision(self) -> int:
        """The store's revision."""
        return self.store.revision

    def query(self, queries: list[list[Any]], bytes_max: int) -> list[Any]:
        """The answers to ``ReadRequest.queries``, of about ``bytes_max`` together.

        ``KeyValue | None`` per GET, ``RangePage`` per RANGE. The first RANGE gives at least one
        row if there is one; a later one for which no room is left gives an empty page whose
        ``more`` is where it would start. Raises ReadTooLargeError if the values of several GETs
        exceed ``bytes_max``, and ValueError for an unknown query.
        """
        answers: list[Any] = [None] * len(queries)
        left_bytes = bytes_max
        for place, query in enumerate(queries):
            if query[0] == GET:
                answers[place] = found = self.store.get(query[1])
                if found is not None:
                    left_bytes -= len(found.value)
            elif query[0] != RANGE:
                raise ValueError(f"unknown query {query[0]!r}: GET is {GET}, RANGE is {RANGE}")
        if left_bytes < 0 and len(queries) > 1:
            raise ReadTooLargeError(
                f"the values asked for exceed {bytes_max} bytes (limits.read_bytes_max): "
                "ask for fewer keys in one request"
            )
        paged = False
        left_rows = PAGE_ROWS_MAX
        for place, query in enumerate(queries):
            if query[0] == RANGE:
                _, start, end, limit, reverse, keys_only = query
                if paged and (left_bytes <= 0 or left_rows <= 0):
                    answers[place] = RangePage([], end if reverse else start)
                    continue
                page = self.store.range(start, end, limit, reverse, keys_only, left_bytes)
                answers[place] = page
                left_bytes -= sum(len(r.key) + len(r.value) + ROW_OVERHEAD_BYTES for r in page.rows)
                left_rows -= len(page.rows)
                paged = True
        return answers

    # ---- history

    @property
    def history_floor_revision(self) -> int:
        """The oldest revision whose changes can be told; older ones are compacted."""
        return self.history.floor_revision

    def slot_of_revision(self, revision: int) -> Slot:
        """The slot that made ``revision``; ``applied + 1`` for one that is still to come."""
        return self.history.slot_of_revision(revision)

    def changes(self, slot: Slot, batch: Batch | None) -> list[Change]:
        """The changes that the applied slot ``slot`` made, told from its ``batch``.

        In order; a DELETE_RANGE gives several of one revision. Raises HistoryCompactedError.
        """
        return list(each_change(self.changes_of(slot, batch)))

    def changes_of(self, slot: Slot, batch: Batch | None) -> list[Change | RangeRemoved]:
        """The same, with what a DELETE_RANGE removed in one."""
        assert 1 <= slot <= self.applied
        return self.history.changes(slot, batch)

    # ---- checksums

    def chain_at(self, slot: Slot) -> int | None:
        """The chain after ``slot``; None if it is not known any more, or not yet, or was of
        feature level 0."""
        age = self.applied - slot
        return self._trail[-1 - age] if 0 <= age < len(self._trail) else None

    @property
    def checksums(self) -> dict[Slot, str]:
        """Slot → checksum in hex, the last few."""
        return self.checksum_runs.finished

    def checksum_pending(self, slot: Slot) -> bool:
        """Whether :meth:`advance_checksum` is working towards the checksum of ``slot``."""
        return self.checksum_runs.is_pending(slot)

    def checksum_left(self, slot: Slot) -> int:
        """How many keys have yet to be visited until the checksum of ``slot`` is there."""
        return self.checksum_runs.left(slot)

    def advance_checksum(self, keys_max: int) -> bool:
        """Go about ``keys_max`` keys (some µs each) on with checksums; True if all are done."""
        return self.checksum_runs.advance(keys_max)


def sum_with(rest: RestSum, rows_sum: int) -> str:
    """The checksum of a state: of what there is besides the keys, done as far as it may be, and of
    rows that come to ``rows_sum``."""
    while not rest.step():
        pass
    assert rest.value is not None
    return shown(sum_of(rest.value + rows_sum, ()))


def _is_formed(command: Command, op: int) -> bool:
    """Whether it is a command ``op`` of the right length; for the ops of ``_ARITY``."""
    return (
        type(command) in (list, tuple)
        and len(command) == _ARITY[op]
        and type(command[0]) is int
        and command[0] == op
    )


def _refuse_all(result: Result, entry: Entry, base: int, skipped: list[Skipped]) -> list[Result]:
    """The same negative result for every command of an entry."""
    count = len(entry.commands) if type(entry.commands) is list else 0
    if count:
        skipped.append((base, count, ()))
    return [result] * count
