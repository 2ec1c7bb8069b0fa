"""Shrinking: what is left fails, is small, and was found in few runs, always the same way."""

import random

import pytest

from paxosd.sim.campaign.shrink import NotFailingError, shrink


class Runs:
    """Counts the runs; a run fails if ``needed`` are all among its items."""

    def __init__(self, *needed):
        self.needed = set(needed)
        self.tried = []

    def __call__(self, items):
        self.tried.append(items)
        return self.needed <= set(items)


class TestLeavingOut:
    @pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100])
    def test_one_needed_item_is_found(self, size):
        for needed in {0, size // 2, size - 1}:
            found = shrink(range(size), Runs(needed))
            assert found.items == (needed,)
            assert found.complete

    def test_items_that_only_fail_together_are_all_kept_in_order(self):
        found = shrink(range(50), Runs(3, 17, 18, 44))
        assert found.items == (3, 17, 18, 44)

    def test_any_set_of_needed_items_is_found(self):
        seed = random.randrange(1 << 32)
        print(f"seed={seed}")
        rng = random.Random(seed)
        for _ in range(100):
            size = rng.randint(1, 40)
            needed = rng.sample(range(size), rng.randint(0, min(size, 5)))
            found = shrink(range(size), Runs(*needed), runs_max=1000)
            assert found.items == tuple(sorted(needed))
            assert found.complete

    def test_a_failure_that_needs_no_item_costs_two_runs(self):
        runs = Runs()
        found = shrink(range(100), runs)
        assert found.items == ()
        assert len(runs.tried) == found.runs == 2

    def test_one_of_many_takes_a_logarithm_of_runs(self):
        found = shrink(range(1024), Runs(700))
        assert found.runs <= 40

    def test_whichever_of_two_causes_is_kept_suffices(self):
        found = shrink(range(20), lambda items: 5 in items or 11 in items)
        assert found.items in {(5,), (11,)}

    def test_no_single_item_of_the_result_can_be_left_out(self):
        """Not monotone: an odd number of items below 10 fails, besides the whole."""
        whole = tuple(range(16))

        def fails(items):
            return items == whole or sum(item < 10 for item in items) % 2 == 1

        found = shrink(whole, fails)
        assert fails(found.items)
        for place in range(len(found.items)):
            assert not fails(found.items[:place] + found.items[place + 1 :])

    def test_no_list_is_run_twice(self):
        runs = Runs(2, 9, 30)
        shrink(range(40), runs)
        assert len(set(runs.tried)) == len(runs.tried)


class TestSimplifying:
    def test_each_item_becomes_as_simple_as_it_may(self):
        def fails(items):
            return sum(items) >= 100

        def halves(item):
            return [item // 2, item - 1] if item else []

        found = shrink([400, 3, 90], fails, simpler=halves)
        assert found.complete
        assert sum(found.items) == 100

    def test_what_simpler_items_make_superfluous_is_left_out(self):
        """The big one needs its helper, the small one does not."""

        def fails(items):
            return "small" in items or {"big", "helper"} <= set(items)

        found = shrink(["helper", "big"], fails, simpler=lambda x: ["small"] if x == "big" else [])
        assert found.items == ("small",)

    def test_items_need_not_be_hashable(self):
        found = shrink([{"a": 1}, {"b": 2}], lambda items: {"b": 2} in items)
        assert found.items == ({"b": 2},)


class TestBounds:
    def test_runs_are_bounded_and_the_best_so_far_is_kept(self):
        runs = Runs(3, 29)
        found = shrink(range(64), runs, runs_max=7)
        assert not found.complete
        assert len(runs.tried) == found.runs == 7
        assert runs.needed <= set(found.items)
        assert len(found.items) < 64

    def test_what_does_not_fail_is_refused(self):
        with pytest.raises(NotFailingError):
            shrink(range(5), lambda items: False)

    def test_the_first_run_can_be_spared(self):
        runs = Runs(1)
        shrink(range(2), runs, verify=False)
        assert runs.tried[0] == ()

    def test_the_same_question_has_the_same_answer(self):
        first, second = Runs(4, 8, 31), Runs(4, 8, 31)
        assert shrink(range(33), first) == shrink(range(33), second)
        assert first.tried == second.tried
