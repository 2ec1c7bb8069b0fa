"""Nodes whose votes do not count: departed members, learners, other data directories."""

from paxosd.core.commands import PUT, Entry
from paxosd.core.effects import ReadReady, Refusal
from paxosd.core.messages import (
    Accept,
    Heartbeat,
    Hello,
    Prepare,
    PreVote,
    Removed,
)
from paxosd.core.types import EPOCH_ROUNDS, Ballot
from tests.core.changes import (
    caught_up,
    change,
    change_entry,
    grown,
    membership,
    settled,
    wanted,
)
from tests.core.scenes import started, value_on


class TestStrangers:
    def test_a_removed_node_hears_of_it_and_disturbs_nobody(self):
        cluster, _session = grown()
        leader = settled(cluster)
        gone = next(n for n in ("n1", "n2", "n3") if n != leader)
        cluster.isolate(gone)
        change(cluster, voters=["n9"], gone=[gone])
        leader = settled(cluster)
        cluster.run(10_000)  # it has looked for a leader for long
        before = membership(cluster)
        elections = cluster.members[leader].node.status().elections
        cluster.heal()
        cluster.run_until(lambda: cluster.members[gone].departed, 10_000)
        assert cluster.members[leader].node.leading
        assert cluster.members[leader].node.status().elections == elections
        assert membership(cluster) == before

    def test_a_removed_node_refuses_the_reads_that_wait(self):
        cluster, _session = grown()
        leader = settled(cluster)
        gone = next(n for n in ("n1", "n2", "n3") if n != leader)
        cluster.isolate(gone)
        change(cluster, voters=["n9"], gone=[gone])
        removal = Removed(membership(cluster).epoch, membership(cluster).slot)
        cluster.members[gone].node.step(leader, 1, removal)
        cluster.run(2_500)
        read = cluster.read(gone)
        cluster.turn(gone)
        assert read not in cluster.replies
        cluster.members[gone].node.step(leader, 1, removal)
        cluster.turn(gone)
        assert isinstance(cluster.replies[read], Refusal)

    def test_one_that_lags_cannot_send_away_a_member_that_is_back(self):
        """It says so again and again; but a heartbeat under a later epoch comes as well."""
        cluster, _session = grown()
        leader = settled(cluster)
        node = cluster.members["n9"].node
        lagging = next(n for n in ("n1", "n2", "n3") if n != leader)
        for _ in range(50):
            node.step(lagging, 1, Removed(node.membership.epoch + 1, 1))
            ballot = Ballot((node.membership.epoch + 1) * EPOCH_ROUNDS + 1, leader)
            node.step(leader, 1, Heartbeat(ballot, leader, 0, 0, 0, 0))
            cluster.run(100)
        assert node.removed is None

    def test_nobody_is_told_before_the_new_voters_have_a_leader(self):
        cluster, _ = grown()
        leader = settled(cluster)
        gone = next(n for n in ("n1", "n2", "n3") if n != leader)
        cluster.filter = lambda src, dst, msg: not isinstance(msg, Prepare)
        change_token = wanted(cluster, voters=["n9"], gone=[gone])
        cluster.submit(leader, change_entry(change_token[0].epoch, change_token[1].to_command()))
        cluster.run(3_000)
        assert not any(isinstance(m, Removed) for _, _, dst, m in cluster.sent if dst == gone)

    def test_a_node_of_an_older_epoch_is_granted_nothing(self):
        cluster, _ = grown()
        change(cluster, voters=["n9"])
        leader = settled(cluster)
        node = cluster.members[leader].node
        asker = next(n for n in ("n1", "n2", "n3") if n != leader)
        sent = len(cluster.sent)
        for message in (PreVote(Ballot(EPOCH_ROUNDS + 500, asker), 9), Prepare(
            Ballot(EPOCH_ROUNDS + 500, asker), 1)):  # fmt: skip
            node.step(asker, 1, message)
        cluster.turn(leader)
        granted = [
            m for src, _, _, m in cluster.sent[sent:]
            if src == leader and getattr(m, "granted", type(m).__name__ == "Promise")
        ]  # fmt: skip
        assert granted == []
        assert node.promised.epoch == 2

    def test_a_node_does_not_promise_for_an_epoch_that_it_has_not_come_to(self):
        cluster, _ = grown()
        leader = cluster.leader()
        laggard = next(n for n in ("n1", "n2", "n3") if n != leader)
        node = cluster.members[laggard].node
        node.step(leader, 1, Prepare(Ballot(5 * EPOCH_ROUNDS + 1, leader), 1))
        cluster.turn(laggard)
        cluster.run(50)
        assert node.promised.epoch < 5

    def test_what_came_too_early_is_heard_once(self):
        """Kept for its epoch, it must not make a peer that has gone look alive."""
        cluster, _ = grown()
        leader = settled(cluster)
        laggard = next(n for n in ("n1", "n2", "n3") if n != leader)
        node = cluster.members[laggard].node
        node.step(leader, 1, Accept(Ballot(5 * EPOCH_ROUNDS + 1, leader), 99, b"v", 0))
        cluster.crash(leader)
        cluster.run(5_000)
        assert not node.status().peers[leader].reachable


class TestLearners:
    def test_a_learner_needs_not_pull_what_the_leader_sends(self):
        cluster, session = grown()
        cluster.run(1000)
        before = [m for src, _, _, m in cluster.sent if src == "n9"]
        for seq in range(2, 30):
            cluster.put(session, seq, b"k", b"%d" % seq)
        caught_up(cluster, "n9")
        pulled = [m for src, _, _, m in cluster.sent if src == "n9"][len(before):]  # fmt: skip
        assert not [m for m in pulled if type(m).__name__ == "CatchUp"]
        assert value_on(cluster, "n9") == b"29"

    def test_what_a_learner_applied_is_in_its_log(self):
        cluster, session = grown()
        cluster.put(session, 2, b"k", b"kept")
        caught_up(cluster, "n9")
        cluster.run(2_000)
        cluster.crash("n9")
        cluster.isolate("n9")
        cluster.start("n9")
        assert value_on(cluster, "n9") == b"kept"

    def test_it_reads_linearizably(self):
        cluster, session = grown()
        cluster.put(session, 2, b"k", b"new")
        token = cluster.read("n9")
        cluster.run_until(lambda: token in cluster.replies, 3_000)
        assert isinstance(cluster.replies[token][0], ReadReady)
        assert value_on(cluster, "n9") == b"new"

    def test_its_vote_does_not_count(self):
        cluster, session = grown(seed=3)
        leader = cluster.leader()
        for name in ("n1", "n2", "n3"):
            if name != leader:
                cluster.crash(name)
        cluster.submit(leader, Entry(session, 2, 2 - 1, [[PUT, b"k", b"never"]]))
        cluster.run(5_000)
        assert value_on(cluster, "n9") == b"before"
        assert cluster.leader() == ""

    def test_one_that_knows_no_voters_counts_no_votes(self):
        cluster, _, session = started(3)
        cluster.join("n9")
        cluster.put(session, 1, b"k", b"v")
        cluster.run(2_000)
        assert cluster.members["n9"].node.applied == 0


class TestDirectories:
    def test_only_the_directory_that_was_named_votes(self):
        cluster, _ = grown()
        change(cluster, voters=["n9"])
        settled(cluster)
        cluster.crash("n9")
        member = cluster.members["n9"]
        member.durable, member.snapshot, member.floor = [], None, 1
        member.directory_id = 10  # a new disk
        cluster.promised["n9"] = Ballot(0, "")
        cluster.start("n9")
        caught_up(cluster, "n9")
        cluster.run(2_000)
        assert member.node.role == "memory-lost"
        assert member.node._context.own_bit == 0
        change(cluster, voters=["n9"])  # member rejoin
        settled(cluster)
        assert member.node.role in ("follower", "leader")

    def test_one_whose_damage_was_found_asks_by_itself(self):
        cluster, session = grown()
        change(cluster, voters=["n9"])
        settled(cluster)
        cluster.crash("n9")
        member = cluster.members["n9"]
        member.durable, member.snapshot, member.floor = [], None, 1
        member.directory_id = 10
        cluster.promised["n9"] = Ballot(0, "")
        cluster.start("n9")
        admission = member.node._admission
        admission.repaired = admission.asking = True
        cluster.run_until(lambda: membership(cluster).members["n9"].directory_id == 10)
        settled(cluster)
        assert member.node.role in ("follower", "leader")
        cluster.put(session, 2, b"k", b"after")
        assert not admission.repaired

    def test_a_hello_from_one_that_has_gone_is_answered_so(self):
        cluster, _ = grown()
        change(cluster, gone=["n9"])
        leader = settled(cluster)
        sent = len(cluster.sent)
        cluster.members[leader].node.step("n9", 1, Hello(9))
        cluster.turn(leader)
        assert any(isinstance(m, Removed) for _, _, dst, m in cluster.sent[sent:] if dst == "n9")
