"""The undo log: what it keeps, and the state and the changes of an earlier revision."""

import random

import pytest

from paxosd.core.cluster_settings import LEVEL_CLIENT_NAMES, LEVEL_COORDINATION, ClusterSettings
from paxosd.core.commands import (
    CAS_REVISION,
    CLUSTER,
    DELETE,
    DELETE_RANGE,
    OPEN,
    PUT,
    Batch,
    Entry,
    Reign,
    each_change,
)
from paxosd.core.requests import COUNT, GET, RANGE
from paxosd.core.state import undo_log
from paxosd.core.state.entries import numbers_of
from paxosd.core.state.machine import Machine
from paxosd.core.state.revision_view import RevisionAheadError
from paxosd.core.state.snapshot import Restore, SnapshotWalk
from paxosd.core.state.snapshot_head import SnapshotError
from paxosd.core.state.undo_log import RevisionGoneError
from tests.core.state.parts import page_of

SETTINGS = ClusterSettings(level=LEVEL_COORDINATION)
HOUR_MS = 3_600_000


class Log:
    """A machine at level 4 and a session, slot by slot; ``states[R]``: all keys after R."""

    def __init__(self, **settings):
        self.machine = Machine()
        self.seq = 0
        self.elapsed_ms = 0
        self.set(**settings)
        self.slot(Entry(0, 1, 0, [[OPEN]]))
        self.states = {self.machine.revision: {}}
        self.changes = []

    def slot(self, *entries):
        batch = Batch(1, list(entries), Reign(1, "n1", self.elapsed_ms))
        self.machine.apply(self.machine.applied + 1, batch)
        return batch

    def set(self, **settings):
        present = self.machine.settings
        after = SETTINGS._replace(**settings)
        command = [CLUSTER, present.version, 0, after.to_command()]
        self.slot(Entry(0, 1, 0, [command]))
        assert self.machine.settings == after._replace(version=present.version + 1)

    def run(self, *commands):
        """In one slot; the states between two commands are not known."""
        entry = Entry(1, self.seq + 1, self.seq, list(commands))
        self.seq += len(commands)
        before = self.machine.revision
        batch = self.slot(entry)
        revision = self.machine.revision
        self.states[revision] = {row.key: row for row in page_of(self.machine.store, b"", b"").rows}
        if revision != before:
            self.changes += each_change(self.machine.changes_of(self.machine.applied, batch))

    def change_keys(self, values):
        """A revision of several keys, as a TXN makes one, in a slot of its own."""
        store = self.machine.store
        revision = store.change_keys(values.items(), frozenset(), "a reason")
        # What apply does with it.
        self.machine.applied += 1
        store.undo.end_slot(self.machine.applied, revision, self.machine.log_time_ms)
        self.machine.history.record(self.machine.applied, revision, [])
        for key in sorted(values):
            self.changes.append((revision, self.machine.applied, key, values[key]))
        self.states[revision] = {row.key: row for row in page_of(store, b"", b"").rows}

    @property
    def floor(self):
        return self.machine.store.undo.floor


def read(machine, *queries):
    while not machine.prepare(list(queries)):
        pass
    return machine.query(list(queries), 1 << 30)


def rows_at(machine, revision, start=b"", end=b"", reverse=False):
    return read(machine, [RANGE, start, end, 0, reverse, False, revision])[0].rows


def check(log, revision):
    """All that can be read at a revision."""
    state = log.states[revision]
    machine = log.machine
    keys = sorted(state)
    assert rows_at(machine, revision) == [state[key] for key in keys]
    assert rows_at(machine, revision, b"b", b"d", True) == [
        state[key] for key in reversed(keys) if b"b" <= key < b"d"
    ]
    count = read(machine, [COUNT, b"b", b"", revision])[0]
    assert count == sum(key >= b"b" for key in keys)
    some = [*keys[:5], b"none"]
    assert read(machine, *([GET, key, revision] for key in some)) == [*map(state.get, some)]


def check_changes(log):
    undo = log.machine.store.undo
    if undo.records:
        kept = undo.changes(undo.floor + 1, log.machine.revision)
        assert list(each_change(kept)) == [c for c in log.changes if c[0] > undo.floor]


def restored(machine):
    """What a snapshot of it makes."""
    walk = SnapshotWalk(machine, {})
    restore = Restore(walk.head)
    restore.sessions(walk.sessions())
    while (piece := walk.history()) is not None:
        restore.history(piece)
    while not walk.done:
        restore.rows([tuple(e) if i % 2 else e for i, e in enumerate(walk.rows(50, 1 << 20))])
    walk.close()
    return restore.finish(checksum_of(machine))


def checksum_of(machine):
    machine.sum_up()
    while not machine.advance_checksum(1000):
        pass
    return machine.checksums[machine.applied]


def one_of(rng):
    key = b"%c%d" % (rng.choice(b"abcd"), rng.randrange(30))
    draw = rng.random()
    if draw < 0.6:
        return [PUT, key, b"%d" % rng.randrange(1000)]
    if draw < 0.8:
        return [DELETE, key]
    if draw < 0.9:
        return [CAS_REVISION, key, 0, b"cas"]
    return [DELETE_RANGE, key, rng.choice([b"", key + b"5", b"d"])]


@pytest.mark.parametrize("seed", range(4))
def test_every_kept_revision_reads_as_it_was(seed, monkeypatch):
    """Against a copy of the whole state after each slot; restored from a snapshot now and then."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    monkeypatch.setattr(undo_log, "BLOCK_REVISIONS", rng.choice([3, 20, 256]))
    monkeypatch.setattr("paxosd.core.state.kv.REMOVED_AT_ONCE_MAX", rng.choice([1, 16]))
    monkeypatch.setattr("paxosd.core.state.kv.REMOVED_PER_COMMAND", rng.choice([0, 2]))
    monkeypatch.setattr("paxosd.core.state.revision_view.GROUP_KEYS_MAX", rng.choice([0, 5, 1024]))
    monkeypatch.setattr("paxosd.core.state.queries.VIEW_RECORDS_MAX", rng.choice([1, 7, 20_000]))
    log = Log(
        history_revisions=rng.choice([40, 150]), history_bytes_max=rng.choice([8_000, 1 << 20])
    )
    for number in range(120):
        draw = rng.random()
        if draw < 0.1:
            living = sorted(log.states[log.machine.revision])[:4]
            log.change_keys(dict.fromkeys(living) | {b"t%d" % rng.randrange(9): b"new"})
        else:
            log.run(*(one_of(rng) for _ in range(rng.choice([1, 1, 4]))))
        if draw > 0.95:
            log.machine.store.advance_removal(rng.randrange(20))
        if draw > 0.97:
            fresh = restored(log.machine)
            assert checksum_of(fresh) == checksum_of(log.machine)
            log.machine = fresh
        # (A query of revision 0 is one of the present state.)
        kept = [revision for revision in log.states if revision >= max(1, log.floor)]
        if kept and number % 3 == 0:
            check(log, rng.choice(kept))
            check(log, kept[0])
    check_changes(log)


def test_as_many_revisions_are_kept_as_the_settings_say():
    log = Log(history_revisions=100)
    for number in range(600):
        log.run([PUT, b"k%d" % (number % 7), b"%d" % number])
        kept = log.machine.revision - log.floor
        assert min(100, number + 1) <= kept <= 100 + undo_log.BLOCK_REVISIONS
    with pytest.raises(RevisionGoneError, match=f"begins at revision {log.floor}") as caught:
        read(log.machine, [GET, b"k1", log.floor - 1])
    assert caught.value.floor == log.floor
    with pytest.raises(RevisionAheadError, match="has not come yet: the newest here is 600"):
        read(log.machine, [GET, b"k1", 601])


def test_bytes_bound_what_is_kept():
    log = Log(history_revisions=10_000, history_bytes_max=1 << 20)
    for number in range(300):
        log.run([PUT, b"k%d" % (number % 3), b"v" * 20_000])
        undo = log.machine.store.undo
        assert undo.bytes <= 1 << 20
    assert log.machine.revision - log.floor > 30
    # A single revision that takes more is not kept either.
    log.run(*([PUT, b"big%d" % number, b"v" * 20_000] for number in range(80)))
    log.run([DELETE_RANGE, b"", b""])
    assert log.floor == log.machine.revision
    assert log.machine.store.undo.bytes == 0


def test_hours_keep_what_is_younger_in_log_time():
    log = Log(history_revisions=0, history_hours=2)
    for minute in range(400):
        log.elapsed_ms = minute * 60_000
        log.run([PUT, b"k", b"%d" % minute])
        # Revision n was made in minute n - 1.
        assert log.floor <= max(0, minute - 120) + 1
    assert log.floor > 400 - 120 - undo_log.BLOCK_REVISIONS
    assert len(log.machine.store.undo.marks) <= undo_log.SPAN_MARKS + 1
    assert checksum_of(restored(log.machine)) == checksum_of(log.machine)
    log.set(history_hours=0, history_revisions=0)
    log.run([PUT, b"k", b"last"])
    assert log.floor == log.machine.revision
    assert not log.machine.store.undo.marks


def test_below_level_4_nothing_is_kept():
    log = Log()
    machine = Machine()
    machine.settings = ClusterSettings(version=1, level=LEVEL_CLIENT_NAMES)
    machine.apply(1, Batch(1, [Entry(0, 1, 0, [[OPEN]])]))
    machine.apply(2, Batch(1, [Entry(1, 1, 0, [[PUT, b"k", b"1"], [PUT, b"k", b"2"]])]))
    assert machine.store.undo.floor == machine.revision == 2
    assert log.floor == 0


def test_a_snapshot_without_history_begins_one():
    log = Log()
    log.run([PUT, b"k", b"1"])
    log.run([PUT, b"k", b"2"])
    walk = SnapshotWalk(log.machine, {})
    restore = Restore(walk.head)
    restore.sessions(walk.sessions())
    while walk.history() is not None:
        pass
    restore.rows([tuple(e) if i % 2 else e for i, e in enumerate(walk.rows(50, 1 << 20))])
    total = checksum_of(log.machine)
    machine = restore.finish()
    assert machine.store.undo.floor == 2
    assert checksum_of(machine) != total, "the history is part of what is summed up"


@pytest.mark.parametrize("which", range(1, 6))
def test_a_piece_that_is_missing_is_noticed(which):
    log = Log()
    for number in range(600):
        log.run([PUT, b"k%d" % (number % 5), b"%d" % number])
    walk = SnapshotWalk(log.machine, {})
    pieces = []
    while (piece := walk.history()) is not None:
        pieces.append(piece)
    assert len(pieces) > 6
    rows = [tuple(e) if i % 2 else e for i, e in enumerate(walk.rows(50, 1 << 20))]

    def restore(pieces):
        made = Restore(walk.head._replace(sessions=0))
        for piece in pieces:
            made.history(piece)
        made.rows(rows)
        return made.finish()

    restore(pieces)
    with pytest.raises(SnapshotError):
        restore(pieces[:which] + pieces[which + 1 :])


def test_a_walk_that_is_under_way_has_the_history_of_its_slot():
    log = Log(history_revisions=50)
    log.run(*([PUT, b"a%03d" % number, b"v"] for number in range(300)))
    log.run([DELETE_RANGE, b"a", b"b"])  # its entries are taken out later
    walk = SnapshotWalk(log.machine, {})
    total = checksum_of(log.machine)
    for number in range(400):  # so that it is forgotten
        log.run([PUT, b"b%d" % number, b"v"])
        log.machine.store.advance_removal(50)
    restore = Restore(walk.head)
    restore.sessions(walk.sessions())
    while (piece := walk.history()) is not None:
        restore.history(piece)
    restore.rows([tuple(e) if i % 2 else e for i, e in enumerate(walk.rows(500, 1 << 20))])
    machine = restore.finish(total)
    assert len(rows_at(machine, 300)) == 300
    assert rows_at(machine, 301) == []


def test_entries_after_are_shared_with_the_state():
    """So that a record costs references only, and its old entry."""
    log = Log()
    log.run([PUT, b"k", b"1"])
    log.run([PUT, b"k", b"2"])
    block = log.machine.store.undo.open
    assert block.news[1] is log.machine.store.data.packed(b"k")
    assert block.olds[1] is block.news[0]
    assert numbers_of(block.news[1]) == (1, 2, 2)
