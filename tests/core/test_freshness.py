"""How old what is applied may be: counted from questions that a quorum answered for."""

from paxosd.core.freshness import PENDING_MAX, WANTED_MS, Freshness
from paxosd.core.messages import ReadIndex, ReadIndexReply
from paxosd.core.reads import OPEN_MAX, WaitingReads
from tests.core.scenes import all_equal, others, put_entry, started

HEARTBEAT_MS = 100


class TestFreshness:
    def test_unknown_until_a_question_was_answered_and_reached(self):
        freshness = Freshness()
        assert freshness.age_ms(50.0, applied=3) == -1.0
        freshness.confirmed(60.0, index=5)
        assert freshness.age_ms(70.0, applied=4) == -1.0, "its index is not applied"
        assert freshness.age_ms(75.0, applied=5) == 15.0, "from the question on"

    def test_it_goes_on_growing(self):
        freshness = Freshness()
        freshness.confirmed(10.0, index=0)
        assert freshness.age_ms(11.0, applied=0) == 1.0
        assert freshness.age_ms(1e6, applied=7) == 1e6 - 10.0

    def test_while_catching_up_it_is_as_old_as_what_is_applied(self):
        freshness = Freshness()
        for asked_ms, index in ((10.0, 2), (20.0, 8), (30.0, 9)):
            freshness.confirmed(asked_ms, index)
        assert freshness.age_ms(100.0, applied=1) == -1.0
        assert freshness.age_ms(100.0, applied=7) == 90.0
        assert freshness.age_ms(100.0, applied=9) == 70.0

    def test_an_index_that_never_comes_does_not_hold_up_later_ones(self):
        """A deposed leader may have proposed slots that are never filled."""
        freshness = Freshness()
        freshness.confirmed(10.0, index=900)
        freshness.confirmed(20.0, index=4)
        assert freshness.age_ms(25.0, applied=4) == 5.0

    def test_repeats_and_earlier_questions_change_nothing(self):
        freshness = Freshness()
        freshness.confirmed(20.0, index=1)
        freshness.confirmed(20.0, index=1)
        freshness.confirmed(10.0, index=1)
        assert freshness.age_ms(25.0, applied=1) == 5.0
        freshness.confirmed(15.0, index=0)
        assert freshness.age_ms(25.0, applied=1) == 5.0

    def test_bounded_and_the_last_one_is_kept(self):
        freshness = Freshness()
        for number in range(10 * PENDING_MAX):
            freshness.confirmed(float(number), index=number)
        assert len(freshness._pending) == PENDING_MAX
        last = 10 * PENDING_MAX - 1
        assert freshness.age_ms(float(last), applied=3) == last - 3
        assert freshness.age_ms(float(last), applied=last) == 0.0

    def test_wanted_for_a_while(self):
        freshness = Freshness()
        assert not freshness.wanted(0.0)
        freshness.want(5.0)
        assert freshness.wanted(4.0 + WANTED_MS)
        assert not freshness.wanted(5.0 + WANTED_MS)


class TestBareQuestions:
    """Those that no read waits for."""

    def test_one_in_a_while(self):
        reads = WaitingReads()
        first = reads.bare_question(1000.0, 100)
        assert first
        reads.answer(first, 3)
        assert not reads.bare_question(1099.0, 100)
        assert reads.bare_question(1100.0, 100) == first + 1

    def test_a_late_answer_counts_from_when_its_own_question_was_put(self):
        """On a slow network each answer comes after the next question, or the one after that."""
        reads = WaitingReads()
        first = reads.bare_question(1000.0, 100)
        second = reads.bare_question(1100.0, 100)
        assert second
        assert reads.put_ms(first) == 1000.0
        assert reads.put_ms(first) is None, "a repeat"
        assert reads.put_ms(second) == 1100.0
        assert reads.put_ms(99) is None

    def test_few_of_those_without_an_answer_are_known(self):
        reads = WaitingReads()
        ids = [reads.bare_question(1000.0 + 100 * n, 100) for n in range(OPEN_MAX + 3)]
        assert all(ids)
        assert [reads.put_ms(each) is None for each in ids] == [True] * 3 + [False] * OPEN_MAX

    def test_a_read_is_answered_by_its_own_question_alone(self):
        reads = WaitingReads()
        first = reads.bare_question(1000.0, 100)
        reads.add("token", 1001.0)
        assert reads.question(1001.0)
        assert not reads.answer(first, 3), "it was confirmed before the read came, perhaps"
        assert reads.ready(9) == []

    def test_a_read_does_not_wait_for_it(self):
        reads = WaitingReads()
        reads.bare_question(1000.0, 100)
        reads.add("token", 1001.0)
        read_id = reads.question(1001.0)
        assert read_id
        reads.answer(read_id, 4)
        assert reads.ready(4) == ["token"]

    def test_none_beside_a_read_that_is_under_way(self):
        reads = WaitingReads()
        reads.add("token", 1000.0)
        assert reads.question(1000.0)
        assert not reads.bare_question(9000.0, 100)


def questions(cluster, since=0, name=None):
    return [frame for frame in cluster.sent[since:]
            if isinstance(frame[3], ReadIndex) and name in (None, frame[0])]  # fmt: skip


def known_age(cluster, name):
    """The age on a node once it is known, which takes a moment."""
    node = cluster.members[name].node
    cluster.run_until(lambda: node.age_ms() >= 0, 2_000)
    return node.age_ms()


class TestOfANode:
    def test_nobody_asks_while_nobody_wants_to_know(self):
        cluster, _, _ = started()
        cluster.run(5_000)
        assert not questions(cluster)

    def test_once_a_heartbeat_while_somebody_wants_to_know_and_a_while_longer(self):
        cluster, leader, _ = started()
        name = others(cluster, leader)[0]
        cluster.run(1_000)
        known_age(cluster, name)
        since = len(cluster.sent)
        cluster.run(3_000)
        assert 10 <= len(questions(cluster, since, name)) <= 30
        assert cluster.members[name].node.age_ms() <= 2 * HEARTBEAT_MS + 20
        cluster.run(WANTED_MS + 200)
        since = len(cluster.sent)
        cluster.run(2_000)
        assert not questions(cluster, since)

    def test_it_is_known_on_a_network_slower_than_a_heartbeat(self):
        """Each question waits for a heartbeat, and its answer comes after the next question."""
        cluster, leader, _ = started(delay_ms=(140.0, 150.0))
        name = others(cluster, leader)[0]
        assert known_age(cluster, name) >= 0
        ages = []
        for _ in range(20):
            cluster.run(150)
            ages.append(cluster.members[name].node.age_ms())
        assert max(ages) <= 4 * 150 + 3 * HEARTBEAT_MS

    def test_a_cut_off_leader_is_not_of_age_0(self):
        """It may have been deposed, and leads on until it notices."""
        cluster, leader, _ = started()
        node = cluster.members[leader].node
        known_age(cluster, leader)
        cluster.run(500)
        assert 0 <= node.age_ms() <= 2 * HEARTBEAT_MS + 20
        for other in others(cluster, leader):
            cluster.block((leader, other), (other, leader))
        before = node.age_ms()
        cluster.run(400)
        assert node.leading
        assert node.age_ms() >= before + 400 - HEARTBEAT_MS, "one answer may have been on its way"

    def test_it_goes_on_growing_when_the_connection_is_lost(self):
        """ "-1, never" was said of a node that had been in touch a moment ago."""
        cluster, leader, _ = started()
        name = others(cluster, leader)[0]
        node = cluster.members[name].node
        before = known_age(cluster, name)
        for other in others(cluster, name):
            cluster.block((name, other), (other, name))
            node.peer_disconnected(other)
        assert node.age_ms() >= before
        cluster.run(3_000)
        grown_ms = node.age_ms() - before
        assert 3_000 - HEARTBEAT_MS <= grown_ms <= 3_000 + HEARTBEAT_MS

    def test_a_node_that_hears_the_leader_and_lacks_values_is_old(self):
        """Hearing a leader, its commit index included, says nothing of what is applied."""
        cluster, leader, session = started()
        name = others(cluster, leader)[0]
        node = cluster.members[name].node
        known_age(cluster, name)
        cluster.run(300)
        quiet = ("Heartbeat", "HeartbeatAck", "ReadIndex", "ReadIndexReply", "PreVote")
        cluster.filter = lambda src, dst, msg: dst != name or type(msg).__name__ in quiet
        cluster.submit(leader, put_entry(session, 1, b"v"))
        cluster.run(2_000)
        assert node.applied < cluster.members[leader].node.applied
        assert node.age_ms() >= 2_000
        cluster.filter = lambda src, dst, msg: True
        all_equal(cluster)
        assert node.age_ms() < 2_000

    def test_it_counts_from_the_question_not_from_the_answer(self):
        cluster, leader, _ = started(options={"retransmit_ms": 2_000})
        name = others(cluster, leader)[0]
        node = cluster.members[name].node
        held = []

        def hold(source, to, message):
            if isinstance(message, ReadIndexReply) and to == name:
                held.append(message)
                return False
            return True

        cluster.filter = hold
        cluster.run_until(lambda: node.age_ms() == -1 and held, 1_000)
        cluster.run(700)
        cluster.receive(leader, cluster.members[leader].run_id, name, held[0])
        assert node.age_ms() >= 700

    def test_alone_it_is_up_to_date(self):
        cluster, leader, _ = started(1)
        assert 0 <= known_age(cluster, leader) <= 2 * HEARTBEAT_MS
