"""A checksum computed in steps beside writes equals the one computed at once."""

import struct
from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paxosd.core.commands import (
    CAS_VALUE,
    CHECKSUM,
    DELETE,
    DELETE_RANGE,
    OPEN,
    PUT,
    Batch,
    Entry,
    Status,
)
from paxosd.core.state import machine
from paxosd.core.state.checksum import FINISHED_MAX, RUNS_MAX, sum_of
from paxosd.core.state.entries import pack_numbers
from paxosd.core.state.machine import Machine

KEYS = st.sampled_from([b"%d" % n for n in range(8)])
VALUES = st.sampled_from([b"", b"x", b"y" * 40])
COMMANDS = st.one_of(
    st.tuples(st.just(PUT), KEYS, VALUES).map(list),
    st.tuples(st.just(DELETE), KEYS).map(list),
    st.tuples(st.just(DELETE_RANGE), KEYS, KEYS).map(list),
    st.tuples(st.just(CAS_VALUE), KEYS, st.none() | VALUES, VALUES).map(list),
    st.sampled_from([[PUT, "k", b""], [DELETE_RANGE, b"", 3], [99, b"k"], 5]),
)


def batches(lists, checksum_every):
    """One slot per list of commands; every n-th asks for a checksum too."""
    yield Batch(1, [Entry(0, 1, 0, [[OPEN]])])
    seq = 1
    for place, commands in enumerate(lists):
        entries = [Entry(1, seq, seq - 1, commands)]
        seq += len(commands)
        if place % checksum_every == 0:
            entries.insert(0, Entry(0, 1, 0, [[CHECKSUM]]))
        yield Batch(place, entries)


def replay(lists, checksum_every, keys_max):
    """Apply, with a step of ``keys_max`` keys between slots (None: all at once)."""
    machine = Machine()
    for slot, batch in enumerate(batches(lists, checksum_every), 1):
        machine.apply(slot, batch)
        while not machine.advance_checksum(keys_max or 1) and keys_max is None:
            pass
    while not machine.advance_checksum(3):
        pass
    return machine.checksums


class TestSteps:
    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.lists(COMMANDS, max_size=6), min_size=1, max_size=12), st.integers(1, 4))
    def test_in_steps_beside_writes_equals_at_once(self, lists, keys_max):
        # Few enough runs at a time that none is skipped.
        every = max(1, -(-len(lists) // RUNS_MAX))
        at_once = replay(lists, every, None)
        assert len(at_once) == len(range(0, len(lists), every))
        assert replay(lists, every, keys_max) == at_once

    def test_keys_written_more_than_once_while_it_runs(self, monkeypatch):
        lists = [[[PUT, b"%d" % n, b"x"] for n in range(8)]] * 4
        at_once = replay(lists, 4, None)
        assert replay(lists, 4, 1) == at_once
        monkeypatch.setattr(machine, "preserve", lambda store, entries: None)
        with pytest.raises(AssertionError):
            replay(lists, 4, 1)

    def test_large_values_shorten_a_step(self):
        machine = Machine()
        puts = [[PUT, b"%d" % n, b"x" * 100_000] for n in range(4)]
        for slot, batch in enumerate(batches([puts], 1), 1):
            machine.apply(slot, batch)
        steps = 1
        while not machine.advance_checksum(50):
            steps += 1
        assert steps == 4


def hash_row(key, entry):
    """What all versions of the program agree on for one row."""
    value, create, modify, version = entry
    head = struct.pack("<QQQQQ", len(key), len(value), create, modify, version)
    return int.from_bytes(blake2b(head + key + value, digest_size=8).digest(), "little")


NUMBERS = st.integers(1, (1 << 63) - 1)


class TestContent:
    @given(
        st.integers(0, (1 << 64) - 1),
        st.lists(st.tuples(st.binary(), st.tuples(st.binary(), NUMBERS, NUMBERS, NUMBERS))),
    )
    def test_rows_are_summed_up(self, total, rows):
        keys = [key for key, _ in rows]
        packed = [pack_numbers(*numbers) + value for _, (value, *numbers) in rows]
        want = (total + sum(hash_row(key, entry) for key, entry in rows)) % (1 << 64)
        assert sum_of(total, keys, packed) == want

    def test_every_field_counts(self):
        base = hash_row(b"k", (b"v", 1, 2, 3))
        others = [
            hash_row(b"l", (b"v", 1, 2, 3)),
            hash_row(b"k", (b"w", 1, 2, 3)),
            hash_row(b"k", (b"v", 0, 2, 3)),
            hash_row(b"k", (b"v", 1, 3, 3)),
            hash_row(b"k", (b"v", 1, 2, 4)),
            hash_row(b"kv", (b"", 1, 2, 3)),
        ]
        assert base not in others
        assert len(set(others)) == len(others)

    def test_sessions_are_part_of_it(self):
        sums = []
        for opens in (1, 2):
            machine = Machine()
            machine.apply(1, Batch(5, [Entry(0, 1, 0, [[OPEN]] * opens)]))
            machine.apply(2, Batch(5, [Entry(0, 1, 0, [[CHECKSUM]])]))
            machine.advance_checksum(1)
            sums.append(machine.checksums[2])
        assert sums[0] != sums[1]


class TestBounds:
    def ask(self, machine, times):
        for _ in range(times):
            slot = machine.applied + 1
            answer = machine.apply(slot, Batch(1, [Entry(0, 1, 0, [[CHECKSUM], [CHECKSUM]])]))
            assert answer == [[(Status.OK, 0, slot)] * 2]

    def test_the_last_results_are_kept(self):
        machine = Machine()
        for _ in range(FINISHED_MAX + 5):
            self.ask(machine, 1)
            machine.advance_checksum(1)
        assert list(machine.checksums) == list(range(6, FINISHED_MAX + 6))

    def test_runs_are_bounded_and_one_too_many_is_not_computed(self):
        machine = Machine()
        self.ask(machine, RUNS_MAX + 2)
        assert machine.checksum_pending(RUNS_MAX)
        assert not machine.checksum_pending(RUNS_MAX + 1)
        assert machine.checksum_runs.skipped_slots == 2
        while not machine.advance_checksum(1):
            pass
        assert list(machine.checksums) == list(range(1, RUNS_MAX + 1))

    def test_none_starts_during_replay(self):
        machine = Machine()
        machine.checksums_enabled = False
        self.ask(machine, 1)
        assert machine.advance_checksum(1)
        assert machine.checksums == {}
