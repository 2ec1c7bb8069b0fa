"""The data store alone: revisions, scans, pages, and the lazy index against a plain dict."""

from hypothesis import given, settings
from hypothesis import strategies as st

from paxosd.core.commands import (
    CAS_REVISION,
    CAS_VALUE,
    CLOSE,
    DELETE,
    DELETE_RANGE,
    PUT,
    KeyValue,
    Status,
)
from paxosd.core.state.queries import ROW_OVERHEAD_BYTES
from tests.core.state.parts import keys_between, new_store, page_of


def run(store, *commands):
    """Apply; returns (results, skipped)."""
    results, skipped = [], []
    assert store.run(list(commands), results, skipped, 0)
    return results, skipped


def scan(store, start=b"", end=b"", limit=0, reverse=False, keys_only=False, bytes_max=1 << 30):
    return page_of(store, start, end, limit, reverse, keys_only, bytes_max)


def filled(*keys):
    store = new_store()
    run(store, *([PUT, key, b"v-" + key] for key in keys))
    return store


class TestWrites:
    def test_put_counts_revisions_and_versions(self):
        store = new_store()
        assert run(store, [PUT, b"a", b"1"], [PUT, b"b", b"2"], [PUT, b"a", b"3"])[0] == [1, 2, 3]
        assert store.get(b"a") == KeyValue(b"a", b"3", 1, 3, 2)
        assert store.get(b"b") == KeyValue(b"b", b"2", 2, 2, 1)
        assert store.get(b"c") is None
        assert len(store) == 2

    def test_delete_of_nothing_moves_no_revision(self):
        store = filled(b"a")
        results, skipped = run(store, [DELETE, b"x"], [DELETE, b"a"], [DELETE, b"a"])
        assert results == [(Status.NOT_FOUND, 1, None), 2, (Status.NOT_FOUND, 2, None)]
        assert skipped == [(0, 1, ()), (2, 1, ())]

    def test_a_key_created_again_starts_at_version_1(self):
        store = filled(b"a")
        run(store, [DELETE, b"a"], [PUT, b"a", b"new"])
        assert store.get(b"a") == KeyValue(b"a", b"new", 3, 3, 1)

    def test_delete_range_is_one_revision_and_names_its_keys(self):
        store = filled(b"a", b"b1", b"b2", b"c")
        results, skipped = run(store, [DELETE_RANGE, b"b", b"c"], [DELETE_RANGE, b"b", b"c"])
        assert results == [(Status.OK, 5, 2), (Status.NOT_FOUND, 5, None)]
        assert [(*each, list(keys)) for *each, keys in skipped] == [
            (0, 1, [b"b1", b"b2"]),
            (1, 1, []),
        ]
        assert run(store, [DELETE_RANGE, b"", b""])[0] == [(Status.OK, 6, 2)]
        assert len(store) == 0

    def test_cas_by_value(self):
        store = new_store()
        results, _ = run(
            store,
            [CAS_VALUE, b"k", b"", b"x"],
            [CAS_VALUE, b"k", None, b"x"],
            [CAS_VALUE, b"k", None, b"y"],
            [CAS_VALUE, b"k", b"x", b"y"],
        )
        assert results == [(Status.CAS_MISS, 0, None), 1, (Status.CAS_MISS, 1, None), 2]

    def test_cas_by_revision(self):
        store = new_store()
        results, _ = run(
            store,
            [CAS_REVISION, b"k", 1, b"x"],
            [CAS_REVISION, b"k", 0, b"x"],
            [CAS_REVISION, b"k", 0, b"y"],
            [CAS_REVISION, b"k", 1, b"y"],
        )
        assert results == [(Status.CAS_MISS, 0, None), 1, (Status.CAS_MISS, 1, None), 2]

    def test_stops_before_a_command_that_is_not_its_own_and_goes_on_after_it(self):
        store = new_store()
        commands = [[PUT, b"a", b"1"], [CLOSE], [PUT, b"b", b"2"]]
        results, skipped = [], []
        assert not store.run(commands, results, skipped, 0)
        assert results == [1]
        results.append("closed")
        assert store.run(commands, results, skipped, 0)
        assert results == [1, "closed", 2]

    def test_malformed_commands_change_nothing(self):
        bad = [
            [],
            7,
            None,
            {},
            [[]],
            [PUT],
            [PUT, b"k"],
            [PUT, "k", b"v"],
            [PUT, b"k", None],
            [PUT, [], b"v"],
            [PUT, b"k", b"v", b"x", b"y"],
            [DELETE, 5],
            [DELETE_RANGE, b"a"],
            [DELETE_RANGE, b"a", None],
            [CAS_VALUE, b"k", 5, b"v"],
            [CAS_REVISION, b"k", b"v", b"v"],
            [CAS_REVISION, b"k", -1, b"v"],
            [CAS_REVISION, b"k", True, b"v"],
        ]
        store = filled(b"k")
        results, skipped = run(store, *bad)
        assert results == [(Status.MALFORMED, 0, None)] * len(bad)
        assert len(skipped) == len(bad)
        assert store.revision == 1


class TestScans:
    def test_bounds_are_start_inclusive_end_exclusive(self):
        store = filled(b"a", b"b", b"c")
        assert [row.key for row in scan(store, b"a", b"c").rows] == [b"a", b"b"]
        assert [row.key for row in scan(store, b"b").rows] == [b"b", b"c"]
        assert scan(store, b"c", b"a").rows == []
        assert scan(store, b"b", b"b").rows == []

    def test_pages_forward_and_reverse_cover_everything_once(self):
        store = filled(*(b"%02d" % n for n in range(10)))
        keys, start = [], b""
        while start is not None:
            page = scan(store, start, limit=3)
            keys += [row.key for row in page.rows]
            start = page.more
        assert keys == [b"%02d" % n for n in range(10)]
        back, end = [], b""
        while end is not None:
            page = scan(store, end=end, limit=3, reverse=True)
            back += [row.key for row in page.rows]
            end = page.more
        assert back == keys[::-1]

    def test_a_full_page_that_is_the_last_has_no_more(self):
        assert scan(filled(b"a", b"b"), limit=2).more is None
        assert scan(filled(b"a", b"b"), limit=1).more == b"b"

    def test_bytes_bound_a_page_but_one_row_always_comes(self):
        store = filled(b"a", b"b", b"c")
        row_bytes = 1 + 3 + ROW_OVERHEAD_BYTES
        assert len(scan(store, bytes_max=2 * row_bytes).rows) == 2
        assert len(scan(store, bytes_max=2 * row_bytes - 1).rows) == 1
        assert len(scan(store, bytes_max=0).rows) == 1

    def test_keys_only(self):
        assert scan(filled(b"a"), keys_only=True).rows == [KeyValue(b"a", b"", 1, 1, 1)]


KEYS = st.sampled_from([b"%d" % n for n in range(12)] + [b"", b"\xff", b"\xff\xff"])
STEPS = st.one_of(
    st.tuples(st.just("put"), KEYS),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("delete_range"), st.tuples(KEYS, KEYS)),
    st.tuples(st.just("scan"), st.tuples(KEYS, KEYS, st.booleans())),
    st.tuples(st.just("fold"), st.integers(0, 5)),
)


class TestIndex:
    @settings(deadline=None, max_examples=300)
    @given(st.lists(STEPS, max_size=60))
    def test_scans_equal_a_sorted_dict_however_the_index_was_folded(self, steps):
        store, model = new_store(), {}
        for kind, what in steps:
            if kind == "put":
                store.put(what, b"v")
                model[what] = b"v"
            elif kind == "delete":
                assert isinstance(store.delete(what), int) == (model.pop(what, None) is not None)
            elif kind == "delete_range":
                gone = [k for k in sorted(model) if what[0] <= k and (k < what[1] or not what[1])]
                assert list(store.delete_range(*what)[1]) == gone
                for key in gone:
                    del model[key]
            elif kind == "fold":
                done = store.advance_index(what)
                assert done == (store.index_lag_keys == 0)
            else:
                start, end, reverse = what
                rows = scan(store, start, end, reverse=reverse).rows
                want = [k for k in sorted(model) if start <= k and (k < end or not end)]
                assert [row.key for row in rows] == (want[::-1] if reverse else want)
        assert keys_between(store, b"", b"") == sorted(model)

    def test_folding_is_bounded_and_ends(self):
        store = filled(*(b"%03d" % n for n in range(100)))
        store.advance_index(30)
        assert store.index_lag_keys == 70
        store.delete(b"000")
        store.delete(b"099")
        while not store.advance_index(7):
            pass
        assert keys_between(store, b"", b"") == [b"%03d" % n for n in range(1, 99)]
