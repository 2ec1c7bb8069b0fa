"""Transactions: the store answers and changes as a plain dict does, whatever they hold."""

from hypothesis import given, settings
from hypothesis import strategies as st

from paxosd.core.commands import (
    DELETE,
    DELETE_RANGE,
    PUT,
    TXN,
    Entry,
    KeysChanged,
    Status,
    each_change,
)
from paxosd.core.state.walk import Walk
from paxosd.core.transactions import (
    ADD,
    CREATE_REVISION,
    EQUAL,
    EVERY,
    GET_KEY,
    GET_RANGE,
    GREATER,
    LESS,
    MODIFY_REVISION,
    NOT_EQUAL,
    SOME,
    VALUE,
    VERSION,
    is_branch_result,
    is_transaction,
)
from tests.core.state.transaction_site import Site

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
        assert is_branch_result(result[2]), "a peer and a client must be able to read it"
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


def test_a_walk_of_before_still_finds_a_removed_key_that_it_writes():
    """Its old entry is hidden then, and was not taken out yet."""
    site = Site()
    names = [b"k%02d" % n for n in range(40)]
    site.do(*[[PUT, name, b"v"] for name in names])
    walk = Walk(site.machine.store)
    site.do([DELETE_RANGE, b"k", b"l"])
    site.txn([[PUT, name, b"w"] for name in names[30:]])
    rows = {}
    while not walk.done:
        taken = walk.take(7, 1 << 20)
        rows |= dict(zip(taken[::2], taken[1::2], strict=True))
    assert rows == {name: (b"v", n, n, 1) for n, name in enumerate(names, 1)}
