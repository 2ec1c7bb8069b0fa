"""The auditor on a log with rights: a change of members without the right to it has no effect."""

import pytest

from paxosctl.audit.membership import Epochs, changes_in, make
from paxosd.core.commands import MEMBERS, RIGHTS, Entry
from paxosd.core.membership import Member, Membership
from paxosd.core.rights import NO_RIGHTS, Principal, RightsTable, admin_of
from paxosd.wire import encode_batch, encode_entry

ROOT, OPS, APP = (bytes([number]) * 32 for number in (1, 2, 3))
TABLE = RightsTable(
    1, True, (Principal("app", "client", keys=(APP,)), Principal("ops", "operator", keys=(OPS,)),
              admin_of("root", (ROOT,)))
)  # fmt: skip
BEFORE = {name: Member(f"tcp://h:{at}1", f"tcp://h:{at}2", f"tcp://h:{at}3", True, at)
          for at, name in enumerate(("n1", "n2", "n3"), 1)}  # fmt: skip
AFTER = Membership({name: BEFORE[name] for name in ("n1", "n2")}, epoch=1, slot=1)


def rights(version, table, key):
    return [RIGHTS, version, table.to_command(), key]


def members(*key):
    return [MEMBERS, 0, AFTER.to_command(), *key]


def epochs_of(*slots):
    epochs, changes = Epochs(), []
    epochs.add(make(0, 0, dict.fromkeys(BEFORE, 1), 0, 0))
    for slot, commands in enumerate(slots, 1):
        value = encode_batch(0, [encode_entry(Entry(0, 1, 0, [each])) for each in commands])
        changes += changes_in(slot, value)
    epochs.apply(changes)
    return sorted(epochs.known)


FIRST = [rights(0, TABLE, b"")]
LESS = RightsTable(1, True, (admin_of("root", (ROOT,)),), frozenset({OPS}))


@pytest.mark.parametrize(
    ("slots", "epochs"),
    [
        ([[members(APP)]], [0, 1]),  # nothing is required yet
        ([FIRST, [members()]], [0, 1]),  # a node vouches for it
        ([FIRST, [members(OPS)]], [0, 1]),
        ([FIRST, [members(ROOT)]], [0, 1]),
        ([FIRST, [members(APP)]], [0]),
        ([[*FIRST, members(APP)]], [0, 1]),  # in force from the next slot on
        ([FIRST, [rights(1, LESS, ROOT)], [members(OPS)]], [0]),
        ([FIRST, [rights(1, LESS, ROOT), members(OPS)]], [0, 1]),
        ([FIRST, [rights(1, LESS, OPS)], [members(OPS)]], [0, 1]),  # an operator may not
        ([FIRST, [rights(0, LESS, ROOT)], [members(OPS)]], [0, 1]),  # of another version
        ([FIRST, [[RIGHTS, 1, b'{"principals"', ROOT]], [members(OPS)]], [0, 1]),
    ],
)
def test_it_goes_by_the_rights_in_force(slots, epochs):
    assert epochs_of(*slots) == epochs


def test_it_agrees_with_the_table_of_the_daemon():
    assert NO_RIGHTS.follow(TABLE.to_command()) == TABLE
