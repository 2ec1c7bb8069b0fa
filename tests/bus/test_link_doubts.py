"""Which connections to peers are made anew, and which are left alone."""

from itertools import pairwise

from paxosd.bus.link_doubts import (
    HELLO_PAUSE_MS,
    HELLOS_MIN,
    PAUSE_MAX_MS,
    SILENCE_MS,
    LinkDoubts,
)
from paxosd.core.messages import Accepted, Envelope, Heartbeat, Hello, Welcome
from paxosd.core.types import Ballot


def beat(seq, run_id=7):
    return Envelope("n2", run_id, Heartbeat(Ballot(1, "n1"), "n1", 0, seq, 0, 0))


def vote(seq, run_id=7):
    return Envelope("n2", run_id, Accepted(Ballot(1, "n1"), ((seq, seq),), seq))


def hello():
    return Envelope("n2", 7, Hello())


def take(doubts, message, now_ms):
    doubts.took(message, now_ms, is_known=True)


class TestSilent:
    def test_a_peer_that_does_not_answer(self):
        doubts = LinkDoubts()
        for now_ms in range(0, SILENCE_MS, 100):
            doubts.said_hello("n2", now_ms)
            assert doubts.take_silent(now_ms) == []
        assert doubts.take_silent(SILENCE_MS) == ["n2"]
        assert doubts.take_silent(SILENCE_MS) == []

    def test_with_more_patience_each_time(self):
        doubts, redialled = LinkDoubts(), []
        for now_ms in range(0, 20 * PAUSE_MAX_MS, 100):
            doubts.said_hello("n2", now_ms)
            if doubts.take_silent(now_ms):
                redialled.append(now_ms)
        pauses = [later - former for former, later in pairwise(redialled)]
        assert pauses == sorted(pauses)
        assert pauses[0] < 3 * SILENCE_MS
        assert PAUSE_MAX_MS <= pauses[-1] <= PAUSE_MAX_MS + 100

    def test_not_one_that_says_anything(self):
        doubts = LinkDoubts()
        for now_ms in range(0, 10 * SILENCE_MS, 1000):
            doubts.said_hello("n2", now_ms)
            # Also of another run: the peer is there.
            doubts.took(Envelope("n2", 9, Welcome(0)), now_ms, is_known=False)
            assert doubts.take_silent(now_ms + 999) == []

    def test_not_one_that_was_not_reached_or_is_no_peer_any_more(self):
        doubts = LinkDoubts()
        assert doubts.take_silent(PAUSE_MAX_MS) == []
        doubts.said_hello("n2", 0)
        doubts.keep({"n3"})
        assert doubts.take_silent(PAUSE_MAX_MS) == []


class TestUnheard:
    def test_a_peer_that_says_hello_again_and_again(self):
        doubts, redialled = LinkDoubts(), []
        for now_ms in range(1000, 1000 + 2 * SILENCE_MS, 100):
            take(doubts, hello(), now_ms)
            redialled += [now_ms] * len(doubts.take_unheard(now_ms))
        assert redialled == [1000 + SILENCE_MS]

    def test_which_is_deaf_for_as_long_as_it_does_though_it_was_connected_to_anew(self):
        doubts, last_ms = LinkDoubts(), 1000 + 4 * SILENCE_MS
        for place, now_ms in enumerate(range(1000, last_ms + 1, 100), 1):
            take(doubts, hello(), now_ms)
            doubts.take_unheard(now_ms)
            assert doubts.deaf(now_ms) == ({"n2"} if place >= HELLOS_MIN else set())
        assert doubts.deaf(last_ms + HELLO_PAUSE_MS) == set()

    def test_not_for_hellos_of_different_causes(self):
        doubts = LinkDoubts()
        for now_ms in range(20_000, 20_000 + 20 * HELLO_PAUSE_MS, HELLO_PAUSE_MS + 1):
            take(doubts, hello(), now_ms)
            assert doubts.take_unheard(now_ms) == []

    def test_not_for_fewer_than_a_peer_says_that_is_not_answered(self):
        doubts = LinkDoubts()
        for number in range(1, HELLOS_MIN):
            now_ms = 20_000 + number * (HELLO_PAUSE_MS - 1)
            take(doubts, hello(), now_ms)
            assert doubts.take_unheard(now_ms) == []

    def test_not_for_a_few_that_are_answered(self):
        doubts = LinkDoubts()
        for now_ms in range(20_000, 20_000 + HELLOS_MIN * 100, 100):
            take(doubts, hello(), now_ms)
        for now_ms in range(20_400, 90_000, 100):
            take(doubts, beat(1), now_ms)
            assert doubts.take_unheard(now_ms) == []


class TestVoteless:
    def test_votes_that_were_announced_and_do_not_come(self):
        doubts = LinkDoubts()
        take(doubts, beat(5), 0)
        take(doubts, beat(6), 100)
        assert doubts.take_voteless(100 + SILENCE_MS - 1) == []
        take(doubts, beat(7), 3000)
        assert doubts.take_voteless(100 + SILENCE_MS) == ["n2"]
        assert doubts.take_voteless(PAUSE_MAX_MS) == [], "not before there are others"
        take(doubts, beat(8), PAUSE_MAX_MS)
        assert doubts.take_voteless(PAUSE_MAX_MS + 2 * SILENCE_MS) == ["n2"]

    def test_a_new_life_counts_its_votes_anew(self):
        doubts = LinkDoubts()
        doubts.took_vote(vote(1000))
        doubts.took_vote(vote(1, run_id=8))
        take(doubts, beat(2, run_id=8), 0)
        assert doubts.take_voteless(SILENCE_MS) == ["n2"]

    def test_not_if_they_come_or_none_were_cast(self):
        doubts = LinkDoubts()
        for now_ms in range(0, 10 * SILENCE_MS, 1000):
            take(doubts, beat(now_ms), now_ms)
            doubts.took_vote(vote(now_ms))
            assert doubts.take_voteless(now_ms + 999) == []
        for now_ms in range(10 * SILENCE_MS, 20 * SILENCE_MS, 1000):
            take(doubts, beat(10 * SILENCE_MS - 1000), now_ms)
            assert doubts.take_voteless(now_ms) == []

    def test_not_for_one_that_came_before_it_was_announced(self):
        """A single write in a cluster that is idle."""
        doubts = LinkDoubts()
        take(doubts, beat(5), 0)
        doubts.took_vote(vote(6))
        take(doubts, beat(6), 1000)
        assert doubts.take_voteless(PAUSE_MAX_MS) == []

    def test_not_for_votes_of_a_life_that_has_ended(self):
        doubts = LinkDoubts()
        take(doubts, beat(5), 0)
        take(doubts, beat(6), 100)
        take(doubts, beat(1, run_id=8), 200)
        assert doubts.take_voteless(PAUSE_MAX_MS) == []

    def test_not_for_what_was_published_before_it_was_heard(self):
        doubts = LinkDoubts()
        take(doubts, beat(1000), 0)
        assert doubts.take_voteless(PAUSE_MAX_MS) == []
        take(doubts, beat(5, run_id=8), PAUSE_MAX_MS)
        assert doubts.take_voteless(2 * PAUSE_MAX_MS) == []
