"""A large removal is visible at once and done piece by piece: however far it is, and whatever goes
on beside it, the store answers as a plain dict does that removes all keys at once."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paxosd.core.commands import (
    CAS_REVISION,
    CAS_VALUE,
    CHECKSUM,
    DELETE,
    DELETE_RANGE,
    OPEN,
    PUT,
    Batch,
    Change,
    Entry,
    KeysChanged,
    Status,
)
from paxosd.core.state import key_index, kv, walk
from paxosd.core.state.checksum import total_with
from paxosd.core.state.history import HistoryCompactedError
from paxosd.core.state.key_index import KeyIndex, KeyRun
from paxosd.core.state.machine import Machine, MachineLimits
from paxosd.core.state.snapshot import Restore, SnapshotWalk
from paxosd.core.state.tombstones import Tombstones
from paxosd.core.state.walk import Walk, preserve
from tests.core.state.parts import changes, keys_between, new_store, page_of


@pytest.fixture(autouse=True, scope="module")
def small_pieces():
    """Every removal leaves a tombstone, and nothing is taken out unless a test says so."""
    patch = pytest.MonkeyPatch()
    patch.setattr(kv, "REMOVED_AT_ONCE_MAX", 0)
    patch.setattr(kv, "REMOVED_PER_COMMAND", 0)
    patch.setattr(kv, "INDEX_LAG_MAX", 5)
    patch.setattr(walk, "KEPT_KEYS_MAX", 3)
    patch.setattr(walk, "_LISTED_KEYS", 2)
    patch.setattr(key_index, "CHUNK_KEYS_MAX", 4)
    patch.setattr(key_index, "_CHUNK_KEYS", 2)
    yield
    patch.undo()


KEYS = st.binary(min_size=1, max_size=2).map(lambda raw: bytes(b"abcd"[b & 3] for b in raw))
BOUNDS = st.one_of(st.just(b""), KEYS)
VALUES = st.sampled_from([b"", b"1", b"2"])
COMMANDS = st.one_of(
    st.tuples(st.just(PUT), KEYS, VALUES),
    st.tuples(st.just(PUT), KEYS, VALUES),
    st.tuples(st.just(DELETE), KEYS),
    st.tuples(st.just(DELETE_RANGE), BOUNDS, BOUNDS),
    st.tuples(st.just(CAS_VALUE), KEYS, st.one_of(st.none(), VALUES), VALUES),
    st.tuples(st.just(CAS_REVISION), KEYS, st.integers(0, 9), VALUES),
).map(list)


class Plain:
    """The rules of commands.py over a dict; a removed range goes at once."""

    def __init__(self):
        self.data = {}
        self.revision = 0

    def between(self, start, end):
        return sorted(key for key in self.data if start <= key and (not end or key < end))

    def put(self, key, value):
        self.revision += 1
        _, create, _, version = self.data.get(key, (None, self.revision, 0, 0))
        self.data[key] = (value, create, self.revision, version + 1)
        return self.revision

    def do(self, command):
        op, key, *rest = command
        held = self.data.get(key)
        if op == PUT:
            return self.put(key, rest[0])
        if op == DELETE:
            if held is None:
                return (Status.NOT_FOUND, self.revision, None)
            self.revision += 1
            del self.data[key]
            return self.revision
        if op == DELETE_RANGE:
            keys = self.between(key, rest[0])
            if not keys:
                return (Status.NOT_FOUND, self.revision, None)
            self.revision += 1
            for each in keys:
                del self.data[each]
            return (Status.OK, self.revision, len(keys))
        expect = (held[0] if held else None) if op == CAS_VALUE else (held[2] if held else 0)
        if expect == rest[0]:
            return self.put(key, rest[1])
        return (Status.CAS_MISS, held[2] if held else 0, None)


class Pair:
    """The store and the plain one, and the walks that are under way with what they must give."""

    def __init__(self):
        self.store, self.plain = new_store(), Plain()
        self.walks = []

    def do(self, commands):
        if self.store.walks:
            preserve(self.store, [Entry(1, 1, 0, commands)])
        results, skipped = [], []
        assert self.store.run(commands, results, skipped, 0)
        gone = {index: list(keys) for index, _, keys in skipped}
        for index, (command, result) in enumerate(zip(commands, results, strict=True)):
            if command[0] == DELETE_RANGE:
                assert gone[index] == self.plain.between(*command[1:])
            assert result == self.plain.do(command)
        self.store.settle(len(commands))

    def begin(self):
        self.walks.append((Walk(self.store), dict(self.plain.data), {}))

    def take(self, keys_max):
        for each, _, rows in self.walks:
            taken = each.take(keys_max, 1 << 20)
            for key, entry in zip(taken[::2], taken[1::2], strict=True):
                assert key not in rows, "twice"
                rows[key] = entry

    def end(self):
        while self.walks:
            each, want, rows = self.walks[0]
            if each.done:
                assert rows == want
                each.close()
                self.walks.pop(0)
            else:
                self.take(3)

    def check(self):
        store, plain = self.store, self.plain
        assert store.revision == plain.revision
        assert len(store) == len(plain.data)
        assert keys_between(store, b"", b"") == sorted(plain.data)
        for reverse in (False, True):
            page = page_of(store, b"", b"", 0, reverse, False, 1 << 20)
            want = sorted(plain.data.items(), reverse=reverse)
            assert [(row[0], row[1:]) for row in page.rows] == want
        for key in (b"a", b"b", b"ab", b"cc", b"d"):
            held = store.get(key)
            assert (held and held[1:]) == plain.data.get(key)


class TestAgainstAPlainDict:
    @settings(deadline=None, max_examples=400)
    @given(
        st.lists(
            st.one_of(
                st.lists(COMMANDS, min_size=1, max_size=6),
                st.lists(COMMANDS, min_size=1, max_size=6),
                st.sampled_from(["walk", "remove", "take", "fold"]),
            ),
            max_size=40,
        ),
        st.integers(1, 4),
    )
    def test_every_answer_is_the_same_however_far_the_removal_is(self, steps, count):
        pair = Pair()
        for step in steps:
            if step == "walk":
                pair.begin()
            elif step == "remove":
                pair.store.advance_removal(count)
            elif step == "take":
                pair.take(count)
            elif step == "fold":
                pair.store.advance_index(count)
            else:
                pair.do(step)
            pair.check()
        pair.end()
        while pair.store.can_remove:
            pair.store.advance_removal(count)
        pair.check()
        assert pair.store.data == pair.plain.data, "nothing that is hidden stays"
        assert pair.store.hidden() is None

    def test_a_removed_key_can_be_written_removed_and_written_again_while_it_waits(self):
        pair = Pair()
        pair.do([[PUT, key, b"1"] for key in (b"a", b"b", b"c")])
        for _ in range(3):
            pair.do([[DELETE_RANGE, b"a", b"c"], [PUT, b"a", b"2"]])
            pair.check()
        assert pair.store.get(b"a").version == 1
        assert pair.store.hidden_keys == 1  # b; of a only the newest entry is there
        pair.store.advance_removal(100)
        pair.check()

    def test_a_removal_waits_for_a_walk_that_is_behind(self):
        pair = Pair()
        pair.do([[PUT, b"%d" % n, b""] for n in range(9)])
        pair.begin()
        pair.do([[DELETE_RANGE, b"", b""]])
        while pair.store.can_remove:
            pair.store.advance_removal(1)
        assert pair.store.hidden_keys == 9 - 4  # the walk keeps one more than it should
        pair.take(2)
        assert pair.store.can_remove
        pair.end()
        while pair.store.can_remove:
            pair.store.advance_removal(2)
        assert pair.store.data == {}

    def test_hidden_entries_do_not_pile_up_under_writes_alone(self, monkeypatch):
        monkeypatch.setattr(kv, "REMOVED_PER_COMMAND", 2)
        pair = Pair()
        for turn in range(50):
            pair.do([[PUT, b"%d" % n, b""] for n in range(20)])
            pair.do([[DELETE_RANGE, b"", b""]])
            assert pair.store.hidden_keys <= 40, turn
            assert len(pair.store.hidden().bounds) <= 20


def log_of(steps):
    """A log that opens a session and does each list of commands in a slot of its own."""
    log = [Batch(1, [Entry(0, 1, 0, [[OPEN]])])]
    seq = 1
    for commands in steps:
        log.append(Batch(1, [Entry(1, seq, seq - 1, commands)]))
        seq += len(commands)
    return log


class TestNodesAgree:
    @settings(deadline=None, max_examples=150)
    @given(
        st.lists(st.lists(COMMANDS, min_size=1, max_size=5), max_size=12),
        st.integers(0, 12),
        st.randoms(use_true_random=False),
    )
    def test_sums_chains_and_snapshots_are_equal_whatever_was_taken_out(self, steps, at, chance):
        log = log_of(steps)
        log.insert(min(at, len(log)), Batch(1, [Entry(0, 1, 0, [[CHECKSUM]])]))
        log.append(Batch(1, [Entry(0, 1, 0, [[CHECKSUM]])]))
        lazy, busy = Machine(), Machine()
        for slot, batch in enumerate(log, 1):
            assert lazy.apply(slot, batch) == busy.apply(slot, batch)
            assert lazy.chain == busy.chain
            assert lazy.checksum_spacing == busy.checksum_spacing
            busy.store.advance_removal(chance.randrange(5))
            busy.advance_checksum(chance.randrange(1, 4))
        assert total_with(lazy.rest_sum(), 0) == total_with(busy.rest_sum(), 0)
        snapshots = [restored(machine) for machine in (lazy, busy)]
        for machine in (lazy, busy, *snapshots):
            machine.sum_up()
            while not machine.advance_checksum(3):
                pass
        assert lazy.checksums == busy.checksums
        assert len(lazy.checksums) >= 2
        assert {machine.checksums[len(log)] for machine in snapshots} == {lazy.checksums[len(log)]}
        first, second = (machine.store for machine in snapshots)
        assert first.data == second.data == {row[0]: row[1:] for row in rows_of(lazy)}


def restored(machine):
    """What a snapshot of it brings about, taken while its removals go on."""
    snapshot = SnapshotWalk(machine, {})
    restore = Restore(snapshot.head)
    while not snapshot.done:
        sessions = snapshot.sessions()
        if sessions:
            restore.sessions(sessions)
        else:
            restore.rows(snapshot.rows(2, 1 << 20))
        machine.store.advance_removal(1)
    snapshot.close()
    return restore.finish()


def rows_of(machine):
    return page_of(machine.store, b"", b"", 0, False, False, 1 << 20).rows


class TestHistory:
    def removed(self, machine, count, limit=None):
        log = log_of(
            [[[PUT, b"k%04d" % n, b""] for n in range(count)], [[DELETE_RANGE, b"k", b"l"]]]
        )
        for slot, batch in enumerate(log, 1):
            machine.apply(slot, batch)
        return log

    def test_one_removal_larger_than_the_bound_is_kept(self):
        """It was dropped at once before: watchers ended with "compacted" half-way."""
        machine = Machine(MachineLimits(history_exceptions_max=100))
        log = self.removed(machine, 1000)
        (removed,) = machine.changes_of(3, log[2])
        assert type(removed) is KeysChanged
        assert list(removed.keys) == [b"k%04d" % n for n in range(1000)]
        assert len(changes(machine, 3, log[2])) == 1000
        assert changes(machine, 3, log[2])[7] == Change(1001, 3, b"k0007", None)

    def test_but_not_any_number_of_them(self):
        machine = Machine(MachineLimits(history_exceptions_max=100))
        log = self.removed(machine, 1000)
        for turn in range(2):
            for commands in (
                [[PUT, b"k", b""]],
                [[DELETE_RANGE, b"k", b"l"], [DELETE, b"no"]] * 50,
            ):
                slot = machine.applied + 1
                seq = machine.sessions.table[1].max_seq + 1
                machine.apply(slot, Batch(1, [Entry(1, seq, seq - 1, commands)]))
            if not turn:
                machine.changes_of(3, log[2])
        with pytest.raises(HistoryCompactedError):
            machine.changes_of(3, log[2])


class TestKeyIndex:
    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.tuples(st.sampled_from("amrc"), KEYS, BOUNDS), max_size=60), st.data())
    def test_it_is_a_sorted_list(self, steps, data):
        index, model = KeyIndex(), []
        for kind, key, end in steps:
            if kind == "a" and key not in model:
                index.add(key)
                model = sorted([*model, key])
            elif kind == "m":
                more = sorted({key, key + b"a", key + b"x"} - set(model))
                index.merge(more)
                model = sorted(model + more)
            elif kind == "r" and key in model:
                index.remove(key)
                model.remove(key)
            elif kind == "c":
                gone = [each for each in model if key <= each and (not end or each < end)]
                run = index.cut(key, end)
                assert list(run) == gone
                assert len(run) == len(gone)
                model = [each for each in model if each not in gone]
            assert len(index) == len(model)
            for reverse in (False, True):
                assert list(index.scan(b"", b"", reverse)) == (model[::-1] if reverse else model)
                between = [each for each in model if key <= each and (not end or each < end)]
                found = list(index.scan(key, end, reverse))
                assert found == (between[::-1] if reverse else between)
            assert index.after(key, 3) == [each for each in model if each > key][:3]
            assert index.after(None, 3) == model[:3]

    @given(st.sets(KEYS, max_size=20), BOUNDS, BOUNDS, st.integers(0, 20), st.integers(0, 20))
    def test_a_run_knows_positions(self, keys, start, end, first, stop):
        keys = sorted(keys)
        run = KeyRun([keys[at : at + 3] for at in range(0, len(keys), 3)])
        assert run[first:stop] == keys[first:stop]
        assert [run[position] for position in range(len(run))] == keys
        assert list(run.keys_from(min(first, len(keys)))) == keys[first:]
        begin, behind = run.span(start, end)
        assert keys[begin:behind] == [k for k in keys if start <= k and (not end or k < end)]


class TestTombstones:
    @given(st.lists(st.tuples(BOUNDS, BOUNDS), max_size=12), st.integers(0, 12), KEYS)
    def test_the_youngest_range_over_a_key_counts(self, ranges, forgotten, key):
        tombs, model = Tombstones(), []
        for revision, (start, end) in enumerate(ranges, 1):
            if end and end <= start:
                continue
            tombs.add(start, end, revision)
            model.append((start, end, revision))
        for each in (key, key + b"a", b"", b"zz"):
            want = max((r for s, e, r in model if s <= each and (not e or each < e)), default=0)
            assert tombs.revision_at(each) == want
            copy = tombs.copy()
            copy.forget(forgotten)
            assert copy.revision_at(each) == (want if want > forgotten else 0)
        assert tombs.bounds == sorted(set(tombs.bounds))


def test_the_seeded_long_run():
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    pair = Pair()
    for _ in range(400):
        kind = chance.random()
        key = b"%02d" % chance.randrange(60)
        if kind < 0.55:
            pair.do([[PUT, b"%02d" % chance.randrange(60), b"v"] for _ in range(5)])
        elif kind < 0.65:
            pair.do([[DELETE, key]])
        elif kind < 0.75:
            pair.do([[DELETE_RANGE, key, b"%02d" % chance.randrange(60)], [PUT, key, b"new"]])
        elif kind < 0.8 and len(pair.walks) < 3:
            pair.begin()
        elif kind < 0.9:
            pair.take(chance.randrange(8))
        else:
            pair.store.advance_removal(chance.randrange(10))
        pair.check()
    pair.end()
