"""A lock: who holds it, who is woken, and that the holder knows first."""

import random
from itertools import pairwise

import pytest

from paxosd.core.client.calls import Refused
from paxosd.core.client.lock import SILENT_MS, LockPlan, Look, Submit
from paxosd.core.commands import GRANT, KEEPALIVE, PUT, REVOKE
from tests.core.client.lock_desk import Desk, Store


@pytest.fixture
def store():
    return Store()


def ops(desk):
    return [effect.command[0] for effect in desk.waiting if hasattr(effect, "command")]


class TestQueue:
    def test_the_first_holds_it_and_its_token_is_the_create_revision(self, store):
        first = Desk(store)
        assert first.settle() == "held"
        assert first.lock.token == store.rows[first.lock.key][0]

    def test_a_waiter_awaits_its_predecessor_alone(self, store):
        queue = [Desk(store) for _ in range(4)]
        states = [each.settle() for each in queue]
        assert states == ["held", "waiting", "waiting", "waiting"]
        for before, after in pairwise(queue):
            (awaited,) = after.awaited
            assert awaited.keys == {before.lock.key}

    def test_who_goes_wakes_the_next_with_a_larger_token(self, store):
        first, second = Desk(store), Desk(store)
        first.settle()
        second.settle()
        first.take(first.lock.release(0.0))
        first.settle()
        second.gone(first.lock.key)
        assert second.settle() == "held"
        assert second.lock.token > first.lock.token
        assert second.lock.looks == 2

    def test_a_waiter_whose_predecessor_leaves_the_queue_goes_on_to_wait(self, store):
        queue = [Desk(store) for _ in range(3)]
        for each in queue:
            each.settle()
        queue[1].take(queue[1].lock.release(0.0))
        queue[1].settle()
        queue[2].gone(queue[1].lock.key)
        assert queue[2].settle() == "waiting"
        assert queue[2].awaited[-1].keys == {queue[0].lock.key}

    @pytest.mark.parametrize("old", [False, True])
    def test_a_queue_of_several_pages(self, store, old):
        queue = [Desk(store, page_rows=2, old=old) for _ in range(5)]
        assert [each.settle() for each in queue] == ["held"] + 4 * ["waiting"]
        awaited = [each.awaited[0].keys for each in queue[1:]]
        assert awaited == [{each.lock.key} for each in queue[:-1]]
        assert [each.lock.looks for each in queue] == 5 * [1 + old]

    @pytest.mark.parametrize("shared", [1, 3])
    def test_how_much_a_look_reads_does_not_depend_on_the_queue(self, store, shared):
        queue = [Desk(store, shared=shared) for _ in range(40)]
        states = [each.settle() for each in queue]
        assert states == shared * ["held"] + (40 - shared) * ["waiting"]
        assert max(each.most_rows for each in queue) == 1 + shared
        assert [each.lock.looks for each in queue] == 40 * [1]

    def test_who_goes_between_two_pages_is_not_missed(self, store):
        first, second = Desk(store), Desk(store, page_rows=1)
        first.settle()
        for _ in range(3):  # GRANT, PUT, and the page with the first's key
            second.carry_out()
        first.take(first.lock.release(0.0))
        first.settle()
        gone_at = store.revision
        assert second.settle() == "waiting"
        (awaited,) = second.awaited
        assert awaited.keys == {first.lock.key}
        assert awaited.from_revision <= gone_at

    def test_a_semaphore_is_held_by_so_many(self, store):
        queue = [Desk(store, shared=2) for _ in range(4)]
        assert [each.settle() for each in queue] == ["held", "held", "waiting", "waiting"]
        queue[0].take(queue[0].lock.release(0.0))
        queue[0].settle()
        for each in queue[2:]:
            each.gone(queue[0].lock.key)
        assert [each.settle() for each in queue[2:]] == ["held", "waiting"]

    def test_a_waiter_of_a_semaphore_is_woken_by_few(self, store):
        queue = [Desk(store, shared=2) for _ in range(6)]
        for each in queue:
            each.settle()
        assert queue[5].awaited[-1].keys == {queue[3].lock.key, queue[4].lock.key}

    @pytest.mark.parametrize("seed", range(20))
    def test_whoever_leaves_a_semaphore_the_next_ones_hold_it(self, store, seed):
        """Who may hold it is woken, though nobody awaits all that are before it."""
        rng = random.Random(seed)
        queue = [Desk(store, shared=3) for _ in range(12)]
        for each in queue:
            each.settle()
        while queue:
            leaver = queue.pop(rng.randrange(len(queue)))
            leaver.take(leaver.lock.release(0.0))
            leaver.settle()
            for each in queue:
                each.gone(leaver.lock.key)
                each.settle()
            held = [each.lock.state.value == "held" for each in queue]
            assert held == [place < 3 for place in range(len(queue))], seed

    def test_a_key_in_which_nobody_is_interested_changes_nothing(self, store):
        first, second = Desk(store), Desk(store)
        first.settle()
        second.settle()
        second.gone(b"l/other")
        assert not second.waiting

    def test_a_watch_that_ends_is_followed_by_a_look(self, store):
        first, second = Desk(store), Desk(store)
        first.settle()
        second.settle()
        second.take(second.lock.on_watch_ended(0.0))
        assert second.settle() == "waiting"
        assert second.lock.looks == 2


class TestWhetherItIsAnswered:
    def test_nothing_was_asked_long_ago(self, store):
        lock = Desk(store).lock
        assert lock.answered_ms < 0
        assert not lock.is_unanswered(SILENT_MS - 1)
        assert lock.is_unanswered(SILENT_MS)

    def test_a_waiter_whose_renewal_fails(self, store):
        first, second = Desk(store), Desk(store)
        first.settle()
        second.settle()
        assert not second.lock.is_unanswered(900.0)
        second.wait(1000.0)  # a renewal is due
        second.fail(unknown=True)
        assert second.lock.is_unanswered(second.now_ms)
        assert second.lock.answered_ms == 0.0
        second.wait(1000.0)
        second.carry_out()
        assert not second.lock.is_unanswered(second.now_ms)
        assert second.lock.answered_ms == second.now_ms

    def test_a_look_that_fails(self, store):
        first, second = Desk(store), Desk(store)
        first.settle()
        second.carry_out()  # GRANT
        second.carry_out()  # PUT
        second.fail()
        assert second.lock.is_unanswered(0.0)

    def test_a_refusal_is_an_answer(self, store):
        desk = Desk(store)
        grant = desk.waiting.pop()
        desk.take(desk.lock.on_result(grant.tag, None, Refused("invalid", "no", 0), 0.0))
        assert not desk.lock.is_unanswered(0.0)


class TestHolderKnowsFirst:
    def test_it_counts_from_the_sending_less_the_drift(self, store):
        desk = Desk(store, ttl_ms=10_000)
        desk.now_ms = 400.0  # the grant was sent at 0, and takes so long
        desk.carry_out()
        assert desk.lock.valid_until_ms == 10_000 - 5 - 3
        desk.settle()
        assert desk.lock.check(9_991.9)
        assert not desk.lock.check(9_992.0)
        assert desk.lock.state.value == "lost"

    def test_a_renewal_that_is_repeated_counts_from_its_first_sending(self, store):
        desk = Desk(store)
        desk.settle()
        desk.wait(1000.0)
        assert ops(desk) == [KEEPALIVE]
        desk.now_ms = 1900.0  # the protocol has sent it again meanwhile
        desk.carry_out()
        assert desk.lock.valid_until_ms == pytest.approx(1000 + 3000 - 1.5 - 3)

    def test_an_unconfirmed_renewal_does_not_count(self, store):
        desk = Desk(store)
        desk.settle()
        until_ms = desk.lock.valid_until_ms
        desk.wait(1000.0)
        desk.fail(unknown=True, applied=True)
        assert desk.lock.valid_until_ms == until_ms
        desk.wait(50.0)
        assert ops(desk) == [KEEPALIVE]

    def test_it_is_lost_though_a_renewal_is_under_way(self, store):
        desk = Desk(store)
        desk.settle()
        desk.wait(1000.0)
        desk.now_ms = 2996.0
        desk.take(desk.lock.on_tick(desk.now_ms))
        assert desk.lock.state.value == "lost"
        desk.carry_out()  # the confirmation comes too late
        assert desk.lock.state.value == "lost"

    def test_a_lease_that_is_gone_is_a_lost_lock(self, store):
        desk = Desk(store)
        desk.settle()
        store.expire(1)
        desk.wait(1000.0)
        assert desk.settle() == "lost"
        assert "ended" in desk.lock.why

    def test_a_look_that_comes_after_the_end_holds_nothing(self, store):
        desk = Desk(store)
        desk.carry_out()
        desk.carry_out()
        desk.now_ms = 3100.0
        desk.carry_out()
        assert desk.lock.state.value == "waiting"
        assert desk.lock.token == 0


class TestDeletedKeys:
    """The lease of a key that somebody has removed goes on: a holder asks for its key."""

    def test_it_asks_with_each_renewal(self, store):
        desk = Desk(store)
        desk.settle()
        for _ in range(3):
            desk.wait(1000.0)
            assert [type(each) for each in desk.waiting] == [Submit, Look]
            assert desk.settle() == "held"

    @pytest.mark.parametrize("rows", [{}, {b"l/%016x" % 1: (9, 1)}])
    def test_a_key_that_is_gone_or_another_one_is_a_loss(self, store, rows):
        desk = Desk(store)
        desk.settle()
        store.rows = rows
        desk.wait(1000.0)
        assert desk.settle() == "lost"
        assert "removed by somebody else" in desk.lock.why

    def test_it_asks_once_at_a_time(self, store):
        desk = Desk(store)
        desk.settle()
        desk.wait(1000.0)
        desk.carry_out()  # the renewal; the key is still being asked for
        desk.wait(1000.0)
        assert [type(each) for each in desk.waiting] == [Look, Submit]

    def test_no_answer_is_no_loss(self, store):
        desk = Desk(store)
        desk.settle()
        desk.wait(1000.0)
        desk.carry_out()
        desk.fail()
        assert desk.lock.state.value == "held"

    def test_an_answer_after_the_release_changes_nothing(self, store):
        desk = Desk(store)
        desk.settle()
        desk.wait(1000.0)
        desk.take(desk.lock.release(desk.now_ms))
        desk.waiting.reverse()  # the end of the lease is carried out first
        assert desk.settle() == "released"


class TestGivenBack:
    """Whether there was still something to give back."""

    def released(self, store, meanwhile):
        desk = Desk(store)
        assert desk.settle() == "held"
        meanwhile(desk)
        desk.take(desk.lock.release(desk.now_ms))
        return desk

    def test_what_was_held_is_released(self, store):
        assert self.released(store, lambda _: None).settle() == "released"

    @pytest.mark.parametrize(
        ("meanwhile", "words"),
        [
            (lambda desk: desk.store.rows.clear(), "its key had been removed"),
            (lambda desk: desk.store.expire(1), "its lease had been ended"),
            # A put without the lease: the key stays, and nobody removes it.
            (lambda desk: desk.store.rows.update({desk.lock.key: (1, 0)}), "its key had been"),
        ],
    )
    def test_what_somebody_removed_was_lost(self, store, meanwhile, words):
        desk = self.released(store, meanwhile)
        assert desk.settle() == "lost"
        assert words in desk.lock.why

    def test_a_lease_that_ends_after_the_release_is_no_loss(self, store):
        desk = self.released(store, lambda _: None)
        desk.now_ms = desk.lock.valid_until_ms
        store.expire(1)
        assert desk.settle() == "released"

    def test_the_end_of_a_former_place_in_the_queue_says_nothing(self, store):
        desk = Desk(store)
        desk.settle()
        other = Desk(store)
        other.settle()
        store.expire(2)
        other.wait(1000.0)
        other.carry_out()  # the renewal: it has to queue again
        assert ops(other) == [REVOKE, GRANT]
        late = other.waiting.pop(0)
        desk.take(desk.lock.release(0.0))
        desk.settle()
        assert other.settle() == "held"
        other.take(other.lock.release(1000.0))
        other.waiting.append(late)
        other.waiting.reverse()
        assert other.settle() == "released"

    def test_of_an_answer_that_does_not_come_nothing_follows(self, store):
        desk = self.released(store, lambda desk: desk.store.rows.clear())
        desk.fail(unknown=True)
        assert desk.lock.state.value == "released"


class TestUnknownOutcomes:
    @pytest.mark.parametrize("applied", [False, True])
    def test_a_put_whose_outcome_is_unknown(self, store, applied):
        desk = Desk(store)
        desk.carry_out()
        desk.fail(unknown=True, applied=applied)
        assert desk.settle() == "held"
        assert desk.lock.token == store.rows[desk.lock.key][0]

    def test_a_put_of_before_has_made_the_key(self, store):
        """The first of two PUTs arrives late, between other keys; the second is confirmed, and its
        revision is not that of the making."""
        desk = Desk(store)
        desk.carry_out()
        (put,) = desk.waiting
        desk.fail(unknown=True)
        desk.carry_out()  # the look finds no key: once more
        store.apply(put.command)
        other = Desk(store)
        other.settle()
        assert desk.settle() == "held"
        assert other.lock.state.value == "waiting"
        assert desk.lock.token == store.rows[desk.lock.key][0]

    def test_a_put_that_arrives_twice_does_not_change_the_token(self, store):
        desk = Desk(store)
        desk.carry_out()
        (put,) = desk.waiting
        assert put.command[0] == PUT
        desk.settle()
        store.apply(put.command)
        assert store.rows[desk.lock.key][0] == desk.lock.token

    def test_given_up_meanwhile_it_leaves_nothing(self, store):
        desk = Desk(store)
        desk.carry_out()
        (put,) = desk.waiting
        desk.waiting.clear()
        desk.take(desk.lock.release(0.0))
        assert desk.settle() == "released"
        store.apply(put.command)
        assert store.rows == {}

    def test_given_up_before_its_lease_is_known_it_ends_the_lease(self, store):
        desk = Desk(store)
        desk.take(desk.lock.release(0.0))
        assert ops(desk) == [GRANT]
        desk.carry_out()
        assert ops(desk) == [REVOKE]
        desk.settle()
        assert store.leases == set()
        assert desk.lock.is_quiet

    def test_who_loses_its_lease_in_the_queue_queues_again(self, store):
        first, second = Desk(store), Desk(store)
        first.settle()
        second.settle()
        key = second.lock.key
        store.expire(2)
        second.wait(1000.0)
        assert second.settle() == "waiting"
        assert second.lock.key != key
        assert second.lock.key in store.rows

    def test_failures_are_tried_again(self, store):
        desk = Desk(store)
        for _ in range(3):
            desk.fail()
            desk.wait(100.0)
            desk.carry_out()
        assert desk.settle() == "held"

    def test_a_key_that_an_operator_removed(self, store):
        desk = Desk(store)
        desk.carry_out()
        desk.carry_out()
        store.rows.clear()
        assert desk.settle() == "held"
        assert len(store.leases) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": b""},
        {"name": b"a/"},
        {"ttl_ms": 999},
        {"shared": 0},
        {"shared": 1.5},
        {"shared": 1 << 63},
    ],
    ids=str,
)
def test_what_is_no_lock(wrong):
    with pytest.raises(ValueError):  # noqa: PT011 - the words are for people
        LockPlan(**{"name": b"l"} | wrong)
