"""The state machine against a naive model: one dict of data, one of replies, command by command."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paxosd.core.cluster_settings import ClusterSettings
from paxosd.core.commands import (
    CAS_REVISION,
    CAS_VALUE,
    CHECKSUM,
    CLOSE,
    DELETE,
    DELETE_RANGE,
    FENCE,
    OPEN,
    PUT,
    Batch,
    Change,
    Entry,
    KeyValue,
    Status,
    each_change,
)
from paxosd.core.requests import GET, NEWEST, RANGE, RangePage
from paxosd.core.state import queries
from paxosd.core.state.chain import MARK_SLOTS, TRAIL_SLOTS
from paxosd.core.state.history import HistoryCompactedError
from paxosd.core.state.machine import Machine, MachineLimits
from paxosd.core.state.queries import ReadTooLargeError
from paxosd.core.state.sessions import SessionLimits
from paxosd.core.work import UNIT_BYTES
from tests.core.state.parts import changes, fingerprint

WINDOW = 12
TTL_MS = 50
SESSIONS_MAX = 3
IDLE_MS = 20
SMALL = MachineLimits(SessionLimits(SESSIONS_MAX, TTL_MS, IDLE_MS, WINDOW))


class Model:
    """The rules of commands.py, spelt out without any thought of speed."""

    def __init__(self):
        self.data = {}  # key: (value, create, modify, version)
        self.revision = 0
        self.now_ms = 0
        self.sessions = {}  # id: {"used": ms, "acked": n, "replies": {seq: (slot, result)}}
        self.order = []  # ids by last use
        self.next_id = 1
        self.changes = []

    def apply(self, slot, batch, value=b""):
        if batch is None:
            return []
        self.now_ms = max(self.now_ms, batch.stamp_ms)
        for sid in [s for s, v in self.sessions.items() if self.now_ms - v["used"] > TTL_MS]:
            self.drop(sid)
        return [self.entry(slot, entry) for entry in batch.entries]

    def drop(self, sid):
        del self.sessions[sid]
        self.order.remove(sid)

    def entry(self, slot, entry):
        session = self.sessions.get(entry.session)
        if session is not None:
            if session["used"] != self.now_ms:
                self.order.remove(entry.session)
                self.order.append(entry.session)
            session["used"] = self.now_ms
            session["acked"] = max(session["acked"], entry.acked)
        results = []
        for seq, command in enumerate(entry.commands, entry.first_seq):
            if entry.session == 0:
                results.append(self.sessionless(slot, command))
            elif entry.session not in self.sessions:
                results.append((Status.SESSION_UNKNOWN, 0, None))
            else:
                results.append(self.once(slot, entry.session, session, seq, command))
        return results

    def once(self, slot, sid, session, seq, command):
        if seq <= session["acked"]:
            return (Status.FORGOTTEN, 0, None)
        if seq > session["acked"] + WINDOW:
            return (Status.WINDOW, 0, None)
        if seq not in session["replies"]:
            session["replies"][seq] = (slot, self.command(slot, sid, command))
        return session["replies"][seq][1]

    def sessionless(self, slot, command):
        if command == [OPEN]:
            if len(self.sessions) >= SESSIONS_MAX:
                oldest = self.order[0]
                if self.now_ms - self.sessions[oldest]["used"] < IDLE_MS:
                    return (Status.SESSIONS_FULL, 0, None)
                self.drop(oldest)
            sid = self.next_id
            self.next_id += 1
            self.sessions[sid] = {"used": self.now_ms, "acked": 0, "replies": {}}
            self.order.append(sid)
            return (Status.OK, 0, sid)
        if command == [CHECKSUM]:
            return (Status.OK, 0, slot)
        if command[0] != FENCE:
            bad = command[0] in (OPEN, 77)
            return (Status.MALFORMED if bad else Status.SESSION_UNKNOWN, 0, None)
        _, sid, seq = command
        session = self.sessions.get(sid)
        if session is None:
            return (Status.SESSION_UNKNOWN, 0, None)
        if seq <= session["acked"]:
            return (Status.FORGOTTEN, 0, None)
        if seq > session["acked"] + WINDOW:
            return (Status.WINDOW, 0, None)
        fenced = (Status.FENCED, 0, None)
        kept = session["replies"].setdefault(seq, (slot, fenced))
        return fenced if kept[1] == fenced else (Status.COMMITTED, 0, kept)

    def command(self, slot, sid, command):
        op = command[0]
        if op == CLOSE:
            self.drop(sid)
            return (Status.OK, 0, None)
        if op in (OPEN, FENCE, CHECKSUM, 77) or type(command[1]) is not bytes:
            return (Status.MALFORMED, 0, None)
        if op == DELETE_RANGE:
            start, end = command[1:]
            keys = [k for k in sorted(self.data) if start <= k and (k < end or not end)]
            if not keys:
                return (Status.NOT_FOUND, self.revision, None)
            self.revision += 1
            for key in keys:
                self.set(slot, key, None)
            return (Status.OK, self.revision, len(keys))
        key = command[1]
        value, _, modify, _ = self.data.get(key, (None, 0, 0, 0))
        if op == DELETE and value is None:
            return (Status.NOT_FOUND, self.revision, None)
        if op == CAS_VALUE and value != command[2]:
            return (Status.CAS_MISS, modify, None)
        if op == CAS_REVISION and modify != command[2]:
            return (Status.CAS_MISS, modify, None)
        self.revision += 1
        self.set(slot, key, None if op == DELETE else command[-1])
        return self.revision

    def set(self, slot, key, value):
        self.changes.append(Change(self.revision, slot, key, value))
        if value is None:
            del self.data[key]
        else:
            _, create, _, version = self.data.get(key, (b"", self.revision, 0, 0))
            self.data[key] = (value, create, self.revision, version + 1)


KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])
VALUES = st.sampled_from([b"", b"1", b"2"])
SEQS = st.integers(1, 30)
COMMANDS = st.one_of(
    st.tuples(st.just(PUT), KEYS, VALUES).map(list),
    st.tuples(st.just(PUT), KEYS, VALUES).map(list),
    st.tuples(st.just(DELETE), KEYS).map(list),
    st.tuples(st.just(DELETE_RANGE), KEYS, KEYS | st.just(b"")).map(list),
    st.tuples(st.just(CAS_VALUE), KEYS, st.none() | VALUES, VALUES).map(list),
    st.tuples(st.just(CAS_REVISION), KEYS, st.integers(0, 6), VALUES).map(list),
    st.sampled_from([[CLOSE], [OPEN], [77], [PUT, 5, b""], [FENCE, 1, 1]]),
)
SESSIONLESS = st.one_of(
    st.just([OPEN]),
    st.tuples(st.just(FENCE), st.integers(1, 5), SEQS).map(list),
    st.sampled_from([[CHECKSUM], [CLOSE], [77], [OPEN, 1], [DELETE, b"a"]]),
)
ENTRIES = st.one_of(
    st.builds(
        Entry,
        st.integers(1, 5),
        SEQS,
        st.integers(0, 20),
        st.lists(COMMANDS, max_size=6),
    ),
    st.builds(Entry, st.integers(1, 2), SEQS, st.just(0), st.lists(COMMANDS, max_size=4)),
    st.builds(Entry, st.just(0), st.just(1), st.just(0), st.lists(SESSIONLESS, max_size=3)),
)
BATCHES = st.one_of(st.none(), st.tuples(st.integers(0, 15), st.lists(ENTRIES, max_size=5)))


def make_log(steps):
    """Batches with stamps that grow (by up to 15 ms a slot)."""
    log, now_ms = [Batch(0, [Entry(0, 1, 0, [[OPEN], [OPEN]])])], 0
    for step in steps:
        if step is None:
            log.append(None)
        else:
            now_ms += step[0]
            log.append(Batch(now_ms, step[1]))
    return log


class TestAgainstTheModel:
    @settings(deadline=None, max_examples=250)
    @given(st.lists(BATCHES, max_size=15))
    def test_results_data_and_changes(self, steps):
        machine, model = Machine(SMALL), Model()
        machine.collect_changes = True
        log = make_log(steps)
        for slot, batch in enumerate(log, 1):
            assert machine.apply(slot, batch) == model.apply(slot, batch)
        assert machine.store.data == model.data
        assert machine.revision == model.revision
        assert list(machine.sessions.table) == model.order
        assert list(each_change(machine.recent_changes)) == model.changes
        derived = [change for slot, b in enumerate(log, 1) for change in changes(machine, slot, b)]
        assert derived == model.changes
        for change in model.changes:
            assert machine.slot_of_revision(change.revision) == change.slot

    @settings(deadline=None, max_examples=100)
    @given(st.lists(BATCHES, max_size=15), st.integers(1, 5))
    def test_two_machines_with_the_same_log_agree_in_everything(self, steps, keys_max):
        log = [*make_log(steps), Batch(0, [Entry(0, 1, 0, [[CHECKSUM]])])]
        one, two = Machine(SMALL), Machine(SMALL)
        two.collect_changes = True
        for slot, batch in enumerate(log, 1):
            if slot == len(log):
                for machine in (one, two):
                    while not machine.advance_checksum(100):
                        pass  # a fifth run at a time would not be started
            assert one.apply(slot, batch) == two.apply(slot, batch)
            assert one.chain == two.chain
            two.advance_checksum(keys_max)
            two.store.advance_index(keys_max)
        assert fingerprint(one.sessions) == fingerprint(two.sessions)
        for machine in (one, two):
            while not machine.advance_checksum(100):
                pass
        assert one.checksums[len(log)] == two.checksums[len(log)]

    @settings(deadline=None, max_examples=100)
    @given(st.lists(BATCHES, max_size=15), st.integers(0, 6))
    def test_history_is_complete_above_its_floor(self, steps, exceptions_max):
        machine = Machine(SMALL._replace(history_exceptions_max=exceptions_max))
        model = Model()
        log = make_log(steps)
        for slot, batch in enumerate(log, 1):
            machine.apply(slot, batch)
            model.apply(slot, batch)
        floor = machine.history_floor_revision
        for slot, batch in enumerate(log, 1):
            want = [change for change in model.changes if change.slot == slot]
            if want and want[-1].revision < floor:
                with pytest.raises(HistoryCompactedError) as caught:
                    changes(machine, slot, batch)
                assert caught.value.first_revision == floor
            else:
                assert changes(machine, slot, batch) == want


def opened():
    machine = Machine()
    machine.apply(1, Batch(1, [Entry(0, 1, 0, [[OPEN]])]))
    return machine


class TestApply:
    def test_slots_have_no_gaps_and_no_repeats(self):
        machine = opened()
        for slot in (1, 3, 0):
            with pytest.raises(AssertionError):
                machine.apply(slot, None)
        assert machine.apply(2, None) == []
        assert machine.applied == 2

    def test_a_noop_is_part_of_the_chain(self):
        one, two = opened(), opened()
        before = one.chain
        one.apply(2, None)
        assert one.chain != before
        two.apply(2, Batch(1, []))
        assert one.chain != two.chain

    def test_results_of_sessionless_entries_are_part_of_the_chain(self):
        one, two = opened(), opened()
        one.apply(2, Batch(1, [Entry(0, 1, 0, [[FENCE, 1, 5]])]))
        two.apply(2, Batch(1, [Entry(0, 1, 0, [[FENCE, 2, 5]])]))
        assert one.chain != two.chain

    @pytest.mark.parametrize("level", [0, 1])
    def test_from_level_1_on_values_are_part_of_the_chain(self, level):
        # Two values, the same revisions and results: a node of an older program sees one chain.
        one, two = opened(), opened()
        for machine, value in ((one, b"v"), (two, b"w")):
            machine.settings = ClusterSettings(version=1, level=level)
            batch = Batch(1, [Entry(1, 1, 0, [[PUT, b"k", value]])])
            machine.apply(2, batch, b"the batch with " + value)
        assert (one.chain != two.chain) == (level == 1)

    def test_what_is_no_batch_is_part_of_the_chain_too(self):
        one, two = opened(), opened()
        for machine, value in ((one, b""), (two, b"damaged")):
            machine.settings = ClusterSettings(version=1, level=1)
            machine.apply(2, None, value)
        assert one.chain != two.chain

    def test_the_chain_is_kept_to_be_compared(self):
        machine = opened()
        for slot in range(2, MARK_SLOTS + 1):
            machine.apply(slot, None)
        assert machine.chain_at(MARK_SLOTS) is None, "of level 0: older programs have others"
        machine.settings = ClusterSettings(version=1, level=1)
        chains = {}
        for slot in range(MARK_SLOTS + 1, 3 * TRAIL_SLOTS):
            machine.apply(slot, None)
            chains[slot] = machine.chain
        last = machine.applied
        for slot in range(last - TRAIL_SLOTS + 1, last + 1):
            assert machine.chain_at(slot) == chains[slot]
        assert machine.chain_at(last + 1) is None
        assert machine.chain_at(last - 2 * TRAIL_SLOTS) is None

    @pytest.mark.parametrize(
        "entry",
        [
            Entry("1", 1, 0, [[PUT, b"k", b"v"]]),
            Entry(1, 0, 0, [[PUT, b"k", b"v"]]),
            Entry(1, None, 0, [[PUT, b"k", b"v"]]),
            Entry(1, 1, b"", [[PUT, b"k", b"v"]]),
            Entry(1, 1, 0, None),
            Entry(1, 1, 0, [None]),
            Entry(0, 1, 0, [None, [], [[]], 3, [FENCE, 1], [FENCE, 1, b""], [FENCE, None, 1]]),
        ],
    )
    def test_a_malformed_entry_is_answered_and_changes_nothing(self, entry):
        machine = opened()
        batch = Batch("noon", [entry, Entry(1, 1, 0, [[PUT, b"x", b"y"]])])
        answers = machine.apply(2, batch)
        count = len(entry.commands or [])
        assert answers[0] == [(Status.MALFORMED, 0, None)] * count
        assert machine.revision == (0 if entry.commands == [None] else 1)
        assert changes(machine, 2, batch) == [Change(1, 2, b"x", b"y")] * machine.revision
        assert machine.log_time_ms == 1


class TestHistory:
    def test_over_the_bound_the_oldest_exceptions_go_and_the_floor_rises(self):
        machine = Machine(MachineLimits(history_exceptions_max=2))
        log = [Batch(1, [Entry(0, 1, 0, [[OPEN]])])]
        for seq in range(1, 9, 2):
            commands = [[PUT, b"k", b"%d" % seq], [DELETE, b"none"]]
            log.append(Batch(1, [Entry(1, seq, 0, commands)]))
        for slot, batch in enumerate(log, 1):
            machine.apply(slot, batch)
        assert machine.history_floor_revision == 3
        with pytest.raises(HistoryCompactedError, match=r"slot 3 .* is 3"):
            changes(machine, 3, log[2])
        assert changes(machine, 4, log[3]) == [Change(3, 4, b"k", b"5")]
        assert changes(machine, 1, log[0]) == []

    def test_slots_without_changes_cost_nothing(self):
        machine = Machine(MachineLimits(history_exceptions_max=1))
        machine.apply(1, Batch(1, [Entry(0, 1, 0, [[OPEN]])]))
        machine.apply(2, Batch(1, [Entry(1, 1, 0, [[PUT, b"k", b"v"]])]))
        for slot in range(3, 50):
            machine.apply(slot, Batch(1, [Entry(9, 1, 0, [[PUT, b"k", b"v"]] * 5)]))
        assert machine.history_floor_revision == 1

    def test_slot_of_a_revision_yet_to_come(self):
        machine = opened()
        assert machine.slot_of_revision(1) == 2
        assert machine.slot_of_revision(0) == 2  # "from the start"


class TestQuery:
    def machine(self):
        machine = opened()
        puts = [[PUT, b"k%d" % n, b"v" * 100] for n in range(5)]
        machine.apply(2, Batch(1, [Entry(1, 1, 0, puts)]))
        return machine

    def test_get_and_range(self):
        row = KeyValue(b"k0", b"v" * 100, 1, 1, 1)
        answers = self.machine().query(
            [[GET, b"k0"], [GET, b"x"], [RANGE, b"k", b"", 1, False, False]], 1 << 20
        )
        assert answers == [row, None, RangePage([row], b"k1")]

    def test_answers_are_bounded_together(self):
        machine = self.machine()
        whole = [RANGE, b"", b"", 0, False, True]
        pages = machine.query([whole, whole, [RANGE, b"", b"z", 0, True, True]], 80)
        assert [len(page.rows) for page in pages] == [2, 1, 0]
        assert [page.more for page in pages] == [b"k2", b"k1", b"z"]
        with pytest.raises(ReadTooLargeError, match="fewer keys"):
            machine.query([[GET, b"k0"], [GET, b"k1"]], 199)
        assert machine.query([[GET, b"k0"]], 10)[0].key == b"k0"

    @pytest.mark.parametrize(("below", "limit", "found"), [
        (1 << 40, 2, [b"k0", b"k3"]), (4, 1, [b"k2"]), (2, 9, [b"k1"]), (1, 9, []),
    ])  # fmt: skip
    def test_the_newest_that_were_created_before(self, below, limit, found):
        machine = opened()
        keys = [b"k1", b"a", b"k2", b"z", b"k3", b"k0", b"k1"]  # k1 is not made anew at the end
        puts = [[PUT, key, b"v"] for key in keys]
        machine.apply(2, Batch(1, [Entry(1, 1, 0, puts)]))
        (page,) = machine.query([[NEWEST, b"k", b"l", below, limit]], 1000)
        assert [row.key for row in page.rows] == found
        assert page.more is None
        assert {row.value for row in page.rows} <= {b""}

    def test_pages_of_the_newest(self, monkeypatch):
        monkeypatch.setattr(queries, "ROWS_MAX", 2)
        machine = self.machine()
        whole = [NEWEST, b"", b"", 1 << 40, 1]
        first, second = machine.query([whole, whole], 80)
        assert [row.key for row in first.rows] == [b"k1"]
        assert (second.rows, second.more) == ([], b"k0")
        (rest,) = machine.query([[NEWEST, first.more, b"", 1 << 40, 1]], 80)
        assert rest.rows[0].key > b"k1"

    def test_a_page_of_the_newest_is_bounded_in_bytes(self):
        machine = opened()
        puts = [[PUT, b"%04d" % number + b"k" * 4092, b"v"] for number in range(300)]
        machine.apply(2, Batch(1, [Entry(1, 1, 0, puts)]))
        whole = [NEWEST, b"", b"", 1 << 40, 1 << 40]
        first, second = machine.query([whole, whole], 1 << 30)
        assert (len(first.rows), first.more) == (128, puts[128][1])
        assert (second.rows, second.more) == ([], puts[0][1])
        (alone,) = machine.query([whole], 80)
        assert (len(alone.rows), alone.more) == (1, puts[1][1])

    @pytest.mark.parametrize(("size", "rows"), [(1, 1024), (1000, 506), (1 << 20, 1)])
    def test_a_page_is_a_small_part_of_a_turn(self, size, rows):
        machine = opened()
        puts = [[PUT, b"%04d" % number, b"v" * size] for number in range(rows + 1)]
        machine.apply(2, Batch(1, [Entry(1, 1, 0, puts)]))
        machine.work.units = 0
        (page,) = machine.query([[RANGE, b"", b"", 0, False, False]], 1 << 30)
        assert (len(page.rows), page.more) == (rows, b"%04d" % rows)
        assert machine.work.units >= rows * size // UNIT_BYTES
        (page,) = machine.query([[RANGE, b"", b"", 0, False, True]], 1 << 30)
        assert len(page.rows) == min(1024, rows + 1), "without values"

    def test_an_unknown_query(self):
        with pytest.raises(ValueError, match="unknown query 9"):
            self.machine().query([[9, b"k"]], 100)
