"""A leader hands over: on request, and when its disk is slow or nearly full."""

import pytest

from paxosd.core.commands import PUT, Entry
from paxosd.core.effects import WriteReply
from paxosd.core.messages import (
    TransferLeadership,
)
from tests.core.changes import (
    grown,
    settled,
)
from tests.core.scenes import started


class TestTransfer:
    def test_leadership_goes_where_it_is_asked_to(self):
        cluster, leader, session = started(3)
        heir = next(n for n in cluster.members if n != leader)
        node = cluster.members[leader].node
        assert node.hand_leadership_to(heir) == ""
        cluster.turn(leader)
        began = cluster.now
        cluster.run_until(lambda: cluster.leader() == heir, 2_000)
        assert cluster.now - began < 100
        cluster.put(session, 1, b"k", b"v")

    def test_what_is_queued_meanwhile_is_not_lost_when_the_heir_fails(self):
        cluster, leader, session = started(3)
        heir = next(n for n in cluster.members if n != leader)
        cluster.members[leader].node.hand_leadership_to(heir)
        cluster.isolate(heir)
        cluster.turn(leader)
        token = cluster.submit(leader, Entry(session, 1, 1 - 1, [[PUT, b"k", b"v"]]))
        cluster.run_until(lambda: token in cluster.replies, 5_000)
        assert isinstance(cluster.replies[token], WriteReply)
        assert [n.event for _, _, n in cluster.notices].count("leader.kept") == 1

    def test_who_cannot_lead_is_refused_in_words(self):
        cluster, _ = grown()
        leader = settled(cluster)
        node = cluster.members[leader].node
        assert "no member" in node.hand_leadership_to("n7")
        assert "has no vote" in node.hand_leadership_to("n9")
        assert "already" in node.hand_leadership_to(leader)
        follower = next(n for n in ("n1", "n2", "n3") if n != leader)
        assert "does not lead" in cluster.members[follower].node.hand_leadership_to(leader)

    def test_an_heir_that_lags_campaigns_once_it_has_caught_up(self):
        cluster, leader, _ = started(3)
        heir = next(n for n in cluster.members if n != leader)
        node = cluster.members[heir].node
        node.step(leader, 1, TransferLeadership(node._election.leader_ballot, node.applied + 1))
        cluster.turn(heir)
        assert node.role == "follower"
        cluster.run(20)
        assert node.role == "follower"

    @pytest.mark.parametrize("sick", ["slow", "full"])
    def test_a_leader_with_a_bad_disk_yields(self, sick):
        cluster, leader, session = started(3)
        for name, member in cluster.members.items():
            if sick == "slow":
                member.node.set_health(200_000 if name == leader else 1_000, low_space=False)
            else:
                member.node.set_health(1_000, low_space=name == leader)
        cluster.run_until(lambda: cluster.leader() not in ("", leader), 8_000)
        logged = [n.fields for _, _, n in cluster.notices if n.event == "leader.handing_over"]
        assert "disk" in logged[0]["reason"] or "commit takes" in logged[0]["reason"]
        cluster.put(session, 1, b"k", b"v")

    def test_whose_disk_is_nearly_full_is_in_the_status_of_its_own_and_of_the_leader(self):
        cluster, leader, _ = started(3)
        full, other = (name for name in cluster.members if name != leader)
        cluster.members[full].node.set_health(1_000, low_space=True)
        cluster.run_until(lambda: cluster.members[leader].node.status().low_space, 2_000)
        seen = {name: member.node.status().low_space for name, member in cluster.members.items()}
        assert seen == {full: (full,), leader: (full,), other: ()}

    def test_if_all_disks_are_slow_nobody_yields(self):
        cluster, leader, _ = started(3)
        for member in cluster.members.values():
            member.node.set_health(200_000, low_space=True)
        cluster.run(20_000)
        assert cluster.leader() == leader
