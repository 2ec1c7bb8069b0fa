"""Keys that commands share are judged together, and no more of them than have to be."""

import pytest

from paxosd.check import transactions
from paxosd.check.history import DELETE, DELETE_RANGE, GET, PUT, RANGE, TXN, History
from paxosd.check.linearizability import check_linearizable
from paxosd.check.shared_keys import SharedObject, split_shared
from paxosd.check.transactions import ObjectSearch
from paxosd.check.verdict import CHECKED_OK, NOT_CHECKED, VIOLATION
from paxosd.core import commands
from paxosd.core.transactions import GET_KEY

LEASE = 1 << 32


def txn(*operations, compares=()):
    return [commands.TXN, list(compares), [list(each) for each in operations], []]


def put(key, value=b"v", *lease):
    return [commands.PUT, key, value, *lease]


def get(key):
    return [GET_KEY, key]


class Written:
    """A history in the making; each call is answered at once, unless it says otherwise."""

    def __init__(self):
        self.history = History()

    def begin(self, command):
        return self.history.invoke("c", TXN, b"", command=command)

    def done(self, command, revision, *results):
        self.history.ok(self.begin(command), (1, results), revision=revision)

    def judge(self):
        return check_linearizable(self.history)


@pytest.fixture
def written():
    return Written()


class TestSplit:
    def test_a_chain_of_common_keys_makes_one_object(self, written):
        written.begin(txn(put(b"a"), put(b"b")))
        written.begin(txn(put(b"c"), put(b"d")))
        written.begin(txn(put(b"b"), put(b"e")))
        written.history.failed(written.begin(txn(put(b"a"), put(b"c"))))
        for key in (b"a", b"z"):
            written.history.invoke("c", PUT, key, value=b"v")
        plain, objects = split_shared(written.history)
        assert [each.key for each in plain] == [b"z"]
        assert [each.keys for each in objects] == [[b"a", b"b", b"e"], [b"c", b"d"]]
        assert [len(each.operations) for each in objects] == [3, 1]

    def test_a_range_belongs_to_what_it_reaches_with_all_that_it_covers(self, written):
        written.begin(txn(put(b"a"), put(b"b")))
        for key in (b"c", b"d", b"z"):
            written.history.invoke("c", PUT, key, value=b"v")
        written.history.invoke("c", DELETE_RANGE, b"c", end=b"e")
        written.history.invoke("c", DELETE_RANGE, b"b", end=b"d")
        plain, (one,) = split_shared(written.history)
        assert one.keys == [b"a", b"b", b"c", b"d"]
        assert [each.key for each in plain] == [b"z"]

    def test_the_end_of_a_lease_touches_its_keys(self, written):
        written.begin(put(b"a", b"v", LEASE))
        written.begin(txn(put(b"b", b"v", LEASE), put(b"c")))
        written.history.expects("lease", [commands.REVOKE, LEASE], 9)
        _, (one,) = split_shared(written.history)
        assert one.keys == [b"a", b"b", b"c"]


def blind(written, pairs):
    """In each pair one whose effect nobody can see, and in the last one a lost write."""
    for number in range(pairs):
        a, b = b"%02d/a" % number, b"%02d/b" % number
        base = 10 * number
        written.done(txn(put(a), put(b)), base + 1, 1, 1)
        written.begin(txn([commands.DELETE, a], [commands.DELETE, b]))
        written.done(txn(put(a, b"w"), put(b, b"w")), base + 5, 1, 1)
        last = (b"v", base + 1, base + 1, 1) if number == pairs - 1 else None
        if last is not None:
            written.done(txn(get(a), get(b)), base + 7, last, last)


def test_many_keys_and_few_transactions_take_few_steps(written, monkeypatch):
    """One search of all of them would have to try which of the unseen ones took effect, in each
    combination: without the objects it does not end."""
    blind(written, 40)
    taken = []
    real = ObjectSearch.run

    def counted(self):
        status = real(self)
        taken.append(self.steps)
        return status

    monkeypatch.setattr(ObjectSearch, "run", counted)
    assert written.judge().status == VIOLATION
    assert len(taken) == 40
    assert sum(taken) < 5 * len(written.history), taken

    def together(operations):
        plain, objects = split_shared(operations)
        keys = [key for one in objects for key in one.keys]
        held = [each for one in objects for each in one.operations]
        touches = {n: keys for one in objects for n, keys in one.touches.items()}
        return plain, [SharedObject(keys, held, touches)]

    held = list(written.history)
    _, objects = together(held)
    assert transactions.check_objects(held, objects, steps_max=20_000).status == NOT_CHECKED


class TestUnknown:
    def test_one_that_was_seen_much_later_is_put_where_its_revision_is(self, written):
        written.begin(txn(put(b"a", b"late"), put(b"b", b"late")))
        written.done(txn(put(b"b", b"new")), 5, 1)
        row = (b"late", 3, 3, 1)
        written.done(txn(get(b"a"), get(b"b")), 5, row, (b"new", 3, 5, 2))
        assert written.judge().status == CHECKED_OK

    def test_it_is_not_before_what_had_been_answered_when_it_began(self, written):
        written.done(txn(put(b"b", b"new")), 5, 1)
        written.begin(txn(put(b"a", b"late"), put(b"b", b"late")))
        row = (b"late", 3, 3, 1)
        written.done(txn(get(b"a"), get(b"b")), 5, row, (b"new", 3, 5, 2))
        assert written.judge().status == VIOLATION

    def test_a_removal_is_found_before_later_answers_of_other_keys(self, written):
        written.done(txn(put(b"a"), put(b"b"), put(b"c")), 1, 1, 1, 1)
        written.begin(txn([commands.DELETE, b"a"], [commands.DELETE, b"b"]))
        written.done(txn(put(b"c", b"w")), 4, 1)
        written.done(txn(put(b"a", b"w")), 6, 1)
        written.done(txn(get(b"a"), get(b"b")), 6, (b"w", 6, 6, 1), None)
        assert written.judge().status == CHECKED_OK

    def test_half_of_it_is_a_breach(self, written):
        written.done(txn(put(b"a"), put(b"b")), 1, 1, 1)
        written.begin(txn([commands.DELETE, b"a"], [commands.DELETE, b"b"]))
        written.done(txn(get(b"a"), get(b"b")), 2, None, (b"v", 1, 1, 1))
        verdict = written.judge()
        assert verdict.status == VIOLATION
        assert "no order explains what was answered at revision 2" in verdict.explanation


class TestPlainOperationsOnSharedKeys:
    def test_they_are_judged_with_the_transactions(self, written):
        history = written.history
        written.done(txn(put(b"a", b"1"), put(b"b", b"1")), 1, 1, 1)
        history.ok(history.invoke("d", PUT, b"a", value=b"2"), revision=2)
        history.ok(history.invoke("d", GET, b"b"), b"1", revision=2, modified=(1,))
        history.ok(history.invoke("d", DELETE, b"b"), True, revision=3)
        read = history.invoke("d", RANGE, b"a", end=b"c")
        history.ok(read, ((b"a", b"2"),), revision=3, modified=(2,))
        written.done(txn(get(b"a"), get(b"b")), 3, (b"2", 1, 2, 2), None)
        assert written.judge().status == CHECKED_OK
        history.ok(history.invoke("d", GET, b"a"), b"1", revision=3, modified=(1,))
        assert written.judge().status == VIOLATION

    def test_a_write_that_nobody_may_have_seen_yet_is_no_breach(self, written):
        written.done(txn(put(b"a", b"1"), put(b"b", b"1")), 1, 1, 1)
        written.history.invoke("d", PUT, b"a", value=b"2")
        written.done(txn(get(b"a")), 1, (b"1", 1, 1, 1))
        assert written.judge().status == CHECKED_OK

    def test_an_older_revision_than_was_answered_before(self, written):
        written.done(txn(put(b"a", b"1"), put(b"b", b"1")), 4, 1, 1)
        written.history.ok(written.history.invoke("d", GET, b"a"), None, revision=3, modified=(0,))
        assert "began after revision 4" in written.judge().explanation


class TestLeases:
    """Two keys of one lease; ``end``: the moment from which on it may end."""

    def leased(self, written, end):
        written.done(put(b"a", b"v", LEASE), 1)
        written.done(txn(put(b"b", b"v", LEASE)), 2, 1)
        written.done(txn(put(b"b", b"w")), 3, 1) if end < 0 else None
        written.history.expects("lease", [commands.REVOKE, LEASE], abs(end))

    def test_its_keys_go_at_once_after_its_end(self, written):
        self.leased(written, 5)
        written.done(txn(get(b"a"), get(b"b")), 3, None, None)
        assert written.judge().status == CHECKED_OK

    def test_before_its_end_they_do_not(self, written):
        self.leased(written, 50)
        written.done(txn(get(b"a"), get(b"b")), 3, None, None)
        assert written.judge().status == VIOLATION

    def test_nor_one_without_the_other(self, written):
        self.leased(written, 5)
        written.done(txn(get(b"a"), get(b"b")), 3, None, (b"v", 2, 2, 1))
        assert written.judge().status == VIOLATION

    def test_nor_one_that_was_written_without_it_since(self, written):
        self.leased(written, -5)
        written.done(txn(get(b"a")), 4, None)
        assert written.judge().status == CHECKED_OK
        written.done(txn(get(b"b")), 4, None)
        assert written.judge().status == VIOLATION

    def test_nor_is_it_put_again_by_itself(self, written):
        self.leased(written, 5)
        written.done(txn(get(b"a")), 3, None)
        written.done(txn(get(b"a")), 4, (b"v", 1, 1, 1))
        assert written.judge().status == VIOLATION


def test_a_file_keeps_transactions(written, tmp_path):
    written.done(txn(put(b"a"), [commands.DELETE, b"\xff"]), 1, 1, 0)
    written.history.expects("lease", [commands.REVOKE, LEASE], 1)
    written.history.save(tmp_path / "history")
    loaded = History.load(tmp_path / "history")
    keep = [(each.command, each.result) for each in written.history]
    assert [(each.command, each.result) for each in loaded] == keep
