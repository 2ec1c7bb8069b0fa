"""What Elle's checker would misunderstand is left out of what it gets, and nothing else."""

import pytest

from paxosd.check.history import CAS, DELETE, DELETE_RANGE, GET, PUT, TXN, History
from paxosd.check.registers import Registers
from paxosd.core import commands
from paxosd.core.transactions import ADD, EQUAL, GET_KEY, VALUE


@pytest.fixture
def history():
    return History()


def parts_of(history):
    registers = Registers(history.operations)
    return [registers.parts(operation) for operation in history.operations]


def put(history, key, value):
    history.ok(history.invoke("p", PUT, key, value=value), revision=1)


def get(history, key, value):
    history.ok(history.invoke("g", GET, key), value)


def txn(history, then, otherwise=(), answer=None):
    compare = [VALUE, EQUAL, b"c", b"x"]
    command = [commands.TXN, [compare], list(then), list(otherwise)]
    operation = history.invoke("t", TXN, b"", command=command)
    if answer is not None:
        history.ok(operation, answer, revision=1)
    return operation


def test_an_answered_transaction_asked_for_the_branch_that_was_done(history):
    """The checker takes the last write to a key in the invocation for the final one, and would
    call the value of the branch that was done an intermediate one."""
    then, otherwise = [[commands.PUT, b"a", b"1"]], [[commands.PUT, b"a", b"2"]]
    txn(history, [[GET_KEY, b"a"], *then], otherwise, answer=(1, (None, None)))
    reads = [("r", b"c", b"x"), ("r", b"a", None)]
    assert parts_of(history) == [
        ([("r", b"c", None), ("r", b"a", None), ("w", b"a", b"1")], [*reads, ("w", b"a", b"1")])
    ]


def test_writes_of_several_branches_without_an_answer_are_left_out(history):
    both, one = [commands.PUT, b"a", b"1"], [commands.PUT, b"b", b"2"]
    nested = [commands.TXN, [], [[commands.PUT, b"a", b"3"]], [one]]
    txn(history, [both, nested])
    assert parts_of(history) == [([("w", b"b", b"2")], None)]


def test_a_failed_transaction_shows_all_that_must_not_be_seen(history):
    then, otherwise = [[commands.PUT, b"a", b"1"]], [[commands.PUT, b"a", b"2"]]
    history.failed(txn(history, then, otherwise))
    assert parts_of(history) == [([("w", b"a", b"1"), ("w", b"a", b"2")], None)]


def test_a_cas_that_missed_has_no_answer(history):
    history.ok(history.invoke("c", CAS, b"k", expect=b"1", value=b"2"), False)
    assert parts_of(history) == [([("w", b"k", b"2")], None)]


def delete(history):
    return history.invoke("d", DELETE, b"k")


def delete_range(history):
    return history.invoke("d", DELETE_RANGE, b"j", end=b"")


def delete_in_a_branch(history):
    return txn(history, [], [[commands.DELETE, b"k"]])


def put_with_a_lease(history):
    return txn(history, [[commands.PUT, b"k", b"leased", 7]])


REMOVALS = [delete, delete_range, delete_in_a_branch, put_with_a_lease]


@pytest.mark.parametrize("remove", REMOVALS)
def test_no_key_is_the_initial_state_until_a_removal_begins(history, remove):
    get(history, b"k", None)
    under_way = history.invoke("g", GET, b"k")
    remove(history)
    history.ok(under_way, None)
    get(history, b"k", None)
    get(history, b"j0", b"1")
    get(history, b"a", None)
    answered = [done for _, done in parts_of(history) if done is not None]
    assert answered == [
        [("r", b"k", None)],
        [],
        [],
        [("r", b"j0", b"1")],
        [("r", b"a", None)],
    ]


@pytest.mark.parametrize("remove", REMOVALS)
def test_what_failed_removed_nothing(history, remove):
    history.failed(remove(history))
    get(history, b"k", None)
    assert parts_of(history)[-1][1] == [("r", b"k", None)]


def test_a_delete_that_found_no_key_removed_nothing(history):
    history.ok(delete(history), False, revision=0)
    get(history, b"k", None)
    assert parts_of(history)[-1][1] == [("r", b"k", None)]


def test_a_value_that_was_written_twice_has_no_writer(history):
    for value in (b"1", b"2", b"1"):
        put(history, b"k", value)
    put(history, b"other", b"1")
    get(history, b"k", b"1")
    get(history, b"k", b"2")
    answered = [done for _, done in parts_of(history)]
    assert answered == [
        [],
        [("w", b"k", b"2")],
        [],
        [("w", b"other", b"1")],
        [],
        [("r", b"k", b"2")],
    ]


def test_an_unanswered_write_of_the_same_value_counts(history):
    put(history, b"k", b"1")
    history.invoke("p", PUT, b"k", value=b"1")
    assert parts_of(history) == [([], []), ([], None)]


def test_both_branches_may_write_the_same_value(history):
    branch = [[commands.PUT, b"a", b"1"]]
    history.failed(txn(history, branch, branch))
    assert parts_of(history)[0][0] == [("w", b"a", b"1")] * 2


def add(history, number, answer=None):
    pair = None if answer is None else (0, (answer,))
    return txn(history, [], [[ADD, b"n", number]], answer=pair)


def test_a_key_that_only_grows_has_no_value_twice(history):
    add(history, 2, answer=2)
    add(history, 1)
    get(history, b"n", b"3")
    assert parts_of(history)[0][1] == [("w", b"n", b"2")]
    assert parts_of(history)[2][1] == [("r", b"n", b"3")]


@pytest.mark.parametrize(
    "disturb",
    [
        lambda history: put(history, b"n", b"7"),
        lambda history: history.invoke("d", DELETE, b"n"),
        lambda history: add(history, -1),
    ],
)
def test_other_keys_with_a_sum_of_unknown_value_are_left_out(history, disturb):
    add(history, 2, answer=2)
    disturb(history)
    get(history, b"n", b"3")
    add(history, 1)
    parts = parts_of(history)
    assert (parts[0][1], parts[2][1]) == ([], [])


def test_an_answer_that_lost_its_results_does_not_say_the_sum(history):
    add(history, 2, answer=2)
    put(history, b"n", b"7")
    history.ok(add(history, 1), (0, None), revision=9)
    get(history, b"n", b"3")
    assert parts_of(history)[-1][1] == []
