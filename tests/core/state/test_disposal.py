"""Large things: many small dicts in place of a large one, and what goes, goes little by little."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paxosd.core.commands import CAS_REVISION, DELETE_RANGE, OPEN, PUT, Batch, Entry
from paxosd.core.disposal import Disposal
from paxosd.core.state import entries as entries_module
from paxosd.core.state.entries import Entries, pack_numbers
from paxosd.core.state.machine import Machine
from tests.core.state.parts import new_store, page_of

ROW = (b"v", 1, 1, 1)


def filled(count):
    machine = Machine()
    machine.apply(1, Batch(1, [Entry(0, 1, 0, [[OPEN]])]))
    puts = [[PUT, b"%05d" % n, b""] for n in range(count)]
    for at in range(0, count, 1000):
        entry = Entry(1, at + 1, at, puts[at : at + 1000])
        machine.apply(machine.applied + 1, Batch(1, [entry]))
    return machine


def steps_of(disposal):
    steps = 0
    while disposal.rest:
        disposal.advance(1000)
        steps += 1
    return steps


@pytest.fixture
def spreading_early(monkeypatch):
    """A few entries count as many."""
    monkeypatch.setattr(entries_module, "WHOLE_MAX", 3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=1))))
def test_entries_are_a_dict(spreading_early, steps):
    entries, model = Entries(), {}
    for put, key in steps:
        if put:
            entries[key] = model[key] = ROW
        elif key in model:
            del entries[key], model[key]
        assert (key in entries) == (key in model)
        assert entries.get(key) == model.get(key)
        assert len(entries) == len(model)
    assert entries == model
    assert sorted(entries) == sorted(model)


def test_no_dict_of_a_large_store_is_large():
    store = filled(20_000).store
    assert max(map(len, store.data.shards)) < 100


def test_nor_one_that_was_loaded():
    keys = [b"%05d" % n for n in range(20_000)]
    store = new_store()
    assert store.load(keys, [pack_numbers(1, 1, 1) + b"v"] * len(keys))
    assert max(map(len, store.data.shards)) < 100


def test_a_small_store_is_a_single_dict():
    store = filled(1_000).store
    assert len(store.data.shards) == 1


def test_a_store_that_becomes_large_within_a_batch_loses_nothing(spreading_early):
    """By commands of every kind, and by the one after which it is spread."""
    keys = [b"%d" % n for n in range(10)]
    store, results = new_store(), []
    commands = [[PUT, keys[0], b"a"]]
    commands += [[CAS_REVISION, key, 0, b"b"] for key in keys[1:6]]
    commands += [[PUT, key, b"c"] for key in keys]
    assert store.run(commands, results, [], 0)
    assert results == list(range(1, 17))
    assert len(store.data.shards) > 1
    rows = page_of(store, b"", b"", 0, False, False, 1 << 20).rows
    assert [(row.key, row.value, row.version) for row in rows] == [
        (key, b"c", 2 if n < 6 else 1) for n, key in enumerate(keys)
    ]


def test_what_was_given_up_is_empty(spreading_early):
    entries = Entries()
    for n in range(10):
        entries[b"%d" % n] = ROW
    assert sum(map(len, entries.give_up())) == 10
    assert not entries
    entries[b"a"] = ROW
    assert dict(entries) == {b"a": ROW}


def test_a_state_that_a_snapshot_replaces_goes_in_pieces():
    machine = filled(20_000)
    newer = filled(21_000)
    old = machine.store.data.shards[:]
    machine.adopt(newer)
    assert steps_of(machine.disposal) > 10
    assert sum(map(len, old)) == 20_000, "a holder of a part of it keeps it"


def test_a_forgotten_removal_goes_in_pieces():
    machine = filled(10_000)
    entry = Entry(1, 10_001, 10_000, [[DELETE_RANGE, b"", b""]])
    machine.apply(machine.applied + 1, Batch(1, [entry]))
    assert not machine.disposal.rest
    machine.history.release(machine.applied + 1)
    assert steps_of(machine.disposal) > 5


def test_one_helping_is_bounded():
    disposal = Disposal()
    disposal.add([[0] * 400 for _ in range(10)])
    disposal.advance(1000)
    assert len(disposal.rest) == 7
