"""What a key costs in memory (docs/MEMORY.md), counted object by object: nothing is measured."""

import gc
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxosd.core.commands import DELETE, PUT
from paxosd.core.state.entries import Entries
from paxosd.core.state.walk import Walk
from tests.core.state.parts import new_store

KEYS = 20_000
NAME_BYTES = 16
VALUE_BYTES = 100
BYTES_PER_KEY_MAX = 285
"""The name and the value as objects 49 and 157, both rounded up by the allocator to 64 and 160; the
rest is the tables': 8 to 12 in the index, some 40 in the dictionaries. With a tuple for each entry
it was 402."""


def objects_of(*roots):
    """All objects that the roots hold, each of them once; no types."""
    found, waiting = {}, list(roots)
    while waiting:
        one = waiting.pop()
        if id(one) not in found and not isinstance(one, type):
            found[id(one)] = one
            waiting += gc.get_referents(one)
    return list(found.values())


def bytes_per_key(store):
    """In memory, with what the allocator adds to small objects: it has sizes in steps of 16."""
    objects = objects_of(store.data, store._index, store.added, store.removed)
    return sum(-sys.getsizeof(one) // 16 * -16 for one in objects) / len(store)


def name_of(number):
    return b"%016d" % number


def put_all(store, numbers, first_byte=b"v"):
    # Names and values are new objects, as they come out of a decoder.
    puts = [[PUT, name_of(number), first_byte + bytes(VALUE_BYTES - 1)] for number in numbers]
    for at in range(0, len(puts), 500):
        store.run(puts[at : at + 500], [], [], 0)
        store.settle(500)


@pytest.fixture(params=["in order", "in no order"])
def store(request):
    numbers = range(KEYS)
    if request.param == "in no order":
        numbers = [number * 7919 % KEYS for number in numbers]
    made = new_store()
    put_all(made, numbers)
    assert len(made) == KEYS
    return made


class TestBudget:
    def test_of_keys_that_were_written_once(self, store):
        assert bytes_per_key(store) < BYTES_PER_KEY_MAX

    def test_of_keys_that_were_written_again(self, store):
        put_all(store, range(KEYS), b"w")
        assert bytes_per_key(store) < BYTES_PER_KEY_MAX

    def test_of_keys_from_a_snapshot(self, store):
        walk, loaded = Walk(store), new_store()
        while not walk.done:
            assert loaded.load(*walk.take_packed(500, 1 << 20))
        assert len(loaded) == KEYS
        assert bytes_per_key(loaded) < BYTES_PER_KEY_MAX

    def test_of_keys_half_of_which_were_deleted(self, store):
        """What they had goes, but not the tables' room for them, here as much again."""
        store.run([[DELETE, name_of(number)] for number in range(0, KEYS, 2)], [], [], 0)
        store.settle(KEYS // 2)
        assert bytes_per_key(store) < BYTES_PER_KEY_MAX + 60

    def test_a_name_and_an_entry_are_one_object_each(self, store):
        store.fold_in()
        kinds = [type(one) for one in objects_of(store.data, store._index)]
        assert kinds.count(bytes) == 2 * KEYS, "index and dictionaries share the names"
        assert kinds.count(tuple) == 0, "the collector has nothing to walk"

    def test_a_kept_entry_is_not_copied(self, store):
        walk = Walk(store)
        key = name_of(3)
        before = store.data.packed(key)
        walk.keep(key, before)
        store.put(key, b"another")
        assert walk._kept.packed(key) is before
        walk.close()


NUMBERS = st.integers(0, (1 << 64) - 1)


@given(st.binary(max_size=3), NUMBERS, NUMBERS, NUMBERS)
def test_an_entry_is_what_was_packed(value, create, modify, version):
    entries = Entries()
    entries[b"k"] = value, create, modify, version
    assert entries[b"k"] == (value, create, modify, version)
    assert entries == {b"k": (value, create, modify, version)}
