"""The changes of a slot from its batch and its exceptions."""

from paxosd.core.commands import (
    CAS_VALUE,
    DELETE,
    DELETE_RANGE,
    LEASE_EXPIRED,
    PUT,
    TXN,
    Batch,
    Change,
    Entry,
    KeysChanged,
    each_change,
)
from paxosd.core.state.derivation import (
    BEFORE_COMMANDS,
    Written,
    derive_changes,
    operations_of,
)

INNER = [TXN, [], [[PUT, b"b", b"2"]], [[DELETE, b"c"]]]
OUTER = [TXN, [], [[PUT, b"d", b"1"], INNER], [[PUT, b"a", b"3"]]]


def batch(*commands):
    return Batch(1, [Entry(1, 1, 0, list(commands))])


def test_operations_come_in_the_order_in_which_they_are_written():
    assert list(operations_of(OUTER)) == [
        [PUT, b"d", b"1"],
        INNER,
        [PUT, b"b", b"2"],
        [DELETE, b"c"],
        [PUT, b"a", b"3"],
    ]


def test_a_transaction_is_one_revision_and_its_values_stand_in_the_command():
    commands = batch([PUT, b"x", b"0"], OUTER, [PUT, b"y", b"9"])
    changed = Written([b"a", b"b", b"c", b"n"], [4, 2, None, b"17"])
    found = derive_changes(5, commands, 10, [(1, 1, changed)])
    assert list(each_change(found)) == [
        Change(11, 5, b"x", b"0"),
        Change(12, 5, b"a", b"3"),
        Change(12, 5, b"b", b"2"),
        Change(12, 5, b"c", None),
        Change(12, 5, b"n", b"17"),
        Change(13, 5, b"y", b"9"),
    ]


def test_what_no_command_did_comes_first_and_says_why():
    skipped = [
        (BEFORE_COMMANDS, 1, [b"l1", b"l2"]),
        (BEFORE_COMMANDS, 1, [b"m"]),
        (0, 1, ()),
        (1, 1, [b"r1", b"r2"]),
    ]
    commands = batch([CAS_VALUE, b"x", b"0", b""], [DELETE_RANGE, b"r", b"s"], [DELETE, b"z"])
    assert derive_changes(5, commands, 10, skipped) == [
        KeysChanged(11, 5, [b"l1", b"l2"], reason=LEASE_EXPIRED),
        KeysChanged(12, 5, [b"m"], reason=LEASE_EXPIRED),
        KeysChanged(13, 5, [b"r1", b"r2"]),
        Change(14, 5, b"z", None),
    ]


def test_a_slot_without_commands_may_have_changes():
    found = derive_changes(5, Batch(1, []), 10, [(BEFORE_COMMANDS, 1, [b"l"])])
    assert found == [KeysChanged(11, 5, [b"l"], reason=LEASE_EXPIRED)]
