"""A machine restored from a snapshot is the machine that it was taken of, whatever came beside."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paxosd.core.commands import CHECKSUM, DELETE, DELETE_RANGE, OPEN, PUT, Batch, Entry, Status
from paxosd.core.state import machine as machine_module
from paxosd.core.state.history import HistoryCompactedError
from paxosd.core.state.machine import DEFAULT_LIMITS, Machine
from paxosd.core.state.snapshot import Restore, SessionRow, SnapshotWalk, session_of
from paxosd.core.state.snapshot_head import SnapshotError, SnapshotHead
from tests.core.state.parts import changes, fingerprint, keys_between
from tests.core.state.test_machine import BATCHES, SMALL, make_log

ASK = Batch(0, [Entry(0, 1, 0, [[CHECKSUM]])])


def restored(walk, beside=lambda: None, keys_max=1, limits=DEFAULT_LIMITS):
    """A machine from all that the walk hands out; ``beside()`` happens between two steps."""
    sessions, rows = [], []
    while taken := walk.sessions():
        sessions.append(taken)
        beside()
    history = list(iter(walk.history, None))
    while not walk.done:
        rows.append(walk.rows(keys_max, 1 << 20))
        beside()
    walk.close()
    restore = Restore(walk.head, limits)
    for taken in sessions:
        again = [session_of((*row[:4], tuple((a, b, tuple(c)) for a, b, c in row.replies)))
                 for row in taken]  # fmt: skip
        restore.sessions(again)
    for piece in history:
        restore.history(piece)
    for taken in rows:
        restore.rows(tuple(taken))
    return restore.finish()


def check_equal(one, two):
    assert (one.applied, one.chain, one.revision) == (two.applied, two.chain, two.revision)
    assert one.log_time_ms == two.log_time_ms
    assert one.store.data == two.store.data
    assert keys_between(one.store, b"", b"") == keys_between(two.store, b"", b"")
    assert fingerprint(one.sessions) == fingerprint(two.sessions)


def finish_checksums(*machines):
    for machine in machines:
        while not machine.advance_checksum(100):
            pass


def check_checksums(one, two):
    """Both have applied ASK last."""
    check_equal(one, two)
    finish_checksums(one, two)
    assert one.checksums[one.applied] == two.checksums[one.applied]


class TestRestoredEqualsOriginal:
    @settings(deadline=None, max_examples=200)
    @given(
        st.lists(BATCHES, max_size=12),
        st.lists(BATCHES, max_size=12),
        st.integers(1, 3),
        st.integers(0, 2),
    )
    def test_with_writes_beside_the_walk(self, before, later, keys_max, folds):
        original = Machine(SMALL)
        log = make_log(before)
        for slot, batch in enumerate(log, 1):
            original.apply(slot, batch)
            original.store.advance_index(folds)
        stamp_ms = max(batch.stamp_ms for batch in log if batch is not None)
        rest = [b and b._replace(stamp_ms=stamp_ms + b.stamp_ms) for b in make_log(later)]
        rest.append(ASK)
        untouched = Machine(SMALL)
        for slot, batch in enumerate(log, 1):
            untouched.apply(slot, batch)
        pending = list(rest)

        def beside():
            if len(pending) > 1:
                original.apply(original.applied + 1, pending.pop(0))
                if folds == 2:
                    keys_between(original.store, b"a", b"c")
                original.store.advance_index(folds)

        copy = restored(SnapshotWalk(original, {}), beside, keys_max, SMALL)
        check_equal(copy, untouched)
        while pending:
            finish_checksums(original)
            original.apply(original.applied + 1, pending.pop(0))
        for batch in rest:
            finish_checksums(copy, untouched)  # a fifth run at a time would not be started
            slot = copy.applied + 1
            assert copy.apply(slot, batch) == untouched.apply(slot, batch)
        check_checksums(copy, original)

    def test_without_keeping_the_old_entries_it_would_not(self, monkeypatch):
        monkeypatch.setattr(machine_module, "preserve", lambda store, entries: None)
        machine = filled(4)
        walk = SnapshotWalk(machine, {})
        puts = [[PUT, b"k%d" % n, b"new"] for n in range(4)]
        with pytest.raises(AssertionError, match="neither visited nor deleted"):
            restored(walk, lambda: put(machine, puts))

    def test_replies_are_those_of_the_slot_even_if_acknowledged_beside(self):
        """PITFALLS Paxos 14, the machine's part: a retry after a snapshot is not applied again."""
        machine = filled(3)
        copy = restored(SnapshotWalk(machine, {}), lambda: put(machine, [], acked=3))
        retry = Batch(1, [Entry(1, 1, 0, [[PUT, b"k0", b"v"]])])
        assert copy.apply(copy.applied + 1, retry) == [[1]]
        assert copy.revision == 3

    def test_a_delete_range_beside_the_walk(self):
        machine = filled(2000)
        walk = SnapshotWalk(machine, {})
        walk.sessions()
        rows = walk.rows(700, 1 << 20)
        put(machine, [[DELETE_RANGE, b"", b""], [PUT, b"k5", b"again"]])
        while not walk.done:
            rows += walk.rows(700, 1 << 20)
        assert len(rows) == 4000
        assert dict(zip(rows[::2], rows[1::2], strict=True))[b"k5"] == (b"v", 6, 6, 1)

    def test_keys_written_more_than_once_beside_the_walk(self):
        machine = filled(5)
        walk = SnapshotWalk(machine, {})
        for value in (b"one", b"two"):
            put(machine, [[PUT, b"k%d" % n, value] for n in range(5)])
        put(machine, [[DELETE, b"k3"]])
        assert {row[0] for row in restored(walk).store.data.values()} == {b"v"}

    def test_many_sessions_and_replies_come_in_steps(self):
        machine = Machine()
        machine.apply(1, Batch(1, [Entry(0, 1, 0, [[OPEN]] * 250)]))
        walk = SnapshotWalk(machine, {})
        counts = []
        while taken := walk.sessions():
            counts.append(len(taken))
        assert counts == [100, 100, 50]


def filled(keys):
    machine = Machine()
    machine.apply(1, Batch(1, [Entry(0, 1, 0, [[OPEN]])]))
    for first in range(0, keys, 1000):
        puts = [[PUT, b"k%d" % n, b"v"] for n in range(first, min(first + 1000, keys))]
        machine.apply(machine.applied + 1, Batch(1, [Entry(1, first + 1, 0, puts)]))
    return machine


def put(machine, commands, acked=0):
    seq = machine.sessions.table[1].max_seq + 1
    machine.apply(machine.applied + 1, Batch(1, [Entry(1, seq, acked, commands)]))


class TestWalk:
    def test_a_step_is_bounded_in_keys_and_in_bytes(self):
        machine = filled(10)
        walk = SnapshotWalk(machine, {})
        assert len(walk.rows(4, 1 << 20)) == 8
        assert len(walk.rows(4, 1)) == 2
        assert not walk.done

    def test_a_closed_walk_keeps_nothing(self):
        machine = filled(10)
        walk = SnapshotWalk(machine, {})
        put(machine, [[DELETE, b"k1"]])
        walk.close()
        walk.close()
        assert machine.store.walks == []


class TestAdopt:
    def test_a_machine_becomes_the_restored_one(self):
        machine, behind = filled(50), Machine()
        behind.apply(1, Batch(1, [Entry(0, 1, 0, [[OPEN]])]))
        behind.adopt(restored(SnapshotWalk(machine, {})))
        for one in (machine, behind):
            one.apply(one.applied + 1, ASK)
        check_checksums(machine, behind)

    def test_not_an_older_one(self):
        machine = filled(5)
        copy = restored(SnapshotWalk(machine, {}))
        with pytest.raises(AssertionError):
            machine.adopt(copy)


class TestHistory:
    def test_of_what_came_before_the_snapshot_is_compacted(self):
        machine = filled(5)
        copy = restored(SnapshotWalk(machine, {}))
        put(copy, [[PUT, b"x", b"y"]])
        assert copy.history_floor_revision == 6
        assert copy.slot_of_revision(6) == 3
        with pytest.raises(HistoryCompactedError) as caught:
            changes(copy, 2, Batch(1, []))
        assert caught.value.first_revision == 6

    @settings(deadline=None, max_examples=100)
    @given(st.lists(BATCHES, max_size=15), st.data())
    def test_a_release_gives_the_memory_back_and_keeps_the_rest_true(self, steps, data):
        machine, whole = Machine(SMALL), Machine(SMALL)
        log = make_log(steps)
        for slot, batch in enumerate(log, 1):
            machine.apply(slot, batch)
            whole.apply(slot, batch)
        first = data.draw(st.integers(1, len(log) + 1))
        machine.history.release(first)
        machine.history.release(1)
        assert len(machine.history._revisions) == len(log) + 2 - first
        floor = machine.history_floor_revision
        for revision in range(floor, machine.revision + 2):
            assert machine.slot_of_revision(revision) == whole.slot_of_revision(revision)
        for slot, batch in enumerate(log, 1):
            if slot < first:
                with pytest.raises(HistoryCompactedError):
                    changes(machine, slot, batch)
            else:
                assert changes(machine, slot, batch) == changes(whole, slot, batch)


HEAD = SnapshotHead(7, 5, 100, 1, 3, 1, 1, {})
SESSION = SessionRow(2, 100, 0, 3, [(1, 6, [4, (int(Status.NOT_FOUND), 4, None)])])
ROWS = (b"k", (b"v", 2, 5, 3))


class TestWhatIsGivenIsNotTrusted:
    def restore(self, head=HEAD, sessions=(SESSION,), rows=ROWS):
        restore = Restore(head)
        restore.sessions(list(sessions))
        restore.rows(rows)
        return restore.finish()

    def test_a_good_one(self):
        machine = self.restore()
        assert machine.applied == 7
        assert machine.query([[1, b"k"]], 100)[0].version == 3

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("slot", 0),
            ("slot", True),
            ("slot", 1 << 63),
            ("revision", -1),
            ("revision", 4),
            ("keys", 6),
            ("keys", 0),
            ("keys", 2),
            ("chain", 1 << 32),
            ("log_time_ms", 99),
            ("next_session", 2),
            ("next_session", None),
            ("sessions", 0),
            ("sessions", 2),
            ("sessions", 10**6),
        ],
    )
    def test_a_head_that_cannot_be(self, field, value):
        with pytest.raises(SnapshotError):
            self.restore(HEAD._replace(**{field: value}))

    @pytest.mark.parametrize(
        "change",
        [
            {"session": 0},
            {"session": True},
            {"last_ms": -1},
            {"acked": 4},
            {"max_seq": 1},
            {"replies": [(0, 6, [4])]},
            {"replies": [(1, 0, [4])]},
            {"replies": [(1, 8, [4])]},
            {"replies": [(1, 6, [])]},
            {"replies": [(1, 6, [4, 4]), (2, 6, [4])]},
            {"replies": [(1, 6, [None])]},
            {"replies": [(1, 6, [-1])]},
            {"replies": [(1, 6, [(1, 2)])]},
            {"replies": [(1, 6, [(1, 2, b"x")])]},
            {"replies": [(1, 6, [[1, 2, None]])]},
            {"key": b"\x05" * 31},
            {"key": b"\x05" * 33},
            {"key": "5" * 32},
            {"key": None},
        ],
    )
    def test_a_session_that_cannot_be(self, change):
        with pytest.raises(SnapshotError):
            self.restore(sessions=[SESSION._replace(**change)])

    def test_a_session_with_a_key(self):
        machine = self.restore(sessions=[SESSION._replace(key=b"\x05" * 32)])
        assert machine.sessions.table[2].key == b"\x05" * 32

    def test_a_session_twice(self):
        with pytest.raises(SnapshotError, match="twice"):
            self.restore(HEAD._replace(sessions=2), [SESSION, SESSION])

    def test_sessions_out_of_order(self):
        early = SESSION._replace(session=1, last_ms=99)
        with pytest.raises(SnapshotError, match="order"):
            self.restore(HEAD._replace(sessions=2), [SESSION, early])

    @pytest.mark.parametrize(
        "rows",
        [
            (b"k",),
            ("k", (b"v", 2, 5, 3)),
            (b"k", (b"v", 2, 5)),
            (b"k", [b"v", 2, 5, 3]),
            (b"k", (None, 2, 5, 3)),
            (b"k", (b"v", 0, 5, 3)),
            (b"k", (b"v", 6, 5, 3)),
            (b"k", (b"v", 2, 6, 3)),
            (b"k", (b"v", 2, 5, 0)),
            (b"k", (b"v", 2, 5, 6)),
            (b"k", (b"v", 2, 5, 3.0)),
            ROWS + ROWS,
            (*ROWS, b"l", (b"v", 2, 5, 3)),
        ],
    )
    def test_a_row_that_cannot_be(self, rows):
        with pytest.raises(SnapshotError):
            self.restore(rows=rows)

    @pytest.mark.parametrize("fields", [5, (1, 2, 3, 4), (1, 2, 3, 4, 5), (1, 2, 3, 4, ((1, 2),))])
    def test_a_session_of_the_wrong_form(self, fields):
        with pytest.raises(SnapshotError):
            session_of(fields)
