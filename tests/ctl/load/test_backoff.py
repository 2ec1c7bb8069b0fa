"""The pauses before what was refused is sent again."""

import random

import pytest

from paxosctl.load.backoff import MAX_NS, MIN_NS, NEVER_NS, Backoff


@pytest.fixture
def backoff():
    seed = random.randrange(1 << 32)
    print("seed", seed)
    return Backoff(random.Random(seed))


def test_nothing_waits_at_first(backoff):
    assert (len(backoff), backoff.next_ns, backoff.take(NEVER_NS)) == (0, NEVER_NS, [])


@pytest.mark.parametrize(
    ("refusals", "most_ns"), [(1, MIN_NS), (2, 2 * MIN_NS), (3, 4 * MIN_NS), (99, MAX_NS)]
)
def test_a_pause_is_twice_as_long_each_time_up_to_a_bound(backoff, refusals, most_ns):
    pauses = []
    for _ in range(100):
        backoff.add("it", refusals, 1000)
        pauses.append(backoff.next_ns - 1000)
        assert backoff.take(backoff.next_ns - 1) == []
        assert backoff.take(backoff.next_ns) == ["it"]
    assert most_ns // 2 <= min(pauses) < max(pauses) <= most_ns


def test_each_comes_back_when_it_is_due(backoff):
    for number in range(5):
        backoff.add(number, 1, number * MAX_NS)
    assert backoff.take(2 * MAX_NS + MIN_NS) == [0, 1, 2]
    assert len(backoff) == 2
    assert backoff.take(NEVER_NS) == [3, 4]
