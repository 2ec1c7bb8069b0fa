"""Transactions that meet a limit leave no trace; answers that are kept are bounded."""

import pytest

from paxosd.core.cluster_settings import LEVEL_COORDINATION
from paxosd.core.commands import (
    DELETE,
    DELETE_RANGE,
    GRANT,
    KEEPALIVE,
    PUT,
    REVOKE,
    TXN,
    Batch,
    Entry,
    Status,
)
from paxosd.core.state import sessions as kept
from paxosd.core.state.quota import QUOTA_RESULT
from paxosd.core.state.slot_allowance import IDS_MAX, STEPS_MAX
from paxosd.core.state.snapshot import Restore, SnapshotWalk, session_of
from paxosd.core.transactions import (
    ADD,
    EQUAL,
    EVERY,
    GET_KEY,
    GET_RANGE,
    GREATER,
    KEYS_MAX,
    LEASE,
    LEASE_FULL,
    LESS,
    NO_LEASE,
    NO_NUMBER,
    NUMBER_RANGE,
    PARTS_MAX,
    TOO_LARGE,
    TOO_MANY_KEYS,
    VALUE,
    VERSION,
    is_branch_result,
    is_transaction,
)
from tests.core.state.parts import copy_history, fingerprint
from tests.core.state.transaction_site import Site

MALFORMED = (Status.MALFORMED, 0, None)


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
        [TXN, [], [[PUT, b"k", b"v", 0]], []],
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
    command[2][0][2][0][2][0][2][:] = [[PUT, b"k", b"v"], [GET_RANGE, b"", b"", 0, False, False]]
    (deepest,) = Site().do(command)
    assert is_branch_result(deepest[2])


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


WINDOW = (Status.WINDOW, 0, None)


@pytest.mark.parametrize("apart", [False, True])
def test_those_of_one_slot_share_a_limit_and_the_others_come_again(apart):
    site = Site()
    many(site, KEYS_MAX)
    read = [TXN, [], [[GET_RANGE, b"k", b"l", 0, False, True], [ADD, b"a", 1]], []]
    commands = [*[read] * 3, [PUT, b"b", b""]]
    size = 1 if apart else len(commands)
    site.seq = 1 + KEYS_MAX
    entries = [
        Entry(1, site.seq + at, KEYS_MAX, commands[at : at + size])
        for at in range(0, len(commands), size)
    ]
    done = STEPS_MAX // KEYS_MAX  # the operations count as well
    results = [result for each in site.apply(*entries) for result in each]
    assert [each[2][1][1] for each in results[:done]] == list(range(1, done + 1))
    assert results[done] == WINDOW
    assert results[-1] == (KEYS_MAX + done + 1 if apart else WINDOW), "in order within a request"
    again = [result for each in site.apply(*entries) for result in each]
    assert again[done][2][1][1] == done + 1
    assert again[:done] == [(*each[:2], (1, None)) for each in results[:done]]
    assert again[-1] == KEYS_MAX + done + (1 if apart else 2)


def test_what_follows_in_a_request_waits_also_where_some_of_it_was_done_before():
    site = Site()
    many(site, KEYS_MAX)
    read = [TXN, [], [[GET_RANGE, b"k", b"l", 0, False, True]], []]
    first, acked = site.seq, site.seq - 1
    commands = [[PUT, b"a", b""], read, read, read, [PUT, b"b", b""], [PUT, b"c", b""]]
    site.apply(Entry(1, first, acked, commands[:1]), Entry(1, first + 4, acked, commands[4:5]))
    results = site.apply(Entry(1, first, acked, commands))[0]
    assert [results[0], results[4]] == [KEYS_MAX + 1, KEYS_MAX + 2], "as they were answered before"
    assert [each[0] for each in results[1:3]] == [Status.OK] * 2
    assert [results[3], results[5]] == [WINDOW] * 2
    assert site.apply(Entry(1, first, acked, commands))[0][5] == KEYS_MAX + 3


def test_a_slot_begins_with_a_whole_allowance_also_after_a_reset():
    site = Site()
    many(site, 1000)
    read = [TXN, [], [[GET_RANGE, b"k", b"l", 0, False, True]], []]
    batch = Batch(0, [Entry(1, site.seq, site.seq - 1, [read] * 9)])
    settings = site.machine.settings
    first = site.machine.apply(site.machine.applied + 1, batch)
    assert [each[0] for each in first[0]].count(Status.OK) == STEPS_MAX // 1000 + 1
    log = site.batches
    site.machine.reset()
    site.machine.settings = settings
    for slot, each in enumerate(log, 1):
        site.machine.apply(slot, each)
    assert site.machine.apply(len(log) + 1, batch) == first


def test_renewals_of_one_slot_share_a_limit_and_the_others_come_again():
    site = Site()
    site.do([GRANT, 10_000, 7])
    renew = [KEEPALIVE, [7] * 1000]
    entries = [Entry(1, site.seq + at, site.seq - 1, [renew]) for at in range(20)]
    done = IDS_MAX // 1000 + 1
    results = [each for (each,) in site.apply(*entries)]
    assert [each[0] for each in results] == [Status.OK] * done + [Status.WINDOW] * (20 - done)
    assert [each[0] for (each,) in site.apply(*entries)] == [Status.OK] * 20


def test_below_the_level_nothing_is_put_off():
    """As nodes of before would not."""
    site = Site(LEVEL_COORDINATION - 1)
    renew, read = [KEEPALIVE, [7] * 1000], [TXN, [], [], []]
    assert site.do(*[renew] * 20, read) == [MALFORMED] * 21


def test_one_that_is_allowed_is_never_refused_for_what_others_read():
    """Clients pack calls of several threads into one request."""
    site = Site()
    site.do([PUT, b"k", b"v" * 1_000_000])
    read = [TXN, [], [[GET_KEY, b"k"]], []]
    results = site.do(*[read] * 7)
    assert [each[0] for each in results] == [Status.OK] * 5 + [Status.WINDOW] * 2


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
    site.machine.store.quota.change(1000)
    site.do([PUT, b"old", b"v" * 400])
    put = [PUT, b"new", b"v" * 500]
    assert site.txn([put, [PUT, b"other", b"v"]]) == QUOTA_RESULT
    assert site.machine.revision == 1
    assert site.txn([put, [DELETE, b"old"]])[:2] == (Status.OK, 2), "what goes makes room"


def test_a_put_attaches_its_key_to_a_lease_once_it_is_done():
    site = Site()
    (granted,) = site.do([GRANT, 10_000, 7])
    assert granted == (Status.OK, 0, 7)
    taken = site.txn(
        [[PUT, b"lock/1", b"me", 7], [PUT, b"other", b"x", 7], [PUT, b"other", b"y"]],
        (),
        [VERSION, EQUAL, b"lock/", 0, b"lock0", EVERY],
    )
    assert taken == (Status.OK, 1, (1, (1, 1, 1)))
    holds = [LEASE, EQUAL, b"lock/1", 7]
    assert site.txn([], (), holds, [LEASE, EQUAL, b"other", 0], [LEASE, EQUAL, b"no", 0])[2][0] == 1
    inner = [TXN, [holds], [], []]
    assert site.txn([[DELETE, b"lock/1"], inner])[2] == (1, (1, (0, ())))
    site.txn([[PUT, b"lock/2", b"me", 7]])
    assert site.do([REVOKE, 7]) == [(Status.OK, 4, 1)]
    assert site.rows().keys() == {b"other"}
    refused = site.txn([[PUT, b"a", b"1"], [PUT, b"lock/3", b"me", 7]])
    assert refused == (Status.TXN_REFUSED, 4, NO_LEASE)
    assert b"a" not in site.rows()


def test_no_more_keys_than_a_lease_can_have():
    site = Site()
    site.do([GRANT, 10_000, 7])
    for first in (0, 512):
        puts = [[PUT, b"k%04d" % n, b"", 7] for n in range(first, first + 512)]
        assert site.txn(puts)[0] == Status.OK
    more = [[PUT, b"k0000", b"1", 7], [PUT, b"x", b"", 7]]
    assert site.txn(more) == (Status.TXN_REFUSED, 2, LEASE_FULL)
    assert site.txn(more[:1])[0] == Status.OK


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
    copy_history(walk, restore)
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
