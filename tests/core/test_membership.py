"""Who is a member: changes in the log, in force at a stated slot, one at a time.

The numbers in brackets are those of the list of pitfalls, section Paxos.
"""

import pytest

from paxosd.core.commands import PUT, Entry, Status
from paxosd.core.effects import Refusal, WriteReply
from paxosd.core.membership import Member, Membership, MembershipError, follows
from paxosd.core.messages import (
    Accept,
    Accepted,
    Decisions,
    Votes,
)
from paxosd.core.types import EPOCH_ROUNDS, Ballot
from tests.core.changes import (
    caught_up,
    change,
    change_entry,
    grown,
    membership,
    plain,
    settled,
    wanted,
)
from tests.core.scenes import all_equal, started, value_on


class TestDocument:
    def test_a_change_goes_there_and_back(self):
        members = {
            "n1": Member("tcp://a:1", "tcp://a:2", "tcp://a:3", True, 77),
            "n2": plain(False),
        }
        new = Membership(members, phase1=1, phase2=1, departed={"n3": plain()})
        found = Membership.from_command(new.to_command(), 5, 40)
        assert (found.epoch, found.slot, found.voters, found.learners) == (5, 40, ("n1",), ("n2",))
        assert found.members == members
        assert found.departed == {"n3": plain()}
        assert Membership.from_json(found.to_json()) == found

    @pytest.mark.parametrize(
        "document",
        [
            b"", b"{", b"[]", b"{}", b"\xff", 5, b"[" * 20_000,
            b'{"members":{},"departed":{},"phase1":0,"phase2":0}',
            b'{"members":{"n 1":{}},"departed":{},"phase1":0,"phase2":0}',
            b'{"members":{"n1":{"peer":"","client":"","events":"","voter":1,"directory":0}},'
            b'"departed":{},"phase1":0,"phase2":0}',
            b'{"members":{"n1":{"peer":"","client":"","events":"","voter":true,"directory":-1}},'
            b'"departed":{},"phase1":0,"phase2":0}',
            b'{"members":{"n1":{"peer":"\\n","client":"","events":"","voter":true,"directory":0}},'
            b'"departed":{},"phase1":0,"phase2":0}',
        ],
    )  # fmt: skip
    def test_what_is_none_is_refused(self, document):
        with pytest.raises(MembershipError):
            Membership.from_command(document, 1, 1)

    def test_quorums_must_meet(self):
        members = {name: plain() for name in ("n1", "n2", "n3", "n4")}
        with pytest.raises(MembershipError, match="need not meet"):
            Membership(members, phase1=2, phase2=2)
        assert Membership(members, phase1=3, phase2=2).quorums.phase2 == 2

    def test_one_voter_at_a_time(self):
        old = Membership({name: plain() for name in ("n1", "n2", "n3")} | {"n4": plain(False)})
        for names in (["n1"], ["n1", "n2", "n3", "n5"]):
            with pytest.raises(MembershipError):
                follows(Membership({name: plain() for name in names}), old)
        swapped = {name: plain() for name in ("n1", "n2", "n4")}
        follows(Membership(swapped), old)

    def test_ballots_of_a_later_epoch_are_higher(self):
        assert Ballot(EPOCH_ROUNDS + 1, "n1") > Ballot(EPOCH_ROUNDS - 1, "n9")
        assert Ballot(3 * EPOCH_ROUNDS + 12, "n1").epoch == 3
        assert Ballot(12, "n1").epoch == 0


class TestChanging:
    def test_a_learner_is_added_catches_up_and_is_promoted(self):
        cluster, session = grown()
        assert value_on(cluster, "n9") == b"before"
        assert cluster.members["n9"].node.role == "learner"
        assert change(cluster, voters=["n9"])[0] == Status.OK
        leader = settled(cluster)
        assert cluster.members[leader].node.status().quorum == 3
        cluster.put(session, 2, b"k", b"after")
        for name in [n for n in ("n1", "n2", "n3") if n != leader][:1]:
            cluster.crash(name)  # four voters go on with three, and n9 is one of them
        cluster.put(session, 3, b"k", b"later")
        caught_up(cluster, "n9")
        assert value_on(cluster, "n9") == b"later"

    def test_it_is_in_force_behind_its_slot(self):
        cluster, _ = grown()
        status, epoch, slot = change(cluster, voters=["n9"])
        assert (status, epoch) == (Status.OK, 2)
        assert membership(cluster).slot == slot
        assert all(m.node.membership.slot <= m.node.applied + 1 for m in cluster.up())

    def test_of_two_changes_at_once_one_does_nothing(self):
        """[15] Both name the epoch that they follow."""
        cluster, _ = grown()
        present, first = wanted(cluster, voters=["n9"])
        _, second = wanted(cluster, gone=["n1"])
        leader = cluster.leader()
        tokens = [
            cluster.submit(leader, change_entry(present.epoch, new.to_command()))
            for new in (first, second)
        ]
        settled(cluster)
        cluster.run(1000)
        found = [cluster.replies[token] for token in tokens]
        assert [reply.results[0][0] for reply in found] == [Status.OK, Status.CAS_MISS]
        assert membership(cluster).voters == ("n1", "n2", "n3", "n9")

    def test_what_is_queued_behind_a_change_is_done_by_the_same_leader(self):
        """Nobody is sent away: the reign goes on under a new ballot."""
        cluster, session = grown()
        present, new = wanted(cluster, voters=["n9"])
        leader = cluster.leader()
        tokens = [cluster.submit(leader, change_entry(present.epoch, new.to_command()))]
        tokens += [
            cluster.submit(leader, Entry(session, seq, seq - 1, [[PUT, b"q", b"v"]]))
            for seq in (2, 3, 4)
        ]
        cluster.run_until(lambda: all(token in cluster.replies for token in tokens), 3_000)
        assert all(isinstance(cluster.replies[token], WriteReply) for token in tokens)
        assert cluster.leader() == leader

    def test_nothing_is_proposed_behind_a_change_in_flight(self):
        """[15] The window drains there: the next slot's quorum is not known before."""
        cluster, session = grown()
        leader = cluster.leader()
        present, new = wanted(cluster, voters=["n9"])
        cluster.filter = lambda src, dst, msg: not (src == leader and isinstance(msg, Accept))
        cluster.submit(leader, change_entry(present.epoch, new.to_command()))
        before = len(cluster.sent)
        for seq in range(2, 8):
            cluster.submit(leader, Entry(session, seq, seq - 1, [[PUT, b"q", b"v"]]))
        cluster.run(20)
        proposer = cluster.members[leader].node._context.proposer
        assert len(proposer.open) == 1
        assert proposer.queue.commands == 6
        assert before <= len(cluster.sent)

    def test_a_leader_removes_itself(self):
        cluster, session = grown()
        leader = cluster.leader()
        assert change(cluster, voters=["n9"])[0] == Status.OK
        settled(cluster)
        started_at = cluster.now
        change(cluster, gone=[leader])
        heir = settled(cluster)
        assert heir != leader
        assert cluster.now - started_at < 500, "no election timeout: it hands over"
        cluster.put(session, 2, b"k", b"after")
        cluster.run_until(lambda: cluster.members[leader].departed)

    @pytest.mark.parametrize("old", ["leader", "follower"])
    def test_one_voter_in_for_another_at_once(self, old):
        cluster, session = grown()
        leader = cluster.leader()
        gone = leader if old == "leader" else next(n for n in ("n1", "n2", "n3") if n != leader)
        assert change(cluster, voters=["n9"], gone=[gone])[0] == Status.OK
        settled(cluster)
        assert len(membership(cluster).voters) == 3
        cluster.put(session, 2, b"k", b"after")
        cluster.run_until(lambda: cluster.members[gone].departed)
        cluster.put(session, 3, b"k", b"end")
        for name in membership(cluster).members:
            caught_up(cluster, name)
        all_equal(cluster)

    def test_one_to_three_to_five_to_one(self):
        cluster, _, session = started(1)
        seq = 1
        for name in ("n2", "n3", "n4", "n5"):
            cluster.join(name, directory_id=int(name[1]))
            change(cluster, learners=[name])
            settled(cluster)
            caught_up(cluster, name)
            change(cluster, voters=[name])
            settled(cluster)
            cluster.put(session, seq, b"k", b"%d" % seq)
            seq += 1
        for name in ("n1", "n2", "n3", "n4"):
            change(cluster, gone=[name])
            settled(cluster)
            cluster.put(session, seq, b"k", b"%d" % seq)
            seq += 1
        assert membership(cluster).voters == ("n5",)
        assert value_on(cluster, "n5") == b"8"

    def test_flexible_quorums_change_by_the_same_means(self):
        cluster, _, session = started(4)
        change(cluster, phase1=3, phase2=2)
        leader = settled(cluster)
        for name in [n for n in cluster.members if n != leader][:2]:
            cluster.crash(name)
        assert cluster.put(session, 1, b"k", b"two of four are enough").results == [1]

    def test_a_change_outlives_the_crash_of_all(self):
        cluster, session = grown()
        change(cluster, voters=["n9"])
        settled(cluster)
        for name in list(cluster.members):
            cluster.crash(name)
        for name in list(cluster.members):
            cluster.start(name)
        settled(cluster)
        assert membership(cluster).voters == ("n1", "n2", "n3", "n9")
        cluster.put(session, 2, b"k", b"after")


class TestAheadOfTheLeader:
    """Others may count the votes for a change before its leader does, and name the epoch."""

    def test_the_leader_of_the_change_goes_on(self):
        cluster, leader, _ = started(3, seed=11)
        node = cluster.members[leader].node
        present, new = wanted(cluster, learners=[next(n for n in cluster.members if n != leader)])
        ballot = node.promised
        token = cluster.submit(leader, change_entry(present.epoch, new.to_command()))
        node.hear_epoch(present.epoch + 1)
        node.tick(cluster.now, int(cluster.now))
        assert node.leading
        assert node.promised == ballot
        cluster.run_until(lambda: token in cluster.replies)
        assert isinstance(cluster.replies[token], WriteReply)
        cluster.run(1000)
        assert membership(cluster).epoch == 1
        assert cluster.leader() == leader

    def test_not_if_it_is_another_change(self):
        cluster, leader, _ = started(3, seed=11)
        node = cluster.members[leader].node
        node.hear_epoch(1)
        assert not node.leading

    def test_nor_at_a_later_one(self):
        cluster, leader, _ = started(3, seed=11)
        present, new = wanted(cluster, learners=["n9"])
        cluster.submit(leader, change_entry(present.epoch, new.to_command()))
        cluster.members[leader].node.hear_epoch(present.epoch + 2)
        assert not cluster.members[leader].node.leading

    def test_nor_as_the_only_voter(self):
        """Nobody can have counted its vote before it did: that epoch is another one."""
        cluster, _, _ = started(1, seed=11)
        node = cluster.members["n1"].node
        present, new = wanted(cluster, learners=["n9"])
        cluster.submit("n1", change_entry(present.epoch, new.to_command()))
        assert node.leading
        node.hear_epoch(present.epoch + 1)
        assert not node.leading


class TestTakingOver:
    def test_an_accepted_change_that_nobody_learned_is_finished(self):
        """[15] The leader crashes after the accepts of a change and before anybody learns."""
        cluster, session = grown()
        leader = cluster.leader()
        present, new = wanted(cluster, voters=["n9"])
        cluster.filter = lambda src, dst, msg: (
            dst != leader and (src != leader or isinstance(msg, Accept))
        )
        cluster.submit(leader, change_entry(present.epoch, new.to_command()))
        slot = cluster.members[leader].node.status().proposed
        followers = [n for n in ("n1", "n2", "n3") if n != leader]
        held = [cluster.members[n].node._context.acceptor.accepted for n in followers]
        cluster.filter = lambda src, dst, msg: isinstance(msg, Accept)
        cluster.run_until(lambda: all(slot in accepted for accepted in held))
        cluster.crash(leader)
        cluster.filter = lambda src, dst, msg: True
        settled(cluster)
        assert membership(cluster).voters == ("n1", "n2", "n3", "n9")
        cluster.put(session, 2, b"k", b"after")

    def test_what_was_reported_behind_a_change_is_proposed_after_it(self):
        """A candidate adopts a change and a value behind it; the value waits for the new voters."""
        cluster, session = grown()
        leader = cluster.leader()
        node = cluster.members[leader].node
        present, new = wanted(cluster, voters=["n9"])
        codec = node._context.codec
        accepted = node._context.acceptor.accepted
        slot = node.applied + 1
        change_blob = codec.encode_entry(change_entry(present.epoch, new.to_command()))
        write_blob = codec.encode_entry(Entry(session, 2, 2 - 1, [[PUT, b"k", b"adopted"]]))
        ballot = node.promised
        for place, blob in ((slot, change_blob), (slot + 1, write_blob)):
            value = codec.encode_batch(5, [blob])
            accepted[place] = (ballot, value)
            cluster.members[leader].log[place] = (ballot, value)
        node._election.campaign()
        cluster.turn(leader)
        settled(cluster)
        cluster.run_until(lambda: value_on(cluster, leader) == b"adopted", 5_000)
        assert membership(cluster).voters == ("n1", "n2", "n3", "n9")

    def test_what_was_reported_behind_a_change_that_fails_is_proposed_too(self):
        """The change finds another epoch and does nothing: what phase 1 found behind it stays."""
        cluster, session = grown()
        leader = cluster.leader()
        node = cluster.members[leader].node
        _, new = wanted(cluster, voters=["n9"])
        codec, accepted = node._context.codec, node._context.acceptor.accepted
        slot, ballot = node.applied + 1, node.promised
        entries = [
            change_entry(0, new.to_command()),
            Entry(session, 2, 2 - 1, [[PUT, b"k", b"adopted"]]),
        ]
        for place, entry in enumerate(entries, slot):
            value = codec.encode_batch(5, [codec.encode_entry(entry)])
            accepted[place] = (ballot, value)
            cluster.members[leader].log[place] = (ballot, value)
        node._election.campaign()
        cluster.turn(leader)
        cluster.run_until(lambda: value_on(cluster, leader) == b"adopted", 5_000)
        assert membership(cluster).epoch == 1

    def test_an_old_leader_is_not_believed_behind_a_change(self):
        """[7] [15] The voters are swapped behind its back: it neither writes nor reads any more."""
        cluster, _session = grown()
        leader = cluster.leader()
        present, new = wanted(cluster, voters=["n9"], gone=[leader])
        token = cluster.submit(leader, change_entry(present.epoch, new.to_command()))
        read = cluster.read(leader)
        # The leader's accepts arrive; it hears nothing, and says nothing more.
        followers = [n for n in ("n1", "n2", "n3") if n != leader]
        accepted = [cluster.members[n].node._context.acceptor.accepted for n in followers]
        cluster.run_until(lambda: all(accepted))
        cluster.isolate(leader)
        cluster.run_until(lambda: cluster.leader() not in ("", leader), 10_000)
        cluster.run(3_000)
        late = cluster.read(leader)
        cluster.run(5_000)
        assert isinstance(cluster.replies[read], Refusal)
        assert isinstance(cluster.replies[late], Refusal)
        assert token not in cluster.replies or not isinstance(cluster.replies[token], WriteReply)

    def test_a_leader_with_a_change_in_flight_confirms_no_read(self):
        """[7] [15] The voters that confirm it may be none that the new voters need: n1 leads, n2
        acknowledges it and has not learned of the swap; n3 and n9 have, and lead without both."""
        cluster, session = grown()
        leader = cluster.leader()
        loyal, other = (n for n in ("n1", "n2", "n3") if n != leader)
        present, new = wanted(cluster, voters=["n9"], gone=[leader])
        telling = Accepted | Votes | Decisions
        cluster.filter = lambda src, dst, msg: (
            not (
                (dst in (leader, loyal) and isinstance(msg, telling))
                or (dst in (leader, loyal) and src in (other, "n9"))
            )
        )
        cluster.submit(leader, change_entry(present.epoch, new.to_command()))
        cluster.run_until(lambda: cluster.members[other].node.membership.epoch == 2)
        cluster.run_until(lambda: cluster.members["n9"].node.membership.epoch == 2)
        cluster.block((leader, other), (leader, "n9"))
        cluster.run_until(
            lambda: any(cluster.members[n].node.leading for n in (other, "n9")), 10_000
        )
        heir = next(n for n in (other, "n9") if cluster.members[n].node.leading)
        assert cluster.members[leader].node.leading, "it does not know yet"
        write = Entry(session, 2, 1, [[PUT, b"k", b"newer"]])
        token = cluster.submit(heir, write)
        cluster.run_until(lambda: token in cluster.replies, 5_000)
        assert isinstance(cluster.replies[token], WriteReply)
        read = cluster.read(leader)
        cluster.run(300)
        # Now it hears the vote that it lacks; what the others know still does not reach it.
        cluster.filter = lambda src, dst, msg: not (dst in (leader, loyal) and src in (other, "n9"))
        cluster.run_until(
            lambda: read in cluster.replies or cluster.members[leader].departed, 10_000
        )
        answer = cluster.replies.get(read)
        assert answer is None or isinstance(answer, Refusal), "the value before the new one"
