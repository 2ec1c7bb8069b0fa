"""Read-index alone: both sides, direct calls."""

from paxosd.core.quorum import Quorums
from paxosd.core.reads import Asked, LeaderReads, WaitingReads

OWN = 1  # the bit of n1


def leader_reads(size=3):
    return LeaderReads(Quorums([f"n{i + 1}" for i in range(size)]))


class TestLeaderSide:
    def test_a_round_is_confirmed_by_a_quorum_of_its_own_acks(self):
        reads = leader_reads(5)
        reads.ask(Asked("n2", 7, 12))
        assert reads.start_round(OWN)
        reads.receive_ack("n2", reads.round)
        reads.receive_ack("n2", reads.round)
        assert reads.confirmed() == []
        reads.receive_ack("n3", reads.round)
        assert reads.confirmed() == [Asked("n2", 7, 12)]
        assert reads.confirmed() == []

    def test_an_ack_of_an_earlier_round_counts_not(self):
        reads = leader_reads()
        reads.ask(Asked("", 1, 1))
        reads.start_round(OWN)
        reads.receive_ack("n2", reads.round - 1)
        assert reads.confirmed() == []

    def test_a_stranger_confirms_nothing(self):
        reads = leader_reads()
        reads.ask(Asked("", 1, 1))
        reads.start_round(OWN)
        reads.receive_ack("n9", reads.round)
        assert reads.confirmed() == []

    def test_questions_share_a_round_and_later_ones_wait_for_the_next(self):
        reads = leader_reads()
        reads.ask(Asked("n2", 1, 5))
        reads.ask(Asked("n3", 1, 5))
        assert reads.start_round(OWN)
        reads.ask(Asked("", 1, 6))
        assert not reads.start_round(OWN), "one round at a time"
        reads.receive_ack("n3", 1)
        assert [a.origin for a in reads.confirmed()] == ["n2", "n3"]
        assert reads.start_round(OWN)
        assert reads.confirmed() == [], "acks of the round before are forgotten"
        reads.receive_ack("n3", 1)
        assert reads.confirmed() == [], "its repeats count not"
        reads.receive_ack("n3", 2)
        assert [a.origin for a in reads.confirmed()] == [""]

    def test_a_cluster_of_one_confirms_itself(self):
        reads = leader_reads(1)
        reads.ask(Asked("", 1, 3))
        assert reads.start_round(OWN)
        assert reads.confirmed() == [Asked("", 1, 3)]

    def test_without_questions_there_is_no_round(self):
        assert not leader_reads().start_round(OWN)

    def test_the_end_of_a_reign_answers_nobody(self):
        reads = leader_reads()
        reads.ask(Asked("n2", 1, 5))
        reads.start_round(OWN)
        reads.ask(Asked("n3", 1, 5))
        reads.stop()
        reads.receive_ack("n2", reads.round)
        assert reads.confirmed() == []
        assert not reads.start_round(OWN)

    def test_a_question_that_no_read_waits_for_waits_for_a_heartbeat(self):
        reads = leader_reads()
        reads.ask(Asked("n2", 1, 5), waits=False)
        assert not reads.start_round(OWN), "it costs no round of its own"
        assert reads.start_round(OWN, heartbeat=True)
        assert not reads.start_round(OWN, heartbeat=True)
        reads.receive_ack("n3", reads.round)
        assert reads.confirmed() == [Asked("n2", 1, 5)]

    def test_with_a_read_it_goes_at_once(self):
        reads = leader_reads()
        reads.ask(Asked("n2", 1, 5), waits=False)
        reads.ask(Asked("n3", 1, 5))
        assert reads.start_round(OWN)
        reads.receive_ack("n3", reads.round)
        assert len(reads.confirmed()) == 2
        assert not reads.start_round(OWN)


class TestWaitingSide:
    def test_one_question_serves_all_that_wait(self):
        reads = WaitingReads()
        reads.add("a", 0.0)
        reads.add("b", 0.0)
        read_id = reads.question(1.0)
        assert read_id
        reads.add("c", 1.0)
        assert reads.question(1.0) == 0, "one question at a time"
        reads.answer(read_id, 10)
        assert reads.ready(9) == []
        assert reads.ready(10) == ["a", "b"]
        assert reads.ready(10) == []
        assert reads.question(2.0) == read_id + 1
        assert len(reads) == 1

    def test_nobody_asks_without_a_read(self):
        assert WaitingReads().question(0.0) == 0

    def test_the_answer_to_another_question_is_ignored(self):
        reads = WaitingReads()
        reads.add("a", 0.0)
        old = reads.question(0.0)
        reads.question_lost(300.0, 250.0)
        new = reads.question(300.0)
        assert new > old
        reads.answer(old, 1)
        assert reads.ready(100) == []
        reads.answer(new, 5)
        assert reads.ready(5) == ["a"]

    def test_an_answer_after_the_question_was_given_up_is_ignored(self):
        reads = WaitingReads()
        reads.add("a", 0.0)
        read_id = reads.question(0.0)
        reads.question_lost(300.0, 250.0)
        reads.answer(read_id, 1)
        assert reads.ready(100) == []

    def test_a_question_is_given_time(self):
        reads = WaitingReads()
        reads.add("a", 0.0)
        reads.question(100.0)
        reads.question_lost(300.0, 250.0)
        assert reads.question(300.0) == 0

    def test_ids_go_on_from_the_last_start(self):
        reads = WaitingReads(5 << 32)
        reads.add("a", 0.0)
        assert reads.question(0.0) == (5 << 32) + 1
        reads.answer(1, 0)
        assert reads.ready(100) == [], "an answer to the first question of an earlier start"

    def test_an_index_that_may_never_come_is_asked_for_anew(self):
        reads = WaitingReads()
        reads.add("a", 0.0)
        reads.answer(reads.question(0.0), 99)
        reads.index_lost(100.0, 1000.0)
        assert reads.question(100.0) == 0
        reads.index_lost(1000.0, 1000.0)
        assert reads.question(1000.0)

    def test_reads_without_an_index_end_after_a_while(self):
        reads = WaitingReads()
        reads.add("early", 0.0)
        reads.question(0.0)
        reads.add("late", 900.0)
        assert reads.overdue(1000.0, 1000.0) == ["early"]
        assert reads.overdue(1000.0, 1000.0) == []
        assert len(reads) == 1
