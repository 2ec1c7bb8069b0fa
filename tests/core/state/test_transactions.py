"""Transactions: the store answers and changes as a plain dict does, whatever they hold; limits
leave no trace; answers that are kept are bounded."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from paxosd.core.commands import (
    DELETE,
    DELETE_RANGE,
    OPEN,
    PUT,
    TXN,
    Batch,
    Entry,
    KeysChanged,
    Status,
    each_change,
)
from paxosd.core.state import sessions as kept
from paxosd.core.state.machine import Machine
from paxosd.core.state.quota import QUOTA_RESULT
from paxosd.core.state.snapshot import Restore, SnapshotWalk, session_of
from paxosd.core.state.walk import Walk
from paxosd.core.transactions import (
    ADD,
    CREATE_REVISION,
    EQUAL,
    EVERY,
    GET_KEY,
    GET_RANGE,
    GREATER,
    KEYS_MAX,
    LESS,
    MODIFY_REVISION,
    NO_NUMBER,
    NOT_EQUAL,
    NUMBER_RANGE,
    PARTS_MAX,
    SOME,
    TOO_LARGE,
    TOO_MANY_KEYS,
    VALUE,
    VERSION,
    is_transaction,
)
from tests.core.state.parts import fingerprint

MALFORMED = (Status.MALFORMED, 0, None)


class Site:
    """A machine at a level, and one session of it."""

    def __init__(self, level=LEVEL_COORDINATION):
        self.machine = Machine()
        self.machine.settings = ClusterSettings(version=1, level=level)
        self.batches = []
        self.seq = 1
        self.apply(Entry(0, 1, 0, [[OPEN]]))

    def apply(self, *entries):
        batch = Batch(0, list(entries))
        self.batches.append(batch)
        return self.machine.apply(self.machine.applied + 1, batch)

    def do(self, *commands, acked=None):
        first, self.seq = self.seq, self.seq + len(commands)
        entry = Entry(1, first, first - 1 if acked is None else acked, list(commands))
        return self.apply(entry)[0]

    def txn(self, then, otherwise=(), *compares):
        (result,) = self.do([TXN, list(compares), list(then), list(otherwise)])
        return result

    def changes(self):
        """Those of the last slot."""
        slot = self.machine.applied
        return self.machine.changes_of(slot, self.batches[-1])

    def rows(self):
        store = self.machine.store
        return {
            row.key: tuple(row[1:]) for row in store.range(b"", b"", 0, False, False, 1 << 30)[0]
        }


# -- a model


class Model:
    """The rules of ``core/transactions.py`` over a dict, one operation after the other."""

    def __init__(self):
        self.data = {}
        self.revision = 0

    def between(self, start, end):
        return sorted(key for key in self.data if start <= key and (not end or key < end))

    def holds(self, compare):
        target, operator, start, operand, *of_range = compare
        if of_range:
            found = [self.test(key, target, operator, operand) for key in
                     self.between(start, of_range[0])]  # fmt: skip
            return any(found) if of_range[1] == SOME else all(found)
        return self.test(start, target, operator, operand)

    def test(self, key, target, operator, operand):
        found = self.data.get(key, (None, 0, 0, 0))[
            {VALUE: 0, CREATE_REVISION: 1, MODIFY_REVISION: 2, VERSION: 3}[target]
        ]
        if operator in (EQUAL, NOT_EQUAL):
            return (found == operand) == (operator == EQUAL)
        if found is None:
            return False
        return found < operand if operator == LESS else found > operand

    def put(self, key, value, revision):
        _, create, modify, version = self.data.get(key, (None, revision, 0, 0))
        self.data[key] = (value, create, revision, version + (modify != revision))

    def branch(self, command, revision):
        _, compares, then, otherwise = command
        taken = all(self.holds(each) for each in compares)
        results = []
        for operation in then if taken else otherwise:
            op, *parts = operation
            if op == PUT:
                self.put(*parts, revision)
                results.append(1)
            elif op == DELETE:
                results.append(int(self.data.pop(parts[0], None) is not None))
            elif op == DELETE_RANGE:
                gone = self.between(*parts)
                for key in gone:
                    del self.data[key]
                results.append(len(gone))
            elif op == ADD:
                number = int(self.data.get(parts[0], (b"0",))[0]) + parts[1]
                self.put(parts[0], b"%d" % number, revision)
                results.append(number)
            elif op == GET_KEY:
                results.append(self.data.get(parts[0]))
            elif op == GET_RANGE:
                start, end, limit, reverse, keys_only = parts
                keys = self.between(start, end)[:: -1 if reverse else 1]
                shown = keys[:limit] if limit else keys
                rows = tuple(
                    (key, b"" if keys_only else self.data[key][0], *self.data[key][1:])
                    for key in shown
                )
                more = None
                if len(shown) < len(keys):
                    more = shown[-1] if reverse else keys[len(shown)]
                results.append((rows, more))
            else:
                results.append(self.branch(operation, revision))
        return int(taken), tuple(results)

    def do(self, command):
        before = dict(self.data)
        pair = self.branch(command, self.revision + 1)
        changed = sorted(
            key for key in before.keys() | self.data.keys() if before.get(key) != self.data.get(key)
        )
        self.revision += bool(changed)
        values = {key: self.data[key][0] for key in changed if key in self.data}
        return (Status.OK, self.revision, pair), changed, values


KEYS = st.sampled_from([b"a", b"aa", b"ab", b"b", b"ba", b"c"])
ENDS = st.one_of(st.just(b""), KEYS)
NUMBERS = st.sampled_from([b"0", b"1", b"2"])
OPERATORS = st.sampled_from([EQUAL, NOT_EQUAL, LESS, GREATER])
TARGETS = st.sampled_from([VERSION, CREATE_REVISION, MODIFY_REVISION])
OF_VALUE = st.one_of(
    st.tuples(st.just(VALUE), OPERATORS, KEYS, NUMBERS),
    st.tuples(st.just(VALUE), st.sampled_from([EQUAL, NOT_EQUAL]), KEYS, st.none()),
)
OF_NUMBER = st.tuples(TARGETS, OPERATORS, KEYS, st.integers(0, 6))
QUANTIFIERS = st.sampled_from([EVERY, SOME])
COMPARES = st.one_of(
    OF_VALUE,
    OF_NUMBER,
    st.tuples(st.one_of(OF_VALUE, OF_NUMBER), ENDS, QUANTIFIERS).map(lambda it: (*it[0], *it[1:])),
).map(list)
PLAIN = st.one_of(
    st.tuples(st.just(PUT), KEYS, NUMBERS),
    st.tuples(st.just(PUT), KEYS, NUMBERS),
    st.tuples(st.just(DELETE), KEYS),
    st.tuples(st.just(DELETE_RANGE), KEYS, ENDS),
    st.tuples(st.just(ADD), KEYS, st.integers(-2, 2)),
    st.tuples(st.just(GET_KEY), KEYS),
    st.tuples(st.just(GET_RANGE), KEYS, ENDS, st.integers(0, 2), st.booleans(), st.booleans()),
).map(list)


def transactions(operations):
    branch = st.lists(operations, max_size=4)
    parts = st.tuples(st.lists(COMPARES, max_size=2), branch, branch)
    return parts.map(lambda it: [TXN, *it])


COMMANDS = transactions(
    st.one_of(PLAIN, PLAIN, transactions(st.one_of(PLAIN, transactions(PLAIN))))
)


@settings(max_examples=200, deadline=None)
@given(st.lists(COMMANDS, min_size=1, max_size=8))
def test_it_does_what_a_plain_dict_does(commands):
    site, model = Site(), Model()
    walks = []
    for command in commands:
        walk = Walk(site.machine.store)
        walks.append((walk, dict(model.data)))
        want, changed, values = model.do(command)
        assert is_transaction(command)
        (result,) = site.do(command)
        assert result == want
        assert site.rows() == model.data
        assert site.machine.revision == model.revision
        found = site.changes()
        assert [list(each.keys) for each in found] == ([changed] if changed else [])
        if found:
            assert found[0].values == values
            assert found[0].revision == model.revision
    for walk, rows in walks:
        taken = walk.take(1000, 1 << 20)
        assert dict(zip(taken[::2], taken[1::2], strict=True)) == rows, (
            "a snapshot's view of before"
        )
        walk.close()


# -- one revision


def test_all_changes_are_of_one_revision_and_come_together():
    site = Site()
    site.do([PUT, b"old", b"1"])
    result = site.txn([[PUT, b"z", b"26"], [DELETE, b"old"], [PUT, b"a", b"1"], [GET_KEY, b"a"]])
    assert result == (Status.OK, 2, (1, (1, 1, 1, (b"1", 2, 2, 1))))
    values = {b"a": b"1", b"z": b"26"}
    assert site.changes() == [KeysChanged(2, 3, [b"a", b"old", b"z"], values)]
    assert [(c.key, c.value) for c in each_change(site.changes())] == [
        (b"a", b"1"),
        (b"old", None),
        (b"z", b"26"),
    ]


def test_what_changes_nothing_in_the_end_leaves_the_revision():
    site = Site()
    assert site.txn([[PUT, b"a", b"1"], [DELETE, b"a"]]) == (Status.OK, 0, (1, (1, 1)))
    assert site.machine.revision == 0
    assert site.changes() == []
    assert site.txn([[GET_KEY, b"a"]])[1] == 0


def test_a_key_that_is_removed_and_set_again_begins_anew():
    site = Site()
    site.do([PUT, b"a", b"1"], [PUT, b"a", b"2"])
    site.txn([[DELETE, b"a"], [PUT, b"a", b"3"], [PUT, b"a", b"4"]])
    assert site.rows() == {b"a": (b"4", 3, 3, 1)}
    site.txn([[PUT, b"a", b"5"], [PUT, b"a", b"6"]])
    assert site.rows() == {b"a": (b"6", 3, 4, 2)}


def test_a_repeated_one_is_done_once_and_answered_alike():
    site = Site()
    command = [TXN, [], [[ADD, b"n", 1], [GET_KEY, b"n"]], []]
    first = site.apply(Entry(1, 1, 0, [command]))[0]
    again = site.apply(Entry(1, 1, 0, [command]))[0]
    assert first == again == [(Status.OK, 1, (1, (1, (b"1", 1, 1, 1))))]
    assert site.changes() == []


def test_a_removed_range_is_hidden_from_it():
    """Its entries may still be in memory."""
    site = Site()
    for n in range(0, 40):
        site.do([PUT, b"k%02d" % n, b"v"])
    site.do([DELETE_RANGE, b"k", b"l"])
    assert site.machine.store.hidden_keys
    result = site.txn([[GET_RANGE, b"", b"", 0, False, False], [PUT, b"k01", b"w"]], (),
                      [VERSION, EQUAL, b"k01", 0])  # fmt: skip
    assert result[2] == (1, (((), None), 1))
    assert site.rows() == {b"k01": (b"w", 42, 42, 1)}


# -- limits


def test_below_the_level_it_is_malformed_and_does_nothing():
    site = Site(LEVEL_COORDINATION - 1)
    assert site.txn([[PUT, b"a", b"1"]]) == MALFORMED
    assert site.apply(Entry(0, 1, 0, [[TXN, [], [], []]]))[0] == [MALFORMED]
    assert site.machine.revision == 0


def test_it_belongs_into_a_session():
    site = Site()
    assert site.apply(Entry(0, 1, 0, [[TXN, [], [], []]]))[0] == [(Status.SESSION_UNKNOWN, 0, None)]


@pytest.mark.parametrize(
    "command",
    [
        [TXN],
        [TXN, [], []],
        [TXN, [], [], [], []],
        [TXN, (), [], []],
        [TXN, [[VALUE, EQUAL, b"k"]], [], []],
        [TXN, [[9, EQUAL, b"k", b"v"]], [], []],
        [TXN, [[VALUE, 9, b"k", b"v"]], [], []],
        [TXN, [[VALUE, LESS, b"k", None]], [], []],
        [TXN, [[VALUE, EQUAL, b"", b"v"]], [], []],
        [TXN, [[VALUE, EQUAL, b"k", 1]], [], []],
        [TXN, [[VERSION, EQUAL, b"k", -1]], [], []],
        [TXN, [[VERSION, EQUAL, b"k", True]], [], []],
        [TXN, [[VERSION, EQUAL, b"k", 1, b"l"]], [], []],
        [TXN, [[VERSION, EQUAL, b"k", 1, b"l", 2]], [], []],
        [TXN, [[VERSION, EQUAL, b"k", 1, None, 1]], [], []],
        [TXN, [], [[]], []],
        [TXN, [], [5], []],
        [TXN, [], [[PUT, b"k"]], []],
        [TXN, [], [[PUT, b"", b"v"]], []],
        [TXN, [], [[PUT, b"k", None]], []],
        [TXN, [], [[DELETE, "k"]], []],
        [TXN, [], [], [[ADD, b"k", 1 << 63]]],
        [TXN, [], [[ADD, b"k", True]], []],
        [TXN, [], [[GET_RANGE, b"", b"", -1, False, False]], []],
        [TXN, [], [[GET_RANGE, b"", b"", 0, 0, False]], []],
        [TXN, [], [[True, b"k", b"v"]], []],
        [TXN, [], [[7]], []],
        [TXN, [], [[DELETE, b"k"]] * (PARTS_MAX + 1), []],
        [TXN, [], [[TXN, [], [[TXN, [], [[TXN, [], [[TXN, [], [], []]], []]], []]], []]], []],
    ],
)
def test_what_is_none_is_malformed_on_every_node(command):
    site = Site()
    assert site.do(command) == [MALFORMED]
    assert not is_transaction(command)


def test_three_deep_is_well_formed():
    command = [TXN, [], [[TXN, [], [[TXN, [], [[TXN, [], [[PUT, b"k", b"v"]], []]], []]], []]], []]
    assert Site().do(command) == [(Status.OK, 1, (1, ((1, ((1, ((1, (1,)),)),)),)))]


def many(site, count):
    for at in range(0, count, 1000):
        site.do(*([PUT, b"k%05d" % n, b"v"] for n in range(at, min(count, at + 1000))))


@pytest.mark.parametrize("what", ["compare", "range", "delete"])
def test_one_that_looks_at_too_many_keys_does_nothing(what):
    site = Site()
    many(site, KEYS_MAX + 1)
    compares = [[VERSION, GREATER, b"", 0, b"", EVERY]] if what == "compare" else []
    reading = {
        "compare": [],
        "range": [[GET_RANGE, b"", b"", 0, False, True]],
        "delete": [[DELETE_RANGE, b"", b""]],
    }[what]
    revision, rows = site.machine.revision, len(site.machine.store)
    result = site.txn([[PUT, b"a", b"1"], *reading], (), *compares)
    assert result == (Status.TXN_REFUSED, revision, TOO_MANY_KEYS)
    assert (site.machine.revision, len(site.machine.store)) == (revision, rows)
    assert site.changes() == []
    limited = site.txn([[GET_RANGE, b"", b"", 5, False, True]])
    assert [len(page[0]) for page in limited[2][1]] == [5]


def test_the_transactions_of_one_request_share_a_limit():
    site = Site()
    many(site, KEYS_MAX)
    read = [TXN, [], [[GET_RANGE, b"", b"", 0, False, True], [ADD, b"a", 1]], []]
    statuses = [result[0] for result in site.do(*[read] * 6)]
    assert statuses == [Status.OK] + [Status.TXN_REFUSED] * 5, "a made one more"
    site.do([DELETE, b"k00000"])
    statuses = [result[0] for result in site.do(*[read] * 6)]
    assert statuses == [Status.OK] * 4 + [Status.TXN_REFUSED] * 2


def test_one_that_reads_too_much_does_nothing():
    site = Site()
    site.do([PUT, b"k", b"v" * 600_000])
    get = [GET_KEY, b"k"]
    assert site.txn([get])[0] == Status.OK
    revision = site.machine.revision
    assert site.txn([[PUT, b"a", b""], get, get]) == (Status.TXN_REFUSED, revision, TOO_LARGE)


def test_the_quota_counts_all_that_changes():
    site = Site()
    site.machine.settings = site.machine.settings._replace(quota_bytes=1000)
    site.machine.store.quota.change(1000, site.machine.store.data)
    site.do([PUT, b"old", b"v" * 400])
    put = [PUT, b"new", b"v" * 500]
    assert site.txn([put, [PUT, b"other", b"v"]]) == QUOTA_RESULT
    assert site.machine.revision == 1
    assert site.txn([put, [DELETE, b"old"]])[:2] == (Status.OK, 2), "what goes makes room"


@pytest.mark.parametrize(
    "value", [b"", b"x", b"1.5", b" 1", b"01", b"-", b"1" * 20, b"\xd9\xa1", b"1\n"]
)
def test_a_sum_needs_a_number(value):
    site = Site()
    site.do([PUT, b"n", value])
    assert site.txn([[PUT, b"a", b"1"], [ADD, b"n", 1]]) == (Status.TXN_REFUSED, 1, NO_NUMBER)
    assert b"a" not in site.rows()


def test_and_one_of_64_bits():
    site = Site()
    most = (1 << 63) - 1
    assert site.txn([[ADD, b"n", most]])[2] == (1, (most,))
    assert site.txn([[ADD, b"n", 1]]) == (Status.TXN_REFUSED, 1, NUMBER_RANGE)
    assert site.txn([[ADD, b"n", -most], [ADD, b"n", -most]])[2] == (1, (0, -most))


# -- what a session keeps


def test_answers_that_are_kept_are_bounded_and_the_fact_is_kept_in_any_case(monkeypatch):
    monkeypatch.setattr(kept, "KEPT_BYTES_MAX", 2000)
    site = Site()
    site.do([PUT, b"k", b"v" * 700])
    command = [TXN, [], [[GET_KEY, b"k"], [ADD, b"n", 1]], []]
    full = [site.do(command, acked=1)[0] for _ in range(4)]
    assert [len(result[2][1]) for result in full] == [2] * 4, "who asks first gets all of it"
    again = site.apply(Entry(1, 2, 1, [command] * 4))[0]
    assert again[:2] == full[:2]
    assert again[2:] == [(Status.OK, revision, (1, None)) for _, revision, _ in full[2:]]
    site.do(command, acked=3)
    assert site.machine.sessions.table[1].kept_bytes < 2000
    fresh = site.apply(Entry(1, site.seq - 1, 3, [command]))[0]
    assert fresh[0][2][1][1] == 5, "there is room again"


def test_a_restored_machine_is_the_same():
    site = Site()
    inner = [TXN, [[VALUE, EQUAL, b"x", None]], [[ADD, b"n", 3]], [[GET_KEY, b"n"]]]
    site.do([TXN, [], [[PUT, b"k", b"\xff"], inner, [GET_RANGE, b"", b"", 1, True, False]], []])
    walk = SnapshotWalk(site.machine, {})
    restore = Restore(walk.head)
    while rows := walk.sessions():
        restore.sessions([_decoded(row) for row in rows])
    while not walk.done:
        restore.rows(walk.rows(100, 1 << 20))
    found = restore.finish()
    assert fingerprint(found.sessions) == fingerprint(site.machine.sessions)
    table, want = found.sessions.table[1], site.machine.sessions.table[1]
    assert (table.chunks, table.kept_bytes) == (want.chunks, want.kept_bytes)
    assert table.kept_bytes > 0
    command = [TXN, [], [[GET_KEY, b"k"]], []]
    for machine in (found, site.machine):
        machine.apply(machine.applied + 1, Batch(0, [Entry(1, 1, 0, [command, command])]))
    assert found.chain == site.machine.chain


def _decoded(row):
    """As a file gives it back: tuples only."""
    replies = tuple((first, slot, tuple(results)) for first, slot, results in row.replies)
    return session_of((*row[:4], replies, *row[5:]))
