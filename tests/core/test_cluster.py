"""Whole nodes in the in-memory network: who leads, and what a change of leader keeps.

The numbers in brackets are those of the list of pitfalls, section Paxos.
"""

import pytest

from paxosd.core.commands import PUT, Entry
from paxosd.core.effects import INTERRUPTED, STOPPING, WriteReply
from paxosd.core.messages import (
    Accept,
    Accepted,
    Decisions,
    Heartbeat,
    Prepare,
    Promise,
    TransferLeadership,
    Votes,
)
from paxosd.core.types import Ballot
from tests.core.cluster import Cluster
from tests.core.parts import Lone
from tests.core.scenes import (
    all_equal,
    ballots,
    others,
    put_entry,
    started,
    value_on,
)


class TestElecting:
    @pytest.mark.parametrize("size", range(1, 8))
    def test_every_size_elects_and_writes(self, size):
        cluster, leader, session = started(size)
        assert cluster.put(session, 1, b"k", b"v").results == [1]
        all_equal(cluster)
        assert {value_on(cluster, name) for name in cluster.members} == {b"v"}
        assert cluster.leader() == leader

    @pytest.mark.parametrize("size", [3, 4, 5, 6, 7])
    def test_a_minority_may_fail(self, size):
        cluster, _, session = started(size)
        for seq in range(1, (size - 1) // 2 + 1):
            cluster.crash(cluster.leader())
            assert cluster.put(session, seq, b"k", b"v").results == [seq]
        cluster.run(2_000)
        left = cluster.members[cluster.elect()].node.status().fault_tolerance
        assert left == len(cluster.up()) - (size // 2 + 1), "what is really there"

    @pytest.mark.parametrize("size", [2, 3, 4, 5])
    def test_without_a_quorum_nobody_leads_for_long(self, size):
        cluster, leader, _ = started(size)
        for name in others(cluster, leader)[: size - size // 2]:
            cluster.crash(name)
        cluster.run_until(lambda: cluster.leader() == "", 2_000)
        cluster.run(5_000)
        assert cluster.leader() == ""
        stepped = [n for _, _, n in cluster.notices if n.event == "leader.stepped_down"]
        assert "no quorum" in stepped[-1].fields["reason"]

    def test_an_idle_cluster_keeps_its_leader(self):
        cluster, leader, _ = started(5)
        cluster.run(60_000)
        assert cluster.leader() == leader
        assert len(ballots(cluster)) == 1

    def test_duelling_candidates_end_soon(self):
        """[10] Two nodes campaign again and again at the same time: leader changes are bounded."""
        cluster, _, session = started(5, seed=4)
        before = len(ballots(cluster))
        for name in ("n1", "n2"):
            cluster.members[name].node._election.campaign()
            cluster.turn(name)
        cluster.elect()
        cluster.put(session, 1, b"k", b"v")
        cluster.run(20_000)
        assert len(ballots(cluster)) - before <= 3


class TestStability:
    def test_a_node_that_comes_back_deposes_nobody(self):
        """[10] It was alone for long: pre-vote keeps its ballot down and the leader in place."""
        for seed in range(4):
            cluster, leader, session = started(3, seed)
            away = others(cluster, leader)[0]
            cluster.isolate(away)
            cluster.run(10_000)
            promised = cluster.members[leader].node.promised
            assert cluster.members[away].node.promised == promised, "asking changes nothing"
            cluster.heal()
            cluster.run(5_000)
            assert cluster.leader() == leader
            assert cluster.members[leader].node.promised == promised
            cluster.put(session, 1, b"k", b"v")
            all_equal(cluster)

    @pytest.mark.parametrize("ways", ["both", "from", "to"])
    @pytest.mark.parametrize("size", [3, 5])
    def test_one_bad_link_leaves_a_stable_leader(self, size, ways):
        """[11] Leader and one follower cannot talk, in one direction or both; writes go on."""
        cluster, leader, session = started(size, 3)
        cut = others(cluster, leader)[0]
        if ways in ("both", "from"):
            cluster.block((leader, cut))
        if ways in ("both", "to"):
            cluster.block((cut, leader))
        for seq in range(1, 21):
            cluster.put(session, seq, b"k", b"%d" % seq)
            cluster.run(500)
        assert len(ballots(cluster)) == 1
        cluster.run_until(lambda: value_on(cluster, cut) == b"20", 3_000)
        all_equal(cluster)

    def test_a_flapping_link_leaves_a_stable_leader(self):
        cluster, leader, session = started(3, 3)
        cut = others(cluster, leader)[0]
        for seq in range(1, 30):
            (cluster.heal if seq % 2 else lambda: cluster.block((leader, cut), (cut, leader)))()
            cluster.put(session, seq, b"k", b"%d" % seq)
            cluster.run(700)
        assert len(ballots(cluster)) == 1

    @pytest.mark.parametrize("bridge_leads", [True, False])
    def test_a_bridge_between_two_halves(self, bridge_leads):
        """Five nodes: two and two that see each other only through the fifth."""
        cluster, leader, session = started(5, 2)
        rest = others(cluster, leader)
        bridge = leader if bridge_leads else rest[0]
        sides = [n for n in cluster.members if n != bridge]
        for one in sides[:2]:
            for other in sides[2:]:
                cluster.block((one, other), (other, one))
        for seq in range(1, 16):
            cluster.put(session, seq, b"k", b"%d" % seq)
            cluster.run(500)
        assert len(ballots(cluster)) <= 2
        all_equal(cluster)

    def test_a_ring_of_majorities(self):
        """Each of five nodes sees another majority; a leader is found and stays."""
        cluster, _, session = started(5, 2)
        names = list(cluster.members)
        for i, one in enumerate(names):
            for distance in (2, 3):
                cluster.block((one, names[(i + distance) % 5]))
        cluster.put(session, 1, b"k", b"1")
        cluster.run(3_000)
        before = len(ballots(cluster))
        for seq in range(2, 12):
            cluster.put(session, seq, b"k", b"%d" % seq)
            cluster.run(500)
        assert len(ballots(cluster)) == before

    def test_a_leader_that_only_speaks_gives_way(self):
        """It reaches all and hears none: no acknowledgements, so it must not go on leading."""
        cluster, leader, session = started(3)
        cluster.block(*((other, leader) for other in others(cluster, leader)))
        cluster.run_until(lambda: cluster.leader() not in ("", leader), 10_000)
        cluster.put(session, 1, b"k", b"v")

    def test_a_leader_that_only_hears_gives_way(self):
        cluster, leader, session = started(3)
        cluster.block(*((leader, other) for other in others(cluster, leader)))
        cluster.run_until(lambda: cluster.leader() not in ("", leader), 10_000)
        cluster.put(session, 1, b"k", b"v")

    def test_hearsay_of_a_higher_leader_at_work_deposes(self):
        """An old leader hears of the new one only from a follower that both reach."""
        cluster, leader, _ = started(3)
        node = cluster.members[leader].node
        higher = Ballot(node.promised.round + 1, others(cluster, leader)[0])
        node.step(others(cluster, leader)[1], 1, Heartbeat(higher, higher.node, 0, 0, 0, 0))
        assert not node.leading

    def test_handing_over_at_shutdown(self):
        cluster, leader, session = started(3)
        cluster.put(session, 1, b"k", b"v")
        since = cluster.now
        assert cluster.members[leader].node.hand_over()
        cluster.turn(leader)
        token = cluster.submit(leader, put_entry(session, 2, b"w"))
        assert cluster.replies[token].code == STOPPING
        cluster.run_until(lambda: cluster.leader() not in ("", leader), 5_000)
        assert cluster.now - since < 100, "no election timeout was waited for"
        assert any(isinstance(m, TransferLeadership) for *_, m in cluster.sent)
        cluster.crash(leader)
        cluster.put(session, 2, b"k", b"w")


class TestLeaderChange:
    def test_an_accepted_value_is_proposed_again(self):
        """Accepted by one follower, the leader dies: if the successor learns of it, it stays."""
        cluster, leader, session = started(3)
        holder, blind = others(cluster, leader)
        cluster.filter = lambda src, dst, m: (
            not (isinstance(m, Accepted) or (isinstance(m, Accept) and dst == blind))
        )
        slot = max(cluster.chosen) + 1
        token = cluster.submit(leader, put_entry(session, 1, b"v"))
        cluster.run(50)
        cluster.crash(leader)
        cluster.filter = lambda src, dst, m: True
        cluster.elect()
        cluster.run_until(lambda: slot in cluster.chosen)
        assert token not in cluster.replies
        all_equal(cluster)
        assert value_on(cluster, holder) == value_on(cluster, blind) == b"v"
        assert cluster.put(session, 1, b"k", b"v").results == [1], "the retry, not a second write"

    def test_a_value_accepted_by_nobody_else_may_be_lost_but_is_not_acknowledged(self):
        cluster, leader, session = started(3)
        cluster.isolate(leader)
        token = cluster.submit(leader, put_entry(session, 1, b"lost"))
        cluster.run_until(lambda: token in cluster.replies, 5_000)
        assert cluster.replies[token].code == INTERRUPTED
        cluster.run_until(lambda: cluster.leader() not in ("", leader))
        cluster.put(session, 1, b"k", b"kept")
        cluster.heal()
        all_equal(cluster)
        assert value_on(cluster, leader) == b"kept"

    @pytest.mark.parametrize("seed", range(6))
    def test_a_pipeline_cut_in_the_middle(self, seed):
        """[18] Some slots in flight reach a quorum, some one node, some nobody: no acknowledged
        command is lost, none is doubled, holes are filled."""
        options = {"eager_slots_max": 64, "batch_commands_max": 1}
        cluster, leader, session = started(5, seed, options=options)
        reach = {}

        def some(src, dst, message):
            if src != leader or not isinstance(message, Accept):
                return True
            return cluster.rng.random() < reach.setdefault(message.slot, cluster.rng.random())

        cluster.filter = some
        entries = [Entry(session, seq, 0, [[PUT, b"k%d" % seq, b"v"]]) for seq in range(1, 31)]
        tokens = [cluster.submit(leader, entry) for entry in entries]
        cluster.run(cluster.rng.uniform(2, 10))
        acked = {seq for seq, token in enumerate(tokens, 1) if token in cluster.replies}
        assert len(acked) < 30
        cluster.crash(leader)
        cluster.filter = lambda src, dst, m: True
        cluster.elect()
        all_equal(cluster)
        for seq in acked:
            assert value_on(cluster, cluster.leader(), b"k%d" % seq) == b"v"
        for entry in entries:
            assert isinstance(cluster.call(entry).results[0], int)
        cluster.start(leader)
        all_equal(cluster)
        for seq in range(1, 31):
            found = cluster.members[leader].machine.query([[1, b"k%d" % seq]], 1000)[0]
            assert found.version == 1

    def test_no_reply_of_an_old_reign_is_delivered(self):
        """[9] Leadership lost and regained in the middle of a request: it was answered
        "interrupted", and is not answered again when its slot is chosen after all."""
        cluster, leader, session = started(3)
        cluster.filter = lambda src, dst, m: not isinstance(m, Accepted | Votes)
        answers = []
        cluster.on_reply = lambda token, reply: answers.append((token, reply))
        token = cluster.submit(leader, put_entry(session, 1, b"v"))
        cluster.run(50)
        node = cluster.members[leader].node
        node._election.stop("test")
        node._election.campaign()
        cluster.filter = lambda src, dst, m: True
        cluster.turn(leader)
        cluster.run_until(lambda: value_on(cluster, leader) == b"v")
        assert cluster.leader() == leader
        cluster.run(2_000)
        assert [reply.code for t, reply in answers if t == token] == [INTERRUPTED]

    def test_a_stale_old_leader_chooses_nothing(self):
        cluster, old, session = started(3)
        cluster.pause(old)
        cluster.run_until(lambda: any(m.node.leading for m in cluster.up() if m.name != old))
        new = max((m for m in cluster.up() if m.node.leading), key=lambda m: m.node.promised).name
        assert new != old
        token = cluster.submit(new, put_entry(session, 1, b"new"))
        cluster.run_until(lambda: token in cluster.replies)
        stale = cluster.submit(old, put_entry(session, 2, b"stale"))
        cluster.resume(old)
        cluster.run(3_000)
        assert not isinstance(cluster.replies[stale], WriteReply)
        all_equal(cluster)
        assert value_on(cluster, old) == b"new"


class TestDelayedPromise:
    def test_a_floor_from_a_late_promise_vouches_for_no_value_held(self):
        """n3 promised (1, n2) long ago; meanwhile (2, n4) proposed W in
        slot 1 to n2 alone and died, and (3, n5) had V chosen there. Now n3's old promise and one
        of n1, which has applied V, make n2 lead at (1, n2), and then W at (2, n4) arrives. Slot 1
        is chosen as far as n2 knows, and the ballot of W is above its own: W is not the value."""
        lone = Lone("n2", size=5)
        ballot = lone.campaign()
        lone.hear("n3", Promise(ballot, 1, 0, 0, ()))
        lone.hear("n1", Promise(ballot, 1, 0, 1, ()))
        assert lone.node.leading
        later = Ballot(ballot.round + 1, "n4")
        lone.hear("n4", Accept(later, 1, b"W", 0))
        assert lone.applied == []
        lone.hear("n1", Decisions(1, ((Ballot(later.round + 1, "n5"), b"V"),), 1))
        assert [a.value for a in lone.applied] == [b"V"]

    def test_a_leader_served_a_higher_ballot_is_deposed_before_it_speaks_of_it(self):
        lone = Lone("n2", size=5)
        ballot = lone.campaign()
        lone.hear("n3", Promise(ballot, 1, 0, 0, ()))
        lone.hear("n1", Promise(ballot, 1, 0, 1, ()))
        sent = len(lone.sends)
        lone.hear("n1", Decisions(1, ((Ballot(ballot.round + 2, "n5"), b"V"),), 1))
        assert not lone.node.leading
        claims = [m for _, m in lone.sends[sent:]
                  if isinstance(m, Heartbeat | Accept) and m.ballot == ballot]  # fmt: skip
        assert [m for m in claims if m.commit] == []


class TestDeposing:
    @pytest.mark.parametrize("kind", ["accept", "accepted", "votes", "decisions", "heartbeat"])
    def test_a_higher_ballot_at_work_ends_a_reign_before_anything_is_learned(self, kind):
        """What a leader of b calls chosen must have been chosen at or below b: followers take
        their own value for it if they accepted one at b or above."""
        lone = Lone("n1")
        ballot = lone.campaign()
        lone.hear("n2", Promise(ballot, 1, 0, 0, ()))
        assert lone.node.leading
        higher = Ballot(ballot.round + 1, "n3")
        message = {
            "accept": Accept(higher, 1, b"v", 0),
            "accepted": Accepted(higher, ((1, 1),), 1),
            "votes": Votes(((higher, 1, 1),), 1, 0),
            "decisions": Decisions(1, ((higher, b"v"),), 1),
            "heartbeat": Heartbeat(higher, "n3", 0, 0, 0, 0),
        }[kind]
        learned = []
        learner = lone.node._context.learner
        for name in ("n3",) if kind in ("accept", "heartbeat") else ("n2", "n3"):
            lone.node.step(name, 1, message)
            learned.append((lone.node.leading, learner.commit, bool(learner.chosen)))
        assert not any(leading for leading, _, _ in learned)


class TestRoleOfTheEnvelope:
    def test_prepares_carry_only_ones_own_ballot(self):
        lone = Lone("n1")
        lone.hear("n3", Prepare(Ballot(5, "n2"), 1))
        assert lone.sent(Promise) == []
        lone.hear("n3", Accept(Ballot(5, "n2"), 1, b"v", 0))
        assert lone.publishes == []


class TestFaultToleranceIsTheRealOne:
    """PITFALLS, Paxos 16: a node that is known to be gone does not count, from that moment on."""

    def test_a_broken_connection_lowers_it_until_the_peer_is_heard_again(self):
        cluster = Cluster(3, 1)
        cluster.elect()
        cluster.run(1000)
        node = cluster.members["n1"].node
        assert node.status().fault_tolerance == 1
        node.peer_disconnected("n2")
        assert node.status().fault_tolerance == 0
        assert not node.status().peers["n2"].reachable
        cluster.run(500)
        assert node.status().fault_tolerance == 1

    def test_when_a_peer_was_heard_outlives_its_connection(self):
        """ "Never heard" is for one with which there never was any contact."""
        cluster = Cluster(3, 1)
        cluster.elect()
        cluster.run(20 * 60_000)
        node = cluster.members["n1"].node
        node.peer_disconnected("n2")
        peer = node.status().peers["n2"]
        assert not peer.reachable
        assert 0 <= peer.heard_ms_ago < 1000

    def test_a_leader_counts_who_acknowledges_it(self):
        """It hears the other, which does not hear it: one link is bad in one direction."""
        cluster = Cluster(3, 1)
        leader = cluster.elect()
        cluster.run(1000)
        deaf = others(cluster, leader)[0]
        cluster.block((leader, deaf))
        cluster.run(5000)
        node = cluster.members[leader].node
        assert node.leading
        status = node.status()
        assert status.peers[deaf].reachable
        assert not status.peers[deaf].votes
        assert status.fault_tolerance == 0

    def test_a_peer_that_says_that_it_may_not_vote_does_not_count(self):
        cluster = Cluster(3, 1)
        leader = cluster.elect()
        cluster.run(1000)
        name, third = others(cluster, leader)
        node = cluster.members[name].node
        run_id = cluster.members[third].run_id
        beat = node._election.heartbeat()
        node.step(third, run_id, beat._replace(leader=leader, votes=False))
        status = node.status()
        assert status.peers[third].reachable
        assert status.fault_tolerance == 0
        node.step(third, run_id, beat._replace(leader=leader))
        assert node.status().fault_tolerance == 1


def tracing(cluster):
    """The names of the protocol events from now on."""
    seen = set()
    for member in cluster.members.values():
        member.node.tracing = True
        ready = member.node.ready

        def take(ready=ready):
            got = ready()
            seen.update(trace.event for trace in got.traces)
            return got

        member.node.ready = take
    return seen


class TestTraces:
    """Every prepare, promise, accept, vote and choice can be seen while tracing is on."""

    def test_an_election_and_a_write_tell_the_whole_story(self):
        cluster = Cluster(3, 1)
        seen = tracing(cluster)
        cluster.elect()
        cluster.open_session()
        cluster.run(500)
        assert seen >= {
            "prevote.sent", "prevote.received", "prepare.sent", "prepare.received",
            "promise.sent", "promise.received", "accept.sent", "accept.received",
            "accepted.published", "accepted.received", "chosen", "applied",
        }  # fmt: skip

    def test_a_refused_accept_lost_votes_and_a_served_laggard_are_told(self):
        cluster = Cluster(3, 1)
        leader = cluster.elect()
        laggard = next(name for name in cluster.members if name != leader)
        seen = tracing(cluster)
        session = cluster.open_session()
        cluster.isolate(laggard)
        for seq in range(1, 4):
            cluster.put(session, seq, b"k", b"v")
        cluster.heal()
        cluster.run(2000)
        assert {"accepted.gap", "catchup.sent", "catchup.served"} <= seen
        stale = Accept(Ballot(0, laggard), 1, b"old", 0)
        cluster.receive(laggard, cluster.members[laggard].run_id, leader, stale)
        cluster.run(100)
        assert "accept.refused" in seen


class TestPeersComeAndGo:
    def logged(self, cluster, name):
        return [n.event for _, where, n in cluster.notices
                if where == name and n.event.startswith("member.")]  # fmt: skip

    def test_each_is_told_once_when_heard_and_once_when_silent(self):
        cluster = Cluster(3, 1)
        cluster.elect()
        cluster.run(2000)
        assert self.logged(cluster, "n1") == ["member.up", "member.up"]
        cluster.block(("n2", "n1"))
        cluster.run(5000)
        assert self.logged(cluster, "n1")[2:] == ["member.down"]
        cluster.heal()
        cluster.run(2000)
        assert self.logged(cluster, "n1")[3:] == ["member.up"]

    def test_a_broken_connection_is_told_at_once_and_not_twice(self):
        cluster = Cluster(3, 1)
        cluster.elect()
        cluster.run(500)
        cluster.isolate("n2")
        node = cluster.members["n1"].node
        node.peer_disconnected("n2")
        node.peer_disconnected("n2")
        cluster.run(5000)
        assert self.logged(cluster, "n1")[2:].count("member.down") == 1
