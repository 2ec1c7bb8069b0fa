"""The queue of commands: bounded, in order within a session, and shared fairly between sessions."""

import random

import pytest

from paxosd.core.commands import MEMBERS, PUT, Entry
from paxosd.core.fair_queue import FairQueue, Waiting

BATCH = 100
"""Commands."""


def waiting(session, number=1, commands=1, size=20, op=PUT):
    return Waiting((session, number), Entry(session, number, 0, [[op]] * commands), bytes(size))


def tokens(taken):
    return [each.token for each in taken]


class TestOrder:
    def test_what_fits_into_one_batch_goes_in_order_of_arrival(self):
        queue = FairQueue(1000, 1 << 20)
        for session, number in [(1, 1), (1, 2), (2, 1), (1, 3), (0, 1), (2, 2)]:
            assert queue.put(waiting(session, number))
        found = tokens(queue.take(BATCH, 1 << 20))
        assert found == [(1, 1), (1, 2), (2, 1), (1, 3), (0, 1), (2, 2)]
        assert (len(queue), queue.commands, queue.bytes) == (0, 0, 0)

    def test_one_at_a_time_waits_for_no_more_than_one_batch_behind_any_number_of_greedy_ones(self):
        queue = FairQueue(100_000, 1 << 30)
        for session in range(1, 31):
            for number in range(1, 101):
                assert queue.put(waiting(session, number))
        queue.take(BATCH, 1 << 20)
        assert queue.put(waiting(99))
        assert (99, 1) in tokens(queue.take(BATCH, 1 << 20))

    def test_large_entries_count_by_what_they_cost(self):
        """One sends 10 times as many bytes a command as the other: both get as much done in bytes,
        not in entries."""
        queue = FairQueue(100_000, 1 << 30)
        for number in range(1, 101):
            queue.put(waiting(1, number, commands=1, size=9_800))
            queue.put(waiting(2, number, commands=1, size=800))
        taken = tokens(queue.take(BATCH, 100_000))
        assert [session for session, _ in taken].count(2) > 3 * [s for s, _ in taken].count(1)

    def test_it_ends_a_batch_behind_a_change_of_the_members(self):
        for batch in (2, BATCH):
            queue = FairQueue(1000, 1 << 20)
            queue.put(waiting(1))
            queue.put(waiting(0, op=MEMBERS))
            queue.put(waiting(1, 2))
            assert tokens(queue.take(batch, 1 << 20)) == [(1, 1), (0, 1)]
            assert tokens(queue.take(batch, 1 << 20)) == [(1, 2)]

    def test_all_can_be_taken_back_in_order_of_arrival(self):
        queue = FairQueue(1000, 1 << 20)
        for number in range(1, 9):
            queue.put(waiting(number % 3, number))
        queue.take(3, 1 << 20)
        left = [number for _, number in tokens(queue.clear())]
        assert left == sorted(left)
        assert len(left) == 5
        assert not queue


class TestRoom:
    def test_a_session_alone_fills_half_of_it_and_the_next_one_finds_room(self):
        queue = FairQueue(100, 1 << 20)
        count = 0
        while queue.put(waiting(1, count + 1)):
            count += 1
        assert count == 50
        assert queue.put(waiting(2, commands=50))
        assert not queue.put(waiting(3))

    def test_however_many_fill_it_there_is_room_for_one_more(self):
        queue = FairQueue(20_000, 1 << 30)
        for number in range(1, 5_000):
            for session in range(1, 10):
                queue.put(waiting(session, number))
        assert queue.commands == pytest.approx(18_000, rel=0.01)
        assert queue.put(waiting(99, commands=1000))

    def test_it_is_bounded_in_bytes_as_well(self):
        queue = FairQueue(1000, 100)
        assert queue.put(waiting(1, size=40))
        assert not queue.put(waiting(1, 2, size=30))
        assert queue.put(waiting(2, size=60))
        assert not queue.put(waiting(3, size=1))

    def test_an_empty_one_takes_anything(self):
        queue = FairQueue(10, 10)
        assert queue.put(waiting(1, commands=50, size=500))
        assert tokens(queue.take(5, 5)) == [(1, 1)]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_nothing_is_lost_and_each_session_keeps_its_order(seed):
    chance = random.Random(seed)
    queue = FairQueue(200, 20_000)
    sent = dict.fromkeys(range(6), 0)
    got = dict.fromkeys(range(6), 0)
    held = []
    for _ in range(600):
        if chance.random() < 0.7:
            session = chance.choice([1, 1, 1, 2, 2, 3, 4, 5, 0])
            each = waiting(session, sent[session] + 1, chance.randrange(1, 20),
                           chance.randrange(2000))  # fmt: skip
            if queue.put(each):
                sent[session] += 1
                held.append(each)
        else:
            for each in queue.take(chance.randrange(1, 60), chance.randrange(1, 9000)):
                session, number = each.token
                assert number == got[session] + 1, f"seed {seed}"
                got[session] = number
                held.remove(each)
        assert len(queue) == len(held)
        assert queue.commands == sum(len(each.entry.commands) for each in held)
        assert queue.bytes == sum(len(each.blob) for each in held)
    while queue:
        for each in queue.take(10, 1000):
            held.remove(each)
    assert not held
    assert queue._lanes == {}
