"""Whole nodes in the in-memory network: lost messages, restarts, bounds, reads and replays.

The numbers in brackets are those of the list of pitfalls, section Paxos.
"""

import pytest

from paxosd.core.effects import BUSY, ReadReady, Refusal, WriteReply
from paxosd.core.election import Election
from paxosd.core.messages import (
    Accept,
    Accepted,
    CatchUp,
    Decisions,
    Heartbeat,
    HeartbeatAck,
    ReadIndexReply,
    Votes,
    VotesRequest,
)
from tests.core.cluster import Cluster
from tests.core.scenes import (
    all_equal,
    ballots,
    others,
    put_entry,
    read_now,
    restart_all,
    started,
    value_on,
)


class TestLostMessages:
    def test_lost_votes_are_found_over_votes_request(self):
        cluster, leader, session = started(3)
        deaf = others(cluster, leader)[0]
        lost = []

        def drop_some(src, dst, message):
            if dst == deaf and isinstance(message, Accepted) and len(lost) < 4:
                lost.append(message)
                return False
            # only votes tell this node what is chosen
            return not (dst == deaf and isinstance(message, Decisions))

        cluster.filter = drop_some
        for seq in range(1, 8):
            cluster.put(session, seq, b"k", b"%d" % seq)
        cluster.run_until(lambda: value_on(cluster, deaf) == b"7", 3_000)
        assert len(lost) == 4
        assert any(isinstance(m, VotesRequest) and s == deaf for s, _, _, m in cluster.sent)

    def test_the_lost_last_vote_is_found_from_heartbeats(self):
        """No later message shows the gap; no commit index of the leader, no pull helps here."""
        cluster, leader, session = started(3)
        cluster.put(session, 1, b"k", b"1")
        cluster.run(1_000)
        first = {name: max(cluster.chosen) + 1 for name in cluster.members}
        voters = others(cluster, leader)

        def drop(src, dst, message):
            if isinstance(message, Accepted):
                return False
            return not isinstance(message, Decisions | CatchUp) and not (
                isinstance(message, Accept) and message.slot in retried
            )

        retried = set()
        cluster.filter = drop
        token = cluster.submit(leader, put_entry(session, 2, b"2"))
        retried.add(first[leader])
        cluster.run_until(lambda: token in cluster.replies, 2_000)
        assert isinstance(cluster.replies[token], WriteReply)
        asked = {d for s, _, d, m in cluster.sent if isinstance(m, VotesRequest) and s == leader}
        assert asked & set(voters)

    def test_a_lost_accept_is_sent_again(self):
        cluster, leader, session = started(3)
        lost = []

        def drop_first(src, dst, message):
            if isinstance(message, Accept) and (dst, message.slot) not in lost:
                lost.append((dst, message.slot))
                return False
            return True

        cluster.filter = drop_first
        token = cluster.submit(leader, put_entry(session, 1, b"v"))
        cluster.run_until(lambda: token in cluster.replies, 1_000)
        assert isinstance(cluster.replies[token], WriteReply)

    def test_a_learner_without_the_value_pulls_it(self):
        cluster, leader, session = started(3)
        poor = others(cluster, leader)[0]
        cluster.filter = lambda src, dst, m: not (isinstance(m, Accept) and dst == poor)
        cluster.put(session, 1, b"k", b"v")
        cluster.run_until(lambda: value_on(cluster, poor) == b"v", 1_000)
        assert any(isinstance(m, CatchUp) and s == poor for s, _, _, m in cluster.sent)

    def test_a_laggard_catches_up(self):
        options = {"catch_up_slots_max": 16, "accept_ahead_slots_max": 32}
        cluster, leader, session = started(3, options=options)
        late = others(cluster, leader)[0]
        cluster.crash(late)
        for seq in range(1, 201):
            cluster.put(session, seq, b"k", b"%d" % seq)
        cluster.start(late)
        all_equal(cluster, 3_000)
        assert value_on(cluster, late) == b"200"
        assert len(cluster.members[late].node._context.acceptor.accepted) <= 32

    def test_a_laggard_that_must_lead_catches_up_and_leads(self):
        """Its own acceptor is too far behind for the values that it has to propose again; with
        one other node up its vote is needed."""
        for seed in range(6):
            options = {"accept_ahead_slots_max": 8, "catch_up_slots_max": 4}
            cluster, leader, session = started(3, seed, options=options)
            late, other = others(cluster, leader)
            cluster.crash(late)
            for seq in range(1, 41):
                cluster.put(session, seq, b"k", b"%d" % seq)
            cluster.run(500)
            cluster.filter = lambda src, dst, m: not isinstance(m, Accepted)
            cluster.submit(leader, put_entry(session, 41, b"41"))
            cluster.run(50)
            cluster.crash(leader)
            cluster.filter = lambda src, dst, m: True
            cluster.pause(other)
            cluster.start(late)
            cluster.resume(other)
            cluster.members[late].node._election.campaign()
            cluster.turn(late)
            cluster.run(100)
            assert cluster.leader() == late
            cluster.put(session, 42, b"k", b"42")
            assert value_on(cluster, late) == b"42"


class TestBounds:
    def test_a_full_queue_says_busy(self):
        # One session alone may fill half of it (fair_queue.py).
        options = {"queue_commands_max": 40, "window_slots_max": 2, "batch_commands_max": 1}
        cluster, leader, session = started(3, options=options)
        tokens = [cluster.submit(leader, put_entry(session, seq, b"v")) for seq in range(1, 200)]
        busy = [t for t in tokens if t in cluster.replies]
        assert {cluster.replies[t].code for t in busy} == {BUSY}
        status = cluster.members[leader].node.status()
        assert status.open_slots <= 2
        assert status.queued_commands <= 20
        cluster.run_until(lambda: all(t in cluster.replies for t in tokens))
        done = [t for t in tokens if isinstance(cluster.replies[t], WriteReply)]
        assert len(done) + len(busy) == len(tokens)
        assert len(done) >= 20

    def test_too_many_reads_are_refused(self):
        cluster, leader, _ = started(3, options={"reads_waiting_max": 5})
        cluster.isolate(leader)
        tokens = [cluster.read(leader) for _ in range(8)]
        assert [t in cluster.replies for t in tokens] == [False] * 5 + [True] * 3
        assert cluster.replies[tokens[-1]].code == BUSY
        cluster.run_until(lambda: all(t in cluster.replies for t in tokens), 10_000)
        assert all(isinstance(cluster.replies[t], Refusal) for t in tokens)

    def test_nothing_is_kept_of_what_was_applied(self):
        cluster, _, session = started(3)
        for seq in range(1, 60):
            cluster.put(session, seq, b"k", b"v")
        cluster.run(1_000)
        for member in cluster.up():
            context = member.node._context
            assert context.acceptor.accepted == {}
            assert (context.learner.chosen, context.learner.decided) == ({}, {})
            assert context.learner._votes == {}
            assert context.proposer.open == {}


class TestRestarting:
    @pytest.mark.parametrize("size", [1, 2, 3, 5])
    def test_all_at_once_again_and_again(self, size):
        """[17] Nothing acknowledged is lost, ballots go up."""
        cluster, _, session = started(size)
        for seq in range(1, 6):
            cluster.put(session, seq, b"k", b"%d" % seq)
            restart_all(cluster)
            cluster.elect()
            assert read_now(cluster, cluster.leader()) == b"%d" % seq
        won = ballots(cluster)
        assert won == sorted(won)
        assert len({tuple(b) for b in won}) == len(won)
        all_equal(cluster)

    @pytest.mark.parametrize("seed", range(5))
    def test_in_the_first_moments(self, seed):
        """[17] Crashes in the first second of life."""
        cluster = Cluster(3, seed)
        for _ in range(10):
            cluster.run(cluster.rng.uniform(0, 900))
            cluster.crash("n1")
            cluster.start("n1")
            if cluster.rng.random() < 0.5:
                restart_all(cluster)
        session = cluster.open_session()
        cluster.put(session, 1, b"k", b"v")
        all_equal(cluster)

    def test_a_restarted_node_takes_part_with_what_it_has(self):
        """An unapplied acceptance survives its acceptor's restart and is adopted."""
        cluster, leader, session = started(3)
        holder, blind = others(cluster, leader)
        cluster.filter = lambda src, dst, m: (
            not (isinstance(m, Accepted | Votes) or (isinstance(m, Accept) and dst == blind))
        )
        cluster.submit(leader, put_entry(session, 1, b"v"))
        cluster.run(50)
        cluster.crash(leader)
        cluster.crash(holder)
        cluster.filter = lambda src, dst, m: True
        cluster.start(holder)
        cluster.elect()
        cluster.run_until(lambda: value_on(cluster, blind) == b"v", 5_000)


class TestReading:
    def test_every_node_sees_what_was_acknowledged_before(self):
        cluster, _, session = started(3)
        for seq in range(1, 15):
            cluster.put(session, seq, b"k", b"%d" % seq)
            for name in cluster.members:
                assert read_now(cluster, name) == b"%d" % seq

    def test_reads_that_wait_share_a_round(self):
        cluster, leader, _ = started(3)
        cluster.run(1_000)
        node = cluster.members[leader].node
        before = node._context.leader_reads.round
        tokens = [cluster.read(leader) for _ in range(100)]
        cluster.run_until(lambda: all(t in cluster.replies for t in tokens), 500)
        assert node._context.leader_reads.round - before <= 2

    def test_an_old_leader_never_answers_stale(self, monkeypatch):
        """[7] Isolate the leader, write through the new one, read the old: refused, or fresh."""
        cluster, old, session = started(3)
        cluster.put(session, 1, b"k", b"old")
        cluster.isolate(old)
        monkeypatch.setattr(Election, "in_contact", lambda self: True)  # it won't step down
        cluster.run_until(lambda: any(m.node.leading for m in cluster.up() if m.name != old))
        new = max((m for m in cluster.up() if m.node.leading), key=lambda m: m.node.promised).name
        token = cluster.submit(new, put_entry(session, 2, b"new"))
        cluster.run_until(lambda: token in cluster.replies)
        assert cluster.members[old].node.leading
        reading = cluster.read(old)
        cluster.run(1_000)
        assert reading not in cluster.replies
        cluster.heal()
        cluster.run_until(lambda: reading in cluster.replies, 5_000)
        reply = cluster.replies[reading]
        assert isinstance(reply, Refusal) or value_on(cluster, old) == b"new"

    def test_a_paused_leader_that_wakes_does_not_answer_from_memory(self):
        cluster, old, session = started(3)
        cluster.put(session, 1, b"k", b"old")
        cluster.pause(old)
        cluster.run_until(lambda: any(m.node.leading for m in cluster.up() if m.name != old))
        new = max((m for m in cluster.up() if m.node.leading), key=lambda m: m.node.promised).name
        token = cluster.submit(new, put_entry(session, 2, b"new"))
        cluster.run_until(lambda: token in cluster.replies)
        cluster.members[old].inbox.clear()
        cluster.resume(old)
        reading = cluster.read(old)
        cluster.run_until(lambda: reading in cluster.replies, 10_000)
        reply = cluster.replies[reading]
        assert isinstance(reply, Refusal) or value_on(cluster, old) == b"new"

    def test_accepted_by_one_is_never_seen_and_then_unseen(self):
        """[4] Read through {B, C}, then through {A, B}: "nothing", then V, with no write between,
        is allowed only if the write was still open; once seen, it is seen by all."""
        cluster, leader, session = started(3)
        holder, blind = others(cluster, leader)
        cluster.filter = lambda src, dst, m: not (isinstance(m, Accept) and dst == blind)
        cluster.isolate(leader)
        cluster.submit(leader, put_entry(session, 1, b"V"))
        cluster.run(20)
        cluster.crash(leader)
        cluster.heal()
        cluster.run_until(lambda: cluster.leader() != "")
        assert read_now(cluster, holder) is None
        assert read_now(cluster, blind) is None
        cluster.start(leader)
        cluster.run(5_000)
        for name in cluster.members:
            assert read_now(cluster, name) is None, "a read said that it is not there"
        all_equal(cluster)

    def test_a_follower_applied_a_slot_before_the_leader_knew_it_chosen(self):
        """A client saw the slot on the follower; a read that begins then, on any node, must
        see it too, though the leader's commit index is below it."""
        cluster, leader, session = started(3)
        follower, third = others(cluster, leader)
        cluster.run(1_000)
        blocked = (Accepted, Votes, Decisions)
        cluster.filter = lambda src, dst, m: not (dst != follower and isinstance(m, blocked))
        cluster.submit(leader, put_entry(session, 1, b"v"))
        cluster.run_until(lambda: value_on(cluster, follower) == b"v", 200)
        assert value_on(cluster, leader) is None, "it does not know yet"
        tokens = {name: cluster.read(name) for name in (leader, third)}
        cluster.run(200)
        for name, token in tokens.items():
            assert token not in cluster.replies or value_on(cluster, name) == b"v"
        cluster.filter = lambda src, dst, m: True
        for name, token in tokens.items():
            cluster.run_until(lambda t=token: t in cluster.replies, 5_000)
            assert isinstance(cluster.replies[token][0], ReadReady)
            assert value_on(cluster, name) == b"v"

    def test_a_new_leader_reads_only_after_it_knows_what_the_old_one_had_chosen(self):
        cluster, leader, session = started(3)
        cluster.run(1_000)
        other = others(cluster, leader)[1]
        blocked = (Accepted, Votes, Decisions, Accept, Heartbeat)
        cluster.filter = lambda src, dst, m: not (dst == other and isinstance(m, blocked))
        cluster.put(session, 1, b"k", b"v")
        cluster.run(20)
        cluster.crash(leader)
        cluster.filter = lambda src, dst, m: not isinstance(m, Decisions)
        node = cluster.members[other].node
        node._election.campaign()
        cluster.turn(other)
        cluster.run_until(lambda: node.leading, 1_000)
        token = cluster.read(other)
        cluster.run(300)
        assert token not in cluster.replies
        cluster.filter = lambda src, dst, m: True
        cluster.run_until(lambda: token in cluster.replies, 2_000)
        assert value_on(cluster, other) == b"v"

    def test_an_index_of_a_deposed_leader_is_asked_for_anew(self):
        """It proposed the slot to nobody, and no slot of that number need ever come."""
        cluster, leader, session = started(3)
        reader = others(cluster, leader)[0]
        cluster.run(1_000)
        cluster.filter = lambda src, dst, m: not (src == leader and isinstance(m, Accept))
        cluster.submit(leader, put_entry(session, 1, b"lost"))
        token = cluster.read(reader)
        cluster.run(100)
        assert token not in cluster.replies
        assert any(isinstance(m, ReadIndexReply) for *_, m in cluster.sent)
        cluster.crash(leader)
        cluster.filter = lambda src, dst, m: True
        cluster.run_until(lambda: token in cluster.replies, 5_000)
        assert not isinstance(cluster.replies[token], Refusal)

    def test_an_answer_to_a_question_of_an_earlier_start_is_ignored(self):
        """[ZeroMQ 13] Its number would match the first question of the new start."""
        cluster, leader, session = started(3)
        reader = others(cluster, leader)[0]
        cluster.run(1_000)
        assert read_now(cluster, reader) is None
        frame = next(f for f in cluster.sent if f[2] == reader and isinstance(f[3], ReadIndexReply))
        cluster.crash(reader)
        cluster.put(session, 1, b"k", b"new")
        cluster.filter = lambda src, dst, m: (
            not (
                isinstance(m, Accept | Accepted | Votes | Decisions)
                or (isinstance(m, ReadIndexReply) and dst == reader)
            )
        )
        cluster.start(reader)
        cluster.run_until(lambda: cluster.members[reader].node.leader == leader)
        token = cluster.read(reader)
        cluster.run(5)
        cluster.receive(*frame)
        assert token not in cluster.replies, "an old answer passed for a new one: a stale read"


class TestReplays:
    @pytest.mark.parametrize("seed", range(3))
    def test_old_frames_change_nothing(self, seed):
        """[ZeroMQ 13] Every frame of several reigns and incarnations arrives once more."""
        cluster, _, session = started(3, seed)
        for seq in range(1, 6):
            cluster.put(session, seq, b"k", b"%d" % seq)
            cluster.crash(cluster.leader())
            cluster.run(300)
            for member in cluster.members.values():
                if member.node is None:
                    cluster.start(member.name)
            cluster.elect()
        all_equal(cluster)
        frames = list(cluster.sent)
        leader, won = cluster.leader(), len(ballots(cluster))
        promised = {m.name: m.node.promised for m in cluster.up()}
        top = max(cluster.chosen)
        cluster.replay(frames, within_ms=3_000)
        cluster.run(4_000)
        assert cluster.leader() == leader
        assert len(ballots(cluster)) == won
        assert {m.name: m.node.promised for m in cluster.up()} == promised
        assert max(cluster.chosen) == top
        all_equal(cluster)
        assert value_on(cluster, leader) == b"5"

    def test_an_acknowledgement_of_an_old_reign_confirms_no_read(self):
        cluster, leader, _ = started(3)
        cluster.run(500)
        assert read_now(cluster, leader) is None
        acks = [f for f in cluster.sent if isinstance(f[3], HeartbeatAck) and f[3].round]
        restart_all(cluster)
        cluster.run_until(lambda: cluster.leader() != "")
        name = cluster.leader()
        cluster.isolate(name)
        token = cluster.read(name)
        cluster.replay([f for f in acks if f[2] == name], within_ms=10)
        cluster.run(100)
        assert token not in cluster.replies
